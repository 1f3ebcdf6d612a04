"""Questions to MLflow over thousands of runs, beside its own client as a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.tools import MLFLOW, PYTHON, TRK, Result, environment, in_turn, output, project, seconds

_MADE = """
import random, sys, warnings
warnings.simplefilter("ignore")
from mlflow.entities import Metric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from trk.backends._mlflow_stats import tags
from trk.query.scores import stats
from trk.records import MetricPoint, RunRecord
from mlflow.entities import RunTag
uri, root, count, ours = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "trk"
store = SqlAlchemyStore(uri, root)
found = store.get_experiment_by_name("bench")
experiment = found.experiment_id if found else store.create_experiment("bench")
for n in range(count):
    start = 1700000000000 + 1000 * n
    marks = [RunTag("trk.run_id", f"01{n:024}")] if ours else []
    run = store.create_run(experiment, "user", start, marks, f"run-{n}").info.run_id
    points = {key: [MetricPoint(run, key, step, start + step, random.random()) for step in range(20)]
              for key in ("f1", "loss", "acc")}
    metrics = [Metric(key, p.value, p.time_ms, p.step) for key, found in points.items() for p in found]
    told = tags({key: stats(found) for key, found in points.items()}, start + 900) if ours else {}
    store.log_batch(run, metrics, [], [RunTag(*tag) for tag in told.items()])
    store.update_run_info(run, 3, start + 900, None)
"""
_ORDERED = """
import sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("bench").experiment_id
print(client.search_runs([experiment], order_by=["metrics.f1 DESC"], max_results=1)[0].info.run_id)
"""
_ONE_BY_ONE = """
import sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("bench").experiment_id
token, best = None, None
while True:
    page = client.search_runs([experiment], max_results=1000, page_token=token)
    for run in page:
        high = max(point.value for point in client.get_metric_history(run.info.run_id, "f1"))
        best = max(best or (high, ""), (high, run.info.run_id))
    token = page.token
    if not token:
        break
print(best)
"""
BEST = [TRK, "best", "--metric", "f1", "-e", "bench", "--source", "mlflow", "--timeout", "600"]


def _made(folder: Path, runs: int, who: str) -> dict[str, str]:
    """A store with these runs, each with three metrics of twenty points; the settings that lead to it."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    output([PYTHON, "-c", _MADE, uri, str(folder / "mlruns"), str(runs), who], folder)
    runtime = tempfile.mkdtemp(prefix="trk-", dir="/tmp")
    return environment(
        MLFLOW_TRACKING_URI=uri, TRK_BACKENDS="mlflow", TRK_DAEMON="auto", TRK_EPHEMERAL="no", XDG_RUNTIME_DIR=runtime
    )


def _bare(program: str, env: dict[str, str]) -> list[str]:
    return [PYTHON, "-W", "ignore", "-c", program, env["MLFLOW_TRACKING_URI"]]


def best_beside_order_by(quick: bool) -> list[Result]:
    """`trk best` with a warm daemon over runs that trk delivered, beside the bare client's order_by, cold."""
    runs, times = (100, 2) if quick else (3_000, 7)
    with project() as folder:
        env = _made(folder, runs, "trk")
        output([TRK, "start", "-q", "-e", "other"], folder, env)
        output([TRK, "end", "-q"], folder, env)
        output(BEST, folder, env)  # warms the daemon
        try:
            value, reference, ratio = in_turn(
                lambda: seconds(BEST, folder, env), lambda: seconds(_bare(_ORDERED, env), folder, env), times
            )
        finally:
            subprocess.run([TRK, "daemon", "stop"], cwd=folder, env=env, check=False, capture_output=True)
    name = f"trk best on MLflow (SQLite), daemon warm, {runs:,} runs of trk"
    return [
        Result(name, "order_by, cold process", value * 1000, reference * 1000, "ms", ratio, "≤ 0.2 ×", ratio <= 0.2)
    ]


def best_of_others(quick: bool) -> list[Result]:
    """`trk best` over whole histories of others' runs, first and second, beside reading them one by one."""
    runs = 100 if quick else 3_000
    results = []
    with project() as folder:
        env = _made(folder, runs, "others")
        output([TRK, "start", "-q", "-e", "other"], folder, env)
        output([TRK, "end", "-q"], folder, env)
        try:
            reference = seconds(_bare(_ONE_BY_ONE, env), folder, env)
            (folder / ".trk" / "remembered.db").unlink(missing_ok=True)
            first = seconds(BEST, folder, env)
            second = statistics.median(seconds(BEST, folder, env) for _ in range(3))
        finally:
            subprocess.run([TRK, "daemon", "stop"], cwd=folder, env=env, check=False, capture_output=True)
    for name, value, most in (("first", first, 1 / 3), ("second", second, 1 / 10)):
        ratio = value / reference
        results.append(
            Result(f"trk best over histories of {runs:,} runs of others, {name} time", "one by one, bare client",
                   value * 1000, reference * 1000, "ms", ratio, f"≤ {most:.3g} ×", ratio <= most)
        )  # fmt: skip
    return results


def ls_beside_mlflow(quick: bool) -> list[Result]:
    """`trk ls` over local runs, beside `mlflow runs list`."""
    from benchmarks.figures import make_runs

    runs, times = (1_000, 2) if quick else (10_000, 7)
    with project() as folder:
        make_runs(folder, runs)
        store = environment(MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}")
        listing = [MLFLOW, "runs", "list", "--experiment-id", "0"]
        measured = [
            (name, in_turn(lambda words=words: seconds(words, folder), lambda: seconds(listing, folder, store), times))  # type: ignore[misc]
            for name, words in (
                (f"trk ls of {runs:,} local runs, all printed", [TRK, "ls", "--source", "local"]),
                (f"trk ls -n 20 of {runs:,} local runs", [TRK, "ls", "-n", "20", "--source", "local"]),
            )
        ]
    return [
        Result(name, "mlflow runs list", value * 1000, reference * 1000, "ms", ratio, "≤ 0.083 ×", ratio <= 1 / 12)
        for name, (value, reference, ratio) in measured
    ]
