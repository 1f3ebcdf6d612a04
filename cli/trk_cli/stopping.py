"""Ctrl-C, or SIGTERM, as the way in which a command that goes on is ended: it finishes what it is at, and tells."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trk_cli.declared import Leave


class Stop(threading.Event):
    """Set when the command is to end; `leave` then ends it with that signal's exit code."""

    number = signal.SIGINT

    def leave(self) -> None:
        """Raise Leave when it was set."""
        if self.is_set():
            raise Leave(128 + self.number)


@contextmanager
def on_signal() -> Iterator[Stop]:
    """Yields what is set by the first signal; the second one acts as ever."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.number = signal.Signals(number)
        for one, plain in before.items():
            signal.signal(one, plain)
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # One that is ignored, as Ctrl-C is in the background of a script, stays so; and a host's own is the host's.
    before = {number: how for number, how in before.items() if how in (signal.default_int_handler, signal.SIG_DFL)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, plain in before.items():
            signal.signal(number, plain)
