"""Signals that trk gets are the command's, each once; and trk ends of the one that its command died of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import trk
from cli.terminals import Terminal
from helpers import COMMAND, child_environment, until

WRAP = [*COMMAND, "run", "-q", "--"]
TOLD = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")

# Says which signals it gets, until it gets SIGTERM a second time.
EARS = """
import os, signal, sys
count = 0
signal.alarm(60)  # whatever becomes of the test
def heard(number, _):
    global count
    count += number == signal.SIGTERM
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
    if count == 2:
        os._exit(9)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), heard)
open("pid", "w").write(str(os.getpid()))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def ears(**how: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [*WRAP, sys.executable, "-c", EARS, *TOLD, "SIGTSTP", "SIGCONT"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=child_environment(), **how,
    )  # type: ignore[call-overload]  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    return process  # type: ignore[no-any-return]


def state(pid: int) -> str:
    """A process's state as proc(5) has it: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_each_signal_reaches_the_command_once_and_its_end_is_its_own() -> None:
    with ears() as process:
        assert process.stdout is not None
        for name in TOLD:
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline() == name.encode() + b"\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"SIGTERM\n"
        assert process.wait(30) == 9
    (run,) = trk.search(source="local")
    assert run.status == "FAILED"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_stopping_and_continuing_trk_is_stopping_and_continuing_the_command() -> None:
    with ears() as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTSTP)
        assert process.stdout.readline() == b"SIGTSTP\n"
        until(lambda: state(process.pid) == "T")
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == b"SIGCONT\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"SIGTERM\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 9


def test_trk_dies_of_the_signal_that_its_command_died_of() -> None:
    for name in ("SIGTERM", "SIGKILL", "SIGINT", "SIGPIPE"):
        number = getattr(signal, name)
        done = subprocess.run(
            [*WRAP, "sh", "-c", f"kill -{int(number)} $$"], env=child_environment(), timeout=60, check=False
        )
        assert done.returncode == -number
    assert [run.status for run in trk.search(source="local")] == ["FAILED", "KILLED", "KILLED", "KILLED"]


def test_what_was_ignored_stays_ignored_as_under_nohup() -> None:
    def deaf() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    code = "import os, signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN); os.kill(os.getppid(), 1)"
    done = subprocess.run(
        [*WRAP, sys.executable, "-c", code], preexec_fn=deaf, env=child_environment(), capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"True\n")


def test_who_is_not_told_of_his_childrens_deaths_still_learns_how_the_command_ended() -> None:
    def childless() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    done = subprocess.run([*WRAP, "sh", "-c", "exit 5"], preexec_fn=childless, env=child_environment(), check=False)
    assert done.returncode == 5


def test_ctrl_c_in_the_middle_of_a_pipeline_reaches_the_command_once(project: Path) -> None:
    script = f"import sys; exec({EARS!r})"
    line = f'{" ".join(WRAP)} {sys.executable} -c "$EARS" {" ".join(TOLD)} | cat; echo over'
    env = {**child_environment(), "EARS": script}
    terminal = Terminal(["bash", "-c", f"trap : INT; {line}"], env, project)
    try:
        terminal.read_until(lambda: "ready" in terminal.shown)
        terminal.type("\x03")
        terminal.read_until(lambda: "SIGINT" in terminal.shown)
        pid = int((project / "pid").read_text())
        os.kill(pid, signal.SIGUSR1)  # whatever comes after it has been heard by then
        terminal.read_until(lambda: "SIGUSR1" in terminal.shown)
        assert terminal.shown.count("SIGINT") == 1
        for _ in range(2):
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.01)
    finally:
        terminal.close()
