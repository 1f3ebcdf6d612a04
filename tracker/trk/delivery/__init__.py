"""Delivery: carrying rows from the journal to the backends, in order, in batches, once.

`plan` makes batches, `engine` sends them and moves the cursors, `lock` keeps it to one deliverer per journal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trk.delivery.outcome import Outcome, Progress, Trouble
from trk.errors import NotDelivered
from trk.journal.db import Journal
from trk.records import RunRecord

__all__ = ["Outcome", "Progress", "Trouble", "check_delivered", "deliver"]

DEFAULT_TIMEOUT_S = 30.0


def deliver(
    journal: Journal,
    folder: str,
    run_ids: Collection[str] | None = None,
    *,
    backends: Collection[str] | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    progress: Progress | None = None,
    trouble: Trouble | None = None,
) -> Outcome:
    """Deliver what is pending of these runs (None: of all) to these backends (None: to all), for `timeout` seconds.

    What a backend does not take in time stays pending; each backend's trouble is its own, kept with the run, and
    told to `trouble` (backend, why) when a failure is first tried again. Never raises for a backend's failure.
    """
    from trk.delivery.engine import Session  # slow to import: most commands have nothing to deliver

    return Session(journal, folder, run_ids, backends, progress, trouble).run(timeout)


def check_delivered(records: Sequence[RunRecord], only: str | None = None) -> None:
    """Raise NotDelivered when any row of these runs is pending or rejected, or a backend does not know the run yet.

    `only` is the one backend that counts; None for all.
    """
    for record in records:
        for name, state in record.backends.items():
            unknown = state.run_id is None and state.pending == state.logged
            if only in (None, name) and (state.pending or state.rejected or unknown):
                why = state.rejections[0].reason if state.rejections else state.last_error
                raise NotDelivered(
                    f"run {record.run_id}: {name} has {state.delivered} of {state.logged} rows, "
                    f"{state.pending} pending, {state.rejected} rejected" + (f": {why}" if why else ""),
                    hint="trk status" if state.rejected else "trk sync",
                )
