"""`best` against brute force: whole histories, both directions, and neither NaN nor infinity ever wins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trk
from trk.errors import NotFound, UsageError
from trk.records import Aggregate, Mode, Ranking
from trk.rules import HUGE

NOON = 1_763_726_400_000
AGGREGATES: tuple[Aggregate, ...] = ("best", "last", "min", "max")
MODES: tuple[Mode, ...] = ("max", "min")

odd = st.sampled_from([math.nan, math.inf, -math.inf, HUGE, -HUGE, 1.7e308, -1.7e308, 0.0, -0.0, 5e-324])
values = odd | st.integers(-2, 2).map(float) | st.floats()
histories = st.lists(st.tuples(st.integers(-3, 3), values), max_size=8)
numbers = itertools.count()


def logged(points: list[tuple[int, float]], experiment: str, metric: str = "score") -> trk.Run:
    """A run with these points, a millisecond after each other, and another metric beside each."""
    run = trk.start(experiment=experiment)
    for n, (step, value) in enumerate(points):
        run.log_metrics({metric: value, "beside": float(n)}, step=step, timestamp=NOON + n)
    run.finish()
    return run


@dataclass(frozen=True)
class Expected:
    """What brute force finds for one run."""

    value: float
    step: int
    beside: float


def finite(value: float) -> bool:
    return abs(value) < HUGE  # False for NaN


def expected(points: list[tuple[int, float]], mode: str, agg: str) -> Expected | None:
    """The value of a run that counts, by looking at every point."""
    placed = [(step, n, value) for n, (step, value) in enumerate(points)]
    if agg == "last":
        placed = [max(placed)] if placed else []
    ranked = [place for place in placed if finite(place[2])]
    if not ranked:
        return None
    sign = -1 if agg == "max" or (agg == "best" and mode == "max") else 1
    step, _, value = (
        ranked[-1] if agg == "last" else min(ranked, key=lambda place: (sign * place[2], place[0], place[1]))
    )
    return Expected(value, step, float(max(n for at, n, _ in placed_all(points) if at == step)))


def placed_all(points: list[tuple[int, float]]) -> list[tuple[int, int, float]]:
    return [(step, n, value) for n, (step, value) in enumerate(points)]


def shown(ranking: Ranking) -> list[tuple[str, float, int, float]]:
    return [(entry.run.run_id, entry.best.value, entry.best.step, entry.at_step["beside"]) for entry in ranking.runs]


@given(
    st.lists(histories, min_size=1, max_size=5), st.sampled_from(MODES), st.sampled_from(AGGREGATES), st.integers(1, 6)
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])  # an experiment each
def test_best_is_what_looking_at_every_point_finds(
    runs: list[list[tuple[int, float]]], mode: Mode, agg: Aggregate, n: int
) -> None:
    experiment = f"experiment {next(numbers)}"
    ids = [logged(points, experiment).id for points in runs]
    wanted = [
        (run_id, found) for run_id, points in zip(ids, runs, strict=True) if (found := expected(points, mode, agg))
    ]
    if not wanted:
        with pytest.raises(NotFound):
            trk.best("score", mode=mode, agg=agg, experiment=experiment)
        return
    starts = {record.run_id: record.start_time for record in trk.search(experiment=experiment)}
    sign = -1 if mode == "max" else 1
    wanted.sort(key=lambda pair: (sign * pair[1].value, starts[pair[0]], pair[0]))
    ranking = trk.best("score", mode=mode, agg=agg, n=n, experiment=experiment)
    assert shown(ranking) == [(run_id, found.value, found.step, found.beside) for run_id, found in wanted[:n]]
    assert ranking.without_metric == sum(not points for points in runs)
    assert ranking.not_finite == len(runs) - len(wanted) - ranking.without_metric


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, HUGE, -HUGE])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("agg", AGGREGATES)
def test_what_is_not_finite_never_wins(value: float, mode: Mode, agg: Aggregate) -> None:
    logged([(0, value)], "e")
    good = logged([(0, 0.5)], "e")
    found = trk.best("score", mode=mode, agg=agg, n=5, experiment="e")
    assert [entry.run.run_id for entry in found.runs] == [good.id]
    assert (found.not_finite, found.without_metric) == (1, 0)


def test_the_best_of_the_whole_history_beats_the_last() -> None:
    peak = logged([(0, 0.1), (1, 0.99), (2, 0.2)], "e")
    steady = logged([(0, 0.5)], "e")
    assert trk.best("score", mode="max").runs[0].run.run_id == peak.id
    assert trk.best("score", mode="max").runs[0].best.step == 1
    assert trk.best("score", mode="max", agg="last").runs[0].run.run_id == steady.id


def test_a_tie_goes_to_the_earlier_run_in_either_direction() -> None:
    first, _ = logged([(3, 1.0)], "e"), logged([(0, 1.0)], "e")
    for mode in MODES:
        assert trk.best("score", mode=mode).runs[0].run.run_id == first.id


def test_a_tie_within_a_run_goes_to_the_earlier_step() -> None:
    logged([(7, 1.0), (2, 1.0), (5, 1.0)], "e")
    assert trk.best("score", mode="max").runs[0].best.step == 2


def test_runs_that_still_run_take_part() -> None:
    run = trk.start()
    run.log_metric("loss", 0.1)
    assert trk.best("loss").runs[0].run.run_id == run.id


def test_summary_numbers_take_part() -> None:
    run = trk.start()
    run.log_summary({"f1": 0.9})
    assert trk.best("f1").runs[0].best.value == 0.9


def test_a_filter_and_an_experiment_narrow_it() -> None:
    for experiment, model, value in (("a", "rf", 0.1), ("a", "svm", 0.9), ("b", "rf", 0.99)):
        run = trk.start(experiment=experiment, params={"model": model})
        run.log_metric("f1", value)
    assert trk.best("f1", filter="params.model = 'rf'").runs[0].best.value == 0.99
    assert trk.best("f1", experiment="a").runs[0].best.value == 0.9
    assert trk.best("f1", experiment="a", filter="params.model = 'rf'").runs[0].best.value == 0.1


def test_runs_without_the_metric_are_counted_within_the_filter() -> None:
    for model in ("rf", "rf", "svm"):
        trk.start(params={"model": model})
    run = trk.start(params={"model": "rf"})
    run.log_metric("f1", 0.5)
    assert trk.best("f1").without_metric == 3
    assert trk.best("f1", filter="params.model = 'rf'").without_metric == 2


# -- which direction ----------------------------------------------------------------------------------------------


@pytest.fixture
def two() -> Callable[..., float]:
    """The best value of a metric that one run has with 0.1 and one with 0.9."""

    def best(metric: str, define: Mode | None = None, **asked: Any) -> float:
        for value in (0.1, 0.9):
            run = trk.start()
            run.log_metric(metric, value)
        if define is not None:
            run.define_metric(metric, mode=define)
        return trk.best(metric, **asked).runs[0].best.value

    return best


@pytest.mark.parametrize(("metric", "value"), [("f1", 0.9), ("val/acc", 0.9), ("loss", 0.1), ("test.rmse", 0.1)])
def test_the_name_says_which_is_better(two: Callable[..., float], metric: str, value: float) -> None:
    assert two(metric) == value


def test_a_definition_counts_more_than_the_name(two: Callable[..., float]) -> None:
    assert two("loss", define="max") == 0.9


def test_what_is_asked_for_counts_more_than_the_definition(two: Callable[..., float]) -> None:
    assert two("loss", define="max", mode="min") == 0.1


@pytest.mark.parametrize("metric", ["score_x", "tokens", "loss_accuracy"])
def test_when_nobody_knows_the_direction_it_is_asked_for(two: Callable[..., float], metric: str) -> None:
    if metric == "score_x":
        assert two(metric) == 0.9
        return
    with pytest.raises(UsageError, match="more or less") as raised:
        two(metric)
    assert "--mode max" in str(raised.value.hint)
    assert f"trk define-metric {metric} --mode max" in str(raised.value.hint)


def test_definitions_of_experiments_that_disagree_say_nothing() -> None:
    for experiment, mode in (("a", "max"), ("b", "min")):
        run = trk.start(experiment=experiment)
        run.log_metric("tokens", 1.0)
        run.define_metric("tokens", mode=mode)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        trk.best("tokens")
    assert trk.best("tokens", experiment="b").runs[0].best.mode == "min"


# -- what can't be answered ---------------------------------------------------------------------------------------


def test_an_unknown_metric_names_those_that_are_near() -> None:
    run = trk.start()
    run.log_metrics({"val/f1": 0.5, "loss": 0.1})
    with pytest.raises(NotFound, match="val/f2") as raised:
        trk.best("val/f2", mode="max")
    assert raised.value.exit_code == 4
    assert "val/f1" in str(raised.value.hint)


def test_where_nothing_is_logged_nothing_is_best() -> None:
    with pytest.raises(NotFound):
        trk.best("f1")


def test_a_metric_with_nothing_finite_is_not_found() -> None:
    logged([(0, math.nan), (1, math.inf)], "e")
    with pytest.raises(NotFound, match="finite"):
        trk.best("score", mode="max")


@pytest.mark.parametrize(
    "asked",
    [{"mode": "up"}, {"mode": ""}, {"agg": "mean"}, {"n": 0}, {"n": -1}, {"filter": "f1 >"}, {"source": "nowhere"}],
)
def test_what_makes_no_sense_is_a_usage_error(asked: dict[str, Any]) -> None:
    logged([(0, 1.0)], "e")
    with pytest.raises(UsageError):
        trk.best("score", **{"mode": "max", **asked})


def test_more_runs_asked_for_than_there_are_gives_those_there_are() -> None:
    logged([(0, 1.0)], "e")
    assert len(trk.best("score", mode="max", n=10**6).runs) == 1
