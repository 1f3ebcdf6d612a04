"""The files and tables of a run as a backend has them: fetched one by one, hashed, and compared with the journal.

A table may have more rows than the journal knows to have arrived, since it is handed over whole: then it has to be the
beginning of what was logged.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from trk.backends.base import Trace
from trk.errors import JournalError, NotFound
from trk.expecting import Expected
from trk.journal.content import TABLE_END
from trk.readback import Reading
from trk.records import Difference, LoggedTable
from trk.tabular import as_json

_LARGEST_TABLE = 300_000_000  # bytes of a table that is looked into for the row that differs


class _File(NamedTuple):
    """A file as it was fetched."""

    size: int
    sha256: str


def compare_files(reading: Reading) -> None:
    """Every file and table that is expected, and what is there besides."""
    expected, held = reading.expected, reading.held
    wanted = {key: trace for (kind, key), trace in sorted(expected.texts.items()) if kind == "file"}
    reading.asking.expect(len(wanted) + len(expected.tables))
    with tempfile.TemporaryDirectory(prefix="trk-", ignore_cleanup_errors=True) as folder:
        local = Path(folder, "there")
        for trace in wanted.values():
            reading.found.looked("file")
            _compare_file(reading, trace, local)
            reading.asking.went()
        for path, last in sorted(expected.tables.items()):
            reading.found.looked("table")
            _compare_table(reading, path, last, local)
            reading.asking.went()
    for path in sorted(held.files.keys() - wanted.keys() - expected.tables.keys()):
        if not expected.external and ("file", path) not in held.own and not _may_be(expected, path):
            reading.found.add(Difference("file", path, None, _told(held.files[path])))


def _may_be(expected: Expected, path: str) -> bool:
    may = expected.catch_up()
    return path in may.tables or ("file", path) in may.texts


def _told(size: int | None, sha256: str | None = None) -> str:
    """A file in few words."""
    known = [f"{size} bytes"] if size is not None else []
    return ", ".join([*known, *([f"sha256 {sha256}"] if sha256 is not None else [])]) or "a file"


def _compare_file(reading: Reading, trace: Trace, local: Path) -> None:
    path, expected = trace.key, reading.expected
    wanted = trace.told or _told(trace.size, trace.text)
    size = reading.held.files.get(path)
    if size is not None and trace.size not in (None, size) and not _may_be(expected, path):
        reading.found.add(Difference("file", path, wanted, _told(size)))  # nothing need be fetched for that
        return
    there = _fetched(reading, path, local) if path in reading.held.files else None
    sha256 = None if there is None else there.sha256
    if sha256 != trace.text and not expected.catch_up().text("file", path, sha256):
        reading.found.add(Difference("file", path, wanted, None if there is None else _told(*there)))


def _fetched(reading: Reading, path: str, local: Path) -> _File | None:
    """A file of the backend in the place `local`; None when there is none."""
    try:
        reading.ask(lambda: reading.backend.fetch(reading.held.run, path, str(local)))
    except NotFound:
        return None
    with local.open("rb") as file:
        return _File(local.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _compare_table(reading: Reading, path: str, last: int, local: Path) -> None:
    """Rows of a table. What the journal has is put together again: nothing keeps the hash of a whole table."""
    name = path.removesuffix(TABLE_END)
    there = _fetched(reading, path, local) if path in reading.held.files else None
    try:
        wanted = reading.expected.table(path, last)
        if there is None:
            if path not in reading.expected.catch_up().tables:
                reading.found.add(Difference("table", name, _rows(wanted.count), None))
            return
        if there.sha256 == _hash(wanted):
            return
        told = _differs(wanted, reading.expected.table(path), there, local)
    except (OSError, JournalError, NotFound):
        reading.found.notes.append(f"table {name} was not compared: its rows are not kept here any more")
        return
    if told is not None:
        reading.found.add(Difference("table", name, *told))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _hash(table: LoggedTable) -> str:
    digest = hashlib.sha256()
    for piece in as_json(table):
        digest.update(piece)
    return digest.hexdigest()


def _differs(wanted: LoggedTable, whole: LoggedTable, there: _File, local: Path) -> tuple[str, str] | None:
    """What each side has where they differ first; None when they have the same rows."""
    if there.size > _LARGEST_TABLE:
        return _rows(wanted.count), _told(there.size, there.sha256)
    try:
        with local.open("rb") as file:
            found = json.load(file)  # as it was written: here 1e999 is infinite
        columns, rows = found["columns"], found["data"]
        if not isinstance(columns, list) or not isinstance(rows, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        return _rows(wanted.count), f"no table: {_told(there.size, there.sha256)}"
    if columns != list(whole.columns):
        return f"columns {_short(list(whole.columns))}", f"columns {_short(columns)}"
    for number, (ours, theirs) in enumerate(zip_longest(_as_read(whole), rows, fillvalue=_NONE), 1):
        if ours is _NONE or (theirs is _NONE and number <= wanted.count):
            return _rows(wanted.count), _rows(len(rows))
        if theirs is _NONE:
            return None
        if ours != theirs:
            return f"row {number}: {_short(ours)}", f"row {number}: {_short(theirs)}"
    return None


_NONE = object()


def _as_read(table: LoggedTable) -> Iterator[Any]:
    """The rows as they are when they have been written and read again: a NaN is null."""
    for row in table.rows():
        single = [row]
        text = b"".join(as_json(LoggedTable(table.path, (), 1, single.__iter__)))
        yield json.loads(text)["data"][0]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"
