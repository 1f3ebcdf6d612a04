"""`trk demo`: what it calls, what it shows, how it stops; and the real thing from end to end."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trk_cli import demo
from trk_cli.demo_model import Setting

needs_command = pytest.mark.skipif(importlib.util.find_spec("trk_cli.__main__") is None, reason="no command yet")
NOWHERE = {"opening": lambda run_id: [f"opened {run_id}"]}


class Recorder:
    """Takes the place of the command: remembers its calls, and fails at the one it is told to."""

    def __init__(self, fail_at: str = "") -> None:
        self.calls: list[list[str]] = []
        self.said: list[str] = []
        self._fail_at = fail_at

    def __call__(self, words: list[str]) -> demo.Done:
        self.calls.append(words)
        if words[0] == self._fail_at:
            return subprocess.CompletedProcess(words, 7, "", "trk: it went wrong")
        answer = f"run{len(self.calls)}\n" if words[0] == "start" else ""
        return subprocess.CompletedProcess(words, 0, answer, "")

    def verbs(self) -> list[str]:
        return [words[0] for words in self.calls]


def test_every_run_is_logged_whole_and_then_it_asks_for_the_best() -> None:
    recorder = Recorder()
    assert demo.run_demo(recorder.said.append, recorder, **NOWHERE) == 0
    one_run = ["start", "log-params", *["log-metrics"] * 20, "set-tag", "log-summary", "end"]
    assert recorder.verbs() == [*one_run * 3, "sync", "best", "ls"]
    assert recorder.calls[0] == ["start", "sweep-lr-0.1", "-e", "iris-demo", "--param", "lr=0.1"]
    assert recorder.calls[2] == ["log-metrics", "loss=0.7846", "accuracy=0.7949", "f1=0.7734", "--step", "0"]
    assert ["best", "--metric", "f1", "-e", "iris-demo"] in recorder.calls
    assert recorder.said[-1].startswith("opened run")


def test_the_screen_is_a_lesson_of_few_lines_that_can_be_typed() -> None:
    recorder = Recorder()
    demo.run_demo(recorder.said.append, recorder, **NOWHERE)
    # Beside these, the real commands say about fifteen lines.
    assert len(recorder.said) <= 25
    typed = [shlex.split(line)[2:] for line in recorder.said if line.startswith("$ trk ")]
    assert all(words in recorder.calls for words in typed)
    assert {words[0] for words in typed} == set(recorder.verbs())  # each verb is shown at least once
    assert any("… 18 more" in line for line in recorder.said)


def test_backends_are_handed_on() -> None:
    recorder = Recorder()
    demo.run_demo(recorder.said.append, recorder, backends=["mlflow"], sweep=[Setting(1, 0, epochs=1)], **NOWHERE)
    assert recorder.calls[0][-1] == "--backend=mlflow"
    assert recorder.verbs().count("start") == 1


@pytest.mark.parametrize("verb", ["log-params", "log-metrics", "log-summary", "end"])
def test_a_command_that_fails_stops_it_with_its_error_and_code_and_leaves_no_run_open(verb: str) -> None:
    recorder = Recorder(fail_at=verb)
    assert demo.run_demo(recorder.said.append, recorder, **NOWHERE) == 7
    assert recorder.said[-1] == "trk: it went wrong"
    assert recorder.calls[-1] == ["end", "--run", "run1", "--status", "KILLED", "--no-wait"]


@pytest.mark.parametrize("verb", ["start", "sync", "best", "ls"])
def test_a_failure_without_an_open_run_ends_nothing(verb: str) -> None:
    recorder = Recorder(fail_at=verb)
    assert demo.run_demo(recorder.said.append, recorder, **NOWHERE) == 7
    assert recorder.verbs()[-1] == verb


@pytest.mark.parametrize(
    ("uri", "addresses", "last"),
    [
        ("sqlite:////a b/mlflow.db", {}, "mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'"),
        (
            "https://ml.example.org",
            {"mlflow": "https://ml.example.org/#/1"},
            "# All of it is in MLflow: https://ml.example.org/#/1",
        ),
        ("", {"wandb": "https://wandb.example.org/1"}, "# wandb: https://wandb.example.org/1"),
        ("", {}, "mlflow ui --backend-store-uri sqlite:///mlflow.db"),
    ],
)
def test_it_ends_with_how_to_look_at_the_runs(uri: str, addresses: dict[str, str | None], last: str) -> None:
    assert demo.opening_lines(uri, addresses)[-1] == last


# The real command from here on.


def environ(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRK_", "MLFLOW_", "WANDB_"))}
    return {
        **kept,
        "TRK_DAEMON": "off",
        "HOME": str(folder.parent),
        "XDG_CONFIG_HOME": str(folder.parent / "config"),
        **more,
    }


def trk(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "trk_cli", *words]
    return subprocess.run(command, cwd=folder, env=environ(folder, **more), capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir(exist_ok=True)
    return made


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A demo in a folder whose user is in a run, `own`, and has settings: the folder, `own`, and the screen."""
    folder = tmp_path_factory.mktemp("demo") / "project"
    folder.mkdir()
    (folder / "json.py").write_text("raise SystemExit('imported from the working directory')")
    own = trk(folder, "start", "mine", TRK_BACKENDS="none").stdout.strip()
    done = trk(folder, "demo", TRK_BACKENDS="none", TRK_RUN=own, TRK_KEY_PREFIX="x/", TRK_STRICT="1")
    assert done.returncode == 0, done.stderr
    return folder, own, done.stdout + done.stderr


@needs_command
def test_the_demo_runs_from_end_to_end_without_any_backend(shown: tuple[Path, str, str]) -> None:
    folder, _, screen = shown
    assert "sweep-lr-3" in screen
    assert "mlflow ui --backend-store-uri" in screen
    assert len(screen.splitlines()) <= 40
    best = json.loads(trk(folder, "best", "--metric", "f1", "-e", "iris-demo", "--json", TRK_BACKENDS="none").stdout)
    assert best["best"]["value"] > 0.95
    assert best["status"] == "FINISHED"
    assert {path.name for path in folder.iterdir()} == {".trk", "json.py"}


@needs_command
def test_the_user_s_own_run_settings_and_session_are_left_alone(shown: tuple[Path, str, str]) -> None:
    folder, own, _ = shown
    status = json.loads(trk(folder, "status", "--json", TRK_BACKENDS="none").stdout)
    assert (status["run_id"], status["metrics"], status["params"]) == (own, {}, {})


@needs_command
def test_ctrl_c_leaves_no_run_running(folder: Path) -> None:
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "trk_cli", "demo"],
        cwd=folder,
        env=environ(folder, TRK_BACKENDS="none"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with started:
        assert started.stdout is not None
        while "log-metrics" not in (line := started.stdout.readline()):
            assert line
        time.sleep(0.2)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to the demo and its command alike
        started.stdout.read()
    assert started.returncode == 130
    runs = json.loads(trk(folder, "ls", "--json", TRK_BACKENDS="none").stdout)
    assert [run["status"] for run in runs] == ["KILLED"]


@needs_command
@pytest.mark.mlflow
def test_the_runs_are_in_mlflow_s_own_store(folder: Path) -> None:
    pytest.importorskip("mlflow")
    done = trk(folder, "demo", TRK_BACKENDS="mlflow")
    assert done.returncode == 0, done.stderr
    screen = done.stdout + done.stderr
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in screen
    assert len(screen.splitlines()) <= 40
    best = trk(
        folder, "best", "--metric", "f1", "-e", "iris-demo", "--source", "mlflow", "--json", TRK_BACKENDS="mlflow"
    )
    assert json.loads(best.stdout)["best"]["value"] > 0.95
