"""A thread of this process that delivers what its programs log while they go on: at most one per journal.

It delivers the runs that it was given and no others, with what this process has to reach backends by. The log calls
do nothing for it: it asks the journal, a few times a second, whether somebody has written. A child that is forked has
no such thread: what it logs is in the journal, which the parent's thread asks.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Sequence

from trk.errors import JournalError
from trk.journal import cursors, lifecycle
from trk.journal.db import Journal

IDLE_S = 5.0  # with nothing to deliver and no run open for so long, the thread ends
NO_OLD_RUNS = 1 << 62

_threads: dict[str, _Live] = {}  # by folder
_turn = threading.Lock()


def _in_child() -> None:
    global _turn
    _turn = threading.Lock()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class _Live(threading.Thread):
    """Goes round in the loop until it has nothing to do, or is told to leave."""

    def __init__(self, folder: str, path: str) -> None:
        from trk.delivery.loop import Loop  # slow to import: most processes only ask whether there is a thread

        super().__init__(name="trk-delivery", daemon=True)
        self.runs: set[str] = set()
        self.leaving = False
        self.folder = folder
        journal = Journal(path)  # its own, which tells whether others have written: the rest of this process is others
        self.loop = Loop(
            journal, folder, known=NO_OLD_RUNS,
            may=lambda entry: entry.run_id in self.runs, may_open=lambda run_id: run_id in self.runs,
        )  # fmt: skip

    def run(self) -> None:
        """Deliver."""
        busy_at = time.monotonic()
        while not self.leaving:
            quiet_s = self.loop.turn()
            now = time.monotonic()
            if quiet_s < IDLE_S or self.loop.has_unfinished:
                busy_at = now
            if now - busy_at >= IDLE_S:
                if self._is_done():
                    break
                busy_at = now
            self.loop.rest()
        self.loop.stop()
        self.loop.halt()
        self.loop.journal.close()

    def _is_done(self) -> bool:
        """Whether all its runs have ended; then it is nobody's thread any more."""
        with _turn:
            try:
                if self.loop.is_asked or any(lifecycle.is_open(self.loop.journal, run_id) for run_id in self.runs):
                    return False
            except JournalError:
                return False  # it may be readable again
            if _threads.get(self.folder) is self:
                del _threads[self.folder]
            return True

    def leave(self, deadline: float) -> None:
        """Stop delivering between two calls of the backends, if they come back until then (by time.monotonic)."""
        self.leaving = True
        self.loop.stop()
        self.join(max(0.0, deadline - time.monotonic()))


class Asked:
    """A thread that was asked to deliver these runs now, as `Waiting` sees it.

    For who is in a hurry, a run that does not come on is as good as one that needs the user.
    """

    def __init__(self, thread: _Live, runs: Collection[str], hurried: bool) -> None:
        self.runs = runs
        self._thread = thread
        self._hurried = hurried
        self._request = max(thread.loop.ask(run_id, whole=True) for run_id in sorted(runs))

    def lives(self) -> bool:
        """Whether it can still deliver."""
        return self._thread.is_alive() and self._thread.loop.can_start

    def stuck(self) -> set[str]:
        """The runs that were tried since they were asked for, and that waiting does not help."""
        loop = self._thread.loop
        return loop.failed(self._request) if self._hurried else loop.stuck(self._request)


def serve(journal: Journal, folder: str, run_id: str) -> bool:
    """Have a thread of this process deliver a run from now on; False when it can start none any more."""
    with _turn:
        thread = _threads.get(folder)
        if thread is None or not thread.is_alive() or thread.leaving:
            thread = _Live(folder, journal.path)
            thread.runs.add(run_id)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, or the system has no thread left
                return False
            _threads[folder] = thread
        thread.runs.add(run_id)
        thread.loop.ask(run_id)
    return True


def served(folder: str) -> set[str]:
    """The runs that a thread of this process delivers."""
    thread = _threads.get(folder)
    return set(thread.runs) if thread is not None and thread.is_alive() else set()


def asked(
    journal: Journal,
    folder: str,
    run_ids: Collection[str] | None = None,
    backends: Collection[str] | None = None,
    *,
    hurried: bool = False,
) -> Asked | None:
    """Ask the thread of this process for what is pending of these runs (None: of all); None when it is not all its."""
    thread = _threads.get(folder)
    if thread is None or not thread.is_alive():
        return None
    waiting = {entry.run_id for entry in cursors.pending(journal, run_ids, backends)}
    return Asked(thread, waiting, hurried) if waiting and waiting <= thread.runs else None


def leave(deadline: float) -> None:
    """End the threads of this process, so that their locks are free; who hangs in a call is left (by monotonic)."""
    threads: Sequence[_Live] = list(_threads.values())
    _threads.clear()
    for thread in threads:
        thread.leave(deadline)
