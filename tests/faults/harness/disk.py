"""A file system that fills up; `mounted` (tests/conftest.py) makes a small one."""

from __future__ import annotations

import os
from pathlib import Path


def free(disk: Path) -> int:
    """The bytes that are left."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill a file system but for `leave` bytes; the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free(disk) - leave, 1))
    return ballast
