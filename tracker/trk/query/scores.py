"""What ranking needs of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trk.records import MetricPoint, RunRecord
from trk.rules import is_ranked


@dataclass(frozen=True, slots=True)
class Score:
    """What ranking needs of one run: the last value, and the extremes over the finite values with their steps.

    `key` is the source's own handle of the run. `last_step` is None where the source does not tell it cheaply.
    """

    key: Any
    run_id: str
    experiment: str
    start_ms: int
    last: float
    last_step: int | None
    low: tuple[float, int] | None
    high: tuple[float, int] | None


def score(record: RunRecord, metric: str, points: Sequence[MetricPoint]) -> Score:
    """The score of a run by the points of its metric; its key is the record itself."""
    ranked = [point for point in points if is_ranked(point.value)]
    low = min(ranked, key=lambda point: (point.value, point.step), default=None)
    high = min(ranked, key=lambda point: (-point.value, point.step), default=None)
    return Score(
        record,
        record.run_id,
        record.experiment,
        round(record.start_time.timestamp() * 1000) if record.start_time is not None else 0,
        record.metrics[metric],
        points[-1].step if points else None,
        None if low is None else (low.value, low.step),
        None if high is None else (high.value, high.step),
    )
