"""Appending rows. Each function is one transaction: what it writes is durable when it returns, or nothing is.

Names and values are checked by the caller (`trk.run`); here it is decided what depends on the journal itself: the
row's number, the next step, whether the run is open, whether a param would change.

What a row changes in the live tables is said once, by the functions `keep_…` inside a transaction: rows that are
carried here from another journal (`trk.journal.replay`) go through the same.
"""

from __future__ import annotations

import time

from trk.errors import Conflict, NotFound, UsageError
from trk.rules import MAX_STEP, check_name, is_ranked, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _sqlite3 import Connection
    from collections.abc import Iterable, Mapping
    from typing import Any

    from trk.journal.db import Journal

# Another program's run takes rows when its owner has ended it, too; one that was forgotten takes none.
_FIND = (
    "SELECT run, CASE WHEN NOT external THEN status WHEN deleted IS NULL THEN 'RUNNING' ELSE 'deleted' END, "
    "(SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = runs.run) FROM runs WHERE run_id = ?"
)
_APPEND = "INSERT INTO rows (run, n, kind, time, key, step, value) VALUES (?, ?, ?, ?, ?, ?, ?)"
_LIVE = (
    "SELECT last_step, last_time, last, low, low_step, low_time, high, high_step, high_time "
    "FROM metrics WHERE run = ? AND key = ?"
)
_FIRST = "INSERT INTO metrics VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEXT = (
    "UPDATE metrics SET count = count + 1, last_step = ?, last_time = ?, last = ?, low = ?, low_step = ?, "
    "low_time = ?, high = ?, high_step = ?, high_time = ? WHERE run = ? AND key = ?"
)


def now_ms() -> int:
    """The present time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def stored(value: float) -> float | str:
    """A number as a column holds it: NaN as text, since SQLite would make it NULL."""
    return value if value == value else "NaN"


def create_run(
    journal: Journal,
    run_id: str,
    fields: Mapping[str, Any],
    deliveries: Mapping[str, str],
    first_tags: Mapping[str, str],
    first_params: Mapping[str, str],
) -> None:
    """A new run with its columns, per backend the JSON text of its target, and its first tags and params."""
    with journal.explaining, journal.lock, journal.begun() as db:
        columns = ", ".join(fields)
        marks = ", ".join("?" * len(fields))
        run = db.execute(
            f"INSERT INTO runs (run_id, status, {columns}) VALUES (?, 'RUNNING', {marks}) RETURNING run",  # noqa: S608 - column names are ours
            (run_id, *fields.values()),
        ).fetchone()[0]
        for backend, target in deliveries.items():
            db.execute("INSERT INTO deliveries (run, backend, target) VALUES (?, ?, ?)", (run, backend, target))
        rows = Rows(db, run, "RUNNING", 0)
        _append_tags(rows, first_tags, fields["start_time"])
        _append_params(rows, first_params, fields["start_time"], "error")


class Rows:
    """The rows of a run inside a transaction: `n` is the last one's number."""

    __slots__ = ("db", "n", "run", "status")

    def __init__(self, db: Connection, run: int, status: str, n: int) -> None:
        self.db = db
        self.run = run
        self.status = status
        self.n = n

    def append(self, kind: str, time_ms: int, key: str | None, step: int | None, value: object) -> int:
        """Write the next row; returns its number."""
        self.n += 1
        self.db.execute(_APPEND, (self.run, self.n, kind, time_ms, key, step, value))
        return self.n


def any_rows(db: Connection, run_id: str) -> Rows:
    """The rows of a run that is there, open or not."""
    found = db.execute(_FIND, (run_id,)).fetchone()
    if found is None:
        raise NotFound(f"there is no run {run_id} in this journal", hint="trk ls")
    return Rows(db, *found)


def open_rows(db: Connection, run_id: str) -> Rows:
    """The rows of a run that is there and open."""
    rows = any_rows(db, run_id)
    if rows.status != "RUNNING":
        _check_kept(rows, run_id)
        raise Conflict(f"run {run_id} has ended ({rows.status})", hint=f"trk resume {run_id}")
    return rows


def _check_kept(rows: Rows, run_id: str) -> None:
    """Raise Conflict when the run is deleted: then it can't be resumed either."""
    if rows.db.execute("SELECT deleted FROM runs WHERE run = ?", (rows.run,)).fetchone()[0] is not None:
        raise Conflict(f"run {run_id} is deleted", hint=f"trk restore {run_id}")


def metrics(
    journal: Journal, run_id: str, values: Mapping[str, float], step: int | None, time_ms: int
) -> tuple[int, int]:
    """One row of one or several metrics at one step; returns its number and step.

    A step left out is the largest step of these metrics in the run plus one, from 0.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = open_rows(db, run_id)
        live = {key: db.execute(_LIVE, (rows.run, key)).fetchone() for key in values}
        if step is None:
            step = _next_step(live.values())
        if len(values) == 1:
            ((key, value),) = values.items()
            n = rows.append("metric", time_ms, key, step, stored(value))
        else:
            n = rows.append("metric", time_ms, None, step, packed(values))
        for key, value in values.items():
            _update_live(rows, key, live[key], (step, time_ms, value))
    return n, step


def _next_step(live: Iterable[tuple[Any, ...] | None]) -> int:
    return step_after(max((known[0] for known in live if known is not None), default=-1))


def step_after(last: int) -> int:
    """The step after the largest one so far. Raises UsageError when there is none."""
    if last >= MAX_STEP:
        raise UsageError(f"the next step, {last + 1}, does not fit 64 bits", hint="give one with --step")
    return last + 1


def packed(values: Mapping[str, float]) -> str:
    """Several values as a JSON object. Names have no character that JSON would escape (`rules.check_name`)."""
    return "{" + ",".join(f'"{key}":{_json_number(value)}' for key, value in values.items()) + "}"


def _json_number(value: float) -> str:
    if value - value == 0:
        return repr(value)
    return '"NaN"' if value != value else ('"Infinity"' if value > 0 else '"-Infinity"')


def keep_point(rows: Rows, key: str, point: tuple[int, int, float]) -> None:
    """Fold a point (step, time in ms, value) into what is known of its metric."""
    _update_live(rows, key, rows.db.execute(_LIVE, (rows.run, key)).fetchone(), point)


def _update_live(rows: Rows, key: str, known: tuple[Any, ...] | None, point: tuple[int, int, float]) -> None:
    """Fold a point into the metric's live row: last by (step, time, value); extremes by value, then earliest."""
    step, time_ms, value = point
    ranked = is_ranked(value)
    here = (value, step, time_ms) if ranked else (None, None, None)
    if known is None:
        rows.db.execute(_FIRST, (rows.run, key, step, time_ms, stored(value), *here, *here))
        return
    last, low, high = known[0:3], known[3:6], known[6:9]
    if (step, time_ms, place(value)) > (last[0], last[1], place(float(last[2]))):
        last = (step, time_ms, stored(value))
    if ranked:
        if low[0] is None or here < low:
            low = here
        if high[0] is None or (-value, step, time_ms) < (-high[0], high[1], high[2]):
            high = here
    rows.db.execute(_NEXT, (*last, *low, *high, rows.run, key))


def params(
    journal: Journal, run_id: str, values: Mapping[str, str], time_ms: int, if_exists: str = "error"
) -> int | None:
    """A row per param that is new; returns the last one's number, None when all were there already.

    A param with another value is a Conflict and nothing is written; with `if_exists` "keep" it stays as it is, with
    "suffix" the new value goes to `<key>_2`, `<key>_3`, …; with "change" it has the new value from then on, where a
    backend lets it.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        return _append_params(open_rows(db, run_id), values, time_ms, if_exists)


def _append_params(rows: Rows, values: Mapping[str, str], time_ms: int, if_exists: str) -> int | None:
    n = None
    for key, value in values.items():
        name = _param_name(rows.db, rows.run, key, value, if_exists)
        if name is not None:
            n = rows.append("param", time_ms, name, None, value)
            keep_param(rows, name, value)
    return n


def keep_param(rows: Rows, key: str, value: str) -> None:
    """A param, in the place of what it was."""
    rows.db.execute("INSERT OR REPLACE INTO params VALUES (?, ?, ?)", (rows.run, key, value))


def param(db: Connection, run: int, key: str) -> str | None:
    """A param's value; None when the run does not have it."""
    found = db.execute("SELECT value FROM params WHERE run = ? AND key = ?", (run, key)).fetchone()
    return None if found is None else found[0]


def _param_name(db: Connection, run: int, key: str, value: str, if_exists: str) -> str | None:
    """The name to write this param under; None when nothing is to be written."""
    known = param(db, run, key)
    if known is None:
        return key
    if known == value or if_exists == "keep":
        return None
    if if_exists == "change":
        return key
    if if_exists == "error":
        raise Conflict(
            f"param {key} is already {_short(known)} in this run and can't become {_short(value)}",
            hint="--if-exists keep or suffix",
        )
    number = 2
    while (known := param(db, run, f"{key}_{number}")) is not None and known != value:
        number += 1
    return None if known == value else check_name(f"{key}_{number}", "param name")


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:39] + "…")


def summary(
    journal: Journal, run_id: str, values: Mapping[str, float | tuple[str, str]], time_ms: int
) -> tuple[int, int | None]:
    """A row per summary value; returns the last one's number and step.

    A number is also a point of that metric at its next step. Anything else comes as (JSON text, shown text): it
    stands as the tag `summary/<key>` and, the first time, as the param of that name.
    """
    n, step = 0, None
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = open_rows(db, run_id)
        for key, value in values.items():
            if isinstance(value, tuple):
                n, step = rows.append("summary", time_ms, key, None, value[0]), None
                keep_summary(rows, key, value[1])
            else:
                live = db.execute(_LIVE, (rows.run, key)).fetchone()
                step = _next_step([live])
                n = rows.append("summary", time_ms, key, step, stored(value))
                _update_live(rows, key, live, (step, time_ms, value))
    return n, step


def keep_summary(rows: Rows, key: str, shown: str) -> None:
    """A summary value that is no number: a tag, and the first time a param."""
    entry = (rows.run, f"summary/{key}", shown)
    rows.db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", entry)
    rows.db.execute("INSERT OR IGNORE INTO params VALUES (?, ?, ?)", entry)


def tags(journal: Journal, run_id: str, values: Mapping[str, str], time_ms: int) -> int:
    """A row per tag; returns the last one's number."""
    with journal.explaining, journal.lock, journal.begun() as db:
        return _append_tags(open_rows(db, run_id), values, time_ms)


def _append_tags(rows: Rows, values: Mapping[str, str], time_ms: int) -> int:
    for key, value in values.items():
        rows.append("tag", time_ms, key, None, value)
        keep_tag(rows, key, value)
    return rows.n


def keep_tag(rows: Rows, key: str, value: str) -> None:
    """A tag, new or with another value."""
    rows.db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (rows.run, key, value))


def drop_tag(rows: Rows, key: str) -> bool:
    """Take a tag away; whether it was there."""
    gone = rows.db.execute("DELETE FROM tags WHERE run = ? AND key = ? RETURNING key", (rows.run, key)).fetchall()
    return bool(gone)


def delete_tag(journal: Journal, run_id: str, key: str, time_ms: int) -> int:
    """Take a tag away; returns the row's number. Raises NotFound when the run has no such tag."""
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = open_rows(db, run_id)
        if not drop_tag(rows, key):
            raise NotFound(f"run {run_id} has no tag {key}", hint=f"trk show {run_id}")
        return rows.append("delete_tag", time_ms, key, None, None)


def define(journal: Journal, run_id: str, key: str, mode: str | None, step_metric: str | None, time_ms: int) -> int:
    """Say which direction of a metric is better in the run's experiment, or which metric is its x-axis."""
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = open_rows(db, run_id)
        keep_definition(rows, key, mode, step_metric)
        return rows.append("define", time_ms, key, None, definition(mode, step_metric))


def definition(mode: str | None, step_metric: str | None) -> str:
    """A definition as its row has it. Mode and step metric are checked names: nothing in them needs escaping."""
    given = {"mode": mode, "step_metric": step_metric}
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in given.items() if value) + "}"


def keep_definition(rows: Rows, key: str, mode: str | None, step_metric: str | None) -> None:
    """What is defined for a metric of the run's experiment."""
    rows.db.execute(
        "INSERT INTO definitions SELECT experiment, ?1, ?2, ?3 FROM runs WHERE run = ?4 "
        "ON CONFLICT DO UPDATE SET mode = coalesce(?2, mode), step_metric = coalesce(?3, step_metric)",
        (key, mode, step_metric, rows.run),
    )


def set_status(journal: Journal, run_id: str, status: str, time_ms: int, owner: str | None = None) -> int:
    """End a run that is open, or (RUNNING) reopen one that has ended, for `owner`; returns the row's number.

    Raises NotFound, and Conflict when the run is in that state already.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        rows = _ended_rows(db, run_id) if status == "RUNNING" else open_rows(db, run_id)
        keep_status(rows, status, time_ms)
        if status == "RUNNING":
            db.execute("UPDATE runs SET owner = ? WHERE run = ?", (owner, rows.run))
        return rows.append("status", time_ms, None, None, status)


def keep_status(rows: Rows, status: str, time_ms: int) -> None:
    """A run's status, and when it ended."""
    end = None if status == "RUNNING" else time_ms
    rows.db.execute("UPDATE runs SET status = ?, end_time = ? WHERE run = ?", (status, end, rows.run))


def _ended_rows(db: Connection, run_id: str) -> Rows:
    rows = any_rows(db, run_id)
    _check_kept(rows, run_id)
    if rows.status == "RUNNING":
        raise Conflict(f"run {run_id} has not ended", hint=f"trk attach {run_id}")
    return rows
