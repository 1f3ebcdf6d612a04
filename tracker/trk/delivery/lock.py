"""One deliverer per journal: a lock that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from trk.errors import JournalError

_POLL_S = 0.05


class DeliverLock:
    """The lock of the one deliverer of a `.trk` folder."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / "deliver.lock"
        self._file: int | None = None

    def acquire(self, deadline: float) -> bool:
        """Take the lock; False when somebody else still delivers at `deadline` (by time.monotonic).

        Raises JournalError when the folder can't be written to.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(
                f"can't deliver: {self._path} can't be written: {error.strerror}", hint=f"ls -ld {self._path.parent}"
            ) from error
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(file)
                    return False
                time.sleep(_POLL_S)
            else:
                self._file = file
                return True

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._file is not None

    def release(self) -> None:
        """Let go of the lock."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # a child forked meanwhile has the file open too
            os.close(self._file)
            self._file = None
