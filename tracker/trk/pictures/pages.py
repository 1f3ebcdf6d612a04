"""A page of HTML that needs nothing but itself: its shell, tables, lists of runs, and the page of `trk plot`.

The page's policy admits its own style and script alone, by their hashes, and nothing from anywhere: whatever a name in
it holds, no other script runs and nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources

from trk.pictures.curves import Chart
from trk.pictures.markup import Child, Markup, join, tag
from trk.pictures.svg import Size, line_chart, style_of, swatch
from trk.pictures.texts import tame


@cache
def _asset(name: str) -> str:
    return resources.files("trk.pictures").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def document(title: str, *body: Child) -> str:
    """A whole page."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="trk"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    whole = tag("html", head, tag("body", join(body), tag("script", Markup(script))), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def section(title: str, ident: str, *body: Child) -> Markup:
    """A part of a page with its heading."""
    return tag("section", tag("h2", title, id=ident), *body, aria_labelledby=ident)


def table(caption: str, head: Sequence[Child], rows: Sequence[Sequence[Markup]], class_: str | None = None) -> Markup:
    """A table in a frame of its own that scrolls; `head` are texts or whole cells, `rows` are of whole cells."""
    cells = [cell if isinstance(cell, Markup) else tag("th", cell, scope="col") for cell in head]
    body = [tag("tr", *row) for row in rows]
    heading = tag("caption", tag("span", caption))
    drawn = tag("table", heading, tag("thead", tag("tr", *cells)), tag("tbody", *body), class_=class_)
    return tag("div", drawn, class_="scroll", tabindex=0, role="region", aria_label=caption)


def frame(path: str, content: str) -> Markup:
    """A page of somebody else's, to be folded out: a sandbox, so that nothing in it acts or is fetched.

    Beside that it is under the policy of the page around it, by which no script, style or address of its own counts.
    """
    shown = tag("iframe", sandbox="", srcdoc=Markup(escape(content)), title=tame(path), loading="lazy")
    note = tag("p", "Its scripts, styles and pictures from elsewhere do nothing here.", class_="quiet")
    return tag("details", tag("summary", tame(path)), shown, note)


def legend(numbers: Mapping[str, int], labels: Mapping[str, str]) -> Markup:
    """The runs of a page's charts: pointing at one shows its lines alone."""
    items = [
        tag(
            "li",
            tag("button", swatch(number), tag("b", str(number)), " ", labels[run_id], type="button", data_run=number,
                aria_pressed="false", class_=style_of(number)),
        )
        for run_id, number in numbers.items()
    ]  # fmt: skip
    return tag("ul", *items, class_="legend", aria_label="Runs; press one to see its lines alone")


def chart_card(chart: Chart, numbers: Mapping[str, int], size: Size, ident: str) -> Markup:
    """A chart with its heading and its notes."""
    notes = list(chart.notes)
    if chart.smooth:
        notes.append(f"smoothed by {chart.smooth:g}; what was logged is faint")
    return tag(
        "figure",
        tag("h3", chart.metric),
        line_chart(chart, numbers, size, ident),
        tag("figcaption", "; ".join(notes)) if notes else None,
        class_="card",
    )


def plot_page(charts: Sequence[Chart], width: int | None = None, height: int | None = None) -> str:
    """The page of `trk plot -o FILE.html`."""
    labels = {curve.run_id: curve.label for chart in charts for curve in chart.curves}
    numbers = {run_id: number for number, run_id in enumerate(labels, 1)}
    lines = sum(1 + bool(curve.raw) for chart in charts for curve in chart.curves)
    size = Size(width or 720, height or 360, buckets(lines))
    cards = [chart_card(chart, numbers, size, f"c{at}") for at, chart in enumerate(charts)]
    title = ", ".join(tame(chart.metric) for chart in charts[:5]) + ("…" if len(charts) > 5 else "")
    return document(
        title,
        tag("main", tag("h1", title), legend(numbers, labels), tag("div", *cards, class_="charts wide")),
    )


def buckets(lines: int) -> int:
    """How many parts of x each of so many lines is thinned to, so that a page stays under 2 MB."""
    return max(12, min(400, 28_000 // max(1, lines)))
