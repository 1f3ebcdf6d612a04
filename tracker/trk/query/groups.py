"""Runs in groups: those of the same params, tags or attributes, and their metrics in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trk.errors import NotFound, UsageError
from trk.listed import MetricSummary, RunGroup
from trk.query import columns, words
from trk.query.columns import Column
from trk.query.sorting import number_or_text, ordered
from trk.records import RunRecord
from trk.rules import direction, is_ranked, shown

BY = ("name", "experiment", "status", "source", "parent_id", "description")
"""The attributes that runs may have in common."""


def _mean(values: Sequence[float]) -> float:
    try:
        found = math.fsum(values) / len(values)
    except OverflowError:
        found = math.fsum(value / len(values) for value in values)
    return min(max(found, min(values)), max(values))  # rounding leads out of what is between them


def _median(values: Sequence[float]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else _mean(ranked[middle - 1 : middle + 1])


def _std(values: Sequence[float]) -> float | None:
    """The sample's standard deviation: over one less than there are."""
    if len(values) < 2:
        return None
    largest = max(map(abs, values))
    if not largest:
        return 0.0
    scaled = [value / largest for value in values]  # squares of what is huge, or tiny, are no numbers
    mean = _mean(scaled)
    return largest * math.sqrt(math.fsum((value - mean) ** 2 for value in scaled) / (len(values) - 1))


_FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float | None]] = {
    "mean": _mean,
    "std": _std,
    "min": min,
    "max": max,
    "median": _median,
    "count": lambda values: len(values),
}
AGGREGATES = (*_FUNCTIONS, "best")
DEFAULT_AGGREGATES = ("mean", "std", "best")


def parse_by(given: str | Iterable[str]) -> list[Column]:
    """What runs are grouped by: `params.model, tags.stage, experiment`. Raises UsageError."""
    found = [columns.column_of(word, "group") for word in words.listed(given, "groups")]
    for kind, name in found:
        if kind == "metrics" or words.is_glob(name) or (not kind and name not in BY):
            raise UsageError(
                f"runs are not grouped by {shown(columns.title((kind, name)))}",
                hint=f"params.KEY, tags.KEY, {', '.join(BY)}",
            )
    if not found:
        raise UsageError("runs are grouped by nothing", hint="--group-by params.model")
    return list(dict.fromkeys(found))


def parse_aggregates(given: str | Iterable[str] | None) -> list[str]:
    """What is told of a metric: `mean,std,best`. Raises UsageError."""
    if given is None:
        return list(DEFAULT_AGGREGATES)
    found = list(dict.fromkeys(words.listed(given, "aggregates")))
    for name in found:
        if name not in AGGREGATES:
            raise UsageError(f"aggregate {shown(name)} is not one of {', '.join(AGGREGATES)}")
    if not found:
        raise UsageError("aggregates names none", hint="--agg mean,std,best")
    return found


def grouped(
    runs: Sequence[RunRecord],
    by: Sequence[Column],
    aggregates: Sequence[str],
    metrics: Sequence[str],
    modes: Mapping[str, str],
) -> list[RunGroup]:
    """The groups by their keys, numbers before words, missing ones last. `modes` are directions that were defined."""
    found: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        found.setdefault(tuple(columns.cell(run, column) for column in by), []).append(run)
    titles = [columns.title(column) for column in by]
    groups = [
        RunGroup(
            dict(zip(titles, key, strict=True)),
            members,
            {name: _summary(members, name, aggregates, modes) for name in metrics},
        )
        for key, members in found.items()
    ]
    return sorted(groups, key=lambda group: [_place(value) for value in group.key.values()])


def _place(value: str | None, *, descending: bool = False) -> tuple[int, Any]:
    return ordered(*number_or_text(value), descending=descending)


def _summary(
    runs: Sequence[RunRecord], name: str, aggregates: Sequence[str], modes: Mapping[str, str]
) -> MetricSummary:
    having = [run.metrics[name] for run in runs if name in run.metrics]
    values = [value for value in having if is_ranked(value)]
    told: dict[str, float | None] = {}
    for aggregate in aggregates:
        function = best_of(name, modes) if aggregate == "best" else _FUNCTIONS[aggregate]
        told[aggregate] = function(values) if function is not None and (values or aggregate == "count") else None
    return MetricSummary(len(values), len(having) - len(values), told)


def best_of(metric: str, modes: Mapping[str, str]) -> Callable[[Sequence[float]], float] | None:
    """max or min, as was defined or as the name says; None when nobody says, or definitions contradict each other."""
    return {"max": max, "min": min}.get(modes.get(metric) or direction(metric) or "")


def in_order(groups: Sequence[RunGroup], sort: str) -> list[RunGroup]:
    """The groups by `metrics.f1.mean desc`, `runs`, `params.model`, or several. Raises UsageError, NotFound."""
    keys: list[tuple[Callable[[RunGroup], tuple[float | None, str | None]], bool]] = []
    for word in words.split(sort, "sort key"):
        parts = word.rsplit(None, 1)
        directed = len(parts) == 2 and parts[1].lower() in ("asc", "desc")
        field = parts[0] if directed else word
        keys.append((_value_of(groups, field), directed and parts[1].lower() == "desc"))
    return sorted(groups, key=lambda group: [ordered(*value(group), descending=down) for value, down in keys])


def _value_of(groups: Sequence[RunGroup], field: str) -> Callable[[RunGroup], tuple[float | None, str | None]]:
    if field == "runs":
        return lambda group: (float(len(group.runs)), None)
    head, _, rest = field.partition(".")
    name, _, aggregate = rest.rpartition(".")
    name = words.unquoted(name)
    if head == "metrics" and aggregate in AGGREGATES:
        if groups and (name not in groups[0].metrics or aggregate not in groups[0].metrics[name].values):
            raise NotFound(f"sort key {shown(field)}: that is not among what is shown", hint="--agg, --columns")
        return lambda group: (group.metrics[name].values[aggregate], None)
    key = f"{head}.{words.unquoted(rest)}" if rest else head
    if any(key not in group.key for group in groups):
        known = ", ".join(("runs", *groups[0].key, "metrics.KEY.mean"))
        raise UsageError(f"sort key {shown(field)} names no column of these groups", hint=f"such as {known}")
    return lambda group: number_or_text(group.key[key])
