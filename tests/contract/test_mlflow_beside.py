"""In a run of another program, what its owner put there is never replaced by what trk logs beside it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from contract.mlflow_client import client, downloaded
from servers.mlflow_server import MlflowServer
from trk.backends.mlflow import MlflowBackend
from trk.errors import BackendRefused
from trk.records import Kind, RemoteRun, Row, RunSpec
from trk.testing import NOON, files, logged, table

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]


@pytest.fixture(params=["embedded", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "embedded":
        return f"sqlite:///{tmp_path}/mlflow.db"
    server: MlflowServer = request.getfixturevalue("mlflow_server")
    return server.url


@pytest.fixture
def owner(uri: str) -> Any:
    """A run that MLflow's own client made, with a text, a folder and a table."""
    spec = RunSpec(run_id="first", name="first", experiment="first", start_ms=NOON)
    MlflowBackend({"tracking_uri": uri}).open(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own use of pandas and SQLAlchemy
        theirs = client(uri)
        run = theirs.create_run(theirs.get_experiment_by_name("first").experiment_id)
        theirs.log_text(run.info.run_id, "theirs", "note.txt")
        theirs.log_text(run.info.run_id, "theirs", "model/weights.bin")
        theirs.log_table(run.info.run_id, {"who": ["o1", "o2"]}, "eval.json")
    return run.info.run_id


@pytest.fixture
def attached(uri: str, owner: str) -> Callable[[str], tuple[MlflowBackend, RemoteRun]]:
    def attach(run_id: str) -> tuple[MlflowBackend, RemoteRun]:
        backend = MlflowBackend({"tracking_uri": uri})
        spec = RunSpec(run_id, "x", "first", NOON, remote_id=owner, external=True)
        return backend, backend.open(spec)

    return attach


def test_files_and_tables_of_the_owner_are_not_replaced(
    attached: Callable[[str], tuple[MlflowBackend, RemoteRun]], uri: str, owner: str, tmp_path: Path
) -> None:
    backend, run = attached("mine")
    taken = [
        files(1, Kind.TEXT, "note", logged(tmp_path, "note.txt", b"mine")),
        files(2, Kind.FILE, "model", logged(tmp_path, "model", b"mine")),
        files(3, Kind.FILE, "note.txt/x", logged(tmp_path, "note.txt/x", b"mine")),
        table(4, "eval", ["who"], [["mine"]]),
    ]
    for row in taken:
        with pytest.raises(BackendRefused, match=r"is the run's owner's.*: log it under another name"):
            backend.deliver(run, [row])
    assert downloaded(uri, owner, "note.txt") == b"theirs"
    assert downloaded(uri, owner, "model/weights.bin") == b"theirs"
    assert json.loads(downloaded(uri, owner, "eval.json") or b"")["data"] == [["o1"], ["o2"]]


def test_what_trk_logs_beside_them_goes_on_and_is_replaced_by_trk(
    attached: Callable[[str], tuple[MlflowBackend, RemoteRun]], uri: str, owner: str, tmp_path: Path
) -> None:
    backend, run = attached("mine")
    first: list[Row] = [
        files(1, Kind.TEXT, "mine", logged(tmp_path, "mine.txt", b"one")),
        table(2, "scores", ["n", "x"], [[1, float("nan")], [2, 0.5]]),
    ]
    for _ in range(2):  # the second time as after a kill: what lies there is just what is handed over
        backend.deliver(run, first)
        backend, run = attached("mine")
    longer = table(2, "scores", ["n", "x"], [[1, float("nan")], [2, 0.5], [3, 1.0]])
    backend.deliver(run, [longer])
    other = logged(tmp_path, "mine.txt", b"two")
    backend.deliver(run, [files(3, Kind.TEXT, "mine", replace(other, delivered=True))])
    assert downloaded(uri, owner, "mine.txt") == b"two"
    found = json.loads(downloaded(uri, owner, "scores.json") or b"")
    assert [row[0] for row in found["data"]] == [1, 2, 3]


def test_two_journals_in_one_run_do_not_replace_each_others_tables(
    attached: Callable[[str], tuple[MlflowBackend, RemoteRun]], uri: str, owner: str
) -> None:
    mine, run = attached("mine")
    mine.deliver(run, [table(1, "both", ["n"], [[1], [2]])])
    yours, theirs = attached("yours")
    for rows in ([[7]], [[1]], [[1], [3], [4]]):  # other rows, fewer, and more that begin alike
        with pytest.raises(BackendRefused, match=r"both\.json"):
            yours.deliver(theirs, [table(1, "both", ["n"], rows)])
    assert json.loads(downloaded(uri, owner, "both.json") or b"")["data"] == [[1], [2]]
