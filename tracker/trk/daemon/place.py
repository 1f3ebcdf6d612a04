"""Where a daemon is found: its lock in `.trk`, and its socket in a folder of this user alone."""

from __future__ import annotations

import os

from trk import settings
from trk.errors import DaemonError

LOCK = "daemon.lock"
LOG = "daemon.log"
_LONGEST = 100  # bytes of a socket's path; systems take 104 to 108


def lock_path(folder: str) -> str:
    """The file that a daemon holds locked as long as it lives; its text: process id, version, socket; runs' ids."""
    return os.path.join(folder, LOCK)


def socket_path(folder: str) -> str:
    """The socket of the daemon of a `.trk` folder. Its own folder is made, and is nobody else's. Raises DaemonError."""
    from hashlib import sha256

    base = settings.env("XDG_RUNTIME_DIR")
    if base is not None and _is_private(base):
        where = os.path.join(base, "trk")
    else:
        where = os.path.join("/tmp", f"trk-{os.getuid()}")  # noqa: S108 - checked below: kind, owner, mode
    name = sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    path = os.path.join(where, f"{name}.sock")
    if len(os.fsencode(path)) > _LONGEST:
        where = os.path.join("/tmp", f"trk-{os.getuid()}")  # noqa: S108 - as above
        path = os.path.join(where, f"{name}.sock")
    make_private(where)
    return path


def socket_of(folder: str) -> str:
    """Where the daemon that lives here listens: another shell may have started it elsewhere. Raises DaemonError."""
    found = look(folder)
    words = found[1].split("\n", 1)[0].split(" ", 2) if found is not None and found[0] else []
    if len(words) < 3:
        raise DaemonError(f"no daemon of {folder} listens", hint="trk daemon start")
    return words[2]


def make_private(where: str) -> None:
    """Make a folder that is this user's alone, or see that it is. Raises DaemonError."""
    try:
        os.mkdir(where, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise DaemonError(
            f"{where} can't be made: {error.strerror}", hint="TRK_DAEMON=off delivers without one"
        ) from None
    if not _is_private(where):
        raise DaemonError(
            f"{where} is not a folder of yours alone: somebody else may have made it",
            hint="set XDG_RUNTIME_DIR to one, or TRK_DAEMON=off",
        )


def _is_private(where: str) -> bool:
    """Whether this is a folder, no link, of this user, that nobody else may enter."""
    try:
        found = os.lstat(where)
    except OSError:
        return False
    return found.st_mode & 0o170077 == 0o040000 and found.st_uid == os.getuid()


def look(folder: str) -> tuple[bool, str] | None:
    """(whether a daemon lives here, the text of its lock); None when none was ever started. Imports next to nothing."""
    try:
        found = os.open(lock_path(folder), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        import fcntl

        fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(found, fcntl.LOCK_UN)  # a child that is being forked has the file open too, and keeps it
    except BlockingIOError:
        return True, os.read(found, 1 << 20).decode(errors="replace")
    finally:
        os.close(found)
    return False, ""
