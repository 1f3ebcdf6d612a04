"""Beside another program's files: in a run that was attached to, what its owner put there is never replaced.

What lies at a path is trk's own when trk has delivered there before. Else it may still be what a deliverer handed over
and was killed before it could note that: then it is, byte for byte, what is to be put there, or, of a table, its
beginning.
"""

from __future__ import annotations

import hashlib
import posixpath
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trk.backends._mlflow_listing import Entry, folder, save
from trk.backends._mlflow_store import Store
from trk.errors import BackendRefused
from trk.records import LoggedFile, LoggedTable, RemoteRun, Row
from trk.rules import shown
from trk.tabular import as_json

_END = b"]}"  # of a table's JSON


def check(store: Store, run: RemoteRun, rows: Sequence[Row]) -> None:
    """Raise BackendRefused when a row's file or table would replace what is not trk's. `rows` are of files."""
    new: list[LoggedFile | LoggedTable] = [
        file for row in rows for file in row.files if file.uri is None and not file.delivered
    ]
    new += [row.table for row in rows if row.table is not None and not row.table.delivered]
    if not new:
        return
    with store.calling() as mlflow:
        uri = mlflow.get_run(run.remote_id).info.artifact_uri
    with store.repository(uri) as repository:
        there = _There(store, repository)
        for item in new:
            there.check(item)


class _There:
    """What lies in a run, folder by folder as it is asked for."""

    def __init__(self, store: Store, repository: Any) -> None:
        self._store = store
        self._repository = repository
        self._folders: dict[str, dict[str, Entry]] = {}

    def check(self, item: LoggedFile | LoggedTable) -> None:
        above = ""
        for part in item.path.split("/")[:-1]:
            above = posixpath.join(above, part)
            found = self._at(above)
            if found is None:
                return
            if not found.is_folder:
                raise self._taken(above, item.path)
        found = self._at(item.path)
        if found is not None and (found.is_folder or not self._is_ours(item, found)):
            raise self._taken(item.path, item.path)

    def _at(self, path: str) -> Entry | None:
        where = posixpath.dirname(path)
        if where not in self._folders:
            listed = folder(self._store, self._repository, where)
            self._folders[where] = {entry.path: entry for entry in listed}
        return self._folders[where].get(path)

    def _is_ours(self, item: LoggedFile | LoggedTable, found: Entry) -> bool:
        if isinstance(item, LoggedFile) and found.size not in (None, item.size):
            return False
        with tempfile.TemporaryDirectory(prefix="trk-") as here:
            local = Path(here) / "there"
            save(self._store, self._repository, item.path, local)
            if isinstance(item, LoggedFile):
                with local.open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest() == item.sha256
            return _is_beginning(local, item)

    def _taken(self, taken: str, path: str) -> BackendRefused:
        here = "" if taken == path else f", and no folder for {shown(path)}"
        return BackendRefused(f"{shown(taken)} is the run's owner's{here}: log it under another name")


def _is_beginning(local: Path, table: LoggedTable) -> bool:
    """Whether a file holds the first rows of a table, as trk writes tables."""
    left = local.stat().st_size - len(_END)
    with local.open("rb") as file:
        for piece in as_json(table):
            if left <= len(piece):
                return left > 0 and piece.startswith(file.read(left)) and file.read() == _END
            if file.read(len(piece)) != piece:
                return False
            left -= len(piece)
    return False
