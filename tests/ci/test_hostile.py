"""Nothing that a name, a tag, a value or another tool holds can break out of any format of a summary."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trk.ci import escaping, mermaid
from trk.ci.model import Summary
from trk.pictures.texts import tame
from trk.query.reports import CheckedCondition, CheckReport
from trk.records import (
    ArtifactRecord,
    Delivery,
    MetricComparison,
    MetricPoint,
    RunRecord,
    Status,
)

ATTACKS = (
    "<script>alert(1)</script>", "</code><img src=x onerror=alert(1)>", "| a | b |", "\\| x", "``` \n# x", "`x` ~~~",
    "[a](javascript:alert(1))", "![a](http://x/y.png)", "<http://x.example>", "http://x.example/a", "www.example.com",
    "@everyone", "a@b.example", "#12", "!12", "~label", ":tada:", "$x$", "*a* _b_ **c**", "\n/close\n", "- [ ] x",
    "%%{init: {'theme':'dark'}}%%", "]\nline [1]", '"', "-->", "<!-- x", "]]>", "&lt;b&gt;", "&#60;", "\\",
    "\x00\x1b[31m", "\ud800", "\u202e", "\ufffe", "# EOF", 'a"} 1\nb{c="', "</details>", "=1+1", "{{x}}", "[^1]: x",
    "[a]: http://x.example",
)  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(ATTACKS), st.text(max_size=12), st.text("|`\\<>&\"'[]()!*_~#@:/%{}$\n\r\t -=+", max_size=12)
)
TEXTS = st.lists(PIECES, min_size=1, max_size=4).map("".join)
VALUES = st.floats(allow_nan=True, allow_infinity=True)


def summary_of(text: str, other: str, value: float, several: bool) -> Summary:
    """A summary with the texts wherever a user's text may stand."""
    url = f"https://x.example/{text}"
    started = datetime(2026, 11, 21, tzinfo=UTC)
    delivery = Delivery("r", url, 1, 1, 0, 0, 0)
    runs = [
        RunRecord(
            f"r{number}", text, other, Status.FINISHED, "local", started, started, description=text,
            params={text: f"{other}{number}"}, metrics={text: value, other: 1.0},
            tags={"ci.url": text, "ci.commit": other, "ci.branch": text}, backends={"mlflow": delivery},
        )
        for number in range(3)
    ]  # fmt: skip
    base, shown = runs[2], runs[: 2 if several else 1]
    ids = [run.run_id for run in runs]
    metrics = {
        key: MetricComparison(
            "max", dict.fromkeys(ids, value), dict.fromkeys(ids[:2], value), dict.fromkeys(ids[:2], value),
            dict.fromkeys(ids[:2], "worse"),
        )
        for key in (text, other)
    }  # fmt: skip
    conditions = [CheckedCondition(text, other, value, False, text), CheckedCondition(other, 1.0, None, True, other)]
    points = [MetricPoint("r0", text, step, 0, each) for step, each in enumerate((0.5, value, 1.0))]
    return Summary(
        shown, "local", "0" * 16, metrics=metrics, best={("r0", text): (1.0, 2)},
        params={text: {"r0": text, "r1": other}}, checks=[CheckReport(False, conditions, run, base) for run in shown],
        baseline=base, missing_baseline=text, notes=[text], subject=("pipeline", text), pipeline=text,
        artifacts=[ArtifactRecord("r0", text, "file", other, 10)],
        histories={("r0", text): points, ("r2", text): points},
    )  # fmt: skip


ALLOWED = {
    "h3", "h4", "p", "code", "em", "strong", "span", "a", "table", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "blockquote", "pre",
}  # fmt: skip


class Reader(HTMLParser):
    """The elements of a page, its links, and the text of each `code` beside fences."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.codes: list[str] = []
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" in self._open:
            self.codes[-1] += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader._open == []
    return reader


TRIED = settings(max_examples=25)


@TRIED
@given(TEXTS, TEXTS, VALUES, st.booleans())
@example("".join(ATTACKS), " ".join(ATTACKS), float("nan"), True)
@example("- [ ] x", "    1. x", 1.0, False)
@example("/close", "> x", 1.0, False)
def test_markdown_can_not_be_broken_out_of(text: str, other: str, value: float, several: bool) -> None:
    markdown_it = pytest.importorskip("markdown_it", reason="rich brings it")
    found = summary_of(text, other, value, several)
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for page in (found.markdown, found.gitlab):
        drawn = read(parser.render(page))
        assert set(drawn.tags) <= ALLOWED
        assert drawn.attributes <= {"href", "class", "style"}
        assert drawn.comments == []
        assert all(re.match(r"https?://[\w.\[]", link) for link in drawn.links)
        plain = read(parser.render(summary_of("plain", "plain" if text == other else "other", value, several).markdown))
        assert [tag for tag in drawn.tags if tag == "tr"] == [tag for tag in plain.tags if tag == "tr"]
        shown = tame(text, escaping.LONGEST)
        if text.strip():
            assert " ".join(shown.split()) in {" ".join(code.split()) for code in drawn.codes}
        assert not [line for line in page.splitlines() if line.startswith(("/", "@"))]
        assert "://" not in re.sub(r"\(<https?://[^>]*>\)", "", page)
        for name in ("javascript:", "<script", "<img", "@everyone", ":tada:", "www."):
            assert name not in re.sub(r"\(<https?://[^>]*>\)", "", page).lower()


@TRIED
@given(TEXTS, TEXTS, VALUES)
@example('a"]\nline [2]', "%%{init: {}}%%", 1e308)
def test_a_chart_has_no_text_of_a_user_in_it(text: str, other: str, value: float) -> None:
    pages = [summary_of(text, other, value, True).markdown, summary_of("plain", "other", value, True).markdown]
    fences = [re.findall(r"^```mermaid\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) for page in pages]
    assert fences[0] == fences[1]
    assert len(fences[0]) == 1


@TRIED
@given(TEXTS, TEXTS, VALUES, st.booleans())
@example("".join(ATTACKS), " ".join(ATTACKS), float("inf"), True)
def test_xml_can_not_be_broken_out_of(text: str, other: str, value: float, several: bool) -> None:
    root = ElementTree.fromstring(summary_of(text, other, value, several).junit.encode())
    assert {element.tag for element in root.iter()} <= {"testsuites", "testsuite", "testcase", "failure", "system-out"}
    for suite in root:
        assert [case.get("name") for case in suite] == [escaping.xml_text(text), escaping.xml_text(other)]


@TRIED
@given(TEXTS, TEXTS, VALUES, st.booleans())
@example("".join(ATTACKS), " ".join(ATTACKS), float("-inf"), True)
@example("a b", "a-b", 1.0, False)
def test_openmetrics_can_not_be_broken_out_of(text: str, other: str, value: float, several: bool) -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="in the dev extra")
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(summary_of(text, other, value, several).openmetrics)
    }
    conditions = {sample.labels["condition"] for sample in families["trk_check_passed"].samples}
    assert conditions == {tame(one, 1_000) for one in (text, other)}
    for family in families.values():
        for sample in family.samples:
            assert set(sample.labels) <= {"metric", "run", "condition"}


@TRIED
@given(TEXTS, TEXTS, VALUES, st.booleans())
@example("".join(ATTACKS), " ".join(ATTACKS), 0.0, True)
def test_html_can_not_be_broken_out_of(text: str, other: str, value: float, several: bool) -> None:
    found = [summary_of(one, two, value, several).html for one, two in ((text, other), ("plain", "other"))]
    tags = [sorted(set(re.findall(r"<([a-z0-9]+)", page))) for page in found]
    assert set(tags[0]) <= set(tags[1])
    assert found[0].count("<script") == 1
    assert not re.search(r'(href|src)="(?!https?://x\.example/|#)', found[0])


@given(st.text(max_size=30).map(lambda text: f"https://x.example/{text}"))
def test_an_address_stays_in_its_link(url: str) -> None:
    shown = escaping.address(url)
    assert shown is not None
    assert not set(shown) & set(" <>()[]\"'`|\\\n\r\t*_{}") - {"_"}


def test_only_addresses_of_the_web_become_links() -> None:
    for url in ("javascript:alert(1)", "file:///etc/passwd", "sqlite:///x.db", "", None, "http://", "x" * 3000):
        assert escaping.address(url) is None
    assert escaping.address("https://me:secret@host/a?token=abc") == "https://host/a?token=%2A%2A%2A"


def test_a_chart_of_extreme_numbers_is_still_one() -> None:
    points = [MetricPoint("r", "m", step, 0, value) for step, value in ((-(2**63), -1e307), (2**63 - 1, 1e307))]
    drawn = mermaid.lines({"r": points})
    assert drawn is not None
    assert "-9223372036854775808 --> 9223372036854775807" in mermaid.block(drawn)
