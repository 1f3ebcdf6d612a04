"""Journals that can only be read, though SQLite would have to write: also those of an earlier version."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from trk.journal import readonly, schema

ERROR = sqlite3.OperationalError("unable to open database file")


def test_a_journal_of_an_earlier_version_is_read_as_of_now_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as db:
        db.executescript(schema.MIGRATIONS[0])
        db.execute("PRAGMA user_version = 1")
        db.execute(
            "INSERT INTO runs (run_id, name, experiment, status, start_time) VALUES ('id', 'old', 'e', 'FINISHED', 1)"
        )
    db.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for _ in range(2):
        found = readonly.read_unwritable(str(path), ERROR, "SELECT name, deleted, external FROM runs", ())
        assert found == [("old", None, 0)]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_what_has_another_cause_is_not_read(tmp_path: Path) -> None:
    assert (
        readonly.read_unwritable(str(tmp_path / "x"), sqlite3.OperationalError("no such table"), "SELECT 1", ()) is None
    )
