"""Deleting and restoring runs, and runs of other programs that are attached to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trk.errors import Conflict, NotFound
from trk.journal import write
from trk.journal.db import Journal
from trk.rules import place


def set_deleted(journal: Journal, run_id: str, deleted: bool) -> int | None:
    """Delete an ended run, or restore it; returns the row's number, None when it was so already.

    Raises NotFound, and Conflict for a run that is open.
    """
    time_ms = write.now_ms()
    with journal.explaining, journal.lock, journal.begun() as db:
        found = db.execute("SELECT status, deleted IS NOT NULL FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if found is None:
            raise NotFound(f"there is no run {run_id} in this journal", hint="trk ls")
        if deleted and found[0] == "RUNNING":
            raise Conflict(f"run {run_id} has not ended", hint=f"trk end --run {run_id}")
        if bool(found[1]) == deleted:
            return None
        rows = write.any_rows(db, run_id)
        db.execute("UPDATE runs SET deleted = ? WHERE run = ?", (time_ms if deleted else None, rows.run))
        return rows.append("delete" if deleted else "restore", time_ms, None, None, None)


def attached(journal: Journal, backend: str, remote_id: str) -> str | None:
    """The id of the run in this journal that is delivered to this run of a backend; None when there is none."""
    found = journal.read(
        "SELECT run_id FROM deliveries JOIN runs USING (run) WHERE backend = ? AND remote_id = ? ORDER BY run LIMIT 1",
        (backend, remote_id),
    )
    return found[0][0] if found else None


def attach(
    journal: Journal,
    run_id: str,
    fields: Mapping[str, Any],
    deliveries: Sequence[tuple[str, str, str, str | None]],
    last: Mapping[str, tuple[int, int, float]],
) -> None:
    """Keep a run of another program: its columns, per backend (name, target as JSON, remote id, address), and the
    last (step, time in ms, value) of its metrics, which a step left out goes on from.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
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
        for key, (step, time_ms, value) in last.items():
            db.execute(
                "INSERT INTO metrics (run, key, count, last_step, last_time, last) VALUES (?, ?, 0, ?, ?, ?)",
                (run, key, step, time_ms, write.stored(value)),
            )


def reattached(journal: Journal, run_id: str, last: Mapping[str, tuple[int, int, float]]) -> None:
    """Let the last points of the metrics of another program's run catch up with its owner's."""
    with journal.explaining, journal.lock, journal.begun() as db:
        run = write.any_rows(db, run_id).run
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


def deleted_runs(journal: Journal, experiment: str | None = None) -> list[int]:
    """The keys of the runs that are deleted, latest first."""
    found = journal.read(
        "SELECT run FROM runs WHERE deleted IS NOT NULL AND (?1 IS NULL OR experiment = ?1) ORDER BY deleted DESC",
        (experiment,),
    )
    return [run for (run,) in found]
