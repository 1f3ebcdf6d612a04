"""From a shell to MLflow, as users do it: the real command, a real store or server, and MLflow's own client to look."""

from __future__ import annotations

import functools
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk
from faults.harness.proxy import Proxy
from helpers import Course
from helpers import trk as command
from servers.mlflow_server import MlflowServer
from trk.journal import read
from trk.records import Delivery
from trk.tracker import find_journal

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

Point = tuple[str, int, int, float]
KILLS, MANY_KILLS = 4, 60  # in a short course, and in a long one
POINTS = 20_000


@functools.cache
def client(uri: str) -> Any:
    """MLflow's own client: what is read back with is not what delivers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


def there(uri: str, run_id: str) -> Any:
    """The one run that MLflow has for a trk run id; two would be a lie."""
    everything = 3  # MLflow's ViewType.ALL: the deleted ones, too
    everywhere = [found.experiment_id for found in client(uri).search_experiments(view_type=everything)]
    found = client(uri).search_runs(everywhere, f"tags.`trk.run_id` = '{run_id}'", run_view_type=everything)
    assert len(found) == 1
    return found[0]


def points_there(uri: str, run_id: str) -> list[Point]:
    """Every point that MLflow has of a run, as often as it has it."""
    run = there(uri, run_id)
    return sorted(
        (key, point.step, point.timestamp, point.value)
        for key in run.data.metrics
        for point in client(uri).get_metric_history(run.info.run_id, key)
    )


def points_logged(run_id: str) -> list[Point]:
    """Every point that the journal has of a run."""
    journal = journal_here()
    record = read.record(journal, run_id)
    assert record is not None
    found = [point for key in record.metrics for point in read.points(journal, run_id, key)]
    return sorted((point.metric, point.step, point.time_ms, point.value) for point in found)


def journal_here() -> Any:
    found = find_journal()
    assert found is not None
    return found[1]


def state(run_id: str) -> Delivery:
    record = read.record(journal_here(), run_id)
    assert record is not None
    found = record.backends["mlflow"]
    assert found.logged == found.delivered + found.pending + found.rejected + found.skipped
    return found


def logged_points(count: int, **more: Any) -> trk.Run:
    """An ended run with this many points."""
    run = trk.start(**more)
    for n in range(count):
        run.log_metric("loss", n / 7, step=n, timestamp=1_763_726_400_000 + n)
    run.finish()
    return run


# -- a shell script ---------------------------------------------------------------------------------------------------

SCRIPT = """
set -euo pipefail
points() { seq 0 $(($1 - 1)) | xargs -P 3 -I@ trk log-metrics loss=1.@ val/f1=0.@ --step @; }
FIRST=$(trk start first -e digits --param lr=0.10 --param note='two words' --tag stage=draft -q)
points 60
mkdir -p deep/er; cd deep/er
python -c "$POINTS" 60
trk log-params model=rf seed=007
trk set-tag stage 'über fertig'
trk set-tag gone soon; trk delete-tag gone
CHILD=$(trk start child --nested -q)
points 20
python -c "$POINTS" 20
trk log-summary verdict='ready to ship' score=0.5
trk end --failed --no-wait -q
trk end -q
cd ../..
THIRD=$(trk start third -e other -q)
points 25
python -c "$POINTS" 25
trk end --no-wait -q
trk sync --strict -q
echo $FIRST $CHILD $THIRD
"""
PROGRAM = """
import sys, trk
run = trk.attach()
for step in range(int(sys.argv[1]), 1000):
    run.log_metrics({"loss": 1 / (step + 1), "val/f1": step / 1000}, step=step)
"""


@pytest.fixture
def server(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> MlflowServer:
    """A server that runs, to which everything here is delivered."""
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    return mlflow_server


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], list[str]]:
    """Runs a script in bash with `trk` and `python` on its path; returns the words it printed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in {"trk": helpers.COMMAND, "python": [sys.executable]}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"

    def run(script: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", script],
            env=helpers.child_environment(PATH=path, POINTS=PROGRAM),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return run


def check_script(uri: str, ids: list[str]) -> None:
    for run_id in ids:
        arrived = points_there(uri, run_id)
        assert arrived == points_logged(run_id)
        assert {(key, step) for key, step, _, _ in arrived if key != "score"} == {
            (key, step) for key in ("loss", "val/f1") for step in range(1000)
        }
        assert len([point for point in arrived if point[0] != "score"]) == 2000
        assert (state(run_id).pending, state(run_id).rejected) == (0, 0)
    run, inner, other = (there(uri, run_id) for run_id in ids)
    assert run.data.params == {"lr": "0.10", "note": "two words", "model": "rf", "seed": "007"}
    assert [found.info.status for found in (run, inner, other)] == ["FINISHED", "FAILED", "FINISHED"]
    assert [found.info.run_name for found in (run, inner, other)] == ["first", "child", "third"]
    assert run.data.tags["stage"] == "über fertig"
    assert "gone" not in run.data.tags
    assert inner.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert inner.data.tags["summary/verdict"] == inner.data.params["summary/verdict"] == "ready to ship"
    assert inner.data.metrics["score"] == 0.5
    names = [client(uri).get_experiment(found.info.experiment_id).name for found in (run, inner, other)]
    assert names == ["digits", "digits", "other"]
    record = read.record(journal_here(), ids[0])
    assert record is not None
    assert record.start_time is not None
    assert record.end_time is not None
    assert (run.info.start_time, run.info.end_time) == tuple(
        round(moment.timestamp() * 1000) for moment in (record.start_time, record.end_time)
    )


def test_a_shell_script_arrives_whole_in_mlflows_own_store(
    shell: Callable[[str], list[str]], project: Path, detected_backends: None
) -> None:
    ids = shell(SCRIPT)
    check_script(f"sqlite:///{project}/mlflow.db", ids)
    # Part of it ran further down: neither a store nor an artifact root may follow the working directory.
    assert sorted(path.name for path in (project / "deep").rglob("*")) == ["er"]
    for experiment in client(f"sqlite:///{project}/mlflow.db").search_experiments():
        location = experiment.artifact_location.removeprefix("file://")
        assert location == f"{project}/mlruns/{experiment.experiment_id}"


def test_a_shell_script_arrives_whole_at_a_server(shell: Callable[[str], list[str]], server: MlflowServer) -> None:
    check_script(server.url, shell(SCRIPT))


# -- a server that is down ----------------------------------------------------------------------------------------


def test_an_outage_is_a_warning_and_sync_delivers_once_afterwards(
    server: MlflowServer, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", link.url)
    link.turn("refuse")
    runs = []
    for words, code in (((), 0), (("--strict",), 6)):
        runs.append(command("start", "-q").stdout.strip())
        assert command("log-metric", "loss", "0.5").returncode == 0
        with helpers.in_time(3):
            done = command("end", "--timeout", "3", *words)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert f"mlflow does not have 2 of 2 rows of {runs[-1]}" in done.stderr
        assert "connection refused" in done.stderr or "not done within 3 s" in done.stderr
        assert "trk sync" in done.stderr
    link.turn("pass")
    assert command("sync", "--strict", "--timeout", "60").returncode == 0
    for run_id in runs:
        assert points_there(server.url, run_id) == points_logged(run_id)
        assert there(server.url, run_id).info.status == "FINISHED"
    assert command("sync").stderr.strip() == "nothing is pending"


def test_a_server_that_is_stopped_and_started_during_delivery_gets_each_point_once(
    server: MlflowServer, course: Course
) -> None:
    run = logged_points(POINTS)
    child = helpers.started("import trk; trk.sync(timeout=120)")
    for how, rows in ((signal.SIGKILL, 2000), (signal.SIGTERM, 9000))[: course.many(1, 2)]:
        helpers.until(lambda rows=rows: state(run.id).delivered > rows, 60)  # type: ignore[misc]
        server.stop(how)
        helpers.until(lambda: state(run.id).last_error is not None, 60)
        server.start()
    assert child.communicate(timeout=120) == ("", "")
    assert (state(run.id).delivered, state(run.id).pending) == (POINTS + 1, 0)
    assert points_there(server.url, run.id) == points_logged(run.id)


# -- mlflow that is not installed ---------------------------------------------------------------------------------

HIDING = """
import sys

class Hiding:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def test_without_mlflow_everything_is_recorded_and_delivered_when_it_is_there(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDING)
    hidden = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "hiding"), *helpers.source_roots()])}
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    run_id = command("start", "-q", env=hidden).stdout.strip()
    assert command("log-metric", "loss", "0.5", env=hidden).returncode == 0
    assert command("log-param", "lr", "0.1", env=hidden).returncode == 0
    done = command("end", env=hidden)
    assert done.returncode == 0
    assert "pip install 'trk-ml[mlflow]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert command("sync", "--strict", env=hidden).returncode == 6
    assert (state(run_id).pending, not (project / "mlflow.db").exists()) == (3, True)
    assert command("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    uri = f"sqlite:///{project}/mlflow.db"
    assert points_there(uri, run_id) == points_logged(run_id)
    assert there(uri, run_id).data.params == {"lr": "0.1"}


# -- deliverers that are killed -----------------------------------------------------------------------------------


def test_a_sync_killed_at_any_instant_leaves_each_point_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, course: Course
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    uri, dice = f"sqlite:///{project}/mlflow.db", course.dice
    run = logged_points(POINTS, params={"lr": 0.1})
    for kill in range(course.many(KILLS, MANY_KILLS)):
        before = state(run.id).delivered
        child = subprocess.Popen([*helpers.COMMAND, "sync", "-q", "--timeout", "100"], env=helpers.child_environment())
        if kill % 3:  # while points flow
            rows = before + dice.randrange(1, 2500)
            helpers.until(
                lambda rows=rows, child=child: state(run.id).delivered >= rows or child.poll() is not None, 90
            )  # type: ignore[misc]
            time.sleep(dice.random() * 0.05)
        else:  # while it starts, or makes the tables
            time.sleep(dice.uniform(0.5, 4))
        child.kill()
        child.wait()
        assert state(run.id).delivered >= before
    assert command("sync", "--strict", "-q", "--timeout", "100", timeout=120).returncode == 0
    assert (state(run.id).delivered, state(run.id).pending) == (POINTS + 2, 0)
    assert points_there(uri, run.id) == points_logged(run.id)
    assert there(uri, run.id).info.status == "FINISHED"


# -- one store for the rest, since making its tables takes seconds ------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "mlflow.db"


@pytest.fixture
def uri(database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return f"sqlite:///{database}"


def ended(experiment: str, value: float = 0.5) -> trk.Run:
    run = trk.start(experiment=experiment)
    run.log_metric("loss", value)
    run.end()
    return run


def test_a_deleted_run_rejects_what_comes_after_and_says_why(uri: str) -> None:
    run = trk.start(experiment="deleted run")
    run.log_metric("loss", 1.0)
    trk.sync(run.id)
    client(uri).delete_run(there(uri, run.id).info.run_id)
    run.log_metric("loss", 0.5)
    run.end()
    found = state(run.id)
    assert (found.delivered, found.rejected, found.pending) == (1, 2, 0)
    assert "was deleted there" in found.rejections[0].reason
    assert "runs restore --run-id" in str(found.last_error)
    assert len(points_there(uri, run.id)) == 1
    fine = ended("deleted run")
    assert state(fine.id).delivered == 2


def test_a_deleted_experiment_waits_for_the_user_and_holds_up_nobody_else(uri: str) -> None:
    before = ended("to be deleted")
    experiment_id = there(uri, before.id).info.experiment_id
    client(uri).delete_experiment(experiment_id)
    stuck, fine = ended("to be deleted"), trk.start(experiment="not deleted")
    fine.finish()
    trk.sync()
    assert (state(stuck.id).pending, state(fine.id).pending) == (2, 0)
    assert f"experiments restore --experiment-id {experiment_id}" in str(state(stuck.id).last_error)
    client(uri).restore_experiment(experiment_id)
    trk.sync()
    assert (state(stuck.id).pending, state(stuck.id).last_error) == (0, None)
    assert points_there(uri, stuck.id) == points_logged(stuck.id)


def test_a_long_param_arrives_as_its_hash_and_an_artifact(uri: str, tmp_path: Path) -> None:
    text = "prompt ü\n" * 2000
    with trk.start(experiment="long", params={"prompt": text, "lr": "0.1"}) as run:
        pass
    found = there(uri, run.id)
    assert found.data.params["lr"] == "0.1"
    shown = re.fullmatch(r"sha256:[0-9a-f]{64} \(18000 characters, in artifact (.*)\)", found.data.params["prompt"])
    assert shown is not None
    local = client(uri).download_artifacts(found.info.run_id, shown[1], str(tmp_path))
    assert Path(local).read_text(encoding="utf-8") == text
    assert run.record.params["prompt"] == text


def test_a_run_that_is_resumed_runs_again_and_ends_again(uri: str) -> None:
    first = ended("resumed")
    assert there(uri, first.id).info.status == "FINISHED"
    again = trk.resume(first.id)
    again.log_metric("loss", 0.25)
    trk.sync(first.id)
    assert there(uri, first.id).info.status == "RUNNING"
    again.end("FAILED")
    found = there(uri, first.id)
    assert (found.info.status, state(first.id).delivered) == ("FAILED", 5)
    assert [point[1:2] + point[3:] for point in points_there(uri, first.id)] == [(0, 0.5), (1, 0.25)]


def test_a_store_of_another_mlflow_waits_for_the_user_who_is_told_the_command(
    uri: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended("before the upgrade")
    old = tmp_path / "old.db"
    with sqlite3.connect(database) as source, sqlite3.connect(old) as target:
        source.backup(target)
        (current,) = target.execute("SELECT version_num FROM alembic_version").fetchone()
        target.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old}")
    run = ended("after the upgrade")
    assert state(run.id).pending == 2
    assert f"mlflow db upgrade sqlite:///{old}" in str(state(run.id).last_error)
    with sqlite3.connect(old) as target:
        target.execute("UPDATE alembic_version SET version_num = ?", (current,))
    trk.sync()
    assert state(run.id).pending == 0


def test_what_mlflow_refuses_is_rejected_and_the_rest_arrives(uri: str) -> None:
    run = trk.start(experiment="refused", params={"lr": "0.1"})
    trk.sync(run.id)
    # Somebody else set this param meanwhile, by MLflow's own client.
    client(uri).log_param(there(uri, run.id).info.run_id, "seed", "1")
    run.log_params({"seed": "2", "model": "rf"})
    run.log_metric("loss", 0.5)
    run.end()
    found = state(run.id)
    assert [(entry.kind, entry.key) for entry in found.rejections] == [("param", "seed")]
    assert (found.delivered, found.rejected, found.pending) == (4, 1, 0)
    assert there(uri, run.id).data.params == {"lr": "0.1", "seed": "1", "model": "rf"}
    assert there(uri, run.id).info.status == "FINISHED"


def test_a_child_whose_parent_goes_to_another_store_arrives_without_it(
    uri: str, tmp_path: Path, database: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    with sqlite3.connect(database) as source, sqlite3.connect(elsewhere) as target:
        source.backup(target)
    parent = trk.start(experiment="parents", mlflow_uri=f"sqlite:///{elsewhere}")
    child = trk.start(experiment="parents", parent=parent)
    child.end()
    parent.end()
    assert "mlflow.parentRunId" not in there(uri, child.id).data.tags
    assert there(f"sqlite:///{elsewhere}", parent.id).info.status == "FINISHED"
