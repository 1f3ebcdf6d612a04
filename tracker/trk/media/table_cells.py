"""What a table is made of: its columns' names, and the values that its cells may hold."""

from __future__ import annotations

from trk.errors import UsageError
from trk.rules import MAX_NAME, MAX_STEP, MAX_TEXT, check_text, check_title, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal
    from typing import Any

MAX_COLUMNS = 10_000
MAX_LEVELS = 200  # of lists and objects in one cell
MAX_WHOLE = MAX_STEP  # 64 bits: what no backend keeps is refused


class Parsed:
    """A table as it was read: `columns` are known, `rows` come one by one, each a list as long as `columns`.

    The values are None, bool, int, float (also NaN and infinite), text, and lists and objects of these: `json.dumps`
    writes them all. Taking rows may raise UsageError, so what is made of them is thrown away then.
    """

    __slots__ = ("columns", "rows")

    def __init__(self, columns: list[str], rows: Iterator[list[Any]]) -> None:
        self.columns = columns
        self.rows = rows


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
    """A value as JSON has it. Raises UsageError naming the column and the type, or the rule, for what JSON can't hold.

    numpy's scalars and arrays, Decimals, enums, dates and times become numbers, lists and texts; what pandas calls
    missing becomes None.
    """
    kind = type(value)
    if value is None or kind is float or kind is bool:
        return value
    if kind is int:
        if -MAX_WHOLE - 1 <= value <= MAX_WHOLE:
            return value
        raise UsageError(f"column {shown(column)}: {shown(value)} does not fit 64 bits")
    if kind is str and len(value) <= MAX_TEXT and value.isascii() and "\0" not in value:
        return value
    return _converted(value, column, 0)


def _converted(value: Any, column: str, level: int) -> Any:
    if isinstance(value, str):
        return check_text(value, f"column {shown(column)}: text")
    if isinstance(value, (dict, list, tuple)):
        return _nested(value, column, level + 1)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return cell(int(value), column)
    name = type(value).__name__
    if isinstance(value, type):  # a class has its methods too
        raise UsageError(f"column {shown(column)}: the class {value.__name__} is not JSON")
    if name in ("NaTType", "NAType"):
        return None
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _of_array(value, column, level)
    if callable(getattr(value, "isoformat", None)):
        return str(value.isoformat())
    if hasattr(type(value), "__members__"):  # an enum's member that is neither text nor number
        return check_text(value.name, f"column {shown(column)}: text")
    if name == "Decimal":
        return _of_decimal(value)
    raise UsageError(f"column {shown(column)}: a value of type {name} is not JSON")


def _nested(value: Any, column: str, level: int) -> Any:
    """A list or object with all that is in it."""
    if level > MAX_LEVELS:
        raise UsageError(f"column {shown(column)} is nested too deeply: more than {MAX_LEVELS} levels")
    if not isinstance(value, dict):
        return [_inner(item, column, level) for item in value]
    found = {_key(key, column): _inner(item, column, level) for key, item in value.items()}
    if len(found) != len(value):
        raise UsageError(f"column {shown(column)}: an object has a key twice, once as number and once as text")
    return found


def _inner(value: Any, column: str, level: int) -> Any:
    if isinstance(value, (dict, list, tuple)) or hasattr(value, "tolist"):
        return _converted(value, column, level)
    return cell(value, column)


def _key(key: object, column: str) -> str:
    if hasattr(key, "__index__") and not isinstance(key, bool):
        return str(key.__index__())
    if not isinstance(key, str):
        raise UsageError(f"column {shown(column)}: a key of type {type(key).__name__} is not JSON")
    return check_text(key, f"column {shown(column)}: key")


def _of_array(value: Any, column: str, level: int) -> Any:
    """numpy's scalars and arrays, and tensors."""
    kind = getattr(value.dtype, "kind", "")
    if kind == "M":  # tolist() makes numbers of times in nanoseconds
        if getattr(value, "ndim", 0):
            return [_of_array(item, column, level + 1) for item in value]
        text = str(value)
        return None if text == "NaT" else text
    if kind == "m":
        raise UsageError(f"column {shown(column)}: a value of type {type(value).__name__} is not JSON")
    plain = value.tolist()
    if isinstance(plain, list):
        return _nested(plain, column, level + 1)
    if kind == "f":  # a double of more than 64 bits stays one
        return float(plain)
    if type(plain) is type(value):
        raise UsageError(f"column {shown(column)}: a value of type {type(value).__name__} is not JSON")
    return cell(plain, column)


def _of_decimal(value: Decimal) -> int | float | str:
    """The number with the same digits, else the text: 0.10 is 0.1, and twenty digits are no double."""
    if not value.is_finite():
        return float("nan") if value.is_nan() else float(value)
    if value.as_tuple().exponent >= 0:  # type: ignore[operator]  # finite: a number
        if -MAX_WHOLE - 1 <= value <= MAX_WHOLE:
            return int(value)
        return str(value)
    number = float(value)
    return number if type(value)(repr(number)) == value else str(value)
