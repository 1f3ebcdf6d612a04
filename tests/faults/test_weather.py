"""Bad weather between trk and its server, at random, while much is logged: in the end each thing is there once.

A dozen faults, or with `--long` an hour.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from daemon.tools import Place
from delivery.test_mlflow_end_to_end import client, points_logged, points_there, state, there
from faults.harness.killer import Killer, daemon_of, ended
from faults.harness.proxy import PASSING, Proxy
from helpers import Course
from servers.mlflow_server import MlflowServer

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

FAIR, FOUL = ("pass", "slow"), tuple(fault for fault in PASSING if fault != "slow")
SKY = ("refuse", *FAIR, *FOUL)

POINTS = """
import os, sys, time, trk
run, number, longest = trk.attach(sys.argv[1]), 0, 0.0
while not os.path.exists("enough"):
    began = time.monotonic()
    run.log_metrics({"program": number, "half": number / 2}, step=number)
    longest = max(longest, time.monotonic() - began)
    number += 1
    time.sleep(0.01)
print(longest)
"""
RUNS = """
import os, trk
number = 0
while not os.path.exists("enough"):
    run = trk.start(f"passer-by {number}", experiment="passers-by", params={"number": number})
    for step in range(5):
        run.log_metric("loss", 1 / (step + 1))
    run.log_text(f"the text of {number}", "notes.txt")
    run.end(timeout=number % 3 / 2)
    number += 1
print(number)
"""
SHELLS = (
    """i=0; while [ ! -e enough ]; do
        "$0" -m trk_cli log-metric shell $i --step $i || exit 1
        "$0" -m trk_cli log-param p$i $i || exit 1
        "$0" -m trk_cli set-tag latest $i || exit 1
        i=$((i+1)); done; echo $i""",
    """i=0; while [ ! -e enough ]; do
        "$0" -m trk_cli log-table --name rows --columns n,text --row $i,row-$i || exit 1
        "$0" -m trk_cli log-text --text "text $i" --name texts/$i.txt || exit 1
        sleep 0.2
        i=$((i+1)); done; echo $i""",
)


def showers(course: Course) -> Callable[[], str]:
    """Weather that is another one for each request, fair for every other."""
    dice = random.Random(course.dice.random())
    return lambda: dice.choice(dice.choice([FAIR, FOUL]))


def fouls(proxy: Proxy) -> int:
    """How much went wrong."""
    return sum(proxy.did[fault] for fault in FOUL)


class Looks:
    """Looks at `trk status`: what it says adds up each time, and nothing that was delivered is so no more."""

    def __init__(self, place: Place, run: str) -> None:
        self.times = 0
        self._place = place
        self._run = run
        self._delivered = 0

    def look(self) -> None:
        told = json.loads(self._place.done("status", "--run", self._run, "--json"))["backends"]["mlflow"]
        parts = [told[part] for part in ("delivered", "pending", "rejected", "skipped")]
        assert told["logged"] == sum(parts), told
        assert told["rejected"] == 0, told
        assert told["delivered"] >= self._delivered
        self._delivered = told["delivered"]
        self.times += 1


def started(place: Place, run: str) -> list[subprocess.Popen[str]]:
    """A program that logs points, one whose runs begin and end, and two shells: all until `enough` is there."""
    words = [[sys.executable, "-c", POINTS, run], [sys.executable, "-c", RUNS]]
    words += [["sh", "-c", shell, sys.executable] for shell in SHELLS]
    return [
        subprocess.Popen(
            one, env=place.environment(), cwd=place.project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for one in words
    ]


@pytest.mark.long
def test_whatever_the_weather_each_thing_arrives_once(
    place: Place, proxy: Proxy, server: MlflowServer, tmp_path: Path, course: Course
) -> None:
    proxy.strike("lose", "runs/create", times=2)
    run = place.done("start", "whatever", "-q")
    looks = Looks(place, run)
    until = time.monotonic() + course.many(4, 3600)
    faults, kills = course.many(6, 1000), course.many(1, 100)
    with ended(started(place, run)) as logging:
        with Killer(lambda: daemon_of(place.folder), course.dice, (6, 15)) as killer:
            while time.monotonic() < until or killer.kills < kills or fouls(proxy) < faults:
                proxy.turn(course.dice.choice([course.dice.choice(SKY), showers(course), showers(course)]))
                time.sleep(course.dice.uniform(0.1, 2))
                looks.look()
                place.done("sync", "-q", "--timeout", "0.5")  # what rests is tried at once
        proxy.turn("pass")
        (place.project / "enough").touch()
        told = [(*child.communicate(timeout=60), child.returncode) for child in logging]
    assert [code for _, _, code in told] == [0] * len(told), told
    longest, runs, *rounds = (float(output.splitlines()[-1]) for output, _, _ in told)
    place.done("end", "-q", "--strict", "--timeout", "300", timeout=330)
    place.done("sync", "-q", "--strict", "--timeout", "300", timeout=330)
    looks.look()
    print(f"{dict(proxy.did)}, {killer.kills} kills, {runs:.0f} runs, {rounds} rounds, longest call {longest:.3f} s")
    assert proxy.times("lose", "runs/create") >= 1

    found = state(run)
    assert (found.delivered, found.last_error) == (found.logged, None)
    assert points_there(server.url, run) == points_logged(run)
    remote = there(server.url, run)  # one run only has the id, the deleted ones counted
    assert remote.info.status == "FINISHED"
    assert remote.data.params == {f"p{number}": str(number) for number in range(int(rounds[0]))}
    assert remote.data.tags["latest"] == str(int(rounds[0]) - 1)
    table = client(server.url).download_artifacts(remote.info.run_id, "rows.json", str(tmp_path))
    assert json.loads(Path(table).read_text())["data"] == [[n, f"row-{n}"] for n in range(int(rounds[1]))]
    verified = json.loads(place.done("verify", "--json", timeout=600))
    assert len(verified["runs"]) == int(runs) + 1
    for one in verified["runs"]:
        there(server.url, one["run_id"])
