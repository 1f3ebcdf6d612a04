"""Every source gives the same answers: what the journal says of delivered runs, MLflow says, too."""

from __future__ import annotations

import inspect
import math
import random
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import in_time
from servers.mlflow_server import closed_port
from trk.errors import ConfigurationError, NotFound, SourceUnavailable, TrkError, UsageError
from trk.records import Ranking, RunRecord
from trk.rules import HUGE

NOON = 1_763_726_400_000
ODD = [math.nan, math.inf, -math.inf, HUGE, -HUGE, 0.0, 1e-300]

mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


def client(uri: str) -> Any:
    """MLflow's own client."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


def unhuge(value: float) -> float:
    """MLflow's databases make ±1.797e308 of infinity, so what lies out there is the same; and they know no -0.0."""
    return math.copysign(math.inf, value) if abs(value) >= HUGE else value + 0.0


def plain(record: RunRecord) -> dict[str, Any]:
    """A record in a form that compares, without the name of its source."""
    return {
        "id": record.run_id,
        "name": record.name,
        "experiment": record.experiment,
        "status": record.status,
        "times": (record.start_time, record.end_time),
        "parent": record.parent_id,
        "description": record.description,
        "params": dict(record.params),
        "metrics": {key: repr(unhuge(value)) for key, value in sorted(record.metrics.items())},
        "tags": dict(record.tags),
        "backends": dict(record.backends),
    }


def answer(ranking: Ranking) -> Any:
    """A ranking in a form that compares."""
    runs = [
        (entry.run.run_id, entry.best, {key: repr(unhuge(at)) for key, at in sorted(entry.at_step.items())})
        for entry in ranking.runs
    ]
    return runs, ranking.without_metric, ranking.not_finite


def told(question: Any, *words: Any, **asked: Any) -> Any:
    """The answer, or the error as the user sees it."""
    try:
        return answer(question(*words, **asked))
    except TrkError as error:
        return error.code, error.exit_code


# -- one store with a zoo of runs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose runs, of all kinds, are delivered to MLflow's own store in it."""
    project = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("HOME", str(project))
        patch.setenv("TRK_BACKENDS", "mlflow")
        patch.setenv("TRK_DIR", str(project / ".trk"))
        fill(random.Random(26))
        trk.sync(strict=True, timeout=60)
    return project


def fill(dice: random.Random) -> None:
    """Random runs of two experiments, and some of every kind."""
    for number in range(8):
        run = trk.start(
            f"run {number}",
            experiment=dice.choice(["digits", "letters"]),
            params={"lr": dice.choice(["0.1", "0.10", "1e-3"]), "model": dice.choice(["rf", "svm"])},
            tags={"stage": dice.choice(["dev", "prod"])} if number % 3 else {},
            description="why ✓" if number % 2 else None,
        )
        for n in range(dice.randrange(0, 25)):
            value = dice.choice([*ODD, float(dice.randrange(-2, 3)), dice.gauss(0, 1)])
            values = {"f1": value, "loss": -value, "tokens": float(n)} if n % 4 else {"f1": value}
            run.log_metrics(values, step=dice.randrange(-2, 12), timestamp=NOON + n)
        if number % 4 == 0:
            run.define_metric("tokens", mode="min")
            run.log_summary({"verdict": "good", "shape": [1, 2], "score": 0.5 + number})
        if number != 7:
            run.finish(dice.choice(["FINISHED", "FAILED", "KILLED"]))
    parent = trk.start("parent", experiment="digits")
    trk.start("child", parent=parent).finish()
    twin = trk.start("twin", experiment="letters")
    twin.log_metric("f1", 0.5)
    trk.start("twin", experiment="digits").set_tag("kind", "second")


@pytest.fixture
def here(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test is in the zoo; its store's address."""
    monkeypatch.chdir(zoo)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("TRK_DIR", str(zoo / ".trk"))
    return f"sqlite:///{zoo}/mlflow.db"


@mlflow
@pytest.mark.mlflow
@pytest.mark.usefixtures("here")
class TestSameAnswers:
    def test_the_same_records_in_the_same_order(self) -> None:
        local, there = trk.search(source="local"), trk.search(source="mlflow")
        assert {record.source for record in there} == {"mlflow"}
        assert [plain(record) for record in there] == [plain(record) for record in local]
        assert len(local) == 12

    @pytest.mark.parametrize("agg", ["best", "last", "min", "max"])
    @pytest.mark.parametrize("mode", ["max", None])
    @pytest.mark.parametrize("metric", ["f1", "tokens"])
    def test_the_same_is_best(self, metric: str, mode: Any, agg: Any) -> None:
        for more in ({"experiment": "digits"}, {"filter": "params.model = 'rf'", "n": 3}, {"n": 50}):
            asked = {"mode": mode, "agg": agg, **more}
            assert told(trk.best, metric, source="mlflow", **asked) == told(trk.best, metric, source="local", **asked)

    @pytest.mark.parametrize(
        "filter",
        [
            "metrics.f1 > 0",
            "metrics.f1 <= 0 and params.model = 'rf'",
            "metrics.f1 > 1e307",
            "metrics.f1 = inf",
            "params.lr = '0.1'",
            "params.lr LIKE '0.%'",
            "tags.stage != 'prod'",
            "tags.stage IS NULL",
            "tags.`summary/verdict` = 'good'",
            "attributes.status = 'FAILED'",
            "status = 'RUNNING'",
            "run_name LIKE 'run%'",
            "attributes.end_time > 0",
        ],
    )
    def test_the_same_runs_match_a_filter(self, filter: str) -> None:  # noqa: A002 - the library's word
        for more in ({}, {"experiment": "letters", "n": 2}, {"status": "FINISHED", "sort": "metrics.f1 desc"}):
            found = [[r.run_id for r in trk.search(filter, source=s, **more)] for s in ("local", "mlflow")]
            assert found[0] == found[1]

    @pytest.mark.parametrize("sort", ["metrics.f1", "params.lr desc", "start_time", "name", "duration desc"])
    def test_the_same_order_when_sorted(self, sort: str) -> None:
        found = [[r.run_id for r in trk.search(sort=sort, source=s)] for s in ("local", "mlflow")]
        assert found[0] == found[1]

    def test_the_same_points(self) -> None:
        for record in trk.search(source="local"):
            for metric in record.metrics:
                found = [
                    [(p.run_id, p.metric, p.step, p.time_ms, repr(unhuge(p.value))) for p in trk.history(metric, run)]
                    for run in (trk.get_run(record.run_id, source="mlflow"),)
                ]
                local = trk.history(metric, record.run_id, source="local")
                assert found[0] == [(p.run_id, p.metric, p.step, p.time_ms, repr(unhuge(p.value))) for p in local]

    def test_a_run_is_found_by_the_same_words(self) -> None:
        child = trk.get_run("child", source="local")
        for words in (child.run_id, child.run_id[:24], "child"):
            assert plain(trk.get_run(words, source="mlflow")) == plain(child)
        assert trk.get_run("@last", source="mlflow").run_id == trk.get_run("@last", source="local").run_id

    @pytest.mark.parametrize("source", ["local", "mlflow"])
    def test_a_name_of_two_runs_lists_both(self, source: str) -> None:
        with pytest.raises(UsageError) as raised:
            trk.get_run("twin", source=source)
        for record in trk.search("run_name = 'twin'", source="local"):
            assert record.run_id in raised.value.message

    @pytest.mark.parametrize("source", ["local", "mlflow"])
    @pytest.mark.parametrize("words", ["nobody", "01zzzzzzzzzzzzzzzzzzzzzzzz", 'it\'s "quoted"', "mlflow:nothing", "✓"])
    def test_a_run_that_is_not_there_is_not_found(self, source: str, words: str) -> None:
        with pytest.raises(NotFound):
            trk.get_run(words, source=source)

    @pytest.mark.parametrize("source", ["local", "mlflow"])
    def test_an_unknown_metric_names_those_that_are_near(self, source: str) -> None:
        with pytest.raises(NotFound) as raised:
            trk.best("lossy", mode="min", source=source)
        assert "loss" in str(raised.value.hint)
        with pytest.raises(NotFound) as raised:
            trk.history("lossy", "run 1", source=source)

    @pytest.mark.parametrize("source", ["local", "mlflow"])
    def test_an_experiment_without_runs_is_not_found(self, source: str) -> None:
        with pytest.raises(NotFound, match="no such"):
            trk.search(experiment="no such", source=source)

    def test_the_backend_of_record_is_asked_unless_another_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert trk.get_run("child").source == "mlflow"
        assert trk.get_run("child", source="local").source == "local"
        monkeypatch.setenv("TRK_SOURCE", "local")
        assert trk.get_run("child").source == "local"

    def test_a_run_of_mlflow_is_found_by_its_handle(self, here: str) -> None:
        child = trk.get_run("child", source="local")
        handle = f"mlflow:{child.backends['mlflow'].run_id}"
        assert plain(trk.get_run(handle)) == plain(child)

    def test_without_the_journal_mlflow_says_the_same(
        self, here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local = [plain(record) | {"backends": {}} for record in trk.search(source="local")]
        best = answer(trk.best("tokens", source="local"))
        monkeypatch.setenv("TRK_DIR", str(tmp_path / "nowhere"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", here)
        assert [plain(record) for record in trk.search(source="mlflow")] == local
        # The direction was defined for the experiments: it is min, as nothing but MLflow now tells.
        assert answer(trk.best("tokens", source="mlflow")) == best
        assert trk.best("tokens", source="mlflow", experiment="digits").runs[0].best.mode == "min"


# -- runs that trk did not make -----------------------------------------------------------------------------------


@mlflow
@pytest.mark.mlflow
def test_runs_of_mlflows_own_client_take_part(here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", here)
    own = client(here)
    foreign = own.create_run(own.create_experiment("foreign"), run_name="by hand", tags={"stage": "dev"})
    own.log_param(foreign.info.run_id, "lr", "0.1")
    for step, value in enumerate([0.2, 0.9, math.nan]):
        own.log_metric(foreign.info.run_id, "f1", value, timestamp=NOON + step, step=step)
    own.log_metric(foreign.info.run_id, "loss", 0.3, timestamp=NOON, step=1)
    own.set_terminated(foreign.info.run_id, "FAILED")
    handle = f"mlflow:{foreign.info.run_id}"
    try:
        (record,) = trk.search(experiment="foreign", source="mlflow")
        assert (record.run_id, record.name, record.status) == (handle, "by hand", "FAILED")
        assert (record.params, record.tags, record.backends) == ({"lr": "0.1"}, {"stage": "dev"}, {})
        for words in (handle, "by hand", foreign.info.run_id):
            assert plain(trk.get_run(words, source="mlflow")) == plain(record)
        found = trk.best("f1", experiment="foreign", source="mlflow").runs[0]
        assert (found.run.run_id, found.best.value, found.best.step, found.at_step) == (handle, 0.9, 1, {"loss": 0.3})
        points = trk.history("f1", handle, source="mlflow")
        assert [(point.run_id, point.step, point.time_ms) for point in points] == [
            (handle, n, NOON + n) for n in range(3)
        ]
    finally:
        own.delete_run(foreign.info.run_id)
    with pytest.raises(NotFound):
        trk.get_run(handle)


# -- what is pending, and what is down ----------------------------------------------------------------------------


@mlflow
@pytest.mark.mlflow
def test_a_script_reads_what_it_just_wrote(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.start(experiment="just now")
    run.log_metric("f1", 0.7)
    assert trk.best("f1", experiment="just now", source="mlflow").runs[0].best.value == 0.7
    run.log_metric("f1", 0.8)
    assert trk.get_run(run.id, source="mlflow").metrics == {"f1": 0.8}
    run.log_metric("f1", 0.9)
    assert len(trk.history("f1", run, source="mlflow")) == 3
    run.finish()
    assert trk.search(experiment="just now", source="mlflow")[0].status == "FINISHED"
    client(here).delete_run(run.record.backends["mlflow"].run_id)


@mlflow
@pytest.mark.mlflow
def test_a_source_that_is_down_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        run = trk.start(experiment="e")
        run.log_metric("f1", 0.5)
        said: list[str] = []
        for ask in (
            lambda: trk.best("f1", timeout=0.3, warn=said.append),
            lambda: trk.search(timeout=0.3, warn=said.append),
            lambda: trk.get_run(run.id, timeout=0.3, warn=said.append),
            lambda: trk.history("f1", timeout=0.3, warn=said.append),
        ):
            with in_time(0.3), pytest.raises(SourceUnavailable) as raised:
                ask()
            assert (raised.value.code, raised.value.exit_code) == ("source_unavailable", 1)
            assert "--source local" in str(raised.value.hint)
        assert said == ["mlflow lacks 1 row of 1 run, still pending (trk sync)"] * 4
        assert trk.best("f1", source="local").runs[0].best.value == 0.5


def test_a_source_that_nobody_knows_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="nowhere") as raised:
        trk.search(source="nowhere")
    assert "mlflow" in str(raised.value.hint)


def test_with_no_backend_the_journal_is_asked() -> None:
    run = trk.start()
    run.log_metric("f1", 0.5)
    assert trk.get_run().source == "local"


def test_where_nothing_is_there_is_nothing_to_find() -> None:
    assert trk.search() == []
    with pytest.raises(NotFound):
        trk.get_run("nobody")


# -- the journal alone --------------------------------------------------------------------------------------------


def test_history_gives_several_metrics_of_several_runs() -> None:
    runs = [trk.start(name) for name in ("one", "two")]
    for run in runs:
        run.log_metrics({"f1": 0.1, "loss": 0.9}, step=5)
        run.log_metrics({"f1": 0.2}, step=-1)
    found = trk.history(["f1", "loss"], ["one", "two"])
    assert [(point.run_id, point.metric, point.step, point.value) for point in found] == [
        (run.id, metric, step, value)
        for run in runs
        for metric, step, value in (("f1", -1, 0.2), ("f1", 5, 0.1), ("loss", 5, 0.9))
    ]


def test_history_takes_a_run_a_record_a_name_or_the_active_run() -> None:
    run = trk.start("one")
    run.log_metric("f1", 0.1)
    expected = trk.history("f1")
    assert trk.history("f1", run) == trk.history("f1", run.record) == trk.history("f1", "one") == expected
    assert len(expected) == 1


def test_a_metric_whose_name_is_part_of_another_is_told_apart() -> None:
    run = trk.start()
    run.log_metrics({"a": 1.0, "a/b": 2.0, "b": 3.0, "a.b": 4.0})
    run.log_metrics({"a/b": 5.0, "a.b": 6.0})
    assert [point.value for point in trk.history("a")] == [1.0]
    assert [point.value for point in trk.history("b")] == [3.0]
    assert [point.value for point in trk.history("a/b")] == [2.0, 5.0]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("best", ["metric", "mode", "agg", "n", "experiment", "filter", "fresh", "source", "timeout"]),
        (
            "search",
            ["filter", "experiment", "status", "since", "until", "sort", "n", "deleted", "source", "timeout"],
        ),
        ("get_run", ["run", "source", "timeout"]),
        (
            "history",
            [
                "metric",
                "run",
                "filter",
                "experiment",
                "status",
                "since",
                "until",
                "last",
                "sample",
                "source",
                "timeout",
            ],
        ),
    ],
)
def test_python_asks_with_the_words_of_the_command_line(question: str, words: list[str]) -> None:
    parameters = inspect.signature(getattr(trk, question)).parameters
    # What is told goes elsewhere there, and `--columns` says which parts are needed.
    assert [name for name in parameters if name not in ("warn", "progress", "parts")] == words
    assert all(found.kind is found.KEYWORD_ONLY for found in list(parameters.values())[2:])
