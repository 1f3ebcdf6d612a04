"""Looking at a journal without changing it: for `trk doctor`, which is called when something may be broken.

An SQLite file in WAL mode is changed even by reading: a log and shared memory are laid beside it. So a journal without
a log is read as it lies there, and only one with a log is joined with it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from trk.errors import JournalError
from trk.journal import blobs, schema
from trk.journal.db import Journal, _opened, explained

LOCK_WAIT_S = 1.0  # whoever looks for what is wrong does not wait for it to end
STEPS = 10_000  # SQLite's own, between two looks at the clock


class ReadOnly(Journal):
    """A journal to read from, never made, migrated or written to. Close it after use."""

    _logged = 0  # bytes of the log when the journal was opened

    @property
    def connection(self) -> sqlite3.Connection:
        """This process's connection. Raises JournalError when there is no journal of this version of trk."""
        if self._connection is None:
            self._logged = log_size(self.path)
            connection = _connected(self.path)
            try:
                _check_version(connection, self.path)
            except BaseException:  # also Ctrl-C: the connection is not left open
                connection.close()
                raise
            self._connection = connection
            _opened.add(self)  # closed before a fork, as every other
        return self._connection

    def read(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query. Raises JournalError."""
        try:
            return super().read(sql, arguments)
        except JournalError:
            if self._connection is None or self._logged or not log_size(self.path):
                raise
        self.close()  # a writer came while the file was read as it lay there
        return super().read(sql, arguments)


@contextmanager
def read_only(path: str) -> Iterator[ReadOnly]:
    """A journal to read from, closed at the end of the `with`."""
    journal = ReadOnly(path)
    try:
        yield journal
    finally:
        journal.close()


def _connected(path: str) -> sqlite3.Connection:
    if not os.path.exists(path):
        raise JournalError(f"there is no journal at {path}", hint="trk start")
    how = "mode=ro" if log_size(path) else "immutable=1"
    address = f"file:{quote(os.path.abspath(path))}?{how}"
    return sqlite3.connect(address, LOCK_WAIT_S, 0, None, False, uri=True)


def _check_version(connection: sqlite3.Connection, path: str) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > schema.VERSION:
        raise JournalError(
            f"{path} was written by a newer trk (version {found} of the journal; this one knows {schema.VERSION})",
            hint="pip install --upgrade trk-ml",
        )
    if found == 0:
        raise JournalError(f"{path} is not a journal of trk", hint=f"mv {path} {path}.foreign")
    if found < schema.VERSION:
        raise Outdated(f"{path} has version {found} of the journal, this trk's is {schema.VERSION}", hint="trk ls")


class Outdated(JournalError):
    """The journal is an older trk's: the next command brings it up to date."""


def log_size(path: str) -> int:
    """The bytes of the log beside a journal; 0 when there is none."""
    try:
        return os.path.getsize(path + "-wal")
    except OSError:
        return 0


def damage(path: str, deadline: float) -> str | None:
    """What SQLite's own check finds wrong with a journal, None when it is whole.

    Raises TimeoutError when that is not known at `deadline` (by time.monotonic), and JournalError.
    """
    try:
        return _damage(path, deadline)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error):
            raise TimeoutError("the journal is not checked to its end") from None
        raise explained(error, path) from error


def _damage(path: str, deadline: float) -> str | None:
    logged = log_size(path)
    connection = _connected(path)
    try:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        found = [text for (text,) in connection.execute("PRAGMA quick_check(3)")]
    finally:
        connection.close()
    if found != ["ok"] and not logged and log_size(path):
        return _damage(path, deadline)  # a writer came while the file was read as it lay there
    return None if found == ["ok"] else "; ".join(found)


_FORGOTTEN = "(external AND deleted IS NOT NULL)"  # another program's run whose attachment was deleted here


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one backend does not have, over all runs, in rows.

    `ended` are the pending rows of ended runs and of those of other programs (`theirs`), which end without trk;
    `unopened` are the ended runs that the backend does not know yet.
    `rejected_runs` have rejected rows, the newest is `rejected_run_id`. `last_error` is why the newest run that does
    not go on does not.
    """

    backend: str
    pending: int
    ended: int
    theirs: int
    unopened: int
    rejected: int
    rejected_runs: int
    rejected_run_id: str | None
    last_error: str | None


def backlogs(journal: Journal) -> list[Backlog]:
    """Per backend that any run goes to, what is pending and rejected."""
    waiting = journal.read(
        "SELECT backend, coalesce(sum(logged - cursor), 0), "  # noqa: S608 - our words
        "coalesce(sum((logged - cursor) * over), 0), coalesce(sum((logged - cursor) * external), 0), "
        "coalesce(sum(remote_id IS NULL AND over), 0) FROM "
        # Another program's run is never ended here: what is logged into it waits for nothing but its delivery.
        "(SELECT backend, cursor, remote_id, external, status != 'RUNNING' OR external AS over, "
        "(SELECT coalesce(max(n), 0) FROM rows WHERE rows.run = d.run) AS logged "
        f"FROM deliveries d JOIN runs USING (run) WHERE NOT {_FORGOTTEN}) GROUP BY backend ORDER BY backend"
    )
    refused: dict[str, tuple[int, int, str | None]] = {
        backend: (rows, runs, newest)
        for backend, rows, runs, newest in journal.read(
            "SELECT backend, count(*), count(DISTINCT run), max(run_id) "
            "FROM rejections JOIN runs USING (run) WHERE skipped = 0 GROUP BY backend"
        )
    }
    return [
        Backlog(
            backend,
            pending,
            ended,
            theirs,
            unopened,
            *refused.get(backend, (0, 0, None)),
            _last_error(journal, backend),
        )
        for backend, pending, ended, theirs, unopened in waiting
    ]


def _last_error(journal: Journal, backend: str) -> str | None:
    found = journal.read(
        "SELECT last_error FROM deliveries JOIN runs USING (run) "  # noqa: S608 - our words
        f"WHERE backend = ? AND last_error IS NOT NULL AND NOT {_FORGOTTEN} ORDER BY start_time DESC LIMIT 1",
        (backend,),
    )
    return found[0][0] if found else None


def pending_files(journal: Journal) -> list[tuple[str, str, str, int]]:
    """(run id, path inside the run, where the bytes lie, their number) of each file that some backend waits for.

    A table is handed over whole, so that its first rows count as long as any of it is pending.
    """
    found = journal.read(
        "SELECT DISTINCT run, run_id, f.n, path, sha256, size FROM deliveries d "  # noqa: S608 - our words
        "JOIN runs USING (run) JOIN files f USING (run) "
        f"WHERE sha256 IS NOT NULL AND size IS NOT NULL AND NOT {_FORGOTTEN} AND (f.n > cursor OR (kind = 'table' AND "
        "EXISTS (SELECT 1 FROM files g WHERE g.run = f.run AND g.path = f.path AND g.n > cursor))) "
        "ORDER BY run_id, path, f.n"
    )
    in_place = _in_place(journal, {(run, n) for run, _, n, _, _, _ in found})
    return [
        (run_id, path, in_place.get((run, n, path)) or blobs.path(journal, sha256), size)
        for run, run_id, n, path, sha256, size in found
    ]


def _in_place(journal: Journal, rows: Collection[tuple[int, int]]) -> dict[tuple[int, int, str], str]:
    """Where the files of these rows lie that were logged without a copy, by run, row and path."""
    lying = {}
    for run in {run for run, _ in rows}:
        for n, value in journal.read(
            "SELECT n, value FROM rows WHERE run = ? AND step IS NULL AND kind IN ('file', 'artifact') "
            "AND instr(value, '\"source\":')",
            (run,),
        ):
            if (run, n) in rows:
                files = json.loads(value)["files"]
                lying.update({(run, n, file["path"]): file["source"] for file in files if file.get("source")})
    return lying


def silent_runs(journal: Journal, before_ms: int) -> list[tuple[str, str]]:
    """(id, name) of the open runs that began, and were last logged into, before that time; oldest first.

    Runs of other programs, which trk never ends, and deleted ones are left out.
    """
    return journal.read(
        "SELECT run_id, name FROM runs "
        "WHERE status = 'RUNNING' AND deleted IS NULL AND NOT external AND start_time < ?1 "
        "AND coalesce((SELECT time FROM rows WHERE rows.run = runs.run ORDER BY n DESC LIMIT 1), 0) < ?1 "
        "ORDER BY start_time, run_id",
        (before_ms,),
    )


def counts(journal: Journal) -> tuple[int, int]:
    """(runs, open runs) of the journal."""
    found: tuple[int, int] = journal.read("SELECT count(*), coalesce(sum(status = 'RUNNING'), 0) FROM runs")[0]
    return found


def schema_revision(path: str) -> str | None:
    """The revision that Alembic, whose migrations MLflow uses, has written into an SQLite file; None without one.

    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", LOCK_WAIT_S, uri=True)
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall():
            return None
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return found[0][0] if found else None
    finally:
        connection.close()
