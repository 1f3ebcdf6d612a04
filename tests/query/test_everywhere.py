"""Runs of MLflow's own client and of trk, beside each other: every source answers as looking at every point does."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import Course
from trk import config
from trk.backends import _mlflow_stats as stats_tags
from trk.backends.memory import servers
from trk.errors import NotFound
from trk.journal import remembered, write
from trk.records import Aggregate, MetricStats, Mode, Ranking
from trk.rules import HUGE

pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")

NOON = 1_763_726_400_000
ODD = [math.nan, math.inf, -math.inf, HUGE, -HUGE, 1e-300]
METRICS = ("f1", "loss", "seldom")
AGGREGATES: tuple[Aggregate, ...] = ("best", "last", "min", "max")
MODES: tuple[Mode, ...] = ("max", "min")


@dataclass
class Logged:
    """A run as it was logged; points are (step, milliseconds, value)."""

    experiment: str
    model: str
    points: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    run_id: str = ""
    start_ms: int = 0


def dreamt(dice: random.Random) -> Logged:
    """A run with random points: few values, so that there are ties, and steps in any order."""
    run = Logged(dice.choice(["digits", "letters"]), dice.choice(["rf", "svm"]))
    for metric in METRICS:
        if dice.random() < (0.2 if metric == "seldom" else 0.85):
            run.points[metric] = [
                (dice.randrange(-2, 10), NOON + dice.randrange(5), _value(dice)) for _ in range(dice.randrange(1, 15))
            ]
    return run


def _value(dice: random.Random) -> float:
    """Never 0, which at one step and time has the same place as NaN: either may be the last."""
    return dice.choice([dice.choice(ODD), float(dice.randrange(-3, 4)), round(dice.gauss(0, 1), 1)]) or 0.5


def client() -> Any:
    """MLflow's own client, of the project's own store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow.db")


def logged_by_mlflow(mlflow: Any, run: Logged, start_ms: int) -> None:
    """Log a run with MLflow's client."""
    from mlflow.entities import Metric, Param

    found = mlflow.get_experiment_by_name(run.experiment)
    experiment_id = found.experiment_id if found is not None else mlflow.create_experiment(run.experiment)
    made = mlflow.create_run(experiment_id, start_time=start_ms)
    entities = [Metric(key, value, ms, step) for key, points in run.points.items() for step, ms, value in points]
    mlflow.log_batch(made.info.run_id, entities, [Param("model", run.model)])
    mlflow.set_terminated(made.info.run_id, end_time=start_ms + 1000)
    run.run_id, run.start_ms = f"mlflow:{made.info.run_id}", start_ms


def logged_by_trk(run: Logged) -> None:
    """Log a run with trk."""
    made = trk.start(experiment=run.experiment, params={"model": run.model, "by": "trk"})
    for key, points in run.points.items():
        for step, ms, value in points:
            made.log_metric(key, value, step=step, timestamp=ms)
    made.finish()
    start = made.record.start_time
    assert start is not None
    run.run_id, run.start_ms = made.id, round(start.timestamp() * 1000)


# -- brute force ------------------------------------------------------------------------------------------------------


def place(point: tuple[int, int, float]) -> tuple[int, int, float]:
    """By (step, time, value), where NaN counts as 0."""
    step, ms, value = point
    return step, ms, value if value == value else 0.0


def unhuge(value: float) -> str:
    """Infinities are ±1.797e308 in MLflow's databases, which know no -0.0 either."""
    return repr(math.copysign(math.inf, value) if abs(value) >= HUGE else value + 0.0)


def counted(run: Logged, metric: str, mode: str, agg: str) -> tuple[float, int] | None:
    """The value of a run that counts, with its step, by looking at every point."""
    points = sorted(run.points[metric], key=place)
    if agg == "last":
        points = points[-1:]
    ranked = [point for point in points if abs(point[2]) < HUGE]
    if not ranked:
        return None
    sign = -1 if agg == "max" or (agg == "best" and mode == "max") else 1
    step, _, value = min(ranked, key=lambda point: (sign * point[2], point[0]))
    return value, step


def expected(runs: list[Logged], metric: str, mode: str, agg: str, n: int) -> Any:
    """The answer to a question, from what was logged."""
    having = [run for run in runs if metric in run.points]
    valued = [(found, run) for run in having if (found := counted(run, metric, mode, agg)) is not None]
    if not valued:
        return "not_found"
    sign = -1 if mode == "max" else 1
    valued.sort(key=lambda pair: (sign * pair[0][0], pair[1].start_ms, pair[1].run_id))
    best = [(run.run_id, unhuge(value), step, beside(run, metric, step)) for (value, step), run in valued[:n]]
    return best, len(runs) - len(having), len(having) - len(valued)


def beside(run: Logged, metric: str, step: int) -> dict[str, str]:
    """The other metrics at a step."""
    at = {key: [point for point in points if point[0] == step] for key, points in run.points.items() if key != metric}
    return {key: unhuge(max(points, key=place)[2]) for key, points in sorted(at.items()) if points}


def answered(metric: str, mode: Mode, agg: Aggregate, n: int, **asked: Any) -> Any:
    """The answer that trk gives."""
    try:
        found: Ranking = trk.best(metric, mode=mode, agg=agg, n=n, **asked)
    except NotFound as error:
        return error.code
    best = [
        (
            entry.run.run_id,
            unhuge(entry.best.value),
            entry.best.step,
            {key: unhuge(value) for key, value in sorted(entry.at_step.items())},
        )
        for entry in found.runs
    ]
    return best, found.without_metric, found.not_finite


@pytest.fixture
def beside_each_other(monkeypatch: pytest.MonkeyPatch, empty_store: Callable[..., str]) -> Iterator[Any]:
    """A project whose runs go to MLflow's own store in it and to the memory of this process, and MLflow's client."""
    monkeypatch.setenv("TRK_BACKENDS", "mlflow,memory")
    empty_store(Path.cwd())
    yield client()
    servers.clear()


def test_every_source_says_what_looking_at_every_point_says(beside_each_other: Any, course: Course) -> None:
    half = course.many(15, 500)
    theirs, ours = [dreamt(course.dice) for _ in range(half)], [dreamt(course.dice) for _ in range(half)]
    for number, run in enumerate(theirs):
        logged_by_mlflow(beside_each_other, run, NOON + number // 3)
    for run in ours:
        logged_by_trk(run)
    trk.sync(strict=True, timeout=1800)
    for question in range(course.many(12, 60)):
        metric, mode, agg = course.dice.choice(METRICS), course.dice.choice(MODES), course.dice.choice(AGGREGATES)
        where, experiment, n = course.dice.choice([None, "rf"]), course.dice.choice([None, "digits"]), question % 4 + 1

        def admitted(run: Logged, where: str | None = where, experiment: str | None = experiment) -> bool:
            return where in (None, run.model) and experiment in (None, run.experiment)

        said = f"params.model = '{where}'" if where else ""
        wanted = expected([run for run in ours if admitted(run)], metric, mode, agg, n)
        by_trk = " AND ".join(part for part in (said, "params.by = 'trk'") if part)
        for source in ("local", "memory", "mlflow"):
            asked = answered(metric, mode, agg, n, filter=by_trk, experiment=experiment, source=source, timeout=600)
            assert asked == wanted, (source, metric, mode, agg, where, experiment)
        wanted = expected([run for run in (*theirs, *ours) if admitted(run)], metric, mode, agg, n)
        asked = answered(metric, mode, agg, n, filter=said or None, experiment=experiment, source="mlflow", timeout=600)
        assert asked == wanted, (metric, mode, agg, where, experiment)


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_says_what_looking_at_every_point_says(
    wandb_here: None, monkeypatch: pytest.MonkeyPatch, course: Course
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "wandb")
    ours = [dreamt(course.dice) for _ in range(course.many(6, 500))]
    for run in ours:
        logged_by_trk(run)
    trk.sync(strict=True, timeout=1800)
    for question in range(course.many(8, 60)):
        metric, mode, agg = course.dice.choice(METRICS), course.dice.choice(MODES), course.dice.choice(AGGREGATES)
        model, experiment = course.dice.choice(["rf", "svm"]), course.dice.choice(["digits", "letters"])
        n = question % 4 + 1
        admitted = [run for run in ours if (run.model, run.experiment) == (model, experiment)]
        for source in ("local", "wandb"):
            asked = answered(
                metric, mode, agg, n, filter=f"params.model = '{model}' and params.by = 'trk'",
                experiment=experiment, source=source, timeout=600,
            )  # fmt: skip
            assert asked == expected(admitted, metric, mode, agg, n), (source, metric, mode, agg, model, experiment)


# -- what delivery leaves, and who believes it ------------------------------------------------------------------------


def run_with(points: list[float], **more: Any) -> trk.Run:
    """A run of trk's with these values of f1 at steps 0, 1, 2, …; it has ended, and MLflow has it."""
    run = trk.start(**more)
    for step, value in enumerate(points):
        run.log_metric("f1", value, step=step, timestamp=NOON + step)
    run.finish()
    trk.sync(strict=True, timeout=60)
    return run


def best_at_mlflow() -> tuple[str, float, int]:
    entry = trk.best("f1", source="mlflow").runs[0]
    return entry.run.run_id, entry.best.value, entry.best.step


def remote_id(run: trk.Run) -> str:
    found = run.record.backends["mlflow"].run_id
    assert found is not None
    return found


def tags_of(mlflow: Any, run: trk.Run) -> dict[str, str]:
    found: dict[str, str] = mlflow.get_run(remote_id(run)).data.tags
    return {key: text for key, text in found.items() if key.startswith(stats_tags.TAG)}


def test_an_ended_run_tells_its_histories_in_tags_that_no_record_shows(beside_each_other: Any) -> None:
    run = run_with([0.1, 0.9, 0.2, math.nan])
    [text] = tags_of(beside_each_other, run).values()
    end = run.record.end_time
    assert end is not None
    assert json.loads(text) == {
        "end": round(end.timestamp() * 1000), "metrics": {"f1": [4, "nan", 3, NOON + 3, 0.1, 0, 0.9, 1]},
    }  # fmt: skip
    assert trk.get_run(run.id, source="mlflow").tags == {}
    assert trk.verify(run.id)[0].ok


def test_what_the_tags_tell_is_asked_for_no_more() -> None:
    many = {f"a metric with a long name ✓ {n:04}": MetricStats(3, n / 7, 2, n / 9, 0, n / 3, 1, None, NOON)
            for n in range(500)}  # fmt: skip
    texts = stats_tags.tags(many, NOON)
    assert list(texts) == [f"trk.stats.{n}" for n in range(len(texts))]
    assert all(len(text) < 5000 and json.loads(text) for text in texts.values())
    lasts = {key: (2, NOON, found.last) for key, found in many.items()}
    assert stats_tags.told(texts, NOON, lasts) == many
    some = next(iter(lasts))
    for otherwise in ({some: (3, NOON, 0.0)}, {some: (2, NOON + 1, 0.0)}, {some: (2, NOON, 0.1)}, {"more": (0, 0, 0)}):
        assert stats_tags.told(texts, NOON, {**lasts, **otherwise}) == {}
    assert stats_tags.told(texts, NOON + 1, lasts) == {}
    assert stats_tags.told({**texts, "trk.stats.0": '{"end": 1'}, NOON, lasts) == {}


def test_a_server_that_refuses_what_is_told_still_takes_the_end(
    beside_each_other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    takes = SqlAlchemyStore.log_batch

    def log_batch(self: Any, run_id: str, metrics: Any, params: Any, tags: Any, *more: Any) -> None:
        if any(tag.key.startswith(stats_tags.TAG) for tag in tags):
            raise MlflowException("a tag is too long", INVALID_PARAMETER_VALUE)
        takes(self, run_id, metrics, params, tags, *more)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", log_batch)
    run = run_with([0.1, 0.9, 0.2])
    assert tags_of(beside_each_other, run) == {}
    info = beside_each_other.get_run(remote_id(run)).info
    assert (info.status, bool(info.end_time)) == ("FINISHED", True)
    assert run.record.backends["mlflow"].rejected == 0
    assert best_at_mlflow() == (run.id, 0.9, 1)


def test_another_programs_later_point_is_noticed(beside_each_other: Any) -> None:
    run, _ = run_with([0.1, 0.5, 0.2]), run_with([0.6])
    beside_each_other.log_metric(remote_id(run), "f1", 0.9, timestamp=NOON + 9, step=9)
    beside_each_other.log_metric(remote_id(run), "f1", 0.3, timestamp=NOON + 10, step=10)
    assert best_at_mlflow() == (run.id, 0.9, 9)


def test_another_programs_run_that_goes_on_in_it_is_noticed(beside_each_other: Any) -> None:
    run, _ = run_with([0.1, 0.5, 0.2]), run_with([0.6])
    beside_each_other.update_run(remote_id(run), status="RUNNING")
    beside_each_other.log_metric(remote_id(run), "f1", 0.9, timestamp=NOON - 9, step=-9)
    beside_each_other.set_terminated(remote_id(run))
    assert best_at_mlflow() == (run.id, 0.9, -9)


def test_an_earlier_point_of_the_winner_is_noticed(beside_each_other: Any) -> None:
    run, _ = run_with([0.1, 0.7, 0.2]), run_with([0.6])
    beside_each_other.log_metric(remote_id(run), "f1", 0.9, timestamp=NOON - 9, step=-9)
    assert best_at_mlflow() == (run.id, 0.9, -9)


def test_a_baseline_is_the_run_that_best_gives(beside_each_other: Any) -> None:
    winner, other, candidate = run_with([0.1, 0.7, 0.2]), run_with([0.1, 0.6, 0.2]), run_with([0.3])
    beside_each_other.log_metric(remote_id(winner), "f1", 0.71, timestamp=NOON - 9, step=-9)
    beside_each_other.log_metric(remote_id(other), "f1", 0.9, timestamp=NOON - 9, step=-9)
    compared = trk.compare(candidate.id, baseline="best:f1", source="mlflow")
    assert compared.baseline == other.id
    assert best_at_mlflow() == (other.id, 0.9, -9)


def test_a_hidden_point_of_a_run_that_does_not_win_is_found_when_asked_afresh(beside_each_other: Any) -> None:
    run, other = run_with([0.1, 0.7, 0.2]), run_with([0.1, 0.6, 0.2])
    beside_each_other.log_metric(remote_id(other), "f1", 0.9, timestamp=NOON - 9, step=-9)
    assert best_at_mlflow() == (run.id, 0.7, 1)  # MLflow shows it nowhere but in the history
    assert trk.best("f1", source="mlflow", fresh=True).runs[0].run.run_id == other.id
    assert best_at_mlflow() == (other.id, 0.9, -9)  # as it is remembered now


def test_a_run_that_was_resumed_tells_of_all_its_points(beside_each_other: Any) -> None:
    run, _ = run_with([0.1, 0.5, 0.2]), run_with([0.6])
    again = trk.resume(run.id)
    again.log_metric("f1", 0.9, step=-1, timestamp=NOON)
    assert best_at_mlflow() == (run.id, 0.9, -1)  # while it runs
    again.finish()
    assert best_at_mlflow() == (run.id, 0.9, -1)
    [text] = tags_of(beside_each_other, run).values()
    assert json.loads(text)["metrics"]["f1"][0] == 4


def test_a_run_of_which_a_point_was_rejected_tells_nothing(beside_each_other: Any) -> None:
    run = trk.start(backends="mlflow")
    run.log_metric("f1", 0.5, step=0)
    write.metrics(run.journal, run.id, {"f1": 0.9}, 1, -5)  # as no command would
    run.finish()
    trk.sync(timeout=60)
    assert run.record.backends["mlflow"].rejected == 1
    assert tags_of(beside_each_other, run) == {}
    assert best_at_mlflow() == (run.id, 0.5, 0)


def test_histories_of_others_are_remembered_until_they_change(beside_each_other: Any) -> None:
    run_with([0.2])
    run = Logged("digits", "rf", {"f1": [(0, NOON, 0.9), (1, NOON + 1, 0.3)]})
    logged_by_mlflow(beside_each_other, run, NOON)
    assert best_at_mlflow() == (run.run_id, 0.9, 0)
    folder = str(Path.cwd() / ".trk")
    source = config.as_text(config.target("mlflow", config.resolve(folder)))
    known = remembered.load(folder, source, "f1")
    assert known[run.run_id][1].high == 0.9
    beside_each_other.log_metric(run.run_id.removeprefix("mlflow:"), "f1", 0.95, timestamp=NOON + 2, step=2)
    beside_each_other.log_metric(run.run_id.removeprefix("mlflow:"), "f1", 0.1, timestamp=NOON + 3, step=3)
    assert best_at_mlflow() == (run.run_id, 0.95, 2)


def test_what_is_remembered_may_be_deleted_or_broken(beside_each_other: Any) -> None:
    run_with([0.2])
    run = Logged("digits", "rf", {"f1": [(0, NOON, 0.9), (1, NOON + 1, 0.3)]})
    logged_by_mlflow(beside_each_other, run, NOON)
    path = Path.cwd() / ".trk" / remembered.FILE
    for content in (None, b"", b"noise" * 999):
        best_at_mlflow()
        assert path.exists()
        path.unlink() if content is None else path.write_bytes(content)
        assert best_at_mlflow() == (run.run_id, 0.9, 0)
