"""A summary as Markdown for GitHub's step summaries and for notes at GitLab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trk.ci import mermaid
from trk.ci.escaping import LONGEST, address, code, prose
from trk.ci.layout import Block, Chart, Heading, Line, Link, Name, Paragraph, Piece, Said, Strong, Table, blocks
from trk.ci.model import Summary
from trk.media.table_cells import count

CUT = "This summary was cut to fit."


@dataclass(frozen=True, slots=True)
class Flavour:
    """What a forge takes: at most so many bytes on a page, and so many points in a line of a chart."""

    most_bytes: int
    points: int


GITHUB = Flavour(1_000_000, mermaid.POINTS)
GITLAB = Flavour(900_000, 20)  # it draws a chart of its own accord up to 2,000 characters


@dataclass(frozen=True, slots=True)
class _Measure:
    """How much of a summary is written; each one less than the one before."""

    rows: int
    charts: int
    longest: int = LONGEST


_MEASURES = (
    _Measure(1_000, 100), _Measure(100, 10), _Measure(100, 4), _Measure(50, 2, 100), _Measure(20, 0, 60),
    _Measure(5, 0, 40), _Measure(0, 0, 40),
)  # fmt: skip


def page(found: Summary, flavour: Flavour, most_bytes: int | None = None) -> str:
    """The summary in at most so many bytes, with a note if that is not all of it. Below 4,000 it may be more."""
    room = flavour.most_bytes if most_bytes is None else min(most_bytes, flavour.most_bytes)
    text = _written(found, flavour, LONGEST)
    for measure in _MEASURES:
        if len(text.encode()) <= room:
            break
        rows, charts = min(found.most_rows, measure.rows), min(found.most_charts, measure.charts)
        text = _written(replace(found, most_rows=rows, most_charts=charts), flavour, measure.longest) + f"\n_{CUT}_\n"
    return text


def _written(found: Summary, flavour: Flavour, longest: int) -> str:
    return "\n".join(_block(block, found, flavour, longest) for block in blocks(found))


def _block(block: Block, found: Summary, flavour: Flavour, longest: int) -> str:
    match block:
        case Heading(level, line):
            return f"{'#' * (level + 2)} {_line(line, longest)}\n"
        case Paragraph(line, note):
            return f"{'> ' if note else ''}{_line(line, longest)}\n"
        case Table():
            return _table(block, longest)
        case Chart():
            return _chart(block, found, flavour, longest)


def _line(line: Line, longest: int) -> str:
    return "".join(_piece(piece, longest) for piece in line)


def _piece(piece: Piece, longest: int) -> str:
    match piece:
        case Name(text):
            return code(text, longest)
        case Said(text):
            return prose(text)
        case Strong(text):
            return f"**{text}**"
        case Link(label, url):
            shown = address(url)
            return label if shown is None else f"[{label}](<{shown}>)"
    return piece


def _table(table: Table, longest: int) -> str:
    heads = [_line(cell, longest) or " " for cell in table.head]
    rules = ["---:" if at in table.right else "---" for at in range(len(heads))]
    rows = [[_line(cell, longest) for cell in row] for row in table.rows]
    drawn = "".join(f"| {' | '.join(row)} |\n" for row in [heads, rules, *rows])
    more = f"\n_{table.left_out}_\n" if table.left_out else ""
    if table.folded:
        return f"<details><summary>{table.title}</summary>\n\n{drawn}{more}\n</details>\n"
    return f"#### {table.title}\n\n{drawn}{more}"


def _chart(chart: Chart, found: Summary, flavour: Flavour, longest: int) -> str:
    ids = list(chart.labels)[: mermaid.MOST_LINES]
    points = max(5, flavour.points // max(1, len(ids) // 2)) if flavour is GITLAB else flavour.points
    drawn = mermaid.lines({run_id: found.histories[run_id, chart.metric] for run_id in ids}, points)
    if drawn is None:
        return ""
    head = f"{code(chart.metric, longest)} {_legend(chart, list(drawn.values), longest)}"
    return f"{head}\n\n{mermaid.block(drawn)}{_told(drawn, chart)}"


def _legend(chart: Chart, ids: Sequence[str], longest: int) -> str:
    if len(chart.labels) < 2:
        return "by step"
    shown = [f"{mark} {code(chart.labels[run_id], longest)}" for mark, run_id in zip(mermaid.MARKS, ids, strict=False)]
    return f"by step: {' · '.join(shown)}"


def _told(drawn: mermaid.Lines, chart: Chart) -> str:
    said = []
    if drawn.level:
        said.append("Where a run has no points, its line goes on level.")
    if (more := len(chart.labels) - len(drawn.values)) > 0:
        said.append(f"{count(more, 'more run')} not drawn.")
    return f"\n_{' '.join(said)}_\n" if said else ""
