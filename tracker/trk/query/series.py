"""Histories made shorter, or laid side by side by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from trk.listed import AlignedRow, Series
from trk.records import MetricPoint
from trk.rules import is_ranked

T = TypeVar("T")

LEAST_SAMPLE = 4  # the first, the last, the lowest, the highest


def sampled(points: Sequence[MetricPoint], most: int) -> list[MetricPoint]:
    """At most so many points (4 or more), evenly spread; the first, last, lowest and highest are among them."""
    if len(points) <= most:
        return list(points)
    ranked = [at for at, point in enumerate(points) if is_ranked(point.value)]
    kept = {0, len(points) - 1}
    if ranked:
        kept |= {min(ranked, key=lambda at: points[at].value), max(ranked, key=lambda at: points[at].value)}
    others = [at for at in range(len(points)) if at not in kept]
    left = most - len(kept)
    kept |= {others[(2 * number + 1) * len(others) // (2 * left)] for number in range(left)}
    return [points[at] for at in sorted(kept)]


def aligned(series: Sequence[Series]) -> tuple[list[AlignedRow], int]:
    """(a row per step at which any of the series has a point, in order; how many points are not in them).

    Of several points at one step of a series the last is taken: by time, then value.
    """
    found: dict[int, list[float | None]] = {}
    lost = 0
    for place, one in enumerate(series):
        for point in one.points:  # by (step, time, value)
            values = found.setdefault(point.step, [None] * len(series))
            lost += values[place] is not None
            values[place] = point.value
    return [AlignedRow(step, found[step]) for step in sorted(found)], lost
