"""What runs are sorted by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trk.errors import UsageError
from trk.query import grammar, words
from trk.query.conditions import Entity, unclipped
from trk.query.filters import RecordView
from trk.records import RunRecord
from trk.rules import check_text, parse_number, shown

MAX_SORT = 1_000  # characters
FIELDS = "metrics.f1, params.lr, tags.stage, start_time, name, duration"
SORT_ATTRIBUTES = (
    "run_id",
    "run_name",
    "experiment",
    "status",
    "start_time",
    "end_time",
    "duration",
    "user_id",
)
_SORT_ALIASES = {**grammar.ALIASES, "name": "run_name", "duration_s": "duration", "id": "run_id"}


@dataclass(frozen=True, slots=True)
class Sort:
    """What runs are ordered by. In either direction NaN comes after all else, and runs without the field last."""

    entity: Entity
    field: str
    descending: bool = False

    def key(self, record: RunRecord) -> tuple[int, Any]:
        """A key for `sorted`. Texts that are numbers go as numbers, before (descending: after) the others."""
        return ordered(*self._value(record), descending=self.descending)

    def sorted(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """The records in this order; equal ones stay as they came."""
        return sorted(records, key=self.key)

    def _value(self, record: RunRecord) -> tuple[float | None, str | None]:
        """The field as a number or as text; at most one of them."""
        if self.entity == "attribute" and self.field == "duration":
            return record.duration_s, None
        if self.entity == "attribute" and self.field == "experiment":
            return None, record.experiment
        view = RecordView(record)
        if self.entity == "metric":
            return view.metric(self.field), None
        if self.entity == "attribute":
            found = view.attribute(self.field)
            return (None, found) if isinstance(found, str) else (found, None)
        return number_or_text(view.param(self.field) if self.entity == "param" else view.tag(self.field))


def ordered(number: float | None, text: str | None, *, descending: bool) -> tuple[int, Any]:
    """The place of a number, or a text, among others: see `Sort.key`."""
    if number is not None:
        if number != number:
            return (2, 0)
        return (1, -unclipped(number)) if descending else (0, unclipped(number))
    if text is not None:
        return (0, _Reversed(text)) if descending else (1, text)
    return (3, 0)


def number_or_text(text: str | None) -> tuple[float | None, str | None]:
    """A text that is a number as one; at most one of the two."""
    if text is None:
        return None, None
    try:
        return parse_number(text), None
    except UsageError:
        return None, text


@dataclass(frozen=True, slots=True)
class _Reversed:
    """A text that sorts the other way round."""

    text: str

    def __lt__(self, other: _Reversed) -> bool:
        return other.text < self.text


def parse_order(text: str) -> list[Sort]:
    """The keys of `metrics.f1 desc, start_time`: the first counts most. Raises UsageError."""
    found = [parse_sort(word) for word in words.split(text, "sort key")]
    if not found:
        raise UsageError(f"sort key {shown(text)} names no field", hint=FIELDS)
    return found


def parts(order: Sequence[Sort]) -> set[str]:
    """What of runs' records these keys look at."""
    looked_at = {"metric": "metrics", "param": "params"}
    return {looked_at.get(sort.entity, "tags") for sort in order}  # a user is a tag, too


def in_order(records: Iterable[RunRecord], order: Sequence[Sort]) -> list[RunRecord]:
    """The records by several keys; equal ones stay as they came."""
    return sorted(records, key=lambda record: [sort.key(record) for sort in order])


def parse_sort(text: str) -> Sort:
    """`metrics.f1 desc`, `params.lr`, `start_time`, `name`, `duration`: ascending unless it says desc.

    What follows the first dot is the name, quoted or not. Raises UsageError.
    """
    check_text(text, "sort key")
    if len(text) > MAX_SORT:
        raise UsageError(f"sort key {shown(text)} has {len(text)} characters; at most {MAX_SORT} are allowed")
    halves = text.rsplit(None, 1)
    directed = len(halves) == 2 and halves[1].lower() in ("asc", "desc")
    field = (halves[0] if directed else text).strip()
    descending = directed and halves[1].lower() == "desc"
    head, dot, name = field.partition(".")
    if not dot:
        return Sort("attribute", _sort_attribute(text, words.unquoted(head)), descending)
    entity = grammar.ENTITIES.get(head)
    name = words.unquoted(name)
    if entity is None or not name:
        raise UsageError(f"sort key {shown(text)} names no field", hint=FIELDS)
    return Sort(entity, _sort_attribute(text, name) if entity == "attribute" else name, descending)


def _sort_attribute(text: str, name: str) -> str:
    known = _SORT_ALIASES.get(name, name)
    if known not in SORT_ATTRIBUTES:
        hint = f"name, {', '.join(SORT_ATTRIBUTES)}; others are metrics.…, params.…, tags.…"
        raise UsageError(f"sort key {shown(text)}: runs have no attribute {shown(name)}", hint=hint)
    return known
