"""GitHub's step summary: a file that steps append Markdown to, of at most 1 MiB, or GitHub shows none of it.

A summary stands there between two comments. The first tells how long it is and what its hash is: only what is still,
byte for byte, as trk wrote it is ever replaced. Everything else in the file stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trk import settings
from trk.ci import markdown
from trk.ci.model import Summary
from trk.errors import TrkError, UsageError
from trk.rules import shown

VARIABLE = "GITHUB_STEP_SUMMARY"
MOST_BYTES = 1024 * 1024
_ROOM = 1024  # bytes that are left free, for what another step's line adds
_LEAST = 8_000  # bytes below which a summary says nothing of use
_TRIES = 5
_MARK = re.compile(rb"^<!-- trk summary ([0-9a-f]{16}) ([0-9]{1,7}) ([0-9a-f]{16}) -->\n", re.MULTILINE)


def write(found: Summary, path: str | None = None) -> Path | None:
    """Put a summary into the file, in place of the same runs' earlier one; None when there is no room left for it.

    Writers of trk wait for each other. Raises UsageError when no file is named or it is not one, TrkError when it can't
    be written.
    """
    named = path or settings.env(VARIABLE)
    if named is None:
        raise UsageError(f"{VARIABLE} is not set: this is no step of a GitHub job", hint="-o FILE")
    try:
        with _locked(named) as file:
            for _ in range(_TRIES):  # another tool may append meanwhile, and asks for no lock
                content = file.read()
                start, end = _place(content, found.key)
                section = _section(found, content, start, end)
                if section is None:
                    return None
                if _replaced(file, content, start, section + content[end:]):
                    return Path(named)
                file.seek(0)
    except OSError as error:
        raise TrkError(f"the step summary {shown(named)} can't be written: {error.strerror}") from error
    raise TrkError(f"the step summary {shown(named)} never stood still", hint="trk summary again")


@contextmanager
def _locked(named: str) -> Iterator[BinaryIO]:
    import fcntl  # not everywhere

    with os.fdopen(os.open(named, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"the step summary {shown(named)} is not a file", hint=f"unset {VARIABLE}")
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _place(content: bytes, key: str) -> tuple[int, int]:
    """Where the section of these runs begins and ends; the end of the file, twice, when there is none."""
    for mark in _MARK.finditer(content):
        body = content[mark.end() : mark.end() + int(mark[2])]
        if mark[1] == key.encode() and len(body) == int(mark[2]) and _hash(body) == mark[3]:
            return mark.start(), mark.end() + len(body)
    return len(content), len(content)


def _section(found: Summary, content: bytes, start: int, end: int) -> bytes | None:
    """The section as it fits beside what else is in the file; None when it does not."""
    room = MOST_BYTES - _ROOM - (len(content) - (end - start))
    if room < _LEAST:
        return None
    # What stands before must have ended its line, and its paragraph.
    gap = b"" if start == 0 or start < end or content[:start].endswith(b"\n\n") else b"\n\n"
    body = (
        f"\n{markdown.page(found, markdown.GITHUB, room - 200)}\n<!-- end of trk summary {found.key} -->\n\n".encode()
    )
    if len(body) + 200 > room:
        return None
    return gap + f"<!-- trk summary {found.key} {len(body)} {_hash(body).decode()} -->\n".encode() + body


def _hash(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()


def _replaced(file: BinaryIO, content: bytes, start: int, rest: bytes) -> bool:
    """Write the file anew from `start` on, unless it is no longer what it was."""
    if os.fstat(file.fileno()).st_size != len(content):
        return False
    file.seek(start)
    left = memoryview(rest)
    while left:
        left = left[file.write(left) :]
    file.truncate(start + len(rest))
    return True
