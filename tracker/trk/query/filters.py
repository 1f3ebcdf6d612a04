"""Filters of runs, evaluated here on records: every source gives the same answers.

    metrics.f1 > 0.85 AND (params.model = 'rf' OR tags.`my tag` LIKE 'v%') AND attributes.status != 'FAILED'

MLflow's grammar is a part of this one. Where MLflow and SQL disagree, MLflow is followed: a field that a run lacks
never matches (except IS NULL), LIKE tells A from a, params and tags are text. It is left in one thing: no comparison
with NaN holds. A metric that is NaN or infinite is there: it is not NULL. ±1.797e308, what MLflow's databases make of
infinity, is infinity. NOT turns round whether something holds, so it admits runs without the field.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trk.errors import UsageError
from trk.query import grammar
from trk.query.conditions import (
    NUMERIC_ATTRIBUTES,
    Condition,
    Entity,
    RunView,
    Value,
    unclipped,
)
from trk.query.logic import Part, leaves
from trk.records import RunRecord
from trk.rules import HUGE, check_text, parse_number, shown

__all__ = ["Condition", "Entity", "Filter", "RecordView", "RunView", "Sort", "parse", "parse_sort"]

MAX_FILTER = 20_000  # characters
MAX_SORT = 1_000
MAX_PUSHED = 30  # conditions handed to MLflow: each is a join there, and SQLite joins at most 64 tables
MAX_PUSHED_TEXT = 5_000  # characters: MLflow cuts and hashes texts somewhat longer than that

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
# MLflow has one status more than a record can show: SCHEDULED.
_SHARED_STATUSES = frozenset({"FINISHED", "FAILED", "KILLED"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordView:
    """A RunRecord as a filter asks it."""

    record: RunRecord

    def metric(self, key: str) -> float | None:
        """The last value of a metric."""
        return self.record.metrics.get(key)

    def param(self, key: str) -> str | None:
        """A param's text."""
        return self.record.params.get(key)

    def tag(self, key: str) -> str | None:
        """A tag's text."""
        return self.record.tags.get(key)

    def attribute(self, name: str) -> str | int | None:
        """An attribute by MLflow's name, times in milliseconds since 1970; None for what no record has."""
        record = self.record
        match name:
            case "run_id":
                return record.run_id
            case "run_name":
                return record.name
            case "status":
                return str(record.status)
            case "start_time":
                return _to_ms(record.start_time)
            case "end_time":
                return _to_ms(record.end_time)
            case "user_id":
                return record.tags.get("mlflow.user")
        return None


def _to_ms(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter: all of its `conditions`, some of which may be an OR or a NOT, must hold. Without, all match."""

    text: str
    conditions: tuple[Part, ...]

    @property
    def fields(self) -> frozenset[tuple[Entity, str]]:
        """What it asks of a run: pairs of entity and key."""
        return frozenset((condition.entity, condition.key) for condition in leaves(self.conditions))

    def matches(self, view: RunView) -> bool:
        """Whether all conditions hold."""
        return all(condition.holds(view) for condition in self.conditions)

    def matches_record(self, record: RunRecord) -> bool:
        """`matches` for a record. Raises UsageError for `artifact_uri`, which no record has."""
        if ("attribute", "artifact_uri") in self.fields:
            raise UsageError(
                f"filter {shown(self.text)}: trk does not know the artifact_uri of a run",
                hint="filter by run_name, status, start_time, a param, tag or metric",
            )
        return self.matches(RecordView(record))

    @property
    def whole_text(self) -> str:
        """All of it, as it parses back: for a backend that takes more than MLflow's grammar."""
        return " AND ".join(map(str, self.conditions))

    @property
    def mlflow_text(self) -> str:
        """A filter for MLflow's search_runs that selects every run that matches, maybe more. Or empty."""
        asked = (condition for condition in self.conditions if isinstance(condition, Condition))
        pushed = [text for text in map(_pushed, asked) if text is not None]
        return " AND ".join(pushed[:MAX_PUSHED])


def parse(text: str) -> Filter:
    """The filter that a text says. Raises UsageError that names the text, the position and the rule."""
    check_text(text, "filter")
    if len(text) > MAX_FILTER:
        rule = f"at most {MAX_FILTER} are allowed"
        raise UsageError(f"filter {shown(text)} has {len(text)} characters; {rule}")
    return Filter(text, grammar.conditions(text))


def _pushed(condition: Condition) -> str | None:
    """The condition as MLflow may apply it first, or None where it could leave out a run that matches."""
    entity, key, comparator, value = condition.entity, condition.key, condition.comparator, condition.value
    if not key.isprintable() or not frozenset("`\"'\\").isdisjoint(key):
        return None
    if comparator == "IS NOT NULL" and entity in ("param", "tag"):
        # New in MLflow 3; LIKE '%' says the same to older servers.
        return str(Condition(entity, key, "LIKE", "%"))
    if entity == "attribute" and not _attribute_agrees(key, comparator, value):
        return None
    if isinstance(value, float):
        return _pushed_number(condition, value)
    if not isinstance(value, str) or not value.isprintable() or "\\" in value or len(value) > MAX_PUSHED_TEXT:
        return None
    if comparator in ("LIKE", "ILIKE"):
        # PostgreSQL escapes with \, SQL Server has [sets], SQLite's lower() knows ASCII, MySQL's _ is a byte.
        if "[" in value or (comparator == "ILIKE" and not value.isascii()):
            return None
        value = value.replace("_", "%")
    return str(Condition(entity, key, comparator, value))


def _pushed_number(condition: Condition, value: float) -> str | None:
    """NaN and what MLflow may have made of infinity stay here; times go as the integers they are there."""
    if not -HUGE < value < HUGE:
        return None
    if condition.entity == "metric":
        return str(condition)
    if abs(value) >= 2**53 or value != int(value):
        return None
    return f"attributes.{condition.key} {condition.comparator} {int(value)}"


def _attribute_agrees(key: str, comparator: str, value: Value) -> bool:
    """Whether MLflow's attribute is the record's: run_id, user_id and artifact_uri are its own."""
    if key == "status":
        return comparator == "!=" or (comparator == "=" and value in _SHARED_STATUSES)
    return key == "run_name" or key in NUMERIC_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class Sort:
    """What runs are ordered by. Those without the field, or with NaN, come last in either direction."""

    entity: Entity
    field: str
    descending: bool = False

    def key(self, record: RunRecord) -> tuple[int, Any]:
        """A key for `sorted`. Texts that are numbers go as numbers, before (descending: after) the others."""
        number, text = self._value(record)
        if number is not None and number == number:
            return (1, -unclipped(number)) if self.descending else (0, unclipped(number))
        if text is not None:
            return (0, _Reversed(text)) if self.descending else (1, text)
        return (2, 0)

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
        text = view.param(self.field) if self.entity == "param" else view.tag(self.field)
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


def parse_sort(text: str) -> Sort:
    """`metrics.f1 desc`, `params.lr`, `start_time`, `name`, `duration`: ascending unless it says desc.

    What follows the first dot is the name, quoted or not. Raises UsageError.
    """
    check_text(text, "sort key")
    if len(text) > MAX_SORT:
        raise UsageError(f"sort key {shown(text)} has {len(text)} characters; at most {MAX_SORT} are allowed")
    words = text.rsplit(None, 1)
    directed = len(words) == 2 and words[1].lower() in ("asc", "desc")
    field = (words[0] if directed else text).strip()
    descending = directed and words[1].lower() == "desc"
    head, dot, name = field.partition(".")
    if not dot:
        return Sort("attribute", _sort_attribute(text, _unquoted(head)), descending)
    entity = grammar.ENTITIES.get(head)
    name = _unquoted(name)
    if entity is None or not name:
        hint = "metrics.f1, params.lr, tags.stage, start_time, name, duration"
        raise UsageError(f"sort key {shown(text)} names no field", hint=hint)
    return Sort(entity, _sort_attribute(text, name) if entity == "attribute" else name, descending)


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) >= 2 and name[0] in "`\"'" and name[0] == name[-1] else name


def _sort_attribute(text: str, name: str) -> str:
    known = _SORT_ALIASES.get(name, name)
    if known not in SORT_ATTRIBUTES:
        hint = f"name, {', '.join(SORT_ATTRIBUTES)}; others are metrics.…, params.…, tags.…"
        raise UsageError(f"sort key {shown(text)}: runs have no attribute {shown(name)}", hint=hint)
    return known
