"""A folder beside the blobs in which what comes in lies until all of it is known to be good."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from trk.errors import JournalError
from trk.journal.db import Journal

_FULL = (28, 122)  # ENOSPC, EDQUOT
_YOUNG_S = 60.0  # one that was made a moment ago may not have its lock yet


class Staging:
    """A folder of its own, inside a `with`, gone after it; what a killed process left, the next one removes.

    It is on the blobs' file system, so that what is good only has to be renamed.
    """

    def __init__(self, folder: str) -> None:
        self._blobs = Path(folder) / "blobs"
        self._all = self._blobs / "imports"
        self._own = self._all / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            for made in (self._blobs, self._all):
                made.mkdir(0o700, exist_ok=True)
            self._remove_left()
            self._own.mkdir(0o700)
            self._lock = _locked(self._own / "lock", os.O_CREAT)
            self.journal = Journal.create(str(self._own / "journal.db"))
        except OSError as error:
            self.__exit__(None, None, None)
            raise self.refused(error) from None
        except BaseException:  # also Ctrl-C: the folder is taken away again
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
        shutil.rmtree(self._own, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def path(self, sha256: str) -> str:
        """Where a blob lies that is to come."""
        return str(self._own / sha256)

    def new(self, sha256: str) -> BinaryIO:
        """A file to write a blob into. Raises OSError."""
        return os.fdopen(os.open(self._own / sha256, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def check_room(self, size: int) -> None:
        """Raise JournalError when there is no room for so many bytes."""
        found = os.statvfs(self._own)
        if found.f_bavail * found.f_frsize < size:
            raise self._no_room(f" ({size} bytes)")

    def refused(self, error: OSError) -> JournalError:
        """What an error of the file system means."""
        if error.errno in _FULL:
            return self._no_room("")
        return JournalError(f"{self._blobs} can't be written: {error.strerror}", hint=f"ls -ld {self._blobs}")

    def _no_room(self, what: str) -> JournalError:
        return JournalError(
            f"no space left in {self._blobs} for what is imported{what}: nothing was imported",
            hint=f"df -h {self._blobs}",
        )

    def _remove_left(self) -> None:
        for left in self._all.iterdir():
            try:
                if left.stat().st_mtime > time.time() - _YOUNG_S:
                    continue
                lock = _locked(left / "lock", 0)
            except FileNotFoundError:
                shutil.rmtree(left, ignore_errors=True)
                continue
            except OSError:
                continue  # somebody is at it
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _locked(name: Path, create: int) -> int:
    import fcntl

    found = os.open(name, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(found)
        raise
    return found
