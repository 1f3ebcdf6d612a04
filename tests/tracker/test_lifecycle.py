"""Deleting runs and restoring them: what is said of a deleted run, what is refused, and what MLflow then has."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from faults.harness.proxy import Proxy
from helpers import in_time, new_run
from helpers import trk as command
from servers.mlflow_server import closed_port
from trk import session
from trk.errors import Conflict, NotDelivered, NotFound, SourceUnavailable, UsageError
from trk.journal import lifecycle, read, write
from trk.journal.db import Journal
from trk.journal.select import resolve
from trk.tracker import find_journal

mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


def ended(name: str = "one", *, experiment: str = "digits", f1: float | None = None, **more: Any) -> trk.Run:
    """A run that has ended, and is not delivered yet."""
    run = trk.start(name, experiment=experiment, **more)
    if f1 is not None:
        run.log_metric("f1", f1)
    run.finish()
    return run


def kinds(run: trk.Run) -> list[str]:
    """What the journal's rows of a run say, in order."""
    key = read.run_key(run.journal, run.id)
    assert key is not None
    return [str(row.kind) for row in read.rows_after(run.journal, key, 0, 1000)]


def ids(records: list[trk.RunRecord]) -> list[str]:
    return [record.run_id for record in records]


# ---- in the journal


def test_a_deleted_run_is_in_no_answer_until_it_is_restored() -> None:
    best, other = ended("best", f1=0.9), ended("other", f1=0.5)
    (record,) = trk.delete("best")
    assert (record.run_id, record.status) == (best.id, "FINISHED")
    assert ids(trk.search()) == [other.id]
    assert trk.best("f1").runs[0].run.run_id == other.id
    assert trk.best("f1").without_metric == 0
    for ask in (lambda: trk.get_run(best.id), lambda: trk.get_run("best"), lambda: trk.history("f1", best.id)):
        with pytest.raises(NotFound, match=f"run {best.id} is deleted") as caught:
            ask()
        assert caught.value.hint == f"trk restore {best.id}"
    assert ids(trk.search(deleted=True)) == [best.id]
    (record,) = trk.restore(best.id)
    assert trk.best("f1").runs[0].run == record
    assert trk.search(deleted=True) == []
    assert kinds(best) == ["metric", "status", "delete", "restore"]


def test_deleted_runs_are_listed_by_filter_experiment_and_number_the_latest_deleted_first() -> None:
    runs = [ended(name, experiment=name[0], f1=0.1 * n) for n, name in enumerate(("a1", "a2", "b1", "b2"))]
    for run in (runs[1], runs[3], runs[0]):
        trk.delete(run)
        time.sleep(0.002)  # deleted at another millisecond
    assert ids(trk.search(deleted=True)) == [runs[0].id, runs[3].id, runs[1].id]
    assert ids(trk.search(deleted=True, experiment="a")) == [runs[0].id, runs[1].id]
    assert ids(trk.search("metrics.f1 > 0.2", deleted=True)) == [runs[3].id]
    assert ids(trk.search(deleted=True, sort="metrics.f1", n=2)) == [runs[0].id, runs[1].id]
    assert ids(trk.search(deleted=True, experiment="b", status="FAILED")) == []
    assert ids(trk.search(deleted=True, source="local", n=1)) == [runs[0].id]
    with pytest.raises(UsageError, match="in the journal"):
        trk.search(deleted=True, source="mlflow")


def test_what_is_so_already_is_fine_and_writes_nothing() -> None:
    run = ended()
    assert ids(trk.restore(run)) == [run.id]
    assert ids(trk.delete(run, run.id, "one")) == [run.id]  # named three times, it is one run
    assert ids(trk.delete(run)) == [run.id]
    assert kinds(run) == ["status", "delete"]


def test_an_open_run_is_not_deleted_and_nor_are_those_named_beside_it() -> None:
    first, running = ended("first"), trk.start("running")
    with pytest.raises(Conflict, match=f"run {running.id} has not ended") as caught:
        trk.delete(first, running)
    assert caught.value.hint == f"trk end --run {running.id}"
    for other, error in (("nobody", NotFound), ("mlflow:", UsageError), ("wandb:a/b", UsageError)):
        with pytest.raises(error):
            trk.delete(first.id, other)
    assert len(trk.search()) == 2
    with pytest.raises(UsageError, match="no run is named"):
        trk.delete()
    with running:
        pass
    assert ids(trk.delete("first", "running")) == [first.id, running.id]


def test_nothing_is_logged_into_a_deleted_run_nor_is_it_attached_to_or_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(f1=0.5)
    trk.delete(run)
    with pytest.raises(Conflict):
        run.log_metric("f1", 0.6)
    monkeypatch.setenv("TRK_RUN", run.id)
    with pytest.raises(Conflict):
        trk.attach()
    for go_in in (trk.attach, trk.resume, functools.partial(trk.resume, shell_session=True)):
        with pytest.raises(Conflict, match="is deleted") as caught:
            go_in(run.id)
        assert caught.value.hint == f"trk restore {run.id}"
    assert kinds(run) == ["metric", "status", "delete"]
    trk.restore(run)
    assert trk.resume(run.id).log_metric("f1", 0.6) == (6, 1)


def test_children_of_a_deleted_run_stay() -> None:
    parent = trk.start("parent")
    child = ended("child", parent=parent, f1=0.5)
    parent.finish()
    trk.delete(parent)
    assert ids(trk.search()) == [child.id]
    assert trk.get_run(child.id).parent_id == parent.id
    assert trk.best("f1").runs[0].run.run_id == child.id


def test_a_deleted_run_in_the_session_holds_up_nobody() -> None:
    run = trk.start("one", shell_session=True)
    write.set_status(run.journal, run.id, "FINISHED", write.now_ms())  # as another folder's session would
    assert session.active_run_id(run.folder, run.journal) == run.id
    trk.delete(run)
    assert session.active_run_id(run.folder, run.journal) is None
    session.push(run.folder, run.id)  # an older trk put it back
    other = trk.start("two", shell_session=True)
    assert trk.active_run() is not None
    assert session.load(run.folder)["active"] == [other.id]


def test_without_a_folder_there_is_nothing_to_delete(project: Path) -> None:
    with pytest.raises(NotFound):
        trk.delete("one")
    assert list(project.iterdir()) == []


def test_of_two_that_delete_one_run_at_once_one_does() -> None:
    run = ended()
    done = command("delete", run.id, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert lifecycle.set_deleted(run.journal, run.id, True) is None
    assert kinds(run) == ["status", "delete"]


# ---- which run is meant


def deleted_run(journal: Journal, name: str, **more: Any) -> str:
    run_id = new_run(journal, name, **more)
    write.set_status(journal, run_id, "FINISHED", 2_000)
    lifecycle.set_deleted(journal, run_id, True)
    return run_id


def test_a_name_means_the_run_that_is_not_deleted_and_the_deleted_one_to_restore(journal: Journal) -> None:
    gone, here = deleted_run(journal, "same"), new_run(journal, "same")
    assert resolve(journal, "same") == here
    assert resolve(journal, "same", deleted=True) == gone
    alone = deleted_run(journal, "alone")
    assert resolve(journal, "alone") == resolve(journal, "alone", deleted=True) == alone
    assert resolve(journal, gone) == resolve(journal, gone[:20], deleted=True) == gone
    assert resolve(journal, here, deleted=True) == here
    deleted_run(journal, "same")
    with pytest.raises(UsageError, match="several runs"):
        resolve(journal, "same", deleted=True)
    assert resolve(journal, "same") == here


def test_a_prefix_of_a_deleted_run_and_another_means_the_other(journal: Journal) -> None:
    fields = {"name": "a", "experiment": "e", "start_time": 1}
    gone, here = "abcd" + "0" * 22, "abcd" + "1" * 22
    for run_id in (gone, here):
        write.create_run(journal, run_id, fields, {}, {}, {})
    write.set_status(journal, gone, "FINISHED", 2)
    lifecycle.set_deleted(journal, gone, True)
    assert resolve(journal, "abcd") == here
    assert resolve(journal, "abcd", deleted=True) == gone


def test_last_is_the_last_that_is_not_deleted(journal: Journal) -> None:
    first = new_run(journal, "first")
    write.set_status(journal, first, "FINISHED", 1_000)
    gone = deleted_run(journal, "gone")
    assert resolve(journal, "@last") == first
    assert resolve(journal, "@last", deleted=True) == gone


# ---- at MLflow

ALL = 3  # MLflow's ViewType.ALL


@functools.cache
def client(uri: str) -> Any:
    """MLflow's own client: what is read back with is not what delivers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


def stages(uri: str, runs: Sequence[trk.Run] = ()) -> dict[str, str]:
    """By name, whether MLflow has each run, or each of these, as active or deleted."""
    experiments = [found.experiment_id for found in client(uri).search_experiments()]
    found = client(uri).search_runs(experiments, run_view_type=ALL)
    wanted = [run.id for run in runs]
    return {
        run.info.run_name: run.info.lifecycle_stage
        for run in found
        if not wanted or run.data.tags.get("trk.run_id") in wanted
    }


@pytest.fixture
def store(project: Path, empty_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow's own store in the project, to which everything is delivered."""
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    return empty_store(project)


@pytest.fixture
def foreign(store: str) -> Callable[[str], str]:
    """Makes a run with MLflow's own client; returns its handle."""

    def make(name: str) -> str:
        return f"mlflow:{client(store).create_run('0', run_name=name).info.run_id}"

    trk.start("first").end(timeout=60)  # which makes the store
    return make


@mlflow
@pytest.mark.mlflow
def test_a_run_is_deleted_and_restored_at_mlflow_too(store: str) -> None:
    run, other = ended("one", f1=0.9), ended("other", f1=0.1)
    trk.sync(strict=True, timeout=60)
    (record,) = trk.delete(run, strict=True)
    assert record.backends["mlflow"].pending == 0
    assert stages(store) == {"one": "deleted", "other": "active"}
    assert trk.best("f1").runs[0].run.run_id == other.id
    handle = f"mlflow:{record.backends['mlflow'].run_id}"
    for named in (run.id, "one", handle):
        with pytest.raises(NotFound, match="is deleted") as caught:
            trk.get_run(named)
        assert caught.value.hint == f"trk restore {run.id}"
    trk.restore(handle, strict=True)
    assert stages(store) == {"one": "active", "other": "active"}
    assert trk.best("f1").runs[0].run.run_id == trk.get_run(handle).run_id == run.id


@mlflow
@pytest.mark.mlflow
def test_a_run_that_was_never_delivered_arrives_whole_and_deleted(store: str) -> None:
    run = ended("one", f1=0.9, params={"lr": 0.1})
    (record,) = trk.delete(run, timeout=60, strict=True)
    found = client(store).get_run(record.backends["mlflow"].run_id)
    assert (found.info.lifecycle_stage, found.info.status) == ("deleted", "FINISHED")
    assert (found.data.metrics, found.data.params) == ({"f1": 0.9}, {"lr": "0.1"})
    trk.restore(run, strict=True)
    trk.delete(run, wait=False)
    trk.restore(run, wait=False)
    assert trk.get_run(run.id, source="local").backends["mlflow"].pending == 2
    trk.resume(run.id).log_metric("f1", 0.95)
    trk.sync(strict=True)
    assert stages(store) == {"one": "active"}
    assert client(store).get_run(record.backends["mlflow"].run_id).data.metrics == {"f1": 0.95}


@mlflow
@pytest.mark.mlflow
def test_without_waiting_the_next_sync_deletes_and_until_then_no_query_shows_it(store: str) -> None:
    run = ended("one", f1=0.9)
    trk.sync(strict=True, timeout=60)
    (record,) = trk.delete(run, wait=False)
    assert (record.backends["mlflow"].pending, stages(store)) == (1, {"one": "active"})
    with pytest.raises(NotDelivered):
        trk.restore(run, wait=False, strict=True)
    trk.delete(run, wait=False)
    assert ids(trk.sync(run.id)) == [run.id]
    assert stages(store) == {"one": "deleted"}


@mlflow
@pytest.mark.mlflow
def test_a_run_that_trk_did_not_make_is_deleted_by_its_handle(store: str, foreign: Callable[[str], str]) -> None:
    theirs = foreign("theirs")
    mine = ended("mine")
    records = trk.delete(theirs, mine)
    assert ids(records) == [theirs, mine.id]
    assert (records[0].name, records[0].source, records[0].backends) == ("theirs", "mlflow", {})
    assert stages(store) == {"first": "active", "mine": "deleted", "theirs": "deleted"}
    assert ids(trk.delete(theirs)) == [theirs]
    assert ids(trk.restore(theirs, "mine")) == [theirs, mine.id]
    assert set(stages(store).values()) == {"active"}


@mlflow
@pytest.mark.mlflow
def test_nothing_is_deleted_when_one_of_the_runs_is_nowhere(store: str, foreign: Callable[[str], str]) -> None:
    theirs = foreign("theirs")
    for wrong, error in ((f"mlflow:{'0' * 32}", NotFound), ("nobody", NotFound), ("mlflow:a'b", UsageError)):
        with pytest.raises(error):
            trk.delete(theirs, "first", wrong)
    assert set(stages(store).values()) == {"active"}
    assert trk.search(deleted=True) == []


@mlflow
@pytest.mark.mlflow
def test_a_handle_at_a_server_that_is_down_is_an_error_and_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended()
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(SourceUnavailable, match="connection refused"):
            trk.delete(run, f"mlflow:{'0' * 32}")
    assert trk.search(deleted=True) == []


@mlflow
@pytest.mark.mlflow
def test_what_is_deleted_while_the_server_is_down_is_deleted_there_by_sync(
    link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", link.url)
    runs = [ended(name, f1=0.5) for name in ("kept", "gone", "back")]
    trk.sync(strict=True, timeout=60)
    link.turn("refuse")
    with in_time(2):
        done = command("delete", "gone", "back", "--timeout", "2")
    assert (done.returncode, done.stdout) == (0, "")
    for run in runs[1:]:
        assert f"mlflow does not have {run.id} deleted yet" in done.stderr
    assert command("restore", "back", "--timeout", "1", "--strict", "-q").returncode == 6
    assert ids(trk.search(deleted=True)) == [runs[1].id]
    link.turn("pass")
    assert command("sync", "--strict", "--timeout", "60").returncode == 0
    assert stages(link.url, runs) == {"kept": "active", "gone": "deleted", "back": "active"}
    found = find_journal()
    assert found is not None
    for run in runs:
        state = read.record(found[1], run.id).backends["mlflow"]  # type: ignore[union-attr]
        assert (state.pending, state.rejected, state.delivered) == (0, 0, state.logged)
