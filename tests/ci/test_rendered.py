"""A summary in a real browser: its Markdown drawn as GitHub draws it, and its page of HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

import trk
from servers.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

STYLE = """
body { font: 14px/1.5 sans-serif; max-width: 980px; margin: 24px auto; color: #1f2328 }
table { border-collapse: collapse; margin-bottom: 16px }
td, th { border: 1px solid #d1d9e0; padding: 6px 13px }
code { background: #eff1f3; padding: .2em .4em; border-radius: 6px; font-size: 85% }
h4 { background: #0969da; color: white }
"""


def test_the_markdown_is_tables_and_headings_when_it_is_drawn(better: str, tmp_path: Path) -> None:
    markdown_it = pytest.importorskip("markdown_it", reason="rich brings it")
    found = trk.summary(better, baseline="main", checks=["f1 >= baseline", "loss < 0.01"])
    drawn = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(found.markdown)
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><style>{STYLE}</style>{drawn}<p>drawn</p>")
    page = Browser(tmp_path / "pictures", tmp_path / "profile").open(
        f"file://{tmp_path}/page.html", "summary", until="<p>drawn</p>"
    )
    assert page.document.count("<tr>") == 3 + 3 + 3 + 2  # checks, metrics, params, files
    assert page.share_of((9, 105, 218)) > 0.01  # the headings
    assert "<details><summary>2 params</summary>" in page.document


def test_the_page_of_html_draws_its_charts(better: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(trk.summary(better, baseline="main").html)
    page = Browser(tmp_path / "pictures", tmp_path / "profile").open(
        f"file://{tmp_path}/page.html", "summary-html", until="</html>"
    )
    assert page.document.count('class="chart"') == 2
    assert page.share_of((10, 98, 200)) > 0.0001  # the first run's lines
