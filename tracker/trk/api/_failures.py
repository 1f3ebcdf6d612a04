"""What could not be logged or delivered: kept, counted, and said once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from trk.errors import TrkError
from trk.run import Run

KEPT = 1000

log = logging.getLogger("trk.experiment_tracker")


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that a tracker was given and a backend does not have, or not yet.

    `call` is the method, "delivery" for what a backend refused or could not take, `key` what it was about, `backend`
    the one backend without it, None where it was refused before any was asked.
    """

    call: str
    key: str | None
    reason: str
    backend: str | None = None


class Failures:
    """The failures of one tracker: the last thousand, and how many there were. Safe in threads."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[Failure] = deque(maxlen=KEPT)
        self._told: set[str] = set()
        self._turn = threading.Lock()

    def add(self, call: str, key: str | None, reason: str) -> None:
        """Keep one; the first of each method is logged as a warning."""
        with self._turn:
            self.count += 1
            self._kept.append(Failure(call, key, reason))
            is_first = call not in self._told
            self._told.add(call)
        if is_first:
            about = f" of {key!r}" if key is not None else ""
            log.warning("%s%s failed: %s (more of them are counted in tracker.failures)", call, about, reason)

    def all(self, runs: Iterable[Run]) -> list[Failure]:
        """Those that were kept, and what the backends of these runs refused or hold up."""
        with self._turn:
            found = list(self._kept)
        for run in runs:
            found += _of_delivery(run)
        return found


def _of_delivery(run: Run) -> list[Failure]:
    found: list[Failure] = []
    try:
        backends = run.record.backends
    except TrkError as error:
        return [Failure("delivery", run.id, error.message)]
    for name, state in backends.items():
        found += [Failure("delivery", one.key, one.reason, name) for one in state.rejections]
        if state.pending and state.last_error:
            found.append(Failure("delivery", None, f"{state.pending} rows pending: {state.last_error}", name))
    return found
