"""What a lane that is called again and again leaves for later: tables that grow, and runs that did not come on.

A run whose delivery failed rests, a little longer each time, while the others of its target go on; what needs the user
rests longer. A table goes whole, so not for each of its rows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

PAUSE_S = 1.0  # between two hand-overs of one table, at least, and
PAUSE_SHARE = 4.0  # so many times as long as the last one took, but at most
LONGEST_PAUSE_S = 15.0  # since what was logged after the table waits with it
FIRST_REST_S, LONGEST_REST_S = 0.5, 30.0  # of a run that failed
TRIES = 3  # of one call, before its run rests


@dataclass(slots=True)
class _Rest:
    """A run is not tried before `until`; `asked` when the backend said so, `user` when somebody has to do something."""

    until: float
    times: int
    asked: bool
    user: bool


class Patience:
    """Remembers what rests, and until when."""

    def __init__(self) -> None:
        self._rests: dict[int, _Rest] = {}
        self._tables: dict[tuple[int, str], float] = {}
        self._held: set[tuple[int, str]] = set()

    def begin(self) -> None:
        """A round begins: what is held back is found out anew."""
        self._held.clear()

    def may_try(self, run: int) -> bool:
        """Whether a run is to be tried now."""
        return run not in self._rests or time.monotonic() >= self._rests[run].until

    def failed(self, run: int, *, user: bool, asked_s: float | None = None) -> None:
        """A run did not come on: it rests, as long as the backend asked for, or longer each time."""
        times = self._rests[run].times + 1 if run in self._rests else 1
        growing = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(times, 10)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        pause = LONGEST_REST_S if user else growing if asked_s is None else asked_s
        self._rests[run] = _Rest(time.monotonic() + pause, times, asked_s is not None, user)

    def came_on(self, run: int) -> None:
        """A run was delivered as far as it goes."""
        self._rests.pop(run, None)

    def rests(self, run: int) -> bool:
        """Whether a run did not come on when it was last tried."""
        return run in self._rests

    def needs_user(self, run: int) -> bool:
        """Whether a run rests until somebody does something."""
        return run in self._rests and self._rests[run].user

    def urge(self) -> None:
        """Somebody waits: everything is tried at once, unless the backend asked for time."""
        for rest in self._rests.values():
            rest.until = rest.until if rest.asked else 0.0

    def may_go(self, run: int, name: str) -> bool:
        """Whether a table may be handed over now; if not, it is held back until it is due."""
        if time.monotonic() >= self._tables.get((run, name), 0.0):
            return True
        self._held.add((run, name))
        return False

    def went(self, run: int, name: str, took_s: float) -> None:
        """A table was handed over, which took so long."""
        self._tables[run, name] = time.monotonic() + min(LONGEST_PAUSE_S, max(PAUSE_S, PAUSE_SHARE * took_s))

    def forget(self, run: int) -> None:
        """A run is through."""
        self._rests.pop(run, None)
        for key in [key for key in self._tables if key[0] == run]:
            del self._tables[key]

    def due_s(self, runs: Iterable[int]) -> float | None:
        """Seconds until the first of these runs, or a table that was held back, is due; None when nothing rests."""
        times = [self._rests[run].until for run in runs if run in self._rests]
        times += [self._tables[key] for key in self._held if key in self._tables and self.may_try(key[0])]
        return max(0.05, min(times) - time.monotonic()) if times else None
