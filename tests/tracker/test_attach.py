"""Attaching to runs that another program made: what trk logs arrives beside the owner's, whose run it stays."""

from __future__ import annotations

import functools
import json
import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from faults.harness.proxy import Proxy
from helpers import started
from helpers import trk as command
from servers.mlflow_server import FaultServer, MlflowServer, closed_port, http_answer
from trk import session
from trk.errors import Conflict, NotFound, SourceUnavailable, UsageError
from trk.journal import read
from trk.journal.select import resolve
from trk.run import Run
from trk.tracker import find_journal

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

UNKNOWN = f"mlflow:{'0' * 32}"


@functools.cache
def client(uri: str) -> Any:
    """MLflow's own client: the owner's, and what is read back with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


class Owner:
    """A program that has a run open at MLflow, and logs into it."""

    def __init__(self, uri: str, name: str = "by hand", experiment: str = "theirs") -> None:
        self.client = client(uri)
        found = self.client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else self.client.create_experiment(experiment)
        self.id = self.client.create_run(place, run_name=name, start_time=1_763_726_400_000).info.run_id
        self.handle = f"mlflow:{self.id}"

    def log(self, value: float, step: int, key: str = "loss") -> None:
        self.client.log_metric(self.id, key, value, step=step)

    @property
    def run(self) -> Any:
        return self.client.get_run(self.id)

    def points(self, key: str = "loss") -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in self.client.get_metric_history(self.id, key))


@pytest.fixture
def owner(project: Path, empty_store: Callable[..., str]) -> Owner:
    """The owner of a run at MLflow's own store in the project, with five points; trk's backends are not said."""
    made = Owner(empty_store(project))
    for step in range(5):
        made.log(1.0 - step / 10, step)
    return made


def kinds(run: Run) -> list[str]:
    """What the journal's rows of a run say, in order."""
    key = read.run_key(run.journal, run.id)
    assert key is not None
    return [str(row.kind) for row in read.rows_after(run.journal, key, 0, 1000)]


# ---- logging beside the owner


def test_what_is_logged_goes_on_after_the_owners_steps_and_the_run_stays_the_owners(owner: Owner) -> None:
    run = trk.attach(owner.handle)
    assert (run.name, run.experiment, run.status) == ("by hand", "theirs", "RUNNING")
    assert run.log_metric("loss", 0.5) == (1, 5)
    assert run.log_metrics({"loss": 0.4, "f1": 0.9}) == (2, 6)
    assert run.log_metric("f1", 0.8, step=2) == (3, 2)
    run.log_param("lr", 0.1)
    run.set_tag("stage", "dev")
    owner.log(0.3, 7)
    record = run.end(strict=True)
    assert record.status == "RUNNING"
    assert record.start_time is not None
    assert record.start_time.timestamp() == 1_763_726_400
    assert (record.backends["mlflow"].run_id, record.backends["mlflow"].delivered) == (owner.id, 5)
    assert owner.points() == [*((n, 1.0 - n / 10) for n in range(5)), (5, 0.5), (6, 0.4), (7, 0.3)]
    assert owner.points("f1") == [(2, 0.8), (6, 0.9)]
    there = owner.run
    assert (there.info.status, there.info.run_name, there.data.params) == ("RUNNING", "by hand", {"lr": "0.1"})
    assert there.data.tags["stage"] == "dev"
    assert "trk.run_id" not in there.data.tags


def test_attaching_again_is_the_same_run_and_catches_up_with_its_owner(owner: Owner) -> None:
    first = trk.attach(owner.handle)
    assert first.log_metric("loss", 0.5) == (1, 5)
    owner.log(0.1, 40)
    owner.log(float("nan"), 3, "f1")
    owner.log(float("inf"), 3, "cost")
    owner.client.update_run(owner.id, name="renamed")
    again = trk.attach(owner.handle)
    assert again.id == first.id
    assert again.name == "renamed"
    assert again.log_metric("loss", 0.05) == (2, 41)
    assert again.log_metrics({"f1": 1, "cost": 2}) == (3, 4)
    assert trk.attach(first.id).id == trk.attach("renamed").id == first.id
    owner.log(0.01, 7)  # earlier than what is known
    assert trk.attach(owner.handle).log_metric("loss", 0.02) == (4, 42)
    again.end(strict=True)
    assert [step for step, _ in owner.points()] == [0, 1, 2, 3, 4, 5, 7, 40, 41, 42]


def test_a_block_leaves_it_as_it_is_and_sync_delivers(owner: Owner) -> None:
    with trk.attach(owner.handle) as run:
        assert trk.active_run() is run
        run.log_metric("loss", 0.5)
    assert trk.active_run() is None
    assert run.status == "RUNNING"
    trk.sync(strict=True)
    assert owner.points()[-1] == (5, 0.5)


def test_nothing_of_trk_ever_ends_it(owner: Owner) -> None:
    run = trk.attach(owner.handle, shell_session=True)
    run.log_metric("loss", 0.5)
    other = trk.start("other", backends="none", shell_session=True, replace=True)
    assert session.load(run.folder)["active"] == [other.id]
    other.end()
    for status in ("FINISHED", "FAILED", "KILLED"):
        trk.attach(owner.handle, shell_session=True)
        if status == "FINISHED":
            run.end(status)
        else:
            with pytest.warns(UserWarning, match=f"{status} is ignored"):
                run.end(status)
        assert session.active_run_id(run.folder, run.journal) is None
    with pytest.raises(UsageError):
        run.end("ASLEEP")
    with pytest.raises(RuntimeError), trk.attach(owner.handle):
        raise RuntimeError("boom")
    with pytest.raises(Conflict) as caught:
        trk.resume(run.id)
    assert caught.value.hint == f"trk attach {run.id}"
    assert kinds(run) == ["metric"]
    assert (run.status, owner.run.info.status) == ("RUNNING", "RUNNING")


def test_the_owners_params_can_not_become_others_here_either(owner: Owner) -> None:
    owner.client.log_param(owner.id, "x", "y")
    run = trk.attach(owner.handle)
    with pytest.raises(Conflict, match="param x is already 'y'"):
        run.log_param("x", "z")
    assert run.log_param("x", "y") is None
    assert run.log_param("x", "z", if_exists="keep") is None
    assert run.log_param("x", "z", if_exists="suffix") == 1
    owner.client.log_param(owner.id, "later", "1")
    run = trk.attach(owner.handle)
    with pytest.raises(Conflict, match="param later is already '1'"):
        run.log_param("later", 2)
    assert run.record.params == {"later": "1", "x": "y", "x_2": "z"}
    assert run.end(strict=True).backends["mlflow"].rejected == 0
    assert owner.run.data.params == {"later": "1", "x": "y", "x_2": "z"}


def test_the_owners_tags_are_shown_and_those_that_are_set_here_stay(owner: Owner) -> None:
    for key in ("stage", "theirs", "gone"):
        owner.client.set_tag(owner.id, key, "first")
    run = trk.attach(owner.handle)
    assert run.record.tags == {"gone": "first", "stage": "first", "theirs": "first"}
    run.set_tag("stage", "ours")
    run.delete_tag("gone")
    owner.client.set_tag(owner.id, "theirs", "second")
    again = trk.attach(owner.handle)
    assert again.record.tags == {"stage": "ours", "theirs": "second"}
    owner.client.delete_tag(owner.id, "theirs")
    assert again.end(strict=True).tags == {"stage": "ours"}
    assert trk.search("tags.stage = 'ours'", source="local")[0].run_id == run.id


def test_a_param_that_was_logged_before_the_owners_was_known_gives_way(
    mlflow_server: MlflowServer, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(mlflow_server.url)
    owner.client.log_param(owner.id, "x", "y")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", link.url)
    link.turn("refuse")
    try:
        with pytest.warns(UserWarning, match="can't be asked for"):
            run = trk.attach(owner.handle)
        run.log_params({"x": "z", "own": "1"})
    finally:
        link.turn("pass")
    run = trk.attach(owner.handle)
    assert run.record.params == {"own": "1", "x": "y"}
    with pytest.raises(Conflict, match="param x is already 'y'"):
        run.log_param("x", "z")
    record = run.end(timeout=60)
    assert (record.backends["mlflow"].rejected, record.backends["mlflow"].delivered) == (1, 1)
    assert record.params == {"own": "1", "x": "y"}


# ---- its end, which is its owner's


def ended_ms(record: trk.RunRecord) -> int | None:
    return None if record.end_time is None else round(record.end_time.timestamp() * 1000)


def test_its_end_is_taken_over_when_it_is_attached_to_again(owner: Owner) -> None:
    run = trk.attach(owner.handle)
    assert (run.status, run.record.end_time) == ("RUNNING", None)
    owner.client.set_terminated(owner.id, "FAILED", end_time=1_763_726_460_000)
    with pytest.warns(UserWarning, match="has ended"):
        run = trk.attach(owner.handle)
    assert (run.status, run.record.duration_s) == ("FAILED", 60.0)
    assert [record.run_id for record in trk.search(status="FAILED", source="local")] == [run.id]
    owner.client.update_run(owner.id, status="RUNNING")
    assert (trk.attach(owner.handle).status, run.record.end_time) == ("RUNNING", None)


@pytest.mark.parametrize("how", ["end", "sync", "command"])
def test_its_end_is_taken_over_when_it_was_delivered(owner: Owner, how: str) -> None:
    run = trk.attach(owner.handle, shell_session=True)
    run.log_metric("loss", 0.5)
    owner.client.set_terminated(owner.id, "KILLED", end_time=1_763_726_460_000)
    assert run.status == "RUNNING"
    if how == "end":
        assert run.end(strict=True).status == "KILLED"
    elif how == "sync":
        trk.sync(strict=True)
    else:
        done = command("end", "--strict")
        assert done.returncode == 0
        assert "belongs to another program, which has ended it (KILLED)" in done.stderr
    assert (run.status, ended_ms(run.record)) == ("KILLED", 1_763_726_460_000)
    assert kinds(run) == ["metric"]
    with pytest.raises(Conflict, match="belongs to another program") as caught:
        trk.resume(run.id)
    assert caught.value.hint == f"trk attach {run.id}"
    assert owner.run.info.status == "KILLED"


def test_with_nothing_to_deliver_its_end_is_asked_for_all_the_same(owner: Owner) -> None:
    run = trk.attach(owner.handle)
    owner.client.set_terminated(owner.id)
    assert run.end(wait=False).status == "RUNNING"
    assert run.end(timeout=0).status == "RUNNING"
    assert run.end().status == "FINISHED"


def test_a_shell_whose_runs_owner_has_ended_it_goes_on_logging(owner: Owner) -> None:
    run = trk.attach(owner.handle, shell_session=True)
    owner.client.set_terminated(owner.id)
    run.log_metric("loss", 0.5)
    trk.sync(strict=True)
    assert run.status == "FINISHED"
    assert command("log-metric", "loss", "0.4").returncode == 0
    told = json.loads(command("status", "--json").stdout)
    assert (told["run_id"], told["status"], told["active"]) == (run.id, "FINISHED", True)
    assert [check.state for check in trk.doctor(20) if check.name == "session"] == ["ok"]
    with pytest.raises(Conflict, match="is active here"):
        trk.start("other", shell_session=True)
    with trk.start("child", nested=True, shell_session=True):
        pass
    assert session.active_run_id(run.folder, run.journal) == run.id
    assert command("end", "--strict").returncode == 0
    assert owner.points()[-2:] == [(5, 0.5), (6, 0.4)]
    assert session.active_run_id(run.folder, run.journal) is None


# ---- forgetting it


def test_deleting_it_forgets_the_attachment_and_touches_nothing_there(owner: Owner) -> None:
    run = trk.attach(owner.handle, shell_session=True)
    run.log_metric("loss", 0.5)
    (record,) = trk.delete(owner.handle, strict=True)
    assert record.run_id == run.id
    assert session.active_run_id(run.folder, run.journal) is None
    assert (kinds(run), owner.run.info.lifecycle_stage, len(owner.points())) == (["metric"], "active", 5)
    assert trk.search(source="local") == []
    assert [found.run_id for found in trk.search(deleted=True)] == [run.id]
    for go_in in (lambda: trk.attach(owner.handle), lambda: trk.attach(run.id), lambda: run.log_metric("loss", 0.4)):
        with pytest.raises(Conflict, match="is deleted") as caught:
            go_in()
        assert caught.value.hint == f"trk restore {run.id}"
    with pytest.raises(NotFound, match="is deleted"):
        trk.get_run(run.id, source="mlflow")
    there = trk.get_run(owner.handle, source="mlflow")
    assert (there.run_id, there.backends) == (owner.handle, {})
    assert [found.run_id for found in trk.search(source="mlflow")] == [owner.handle]
    assert trk.sync(strict=True) == []
    assert len(owner.points()) == 5
    trk.restore(owner.handle, strict=True)
    assert owner.points()[-1] == (5, 0.5)
    assert trk.attach(owner.handle).log_metric("loss", 0.4) == (2, 6)
    assert kinds(run) == ["metric", "metric"]


def test_deleting_one_that_has_ended_is_the_same_and_twice_is_fine(owner: Owner) -> None:
    run = trk.attach(owner.handle)
    owner.client.set_terminated(owner.id)
    run.end()
    for _ in range(2):
        assert [record.run_id for record in trk.delete(run, run.id)] == [run.id]
    assert owner.run.info.lifecycle_stage == "active"
    for _ in range(2):
        assert [record.run_id for record in trk.restore(run, wait=False)] == [run.id]
    assert kinds(run) == []


def test_a_mistyped_id_that_was_attached_to_in_an_outage_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.warns(UserWarning, match="can't be asked for"):
            run = trk.attach(UNKNOWN, shell_session=True)
        run.log_metric("loss", 0.5)
        trk.delete(run)
        assert trk.sync(timeout=0.5, strict=True) == []
        assert command("sync", "--strict").stderr == "nothing is pending\n"
        assert trk.search(deleted=True)[0].backends["mlflow"].pending == 1
        trk.restore(run, wait=False)
        (record,) = trk.sync(timeout=0.5)
        assert (record.run_id, record.backends["mlflow"].pending) == (run.id, 1)


def test_a_run_that_has_ended_there_takes_more_with_a_warning(owner: Owner) -> None:
    owner.client.set_terminated(owner.id, "FAILED")
    with pytest.warns(UserWarning, match="has ended"):
        run = trk.attach(owner.handle)
    run.log_metric("loss", 0.5)
    run.end(strict=True)
    assert owner.points()[-1] == (5, 0.5)
    assert owner.run.info.status == "FAILED"


def test_a_child_of_it_is_a_child_there(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    run = trk.attach(owner.handle, shell_session=True)
    with trk.start("child", nested=True) as child:
        pass
    assert child.experiment == "theirs"
    there = client(str(owner.client.tracking_uri)).get_run(child.record.backends["mlflow"].run_id)
    assert there.data.tags["mlflow.parentRunId"] == owner.id
    assert child.record.parent_id == run.id


def test_the_settings_of_the_project_hold_for_what_is_logged(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_KEY_PREFIX", "eval/")
    run = trk.attach(owner.handle)
    monkeypatch.delenv("TRK_KEY_PREFIX")
    assert run.log_metric("loss", 0.5) == (1, 0)
    assert list(Run(run.journal, run.folder, run.id).record.metrics) == ["eval/loss", "loss"]


def test_two_that_attach_at_once_are_in_one_run(owner: Owner) -> None:
    trk.start("makes the journal").finish()
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(trk.attach(owner.handle).id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ids), len(set(ids))) == (4, 1)
    assert [record.run_id for record in trk.search("status = 'RUNNING'")] == ids[:1]


# ---- which run


def test_the_handle_names_it_wherever_a_run_is_named(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.attach(owner.handle)
    run.log_metric("loss", 0.5)
    assert resolve(run.journal, owner.handle) == run.id
    monkeypatch.setenv("TRK_RUN", owner.handle)
    active = trk.active_run()
    assert active is not None
    assert active.id == run.id
    assert trk.get_run(source="local").run_id == run.id
    for named in (None, "@", run.id, owner.handle, "by hand"):
        asked = trk.get_run(named, source="mlflow")
        assert (asked.run_id, asked.metrics, asked.backends["mlflow"].pending) == (owner.handle, {"loss": 0.5}, 0)
        assert [point.step for point in trk.history("loss", named, source="mlflow")] == [0, 1, 2, 3, 4, 5]
    for named in (run.id, owner.handle):
        assert trk.get_run(named, source="local").run_id == run.id
        assert [point.step for point in trk.history("loss", named, source="local")] == [5]
    (found,) = trk.search(source="mlflow")
    assert (found.run_id, found.backends["mlflow"].delivered) == (owner.handle, 1)
    assert trk.best("loss", source="mlflow").runs[0].best.value == 0.5


def test_the_handle_of_a_run_that_trk_delivered_means_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    run = trk.start("mine")
    handle = f"mlflow:{run.end(timeout=60).backends['mlflow'].run_id}"
    assert trk.get_run(handle).run_id == run.id
    with pytest.raises(Conflict) as caught:
        trk.attach(handle)
    assert caught.value.hint == f"trk resume {run.id}"
    assert trk.resume(handle).log_metric("f1", 0.5) == (3, 0)
    assert trk.attach(handle).id == run.id
    run.end("FAILED", strict=True)
    assert kinds(run) == ["status", "status", "metric", "status"]
    trk.delete(handle, strict=True)
    with pytest.raises(Conflict, match="is deleted"):
        trk.attach(handle)


def test_a_copy_of_a_store_has_runs_of_its_own(owner: Owner, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trk.attach(owner.handle)
    first.log_metric("loss", 0.5)
    first.end(strict=True)
    (project / "copy.db").write_bytes((project / "mlflow.db").read_bytes())
    copied = f"sqlite:///{project}/copy.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copied)
    second = trk.attach(owner.handle)
    assert second.id != first.id
    assert read.targets(second.journal, second.id)["mlflow"]["tracking_uri"] == copied
    assert trk.attach(owner.handle).id == second.id == resolve(second.journal, owner.handle)
    second.log_metric("loss", 0.4)
    second.end(strict=True)
    assert owner.points()[-1] == (5, 0.5)
    assert client(copied).get_metric_history(owner.id, "loss")[-1].value == 0.4
    with pytest.warns(UserWarning, match="1 run of this journal not sent to this mlflow"):
        assert trk.get_run(owner.handle, source="mlflow").metrics["loss"] == 0.4
    for other in (f"sqlite:///{project}/mlflow.db", None):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other) if other else monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert trk.attach(owner.handle).id == first.id
    with pytest.raises(UsageError, match="could be several runs") as caught:
        resolve(first.journal, owner.handle)
    assert copied in caught.value.message
    with pytest.warns(UserWarning, match="1 run of this journal not sent to this mlflow"):
        assert trk.get_run(owner.handle, source="mlflow").metrics["loss"] == 0.5
    trk.delete(second)
    assert resolve(first.journal, owner.handle) == first.id
    assert resolve(first.journal, owner.handle, deleted=True) == second.id


def test_a_handle_that_the_journal_does_not_know_says_how_to_attach(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = trk.start("one").journal
    with pytest.raises(NotFound, match="not in this journal") as caught:
        resolve(journal, UNKNOWN)
    assert caught.value.hint == f"trk attach {UNKNOWN}"
    monkeypatch.setenv("TRK_RUN", UNKNOWN)
    assert command("log-metric", "f1", "1").returncode == 4
    assert command("log-metric", "f1", "1", "--run", UNKNOWN).returncode == 4


# ---- what can't be attached to


@pytest.mark.parametrize("named", ["mlflow:", "mlflow:a b", "mlflow:é", "mlflow:a/b", "mlflow:'", "wandb:me/1"])
def test_what_is_no_run_of_mlflow_is_refused_before_anything_is_asked(named: str, project: Path) -> None:
    with pytest.raises(UsageError):
        trk.attach(named)
    assert list(project.iterdir()) == []


def test_a_run_that_is_nowhere_leaves_nothing_behind(owner: Owner, project: Path) -> None:
    with pytest.raises(NotFound, match="there is no run 0000"):
        trk.attach(UNKNOWN, shell_session=True)
    assert not (project / ".trk").exists()


def test_where_there_is_no_store_none_is_made(project: Path) -> None:
    with pytest.raises(NotFound, match=r"at sqlite:///.*mlflow\.db"):
        trk.attach(UNKNOWN)
    assert list(project.iterdir()) == []


def test_a_run_that_was_deleted_there_is_a_conflict(owner: Owner, project: Path) -> None:
    owner.client.delete_run(owner.id)
    with pytest.raises(Conflict, match="is deleted") as caught:
        trk.attach(owner.handle)
    assert caught.value.hint == f"trk restore {owner.handle}"
    assert not (project / ".trk").exists()
    trk.restore(owner.handle)
    run = trk.attach(owner.handle)
    owner.client.delete_run(owner.id)
    with pytest.raises(Conflict, match="is deleted"):
        trk.attach(owner.handle)
    run.log_metric("loss", 0.5)
    assert run.end().backends["mlflow"].rejected == 1


def test_the_shells_are_in_one_run_at_a_time(owner: Owner) -> None:
    trk.start("one", shell_session=True)
    with pytest.raises(Conflict, match="is active here"):
        trk.attach(owner.handle, shell_session=True)
    assert [record.name for record in trk.search()] == ["one"]
    trk.detach()
    run = trk.attach(owner.handle, shell_session=True)
    assert trk.attach(owner.handle, shell_session=True).id == run.id
    assert session.load(run.folder)["active"] == [run.id]


def test_without_mlflow_it_says_what_to_install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trk.backends.mlflow.find_spec", lambda name: None)
    with pytest.raises(SourceUnavailable, match="mlflow is not installed") as caught:
        trk.attach(UNKNOWN)
    assert caught.value.hint == "pip install 'trk-ml[mlflow]'"
    assert list(project.iterdir()) == []


def test_a_server_that_denies_access_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(http_answer(401, "who are you?")) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with pytest.raises(SourceUnavailable, match="credentials"):
            trk.attach(UNKNOWN)
    assert list(project.iterdir()) == []


# ---- servers that are down


def test_a_server_that_is_down_is_warned_of_and_the_run_attached_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_EXPERIMENT", "ours")
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.warns(UserWarning, match=f"{UNKNOWN} can't be asked for .*connection refused"):
            run = trk.attach(UNKNOWN, shell_session=True)
        assert (run.name, run.experiment) == (UNKNOWN, "ours")
        assert run.log_metric("loss", 0.5) == (1, 0)
        assert run.end(timeout=1).backends["mlflow"].pending == 1
        with pytest.warns(UserWarning, match="can't be asked for"):
            assert trk.attach(UNKNOWN).id == run.id


def test_a_server_that_is_silent_is_waited_for_no_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(None) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        done = command("attach", UNKNOWN, "--timeout", "0.2", timeout=30)
    assert done.returncode == 0
    assert "did not answer in the time allowed" in done.stderr


OWNER = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("shared")
with mlflow.start_run(run_name="training") as run:
    for step in range(10):
        mlflow.log_metric("loss", 1.0 + step, step=step)
    print(run.info.run_id, flush=True)
    sys.stdin.readline()
    for step in range(100, 110):
        mlflow.log_metric("loss", 1.0 + step, step=step)
    mlflow.log_param("lr", 0.1)
    print("logged", flush=True)
    sys.stdin.readline()
"""


def test_a_shell_and_the_program_that_owns_the_run_log_into_it_together(
    mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    program = started(OWNER, mlflow_server.url)
    assert program.stdin is not None
    assert program.stdout is not None
    remote_id = program.stdout.readline().strip()
    done = command("attach", f"mlflow:{remote_id}", "--json")
    assert done.returncode == 0
    assert "trk end delivers and leaves it open" in done.stderr
    run_id = json.loads(done.stdout)["run_id"]
    for n in range(10):
        assert command("log-metric", "loss", f"-{n}").returncode == 0
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline().strip() == "logged"
    for n in range(10, 20):
        assert command("log-metric", "loss", f"-{n}").returncode == 0
    ended = command("end", "--strict")
    assert ended.returncode == 0
    assert "belongs to another program and stays open" in ended.stderr
    assert client(mlflow_server.url).get_run(remote_id).info.status == "RUNNING"
    program.communicate("\n", timeout=60)
    assert program.returncode == 0
    there = client(mlflow_server.url).get_run(remote_id)
    assert (there.info.status, there.info.run_name, there.data.params) == ("FINISHED", "training", {"lr": "0.1"})
    points = sorted((p.step, p.value) for p in client(mlflow_server.url).get_metric_history(remote_id, "loss"))
    owners = [(step, 1.0 + step) for step in (*range(10), *range(100, 110))]
    assert points == sorted(owners + [(10 + n, -float(n)) for n in range(20)])
    assert run_id not in json.dumps(there.data.tags)


def test_what_is_logged_while_the_server_is_down_arrives_when_it_is_back(
    mlflow_server: MlflowServer, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(mlflow_server.url, name="long one")
    owner.log(1.0, 0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", link.url)
    link.turn("refuse")
    attached = command("attach", owner.handle)
    assert attached.returncode == 0
    assert f"trk: warning: {owner.handle} can't be asked for" in attached.stderr
    assert command("log-metric", "loss", "0.5", "--step", "1").returncode == 0
    ended = command("end", "--timeout", "1")
    assert ended.returncode == 0
    assert "does not have 1 of 1 row" in ended.stderr
    link.turn("pass")
    assert command("sync", "--strict", "--timeout", "60").returncode == 0
    assert owner.points() == [(0, 1.0), (1, 0.5)]
    owner.log(0.4, 2)
    run = trk.attach(owner.handle)
    assert (run.name, run.experiment) == ("long one", "theirs")
    assert run.log_metric("loss", 0.3) == (2, 3)
    run.end(strict=True)
    assert owner.points()[-1] == (3, 0.3)
    assert owner.run.info.status == "RUNNING"
    found = find_journal()
    assert found is not None
    assert len(list(read.records(found[1]))) == 1
