"""What happens between trk, the real W&B SDK and its core process, and a server: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk
from daemon.tools import Place
from delivery.test_mlflow_end_to_end import HIDING
from delivery.test_mlflow_end_to_end import points_there as points_in_mlflow
from faults.harness import killer
from helpers import Course
from servers.wandb_reading import kill_core, points, run_of
from servers.wandb_server import WandbServer
from trk.journal import read
from trk.tracker import find_journal

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(autouse=True)
def mlflow_beside(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs that go to MLflow, too, go."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)


def logged(run_id: str) -> list[tuple[str, int, int, str]]:
    """Every point that the journal has of a run."""
    found = find_journal()
    assert found is not None
    record = read.record(found[1], run_id)
    assert record is not None
    of_all = [point for key in record.metrics for point in read.points(found[1], run_id, key)]
    return sorted((point.metric, point.step, point.time_ms, repr(point.value)) for point in of_all)


def delivery(wandb_place: Place, run_id: str, backend: str = "wandb") -> dict[str, Any]:
    """What `trk status` says of a run at a backend."""
    told: dict[str, Any] = json.loads(wandb_place.done("status", "--run", run_id, "--json"))["backends"][backend]
    return told


def assert_all_there(wandb_server: WandbServer, run_id: str, state: str = "finished") -> None:
    run = run_of(wandb_server, run_id)
    assert points(run) == logged(run_id)
    assert [line["_step"] for line in run.history] == list(range(len(run.history)))
    assert run.state == state


# -- processes that are killed ----------------------------------------------------------------------------------------


def test_daemon_and_core_killed_at_any_instant_lose_and_double_no_row(
    wandb_server: WandbServer, wandb_place: Place, course: Course
) -> None:
    run_id = wandb_place.done("start", "-q")
    run, n = trk.attach(run_id), 0
    killed = {"core": 0, "daemon": 0}
    while sum(killed.values()) < (50 if course.long else 8):
        pause = course.dice.uniform(0.0, 2.0)
        until = time.monotonic() + pause
        while time.monotonic() < until:
            run.log_metrics({"loss": n / 7, "f1": 1 / (n + 1)}, step=n)
            n += 1
            time.sleep(0.01)
        wandb_place.done("log-metric", "tick", "1")  # which starts a daemon again that was killed
        daemon = killer.daemon_of(wandb_place.folder)
        if daemon is None:
            continue
        if course.dice.random() < 0.5:
            killed["core"] += kill_core(daemon)
        else:
            killed["daemon"] += killer.kill(daemon)
    done = wandb_place.trk("end", "--run", run_id, "--strict", "--timeout", "100", "-q", timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), delivery(wandb_place, run_id)
    assert_all_there(wandb_server, run_id)
    print(f"killed: {killed}, rows: {n}")


def test_a_core_that_dies_takes_no_row_of_any_run_with_it(wandb_server: WandbServer, wandb_place: Place) -> None:
    runs = [trk.start(f"run {n}", delivery="daemon") for n in range(3)]
    for step in range(30):
        for run in runs:
            run.log_metric("loss", step, step=step)
    helpers.until(lambda: all(delivery(wandb_place, run.id)["delivered"] for run in runs), 40)
    for step in range(30, 60):
        for run in runs:
            run.log_metric("loss", step, step=step)
    assert kill_core(wandb_place.serving())
    for run in runs:
        run.log_metric("loss", 60, step=60)
        run.finish()
    assert wandb_place.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    for run in runs:
        assert_all_there(wandb_server, run.id)


# -- one backend's trouble is its own ---------------------------------------------------------------------------------


def trouble(fault: str, wandb_server: WandbServer, tmp_path: Path) -> dict[str, str]:
    """Make W&B's trouble; returns what of the environment belongs to it."""
    if fault == "down":
        wandb_server.stop()
    if fault == "hangs":
        wandb_server.fail("*", slow=1000)
    if fault == "no key":
        return {"WANDB_API_KEY": ""}
    if fault == "wrong key":
        return {"WANDB_API_KEY": "f" * 40}
    if fault == "not installed":
        (tmp_path / "hiding").mkdir()
        (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDING.replace('"mlflow"', '"wandb"'))
        return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "hiding"), *helpers.source_roots()])}
    return {}


WORDS = {
    "down": "refused",
    "hangs": "timed out",
    "no key": "wandb login, or set WANDB_API_KEY",
    "wrong key": "wandb login, or set WANDB_API_KEY",
    "not installed": "pip install 'trk-ml[wandb]'",
}


@pytest.mark.mlflow
@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
@pytest.mark.parametrize("fault", helpers.some(WORDS, "down", "wrong key"))
def test_what_is_wrong_with_wandb_does_not_touch_mlflow_and_is_said(
    fault: str,
    wandb_server: WandbServer,
    wandb_place: Place,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as bad:
        for name, value in trouble(fault, wandb_server, tmp_path).items():
            bad.setenv(name, value)
            wandb_place._path = value if name == "PYTHONPATH" else wandb_place._path
        run_id = wandb_place.done("start", "-q", "-b", "mlflow", "-b", "wandb")
        for step in range(3):
            wandb_place.done("log-metric", "loss", str(step))
        helpers.until(lambda: delivery(wandb_place, run_id, "mlflow")["pending"] == 0, 40)
        helpers.until(lambda: WORDS[fault] in str(delivery(wandb_place, run_id)["last_error"]), 20)
        with helpers.in_time(3):
            done = wandb_place.trk("end", "--timeout", "3")
        assert done.returncode == 0
        assert WORDS[fault] in done.stderr
        assert "Traceback" not in done.stderr
        assert delivery(wandb_place, run_id, "mlflow")["pending"] == 0
    if fault == "not installed":
        wandb_place.done("daemon", "stop")  # what hides it is in that process, too
    wandb_place._path = os.pathsep.join(helpers.source_roots())
    wandb_server.heal()
    assert wandb_place.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    assert_all_there(wandb_server, run_id)
    found = [(key, step, ms, repr(value)) for key, step, ms, value in points_in_mlflow(database, run_id)]
    assert sorted(found) == logged(run_id)


# -- a server that fails ----------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "500": ("*", {"status": 500, "times": 4}),
    "429": ("file_stream", {"status": 429, "retry_after": 2, "times": 1}),
    "429 everywhere": ("*", {"status": 429, "retry_after": 1, "times": 2}),
    "cut": ("file_stream", {"cut": True, "times": 3}),
    "lost": ("file_stream", {"lose": True, "times": 3}),
    "garbage": ("graphql", {"garbage": True, "times": 2, "after": 1}),
    "silent death": ("file_stream", {"status": 400, "times": 1}),
    "refused file": ("/storage/", {"status": 403, "times": 1}),
}


@pytest.mark.parametrize("fault", helpers.some(FAULTS, "500", "lost", "silent death", "refused file"))
def test_a_server_that_fails_gets_everything_once(
    fault: str, wandb_server: WandbServer, wandb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    run = trk.start()
    for step in range(20):
        run.log_metric("loss", step, step=step)
    run.log_html("<p>a page</p>", "page")
    run.finish()
    endpoint, how = FAULTS[fault]
    wandb_server.fail(endpoint, **how)
    done = wandb_place.trk("sync", "--strict", "-q", "--timeout", "90", timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert_all_there(wandb_server, run.id)
    there = run_of(wandb_server, run.id)
    assert there.files[there.summary["page"]["path"]] == b"<p>a page</p>"


def test_a_run_deleted_while_it_is_open_rejects_the_rest_and_says_why(
    wandb_server: WandbServer, wandb_place: Place
) -> None:
    run_id = wandb_place.done("start", "-q")
    wandb_place.done("log-metric", "loss", "1")
    helpers.until(lambda: delivery(wandb_place, run_id)["delivered"] == 1, 40)
    run_of(wandb_server, run_id).deleted = True
    wandb_place.done("log-metric", "loss", "2")
    helpers.until(lambda: delivery(wandb_place, run_id)["rejected"] == 1, 40)
    done = wandb_place.trk("end", "--timeout", "20")
    found = delivery(wandb_place, run_id)
    assert (done.returncode, found["delivered"], found["rejected"], found["pending"]) == (0, 1, 2, 0)
    assert "not there any more" in found["rejections"][0]["reason"]
    other = wandb_place.done("start", "-q")  # the others go on
    wandb_place.done("log-metric", "loss", "1")
    wandb_place.done("end", "--strict", "-q")
    assert_all_there(wandb_server, other)


@pytest.mark.parametrize("hidden", helpers.some(["private", "other key", "other entity"], "other key"))
def test_a_run_that_a_key_is_not_shown_is_not_taken_for_one_that_is_gone(
    hidden: str, wandb_server: WandbServer, wandb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    if hidden == "other entity":
        monkeypatch.setenv("WANDB_ENTITY", "team")
    run_id = wandb_place.done("start", "-q")
    if hidden == "other entity":
        wandb_server.private.add(("team", None))
    else:
        wandb_place.done("log-metric", "loss", "1")
        wandb_place.done("sync", "--strict", "-q", "--timeout", "40")
    wandb_place.done("log-metric", "loss", "2")
    wandb_place.done("end", "--no-wait")
    if hidden == "private":
        wandb_server.private.add(("tester", "Default"))
    key = wandb_server.add_user("stranger") if hidden == "other key" else wandb_server.key
    done = wandb_place.trk("sync", "--strict", "--timeout", "10", WANDB_API_KEY=key)
    assert done.returncode == 6
    assert "WANDB_ENTITY that it is under" in done.stderr
    verified = wandb_place.trk("verify", run_id, WANDB_API_KEY=key)
    assert (verified.returncode == 1) == (hidden != "other entity")  # which has nothing yet
    found = delivery(wandb_place, run_id)
    assert (found["rejected"], found["pending"] > 0) == (0, True)
    wandb_server.heal()
    assert wandb_place.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    run = wandb_server.run("team" if hidden == "other entity" else "tester", "Default", run_id)
    assert (points(run), run.state) == (logged(run_id), "finished")


def test_a_server_restarted_during_delivery_gets_each_row_once(wandb_server: WandbServer, wandb_place: Place) -> None:
    run = trk.start(delivery="daemon")
    for step in range(2000):
        run.log_metric("loss", step, step=step)
        if step in (500, 1200):
            helpers.until(lambda step=step: delivery(wandb_place, run.id)["delivered"] > step // 2, 40)  # type: ignore[misc]
            wandb_server.stop()
        if step in (900, 1900):
            wandb_server.start()
    run.finish()
    done = wandb_place.trk("sync", "--strict", "-q", "--timeout", "90", timeout=100)
    assert done.returncode == 0, done.stderr
    assert_all_there(wandb_server, run.id)


@pytest.mark.parametrize("endpoint", helpers.some(["*", "file_stream", "graphql"], "*"))
def test_whoever_ends_a_run_leaves_in_time_though_wandb_hangs(
    endpoint: str, wandb_server: WandbServer, wandb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    run_id = wandb_place.done("start", "-q")
    wandb_place.done("log-metric", "loss", "1")
    room_s = wandb_place.room_s()
    wandb_server.fail(endpoint, slow=1000)
    for words, code in ((("end",), 0), (("sync", "--strict"), 6)):
        began = time.monotonic()
        done = wandb_place.trk(*words, "--timeout", "3")
        assert (done.returncode, time.monotonic() - began < 5 + room_s) == (code, True)
        assert "Traceback" not in done.stderr
        assert "trk sync" in done.stderr
    program = (
        "import trk\nrun = trk.start()\nrun.log_metric('loss', 1)\n"
        "assert run.end(timeout=3).backends['wandb'].pending == 2\n"
    )
    with helpers.in_time(3):
        done = helpers.program(program)
    assert (done.returncode, done.stdout) == (0, "")
    assert [line for line in done.stderr.splitlines() if "is not all at wandb" not in line] == []
    wandb_server.faults.clear()
    assert wandb_place.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    assert_all_there(wandb_server, run_id)


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, also when nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_daemon_leaves_in_time_though_wandb_hangs(wandb_server: WandbServer, wandb_place: Place) -> None:
    runs = [trk.start(f"run {n}", delivery="daemon") for n in range(3)]
    for run in runs:
        run.log_metric("loss", 1)
    helpers.until(lambda: all(delivery(wandb_place, run.id)["delivered"] for run in runs), 40)
    wandb_server.fail("*", slow=1000)
    for run in runs:
        run.log_metric("loss", 2)
    pid = wandb_place.serving()
    assert wandb_place.trk("daemon", "stop").returncode == 0
    helpers.until(lambda: _is_gone(pid))
    wandb_server.faults.clear()
    for run in runs:
        run.finish()
    assert wandb_place.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    for run in runs:
        assert_all_there(wandb_server, run.id)
