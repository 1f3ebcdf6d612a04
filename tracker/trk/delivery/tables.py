"""When a table that grows is handed over again: a table goes whole, so not for each of its rows."""

from __future__ import annotations

import time

PAUSE_S = 1.0  # between two hand-overs of one table, at least, and
PAUSE_SHARE = 4.0  # so many times as long as the last one took, but at most
LONGEST_PAUSE_S = 15.0  # since what was logged after the table waits with it


class Tables:
    """Remembers when each table of the open runs was handed over, and for how long it then rests."""

    def __init__(self) -> None:
        self._due: dict[tuple[int, str], float] = {}
        self._held: set[tuple[int, str]] = set()

    def may_go(self, run: int, name: str) -> bool:
        """Whether a table may be handed over now; if not, it is held back until it is due."""
        if time.monotonic() >= self._due.get((run, name), 0.0):
            self._held.discard((run, name))
            return True
        self._held.add((run, name))
        return False

    def went(self, run: int, name: str, took_s: float) -> None:
        """A table was handed over, which took so long."""
        self._due[run, name] = time.monotonic() + min(LONGEST_PAUSE_S, max(PAUSE_S, PAUSE_SHARE * took_s))

    def forget(self, run: int) -> None:
        """A run is through."""
        for key in [key for key in self._due if key[0] == run]:
            del self._due[key]
            self._held.discard(key)

    def due_s(self) -> float | None:
        """Seconds until the first table that was held back is due; None when none is."""
        due = min((self._due[key] for key in self._held if key in self._due), default=None)
        return None if due is None else max(0.0, due - time.monotonic())
