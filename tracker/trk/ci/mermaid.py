"""Charts as Mermaid's `xychart-beta`, which GitHub and GitLab draw.

Its lines are numbers at even distances, so each run's points are brought to one grid of steps for all. There is no text
of a user's in it: Mermaid reads directives in quotes as well, and names stand beside the chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10

from trk.records import MetricPoint
from trk.rules import is_ranked

POINTS = 50  # of a line
MOST_LINES = 8
_COLOURS = ("#2f7ed8", "#d1242f", "#2da44e", "#e16f24", "#8250df", "#d4a72c", "#8a5a44", "#6e7781")
MARKS = ("🟦", "🟥", "🟩", "🟧", "🟪", "🟨", "🟫", "⬜")  # the same, for the list of runs beside the chart


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one chart: values at even distances from step `first` to step `last`, by run id, all of a length.

    `level` of them were led on level where the run has no points, since not all runs have the same steps.
    """

    first: int
    last: int
    values: Mapping[str, Sequence[float]]
    level: int = 0


def lines(histories: Mapping[str, Sequence[MetricPoint]], most: int = POINTS) -> Lines | None:
    """What a chart of these histories shows, by run id; None when there is no line: fewer than two steps."""
    known = {run_id: points for run_id, some in histories.items() if (points := _by_step(some))}
    steps = [step for points in known.values() for step, _ in points]
    if not steps or min(steps) == max(steps):
        return None
    first, last = min(steps), max(steps)
    size = max(2, min(most, _fitting(known, first, last)))
    values = {run_id: _on_grid(points, first, last, size) for run_id, points in known.items()}
    level = sum(points[0][0] > first or points[-1][0] < last for points in known.values())
    return Lines(first, last, values, level)


def _by_step(points: Sequence[MetricPoint]) -> list[tuple[int, float]]:
    """(step, value) with one value a step, the last of it; what is not finite is left out."""
    found = {point.step: point.value for point in points if is_ranked(point.value)}
    return sorted(found.items())


def _fitting(known: Mapping[str, Sequence[tuple[int, float]]], first: int, last: int) -> int:
    """How many places the grid needs so that each step has its own, were they as far apart as the nearest two."""
    gaps = (after - before for points in known.values() for (before, _), (after, _) in pairwise(points))
    near = min(gaps, default=last - first)
    return (last - first) // near + 1


def _on_grid(points: Sequence[tuple[int, float]], first: int, last: int, size: int) -> list[float]:
    """The values at `size` places: of the points about a place the one farthest out, so that no peak is lost."""
    about: dict[int, list[float]] = {}
    for step, value in points:
        about.setdefault(round((step - first) * (size - 1) / (last - first)), []).append(value)
    middle = sorted(value for _, value in points)[len(points) // 2]
    known = {place: max(some, key=lambda value: abs(value / 2 - middle / 2)) for place, some in about.items()}
    known[max(known)] = about[max(known)][-1]  # a line ends in the last value, whatever was before
    return _between(known, size)


def _between(known: Mapping[int, float], size: int) -> list[float]:
    """All places, with straight lines between those that are known, and level before the first and after the last."""
    places = sorted(known)
    found, at = [], 0
    for place in range(size):
        while at + 1 < len(places) and places[at + 1] <= place:
            at += 1
        before = places[at]
        if place <= before or at + 1 == len(places):
            found.append(known[before])
            continue
        after = places[at + 1]
        share = (place - before) / (after - before)
        found.append(known[before] * (1 - share) + known[after] * share)
    return found


def block(drawn: Lines) -> str:
    """The chart, in Markdown's fence."""
    values = [value for line in drawn.values.values() for value in line]
    scale = _scale(values)
    low, high = _ends([value / 10.0**scale for value in values])
    colours = ",".join(_COLOURS[: max(1, len(drawn.values))])
    theme = f'{{"xyChart": {{"plotColorPalette": "{colours}"}}}}'
    setup = f'{{"xyChart": {{"width": 760, "height": 300}}, "themeVariables": {theme}}}'
    title = f'"in 10^{scale}" ' if scale else ""
    told = [
        f"%%{{init: {setup}}}%%",
        "xychart-beta",
        f'    x-axis "step" {drawn.first} --> {drawn.last}',
        f"    y-axis {title}{_plain(low)} --> {_plain(high)}",
        *(f"    line [{', '.join(_plain(value / 10.0**scale) for value in line)}]" for line in drawn.values.values()),
    ]
    return "```mermaid\n" + "\n".join(told) + "\n```\n"


def _scale(values: Sequence[float]) -> int:
    """The power of ten that values are divided by: 0 unless they are too large or too small to be written out."""
    largest = max(map(abs, values))
    if largest == 0 or 1e-3 <= largest < 1e6:
        return 0
    return max(-300, min(300, floor(log10(largest))))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis, with some room."""
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _plain(value: float) -> str:
    """A number as Mermaid reads it: without an exponent."""
    digits = 5 - floor(log10(abs(value))) if value else 0
    text = f"{value:.{max(0, min(12, digits))}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
