"""The daemon killed and its server restarted at random instants, while shells and programs log: each point once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import helpers
from daemon.tools import Place
from delivery.test_mlflow_end_to_end import client, points_logged, points_there, there
from faults.harness.killer import daemon_of, ended, kill
from helpers import Course
from servers.mlflow_server import MlflowServer, free_port

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

SHELLS = 2


PROGRAM = """
import os, sys, time, trk
run, least, number = trk.attach(sys.argv[1]), int(sys.argv[2]), 0
while number < least or not os.path.exists("enough"):
    run.log_metric("program", number)
    number += 1
    time.sleep(0.001)
"""
SHELL = """
i=0
while [ $i -lt "$3" ] || [ ! -e enough ]; do
    "$1" -m trk_cli log-metric "shell$2" "$i" || exit 1
    i=$((i+1))
done
"""


def started(place: Place, run: str, points: int) -> list[subprocess.Popen[bytes]]:
    """A program and some shells that log so much into the run, and until the file `enough` is there."""
    program = [sys.executable, "-c", PROGRAM, run, str(points)]
    shells = [["sh", "-c", SHELL, "sh", sys.executable, str(n), str(points // 100)] for n in range(SHELLS)]
    return [subprocess.Popen(one, env=place.environment(), cwd=place.project) for one in (program, *shells)]


def test_kills_and_restarts_at_random_instants_leave_each_point_once(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, course: Course
) -> None:
    kills, restarts, points = course.many(3, 100), course.many(1, 10), course.many(2_000, 100_000)
    with MlflowServer(tmp_path / "server", free_port()) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        run = place.done("start", "-q")
        began = time.monotonic()
        with ended(started(place, run, points)) as logging:
            dead: int | None = None
            for number in range(kills):
                helpers.until(lambda: daemon_of(place.folder) not in (None, dead))  # noqa: B023 - called here
                # Half of them while it starts, the others while it delivers.
                time.sleep(course.dice.uniform(*course.dice.choice([(0, 1.5), (1.5, 5)])))
                dead = daemon_of(place.folder)
                assert kill(dead)
                if number % (kills // restarts) == 1:
                    server.stop(course.dice.choice((signal.SIGTERM, signal.SIGKILL)))
                    time.sleep(course.dice.uniform(0, 0.5))
                    server.start()
            (place.project / "enough").touch()
            assert [child.wait(600) for child in logging] == [0] * len(logging)
        logged = points_logged(run)
        told = json.loads(place.done("end", "--json", "--timeout", "300", timeout=330))
        state = told["runs"][0]["backends"]["mlflow"]
        print(f"{kills} daemons killed, {restarts} restarts, {len(logged)} points, {time.monotonic() - began:.0f} s")
        assert len(logged) >= points + SHELLS * (points // 100)
        assert (state["delivered"], state["pending"], state["rejected"]) == (len(logged) + 1, 0, 0)
        assert there(server.url, run).info.status == "FINISHED"  # and there is one such run only
        assert points_there(server.url, run) == logged
        for key in ("program", *(f"shell{n}" for n in range(SHELLS))):
            steps = [(step, value) for name, step, _, value in logged if name == key]
            assert steps == [(number, number) for number in range(len(steps))]
        place.done("verify", run, timeout=300)


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
