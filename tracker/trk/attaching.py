"""Going into runs that are there already, leaving them, reopening them.

A run of another program is kept in the journal as one of ours that is delivered to that place alone. What is logged
into it is delivered as ever; its beginning and end are its owner's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trk import config, owners, rules, session
from trk.backends import foreign
from trk.backends.foreign import ForeignRun
from trk.errors import BackendError, BackendUnavailable, Conflict, NoActiveRun, NotFound, SourceUnavailable, UsageError
from trk.ids import new_run_id
from trk.journal import lifecycle, write
from trk.journal.db import Journal
from trk.journal.select import HANDLES
from trk.owning import adopt
from trk.records import Status
from trk.run import Run
from trk.tracker import enter, find_journal, hand_over, is_anyones, need_run

DEFAULT_TIMEOUT_S = 30.0

Warn = Callable[[str], None]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


@dataclass(frozen=True, slots=True)
class Attached:
    """A run that was attached to; the handle of another program's run; the `.trk` folder if it was made for it."""

    run: Run
    handle: str | None = None
    new_folder: str | None = None


def attach(
    run: str | None = None,
    *,
    shell_session: bool = False,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = _warn,
    delivery: str | None = None,
) -> Run:
    """An existing run that is still open, to log into; it is left open at the end of a `with` block.

    `run` is an id, a unique prefix of four or more characters, a name, `@` or `@last`; left out it is `TRK_RUN`'s or
    the session's. With `shell_session` the directory's shells are in it from now on. Raises NotFound, NoActiveRun,
    and Conflict when the run has ended (`trk.resume` reopens it), is deleted, or the shells are in another run.

    `mlflow:<id>` is a run that another program made at the MLflow that is configured here. What is logged is
    delivered to it by its `end` and by `trk.sync()`, and trk never ends it: its status is its owner's. The server is
    asked for it, for at most `timeout` seconds, so that steps left out go on after its owner's, and the owner's params
    are known; one that can't be reached is warned of, and the run is attached to all the same. `trk.delete` forgets
    it here. Raises SourceUnavailable when mlflow is not installed or denies access.

    `delivery` says who delivers what is logged meanwhile, as in `trk.start`.
    """
    return join(run, shell_session=shell_session, timeout=timeout, warn=warn, delivery=delivery, goes_on=True).run


def join(
    named: str | None,
    *,
    shell_session: bool,
    timeout: float,
    warn: Warn,
    delivery: str | None = None,
    goes_on: bool = False,
) -> Attached:
    """`attach`, with what there is to tell of it. `goes_on` says that this process is not over in a moment."""
    found = find_journal()
    if named is None or not named.startswith(HANDLES):
        run = need_run(named)
        handle = lifecycle.handle(run.journal, run.id)
        joined = _joined(run, shell_session)
        hand_over(joined, config.resolve(joined.folder, delivery=delivery), goes_on=goes_on)
        return Attached(joined, handle)
    backend, remote_id = parted(named)
    resolved = config.resolve(session.find_folder(), delivery=delivery)
    for warning in resolved.warnings:
        warn(warning)
    target = config.target(backend, resolved)
    known = lifecycle.attached(found[1], backend, config.as_text(target), remote_id) if found is not None else None
    if found is not None and known is not None:
        _check_here(found[1], known)  # before anybody is asked
        if not lifecycle.is_external(found[1], known):
            joined = _joined(Run(found[1], found[0], known), shell_session)
            hand_over(joined, resolved, goes_on=goes_on)
            return Attached(joined)
    there = _asked(backend, target, remote_id, timeout, warn)
    attached = _join_foreign(_Place(backend, target, remote_id), there, known, resolved, shell_session)
    hand_over(attached.run, resolved, goes_on=goes_on)
    return attached


def parted(named: str) -> tuple[str, str]:
    """(backend, the backend's own id) of a handle. Raises UsageError."""
    backend, _, remote_id = named.partition(":")
    if backend != "mlflow":
        raise UsageError(
            f"{rules.shown(named)}: of runs that trk did not make, those of mlflow alone can be reached",
            hint="mlflow:<id>",
        )
    if not (remote_id.isascii() and remote_id.isalnum()):
        raise UsageError(f"{rules.shown(named)} is not mlflow:<run id>", hint="trk ls --source mlflow lists them")
    return backend, remote_id


def _joined(run: Run, shell_session: bool) -> Run:
    """A run of this journal, entered if it is open."""
    _check_here(run.journal, run.id)
    if not lifecycle.is_open(run.journal, run.id):
        raise Conflict(f"run {run.id} has ended ({run.status})", hint=f"trk resume {run.id}")
    if shell_session:
        enter(run.folder, run.journal, lambda: run, beside=_is_in(run))
    return Run(run.journal, run.folder, run.id)  # never the object that owns it, which would end it


def _check_here(journal: Journal, run_id: str) -> None:
    """Raise Conflict for a run that was deleted here."""
    if lifecycle.is_deleted(journal, run_id):
        raise Conflict(f"run {run_id} is deleted", hint=f"trk restore {run_id}")


def _is_in(run: Run) -> bool:
    """Whether the shells are in this run already."""
    return session.active_run_id(run.folder, run.journal) == run.id


# ---- runs of other programs


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run of another program is."""

    backend: str
    target: Mapping[str, Any]
    remote_id: str

    @property
    def handle(self) -> str:
        return f"{self.backend}:{self.remote_id}"


def _join_foreign(
    place: _Place, there: ForeignRun | None, known: str | None, resolved: config.Settings, shell_session: bool
) -> Attached:
    """The run of another program, `known` here by that id, entered. Raises Conflict when it is deleted there."""
    if there is not None and there.deleted:
        hint = f"trk restore {place.handle}" if known is None else "restore it with what deleted it"
        raise Conflict(f"{place.handle} is deleted at {place.backend}", hint=hint)
    # Nothing is made, and nothing entered, before the run is known to be one that can be logged into.
    folder, made = session.make_folder()
    journal = session.open_journal(folder)
    if known is not None:
        if there is not None:
            lifecycle.caught_up(journal, known, _columns(there, place.handle), there.owned)
        run = _joined(Run(journal, folder, known), shell_session)
    else:
        run = _kept(journal, folder, place, there, resolved, shell_session)
    return Attached(run, place.handle, folder if made else None)


def _asked(backend: str, target: Mapping[str, Any], remote_id: str, timeout: float, warn: Warn) -> ForeignRun | None:
    """The run as its server has it; None when that can't be reached. Raises NotFound, SourceUnavailable."""
    handle = f"{backend}:{remote_id}"
    foreign.attachable(backend, target)  # one that can't be had is an error, one that can't be reached is none
    try:
        there = foreign.looked_up(backend, target, remote_id, time.monotonic() + timeout)
    except (BackendUnavailable, SourceUnavailable) as error:
        warn(f"{handle} can't be asked for ({error.message}): attached to it all the same; steps left out begin where "
             "this journal knows them to end")  # fmt: skip
        return None
    except BackendError as error:
        raise SourceUnavailable(error.message, hint=error.hint) from None
    where = target.get("tracking_uri", backend)
    if there is None:
        raise NotFound(f"there is no run {remote_id} at {where}", hint=f"trk ls --source {backend}")
    if not there.deleted and there.status is not Status.RUNNING:
        warn(f"{handle} has ended ({there.status}): what is logged now is added to it")
    return there


def _columns(there: ForeignRun, handle: str) -> dict[str, Any]:
    """What its owner says of a run."""
    return {
        "name": _title(there.name, handle),
        "experiment": _title(there.experiment, config.DEFAULT_EXPERIMENT),
        "start_time": there.start_ms or write.now_ms(),
        **there.state,
    }


def _title(text: str, otherwise: str) -> str:
    """A name that others gave as trk's own rules have it, on one line and visible; another one where that can't be."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    for title in (text, " ".join(printable.split()).lstrip("@")[: rules.MAX_NAME]):
        try:
            return rules.check_title(title, "name")
        except UsageError:
            continue
    return otherwise


def _kept(
    journal: Journal,
    folder: str,
    place: _Place,
    there: ForeignRun | None,
    resolved: config.Settings,
    shell_session: bool,
) -> Run:
    """A run of another program, new in this journal, and entered."""
    unseen = {
        "name": place.handle,
        "experiment": resolved.get("experiment") or config.DEFAULT_EXPERIMENT,
        "start_time": write.now_ms(),
        "status": "RUNNING",
    }
    fields = {
        **(_columns(there, place.handle) if there is not None else unseen),
        "key_prefix": resolved.get("key_prefix") or "",
        "step_metric": resolved.get("step_metric"),
        "keyless": is_anyones(resolved),
    }
    url = there.url if there is not None else None
    delivery = (place.backend, config.as_text(place.target), place.remote_id, url)
    owned = there.owned if there is not None else lifecycle.Owned()

    def keep() -> Run:
        run_id = lifecycle.attach(journal, new_run_id(), fields, [delivery], owned)
        return Run(journal, folder, run_id)

    return enter(folder, journal, keep, beside=False)[0] if shell_session else keep()


# ---- leaving, reopening


def detach() -> str:
    """Take the innermost run out of the shells' session and leave it as it is; returns its id. Raises NoActiveRun."""
    found = find_journal()
    run_id = session.active_run_id(*found) if found is not None else None
    if found is None or run_id is None:
        raise NoActiveRun("no run is active here", hint="trk start")
    session.remove(found[0], run_id)
    return run_id


def resume(
    run: str, *, shell_session: bool = False, delivery: str | None = None, exit_timeout: float | None = None
) -> Run:
    """Reopen an ended run of trk: its status becomes RUNNING again, and what is logged goes on after what is there.

    With `shell_session` the directory's shells are in it from now on, else this process owns it. `delivery` and
    `exit_timeout` are as in `trk.start`. Raises NotFound, and Conflict when it has not ended, is deleted, or the shells
    are in another run.
    """
    owner = owners.of_process(resumed=True)
    return reopened(run, shell_session=shell_session, owner=owner, delivery=delivery, exit_timeout=exit_timeout)


def reopened(
    named: str,
    *,
    shell_session: bool,
    owner: str,
    delivery: str | None = None,
    exit_timeout: float | None = None,
) -> Run:
    """`resume`, for an owner as `trk.owners` has it."""
    found = need_run(named)
    if lifecycle.is_external(found.journal, found.id) and not lifecycle.is_deleted(found.journal, found.id):
        raise Conflict(f"run {found.id} belongs to another program", hint=f"trk attach {found.id}")

    def reopen() -> Run:
        write.set_status(found.journal, found.id, "RUNNING", write.now_ms(), owner)
        return Run(found.journal, found.folder, found.id, owned=True)

    resolved = config.resolve(found.folder, delivery=delivery, exit_timeout=exit_timeout)
    if shell_session:
        again = enter(found.folder, found.journal, reopen, beside=_is_in(found))[0]
    else:
        again = reopen()
        adopt(again)
    hand_over(again, resolved, goes_on=not shell_session)
    return again
