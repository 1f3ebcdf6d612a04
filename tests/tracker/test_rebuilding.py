"""Runs go to another server: from the journal everything of them is there, once, and the old one is not asked."""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trk
from everything import log_everything
from helpers import started, until
from servers.mlflow_server import MlflowServer, closed_port
from trk import config, session
from trk.delivery.lock import DeliverLock
from trk.errors import Conflict, NotFound, UsageError
from trk.journal import cursors, read
from trk.journal.db import Journal
from trk.run import Run

pytest.importorskip("mlflow", reason="mlflow is not installed")


def client(uri: str) -> Any:
    """MLflow's own client."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


@pytest.fixture
def stores(empty_store: Callable[..., str], tmp_path: Path) -> tuple[str, str]:
    """The addresses of two databases of MLflow."""
    return empty_store(tmp_path / "a"), empty_store(tmp_path / "b")


def journal() -> Journal:
    found = session.existing_journal(session.find_folder())
    assert found is not None
    return found


def ended(store: str, name: str = "one", **more: Any) -> Run:
    run = trk.start(name, experiment="moved", backends="mlflow", mlflow_uri=store, **more)
    run.log_metrics({"loss": 0.5, "f1": 0.1})
    run.log_param("name", name)
    run.end(strict=True, timeout=60)
    return run


def names(uri: str) -> list[str]:
    """The names of all runs of this journal at a server, each as often as it is there."""
    asked, ours = client(uri), {run.run_id for run in trk.search(source="local")}
    experiments = [one.experiment_id for one in asked.search_experiments()]
    found = asked.search_runs(experiments)
    return sorted(run.info.run_name for run in found if run.data.tags.get("trk.run_id") in ours)


def ok(run: Run | str) -> bool:
    found = trk.verify(run)[0]
    return found.ok and found.backends["mlflow"].pending == 0


def test_a_server_that_is_lost_is_rebuilt_with_everything(
    stores: tuple[str, str], tmp_path: Path, mlflow_server: MlflowServer
) -> None:
    parent = trk.start("parent", experiment="moved", backends="mlflow", mlflow_uri=stores[0])
    child = trk.start("child", parent=parent, backends="mlflow", mlflow_uri=stores[0])
    log_everything(child)
    child.end(strict=True, timeout=60)
    parent.log_metric("total", 1.0)
    parent.end(strict=True, timeout=60)
    shutil.rmtree(tmp_path / "a")
    records = trk.sync(to="mlflow", uri=mlflow_server.url, timeout=120, strict=True)
    assert [record.name for record in records] == ["parent", "child"]
    assert ok(parent)
    assert ok(child)
    here = {record.name: record.backends["mlflow"] for record in records}
    there = client(mlflow_server.url).get_run(here["child"].run_id)
    assert there.data.tags["mlflow.parentRunId"] == here["parent"].run_id
    assert client(mlflow_server.url).get_experiment(there.info.experiment_id).tags["trk.mode.loss"] == "min"
    assert (here["child"].url or "").startswith(mlflow_server.url)
    trk.sync(to="mlflow", uri=mlflow_server.url, timeout=60, strict=True)
    assert names(mlflow_server.url) == ["child", "parent"]
    assert not (tmp_path / "a").exists()


def test_what_is_logged_later_goes_to_the_new_place_and_the_old_one_stays(stores: tuple[str, str]) -> None:
    run = trk.start("open", experiment="moved", backends="mlflow", mlflow_uri=stores[0])
    run.log_metric("loss", 1.0)
    trk.sync(run.id, strict=True)
    old = run.record.backends["mlflow"].run_id
    before = client(stores[0]).get_run(old).to_dictionary()
    trk.sync(run.id, to="mlflow", uri=stores[1], strict=True)
    run.log_metric("loss", 2.0)
    run.end(strict=True)
    assert ok(run)
    assert client(stores[0]).get_run(old).to_dictionary() == before
    new = run.record.backends["mlflow"].run_id
    assert len(client(stores[1]).get_metric_history(new, "loss")) == 2


def test_runs_that_went_nowhere_get_it_and_deleted_ones_are_left(stores: tuple[str, str]) -> None:
    with trk.start("local", backends="none") as local:
        local.log_metric("f1", 1.0)
    gone = ended(stores[0], "gone")
    trk.delete(gone.id)
    back = ended(stores[0], "back")
    trk.delete(back.id)
    trk.restore(back.id)
    trk.sync(to="mlflow", uri=stores[1], strict=True)
    assert names(stores[1]) == ["back", "local"]
    assert (ok(local), ok(back)) == (True, True)
    assert read.targets(journal(), gone.id)["mlflow"]["tracking_uri"] == stores[0]
    with pytest.raises(NotFound, match="is deleted"):
        trk.sync(gone.id, to="mlflow", uri=stores[1])


def test_one_run_alone_goes_and_comes_back_without_a_double(stores: tuple[str, str]) -> None:
    run, other = ended(stores[0]), ended(stores[0], "other")
    trk.sync(run.id, to="mlflow", uri=stores[1], strict=True)
    assert (names(stores[1]), ok(run), ok(other)) == (["one"], True, True)
    trk.sync(to="mlflow", uri=stores[0], strict=True)
    assert (names(stores[0]), ok(run)) == (["one", "other"], True)


def test_runs_of_other_programs_are_left_out_and_named(
    stores: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = client(stores[0])
    theirs = asked.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stores[0])
    attached = trk.attach(f"mlflow:{theirs}")
    attached.log_metric("f1", 1.0)
    ended(stores[0])
    said: list[str] = []
    trk.sync(to="mlflow", uri=stores[1], strict=True, warn=said.append)
    assert said == [f"run mlflow:{theirs} belongs to another program: it stays where it is"]
    assert names(stores[1]) == ["one"]
    assert read.targets(journal(), attached.id)["mlflow"]["tracking_uri"] == stores[0]
    with pytest.raises(Conflict, match="belongs to another program"):
        trk.sync(attached.id, to="mlflow", uri=stores[1])
    with pytest.warns(UserWarning, match="belongs to another program"):
        trk.sync(to="mlflow", uri=stores[1])


def test_the_direction_that_was_defined_last_counts_whatever_run_said_so(stores: tuple[str, str]) -> None:
    first = trk.start("first", experiment="moved", backends="mlflow", mlflow_uri=stores[0])
    second = trk.start("second", experiment="moved", backends="mlflow", mlflow_uri=stores[0])
    second.define_metric("score", mode="max")
    first.define_metric("score", mode="min")
    first.end(strict=True)
    second.end(strict=True)
    trk.sync(to="mlflow", uri=stores[1], strict=True)
    (found,) = [one for one in client(stores[1]).search_experiments() if one.name == "moved"]
    assert found.tags["trk.mode.score"] == "min"


def test_an_experiment_that_is_deleted_there_waits_and_says_so(stores: tuple[str, str]) -> None:
    run = ended(stores[0])
    asked = client(stores[1])
    experiment = asked.create_experiment("moved")
    asked.delete_experiment(experiment)
    trk.sync(to="mlflow", uri=stores[1], timeout=30)
    state = run.record.backends["mlflow"]
    assert (state.pending, state.rejected) == (state.logged, 0)
    assert "experiment 'moved' was deleted there" in (state.last_error or "")
    asked.restore_experiment(experiment)
    trk.sync(strict=True)
    assert ok(run)


def test_what_gc_removed_is_rejected_with_that_reason(stores: tuple[str, str]) -> None:
    run = trk.start("one", experiment="moved", backends="mlflow", mlflow_uri=stores[0])
    log_everything(run)
    run.end(strict=True, timeout=60)
    removed = trk.gc(older_than=0).removed
    assert removed > 5
    assert ok(run), "hashes are compared, not the bytes that were here"
    trk.sync(to="mlflow", uri=stores[1])
    state = run.record.backends["mlflow"]
    assert (state.pending, {one.kind for one in state.rejections}) == (0, {"html", "image", "artifact"})
    reasons = {one.reason.partition(": ")[2] for one in state.rejections}
    assert reasons == {f"its bytes were removed by trk gc, after mlflow at {stores[0]} had them"}
    found = trk.verify(run)[0].backends["mlflow"]
    assert (found.ok, found.rejected) == (True, len(state.rejections))


def test_what_is_asked_wrongly_changes_nothing(stores: tuple[str, str]) -> None:
    run = ended(stores[0])
    with pytest.raises(UsageError, match="--uri is an address of a backend"):
        trk.sync(uri=stores[1])
    with pytest.raises(UsageError, match="memory has no address"):
        trk.sync(to="memory", uri=stores[1])
    for wrong in ("", " ", "a\nb", "a\x1bb"):
        with pytest.raises(UsageError):
            trk.sync(to="mlflow", uri=wrong)
    assert read.targets(journal(), run.id)["mlflow"]["tracking_uri"] == stores[0]


def test_while_another_process_delivers_nothing_is_changed(stores: tuple[str, str]) -> None:
    run = ended(stores[0])
    lock = DeliverLock(run.folder)
    assert lock.acquire(0)
    with pytest.raises(Conflict, match="another process has been delivering"):
        trk.sync(to="mlflow", uri=stores[1], timeout=0.3)
    lock.release()
    assert read.targets(journal(), run.id)["mlflow"]["tracking_uri"] == stores[0]
    trk.sync(to="mlflow", uri=stores[1], strict=True)
    assert ok(run)


def test_a_server_that_is_down_gets_it_later(stores: tuple[str, str]) -> None:
    run = ended(stores[0])
    trk.sync(to="mlflow", uri=f"http://127.0.0.1:{closed_port()}", timeout=0.5)
    state = run.record.backends["mlflow"]
    assert (state.run_id, state.delivered, state.pending) == (None, 0, state.logged)
    assert state.last_error


def test_who_knew_that_a_run_goes_elsewhere_does_not_get_it(stores: tuple[str, str]) -> None:
    run = trk.start("one", backends="mlflow", mlflow_uri=stores[0])
    run.log_metric("loss", 1.0)
    known = cursors.pending(journal())
    assert cursors.refreshed(journal(), known) != []
    target = config.as_text(config.target("mlflow", config.resolve(run.folder, mlflow_uri=stores[1])))
    assert cursors.point(journal(), "mlflow", target, None).runs == (run.id,)
    assert cursors.refreshed(journal(), known) == []
    assert cursors.point(journal(), "mlflow", target, None).there == (run.id,)


def test_the_session_says_where_its_run_goes_now(stores: tuple[str, str]) -> None:
    run = trk.start("one", backends="mlflow", mlflow_uri=stores[0], shell_session=True)
    trk.sync(to="mlflow", uri=stores[1], strict=True)
    assert session.load(run.folder)["delivery"]["mlflow"]["tracking_uri"] == stores[1]


# ---- user and password


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str | None]]]:
    """A server that lets nobody in; (its port, what it was told of who asks)."""
    told: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers["Authorization"])
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], told
        server.shutdown()
        thread.join()


def test_user_and_password_are_used_and_kept_nowhere(
    listener: tuple[int, list[str | None]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, told = listener
    with trk.start("one", backends="none") as run:
        run.log_metric("loss", 1.0)
    monkeypatch.setattr("trk.addresses._told", {})
    trk.sync(to="mlflow", uri=f"http://me:hidden-word@127.0.0.1:{port}", timeout=20)
    assert set(told) == {"Basic bWU6aGlkZGVuLXdvcmQ="}
    assert run.record.backends["mlflow"].last_error
    kept = [path for path in project.rglob("*") if path.is_file() and b"hidden-word" in path.read_bytes()]
    assert kept == []
    assert read.targets(journal(), run.id) == {"mlflow": {"tracking_uri": f"http://127.0.0.1:{port}"}}


# ---- killed in the middle

SYNC = "import sys, trk; trk.sync(to='mlflow', uri=sys.argv[1], timeout=100)"


def test_killed_in_the_middle_and_run_again_everything_is_there_once(stores: tuple[str, str]) -> None:
    runs = []
    for number in range(3):
        run = trk.start(f"run {number}", experiment="moved", backends="none")
        for step in range(3000):
            run.log_metric("loss", float(step), step=step)
        run.end()
        runs.append(run)
    for delivered in (1, 2500, 5000):
        child = started(SYNC, stores[1])
        until(lambda at=delivered: delivered_rows() >= at or child.poll() is not None, 60)  # type: ignore[misc]  # noqa: B023
        child.send_signal(signal.SIGKILL)
        child.communicate()
    trk.sync(to="mlflow", uri=stores[1], strict=True, timeout=100)
    assert names(stores[1]) == ["run 0", "run 1", "run 2"]
    assert all(ok(run) for run in runs)


def delivered_rows() -> int:
    found: int = journal().read("SELECT coalesce(sum(cursor), 0) FROM deliveries")[0][0]
    time.sleep(0.01)
    return found


def test_the_target_that_is_kept_is_the_one_that_a_run_started_there_would_have(stores: tuple[str, str]) -> None:
    moved, new = ended(stores[0]), trk.start("new", backends="mlflow", mlflow_uri=stores[1])
    trk.sync(moved.id, to="mlflow", uri=stores[1], strict=True)
    kept = [journal().read("SELECT target FROM deliveries JOIN runs USING (run) WHERE run_id = ?", (one.id,))[0][0]
            for one in (moved, new)]  # fmt: skip
    assert kept[0] == kept[1]
    assert json.loads(kept[0])["tracking_uri"] == stores[1]
