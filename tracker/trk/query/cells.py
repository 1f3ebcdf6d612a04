"""Values as the cells of a file that a spreadsheet may open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trk.errors import UsageError
from trk.rules import parse_number

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def no_formula(text: str) -> str:
    """A text that no spreadsheet computes: an apostrophe before what begins as a formula, unless it is a number."""
    if not text.startswith(_FORMULA):
        return str(text)
    try:
        parse_number(text)
    except UsageError:
        return "'" + text
    return str(text)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: float) -> float | str:
    """A number as JSON can hold it: NaN and infinities are the strings NaN, Infinity, -Infinity."""
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def in_json(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, float):
        return number(value)
    return iso(value) if isinstance(value, datetime) else value


def exact(value: Any) -> str:
    """A cell as text: the shortest number that reads back the same, ISO times, texts as they are unless formulas."""
    if value is None:
        return ""
    return no_formula(value) if isinstance(value, str) else str(in_json(value))
