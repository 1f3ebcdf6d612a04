"""How far a run has come on its way to one backend, between the journal's cursor and what was handed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trk.delivery.content import Contents
from trk.journal import cursors
from trk.journal.db import Journal
from trk.records import Rejection, RemoteRun, Row


@dataclass(slots=True)
class Way:
    """A run that is open at a backend.

    Up to row `sent` everything was handed over, rejected or skipped, up to `cursor` that is known to have arrived.
    `handed` is the last row of which anything was handed over, `lines` how many rows up to `sent` make a line of a
    history (None where the backend does not number them).
    """

    run: int
    remote: RemoteRun
    contents: Contents
    cursor: int
    sent: int
    handed: int
    lines: int | None = None
    rejected: list[Rejection] = field(default_factory=list)  # beyond the cursor
    skipped: list[Rejection] = field(default_factory=list)

    def took(self, rows: Sequence[Row]) -> None:
        """These rows are the next: the lines of those after them are counted on from theirs."""
        self.lines = next((row.line + 1 for row in reversed(rows) if row.line is not None), self.lines)

    def advance(self, journal: Journal, backend: str, n: int) -> int:
        """Move the cursor to `n`, with what was rejected and skipped on the way; returns by how many rows."""
        if n <= self.cursor:
            return 0
        cursors.advance(
            journal,
            self.run,
            backend,
            n,
            [entry for entry in self.rejected if entry.n <= n],  # before the cursor, too, when all goes again
            [entry for entry in self.skipped if entry.n <= n],
            self.contents.arrived(n),
        )
        self.rejected = [entry for entry in self.rejected if entry.n > n]
        self.skipped = [entry for entry in self.skipped if entry.n > n]
        rows, self.cursor = n - self.cursor, n
        return rows
