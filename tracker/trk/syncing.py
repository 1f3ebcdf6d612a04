"""Delivering what is pending, when somebody asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from trk import backends, delivery, rebuilding
from trk.backends import foreign
from trk.daemon import client as daemon
from trk.journal import cursors, read
from trk.records import RunRecord
from trk.tracker import find_journal, need_run


def sync(
    run: str | None = None,
    *,
    to: str | None = None,
    uri: str | None = None,
    timeout: float = delivery.DEFAULT_TIMEOUT_S,
    strict: bool = False,
    progress: delivery.Progress | None = None,
    trouble: delivery.Trouble | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[RunRecord]:
    """Deliver what is pending: of every run, or of one; to every backend, or to one. At most `timeout` seconds.

    With `uri` the runs of trk that are not deleted (or the one) go to that address of the backend `to` from now on:
    everything of them is delivered there from the journal, and what is logged later; where they were is left as it is.
    Called again with the same address it delivers what is pending. User and password in it are used for this delivery
    and kept nowhere. Runs of other programs stay where they are; `warn` (left out: Python's warnings) is told of them.

    Returns the records of the runs that had something pending (of `run`, in any case), whose `backends` tell what
    was delivered. With `strict`, NotDelivered is raised when anything is pending or rejected. Raises UsageError, and
    Conflict when another process goes on delivering, so that nothing could be changed.
    """
    if to is not None:
        backends.check_known(to)
    found = find_journal()
    place = rebuilding.place(found[0] if found else None, to, uri) if uri is not None else None
    if found is None:
        return []
    folder, journal = found
    if place is not None:
        only = need_run(run).id if run is not None else None
        records = rebuilding.rebuild(
            journal, folder, place, only, timeout=timeout, progress=progress, trouble=trouble, warn=warn
        )
        if strict:
            delivery.check_delivered(records, to)
        return records
    waiting = [need_run(run).id] if run is not None else None
    concerned = waiting or list(dict.fromkeys(e.run_id for e in cursors.pending(journal, None, _only(to))))
    if concerned:
        deadline = time.monotonic() + timeout
        daemon.deliver(
            journal, folder, concerned, backends=_only(to), timeout=timeout, progress=progress, trouble=trouble
        )
        foreign.catch_up(journal, concerned, deadline)
    records = [record for run_id in concerned if (record := read.record(journal, run_id)) is not None]
    if strict:
        check_synced(run, to)
    return records


def check_synced(run: str | None = None, to: str | None = None) -> None:
    """Raise NotDelivered when anything is pending or rejected: of every run or of one, at every backend or at one."""
    found = find_journal()
    if found is None:
        return
    journal = found[1]
    if run is not None:
        run_ids = [need_run(run).id]
    else:
        run_ids = [entry.run_id for entry in cursors.pending(journal)] + cursors.with_rejections(journal)
    records = (read.record(journal, run_id) for run_id in dict.fromkeys(run_ids))
    delivery.check_delivered([record for record in records if record is not None], to)


def _only(backend: str | None) -> tuple[str, ...] | None:
    return None if backend is None else (backend,)
