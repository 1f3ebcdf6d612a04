"""Tables of JSON: a whole document, or one object a line."""

from __future__ import annotations

from trk.errors import UsageError
from trk.media.documents import json_reader
from trk.media.table_cells import Parsed, cell, check_columns, count, placed
from trk.media.table_data import from_data
from trk.media.table_source import Script, Source, examined, lines_of
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

MAX_BYTES = 200_000_000  # of a document, which is held in memory whole
_SPLIT = ({"columns", "data"}, {"columns", "data", "index"})  # what pandas calls orient="split"


def read(source: Source, columns: Sequence[str] | None) -> Parsed:
    """The table in a JSON document: a list of objects, an object of lists, or `{"columns": […], "data": [[…], …]}`.

    A list of lists is one too when `columns` are given. Raises UsageError, also while rows are taken.
    """
    if source.size() > MAX_BYTES:
        raise source.error(
            f"more than {MAX_BYTES // 1_000_000} MB of JSON are not held in memory",
            hint="write one object a line, and --type jsonl",
        )
    text = "".join(lines_of(source, examined(source, whole=True), None))
    content = _said(json_reader(special=True), text, source)
    del text
    try:
        if _is_split(content):
            content = _unsplit(content["columns"], content["data"])
        _check_shape(content, columns)
        found = from_data(content, columns)
    except UsageError as error:
        raise source.error(error.message, hint=error.hint) from None
    return Parsed(found.columns, _located(found.rows, source))


def _is_split(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() in _SPLIT
        and all(isinstance(part, list) for part in content.values())
        and all(isinstance(row, list) for row in content["data"])
    )


def _unsplit(columns: list[Any], data: list[list[Any]]) -> dict[str, list[Any]]:
    names = check_columns(columns)
    for number, row in enumerate(data, 1):
        if len(row) != len(names):
            raise UsageError(f"row {number} has {count(len(row), 'value')}, where the columns are {len(names)}")
    return {name: [row[place] for row in data] for place, name in enumerate(names)}


def _check_shape(content: Any, columns: Sequence[str] | None) -> None:
    """Refuse what is no table, in words of JSON: what is left, `from_data` knows."""
    rule = "a table is a list of objects, or an object of lists"
    if not isinstance(content, (dict, list)):
        raise UsageError(f"{rule}, not {shown(content)}")
    if isinstance(content, list):
        for number, row in enumerate(content, 1):
            if not isinstance(row, (dict, list)):
                raise UsageError(f"row {number} is {shown(row)}; {rule}")
            if columns is None and isinstance(row, list):
                raise UsageError(f"row {number} is a list, whose values have no names", hint="--columns a,b names them")
    elif content and all(isinstance(value, dict) for value in content.values()):
        raise UsageError(f"an object of objects; {rule}", hint="pandas: to_json(orient='records')")


def _located(rows: Iterator[list[Any]], source: Source) -> Iterator[list[Any]]:
    try:
        yield from rows
    except UsageError as error:
        raise source.error(error.message, hint=error.hint) from None


def _said(reader: Callable[[str], Any], text: str, source: Source, line: int | None = None) -> Any:
    """What a JSON text says, or the UsageError that names the place."""
    try:
        return reader(text)
    except UsageError as error:
        raise source.error(error.message, line=line) from None
    except RecursionError:
        raise source.error("nested too deeply", line=line) from None
    except ValueError as error:
        said = " ".join(str(error).split())
        if "Exceeds the limit" in said:  # in words of Python, of its own limit
            raise source.error("a whole number does not fit 64 bits", line=line) from None
        raise source.error(f"not valid JSON: {said.replace('line 1 ', '') if line else said}", line=line) from None


def read_lines(source: Source, columns: Sequence[str] | None) -> Parsed:
    """The table in lines of JSON, each an object; with `columns` each may be a list.

    The columns are all keys, in the order in which they come first. Raises UsageError naming the line, also while
    rows are taken.
    """
    script = examined(source)
    own: dict[str, None] = {}
    first: type | None = None
    for line, row in _lines(source, script):
        if first is None:
            first = type(row)
            if first is not dict and not (first is list and columns is not None):
                hint = "--columns a,b names the columns of lists" if first is list else None
                raise source.error(f"each line must be an object, not {_shape(row)}", line=line, hint=hint)
        if type(row) is not first:
            raise source.error(f"{_shape(row)}, where the first line is {_shape(first())}", line=line)
        try:
            _check_row(row, own, columns)
        except UsageError as error:
            raise source.error(error.message, line=line, hint=error.hint) from None
    if first is None:
        raise source.error("the table has no rows")
    if first is list:
        return Parsed(list(columns or ()), (row for _, row in _lines(source, script)))
    try:
        placed(list(own), columns)
        names = check_columns(own if columns is None else columns)
    except UsageError as error:
        raise source.error(error.message, hint=error.hint) from None
    return Parsed(names, _objects(source, script, names))


def _check_row(row: Any, own: dict[str, None], columns: Sequence[str] | None) -> None:
    """Check the values of a line, and take its keys into `own`."""
    if isinstance(row, list):
        names = columns or ()
        if len(row) != len(names):
            raise UsageError(f"{count(len(row), 'value')}, where the columns named are {len(names)}")
        for name, value in zip(names, row, strict=True):
            cell(value, name)
        return
    if not own.keys() >= row.keys():
        own.update(dict.fromkeys(row))
        check_columns(own)
    for name, value in row.items():
        cell(value, name)


def _lines(source: Source, script: Script) -> Iterator[tuple[int, Any]]:
    """What each line that is not blank says, with its number."""
    reader = json_reader(special=True)
    for line, text in enumerate(lines_of(source, script, None), 1):
        if not text.isspace():
            yield line, _said(reader, text, source, line)


def _objects(source: Source, script: Script, names: list[str]) -> Iterator[list[Any]]:
    for _, row in _lines(source, script):
        yield list(row.values()) if list(row) == names else [row.get(name) for name in names]


def _shape(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else shown(value)
