"""Open runs whose owner has ended: which they are, and what is said of them. Nothing here ends a run."""

from __future__ import annotations

from dataclasses import dataclass

from trk import owners
from trk.errors import Conflict
from trk.journal import lifecycle, write
from trk.journal.db import Journal
from trk.owners import Owner
from trk.records import from_ms


@dataclass(frozen=True, slots=True)
class Leftover:
    """An open run whose owner has ended. `heard_ms` is the time of its last row, else of its start."""

    run_id: str
    name: str
    owner: Owner
    heard_ms: int

    def is_left(self, now_ms: int) -> bool:
        """Whether it looks as if nobody went on with it: silent for ten minutes, or from before a restart."""
        return self.owner.is_left(self.heard_ms, now_ms)

    def story(self) -> str:
        """What is known of it, as a part of a sentence about the run."""
        return f"{self.owner.story()}, and it was last heard of at {from_ms(self.heard_ms):%Y-%m-%d %H:%MZ}"


def of_run(journal: Journal, run_id: str) -> Leftover | None:
    """The run if it is open, trk's own, and its owner has ended. Raises NotFound."""
    kept, heard_ms = lifecycle.owner(journal, run_id)
    owner = owners.look(kept)
    if not owner.is_gone(write.now_ms()) or not lifecycle.is_open(journal, run_id):
        return None
    return Leftover(run_id, "", owner, max(heard_ms, owner.beat_ms or 0))


def of_all(journal: Journal) -> list[Leftover]:
    """Every open run of trk's own whose owner has ended, the oldest first."""
    looked = ((run_id, name, owners.look(kept), ms) for run_id, name, kept, ms in lifecycle.open_owned(journal))
    now = write.now_ms()
    return [
        Leftover(run_id, name, owner, max(ms, owner.beat_ms or 0))
        for run_id, name, owner, ms in looked
        if owner.is_gone(now)
    ]


def is_anybody_there(journal: Journal) -> bool:
    """Whether a run of trk's own is open whose owner is not known to have ended."""
    now = write.now_ms()
    return any(not owners.look(kept).is_gone(now) for kept in lifecycle.open_owners(journal))


def conflict(journal: Journal, run_id: str) -> Conflict:
    """Why the shells can't enter another run while they are in this one, and what can be done."""
    left = of_run(journal, run_id)
    if left is None:
        return Conflict(f"run {run_id} is active here", hint="trk end, or trk start --replace or --nested")
    return Conflict(
        f"run {run_id} is active here, but {left.story()}",
        hint="trk start --replace, or trk end --status KILLED; or just go on logging into it",
    )
