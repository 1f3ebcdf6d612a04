"""The ways of bytes between the command and trk's own streams: each is a thread that reads, writes, and shows a copy.

A byte goes on as soon as it is there. What is done with the copy never holds a byte up, and a failure there ends the
copy, not the way.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from trk.running.kept import CODES

CHUNK = 65_536  # bytes: what a pipe holds
GRACE_S = 0.5  # how long after the command's end its children, which hold its output open, are listened to
LAST = 1 << 20  # bytes that are read after its end in any case: more can't be on their way in a pipe

_LOOK_S = 0.05
LAST_SEEN = 128  # bytes that tell whether a line has ended

Sink = Callable[[bytes], None]


class Way(threading.Thread):
    """From descriptor `source` to descriptor `target` (its `aim`); `sink` gets a copy of what went through.

    `trouble` says, afterwards, what went wrong at our side; `copy_trouble` what the sink did.
    """

    def __init__(self, source: int, target: int, sink: Sink | None) -> None:
        super().__init__(daemon=True)
        self._source = source
        self.aim = target
        self._target: int | None = target
        self._sink = sink
        self._woken, self._wake = os.pipe()
        self._leave_at: float | None = None
        self._last = b""
        self.trouble: str | None = None
        self.copy_trouble: str | None = None

    def run(self) -> None:
        """Carry until there is no more, or until it is time to leave."""
        try:
            left = LAST
            while self._may_read(left):
                chunk = self._read()
                if chunk is None:
                    continue
                if not chunk or not self._wrote(chunk):
                    break
                self._show(chunk)
                if self._leave_at is not None:
                    left -= len(chunk)
        finally:
            os.close(self._source)  # a command that goes on writing learns from this that nobody reads any more

    def leave(self) -> None:
        """The command has ended: read what is there, wait a moment for its children, and leave."""
        self._leave_at = time.monotonic() + GRACE_S
        os.write(self._wake, b"x")

    def finish(self, is_over: Callable[[], bool]) -> None:
        """Wait for that. Whoever reads our output slowly is waited for, unless `is_over` says that it is enough."""
        while self.is_alive() and not is_over():
            self.join(_LOOK_S)
        if not self.is_alive():
            os.close(self._woken)
            os.close(self._wake)

    @property
    def is_mid_line(self) -> bool:
        """Whether the last line that went through has no end yet; a terminal's colours after it are none of it."""
        return not CODES.sub(b"", self._last).endswith(b"\n") if self._last else False

    def _may_read(self, left: int) -> bool:
        """Wait for bytes; whether there are any, and they are still wanted."""
        while True:
            leave_at = self._leave_at
            wait = None if leave_at is None else max(0.0, leave_at - time.monotonic())
            watched = select.poll()
            watched.register(self._source, select.POLLIN)
            if leave_at is None:
                watched.register(self._woken, select.POLLIN)
            found = {descriptor for descriptor, _ in watched.poll(None if wait is None else wait * 1000)}
            if self._source in found:
                return leave_at is None or left > 0 or wait != 0.0
            if not found and wait is not None:
                return False

    def _read(self) -> bytes | None:
        try:
            return os.read(self._source, CHUNK)
        except BlockingIOError:
            return None
        except OSError:  # EIO: nobody has the other end of a terminal
            return b""

    def _wrote(self, chunk: bytes) -> bool:
        """Write it all; False when whoever read our output has gone, which the command is to learn as well."""
        self._last = chunk[-LAST_SEEN:] if len(chunk) >= LAST_SEEN else (self._last + chunk)[-LAST_SEEN:]
        rest = memoryview(chunk)
        while rest and self._target is not None:
            try:
                rest = rest[os.write(self._target, rest) :]
            except BlockingIOError:  # somebody else has made the open file so
                waiting = select.poll()
                waiting.register(self._target, select.POLLOUT)
                waiting.poll(1000)
            except BrokenPipeError:
                return False
            except OSError as error:
                # The command is not to suffer for it: it goes on, and its output is kept all the same.
                self.trouble = error.strerror or str(error)
                self._target = None
        return True

    def _show(self, chunk: bytes) -> None:
        if self._sink is None:
            return
        try:
            self._sink(chunk)
        except Exception as error:  # noqa: BLE001 - whatever it is: the bytes go on without a copy
            self.copy_trouble = f"{type(error).__name__}: {error}"
            self._sink = None


class Keys(threading.Thread):
    """What is typed, to the command's terminal `target`, as long as `is_ours` says that it is for the command.

    `typed` sees it first; True from it keeps it from the command.
    """

    def __init__(self, source: int, target: int, is_ours: Callable[[], bool], typed: Callable[[bytes], bool]) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._target = target
        self._is_ours = is_ours
        self._typed = typed
        self._woken, self._wake = os.pipe()
        self._leaving = False

    def run(self) -> None:
        """Carry until told to leave, or until the terminal is gone."""
        while not self._leaving:
            watched = select.poll()
            watched.register(self._woken, select.POLLIN)
            if self._is_ours():
                watched.register(self._source, select.POLLIN)
            ready = {descriptor for descriptor, _ in watched.poll()}
            if self._woken in ready:
                os.read(self._woken, CHUNK)
            elif self._source in ready and self._is_ours() and not self._carried():
                return

    def look(self) -> None:
        """Whether what is typed is for the command may have changed."""
        os.write(self._wake, b"x")

    def finish(self) -> None:
        """The command has ended."""
        self._leaving = True
        self.look()
        self.join()
        os.close(self._woken)
        os.close(self._wake)

    def _carried(self) -> bool:
        try:
            keys = os.read(self._source, CHUNK)
            if not keys:
                return False
            if not self._typed(keys):
                self._write(keys)
        except OSError:
            return False
        return True

    def _write(self, keys: bytes) -> None:
        """Write the keys as the command takes them; it may be over before it has."""
        while keys and not self._leaving:
            try:
                keys = keys[os.write(self._target, keys) :]
            except BlockingIOError:
                room = select.poll()
                room.register(self._target, select.POLLOUT)
                room.poll(_LOOK_S * 1000)
