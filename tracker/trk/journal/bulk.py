"""Many points of one run at once, and those that a run has, in order: for what comes from elsewhere in thousands.

What a row changes in the live tables is as in `trk.journal.write`; here it is folded in memory, and written once for
all rows of a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trk.errors import Conflict, UsageError
from trk.journal import write
from trk.journal.db import Journal
from trk.rules import is_ranked, place

Line = tuple[int, int, Mapping[str, float]]  # milliseconds since 1970, step, values by name
Point = tuple[str, int, int, float]  # name, step, milliseconds, value
Entry = tuple[int, int | None, str | None, Any]
"""Milliseconds, step (None: the next), and one metric's name and value, or None and the values of several by name."""
_Place = tuple[int, int, float]  # step, milliseconds, value

PAGE = 5000  # rows per read
_APPEND = "INSERT INTO rows (run, n, kind, time, key, step, value) VALUES (?, ?, 'metric', ?, ?, ?, ?)"
_LIVE = (
    "SELECT count, last_step, last_time, last, low, low_step, low_time, high, high_step, high_time "
    "FROM metrics WHERE run = ? AND key = ?"
)
_TOP = "SELECT last_step FROM metrics WHERE run = ? AND key = ?"
_KEEP = "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def append(journal: Journal, run_id: str, lines: Sequence[Line], after: int) -> int:
    """A row for each line, in one transaction, behind row `after`, which is the run's last; returns the last's number.

    Raises NotFound, and Conflict when the run has ended or somebody else has logged into it meanwhile.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = write.open_rows(db, run_id)
        if rows.n != after:
            raise Conflict(f"somebody else logs into run {run_id} at the same time", hint="the same command again")
        _write(rows, [_entry(*line) for line in lines])
        return rows.n


def _entry(time_ms: int, step: int, values: Mapping[str, float]) -> Entry:
    if len(values) > 1:
        return time_ms, step, None, values
    ((key, value),) = values.items()
    return time_ms, step, key, value


def stream(
    journal: Journal,
    run_id: str,
    entries: Sequence[Entry],
    *,
    stop: bool = False,
    mark: Callable[[write.Rows], None] | None = None,
) -> tuple[int, Sequence[Entry | None], dict[int, UsageError]]:
    """A row for each entry, in one transaction, behind whatever is there.

    Returns the number of the row before the first, the entries with their steps, and for those that have no next step,
    which are None then and have no row, why by their index; with `stop` none is written from the first of these on.
    `mark` (such as `trk.journal.watched.mark`) writes something else in the same transaction.
    Raises NotFound, Conflict (the run has ended), JournalError.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = write.open_rows(db, run_id)
        before, refused = rows.n, dict[int, UsageError]()
        whole: Sequence[Entry | None] = entries
        if any(entry[1] is None for entry in entries):
            whole = _with_steps(rows, entries, refused, stop)
        _write(rows, [entry for entry in whole if entry is not None] if refused else whole)  # type: ignore[arg-type]  # as said
        if mark is not None:
            mark(rows)
        return before, whole, refused


def _with_steps(
    rows: write.Rows, entries: Sequence[Entry], refused: dict[int, UsageError], stop: bool
) -> list[Entry | None]:
    """The entries, each with a step: one left out is the largest step of its metrics so far plus one, from 0."""
    tops: dict[str, int | None] = {}
    whole: list[Entry | None] = []
    for index, (time_ms, step, key, value) in enumerate(entries):
        names = (key,) if key is not None else tuple(value)
        for name in names:
            if name not in tops:
                known = rows.db.execute(_TOP, (rows.run, name)).fetchone()
                tops[name] = None if known is None else known[0]
        if step is None:
            try:
                step = write.step_after(max([top for top in map(tops.get, names) if top is not None], default=-1))
            except UsageError as error:
                refused[index] = error
                if stop:
                    break
                whole.append(None)
                continue
        for name in names:
            top = tops[name]
            if top is None or step > top:
                tops[name] = step
        whole.append((time_ms, step, key, value))
    return whole


def _write(rows: write.Rows, entries: Sequence[Entry]) -> None:
    """A row for each entry, whose step is known, and what they change in the live table."""
    run, n = rows.run, rows.n
    points: dict[str, list[_Place]] = {}
    added: list[tuple[object, ...]] = []
    for time_ms, step, key, value in entries:
        n += 1
        if key is not None:
            added.append((run, n, time_ms, key, step, value if value == value else "NaN"))
            of_key = points.get(key)
            if of_key is None:
                of_key = points[key] = []
            of_key.append((step, time_ms, value))  # type: ignore[arg-type]  # the step is known
            continue
        added.append((run, n, time_ms, None, step, write.packed(value)))
        for name, number in value.items():
            of_key = points.get(name)
            if of_key is None:
                of_key = points[name] = []
            of_key.append((step, time_ms, number))  # type: ignore[arg-type]
    rows.db.executemany(_APPEND, added)
    rows.db.executemany(_KEEP, [(run, key, *_live(rows, key, found)) for key, found in points.items()])
    rows.n = n


def _live(rows: write.Rows, key: str, points: list[_Place]) -> tuple[object, ...]:
    """The columns of a metric's live row after run and key: what it was, and these points in their order folded in.

    The last is by (step, time, value), the extremes by value, then the earliest, as `trk.journal.write` has it.
    """
    known = rows.db.execute(_LIVE, (rows.run, key)).fetchone()
    count, last_step, last_time, last, *extremes = known or (0, None, None, None, *[None] * 6)
    newest = _newest(points)
    if known is None or _rank(newest) > _rank((last_step, last_time, float(last))):
        last_step, last_time, last = newest[0], newest[1], write.stored(newest[2])
    ranked = [point for point in points if is_ranked(point[2])]
    if ranked:
        values = [value for _, _, value in ranked]
        lowest, highest = min(values), max(values)
        low, high = _earliest(ranked, lowest), _earliest(ranked, highest)
        if extremes[0] is None or low < tuple(extremes[:3]):
            extremes[:3] = low
        if extremes[3] is None or (-high[0], *high[1:]) < (-extremes[3], *extremes[4:]):
            extremes[3:] = high
    return (count + len(points), last_step, last_time, last, *extremes)


def _newest(points: list[_Place]) -> _Place:
    newest = max(points)  # of equal ones the first
    total = sum(value for _, _, value in points)
    return newest if total == total else max(points, key=_rank)  # NaN has a place of its own


def _rank(point: _Place) -> _Place:
    return point[0], point[1], place(point[2])


def _earliest(points: list[_Place], value: float) -> tuple[float, int, int]:
    """The first by (step, time) of the points with this value, as (value, step, time)."""
    step, time_ms, value = min([point for point in points if point[2] == value], key=_moment)
    return value, step, time_ms


def _moment(point: _Place) -> tuple[int, int]:
    return point[0], point[1]


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
