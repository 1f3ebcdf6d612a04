"""Processes that hold a lock: the journal's, the deliverer's, the session's, a database's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from helpers import started

DATABASE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""
FILE = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def _holding(code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    with started(code, *words) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n", holder.communicate()
        try:
            yield holder
        finally:
            holder.communicate("let go\n", timeout=30)


def holding_database(path: str, how: str = "BEGIN IMMEDIATE") -> AbstractContextManager[subprocess.Popen[str]]:
    """Inside a `with`: another process has the write lock of an SQLite file; "BEGIN EXCLUSIVE" keeps readers out."""
    return _holding(DATABASE, path, how)


def holding_file(path: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Inside a `with`: another process has the lock of a file."""
    return _holding(FILE, path)
