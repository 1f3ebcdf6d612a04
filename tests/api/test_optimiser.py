"""A program that was written for gepa's tracker runs with one import changed, and what it says arrives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api.conftest import Places
from helpers import child_environment
from helpers import trk as command

PROGRAM = Path(__file__).with_name("optimiser.py")
ITERATIONS, WORKERS = 6, 3
TREE = "gepa/candidate_tree"


def run(places: Places, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), words[0], places.experiment, *words[1:]],
        env=child_environment(MLFLOW_TRACKING_URI=places.uri), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def check_all_is_there(places: Places, fetched: Path, iterations: int) -> None:
    columns = ["iteration", "prompt", "task 0"] + (["task 1"] if iterations > 3 else [])
    at_wandb = places.wandb()
    found, rows = places.wandb_table("gepa/candidates")
    assert (found, [row[0] for row in rows]) == (columns, list(range(iterations)))
    lines = [line for line in places.lines() if "gepa/val/score" in line]
    assert [line["gepa/iteration"] for line in lines] == list(range(iterations))
    assert sum(any("task/" in key for key in line) for line in places.lines()) == iterations * WORKERS
    best = at_wandb.summary["gepa/best/prompt"]
    assert f"Rule {iterations - 1}." in best
    assert at_wandb.files[at_wandb.summary[TREE]["path"]].count(b"<li>") == iterations
    assert at_wandb.config["gepa/budget"] == 100
    assert [step for step, _ in places.points("gepa/val/score")] == list(range(iterations))
    assert [len(places.points(f"gepa/task/{task}/score")) for task in range(WORKERS)] == [iterations] * WORKERS
    assert places.mlflow().data.params["gepa/tasks"] == "['a', 'b']"
    assert places.artifacts(TREE) == [f"{TREE}/candidate_tree.html"]
    assert places.artifact(f"{TREE}/candidate_tree.html", fetched).count("<li>") == iterations
    table = json.loads(places.artifact("gepa/candidates.json", fetched))
    assert (table["columns"], len(table["data"])) == (columns, iterations)


def test_it_has_runs_of_its_own(places: Places, tmp_path: Path) -> None:
    done = run(places, "own")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    check_all_is_there(places, tmp_path / "fetched", ITERATIONS)
    assert (places.wandb().state, places.mlflow().info.status) == ("finished", "FINISHED")


def test_it_logs_into_the_runs_of_its_host(places: Places, tmp_path: Path) -> None:
    done = run(places, "attached")
    assert done.returncode == 0, done.stderr
    check_all_is_there(places, tmp_path / "fetched", ITERATIONS)
    assert (places.wandb().state, places.mlflow().info.status) == ("finished", "FINISHED")
    assert [line["host/loss"] for line in places.lines() if "host/loss" in line] == [1.0, 0.5]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_what_kill_9_leaves_trk_sync_delivers(places: Places, tmp_path: Path) -> None:
    places.server.fail("file_stream", status=500)
    done = run(places, "own", "die")
    assert done.returncode == -signal.SIGKILL
    places.server.faults.clear()
    synced = command("sync", env={"TRK_EXIT_TIMEOUT": "20"})
    assert (synced.returncode, os.environ["WANDB_API_KEY"] in synced.stdout) == (0, False), synced.stderr
    check_all_is_there(places, tmp_path / "fetched", ITERATIONS - 1)
