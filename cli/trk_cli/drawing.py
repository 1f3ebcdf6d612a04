"""Charts in the terminal: plotille draws the dots, the axes and the list of runs are put around them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from trk.errors import UsageError
from trk.pictures.axes import Axis, chart_axes
from trk.pictures.curves import Chart, Curve, Point, segments, thinned
from trk.pictures.figures import NEEDS
from trk.pictures.texts import told
from trk_cli.forms import escape

LEAST_WIDTH, LEAST_HEIGHT = 30, 4
_COLOURS = ("bright_blue", "bright_yellow", "bright_green", "bright_magenta", "bright_red", "bright_cyan", "white")
_EMPTY = "\u2800"  # the letter of no dots: it is no space to who copies or searches
_ROOM = 4  # for the number of a run where its line ends


def drawn(charts: Sequence[Chart], *, width: int, height: int, colour: bool) -> str:
    """The charts, one below the other, each `height` rows high without its axis. Raises UsageError without plotille."""
    runs = dict.fromkeys(curve.run_id for chart in charts for curve in chart.curves)
    numbers = {run_id: number for number, run_id in enumerate(runs, 1)}
    width, height = max(width, LEAST_WIDTH), max(height, LEAST_HEIGHT)
    return "\n".join(_chart(chart, numbers, width, height, colour) for chart in charts)


def _chart(chart: Chart, numbers: Mapping[str, int], width: int, height: int, colour: bool) -> str:
    across, up = chart_axes(chart)
    ticks = {round((1 - up.place(value)) * (height - 1)): text for value, text in up.ticks(max(2, height // 4))}
    left = max((len(text) for text in ticks.values()), default=1)
    inner = width - left - 2 - (_ROOM if len(numbers) > 1 else 0)
    rows, ends = _dots(chart, numbers, (across, up), (inner, height), colour)
    lines = [_painted(escape(chart.metric), "bold", colour)]
    for at, row in enumerate(rows):
        end = " " + _painted(str(ends[at]), _colour(ends[at]), colour) if at in ends else ""
        lines.append(f"{ticks.get(at, ''):>{left}} {'┤' if at in ticks else '│'}{row}{end}".rstrip())
    lines += _below(across, left, inner)
    notes = list(chart.notes)
    if chart.smooth:
        notes.append(f"smoothed by {chart.smooth:g}")
    indent = " " * (left + 2)
    lines += [line for note in notes for line in wrap(note, width, initial_indent=indent, subsequent_indent=indent)]
    return "\n".join([*lines, *_list(chart.curves, numbers, width, colour)]) + "\n"


def _dots(
    chart: Chart, numbers: Mapping[str, int], axes: tuple[Axis, Axis], size: tuple[int, int], colour: bool
) -> tuple[list[str], dict[int, int]]:
    """(the rows of dots, per row the number of the run whose line ends there)."""
    try:
        from plotille import Canvas
    except ImportError:
        raise UsageError("a plot in the terminal needs plotille", hint=f"{NEEDS}, or -o FILE.html") from None
    width, height = size
    canvas = Canvas(width, height, no_color=not colour)
    ends: dict[int, int] = {}
    for curve in chart.curves:
        number = numbers[curve.run_id]
        pieces = segments(_placed(curve, axes, width * 2))
        for piece in pieces:
            for start, end in zip(piece, piece[1:] or piece, strict=False):
                canvas.line(*start, *end, color=_colour(number) if colour else None)
        if len(numbers) > 1 and pieces:
            _put(ends, height - 1 - int(pieces[-1][-1][1] * height), number, height)
    return canvas.plot(linesep="\n").replace(_EMPTY, " ").split("\n"), ends


def _placed(curve: Curve, axes: tuple[Axis, Axis], dots: int) -> list[Point]:
    """The curve's points within a square of 1, its upper and right edges left free as the canvas needs them."""
    across, up = axes
    few = thinned([(x, y) for x, y in curve.points if across.takes(x)], dots, across.placing())
    gap = float("nan")
    return [(across.place(x) * 0.9999, up.place(y) * 0.9999 if up.takes(y) else gap) for x, y in few]


def _put(ends: dict[int, int], row: int, number: int, height: int) -> None:
    """Put a run's number at the row where its line ends, or the nearest that is free; else the list has it."""
    for away in range(height):
        for near in (row + away, row - away):
            if 0 <= near < height and near not in ends:
                ends[near] = number
                return


def _below(across: Axis, left: int, inner: int) -> list[str]:
    """The axis of x: its line, its ticks, and what it counts."""
    line, texts, free = ["─"] * inner, [" "] * (inner + 12), 0
    for value, text in across.ticks(max(2, inner // 14)):
        at = min(inner - 1, max(0, round(across.place(value) * (inner - 1))))
        start = max(0, min(at - len(text) // 2, inner - len(text)))
        if start >= free:
            line[at] = "┬"
            texts[start : start + len(text)] = text
            free = start + len(text) + 2
    title = across.title[:inner]
    return [
        f"{'':{left}} └{''.join(line)}",
        f"{'':{left}}  {''.join(texts).rstrip()}",
        f"{'':{left}}  {title:^{inner}}".rstrip(),
    ]


def _list(curves: Sequence[Curve], numbers: Mapping[str, int], width: int, colour: bool) -> list[str]:
    """A line for each run: its number, its name, and its last, lowest and highest value as logged."""
    rows = [[told(value, 5) for value in (curve.last, curve.low, curve.high)] for curve in curves]
    sizes = [max(len(row[at]) for row in rows) for at in range(3)] if rows else [0, 0, 0]
    words = ("last", "min", "max")
    room = max(8, width - sum(sizes) - sum(map(len, words)) - 15)
    names = [_cut(escape(curve.label), room) for curve in curves]
    longest = max((cells for _, cells in names), default=0)
    lines = []
    for curve, (name, cells), row in zip(curves, names, rows, strict=True):
        number = numbers[curve.run_id]
        values = "  ".join(f"{word} {text:>{size}}" for word, text, size in zip(words, row, sizes, strict=True))
        lines.append(f"{_painted(f'{number:>3}', _colour(number), colour)} {name}{' ' * (longest - cells)}  {values}")
    return lines


def _cut(text: str, room: int) -> tuple[str, int]:
    """(a text of at most so many columns, its columns)."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > room:
        text = set_cell_size(text, room - 1).rstrip() + "…"
    return text, cell_len(text)


def _colour(number: int) -> str:
    return _COLOURS[(number - 1) % len(_COLOURS)]


_CODES = {
    "bold": "1", "bright_blue": "94", "bright_yellow": "93", "bright_green": "92", "bright_magenta": "95",
    "bright_red": "91", "bright_cyan": "96", "white": "37",
}  # fmt: skip


def _painted(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if colour else text
