"""Reading a journal that can't be written: WAL mode needs to write even to read (a full disk, a read-only folder)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from trk.journal import schema

UNWRITABLE = ("readonly", "disk i/o error", "unable to open", "is full")

_copies: dict[tuple[object, ...], sqlite3.Connection] = {}  # the newest copy, by what it is a copy of


def read_unwritable(path: str, error: Exception, sql: str, arguments: Sequence[Any]) -> list[Any] | None:
    """The rows of a query on the journal as it stands, or None when `error` has another cause.

    Without a log the file itself is whole and is opened as immutable; with one, file and log are copied to a
    temporary folder, where SQLite can join them.
    """
    if not any(sign in str(error).lower() for sign in UNWRITABLE) or not os.access(path, os.R_OK):
        return None
    try:
        return _connection(path).execute(sql, arguments).fetchall()
    except (OSError, sqlite3.Error):
        return None  # the caller shows the first error, which is the cause


def _connection(path: str) -> sqlite3.Connection:
    log = path + "-wal"
    stamps = [os.stat(file) for file in (path, log) if os.path.exists(file)]
    state = (path, os.getpid(), *((stamp.st_size, stamp.st_mtime_ns) for stamp in stamps))
    if state not in _copies:
        _copies.clear()
        found = _joined(path, log) if os.path.exists(log) and os.path.getsize(log) else _immutable(path)
        _copies[state] = _as_of_now(found)
    return _copies[state]


def _as_of_now(found: sqlite3.Connection) -> sqlite3.Connection:
    """The journal, or when it is of an older version, a copy in memory that is not."""
    version = found.execute("PRAGMA user_version").fetchone()[0]
    if version >= schema.VERSION:
        return found
    memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    found.backup(memory)
    found.close()
    schema.migrate(memory, version)
    return memory


def _immutable(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.path.abspath(path))}?immutable=1", uri=True, check_same_thread=False)


def _joined(path: str, log: str) -> sqlite3.Connection:
    """The journal in memory, joined with its log in a folder that is gone when this returns."""
    with tempfile.TemporaryDirectory(prefix="trk-") as folder:
        copy = os.path.join(folder, "journal.db")
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy + "-wal")
        source = sqlite3.connect(copy)
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        source.backup(memory)
        source.close()
    return memory
