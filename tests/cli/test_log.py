"""`trk log`: lines from a pipe, their answers, what stops it, and what is durable when."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import COMMAND, child_environment, until
from helpers import trk as command
from trk import syncing
from trk.run import Run


@pytest.fixture
def run() -> Run:
    return trk.start("one", shell_session=True)


def points(run: Run) -> list[tuple[str, int, float]]:
    from trk.journal import bulk, read

    key = read.run_key(run.journal, run.id)
    assert key is not None
    return [(name, step, value) for name, step, _, value in bulk.points(run.journal, key)]


@contextmanager
def piped(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`trk log WORDS…` that the test writes to and reads from."""
    with subprocess.Popen(
        [*COMMAND, "log", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=child_environment(),
    ) as process:  # fmt: skip
        yield process
        process.kill()


def say(process: subprocess.Popen[bytes], words: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(words)
    process.stdin.flush()


def answer(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """What `--ack` says to a line."""
    say(process, line)
    assert process.stdout is not None
    return process.stdout.readline()


def test_lines_are_logged_bad_ones_are_told_and_the_rest_goes_on(run: Run) -> None:
    text = '\ufeff{"loss": 0.5, "step": 1}\r\nloss=0.25 f1=0.9 step=2\n\noops\n{"loss": 0.125}'
    done = command("log", "-", "--json", input=text)
    assert done.returncode == 0
    assert done.stderr == (
        "trk: warning: line 4: 'oops' is not KEY=VALUE\ntrk: warning: 1 of 4 lines were not logged\n"
    )
    assert json.loads(done.stdout) == {
        "run_id": run.id, "n": 3, "step": 3, "lines": 3, "points": 4, "bad": 1,
        "bad_lines": [{"line": 4, "reason": "'oops' is not KEY=VALUE"}],
    }  # fmt: skip
    assert sorted(points(run)) == [("f1", 2, 0.9), ("loss", 1, 0.5), ("loss", 2, 0.25), ("loss", 3, 0.125)]


def test_many_bad_lines_are_counted_more_than_told(run: Run) -> None:
    done = command("log", input="bad\n" * 5000 + "a=1")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 22
    assert lines[-2:] == ["trk: warning: further bad lines are counted only",
                          "trk: warning: 5,000 of 5,001 lines were not logged"]  # fmt: skip


def test_strict_stops_at_the_first_bad_line(run: Run) -> None:
    done = command("log", "--strict", input="a=1\noops\na=2\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("trk: line 2: 'oops' is not KEY=VALUE (lines logged before it: 1;")
    assert points(run) == [("a", 0, 1.0)]


def test_nothing_but_bad_lines_is_a_failure_and_no_lines_are_none(run: Run) -> None:
    done = command("log", "-q", input="oops\n1,2\n")
    assert done.returncode == 2
    assert done.stderr.startswith("trk: nothing was logged: all of 2 lines are bad; line 1: 'oops' is not KEY=VALUE")
    done = command("log", input="\n\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_is_given_by_the_shell(run: Run, call: Any) -> None:
    done = call("log", "metrics.jsonl")
    assert done.code == 2
    assert done.err == "trk: log reads standard input, not 'metrics.jsonl' (trk log - < metrics.jsonl)\n"


def test_without_a_run_or_with_one_that_has_ended_it_fails_as_log_metric_does(run: Run) -> None:
    run.end()
    done = command("log", input="a=1\n", env={"TRK_RUN": run.id})
    assert done.returncode == 7
    assert f"run {run.id} has ended" in done.stderr
    assert command("log", input="a=1\n").returncode == 3


def test_each_line_is_answered_once_it_is_durable(run: Run) -> None:
    with piped("--ack") as process:
        said = [answer(process, line) for line in (b"a=1\n", b"\n", b"a=x\n", b'{"a": 2, "step": 7}\n', b"a=3\n")]
        process.kill()  # and what was answered stays
    assert said == [
        b"ok 1 0\n", b"skip\n", b"error usage the value of a 'x' is not a number (such as 0.5, -1e-3, nan, inf)\n",
        b"ok 2 7\n", b"ok 3 8\n",
    ]  # fmt: skip
    assert points(run) == [("a", 0, 1.0), ("a", 7, 2.0), ("a", 8, 3.0)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_slow_line_is_durable_soon_and_a_signal_loses_none_that_was_read(number: int, code: int, run: Run) -> None:
    with piped() as process:
        say(process, b"a=1\n")
        until(lambda: len(points(run)) == 1)
        say(process, b"a=2\na=3\nhalf a li")
        until(lambda: len(points(run)) == 3)
        process.send_signal(number)
        assert process.wait(20) == code
    assert [value for _, _, value in points(run)] == [1.0, 2.0, 3.0]


def test_a_run_that_ends_meanwhile_stops_it_and_what_was_logged_stays(run: Run) -> None:
    with piped("--ack") as process:
        assert process.stderr is not None
        assert answer(process, b"a=1\n") == b"ok 1 0\n"
        run.end()
        assert answer(process, b"a=2\n") == f"error conflict run {run.id} has ended (FINISHED)\n".encode()
        assert process.wait(20) == 7
        assert process.stderr.read().startswith(b"lines logged before this: 1\n")


@pytest.mark.parametrize("moved", [True, False])
def test_nothing_goes_into_a_journal_that_was_moved_or_deleted(moved: bool, run: Run, project: Path) -> None:
    with piped("--ack") as process:
        assert process.stderr is not None
        assert answer(process, b"a=1\n") == b"ok 1 0\n"
        there = project / ".trk"
        there.rename(project / "moved") if moved else shutil.rmtree(there)
        assert answer(process, b"a=2\n").startswith(b"error journal_error ")
        assert process.wait(20) == 1
        assert process.stderr.read().startswith(b"lines logged before this: 1\n")
    assert not there.exists()
    if moved:
        (project / "moved").rename(there)
        assert points(run) == [("a", 0, 1.0)]


def test_a_reader_of_the_answers_that_has_gone_is_no_reason_to_stop(run: Run, project: Path) -> None:
    script = f"seq 1 3000 | sed s/^/a=/ | {' '.join(COMMAND)} log --ack | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], env=child_environment(), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ok 1 0\n", b"")
    assert len(points(run)) == 3000


@pytest.mark.mlflow
def test_lines_are_at_mlflow_point_by_point(mlflow_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    run = trk.start("piped", backends="mlflow", delivery="end", shell_session=True)
    text = "".join(f'{{"loss": {n / 7}, "f1": {n}, "step": {n}}}\nlr=1e-{n % 9}\n' for n in range(1000))
    assert command("log", input=text).returncode == 0
    syncing.sync(run.id)
    from mlflow import MlflowClient

    remote = run.record.backends["mlflow"]
    assert (remote.pending, remote.rejected) == (0, 0)
    client = MlflowClient(mlflow_server.url)
    history = client.get_metric_history(remote.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(n, n / 7) for n in range(1000)]
    assert [point.step for point in client.get_metric_history(remote.run_id, "lr")] == list(range(1000))
