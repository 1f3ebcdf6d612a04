"""Tables as they are fetched: in the form that the ending of the file says."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from trk.errors import NotFound, UsageError
from trk.journal import files, read
from trk.journal.db import Journal
from trk.media import tables
from trk.records import ArtifactRecord

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_REFUSED = (".parquet", ".xlsx")  # endings of tables that are not written: JSON under such a name would be a lie


def form_of(target: Path, path: str) -> str | None:
    """What the table at a path of a run is written as into this file: csv, tsv, jsonl; None for as it is.

    Raises UsageError.
    """
    ending = target.suffix.lower()
    if ending and path.lower().endswith(ending):
        return None
    if ending in _REFUSED:
        raise UsageError(f"a table is not written as {ending}", hint=f"{', '.join(_ENDINGS)} or .json")
    return _ENDINGS.get(ending)


def of_journal(journal: Journal, table: ArtifactRecord) -> tables.Parsed:
    """The rows of a table of the journal, each value as it was logged. Raises NotFound."""
    run = read.run_key(journal, table.run_id)
    if run is None:
        raise NotFound(f"there is no run {table.run_id} in this journal", hint="trk ls")
    whole, _ = files.table(journal, run, table.path, table.n or 0)
    return tables.Parsed(list(whole.columns), whole.rows())


def of_file(file: Path, table: ArtifactRecord) -> tables.Parsed:
    """The rows of a table that a backend gave: JSON, or Parquet if its path says so. Raises UsageError, also later."""
    if table.path.lower().endswith(".parquet"):
        return tables.read_file(file, type="parquet")
    try:
        found = json.loads(file.read_bytes())  # as trk and MLflow write it: here 1e999 is infinite
        columns, data = found["columns"], found["data"]
        if {*map(type, columns)} == {str} and all(len(row) == len(columns) for row in data):
            return tables.Parsed(columns, iter(data))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # somebody else's: what is wrong with it is told
    return tables.read_file(file, type="json")


def write(table: tables.Parsed, form: str, target: Path) -> None:
    """Write a table as csv, tsv or jsonl: every value exactly, in UTF-8. Raises OSError, and what taking rows raises.

    In CSV and TSV numbers are the shortest that read back the same, with nan, inf and -inf; what is missing is empty,
    lists and objects are JSON. In JSON NaN is null, and an infinite number 1e999.
    """
    with target.open("w", encoding="utf-8", newline="") as file:
        if form == "jsonl":
            file.writelines(_objects(table.columns, table.rows))
        else:
            _separated(table, "\t" if form == "tsv" else ",", file)


def _separated(table: tables.Parsed, delimiter: str, file: TextIO) -> None:
    lines = csv.writer(_Lines(file), delimiter=delimiter, lineterminator="\r\n")
    lines.writerow(table.columns)
    lines.writerows([_cell(value) for value in row] for row in table.rows)


class _Lines:
    """A file that ends lines with a newline alone. The writer is told of both, or it would not quote a \\r."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else _json(value, repr)


def _objects(columns: Sequence[str], rows: Iterator[list[Any]]) -> Iterator[str]:
    keys = [json.dumps(column, ensure_ascii=False) for column in columns]
    for row in rows:
        cells = (f"{key}: {_json(value, _valid)}" for key, value in zip(keys, row, strict=True))
        yield f"{{{', '.join(cells)}}}\n"


def _json(value: Any, odd: Callable[[float], str]) -> str:
    """A value as JSON; `odd` says what NaN and infinite numbers are written as where they stand alone."""
    if isinstance(value, float) and value - value != 0:
        return odd(value)
    if isinstance(value, list):
        return f"[{', '.join(_json(one, _valid) for one in value)}]"
    if isinstance(value, dict):
        inner = (f"{json.dumps(key, ensure_ascii=False)}: {_json(one, _valid)}" for key, one in value.items())
        return f"{{{', '.join(inner)}}}"
    return json.dumps(value, ensure_ascii=False)


def _valid(value: float) -> str:
    """What is no number of JSON, as what every reader of JSON takes it for."""
    return "null" if value != value else "1e999" if value > 0 else "-1e999"
