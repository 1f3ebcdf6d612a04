"""The figures: each a function that measures one thing beside its yardstick. `quick` runs fewer times and rows."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.live import live_delivery
from benchmarks.questions import best_beside_order_by, best_of_others, ls_beside_mlflow
from benchmarks.streams import lines_beside_log_batch, memory_of_lines, shell_functions
from benchmarks.tools import MLFLOW, PYTHON, TRK, Result, environment, in_turn, output, peak_mb, project, seconds
from servers.mlflow_server import MlflowServer

Figure = Callable[[bool], list[Result]]
PASS = [PYTHON, "-c", "pass"]
LOG = [TRK, "log-metric", "loss", "0.5"]


def _ratio(name: str, yardstick: str, measured: tuple[float, float, float], most: float, aim: str = "") -> Result:
    value, reference, ratio = measured
    bar = f"≤ {most:g} ×{aim}"
    return Result(name, yardstick, value * 1000, reference * 1000, "ms", ratio, bar, ratio <= most)


def log_command(quick: bool) -> list[Result]:
    """`trk log-metric` as a whole process, beside bare Python."""
    with project() as folder:
        output([TRK, "start", "-q"], folder)
        measured = in_turn(lambda: seconds(LOG, folder), lambda: seconds(PASS, folder), 15 if quick else 60)
    return [_ratio("trk log-metric, whole process", "python -c pass", measured, 2.0, " (aim 1.6)")]


def log_command_beside_curl(quick: bool) -> list[Result]:
    """The same beside curl posting one point to a local MLflow server."""
    if shutil.which("curl") is None:
        return []
    with project() as folder, MlflowServer(folder / "server") as server:
        output([TRK, "start", "-q"], folder)
        post = _curl(server.url, folder)
        measured = in_turn(lambda: seconds(LOG, folder), lambda: seconds(post, folder), 10 if quick else 40)
    return [_ratio("trk log-metric, whole process", "curl, one point to a local server", measured, 1.5, " (aim 1.0)")]


def _curl(uri: str, folder: Path) -> list[str]:
    make = f"import mlflow; c = mlflow.MlflowClient({uri!r}); print(c.create_run('0').info.run_id)"
    body = {"run_id": output([PYTHON, "-W", "ignore", "-c", make], folder), "key": "loss", "value": 0.5, "timestamp": 1}
    return [
        "curl", "-sf", "-X", "POST", f"{uri}/api/2.0/mlflow/runs/log-metric",
        "-H", "Content-Type: application/json", "-d", json.dumps(body),
    ]  # fmt: skip


def log_command_with_many_rows(quick: bool) -> list[Result]:
    """The same with ten million rows in the journal, beside an empty one."""
    rows = 500_000 if quick else 10_000_000
    with project() as full, project() as empty:
        for folder in (full, empty):
            output([TRK, "start", "-q"], folder)
        _fill(full / ".trk" / "journal.db", rows)
        measured = in_turn(lambda: seconds(LOG, full), lambda: seconds(LOG, empty), 15 if quick else 60)
    return [_ratio(f"trk log-metric with {rows:,} rows in the journal", "with none", measured, 1.15)]


def _fill(journal: Path, rows: int) -> None:
    db = sqlite3.connect(journal)
    db.execute(
        "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?) "
        "INSERT INTO rows SELECT 1, n, 'metric', 1700000000000 + n, 'loss', n, n * 0.001 FROM i",
        (rows,),
    )
    db.execute(
        "INSERT INTO metrics VALUES (1, 'loss', ?1, ?1, 1700000000000, 0.5, 0.001, 1, 1700000000001, ?1, ?1, 1)",
        (rows,),
    )
    db.commit()
    db.close()


def content_commands(quick: bool) -> list[Result]:
    """`trk log-table` and `log-html` of small files, as whole processes: what they cost above bare Python."""
    results = []
    with project() as folder:
        output([TRK, "start", "-q"], folder)
        (folder / "scores.csv").write_text("epoch,loss,split\n" + "1,0.5,train\n" * 20)
        (folder / "report.html").write_text("<h1>Report</h1>\n" * 20)
        for words in (["log-table", "scores.csv"], ["log-html", "report.html"]):
            log = [TRK, *words]
            value, reference, ratio = in_turn(
                lambda log=log: seconds(log, folder), lambda: seconds(PASS, folder), 15 if quick else 60
            )
            more = (value - reference) * 1000
            results.append(
                Result(f"trk {words[0]}, +{more:.0f} ms", "python -c pass", value * 1000, reference * 1000, "ms", ratio,
                       "≤ 60 ms more", more <= 60)
            )  # fmt: skip
    return results


def memory(quick: bool) -> list[Result]:
    """Peak memory of a log command."""
    with project() as folder:
        output([TRK, "start", "-q"], folder)
        value, reference = peak_mb(LOG, folder), peak_mb(PASS, folder)
    held = value <= 20
    return [
        Result("memory of trk log-metric", "python -c pass", value, reference, "MB", value / reference, "≤ 20 MB", held)
    ]


def verbs_beside_mlflow(quick: bool) -> list[Result]:
    """`trk start`, `end --no-wait` and `best` over 10,000 runs, beside `mlflow runs list`."""
    runs, times = (1_000, 3) if quick else (10_000, 7)
    with project() as folder:
        make_runs(folder, runs)
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        listing = [MLFLOW, "runs", "list", "--experiment-id", "0"]
        seconds(listing, folder, environment(**store))  # makes the store

        def yardstick() -> float:
            return seconds(listing, folder, environment(**store))

        best = [TRK, "best", "--metric", "f1", "--source", "local"]
        results = [_ratio(f"trk best over {runs:,} local runs", "mlflow runs list",
                          in_turn(lambda: seconds(best, folder), yardstick, times), 1 / 12)]  # fmt: skip
        starts, ends = [], []
        for _ in range(times + 1):
            starts.append(seconds([TRK, "start", "-q"], folder))
            ends.append(seconds([TRK, "end", "-q", "--no-wait"], folder))
        reference = statistics.median(yardstick() for _ in range(times))
    for name, taken in (("trk start", starts[1:]), ("trk end --no-wait", ends[1:])):
        value = statistics.median(taken)
        results.append(_ratio(name, "mlflow runs list", (value, reference, value / reference), 1 / 12))
    return results


def make_runs(folder: Path, runs: int) -> None:
    """Runs with five params and five metrics each, in a journal made by trk."""
    output([TRK, "start", "-q", "-e", "sweep"], folder)
    output([TRK, "log-metric", "f1", "0.1"], folder)
    output([TRK, "end", "-q", "--no-wait"], folder)
    db = sqlite3.connect(folder / ".trk" / "journal.db")
    numbers = "WITH RECURSIVE i(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM i WHERE n < ?) "
    db.execute(
        numbers + "INSERT INTO runs (run, run_id, name, experiment, status, start_time, end_time) "
        "SELECT n, printf('01%024d', n), 'run-' || n, 'sweep', 'FINISHED', 1700000000000 + n, 1700000000900 + n FROM i",
        (runs,),
    )
    for key in ("f1", "loss", "acc", "auc", "time"):
        value = "abs(random() % 1000000) / 1000000.0"
        db.execute(
            numbers + f"INSERT INTO metrics SELECT n, '{key}', 1, 0, 1700000000000, v, v, 0, 1700000000000, v, 0, "
            f"1700000000000 FROM (SELECT n, {value} AS v FROM i)",
            (runs,),
        )
        db.execute(numbers + f"INSERT INTO params SELECT n, 'param-{key}', n FROM i", (runs,))
    db.commit()
    db.close()


def import_time(quick: bool) -> list[Result]:
    """`import trk`, beside `import mlflow` and `import wandb`, less bare Python."""
    times = 3 if quick else 9
    results = []
    with project() as folder:
        bare = statistics.median(seconds(PASS, folder) for _ in range(times))
        own = statistics.median(seconds([PYTHON, "-c", "import trk"], folder) for _ in range(times)) - bare
        for other in ("mlflow", "wandb"):
            command = [PYTHON, "-W", "ignore", "-c", f"import {other}"]
            taken = statistics.median(seconds(command, folder) for _ in range(times)) - bare
            results.append(_ratio("import trk", f"import {other}", (own, taken, own / taken), 1 / 10))
    return results


_IN_PYTHON = """
import sys, time
count = int(sys.argv[1])
if sys.argv[2] == "trk":
    import trk
    run = trk.start(backends="none")
    log = lambda: run.log_metric("loss", 0.5)
elif sys.argv[2] == "wandb":
    import wandb
    run = wandb.init(mode="offline", settings=wandb.Settings(console="off", silent=True))
    log = lambda: run.log({"loss": 0.5})
else:
    import mlflow
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    run_id = client.create_run("0").info.run_id
    log = lambda: client.log_metric(run_id, "loss", 0.5)
log()
start = time.perf_counter()
for _ in range(count):
    log()
print((time.perf_counter() - start) / count)
import os; sys.stdout.flush(); os._exit(0)
"""


def log_in_python(quick: bool) -> list[Result]:
    """`Run.log_metric`, durable on return, beside the SDKs' own calls."""
    counts = {"trk": 5_000, "wandb": 2_000, "mlflow": 100}
    with project() as folder:
        taken = {}
        for name, count in counts.items():
            count = count // 5 if quick else count
            command = [PYTHON, "-W", "ignore", "-c", _IN_PYTHON, str(count), name]
            times = 1 if quick else 3
            taken[name] = statistics.median(float(output(command, folder).split()[-1]) for _ in range(times)) * 1e6
    value = taken["trk"]
    return [
        Result("Run.log_metric in Python", "wandb.log, offline", value, taken["wandb"], "µs", value / taken["wandb"],
               "≤ 50 µs (aim 20), ≤ 1/4 ×", value <= 50 and value <= taken["wandb"] / 4),
        Result("Run.log_metric in Python", "MLflow's log_metric, SQLite", value, taken["mlflow"], "µs",
               value / taken["mlflow"], "—", True),
    ]  # fmt: skip


_BATCHES = """
import sys, time, mlflow
from mlflow.entities import Metric
client = mlflow.MlflowClient("sqlite:///mlflow.db")
run_id = client.create_run("0").info.run_id
count = int(sys.argv[1])
start = time.perf_counter()
for first in range(0, count, 1000):
    client.log_batch(run_id, [Metric("loss", n * 0.5, 1700000000000 + n, n) for n in range(first, first + 1000)])
print(count / (time.perf_counter() - start))
"""
_DELIVERY = """
import sys, time, trk
from trk.garbage import collect_rarely
collect_rarely()  # as the daemon and the command do, which deliver
import mlflow  # imported before the clock starts, as it is for the yardstick
from trk.journal import write
run = trk.start(backends="mlflow")
from trk import delivery
delivery.deliver(run.journal, run.folder, [run.id], timeout=120)
count = int(sys.argv[1])
for n in range(count):
    write.metrics(run.journal, run.id, {"loss": n * 0.5}, n, 1700000000000 + n)
start = time.perf_counter()
delivery.deliver(run.journal, run.folder, [run.id], timeout=600)
taken = time.perf_counter() - start
assert run.record.backends["mlflow"].pending == 0, run.record.backends
print(count / taken)
import os; sys.stdout.flush(); os._exit(0)
"""


def delivery_speed(quick: bool) -> list[Result]:
    """Delivery to MLflow's embedded store, beside the bare client's log_batch on such a store."""
    count = 5_000 if quick else 50_000
    speeds: dict[str, list[float]] = {"bare": [], "trk": []}
    for _ in range(1 if quick else 3):
        for name, program in (("bare", _BATCHES), ("trk", _DELIVERY)):
            with project() as folder:
                command = [PYTHON, "-W", "ignore", "-c", program, str(count)]
                speeds[name].append(float(output(command, folder).split()[-1]))
    value, reference = statistics.median(speeds["trk"]), statistics.median(speeds["bare"])
    ratio = value / reference
    return [
        Result(
            "delivery to MLflow", "the client's log_batch", value, reference, "points/s", ratio, "≥ 0.9 ×", ratio >= 0.9
        )
    ]


_WANDB_LOG = """
import sys, time, os, wandb
count, width = int(sys.argv[1]), int(sys.argv[2])
quiet = dict(console="off", silent=True, x_disable_stats=True, x_disable_meta=True, disable_git=True, save_code=False)
wandb.init(mode="offline", settings=wandb.Settings(**quiet)).finish()  # the core process is up
rows = [{f"m{i}": n * 0.5 + i for i in range(width)} for n in range(count)]
start = time.perf_counter()
run = wandb.init(mode="offline", settings=wandb.Settings(**quiet))
for n, row in enumerate(rows):
    run.log(row, step=n)
run.finish()
print(count / (time.perf_counter() - start)); sys.stdout.flush(); os._exit(0)
"""
_WANDB_DELIVERY = """
import sys, time, os, trk
from trk import delivery
from trk.journal import write
count, width = int(sys.argv[1]), int(sys.argv[2])
warm = trk.start(backends="wandb", delivery="end")
warm.finish()
delivery.deliver(warm.journal, warm.folder, [warm.id], timeout=120)  # the SDK and its core process are up, as above
run = trk.start(backends="wandb", delivery="end")
for n in range(count):
    write.metrics(run.journal, run.id, {f"m{i}": n * 0.5 + i for i in range(width)}, n, 1700000000000 + n)
run.finish()
start = time.perf_counter()
delivery.deliver(run.journal, run.folder, [run.id], timeout=600)
taken = time.perf_counter() - start
assert run.record.backends["wandb"].pending == 0, run.record.backends
print(count / taken); sys.stdout.flush(); os._exit(0)
"""


def delivery_to_wandb(quick: bool) -> list[Result]:
    """Delivery to W&B offline, beside bare wandb.log of the same rows."""
    count = 1_000 if quick else 10_000
    env = environment(WANDB_MODE="offline")
    results = []
    for width in (1, 5):
        pairs = []
        for _ in range(1 if quick else 7):
            speeds = []
            for program in (_WANDB_LOG, _WANDB_DELIVERY):
                with project() as folder:
                    command = [PYTHON, "-W", "ignore", "-c", program, str(count), str(width)]
                    speeds.append(float(output(command, folder, env).split()[-1]))
            pairs.append((speeds[1], speeds[0]))
        ratio = statistics.median(one / other for one, other in pairs)
        value, reference = (statistics.median(column) for column in zip(*pairs, strict=True))
        name = f"delivery to W&B, offline, {width} metric{'s' if width > 1 else ''} a row"
        results.append(Result(name, "wandb.log", value, reference, "rows/s", ratio, "≥ 0.8 ×", ratio >= 0.8))
    return results


def seen_on_wandb(quick: bool) -> list[Result]:
    """From a log command to the row at a W&B server, with a daemon that is warm."""
    from daemon.tools import short_folder
    from servers.wandb_server import WandbServer

    times = []
    with WandbServer() as server, project() as folder, short_folder() as runtime:
        env = {
            **environment(**server.environment(folder)), "TRK_BACKENDS": "wandb", "TRK_DAEMON": "auto",
            "XDG_RUNTIME_DIR": str(runtime),
        }  # fmt: skip
        run_id = output([TRK, "start", "-q"], folder, env)
        for n in range(4 if quick else 16):
            start = time.perf_counter()
            output([TRK, "log-metric", "loss", "0.5"], folder, env)
            while len(next((run.history for run in server.runs() if run.id == run_id), [])) <= n:
                time.sleep(0.005)
            times.append(time.perf_counter() - start)
        output([TRK, "end", "-q"], folder, env)
        output([TRK, "daemon", "stop"], folder, env)
    warm = times[1:]
    most = max(warm)
    return [
        Result("from log to visible on W&B, the slowest", "2.5 s", most, 2.5, "s", most / 2.5, "≤ 2.5 s", most <= 2.5)
    ]


def parallel_shells(quick: bool) -> list[Result]:
    """64 shells × 20 points on one run, beside as many starts of bare Python; every point must be there."""
    shells, points = (16, 5) if quick else (64, 20)

    def together(command: str, folder: Path) -> float:
        script = f"i=0; while [ $i -lt {points} ]; do {command}; i=$((i+1)); done"
        start = time.perf_counter()
        started = [
            subprocess.Popen(["sh", "-ec", script], cwd=folder, env=environment(), stdout=subprocess.DEVNULL)
            for _ in range(shells)
        ]
        assert [child.wait() for child in started] == [0] * shells
        return time.perf_counter() - start

    with project() as folder:
        output([TRK, "start", "-q"], folder)
        reference = together(f"{PYTHON} -c pass", folder)
        value = together(f"{TRK} log-metric loss 0.5", folder)
        found = json.loads(output([TRK, "history", "loss", "--source", "local", "--json"], folder))
        steps = sorted(point["step"] for point in found)
    held = steps == list(range(shells * points))
    return [
        Result(f"{shells} shells × {points} points, {'all' if held else 'NOT ALL'} there", "as many python -c pass",
               value, reference, "s", value / reference, "≤ 2.0 ×", held and value / reference <= 2.0)
    ]  # fmt: skip


def core_size(quick: bool) -> list[Result]:
    """What the core brings along, beside what mlflow does, both as they are installed here."""
    from importlib.metadata import distribution, requires

    from packaging.requirements import Requirement

    def closure(name: str, seen: set[str]) -> set[str]:
        seen.add(name.lower())
        for text in requires(name) or []:
            wanted = Requirement(text)
            if wanted.name.lower() not in seen and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                closure(wanted.name, seen)
        return seen

    def megabytes(name: str) -> float:
        files = (file for part in closure(name, set()) for file in distribution(part).files or [])
        return sum(os.path.getsize(path) for file in files if os.path.isfile(path := str(file.locate()))) / 1e6

    value, reference = megabytes("trk-ml"), megabytes("mlflow")
    return [Result("core install", "mlflow", value, reference, "MB", value / reference, "≤ 35 MB", value <= 35)]


ALL: dict[str, Figure] = {
    "log": log_command,
    "curl": log_command_beside_curl,
    "rows": log_command_with_many_rows,
    "content": content_commands,
    "memory": memory,
    "verbs": verbs_beside_mlflow,
    "import": import_time,
    "python": log_in_python,
    "lines": lines_beside_log_batch,
    "flat": memory_of_lines,
    "functions": shell_functions,
    "delivery": delivery_speed,
    "live": live_delivery,
    "wandb": delivery_to_wandb,
    "seen": seen_on_wandb,
    "shells": parallel_shells,
    "size": core_size,
    "best": best_beside_order_by,
    "others": best_of_others,
    "ls": ls_beside_mlflow,
}
