"""Deleting and restoring runs, and runs of other programs that are attached to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
NO_ROW = 0


def set_deleted(journal: Journal, run_id: str, deleted: bool) -> int | None:
    """Delete an ended run, or restore it; returns the row's number, None when it was so already.

    Of another program's run nothing but the attachment is hidden here, or brought back: no row says so (NO_ROW), since
    a row would be delivered. Raises NotFound, and Conflict for a run of trk that is open.
    """
    time_ms = write.now_ms()
    with journal.explaining, journal.lock, journal.begun() as db:
        found = db.execute(_STATE, (run_id,)).fetchone()
        if not _changes(found, run_id, deleted):
            return None
        rows = write.any_rows(db, run_id)
        keep_deleted(rows, deleted, time_ms)
        if found[2]:
            return NO_ROW
        return rows.append("delete" if deleted else "restore", time_ms, None, None, None)


def keep_deleted(rows: write.Rows, deleted: bool, time_ms: int) -> None:
    """Whether a run is deleted, and since when."""
    rows.db.execute("UPDATE runs SET deleted = ? WHERE run = ?", (time_ms if deleted else None, rows.run))


def check_deleting(journal: Journal, run_id: str, deleted: bool) -> None:
    """Raise what `set_deleted` would raise, and change nothing."""
    found = journal.read(_STATE, (run_id,))
    _changes(found[0] if found else None, run_id, deleted)


def _changes(found: tuple[Any, ...] | None, run_id: str, deleted: bool) -> bool:
    """Whether deleting a run of this state, or restoring it, changes it."""
    if found is None:
        raise NotFound(f"there is no run {run_id} in this journal", hint="trk ls")
    status, was_deleted, external, _ = found
    if deleted and status == "RUNNING" and not external:
        raise Conflict(f"run {run_id} has not ended", hint=f"trk end --run {run_id}")
    return bool(was_deleted) != deleted


# ---- runs of other programs

_ATTACHED = (
    "SELECT run_id FROM deliveries JOIN runs USING (run) WHERE backend = ? AND target = ? AND remote_id = ? "
    "ORDER BY run LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Owned:
    """What a run of another program has: the last (step, time in ms, value) of its metrics, its params and tags."""

    last: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def attached(journal: Journal, backend: str, target: str, remote_id: str) -> str | None:
    """The id of the run in this journal that is delivered to this run of a backend; None when there is none.

    `target` is the place, as the journal keeps it: a copy of a store has runs of the same ids.
    """
    found = journal.read(_ATTACHED, (backend, target, remote_id))
    return found[0][0] if found else None


def attach(
    journal: Journal,
    run_id: str,
    fields: Mapping[str, Any],
    deliveries: Sequence[tuple[str, str, str, str | None]],
    owned: Owned,
) -> str:
    """Keep a run of another program: its columns, and per backend (name, target as JSON, remote id, address).

    Of what its owner logged, the last points are kept, which a step left out goes on from, the params, since another
    value of one is an error here too, and the tags. Returns the run's id: that of an earlier one when another process
    has just attached to the same.
    """
    with journal.explaining, journal.lock, journal.begun() as db:
        for backend, target, remote_id, _ in deliveries:
            if found := db.execute(_ATTACHED, (backend, target, remote_id)).fetchone():
                earlier: str = found[0]
                return earlier
        names = ", ".join(fields)
        marks = ", ".join("?" * len(fields))
        run = db.execute(
            f"INSERT INTO runs (run_id, external, {names}) "  # noqa: S608 - column names are ours
            f"VALUES (?, 1, {marks}) RETURNING run",
            (run_id, *fields.values()),
        ).fetchone()[0]
        db.executemany(
            "INSERT INTO deliveries (run, backend, target, remote_id, url) VALUES (?, ?, ?, ?, ?)",
            [(run, *delivery) for delivery in deliveries],
        )
        _keep_last(db, run, owned.last)
        _keep_texts(db, run, owned)
        return run_id


def caught_up(journal: Journal, run_id: str, fields: Mapping[str, Any], owned: Owned) -> None:
    """Let the columns of another program's run, and what is known of its content, catch up with its owner's."""
    columns = ", ".join(f"{name} = ?" for name in fields)
    with journal.explaining, journal.lock, journal.begun() as db:
        run = write.any_rows(db, run_id).run
        db.execute(f"UPDATE runs SET {columns} WHERE run = ?", (*fields.values(), run))  # noqa: S608 - ours
        _keep_last(db, run, owned.last)
        _keep_texts(db, run, owned)


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


def _keep_texts(db: Connection, run: int, owned: Owned) -> None:
    """The owner's params and tags, where this journal has not logged its own.

    A param that is logged here and not delivered gives way: the owner's can't be changed any more.
    """
    params = _pairs(db, "SELECT key, value FROM params WHERE run = ?", run)
    tags = _pairs(db, "SELECT key, value FROM tags WHERE run = ?", run)
    new_params = {key: text for key, text in owned.params.items() if params.get(key) != text}
    new_tags = {key: text for key, text in owned.tags.items() if tags.get(key) != text}
    gone = tags.keys() - owned.tags.keys()
    if not (new_params or new_tags or gone):
        return
    ours_params, ours_tags = _own_names(db, run)
    for key in new_params.keys() - ours_params:
        db.execute("INSERT OR REPLACE INTO params VALUES (?, ?, ?)", (run, key, new_params[key]))
    for key in new_tags.keys() - ours_tags:
        db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (run, key, new_tags[key]))
    for key in gone - ours_tags:
        db.execute("DELETE FROM tags WHERE run = ? AND key = ?", (run, key))


def _pairs(db: Connection, select: str, run: int) -> dict[str, str]:
    return dict(db.execute(select, (run,)).fetchall())


def _own_names(db: Connection, run: int) -> tuple[set[str], set[str]]:
    """(params that were logged here and delivered, tags that were logged here or taken away)."""
    cursor = db.execute("SELECT coalesce(min(cursor), 0) FROM deliveries WHERE run = ?", (run,)).fetchone()[0]
    rejected = {n for (n,) in db.execute("SELECT n FROM rejections WHERE run = ?", (run,))}
    params: set[str] = set()
    tags: set[str] = set()
    for n, kind, key in db.execute(
        "SELECT n, kind, key FROM rows WHERE run = ? AND step IS NULL "
        "AND kind IN ('param', 'tag', 'delete_tag', 'summary')",
        (run,),
    ):
        name = f"summary/{key}" if kind == "summary" else key
        if kind != "param":
            tags.add(name)
        if kind in ("param", "summary") and n <= cursor and n not in rejected:
            params.add(name)
    return params, tags


def is_keyless(journal: Journal, run_id: str) -> bool:
    """Whether a run was started in an environment without credentials."""
    return bool(journal.read("SELECT 1 FROM runs WHERE run_id = ? AND keyless", (run_id,)))


def has_open(journal: Journal) -> bool:
    """Whether a run of trk's own is open."""
    return count_open(journal) > 0


def open_keys(journal: Journal, after: int) -> tuple[set[int], int]:
    """(the keys of all open runs, and of all that came after run `after`; the newest one's key)."""
    found = journal.read(
        "SELECT run FROM runs WHERE status = 'RUNNING' UNION SELECT run FROM runs WHERE run > ? ORDER BY run", (after,)
    )
    keys = [key for (key,) in found]
    return set(keys), max([after, *keys[-1:]])


def count_open(journal: Journal) -> int:
    """How many runs of trk's own are open."""
    found: int = journal.read("SELECT count(*) FROM runs WHERE status = 'RUNNING' AND NOT external")[0][0]
    return found


_HEARD = "coalesce((SELECT time FROM rows WHERE rows.run = runs.run ORDER BY n DESC LIMIT 1), start_time)"


def take_over(journal: Journal, run_id: str, owner: str) -> None:
    """Let a run that goes on belong to `owner`, as `trk.owners` has it, from now on."""
    with journal.explaining, journal.lock, journal.begun() as db:
        db.execute("UPDATE runs SET owner = ? WHERE run_id = ?", (owner, run_id))


def owner(journal: Journal, run_id: str) -> tuple[str | None, int]:
    """(who started or resumed a run, as `trk.owners` reads it; the time of its last row, else of its start, in ms).

    Raises NotFound.
    """
    found = journal.read(f"SELECT owner, {_HEARD} FROM runs WHERE run_id = ?", (run_id,))  # noqa: S608 - our words
    if not found:
        raise NotFound(f"there is no run {run_id} in this journal", hint="trk ls")
    owner, heard = found[0]
    return owner, heard


def beat(journal: Journal, run_id: str, time_ms: int) -> None:
    """Note, beside who started an open run, that he was alive at that time. It is no row: nothing is delivered."""
    with journal.explaining, journal.lock, journal.begun() as db:
        db.execute(
            "UPDATE runs SET owner = json_set(owner, '$.beat', ?) "
            "WHERE run_id = ? AND status = 'RUNNING' AND json_valid(owner)",
            (time_ms, run_id),
        )


def latest_tagged(journal: Journal, key: str, value: str) -> tuple[str, str, str | None] | None:
    """(id, status, owner) of the newest run of trk's own with this tag that is not deleted; None when there is none."""
    found = journal.read(
        "SELECT run_id, status, owner FROM tags JOIN runs USING (run) WHERE key = ? AND value = ? "
        "AND deleted IS NULL AND NOT external ORDER BY run DESC LIMIT 1",
        (key, value),
    )
    return found[0] if found else None


def last_row_ms(journal: Journal, run_id: str) -> int | None:
    """The time of a run's last row in milliseconds since 1970; None when it has none."""
    found = journal.read(
        "SELECT time FROM rows WHERE run = (SELECT run FROM runs WHERE run_id = ?) ORDER BY n DESC LIMIT 1", (run_id,)
    )
    return found[0][0] if found else None


def open_owned(journal: Journal) -> list[tuple[str, str, str, int]]:
    """(id, name, owner, time of the last row or the start in ms) of trk's own open runs whose owner was kept.

    Oldest first.
    """
    return journal.read(
        f"SELECT run_id, name, owner, {_HEARD} FROM runs WHERE status = 'RUNNING' "  # noqa: S608 - our words
        "AND deleted IS NULL AND NOT external AND owner IS NOT NULL ORDER BY start_time, run_id"
    )


def open_owners(journal: Journal) -> list[str | None]:
    """The owners of trk's own open runs, each once, those of the newest runs first."""
    found = journal.read(
        "SELECT owner FROM runs WHERE status = 'RUNNING' AND NOT external GROUP BY owner ORDER BY max(run) DESC"
    )
    return [owner for (owner,) in found]


def is_external(journal: Journal, run_id: str) -> bool:
    """Whether a run is another program's, which trk never ends, and of which it hides the attachment alone."""
    found = journal.read("SELECT external FROM runs WHERE run_id = ?", (run_id,))
    return bool(found and found[0][0])


def is_open(journal: Journal, run_id: str) -> bool:
    """Whether a run can be logged into: another program's also when its owner has ended it."""
    return bool(
        journal.read(
            "SELECT 1 FROM runs WHERE run_id = ? AND deleted IS NULL AND (external OR status = 'RUNNING')", (run_id,)
        )
    )


def handle(journal: Journal, run_id: str) -> str | None:
    """What a run of another program is called there, such as `mlflow:<id>`; None for a run of trk."""
    found = journal.read(_STATE, (run_id,))
    return found[0][3] if found and found[0][2] else None


def settled(journal: Journal, run_id: str) -> list[tuple[str, str, str]]:
    """(backend, target as JSON, remote id) of an attached run, where everything logged into it was delivered."""
    return journal.read(
        "SELECT backend, target, remote_id FROM deliveries JOIN runs USING (run) "
        "WHERE run_id = ? AND external AND deleted IS NULL AND remote_id IS NOT NULL AND last_error IS NULL "
        "AND cursor = (SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = runs.run)",
        (run_id,),
    )


def externals(journal: Journal, backend: str, target: str) -> dict[str, str]:
    """The runs of other programs at this target of a backend that are attached to: run ids by remote id."""
    return dict(
        journal.read(
            "SELECT remote_id, run_id FROM runs JOIN deliveries USING (run) "
            "WHERE external AND deleted IS NULL AND backend = ? AND target = ?",
            (backend, target),
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
