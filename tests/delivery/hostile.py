"""Backends that misbehave as a test tells them. They enter by the same door as anyone's: an entry point.

`Hostile` and `Other` keep what they get in this process, in `servers`; `OnFile` appends it to the file that the
variable ARRIVALS names, so that processes can be killed and what they delivered be counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trk.backends.base import Limits
from trk.errors import BackendRefused
from trk.records import Kind, RemoteRun, Row, RunSpec

Effect = tuple[int, str, str]  # row number, kind or metric, value


def effects(rows: Sequence[Row]) -> list[Effect]:
    """What rows do, value by value."""
    return [
        effect
        for row in rows
        for effect in (
            [(row.n, key, repr(value)) for key, value in row.values.items()]
            or [(row.n, f"{row.kind} {row.key}", str(row.text))]
        )
    ]


@dataclass
class Server:
    """What arrived, and how the server behaves. `before` and `after` are called around each call and may raise."""

    before: Callable[[str, Any], None] = lambda name, what: None
    after: Callable[[str, Any], None] = lambda name, what: None
    refuses: Callable[[Row], bool] = lambda row: False
    holds: Callable[[Row], bool] = lambda row: True
    confirms: Callable[[int], int] = lambda n: n
    opened: dict[str, RunSpec] = field(default_factory=dict)
    arrived: dict[str, dict[Effect, int]] = field(default_factory=dict)  # in order of arrival, with how often
    calls: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)  # what, run, rows
    rows: list[Row] = field(default_factory=list)  # as they were handed over

    def times(self, name: str) -> int:
        """How often a call was made."""
        return sum(call[0] == name for call in self.calls)

    def once(self, run_id: str) -> list[Effect]:
        """What arrived of a run, in order; a replay counts once."""
        return list(self.arrived.get(run_id, {}))


servers: dict[str, Server] = {}


class Hostile:
    """Does as its `servers` entry says."""

    name = "hostile"
    limits = Limits()

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        return None

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._server = servers.setdefault(self.name, Server())
        self._server.before("make", target)

    def open(self, run: RunSpec) -> RemoteRun:
        self._server.before("open", run)
        self._server.calls.append(("open", run.run_id, ()))
        self._server.opened.setdefault(run.run_id, run)
        self._server.after("open", run)
        return RemoteRun(run.run_id, f"remote-{run.run_id}", f"http://there/{run.run_id}")

    def holds(self, row: Row) -> bool:
        return self._server.holds(row)

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        self._server.before("deliver", rows)
        self._server.calls.append(("deliver", run.run_id, tuple(row.n for row in rows)))
        if any(self._server.refuses(row) for row in rows):
            raise BackendRefused("it does not like that")
        self._server.rows += rows
        arrived = self._server.arrived.setdefault(run.run_id, {})
        for effect in effects(rows):
            arrived[effect] = arrived.get(effect, 0) + 1
        self._server.after("deliver", rows)

    def confirm(self, run: RemoteRun, n: int) -> int:
        self._server.before("confirm", n)
        self._server.calls.append(("confirm", run.run_id, (n,)))
        return self._server.confirms(n)

    def close(self) -> None:
        self._server.before("close", None)


class Other(Hostile):
    """A second one."""

    name = "other"


class OnFile:
    """Appends one line per row to a file, in one write per call."""

    name = "on-file"
    limits = Limits(metrics=25)

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        return None

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._path = Path(os.environ["ARRIVALS"])

    def open(self, run: RunSpec) -> RemoteRun:
        return RemoteRun(run.run_id, run.run_id)

    def holds(self, row: Row) -> bool:
        return row.kind is not Kind.DEFINE

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        with self._path.open("ab", buffering=0) as file:
            # Of a call that was killed in the middle a part may stand there: this line end closes it.
            file.write(("\n" + "".join(f"{run.run_id} {row.n} {os.getpid()}\n" for row in rows)).encode())

    def confirm(self, run: RemoteRun, n: int) -> int:
        return n

    def close(self) -> None:
        return


@contextmanager
def installed(folder: Path) -> Any:
    """For the length of a `with`: the backends are installed, here and in children."""
    info = folder / "trk_hostile-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trk-hostile\nVersion: 1\n")
    points = [f"{kind.name} = delivery.hostile:{kind.__name__}\n" for kind in (Hostile, Other, OnFile)]
    (info / "entry_points.txt").write_text("[trk.backends.v1]\n" + "".join(points))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield [str(folder), str(Path(__file__).parents[1])]
