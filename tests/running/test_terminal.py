"""At a terminal the command has a terminal, and ours is as it was when it has ended."""

from __future__ import annotations

import fcntl
import re
import struct
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

import trk
from cli.terminals import Terminal
from helpers import COMMAND, child_environment
from trk.running.kept import NAME

WRAP = f"{' '.join(COMMAND)} run -q --"


@pytest.fixture
def bash(project: Path) -> Iterator[Terminal]:
    """A shell at a terminal, in which `run` is the wrapped command."""
    env = {**child_environment(), "PS1": "prompt> ", "TERM": "dumb"}
    terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], env, project)
    terminal.read_until(lambda: "prompt>" in terminal.shown)
    yield terminal
    terminal.close()


def size(terminal: Terminal, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal._ours, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def test_the_command_has_a_terminal_of_the_same_size_and_keys_reach_it(bash: Terminal, project: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "print([os.isatty(fd) for fd in (0, 1, 2)], tuple(os.get_terminal_size()))\n"
        "signal.signal(signal.SIGWINCH, lambda *_: print('now', tuple(os.get_terminal_size()), flush=True))\n"
        "try: print('hello', input('name? ')); signal.pause(); input()\n"
        "except KeyboardInterrupt: print('interrupted', flush=True)\n"
        "sys.exit(6)\n"
    )
    (project / "program.py").write_text(code)
    before = termios.tcgetattr(bash._ours)
    bash.type(f"stty -g > before; {WRAP} {sys.executable} program.py; echo status $?; stty -g > after\n")
    bash.read_until(lambda: "name? " in bash.shown)
    assert "[True, True, True] (200, 100)" in bash.shown
    bash.type("you\n")
    bash.read_until(lambda: "hello you\r\n" in bash.shown)
    assert bash.shown.count("you") == 2  # what is typed is shown once
    size(bash, 50, 120)
    bash.read_until(lambda: "now (120, 50)" in bash.shown)
    bash.type("\x03")
    bash.read_until(lambda: "status 6" in bash.shown)
    assert bash.shown.count("interrupted") == 1
    bash.read_until(lambda: (project / "after").exists() and bash.shown.rstrip().endswith("prompt>"))
    assert (project / "before").read_text() == (project / "after").read_text()
    assert termios.tcgetattr(bash._ours)[:3] == before[:3]
    place = project / "kept.log"
    trk.get_artifact(NAME, run="@last", to=place, source="local")
    log = place.read_bytes()
    assert b"\r\n" not in log
    assert b"hello you\n" in log


def test_ctrl_z_stops_it_and_fg_goes_on(bash: Terminal, project: Path) -> None:
    (project / "program.py").write_text("while True: print('got', input(), flush=True)\n")
    bash.type(f"{WRAP} {sys.executable} program.py\n")
    bash.type("one\n")
    bash.read_until(lambda: "got one" in bash.shown)
    bash.type("\x1a")
    bash.read_until(lambda: "Stopped" in bash.shown and bash.shown.rstrip().endswith("prompt>"))
    bash.type("echo the shell is $((40 + 2))\n")
    bash.read_until(lambda: "the shell is 42" in bash.shown)
    bash.type("fg\n")
    bash.type("two\n")
    bash.read_until(lambda: "got two" in bash.shown)
    bash.type("\x04")  # the end of the input
    bash.read_until(lambda: "EOFError" in bash.shown and bash.shown.rstrip().endswith("prompt>"))


def test_the_terminal_is_restored_when_the_command_is_killed(bash: Terminal, project: Path) -> None:
    bash.type(f"{WRAP} sh -c 'stty raw -echo; kill -9 $$'; echo status $?\n")
    bash.read_until(lambda: "status 137" in bash.shown)
    bash.type("stty -a\n")
    bash.read_until(lambda: " echo " in bash.shown and " icanon " in bash.shown)


def test_each_stream_has_what_it_had(bash: Terminal, project: Path) -> None:
    code = "import os; print([os.isatty(fd) for fd in (0, 1, 2)], file=open('told', 'a'))"
    (project / "program.py").write_text(code)
    wrap = f"{WRAP} {sys.executable} program.py"
    bash.type(f"{wrap}; {wrap} | cat; {wrap} 2>err; {wrap} <told; {wrap} >out 2>&1 </dev/null; echo ov''er\n")
    bash.read_until(lambda: "over" in bash.shown)
    assert (project / "told").read_text().splitlines() == [
        "[True, True, True]",
        "[True, False, True]",
        "[True, True, False]",
        "[False, True, True]",
        "[False, False, False]",
    ]


def test_in_the_background_the_terminal_is_left_to_the_others(bash: Terminal, project: Path) -> None:
    bash.type(f"{WRAP} sh -c 'echo begun; read answer; echo \"answer $answer\"' &\n")
    bash.read_until(lambda: "begun" in bash.shown)
    bash.type("echo still $((40 + 2))\n")
    bash.read_until(lambda: "still 42" in bash.shown)
    bash.type("fg\n")
    bash.read_until(lambda: "fg" in bash.shown)
    bash.type("yes\n")
    bash.read_until(lambda: "answer yes" in bash.shown)


def test_what_trk_says_afterwards_leaves_a_line_without_an_end_as_it_is(bash: Terminal) -> None:
    wrap = f"TERM=xterm {WRAP.replace(' -q', '')}"  # where a bar is drawn
    bash.type(f"{wrap} printf '0.9\\033[0m'; echo ov''er\n")
    bash.read_until(lambda: "over" in bash.shown)
    assert re.search(rb"(?m)^0\.9\x1b\[0m\r?$", bash._bytes), bash.shown
    bash.type(f"{wrap} printf '0.8\\n\\033[0m'; echo ov''er again\n")
    bash.read_until(lambda: "over again" in bash.shown)
    assert b"\n0.8\r\n\x1b[0m\r\n" not in bash._bytes  # no empty line
