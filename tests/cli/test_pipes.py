"""At the process's edges: readers that leave, closed streams, Ctrl-C, other encodings, tracebacks."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import helpers


def bash(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A bash script in which `trk` is the command; the exit code of a pipe is that of the first that failed."""
    function = f'set -o pipefail; trk() {{ "{sys.executable}" -P -m trk_cli "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", function + script],
        env=helpers.child_environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def metric_rows(project: Path) -> int:
    with sqlite3.connect(project / ".trk" / "journal.db") as journal:
        count: int = journal.execute("SELECT count(*) FROM rows WHERE kind = 'metric'").fetchone()[0]
    journal.close()
    return count


def test_stdout_holds_the_answer_alone(project: Path) -> None:
    done = bash('RUN=$(trk start); trk log-metric f1 0.9 --run "$RUN"; echo "[$RUN]"; trk ls -q')
    run_id = done.stdout.splitlines()[1]
    assert (done.returncode, done.stdout) == (0, f"[{run_id}]\n{run_id}\n")
    assert len(run_id) == 26
    assert metric_rows(project) == 1


def test_a_reader_that_leaves_is_no_error(call: Any) -> None:
    for number in range(30):
        assert call("start", f"run-{number}", "--replace", "-q").code == 0
    done = bash("trk ls | head -1; trk ls --json | true; trk help json | head -1; trk start --help | head -1")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    "line",
    ["log-metric f1 1", "log-metric f1 1 --json", "ls", "show --json", "status", "log-metric --help", "help json"],
)
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(line: str, closed: str, open_run: str) -> None:
    done = bash(f"trk {line} {closed}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_an_error_keeps_its_exit_code_where_nobody_can_read_it(open_run: str) -> None:
    assert bash("trk log-metric f1 high 2>&-").returncode == 2
    assert bash("trk log-metric f1 1 --run nobody >&- 2>&-").returncode == 4
    assert bash("TRK_DEBUG=1 trk log-metric f1 high >&- 2>&-").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("line", ["log-metric f1 1 --json", "ls", "log-metric --help", "--version"])
def test_an_answer_that_cannot_be_written_is_a_failure_in_one_line(line: str, open_run: str) -> None:
    done = bash(f"trk {line} >/dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_is_exit_130_and_what_was_acknowledged_stays(project: Path, open_run: str) -> None:
    waiting = subprocess.Popen(
        [*helpers.COMMAND, "log-metrics", "-"],
        env=helpers.child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    helpers.until(lambda: reads_its_stdin(waiting.pid))
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, err) == (130, b"", b"")
    assert metric_rows(project) == 1


def reads_its_stdin(pid: int) -> bool:
    """Whether the process sleeps in a read of descriptor 0."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text().startswith("0 0x0 ")
    except OSError:
        pytest.skip("needs Linux's /proc to know when the command waits")


@pytest.mark.parametrize(
    "env",
    [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=["C", "ascii", "latin-1"],
)
def test_other_encodings_lose_nothing(env: dict[str, str], trk_command: Any) -> None:
    assert trk_command("start", "größe 日本 🎯", "-q", env=env).returncode == 0
    assert trk_command("log-metric", "größe", "0.5", env=env).returncode == 0
    assert trk_command("set-tag", "note", "日本 🎯", env=env).returncode == 0
    narrow = subprocess.run(
        [*helpers.COMMAND, "show", "--json"], env=helpers.child_environment(**env), capture_output=True, check=True
    )
    found = json.loads(narrow.stdout)
    assert (found["name"], found["tags"]["note"], found["metrics"]) == ("größe 日本 🎯", "日本 🎯", {"größe": 0.5})
    assert narrow.stderr == b""
    refused = subprocess.run(
        [*helpers.COMMAND, "log-metric", "🎯", "1"],
        env=helpers.child_environment(**env),
        capture_output=True,
        check=False,
    )
    assert (refused.returncode, refused.stderr.count(b"\n"), b"Traceback" in refused.stderr) == (2, 1, False)


@pytest.mark.parametrize("line", ["log-metric f1 high", "ls --format xml", "log-metric f1"])
def test_a_traceback_is_shown_when_asked_for_only(line: str, trk_command: Any, open_run: str) -> None:
    usual = trk_command(*line.split())
    assert (usual.returncode, usual.stderr.count("\n"), "Traceback" in usual.stderr) == (2, 1, False)
    asked = trk_command(*line.split(), env={"TRK_DEBUG": "1"})
    assert (asked.returncode, "Traceback" in asked.stderr) == (2, True)
    assert asked.stderr.endswith(usual.stderr)
    assert trk_command(*line.split(), env={"TRK_DEBUG": "0"}).stderr == usual.stderr


def test_what_nobody_foresaw_is_one_line_too(call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from trk_cli import hot

    def broken(*_: object) -> None:
        raise RuntimeError("two\nlines \x1b[31m")

    monkeypatch.setitem(hot._ACTIONS, "log-metric", broken)
    done = call("log-metric", "f1", "1")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "RuntimeError: two lines \\x1b[31m (TRK_DEBUG=1 shows where)" in done.err
    assert json.loads(call("log-metric", "f1", "1", "--json").err)["error"]["code"] == "failure"


def test_a_deleted_working_directory_is_told_in_one_line(tmp_path: Path) -> None:
    for line in ("log-metric f1 1", "start", "ls", "config", "status"):
        done = bash(f"mkdir gone && cd gone && rmdir ../gone && trk {line}")
        assert done.returncode in (1, 3), line
        lines = [told for told in done.stderr.splitlines() if "shell-init" not in told and "getcwd" not in told]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("trk: ")
        assert "should not have happened" not in lines[0]


def test_no_output_has_escape_sequences_in_a_pipe(open_run: str) -> None:
    done = bash("trk ls; trk ls --format table; trk show; trk help json; trk --help", FORCE_COLOR="", TERM="xterm")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
