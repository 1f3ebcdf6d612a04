"""Figures of what logs thousands: `trk log -` in points a second and in memory, and the shell functions."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path

from benchmarks.tools import PYTHON, TRK, Result, environment, output, peak_mb, project, seconds

_LINES = """
import sys
count, width = int(sys.argv[1]), int(sys.argv[2])
for n in range(count):
    metrics = ", ".join(f'"m{i}": {n * 0.37 + i!r}' for i in range(width))
    sys.stdout.write(f'{{{metrics}, "step": {n}}}\\n')
"""
_BATCHES = """
import sys, time, mlflow
from mlflow.entities import Metric
client = mlflow.MlflowClient("sqlite:///mlflow.db")
run_id = client.create_run("0").info.run_id
rows, width = int(sys.argv[1]), int(sys.argv[2])
each = 1000 // width
start = time.perf_counter()
for first in range(0, rows, each):
    points = [Metric(f"m{i}", n * 0.37 + i, 1700000000000 + n, n) for n in range(first, first + each)
              for i in range(width)]
    client.log_batch(run_id, points)
print(rows * width / (time.perf_counter() - start))
"""
_WANDB_LOG = """
import sys, time, os, wandb
count, width = int(sys.argv[1]), int(sys.argv[2])
quiet = dict(console="off", silent=True, x_disable_stats=True, x_disable_meta=True, disable_git=True, save_code=False)
run = wandb.init(mode="offline", settings=wandb.Settings(**quiet))
start = time.perf_counter()
for n in range(count):
    run.log({f"m{i}": n * 0.37 + i for i in range(width)}, step=n)
print(count * width / (time.perf_counter() - start)); sys.stdout.flush(); os._exit(0)
"""


def lines_beside_log_batch(quick: bool) -> list[Result]:
    """`trk log -` as a whole process that reads a pipe, beside MLflow's log_batch and wandb.log, in points a second."""
    results = []
    for width in (1, 5):
        count, batched = (100_000, 5_000) if quick else (1_000_000 // width, 50_000 // width)
        pairs = []
        for _ in range(1 if quick else 5):
            with project() as folder:
                output([TRK, "start", "-q"], folder)
                (folder / "lines").write_text(output([PYTHON, "-c", _LINES, str(count), str(width)], folder) + "\n")
                taken = seconds(["bash", "-c", f"cat lines | '{TRK}' log -"], folder)
                batch = [PYTHON, "-W", "ignore", "-c", _BATCHES, str(batched), str(width)]
                logged = [PYTHON, "-W", "ignore", "-c", _WANDB_LOG, str(2_000), str(width)]
                wandb = output(logged, folder, environment(WANDB_MODE="offline")).split()[-1]
                pairs.append((count * width / taken, float(output(batch, folder).split()[-1]), float(wandb)))
        value, batch_speed, wandb_speed = (statistics.median(column) for column in zip(*pairs, strict=True))
        name = f"trk log -, {width} metric{'s' if width > 1 else ''} a line"
        for yardstick, reference, column, least in (
            ("MLflow's log_batch", batch_speed, 1, 15 if width == 1 else 0),
            ("wandb.log, offline", wandb_speed, 2, 0),
        ):
            ratio = statistics.median(pair[0] / pair[column] for pair in pairs)
            bar = f"≥ {least} ×" if least else "—"
            results.append(Result(name, yardstick, value, reference, "points/s", ratio, bar, ratio >= least))
    return results


def memory_of_lines(quick: bool) -> list[Result]:
    """Peak memory of `trk log -` of ten million lines, beside that of a hundred thousand."""
    many, few = (200_000, 50_000) if quick else (10_000_000, 100_000)
    peaks = []
    for count in (many, few):
        with project() as folder:
            output([TRK, "start", "-q"], folder)
            made = f"""seq 1 {count} | sed 's/.*/{{"loss": &.5, "step": &}}/'"""
            peaks.append(peak_mb(["bash", "-c", f"{made} | '{TRK}' log -"], folder))
    ratio = peaks[0] / peaks[1]
    name = f"memory of trk log -, {many:,} lines"
    return [Result(name, f"{few:,} lines", peaks[0], peaks[1], "MB", ratio, "≤ 1.1 ×", ratio <= 1.1)]


_LOOP = """
zmodload zsh/datetime 2>/dev/null
eval "$(trk shell-init {shell})"
trk log-metric loss 1; trk log-metric loss 2
start=$EPOCHREALTIME
for ((i = 0; i < {count}; i++)); do trk log-metric loss 0.$i --step $i; done
echo $start $EPOCHREALTIME
"""


def shell_functions(quick: bool) -> list[Result]:
    """`trk log-metric` by the shell function, durable on return, beside the start of a process."""
    count, times = (200, 1) if quick else (2_000, 5)
    results = []
    path = f"{Path(TRK).parent}{os.pathsep}{os.environ['PATH']}"
    for shell in ("bash", "zsh"):
        if shutil.which(shell) is None:
            continue
        pairs = []
        with project() as folder:
            output([TRK, "start", "-q"], folder)
            for _ in range(times):
                script = [shell, "-c", _LOOP.format(shell=shell, count=count)]
                start, end = map(float, output(script, folder, environment(PATH=path)).split())
                pairs.append(((end - start) / count, seconds([PYTHON, "-c", "pass"], folder)))
        value, reference = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
        name = f"trk log-metric by the function of {shell}"
        bar = "≤ 1 ms (aim 0.3)"
        results.append(Result(name, "python -c pass", value, reference, "ms", value / reference, bar, value <= 1))
    return results
