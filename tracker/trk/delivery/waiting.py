"""Waiting for what somebody else delivers: the daemon, or a thread of this process."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Protocol

from trk.delivery.outcome import Outcome, Progress, Trouble
from trk.journal import cursors
from trk.journal.db import Journal

_POLL_S = 0.02
_ASK_S = 0.2


class Deliverer(Protocol):
    """Who delivers, as somebody sees it who has asked for something to be delivered."""

    def lives(self) -> bool:
        """Whether it is still there."""
        ...

    def stuck(self) -> set[str]:
        """The runs that were tried since they were asked for, and that waiting does not help."""
        ...


class Waiting:
    """Waits until another thread or process has delivered."""

    def __init__(
        self,
        journal: Journal,
        deliverer: Deliverer,
        deadline: float,
        progress: Progress | None,
        trouble: Trouble | None,
    ) -> None:
        self._journal = journal
        self._deliverer = deliverer
        self._deadline = deadline
        self._progress = progress
        self._trouble = trouble
        self._goal: int | None = None
        self._told: set[tuple[str, str]] = set()
        self._asked_at = time.monotonic()

    def until_delivered(self, run_ids: Collection[str], backends: Collection[str] | None) -> Outcome | None:
        """Wait for these runs; None when the deliverer is gone."""
        while True:
            waiting = cursors.pending(self._journal, run_ids, backends)
            self._tell(waiting)
            if not waiting:
                return Outcome(finished=True)
            if time.monotonic() >= self._deadline:
                return Outcome(finished=False)
            if not self._deliverer.lives():
                return None
            if self._is_over(waiting):
                return Outcome(finished=True)
            time.sleep(_POLL_S)

    def _tell(self, waiting: Collection[cursors.Pending]) -> None:
        left = sum(entry.logged - entry.cursor for entry in waiting)
        self._goal = left if self._goal is None else self._goal
        if self._progress is not None:
            self._progress(max(0, self._goal - left), self._goal)
        for backend, why in cursors.errors(self._journal, waiting):
            if self._trouble is not None and (backend, why) not in self._told:
                self._trouble(backend, why)
            self._told.add((backend, why))

    def _is_over(self, waiting: Collection[cursors.Pending]) -> bool:
        """Whether it was tried since this began, and what is left needs the user."""
        if time.monotonic() - self._asked_at < _ASK_S:
            return False
        self._asked_at = time.monotonic()
        return {entry.run_id for entry in waiting} <= self._deliverer.stuck()
