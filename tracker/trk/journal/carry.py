"""Taking runs out of a journal and putting them into another one; rows keep their numbers.

What comes in is first replayed into a journal of its own, beside the blobs, which takes as long as logging it did. It
is then copied into the journal that others log into, all runs in one transaction, which is quick.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from trk.errors import Conflict
from trk.journal import content, write
from trk.journal.db import Journal
from trk.journal.replay import Carried, Replay, carried
from trk.journal.write import Rows
from trk.records import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _sqlite3 import Connection

PAGE = 5000  # rows per read, and per transaction while they are replayed
FIELDS = ("run_id", "name", "experiment", "start_time", "parent_id", "description", "key_prefix", "step_metric",
          "external")  # fmt: skip
_STATE = ("status", "end_time", "deleted")
_CONTENT = frozenset(str(kind) for kind in FILES)
_ROW = "n, kind, time, key, step, value"

# The live tables of a run, with their columns.
_LIVE = {
    "metrics": "key, count, last_step, last_time, last, low, low_step, low_time, high, high_step, high_time",
    "params": "key, value",
    "tags": "key, value",
    "files": "path, n, kind, name, step, size, sha256, uri",
    "tables": "path, columns, count",
    "versions": "n, experiment, name, version, type, digest",
}


# ---- out of a journal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment: its columns, how many rows it has, and whether it is open or deleted.

    `handles` are the (backend, remote id) of another program's run; its status and end are its owner's.
    """

    run: int
    fields: Mapping[str, Any]
    rows: int
    status: str
    end_time: int | None
    deleted: bool
    handles: tuple[tuple[str, str], ...] = ()


def run_keys(journal: Journal, experiment: str | None, *, deleted: bool) -> list[int]:
    """The keys of the runs of an experiment (None: of all), oldest first; with `deleted`, deleted ones too."""
    found = journal.read(
        "SELECT run FROM runs WHERE (?1 IS NULL OR experiment = ?1) AND (deleted IS NULL OR (?2 AND NOT external)) "
        "ORDER BY run",
        (experiment, deleted),
    )
    return [run for (run,) in found]


def snapshot(journal: Journal, run: int) -> Snapshot:
    """A run as it is now: others may go on logging into it, and what they log is not in it."""
    columns = ", ".join((*FIELDS, *_STATE))
    (found,) = journal.read(
        f"SELECT {columns}, (SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = runs.run) "  # noqa: S608 - ours
        "FROM runs WHERE run = ?",
        (run,),
    )
    fields = dict(zip(FIELDS, found, strict=False))
    status, end_time, deleted, rows = found[len(FIELDS) :]
    handles = journal.read(
        "SELECT backend, remote_id FROM deliveries WHERE run = ? AND remote_id IS NOT NULL ORDER BY backend", (run,)
    )
    return Snapshot(
        run, fields, rows, status, end_time, deleted is not None, tuple(handles) if fields["external"] else ()
    )


def pages(journal: Journal, run: int, upto: int, after: int = 0) -> Iterator[list[tuple[Any, ...]]]:
    """The rows (n, kind, time, key, step, value) of a run up to row `upto`, page by page, as they may be carried.

    Where a file without a snapshot lies is this machine's own business and left out.
    """
    while after < upto:
        found = journal.read(
            f"SELECT {_ROW} FROM rows WHERE run = ? AND n > ? AND n <= ? ORDER BY n LIMIT ?",  # noqa: S608 - ours
            (run, after, upto, PAGE),
        )
        yield [(*row[:5], portable(row[1], row[4], row[5])) for row in found]
        after = found[-1][0]


def portable(kind: str, step: int | None, value: Any) -> Any:
    """A row's value without the place where a file lies on this machine."""
    if step is not None or kind not in _CONTENT or '"source":' not in value:
        return value
    held = json.loads(value)
    held["files"] = [
        {name: file[name] for name in file if name not in ("source", "changed_ns")} for file in held["files"]
    ]
    return content.packed(**held)


def sources(journal: Journal, run: int, n: int) -> dict[str, str]:
    """Where the files of a row lie that were logged without a snapshot, by their hash."""
    ((value,),) = journal.read("SELECT value FROM rows WHERE run = ? AND n = ?", (run, n))
    return {file["sha256"]: file["source"] for file in json.loads(value)["files"] if "source" in file}


# ---- into a journal of its own


def begin(scratch: Journal, fields: Mapping[str, Any], state: Mapping[str, Any]) -> int:
    """A new run there, open, or with the `state` of another program's; returns its key."""
    given = {**fields, "status": "RUNNING", **state}
    with scratch.explaining, scratch.lock, scratch.begun() as db:
        return _insert(db, given)


def _insert(db: Connection, given: Mapping[str, Any]) -> int:
    columns, marks = ", ".join(given), ", ".join("?" * len(given))
    run: int = db.execute(
        f"INSERT INTO runs ({columns}) VALUES ({marks}) RETURNING run",  # noqa: S608 - column names are ours
        tuple(given.values()),
    ).fetchone()[0]
    return run


def add(
    scratch: Journal, run: int, rows: Sequence[Carried], state: tuple[str, int, bool], *, external: bool
) -> tuple[str, int, bool]:
    """Put rows into it, in one transaction; `state` is what the call before returned (("RUNNING", 0, False)).

    Raises Conflict and UsageError for a row that could not have been logged; its number is the state's next, counted
    on by those before it.
    """
    status, n, deleted = state
    with scratch.explaining, scratch.lock, scratch.begun() as db:
        replay = Replay(Rows(db, run, status, n), external=external, deleted=deleted)
        for row in rows:
            try:
                replay.add(row)
            except (Conflict, ValueError) as error:
                said = getattr(error, "message", str(error))
                raise Conflict(f"row {replay.rows.n + 1}: {said}") from None
        return replay.state


# ---- from there into the journal


@dataclass(frozen=True, slots=True)
class Here:
    """What the journal has of a run that comes in: its key, its columns, how many rows."""

    run: int
    fields: Mapping[str, Any]
    rows: int


@dataclass(frozen=True, slots=True)
class Incoming:
    """A run to be put in: its key in the journal of its own, how many rows it has there, and what is here of it.

    `deliveries` are the (backend, target as JSON, remote id or None) of a run that is new here.
    """

    there: int
    run_id: str
    rows: int
    external: bool
    here: Here | None
    deliveries: Sequence[tuple[str, str, str | None]] = ()
    keyless: bool = False


class Moved(Exception):
    """Somebody has logged into one of the runs, or put it in, since it was looked at."""


def here(journal: Journal, run_id: str) -> Here | None:
    """What the journal has of a run; None when it does not have it."""
    found = journal.read("SELECT run FROM runs WHERE run_id = ?", (run_id,))
    if not found:
        return None
    now = snapshot(journal, found[0][0])
    return Here(now.run, now.fields, now.rows)


def parents(journal: Journal) -> dict[str, str]:
    """The parent of each run that has one, by ids."""
    return dict(journal.read("SELECT run_id, parent_id FROM runs WHERE parent_id IS NOT NULL"))


def first_difference(journal: Journal, scratch: Journal, one: Incoming) -> int | None:
    """The first row in which a run here differs from what comes in; None when one goes on where the other ends."""
    assert one.here is not None
    upto = min(one.here.rows, one.rows)
    ours, theirs = pages(journal, one.here.run, upto), pages(scratch, one.there, upto)
    for mine, other in zip(ours, theirs, strict=True):
        for row, another in zip(mine, other, strict=True):
            if row != another:
                n: int = row[0]
                return n
    return None


def put(journal: Journal, scratch: Journal, incoming: Sequence[Incoming]) -> None:
    """Put runs in, or the rows that are new: all of them, or none. Raises Moved when a run is not as it was."""
    with journal.explaining, journal.lock, journal.begun() as db:
        for one in incoming:
            _check_still(db, one)
            if one.here is None:
                _put_new(db, scratch, one)
            elif one.external:
                _go_on_external(db, scratch, one, one.here)
            else:
                _go_on(db, scratch, one, one.here)
    journal.checkpoint()


def _check_still(db: Connection, one: Incoming) -> None:
    found = db.execute(
        "SELECT run, (SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = runs.run) FROM runs WHERE run_id = ?",
        (one.run_id,),
    ).fetchone()
    if found != (None if one.here is None else (one.here.run, one.here.rows)):
        raise Moved


def _put_new(db: Connection, scratch: Journal, one: Incoming) -> None:
    names = (*FIELDS, *_STATE)
    columns = ", ".join(names)
    (found,) = scratch.read(f"SELECT {columns} FROM runs WHERE run = ?", (one.there,))  # noqa: S608 - ours
    run = _insert(db, {**dict(zip(names, found, strict=True)), "keyless": one.keyless})
    db.executemany(
        "INSERT INTO deliveries (run, backend, target, remote_id) VALUES (?, ?, ?, ?)",
        [(run, *delivery) for delivery in one.deliveries],
    )
    _copy_rows(db, scratch, one.there, run, 0)
    _copy_live(db, scratch, one.there, run)


def _go_on(db: Connection, scratch: Journal, one: Incoming, known: Here) -> None:
    """A run that has more rows there: its live tables are then those of all its rows."""
    (found,) = scratch.read("SELECT status, end_time, deleted FROM runs WHERE run = ?", (one.there,))
    # Who goes on with it elsewhere is not known here.
    db.execute("UPDATE runs SET status = ?, end_time = ?, deleted = ?, owner = NULL WHERE run = ?", (*found, known.run))
    _copy_rows(db, scratch, one.there, known.run, known.rows)
    for table in _LIVE:
        db.execute(f"DELETE FROM {table} WHERE run = ?", (known.run,))  # noqa: S608 - ours
    _copy_live(db, scratch, one.there, known.run)


def _copy_rows(db: Connection, scratch: Journal, there: int, run: int, after: int) -> None:
    with closing(
        scratch.connection.execute(
            f"SELECT {_ROW} FROM rows WHERE run = ? AND n > ? ORDER BY n",  # noqa: S608 - ours
            (there, after),
        )
    ) as found:
        db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", ((run, *row) for row in found))
    rows = Rows(db, run, "RUNNING", 0)
    for key, value in scratch.read(
        "SELECT key, value FROM rows WHERE run = ? AND n > ? AND kind = 'define' ORDER BY n", (there, after)
    ):
        said = json.loads(value)
        write.keep_definition(rows, key, said.get("mode"), said.get("step_metric"))


def _copy_live(db: Connection, scratch: Journal, there: int, run: int) -> None:
    for table, columns in _LIVE.items():
        marks = ", ".join("?" * (columns.count(",") + 1))
        with closing(
            scratch.connection.execute(f"SELECT {columns} FROM {table} WHERE run = ?", (there,))  # noqa: S608 - ours
        ) as found:
            db.executemany(
                f"INSERT INTO {table} (run, {columns}) VALUES (?, {marks})",  # noqa: S608 - ours
                ((run, *row) for row in found),
            )


def _go_on_external(db: Connection, scratch: Journal, one: Incoming, known: Here) -> None:
    """Another program's run: its live tables have its owner's values, too, to which the new rows are added."""
    replay = Replay(Rows(db, known.run, "RUNNING", known.rows), external=True)
    for page in pages(scratch, one.there, one.rows, known.rows):
        for row in page:
            replay.add(carried(row))
