"""Programs at a terminal of their own, as a user types into them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# What becomes the shell takes the terminal as its own first: job control needs it, and only the child can do so.
_TAKES_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A program at a terminal: `type` sends keys; `shown` is what it showed so far."""

    def __init__(self, command: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self.shown = ""
        self._ours, theirs = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKES_TERMINAL, *command],
            stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Send keys."""
        os.write(self._ours, keys.encode())

    def read_until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Read what is shown until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the terminal shows {self.shown[-2000:]!r}"
            if select.select([self._ours], [], [], 0.01)[0]:
                self.shown += os.read(self._ours, 65536).decode(errors="replace")

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
