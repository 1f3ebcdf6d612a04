"""Deleting runs and restoring them: softly, in the journal and at their backends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trk import backends, config, delivery, session
from trk.attaching import parted
from trk.backends import bounded, foreign
from trk.backends.base import DeletingBackend, goes_whole
from trk.backends.foreign import ForeignRun
from trk.daemon import client as daemon
from trk.errors import (
    BackendError,
    ConfigurationError,
    NotDelivered,
    NotFound,
    SourceUnavailable,
    TrkError,
    UsageError,
)
from trk.journal import lifecycle, read
from trk.journal.db import Journal
from trk.journal.select import HANDLES, resolve
from trk.records import Kind, Row, RunRecord, from_ms
from trk.run import Run
from trk.tracker import find_journal, need_run

DEFAULT_TIMEOUT_S = 30.0

Warn = Callable[[str], None]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


@dataclass(frozen=True, slots=True)
class Changed:
    """A run that was to be deleted or restored.

    `n` is the row of the journal that says so: None when the run was so already, or is not trk's. `handle` is what an
    attached run of another program is called there, which is left as it is. `backends` has, for a run that was so
    already here, what that led to: per backend whether it was otherwise there, and changed now; or why that is not
    known. `unable` are the backends that can't do it: W&B can't restore.
    """

    record: RunRecord
    changed: bool
    n: int | None = None
    handle: str | None = None
    unable: frozenset[str] = frozenset()
    backends: Mapping[str, bool | str] = field(default_factory=dict)


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

    A run is named by id, unique prefix, name, `@last`, or `mlflow:<id>`, `wandb:<e>/<p>/<id>` for one that trk did not
    make. All are looked at before anything is done; one that is deleted already is fine. Children of a run stay.

    What is deleted is in no answer of a query from then on. The backends are told at once, for at most `timeout`
    seconds; what one was not told is delivered by `trk.sync()`, as all of it is without `wait`. With `strict`
    NotDelivered is raised when anything is pending or rejected. W&B can't restore: what is deleted there is gone for
    good, and the journal keeps what was logged. Of a run that was attached to, and belongs to another
    program, the attachment alone is deleted here: its server is not told, and what was not delivered to it is not,
    unless it is restored. Raises NotFound, UsageError when several runs are meant, Conflict for a run of trk that is
    open; and SourceUnavailable when the server of an `mlflow:<id>` does not answer.
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

    Of several runs that a name could mean, the deleted ones are meant. A run that is not deleted is fine; if somebody
    has deleted it at a backend by hand, it is restored there.
    """
    return _records(change(runs, False, timeout=timeout, wait=wait, warn=warn), strict)


def for_good(runs: Sequence[str | Run]) -> list[tuple[str, str]]:
    """What of these runs, once deleted, nobody can bring back: (how the run is called, the backend that can't).

    Raises NotFound, UsageError.
    """
    found = find_journal()
    journal = found[1] if found is not None else None
    said: dict[tuple[str, str], None] = {}
    for run in runs:
        named = run.id if isinstance(run, Run) else run
        run_id = _here(named, journal, True)
        if run_id is None:
            backend = named.partition(":")[0]
            target = config.target(backend, config.resolve(session.find_folder()))
            said |= {(named, backend): None} if not _restores(backend, target) else {}
        elif journal is not None and not lifecycle.is_deleted(journal, run_id):
            said |= dict.fromkeys(_final_copies(journal, run_id))
    return list(said)


def _final_copies(journal: Journal, run_id: str) -> Iterator[tuple[str, str]]:
    if lifecycle.is_external(journal, run_id):
        return  # the attachment alone is deleted
    record = read.record(journal, run_id)
    assert record is not None
    targets = read.targets(journal, run_id)
    for name, state in record.backends.items():
        if state.run_id is not None and not goes_whole(targets[name]) and not _restores(name, targets[name]):
            yield f"run {record.name} ({run_id})", name


def _restores(name: str, target: Mapping[str, Any]) -> bool:
    """Whether a backend can bring back what was deleted there; of one that can't be had nobody knows."""
    try:
        return backends.load(name)(target).holds(Row(1, Kind.RESTORE, 0))
    except BackendError:
        return True


def _records(done: Sequence[Changed], strict: bool) -> list[RunRecord]:
    if strict:
        check_told(done)
    return [one.record for one in done]


def check_told(done: Sequence[Changed]) -> None:
    """Raise NotDelivered when a backend does not have everything of these runs, or could not be asked.

    Of a run whose attachment was deleted nothing is delivered any more.
    """
    here = find_journal()
    hidden = [one for one in done if one.handle and here and lifecycle.is_deleted(here[1], one.record.run_id)]
    delivery.check_delivered([one.record for one in done if one not in hidden])
    for one in done:
        for name, found in one.backends.items():
            if isinstance(found, str):
                raise NotDelivered(f"run {one.record.run_id}: {name} could not be asked: {found}", hint="once more")


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
            daemon.deliver(found[1], found[0], ids, timeout=left, progress=progress, trouble=trouble)
        for run_id, n in rows.items():
            done[run_id] = _outcome(found[1], run_id, n, deleted, deadline if wait else None)
    return [done[one if isinstance(one, str) else one.record.run_id] for one in meant]


def _outcome(journal: Journal, run_id: str, n: int | None, deleted: bool, deadline: float | None) -> Changed:
    """What became of a run of this journal. Without a deadline no backend is asked."""
    record = read.record(journal, run_id)
    assert record is not None
    handle = lifecycle.handle(journal, run_id)
    if handle is not None or n is not None or deadline is None:
        return Changed(record, n is not None, n or None, handle, _unable(journal, record, n))
    return Changed(record, False, backends=_change_copies(journal, record, deleted, deadline))


def _unable(journal: Journal, record: RunRecord, n: int | None) -> frozenset[str]:
    """The backends that have no place for row `n`, and had one for what it takes back: nothing comes in between."""
    run = read.run_key(journal, record.run_id)
    if run is None or n is None:
        return frozenset()
    left_out = {name: read.left_out(journal, run, name) for name in record.backends}
    return frozenset(name for name, rows in left_out.items() if rows.get(n) and not rows.get(n - 1))


def _change_copies(journal: Journal, record: RunRecord, deleted: bool, deadline: float) -> dict[str, bool | str]:
    """Delete or restore the copies of a run that is so here already: somebody may have changed one by hand."""
    targets = read.targets(journal, record.run_id)
    found: dict[str, bool | str] = {}
    for name, state in record.backends.items():
        if state.run_id is None or state.pending:
            continue  # its delivery says all of it
        try:
            there = foreign.looked_up(name, targets[name], state.run_id, deadline)
            found[name] = False
            if there is not None and there.deleted != deleted:
                _set_there(foreign.deleting(name, targets[name]), there.remote_id, deleted, deadline)
                found[name] = True
        except ConfigurationError:
            continue  # what it can't do, nobody has done by its means
        except TrkError as error:
            found[name] = error.message
    return found


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
        parted(named)
    try:
        return resolve(journal, named, deleted=not deleted) if journal is not None else None
    except NotFound:
        if named.startswith(HANDLES):
            return None
        raise


def _elsewhere(handle: str, deadline: float, warn: Warn) -> _Elsewhere:
    """A run that trk did not make, as its server has it. Raises NotFound, SourceUnavailable."""
    name, remote_id = parted(handle)
    resolved = config.resolve(session.find_folder())
    for warning in resolved.warnings:
        warn(warning)
    target = config.target(name, resolved)
    try:
        run = foreign.looked_up(name, target, remote_id, deadline)
    except BackendError as error:
        raise SourceUnavailable(error.message, hint=error.hint) from None
    if run is None:
        where = target.get("tracking_uri", name)
        raise NotFound(f"there is no run {remote_id} at {where}", hint=f"trk ls --source {name}")
    return _Elsewhere(foreign.deleting(name, target), run)


def _change_there(one: _Elsewhere, deleted: bool, deadline: float) -> Changed:
    if one.run.deleted == deleted:
        return Changed(one.record, False)
    _set_there(one.backend, one.run.remote_id, deleted, deadline)
    return Changed(one.record, True)


def _set_there(backend: DeletingBackend, remote_id: str, deleted: bool, deadline: float) -> None:
    bounded.answer(backend.name, deadline, lambda: backend.set_deleted(remote_id, deleted))


def _change_here(folder: str, journal: Journal, run_id: str, deleted: bool) -> int | None:
    n = lifecycle.set_deleted(journal, run_id, deleted)
    if deleted:
        session.remove(folder, run_id)  # a deleted run can't be what the shells are in
    return n
