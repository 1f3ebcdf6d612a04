"""The `.trk` folder: whose it is, on what it lies, and whether there is room."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from trk import session, settings
from trk.checkup.here import Finding, Here
from trk.journal import holds

NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse.beegfs", "fuse.ceph", "fuse.davfs2",
    "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs",
    "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf",
    "virtiofs",
}  # fmt: skip
LITTLE_SPACE, NO_SPACE = 500_000_000, 20_000_000  # bytes
OLD_DRAFT_S = 3600.0


def folder(here: Here) -> Iterator[Finding]:
    """Which `.trk` serves the working directory, and whether only its user can read it."""
    named = settings.env("TRK_DIR")
    if here.folder is None:
        where = f"TRK_DIR names {named}, which is not there" if named else f"no .trk folder serves {here.cwd}"
        if os.path.lexists(odd := here.cwd / session.FOLDER) and not odd.is_dir():
            yield "fail", f"{odd} is not a folder", f"mv {quote(str(odd))} {quote(f'{odd}.odd')}"
            return
        yield "skip", f"{where}: `trk start` makes it", "trk start"
        return
    found = Path(here.folder).stat()
    shown = f"{here.folder}{' (TRK_DIR)' if named else ''}, {_owner(found.st_uid)}, mode {found.st_mode & 0o777:04o}"
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        yield "fail", f"{shown}: it belongs to another user", "unset TRK_DIR"
    elif not os.access(here.folder, os.R_OK | os.W_OK | os.X_OK):
        yield "fail", f"{shown}: it can't be written to", f"chmod 700 {quote(here.folder)}"
    elif found.st_mode & 0o077:
        yield "warn", f"{shown}: others may look into it", f"chmod 700 {quote(here.folder)}"
    else:
        yield "ok", shown, None
    if not (Path(here.folder) / ".gitignore").exists():
        ignore = quote(str(Path(here.folder) / ".gitignore"))
        yield "warn", f"{here.folder} has no .gitignore: git would take it along", f"echo '*' > {ignore}"


def _owner(user: int) -> str:
    try:
        import pwd

        return f"of {pwd.getpwuid(user).pw_name}"
    except (ImportError, KeyError):  # no such user in the container
        return f"of user {user}"


def folders_of_others(here: Here) -> Iterator[Finding]:
    """The `.trk` of other users above the working directory, which are passed by."""
    others = list(_foreign(here.cwd))
    if not others:
        yield "ok", "no .trk of another user lies above", None
    for path in others:
        yield "warn", f"{path} belongs to another user ({_owner(path.lstat().st_uid)}): it is not used", None


def _foreign(start: Path) -> Iterator[Path]:
    """As far up as a `.trk` is looked for."""
    at, top = start.resolve(), Path(settings.home()).resolve()
    device = at.stat().st_dev
    while hasattr(os, "getuid"):
        found = at / session.FOLDER
        if os.path.lexists(found) and {found.lstat().st_uid, _target_owner(found)} != {os.getuid()}:
            yield found
        if at in (top, at.parent) or at.parent.stat().st_dev != device:
            return
        at = at.parent


def _target_owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return path.lstat().st_uid


def file_system(here: Here) -> Iterator[Finding]:
    """On what kind of file system the folder lies."""
    path = os.path.realpath(here.folder or here.cwd)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        yield "skip", "the kind of file system is told on Linux only", None
        return
    kind = file_system_of(path, mounts)
    if kind in NETWORK:
        yield (
            "warn",
            f"{path} is on a network file system ({kind}): log from one host at a time",
            "export TRK_DIR=/a/folder/on/a/local/disk",
        )
    else:
        yield "ok", f"{path} is on a local file system ({kind})", None


def file_system_of(path: str, mounts: str) -> str:
    """The type of the file system that a path is on, by the text of Linux's mountinfo."""
    best, kind = -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if len(before.split(" ")) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # of those mounted over each other, the last is on top
            best, kind = len(point), after.split(" ")[0]
    return kind


def space(here: Here) -> Iterator[Finding]:
    """How much room is left where the journal is."""
    path = here.folder or str(here.cwd)
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    told = f"{size(free)} free at {path}"
    if free < NO_SPACE:
        yield "fail", f"{told}: logging is about to fail", f"df -h {quote(path)}"
    elif found.f_files and not found.f_favail:
        yield "fail", f"{told}, but no room for one more file", f"df -i {quote(path)}"
    elif free < LITTLE_SPACE:
        yield "warn", told, f"df -h {quote(path)}"
    else:
        yield "ok", told, None


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def drafts(here: Here) -> Iterator[Finding]:
    """What killed commands left of files that they were copying."""
    place = Path(here.folder or ".trk") / "blobs" / "drafts"
    left = []
    if here.folder is not None and place.is_dir():
        for entry in os.scandir(place):
            found = entry.stat(follow_symlinks=False)
            is_draft = stat.S_ISREG(found.st_mode) and not entry.name.endswith(holds.ENDING)
            if is_draft and time.time() - found.st_mtime > OLD_DRAFT_S:
                left.append(found.st_size)
    if left:
        yield (
            "warn",
            f"{len(left)} half copies ({size(sum(left))}) of killed commands lie in {place}",
            f"find {quote(str(place))} -type f ! -name '*{holds.ENDING}' -mmin +60 -delete",
        )
    else:
        yield (
            ("ok", "nothing is left of killed commands", None)
            if here.folder
            else ("skip", "there is no .trk folder", None)
        )
