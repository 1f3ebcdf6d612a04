"""Samples of what the machine and a process use, logged into a run at an interval."""

from __future__ import annotations

import os
import threading
from typing import Self

from trk.capture.machine import EVERY_S, Machine, check
from trk.errors import Conflict, TrkError
from trk.run import Run

FIRST_S = 1.0  # when the first sample is taken, at the latest: a short run is to have one


class Sampling:
    """Takes samples in a thread, until `stop`, the end of a `with` block, or the run's end.

    `count` says how many were logged, `trouble` what went wrong last. A sample that can't be logged is left out.
    """

    def __init__(self, run: Run, *, pid: int | None = None, interval: float = EVERY_S) -> None:
        self._run = run
        self._every = check(interval)
        self._machine = Machine(os.getpid() if pid is None else pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trk-system-metrics", daemon=True)
        self.count = 0
        self.trouble: str | None = None

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take no more; one is taken now if there was none."""
        self._stopped.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
        if not self.count and self.trouble is None:
            self._sample()
        self._machine.close()

    def __enter__(self) -> Self:
        return self if self._thread.is_alive() else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _work(self) -> None:
        wait = min(FIRST_S, self._every)
        while not self._stopped.wait(wait):
            if not self._sample():
                return
            wait = self._every

    def _sample(self) -> bool:
        """Log one; whether there is sense in another."""
        try:
            self._run.log_metrics(self._machine.sample())
            self.count += 1
        except Conflict as error:  # the run has ended
            self.trouble = error.message
            return False
        except (TrkError, OSError) as error:
            self.trouble = str(error)
        return True
