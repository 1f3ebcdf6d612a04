"""Charts as a figure of matplotlib, which is imported when it is asked for."""

from __future__ import annotations

import warnings
from io import BytesIO
from math import ceil, nan
from typing import TYPE_CHECKING, Any

from trk.errors import UsageError
from trk.pictures.axes import Axis, chart_axes
from trk.pictures.curves import Chart, Point, thinned
from trk.pictures.texts import tame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

DPI = 100
NEEDS = "pip install 'trk-ml[plot]'"
# Of those on the page, the darker eight: each is told from white.
COLOURS = ("#0b62c4", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be185d", "#4b5563")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 2)), (0, (7, 2, 2, 2)))


def figure(charts: Sequence[Chart], width: int | None = None, height: int | None = None) -> Figure:
    """A figure with one chart below the other, `width` × `height` pixels. Raises UsageError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("a picture needs matplotlib", hint=NEEDS) from None
    numbers = {
        run_id: number
        for number, run_id in enumerate(dict.fromkeys(c.run_id for chart in charts for c in chart.curves), 1)
    }
    most = max((len(chart.curves) for chart in charts), default=1)
    rows = ceil(most / 3)
    tall = height or len(charts) * 360 + rows * 22
    drawn = Figure(figsize=((width or 900) / DPI, tall / DPI), dpi=DPI, layout="constrained")
    for axes, chart in zip(drawn.subplots(len(charts), 1, squeeze=False)[:, 0], charts, strict=True):
        _draw(axes, chart, numbers)
    _legend(drawn, charts, numbers)
    return drawn


def image(charts: Sequence[Chart], kind: str, width: int | None = None, height: int | None = None) -> bytes:
    """The figure as a PNG or SVG. Raises UsageError without matplotlib."""
    drawn = figure(charts, width, height)
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # shown as boxes
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied", category=UserWarning)
        drawn.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _draw(axes: Any, chart: Chart, numbers: dict[str, int]) -> None:
    across, up = chart_axes(chart)
    for curve in chart.curves:
        number = numbers[curve.run_id] - 1
        style = {"color": COLOURS[number % 8], "linestyle": DASHES[number // 8 % 4]}
        if curve.raw:
            axes.plot(*_drawn(curve.raw, across, up), linewidth=0.8, alpha=0.3, **style)
        x, y = _drawn(curve.points, across, up)
        axes.plot(x, y, linewidth=1.5, marker="." if len(x) < 3 else None, **style)
    axes.set_title("\n".join([tame(chart.metric), *map(tame, chart.notes)]), fontsize=10, parse_math=False)
    axes.set_xlabel(across.title, fontsize=9, parse_math=False)
    if across.log:
        axes.set_xscale("log")
    if up.log:
        axes.set_yscale("log")
    axes.set_xlim(across.low, across.high)
    axes.set_ylim(up.low, up.high)
    for axis, ticks in ((axes.xaxis, across.ticks(8)), (axes.yaxis, up.ticks(6))):
        axis.set_ticks([value for value, _ in ticks], [text for _, text in ticks], fontsize=8)
        axis.set_ticks([], minor=True)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _drawn(points: Sequence[Point], across: Axis, up: Axis) -> tuple[list[float], list[float]]:
    few = thinned([(x, y) for x, y in points if across.takes(x)], 1_000, across.placing())
    return [x for x, _ in few], [y if up.takes(y) else nan for _, y in few]


def _legend(drawn: Figure, charts: Sequence[Chart], numbers: dict[str, int]) -> None:
    from matplotlib.lines import Line2D

    names = {curve.run_id: curve.label for chart in charts for curve in chart.curves}
    at = [numbers[run_id] - 1 for run_id in names]
    lines = [Line2D([], [], color=COLOURS[number % 8], linestyle=DASHES[number // 8 % 4]) for number in at]
    # With its number before it no name begins with `_`, which matplotlib would leave out.
    texts = [f"{numbers[run_id]}  {name}" for run_id, name in names.items()]
    if lines:
        found = drawn.legend(lines, texts, loc="outside lower center", ncols=min(3, len(lines)), fontsize=9)
        for text in found.get_texts():
            text.set_parse_math(False)
