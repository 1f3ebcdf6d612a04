"""The daemon beside a real `mlflow server`: from log to visible, the end of a run of many points, and its memory."""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tools import PYTHON, TRK, Result, environment, output, project, seconds
from daemon.tools import short_folder
from servers.mlflow_server import MlflowServer

_MANY = """
import sys, trk
run = trk.attach(sys.argv[1])
for number in range(int(sys.argv[2])):
    run.log_metric("many", number)
"""
WAIT_S = 600.0


def live_delivery(quick: bool) -> list[Result]:
    """What a daemon promises: that what is logged shows soon, that the end is quick then, and that it stays small."""
    with project() as folder, short_folder() as runtime, MlflowServer(_made(folder / "server")) as server:
        env = environment(
            TRK_DAEMON="auto", TRK_BACKENDS="mlflow", MLFLOW_TRACKING_URI=server.url, XDG_RUNTIME_DIR=str(runtime),
            TRK_DAEMON_IDLE="5",
        )  # fmt: skip
        run = output([TRK, "start", "-q"], folder, env)
        try:
            return _measured(run, folder, server.url, env, quick)
        finally:
            output([TRK, "daemon", "stop"], folder, env)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _measured(run: str, folder: Path, url: str, env: dict[str, str], quick: bool) -> list[Result]:
    output([TRK, "log-metric", "seen", "-1"], folder, env)
    remote_id = _until(lambda: _remote_id(folder, env))
    _until(lambda: _count(url, remote_id, "seen") == 1)
    waits = [_visible(folder, url, remote_id, env, number) for number in range(5 if quick else 30)]
    points = 5_000 if quick else 100_000
    output([PYTHON, "-c", _MANY, run, str(points)], folder, env)
    _until(lambda: _backend(folder, env)["pending"] == 0)
    memory = _tree_mb(_status(folder, env)["pid"])
    end = seconds([TRK, "end", "-q", "--strict"], folder, env)
    median, worst = statistics.median(waits), max(waits)
    return [
        Result("from log to visible, median", "s", median, 1.0, "s", median, "≤ 1.2 s", median <= 1.2),
        Result("from log to visible, worst", "s", worst, 1.0, "s", worst, "≤ 2.5 s", worst <= 2.5),
        Result(f"trk end after {points:,} points", "s", end, 1.0, "s", end, "≤ 1 s", end <= 1.0),
        Result("daemon and its children", "MB", memory, 1.0, "MB", memory, "≤ 400 MB", memory <= 400),
    ]


def _until(call: Callable[[], Any]) -> Any:
    """What a call gives as soon as that is something."""
    until = time.monotonic() + WAIT_S
    while not (found := call()):
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.005)
    return found


def _backend(folder: Path, env: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output([TRK, "status", "--json"], folder, env))["backends"]["mlflow"]
    return found


def _remote_id(folder: Path, env: dict[str, str]) -> Any:
    return _backend(folder, env)["run_id"]


def _status(folder: Path, env: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output([TRK, "daemon", "status", "--json"], folder, env))
    return found


def _count(url: str, remote_id: str, key: str) -> int:
    asked = f"{url}/api/2.0/mlflow/metrics/get-history?run_id={remote_id}&metric_key={key}"
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return len(json.load(answer).get("metrics", []))


def _visible(folder: Path, url: str, remote_id: str, env: dict[str, str], number: int) -> float:
    """Seconds from the end of a log command until the server shows its point."""
    before = _count(url, remote_id, "seen")
    output([TRK, "log-metric", "seen", str(number)], folder, env)
    began = time.perf_counter()
    _until(lambda: _count(url, remote_id, "seen") > before)
    return time.perf_counter() - began


def _tree_mb(pid: int) -> float:
    """The resident memory of a process and of all that it has started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents[int(entry.name)] = int(stat[1]), int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    tree = {pid}
    while more := {one for one, (parent, _) in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(parents[one][1] for one in tree) / 1e6
