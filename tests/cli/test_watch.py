"""`trk watch`: a run of another process at a real terminal and in a pipe, until it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trk
from cli.terminals import Terminal
from helpers import COMMAND, child_environment, started, until
from trk.query import sources, watching

Call = Callable[..., Any]

# A run that does what it is told, a line at a time.
RUN = """
import sys, trk
run = trk.start("training", experiment="digits")
print(run.id, flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        run.finish("FAILED")
        break
    run.log_metrics({"loss": float(line), "f1": 1 - float(line)})
    print("logged", flush=True)
"""


class Training:
    """A run in a process of its own."""

    def __init__(self) -> None:
        self._process = started(RUN)
        assert self._process.stdout is not None
        self.id = self._process.stdout.readline().strip()

    def log(self, loss: float) -> None:
        """One more step, in the journal when this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{loss}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "logged\n"

    def end(self) -> None:
        """End it, FAILED."""
        self._process.communicate("end\n", timeout=30)


@pytest.fixture
def training() -> Iterator[Training]:
    run = Training()
    yield run
    run._process.kill()
    run._process.communicate()


def test_at_a_terminal_it_shows_a_run_until_it_ends(training: Training, project: Path) -> None:
    training.log(0.5)
    env = {**child_environment(), "TERM": "xterm", "COLUMNS": "80"}
    terminal = Terminal([*COMMAND, "watch", training.id, "--interval", "0"], env, project)
    try:
        terminal.read_until(lambda: "training  RUNNING" in terminal.shown and "0.5" in terminal.shown)
        training.log(0.25)
        terminal.read_until(lambda: "step 1" in terminal.shown and "0.75" in terminal.shown)
        assert "█▁" in terminal.shown
        before = len(terminal._bytes)
        training.log(0.125)
        terminal.read_until(lambda: "step 2" in terminal.shown and "0.875" in terminal.shown)
        assert len(terminal._bytes) - before < 2_000  # a refresh is the lines of the screen, no more
        training.end()
        terminal.read_until(lambda: "FAILED" in terminal.shown)
        assert terminal._process.wait(30) == 0
    finally:
        terminal.close()


def test_ctrl_c_leaves_quietly(training: Training, project: Path) -> None:
    env = {**child_environment(), "TERM": "xterm"}
    terminal = Terminal([*COMMAND, "watch", training.id], env, project)
    try:
        terminal.read_until(lambda: "RUNNING" in terminal.shown)
        terminal._process.send_signal(signal.SIGINT)
        assert terminal._process.wait(30) == 130
        assert "Traceback" not in terminal.shown
    finally:
        terminal.close()


def test_in_a_pipe_it_prints_a_line_for_each_change(training: Training, project: Path) -> None:
    watch = subprocess.Popen(
        [*COMMAND, "watch", training.id, "--interval", "0"], stdout=subprocess.PIPE, text=True, cwd=project,
        env=child_environment(),
    )  # fmt: skip
    lines: list[str] = []
    assert watch.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(iter(watch.stdout.readline, "")))  # type: ignore[union-attr]
    reader.start()
    until(lambda: len(lines) == 1)
    training.log(0.25)
    until(lambda: len(lines) == 2)
    training.end()
    assert watch.wait(30) == 0
    reader.join()
    watch.stdout.close()
    assert [line.rstrip("\n").split("\t")[1:] for line in lines] == [
        ["training", "RUNNING"],
        ["training", "RUNNING", "step=0", "f1=0.75", "loss=0.25"],
        ["training", "FAILED", "step=0", "f1=0.75", "loss=0.25"],
    ]


def test_an_ended_run_is_shown_once(call: Call) -> None:
    with trk.start("over") as run:
        run.log_metric("f1", 0.5)
    done = call("watch", "over", "--json")
    assert (done.code, done.err) == (0, "")
    (told,) = [json.loads(line) for line in done.out.splitlines()]
    assert (told["run_id"], told["status"], told["step"]) == (run.id, "FINISHED", 0)


def test_several_runs_are_watched_until_the_last_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SLOWEST_S", 0.05)  # what this process itself writes is only seen so
    first, second = trk.start("first"), trk.start("second", nested=True)
    found = trk.watch([first, second], interval=0)
    assert [one.record.name for one in next(found)] == ["first", "second"]
    second.log_metric("f1", 0.5)
    second.finish()
    first.finish("KILLED")
    now = list(found)[-1]
    assert [(str(one.record.status), dict(one.values)) for one in now] == [("KILLED", {}), ("FINISHED", {"f1": [0.5]})]


def test_of_a_server_the_same_value_at_a_later_step_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.start("constant", backends="memory")
    run.log_metric("lr", 0.001)
    trk.sync(run.id, strict=True)
    found = sources.choose("memory", timeout=10, warn=lambda _: None)
    followed = watching._Followed(found, None, run.id)
    assert followed.look().step == 0
    for _ in range(50):
        run.log_metric("lr", 0.001)
    trk.sync(run.id, strict=True)
    monkeypatch.setattr(watching, "ALL_S", 0.0)
    assert followed.look().step == 50
    run.log_metric("lr", 0.001)
    run.end(strict=True)
    monkeypatch.setattr(watching, "ALL_S", 1000.0)
    assert followed.look().step == 51, "an ended run is read to its end"


def test_a_run_that_goes_on_after_the_time_given_is_exit_1(call: Call, open_run: str) -> None:
    done = call("watch", "--timeout", "0")
    assert done.code == 1
    assert done.out.startswith(f"{open_run}\tone\tRUNNING")
    assert "did not end in the time given" in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 3, "no run is active"),
        (["nothing"], 4, "there is no run 'nothing'"),
        (["over", "--interval", "-1"], 2, "is not a number of seconds"),
        (["over", "--timeout", "nan"], 2, "is not a number of seconds"),
    ],
)
def test_what_cannot_be_watched_is_said(call: Call, words: list[str], code: int, says: str) -> None:
    with trk.start("over"):
        pass
    done = call("watch", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
