"""What goes with this machine: rows that lie in the journal alone, where the disk is a container's or a CI job's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trk import session, settings
from trk.journal import cursors


@dataclass(frozen=True, slots=True)
class Vanishing:
    """Rows that no backend, or not each one that they are for, has yet, on a disk that may go with its machine.

    `place` is what goes: container, CI job or machine. There are `rows` of `runs` runs, in the file `journal`.
    """

    place: str
    rows: int
    runs: int
    journal: str


def vanishing() -> Vanishing | None:
    """What would be lost if this container, CI job or machine went now; None when that is nothing, or it stays.

    `TRK_EPHEMERAL` says yes or no; left out it is seen from the surroundings, and a `.trk` on a volume of its own is
    taken to stay. Raises JournalError.
    """
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    place = settings.passing_place()
    if folder is None or journal is None or place is None or (place != "machine" and _is_on_a_volume(folder)):
        return None
    waiting = cursors.pending(journal)
    if not waiting:
        return None
    rows: dict[str, int] = {}
    for entry in waiting:
        rows[entry.run_id] = max(rows.get(entry.run_id, 0), entry.logged - entry.cursor)
    return Vanishing(place, sum(rows.values()), len(rows), journal.path)


def _is_on_a_volume(folder: str) -> bool:
    """Whether a folder lies on another file system than the machine's own, as what is mounted into a container does."""
    try:
        return Path(folder).stat().st_dev != Path("/").stat().st_dev
    except OSError:
        return False
