"""Tables: what a file, standard input, a row of the command line or Python's data says, as columns and rows.

What is read is the same for all: names of columns, and rows of values that JSON has (NaN and infinite numbers too).
Files may be longer than memory: rows come one by one.
"""

from __future__ import annotations

import os

from trk.errors import UsageError
from trk.media.table_cells import Parsed, cell, check_columns, count
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO

    from trk.media.table_source import Source

    Warn = Callable[[str], None]

__all__ = [
    "TYPES",
    "Parsed",
    "check_columns",
    "from_data",
    "parse_row",
    "parse_rows",
    "read_bytes",
    "read_file",
    "split_columns",
    "split_line",
]

TYPES = ("csv", "tsv", "json", "jsonl", "parquet")
_ENDINGS = {**{f".{type_}": type_ for type_ in TYPES}, ".ndjson": "jsonl"}
_HINT = f"--type {'|'.join(TYPES)}"


def read_file(
    path: str | os.PathLike[str],
    *,
    type: str | None = None,  # noqa: A002 - the option's name
    columns: Sequence[str] | None = None,
    warn: Warn | None = None,
) -> Parsed:
    """The table in a file, of the type that its ending says when `type` (one of `TYPES`) does not.

    `columns` are the names for rows that have none: a CSV or TSV without a header, lists in JSON; for others they
    must be the same names, and their order counts. A text's columns are whole numbers, numbers or true and false when
    all their cells are, but for empty ones and NA, N/A, n/a, null, NULL and None, which are missing; else text as
    written. `warn` (left out, Python's warnings) is told of columns that are text though most of their cells are
    numbers, and of the cell that made them so.

    Raises UsageError naming the file and the line or column, also while rows are taken.
    """
    from trk.media import table_source

    name = os.fsdecode(path)
    if type is None:
        table_source.regular(name, "table")  # that there is no file says more than that its ending is unknown
        type = _ENDINGS.get(os.path.splitext(name)[1].lower())  # noqa: A001 - the option
        if type is None:
            endings = ", ".join(_ENDINGS)
            raise UsageError(f"table {table_source.called(name)}: its ending is none of {endings}", hint=_HINT)
    _check_type(type)
    names = None if columns is None else check_columns(columns)
    return _told(_read(table_source.of_file(name), type, names), warn)


def read_bytes(
    stream: BinaryIO,
    *,
    type: str,  # noqa: A002 - the option's name
    columns: Sequence[str] | None = None,
    where: str = "standard input",
    warn: Warn | None = None,
) -> Parsed:
    """The table in a stream of bytes, as `read_file` reads it; `where` is what messages call it.

    The stream is read to its end at once: into memory when it is short, else into a temporary file. Raises
    UsageError, and JournalError when there is no room for that.
    """
    from trk.media import table_source

    _check_type(type)
    names = None if columns is None else check_columns(columns)
    return _told(_read(table_source.of_stream(stream, where), type, names), warn)


def _told(found: Parsed, warn: Warn | None) -> Parsed:
    """The table, once its notes are said: a warning that is an error comes before anything is written."""
    for note in found.notes:
        if warn is None:
            import warnings

            warnings.warn(note, stacklevel=4)
        else:
            warn(note)
    return found


def from_data(data: object, columns: Sequence[str] | None = None) -> Parsed:
    """A table from a pandas or polars DataFrame or Series, an Arrow table, a mapping of column to values, or rows.

    The index of pandas becomes the first columns unless it only counts the rows, or `columns` name the others only.
    A Series without a name is the column `value`. A mapping of single values is one row. Rows are mappings (what
    one lacks is None), or sequences when `columns` names their values; for others `columns` must be the same names,
    and their order counts. Raises UsageError naming the row or column, also while rows are taken.
    """
    from trk.media import table_data

    return table_data.from_data(data, columns)


def parse_row(columns_text: str, row_text: str) -> Parsed:
    """One row from two lines of CSV: `a,b` and `1,2`. Raises UsageError.

    Each cell stands for itself: whole number, number (also `nan` and `inf`), true or false, else text; an empty one
    is None.
    """
    return parse_rows(columns_text, [row_text])


def parse_rows(columns_text: str, row_texts: Sequence[str]) -> Parsed:
    """Several rows, each as `parse_row` reads it. All are read at once: one that is bad spoils all."""
    names = split_columns(columns_text)
    return Parsed(names, iter([_typed(text, names) for text in row_texts]))


def _typed(text: str, names: list[str]) -> list[Any]:
    from trk.media.table_types import alone

    what = f"--row {shown(text)}"
    cells = split_line(text, what)
    if len(cells) != len(names):
        raise UsageError(f"{what} has {count(len(cells), 'cell')}, where --columns names {len(names)}")
    return [cell(alone(one), name) for one, name in zip(cells, names, strict=True)]


def split_columns(text: str) -> list[str]:
    """The names in a line of CSV: what `--columns` says. Raises UsageError."""
    return check_columns(split_line(text, "--columns"))


def split_line(text: str, what: str) -> list[str]:
    """The cells of one line of CSV, such as the value of `--columns`. Raises UsageError that says `what` it is."""
    from trk.media import table_text

    return table_text.split_line(text, what)


def _check_type(type_: str) -> None:
    if type_ not in TYPES:
        raise UsageError(f"type {shown(type_)} is not one of {', '.join(TYPES)}", hint=_HINT)


def _read(source: Source, type_: str, columns: list[str] | None) -> Parsed:
    """The table of a source, which is closed when it is refused, and when its rows have been taken."""
    try:
        found = _parsed(source, type_, columns)
    except UsageError:
        source.close()
        raise
    return Parsed(found.columns, _taken(found.rows, source), found.notes)


def _taken(rows: Iterator[list[Any]], source: Source) -> Iterator[list[Any]]:
    try:
        yield from rows
        source.check_unchanged()
    finally:
        source.close()


def _parsed(source: Source, type_: str, columns: list[str] | None) -> Parsed:
    if type_ == "parquet":
        from trk.media import table_parquet

        return table_parquet.read(source, columns)
    if type_ in ("csv", "tsv"):
        from trk.media import table_text

        return table_text.read(source, "," if type_ == "csv" else "\t", columns)
    from trk.media import table_json

    return table_json.read(source, columns) if type_ == "json" else table_json.read_lines(source, columns)
