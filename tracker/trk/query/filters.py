"""Filters of runs, evaluated here on records: every source gives the same answers.

    metrics.f1 > 0.85 AND (params.model = 'rf' OR tags.`my tag` LIKE 'v%') AND attributes.status != 'FAILED'

MLflow's grammar is a part of this one. Where MLflow and SQL disagree, MLflow is followed: a field that a run lacks
never matches (except IS NULL), LIKE tells A from a, params and tags are text. It is left in one thing: no comparison
with NaN holds. A metric that is NaN or infinite is there: it is not NULL. ±1.797e308, what MLflow's databases make of
infinity, is infinity. NOT turns round whether something holds, so it admits runs without the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trk.errors import UsageError
from trk.query import grammar
from trk.query.conditions import (
    NUMERIC_ATTRIBUTES,
    Condition,
    Entity,
    RunView,
    Value,
)
from trk.query.logic import Part, both, either, leaves
from trk.records import RunRecord, Status
from trk.rules import HUGE, check_text, check_time, parse_duration, shown

__all__ = ["Condition", "Entity", "Filter", "RecordView", "RunView", "narrowed", "parse"]

MAX_FILTER = 20_000  # characters
MAX_PUSHED = 30  # conditions handed to MLflow: each is a join there, and SQLite joins at most 64 tables
MAX_PUSHED_TEXT = 5_000  # characters: MLflow cuts and hashes texts somewhat longer than that

# MLflow has one status more than a record can show: SCHEDULED.
_SHARED_STATUSES = frozenset({"FINISHED", "FAILED", "KILLED"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Moment = str | float | datetime
"""A time: ISO 8601, `2h` before now, seconds or milliseconds since 1970, a datetime."""


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
        return str(both(self.conditions))

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


def narrowed(
    filter: str | None,  # noqa: A002 - the word of the command line and of MLflow
    *,
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Filter | None:
    """A filter, narrowed to runs of a status (or several, with commas), started from `since` to `until`.

    None when all runs are asked for. Raises UsageError.
    """
    found = parse(filter) if filter else None
    more: list[Part] = []
    if status is not None:
        more.append(either(Condition("attribute", "status", "=", one) for one in _statuses(status)))
    first = None if since is None else moment_ms(since, "since")
    last = None if until is None else moment_ms(until, "until")
    if first is not None and last is not None and first > last:
        raise UsageError(f"since {shown(since)} is after until {shown(until)}", hint="--since 7d --until 1d")
    if first is not None:
        more.append(Condition("attribute", "start_time", ">=", float(first)))
    if last is not None:
        more.append(Condition("attribute", "start_time", "<=", float(last)))
    if not more:
        return found
    return Filter(filter or "", (*more, *(found.conditions if found is not None else ())))


def _statuses(text: str) -> list[str]:
    found = [word.strip().upper() for word in str(text).split(",")]
    for word in found:
        if word not in Status.__members__:
            raise UsageError(f"status must be RUNNING, FINISHED, FAILED or KILLED, not {shown(text)}")
    return found


def moment_ms(moment: Moment, what: str) -> int:
    """Milliseconds since 1970 of `2h` or `7d` before now, of ISO 8601 (UTC when it names no zone), or of a datetime.

    Raises UsageError.
    """
    try:
        if isinstance(moment, str) and moment[-1:] in set("smhdw"):
            now = datetime.now(UTC)
            return max(check_time(now) - round(parse_duration(moment, what) * 1000), 0)
        return check_time(moment)
    except UsageError as error:
        rule = "neither a time nor a span before now"
        hint = "2h, 7d, 2026-11-21, 2026-11-21T07:27:00Z"
        raise UsageError(f"{what} {shown(moment)} is {rule}", hint=hint) from error
