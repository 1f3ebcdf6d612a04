"""Rows written into a file: CSV, TSV, JSON, JSONL, Parquet."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO, Literal

from trk.errors import UsageError
from trk.query import cells
from trk.rules import acts, escape, shown

FORMATS = ("csv", "tsv", "json", "jsonl", "parquet")
_ENDINGS = {**{f".{name}": name for name in FORMATS}, ".ndjson": "jsonl", ".pq": "parquet"}
_BATCH = 10_000  # rows of Parquet that are in memory at once

Type = Literal["text", "number", "integer", "time"]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns with their types, and the rows, each as cells and as the object that JSON has of it."""

    columns: Mapping[str, Type]
    rows: Iterable[tuple[Sequence[Any], Any]]


def format_of(name: str, format: str | None) -> str:  # noqa: A002 - the word of the command line
    """The format asked for, else by the ending of a file's name. Raises UsageError."""
    found = format if format is not None else _ENDINGS.get(PurePath(name).suffix.lower())
    if found not in FORMATS:
        what = f"format {shown(format)}" if format is not None else f"the ending of {shown(name)}"
        raise UsageError(f"{what} is not one of {', '.join(FORMATS)}", hint="runs.csv, or --format csv")
    return found


def check_installed(format: str) -> None:  # noqa: A002 - as above
    """Raise UsageError when what a format needs is not installed."""
    if format != "parquet":
        return
    try:
        import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]  # noqa: F401 - is it there?
    except ImportError:
        hint = "pip install 'trk-ml[parquet]'; or csv, jsonl"
        raise UsageError("Parquet is written by pyarrow, which is not installed", hint=hint) from None


def write(file: BinaryIO, table: Table, format: str) -> int:  # noqa: A002 - as above
    """Write a table; returns how many rows it had. Raises OSError, and what taking rows raises."""
    if format == "parquet":
        return _parquet(file, table)
    texts: Callable[[Table], Iterator[str]] = {"csv": _csv, "tsv": _tsv, "json": _json, "jsonl": _jsonl}[format]
    rows = 0

    def counted() -> Iterator[tuple[Sequence[Any], Any]]:
        nonlocal rows
        for rows, row in enumerate(table.rows, 1):  # noqa: B007 - `rows` is what is counted
            yield row

    file.writelines(text.encode() for text in texts(Table(table.columns, counted())))
    return rows


def _csv(table: Table) -> Iterator[str]:
    """No cell begins as a formula, and nothing in it acts on a terminal; newlines and tabs are kept."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    titles = [cells.exact(title) for title in table.columns]
    for row in itertools.chain([titles], (map(cells.exact, row) for row, _ in table.rows)):
        lines.writerow([escape(text, keep="\n\t") for text in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _tsv(table: Table) -> Iterator[str]:
    """As CSV, and tabs and newlines are shown: no line has another number of cells."""
    for row in itertools.chain([list(table.columns)], (row for row, _ in table.rows)):
        yield "\t".join(escape(cells.exact(cell)) for cell in row) + "\n"


def _json(table: Table) -> Iterator[str]:
    before = "[\n"
    for _, one in table.rows:
        yield before + _dumps(one)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _jsonl(table: Table) -> Iterator[str]:
    for _, one in table.rows:
        yield _dumps(one) + "\n"


def _dumps(value: Any) -> str:
    """JSON on one line; what acts on a terminal is written as its number, which reads back the same."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else "".join(json.dumps(c)[1:-1] if acts(c) else c for c in text)


def _parquet(file: BinaryIO, table: Table) -> int:
    import pyarrow  # type: ignore[import-untyped, unused-ignore]  # which of its versions has types is theirs
    import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

    types = {
        "text": pyarrow.string(),
        "number": pyarrow.float64(),
        "integer": pyarrow.int64(),
        "time": pyarrow.timestamp("ms", "UTC"),
    }
    schema = pyarrow.schema([(title, types[kind]) for title, kind in table.columns.items()])
    written, rows = 0, iter(table.rows)
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while batch := [row for row, _ in itertools.islice(rows, _BATCH)]:
            columns = list(zip(*batch, strict=True))
            arrays = [pyarrow.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
            written += len(batch)
    return written
