"""A shell script logs each kind of content from real files: MLflow's own client and its pages in a browser have it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import helpers
from helpers import Course
from helpers import trk as command
from servers.browser import CHROMIUM, Browser
from servers.mlflow_server import MlflowServer

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),  # MLflow's own use of SQLAlchemy, in load_table
]

IRIS = Path(__file__).parents[2] / "cli/trk_cli/data/iris.csv"
PICTURES = Path(os.environ.get("TRK_SCREENSHOTS") or Path(__file__).parents[2] / "build/screenshots")
GREEN, BLUE, RED = (12, 160, 90), (20, 60, 200), (200, 30, 40)  # colours that MLflow's own pages do not have
LARGE = 50_000_000

SCRIPT = """
set -eu
trk start content -e content -q >run_id
trk log-table iris.csv
trk log-table --name losses --columns epoch,loss --row 1,0.5 --row 2,0.25
trk log-html report.html
trk log-text notes.md
trk log-dict labels.json
for step in 0 1 2; do trk log-image sample-$step.png --name samples --step $step; done
trk log-image sample-0.png
trk log-figure figure.json
trk log-figure figure.html --name interactive
trk log-figure curve.svg
trk log-artifact large.bin --path weights
trk log-artifact "a folder"
trk log-artifact large.bin --name classifier --type model -q
rm -r large.bin "a folder" report.html
trk end --strict --timeout 120
"""


def client(uri: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


def make_files(here: Path) -> dict[str, str]:
    """What the script logs, and, by path in the run, the hash that each file must have there."""
    plotly = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    (here / "iris.csv").write_bytes(IRIS.read_bytes())
    (here / "report.html").write_text(f"<body style='background: rgb{GREEN}'><h1>Report</h1></body>")
    (here / "notes.md").write_text("# Notes\n\nIt converged: ü, 日本.\n", encoding="utf-8")
    (here / "labels.json").write_text('{"classes": ["setosa", "virginica"]}\n')
    for step, colour in enumerate((BLUE, RED, GREEN)):
        image.new("RGB", (64, 64), colour).save(here / f"sample-{step}.png")
    drawn = plotly.Figure(plotly.Bar(y=[3, 5], marker_color=f"rgb{BLUE}"))
    drawn.write_json(here / "figure.json")
    drawn.write_html(here / "figure.html", include_plotlyjs=True)
    (here / "curve.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><circle r='9'/></svg>")
    (here / "large.bin").write_bytes(os.urandom(1_000_000) * (LARGE // 1_000_000))
    (here / "a folder/inner").mkdir(parents=True)
    (here / "a folder/inner/with space.txt").write_text("inner")
    (here / "a folder/ünïcode.csv").write_text("a\n1\n")
    named = {
        "report.html": "report.html", "notes.md": "notes.md", "labels.json": "labels.json",
        "sample-0.png": "sample-0.png", "figure.json": "figure.json", "interactive.html": "figure.html",
        "curve.svg": "curve.svg", "weights/large.bin": "large.bin", "classifier/v0/large.bin": "large.bin",
        "a folder/inner/with space.txt": "a folder/inner/with space.txt",
        "a folder/ünïcode.csv": "a folder/ünïcode.csv",
    }  # fmt: skip
    return {path: sha256(here / file) for path, file in named.items()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_script(here: Path, uri: str) -> str:
    """Run the script as a shell does, with `trk` on its path; returns the trk run id."""
    folder = here / "bin"
    folder.mkdir()
    (folder / "trk").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trk_cli "$@"\n')
    (folder / "trk").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    env = helpers.child_environment(PATH=path, TRK_BACKENDS="mlflow", MLFLOW_TRACKING_URI=uri)
    done = subprocess.run(
        ["sh", "-c", SCRIPT], cwd=here, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return (here / "run_id").read_text().strip()


def all_paths(found: Any, run_id: str, folder: str | None = None) -> set[str]:
    """Every file of a run, as MLflow's client lists it."""
    paths: set[str] = set()
    for item in found.list_artifacts(run_id, folder):
        paths |= all_paths(found, run_id, item.path) if item.is_dir else {item.path}
    return paths


def the_run(found: Any, run_id: str) -> Any:
    experiments = [one.experiment_id for one in found.search_experiments()]
    (run,) = found.search_runs(experiments, f"tags.`trk.run_id` = '{run_id}'")
    return run


@pytest.mark.timeout(600)
def test_a_script_logs_each_kind_and_mlflow_has_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    here = tmp_path / "work"
    here.mkdir()
    wanted = make_files(here)
    server = MlflowServer(tmp_path / "server")
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)  # load_table goes by it, whatever its client was made with
    try:
        run = the_run(client(server.url), run_script(here, server.url))
        check_files(server.url, run.info.run_id, wanted, tmp_path)
        check_tables(server.url, run)
        check_fetched(here, server.url, wanted)
        if CHROMIUM is None:
            pytest.skip("chromium is not installed: MLflow's pages were not looked at")
        check_pages(Browser(PICTURES, tmp_path / "profile"), server.url, run)
    finally:
        server.stop()


def check_files(uri: str, run_id: str, wanted: dict[str, str], tmp_path: Path) -> None:
    """Every file is there with the bytes that were logged, though some were deleted since."""
    found = client(uri)
    paths = all_paths(found, run_id)
    assert wanted.keys() <= paths
    for number, (path, expected) in enumerate(wanted.items()):
        folder = tmp_path / f"got-{number}"
        folder.mkdir()
        assert sha256(Path(found.download_artifacts(run_id, path, str(folder)))) == expected, path
    series = sorted(path for path in paths if path.startswith("images/samples+step+") and path.endswith(".png"))
    assert [path.split("+")[2] for path in series] == ["0", "1", "2"]


def check_tables(uri: str, run: Any) -> None:
    found = client(uri)
    iris = found.load_table(run.info.experiment_id, "iris.json", [run.info.run_id])
    logged = IRIS.read_text().splitlines()
    assert len(iris) == len(logged) - 1
    assert ",".join(iris.columns) == logged[0]
    assert [str(kind) for kind in iris.dtypes][:4] == ["float64"] * 4
    losses = found.load_table(run.info.experiment_id, "losses.json", [run.info.run_id])
    assert losses.to_dict("list") == {"epoch": [1, 2], "loss": [0.5, 0.25]}


def check_fetched(here: Path, uri: str, wanted: dict[str, str]) -> None:
    """trk itself lists and fetches from MLflow, and verifies what it fetches, also where there is no journal."""
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    handle = json.loads(command("show", "@last", "--json", "--source", "local", cwd=here).stdout)
    remote = f"mlflow:{handle['backends']['mlflow']['run_id']}"
    env = {"MLFLOW_TRACKING_URI": uri, "TRK_BACKENDS": "mlflow"}
    listed = command("artifacts", "ls", remote, "--json", cwd=elsewhere, env=env)
    known = {one["path"]: one["sha256"] for one in json.loads(listed.stdout)}
    assert {path: known.get(path) for path in wanted} == wanted
    got = command("artifacts", "get", "weights", "--run", remote, "-o", "out", cwd=elsewhere, env=env)
    assert got.returncode == 0, got.stderr
    assert sha256(elsewhere / "out/weights/large.bin") == wanted["weights/large.bin"]


def check_pages(browser: Browser, uri: str, run: Any) -> None:
    """MLflow's pages in a browser: the table as a table, the page, the figure and the images drawn."""
    base = f"{uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    table = browser.open(f"{base}/artifacts/iris.json", "mlflow-table", until="View as table")
    assert "sepal" in table.document
    browser.open(
        f"{base}/artifacts/report.html", "mlflow-html", until="<iframe", drawn=lambda page: page.share_of(GREEN) > 0.1
    )
    browser.open(
        f"{base}/artifacts/interactive.html",
        "mlflow-figure",
        until="<iframe",
        drawn=lambda page: page.share_of(BLUE) > 0.01,
    )
    (drawn,) = [path for path in all_paths(client(uri), run.info.run_id) if path.startswith("trk/pages/figure-")]
    browser.open(
        f"{base}/artifacts/{drawn}",
        "mlflow-plotly-json",
        until="<iframe",
        drawn=lambda page: page.share_of(BLUE) > 0.01,
    )
    browser.open(
        f"{base}/artifacts/sample-0.png",
        "mlflow-image",
        until="sample-0.png",
        drawn=lambda page: page.share_of(BLUE) > 0.001,
    )
    browser.open(
        f"{base}/model-metrics",
        "mlflow-series",
        until="samples",
        drawn=lambda page: max(map(page.share_of, (BLUE, RED, GREEN))) > 0.01,
    )
    browser.open(f"{uri}/#/experiments/{run.info.experiment_id}/runs", "mlflow-runs", until="content")
    note = browser.open(f"{base}/artifacts/notes.md", "mlflow-text", until="notes.md")
    assert "converged" in note.document


@pytest.mark.timeout(300)
def test_tables_of_many_processes_arrive_whole_while_sync_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, course: Course
) -> None:
    processes, calls = 8, course.many(8, 50)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    env = {"TRK_BACKENDS": "mlflow", "MLFLOW_TRACKING_URI": store, "TRK_DIR": str(tmp_path / ".trk")}
    run_id = command("start", "-q", env=env).stdout.strip()
    code = (
        "import subprocess, sys\n"
        "for call in range(int(sys.argv[2])):\n"
        "    words = ['log-table', '--name', 'rows', '--columns', 'process,call', '--row', f'{sys.argv[1]},{call}']\n"
        "    subprocess.run([sys.executable, '-m', 'trk_cli', *words], check=True)\n"
    )
    writers = [helpers.started(code, str(number), str(calls), **env) for number in range(processes)]
    syncs = 0
    while any(writer.poll() is None for writer in writers):
        assert command("sync", env=env, timeout=120).returncode == 0
        syncs += 1
    assert [writer.wait() for writer in writers] == [0] * processes
    for writer in writers:
        writer.communicate()
    done = command("end", "--strict", "--timeout", "60", env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert syncs > 0
    found = client(store)
    run = the_run(found, run_id)
    table = found.load_table(run.info.experiment_id, "rows.json", [run.info.run_id])
    rows = list(zip(table["process"], table["call"], strict=True))
    assert len(rows) == len(set(rows)) == processes * calls
    for number in range(processes):  # each process's own rows are in the order in which they were acknowledged
        assert [call for process, call in rows if process == number] == list(range(calls))
