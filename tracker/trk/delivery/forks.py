"""Forks while a thread delivers: none happens in the middle of a call to a backend, if it does not take long.

The child would have a copy of what the call has open: of a database file in the middle of a transaction, which the
child's exit would roll back under the parent's feet.
"""

from __future__ import annotations

import os
import threading

WAIT_S = 0.5  # a call that takes longer waits for a server, and has no file open


class _Gate:
    """Counts who is inside, and lets nobody in while a fork waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: set[int] = set()
        self._forks = 0

    def __enter__(self) -> None:
        with self._changed:
            while self._forks:
                self._changed.wait(WAIT_S)
            self._inside.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside.discard(threading.get_ident())
            self._changed.notify_all()

    def hold(self) -> None:
        """Wait until nobody is inside, but not for long; then, until `open`, nobody comes in."""
        here = threading.get_ident()
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: self._inside <= {here}, WAIT_S)

    def open(self) -> None:
        """The fork is over."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def renew(self) -> None:
        """In the child nobody is inside, whoever was."""
        self.__init__()  # type: ignore[misc]  # the same object, which others know


calling = _Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=calling.hold, after_in_parent=calling.open, after_in_child=calling.renew)
