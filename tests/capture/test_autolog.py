"""What MLflow's autolog logs, in a run of trk; no run of MLflow's beside it; and MLflow as it was afterwards."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import trk
from trk import settings
from trk.capture.autolog import naming, place
from trk.errors import Conflict, NoActiveRun, SourceUnavailable
from trk.journal import read
from trk.rules import check_metric_name
from trk.run import current

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

PLACES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


@dataclass
class Fitted:
    """What a program that trains two models leaves: in the run, its children, and in the user's store."""

    run: trk.RunRecord
    children: list[trk.RunRecord]
    points: list[Any]
    paths: set[str]
    captured: Any
    model: Any
    address: str
    began_ms: int
    ended_ms: int


@pytest.fixture(scope="module")
def fitted(_empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    """Two models are fitted under autolog in one block, the second by a search with two candidates."""
    folder = tmp_path_factory.mktemp("fitted")
    shutil.copyfile(_empty_store, folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = ?", (f"{folder}/mlruns/0",))
    address = f"sqlite:///{folder}/mlflow.db"
    told = {
        "HOME": str(folder), "TRK_BACKENDS": "mlflow", "TRK_DAEMON": "off", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": address,
        # To see what a model needs, MLflow loads it in a process that imports everything: that is not asked here.
        "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        token = current.set(())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow and scikit-learn warn of each other
            yield _fit(address)
        current.reset(token)


def _data() -> tuple[Any, Any]:
    import numpy

    return numpy.array([[one, one % 3] for one in range(30)]), numpy.array([int(one > 14) for one in range(30)])


def _fit(address: str) -> Fitted:
    import mlflow
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV

    given, classes = _data()
    began_ms = int(time.time() * 1000)
    try:
        with trk.start("one", experiment="digits") as run, trk.capture_autolog() as captured:
            mlflow.set_experiment("theirs")
            mlflow.sklearn.autolog(registered_model_name="classifier", silent=True)
            model = LogisticRegression(C=0.5).fit(given, classes)
            mlflow.sklearn.autolog(log_models=False, silent=True)
            GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2).fit(given, classes)
    finally:
        mlflow.sklearn.autolog(disable=True)
    trk.sync()  # the child runs, which no daemon delivers here
    return Fitted(
        run=run.record,
        children=[child.record for child in captured.children],
        points=list(trk.history("training_score", run.id, source="local")),
        paths={one.path for one in trk.artifacts(run.id, source="local")},
        captured=captured,
        model=model,
        address=address,
        began_ms=began_ms,
        ended_ms=int(time.time() * 1000),
    )


def test_params_metrics_and_tags_of_a_fit_are_in_the_run(fitted: Fitted) -> None:
    params, tags = fitted.run.params, fitted.run.tags
    assert {key: params[key] for key in ("C", "fit_intercept", "max_iter")} == {
        "C": "0.5", "fit_intercept": "True", "max_iter": "100",
    }  # fmt: skip
    assert fitted.run.metrics["training_score"] == fitted.model.score(*_data())
    assert [point.step for point in fitted.points] == [0]
    assert fitted.began_ms <= fitted.points[0].time_ms <= fitted.ended_ms
    assert (tags["estimator_name"], tags["autologging"]) == ("LogisticRegression", "sklearn")
    assert not [key for key in tags if key.startswith("mlflow.")]
    assert fitted.captured.failed == {}


def test_the_files_the_data_sets_and_the_model_are_in_the_run(fitted: Fitted) -> None:
    assert {"model/MLmodel", "model/model.pkl", "model/requirements.txt", "datasets.json", "estimator.html"} <= (
        fitted.paths
    )


def test_what_a_second_model_logs_is_told_apart(fitted: Fitted) -> None:
    assert "training_score_2" in fitted.run.metrics
    assert fitted.run.tags["estimator_name_2"] == "GridSearchCV"
    assert "autologging_2" not in fitted.run.tags  # it is the same
    assert fitted.run.params["cv"] == "2"  # the first has none
    assert {"run_2/cv_results.csv", "run_2/estimator.html"} <= fitted.paths


def test_the_candidates_of_a_search_are_child_runs(fitted: Fitted) -> None:
    assert sorted(child.params["alpha"] for child in fitted.children) == ["1", "2"]
    for child in fitted.children:
        assert (child.parent_id, child.status, child.experiment) == (fitted.run.run_id, "FINISHED", "digits")
        assert "mean_test_score" in child.metrics


def test_the_users_store_has_the_run_once_and_its_model_can_be_loaded(fitted: Fitted) -> None:
    import mlflow
    from mlflow import MlflowClient

    client = MlflowClient(fitted.address, registry_uri=fitted.address)
    experiments = client.search_experiments()
    found = client.search_runs([one.experiment_id for one in experiments])
    assert {one.name for one in experiments} == {"Default", "digits"}
    assert sorted(one.data.tags["trk.run_id"] for one in found) == sorted(
        [fitted.run.run_id, *(child.run_id for child in fitted.children)]
    )
    assert client.search_registered_models() == []
    delivered = fitted.run.backends["mlflow"]
    assert (delivered.pending, delivered.rejected) == (0, 0)
    mlflow.set_tracking_uri(fitted.address)
    loaded = mlflow.sklearn.load_model(f"runs:/{delivered.run_id}/model")
    assert list(loaded.coef_[0]) == list(fitted.model.coef_[0])


def test_what_has_no_place_in_a_run_is_told(fitted: Fitted) -> None:
    assert fitted.captured.skipped == {
        "create_experiment": 1, "create_registered_model": 1, "create_model_version": 1,
    }  # fmt: skip


@pytest.fixture
def mlflow() -> Iterator[Any]:
    """MLflow, which a test leaves as it was; it warns of what it uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        yield mlflow


@pytest.fixture
def run(project: Path) -> Iterator[trk.Run]:
    with trk.start("one", delivery="end") as found:
        yield found


def state() -> dict[str, Any]:
    """All of MLflow that a capture turns."""
    import mlflow
    from mlflow.tracking import fluent
    from mlflow.tracking._model_registry import utils as models
    from mlflow.tracking._tracking_service import utils as runs

    return {
        **{name: os.environ.get(name) for name in (*place.VARIABLES, *PLACES)},
        "uri": runs._tracking_uri, "registry": models._registry_uri, "experiment": fluent._active_experiment_id,
        "run": mlflow.active_run(), "last": fluent._last_active_run_id.get(), "set": mlflow.set_tracking_uri,
        "set_registry": models.set_registry_uri, "schemes": list(runs._tracking_store_registry._registry),
        "model": fluent._last_logged_model_id.get(), "context": fluent._ACTIVE_MODEL_CONTEXT.get(),
    }  # fmt: skip


def test_what_is_logged_by_hand_keeps_steps_times_and_values(mlflow: Any, run: trk.Run) -> None:
    with trk.capture_autolog(run) as captured:
        with mlflow.start_run(tags={"stage": "dev"}) as theirs:
            mlflow.log_metric("loss", 0.1, step=3, timestamp=1_763_726_400_500)
            mlflow.log_metric("loss", float("nan"), step=4, timestamp=5_000)  # 5 s after 1970
            mlflow.log_metrics({"loss": 0.3, "acc": 1}, step=5, synchronous=False)
            mlflow.log_params({"lr": 0.1, "opt": "adam"})
            mlflow.log_param("late", "yes", synchronous=False)
            mlflow.set_tags({"gone": "1", "mlflow.note.content": "a note"})
            mlflow.delete_tag("gone")
            mlflow.log_text("hello", "notes/a.txt")
        mlflow.MlflowClient().log_metric(theirs.info.run_id, "after", 2.0)
        mlflow.MlflowClient().log_text(theirs.info.run_id, "again", "notes/a.txt")
    record = run.record
    points = [(point.step, point.time_ms) for point in trk.history("loss", run.id, source="local")]
    assert points[:2] == [(3, 1_763_726_400_500), (4, 5_000)]
    assert (len(points), record.metrics["acc"], record.metrics["after"]) == (3, 1.0, 2.0)
    assert record.params == {"lr": "0.1", "opt": "adam", "late": "yes"}
    assert record.tags == {"stage": "dev"}
    trk.get_artifact("notes/a.txt", run=run.id, source="local", to="a.txt")
    assert Path("a.txt").read_text() == "again"
    assert (captured.skipped, captured.failed) == ({"mlflow.note.content": 1}, {})


def test_all_is_put_back_also_after_an_error(
    mlflow: Any, run: trk.Run, empty_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    address = empty_store(project)
    mlflow.set_tracking_uri(address)
    for name in PLACES[2:]:
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    before = state()
    captured = trk.capture_autolog(run)
    folders = []

    def train() -> None:
        with captured:
            folders.append(Path(mlflow.get_artifact_uri().removeprefix("file://")).parents[3])
            assert folders[0].is_dir()
            mlflow.log_metric("loss", 1)
            mlflow.set_tracking_uri("http://127.0.0.1:9")
            mlflow.set_registry_uri("http://127.0.0.1:9")
            mlflow.end_run("FAILED")
            mlflow.set_experiment("theirs")
            mlflow.start_run()
            mlflow.log_metric("loss", 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert state() == before
    assert not folders[0].exists()
    assert (run.status, run.record.metrics) == ("RUNNING", {"loss": 1.0, "loss_2": 2.0})
    assert captured.skipped == {"set_tracking_uri": 1, "set_registry_uri": 1, "create_experiment": 1}
    assert mlflow.MlflowClient().search_runs(["0"]) == []


def test_a_capture_is_one_at_a_time_and_can_be_on_again(mlflow: Any, run: trk.Run) -> None:
    capture = trk.capture_autolog(run)
    with capture, pytest.raises(Conflict, match="a capture of autolog is on"), trk.capture_autolog(run):
        pass
    for value in (1, 2):
        with capture, mlflow.start_run():
            mlflow.log_metric("loss", value)
            mlflow.log_text("x", "a.txt")
    assert run.record.metrics == {"loss": 1.0, "loss_2": 2.0}
    assert {one.path for one in trk.artifacts(run.id, source="local")} == {"a.txt", "run_2/a.txt"}


def test_a_run_of_mlflow_that_is_active_is_left_alone(
    mlflow: Any, run: trk.Run, empty_store: Callable[..., str], project: Path
) -> None:
    mlflow.set_tracking_uri(empty_store(project))
    with mlflow.start_run() as theirs:
        with pytest.raises(Conflict, match="a run of MLflow is active"), trk.capture_autolog(run):
            pass
        mlflow.log_metric("loss", 1)
    assert mlflow.get_run(theirs.info.run_id).data.metrics == {"loss": 1.0}
    mlflow.MlflowClient().set_experiment_tag("0", "still", "theirs")
    with trk.capture_autolog(run):
        pass
    assert run.record.metrics == {}


def test_other_threads_are_captured_and_their_runs_ended(mlflow: Any, run: trk.Run) -> None:
    logged, over = threading.Event(), threading.Event()
    active: list[Any] = []

    def apart() -> None:
        mlflow.start_run()
        mlflow.log_metric("loss", 1)
        logged.set()
        over.wait(30)
        active.append(mlflow.active_run())

    thread = threading.Thread(target=apart)
    with trk.capture_autolog(run):
        thread.start()
        assert logged.wait(30)
    over.set()
    thread.join(30)
    assert (run.record.metrics, active) == ({"loss": 1.0}, [None])


def test_what_the_run_refuses_is_told_and_no_error(mlflow: Any, run: trk.Run, caplog: pytest.LogCaptureFixture) -> None:
    with trk.capture_autolog(run) as captured, mlflow.start_run(), caplog.at_level(logging.WARNING, "trk"):
        mlflow.log_metric("_step", 1)
        mlflow.log_text("x", "a#b.txt")
        mlflow.log_text("x", "b.txt")
        run.end()
        mlflow.log_metric("loss", 1)
        mlflow.log_metric("loss", 2)
    assert captured.renamed == {"_step": "imported._step"}
    assert run.record.metrics == {"imported._step": 1.0}
    assert sum(captured.failed.values()) == 4  # two points, two files
    assert [one.getMessage().count("has ended") for one in caplog.records if one.name == "trk.capture"] == [1]


def test_what_comes_after_the_block_is_refused_and_counted(mlflow: Any, run: trk.Run) -> None:
    with trk.capture_autolog(run) as captured:
        client = mlflow.MlflowClient()
        with mlflow.start_run() as theirs:
            pass
        client.log_metric(theirs.info.run_id, "loss", 1)
    with pytest.raises(mlflow.MlflowException, match="is over"):
        client.log_metric(theirs.info.run_id, "loss", 2)
    assert run.record.metrics == {"loss": 1.0}
    assert list(captured.failed) == ["log_metric after the end of the block"]


def test_traces_in_the_block_are_told_and_others_go_where_they_went(
    mlflow: Any, run: trk.Run, empty_store: Callable[..., str], project: Path
) -> None:
    @mlflow.trace
    def traced() -> None:
        pass

    mlflow.set_tracking_uri(empty_store(project))
    traced()
    with trk.capture_autolog(run) as captured:
        traced()
        remote_id = mlflow.MlflowClient().create_run("0").info.run_id
        mlflow.MlflowClient().create_run("0", tags={"mlflow.parentRunId": remote_id})
        assert [child.status for child in captured.children] == ["RUNNING"]
    traced()
    assert captured.skipped["start_trace"] == 1
    assert [child.status for child in captured.children] == ["FINISHED"]  # nobody could end it any more
    assert captured.failed == {}
    mlflow.flush_trace_async_logging()
    assert len(mlflow.search_traces(return_type="list", locations=["0"])) == 2


@pytest.mark.parametrize("delivery", ["end", "thread"])
def test_runs_of_trk_in_the_block_go_where_they_go_elsewhere(
    delivery: str, mlflow: Any, empty_store: Callable[..., str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = empty_store(project)
    mlflow.set_tracking_uri(address)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with trk.start("outer", delivery=delivery) as outer, trk.capture_autolog() as captured:
        with mlflow.start_run(), mlflow.start_run(run_name="inner", nested=True):
            mlflow.log_metric("loss", 1)
            with pytest.raises(NoActiveRun):
                trk.attach(active="mlflow")
            assert trk.active_run() == outer
        with trk.start("beside") as beside:
            beside.log_metric("loss", 2)
    child = captured.children[0]
    for one in (outer, beside, child):
        assert read.targets(one.journal, one.id)["mlflow"]["tracking_uri"] == address
    assert beside.record.backends["mlflow"].pending == 0
    trk.sync()
    found = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert {one.info.run_name: one.data.metrics for one in found} == {
        "outer": {}, "beside": {"loss": 2.0}, "inner": {"loss": 1.0},
    }  # fmt: skip


def test_without_mlflow_or_without_a_run_it_is_an_error(
    mlflow: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoActiveRun):
        trk.capture_autolog()
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    with trk.start("one") as run, pytest.raises(SourceUnavailable, match="mlflow"), trk.capture_autolog(run):
        pass


def test_what_mlflow_refuses_to_make_is_one_error_and_nothing_is_left(
    mlflow: Any, run: trk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_empty", [b"no database at all" * 100])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before, there = state(), set(tmp_path.iterdir())
    with pytest.raises(SourceUnavailable, match="can't be captured"), trk.capture_autolog(run):
        pass
    assert (state(), set(tmp_path.iterdir())) == (before, there)
    monkeypatch.setattr(place, "_empty", [])
    with trk.capture_autolog(run):
        mlflow.log_metric("loss", 1)
    assert run.record.metrics == {"loss": 1.0}


def test_no_two_names_of_several_runs_become_one() -> None:
    renamed: dict[str, str] = {}
    names = naming.Names(check_metric_name, renamed)
    assert [names.of("loss", 1), names.of("loss_2", 1), names.of("loss", 2), names.of("loss_2", 2)] == [
        "loss", "loss_2", "loss_2_2", "loss_2_2_2",
    ]  # fmt: skip
    assert (names.of("loss", 1), names.of("loss", 2), names.of("loss", 3)) == ("loss", "loss_2_2", "loss_3")
    tags = naming.Names(check_metric_name, renamed)
    assert (tags.of("a", 1, "x"), tags.of("a", 2, "x"), tags.of("a", 2, "y")) == ("a", "a", "a_2")
    assert renamed == {}


def test_variables_are_kept_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_ONE", "1")
    monkeypatch.delenv("TRK_TWO", raising=False)
    with settings.kept(("TRK_ONE", "TRK_TWO"), without=("TRK_ONE",)):
        assert "TRK_ONE" not in os.environ
        os.environ["TRK_TWO"] = "2"
    assert (os.environ["TRK_ONE"], os.environ.get("TRK_TWO")) == ("1", None)
