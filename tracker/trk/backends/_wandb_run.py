"""One run in W&B's SDK: what was handed to it, and what the server must show before that counts as delivered."""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trk.records import RunSpec, Status
from trk.rules import place

STEP = "trk/step"
WRITER = "trk/writer"  # and whose: several may log into it, each with trk
LINE = "trk/n"  # in another program's run, where lines are numbered by the server: which of trk's it is
STATUS, END = "trk/status", "trk/end_time"
EXIT_CODES = {Status.FINISHED: 0, Status.FAILED: 1, Status.KILLED: 255}
LET_GO_S = 2.0
FIRST_LOOK_S, LONGEST_LOOK_S = 0.5, 5.0

Point = tuple[int, int, float]  # step, milliseconds, value


@dataclass(slots=True)
class Expected:
    """What the server must show, with the row that put it there: lines of the history, and everything else by name."""

    rows: list[int] = field(default_factory=list)  # that made a line; ascending
    lines: list[int] = field(default_factory=list)
    others: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)  # (kind, name): row, value

    def line(self, n: int, line: int) -> None:
        """Row `n` is that line of the history."""
        self.rows.append(n)
        self.lines.append(line)

    def other(self, n: int, kind: str, name: str, value: Any = None) -> None:
        """Row `n` put this value there; what an earlier row put there is gone."""
        self.others[kind, name] = n, value

    def names(self, kind: str) -> list[str]:
        """The names of what is expected of one kind."""
        return [name for of, name in self.others if of == kind]

    def uploads(self) -> bool:
        """Whether it may be files alone that are still missing, which take their time."""
        return any(of in ("file", "artifact") for of, _ in self.others)

    def met(self, last_line: int, shows: Any, n: int) -> int:
        """Up to which row, at most `n`, everything is there, when the last line of the history is this one.

        `shows(kind, name, value)` says whether something else is. What is there is expected no more.
        """
        there = bisect_right(self.lines, last_line)
        first = self.rows[there] if there < len(self.rows) else n + 1
        del self.rows[:there], self.lines[:there]
        for key, (row, value) in list(self.others.items()):
            if shows(*key, value):
                del self.others[key]
            else:
                first = min(first, row)
        return min(n, first - 1)

    def __bool__(self) -> bool:
        return bool(self.rows or self.others)


@dataclass(slots=True)
class WandbRun:
    """A run that is open in the SDK. `line` is the last line of its history that was handed over or is at the server.

    `life` is how often the core process had died when it was opened, `files` how many files it was given. When its end
    was handed over, `ending` is the status, which the SDK is told when everything else is there.
    """

    spec: RunSpec
    sdk: Any
    life: int
    line: int = -1
    first: int = 0  # offline: how many lines are left out of its folder, since `wandb sync` sent them before
    left_out: dict[str, Any] = field(default_factory=dict)  # and what was shown in them last, by its name
    tags: dict[str, str] = field(default_factory=dict)
    retags: dict[str, bool] = field(default_factory=dict)  # of another program's run: tags to set or take away
    seen: int = 0  # in another program's run: the server's step up to which its history was looked through,
    there: int = -1  # and the last of trk's lines in it
    last: dict[str, Point] = field(default_factory=dict)
    firsts: dict[str, str] = field(default_factory=dict)  # of summary values that are no numbers, the first text
    said: set[str] = field(default_factory=set)  # what stands in the summary of such values' texts
    own_axes: bool = False  # each metric is given its axis by itself, since others' metrics are in the run, too
    axes: set[str] = field(default_factory=set)  # metrics of another program's run that were given an axis
    expected: Expected = field(default_factory=Expected)
    ending: Status | None = None
    ended: bool = False
    due: float = 0.0  # when the server is asked again, by time.monotonic
    pause: float = FIRST_LOOK_S
    came_on: float = field(default_factory=time.monotonic)  # when something was last found to have arrived
    confirmed: int = 0

    @property
    def axis(self) -> str:
        """The metric that holds the user's step."""
        return self.spec.step_metric or STEP

    def outdated(self, values: Mapping[str, float], step: int, time_ms: int) -> list[str]:
        """The metrics of which a later point than this was handed over before; the others' last is this one."""
        old = []
        for key, value in values.items():
            point = step, time_ms, place(value)
            if point >= self.last.get(key, point):
                self.last[key] = point
            else:
                old.append(key)
        return old

    def let_go(self) -> None:
        """Let go of this run, as `let_go` does."""
        let_go([self])

    def part(self) -> None:
        """Tell the SDK that this run does not end, and goes on elsewhere."""
        with contextlib.suppress(Exception):  # the SDK's, of any kind: the run is let go of in any case
            if not self.spec.external:
                self.sdk.mark_preempting()
            self.sdk.finish(exit_code=1)

    def waits(self) -> None:
        """Something is handed over, where everything before it has arrived."""
        self.came_on = time.monotonic()
        self.pause = FIRST_LOOK_S
        self.due = self.came_on + FIRST_LOOK_S

    def looked(self, n: int) -> None:
        """The server was asked, and has everything up to row `n`."""
        now = time.monotonic()
        came_on = n > self.confirmed
        self.confirmed = max(n, self.confirmed)
        if came_on:
            self.came_on = now
        self.pause = FIRST_LOOK_S if came_on else min(LONGEST_LOOK_S, self.pause * 1.5)
        self.due = now + self.pause


def let_go(runs: Sequence[WandbRun]) -> None:
    """Let go of runs that have not ended: their pages say so, and the next deliverer goes on with them.

    What was not confirmed is handed over again by that one: a server that hangs is not waited for.
    """
    until = time.monotonic() + LET_GO_S
    threads = [threading.Thread(target=run.part, name="trk-wandb-part", daemon=True) for run in runs]
    for run in runs:
        run.life = -1
    with contextlib.suppress(RuntimeError):  # the interpreter is ending
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
