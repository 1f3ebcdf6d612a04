"""From a shell to W&B, beside MLflow, as users do it: the real commands and SDKs, and other tools to look."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import helpers
import trk
from daemon.tools import Place
from delivery.test_mlflow_end_to_end import journal_here, there
from delivery.test_mlflow_end_to_end import points_there as points_in_mlflow
from servers.mlflow_server import MlflowServer
from servers.wandb_reading import Point, folders, points, run_of, sync
from servers.wandb_server import WandbServer
from trk.journal import read

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]


def logged(run_id: str) -> list[Point]:
    """Every point that the journal has of a run."""
    journal = journal_here()
    record = read.record(journal, run_id)
    assert record is not None
    found = [point for key in record.metrics for point in read.points(journal, run_id, key)]
    return sorted((point.metric, point.step, point.time_ms, repr(point.value)) for point in found)


def shell(wandb_place: Place, tmp_path: Path, script: str) -> list[str]:
    """Run a script in bash with `trk` and `python` on its path; returns the words it printed."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name, words in {"trk": helpers.COMMAND, "python": [sys.executable]}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env=wandb_place.environment(PATH=path, POINTS=PROGRAM), cwd=wandb_place.project,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), journal_here()
    return done.stdout.split()


# -- one script, two backends -----------------------------------------------------------------------------------------

SCRIPT = """
set -euo pipefail
FIRST=$(trk start first -e digits -b mlflow -b wandb --param lr=0.10 --param seed=007 --tag stage=draft -q)
seq 0 11 | xargs -P 3 -I@ trk log-metrics loss=1.@ val/f1=0.@ --step @
python -c "$POINTS"
trk log-metric loss nan --step 1000
printf 'epoch,name\\n1,a\\n2,b\\n' | trk log-table - --type csv --name epochs
echo '<h1>It works</h1>' | trk log-html - --name report
trk set-tag stage 'über fertig'
CHILD=$(trk start child --nested -q -b mlflow -b wandb)
trk log-metric loss -- -1.5
trk log-summary verdict='ready to ship' score=0.5
trk end --failed --no-wait -q
trk end -q --timeout 40
trk sync --strict -q --timeout 40 || { trk status --run $FIRST >&2; trk status --run $CHILD >&2; exit 6; }
echo $FIRST $CHILD
"""
PROGRAM = """
import trk
run = trk.attach()
for step in range(12, 500):
    run.log_metrics({"loss": 1 / (step + 1), "val/f1": step / 1000}, step=step)
"""


def check_first(wandb_server: WandbServer, run_id: str) -> None:
    run = run_of(wandb_server, run_id, "digits")
    assert points(run) == logged(run_id)
    assert len(points(run)) == 1001
    assert [line["_step"] for line in run.history] == list(range(503))
    assert run.config == {"lr": 0.1, "seed": "007"}
    assert run.tags == ["stage=über fertig"]
    assert (run.display_name, run.state, run.exit_code) == ("first", "finished", 0)
    assert (run.summary["val/f1"], run.summary["loss"]) == (0.499, "NaN")
    epochs = json.loads(run.files[run.summary["epochs"]["path"]])
    assert (epochs["columns"], epochs["data"]) == (["epoch", "name"], [[1, "a"], [2, "b"]])
    assert run.files[run.summary["report"]["path"]].decode().strip() == "<h1>It works</h1>"


def check_child(wandb_server: WandbServer, run_id: str) -> None:
    run = run_of(wandb_server, run_id, "digits")
    assert points(run) == logged(run_id)
    assert (run.state, run.exit_code, run.summary["trk/status"]) == ("failed", 1, "FAILED")
    assert (run.summary["verdict"], run.summary["score"], run.summary["loss"]) == ("ready to ship", 0.5, -1.5)


@pytest.mark.mlflow
@pytest.mark.parametrize("daemon", helpers.some(["auto", "off"], "auto"))
def test_one_script_arrives_the_same_at_mlflow_and_online(
    wandb_server: WandbServer, mlflow_server: MlflowServer, wandb_place: Place, tmp_path: Path, daemon: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRK_DAEMON", daemon)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    first, child = shell(wandb_place, tmp_path, SCRIPT)
    check_first(wandb_server, first)
    check_child(wandb_server, child)
    assert run_of(wandb_server, child, "digits").summary["trk/parent"] == f"tester/digits/{first}"
    in_mlflow = [(key, step, ms, repr(value)) for key, step, ms, value in points_in_mlflow(mlflow_server.url, first)]
    assert sorted(in_mlflow) == points(run_of(wandb_server, first, "digits"))
    assert there(mlflow_server.url, first).data.params == {"lr": "0.10", "seed": "007"}
    assert wandb_server.unknown() == []


@pytest.mark.parametrize("daemon", helpers.some(["auto", "off"], "auto"))
def test_offline_each_run_is_one_folder_that_wandb_sync_sends(
    wandb_server: WandbServer, wandb_place: Place, tmp_path: Path, daemon: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", daemon)
    monkeypatch.setenv("WANDB_MODE", "offline")
    first, child = shell(wandb_place, tmp_path, SCRIPT.replace("-b mlflow ", ""))
    assert len(list((wandb_place.project / "wandb").glob("offline-run-*"))) == 2
    for run_id, check in ((first, check_first), (child, check_child)):
        (folder,) = folders(wandb_place.project, run_id)
        sync(wandb_server, folder)
        check(wandb_server, run_id)


def test_eight_shells_with_steps_in_any_order_lose_no_row(
    wandb_server: WandbServer, wandb_place: Place, tmp_path: Path
) -> None:
    run_id = wandb_place.done("start", "-q")
    dice = random.Random(8)
    scripts = []
    for shell_number in range(8):
        steps = dice.sample(range(1000), 12)
        scripts.append(
            "; ".join(f"{shlex.join(helpers.COMMAND)} log-metric m{shell_number} {n} --step {n}" for n in steps)
        )
    shells = [
        subprocess.Popen(["sh", "-ec", s], cwd=wandb_place.project, env=wandb_place.environment()) for s in scripts
    ]
    assert [child.wait(120) for child in shells] == [0] * 8
    wandb_place.done("end", "--strict", "-q", "--timeout", "60")
    found = points(run_of(wandb_server, run_id))
    assert found == logged(run_id)
    assert len(found) == 96


# -- as things go on --------------------------------------------------------------------------------------------------


def test_a_row_shows_within_seconds_and_a_run_goes_on_after_its_end(
    wandb_server: WandbServer, wandb_place: Place
) -> None:
    run_id = wandb_place.done("start", "-q", "--wandb-group", "sweep", "--description", "what it is")
    wandb_place.done("log-metric", "loss", "1")
    helpers.until(lambda: any(one.id == run_id and len(one.history) == 1 for one in wandb_server.runs()))
    began = time.monotonic()
    wandb_place.done("log-metric", "loss", "0.5")
    helpers.until(lambda: len(run_of(wandb_server, run_id).history) == 2)
    assert time.monotonic() - began < 20  # 2.5 s where nothing else is going on: the benchmarks measure it
    wandb_place.done("define-metric", "loss", "--mode", "min")
    wandb_place.done("end", "--exit-code", "143", "--strict", "-q")
    run = run_of(wandb_server, run_id)
    assert (run.state, run.exit_code, run.group, run.notes) == ("failed", 255, "sweep", "what it is")
    assert (run.summary["loss"], run.summary["loss.min"]) == (0.5, 0.5)
    wandb_place.done("resume", run_id, "-q")
    wandb_place.done("log-metric", "loss", "0.7", "--step", "0")  # earlier than what is there: not the last
    wandb_place.done("end", "--strict", "-q")
    run = run_of(wandb_server, run_id)
    assert points(run) == logged(run_id)
    assert (run.state, run.exit_code, run.summary["loss"]) == ("finished", 0, 0.5)


def test_several_runs_at_once_in_one_daemon_do_not_mix(wandb_server: WandbServer, wandb_place: Place) -> None:
    runs = [
        wandb_place.done("start", "--shell", f"run {n}", "-q").split("=")[1].split(";")[0].split()[0].strip("'\"")
        for n in range(4)
    ]
    for step in range(5):
        for number, run_id in enumerate(runs):
            wandb_place.done("log-metric", "loss", f"{number}.{step}", "--run", run_id)
    for run_id in runs:
        wandb_place.done("end", "--run", run_id, "--no-wait", "-q")
    wandb_place.done("sync", "--strict", "-q", "--timeout", "60")
    for number, run_id in enumerate(runs):
        assert points(run_of(wandb_server, run_id)) == logged(run_id)
        assert [line["loss"] for line in run_of(wandb_server, run_id).history] == [
            float(f"{number}.{n}") for n in range(5)
        ]


# -- offline ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", helpers.some(["auto", "off"], "auto"))
def test_sync_writes_an_open_offline_run_whole_and_the_end_writes_it_anew(
    wandb_server: WandbServer, wandb_place: Place, daemon: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", daemon)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_id = wandb_place.done("start", "-q")
    seen: list[Path] = []
    for n in range(2):
        wandb_place.done("log-metric", "loss", str(n))
        assert folders(wandb_place.project, run_id) == seen, "it goes when it has ended, or somebody asks for it"
        wandb_place.done("sync", "--strict", "-q", "--timeout", "20")
        seen = folders(wandb_place.project, run_id)
        assert len(seen) == 1
    wandb_place.done("log-metric", "loss", "2")
    wandb_place.done("end", "--strict", "-q")
    (folder,) = folders(wandb_place.project, run_id)
    sync(wandb_server, folder)
    assert points(run_of(wandb_server, run_id)) == logged(run_id)
    assert run_of(wandb_server, run_id).state == "finished"


def test_a_run_that_goes_on_after_wandb_sync_sent_it_has_no_line_twice(
    wandb_server: WandbServer, wandb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRK_DAEMON", "off")
    run = trk.start("goes on", params={"lr": 0.1}, delivery="end")
    run.log_html("<p>1</p>", "page")
    for n in range(4):
        run.log_metric("loss", n, step=n)
        run.set_tag("at", str(n))
        trk.sync(strict=True)
        if n != 1:  # then it is written once more, for nobody
            sync(wandb_server, folders(wandb_place.project, run.id)[-1])
    run.finish()
    trk.sync(strict=True)
    (folder,) = folders(wandb_place.project, run.id)
    sync(wandb_server, folder)
    there = run_of(wandb_server, run.id)
    assert [line["_step"] for line in there.history] == list(range(5))
    assert (points(there), there.state) == (logged(run.id), "finished")
    assert (there.tags, there.config, there.summary["loss"]) == (["at=3"], {"lr": 0.1}, 3)
    assert there.files[there.summary["page"]["path"]] == b"<p>1</p>"


def test_an_offline_write_that_was_killed_is_written_again(
    wandb_server: WandbServer, wandb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRK_DAEMON", "off")
    code = "import trk\nrun = trk.start()\nfor n in range(6000): run.log_metric('loss', n)\nrun.finish()\nprint(run.id)"
    run_id = helpers.program(code).stdout.strip()
    child = subprocess.Popen([*helpers.COMMAND, "sync", "-q"], env=wandb_place.environment(), cwd=wandb_place.project)

    def is_written() -> bool:
        return any(part.stat().st_size for one in folders(wandb_place.project, run_id) for part in one.glob("*.wandb"))

    helpers.until(is_written)
    child.kill()
    child.wait()
    wandb_place.done("sync", "--strict", "-q", "--timeout", "60")
    (folder,) = folders(wandb_place.project, run_id)
    sync(wandb_server, folder)
    assert points(run_of(wandb_server, run_id)) == logged(run_id)


def test_disabled_is_said_and_nothing_goes_there_and_an_empty_mode_says_nothing(
    wandb_server: WandbServer, wandb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    done = wandb_place.trk("start", "-q", WANDB_MODE="disabled")
    assert done.returncode == 0
    assert "nothing goes to wandb" in done.stderr
    assert json.loads(wandb_place.done("end", "--json"))["runs"][0]["backends"] == {}
    run_id = wandb_place.done("start", "-q", WANDB_MODE="")
    wandb_place.done("log-metric", "loss", "1", WANDB_MODE="")
    done = wandb_place.trk("end", "--strict", "-q", WANDB_MODE="")
    assert (done.returncode, done.stderr) == (0, ""), journal_here()
    assert points(run_of(wandb_server, run_id)) == logged(run_id)


def test_a_program_finds_its_environment_and_wandb_as_they_were(wandb_server: WandbServer, wandb_place: Place) -> None:
    code = (
        "import os, trk\n"
        "before = {name: text for name, text in os.environ.items() if name.startswith('WANDB')}\n"
        "for n in range(2):\n"
        "    with trk.start('mine', delivery='end') as run: run.log_metric('loss', n)\n"
        "    assert run.end(strict=True).backends['wandb'].delivered == 2 if run.status == 'RUNNING' else True\n"
        "trk.sync()\n"
        "assert not [one for one in trk.search(source='local') if one.backends['wandb'].pending]\n"
        "assert {name: text for name, text in os.environ.items() if name.startswith('WANDB')} == before\n"
        "import wandb\n"
        "run = wandb.init(settings=wandb.Settings(console='off', silent=True))\n"
        "assert (run.offline, run.name, run.id) == (True, 'theirs', 'abc'), (run.offline, run.name, run.id)\n"
        "run.finish()\n"
    )
    bound = {"WANDB_MODE": "offline", "WANDB_NAME": "theirs", "WANDB_RUN_ID": "abc", "TRK_DAEMON": "off"}
    done = helpers.program(code, **bound)
    assert (done.returncode, done.stderr) == (0, ""), journal_here()
    assert len(list((wandb_place.project / "wandb").glob("offline-run-*"))) == 3
