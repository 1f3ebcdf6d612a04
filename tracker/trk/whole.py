"""Files that are there when they are whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trk.errors import JournalError, UsageError
from trk.rules import shown


@contextmanager
def put_whole(name: str, overwrite: bool) -> Iterator[BinaryIO]:
    """A file beside `name` to write into, which takes its place when it is whole and on the disk.

    Raises UsageError for what is there already, unless `overwrite`, JournalError when it can't be written.
    """
    target = Path(name)
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    if target.is_dir():
        raise UsageError(f"{shown(name)} is a folder")
    if not overwrite and (target.exists() or target.is_symlink()):
        raise UsageError(f"{shown(name)} is there already", hint="--force, or another name")
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise JournalError(
            f"{shown(name)} can't be written: {error.strerror or error}", hint="df -h; ls -ld of its folder"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(name: Path) -> None:
    folder = os.open(name, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
