"""What each backend has: per run and backend the cursor, the remote id, and the rows it will never have.

Only the deliverer writes here, and only under its lock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from trk.journal.db import Journal
from trk.records import Rejection


@dataclass(frozen=True, slots=True)
class Pending:
    """A run with rows that a backend does not have yet. `target` is the JSON text of where it goes."""

    run: int
    run_id: str
    backend: str
    target: str
    cursor: int
    logged: int
    keyless: bool = False
    ended: bool = False


def pending(
    journal: Journal,
    run_ids: Collection[str] | None = None,
    backends: Collection[str] | None = None,
    *,
    ended: bool = False,
) -> list[Pending]:
    """Everything that waits to be delivered, oldest run first; with `ended`, of ended runs only.

    A run never opened at its backend waits too; another program's that was attached to and then deleted here does not.
    """
    found = journal.read(
        "SELECT run, run_id, backend, target, cursor, "
        "(SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = d.run) AS n "
        "FROM deliveries d JOIN runs USING (run) WHERE (cursor < n OR remote_id IS NULL) "
        "AND NOT (external AND deleted IS NOT NULL) AND (NOT ? OR status != 'RUNNING') "
        "ORDER BY start_time, run_id, backend",
        (ended,),
    )
    return [
        entry
        for entry in (Pending(*columns) for columns in found)
        if (run_ids is None or entry.run_id in run_ids) and (backends is None or entry.backend in backends)
    ]


_OF_RUNS = (
    "SELECT run, run_id, backend, target, cursor, "
    "(SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = d.run) AS n, keyless, status != 'RUNNING' "
    "FROM deliveries d JOIN runs USING (run) WHERE (cursor < n OR remote_id IS NULL) "
    "AND NOT (external AND deleted IS NOT NULL)"
)


def of_runs(journal: Journal, runs: Collection[int]) -> list[Pending]:
    """What waits of these runs, oldest run first."""
    found: list[Pending] = []
    keys = sorted(runs)
    for start in range(0, len(keys), 500):
        page = keys[start : start + 500]
        marks = ", ".join("?" * len(page))
        read = journal.read(f"{_OF_RUNS} AND run IN ({marks}) ORDER BY run, backend", page)
        found += [Pending(*columns) for columns in read]
    return found


def refreshed(journal: Journal, entries: Collection[Pending]) -> list[Pending]:
    """These entries as they are now; those that wait for nothing any more, or go elsewhere now, are left out."""
    wanted = {(entry.run, entry.backend, entry.target) for entry in entries}
    found = of_runs(journal, {run for run, _, _ in wanted})
    return [entry for entry in found if (entry.run, entry.backend, entry.target) in wanted]


def errors(journal: Journal, entries: Collection[Pending]) -> list[tuple[str, str]]:
    """(backend, why) of those of these entries that do not come on."""
    found: list[tuple[str, str]] = []
    for entry in entries:
        said = journal.read(
            "SELECT last_error FROM deliveries WHERE run = ? AND backend = ? AND last_error IS NOT NULL",
            (entry.run, entry.backend),
        )
        found += [(entry.backend, why) for (why,) in said]
    return found


def with_rejections(journal: Journal) -> list[str]:
    """The ids of the runs of which some backend has rejected rows."""
    found = journal.read(
        "SELECT DISTINCT run_id FROM rejections JOIN runs USING (run) WHERE skipped = 0 ORDER BY start_time, run_id"
    )
    return [run_id for (run_id,) in found]


def elsewhere(journal: Journal, backend: str, target: str) -> int:
    """How many runs do not go to this target of this backend."""
    count: int = journal.read(
        "SELECT count(*) FROM runs WHERE deleted IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM deliveries d WHERE d.run = runs.run AND backend = ? AND target = ?)",
        (backend, target),
    )[0][0]
    return count


def cursor(journal: Journal, run: int, backend: str) -> int:
    """The row up to which the backend has everything of a run; 0 when the run does not go there."""
    found = journal.read("SELECT cursor FROM deliveries WHERE run = ? AND backend = ?", (run, backend))
    return found[0][0] if found else 0


def parent(journal: Journal, run: int, backend: str) -> tuple[int, str | None] | None:
    """(key, remote id) of a run's parent; None unless the parent goes to the same place at this backend.

    In which of W&B's groups they are makes no difference.
    """
    found: list[tuple[int, str | None]] = journal.read(
        "SELECT p.run, theirs.remote_id FROM runs c JOIN runs p ON p.run_id = c.parent_id "
        "JOIN deliveries mine ON mine.run = c.run AND mine.backend = ?2 "
        "JOIN deliveries theirs ON theirs.run = p.run AND theirs.backend = ?2 "
        "AND json_remove(theirs.target, '$.group') = json_remove(mine.target, '$.group') "
        "WHERE c.run = ?1",
        (run, backend),
    )
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Pointed:
    """Where runs went: those that go to a new place now, those that did before, and those of other programs."""

    runs: tuple[str, ...]
    there: tuple[str, ...]
    external: tuple[str, ...]


def point(
    journal: Journal, backend: str, target: str, run_ids: Collection[str] | None, kept: Collection[str] = ()
) -> Pointed:
    """Let these runs (None: all that are not deleted) go to this target, from their first row on.

    What stands under the names `kept` in the target that a run has already it keeps, also that nothing does.
    Runs of other programs stay where they are: the journal has not got what their owners logged. To be called by the
    deliverer, under its lock.
    """
    runs: list[str] = []
    there: list[str] = []
    external: list[str] = []
    with journal.explaining, journal.lock, journal.begun() as db:
        found = db.execute(
            "SELECT runs.run, run_id, external, target FROM runs "
            "LEFT JOIN deliveries d ON d.run = runs.run AND backend = ?1 "
            "WHERE deleted IS NULL ORDER BY start_time, run_id",
            (backend,),
        ).fetchall()
        for run, run_id, is_external, before in found:
            if run_ids is not None and run_id not in run_ids:
                continue
            new = _keeping(target, before, kept)
            is_there = before == new
            (external if is_external else there if is_there else runs).append(run_id)
            if not (is_external or is_there):
                db.execute("DELETE FROM rejections WHERE run = ? AND backend = ?", (run, backend))
                db.execute(
                    "INSERT OR REPLACE INTO deliveries (run, backend, target) VALUES (?, ?, ?)", (run, backend, new)
                )
    return Pointed(tuple(runs), tuple(there), tuple(external))


def _keeping(target: str, before: str | None, kept: Collection[str]) -> str:
    if before is None or not kept:
        return target
    old: dict[str, Any] = json.loads(before)
    new = {name: value for name, value in json.loads(target).items() if name not in kept}
    return json.dumps(new | {name: old[name] for name in kept if name in old}, sort_keys=True)


def opened(journal: Journal, run: int, backend: str, remote_id: str, url: str | None) -> None:
    """Keep the backend's own id and address of a run."""
    with journal.explaining, journal.lock, journal.begun() as db:
        db.execute(
            "UPDATE deliveries SET remote_id = ?, url = ?, last_error = NULL WHERE run = ? AND backend = ?",
            (remote_id, url, run, backend),
        )


def advance(
    journal: Journal,
    run: int,
    backend: str,
    n: int,
    rejected: Sequence[Rejection],
    skipped: Sequence[Rejection],
    whole: Sequence[str] = (),
) -> None:
    """Move the cursor to `n`: up to there the backend has everything but what is rejected or skipped.

    Of the tables `whole` it has every row, also those that it rejected before.
    """
    entries = [(run, backend, r.n, r.kind, r.key, r.reason, 0) for r in rejected]
    entries += [(run, backend, r.n, r.kind, r.key, r.reason, 1) for r in skipped]
    with journal.explaining, journal.lock, journal.begun() as db:
        db.execute(
            "UPDATE deliveries SET cursor = max(cursor, ?), last_error = NULL WHERE run = ? AND backend = ?",
            (n, run, backend),
        )
        db.executemany(
            "DELETE FROM rejections WHERE run = ? AND backend = ? AND kind = 'table' AND key = ?",
            [(run, backend, name) for name in whole],
        )
        db.executemany("INSERT OR IGNORE INTO rejections VALUES (?, ?, ?, ?, ?, ?, ?)", entries)


def failed(journal: Journal, entries: Collection[tuple[int, str]], message: str) -> None:
    """Keep why delivery of these (run, backend) does not go on."""
    with journal.explaining, journal.lock, journal.begun() as db:
        db.executemany(
            "UPDATE deliveries SET last_error = ? WHERE run = ? AND backend = ?",
            [(message, run, backend) for run, backend in entries],
        )


def unanswered(journal: Journal, entries: Collection[Pending], message: str) -> None:
    """Keep why these do not go on, where nothing more exact is known."""
    with journal.explaining, journal.lock, journal.begun() as db:
        db.executemany(
            "UPDATE deliveries SET last_error = coalesce(last_error, ?) WHERE run = ? AND backend = ?",
            [(message, entry.run, entry.backend) for entry in entries],
        )
