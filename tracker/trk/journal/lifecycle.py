"""Deleting and restoring runs, and runs of other programs that are attached to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trk.errors import Conflict, NotFound
from trk.journal import write
from trk.journal.db import Journal
from trk.rules import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _sqlite3 import Connection


_STATE = (
    "SELECT status, deleted IS NOT NULL, external, (SELECT backend || ':' || remote_id FROM deliveries d "
    "WHERE d.run = runs.run AND remote_id IS NOT NULL ORDER BY backend LIMIT 1) FROM runs WHERE run_id = ?"
)


def set_deleted(journal: Journal, run_id: str, deleted: bool) -> int | None:
    """Delete an ended run, or restore it; returns the row's number, None when it was so already.

    Raises NotFound, and Conflict for a run that is open or another program's.
    """
    time_ms = write.now_ms()
    with journal.explaining, journal.lock, journal.begun() as db:
        if not _changes(db.execute(_STATE, (run_id,)).fetchone(), run_id, deleted):
            return None
        rows = write.any_rows(db, run_id)
        db.execute("UPDATE runs SET deleted = ? WHERE run = ?", (time_ms if deleted else None, rows.run))
        return rows.append("delete" if deleted else "restore", time_ms, None, None, None)


def check_deleting(journal: Journal, run_id: str, deleted: bool) -> None:
    """Raise what `set_deleted` would raise, and change nothing."""
    found = journal.read(_STATE, (run_id,))
    _changes(found[0] if found else None, run_id, deleted)


def _changes(found: tuple[Any, ...] | None, run_id: str, deleted: bool) -> bool:
    """Whether deleting a run of this state, or restoring it, changes it."""
    if found is None:
        raise NotFound(f"there is no run {run_id} in this journal", hint="trk ls")
    status, was_deleted, external, there = found
    if external:
        raise Conflict(
            f"run {run_id} belongs to another program: trk neither deletes nor restores it",
            hint=f"delete {there} with what made it; trk end --run {run_id} leaves it",
        )
    if deleted and status == "RUNNING":
        raise Conflict(f"run {run_id} has not ended", hint=f"trk end --run {run_id}")
    return bool(was_deleted) != deleted


_ATTACHED = (
    "SELECT run_id FROM deliveries JOIN runs USING (run) WHERE backend = ? AND remote_id = ? ORDER BY run LIMIT 1"
)


def attached(journal: Journal, backend: str, remote_id: str) -> str | None:
    """The id of the run in this journal that is delivered to this run of a backend; None when there is none."""
    found = journal.read(_ATTACHED, (backend, remote_id))
    return found[0][0] if found else None


def attach(
    journal: Journal,
    run_id: str,
    fields: Mapping[str, Any],
    deliveries: Sequence[tuple[str, str, str, str | None]],
    last: Mapping[str, tuple[int, int, float]],
) -> str:
    """Keep a run of another program: its columns, per backend (name, target as JSON, remote id, address), and the
    last (step, time in ms, value) of its metrics, which a step left out goes on from.

    Returns the run's id: that of an earlier one when another process has just attached to the same.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        for backend, _, remote_id, _ in deliveries:
            if found := db.execute(_ATTACHED, (backend, remote_id)).fetchone():
                earlier: str = found[0]
                return earlier
        names = ", ".join(fields)
        marks = ", ".join("?" * len(fields))
        run = db.execute(
            f"INSERT INTO runs (run_id, status, external, {names}) "  # noqa: S608 - column names are ours
            f"VALUES (?, 'RUNNING', 1, {marks}) RETURNING run",
            (run_id, *fields.values()),
        ).fetchone()[0]
        db.executemany(
            "INSERT INTO deliveries (run, backend, target, remote_id, url) VALUES (?, ?, ?, ?, ?)",
            [(run, *delivery) for delivery in deliveries],
        )
        _keep_last(db, run, last)
        return run_id


def reattached(
    journal: Journal, run_id: str, fields: Mapping[str, Any], last: Mapping[str, tuple[int, int, float]]
) -> None:
    """Let the columns of another program's run, and the last points of its metrics, catch up with its owner's."""
    columns = ", ".join(f"{name} = ?" for name in fields)
    with journal.explaining, journal.lock, journal.begun() as db:
        run = write.any_rows(db, run_id).run
        db.execute(f"UPDATE runs SET {columns} WHERE run = ?", (*fields.values(), run))  # noqa: S608 - ours
        _keep_last(db, run, last)


def _keep_last(db: Connection, run: int, last: Mapping[str, tuple[int, int, float]]) -> None:
    """The last points of metrics, where they are later than those that are known."""
    for key, (step, time_ms, value) in last.items():
        known = db.execute(
            "SELECT last_step, last_time, last FROM metrics WHERE run = ? AND key = ?", (run, key)
        ).fetchone()
        if known is None:
            db.execute(
                "INSERT INTO metrics (run, key, count, last_step, last_time, last) VALUES (?, ?, 0, ?, ?, ?)",
                (run, key, step, time_ms, write.stored(value)),
            )
        elif (step, time_ms, place(value)) > (known[0], known[1], place(float(known[2]))):
            db.execute(
                "UPDATE metrics SET last_step = ?, last_time = ?, last = ? WHERE run = ? AND key = ?",
                (step, time_ms, write.stored(value), run, key),
            )


def is_external(journal: Journal, run_id: str) -> bool:
    """Whether a run is another program's, which trk never ends, deletes or restores."""
    found = journal.read("SELECT external FROM runs WHERE run_id = ?", (run_id,))
    return bool(found and found[0][0])


def handle(journal: Journal, run_id: str) -> str | None:
    """What a run of another program is called there, such as `mlflow:<id>`; None for a run of trk."""
    found = journal.read(_STATE, (run_id,))
    return found[0][3] if found and found[0][2] else None


def externals(journal: Journal, backend: str) -> dict[str, str]:
    """The runs of other programs at a backend that were attached to: run ids by remote id."""
    return dict(
        journal.read(
            "SELECT remote_id, run_id FROM runs JOIN deliveries USING (run) WHERE external AND backend = ?", (backend,)
        )
    )


def is_deleted(journal: Journal, run_id: str) -> bool:
    """Whether a run was deleted."""
    return bool(journal.read("SELECT 1 FROM runs WHERE run_id = ? AND deleted IS NOT NULL", (run_id,)))


def deleted_ids(journal: Journal) -> frozenset[str]:
    """The ids of all runs that are deleted."""
    return frozenset(run_id for (run_id,) in journal.read("SELECT run_id FROM runs WHERE deleted IS NOT NULL"))


def deleted_runs(journal: Journal, experiment: str | None = None) -> list[int]:
    """The keys of the runs that are deleted, latest first."""
    found = journal.read(
        "SELECT run FROM runs WHERE deleted IS NOT NULL AND (?1 IS NULL OR experiment = ?1) ORDER BY deleted DESC",
        (experiment,),
    )
    return [run for (run,) in found]
