"""`trk demo`: a real small sweep on Fisher's irises, done by calling the very commands it shows.

The screen is a lesson of forty lines at most: the first run command by command, the others in short.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trk import session, settings
from trk.journal import read
from trk_cli import demo_model
from trk_cli.demo_model import Setting, Split, Weights

Say = Callable[[str], None]
Done = subprocess.CompletedProcess[str]
Call = Callable[[list[str]], Done]

EXPERIMENT = "iris-demo"
SWEEP = tuple(Setting(lr=lr, l2=0.001) for lr in (0.1, 1.0, 3.0))
COLUMNS = "name,params.lr,metrics.f1,metrics.test_f1"
SHOWN_EPOCHS = 2  # of the first run; the other log commands are told in one line

# They go to the terminal themselves, as they would if typed: a table there, plain text in a pipe.
_ANSWERS = ("best", "ls")
# The user's own run, prefix and strictness are for their runs: with them the demo would log into theirs, name its
# metrics otherwise, or fail for an `end` that does not wait.
_NOT_OURS = ("TRK_RUN", "TRK_KEY_PREFIX", "TRK_STEP_METRIC", "TRK_STRICT", "TRK_QUIET")


class _Stopped(Exception):
    """A command failed; `code` is what it exited with."""

    def __init__(self, code: int) -> None:
        self.code = code


def run_demo(
    say: Say,
    call: Call | None = None,
    *,
    backends: Sequence[str] = (),
    sweep: Sequence[Setting] = SWEEP,
    opening: Callable[[str], list[str]] | None = None,
) -> int:
    """Run the demo in the working directory and return its exit code: 0, or that of the command that failed.

    `say` shows a line. `call` runs one `trk` command given its words; left out, the real one in a process of its
    own. `backends` are given to `trk start -b`, none leaves the choice to the settings. `opening` gives the lines
    that say where a run can be looked at; left out, what the journal knows.
    """
    # A session of its own: the run that this directory's shells are in stays as it is.
    with tempfile.TemporaryDirectory(prefix="trk-demo-") as folder:
        lesson = _Lesson(say, call or real_command(Path(folder) / "session.json"))
        try:
            _teach(lesson, sweep, [f"--backend={name}" for name in backends], opening or where_to_look)
        except _Stopped as stopped:
            return stopped.code
        finally:
            lesson.abandon()
    return 0


def real_command(session_file: Path) -> Call:
    """`trk` as a process in the working directory, in the session of that file."""
    kept = {name: value for name, value in settings.environment().items() if name not in _NOT_OURS}
    environ = {**kept, "TRK_SESSION": str(session_file)}

    def call(words: list[str]) -> Done:
        stream = None if words[0] in _ANSWERS else subprocess.PIPE
        sys.stdout.flush()  # what was said before stands before what the command says itself
        sys.stderr.flush()
        return subprocess.run(
            # -P: a json.py or trk.py in the working directory is not what Python should import.
            [sys.executable, "-P", "-m", "trk_cli", *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    return call


class _Lesson:
    """Calls commands, shows them, and stops at the first that fails."""

    def __init__(self, say: Say, call: Call) -> None:
        self.say = say
        self._call = call
        self._open_run: str | None = None

    def show(self, *words: str) -> None:
        """Call a command, shown with what it says."""
        self.say(command_line(words))
        self._lines(self._checked(words))

    def hide(self, *words: str) -> None:
        """Call a command that is told of in other words."""
        self._checked(words)

    def start(self, *words: str, answer: bool) -> str:
        """`trk start`, shown; returns the run's id."""
        self.say(command_line(("start", *words)))
        done = self._checked(("start", *words))
        self._open_run = done.stdout.strip()
        if answer:
            self._lines(done)
        return self._open_run

    def ended(self) -> None:
        """The run that was started last has been ended."""
        self._open_run = None

    def abandon(self) -> None:
        """End a run that was left open by a failure or Ctrl-C. What comes of it changes nothing any more."""
        if self._open_run is not None:
            self._call(["end", "--run", self._open_run, "--status", "KILLED", "--no-wait"])
            self._open_run = None

    def _checked(self, words: Sequence[str]) -> Done:
        done = self._call(list(words))
        if done.returncode != 0:
            self.say(f"{command_line(words)[2:]} failed with exit code {done.returncode}:")
            self._lines(done)
            raise _Stopped(done.returncode)
        return done

    def _lines(self, done: Done) -> None:
        for line in (*(done.stdout or "").splitlines(), *(done.stderr or "").splitlines()):
            self.say(line)


def command_line(words: Sequence[str]) -> str:
    """A command as the screen shows it and a shell takes it."""
    return f"$ trk {shlex.join(words)}"


def _teach(
    lesson: _Lesson, sweep: Sequence[Setting], flags: Sequence[str], opening: Callable[[str], list[str]]
) -> None:
    parts = demo_model.split(demo_model.load())
    lesson.say(
        f"# Fisher's irises (1936): {len(parts.train)} to learn from, {len(parts.validation)} to choose by, "
        f"{len(parts.test)} to test."
    )
    lesson.say(f"# {len(sweep)} learning rates are tried, and logged by the commands that you would type.")
    run_id = ""
    for place, setting in enumerate(sweep):
        run_id = _one_run(lesson, setting, parts, flags, first=place == 0)
    if len(sweep) > 1:
        lesson.say(f"  … each followed by log-params, {sweep[-1].epochs} × log-metrics, set-tag, log-summary, end")
    lesson.say("# The runs are in the journal. What is still on its way is delivered now; then: which was best?")
    lesson.show("sync")
    lesson.show("best", "--metric", "f1", "-e", EXPERIMENT)
    # From the journal, which answers at once: a second import of MLflow would take seconds.
    lesson.show("ls", "-e", EXPERIMENT, "-n", str(len(sweep)), "--columns", COLUMNS, "--source", "local")
    for line in opening(run_id):
        lesson.say(line)


def _one_run(lesson: _Lesson, setting: Setting, parts: Split, flags: Sequence[str], *, first: bool) -> str:
    """One setting of the sweep, from `trk start` to `trk end`; returns the run's id."""
    tell = lesson.show if first else lesson.hide
    named = (f"sweep-lr-{setting.lr:g}", "-e", EXPERIMENT, "--param", f"lr={setting.lr:g}", *flags)
    run_id = lesson.start(*named, answer=first)
    tell("log-params", f"l2={setting.l2:g}", f"batch_size={setting.batch_size}", f"epochs={setting.epochs}")
    weights = demo_model.zeros()
    for step, weights in enumerate(demo_model.train(parts.train, setting)):
        if first and step == SHOWN_EPOCHS:
            lesson.say(f"  … {setting.epochs - SHOWN_EPOCHS} more, one after each epoch")
        report = tell if step < SHOWN_EPOCHS else lesson.hide
        report("log-metrics", *_metrics(weights, parts), "--step", str(step))
    tell("set-tag", "model", "softmax-regression")
    tell("log-summary", f"test_f1={demo_model.score(weights, parts.test).f1:.4f}")
    tell("end", "--no-wait")
    lesson.ended()
    return run_id


def _metrics(weights: Weights, parts: Split) -> list[str]:
    score = demo_model.score(weights, parts.validation)
    return [f"loss={score.loss:.4f}", f"accuracy={score.accuracy:.4f}", f"f1={score.f1:.4f}"]


def where_to_look(run_id: str) -> list[str]:
    """The lines that say where a run of this directory's journal can be looked at."""
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    record = read.record(journal, run_id) if journal is not None else None
    key = read.run_key(journal, run_id) if journal is not None else None
    if journal is None or record is None or key is None:
        return []
    store: Mapping[str, object] = {}
    if "mlflow" in record.backends:
        store = read.spec(journal, key, "mlflow", None).target
    addresses = {name: found.url for name, found in record.backends.items()}
    return opening_lines(str(store.get("tracking_uri") or ""), addresses)


def opening_lines(tracking_uri: str, addresses: Mapping[str, str | None]) -> list[str]:
    """How to open MLflow's UI on a store, and the addresses of the last run at the backends that have some."""
    if tracking_uri.startswith(("http://", "https://")):
        lines = [f"# All of it is in MLflow: {addresses.get('mlflow') or tracking_uri}"]
    elif tracking_uri:
        lines = [
            "# And in MLflow's own store. Open its UI, then http://127.0.0.1:5000 in a browser:",
            f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}",
        ]
    else:
        lines = [
            "# These runs went to no MLflow. With pip install 'trk-ml[mlflow]' the next ones do, and then",
            "mlflow ui --backend-store-uri sqlite:///mlflow.db",
        ]
    lines += [f"# {name}: {url}" for name, url in sorted(addresses.items()) if url and name != "mlflow"]
    return lines
