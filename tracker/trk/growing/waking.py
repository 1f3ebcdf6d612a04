"""Waiting until something below a folder changes: told by the system, or else by looking now and then.

What is told is only a hint to look. Who waits looks at the files themselves, so that a change of which nothing is told
(a network file system, a queue that ran over) is seen a little later, and never missed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from trk.errors import UsageError

TOLD_EVERY_S = 2.0  # how often it is looked where changes are told
LOOK_EVERY_S = 0.5  # and where they are not
GAP_S = 0.05  # a writer of a thousand lines a second is not looked at a thousand times
FOREVER_S = 3600.0  # no wait is longer than a look's own
SLICE_S = 0.1  # in which it is seen that somebody wants to stop
_MEANT = frozenset({"created", "deleted", "modified", "moved"})  # to open and to read is no change


def check_idle(until_idle: float | None) -> None:
    """Raise UsageError for what is no time without anything new."""
    if until_idle is not None and not until_idle >= 0:
        raise UsageError("until_idle must be a number of seconds, 0 or more")


class Waker:
    """Waits for changes below a folder, which need not be there yet, inside a `with`.

    `recursive` takes its folders in, too. `note` says why changes are not told; None: they are.
    """

    def __init__(self, folder: str, *, recursive: bool = True) -> None:
        self.note: str | None = None
        self._folder = folder
        self._recursive = recursive
        self._changed = threading.Event()
        self._observer: Any = None

    def __enter__(self) -> Self:
        if find_spec("watchdog") is None:
            self.note = "watchdog is not installed (pip install 'trk-ml[watch]')"
        else:
            self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def _listen(self) -> None:
        """Let the system tell, as soon as the folder is there."""
        if self._observer is not None or self.note is not None or not os.path.isdir(self._folder):
            return
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        _hush()
        changed = self._changed

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type in _MEANT:
                    changed.set()

        observer = Observer()
        try:
            observer.schedule(Handler(), self._folder, recursive=self._recursive)
            observer.start()
        except OSError as error:  # as many watches as the system allows are there, or the file system has none
            self.note = f"changes can't be listened for ({error.strerror or error})"
            return
        self._observer = observer

    def go_on(
        self,
        look: Callable[[], int],
        is_over: Callable[[], bool],
        *,
        stop: threading.Event,
        until_idle: float | None,
        warn: Callable[[str], None],
        what: str,
    ) -> None:
        """Look whenever something may be new; `look` returns how much was.

        Until it is over, `stop` is set, or nothing was new for `until_idle` seconds (None: for however long). `warn`
        is told when changes are not told, of `what`.
        """
        last = time.monotonic()
        is_told = False
        while True:
            if look():
                last = time.monotonic()
            left = until_idle - (time.monotonic() - last) if until_idle is not None else FOREVER_S
            if stop.is_set() or left <= 0 or is_over():
                return
            self.wait(stop, left)
            if self.note is not None and not is_told:
                warn(f"{self.note}: {what} is looked at now and then")
                is_told = True

    def wait(self, stop: threading.Event, at_most: float) -> None:
        """Return when something has changed, when it is time to look, or when `stop` is set."""
        self._listen()
        deadline = time.monotonic() + min(TOLD_EVERY_S if self._observer is not None else LOOK_EVERY_S, at_most)
        stop.wait(min(GAP_S, at_most))
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            if self._changed.wait(min(SLICE_S, left)):
                break
        self._changed.clear()


def _hush() -> None:
    """What watchdog logs (an event that comes while it is being stopped) is no trouble of who has set up no logging."""
    import logging

    logger = logging.getLogger("watchdog")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
