"""The copy of a command's output goes into the run also while the command runs.

After a minute, two, four and so on, then each hour: a machine that dies takes half of it along at most, and few
versions are made.
"""

from __future__ import annotations

import threading
import time

from trk.journal import content
from trk.media.log import Given
from trk.run import Run
from trk.running import kept

FIRST_S, LONGEST_S = 60.0, 3600.0  # until the first version, and at most between two


class Keeping:
    """Puts what `copy` has into a run. Who adds to the copy holds `lock`."""

    def __init__(self, run: Run) -> None:
        self.copy = kept.Kept()
        self.lock = threading.Lock()
        self._run = run
        self._pause = FIRST_S
        self._due = time.monotonic() + FIRST_S
        self._done = -1
        self._one = threading.Lock()  # a version that is being made when the command ends comes before the last one

    def now_and_then(self) -> None:
        """Keep what there is, if it is time. Raises TrkError and OSError."""
        if time.monotonic() < self._due:
            return
        self._pause = min(2 * self._pause, LONGEST_S)
        self.keep()
        self._due = time.monotonic() + self._pause

    def keep(self) -> None:
        """Keep what there is, if it is more than before. Raises TrkError and OSError."""
        with self._one:
            with self.lock:
                copy = self.copy.so_far()
            if copy.total and copy.total != self._done:
                entry = Given(None, copy.content()).entry(self._run.journal, kept.NAME)
                content.append_files(self._run.journal, self._run.id, "file", [entry])
                self._done = copy.total
