"""One delivery of what is pending now: for each backend and target a thread, under the lock of the one deliverer."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from trk.delivery.lane import Lane, groups
from trk.delivery.lock import DeliverLock
from trk.delivery.outcome import Outcome, Progress, Trouble
from trk.errors import JournalError
from trk.journal import cursors
from trk.journal.cursors import Pending
from trk.journal.db import Journal

LOOK_S = 0.25  # how often a delivery that waits for another process's looks whether that was all
GRACE_S = 0.5  # what a batch under way may take beyond the time allowed


class Session:
    """One delivery of what is pending now."""

    def __init__(
        self,
        journal: Journal,
        folder: str,
        run_ids: Collection[str] | None,
        only: Collection[str] | None,
        progress: Progress | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        self.journal = journal
        self.stop = threading.Event()
        self._folder = folder
        self._run_ids = run_ids
        self._only = only
        self._progress = progress
        self._trouble = trouble
        self._counting = threading.Lock()
        self._settled = self._goal = 0
        self._busy = False
        self._failure: JournalError | None = None

    def run(self, timeout: float) -> Outcome:
        """Deliver for at most `timeout` seconds, and a moment for what is under way then.

        Raises JournalError when the journal can't keep what was delivered.
        """
        if not self._waiting():
            return Outcome(finished=True)
        deadline = time.monotonic() + timeout
        # A thread, so that a call that an SDK does not give up can be left behind; being killed is survived.
        thread = threading.Thread(target=self._deliver, args=(deadline,), name="trk-deliverer", daemon=True)
        thread.start()
        try:
            thread.join(timeout)
            in_time = not thread.is_alive()
        finally:
            self.stop.set()
        thread.join(GRACE_S)
        if thread.is_alive():
            cursors.unanswered(self.journal, self._waiting(), f"not done within {timeout:.3g} s")
        if self._failure is not None:
            raise self._failure
        return Outcome(finished=in_time and not self._busy, busy=self._busy)

    def failed(self, error: JournalError) -> None:
        """Remember what the caller has to know: it is raised in the caller's thread."""
        self._failure = self._failure or error

    def _waiting(self) -> list[Pending]:
        return cursors.pending(self.journal, self._run_ids, self._only)

    def _deliver(self, deadline: float) -> None:
        lock = DeliverLock(self._folder)
        try:
            if not self._acquired(lock, deadline):
                self._busy = bool(self._waiting())
                cursors.unanswered(self.journal, self._waiting(), "another process was delivering at that time")
                return
            waiting = self._waiting()  # again: whoever held the lock may have delivered it
            self._goal = sum(entry.logged - entry.cursor for entry in waiting)
            threads = [
                threading.Thread(target=self._carry, args=(name, target, entries), name=f"trk-{name}", daemon=True)
                for (name, target), entries in groups(waiting).items()
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.journal.checkpoint()
        except JournalError as error:
            self.failed(error)
        finally:
            lock.release()

    def _carry(self, name: str, target: str, entries: list[Pending]) -> None:
        lane = Lane(self.journal, name, target, self.stop, settled=self.settled, troubled=self.troubled)
        try:
            lane.deliver(entries)
        except JournalError as error:
            self.failed(error)
        finally:
            lane.close()

    def _acquired(self, lock: DeliverLock, deadline: float) -> bool:
        """Take the lock, unless whoever has it delivers everything meanwhile."""
        while not lock.acquire(min(deadline, time.monotonic() + LOOK_S)):
            if self.stop.is_set() or time.monotonic() >= deadline or not self._waiting():
                return False
        return True

    def troubled(self, backend: str, why: str) -> None:
        """Tell who watches what keeps a backend from going on."""
        if self._trouble is not None:
            self._trouble(backend, why)

    def settled(self, rows: int) -> None:
        """Count rows as settled, for who watches."""
        if self._progress is not None:
            with self._counting:
                self._settled += rows
                self._progress(self._settled, self._goal)
