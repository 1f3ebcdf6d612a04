"""That a command's run is alive is noted in the journal now and then, so that a machine's death can be known."""

from __future__ import annotations

import threading
from collections.abc import Callable

from trk import daemon
from trk.errors import TrkError
from trk.journal import lifecycle, write
from trk.owners import BEAT_S
from trk.run import Run


class Beat(threading.Thread):
    """Notes it until it is stopped, and does what is `due` with it.

    What can't be written is left: the command has nothing to do with it.
    """

    def __init__(self, run: Run, every: float = BEAT_S, due: Callable[[], None] = lambda: None) -> None:
        super().__init__(daemon=True)
        self._run = run
        self._every = every
        self._due = due
        self._stopped = threading.Event()

    def run(self) -> None:
        """Note it, and see that a daemon delivers."""
        while not self._stopped.wait(self._every):
            try:
                lifecycle.beat(self._run.journal, self._run.id, write.now_ms())
                self._due()
                daemon.revive(self._run.folder, self._run.id)
            except (TrkError, OSError):
                continue

    def stop(self) -> None:
        """No more of it. A note that is being written is not waited for."""
        self._stopped.set()
