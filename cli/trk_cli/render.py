"""Listings as text: table, plain, CSV, TSV, Markdown. What a cell holds never acts on what shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trk.query.cells import no_formula
from trk.rules import is_ranked
from trk_cli.forms import escape, iso, number
from trk_cli.results import Cell, Listing, Seconds

_GAP = 2  # spaces between columns of a table
_NUMBERS = frozenset((float, Seconds, type(None)))
_NARROW = 10  # a column of text is folded to this, and no further, before another is left out
_SHORT = 30  # a column up to this width is not folded to get more columns into one part of a table
_LONGEST = 500  # characters of a text in a table; other formats cut nothing
_MARKDOWN = str.maketrans(
    {
        **{char: f"\\{char}" for char in "\\`*_[]~"},
        # Entities where a backslash would be read by the table before the text, or by no one.
        **{char: f"&#{ord(char)};" for char in "|$@#"},
        "<": "&lt;",
        ">": "&gt;",
        "&": "&amp;",
    }
)


def exact(cell: Cell) -> str:
    """A cell for machines: the shortest number that reads back the same, ISO times, texts as they are."""
    if type(cell) is float and cell - cell == 0:  # most cells of long lists are
        return repr(cell)
    if cell is None:
        return ""
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, datetime):
        return str(iso(cell))
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return str(number(cell))


def in_full(cell: Cell) -> str:
    """A cell for people, with nothing cut short: as `exact`, and a duration with its unit."""
    return f"{exact(cell)} s" if isinstance(cell, Seconds) else exact(cell)


def short(cell: Cell) -> str:
    """A cell for people: up to six significant digits, times to the minute, on one line."""
    if isinstance(cell, float) and cell - cell == 0:
        return f"{cell:.6g} s" if isinstance(cell, Seconds) else f"{cell:.6g}"
    if isinstance(cell, datetime):
        return str(iso(cell)).replace("T", " ")[:16] + "Z"
    text = exact(cell)
    return escape(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def plain(listing: Listing, *, header: bool = True) -> str:
    """Tab-separated lines for scripts, nothing cut short; tabs and newlines in cells are shown as \\t and \\n."""
    return _separated(listing, exact, header=header)


def tsv(listing: Listing) -> str:
    """Tab-separated lines for spreadsheets: no text begins as a formula."""
    return _separated(listing, _no_formula, header=True)


def _separated(listing: Listing, cell: Callable[[Cell], str], *, header: bool) -> str:
    columns = [_texts(cells, cell) for cells in zip(*listing.rows, strict=True)]
    heads = [[escape(cell(column.title)) for column in listing.heads]] if header else []
    return "".join("\t".join(row) + "\n" for row in [*heads, *zip(*columns, strict=True)])


def _texts(cells: Sequence[Cell], told: Callable[[Cell], str]) -> Sequence[str]:
    """A column as text. What most columns are is told without a look at each cell, which long lists feel."""
    kinds = {*map(type, cells)}
    if kinds <= _NUMBERS and _are_finite(cells):
        return ["" if cell is None else repr(cell) for cell in cells]
    texts = [*map(str, cells)] if told is exact and kinds == {str} else [told(cell) for cell in cells]
    return texts if "".join(texts).isprintable() else [escape(text) for text in texts]


def _are_finite(cells: Sequence[Cell]) -> bool:
    total = sum(cell for cell in cells if isinstance(cell, float))
    return total - total == 0


def csv(listing: Listing) -> str:
    """Comma-separated, quoted where needed; no text begins as a formula. Newlines and tabs are kept."""
    import csv as writer
    import io

    rows = [[column.title for column in listing.heads], *listing.rows]
    buffer = io.StringIO()
    lines = writer.writer(buffer, lineterminator="\n")
    lines.writerows([escape(_no_formula(item), keep="\n\t") for item in row] for row in rows)
    return buffer.getvalue()


def _no_formula(cell: Cell) -> str:
    """A cell that no spreadsheet computes."""
    return no_formula(cell) if isinstance(cell, str) else exact(cell)


def markdown(listing: Listing) -> str:
    """A table of GitHub's and GitLab's Markdown."""
    heads = [markdown_text(column.title) for column in listing.heads]
    rules = ["---:" if numeric else "---" for numeric in _numeric_columns(listing)]
    rows = [[_markdown_cell(item) for item in row] for row in listing.rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in [heads, rules, *rows])


def _markdown_cell(cell: Cell) -> str:
    return markdown_text(cell) if isinstance(cell, str) else in_full(cell)


def markdown_text(text: str) -> str:
    """The text in Markdown, with nothing in it that is Markdown: no cell, link, mention, HTML, code or formula."""
    import re

    inert = escape(text).translate(_MARKDOWN).replace("://", "&#58;//")
    return re.sub(r"(www)\.", r"\1&#46;", inert, flags=re.IGNORECASE)


def _numeric_columns(listing: Listing) -> list[bool]:
    return [_is_numeric([row[at] for row in listing.rows]) for at in range(len(listing.columns))]


def _is_numeric(cells: Sequence[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in known)


@dataclass(slots=True)
class _Shape:
    """A column of a table as it is fitted: `width` shrinks from what it would like to `least`."""

    title: str
    above: str
    texts: list[str]
    keep: bool
    rank: int
    numeric: bool
    width: int
    least: int


def table(listing: Listing, *, width: int, terminal: bool) -> tuple[str, list[str]]:
    """A table that fits the width, and the titles of the columns that had to be left out.

    Whole cells are shown, folded if need be. Only the head is styled, and only on a terminal that takes colour.
    """
    shapes = _shapes(listing)
    if listing.repeat:
        parts = _parts(shapes, listing.repeat, width)
        return "\n".join(_drawn(_fit(part, width)[0], width, terminal) for part in parts), []
    fitting, dropped = _fit(shapes, width)
    return _drawn(fitting, width, terminal), dropped


def natural_width(listing: Listing) -> int:
    """How wide a table is when no cell of it is folded, if need be its titles."""
    from rich.cells import cell_len

    widest = [max(map(cell_len, [*shape.texts, shape.title[:_NARROW]])) for shape in _shapes(listing)]
    return _total(widest)


def height(listing: Listing, width: int) -> tuple[int, int]:
    """Of a table in parts: (columns of the terminal that are lacking, lines but for what is folded)."""
    parts = _parts(_shapes(listing), listing.repeat, width)
    heads = 3 if any(column.above for column in listing.heads) else 2
    lacking = max(_total([shape.least for shape in part]) - width for part in parts)
    return max(lacking, 0), len(parts) * (len(listing.rows) + heads)


def _drawn(shapes: Sequence[_Shape], width: int, terminal: bool) -> str:
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=terminal, legacy_windows=False)
    head = "bold" if terminal and not console.no_color else ""
    drawn = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style=head)
    headed = any(shape.above for shape in shapes)
    for shape in shapes:
        title = Text(f"{shape.above}\n{shape.title}" if headed else shape.title)
        justify = "right" if shape.numeric else "left"
        drawn.add_column(title, width=shape.width, overflow="fold", justify=justify)  # type: ignore[arg-type]  # a Literal
    for at in range(len(shapes[0].texts)):
        drawn.add_row(*(Text(shape.texts[at]) for shape in shapes))
    console.print(drawn)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def _parts(shapes: list[_Shape], repeat: int, width: int) -> list[list[_Shape]]:
    """The columns as parts that fit the width, each beginning with the first `repeat`; each column once besides."""
    wishes = [s.width if s.width <= _SHORT else max(s.least, min(s.width, width // 3)) for s in shapes]
    lead = list(range(repeat))
    parts: list[list[int]] = []
    taken: list[int] = []
    for at in range(repeat, len(shapes)):
        if taken and _total([wishes[one] for one in (*lead, *taken, at)]) > width:
            parts.append(taken)
            taken = []
        taken.append(at)
    parts.append(taken)
    return [[replace(shapes[at], keep=True) for at in (*lead, *part)] for part in parts]


def _shapes(listing: Listing) -> list[_Shape]:
    from rich.cells import cell_len

    shapes = []
    for at, (column, numeric) in enumerate(zip(listing.heads, _numeric_columns(listing), strict=True)):
        title, above = escape(column.title[:_LONGEST]), escape(column.above)
        texts = [short(row[at]) for row in listing.rows]
        longest = max(map(cell_len, texts), default=1)
        natural = max(longest, cell_len(title), cell_len(above), 1)
        whole = column.keep or column.whole or numeric or any(isinstance(row[at], datetime) for row in listing.rows)
        least = min(natural, max(longest, _NARROW)) if whole else min(natural, _NARROW)
        shapes.append(_Shape(title, above, texts, column.keep, column.rank, numeric, natural, least))
    return shapes


def _fit(shapes: list[_Shape], width: int) -> tuple[list[_Shape], list[str]]:
    """Leave out columns by rank, from the right, never one to keep, until the rest fits; then narrow the widest."""
    order = list(shapes)
    while _total([shape.least for shape in shapes]) > width:
        droppable = [shape for shape in shapes if not shape.keep]
        if not droppable or len(shapes) == 1:
            break
        worst = max(reversed(droppable), key=lambda shape: shape.rank)
        shapes.remove(worst)
    while (excess := _total([shape.width for shape in shapes]) - width) > 0:
        # On a terminal too narrow for what must be kept, even that is folded.
        loose = [shape for shape in shapes if shape.width > shape.least] or [s for s in shapes if s.width > 1]
        if not loose:
            break
        widest = max(loose, key=lambda shape: shape.width)
        floor = widest.least if widest.width > widest.least else 1
        others = [shape.width for shape in loose if shape is not widest]
        target = max(floor, min(widest.width - 1, max(others, default=floor)), widest.width - excess)
        widest.width = target
    shown = {id(shape) for shape in shapes}
    return shapes, [shape.title for shape in order if id(shape) not in shown]


def _total(widths: list[int]) -> int:
    return sum(widths) + _GAP * max(0, len(widths) - 1)


_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 24


def sparkline(values: Sequence[float]) -> str:
    """A history as a line of small bars, at most 24, no peak left out; NaN and infinities are gaps."""
    from trk.pictures.axes import Axis
    from trk.pictures.curves import sampled

    few = sampled(values, _SPARKS)
    finite = [value for value in few if is_ranked(value)]
    if len(values) < 2 or not finite:
        return ""
    low, high = min(finite), max(finite)
    line = Axis(low, high)
    top = len(_BARS) - 1 if low < high else 0
    return "".join(_BARS[round(line.place(value) * top) if top else 0] if is_ranked(value) else " " for value in few)
