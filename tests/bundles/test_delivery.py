"""What a CI job logged is carried to a desk and delivered from there: once, whole, and to nobody but this place."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk
from bundles.tools import at, bundle, head, here, log_everything, row
from trk.errors import Conflict, UsageError

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]


def client(uri: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


def all_runs(uri: str) -> list[Any]:
    found = client(uri)
    ids = [one.experiment_id for one in found.search_experiments()]
    return list(found.search_runs(ids, order_by=["attributes.start_time"]))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """An MLflow store that nothing is in yet."""
    return f"sqlite:///{tmp_path}/store.db"


def test_everything_that_was_imported_is_delivered_and_verified(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_everything(at(tmp_path / "job", monkeypatch))
    trk.export_bundle(tmp_path / "b")
    at(tmp_path / "desk", monkeypatch)
    taken = trk.import_bundle(tmp_path / "b", backends="mlflow", mlflow_uri=uri)
    assert taken.pending == {"mlflow": taken.rows}
    for record in trk.sync(timeout=120, strict=True):
        assert record.backends["mlflow"].pending == 0
    done = trk.verify()
    assert len(done) == 3
    assert all(one.ok for one in done), done
    outer, inner, still_open = all_runs(uri)
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert still_open.info.status == "RUNNING"
    assert len(client(uri).get_metric_history(inner.info.run_id, "cv/loss")) == 1


def test_a_run_that_the_job_delivered_in_part_gets_the_rest_and_nothing_twice(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = at(tmp_path / "job", monkeypatch)
    run = trk.start("part", experiment="e", backends="mlflow", mlflow_uri=uri, params={"lr": "0.1"})
    for step in range(20):
        run.log_metric("loss", step / 2, timestamp=1_700_000_000 + step)
    (job / "f").write_text("hello")
    run.log_artifact("f", name="model", type="model")
    run.log_table("t", [[1], [2]], columns=["n"])
    trk.sync(timeout=120, strict=True)
    for step in range(20, 40):
        run.log_metric("loss", step / 2, timestamp=1_700_000_000 + step)
    run.log_table("t", [[3]], columns=["n"])
    run.finish()
    trk.export_bundle(tmp_path / "b", pending=True)
    at(tmp_path / "desk", monkeypatch)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    trk.import_bundle(tmp_path / "b")
    (record,) = trk.sync(timeout=120, strict=True)
    (theirs,) = all_runs(uri)
    assert record.backends["mlflow"].run_id == theirs.info.run_id
    history = client(uri).get_metric_history(theirs.info.run_id, "loss")
    assert [point.value for point in history] == [step / 2 for step in range(40)]
    assert theirs.info.status == "FINISHED"
    (verified,) = trk.verify()
    assert verified.ok, verified


JOB = """
set -eu
trap 'trk export --bundle "$OUT" -q' EXIT
trk start nightly -e digits --param lr=0.1 -q
for step in 1 2 3; do trk log-metrics loss=0.$((9 - step)) f1=0.$((92 + step)) --step "$step"; done
echo weights > model.pkl
trk log-artifact model.pkl --name classifier --type model -q
trk end -q --no-wait
"""
DESK = """
set -eu
trk import "$OUT" --json >imported.json
trk sync --timeout 120 --strict -q
trk verify -q
trk import - <"$OUT"
trk best --metric f1 --source local --field name
"""


def test_a_job_without_a_way_to_the_server_exports_and_a_desk_delivers(tmp_path: Path, uri: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/trk").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trk_cli "$@"\n')
    (tmp_path / "bin/trk").chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = helpers.child_environment(PATH=path, OUT=str(tmp_path / "runs.trk"))
    for name, script, more in (
        ("job", JOB, {"TRK_BACKENDS": "mlflow", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}),
        ("desk", DESK, {"TRK_BACKENDS": "mlflow", "MLFLOW_TRACKING_URI": uri}),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path / name, env=env | more, capture_output=True, text=True, timeout=240,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "nightly"
    (run,) = all_runs(uri)
    assert run.data.params == {"lr": "0.1"}
    assert [point.value for point in client(uri).get_metric_history(run.info.run_id, "f1")] == [0.93, 0.94, 0.95]
    assert [one.path for one in client(uri).list_artifacts(run.info.run_id, "classifier/v0")] == [
        "classifier/v0/model.pkl"
    ]


def test_a_run_of_another_program_is_left_out_unless_it_is_wanted(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = client(uri)
    owned = found.create_run("0", run_name="theirs")
    found.log_param(owned.info.run_id, "lr", "0.1")
    at(tmp_path / "job", monkeypatch)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = trk.attach(f"mlflow:{owned.info.run_id}")
    run.log_metric("f1", 0.5)
    trk.start("own").finish()
    trk.export_bundle(tmp_path / "b")
    desk = at(tmp_path / "desk", monkeypatch)
    taken = trk.import_bundle(tmp_path / "b")
    assert [one.name for one in taken.runs] == ["own"]
    assert [(one.run_id, one.name) for one in taken.left_out] == [(run.id, "theirs")]
    assert "--attached" in taken.left_out[0].reason
    with pytest.raises(UsageError, match="'mlflow' is not configured here"):
        trk.import_bundle(tmp_path / "b", attached=True, backends="none")
    taken = trk.import_bundle(tmp_path / "b", attached=True)
    assert [one.added for one in taken.runs] == [1, 0] or [one.added for one in taken.runs] == [0, 1]
    trk.sync(timeout=120, strict=True)
    history = found.get_metric_history(owned.info.run_id, "f1")
    assert [point.value for point in history] == [0.5]
    assert found.get_run(owned.info.run_id).info.status == "RUNNING"
    at(tmp_path / "job", monkeypatch)
    run.log_param("more", "x")
    trk.export_bundle(tmp_path / "c", run)
    at(desk, monkeypatch)
    assert trk.import_bundle(tmp_path / "c", attached=True).rows == 1
    record = trk.get_run(run.id, source="local")
    assert record.params == {"lr": "0.1", "more": "x"}  # the owner's, which came with the delivery, and ours
    assert record.metrics == {"f1": 0.5}
    trk.sync(timeout=120, strict=True)
    assert found.get_run(owned.info.run_id).data.params == {"lr": "0.1", "more": "x"}


def test_a_bundle_can_not_take_over_a_run_that_is_attached_to(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = client(uri).create_run("0")
    at(tmp_path / "desk", monkeypatch)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = trk.attach(f"mlflow:{owned.info.run_id}")
    theirs = head(external=1, status="RUNNING", end_time=None, handles=[["mlflow", owned.info.run_id]])
    with pytest.raises(Conflict, match=f"is attached to here as run {run.id}"):
        trk.import_bundle(bundle(tmp_path / "b", [theirs], [row()]), attached=True)
    for handle in (["mlflow", "../x"], ["mlflow", ""], ["../x", "1"], ["mlflow", 5], ["mlflow"], "mlflow:1"):
        bad = head(external=1, status="RUNNING", end_time=None, handles=[handle])
        with pytest.raises(UsageError):
            trk.import_bundle(bundle(tmp_path / "b", [bad], [row()]), attached=True)
    assert len(here().read("SELECT 1 FROM runs")) == 1
