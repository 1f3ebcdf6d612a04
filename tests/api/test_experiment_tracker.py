"""The tracker that gepa's programs use: each of its promises, and each known fault of the class that it stands for."""

from __future__ import annotations

import inspect
import json
import math
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trk
from api.conftest import Places
from helpers import program

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

ARGUMENTS = {
    "use_wandb": False, "wandb_api_key": None, "wandb_init_kwargs": None, "wandb_attach_existing": False,
    "wandb_step_metric": None, "use_mlflow": False, "mlflow_tracking_uri": None, "mlflow_experiment_name": None,
    "mlflow_attach_existing": False, "key_prefix": "",
}  # fmt: skip


# ---- the object


@pytest.mark.parametrize("make", [trk.ExperimentTracker, trk.create_experiment_tracker])
def test_every_argument_has_its_default_and_is_an_attribute(make: Any) -> None:
    taken = {name: one.default for name, one in inspect.signature(make).parameters.items()}
    assert taken == ARGUMENTS
    tracker = make()
    assert {name: getattr(tracker, name) for name in ARGUMENTS} == ARGUMENTS | {"wandb_init_kwargs": {}}
    given = {name: object() for name in ARGUMENTS}
    assert {name: getattr(make(**given), name) for name in ARGUMENTS} == given


def test_construction_touches_nothing_and_imports_no_sdk() -> None:
    done = program(
        "import os, sys, trk\n"
        "trk.ExperimentTracker(use_wandb=True, wandb_api_key='k', use_mlflow=True, mlflow_tracking_uri='http://no.where')\n"
        "assert not {'wandb', 'mlflow'} & set(sys.modules)\n"
        "assert os.listdir() == []\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_backend_every_method_does_nothing(project: Path) -> None:
    with trk.ExperimentTracker(key_prefix="x/") as tracker:
        assert isinstance(tracker, trk.ExperimentTracker)
        tracker.log_config({"a": 1})
        tracker.log_metrics({"a": 1}, step=1)
        tracker.log_summary({"a": 1})
        tracker.log_table("t", ["a"], [[1]])
        tracker.log_html("<p>")
        assert not tracker.is_active()
    tracker.log_metrics({"a": 1})
    tracker.end_run()
    assert (tracker.failures, tracker.failure_count, list(project.iterdir())) == ([], 0, [])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_an_import_error_that_says_what_to_do(
    name: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, name, None)
    tracker = trk.ExperimentTracker(**{f"use_{name}": True})
    for call in (tracker.initialize, tracker.start_run):
        with pytest.raises(ImportError, match=rf"pip install 'trk-ml\[{name}\]', or use_{name}=False"):
            call()


# ---- the run


def test_a_run_is_at_both_backends_while_it_lasts_and_ends_finished(places: Places) -> None:
    tracker = places.tracker()
    assert not tracker.is_active()
    with tracker as entered:
        assert entered is tracker
        assert tracker.is_active()
        tracker.log_metrics({"val/score": 0.5}, step=3)
    assert not tracker.is_active()
    assert tracker.failures == []
    assert (places.wandb().state, places.wandb().exit_code) == ("finished", 0)
    assert places.mlflow().info.status == "FINISHED"
    assert places.points("val/score") == [(3, 0.5)]
    assert places.lines() == [{"val/score": 0.5, "trk/step": 3}]


def test_what_is_given_to_wandb_init_is_there(places: Places, project: Path) -> None:
    from wandb import Settings

    arguments = {
        "project": places.experiment, "name": "a name", "notes": "notes", "tags": ["one", "two"], "group": "g",
        "job_type": "train", "config": {"lr": 0.1, "on": True, "nested": {"a": [1]}}, "dir": project / "elsewhere",
        "settings": Settings(run_group="not this", label_disable=True), "id": "own", "entity": None,
    }  # fmt: skip
    tracker = places.tracker(wandb_init_kwargs=arguments, use_mlflow=False, key_prefix="x/")
    with tracker:
        pass
    run = places.wandb()
    assert (run.display_name, run.notes, run.tags, run.group, run.job_type) == (
        "a name", "notes", ["one", "two"], "g", "train"
    )  # fmt: skip
    assert run.config == {"lr": 0.1, "on": True, "nested": {"a": [1]}}
    assert (project / "elsewhere" / "wandb").is_dir()
    assert [failure.key for failure in tracker.failures] == ["id"]


def test_an_exception_ends_the_run_as_failed_and_goes_on(places: Places) -> None:
    with pytest.raises(ZeroDivisionError), places.tracker():
        raise ZeroDivisionError
    assert (places.wandb().state, places.wandb().exit_code) == ("failed", 1)
    assert places.mlflow().info.status == "FAILED"


def test_a_finally_that_ends_the_run_sees_the_exception(places: Places) -> None:
    tracker = places.tracker(use_wandb=False)

    def work() -> None:
        tracker.start_run()
        try:
            raise ZeroDivisionError
        finally:
            tracker.end_run()

    with pytest.raises(ZeroDivisionError):
        work()
    assert places.mlflow().info.status == "FAILED"


def test_an_exception_that_was_handled_before_the_run_is_not_the_runs(places: Places) -> None:
    tracker = places.tracker(use_wandb=False)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        tracker.start_run()
        tracker.end_run()
    assert places.mlflow().info.status == "FINISHED"


def test_who_interrupts_does_not_wait_and_trk_sync_finishes(places: Places) -> None:
    tracker = places.tracker(use_wandb=False)

    def work() -> None:
        with tracker:
            tracker.log_metrics({"a": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    trk.sync()
    assert places.mlflow().info.status == "KILLED"
    assert places.points("a") == [(0, 1.0)]


def test_what_is_logged_after_the_end_goes_nowhere_and_is_counted(places: Places) -> None:
    with places.tracker(use_wandb=False) as tracker:
        tracker.log_metrics({"a": 1})
    tracker.log_metrics({"late": 1})
    tracker.log_config({"late": 1})
    tracker.log_table("late", ["a"], [[1]])
    assert tracker.failure_count == 3
    assert "no run is active" in tracker.failures[0].reason
    assert set(places.mlflow().data.metrics) == {"a"}
    assert places.mlflow().data.params == {}


def test_a_second_start_begins_a_new_run_with_tables_of_its_own(places: Places) -> None:
    tracker = places.tracker()
    tracker.start_run()
    tracker.log_table("t", ["a"], [["first"]])
    tracker.start_run()
    tracker.log_table("t", ["b"], [["second"]])
    tracker.end_run()
    first, second = places.wandb_runs()
    assert places.wandb_table("t", first) == (["a"], [["first"]])
    assert places.wandb_table("t", second) == (["b"], [["second"]])
    assert [run.info.status for run in places.mlflow_runs()] == ["FINISHED", "FINISHED"]


# ---- what is logged


def test_config_keeps_its_types_at_wandb_and_is_text_at_mlflow(places: Places) -> None:
    config = {"b": True, "i": 3, "f": 0.5, "s": "0.10", "word": "True", "n": None, "o": [1, 2], "np": np.float32(0.5)}
    with places.tracker(key_prefix="opt/") as tracker:
        tracker.log_config(config)
    expected = {"b": True, "i": 3, "f": 0.5, "s": "0.10", "word": "True", "n": None, "o": "[1, 2]", "np": "0.5"}
    assert places.wandb().config == {f"opt/{key}": value for key, value in expected.items()}
    assert places.mlflow().data.params == {f"opt/{key}": str(value) for key, value in expected.items()}


def test_a_bad_key_or_a_changed_param_loses_nothing_else(places: Places) -> None:
    with places.tracker() as tracker:
        tracker.log_config({"lr": 0.1})
        tracker.log_config({"a": 1, "bad#key": 2, "": 3, "lr": 0.2, "z": 4})
        tracker.log_metrics({"m": 1, "bad#key": 2, "_step": 3, "z": 4}, step=0)
        tracker.log_summary({"s": "x", "bad#key": "y", "z2": "w"})
    assert places.wandb().config == {"lr": 0.2, "a": 1, "z": 4}
    assert places.mlflow().data.params.items() >= {"lr": "0.1", "a": "1", "z": "4"}.items()
    assert places.mlflow().data.metrics == {"m": 1.0, "z": 4.0}
    assert places.wandb().summary["z2"] == "w"
    assert [(f.call, f.key) for f in tracker.failures if f.backend is None] == [
        ("log_config", "bad#key"), ("log_config", ""), ("log_metrics", "bad#key"), ("log_metrics", "_step"),
        ("log_summary", "bad#key"),
    ]  # fmt: skip
    assert [(f.key, f.backend) for f in tracker.failures if f.backend is not None] == [("lr", "mlflow")]
    assert tracker.failure_count == 5


def test_numbers_of_all_kinds_are_logged_and_nothing_else(places: Places) -> None:
    class Tensor:
        """A 0-d tensor, as far as it shows."""

        ndim = 0

        def __float__(self) -> float:
            return 0.25

        def item(self) -> float:
            return 0.25

    numbers = {
        "float": 0.5, "int": 2, "bool": True, "f32": np.float32(0.5), "i64": np.int64(3), "array": np.array(1.5),
        "tensor": Tensor(), "nan": math.nan, "inf": math.inf,
    }  # fmt: skip
    with places.tracker() as tracker:
        tracker.log_metrics({**numbers, "s": "x", "n": None, "d": {"a": 1}, "l": [1], "v": np.zeros(2)}, step=1)
        tracker.log_metrics({"s": "x", "n": None}, step=2)
        tracker.log_metrics({}, step=3)
    (line,) = places.lines()
    assert line.pop("trk/step") == 1
    assert math.isnan(line.pop("nan"))
    assert line == {key: float(value) for key, value in numbers.items() if key != "nan"}
    assert set(places.mlflow().data.metrics) == set(numbers)
    assert tracker.failures == []


def test_a_step_left_out_is_the_next_one(places: Places) -> None:
    with places.tracker() as tracker:
        for value in range(3):
            tracker.log_metrics({"a": value})
        tracker.log_metrics({"a": 9}, step=7)
        tracker.log_metrics({"a": 10})
        tracker.log_metrics({"a": 11}, step=2.5)  # type: ignore[arg-type]  # told, and its values kept
    assert places.points("a") == [(0, 0.0), (1, 1.0), (2, 2.0), (7, 9.0), (8, 10.0), (9, 11.0)]
    assert [failure.key for failure in tracker.failures] == ["step"]


@pytest.mark.parametrize(("prefix", "pattern"), [("gepa/", "gepa/*"), ("", "*")])
def test_the_step_metric_is_the_axis_of_this_trackers_metrics(prefix: str, pattern: str, places: Places) -> None:
    with places.tracker(use_mlflow=False, wandb_step_metric="gepa/iteration", key_prefix=prefix) as tracker:
        tracker.log_metrics({"score": 0.5}, step=4)
        tracker.log_metrics({"score": 0.6}, step=2)
    assert places.lines() == [
        {f"{prefix}score": 0.5, "gepa/iteration": 4}, {f"{prefix}score": 0.6, "gepa/iteration": 2}
    ]  # fmt: skip
    defined = definitions(places.wandb())
    assert defined[pattern] == "gepa/iteration"
    assert list(defined) == ["gepa/iteration", pattern]


def definitions(run: Any) -> dict[str, str | None]:
    """The metrics that were defined at W&B, by name or pattern, with the axis of each."""
    found = run.full_config["_wandb"]["value"].get("m", [])
    names = [one.get("1") or one.get("2") for one in found]
    return {name: names[one["5"] - 1] if "5" in one else None for name, one in zip(names, found, strict=True)}


def test_the_summary_takes_every_value_whatever_came_before_it(places: Places, tmp_path: Path) -> None:
    long = "prompt " * 1000
    values = {"a/long": long, "none": None, "list": [1, "a"], "dict": {"k": [1]}, "text": "x", "number": 0.5}
    odd = {"array": np.arange(3), "set": {1}, "object": Path("a"), "nested": {"nan": [math.nan]}, "i": np.int64(7)}
    with places.tracker(key_prefix="g/") as tracker:
        tracker.log_summary(values | odd)
        tracker.log_summary({"text": "latest", "number": 0.75})
    summary = places.wandb().summary
    kept = {
        "a/long": long, "none": None, "list": [1, "a"], "dict": {"k": [1]}, "text": "latest", "number": 0.75,
        "array": [0, 1, 2], "set": [1], "object": "a", "nested": {"nan": ["nan"]}, "i": 7,
    }  # fmt: skip
    assert {key: summary.get(f"g/{key}") for key in kept} == kept
    run = places.mlflow()
    assert run.data.metrics == {"g/number": 0.75, "g/i": 7.0}
    params = {key.removeprefix("summary/g/"): text for key, text in run.data.params.items()}
    assert json.loads(params["none"]) is None
    assert json.loads(params["list"]) == [1, "a"]
    assert json.loads(params["dict"]) == {"k": [1]}
    assert run.data.tags["summary/g/text"] == "latest"
    assert long in places.texts("trk/long", tmp_path / "fetched")
    assert tracker.failures == []


def test_tables_grow_and_are_whole_at_both(places: Places, tmp_path: Path) -> None:
    with places.tracker(key_prefix="g/") as tracker:
        tracker.log_table("candidates", ["id", "prompt"], [[0, "a"]])
        tracker.log_table("candidates", ["id", "prompt"], [[1, "b"], [2, None]])
    rows = [[0, "a"], [1, "b"], [2, None]]
    assert places.wandb_table("g/candidates") == (["id", "prompt"], rows)
    found = json.loads(places.artifact("g/candidates.json", tmp_path / "fetched"))
    assert (found["columns"], found["data"]) == (["id", "prompt"], rows)


def test_a_table_becomes_wider_and_a_bad_call_changes_nothing(places: Places, tmp_path: Path) -> None:
    with places.tracker() as tracker:
        tracker.log_table("t", ["a", "b"], [[1, 2]])
        tracker.log_table("t", ["c", "a"], [[3, 4]])
        tracker.log_table("t", ["a"], [[5], [6, 7]])  # ragged
        tracker.log_table("t", ["a", "a"], [[8, 9]])
        tracker.log_table("t", ["a"], [])
        tracker.log_table("t", ["a"], [[{"k": {1}}]])
    rows = [[1, 2, None], [4, None, 3], [{"k": [1]}, None, None]]
    found = json.loads(places.artifact("t.json", tmp_path / "fetched"))
    assert (found["columns"], found["data"]) == (["a", "b", "c"], rows)
    assert places.wandb_table("t") == (["a", "b", "c"], [*rows[:2], ['{"k": [1]}', None, None]])
    assert [(failure.call, failure.key) for failure in tracker.failures] == [("log_table", "t")] * 2


def test_a_page_has_one_name_at_which_the_latest_shows_and_no_file_is_left(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with places.tracker(key_prefix="g/") as tracker:
        for number in range(3):
            tracker.log_html(f"<p>tree {number}</p>")
        tracker.log_html("no tags at all", key="other")
    assert places.artifacts("g/candidate_tree") == ["g/candidate_tree/candidate_tree.html"]
    assert places.artifact("g/candidate_tree/candidate_tree.html", tmp_path / "fetched") == "<p>tree 2</p>"
    assert places.artifacts("g/other") == ["g/other/other.html"]
    run = places.wandb()
    assert run.files[run.summary["g/candidate_tree"]["path"]] == b"<p>tree 2</p>"
    assert [path.name for path in (tmp_path / "temporary").iterdir() if path.suffix == ".html"] == []


def test_worker_threads_log_into_the_trackers_run(places: Places) -> None:
    tracker = places.tracker()

    def work(number: int) -> None:
        for step in range(5):
            tracker.log_metrics({f"m{number}": step}, step=step)
        tracker.log_table("t", ["worker"], [[number]])
        tracker.log_config({f"p{number}": number})

    with tracker:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(row[0] for row in places.wandb_table("t")[1]) == [0, 1, 2, 3]
    assert len(places.lines()) - len([line for line in places.lines() if "t" in line]) == 20
    assert places.mlflow().data.metrics == {f"m{number}": 4.0 for number in range(4)}
    assert places.mlflow().data.params == {f"p{number}": str(number) for number in range(4)}
    assert tracker.failures == []


def test_values_travel_in_batches(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    calls: list[str] = []

    def counted(name: str) -> None:
        real = getattr(SqlAlchemyStore, name)

        def call(*args: Any, **words: Any) -> Any:
            calls.append(name)
            return real(*args, **words)

        monkeypatch.setattr(SqlAlchemyStore, name, call)

    for name in ("log_batch", "log_metric", "log_param", "set_tag"):
        counted(name)
    with places.tracker(use_wandb=False) as tracker:
        tracker.log_config({f"p{number}": number for number in range(40)})
        tracker.log_metrics({f"m{number}": number for number in range(40)}, step=0)
    assert len(places.mlflow().data.metrics) == 40
    assert len(calls) < 10


# ---- trouble


def test_a_backend_that_is_down_stops_neither_the_program_nor_the_other(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_EXIT_TIMEOUT", "3")
    places.server.fail("", status=500)
    with places.tracker() as tracker:
        tracker.log_metrics({"a": 1}, step=0)
    assert places.points("a") == [(0, 1.0)]
    assert places.mlflow().info.status == "FINISHED"
    assert {failure.backend for failure in tracker.failures} == {"wandb"}
    places.server.faults.clear()
    trk.sync()
    assert places.lines() == [{"a": 1, "trk/step": 0}]
    assert tracker.failures == []


def test_a_key_that_wandb_refuses_is_told_at_once(places: Places) -> None:
    with pytest.raises(RuntimeError, match="W&B"):
        places.tracker(wandb_api_key="f" * 40, use_mlflow=False).initialize()


def test_without_any_key_the_set_up_says_so(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(RuntimeError, match="no key"):
        places.tracker(use_mlflow=False).initialize()


def test_an_argument_that_wandb_init_does_not_know_is_told(places: Places) -> None:
    tracker = places.tracker(wandb_init_kwargs={"projekt": "x"})
    with pytest.raises(RuntimeError, match="projekt"):
        tracker.start_run()
    assert not tracker.is_active()


def test_an_experiment_that_was_deleted_is_told_at_once(places: Places) -> None:
    places.client.delete_experiment(places.client.create_experiment(places.experiment))
    with pytest.raises(RuntimeError, match="was deleted"):
        places.tracker(use_wandb=False).initialize()


def test_the_key_is_used_and_kept_nowhere(
    places: Places, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    with places.tracker(wandb_api_key=places.server.key) as tracker:
        tracker.log_metrics({"a": 1})
    assert len(places.lines()) == 1
    key = places.server.key.encode()
    homes = [project, tmp_path, Path(__import__("os").environ["HOME"])]
    assert [path for home in homes for path in home.rglob("*") if path.is_file() and key in path.read_bytes()] == []


def test_offline_the_run_lies_in_one_folder_for_wandb_sync(places: Places, project: Path) -> None:
    arguments = {"project": places.experiment, "mode": "offline", "dir": str(project)}
    with places.tracker(wandb_init_kwargs=arguments) as tracker:
        tracker.log_metrics({"a": 1})
        tracker.log_html("<p>")
    assert len(list((project / "wandb").glob("offline-run-*/run-*.wandb"))) == 1
    assert places.wandb_runs() == []
    assert places.points("a") == [(0, 1.0)]
    assert tracker.failures == []


def test_wandb_can_be_switched_off(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with places.tracker(use_mlflow=False) as tracker:
        tracker.log_metrics({"a": 1})
        assert not tracker.is_active()
    assert (places.wandb_runs(), tracker.failures) == ([], [])
