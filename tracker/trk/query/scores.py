"""What ranking needs of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trk.records import MetricPoint, MetricStats, RunRecord
from trk.rules import is_ranked


@dataclass(frozen=True, slots=True)
class Score:
    """What ranking needs of one run: the last value, and the extremes over the finite values with their steps.

    `key` is the source's own handle of the run. `last_step` is None where the source does not tell it cheaply. One
    that was `told`, by what delivery left or from memory, is not from the points themselves.
    """

    key: Any
    run_id: str
    experiment: str
    start_ms: int
    last: float
    last_step: int | None
    low: tuple[float, int] | None
    high: tuple[float, int] | None
    told: bool = False


def stats(points: Sequence[MetricPoint]) -> MetricStats:
    """A history, by (step, time, value) and not empty, in a few numbers."""
    ranked = [point for point in points if is_ranked(point.value)]
    low = min(ranked, key=lambda point: (point.value, point.step), default=None)
    high = min(ranked, key=lambda point: (-point.value, point.step), default=None)
    last = points[-1]
    return MetricStats(
        len(points),
        last.value,
        last.step,
        None if low is None else low.value,
        None if low is None else low.step,
        None if high is None else high.value,
        None if high is None else high.step,
        last_ms=last.time_ms,
    )


def score(record: RunRecord, found: MetricStats, *, told: bool = False) -> Score:
    """The score of a run by its metric in numbers; its key is the record itself."""
    return Score(
        record, record.run_id, record.experiment, _start_ms(record), found.last, found.last_step,
        place(found.low, found.low_step), place(found.high, found.high_step), told,
    )  # fmt: skip


def last_score(record: RunRecord, metric: str) -> Score:
    """The score of a run by the last value of its metric alone."""
    last = record.metrics[metric]
    return Score(record, record.run_id, record.experiment, _start_ms(record), last, None, None, None)


def place(value: float | None, step: int | None) -> tuple[float, int] | None:
    """A value with its step; None when there is none."""
    return None if value is None or step is None else (value, step)


def _start_ms(record: RunRecord) -> int:
    return round(record.start_time.timestamp() * 1000) if record.start_time is not None else 0
