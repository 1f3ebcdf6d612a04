"""A summary as a page of HTML that needs nothing but itself, in the clothes of `trk report`."""

from __future__ import annotations

from trk.ci.escaping import LONGEST, address
from trk.ci.layout import Block, Chart, Heading, Line, Link, Name, Paragraph, Piece, Said, Strong, Table, blocks
from trk.ci.model import Summary
from trk.pictures import pages, plotting
from trk.pictures.markup import Markup, join, tag
from trk.pictures.pages import document
from trk.pictures.plotting import Style
from trk.pictures.svg import Size
from trk.pictures.texts import tame


def page(found: Summary) -> str:
    """The whole page."""
    runs = [*found.runs, *([found.baseline] if found.baseline is not None else [])]
    numbers = {run_id: number for number, run_id in enumerate(dict.fromkeys(run.run_id for run in runs), 1)}
    body = [_block(block, found, numbers, f"b{at}") for at, block in enumerate(blocks(found))]
    title = found.runs[0].name if len(found.runs) == 1 else f"{len(found.runs)} runs"
    return document(title, tag("main", *body))


def _block(block: Block, found: Summary, numbers: dict[str, int], ident: str) -> Markup:
    match block:
        case Heading(_, line):
            return tag("header", tag("h1", _line(line)))
        case Paragraph(line, note):
            return tag("p", _line(line), class_="note" if note else None)
        case Table():
            return _table(block, ident)
        case Chart():
            records = [run for run in [*found.runs, found.baseline] if run is not None and run.run_id in block.labels]
            once = list({run.run_id: run for run in records}.values())
            drawn = plotting.chart_of(block.metric, once, found.histories, Style())
            return pages.chart_card(drawn, numbers, Size(buckets=pages.buckets(len(once))), ident)


def _table(table: Table, ident: str) -> Markup:
    head = [tag("th", _line(cell), scope="col", class_=_side(table, at)) for at, cell in enumerate(table.head)]
    rows = [[tag("td", _line(cell), class_=_side(table, at)) for at, cell in enumerate(row)] for row in table.rows]
    drawn = pages.table(table.title, head, rows)
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
