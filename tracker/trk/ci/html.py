"""A summary as a page of HTML that needs nothing but itself, in the clothes of `trk report`."""

from __future__ import annotations

from collections.abc import Sequence

from trk.ci.escaping import LONGEST, address
from trk.ci.layout import Chart, Heading, Line, Link, Name, Paragraph, Piece, Said, Strong, Table, blocks
from trk.ci.model import Summary
from trk.pictures import pages, plotting
from trk.pictures.markup import Markup, join, tag
from trk.pictures.pages import document
from trk.pictures.plotting import Style
from trk.pictures.svg import Size
from trk.pictures.texts import tame


def page(found: Summary) -> str:
    """The whole page."""
    parts: list[Markup] = []
    charts: list[Chart] = []
    for at, block in enumerate(blocks(found)):
        if isinstance(block, Chart):  # they stand side by side
            charts.append(block)
            continue
        if charts:
            parts.append(_charts(charts, found))
            charts = []
        parts.append(_block(block, f"b{at}"))
    if charts:
        parts.append(_charts(charts, found))
    title = found.runs[0].name if len(found.runs) == 1 else f"{len(found.runs)} runs"
    return document(title, tag("main", *parts))


def _charts(charts: Sequence[Chart], found: Summary) -> Markup:
    runs = {run.run_id: run for run in [*found.runs, found.baseline] if run is not None}
    drawn = {run_id: name for chart in charts for run_id, name in chart.labels.items()}
    numbers = {run_id: number for number, run_id in enumerate((one for one in runs if one in drawn), 1)}
    size = Size(buckets=pages.buckets(sum(len(chart.labels) for chart in charts)))
    cards = []
    for at, chart in enumerate(charts):
        records = [runs[run_id] for run_id in numbers if run_id in chart.labels]
        curves = plotting.chart_of(chart.metric, records, found.histories, Style())
        cards.append(pages.chart_card(curves, numbers, size, f"c{at}"))
    names = {run_id: drawn[run_id] for run_id in numbers}
    legend = pages.legend(numbers, names) if len(numbers) > 1 else None
    return pages.section("Charts", "charts", legend, tag("div", *cards, class_="charts"))


def _block(block: Heading | Paragraph | Table, ident: str) -> Markup:
    match block:
        case Heading(_, line):
            return tag("header", tag("h1", _line(line)))
        case Paragraph(line, note):
            return tag("p", _line(line), class_="note" if note else None)
        case Table():
            return _table(block, ident)


def _table(table: Table, ident: str) -> Markup:
    head = [tag("th", _line(cell), scope="col", class_=_side(table, at)) for at, cell in enumerate(table.head)]
    rows = [[tag("td", _line(cell), class_=_side(table, at)) for at, cell in enumerate(row)] for row in table.rows]
    body = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *(tag("tr", *row) for row in rows)))
    drawn = tag("div", body, class_="scroll", tabindex=0, role="region", aria_label=table.title)
    more = tag("p", table.left_out, class_="note") if table.left_out else None
    if table.folded:
        return tag("details", tag("summary", table.title), drawn, more)
    return pages.section(table.title, ident, drawn, more)


def _side(table: Table, at: int) -> str | None:
    return "n" if at in table.right else None


def _line(line: Line) -> Markup:
    return join([_piece(piece) for piece in line])


def _piece(piece: Piece) -> Markup | str:
    match piece:
        case Name(text):
            return tag("code", tame(text, LONGEST))
        case Said(text):
            return text
        case Strong(text):
            return tag("strong", text)
        case Link(label, url):
            shown = address(url)
            return label if shown is None else tag("a", label, href=shown, rel="noopener noreferrer")
    return piece
