"""Axes: from values to places, and the ticks that people read them by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import Literal

from trk.pictures.curves import Chart, X
from trk.rules import HUGE, is_ranked

Kind = Literal["number", "time", "relative"]

_UNITS = ((172_800.0, 86_400.0, "days"), (7_200.0, 3_600.0, "hours"), (120.0, 60.0, "minutes"))
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_TIME_STEPS = (
    *(1_000, 2_000, 5_000, 10_000, 15_000, 30_000),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY, 365 * _DAY, 1_825 * _DAY),
)
_LEAST = 5e-324  # the smallest number above 0
_TINY = 1e-300  # numbers that lie closer can't be parted further
_LARGE, _SMALL = 1e7, 1e-4  # beyond these, ticks are written with an exponent


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis from `low` to `high`. `unit` is how many of the values make one of what its ticks count."""

    low: float
    high: float
    kind: Kind = "number"
    log: bool = False
    unit: float = 1.0
    title: str = ""

    def takes(self, value: float) -> bool:
        """Whether the value has a place: it is finite, and above 0 on a logarithmic axis."""
        return is_ranked(value) and (value > 0 or not self.log)

    def place(self, value: float) -> float:
        """Where a value lies, from 0 (`low`) to 1 (`high`)."""
        return self.placing()(value)

    def placing(self) -> Callable[[float], float]:
        """`place`, for many values."""
        # In halves: the span of two numbers may be no number.
        if self.log:
            low, half = log10(self.low), log10(self.high) / 2 - log10(self.low) / 2
            return lambda value: (log10(value) - low) / half / 2
        first, half = self.low / 2, self.high / 2 - self.low / 2
        return lambda value: (value / 2 - first) / half

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """About so many values within the axis that people like to read, each with its text."""
        if self.log and self.high / self.low >= 10:
            return _log_ticks(self.low, self.high, most)
        if self.kind == "time":
            return _time_ticks(self.low, self.high, most)
        found = _ticks(self.low / self.unit, self.high / self.unit, most)
        return [(value * self.unit, text) for value, text in found if self.takes(value)]


def axis(values: Iterable[float], *, log: bool = False, kind: Kind = "number", title: str = "", pad: float = 0) -> Axis:
    """The axis on which all of these values have a place that can have one; `pad` is its margin, as a share of it."""
    known = [value for value in values if is_ranked(value) and (value > 0 or not log)]
    low, high = (min(known), max(known)) if known else (1.0, 10.0) if log else (0.0, 1.0)
    if low == high or (not log and high / 2 - low / 2 < _TINY):
        room = 0.0 if log else abs(low) * 0.1 if abs(low) * 0.1 > _TINY else 0.5
        low, high = (max(low / 2, _LEAST), min(high * 2, HUGE / 2)) if log else (low - room, high + room)
    elif log and pad:
        factor = 10 ** ((log10(high) - log10(low)) * pad)
        low, high = max(low / factor, _LEAST), min(high * factor, HUGE / 2) if high < HUGE / 2 else high
    elif pad:
        room = (high / 2 - low / 2) * 2 * pad
        low, high = (low - room, high + room) if is_ranked(low - room) and is_ranked(high + room) else (low, high)
    unit = 1.0
    if kind == "relative":
        size, name = next(((size, name) for from_, size, name in _UNITS if high - low >= from_), (1.0, "seconds"))
        unit, title = size, f"{name} since the start"
    return Axis(low, high, kind, log, unit, title)


def chart_axes(chart: Chart) -> tuple[Axis, Axis]:
    """The axes of x and y for all curves of a chart."""
    drawn = [(x, y) for curve in chart.curves for x, y in [*curve.points, *curve.raw] if is_ranked(y)]
    kinds: dict[X, tuple[Kind, str]] = {
        "step": ("number", "step"), "time": ("time", "time (UTC)"), "relative": ("relative", ""),
    }  # fmt: skip
    kind, title = kinds[chart.x]
    across = axis((x for x, _ in drawn), log=chart.log_x, kind=kind, title=title)
    return across, axis((y for _, y in drawn), log=chart.log_y, title=chart.metric, pad=0.05)


def _ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    span = high / 2 - low / 2
    if not span > 0 or span * 2 - span * 2 != 0:
        return [(low, f"{low:.3g}"), (high, f"{high:.3g}")]
    rough = span * 2 / max(1, most)
    power = floor(log10(rough)) if rough > 1e-300 else -300
    step = next(nice * 10.0**power for nice in (1, 2, 5, 10) if nice * 10.0**power >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    if not 0 <= last - first <= 4 * most + 4 or (max(abs(low), abs(high)) + step / 2 == max(abs(low), abs(high))):
        return [(low, f"{low:.6g}"), (high, f"{high:.6g}")]  # too fine for floating point
    digits = max(0, -floor(log10(step) + 1e-9))
    return [(index * step, _text(index * step, digits, max(abs(low), abs(high)))) for index in range(first, last + 1)]


def _text(value: float, digits: int, largest: float) -> str:
    if value == 0:
        return "0"
    if largest >= _LARGE or largest < _SMALL or digits > 6:
        return f"{value:.3g}" if largest < _SMALL or largest >= _LARGE else f"{value:.6g}"
    return f"{value:.{digits}f}"


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    first, last = ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9)
    powers = list(range(first, last + 1))
    every = max(1, ceil(len(powers) / max(1, most)))
    found = [10.0**power for power in powers[::every]]
    if len(powers) < 3:
        found = sorted(
            value for power in range(first - 1, last + 1) for nice in (1, 2, 5)
            if low <= (value := nice * 10.0**power) <= high
        )  # fmt: skip
    return [(value, f"{value:g}" if 1e-4 <= value < 1e6 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e"))
            for value in found]  # fmt: skip


def _time_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    rough = (high - low) / max(1, most)
    if rough < 1_000:
        return [
            (value, _clock(value, "%H:%M:%S.") + f"{int(value) % 1000:03d}") for value, _ in _ticks(low, high, most)
        ]
    step = next((step for step in _TIME_STEPS if step >= rough), _TIME_STEPS[-1])
    shape = "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%d %b"
    if step < _DAY and high - low > _DAY:
        shape = "%d %b %H:%M"
    if step >= 365 * _DAY:
        shape = "%b %Y"
    return [(float(at), _clock(at, shape)) for at in range(ceil(low / step) * step, int(high) + 1, step)]


def _clock(time_ms: float, shape: str) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime(shape)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms:.0f} ms"
