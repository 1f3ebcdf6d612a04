"""Python's values as JSON has them: one conversion for the cells of tables and for documents."""

from __future__ import annotations

from trk.errors import UsageError
from trk.rules import MAX_STEP, check_text, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Any

MAX_LEVELS = 200  # of lists and objects
MAX_WHOLE = MAX_STEP  # 64 bits: what no backend keeps in a table is refused
# What is to be written: a cell of a table (NaN and infinite numbers too), or a document of this language.
CELL, JSON, YAML = range(3)
_NANOSECONDS = {
    "W": 604_800 * 10**9, "D": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6,
    "us": 10**3, "ns": 1,
}  # fmt: skip


class NotJson(UsageError):
    """A value that can't be written. `path` are the keys and numbers that lead to it, the last one first."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path: list[str] = []

    def place(self) -> str:
        """Where it is: `labels.a.0`; nothing for the value itself."""
        place = ".".join(reversed(self.path))
        return place if len(place) <= 100 and place.isprintable() else shown(place)


def plain(value: Any, what: int = CELL, level: int = 0) -> Any:
    """A value as None, bool, int, float, text, and lists and objects of these. Raises NotJson.

    numpy's scalars and arrays, Decimals, enums, dates, times and durations become numbers, lists and texts; what
    pandas calls missing becomes None.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, str):
        return _text(value, what, "text")
    if isinstance(value, (dict, list, tuple)):
        return _nested(value, what, level + 1)
    if isinstance(value, float):
        return _real(float(value), what)
    if isinstance(value, int):
        return _whole(int(value), what)
    return _of_object(value, what, level)


def _text(value: str, what: int, name: str) -> str:
    if what == CELL:
        try:
            return check_text(value, name)
        except UsageError as error:
            raise NotJson(error.message) from None
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotJson(f"{name} {shown(value)} is not valid UTF-8") from None
    return str.__str__(value)


def _real(value: float, what: int) -> float:
    if what == JSON and value - value != 0:
        name = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        raise NotJson(f"is {name}, which JSON has not", hint="None, or a text, says it")
    return value


def _whole(value: int, what: int) -> int:
    if what == CELL and not -MAX_WHOLE - 1 <= value <= MAX_WHOLE:
        raise NotJson(f"{shown(value)} does not fit 64 bits")
    return value


def _of_object(value: Any, what: int, level: int) -> Any:
    """A value that is none of JSON's own."""
    name = type(value).__name__
    if isinstance(value, type):  # a class has its methods too
        raise NotJson(f"the class {value.__name__} is not JSON")
    if name in ("NaTType", "NAType"):
        return None
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _of_array(value, what, level)
    if hasattr(value, "total_seconds") and hasattr(value, "microseconds"):
        seconds = value.days * 86_400 + value.seconds
        return duration(seconds * 10**9 + value.microseconds * 1000 + getattr(value, "nanoseconds", 0))
    if callable(getattr(value, "isoformat", None)):
        return str(value.isoformat())
    if hasattr(type(value), "__members__"):  # an enum's member that is neither text nor number
        return _text(value.name, what, "text")
    if name == "Decimal":
        return _of_decimal(value, what)
    if name in ("Period", "Interval") and type(value).__module__.partition(".")[0] == "pandas":
        return str(value)  # such as 2026-01, and (0, 10]
    raise _unknown(value)


def _unknown(value: Any) -> NotJson:
    return NotJson(f"a value of type {type(value).__name__} is not JSON")


def _nested(value: Any, what: int, level: int) -> Any:
    """A list or object with all that is in it."""
    if level > MAX_LEVELS:
        raise NotJson(f"is nested too deeply: more than {MAX_LEVELS} levels")
    at: str | int | None = None
    found: dict[str, Any] = {}
    items: list[Any] = []
    try:
        if not isinstance(value, dict):
            for at, item in enumerate(value):  # noqa: B007 - it names the place
                items.append(plain(item, what, level))
            return items
        for key, item in value.items():
            at = None
            at = _key(key, what)
            found[at] = plain(item, what, level)
    except NotJson as error:
        if at is not None:
            error.path.append(str(at))
        raise
    if len(found) != len(value):
        raise NotJson("an object has a key twice, once as number and once as text")
    return found


def _key(key: object, what: int) -> str:
    if isinstance(key, str):
        return _text(key, what, "key")
    if hasattr(key, "__index__") and not isinstance(key, bool):
        return str(key.__index__())
    if what != CELL:  # as Python writes JSON
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        if isinstance(key, float):
            return repr(float(key))
    raise NotJson(f"a key of type {type(key).__name__} is not JSON")


def _of_array(value: Any, what: int, level: int) -> Any:
    """numpy's scalars and arrays, and tensors."""
    kind = getattr(value.dtype, "kind", "")
    if kind in ("M", "m"):  # tolist() makes numbers of times in nanoseconds
        if getattr(value, "ndim", 0):
            return [_of_array(item, what, level + 1) for item in value]
        text = str(value)
        return None if text == "NaT" else text if kind == "M" else _of_timedelta(value)
    plainer = value.tolist()
    if isinstance(plainer, list):
        return _nested(plainer, what, level + 1)
    if kind == "f":  # a double of more than 64 bits stays one
        return _real(float(plainer), what)
    if type(plainer) is type(value):
        raise _unknown(value)
    return plain(plainer, what, level)


def _of_timedelta(value: Any) -> str:
    """numpy's duration: a count of its unit, such as `timedelta64[25s]`."""
    unit = str(value.dtype)[len("timedelta64[") : -1]
    name = unit.lstrip("0123456789")
    if name not in _NANOSECONDS:
        raise NotJson(f"a duration in {unit or 'no unit'} is not JSON", hint="durations are in weeks to nanoseconds")
    return duration(int(value.astype("int64")) * int(unit.removesuffix(name) or 1) * _NANOSECONDS[name])


def duration(nanoseconds: int) -> str:
    """A duration in ISO 8601: `P1DT2H3M4.5S`, `PT0S`, and `-PT1S` for what is below zero."""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    days, seconds = divmod(seconds, 86_400)
    text = "".join(
        f"{count}{unit}"
        for count, unit in ((seconds // 3_600, "H"), (seconds // 60 % 60, "M"))
        if count
    )  # fmt: skip
    if seconds % 60 or fraction:
        text += str(seconds % 60) + (f".{fraction:09d}".rstrip("0") if fraction else "") + "S"
    text = (f"{days}D" if days else "") + ("T" + text if text else "")
    return ("-P" if nanoseconds < 0 else "P") + (text or "T0S")


def _of_decimal(value: Decimal, what: int) -> int | float | str:
    """The number with the same digits, else the text: 0.10 is 0.1, and twenty digits are no double."""
    if not value.is_finite():
        return _real(float("nan") if value.is_nan() else float(value), what)
    if value.as_tuple().exponent >= 0:  # type: ignore[operator]  # finite: a number
        if -MAX_WHOLE - 1 <= value <= MAX_WHOLE:
            return int(value)
        return str(value)
    number = float(value)
    return number if type(value)(repr(number)) == value else str(value)
