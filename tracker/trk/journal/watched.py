"""Up to where the lines of files that grow are in their runs: written in the transaction of the lines themselves."""

from __future__ import annotations

from collections.abc import Callable

from trk.errors import Conflict
from trk.journal.db import Journal
from trk.journal.write import Rows

_STATE = "SELECT state FROM watched WHERE run = ? AND path = ?"


class Moved(Conflict):
    """Somebody else has taken lines of this file meanwhile: the state has to be read again."""


def state(journal: Journal, run_id: str, path: str) -> str | None:
    """What was kept of a file for a run; None when nothing was."""
    found = journal.read(
        "SELECT state FROM watched WHERE run = (SELECT run FROM runs WHERE run_id = ?) AND path = ?", (run_id, path)
    )
    return found[0][0] if found else None


def mark(path: str, before: str | None, after: str) -> Callable[[Rows], None]:
    """What keeps `after` of a file beside its lines. It raises Moved when what was kept is not `before` any more."""

    def keep(rows: Rows) -> None:
        found = rows.db.execute(_STATE, (rows.run, path)).fetchone()
        if (found[0] if found is not None else None) != before:
            raise Moved("another one takes the lines of this file into the same run", hint="one of them is enough")
        rows.db.execute("INSERT OR REPLACE INTO watched VALUES (?, ?, ?)", (rows.run, path, after))

    return keep


def paths(journal: Journal, run_id: str) -> list[tuple[str, str]]:
    """Each file of which something was kept for a run, and what."""
    return [
        (path, kept)
        for path, kept in journal.read(
            "SELECT path, state FROM watched WHERE run = (SELECT run FROM runs WHERE run_id = ?) ORDER BY path",
            (run_id,),
        )
    ]
