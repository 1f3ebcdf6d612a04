"""One condition of a filter: what it compares, and whether a run fulfils it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from trk.rules import HUGE

Entity = Literal["metric", "param", "tag", "attribute"]
Value = float | str | tuple[str, ...] | None

PREFIX: Mapping[Entity, str] = {
    "metric": "metrics",
    "param": "params",
    "tag": "tags",
    "attribute": "attributes",
}
NUMERIC_ATTRIBUTES = frozenset({"start_time", "end_time"})
ATTRIBUTES = frozenset({"run_id", "run_name", "status", "user_id", "artifact_uri"}) | NUMERIC_ATTRIBUTES
BARE_KEY = re.compile(r"\w+(?:\.\w+)*")

NUMERIC: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
TEXTUAL = ("=", "!=", "LIKE", "ILIKE")
NULLS = ("IS NULL", "IS NOT NULL")
LISTS = ("IN", "NOT IN")


class RunView(Protocol):
    """What a filter asks of a run. None means that the run has no such field."""

    def metric(self, key: str) -> float | None:
        """The last value of a metric."""

    def param(self, key: str) -> str | None:
        """A param's text."""

    def tag(self, key: str) -> str | None:
        """A tag's text."""

    def attribute(self, name: str) -> str | int | None:
        """One of `ATTRIBUTES`; times are milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; `str()` of it parses back.

    `value` is a number, text, a tuple of texts (IN), or None (IS NULL, IS NOT NULL).
    """

    entity: Entity
    key: str
    comparator: str
    value: Value

    def holds(self, view: RunView) -> bool:
        """Whether the run fulfils this condition."""
        found = _look_up(view, self.entity, self.key)
        if self.comparator in NULLS:
            return (found is None) == (self.comparator == "IS NULL")
        if found is None:
            return False
        if isinstance(self.value, float):
            return _numbers_hold(float(found), self.comparator, self.value)
        return _text_holds(str(found), self.comparator, self.value)

    def __str__(self) -> str:
        field = f"{PREFIX[self.entity]}.{_quoted_key(self.key)}"
        if self.value is None:
            return f"{field} {self.comparator}"
        return f"{field} {self.comparator} {_literal(self.value)}"


def is_numeric(entity: Entity, key: str) -> bool:
    """Whether such a field is compared as a number."""
    return entity == "metric" or (entity == "attribute" and key in NUMERIC_ATTRIBUTES)


def comparators(entity: Entity, key: str) -> tuple[str, ...]:
    """The comparators for such a field: MLflow's, and IS [NOT] NULL also of numbers."""
    if is_numeric(entity, key):
        return (*NUMERIC, *NULLS)
    if entity == "attribute":
        return TEXTUAL + LISTS if key == "run_id" else TEXTUAL
    return TEXTUAL + NULLS


def _look_up(view: RunView, entity: Entity, key: str) -> float | str | None:
    match entity:
        case "metric":
            return view.metric(key)
        case "param":
            return view.param(key)
        case "tag":
            return view.tag(key)
        case "attribute":
            return view.attribute(key)


def _numbers_hold(found: float, comparator: str, value: float) -> bool:
    found, value = unclipped(found), unclipped(value)
    if found != found or value != value:
        return False
    return NUMERIC[comparator](found, value)


def unclipped(value: float) -> float:
    """Infinity as logged, where MLflow's SQL stores have made ±1.797e308 of it."""
    if value >= HUGE:
        return float("inf")
    return float("-inf") if value <= -HUGE else value


def _text_holds(found: str, comparator: str, value: Value) -> bool:
    if isinstance(value, tuple):
        return (found in value) == (comparator == "IN")
    if comparator == "=":
        return found == value
    if comparator == "!=":
        return found != value
    return _like(str(value), comparator == "ILIKE")(found)


@lru_cache(maxsize=256)
def _like(pattern: str, ignore_case: bool) -> Callable[[str], bool]:
    """A test for SQL's LIKE: % is any text, _ any one character; both match newlines."""
    if ignore_case:
        matches = _like(_fold(pattern), False)
        return lambda text: matches(_fold(text))
    first, *rest = pattern.split("%")
    head = _part(first)
    if not rest:
        return lambda text: head.fullmatch(text) is not None
    middle = [_part(part) for part in rest[:-1] if part]
    tail, tail_length = _part(rest[-1]), len(rest[-1])

    def test(text: str) -> bool:
        # Each part is sought leftmost after the one before: no backtracking, whatever the pattern.
        found = head.match(text)
        for part in middle:
            if found is None:
                return False
            found = part.search(text, found.end())
        start = len(text) - tail_length
        return found is not None and start >= found.end() and tail.fullmatch(text, start) is not None

    return test


def _part(part: str) -> re.Pattern[str]:
    return re.compile(".".join(re.escape(piece) for piece in part.split("_")), re.DOTALL)


def _fold(text: str) -> str:
    """Lower case, one character for one; an ASCII letter only meets ASCII letters, as in SQLite's lower()."""
    return text.lower() if text.isascii() else "".join(map(_fold_char, text))


def _fold_char(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 and lower.isascii() == char.isascii() else char


def _quoted_key(key: str) -> str:
    if BARE_KEY.fullmatch(key):
        return key
    quote = next(quote for quote in "`\"'" if quote not in key)
    return f"{quote}{key}{quote}"


def _literal(value: float | str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))})"
    if isinstance(value, str):
        return f'"{value}"' if "'" in value else f"'{value}'"
    return repr(value).replace("e+", "e")  # MLflow's lexer knows no + in an exponent
