"""What the W&B test server has of a run, as points and words, and `wandb sync`, which sends it what lies offline."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import helpers
from servers.wandb_parts.store import Run
from servers.wandb_server import USER, WandbServer

OWN = ("_step", "_timestamp", "_runtime", "trk/step")
Point = tuple[str, int, int, str]  # metric, step, milliseconds, value as text, since no NaN is like another


def run_of(server: WandbServer, run_id: str, project: str = "Default") -> Run:
    """The one run with this id. Raises KeyError."""
    return server.run(USER, project, run_id)


def points(run: Run) -> list[Point]:
    """Every point of a run, as often as it is there."""
    return sorted(
        (key, line["trk/step"], round(line["_timestamp"] * 1000), repr(float(value)))
        for line in run.history
        for key, value in line.items()
        if key not in OWN and not key.startswith("trk/") and not isinstance(value, dict)
    )


def folders(project: Path, run_id: str) -> list[Path]:
    """Where a run was written offline."""
    return sorted((project / "wandb").glob(f"offline-run-*-{run_id}"))


def sync(server: WandbServer, folder: Path) -> None:
    """`wandb sync`, W&B's own command."""
    environ = helpers.child_environment(**server.environment(), WANDB_MODE="online")
    command = [sys.executable, "-m", "wandb", "sync", "--include-synced", str(folder)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def cores(parent: int) -> list[int]:
    """The processes of the SDK's core that a process has started."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_text()
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and re.search(rb"wandb-core|gpu_stats", words):
            found.append(int(name))
    return found


def kill_core(parent: int) -> bool:
    """Kill the core of a process; whether there was one."""
    for pid in (found := cores(parent)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(found)
