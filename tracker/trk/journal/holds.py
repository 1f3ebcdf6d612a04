"""Which blobs are about to be named by a row: what keeps `trk gc` away from them.

A writer puts a blob and commits the row that names it a moment later; between the two nothing in the journal says that
the blob is needed. So a writer first writes the blob's hash into its hold, a file beside the drafts that is locked as
long as its writer lives, and drops the hold when the row is committed. The gate is a lock of the folder of the blobs:
a writer has it shared while it writes the hash and puts the blob, `gc` has it alone while it reads the holds, asks the
journal, and removes, in this order.

Why nothing is lost, whatever is killed when, and with clocks that step: when `gc` has the gate, each put of a blob is
either over or has not begun. If it has not begun, the blob is put again afterwards, as a whole new file. If it is over
and the row is not committed, its hash is in a hold that was read. If the hold was dropped before it was read, the row
was committed before, so the journal, which is asked after that, tells of it. Of a writer that was killed no lock is
left, and no row will come.
"""

from __future__ import annotations

import os
from _thread import _local, get_ident

ENDING = ".held"
_BUSY_S = 0.001

_here = _local()  # the holds of this thread, by the folder of the blobs


class Gate:
    """The lock of a folder of blobs, inside a `with`: shared by those who put, `alone` for who removes.

    Raises OSError, and, when it is not to be had by `deadline` (of time.monotonic), TimeoutError.
    """

    def __init__(self, folder: str, *, alone: bool = False, deadline: float = 0.0) -> None:
        self._folder = folder
        self._alone = alone
        self._deadline = deadline
        self._file = -1

    def __enter__(self) -> None:

        self._file = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._alone:
                self._wait()
            else:
                self._share()
        except BaseException:  # also Ctrl-C: the file is not left open
            os.close(self._file)
            raise

    def _share(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_SH)  # who removes has it for milliseconds
        except OSError:
            pass  # a file system without locks: nobody can have it alone, and nothing is removed there

    def _wait(self) -> None:
        import fcntl
        import time

        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= self._deadline:
                    raise TimeoutError(f"{self._folder} is in use") from None
                time.sleep(_BUSY_S)
            else:
                return

    def __exit__(self, *_: object) -> None:
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # a child forked meanwhile has the folder open too
        except OSError:
            pass  # as above
        finally:
            os.close(self._file)


class _Hold:
    """The hashes of the blobs that one thread has put, in a locked file."""

    __slots__ = ("_file", "_name", "_pid")

    def __init__(self, folder: str) -> None:
        import fcntl

        self._pid = os.getpid()
        self._name = os.path.join(folder, "drafts", f"{self._pid}-{get_ident()}-{os.urandom(4).hex()}{ENDING}")
        self._file = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def add(self, sha256: str) -> None:
        line = sha256.encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(28, "No space left on device")

    def is_own(self) -> bool:
        """Whether it is this process's: a child has its parent's open, and must leave it."""
        return self._pid == os.getpid()

    def drop(self) -> None:
        if self._file == -1:
            return
        file, self._file = self._file, -1
        try:
            if self.is_own():
                os.unlink(self._name)
        except OSError:
            pass  # the folder was removed, or has become read-only: without its lock it holds nothing
        finally:
            os.close(file)

    def __del__(self) -> None:
        self.drop()  # of a thread that ended, with a call that failed


def _holds() -> dict[str, _Hold]:
    found: dict[str, _Hold] | None = getattr(_here, "holds", None)
    if found is None:
        found = _here.holds = {}
    return found


def hold(folder: str, sha256: str) -> None:
    """Keep a blob, until `drop`; to be called with the gate, before the blob is put. Raises OSError."""
    known = _holds().get(folder)
    if known is None or not known.is_own():
        known = _holds()[folder] = _Hold(folder)
    known.add(sha256)


def drop(folder: str) -> None:
    """The rows that name what this thread holds are committed, or will never be."""
    known = _holds().pop(folder, None)
    if known is not None:
        known.drop()


def held(folder: str) -> set[str]:
    """The hashes that living writers hold; to be called with the gate, alone. Raises OSError."""
    import fcntl

    drafts = os.path.join(folder, "drafts")
    found: set[str] = set()
    for name in os.listdir(drafts) if os.path.isdir(drafts) else ():
        if not name.endswith(ENDING):
            continue
        try:
            file = os.open(os.path.join(drafts, name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # it was dropped just now
        with os.fdopen(file, "rb") as opened:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.update(line.decode() for line in opened.read().split())
            # else its writer was killed, and no row will come: the next writer removes it
    return found
