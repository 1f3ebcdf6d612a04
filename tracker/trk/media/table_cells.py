"""What a table is made of: its columns' names, and the values that its cells may hold."""

from __future__ import annotations

from trk.errors import UsageError
from trk.media.values import MAX_WHOLE, NotJson, plain
from trk.rules import MAX_NAME, MAX_TEXT, check_title, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

MAX_COLUMNS = 10_000


class Parsed:
    """A table as it was read: `columns` are known, `rows` come one by one, each a list as long as `columns`.

    The values are None, bool, int, float (also NaN and infinite), text, and lists and objects of these: `json.dumps`
    writes them all. Taking rows may raise UsageError, so what is made of them is thrown away then. `notes` say, each in
    a line, where a column became text that most of its cells are not.
    """

    __slots__ = ("columns", "notes", "rows")

    def __init__(self, columns: list[str], rows: Iterator[list[Any]], notes: Sequence[str] = ()) -> None:
        self.columns = columns
        self.rows = rows
        self.notes = notes


def check_columns(columns: Iterable[object]) -> list[str]:
    """The columns' names: visible text on one line, at most 250 characters, no two alike, 1 to 10,000 of them.

    Labels that are whole numbers become their text. Raises UsageError naming the column and the rule.
    """
    if isinstance(columns, (str, bytes)):
        raise UsageError(f"columns must be a list of names, not {shown(columns)}")
    found: dict[str, None] = {}
    for number, label in enumerate(columns, 1):
        name = _column_name(label, number)
        if name in found:
            raise UsageError(f"column {shown(name)} is there twice")
        if number > MAX_COLUMNS:
            raise UsageError(f"a table has at most {MAX_COLUMNS} columns")
        found[name] = None
    if not found:
        raise UsageError("a table has at least one column")
    return list(found)


def _column_name(label: object, number: int) -> str:
    if not isinstance(label, str):
        if isinstance(label, bool) or not hasattr(label, "__index__"):
            raise UsageError(f"the name of column {number} must be text, not {type(label).__name__}")
        label = str(label.__index__())
    if not label.strip():
        raise UsageError(
            f"column {number} has no name",
            hint="every column has one; pandas: to_csv(index=False) leaves out the index",
        )
    if len(label) > MAX_NAME:
        raise UsageError(f"column {shown(label)} has {len(label)} characters; at most {MAX_NAME} are allowed")
    check_title(label.lstrip("@") or ".", "column")  # unlike a run's name it may begin with @
    return str.__str__(label)


def count(number: int, what: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def placed(own: Sequence[str], columns: Sequence[str] | None) -> list[int] | None:
    """For each of `columns` its place in `own`; None when nothing is to be moved.

    Raises UsageError when `columns` are not the same names.
    """
    if columns is None or list(columns) == list(own):
        return None
    places = {name: place for place, name in enumerate(own)}
    for name in columns:
        if name not in places:
            raise UsageError(f"column {shown(name)} is not in the table, whose columns have names of their own")
    given = set(columns)
    for name in own:
        if name not in given:
            raise UsageError(f"column {shown(name)} of the table is not among the columns given")
    return [places[name] for name in columns]


def cell(value: Any, column: str) -> Any:
    """A value as `values.plain` makes it. Raises UsageError naming the column and the type, or the rule, for others."""
    kind = type(value)
    if value is None or kind is float or kind is bool:
        return value
    if kind is int and -MAX_WHOLE - 1 <= value <= MAX_WHOLE:
        return value
    if kind is str and len(value) <= MAX_TEXT and value.isascii() and "\0" not in value:
        return value
    try:
        return plain(value)
    except NotJson as error:
        between = "" if error.message.startswith("is ") else ":"
        raise UsageError(f"column {shown(column)}{between} {error.message}", hint=error.hint) from None
