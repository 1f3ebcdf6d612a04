"""The terminal that trk stands at, and the one that it gives to the command in its place."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from typing import Any

_NO_SIZE = struct.pack("4H", 0, 0, 0, 0)
_OFLAG, _LFLAG, _CC = 1, 3, 6


class Terminal:
    """A pty for the command, that is like the terminal at the descriptor `like`.

    `ours` is the end that trk reads and writes, `theirs` the command's. With `interactive` what is typed goes to the
    command: as long as trk is in the foreground, our own terminal is raw, so that each key, Ctrl-C too, means what the
    command's terminal makes of it.
    """

    def __init__(self, like: int, *, interactive: bool) -> None:
        self._like = like
        self._interactive = interactive
        self._saved: Any = None
        self.ours, self.theirs = os.openpty()
        os.set_blocking(self.ours, False)  # a command that reads no keys is not to hold up its own end
        attributes = termios.tcgetattr(like)
        if not interactive:
            attributes[_OFLAG] &= ~termios.OPOST  # ours, which is not raw, makes \r\n of \n
        termios.tcsetattr(self.theirs, termios.TCSANOW, attributes)
        self.resize()

    def started(self) -> None:
        """The command has its end: ours of it is closed, so that the command's end is seen."""
        os.close(self.theirs)
        self.theirs = -1

    def resize(self) -> bool:
        """Give the command's terminal the size of ours; whether it had another."""
        try:
            size = fcntl.ioctl(self._like, termios.TIOCGWINSZ, _NO_SIZE)
            if fcntl.ioctl(self.ours, termios.TIOCGWINSZ, _NO_SIZE) == size:
                return False
            fcntl.ioctl(self.ours, termios.TIOCSWINSZ, size)
        except OSError:
            return False  # either is gone
        return True

    def enter(self) -> bool:
        """Make our terminal raw, if keys are for the command and trk is in the foreground; whether it is."""
        if self._interactive and self._saved is None and is_foreground(self._like):
            try:
                self._saved = termios.tcgetattr(self._like)
                tty.setraw(self._like, termios.TCSADRAIN)
            except termios.error:
                self._saved = None
        return self._saved is not None

    def leave(self) -> None:
        """Our terminal is as it was."""
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self._like, termios.TCSADRAIN, saved)
            except termios.error:
                pass  # it was closed

    def is_raw(self) -> bool:
        """Whether keys go to the command."""
        return self._saved is not None

    def suspends(self, keys: bytes, leader: int) -> bool:
        """Whether the keys hold the one that suspends (Ctrl-Z), and nobody but the command itself would take it.

        A command that is alone on its terminal, as `leader` is, is not stopped by it: the system leaves those alone
        whom no shell could continue.
        """
        try:
            found = termios.tcgetattr(self.ours)
            key = found[_CC][termios.VSUSP]
            return bool(found[_LFLAG] & termios.ISIG) and key in keys and os.tcgetpgrp(self.ours) == leader
        except (OSError, termios.error):
            return False

    def close(self) -> None:
        """Leave ours, and close both ends of the command's."""
        self.leave()
        for end in (self.ours, self.theirs):
            if end >= 0:
                os.close(end)
        self.ours = self.theirs = -1


def is_foreground(terminal: int) -> bool:
    """Whether this process may change the terminal and gets what is typed there."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def is_terminal(descriptor: int) -> bool:
    """Whether a descriptor is a terminal; False for one that is closed."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
