"""Charts as inline SVG. Lines are told apart by colour, by dashes, and by the number at their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan

from trk.pictures.axes import Axis, chart_axes
from trk.pictures.curves import Chart, Curve, Point, segments, thinned
from trk.pictures.markup import Markup, tag
from trk.pictures.texts import told

COLOURS, DASHES = 8, 4
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 26, 12, 44
_LETTER = 11  # height of a number at a line's end


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a chart in its own units, and how many parts of x its lines are thinned to."""

    width: int = 480
    height: int = 270
    buckets: int = 200

    @property
    def inner(self) -> tuple[int, int]:
        """Width and height of the part that has the lines."""
        return self.width - _LEFT - _RIGHT, self.height - _TOP - _BOTTOM


def style_of(number: int) -> str:
    """The classes of what belongs to run `number` (from 1): its colour and dashes."""
    at = number - 1
    return f"s{at % COLOURS} d{at // COLOURS % DASHES}"


def swatch(number: int) -> Markup:
    """A short piece of a run's line, for lists beside the charts."""
    line = tag("line", x1=1, y1=6, x2=27, y2=6, class_=f"line {style_of(number)}")
    return tag("svg", line, class_="swatch", viewBox="0 0 28 12", width=28, height=12, aria_hidden="true")


def line_chart(chart: Chart, numbers: Mapping[str, int], size: Size, ident: str) -> Markup:
    """The curves of a chart; `numbers` has the number of each run, `ident` is unlike any other on the page."""
    across, up = chart_axes(chart)
    frame = _Frame(across, up, size)
    lines: list[Markup] = []
    ends: list[tuple[float, float, int]] = []
    for curve in chart.curves:
        number = numbers[curve.run_id]
        if curve.raw:
            lines.append(frame.path(curve.raw, f"line faint {style_of(number)}"))
        points = frame.placed(curve.points)
        if found := [point for point in points if point[1] == point[1]]:
            ends.append((*found[-1], number))
        lines.append(frame.drawn(points, f"line {style_of(number)}", run=number, label=f"{number} {curve.label}"))
    return tag(
        "svg",
        tag("title", f"{chart.metric} by {_across(chart)}", id=f"{ident}-t"),
        tag("desc", description(chart), id=f"{ident}-d"),
        *frame.grid(),
        tag("g", *lines, class_="lines many" if len(chart.curves) > 10 else "lines"),
        *frame.numbers(ends),
        class_="chart", viewBox=f"0 0 {size.width} {size.height}", role="img", tabindex=0,
        aria_labelledby=f"{ident}-t {ident}-d", **frame.data(chart),
    )  # fmt: skip


def _across(chart: Chart) -> str:
    return {"step": "step", "time": "time", "relative": "time since the start"}[chart.x]


def description(chart: Chart) -> str:
    """What a chart shows, in words: each run's last, lowest and highest value."""
    said = [
        f"{curve.label}: last {told(curve.last)}, lowest {told(curve.low)}, highest {told(curve.high)}"
        for curve in chart.curves[:50]
    ]
    more = len(chart.curves) - len(said)
    return "; ".join(said) + (f"; and {more} more runs" if more else "") + ". " + "; ".join(chart.notes)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in the picture."""

    across: Axis
    up: Axis
    size: Size

    def place(self, x: float, y: float) -> Point:
        width, height = self.size.inner
        return _LEFT + self.across.place(x) * width, _TOP + (1 - self.up.place(y)) * height

    def placed(self, points: Sequence[Point]) -> list[Point]:
        """Points as places, thinned; NaN where there is a gap."""
        known = [(x, y) for x, y in points if self.across.takes(x)]
        across, up = self.across.placing(), self.up.placing()
        few = thinned(known, self.size.buckets, across)
        width, height = self.size.inner
        return [
            (_LEFT + across(x) * width, _TOP + (1 - up(y)) * height) if self.up.takes(y) else (nan, nan) for x, y in few
        ]

    def path(self, points: Sequence[Point], class_: str) -> Markup:
        return self.drawn(self.placed(points), class_)

    def drawn(self, places: Sequence[Point], class_: str, run: int | None = None, label: str | None = None) -> Markup:
        return tag("path", d=_path(places), class_=class_, data_run=run, data_label=label)

    def grid(self) -> list[Markup]:
        """The lines and texts of both axes."""
        width, height = self.size.inner
        bottom, found = _TOP + height, []
        for value, said in self.up.ticks(max(2, height // 36)):
            y = round(self.place(self.across.low, value)[1], 1)
            found.append(tag("line", x1=_LEFT, y1=y, x2=_LEFT + width, y2=y, class_="grid"))
            found.append(tag("text", said, x=_LEFT - 7, y=y + 4, class_="tick", text_anchor="end"))
        for value, said in self.across.ticks(max(2, width // 90)):
            x = round(self.place(value, self.up.low)[0], 1)
            found.append(tag("line", x1=x, y1=bottom, x2=x, y2=bottom + 4, class_="axis"))
            found.append(tag("text", said, x=x, y=bottom + 18, class_="tick", text_anchor="middle"))
        found.append(tag("line", x1=_LEFT, y1=bottom, x2=_LEFT + width, y2=bottom, class_="axis"))
        middle = _LEFT + width // 2
        found.append(tag("text", self.across.title, x=middle, y=bottom + 37, class_="tick", text_anchor="middle"))
        return found

    def numbers(self, ends: Sequence[tuple[float, float, int]]) -> list[Markup]:
        """Each run's number where its line ends, moved apart as far as there is room."""
        if len(ends) < 2:
            return []
        return end_numbers(ends, _TOP, _TOP + self.size.inner[1])

    def data(self, chart: Chart) -> dict[str, str]:
        """What the page's script needs to say which value a place is."""
        width, height = self.size.inner
        return {
            "data_x": f"{_LEFT} {_LEFT + width} {self.across.low!r} {self.across.high!r} {int(self.across.log)}",
            "data_y": f"{_TOP + height} {_TOP} {self.up.low!r} {self.up.high!r} {int(self.up.log)}",
            "data_kind": chart.x,
        }


def end_numbers(ends: Sequence[tuple[float, float, int]], top: float, bottom: float) -> list[Markup]:
    """(x, y, number) as texts at the ends of lines, none over another; those without room are left out."""
    ordered = sorted(ends, key=lambda end: end[1])
    if len(ends) * _LETTER > bottom - top:
        ordered = ordered[:: ceil(len(ends) * _LETTER / (bottom - top))]
    places = [max(y, top + at * _LETTER) for at, (_, y, _) in enumerate(ordered)]
    for at in range(1, len(places)):
        places[at] = max(places[at], places[at - 1] + _LETTER)
    free = bottom + _LETTER
    for at in range(len(places) - 1, -1, -1):
        free = places[at] = min(places[at], free - _LETTER)
    return [
        tag(
            "text", str(number), x=round(x + 5, 1), y=round(y + 4, 1), class_=f"end {style_of(number)}", data_run=number
        )
        for (x, _, number), y in zip(ordered, places, strict=True)
    ]


def _path(places: Sequence[Point]) -> str:
    """The `d` of a path: pieces that a line joins; a point alone is a line of no length, which shows as a dot."""
    words = []
    for piece in segments(places):
        x, y = piece[0]
        words.append(f"M{x:.1f} {y:.1f}")
        words += [f"L{x:.1f} {y:.1f}" for x, y in piece[1:]] or ["h0"]
    return "".join(words)


def curve_of(chart: Chart, run_id: str) -> Curve | None:
    """A run's curve, if it has one."""
    return next((curve for curve in chart.curves if curve.run_id == run_id), None)
