"""Signals that trk gets while a command runs are the command's: each is passed on once.

A command in our own process group gets what the terminal sends (Ctrl-C, Ctrl-\\, Ctrl-Z, a new size) by itself; what
somebody sends to trk it does not. The system tells the two apart where it has `sigwaitinfo`; elsewhere, in the
foreground, such a signal is taken to be the terminal's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from trk.running.terminal import is_foreground

PASSED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTSTP", "SIGCONT")
    if hasattr(signal, name)
)
_TYPED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH)  # what a terminal sends to its foreground
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_KERNEL = 0x80  # SI_KERNEL: no process has sent it
_STOP_WATCHING = signal.SIGURG  # which nobody sends otherwise, and which by itself does nothing

Passing = Callable[[int, bool], None]  # a signal, and whether the terminal has sent it to our whole group


class Signals:
    """Inside a `with`, signals are kept for the command; from `start` on `passing` gets them, until the block ends.

    Nothing is done outside of the main thread: Python lets nobody else handle signals. Signals that are ignored, as
    under nohup, stay so, for the command too.
    """

    def __init__(self) -> None:
        self._passing: Passing | None = None
        self._early: list[int] = []
        self._before: dict[int, Any] = {}
        self._mask: set[int | signal.Signals] | None = None
        self._thread: threading.Thread | None = None
        self._leaving = False
        self._ignored = False
        self.is_late = False  # one came that was to end us, when there was no command any more

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in PASSED:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._caught)
            if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else nobody learns how the command ended
                self._ignored = True
        return self

    def hold(self) -> None:
        """The command is started, with the mask that we were started with: from now on no thread is interrupted."""
        if self._before and hasattr(signal, "sigwaitinfo"):
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*self._before, _STOP_WATCHING])

    def start(self, passing: Passing) -> None:
        """Pass on what came, and what comes."""
        self._passing = passing
        if self._mask is not None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        while self._early:
            self._pass(self._early.pop(0))

    def late(self, number: int) -> None:
        """There is no command any more that a signal could be passed on to."""
        self.is_late = self.is_late or number in _ENDING

    def __exit__(self, *_: object) -> None:
        if self._thread is not None and self._thread.ident is not None:
            self._leaving = True
            signal.pthread_kill(self._thread.ident, _STOP_WATCHING)
            self._thread.join()
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def _caught(self, number: int, _: FrameType | None) -> None:
        if self._passing is None:
            self._early.append(number)
        else:
            self._pass(number)

    def _pass(self, number: int) -> None:
        """Pass on what nobody tells the sender of."""
        assert self._passing is not None
        self._passing(number, number in _TYPED and _is_at_terminal())

    def _watch(self) -> None:
        waited_for = [*self._before, _STOP_WATCHING]
        while True:
            found = signal.sigwaitinfo(waited_for)
            if found.si_signo == _STOP_WATCHING:
                if self._leaving:
                    return
                continue
            assert self._passing is not None
            self._passing(found.si_signo, found.si_code == _KERNEL and found.si_signo in _TYPED)


def _is_at_terminal() -> bool:
    """Whether we are in the foreground of our terminal."""
    try:
        ours = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return is_foreground(ours)
    finally:
        os.close(ours)
