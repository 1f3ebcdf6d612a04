"""`trk.plot`: files and figures of real runs."""

from __future__ import annotations

import html
import math
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import trk
from pictures.conftest import HOSTILE, ended
from trk.errors import NotFound, UsageError
from trk.pictures import pages, plotting
from trk.pictures.gather import Wanted
from trk.pictures.plotting import Style
from trk.records import MetricPoint

Runs = tuple[str, str, str]


def charts(*metrics: str, style: Style | None = None, **wanted: Any) -> list[Any]:
    return plotting.charts(metrics, Wanted(**wanted), style or Style())


def test_a_chart_has_a_curve_of_each_run_with_its_values(runs: Runs) -> None:
    (chart,) = charts("f1", runs=list(runs))
    assert [(curve.label, list(curve.points)) for curve in chart.curves[:2]] == [
        ("first", [(0, 0.5), (1, 0.6), (2, 0.7)]),
        ("second", [(0, 0.4), (1, 0.95), (2, 0.6)]),
    ]
    third = chart.curves[2]
    assert (third.count, third.gaps, third.low, third.high, third.last) == (3, 1, 0.1, 0.2, 0.2)
    assert chart.notes == ["1 point not a finite number, shown as a gap"]


def test_runs_are_chosen_by_rank_filter_and_experiment(runs: Runs) -> None:
    ended("elsewhere", [1.0])
    labels = {
        "best": charts("f1", best=2), "filter": charts("f1", filter="params.kind = 'a'"),
        "experiment": charts("f1", experiment="digits", n=2), "both": charts("f1", runs="third", best=1),
    }  # fmt: skip
    assert {how: [curve.label for curve in found[0].curves] for how, found in labels.items()} == {
        "best": ["elsewhere", "second"], "filter": ["third", "first"],
        "experiment": ["elsewhere", "third"], "both": ["third", "elsewhere"],
    }  # fmt: skip


def test_patterns_name_metrics_and_each_has_a_chart() -> None:
    run = trk.start("a")
    run.log_metrics({"val/f1": 1, "val/loss": 2, "loss": 3})
    assert [chart.metric for chart in charts("loss", "val/*", "val/f1")] == ["loss", "val/f1", "val/loss"]
    with pytest.raises(NotFound) as caught:
        charts("test/*")
    assert "test/*" in caught.value.message
    assert caught.value.hint == "there is loss, val/f1, val/loss"


def test_time_goes_from_the_start_of_each_run(runs: Runs) -> None:
    run = trk.start("timed")
    start = run.record.start_time
    assert start is not None
    for second in (3, 1, 2):
        run.log_metric("late", float(second), timestamp=int(start.timestamp() * 1000) + second * 1000)
    (chart,) = charts("late", style=Style(x="relative"))
    assert [(round(x, 2), y) for x, y in chart.curves[0].points] == [(1, 1), (2, 2), (3, 3)]
    (chart,) = charts("late", style=Style(x="time"))
    assert chart.curves[0].points[0][0] == pytest.approx(start.timestamp() * 1000 + 1000, abs=2)


def test_smoothing_keeps_what_was_logged_behind_it(runs: Runs) -> None:
    (chart,) = charts("f1", runs="second", style=Style(smooth=0.5))
    (curve,) = chart.curves
    assert [y for _, y in curve.points] == pytest.approx([0.4, (0.2 + 0.95) / 1.5, (0.1 + 0.475 + 0.6) / 1.75])
    assert (curve.high, [y for _, y in curve.raw]) == (0.95, [0.4, 0.95, 0.6])


def test_what_a_logarithmic_axis_cannot_show_is_told() -> None:
    run = trk.start("a")
    for value in (-1.0, 0.0, 1.0, 100.0):
        run.log_metric("loss", value)
    (chart,) = charts("loss", style=Style(log_y=True, log_x=True))
    assert list(chart.notes) == [
        "1 point at x ≤ 0, which a logarithmic axis can't show",
        "2 points at y ≤ 0, which a logarithmic axis can't show",
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"x": "epoch"}, "x must be one of step, time, relative"),
        ({"smooth": 1}, "smooth must be from 0 to under 1"),
        ({"smooth": math.nan}, "smooth must be from 0"),
        ({"width": 99}, "width must be from 100"),
        ({"height": True}, "height must be from 100"),
        ({"best": 0}, "best must be a whole number from 1 up"),
        ({"to": "a.pdf"}, r"ends in .png, .svg, .html"),
        ({"to": "nowhere/a.html"}, "No such file"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(runs: Runs, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        trk.plot("f1", "first", **{"to": "a.html", **given})
    assert list(Path().glob("*.html")) == []


def test_an_html_file_needs_nothing_but_itself(runs: Runs) -> None:
    path = trk.plot("f1", runs, to="curves.html", smooth=0.5)
    page = Path(str(path)).read_text(encoding="utf-8")
    assert "default-src 'none'" in html.unescape(page)
    assert re.findall(r"(?:src|href)=\"?(?!#)", page) == []
    (svg,) = re.findall(r"<svg class=\"chart.*?</svg>", page, re.DOTALL)
    ElementTree.fromstring(svg)
    assert "1 point not a finite number" in page
    assert not list(Path().glob(".curves*"))


def test_100_000_points_make_a_small_page_with_their_extremes(runs: Runs) -> None:
    record = trk.get_run("first")
    points = [
        MetricPoint(record.run_id, "loss", at, 1_795_262_400_000 + at, 1e6 if at == 54_321 else float(at % 7))
        for at in range(100_000)
    ]
    chart = plotting.chart_of("loss", [record], {(record.run_id, "loss"): points}, Style())
    page = pages.plot_page([chart])
    assert len(page) < 60_000
    (path,) = re.findall(r'<path d="(.*?)" class="line s0', page)
    heights = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    assert max(heights) - min(heights) > 200  # the one peak reaches the top


def test_no_name_acts_in_a_page(hostile: str) -> None:
    path = Path(str(trk.plot(["f1", "loss"], hostile, to="curves.html")))
    page = path.read_text(encoding="utf-8")
    assert HOSTILE[:20] not in page
    assert page.count("<script") == 1
    assert "<img" not in page


def test_figures_of_matplotlib_take_any_name(hostile: str) -> None:
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    drawn = trk.plot("*", [hostile, "other"])
    assert isinstance(drawn, figure.Figure)
    assert [axes.get_title().split("\n")[0] for axes in drawn.axes] == ["f1", "loss"]
    path = Path(str(trk.plot("f1", [hostile, "other"], to="a.png", width=500, height=300)))
    assert path.read_bytes().startswith(b"\x89PNG")
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    with image.open(path) as picture:
        assert picture.size == (500, 300)


def test_without_matplotlib_the_extra_is_named(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError) as caught:
        trk.plot("f1", "first")
    assert caught.value.hint == "pip install 'trk-ml[plot]'"
    assert Path(str(trk.plot("f1", "first", to="a.html"))).exists()
