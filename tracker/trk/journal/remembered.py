"""Histories of runs that trk did not deliver, in a few numbers each, so that they are read once: `remembered.db`.

It lies beside the journal and is no part of it: what is in it can be asked for again, so it may be deleted at any time,
and whatever goes wrong with it means that nothing is remembered. Nobody has it open for long, and nobody across a fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from _sqlite3 import Connection, connect
from _sqlite3 import Error as SqliteError
from collections.abc import Callable, Iterable, Mapping

from trk.journal import db
from trk.records import MetricStats

FILE = "remembered.db"
KEPT_MS = 90 * 86_400_000  # what was read so long ago is forgotten
_VERSION = 1
_WAIT_S = 1.0

Known = Mapping[str, tuple[str, MetricStats]]  # by run id: (mark, numbers)


def load(folder: str, source: str, metric: str) -> Known:
    """What is remembered of a metric in the runs of a source, by its address."""
    if not os.path.exists(os.path.join(folder, FILE)):
        return {}
    found: list[tuple[str, str, str]] = []

    def ask(opened: Connection) -> None:
        asked = "SELECT run_id, mark, stats FROM histories WHERE source = ? AND key = ?"
        found.extend(opened.execute(asked, (source, metric)))

    _try(folder, ask)
    known = {}
    for run_id, mark, text in found:
        try:
            known[run_id] = mark, MetricStats(**json.loads(text))
        except (ValueError, TypeError):  # of another version
            continue
    return known


def keep(folder: str, source: str, metric: str, read: Iterable[tuple[str, str, MetricStats]]) -> None:
    """Remember histories: (run id, mark, numbers) of each."""
    now = time.time_ns() // 1_000_000
    rows = [(source, metric, run_id, mark, now, _text(stats)) for run_id, mark, stats in read]

    def write(opened: Connection) -> None:
        opened.execute("BEGIN IMMEDIATE")
        opened.executemany("INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?, ?)", rows)
        opened.execute("DELETE FROM histories WHERE time < ?", (now - KEPT_MS,))
        opened.execute("COMMIT")

    if rows:
        _try(folder, write)


def forget(folder: str, before_ms: int) -> None:
    """Forget what was read before that time."""
    if os.path.exists(os.path.join(folder, FILE)):
        _try(folder, lambda opened: opened.execute("DELETE FROM histories WHERE time < ?", (before_ms,)))


def _try(folder: str, use: Callable[[Connection], object]) -> None:
    """Use the file; whatever is wrong with it, it is as if there were none."""
    path = os.path.join(folder, FILE)
    with db._turn:
        try:
            opened = _opened(path)
            try:
                use(opened)
            finally:
                opened.close()
        except (SqliteError, OSError) as error:
            if "not a database" in str(error) or "malformed" in str(error):
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _text(stats: MetricStats) -> str:
    told = {name: getattr(stats, name) for name in MetricStats.__slots__ if name != "mode"}
    return json.dumps(told, separators=(",", ":"))


def _opened(path: str) -> Connection:
    connection = connect(path, _WAIT_S, 0, None, False)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            os.chmod(path, 0o600)
            connection.execute("DROP TABLE IF EXISTS histories")
            connection.execute(
                "CREATE TABLE histories (source TEXT NOT NULL, key TEXT NOT NULL, run_id TEXT NOT NULL, "
                "mark TEXT NOT NULL, time INTEGER NOT NULL, stats TEXT NOT NULL, "
                "PRIMARY KEY (source, key, run_id)) WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:  # also Ctrl-C: the connection is not left open
        connection.close()
        raise
    return connection
