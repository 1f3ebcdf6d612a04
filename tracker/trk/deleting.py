"""Deleting runs and restoring them: softly, in the journal and at their backends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from trk import config, delivery, session
from trk.attaching import parted
from trk.backends import bounded, foreign
from trk.backends.base import DeletingBackend
from trk.backends.foreign import ForeignRun
from trk.errors import BackendError, NotFound, SourceUnavailable, UsageError
from trk.journal import lifecycle, read
from trk.journal.db import Journal
from trk.journal.select import HANDLES, resolve
from trk.records import RunRecord, from_ms
from trk.run import Run
from trk.tracker import find_journal, need_run

DEFAULT_TIMEOUT_S = 30.0

Warn = Callable[[str], None]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


@dataclass(frozen=True, slots=True)
class Changed:
    """A run that was to be deleted or restored.

    `n` is the row of the journal that says so: None when the run was so already, or is not of this journal.
    """

    record: RunRecord
    changed: bool
    n: int | None = None


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A run that trk did not make, and the backend that has it."""

    backend: DeletingBackend
    run: ForeignRun

    @property
    def record(self) -> RunRecord:
        run = self.run
        handle = f"{self.backend.name}:{run.remote_id}"
        return RunRecord(
            handle, run.name, run.experiment, run.status, self.backend.name, from_ms(run.start_ms or None), None
        )


def delete(
    *runs: str | Run,
    timeout: float = DEFAULT_TIMEOUT_S,
    wait: bool = True,
    strict: bool = False,
    warn: Warn = _warn,
) -> list[RunRecord]:
    """Delete ended runs softly, here and at their backends; returns their records. `trk.restore` brings them back.

    A run is named by id, unique prefix, name, `@last`, or `mlflow:<id>` for one that trk did not make. All are looked
    at before anything is done; one that is deleted already is fine. Children of a run stay.

    What is deleted is in no answer of a query from then on. The backends are told at once, for at most `timeout`
    seconds; what one was not told is delivered by `trk.sync()`, as all of it is without `wait`. With `strict`
    NotDelivered is raised when anything is pending or rejected. Raises NotFound, UsageError when several runs are
    meant, Conflict for a run that is open, or that was attached to and belongs to another program; and
    SourceUnavailable when the server of an `mlflow:<id>` does not answer.
    """
    return _records(change(runs, True, timeout=timeout, wait=wait, warn=warn), strict)


def restore(
    *runs: str | Run,
    timeout: float = DEFAULT_TIMEOUT_S,
    wait: bool = True,
    strict: bool = False,
    warn: Warn = _warn,
) -> list[RunRecord]:
    """Bring deleted runs back, here and at their backends; returns their records. As `trk.delete`.

    Of several runs that a name could mean, the deleted ones are meant. A run that is not deleted is fine.
    """
    return _records(change(runs, False, timeout=timeout, wait=wait, warn=warn), strict)


def _records(done: Sequence[Changed], strict: bool) -> list[RunRecord]:
    records = [one.record for one in done]
    if strict:
        delivery.check_delivered(records)
    return records


def change(
    runs: Sequence[str | Run],
    deleted: bool,
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    wait: bool = True,
    warn: Warn = _warn,
    progress: delivery.Progress | None = None,
    trouble: delivery.Trouble | None = None,
) -> list[Changed]:
    """Delete runs or restore them, with what there is to tell of each, in the order in which they were named."""
    if not runs:
        raise UsageError("no run is named", hint="trk delete RUN, trk restore RUN")
    deadline = time.monotonic() + timeout
    found = find_journal()
    meant = list(_meant(runs, found[1] if found is not None else None, deleted, deadline, warn))
    done: dict[str, Changed] = {}
    # Those elsewhere first: if their server fails, nothing has happened here yet.
    for one in meant:
        if isinstance(one, _Elsewhere):
            done[one.record.run_id] = _change_there(one, deleted, deadline)
    if found is not None:
        ids = [one for one in meant if isinstance(one, str)]
        rows = {run_id: _change_here(found[0], found[1], run_id, deleted) for run_id in ids}
        if wait and ids:
            left = max(deadline - time.monotonic(), 0.0)
            delivery.deliver(found[1], found[0], ids, timeout=left, progress=progress, trouble=trouble)
        for run_id, n in rows.items():
            record = read.record(found[1], run_id)
            assert record is not None
            done[run_id] = Changed(record, n is not None, n)
    return [done[one if isinstance(one, str) else one.record.run_id] for one in meant]


def _meant(
    runs: Sequence[str | Run], journal: Journal | None, deleted: bool, deadline: float, warn: Warn
) -> Iterator[str | _Elsewhere]:
    """The runs that are named, each once: ids of this journal, and runs that trk did not make.

    Raises what stands in the way of deleting or restoring any of them.
    """
    seen = set()
    for run in runs:
        named = run.id if isinstance(run, Run) else run
        run_id = _here(named, journal, deleted)
        if (run_id or named) in seen:
            continue
        seen.add(run_id or named)
        if run_id is None:
            yield _elsewhere(named, deadline, warn)
        else:
            assert journal is not None
            lifecycle.check_deleting(journal, run_id, deleted)
            yield run_id


def _here(named: str, journal: Journal | None, deleted: bool) -> str | None:
    """The id of the run of this journal that is named; None for a handle of a run that is not in it."""
    if named == "@" or (journal is None and not named.startswith(HANDLES)):
        return need_run(named).id
    if named.startswith(HANDLES):
        return lifecycle.attached(journal, *parted(named)) if journal is not None else None
    assert journal is not None
    return resolve(journal, named, deleted=not deleted)


def _elsewhere(handle: str, deadline: float, warn: Warn) -> _Elsewhere:
    """A run that trk did not make, as its server has it. Raises NotFound, SourceUnavailable."""
    name, remote_id = parted(handle)
    resolved = config.resolve(session.find_folder())
    for warning in resolved.warnings:
        warn(warning)
    target = config.target(name, resolved)
    asked = foreign.attachable(name, target)
    try:
        run = bounded.answer(name, deadline, lambda: asked.foreign(remote_id))
    except BackendError as error:
        raise SourceUnavailable(error.message, hint=error.hint) from None
    if run is None:
        where = target.get("tracking_uri", name)
        raise NotFound(f"there is no run {remote_id} at {where}", hint=f"trk ls --source {name}")
    return _Elsewhere(foreign.deleting(name, target), run)


def _change_there(one: _Elsewhere, deleted: bool, deadline: float) -> Changed:
    if one.run.deleted == deleted:
        return Changed(one.record, False)
    name, remote_id = one.backend.name, one.run.remote_id
    bounded.answer(name, deadline, lambda: one.backend.set_deleted(remote_id, deleted))
    return Changed(one.record, True)


def _change_here(folder: str, journal: Journal, run_id: str, deleted: bool) -> int | None:
    n = lifecycle.set_deleted(journal, run_id, deleted)
    if deleted:
        session.remove(folder, run_id)  # it has ended, and can't be what the shells are in
    return n
