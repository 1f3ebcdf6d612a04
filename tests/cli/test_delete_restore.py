"""`trk delete` and `trk restore`: what they print, and how they exit."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from faults.harness.proxy import Proxy
from servers.mlflow_server import MlflowServer, closed_port

mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


@pytest.fixture
def ended_run(call: Any, open_run: str) -> str:
    """A run named `one` that has ended."""
    assert call("end", "-q").code == 0
    return open_run


def test_a_run_goes_and_comes_back(call: Any, ended_run: str) -> None:
    done = call("delete", "one")
    assert (done.code, done.out, done.err) == (0, "", f"run one ({ended_run}) deleted\n")
    assert call("ls", "-q").out == ""
    assert call("ls", "--deleted", "-q").out == f"{ended_run}\n"
    shown = call("show", ended_run)
    assert (shown.code, shown.err) == (4, f"trk: run {ended_run} is deleted (trk restore {ended_run})\n")
    assert call("best", "--metric", "f1").code == 4
    assert call("restore", "one").err == f"run one ({ended_run}) restored\n"
    assert call("ls", "-q").out == f"{ended_run}\n"
    assert call("ls", "--deleted").err == "no runs\n"


def test_what_was_so_already_is_said_and_fine(call: Any, ended_run: str) -> None:
    assert call("restore", "one").err == f"run one ({ended_run}) was not deleted\n"
    call("delete", "one")
    again = call("delete", ended_run)
    assert (again.code, again.err) == (0, f"run one ({ended_run}) was deleted already\n")


def test_json_has_each_run_once_in_the_order_named(call: Any, ended_run: str) -> None:
    other = trk.start("two")
    other.finish()
    done = call("delete", "two", "one", "two", "--json", "-q")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "runs": [{"run_id": run_id, "deleted": True, "backends": {}} for run_id in (other.id, ended_run)]
    }
    back = json.loads(call("restore", "one", "--json").out)
    assert back == {"runs": [{"run_id": ended_run, "deleted": False, "backends": {}}]}


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("delete",), 2, "usage"),
        (("restore",), 2, "usage"),
        (("delete", "one", "--timeout", "soon"), 2, "usage"),
        (("delete", "mlflow:no/id"), 2, "usage"),
        (("delete", "one", "nobody"), 4, "not_found"),
        (("restore", "@"), 3, "no_active_run"),
        (("ls", "--deleted", "--source", "mlflow"), 2, "usage"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_done(
    call: Any, ended_run: str, words: tuple[str, ...], code: int, name: str
) -> None:
    done = call(*words, "--json")
    assert (done.code, json.loads(done.err)["error"]["code"]) == (code, name)
    assert done.out == ""
    assert call("ls", "-q").out == f"{ended_run}\n"


def test_an_open_run_has_to_end_first(call: Any, open_run: str) -> None:
    done = call("delete", "one")
    assert (done.code, done.err) == (7, f"trk: run {open_run} has not ended (trk end --run {open_run})\n")
    assert call("delete", "@").code == 7
    assert call("end", "--run", open_run, "-q").code == 0
    assert call("delete", "@last", "-q").code == 0


def test_a_deleted_run_takes_nothing_and_nobody(call: Any, ended_run: str) -> None:
    call("delete", "one")
    for verb in ("attach", "resume"):
        done = call(verb, "one")
        assert (done.code, done.err) == (7, f"trk: run {ended_run} is deleted (trk restore {ended_run})\n")
    for words in (("log-metric", "f1", "1"), ("log-param", "lr", "1"), ("set-tag", "a", "b"), ("end",)):
        assert call(*words, "--run", ended_run).code == 7
    status = call("status", "--run", ended_run)  # what is delivered of it can be asked
    assert (status.code, "FINISHED, deleted (trk restore" in status.err) == (0, True)
    assert call("status", "--run", ended_run, "--field", "deleted").out == "true\n"
    call("restore", "one")
    assert call("status", "--run", ended_run, "--field", "deleted").out == "false\n"


@mlflow
@pytest.mark.mlflow
def test_each_backend_is_told_and_named(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    run = trk.start("one")
    run.end(timeout=60)
    later = call("delete", "one", "--no-wait")
    assert (later.code, later.err) == (0, f"run one ({run.id}) deleted\nmlflow: not yet: trk sync tells it\n")
    assert call("restore", "one", "--no-wait", "--strict").code == 6
    done = call("delete", "one", "--strict")
    assert (done.code, done.err) == (0, f"run one ({run.id}) deleted\nmlflow: deleted\n")
    told = json.loads(call("restore", "one", "--json").out)["runs"][0]["backends"]["mlflow"]
    assert (told["pending"], told["delivered"]) == (0, told["logged"])


@mlflow
@pytest.mark.mlflow
def test_an_outage_is_a_warning_and_an_error_under_strict(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        run = trk.start("one")
        run.finish()
        done = call("delete", "one", "--timeout", "1")
        assert done.code == 0
        assert f"trk: warning: mlflow does not have {run.id} deleted yet: MLflow at {url}" in done.err
        assert done.err.endswith("; trk sync tells it\n")
        strict = call("restore", "one", "--timeout", "1", "--strict", "--json", "-q")
        assert (strict.code, json.loads(strict.err)["error"]["code"]) == (6, "not_delivered")
        assert json.loads(strict.out)["runs"][0]["deleted"] is False
        gone = call("delete", f"mlflow:{'0' * 32}", "--json", "--timeout", "1")
        assert (gone.code, json.loads(gone.err)["error"]["code"]) == (1, "source_unavailable")


@mlflow
@pytest.mark.mlflow
def test_what_was_so_already_is_looked_at_where_it_was_delivered(
    call: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    run = trk.start("one")
    remote_id = run.end(timeout=60).backends["mlflow"].run_id
    was_not = f"run one ({run.id}) was not deleted\n"
    assert call("restore", "one").err == was_not
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.delete_run(remote_id)
    assert call("restore", "one", "--no-wait").err == was_not
    assert client.get_run(remote_id).info.lifecycle_stage == "deleted"
    assert call("restore", "one", "--strict").err == f"{was_not}mlflow: restored: it had been deleted there alone\n"
    assert client.get_run(remote_id).info.lifecycle_stage == "active"
    call("delete", "one", "-q")
    client.restore_run(remote_id)
    was = f"run one ({run.id}) was deleted already\n"
    assert call("delete", run.id).err == f"{was}mlflow: deleted: it had been restored there alone\n"
    assert client.get_run(remote_id).info.lifecycle_stage == "deleted"
    assert call("delete", run.id).err == was


@mlflow
@pytest.mark.mlflow
def test_a_server_that_can_not_be_asked_is_not_said_to_have_it_restored(
    call: Any, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with Proxy(mlflow_server.port) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        run = trk.start("one")
        run.end(timeout=60, strict=True)
    done = call("restore", "one", "--timeout", "2")
    assert done.code == 0
    first, second = done.err.splitlines()
    assert first == f"run one ({run.id}) was not deleted"
    assert second.startswith(f"trk: warning: mlflow could not be asked whether {run.id} is deleted there: ")
    assert call("restore", "one", "--timeout", "2", "--strict").code == 6
