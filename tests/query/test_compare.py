"""`compare`: what differs, how far from the baseline, and which baseline is meant."""

from __future__ import annotations

import inspect
import math
import time
import warnings
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trk
from trk.errors import NoActiveRun, NotFound, UsageError
from trk.query.compare import judged
from trk.rules import HUGE

mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


def ended(name: str = "a run", experiment: str = "digits", **more: Any) -> trk.Run:
    """A run that has ended, with these `params`, `tags` and `metrics`."""
    metrics = more.pop("metrics", {})
    run = trk.start(name, experiment=experiment, **more)
    for key, value in metrics.items():
        run.log_metric(key, value)
    run.finish()
    time.sleep(0.002)  # of two that start in one millisecond neither is the newer
    return run


def of(found: trk.Comparison) -> list[str]:
    return [run.run_id for run in found.runs]


# -- what differs -------------------------------------------------------------------------------------------------


def test_only_what_differs_is_told() -> None:
    one = ended("one", params={"lr": 0.1, "seed": 1}, metrics={"f1": 0.9, "acc": 0.5, "loss": 0.2})
    two = ended("two", params={"lr": 0.2, "seed": 1}, metrics={"f1": 0.8, "acc": 0.5})
    found = trk.compare(["one", "two"])
    assert found.baseline is None
    assert of(found) == [one.id, two.id]
    assert found.params == {"lr": {one.id: "0.1", two.id: "0.2"}}
    assert list(found.metrics) == ["f1", "loss"]
    assert found.metrics["f1"].values == {one.id: 0.9, two.id: 0.8}
    assert found.metrics["loss"].values == {one.id: 0.2}
    for metric in found.metrics.values():
        assert (metric.delta, metric.relative, metric.verdict) == ({}, {}, {})


def test_all_tells_everything() -> None:
    ended("one", params={"seed": 1}, metrics={"acc": 0.5})
    ended("two", params={"seed": 1}, metrics={"acc": 0.5})
    assert trk.compare(["one", "two"]).params == trk.compare(["one", "two"]).metrics == {}
    found = trk.compare(["one", "two"], all=True)
    assert (list(found.params), list(found.metrics)) == (["seed"], ["acc"])


def test_globs_narrow_what_is_told_and_one_that_fits_nothing_is_named() -> None:
    ended("one", params={"lr": 1, "opt.a": 1, "opt.b": 1}, metrics={"f1": 1.0, "val/f1": 1.0, "acc": 0.5})
    ended("two", params={"lr": 2, "opt.a": 2, "opt.b": 1}, metrics={"f1": 2.0, "val/f1": 2.0, "acc": 0.5})
    said: list[str] = []
    found = trk.compare(["one", "two"], metrics="val/*", params=["opt.*"], warn=said.append)
    assert (list(found.metrics), list(found.params), said) == (["val/f1"], ["opt.a"], [])
    found = trk.compare(["one", "two"], metrics=["*f1", "acc"], params=[], all=True, warn=said.append)
    assert (list(found.metrics), list(found.params), said) == (["acc", "f1", "val/f1"], [], [])
    found = trk.compare(["one", "two"], metrics=["vol/f1"], warn=said.append)
    assert (list(found.metrics), list(found.params)) == ([], ["lr", "opt.a"])
    assert said == ["none of these runs has a metric vol/f1; there is val/f1, f1"]


def test_nan_equals_nan_and_nothing_else() -> None:
    ended("one", metrics={"same": math.nan, "other": math.nan, "endless": math.inf, "zero": 0.0})
    ended("two", metrics={"same": math.nan, "other": 0.0, "endless": math.inf, "zero": -0.0})
    assert list(trk.compare(["one", "two"]).metrics) == ["other"]


def test_a_missing_param_differs_from_an_empty_one() -> None:
    one = ended("one", params={"note": ""})
    ended("two")
    assert trk.compare(["one", "two"]).params == {"note": {one.id: ""}}


def test_params_are_text_and_differ_as_text() -> None:
    ended("one", params={"lr": "0.1"})
    ended("two", params={"lr": "0.10"})
    assert list(trk.compare(["one", "two"]).params) == ["lr"]


def test_values_are_the_last_ones() -> None:
    one, two = trk.start("one"), trk.start("two")
    for run, values in ((one, (0.9, 0.1)), (two, (0.2, 0.3))):
        for value in values:
            run.log_metric("f1", value)
    assert trk.compare([one, two]).metrics["f1"].values == {one.id: 0.1, two.id: 0.3}


metrics = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 1.0, -1.5, math.nan, math.inf]))


@given(st.lists(metrics, min_size=2, max_size=4), st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])  # runs of their own each
def test_what_is_left_out_is_the_same_in_all_runs(values: list[dict[str, float]], based: bool) -> None:
    runs = [ended(metrics=found) for found in values]
    told = trk.compare(runs, baseline=runs[0] if based else None)
    whole = trk.compare(runs, baseline=runs[0] if based else None, all=True)
    assert set(told.metrics) <= set(whole.metrics) == {key for found in values for key in found}
    for key, metric in whole.metrics.items():
        written = [repr(found.get(key)) for found in values]
        assert (key in told.metrics) == (len(set(written)) > 1)
        assert {run_id: repr(value) for run_id, value in metric.values.items()} == {
            run.id: text for run, text in zip(runs, written, strict=True) if text != "None"
        }
        measured = based and key in values[0]
        assert set(metric.delta) == set(metric.relative) == (set(metric.values) - {runs[0].id} if measured else set())
        assert all(value is None or math.isfinite(value) for value in metric.relative.values())


# -- against a baseline -------------------------------------------------------------------------------------------


def test_the_baseline_comes_first_and_the_others_are_measured_against_it() -> None:
    one = ended("one", metrics={"f1": 0.75, "loss": 0.5, "tokens": 2.0, "acc": 0.5})
    base = ended("base", metrics={"f1": 0.5, "loss": 0.25, "tokens": 4.0, "acc": 0.5})
    two = ended("two", metrics={"f1": 0.25, "tokens": 4.0, "acc": 0.5})
    found = trk.compare(["one", "two"], baseline="base", all=True)
    assert (found.baseline, of(found)) == (base.id, [base.id, one.id, two.id])
    f1, loss, tokens, acc = (found.metrics[key] for key in ("f1", "loss", "tokens", "acc"))
    assert (f1.mode, loss.mode, tokens.mode) == ("max", "min", None)
    assert f1.delta == {one.id: 0.25, two.id: -0.25}
    assert f1.relative == {one.id: 0.5, two.id: -0.5}
    assert f1.verdict == {one.id: "better", two.id: "worse"}
    assert (loss.delta, loss.relative, loss.verdict) == ({one.id: 0.25}, {one.id: 1.0}, {one.id: "worse"})
    assert (tokens.delta, tokens.verdict) == ({one.id: -2.0, two.id: 0.0}, {two.id: "same"})  # no direction is needed
    assert acc.verdict == {one.id: "same", two.id: "same"}
    assert acc.values[base.id] == 0.5


def test_a_metric_that_the_baseline_lacks_has_values_alone() -> None:
    one = ended("one", metrics={"f1": 0.5})
    ended("base")
    metric = trk.compare("one", baseline="base").metrics["f1"]
    assert (metric.values, metric.delta, metric.relative, metric.verdict) == ({one.id: 0.5}, {}, {}, {})


@pytest.mark.parametrize(
    ("base", "value", "delta", "relative"),
    [
        (0.0, 1.0, 1.0, None),
        (-2.0, -1.0, 1.0, 0.5),
        (math.nan, 1.0, math.nan, None),
        (1.0, math.nan, math.nan, None),
        (1.0, math.inf, math.inf, None),
        (math.inf, 1.0, -math.inf, None),
        (1e308, -1e308, -math.inf, None),
        (5e-324, 1.0, 1.0, None),
        (-0.0, 0.0, 0.0, None),
    ],
)
def test_relative_is_a_finite_number_or_nothing(
    base: float, value: float, delta: float, relative: float | None
) -> None:
    one, two = ended(metrics={"f1": base}), ended(metrics={"f1": value})
    found = trk.compare(two, baseline=one, all=True).metrics["f1"]
    assert [*map(repr, found.delta.values())] == [repr(delta)]
    assert [*found.relative.values()] == [relative]


@pytest.mark.parametrize(
    ("value", "base", "up", "down"),
    [
        (0.9, 0.8, "better", "worse"),
        (0.8, 0.9, "worse", "better"),
        (0.9, 0.9, "same", "same"),
        (0.0, -0.0, "same", "same"),
        (math.nan, math.nan, "same", "same"),
        (math.inf, math.inf, "same", "same"),
        (math.nan, 0.9, "worse", "worse"),
        (math.inf, 0.9, "worse", "worse"),
        (-math.inf, 0.9, "worse", "worse"),
        (HUGE, 0.9, "worse", "worse"),
        (0.9, math.nan, "better", "better"),
        (0.9, math.inf, "better", "better"),
        (math.nan, math.inf, None, None),
        (-math.inf, math.inf, None, None),
    ],
)
def test_a_verdict_knows_the_direction_and_that_nan_never_wins(
    value: float, base: float, up: str | None, down: str | None
) -> None:
    assert (judged(value, base, "max"), judged(value, base, "min")) == (up, down)
    assert judged(value, base, None) == ("same" if up == "same" else None)


def test_a_defined_direction_counts_more_than_the_name() -> None:
    one = ended("one", metrics={"loss": 0.5})
    two = trk.start("two", experiment="digits")
    two.log_metric("loss", 0.75)
    two.define_metric("loss", mode="max")
    found = trk.compare("two", baseline="one").metrics["loss"]
    assert (found.mode, found.verdict) == ("max", {two.id: "better"})
    assert one.id not in found.verdict


def test_definitions_that_contradict_each_other_say_nothing() -> None:
    for experiment, mode in (("a", "max"), ("b", "min")):
        run = trk.start(experiment, experiment=experiment)
        run.log_metric("f1", 0.5 if mode == "max" else 0.25)
        run.define_metric("f1", mode=mode)  # type: ignore[arg-type]
    found = trk.compare("a", baseline="b").metrics["f1"]
    assert (found.mode, found.verdict) == (None, {})
    assert len(found.delta) == 1


# -- which baseline -----------------------------------------------------------------------------------------------


def test_the_best_run_of_the_experiment_is_a_baseline() -> None:
    one = ended("one", metrics={"f1": 0.5})
    best = ended("best", metrics={"f1": 0.9})
    ended("elsewhere", experiment="letters", metrics={"f1": 0.99})
    assert of(trk.compare("one", baseline="best:f1")) == [best.id, one.id]
    assert of(trk.compare("one", baseline="best:f1", experiment="letters"))[0] != best.id


def test_best_is_over_the_whole_history_as_in_best() -> None:
    peak = trk.start("peak")
    for value in (0.1, 0.99, math.nan):
        peak.log_metric("f1", value)
    ended("steady", experiment="Default", metrics={"f1": 0.5})
    found = trk.compare("steady", baseline="best:f1")
    assert found.baseline == peak.id == trk.best("f1").runs[0].run.run_id
    assert math.isnan(found.metrics["f1"].values[peak.id])


def test_one_of_the_named_runs_may_be_the_best() -> None:
    one, two = ended("one", metrics={"f1": 0.5}), ended("two", metrics={"f1": 0.9})
    assert of(trk.compare([one, two], baseline="best:f1")) == [two.id, one.id]


def test_a_run_alone_is_not_its_own_baseline() -> None:
    older = ended("older", metrics={"f1": 0.5}, tags={"branch": "main"})
    newest = ended("newest", metrics={"f1": 0.9}, tags={"branch": "main"})
    assert of(trk.compare(newest, baseline="best:f1")) == [older.id, newest.id]
    assert of(trk.compare(newest, baseline="tag:branch=main")) == [older.id, newest.id]
    assert of(trk.compare(older, baseline="tag:branch=main")) == [newest.id, older.id]


def test_where_no_other_run_can_be_the_baseline_none_is_found() -> None:
    only = ended("only", metrics={"f1": 0.9, "bad": math.nan}, tags={"branch": "main"})
    for words in ("best:f1", "tag:branch=main"):
        with pytest.raises(NotFound, match=r"no other (finished )?run in experiment digits"):
            trk.compare(only, baseline=words)
    ended("bad", metrics={"bad": math.nan})
    with pytest.raises(NotFound, match="finite"):
        trk.compare(only, baseline="best:bad", mode="min")


def test_the_direction_may_stand_beside_the_metric_of_a_baseline() -> None:
    low, high = ended("low", metrics={"tokens": 1.0}), ended("high", metrics={"tokens": 2.0})
    run = ended("run", metrics={"tokens": 1.5})
    for mode, base in (("min", low), ("max", high)):
        found = trk.compare(run, baseline=f"best:tokens:{mode}")
        assert (found.baseline, found.metrics["tokens"].mode) == (base.id, mode)
    with pytest.raises(UsageError, match="min"):
        trk.compare(run, baseline="best:tokens:min", mode="max")


def test_the_run_that_ended_last_is_a_baseline_and_never_the_run_itself() -> None:
    first, second = ended("first"), ended("second", experiment="letters")
    assert trk.compare(first, baseline="@last", all=True).baseline == second.id
    assert trk.compare(second, baseline="@last", all=True).baseline == first.id
    with pytest.raises(UsageError, match="itself"):
        trk.compare(second, baseline="second")
    trk.delete(first.id)
    with pytest.raises(NotFound, match="no other run has ended"):
        trk.compare(second, baseline="@last")


def test_a_run_that_failed_or_still_runs_is_no_baseline_by_its_tag() -> None:
    one = ended("one", tags={"branch": "main"})
    trk.start("failed", experiment="digits", tags={"branch": "main"}).finish("FAILED")
    trk.start("running", experiment="digits", tags={"branch": "main"})
    assert trk.compare(ended("run"), baseline="tag:branch=main", all=True).baseline == one.id


def test_by_a_tag_of_ci_no_other_job_of_the_pipeline_is_a_baseline() -> None:
    def job(name: str, pipeline: str) -> trk.Run:
        return ended(name, tags={"ci.branch": "main", "ci.pipeline": pipeline, "lane": "a"})

    before, first, second = job("before", "6"), job("first", "7"), job("second", "7")
    assert trk.compare(first, baseline="tag:ci.branch=main", all=True).baseline == before.id
    assert trk.compare(first, baseline="tag:lane=a", all=True).baseline == second.id  # a tag of the user's own counts
    assert trk.compare(before, baseline="tag:ci.branch=main", all=True).baseline == second.id


def test_the_newest_run_with_a_tag_is_a_baseline() -> None:
    ended("old", tags={"stage": "prod"})
    new = ended("new", tags={"stage": "prod"})
    ended("dev", tags={"stage": "dev"})
    ended("elsewhere", experiment="letters", tags={"stage": "prod"})
    assert trk.compare("dev", baseline="tag:stage=prod").baseline == new.id


@pytest.mark.parametrize(
    "value", ["", "a=b", "it's", 'say "hi"', "both ' and \"", "two\nlines", "%", "日本", "x" * 9_000]
)
def test_a_tags_value_may_be_anything(value: str) -> None:
    ended("other", tags={"note": "another"})
    base = ended("base", tags={"note": value})
    ended("one")
    assert trk.compare("one", baseline=f"tag:note={value}").baseline == base.id


def test_runs_of_several_experiments_look_where_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ended("one", experiment="a", metrics={"f1": 0.1})
    two = ended("two", experiment="b", metrics={"f1": 0.2})
    best = ended("best", experiment="c", metrics={"f1": 0.9})
    assert trk.compare([one, two], baseline="best:f1").baseline == best.id
    monkeypatch.setenv("TRK_EXPERIMENT", "b")
    assert trk.compare([one, two], baseline="best:f1").baseline == two.id


@pytest.mark.parametrize(
    ("baseline", "error"),
    [
        ("best:f2", NotFound),
        ("best:", UsageError),
        ("best:a//b", UsageError),
        ("best:tokens", UsageError),
        ("tag:stage", UsageError),
        ("tag:=prod", UsageError),
        ("tag:a\nb=prod", UsageError),
        ("tag:stage=\0", UsageError),
        ("tag:stage=nothing", NotFound),
        ("nobody", NotFound),
        ("", NotFound),
    ],
)
def test_a_baseline_that_is_none_is_refused(baseline: str, error: type[trk.TrkError]) -> None:
    run, _ = (ended(name, metrics={"f1": 0.5, "tokens": 1.0}) for name in ("one", "two"))
    with pytest.raises(error) as raised:
        trk.compare(run, baseline=baseline)
    assert raised.value.hint or "name" in raised.value.message or "NUL" in raised.value.message


def test_the_direction_that_was_asked_for_is_for_the_metric_that_is_ranked() -> None:
    low, high = ended("low", metrics={"tokens": 1.0}), ended("high", metrics={"tokens": 2.0, "loss": 1.0})
    run = ended("run", metrics={"tokens": 3.0})
    found = trk.compare([run, low, high], baseline="best:tokens", mode="min")
    assert (found.baseline, found.metrics["tokens"].mode) == (low.id, "min")
    assert found.metrics["tokens"].verdict == {run.id: "worse", high.id: "worse"}
    found = trk.compare(best=2, metric="tokens", mode="max", baseline="best:loss")
    assert (of(found), found.metrics["loss"].mode) == ([high.id, run.id], "min")


# -- which runs ---------------------------------------------------------------------------------------------------


def test_runs_are_named_by_every_word_and_counted_once() -> None:
    one = ended("one")
    with trk.start("two") as two:
        for again in ("one", one.id, one.id[:24], "@last", one, one.record):
            assert of(trk.compare([again, "@", "two"])) == [one.id, two.id]
        assert of(trk.compare(one, baseline="@")) == [two.id, one.id]


def test_the_best_runs_come_after_those_named() -> None:
    runs = [ended(f"run {n}", metrics={"loss": float(n)}) for n in range(4)]
    assert of(trk.compare(best=3, metric="loss")) == [run.id for run in runs[:3]]
    assert of(trk.compare(["run 3", "run 1"], best=2, metric="loss")) == [runs[n].id for n in (3, 1, 0)]
    assert of(trk.compare(best=100, metric="loss", baseline="run 3")) == [runs[n].id for n in (3, 0, 1, 2)]


@pytest.mark.parametrize(
    ("runs", "asked"),
    [
        ([], {}),
        ("one", {}),
        (["one", "one"], {}),
        ("one", {"baseline": "one"}),
        ([], {"baseline": "one"}),
        ([], {"best": 1, "metric": "f1"}),
        ("one", {"best": 2}),
        ("one", {"metric": "f1"}),
        ("one", {"best": 0, "metric": "f1"}),
        ("one", {"best": 2, "metric": "a//b"}),
        ("one", {"best": 2, "metric": "tokens"}),
        (["one", "two"], {"mode": "max"}),
        (["one", "two"], {"mode": "up", "best": 1, "metric": "f1"}),
        (["one", "twin"], {}),
        (["one", "two"], {"source": "nowhere"}),
    ],
)
def test_what_makes_no_comparison_is_a_usage_error(runs: Any, asked: dict[str, Any]) -> None:
    for name in ("one", "two", "twin", "twin"):
        ended(name, metrics={"f1": 0.5, "tokens": 1.0})
    with pytest.raises(UsageError):
        trk.compare(runs, **asked)


def test_an_ambiguous_run_lists_the_candidates() -> None:
    ended("one")
    twins = [ended("twin"), ended("twin")]
    with pytest.raises(UsageError) as raised:
        trk.compare(["one", "twin"])
    assert all(twin.id in raised.value.message for twin in twins)


def test_a_run_that_is_not_there_is_not_found() -> None:
    ended("one")
    for name in ("nobody", "", "mlflow", "a\nb"):
        with pytest.raises(NotFound):
            trk.compare(["one", name])
    with pytest.raises(NoActiveRun):
        trk.compare(["one", "@"])


def test_python_compares_with_the_words_of_the_command_line() -> None:
    parameters = inspect.signature(trk.compare).parameters
    assert [name for name in parameters if name != "warn"] == [
        "runs", "baseline", "best", "metric", "mode", "metrics", "params", "experiment", "all", "source", "timeout",
    ]  # fmt: skip
    assert all(found.kind is found.KEYWORD_ONLY for found in list(parameters.values())[1:])


# -- MLflow -------------------------------------------------------------------------------------------------------


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[trk.Run]:
    """Three runs, delivered to MLflow's own store in the project; direction and tag are there, too."""
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    runs = [
        ended("base", params={"lr": 0.1}, metrics={"f1": 0.5, "cost": 1.0, "bad": math.nan}, tags={"stage": "prod"}),
        ended(
            "one", params={"lr": 0.2}, metrics={"f1": 0.75, "cost": 2.0, "bad": math.inf}, tags={"note": 'it\'s "x"'}
        ),
        ended("two", params={"lr": 0.2}, metrics={"f1": 0.25, "bad": 1.0}),
    ]
    with trk.start("defines", experiment="digits") as run:
        run.define_metric("cost", mode="min")
    trk.sync(strict=True, timeout=60)
    return runs


def told(found: trk.Comparison) -> Any:
    """A comparison in a form that compares."""
    return found.baseline, of(found), repr(found.params), repr(found.metrics)


@mlflow
@pytest.mark.mlflow
def test_mlflow_and_the_journal_tell_the_same(delivered: list[trk.Run]) -> None:
    base, one, two = delivered
    questions: list[tuple[Any, dict[str, Any]]] = [
        ([one, two], {}),
        (["one", two.id[:24]], {"all": True}),
        ([one, two], {"baseline": "base"}),
        (one, {"baseline": "tag:stage=prod"}),
        (base, {"baseline": 'tag:note=it\'s "x"'}),
        (one, {"baseline": "best:f1"}),
        ([], {"best": 3, "metric": "cost", "baseline": "two"}),
    ]
    for runs, asked in questions:
        found = [trk.compare(runs, **asked, source=source) for source in ("local", "mlflow")]
        assert [found[1].runs[0].source, found[0].runs[0].source] == ["mlflow", "local"]
        assert told(found[0]) == told(found[1]), asked
    found = [trk.compare([one, two], baseline=base, source=source) for source in ("local", "mlflow")]
    assert found[0].metrics["cost"].verdict == found[1].metrics["cost"].verdict == {one.id: "worse"}
    with pytest.raises(NotFound):
        trk.compare(one, baseline="best:nothing", source="mlflow")


@mlflow
@pytest.mark.mlflow
def test_a_handle_makes_mlflow_the_source(delivered: list[trk.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    base, one, _ = delivered
    monkeypatch.setenv("TRK_SOURCE", "local")
    handle = f"mlflow:{base.record.backends['mlflow'].run_id}"
    for found in (trk.compare([one, handle]), trk.compare(one, baseline=handle), trk.compare([handle], baseline=one)):
        assert {run.source for run in found.runs} == {"mlflow"}
        assert set(of(found)) == {base.id, one.id}
    here = trk.compare([one, handle], source="local")  # the journal knows the handles of what trk delivered
    assert {run.source for run in here.runs} == {"local"}
    assert set(of(here)) == {base.id, one.id}


@mlflow
@pytest.mark.mlflow
def test_runs_of_mlflows_own_client_are_compared_with_those_of_trk(delivered: list[trk.Run]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        own = MlflowClient("sqlite:///mlflow.db")
    experiment = own.get_experiment_by_name("digits").experiment_id
    foreign = own.create_run(experiment, run_name="by\nhand", tags={"made by": "hand"})
    own.log_metric(foreign.info.run_id, "f1", 1.0)
    own.set_terminated(foreign.info.run_id)
    handle = f"mlflow:{foreign.info.run_id}"
    found = trk.compare(delivered[0], baseline="tag:made by=hand")
    assert of(found) == [handle, delivered[0].id]
    assert found.metrics["f1"].delta == {delivered[0].id: -0.5}
    assert of(trk.compare([handle], baseline="best:f1")) == [delivered[1].id, handle]
