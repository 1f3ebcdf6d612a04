"""`trk.report`: what the page says, and that nothing in it acts."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import trk
from helpers import Course
from pictures.conftest import HOSTILE, TURNED, ended
from trk.errors import Conflict, NotFound, UsageError
from trk.pictures import pages, plotting, sections
from trk.pictures.plotting import Style
from trk.pictures.reporting import Findings
from trk.records import MetricPoint, RunRecord, Status

Runs = tuple[str, str, str]


class Reader(HTMLParser):
    """What a page holds: each table by its caption, ids, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.open.append(tag)  # what is empty is closed at once
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self._caption += data
        elif {"td", "th"} & set(self.open):
            self._rows[-1][-1] += data


def read(path: Path) -> tuple[str, Reader]:
    page = path.read_text(encoding="utf-8")
    return page, Reader(page)


def test_the_leaderboard_ranks_by_the_best_value_of_whole_histories(runs: Runs) -> None:
    page, found = read(trk.report())
    (rows,) = [rows for caption, rows in found.tables.items() if caption.startswith("Runs, by f1, higher is better")]
    assert rows[0][1:6] == ["run", "status", "best f1", "at step", "last f1"]
    assert [row[1:6] for row in rows[1:]] == [
        ["second", "FINISHED", "0.95", "1", "0.6"],
        ["first", "FINISHED", "0.7", "2", "0.7"],
        ["third", "FINISHED", "0.2", "2", "0.2"],
    ]
    assert "0.95 at step 1" in page
    assert len(set(found.ids)) == len(found.ids)


def test_a_metric_that_is_better_when_lower_ranks_the_other_way() -> None:
    ended("a", [0.5, math.inf], "loss")
    ended("b", [0.25, 0.75], "loss")
    ended("c", [math.nan], "loss")
    _, found = read(trk.report())
    (rows,) = [rows for caption, rows in found.tables.items() if "lower is better" in caption]
    assert [(row[1], row[3], row[5]) for row in rows[1:]] == [
        ("b", "0.25", "0.75"), ("a", "0.5", "Infinity"), ("c", "–", "NaN"),
    ]  # fmt: skip


def test_params_that_differ_stand_apart_from_those_that_are_the_same(runs: Runs) -> None:
    _, found = read(trk.report(["first", "third"]))
    assert found.tables["Params that differ"] == [["name", "1 first", "2 third"], ["lr", "0.1", "0.001"]]
    assert found.tables["Params that are the same in all runs"] == [["name", "value"], ["depth", "2"], ["kind", "a"]]
    assert "scatter-t" in found.ids
    _, found = read(trk.report())
    assert "parallel-t" in found.ids


def test_against_a_baseline_each_value_is_better_or_worse(runs: Runs) -> None:
    _, found = read(trk.report(baseline="third", metric="f1"))
    assert found.tables["Last values against third"] == [
        ["metric", "baseline", "1 second", "2 first"],
        ["f1", "0.2", "0.6 (+0.4, +200.00%)better", "0.7 (+0.5, +250.00%)better"],
    ]


def test_one_run_has_a_page_too_with_its_files_and_it_can_be_logged_into_it() -> None:
    run = trk.start("alone", params={"lr": 1})
    run.log_metric("f1", 0.5)
    run.log_text("hello", "note")
    path = trk.report(run, log=True, to="here.html", title="A page")
    page, found = read(path)
    assert found.tables["Files of alone"][1][:3] == ["note.txt", "text", "5 bytes"]
    (logged,) = [one for one in trk.artifacts(run) if one.kind == "html"]
    assert logged.path == "trk-report.html"
    assert logged.size == len(page.encode())
    run.finish()
    with pytest.raises(Conflict):
        trk.report(run.id, log=True)


def test_of_several_runs_it_is_logged_into_the_active_one(runs: Runs) -> None:
    run = trk.start("active", experiment="digits")
    trk.report(log=True, experiment="digits")
    assert [one.path for one in trk.artifacts(run)] == ["trk-report.html"]


def test_without_metrics_params_or_files_there_is_still_a_page() -> None:
    trk.start("bare").finish()
    trk.start("bare").finish()
    page, found = read(trk.report())
    assert page.count("bare …") >= 2
    assert "svg" in found.tags


def test_what_cannot_be_reported_is_an_error(runs: Runs) -> None:
    with pytest.raises(NotFound, match="none of these runs has the metric nothing"):
        trk.report(metric="nothing")
    with pytest.raises(UsageError, match=r"ends in .html"):
        trk.report(to="report.pdf")
    with pytest.raises(NotFound, match="experiment 'nowhere' has no runs"):
        trk.report(experiment="nowhere")
    assert not Path("trk-report.html").exists()


def test_no_name_acts_in_the_page(hostile: str) -> None:
    page, found = read(trk.report(title=TURNED + HOSTILE, baseline="other"))
    assert found.tags.count("script") == 1
    assert not {"img", "iframe", "link", "object"} & set(found.tags)
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "onerror" in page  # it is there to be read
    assert not re.search(r"<[^>]*\sonerror=", page)


def test_twenty_runs_of_ten_metrics_stay_under_two_megabytes(course: Course) -> None:
    points = course.many(300, 1_000)
    start = datetime(2026, 11, 21, tzinfo=UTC)
    runs = [
        RunRecord(f"01m80{at:021}", f"run {at}", "sweep", Status.FINISHED, "local", start, start + timedelta(hours=1),
                  params={"lr": str(at)}, metrics={f"metric{which}": 0.5 for which in range(10)})
        for at in range(20)
    ]  # fmt: skip
    logged = {
        (run.run_id, name): [
            MetricPoint(run.run_id, name, step, 1_795_262_400_000 + step, (step * 7919 % 1000) / 1000)
            for step in range(points)
        ]
        for run in runs
        for name in run.metrics
    }
    charts = [plotting.chart_of(f"metric{which}", runs, logged, Style()) for which in range(10)]
    page = sections.page(Findings("sweep", "local", runs, charts, {}))
    most = 2_000_000 if points == 1_000 else 1_400_000
    assert 100_000 < len(page.encode()) < most


# ---- colours


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_and_lines_can_be_read(which: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", pages._asset("page.css"), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[which]))
    assert len(colours) == 16
    for name in ("ink", "quiet", "accent", "good", "bad", *(f"c{at}" for at in range(8))):
        for ground in ("paper", "raised"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def test_logged_pages_are_shown_in_frames_in_which_nothing_acts() -> None:
    content = '<h1 title="&quot;">it\'s</h1>\n<script>parent.document.title = "acted"</script></iframe>'
    run = trk.start("paged")
    run.log_html(content, "page")
    run.log_html("<p>" + "x" * 600_000 + "</p>", "long")
    path = trk.report(run, log=True)
    run.finish()
    for _ in range(2):  # the report itself is not shown in the next one
        page, found = read(path)
        assert found.tags.count("script") == 1
        assert found.tags.count("iframe") == 1
        (attributes,) = re.findall(r"<iframe ([^>]*)>", page)
        assert attributes.startswith('sandbox="" srcdoc="')
        assert unescape(attributes.partition('srcdoc="')[2].partition('"')[0]) == content
        path = trk.report(run.id, source="local")
