"""Many points of one run at once, and those that a run has, in order: for what comes from elsewhere in thousands.

What a row changes in the live tables is as in `trk.journal.write`; here it is folded in memory, and written once for
all rows of a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from trk.errors import Conflict
from trk.journal import write
from trk.journal.db import Journal
from trk.rules import is_ranked, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _sqlite3 import Connection

Line = tuple[int, int, Mapping[str, float]]  # milliseconds since 1970, step, values by name
Point = tuple[str, int, int, float]  # name, step, milliseconds, value

PAGE = 5000  # rows per read
_APPEND = "INSERT INTO rows (run, n, kind, time, key, step, value) VALUES (?, ?, 'metric', ?, ?, ?, ?)"
_LIVE = (
    "SELECT count, last_step, last_time, last, low, low_step, low_time, high, high_step, high_time "
    "FROM metrics WHERE run = ? AND key = ?"
)
_KEEP = "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def append(journal: Journal, run_id: str, lines: Sequence[Line], after: int) -> int:
    """A row for each line, in one transaction, behind row `after`, which is the run's last; returns the last's number.

    Raises NotFound, and Conflict when the run has ended or somebody else has logged into it meanwhile.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = write.open_rows(db, run_id)
        if rows.n != after:
            raise Conflict(f"somebody else logs into run {run_id} at the same time", hint="the same command again")
        fold: dict[str, _Live] = {}
        entries: list[tuple[object, ...]] = []
        n = after
        for time_ms, step, values in lines:
            n += 1
            if len(values) == 1:
                ((key, value),) = values.items()
                entries.append((rows.run, n, time_ms, key, step, write.stored(value)))
            else:
                entries.append((rows.run, n, time_ms, None, step, write.packed(values)))
            for key, value in values.items():
                live = fold.get(key)
                if live is None:
                    live = fold[key] = _Live.of(db, rows.run, key)
                live.take(step, time_ms, value)
        db.executemany(_APPEND, entries)
        db.executemany(_KEEP, [(rows.run, key, *live.columns) for key, live in fold.items()])
        return n


class _Live:
    """A metric's live row on its way: last by (step, time, value); extremes by value, then the earliest."""

    __slots__ = ("count", "high", "last", "low")

    def __init__(
        self,
        count: int,
        last: tuple[int, int, float] | None,
        low: tuple[float, int, int] | None,
        high: tuple[float, int, int] | None,
    ) -> None:
        self.count = count
        self.last = last
        self.low = low
        self.high = high  # with the sign of its value turned, so that the least is the best

    @classmethod
    def of(cls, db: Connection, run: int, key: str) -> _Live:
        """As it is in the journal."""
        known = db.execute(_LIVE, (run, key)).fetchone()
        if known is None:
            return cls(0, None, None, None)
        count, last_step, last_time, last, *extremes = known
        low, high = extremes[:3], extremes[3:]
        return cls(
            count,
            (last_step, last_time, float(last)),
            None if low[0] is None else (low[0], low[1], low[2]),
            None if high[0] is None else (-high[0], high[1], high[2]),
        )

    def take(self, step: int, time_ms: int, value: float) -> None:
        """Fold a point in."""
        self.count += 1
        last = self.last
        if last is None or (step, time_ms, place(value)) > (last[0], last[1], place(last[2])):
            self.last = (step, time_ms, value)
        if is_ranked(value):
            low, high = (value, step, time_ms), (-value, step, time_ms)
            if self.low is None or low < self.low:
                self.low = low
            if self.high is None or high < self.high:
                self.high = high

    @property
    def columns(self) -> tuple[object, ...]:
        """The columns of the table after run and key."""
        assert self.last is not None
        none = (None, None, None)
        high = none if self.high is None else (-self.high[0], *self.high[1:])
        return (self.count, *self.last[:2], write.stored(self.last[2]), *(self.low or none), *high)


def last_row(journal: Journal, run_id: str) -> int:
    """The number of a run's last row; 0 when it has none."""
    found: int = journal.read(
        "SELECT coalesce(max(n), 0) FROM rows WHERE run = (SELECT run FROM runs WHERE run_id = ?)", (run_id,)
    )[0][0]
    return found


def points(journal: Journal, run: int) -> Iterator[Point]:
    """The points of a run's metric rows, in the order in which they were logged."""
    after = 0
    while True:
        page = journal.read(
            "SELECT n, time, key, step, value FROM rows WHERE run = ? AND n > ? AND kind = 'metric' ORDER BY n LIMIT ?",
            (run, after, PAGE),
        )
        for after, time_ms, key, step, value in page:  # noqa: B007 - `after` is where the next page begins
            if key is not None:
                yield key, step, time_ms, float(value)
            else:
                for name, number in json.loads(value).items():
                    yield name, step, time_ms, float(number)
        if len(page) < PAGE:
            return


def run_ids(journal: Journal) -> list[str]:
    """The ids of all runs, deleted ones too."""
    return [run_id for (run_id,) in journal.read("SELECT run_id FROM runs")]


def also_to(journal: Journal, run_id: str, deliveries: Mapping[str, str]) -> list[str]:
    """Let a run go to these backends (targets as JSON) as well, from its first row on; returns those that are new."""
    with journal.explaining, journal.lock, journal.begun() as db:
        found = [
            db.execute(
                "INSERT OR IGNORE INTO deliveries (run, backend, target) SELECT run, ?, ? FROM runs WHERE run_id = ? "
                "RETURNING backend",
                (backend, target, run_id),
            ).fetchall()
            for backend, target in deliveries.items()
        ]
    return [backend for rows in found for (backend,) in rows]
