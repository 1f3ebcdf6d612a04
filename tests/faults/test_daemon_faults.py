"""The daemon killed and its server restarted at random instants, while shells and programs log: each point once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import helpers
from daemon.tools import Place, short_folder
from delivery.test_mlflow_end_to_end import client, there
from servers.mlflow_server import MlflowServer, free_port
from trk.daemon import place as lock

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

LONG = bool(os.environ.get("TRK_LONG"))
SEED = int(os.environ.get("TRK_SEED") or time.time_ns() % 100_000)
KILLS, RESTARTS, POINTS = (100, 10, 100_000) if LONG else (6, 2, 6_000)
SHELLS = 2


@pytest.fixture
def place(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("TRK_DAEMON", "auto")
    monkeypatch.setenv("TRK_DAEMON_IDLE", "60")
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with short_folder() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        found = Place(project, [], runtime)
        yield found
        found.end()


PROGRAM = """
import sys, trk
run = trk.attach(sys.argv[1])
for number in range(int(sys.argv[2])):
    run.log_metric("program", number)
"""
SHELL = 'i=0; while [ $i -lt "$3" ]; do "$1" -m trk_cli log-metric "shell$2" "$i" || exit 1; i=$((i+1)); done'


def started(place: Place, run: str, points: int) -> list[subprocess.Popen[bytes]]:
    """A program and some shells that log into the run."""
    program = [sys.executable, "-c", PROGRAM, run, str(points)]
    shells = [["sh", "-c", SHELL, "sh", sys.executable, str(n), str(points // 100)] for n in range(SHELLS)]
    return [subprocess.Popen(one, env=place.environment(), cwd=place.project) for one in (program, *shells)]


@pytest.mark.timeout(3600 if LONG else 300)
def test_kills_and_restarts_at_random_instants_leave_each_point_once(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"TRK_SEED={SEED}")
    dice = random.Random(SEED)
    with MlflowServer(tmp_path / "server", free_port()) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        run = place.done("start", "-q")
        logging = started(place, run, POINTS)
        for number in range(KILLS):
            time.sleep(dice.uniform(0.05, 1.5))
            found = lock.look(place.folder)
            if found is not None and found[0] and found[1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(found[1].split()[0]), signal.SIGKILL)
            if number % (KILLS // RESTARTS) == 1:
                server.stop(dice.choice((signal.SIGTERM, signal.SIGKILL)))
                time.sleep(dice.uniform(0, 0.5))
                server.start()
        assert [child.wait(600) for child in logging] == [0] * len(logging)
        told = json.loads(place.done("end", "--json", "--timeout", "120", timeout=180))
        state = told["runs"][0]["backends"]["mlflow"]
        points = POINTS + SHELLS * (POINTS // 100)
        assert (state["delivered"], state["pending"], state["rejected"]) == (points + 1, 0, 0)
        remote = there(server.url, run)
        assert remote.info.status == "FINISHED"
        for key, count in {"program": POINTS, **{f"shell{n}": POINTS // 100 for n in range(SHELLS)}}.items():
            history = client(server.url).get_metric_history(remote.info.run_id, key)
            assert Counter(point.step for point in history) == Counter(range(count))
            assert all(point.value == point.step for point in history)


def test_a_server_that_is_down_holds_up_nobody_and_gets_everything_when_it_is_back(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MlflowServer(tmp_path / "server", free_port())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    run = place.done("start", "-q")
    for step in range(5):
        place.done("log-metric", "loss", str(step))
    began = time.monotonic()
    ended = place.trk("end", "--timeout", "3")
    assert time.monotonic() - began < 5
    assert ended.returncode == 0
    assert "does not have" in ended.stderr
    assert place.trk("end", "--run", run, "--timeout", "1", "--strict").returncode == 7
    assert place.trk("sync", "--timeout", "1", "--strict").returncode == 6
    with server:
        helpers.until(lambda: '"pending": 0' in place.done("status", "--run", run, "--json"), seconds=60)
        remote = there(server.url, run)
        assert len(client(server.url).get_metric_history(remote.info.run_id, "loss")) == 5


def test_a_table_that_grows_is_delivered_at_intervals_and_whole_at_the_end(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    run = place.done("start", "-q")
    for number in range(12):
        place.done("log-table", "--name", "rows", "--columns", "n", "--row", str(number))
    place.done("end", "-q", "--strict")
    remote = there(store, run)
    path = client(store).download_artifacts(remote.info.run_id, "rows.json", str(tmp_path))
    assert json.loads(Path(path).read_text())["data"] == [[number] for number in range(12)]
