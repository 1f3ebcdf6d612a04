"""Folders whose files go into a run, each as often as it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from trk.errors import TrkError
from trk.run import Run


class Folder:
    """A folder on the disk and its place inside a run ("" is the run's own)."""

    def __init__(self, run: Run, disk: str, inside: str) -> None:
        self._run = run
        self._disk = disk
        self._inside = inside
        self._seen: dict[str, tuple[int, int, int]] = {}

    def log(self, fail: Callable[[str], None]) -> None:
        """Log what is new or has changed; what can't be is told, once for each of its states."""
        for file, place in self._files():
            try:
                self._log(file, place)
            except TrkError as error:
                fail(error.message)
            except FileNotFoundError:
                continue  # it was there for a moment

    def _log(self, file: str, place: str) -> None:
        now = Path(file).stat()
        state = (now.st_ino, now.st_size, now.st_mtime_ns)
        if self._seen.get(file) != state:
            self._seen[file] = state
            self._run.log_artifact(file, path=place or None)

    def _files(self) -> Iterator[tuple[str, str]]:
        """The files in a steady order, each with the folder that it is in inside the run."""
        for folder, below, names in os.walk(self._disk):
            below.sort()
            inner = os.path.relpath(folder, self._disk).replace(os.sep, "/")
            place = "/".join(part for part in (self._inside, inner if inner != "." else "") if part)
            for name in sorted(names):
                yield f"{folder}{os.sep}{name}", place
