"""What questions about several runs are answered with: series of points, groups of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trk.records import MetricPoint, RunRecord


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one metric of one run, by (step, time, value)."""

    run: RunRecord
    metric: str
    points: Sequence[MetricPoint]


@dataclass(frozen=True, slots=True)
class AlignedRow:
    """One step, and the value that each series has there, in the order of the series; None where it has none."""

    step: int
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """A metric of several runs in a few numbers, over the last values of the runs that have it.

    `count` is of finite values, over which the others are; `not_finite` of NaN and infinities. `values` has what was
    asked for, such as mean, std (the sample's: over count - 1) or best; None where there are too few values for it, or
    where nobody says which direction is better.
    """

    count: int
    not_finite: int
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that have the same params, tags or attributes: `key` by column, such as {"params.model": "rf"}.

    A value is None for the runs that lack it. `metrics` is by name.
    """

    key: Mapping[str, str | None]
    runs: Sequence[RunRecord]
    metrics: Mapping[str, MetricSummary]
