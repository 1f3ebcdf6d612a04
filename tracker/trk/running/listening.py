"""Has a process beside this one read what a command prints, and sample what it uses.

It is a process of its own because a pattern may take for ever, and because nothing is to hold up the command's output:
what it does not keep up with goes by unread, and is counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trk import settings

MOST_WAITING = 64 << 20  # bytes of output that wait for being read
END_S = 30.0  # how long it may read on after the command's end
_MODULE = "trk.running.listener"


@dataclass(frozen=True, slots=True)
class Heard:
    """What was found in the output: how many points, of which metrics; and what went wrong."""

    points: int = 0
    metrics: tuple[str, ...] = ()
    samples: int = 0
    troubles: tuple[str, ...] = field(default=())


class Listening:
    """The process and the way to it. `take` never waits."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", _MODULE]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(settings.environment()), start_new_session=True,
        )  # fmt: skip
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._missed = 0
        self._ended = False
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def start(self, told: Mapping[str, Any]) -> None:
        """Tell it what to do; from now on it is fed."""
        self._waiting.appendleft(json.dumps(told).encode() + b"\n")
        self._thread.start()

    def take(self, piece: bytes) -> None:
        """Some whole lines for it."""
        with self._ready:
            if self._size > MOST_WAITING:
                self._missed += len(piece)
                return
            self._waiting.append(piece if piece[-1:] in (b"\n", b"\r") else piece + b"\n")
            self._size += len(piece)
            self._ready.notify()

    def end(self, seconds: float = END_S) -> Heard:
        """There is no more: wait until it has read what it has, for so long at most, and hear what it found."""
        deadline = time.monotonic() + seconds
        with self._ready:
            self._ended = True
            self._ready.notify()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._process.stdin = None  # it is closed
        try:
            said, _ = self._process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return Heard(troubles=(f"what was printed is not all read for metrics: {seconds:g} s were not enough",))
        return self._heard(said)

    def abandon(self) -> None:
        """It is not needed after all."""
        self._process.kill()
        self._process.communicate()

    def _heard(self, said: bytes) -> Heard:
        missed = f"{self._missed / 1e6:.1f} MB of output came too fast to be read for metrics"
        troubles = [missed] if self._missed else []
        try:
            found = json.loads(said)
            troubles += found["troubles"]
            return Heard(found["points"], tuple(found["metrics"]), found["samples"], tuple(troubles))
        except (ValueError, KeyError, TypeError):
            code = self._process.returncode
            return Heard(troubles=(*troubles, f"what reads metrics out of the output has ended too early ({code})"))

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            while (piece := self._next()) is not None:
                self._process.stdin.write(piece)
                self._process.stdin.flush()
        except OSError:
            pass  # it has ended; what it says, or does not, tells why
        with self._ready:
            self._size = MOST_WAITING + 1  # nobody reads any more
            self._waiting.clear()
        try:
            self._process.stdin.close()
        except OSError:
            pass  # as above

    def _next(self) -> bytes | None:
        with self._ready:
            while not self._waiting and not self._ended:
                self._ready.wait()
            if not self._waiting:
                return None
            joined = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
            return joined
