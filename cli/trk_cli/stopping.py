"""Ctrl-C as the way in which a command that goes on is ended: it finishes what it is at, and tells."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_interrupt() -> Iterator[threading.Event]:
    """Yields what is set by the first Ctrl-C; the second one interrupts, as ever."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop.set()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # it is ignored, as in the background of a script; or a host's own
        yield stop
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
