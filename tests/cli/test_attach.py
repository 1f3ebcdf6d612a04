"""`trk attach mlflow:<id>`, and `mlflow:<id>` wherever a command names a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import child_environment
from helpers import trk as command

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]


@pytest.fixture
def owner(project: Path, empty_store: Callable[..., str]) -> Any:
    """MLflow's own client, at its own store in the project."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(empty_store(project))


@pytest.fixture
def remote_id(owner: Any) -> str:
    """A run of another program, with one point."""
    run_id: str = owner.create_run("0", run_name="theirs").info.run_id
    owner.log_metric(run_id, "f1", 0.5, step=3)
    return run_id


@pytest.fixture
def attached(call: Any, remote_id: str) -> str:
    """The shells are in the run of another program; its id here."""
    run_id: str = json.loads(call("attach", f"mlflow:{remote_id}", "--json").out)["run_id"]
    return run_id


def test_attaching_says_whose_run_it_is(call: Any, remote_id: str, project: Path) -> None:
    done = call("attach", f"mlflow:{remote_id}")
    run_id = call("status", "--field", "run_id").out.strip()
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        f"made {project}/.trk",
        f"attached to run theirs ({run_id})",
        f"it is mlflow:{remote_id}, of another program: trk end delivers and leaves it open",
    ]
    again = call("attach", "theirs", "--json")
    assert json.loads(again.out) == {"run_id": run_id, "status": "RUNNING"}
    assert f"it is mlflow:{remote_id}" in again.err
    assert call("attach", run_id, "-q").err == ""


def test_what_is_logged_goes_on_and_arrives_at_the_end(call: Any, attached: str, owner: Any, remote_id: str) -> None:
    assert json.loads(call("log-metric", "f1", "0.6", "--json").out) == {"run_id": attached, "n": 1, "step": 4}
    done = call("end")
    assert done.code == 0
    assert done.err == f"run theirs ({attached}) belongs to another program and stays open\n"
    assert [point.value for point in owner.get_metric_history(remote_id, "f1")] == [0.5, 0.6]
    assert owner.get_run(remote_id).info.status == "RUNNING"
    assert call("end").code == 3
    assert call("status", "--run", "theirs", "--field", "status").out == "RUNNING\n"


@pytest.mark.parametrize("words", [("--status", "failed"), ("--failed",), ("--exit-code", "3"), ("--exit-code", "0")])
def test_how_it_ends_is_not_for_trk_to_say(
    call: Any, attached: str, owner: Any, remote_id: str, words: tuple[str, ...]
) -> None:
    done = call("end", *words, "--json")
    status = "FINISHED" if words[-1] == "0" else "FAILED"
    assert f"trk: warning: {status} is ignored: the end of theirs is for the program that made it" in done.err
    (run,) = json.loads(done.out)["runs"]
    assert (done.code, run["run_id"], run["status"]) == (0, attached, "RUNNING")
    assert owner.get_run(remote_id).info.status == "RUNNING"


def test_a_wrong_status_is_wrong_here_too(call: Any, attached: str) -> None:
    assert call("end", "--status", "asleep").code == 2
    assert call("status").code == 0  # the shells are still in it


def test_a_new_run_in_its_place_leaves_it_open(call: Any, attached: str) -> None:
    assert call("start", "mine").code == 7
    done = call("start", "mine", "--replace")
    assert f"run {attached} belongs to another program and stays open\n" in done.err
    assert call("status", "--run", attached, "--field", "status").out == "RUNNING\n"


def test_the_handle_names_the_run_for_every_command(
    call: Any, attached: str, remote_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = f"mlflow:{remote_id}"
    call("detach", "-q")
    assert json.loads(call("log-metric", "f1", "0.7", "--run", handle, "--json").out)["run_id"] == attached
    assert call("status", "--run", handle, "--field", "run_id").out == f"{attached}\n"
    assert call("status", "--run", handle, "--field", "backends.mlflow.pending").out == "1\n"
    assert json.loads(call("sync", "--run", handle, "--json").out)["runs"][0]["run_id"] == attached
    assert call("show", handle, "--field", "metrics.f1").out == "0.7\n"
    assert call("history", "f1", "--run", handle, "--format", "tsv").out.count(handle) == 2
    monkeypatch.setenv("TRK_RUN", handle)
    assert call("set-tag", "stage", "dev").code == 0
    assert call("end", "-q").code == 0
    resumed = call("resume", handle)
    assert (resumed.code, resumed.err) == (
        7,
        f"trk: run {attached} belongs to another program (trk attach {attached})\n",
    )
    assert call("delete", handle, "-q").code == 0
    assert call("log-metric", "f1", "1", "--run", handle).code == 7


def test_a_handle_that_is_not_known_here_says_how_to_attach(call: Any, open_run: str, remote_id: str) -> None:
    for words in (("log-metric", "f1", "1", "--run"), ("status", "--run"), ("end", "--run"), ("resume",)):
        done = call(*words, f"mlflow:{remote_id}")
        assert done.code == 4
        assert done.err.endswith(f"(trk attach mlflow:{remote_id})\n")


def test_a_child_of_the_shell_needs_no_mlflow_to_log_by_the_handle(attached: str, remote_id: str) -> None:
    code = (
        "import sys\nfrom trk_cli.__main__ import main\n"
        f"assert main(['log-metric', 'f1', '1', '--run', 'mlflow:{remote_id}']) == 0\n"
        "dear = {'mlflow', 'json', 're', 'typing', 'dataclasses', 'pathlib'} & set(sys.modules)\n"
        "assert not dear, dear"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=child_environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("\x1b[31mred\ntrk: all is lost", "[31mred trk: all is lost"),
        ("@last", "last"),
        ("x" * 300, "x" * 250),
        ("\u200b", None),
    ],
)
def test_what_their_run_is_called_does_nothing_here(call: Any, owner: Any, theirs: str, ours: str | None) -> None:
    handle = f"mlflow:{owner.create_run('0', run_name=theirs).info.run_id}"
    done = call("attach", handle)
    assert done.code == 0
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) == 3
    assert call("status", "--field", "name").out == f"{ours or handle}\n"


def test_a_run_of_nobody_is_not_found(call: Any, owner: Any) -> None:
    done = call("attach", f"mlflow:{'0' * 32}", "--json")
    assert (done.code, json.loads(done.err)["error"]["code"]) == (4, "not_found")
    assert call("attach", "mlflow:").code == call("attach", "wandb:a/b").code == 2
    assert call("attach", "one", "--timeout", "soon").code == 2
    assert not os.path.exists(".trk")


def test_a_shell_that_is_in_a_run_stays_in_it(call: Any, open_run: str, remote_id: str) -> None:
    assert call("attach", f"mlflow:{remote_id}").code == 7
    assert call("status", "--field", "run_id").out == f"{open_run}\n"
    assert [record.run_id for record in trk.search()] == [open_run]


def test_a_script_traps_its_end_as_ever(attached: str, owner: Any, remote_id: str) -> None:
    assert command("log-metric", "f1", "0.9").returncode == 0
    done = command("end", "--exit-code", "0", "-q", "--strict")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert owner.get_metric_history(remote_id, "f1")[-1].value == 0.9


def test_the_owners_param_is_an_error_at_once(call: Any, owner: Any, remote_id: str) -> None:
    owner.log_param(remote_id, "x", "y")
    assert call("attach", f"mlflow:{remote_id}").code == 0
    done = call("log-param", "x", "z")
    assert done.code == 7
    assert "param x is already 'y' in this run and can't become 'z'" in done.err
    assert call("log-param", "x", "z", "--if-exists", "suffix").code == 0
    assert call("end", "--strict", "-q").code == 0


def test_the_owners_end_is_seen_at_the_next_end(call: Any, attached: str, owner: Any, remote_id: str) -> None:
    owner.set_terminated(remote_id)
    done = call("end", "--json")
    assert json.loads(done.out)["runs"][0]["status"] == "FINISHED"
    assert done.err == f"run theirs ({attached}) belongs to another program, which has ended it (FINISHED)\n"
    (listed,) = json.loads(call("ls", "--source", "local", "--json").out)
    assert (listed["run_id"], listed["status"]) == (attached, "FINISHED")
    assert listed["duration_s"] is not None


def test_deleting_it_says_what_becomes_of_it(call: Any, attached: str, owner: Any, remote_id: str) -> None:
    call("log-metric", "f1", "0.6")
    done = call("delete", "theirs")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        f"run theirs ({attached}) deleted here; mlflow:{remote_id} belongs to another program and stays as it is",
        "1 of 1 rows were never delivered to mlflow: they stay in the journal, and wait for delivery again after "
        f"trk restore {attached}",
    ]
    assert call("sync").err == "nothing is pending\n"
    status = call("status", "--run", attached)
    assert f"RUNNING, deleted (trk restore {attached})\n" in status.err
    assert json.loads(call("status", "--run", attached, "--json").out)["deleted"] is True
    back = call("restore", "theirs", "--no-wait")
    assert back.err.splitlines() == [
        f"run theirs ({attached}) restored here; mlflow:{remote_id} belongs to another program and stays as it is",
        "1 of 1 rows wait for delivery to mlflow: trk sync",
    ]
    assert json.loads(call("status", "--run", attached, "--json").out)["deleted"] is False
    assert call("sync", "--strict").code == 0
    assert owner.get_metric_history(remote_id, "f1")[-1].value == 0.6
    told = " ".join(call("delete", "--help").out.split())
    assert "the attachment alone is deleted here" in told
