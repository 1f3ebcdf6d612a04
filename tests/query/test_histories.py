"""Histories of several runs: by glob, shortened, and side by side by step."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trk
from trk.errors import NotFound, UsageError
from trk.query.series import LEAST_SAMPLE, aligned, sampled
from trk.records import MetricPoint
from trk.rules import is_ranked

values = st.sampled_from([math.nan, math.inf, 0.0]) | st.floats(-5, 5)


@given(st.lists(values, max_size=60), st.integers(LEAST_SAMPLE, 20))
def test_a_sample_keeps_the_ends_and_the_extremes(given_values: list[float], most: int) -> None:
    points = [MetricPoint("run", "f1", step, 0, value) for step, value in enumerate(given_values)]
    found = sampled(points, most)
    steps = [point.step for point in found]
    assert len(found) == min(most, len(points))
    assert steps == sorted(set(steps))
    if points:
        assert {0, len(points) - 1} <= set(steps)
        ranked = [value for value in given_values if is_ranked(value)]
        kept = [point.value for point in found if is_ranked(point.value)]
        if ranked:
            assert (min(kept), max(kept)) == (min(ranked), max(ranked))
        gaps = [after - before for before, after in itertools.pairwise(steps)]
        assert max(gaps, default=0) <= 2 * len(points) / max(1, most - 4) + 2  # evenly


@pytest.fixture
def two() -> list[trk.Run]:
    made = []
    for at, name in enumerate(("one", "two")):
        run = trk.start(name, experiment="curves", tags={"n": str(at)}, backends="none")
        for step in range(10):
            run.log_metrics({"val/f1": step / 10 + at, "val/loss": -float(step)}, step=2 * step + at)
        run.log_metric("only/one" if at == 0 else "only/two", 1.0, step=0)
        run.finish()
        made.append(run)
    return made


def test_globs_and_filters_choose_metrics_and_runs(two: list[trk.Run]) -> None:
    said: list[str] = []
    found = trk.series(["val/*", "only/one"], filter="tags.n = '0' OR tags.n = '1'", last=2, warn=said.append)
    assert [(one.run.name, one.metric, [point.step for point in one.points]) for one in found] == [
        ("two", "val/f1", [17, 19]),
        ("two", "val/loss", [17, 19]),
        ("one", "val/f1", [16, 18]),
        ("one", "val/loss", [16, 18]),
        ("one", "only/one", [0]),
    ]
    assert said == []
    trk.series("only/one", ["one", "two"], warn=said.append)
    assert said == [f"run {two[1].id} has no only/one"]
    assert len(trk.history("*", ["one", "two"])) == 42
    assert len(trk.history("val/f1", experiment="curves", sample=4)) == 8
    assert trk.history("val/f1", filter="tags.n = '7'") == []


def test_series_lie_side_by_side(two: list[trk.Run]) -> None:
    with trk.start("three", experiment="curves", backends="none") as run:
        for at, value in enumerate((0.1, 0.3, 0.2)):
            run.log_metric("val/f1", value, step=3, timestamp=1_763_726_400_000 + at)
    rows, lost = aligned(trk.series("val/f1", ["one", "two", "three"], last=9))
    assert lost == 2
    assert [row.step for row in rows] == [*range(2, 20)]
    assert [list(row.values) for row in rows[:3]] == [[0.1, None, None], [None, 1.1, 0.2], [0.2, None, None]]
    assert aligned([]) == ([], 0)


def test_what_is_not_there_and_what_excludes_each_other_is_told(two: list[trk.Run]) -> None:
    with pytest.raises(NotFound, match=r"none of these runs has the metric val/g1"):
        trk.history("val/g1", ["one", "two"])
    with pytest.raises(NotFound, match=r"run \w+ has no metric 'x\*'"):
        trk.history("x*", "one")
    with pytest.raises(NotFound, match="has no runs"):
        trk.history("f1", experiment="no such")
    for words in ({"last": 0}, {"sample": 3}, {"last": 5, "sample": 5}, {"run": "one", "status": "FINISHED"}):
        with pytest.raises(UsageError):
            trk.history("val/f1", **words)  # type: ignore[arg-type]
