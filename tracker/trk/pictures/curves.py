"""A metric's points as a curve: smoothed, thinned to what a picture can show, broken where there is no number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Literal

from trk.rules import is_ranked

X = Literal["step", "time", "relative"]
Point = tuple[float, float]
"""(x, y). A y that is NaN or infinite is a gap."""

PER_BUCKET = 4  # points of a pixel column that a line is drawn by: the first, lowest, highest and last


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run, to be drawn.

    `points` are in the order of x, which is a step, milliseconds since 1970 (`time`) or seconds since the run's start
    (`relative`). `raw` is what they were before smoothing, empty without. `count`, `last`, `low` and `high` are of the
    whole history as logged; `low` and `high` are None when no value is finite. `gaps` of the points are not finite.
    """

    run_id: str
    label: str
    metric: str
    points: Sequence[Point]
    raw: Sequence[Point] = ()
    count: int = 0
    last: float = nan
    low: float | None = None
    high: float | None = None
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """The curves of one metric over one kind of x, and how they are to be drawn."""

    metric: str
    curves: Sequence[Curve]
    x: X = "step"
    log_x: bool = False
    log_y: bool = False
    smooth: float = 0.0
    notes: Sequence[str] = field(default=())


def smoothed(values: Iterable[float], weight: float) -> list[float]:
    """Values as an exponential moving average; `weight` from 0 (as they are) to under 1 is what the past counts.

    s(n) = w s(n-1) + (1-w) y(n), divided by 1 - w^n so that it does not begin near 0: the smoothing of TensorBoard's
    charts and of W&B's "exponential moving average", with the correction of bias of Kingma and Ba, "Adam" (2014),
    section 3. NaN and infinities stay what they are and count for nothing.
    """
    found = []
    sum_, left = 0.0, 1.0
    for value in values:
        if not is_ranked(value):
            found.append(value)
            continue
        sum_ = sum_ * weight + (1 - weight) * value
        left *= weight
        found.append(sum_ / (1 - left))
    return found


def smooth_points(points: Sequence[Point], weight: float) -> list[Point]:
    """The points with their values smoothed."""
    values = smoothed((y for _, y in points), weight)
    return [(x, y) for (x, _), y in zip(points, values, strict=True)]


def thinned(points: Sequence[Point], buckets: int, place: Callable[[float], float] | None = None) -> list[Point]:
    """At most about six points in each of so many equal parts of x, with no extreme lost.

    Of a part the first, lowest, highest and last point stay, which draw the same line as all of them at that many
    pixels (M4: Jugel et al., "M4: a visualization-oriented time series data aggregation", VLDB 2014), and a gap at
    either end. `place` says where an x lies from 0 to 1 (left out: evenly from the first to the last).
    """
    if len(points) <= PER_BUCKET * buckets:
        return list(points)
    at = place or _even(points)
    kept: list[Point] = []
    part: list[Point] = []
    now = -1
    for point in points:
        bucket = min(buckets - 1, max(0, int(at(point[0]) * buckets)))
        if bucket != now and part:
            kept += _few(part)
            part = []
        now = bucket
        part.append(point)
    return kept + _few(part)


def _even(points: Sequence[Point]) -> Callable[[float], float]:
    first, last = points[0][0], points[-1][0]
    span = (last - first) or 1.0
    return lambda x: (x - first) / span


def _few(part: Sequence[Point]) -> list[Point]:
    finite = [index for index, (_, y) in enumerate(part) if is_ranked(y)]
    if not finite:
        return [part[0]]
    ends = {0, len(part) - 1, finite[0], finite[-1]}
    low = min(finite, key=lambda index: part[index][1])
    high = max(finite, key=lambda index: part[index][1])
    return [part[index] for index in sorted(ends | {low, high})]


def segments(points: Iterable[Point]) -> list[list[Point]]:
    """The points without gaps, as runs of points that a line may join."""
    found: list[list[Point]] = []
    joined = False
    for x, y in points:
        if not is_ranked(y):
            joined = False
            continue
        if not joined:
            found.append([])
            joined = True
        found[-1].append((x, y))
    return found


def sampled(values: Sequence[float], most: int) -> list[float]:
    """At most so many values that stand for all, in order: of each part the one farthest from the middle of all.

    For pictures with one mark a part, such as sparklines: no single peak is lost. A part with no finite value is NaN.
    """
    if len(values) <= most:
        return list(values)
    finite = [value for value in values if is_ranked(value)]
    middle = sorted(finite)[len(finite) // 2] if finite else 0.0
    found = []
    for part in range(most):
        some = values[part * len(values) // most : (part + 1) * len(values) // most]
        known = [value for value in some if is_ranked(value)]
        found.append(max(known, key=lambda value: abs(value / 2 - middle / 2)) if known else nan)
    return found
