"""Opening the journal, its lock, its transactions, and what SQLite's errors mean to a user.

A connection belongs to one process, and none is open across a fork. SQLite keeps its file locks per process: a child
that inherits a connection, even one it never uses, believes that it holds locks which the kernel does not know of, and
the next process to leave deletes the log under its feet (seen: 51 acknowledged rows lost). So connections are closed
before a fork, and parent and child open their own. Within a process threads take turns.
"""

from __future__ import annotations

import os

# The C module alone: the package `sqlite3` costs a log command four more milliseconds of imports.
from _sqlite3 import Connection, connect
from _sqlite3 import Error as SqliteError
from _thread import RLock, get_ident

from trk.errors import JournalError, TrkError
from trk.journal import schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LOCK_WAIT_S = 30.0  # 1 s lost 2 of 32,000 appends of 64 parallel shells to "database is locked"

_turn = RLock()  # one for all journals of the process: held over a fork, so that none is in use then
_opened: set[Journal] = set()


def _before_fork() -> None:
    _turn.acquire()
    for journal in list(_opened):
        journal.close()


def _after_fork() -> None:
    _turn.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class Journal:
    """One journal file. `path` is the file; it is opened at the first use in each process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = _turn
        self.explaining = _Explaining(path)
        self._connection: Connection | None = None
        self._openings = 0
        self._file = (0, 0)  # which one is open: its path may come to name another

    @classmethod
    def create(cls, path: str) -> Journal:
        """The journal at `path`, made if it is not there. Two processes at once make one. Raises JournalError."""
        if not os.path.exists(path):
            _make(path)
        return cls(path)

    @property
    def connection(self) -> Connection:
        """This process's connection, opened when first asked for; to be used under `lock`.

        Raises JournalError and SQLite's own errors.
        """
        if self._connection is None:
            if not os.path.exists(self.path):
                raise JournalError(f"there is no journal at {self.path}", hint="trk start")
            self._connection = _connected(self.path)
            self._file = _file_at(self.path)
            self._openings += 1
            _opened.add(self)
        return self._connection

    def read(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, fetched at once: an open read would let the log grow. Raises JournalError."""
        with self.lock:
            try:
                return self.connection.execute(sql, arguments).fetchall()
            except SqliteError as error:
                return self._read_unwritable(sql, arguments, error)

    def _read_unwritable(self, sql: str, arguments: Sequence[Any], error: SqliteError) -> list[Any]:
        """The same where the journal can't be written to, which WAL mode needs even for reading.

        The connection used here is never the one that transactions use: what is written to a copy would be lost.
        """
        from trk.journal.readonly import read_unwritable

        rows = read_unwritable(self.path, error, sql, arguments)
        if rows is None:
            raise explained(error, self.path) from error
        return rows

    def begun(self) -> Connection:
        """The connection, with a transaction begun: waits 30 s for its turn. A transaction is

            with journal.explaining, journal.lock, journal.begun() as db:

        whose statements take effect together, or not at all. The connection and the lock are left by C code: a Ctrl-C
        can come before a `__exit__` written in Python does anything, and would leave everyone locked out.
        """
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
        except BaseException:  # a Ctrl-C while the file's lock was waited for comes when it is there
            connection.rollback()
            raise
        return connection

    def version(self) -> tuple[int, int]:
        """What is another one after any other process has written. Raises JournalError.

        SQLite's own number is its connection's, which is a new one after a fork.
        """
        with self.lock:
            found: int = self.read("PRAGMA data_version")[0][0]
            return self._openings, found

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, as far as nobody is reading it."""
        with self.lock:
            try:
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except (SqliteError, JournalError):
                return  # nothing depends on it: the next checkpoint does more

    def close(self) -> None:
        """Close this process's connection, if it has one."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            _opened.discard(self)


def close_all(*, replaced: bool = False) -> None:
    """Close this process's journals; with `replaced` those alone whose path names another file by now, or none."""
    with _turn:
        for journal in list(_opened):
            if not replaced or _file_at(journal.path) != journal._file:
                journal.close()


def _file_at(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


class _Explaining:
    """A `with` block in which SQLite's errors become JournalErrors."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, SqliteError):
            raise explained(error, self._path) from error


def _connected(path: str) -> Connection:
    connection = connect(path, LOCK_WAIT_S, 0, None, False)  # no implicit transactions; threads take turns
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != schema.VERSION:
            _make_current(connection, version, path)
        # Every acknowledged row survives the death of any process; the log is fsynced at checkpoints.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:  # also Ctrl-C: the connection is not left open
        connection.close()
        raise
    return connection


def _make_current(connection: Connection, version: int, path: str) -> None:
    if version > schema.VERSION:
        raise JournalError(
            f"{path} was written by a newer trk (version {version} of the journal; this one knows {schema.VERSION})",
            hint="pip install --upgrade trk-ml",
        )
    if version == 0:
        raise JournalError(f"{path} is not a journal of trk", hint=f"keep it and start a new one: {_aside(path)}")
    schema.migrate(connection, version)


def _make(path: str) -> None:
    """Build the file under another name and put it in place at once, so that nobody sees half a journal."""
    draft = f"{path}.{os.getpid()}.{get_ident()}"  # threads of one process may both find that there is none
    try:
        connection = connect(draft, LOCK_WAIT_S, 0, None, False)
        try:
            connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
            connection.execute("PRAGMA journal_mode = WAL")
            schema.migrate(connection, 0)
            # On a full disk closing would say nothing and leave the tables in the log, which does not go with the file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        os.chmod(draft, 0o600)
        _put_in_place(draft, path)
    except (SqliteError, OSError) as error:
        raise explained(error, path) from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(draft + suffix):
                os.remove(draft + suffix)


def _put_in_place(draft: str, path: str) -> None:
    """Make the draft the journal, unless another process was first: its journal is as good."""
    import fcntl

    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.exists(path):
            return
        for suffix in ("-wal", "-shm"):
            # What is left of a journal that was moved away: SQLite would play it into the new one.
            if os.path.exists(path + suffix):
                os.replace(path + suffix, f"{path}.left{suffix}")
        os.rename(draft, path)
    finally:
        os.close(folder)


def _aside(path: str) -> str:
    """The command that moves a journal away together with its log, if it has one, which holds its newest rows."""
    from shlex import quote

    for journal in list(_opened):
        if journal.path == path:
            journal.close()  # an empty log goes with it
    there = [suffix for suffix in ("", "-wal") if os.path.exists(path + suffix)]
    return "; ".join(f"mv {quote(path + suffix)} {quote(f'{path}.broken{suffix}')}" for suffix in there)


def explained(error: BaseException, path: str) -> TrkError:
    """What an error of SQLite or the file system means, with the command that mends it."""
    # Not the whole text of an OSError: it has the path in it, and a path may have any word in it.
    text = (error.strerror or "") if isinstance(error, OSError) else str(error)
    folder = os.path.dirname(path) or "."
    if "locked" in text or "busy" in text:
        return JournalError(
            f"the journal {path} was locked by another process for {LOCK_WAIT_S:.0f} s", hint=f"see: lsof {path}"
        )
    if "full" in text or getattr(error, "errno", None) == 28 or ("disk I/O" in text and _is_full(folder)):
        return JournalError(f"no space left for the journal {path}: nothing was written", hint=f"df -h {folder}")
    if (
        "readonly" in text
        or "read-only" in text.lower()
        or "unable to open" in text
        or isinstance(error, PermissionError)
    ):
        return JournalError(f"the journal {path} can't be written: {text}", hint=f"ls -ld {folder}")
    if "not a database" in text or "malformed" in text or "no such table" in text:
        return JournalError(
            f"the journal {path} is damaged ({text})", hint=f"keep it and start a new one: {_aside(path)}"
        )
    return JournalError(f"the journal {path}: {text}", hint=f"df -h {folder}; ls -l {folder}")


def _is_full(folder: str) -> bool:
    """Whether there is no room for what SQLite needs beside the journal, which it then calls an I/O error."""
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return False
    return found.f_bavail * found.f_frsize < 100_000
