"""Golden cases: each folder holds `script.sh` and `output.txt`, a transcript of what the script's reader would see.

A script is plain bash in which `trk` is the command under test; its lines are run one after the other in one shell,
each shown with `$ ` before its output. Lines that begin with `! ` came on stderr, and `[exit N]` tells of a command
that failed. Run ids become RUN1, RUN2 … in order of appearance; times, durations and
paths become placeholders. A case that needs MLflow also holds `received.json`: what MLflow's own client then finds.

To see what a change does to them all, and to accept it:

    TRK_GOLDEN=write python -m pytest tests/golden; git diff tests/golden
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import helpers

HERE = Path(__file__).parent
CASES = sorted(script.parent.name for script in HERE.glob("*/script.sh"))
WRITE = os.environ.get("TRK_GOLDEN") == "write"

# `trk` keeps its stdout as it is, and has its stderr marked.
PRELUDE = r"""
trk() {
    local code=0 said="$SCRATCH/$BASHPID"
    "$PYTHON" -P -m trk_cli "$@" 2>"$said" || code=$?
    sed 's/^/! /' "$said" >&2
    return $code
}
trap 'echo "[exit $?]"' ERR
"""

RECEIVED = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
        history = {key: [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, key)]
                   for key in sorted(run.data.metrics)}
        kept = {key: value for key, value in run.data.tags.items() if key != "mlflow.user"}
        found.append({"experiment": experiment.name, "name": run.info.run_name, "status": run.info.status,
                      "params": run.data.params, "tags": kept, "metrics": history})
print(json.dumps(found, indent=1, sort_keys=True))
"""

RUN_ID = re.compile(r"\b0[0-9a-hjkmnp-tv-z]{25}\b")
PLACEHOLDERS = [
    (re.compile(r"^! [a-z ]+: [\d,]+ of [\d,]+ [a-z]+\n", re.MULTILINE), ""),  # how far it is, where it takes long
    (re.compile(r"\b[0-9a-f]{32}\b"), "MLFLOW_RUN"),
    (re.compile(r"(?<=[:,])1[0-9]{12}(?=,)"), "MS"),  # in the tags that tell of histories
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "YYYY-MM-DDTHH:MM:SS.mmmZ"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\dZ"), "YYYY-MM-DD HH:MMZ"),
    (re.compile(r'("duration_s": |duration(?:\t| \| ))[\d.]+'), r"\1DURATION"),
    (re.compile(r"(?<=mmmZ)([\t,])[\d.]+(?=\1)"), r"\1DURATION"),
    (re.compile(r"(?<=mmmZ)([\t,])[\d.]+$", re.MULTILINE), r"\1DURATION"),
]


def stable(text: str, folders: dict[str, Path]) -> str:
    """The text with everything that differs from run to run replaced; what stands in a table keeps its width."""
    for name, folder in folders.items():
        text = text.replace(str(folder), name)
    known: list[str] = []
    for found in RUN_ID.findall(text):
        if found not in known:
            known.append(found)
    for number, run_id in enumerate(known, 1):
        text = text.replace(f"{run_id}  ", f"RUN{number}".ljust(28)).replace(run_id, f"RUN{number}")
        text = text.replace(f"run-{run_id[-6:]}", f"run-RUN{number}")
    for pattern, placeholder in PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return text


def as_shell(script: str) -> str:
    """The script, with each line shown before it is run."""
    parts = [PRELUDE]
    for line in script.strip("\n").splitlines():
        shown = line if not line or line.startswith("#") else f"$ {line}"
        parts.append(f"printf '%s\\n' {shlex.quote(shown)}\n{line}\n")
    return "".join(parts)


def transcript(case: str, base: Path) -> dict[str, str]:
    """Run a case in a folder of its own; returns the texts of its golden files."""
    folders = {"PROJECT": base / "project", "HOME": base / "home", "SCRATCH": base / "scratch"}
    for folder in folders.values():
        folder.mkdir(parents=True)
    kept = {name: value for name, value in helpers.child_environment().items() if not name.startswith("XDG_")}
    given = {"HOME": str(folders["HOME"]), "SCRATCH": str(folders["SCRATCH"]), "PYTHON": sys.executable}
    environment = {**kept, **given, "COLUMNS": "80", "LC_ALL": "C.UTF-8", "TZ": "UTC", "TRK_BACKENDS": "none"}
    done = subprocess.run(
        ["bash", "-c", as_shell((HERE / case / "script.sh").read_text(encoding="utf-8"))],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        cwd=folders["PROJECT"], env=environment, encoding="utf-8", timeout=120,
    )  # fmt: skip
    texts = {"output.txt": stable(done.stdout, folders).rstrip("\n") + "\n"}
    if case.startswith("mlflow-"):
        store = f"sqlite:///{folders['PROJECT'] / 'mlflow.db'}"
        asked = subprocess.run(
            [sys.executable, "-c", RECEIVED, store],
            stdin=subprocess.DEVNULL, capture_output=True, check=True, env=environment, encoding="utf-8", timeout=120,
        )  # fmt: skip
        texts["received.json"] = stable(asked.stdout, folders)
    return texts


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Scripts wait for processes most of the time: two run at once."""
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture(scope="module")
def running() -> dict[str, Future[dict[str, str]]]:
    return {}


# Scripts of dozens of commands, each of which is tried in tests/cli besides.
LONG = (
    "bundles", "compare", "delete-restore", "end-exit-code", "exit-codes", "formats", "import", "pictures",
    "resume-attach-detach", "run-names", "trk-run-env",
)  # fmt: skip


def needs(case: str) -> list[pytest.MarkDecorator]:
    if not case.startswith("mlflow-"):
        return [pytest.mark.long] if case in LONG and not WRITE else []
    absent = importlib.util.find_spec("mlflow") is None
    return [pytest.mark.mlflow, pytest.mark.skipif(absent, reason="mlflow is not installed")]


@pytest.mark.parametrize("case", [pytest.param(case, marks=needs(case)) for case in CASES])
def test_the_transcript_is_as_it_was(
    case: str,
    pool: ThreadPoolExecutor,
    running: dict[str, Future[dict[str, str]]],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if not running:  # all that were asked for, in the order in which they are waited for
        for item in request.session.items:
            chosen = getattr(item, "callspec", None)
            if item.path == Path(__file__) and chosen and not item.get_closest_marker("skip") and runs(item):
                name = chosen.params["case"]
                running[name] = pool.submit(transcript, name, tmp_path_factory.mktemp(name))
    if case not in running:
        running[case] = pool.submit(transcript, case, tmp_path_factory.mktemp(case))
    for name, text in running[case].result().items():
        golden = HERE / case / name
        if WRITE:
            golden.write_text(text, encoding="utf-8")
        assert text == golden.read_text(encoding="utf-8")


def runs(item: pytest.Item) -> bool:
    return not any(mark.args and mark.args[0] for mark in item.iter_markers("skipif"))


def test_every_case_is_whole() -> None:
    for folder in (path for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        files = {path.name for path in folder.iterdir()}
        assert {"script.sh", "output.txt"} <= files, folder.name
        assert ("received.json" in files) == folder.name.startswith("mlflow-"), folder.name
    for text in (path.read_text(encoding="utf-8") for path in HERE.glob("*/*")):
        assert "Traceback" not in text
        assert not RUN_ID.search(text)
        json.loads(text) if text.startswith("[\n") else None
