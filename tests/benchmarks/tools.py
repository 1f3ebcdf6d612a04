"""Measuring: whole processes in turn with their yardstick, so that a ratio holds when the machine's speed drifts."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
PYTHON = str(BIN / "python")
TRK = str(BIN / "trk")
MLFLOW = str(BIN / "mlflow")


@dataclass(frozen=True)
class Result:
    """One figure beside its yardstick. `ratio` is figure / yardstick; `bar` is what is promised of it."""

    name: str
    yardstick: str
    value: float
    reference: float
    unit: str
    ratio: float
    bar: str
    held: bool


def environment(**more: str) -> dict[str, str]:
    """The environment of measured commands: nothing of the user's settings, the journal alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRK_", "MLFLOW_", "WANDB_"))}
    # A log command must find its modules compiled, as an installed one does.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "TRK_BACKENDS": "none", "TRK_DAEMON": "off", **more}


@contextmanager
def project() -> Iterator[Path]:
    """A new folder for a benchmark's project."""
    folder = Path(tempfile.mkdtemp(prefix="trk-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seconds(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """How long a command takes as a whole process. It must succeed."""
    start = time.perf_counter()
    subprocess.run(
        command, cwd=folder, env=env or environment(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return time.perf_counter() - start


def output(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(command, cwd=folder, env=env or environment(), check=True, capture_output=True, text=True)
    return done.stdout.strip()


def in_turn(first: Callable[[], float], second: Callable[[], float], times: int) -> tuple[float, float, float]:
    """(median of the first, of the second, median of the ratios pair by pair), after one uncounted pair."""
    first(), second()
    pairs = [(first(), second()) for _ in range(times)]
    ratio = statistics.median(one / other for one, other in pairs)
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs), ratio


def peak_mb(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """The largest resident memory of one process, in MB: a child that runs it says so of itself."""
    probe = (
        "import os, resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    found = int(output([PYTHON, "-c", probe, *command], folder, env))
    return found / (1024 * 1024 if sys.platform == "darwin" else 1024)
