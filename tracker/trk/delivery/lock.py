"""One deliverer per journal: a lock that the kernel frees when its holder dies, however it dies.

Who waits for it holds a second one meanwhile, the place in the queue: a deliverer that goes on and on sees there that
somebody waits, lets go, and has to queue itself. A child that is forked while they are held has the files open too,
and the kernel frees a lock with the last of them: so the child closes them before it does anything else.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

from trk.errors import JournalError

_POLL_S = 0.05

_turn = threading.Lock()  # held over a fork, so that no file is open then that is not in the list
_files: set[int] = set()


def _before_fork() -> None:
    _turn.acquire()


def _after_fork() -> None:
    _turn.release()


def _in_child() -> None:
    """Close, and never unlock: the lock is the parent's, and unlocked here it would be unlocked there."""
    for file in _files:
        os.close(file)
    _files.clear()
    _turn.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


class _File:
    """A file to lock. `held` says whether this object has the lock; one that crossed a fork never has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._process = 0

    @property
    def held(self) -> bool:
        return self._file is not None and self._process == os.getpid()

    def attempt(self) -> bool:
        """Try once to take the lock. Raises JournalError when the folder can't be written to."""
        if self.held:
            return True
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _close(file)
            return False
        except BaseException:  # also Ctrl-C: the file is not left open
            _close(file)
            raise
        self._file, self._process = file, os.getpid()
        return True

    def is_taken(self) -> bool:
        """Whether somebody else has the lock."""
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
        except BlockingIOError:
            return True
        finally:
            _close(file)
        return False

    def release(self) -> None:
        """Let go of the lock."""
        with _turn:
            file, self._file = (self._file if self.held else None), None
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_UN)  # a child that is being forked has the file open too
            _close(file)

    def _open(self) -> int:
        try:
            with _turn:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                _files.add(file)
        except OSError as error:
            raise JournalError(
                f"can't deliver: {self._path} can't be written: {error.strerror}", hint=f"ls -ld {self._path.parent}"
            ) from error
        return file


def _close(file: int) -> None:
    with _turn:
        if file in _files:  # else a child has closed it
            _files.discard(file)
            os.close(file)


class DeliverLock:
    """The lock of the one deliverer of a `.trk` folder."""

    def __init__(self, folder: str) -> None:
        self._lock = _File(Path(folder) / "deliver.lock")
        self._place = _File(Path(folder) / "deliver.next")

    def acquire(self, deadline: float) -> bool:
        """Take the lock; False when somebody else still delivers at `deadline` (by time.monotonic).

        Raises JournalError when the folder can't be written to.
        """
        while not self.attempt(queue=True):
            if time.monotonic() >= deadline:
                self.withdraw()
                return False
            time.sleep(_POLL_S)
        return True

    def attempt(self, *, queue: bool) -> bool:
        """Try once; False when somebody else delivers, or waits for it. With `queue` the place is kept, if it is had.

        Raises JournalError as `acquire`.
        """
        if self.held:
            return True
        if not self._place.attempt():
            return False
        taken = False
        try:
            taken = self._lock.attempt()
        finally:
            if taken or not queue:
                self._place.release()
        return taken

    def withdraw(self) -> None:
        """Leave the queue."""
        self._place.release()

    def is_wanted(self) -> bool:
        """Whether somebody else waits for the lock. Raises JournalError as `acquire`."""
        return not self._place.held and self._place.is_taken()

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._lock.held

    def release(self) -> None:
        """Let go of the lock, and of the place in the queue."""
        self._lock.release()
        self._place.release()
