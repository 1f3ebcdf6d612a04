"""What happens between trk, the real W&B SDK and its core process, and a server: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk
from daemon.tools import Place, short_folder
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
def running() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def server(running: WandbServer) -> Iterator[WandbServer]:
    """A W&B server that is well before and after each test."""
    yield running
    running.faults.clear()
    if running._web is None:
        running.start()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def spot(
    server: WandbServer, database: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A project whose runs go to W&B, and where a daemon may run."""
    for name, value in server.environment(tmp_path).items():
        if name not in ("WANDB_SILENT", "WANDB_DIR"):
            monkeypatch.setenv(name, value)
    for name, value in {"TRK_DAEMON": "auto", "TRK_DAEMON_IDLE": "60", "TRK_BACKENDS": "wandb"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    with short_folder() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        found = Place(project, [], runtime)
        yield found
        found.end()


def logged(run_id: str) -> list[tuple[str, int, int, str]]:
    """Every point that the journal has of a run."""
    found = find_journal()
    assert found is not None
    record = read.record(found[1], run_id)
    assert record is not None
    of_all = [point for key in record.metrics for point in read.points(found[1], run_id, key)]
    return sorted((point.metric, point.step, point.time_ms, repr(point.value)) for point in of_all)


def delivery(place: Place, run_id: str, backend: str = "wandb") -> dict[str, Any]:
    """What `trk status` says of a run at a backend."""
    told: dict[str, Any] = json.loads(place.done("status", "--run", run_id, "--json"))["backends"][backend]
    return told


def assert_all_there(server: WandbServer, run_id: str, state: str = "finished") -> None:
    run = run_of(server, run_id)
    assert points(run) == logged(run_id)
    assert [line["_step"] for line in run.history] == list(range(len(run.history)))
    assert run.state == state


# -- processes that are killed ----------------------------------------------------------------------------------------


def test_daemon_and_core_killed_at_any_instant_lose_and_double_no_row(
    server: WandbServer, spot: Place, course: Course
) -> None:
    run_id = spot.done("start", "-q")
    run, n = trk.attach(run_id), 0
    killed = {"core": 0, "daemon": 0}
    while sum(killed.values()) < (50 if course.long else 8):
        pause = course.dice.uniform(0.0, 2.0)
        until = time.monotonic() + pause
        while time.monotonic() < until:
            run.log_metrics({"loss": n / 7, "f1": 1 / (n + 1)}, step=n)
            n += 1
            time.sleep(0.01)
        spot.done("log-metric", "tick", "1")  # which starts a daemon again that was killed
        daemon = killer.daemon_of(spot.folder)
        if daemon is None:
            continue
        if course.dice.random() < 0.5:
            killed["core"] += kill_core(daemon)
        else:
            killed["daemon"] += killer.kill(daemon)
    done = spot.trk("end", "--run", run_id, "--strict", "--timeout", "100", "-q", timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), delivery(spot, run_id)
    assert_all_there(server, run_id)


def test_a_core_that_dies_takes_no_row_of_any_run_with_it(server: WandbServer, spot: Place) -> None:
    runs = [trk.start(f"run {n}", delivery="daemon") for n in range(3)]
    for step in range(30):
        for run in runs:
            run.log_metric("loss", step, step=step)
    helpers.until(lambda: all(delivery(spot, run.id)["delivered"] for run in runs), 40)
    for step in range(30, 60):
        for run in runs:
            run.log_metric("loss", step, step=step)
    assert kill_core(spot.serving())
    for run in runs:
        run.log_metric("loss", 60, step=60)
        run.finish()
    assert spot.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    for run in runs:
        assert_all_there(server, run.id)


# -- one backend's trouble is its own ---------------------------------------------------------------------------------


def trouble(fault: str, server: WandbServer, tmp_path: Path) -> dict[str, str]:
    """Make W&B's trouble; returns what of the environment belongs to it."""
    if fault == "down":
        server.stop()
    if fault == "hangs":
        server.fail("*", slow=1000)
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
@pytest.mark.parametrize("fault", helpers.some(WORDS, "down", "hangs", "wrong key"))
def test_what_is_wrong_with_wandb_does_not_touch_mlflow_and_is_said(
    fault: str, server: WandbServer, spot: Place, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bad:
        for name, value in trouble(fault, server, tmp_path).items():
            bad.setenv(name, value)
            spot._path = value if name == "PYTHONPATH" else spot._path
        run_id = spot.done("start", "-q", "-b", "mlflow", "-b", "wandb")
        for step in range(3):
            spot.done("log-metric", "loss", str(step))
        helpers.until(lambda: delivery(spot, run_id, "mlflow")["pending"] == 0, 40)
        helpers.until(lambda: WORDS[fault] in str(delivery(spot, run_id)["last_error"]), 20)
        began = time.monotonic()
        done = spot.trk("end", "--timeout", "3")
        assert (done.returncode, time.monotonic() - began < 7) == (0, True)
        assert WORDS[fault] in done.stderr
        assert "Traceback" not in done.stderr
        assert delivery(spot, run_id, "mlflow")["pending"] == 0
    if fault == "not installed":
        spot.done("daemon", "stop")  # what hides it is in that process, too
    spot._path = os.pathsep.join(helpers.source_roots())
    server.faults.clear()
    if server._web is None:
        server.start()
    assert spot.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    assert_all_there(server, run_id)
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
    fault: str, server: WandbServer, spot: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    run = trk.start()
    for step in range(20):
        run.log_metric("loss", step, step=step)
    run.log_html("<p>a page</p>", "page")
    run.finish()
    endpoint, how = FAULTS[fault]
    server.fail(endpoint, **how)
    done = spot.trk("sync", "--strict", "-q", "--timeout", "90", timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert_all_there(server, run.id)
    there = run_of(server, run.id)
    assert there.files[there.summary["page"]["path"]] == b"<p>a page</p>"


def test_a_run_deleted_while_it_is_open_rejects_the_rest_and_says_why(server: WandbServer, spot: Place) -> None:
    run_id = spot.done("start", "-q")
    spot.done("log-metric", "loss", "1")
    helpers.until(lambda: delivery(spot, run_id)["delivered"] == 1, 40)
    run_of(server, run_id).deleted = True
    spot.done("log-metric", "loss", "2")
    helpers.until(lambda: delivery(spot, run_id)["rejected"] == 1, 40)
    done = spot.trk("end", "--timeout", "20")
    found = delivery(spot, run_id)
    assert (done.returncode, found["delivered"], found["rejected"], found["pending"]) == (0, 1, 2, 0)
    assert "not there any more" in found["rejections"][0]["reason"]
    other = spot.done("start", "-q")  # the others go on
    spot.done("log-metric", "loss", "1")
    spot.done("end", "--strict", "-q")
    assert_all_there(server, other)


def test_a_server_restarted_during_delivery_gets_each_row_once(server: WandbServer, spot: Place) -> None:
    run = trk.start(delivery="daemon")
    for step in range(2000):
        run.log_metric("loss", step, step=step)
        if step in (500, 1200):
            helpers.until(lambda step=step: delivery(spot, run.id)["delivered"] > step // 2, 40)  # type: ignore[misc]
            server.stop()
        if step in (900, 1900):
            server.start()
    run.finish()
    done = spot.trk("sync", "--strict", "-q", "--timeout", "90", timeout=100)
    assert done.returncode == 0, done.stderr
    assert_all_there(server, run.id)


@pytest.mark.parametrize("endpoint", helpers.some(["*", "file_stream", "graphql"], "*"))
def test_whoever_ends_a_run_leaves_in_time_though_wandb_hangs(
    endpoint: str, server: WandbServer, spot: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    run_id = spot.done("start", "-q")
    spot.done("log-metric", "loss", "1")
    server.fail(endpoint, slow=1000)
    for words, code in ((("end",), 0), (("sync", "--strict"), 6)):
        began = time.monotonic()
        done = spot.trk(*words, "--timeout", "3")
        assert (done.returncode, time.monotonic() - began < 6) == (code, True)
        assert "Traceback" not in done.stderr
        assert "trk sync" in done.stderr
    program = (
        "import trk\nrun = trk.start()\nrun.log_metric('loss', 1)\n"
        "assert run.end(timeout=3).backends['wandb'].pending == 2\n"
    )
    began = time.monotonic()
    done = helpers.program(program)
    assert (done.returncode, done.stdout, time.monotonic() - began < 7) == (0, "", True)
    assert [line for line in done.stderr.splitlines() if "is not all at wandb" not in line] == []
    server.faults.clear()
    assert spot.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    assert_all_there(server, run_id)


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, also when nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_daemon_leaves_in_time_though_wandb_hangs(server: WandbServer, spot: Place) -> None:
    runs = [trk.start(f"run {n}", delivery="daemon") for n in range(3)]
    for run in runs:
        run.log_metric("loss", 1)
    helpers.until(lambda: all(delivery(spot, run.id)["delivered"] for run in runs), 40)
    server.fail("*", slow=1000)
    for run in runs:
        run.log_metric("loss", 2)
    pid = spot.serving()
    began = time.monotonic()
    assert spot.trk("daemon", "stop").returncode == 0
    assert time.monotonic() - began < 10
    helpers.until(lambda: _is_gone(pid), 5)
    server.faults.clear()
    for run in runs:
        run.finish()
    assert spot.trk("sync", "--strict", "-q", "--timeout", "60").returncode == 0
    for run in runs:
        assert_all_there(server, run.id)
