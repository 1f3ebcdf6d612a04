"""Logging into runs that are active in this process by W&B's and MLflow's own means."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import trk
from api.conftest import Places
from api.test_experiment_tracker import definitions
from helpers import program, started
from helpers import trk as command


@pytest.fixture
def host(places: Places) -> Iterator[Any]:
    """A run of W&B that is active in this process, and its host's own."""
    import wandb

    settings = wandb.Settings(
        base_url=places.server.url, api_key=places.server.key, silent=True, console="off", disable_git=True,
        save_code=False, x_disable_stats=True, x_file_stream_transmit_interval=1, finish_timeout=10,
    )  # fmt: skip
    run = wandb.init(project=places.experiment, tags=["hosts"], settings=settings, reinit="finish_previous")
    yield run
    run.finish()


@pytest.fixture
def mlflow_host(places: Places) -> Iterator[Any]:
    """A run of MLflow that is active in this thread, and its host's own."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(places.uri)
    mlflow.set_experiment(places.experiment)
    yield mlflow.start_run(run_name="the host's")
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def attached(places: Places, **arguments: Any) -> trk.ExperimentTracker:
    return places.tracker(
        use_mlflow=False, use_wandb=True, wandb_init_kwargs=None, wandb_attach_existing=True, **arguments
    )


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_without_an_active_run_to_attach_to_nothing_begins(name: str, places: Places) -> None:
    tracker = places.tracker(use_wandb=True, use_mlflow=True, **{f"{name}_attach_existing": True})
    with pytest.raises(RuntimeError, match=r"no run of (W&B|MLflow) is active"):
        tracker.start_run()
    assert not tracker.is_active()
    assert [run for run in places.mlflow_runs() if run.info.status == "RUNNING"] == []
    assert [run for run in places.wandb_runs() if run.state == "running"] == []


def test_what_is_logged_goes_into_the_hosts_wandb_run_which_stays_open(places: Places, host: Any) -> None:
    host.log({"train/loss": 1.0})
    with attached(places, key_prefix="gepa/", wandb_step_metric="gepa/iteration") as tracker:
        assert tracker.is_active()
        tracker.log_config({"size": 3, "on": True})
        tracker.log_metrics({"score": 0.5}, step=10)
        host.log({"train/loss": 0.5})
        tracker.log_metrics({"score": 0.7}, step=5)
        tracker.log_summary({"prompt": "long " * 2000, "best": 0.7})
        tracker.log_table("t", ["a"], [[1]])
        tracker.log_table("t", ["a", "b"], [[2, 3]])
        tracker.log_html("<p>tree</p>")
    assert not tracker.is_active()
    host.log({"train/loss": 0.25})
    host.finish()
    run = places.wandb()
    assert (run.state, run.tags) == ("finished", ["hosts"])
    assert [line["train/loss"] for line in places.lines() if "train/loss" in line] == [1.0, 0.5, 0.25]
    assert [line["_step"] for line in run.history] == list(range(len(run.history)))
    ours = [line for line in places.lines() if "trk/n" in line]
    assert [line["trk/n"] for line in ours] == list(range(len(ours)))
    scores = [(line["gepa/score"], line["gepa/iteration"]) for line in ours if "gepa/score" in line]
    assert scores == [(0.5, 10), (0.7, 5)]
    assert run.config == {"gepa/size": 3, "gepa/on": True}
    assert run.summary["gepa/prompt"] == "long " * 2000
    assert places.wandb_table("gepa/t") == (["a", "b"], [[1, None], [2, 3]])
    assert run.files[run.summary["gepa/candidate_tree"]["path"]] == b"<p>tree</p>"
    assert definitions(run) == {"gepa/iteration": None, "gepa/*": "gepa/iteration"}
    assert tracker.failures == []


def test_without_a_prefix_the_hosts_metrics_keep_their_axis(places: Places, host: Any) -> None:
    with attached(places, wandb_step_metric="iteration") as tracker:
        for step in range(3):
            tracker.log_metrics({"score": 0.5}, step=step)
    host.log({"train/loss": 0.25})
    host.finish()
    assert definitions(places.wandb()) == {"iteration": None, "score": "iteration"}


def test_worker_threads_log_into_the_hosts_wandb_run(places: Places, host: Any) -> None:
    with attached(places) as tracker:
        threads = [
            threading.Thread(target=lambda: [tracker.log_metrics({"a": step}) for step in range(10)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    host.finish()
    assert sorted(line["trk/n"] for line in places.lines()) == list(range(40))
    assert sorted(line["trk/step"] for line in places.lines()) == list(range(40))


def test_a_host_that_ends_its_wandb_run_first_is_told_of_and_the_journal_has_the_rest(
    places: Places, host: Any
) -> None:
    tracker = attached(places)
    tracker.start_run()
    tracker.log_metrics({"a": 1})
    host.finish()
    assert not tracker.is_active()
    tracker.log_metrics({"a": 2})
    tracker.end_run()
    assert [line["a"] for line in places.lines()] == [1]
    (failure,) = tracker.failures
    assert (failure.backend, "was ended by the program" in failure.reason) == ("wandb", True)
    (run,) = trk.search(source="local")
    assert [point.value for point in trk.history("a", run.run_id, source="local")] == [1.0, 2.0]


def test_an_active_mlflow_run_is_adopted_and_left_open(places: Places, mlflow_host: Any) -> None:
    import mlflow

    with places.tracker() as tracker:
        tracker.log_metrics({"a": 1}, step=2)
        tracker.log_config({"p": 1})
    run = places.mlflow()
    assert (run.info.run_id, run.info.status) == (mlflow_host.info.run_id, "RUNNING")
    assert (run.data.metrics, run.data.params) == ({"a": 1.0}, {"p": "1"})
    assert mlflow.active_run() is not None
    assert places.lines() == [{"a": 1.0, "trk/step": 2}]
    assert (places.wandb().state, tracker.failures) == ("finished", [])


def test_mlflow_attach_logs_from_all_threads_and_leaves_the_run_after_an_exception(
    places: Places, mlflow_host: Any
) -> None:
    tracker = places.tracker(use_wandb=False, mlflow_attach_existing=True, key_prefix="g/")

    def work() -> None:
        with tracker:
            thread = threading.Thread(target=lambda: tracker.log_table("t", ["a"], [[1]]))
            thread.start()
            thread.join()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert places.mlflow().info.status == "RUNNING"
    assert places.artifacts("g") == ["g/t.json"]


# ---- trk.attach(active=…)


def test_trk_attach_logs_into_the_active_wandb_run(places: Places, host: Any) -> None:
    with trk.attach(active="wandb") as run:
        run.log_metric("a", 0.5)
        run.log_text("words", "notes")
        run.set_tag("stage", "dev")
    host.finish()
    assert places.lines() == [{"a": 0.5, "trk/step": 0, "trk/n": 0}]
    assert sorted(places.wandb().tags) == ["hosts", "stage=dev"]
    assert places.wandb().files["notes.txt"] == b"words"
    assert run.record.backends["wandb"].pending == 0


def test_trk_attach_logs_into_the_active_mlflow_run(places: Places, mlflow_host: Any) -> None:
    run = trk.attach(active="mlflow")
    run.log_metric("a", 0.5)
    run.end()
    assert places.points("a") == [(0, 0.5)]
    assert places.mlflow().info.status == "RUNNING"


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_trk_attach_to_no_active_run_is_an_error(name: Any, places: Places) -> None:
    with pytest.raises(trk.NoActiveRun, match="is active"):
        trk.attach(active=name)


def test_trk_attach_knows_two_active_places() -> None:
    with pytest.raises(trk.UsageError, match="mlflow or wandb"):
        trk.attach(active="comet")  # type: ignore[arg-type]  # the test is that it is told
    with pytest.raises(trk.UsageError, match="own run"):
        trk.attach("@", active="wandb")


HOST = """
import os, sys, wandb, trk
wandb.init(project=sys.argv[1], settings=wandb.Settings(silent=True, console="off", x_disable_stats=True))
run = trk.attach(active="wandb")
run.log_metric("a", 1)
pid = os.fork() if sys.argv[2] == "fork" else None
if pid == 0:
    run.log_metric("a", 2)  # a child has not the SDK's run: its parent hands that over
    os._exit(0)
if pid:
    os.waitpid(pid, 0)
    run.log_metric("a", 3)
    sys.exit()
print("ready", flush=True)
sys.stdin.readline()
"""


def test_what_a_forked_child_logs_is_handed_over_by_its_parent(places: Places) -> None:
    done = program(HOST, places.experiment, "fork")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line["a"] for line in places.lines()] == [1, 2, 3]


def test_another_process_delivers_nothing_into_an_active_run(places: Places) -> None:
    process = started(HOST, places.experiment, "stay")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    run_id = json.loads(command("ls", "--json").stdout)[0]["run_id"]
    assert command("log-metric", "a", "2", "--run", run_id).returncode == 0
    waits = command("sync", "--json", "--timeout", "5")
    assert f"active in process {process.pid}" in waits.stdout + waits.stderr
    process.kill()
    process.communicate()
    gone = command("sync", "--json", "--timeout", "5")
    assert "has ended" in gone.stdout + gone.stderr


WHILE_IMPORTED = """
import importlib
import sys
import threading
from trk import active
from trk.backends import _wandb_sdk

name, answers = sys.argv[1], set()
thread = threading.Thread(target=importlib.import_module, args=(name,))
thread.start()
if name == "wandb":
    while name not in sys.modules:
        thread.join(0.001)
    assert callable(_wandb_sdk.module().init)
while thread.is_alive():
    thread.join(0.001)
    answers |= {active.mlflow_run_id(), active.mlflow_uri(), active.wandb_run()}
print(answers)
"""


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_package_that_another_thread_is_just_importing_has_no_active_run(name: str) -> None:
    done = program(WHILE_IMPORTED, name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("{None}", "set()")
