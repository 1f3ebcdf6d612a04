"""The MLflow backend keeps the contract on an embedded store and on a real server, and what only it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from contract.mlflow_client import client, downloaded, read_back
from faults.harness.proxy import Proxy
from servers.mlflow_server import FaultServer, MlflowServer
from trk.backends.mlflow import MlflowBackend
from trk.errors import (
    BackendNeedsUser,
    BackendRefused,
    BackendRunGone,
    BackendUnavailable,
    SourceUnavailable,
    UsageError,
)
from trk.query.backed import BackendSource
from trk.records import Kind, RemoteRun, Row, RunSpec, Status
from trk.testing import NOON, Arrived, BackendContract, entry, metric

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def server(mlflow_server: MlflowServer) -> MlflowServer:
    return mlflow_server


class OnMlflow(BackendContract):
    target: dict[str, str]

    @property
    def uri(self) -> str:
        return self.target["tracking_uri"]

    def make_backend(self) -> MlflowBackend:
        return MlflowBackend(self.target)

    def read_back(self, remote_id: str) -> Arrived:
        return read_back(self.uri, remote_id)

    def delete_remotely(self, remote_id: str) -> None:
        client(self.uri).delete_run(remote_id)

    def read_file(self, remote_id: str, kind: Kind, path: str) -> bytes | None:
        return downloaded(self.uri, remote_id, path)

    def read_table(self, remote_id: str, path: str) -> tuple[list[str], list[list[Any]]]:
        found = json.loads(downloaded(self.uri, remote_id, path) or b"")
        return found["columns"], found["data"]

    def artifact(self, remote_id: str, path: str, folder: Path) -> str:
        from mlflow.artifacts import download_artifacts

        local = download_artifacts(run_id=remote_id, artifact_path=path, dst_path=str(folder), tracking_uri=self.uri)
        return Path(local).read_text()

    def read_long_param(self, remote_id: str, key: str) -> str:
        text = client(self.uri).get_run(remote_id).data.params[key]
        named = re.fullmatch(r"sha256:[0-9a-f]{64} \(\d+ characters, in artifact (trk/long/param/.*)\)", text)
        assert named is not None, text
        with tempfile.TemporaryDirectory() as here:
            return self.artifact(remote_id, named[1], Path(here))


class TestEmbedded(OnMlflow):
    @pytest.fixture(autouse=True)
    def _target(self, folder: Path) -> None:
        # Neither folder exists: the backend makes both.
        self.target = {
            "tracking_uri": f"sqlite:///{folder}/deep/er/mlflow.db",
            "artifact_root": f"{folder}/deep/artifacts",
        }

    def test_artifacts_lie_under_the_root_wherever_the_store_was_opened(self, folder: Path) -> None:
        run = self.delivered([metric(1, "f1", 0.5)])
        found = client(self.uri).get_run(run.remote_id)
        assert found.info.artifact_uri.removeprefix("file://").startswith(f"{folder}/deep/artifacts/")
        default = client(self.uri).get_experiment("0")
        assert default.artifact_location.removeprefix("file://") == f"{folder}/deep/artifacts/0"

    def test_an_embedded_run_has_no_address(self) -> None:
        assert self.make_backend().open(self.spec()).url is None


class TestServer(OnMlflow):
    @pytest.fixture(autouse=True)
    def _target(self, server: MlflowServer) -> None:
        self.target = {"tracking_uri": server.url}

    def test_the_address_of_a_run_leads_to_the_server(self) -> None:
        run = self.make_backend().open(self.spec())
        assert run.url == f"{self.uri}/#/experiments/{run.experiment_id}/runs/{run.remote_id}"


@pytest.fixture
def store(folder: Path) -> MlflowBackend:
    return MlflowBackend({"tracking_uri": f"sqlite:///{folder}/deep/er/mlflow.db"})


def spec(name: str, **changes: Any) -> RunSpec:
    given: dict[str, Any] = {"name": name, "experiment": f"of {name}", "start_ms": NOON}
    return RunSpec(run_id=f"id{name}", **given | changes)


def embedded(folder: Path) -> Any:
    return client(f"sqlite:///{folder}/deep/er/mlflow.db")


# -- what only MLflow's backend promises ------------------------------------------------------------------------


def test_the_run_carries_its_identity_and_no_secret(
    store: MlflowBackend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--api-key", "hunter2"])
    run = store.open(spec("tagged", description="why"))
    found = embedded(folder).get_run(run.remote_id)
    assert found.data.tags["trk.run_id"] == "idtagged"
    assert found.data.tags["mlflow.note.content"] == "why"
    assert found.data.tags["mlflow.user"]
    assert found.info.run_name == "tagged"
    assert found.info.start_time == NOON
    assert "hunter2" not in json.dumps(found.to_dictionary())


def test_of_runs_with_one_trk_id_one_is_taken_and_the_empty_ones_are_deleted(
    store: MlflowBackend, folder: Path
) -> None:
    first = store.open(spec("doubled"))
    store.deliver(first, [metric(1, "f1", 0.5)])
    tags = {"trk.run_id": "iddoubled"}
    double = embedded(folder).create_run(first.experiment_id, tags=tags, start_time=NOON - 5)
    assert store.open(spec("doubled")).remote_id == first.remote_id
    assert embedded(folder).get_run(double.info.run_id).info.lifecycle_stage == "deleted"
    assert store.open(spec("doubled")).remote_id == first.remote_id


def test_an_answer_that_is_lost_makes_no_second_run(server: MlflowServer) -> None:
    with FaultServer(upstream=f"127.0.0.1:{server.port}") as between:
        between.lose = lambda path: path.endswith("/runs/create")
        backend = MlflowBackend({"tracking_uri": between.url})
        with pytest.raises(BackendUnavailable):
            backend.open(spec("lost"))
        assert sum(path.endswith("/runs/create") for path in between.requests) == 1
        run = backend.open(spec("lost"))
    assert run.experiment_id is not None
    found = client(server.url).search_runs([run.experiment_id])
    assert [each.info.run_id for each in found] == [run.remote_id]


def test_a_deleted_run_is_told_with_the_command_that_restores_it(store: MlflowBackend, folder: Path) -> None:
    run = store.open(spec("deleted"))
    embedded(folder).delete_run(run.remote_id)
    for call in (
        lambda: store.open(spec("deleted")),
        lambda: store.open(spec("deleted", remote_id=run.remote_id)),
        lambda: store.deliver(run, [metric(1, "f1", 0.5)]),
    ):
        with pytest.raises(BackendRunGone) as caught:
            call()
        assert f"mlflow runs restore --run-id {run.remote_id}" in str(caught.value.hint)


def test_a_run_that_never_was_is_gone(store: MlflowBackend, server: MlflowServer) -> None:
    for backend in (store, MlflowBackend({"tracking_uri": server.url})):
        with pytest.raises(BackendRunGone):
            backend.open(spec("never", remote_id="0" * 32))
        with pytest.raises(BackendRunGone):
            backend.deliver(RemoteRun("never", "0" * 32, None, "1"), [metric(1, "f1", 0.5)])


def test_a_deleted_experiment_is_told_with_the_command_that_restores_it(store: MlflowBackend, folder: Path) -> None:
    run = store.open(spec("homeless"))
    embedded(folder).delete_experiment(run.experiment_id)
    for call in (
        lambda: store.open(spec("homeless")),
        lambda: store.open(spec("homeless", remote_id=run.remote_id)),
        lambda: store.deliver(run, [metric(1, "f1", 0.5)]),
        lambda: store.deliver(run, [entry(1, Kind.DEFINE, "f1", '{"mode":"max"}')]),
    ):
        with pytest.raises(BackendNeedsUser) as caught:
            call()
        assert f"mlflow experiments restore --experiment-id {run.experiment_id}" in str(caught.value.hint)
    embedded(folder).restore_experiment(run.experiment_id)
    assert store.open(spec("homeless")).remote_id == run.remote_id


def test_an_experiment_that_somebody_else_just_made_is_found(store: MlflowBackend, folder: Path) -> None:
    barrier = threading.Barrier(4)
    remote: list[str] = []

    def start(number: int) -> None:
        backend = MlflowBackend({"tracking_uri": f"sqlite:///{folder}/deep/er/mlflow.db"})
        barrier.wait()
        remote.append(backend.open(spec(f"racer{number}", experiment="raced for")).remote_id)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(remote)) == 4


def test_long_tags_go_whole_into_an_artifact(store: MlflowBackend, folder: Path, tmp_path: Path) -> None:
    long = "ü" * 8001
    run = store.open(spec("long"))
    store.deliver(run, [entry(1, Kind.TAG, "a/prompt", long), entry(2, Kind.TAG, "short", "x" * 8000)])
    tags = embedded(folder).get_run(run.remote_id).data.tags
    assert tags["short"] == "x" * 8000
    assert tags["a/prompt"].endswith("(8001 characters, in artifact trk/long/tag/prompt-25b897c71ddc.txt)")
    path = embedded(folder).download_artifacts(run.remote_id, "trk/long/tag/prompt-25b897c71ddc.txt", str(tmp_path))
    assert Path(path).read_text() == long


def test_a_name_too_long_for_a_file_is_hashed(store: MlflowBackend, folder: Path) -> None:
    run, name = store.open(spec("longname")), "ü" * 250
    store.deliver(run, [entry(1, Kind.PARAM, name, "x" * 6001)])
    text = embedded(folder).get_run(run.remote_id).data.params[name]
    assert re.search(r"in artifact trk/long/param/ü{50}-[0-9a-f]{12}\.txt\)$", text)


def test_a_summary_becomes_a_tag_and_the_first_one_a_param(store: MlflowBackend, folder: Path) -> None:
    run = store.open(spec("summed"))
    store.deliver(run, [entry(1, Kind.SUMMARY, "verdict", '"bad"'), entry(2, Kind.SUMMARY, "sizes", "[1, 2]")])
    store.deliver(run, [entry(3, Kind.SUMMARY, "verdict", '"good"')])
    data = embedded(folder).get_run(run.remote_id).data
    assert data.tags["summary/verdict"] == "good"
    assert data.params == {"summary/verdict": "bad", "summary/sizes": "[1,2]"}


def test_a_param_that_differs_on_the_server_is_refused(store: MlflowBackend) -> None:
    run = store.open(spec("fixed"))
    store.deliver(run, [entry(1, Kind.PARAM, "lr", "database is locked")])
    store.deliver(run, [entry(1, Kind.PARAM, "lr", "database is locked")])
    with pytest.raises(BackendRefused, match="lr"):
        store.deliver(run, [entry(2, Kind.PARAM, "lr", "0.2")])
    with pytest.raises(BackendRefused, match="lr2"):
        store.deliver(run, [entry(3, Kind.PARAM, "lr2", "1"), entry(4, Kind.PARAM, "lr2", "2")])


def test_a_bad_name_is_refused_in_mlflows_words(store: MlflowBackend) -> None:
    run = store.open(spec("badname"))
    with pytest.raises(BackendRefused, match="loss\\*") as caught:
        store.deliver(run, [metric(1, "good", 1.0), metric(2, "loss*", 1.0)])
    assert "\n" not in caught.value.message


def test_full_batches_with_names_that_json_makes_long_fit(server: MlflowServer) -> None:
    backend = MlflowBackend({"tracking_uri": server.url})
    run = backend.open(spec("wide"))
    rows = [metric(n, f"模型/{n}/" + "模" * 240, 1.0) for n in range(1, 401)]
    rows += [entry(400 + n, Kind.TAG, f"t{n}", '"\\' * 1500) for n in range(1, 101)]
    backend.deliver(run, rows)
    data = client(server.url).get_run(run.remote_id).data
    assert len(data.metrics) == 400
    assert data.tags["t100"] == '"\\' * 1500


def test_definitions_without_a_direction_are_not_held(store: MlflowBackend) -> None:
    assert store.holds(entry(1, Kind.DEFINE, "f1", '{"mode":"max","step_metric":"epoch"}'))
    assert not store.holds(entry(1, Kind.DEFINE, "f1", '{"mode":null,"step_metric":"epoch"}'))
    assert not store.holds(entry(1, Kind.DEFINE, "f1", '{"step_metric":"epoch"}'))
    assert store.holds(entry(1, Kind.TAG, "a", "1"))


def test_a_store_that_was_deleted_while_open_is_noticed(tmp_path: Path) -> None:
    backend = MlflowBackend({"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    first = backend.open(spec("before"))
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(BackendRunGone):
        backend.deliver(first, [metric(1, "f1", 0.5)])
    again = backend.open(spec("after"))
    backend.deliver(again, [metric(1, "f1", 0.5)])
    fresh = MlflowBackend({"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    found = fresh.get("idafter")
    assert found is not None
    assert found.metrics == {"f1": 0.5}


@pytest.mark.parametrize("name", ["my höme #1", "100%20"])
def test_a_folder_with_an_odd_name_holds_database_and_artifacts(tmp_path: Path, name: str) -> None:
    backend = MlflowBackend({"tracking_uri": f"sqlite:///{tmp_path}/{name}/mlflow.db"})
    backend.deliver(backend.open(spec("odd")), [entry(1, Kind.PARAM, "p", "x" * 7000)])
    (database,) = tmp_path.rglob("mlflow.db")
    (artifact,) = tmp_path.rglob("p-*.txt")
    assert artifact.is_relative_to(database.parent / "mlruns")


def test_threads_with_an_instance_each_deliver_side_by_side(folder: Path) -> None:
    uri = f"sqlite:///{folder}/deep/er/mlflow.db"
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            backend = MlflowBackend({"tracking_uri": uri})
            run = backend.open(spec(f"thread{number}", experiment="threads"))
            for start in range(0, 300, 100):
                backend.deliver(run, [metric(n + 1, "loss", float(n), n) for n in range(start, start + 100)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    backend = MlflowBackend({"tracking_uri": uri})
    records = list(backend.search("threads", None))
    assert [len(backend.history(record, "loss")) for record in records] == [300] * 4


TALKING = """
import sys, warnings
from trk.backends.mlflow import MlflowBackend
from trk.errors import BackendUnavailable
from trk.records import Kind, Row, RunSpec
from trk.testing import entry, metric, status
from trk.records import Status
backend = MlflowBackend({"tracking_uri": sys.argv[1]})
spec = RunSpec("quiet1", "quiet", "quiet", 1700000000000)
run = backend.open(spec)
backend.deliver(run, [metric(1, "f1", 0.5), entry(2, Kind.PARAM, "p", "x" * 7000), status(3, Status.FINISHED)])
print(len(list(backend.search(None, None))))
assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in __import__("os").environ
"""


@pytest.mark.parametrize("where", ["embedded", "server"])
def test_nothing_of_mlflows_talk_reaches_the_terminal(where: str, server: MlflowServer, tmp_path: Path) -> None:
    uri = server.url if where == "server" else f"sqlite:///{tmp_path}/new.db"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", TALKING, uri],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) >= 1
    assert not (tmp_path / "mlruns" / "mlruns").exists()


def test_the_users_own_mlflow_may_still_talk(store: MlflowBackend, folder: Path, capfd: Any) -> None:
    import logging

    store.open(spec("talk"))
    logging.getLogger("mlflow.of.the.user").warning("still heard")
    assert "still heard" in capfd.readouterr().err


# -- as a source -------------------------------------------------------------------------------------------------


def test_a_run_that_trk_did_not_make_is_found_by_its_handle(store: MlflowBackend, folder: Path) -> None:
    mlflow = embedded(folder)
    experiment = mlflow.create_experiment("foreign")
    parent = mlflow.create_run(experiment, run_name="mother", start_time=NOON)
    child = mlflow.create_run(
        experiment,
        run_name="child",
        start_time=NOON + 1,
        tags={"mlflow.parentRunId": parent.info.run_id, "mlflow.source.name": "x.py", "mine": "1"},
    )
    mlflow.log_metric(child.info.run_id, "f1", 0.5, timestamp=NOON, step=2)
    handle = f"mlflow:{child.info.run_id}"
    for named in (handle, child.info.run_id):
        record = store.get(named)
        assert record is not None
        assert record.run_id == handle
        assert record.parent_id == f"mlflow:{parent.info.run_id}"
        assert record.tags == {"mine": "1"}
        assert record.end_time is None
    assert [point.step for point in store.history(record, "f1")] == [2]
    assert [found.name for found in store.search("foreign", None)] == ["child", "mother"]


def test_a_filter_goes_to_mlflow(store: MlflowBackend) -> None:
    for number, value in enumerate([0.2, 0.9]):
        run = store.open(spec(f"filtered{number}", experiment="filtered"))
        store.deliver(run, [metric(1, "f1", value), entry(2, Kind.PARAM, "model", "rf")])
    found = store.search("filtered", "metrics.f1 > 0.85 and params.model = 'rf'")
    assert [record.run_id for record in found] == ["idfiltered1"]
    with pytest.raises(UsageError):
        list(store.search("filtered", "metrics.f1 >"))


def test_search_pages_through_everything(store: MlflowBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    from trk.backends import _mlflow_pages, _mlflow_read

    for number in range(7):
        store.open(spec(f"paged{number}", experiment=f"pages {number % 3}", start_ms=NOON - 100_000 + number))
    monkeypatch.setattr(_mlflow_pages, "RUNS_PER_PAGE", 2)
    monkeypatch.setattr(_mlflow_read, "EXPERIMENTS_PER_PAGE", 2)
    monkeypatch.setattr(_mlflow_read, "EXPERIMENTS_PER_QUERY", 2)
    names = [record.name for record in store.search(None, None) if record.name.startswith("paged")]
    assert names == [f"paged{number}" for number in reversed(range(7))]


def test_copies_of_a_run_each_have_their_own_numbers(store: MlflowBackend, folder: Path) -> None:
    first = store.open(spec("copied"))
    store.deliver(first, [metric(1, "f1", 0.3)])
    tags = {"trk.run_id": "idcopied"}
    copy = embedded(folder).create_run(first.experiment_id, tags=tags, start_time=NOON + 5).info.run_id
    embedded(folder).log_metric(copy, "f1", 0.7, timestamp=NOON, step=0)
    found = {record.run_id: record for record in store.search("of copied", None)}
    assert {run_id: record.metrics["f1"] for run_id, record in found.items()} == {
        "idcopied": 0.3, f"mlflow:{copy}": 0.7,
    }  # fmt: skip
    assert {run_id: store.history(record, "f1")[0].value for run_id, record in found.items()} == {
        "idcopied": 0.3, f"mlflow:{copy}": 0.7,
    }  # fmt: skip
    again = store.get("idcopied")
    assert again is not None
    assert again.metrics == {"f1": 0.3}


def test_a_renamed_experiment_has_its_new_name_for_who_asks_anew(store: MlflowBackend, folder: Path) -> None:
    run = store.open(spec("renamed"))
    source = BackendSource(store, None, "{}")
    list(source.search(None, None))
    embedded(folder).rename_experiment(run.experiment_id, "another name")
    source.renew()
    found = source.get("idrenamed")
    assert found is not None
    assert found.experiment == "another name"


def test_a_long_history_comes_whole(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MlflowBackend({"tracking_uri": server.url})
    run = backend.open(spec("history"))
    for start in range(0, 3000, 1000):
        backend.deliver(run, [metric(n + 1, "loss", 1 / (n + 1), n, NOON - n) for n in range(start, start + 1000)])
    monkeypatch.setattr("mlflow.store.tracking.GET_METRIC_HISTORY_MAX_RESULTS", 700)
    record = backend.get("idhistory")
    assert record is not None
    points = backend.history(record, "loss")
    assert [point.step for point in points] == list(range(3000))
    assert record.metrics == {"loss": 1 / 3000}


def test_a_reopened_run_has_no_end(store: MlflowBackend) -> None:
    run = store.open(spec("reopened"))
    store.deliver(run, [Row(1, Kind.STATUS, NOON + 5, text="FINISHED")])
    ended = store.get("idreopened")
    assert ended is not None
    assert ended.duration_s == 0.005
    store.deliver(run, [Row(2, Kind.STATUS, NOON + 6, text="RUNNING")])
    running = store.get("idreopened")
    assert running is not None
    assert (running.status, running.end_time) == (Status.RUNNING, None)


def test_a_source_that_is_down_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with FaultServer() as broken:
        backend = MlflowBackend({"tracking_uri": broken.url})
        for call in (
            lambda: list(backend.search("any", None)),
            lambda: backend.get("0" * 32),
            lambda: backend.modes("any"),
        ):
            with pytest.raises(SourceUnavailable) as caught:
                call()
            assert caught.value.hint == "--source local"


def test_delivery_goes_on_when_the_server_comes_back(link: Proxy) -> None:
    backend = MlflowBackend({"tracking_uri": link.url})
    run = backend.open(spec("outage"))
    backend.deliver(run, [metric(1, "f1", 0.1, 0)])
    link.turn("refuse")
    try:
        with pytest.raises(BackendUnavailable, match="refused"):
            backend.deliver(run, [metric(2, "f1", 0.2, 1)])
    finally:
        link.turn("pass")
    backend.deliver(run, [metric(2, "f1", 0.2, 1)])
    assert len(read_back(link.url, run.remote_id).points) == 2


# -- what has to be installed ------------------------------------------------------------------------------------


def test_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"mlflow", "sqlalchemy", "alembic"}

    class Spec:
        origin = "somewhere"

    monkeypatch.setattr("trk.backends.mlflow.find_spec", lambda name: Spec() if name in there else None)
    database, server = {"tracking_uri": "sqlite:////x/mlflow.db"}, {"tracking_uri": "https://mlflow.example"}
    assert MlflowBackend.missing(database) is None
    there.remove("alembic")  # mlflow-skinny
    assert MlflowBackend.missing(database) == "trk-ml[mlflow]"
    assert MlflowBackend.missing({"tracking_uri": "postgresql+psycopg2://h/db"}) == "trk-ml[mlflow]"
    assert MlflowBackend.missing(server) is None
    there.remove("mlflow")
    assert MlflowBackend.missing(server) == "trk-ml[mlflow]"
