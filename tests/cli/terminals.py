"""Programs at a terminal of their own, as a user types into them."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROWS, COLUMNS = 100, 200
_CODES = re.compile(r"\x1b(?:\[[0-9;?>]*[A-Za-z]|\][^\x07]*\x07|\(B|[=>])")

# What becomes the shell takes the terminal as its own first: job control needs it, and only the child can do so.
_TAKES_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A program at a terminal: `type` sends keys; `shown` is the text that it showed so far, with no colours."""

    def __init__(self, command: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self._bytes = b""
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKES_TERMINAL, *command],
            stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    @property
    def shown(self) -> str:
        return _CODES.sub("", self._bytes.decode(errors="replace"))

    def type(self, keys: str) -> None:
        """Send keys."""
        os.write(self._ours, keys.encode())

    def read_until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Read what is shown until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the terminal shows {self.shown[-2000:]!r}"
            if select.select([self._ours], [], [], 0.01)[0]:
                self._bytes += os.read(self._ours, 65536)

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
