"""Bytes by their content: `.trk/blobs/<two digits>/<sha256>`, put there when they are logged.

What the user changes or deletes later does not change what is delivered. A blob is written as a draft beside the
others and renamed when it is whole, so that there is never half a blob; what a killed command leaves behind is a draft
without a lock, which the next writer removes.
"""

from __future__ import annotations

import os
from _thread import _local

from trk.errors import JournalError, UsageError
from trk.journal import holds
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from trk.journal.db import Journal

    Progress = Callable[[int, int], None]  # bytes done, bytes in all

CHUNK = 4 << 20
_FICLONE = 0x40049409  # ioctl: share the blocks of another file (btrfs, XFS, bcachefs)
_FULL = (28, 122)  # ENOSPC, EDQUOT
_GONE = (2, 20, 40)  # ENOENT, ENOTDIR, ELOOP
_TRIES = 3  # a file that is being written is read again so often


def folder(journal: Journal) -> str:
    """The folder of a journal's blobs."""
    return os.path.join(os.path.dirname(journal.path), "blobs")


def path(journal: Journal, sha256: str) -> str:
    """Where the bytes with this hash lie, or would."""
    return path_in(os.path.dirname(journal.path), sha256)


def path_in(folder: str, sha256: str) -> str:
    """The same in a `.trk` folder."""
    return os.path.join(folder, "blobs", sha256[:2], sha256)


def keep_bytes(journal: Journal, content: bytes) -> tuple[str, int]:
    """Keep bytes; returns (hash, size). Raises JournalError, and leaves nothing, when there is no room."""
    return keep_chunks(journal, (content,))


def keep_chunks(journal: Journal, chunks: Iterable[bytes]) -> tuple[str, int]:
    """Keep bytes that come in pieces; what the pieces' making raises leaves nothing behind."""
    from hashlib import sha256

    digest, size = sha256(), 0
    with Draft(journal) as draft:
        for chunk in chunks:
            draft.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        return draft.put(digest.hexdigest()), size


def keep_file(journal: Journal, name: str, progress: Progress | None = None) -> tuple[str, int]:
    """Keep a file as it is now; returns (hash, size). Shares its blocks where the file system can, else copies.

    Raises UsageError when it can't be read or changes all the while, JournalError when there is no room.
    """
    for _ in range(_TRIES):
        source = open_regular(name)
        try:
            before = os.fstat(source)
            with Draft(journal) as draft:
                if draft.shared(source):
                    found = hash_of(draft.file, progress)
                else:
                    _check_room(journal, before.st_size, name)
                    found = _copy(source, draft, before.st_size, progress)
                if _state(before) == _state(os.fstat(source)) and _is_whole(before, found[1]):
                    return draft.put(found[0]), found[1]
        except OSError as error:
            raise UsageError(f"{shown(name)} {_why(error)}") from None
        finally:
            os.close(source)
    raise UsageError(f"{shown(name)} changed while it was read", hint="log it when it is finished")


def open_regular(name: str) -> int:
    """A descriptor of a regular file, to read. Raises UsageError; never waits for a pipe's writer."""
    try:
        found = os.open(name, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown(name)} {_why(error)}") from None
    kind = os.fstat(found).st_mode & 0o170000
    if kind == 0o100000:
        return found
    os.close(found)
    what = {0o040000: "is a folder", 0o010000: "is a pipe"}.get(kind, "is a device or socket")
    raise UsageError(f"{shown(name)} {what}, not a file")


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there"
    return f"can't be read: {getattr(error, 'strerror', None) or error}"


def _state(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _is_whole(before: os.stat_result, size: int) -> bool:
    """Whether so many bytes are all of a file. What has no blocks, as a file of /proc, says nothing of its size."""
    return size == before.st_size or not getattr(before, "st_blocks", 1)


def _copy(source: int, draft: Draft, size: int, progress: Progress | None) -> tuple[str, int]:
    """Copy a file into a draft; returns (hash, size) of what was copied."""
    from hashlib import sha256

    digest, done = sha256(), 0
    while chunk := os.read(source, CHUNK):
        draft.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, max(size, done))
    return digest.hexdigest(), done


def hash_of(file: int, progress: Progress | None) -> tuple[str, int]:
    """(hash, size) of an open file, from its beginning."""
    from hashlib import sha256

    digest, size = sha256(), 0
    total = os.fstat(file).st_size
    os.lseek(file, 0, os.SEEK_SET)
    while chunk := os.read(file, CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if progress is not None:
            progress(size, max(total, size))
    return digest.hexdigest(), size


def hash_in_place(name: str, progress: Progress | None = None) -> tuple[str, int, int]:
    """(hash, size, time of change in ns) of a file that stays where it is. Raises UsageError."""
    for _ in range(_TRIES):
        source = open_regular(name)
        try:
            before = os.fstat(source)
            found = hash_of(source, progress)
            if _state(before) == _state(os.fstat(source)):
                return *found, before.st_mtime_ns
        except OSError as error:
            raise UsageError(f"{shown(name)} {_why(error)}") from None
        finally:
            os.close(source)
    raise UsageError(f"{shown(name)} changed while it was read", hint="log it when it is finished")


def _check_room(journal: Journal, size: int, name: str) -> None:
    try:
        found = os.statvfs(folder(journal))
    except (OSError, AttributeError):
        return  # what can't be foreseen is told by the write itself
    if found.f_bavail * found.f_frsize < size:
        raise _no_room(journal, f"{shown(name)} ({size} bytes)")


def _no_room(journal: Journal, what: str) -> JournalError:
    where = folder(journal)
    return JournalError(
        f"no space left in {where} for a copy of {what}: nothing was logged",
        hint=f"df -h {where}; or --no-snapshot for files that stay as they are",
    )


class Draft:
    """A file to write a blob into, inside a `with`: `put` makes it the blob, anything else removes it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._name: str | None = None
        self.file = -1

    def __enter__(self) -> Draft:
        drafts = os.path.join(folder(self._journal), "drafts")
        try:
            for made in (folder(self._journal), drafts):  # each by itself: `makedirs` opens those above to everyone
                os.makedirs(made, 0o700, exist_ok=True)
            _remove_left(drafts)
            self._name, self.file = _locked_file(drafts)
        except OSError as error:
            raise self._explained(error) from None
        return self

    @property
    def name(self) -> str:
        """Where the draft lies."""
        assert self._name is not None
        return self._name

    def write(self, chunk: bytes) -> None:
        """Append bytes. Raises JournalError when there is no room."""
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self.file, view) :]
        except OSError as error:
            raise self._explained(error) from None

    def shared(self, source: int) -> bool:
        """Whether the draft could be made of the blocks of an open file, which costs no room and no time."""
        try:
            import fcntl

            fcntl.ioctl(self.file, _FICLONE, source)
        except (ImportError, OSError):
            return False
        return True

    def put(self, sha256: str) -> str:
        """Make the draft the blob with this hash; returns the hash.

        It takes the place of one that is there, which holds the same bytes unless it was damaged. `trk gc` leaves it
        until the row that names it is committed (`settled`).
        """
        target = path(self._journal, sha256)
        try:
            with holds.Gate(folder(self._journal)):
                holds.hold(folder(self._journal), sha256)
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
                os.rename(self.name, target)
            self._name = None
            _unsettled().add(target)
        except OSError as error:
            holds.drop(folder(self._journal))
            raise self._explained(error) from None
        return sha256

    def __exit__(self, *_: object) -> None:
        try:
            if self._name is not None:
                os.unlink(self._name)
        except OSError:
            pass  # somebody removed it, or the folder has become read-only: the next writer removes it
        finally:
            self._name = None
            os.close(self.file)

    def _explained(self, error: OSError) -> JournalError:
        if error.errno in _FULL:
            return _no_room(self._journal, "what was to be logged")
        where = folder(self._journal)
        return JournalError(f"{where} can't be written: {error.strerror}", hint=f"ls -ld {where}")


def adopt(journal: Journal, staged: str | None, sha256: str) -> None:
    """Make a file with this hash, on the same file system, the blob; None: one that is there is about to be used again.

    Either way `trk gc` leaves it until the row that names it is committed (`settled`). Raises JournalError.
    """
    target = path(journal, sha256)
    try:
        os.makedirs(os.path.join(folder(journal), "drafts"), 0o700, exist_ok=True)
        with holds.Gate(folder(journal)):
            holds.hold(folder(journal), sha256)
            os.utime(staged or target)
            if staged is not None:
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
                os.rename(staged, target)
                _unsettled().add(target)
    except OSError as error:
        holds.drop(folder(journal))
        raise JournalError(f"{folder(journal)} can't be written: {error.strerror}", hint="df -h") from None


_here = _local()  # the blobs that this thread put and that may not be on the disk yet


def _unsettled() -> set[str]:
    found: set[str] | None = getattr(_here, "blobs", None)
    if found is None:
        found = _here.blobs = set()
    return found


def settle(journal: Journal, hashes: Iterable[str]) -> None:
    """Bring these blobs to the disk if this thread has just put them there: after a power failure the journal may have
    the row that names them. All at once, since a file system writes many in the time of one. Raises JournalError.
    """
    new = {path(journal, sha256) for sha256 in hashes} & _unsettled()
    _unsettled().clear()  # others are left from calls that failed
    folders = {os.path.dirname(name) for name in new}
    try:
        for name in (*new, *folders, *({folder(journal)} if folders else ())):
            opened = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
    except OSError as error:
        raise JournalError(f"{folder(journal)} can't be written: {error.strerror}", hint="df -h") from None


class settled:  # noqa: N801 - used as a statement, around the transaction: `with blobs.settled(journal, hashes), …`
    """Inside a `with` these blobs are on the disk, and `trk gc` leaves them; a row that names them does so afterwards.

    Raises JournalError.
    """

    def __init__(self, journal: Journal, hashes: Iterable[str]) -> None:
        self._journal = journal
        self._hashes = hashes

    def __enter__(self) -> None:
        try:
            settle(self._journal, self._hashes)
        except BaseException:  # also Ctrl-C: nothing is held any more
            holds.drop(folder(self._journal))
            raise

    def __exit__(self, *_: object) -> None:
        holds.drop(folder(self._journal))


def _locked_file(drafts: str) -> tuple[str, int]:
    """A new file of one's own, locked as long as its writer lives."""
    import fcntl
    from _thread import get_ident

    name = os.path.join(drafts, f"{os.getpid()}-{get_ident()}-{os.urandom(4).hex()}")
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return name, file


def remove_left(journal: Journal) -> tuple[int, int]:
    """Remove the drafts of writers that were killed; returns how many, and their bytes."""
    drafts = os.path.join(folder(journal), "drafts")
    return _remove_left(drafts) if os.path.isdir(drafts) else (0, 0)


def _remove_left(drafts: str) -> tuple[int, int]:
    """Remove the drafts and holds of writers that were killed: nobody has them locked."""
    import fcntl

    number = size = 0
    for name in os.listdir(drafts):
        left = os.path.join(drafts, name)
        try:
            file = os.open(left, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # its writer was quicker
        try:
            found = os.fstat(file)
            # One that was made a moment ago may not have its lock yet.
            if found.st_mtime < _now() - 60:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(left)
                number, size = number + 1, size + found.st_size
        except OSError:
            pass  # it is being written, or somebody else removed it
        finally:
            os.close(file)
    return number, size


def _now() -> float:
    import time

    return time.time()


def trouble(file: Any) -> str | None:
    """Why a logged file can never be delivered as it was logged; None when it is as it was. `file` is a LoggedFile.

    Raises JournalError for what may pass: it can't be read at the moment.
    """
    if file.local is None:
        return None
    try:
        found = os.open(file.local, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno in _GONE:
            return f"{shown(file.local)} {_why(error)}, so it can't be delivered"
        raise _unreadable(file.local, error) from None
    try:
        state = os.fstat(found)
        if state.st_mode & 0o170000 != 0o100000:
            return f"{shown(file.local)} is no longer a file"
        if (state.st_size, hash_of(found, None)[0]) != (file.size, file.sha256):
            what = "is damaged: it is not what" if file.changed_ns is None else "has changed since it"
            return f"{shown(file.local)} {what} was logged"
    except OSError as error:
        raise _unreadable(file.local, error) from None
    finally:
        os.close(found)
    return None


def _unreadable(name: str, error: OSError) -> JournalError:
    return JournalError(f"{shown(name)} {_why(error)}, so it can't be delivered yet", hint=f"ls -l {shown(name)}")
