"""Starting, attaching, resuming and finding runs: what people call first."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trk import backends as known_backends
from trk import config, delivery, rules, session, settings
from trk.errors import Conflict, NoActiveRun, NotFound, TrkError
from trk.ids import new_run_id
from trk.journal import read, write
from trk.journal.db import Journal
from trk.journal.select import columns, resolve
from trk.records import RunRecord
from trk.run import Run, current, param_texts, tag_texts

# (process, run) started or resumed by this process, or by the one it was forked from; the newest open one is the
# process's run, which its worker threads and worker processes fall back to.
_mine: list[tuple[int, Run]] = []


def find_journal() -> tuple[str, Journal] | None:
    """(folder, journal) of the nearest `.trk` that has a journal, or None."""
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    return None if folder is None or journal is None else (folder, journal)


def start(
    name: str | None = None,
    *,
    experiment: str | None = None,
    backends: Sequence[str] | str | None = None,
    tags: Mapping[str, object] | None = None,
    params: Mapping[str, object] | None = None,
    description: str | None = None,
    nested: bool = False,
    parent: str | Run | None = None,
    key_prefix: str | None = None,
    step_metric: str | None = None,
    capture: Sequence[str] = (),
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    shell_session: bool = False,
    replace: bool = False,
) -> Run:
    """Start a run and return it; best used as `with trk.start(…) as run:`.

    `experiment` groups runs (MLflow's experiment, W&B's project); left out it is `TRK_EXPERIMENT`'s, the settings',
    or "Default". `backends` are names such as "mlflow"; "none" records in the journal alone. `nested` makes it a
    child of the active run, `parent` (a Run, id or name) of that one. `capture` takes any of git, env, system, args.
    Nothing is sent yet: delivery is at the run's end and by `trk.sync()`.

    The shells of the directory are told of the run only with `shell_session`; `replace` then ends the run they are
    in as KILLED. A run that is not theirs is ended when the program ends, FAILED if it dies of an exception.

    Raises UsageError for names and settings, NoActiveRun for `nested` without one, Conflict when a shell session has
    an active run, JournalError.
    """
    settings_given = {
        "experiment": experiment, "backends": backends, "key_prefix": key_prefix, "step_metric": step_metric,
        "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    run = create(
        name, settings_given, tags=tags, params=params, description=description, nested=nested, parent=parent,
        capture=capture, command=sys.orig_argv, shell_session=shell_session, replace=replace,
    ).run  # fmt: skip
    if not shell_session:
        _adopt(run)
    return run


@dataclass(frozen=True, slots=True)
class Started:
    """A new run, the settings it was started with, and the `.trk` folder if it was made for it."""

    run: Run
    settings: config.Settings
    new_folder: str | None
    replaced: str | None = None


def create(
    name: str | None,
    settings_given: Mapping[str, Any],
    *,
    tags: Mapping[str, object] | None,
    params: Mapping[str, object] | None,
    description: str | None,
    nested: bool,
    parent: str | Run | None,
    capture: Sequence[str],
    command: Sequence[str],
    shell_session: bool,
    replace: bool,
) -> Started:
    """`start`, without making the run this process's own. `command` is the command line to capture."""
    # Whatever can be wrong with the words is found before a folder is made for the run.
    _check_words(name, description, tags or {}, params or {}, capture)
    config.resolve(session.find_folder(), **settings_given)
    parent_id = _parent_id(nested, parent)
    folder, made = session.make_folder()
    journal = session.open_journal(folder)
    before = _shells_run(folder, journal) if shell_session else None
    if before is not None and not replace and parent_id is None:
        raise Conflict(f"run {before} is active here", hint="trk end, or trk start --replace or --nested")
    resolved = config.resolve(folder, **settings_given)
    captured = _captured(capture, folder, command)
    run = _create(journal, folder, name, resolved, parent_id, description, {**captured, **(tags or {})}, params or {})
    replaced = None
    if shell_session:
        if before is not None and replace:
            replaced = _end_replaced(journal, folder, before)
        enter_session(run, resolved)
    return Started(run, resolved, folder if made else None, replaced)


def _shells_run(folder: str, journal: Journal) -> str | None:
    """The innermost open run that the shells are in. One that was ended by other hands is taken out: it is over."""
    while (run_id := session.active_run_id(folder, journal)) is not None:
        known = columns(journal, run_id)
        if known is not None and known["status"] == "RUNNING":
            return run_id
        session.remove(folder, run_id)
    return None


def _check_words(
    name: str | None,
    description: str | None,
    tags: Mapping[str, object],
    params: Mapping[str, object],
    capture: Sequence[str],
) -> None:
    if name is not None:
        rules.check_title(name, "run name")
    if description is not None:
        rules.check_text(description, "description")
    tag_texts(tags)
    param_texts(params)
    if capture:
        from trk.capture import check_kinds

        check_kinds(capture)


def _parent_id(nested: bool, parent: str | Run | None) -> str | None:
    """The id of the run to be the parent; None for a run of its own."""
    if isinstance(parent, Run):
        return parent.id
    if parent is not None:
        return need_run(parent).id
    if not nested:
        return None
    active = active_run()
    if active is None:
        raise NoActiveRun("nested needs an active run to be the parent", hint="trk start without --nested")
    return active.id


def _end_replaced(journal: Journal, folder: str, run_id: str) -> str | None:
    """End the run that is replaced, unless it has ended by other hands."""
    try:
        Run(journal, folder, run_id).finish("KILLED")
    except (Conflict, NotFound):
        session.remove(folder, run_id)
        return None
    return run_id


def enter_session(run: Run, resolved: config.Settings | None = None) -> None:
    """Make a run the one that this directory's shells are in."""
    kept: dict[str, Any] = {"experiment": run.experiment, "key_prefix": run.key_prefix}
    if resolved is not None:
        kept["step_metric"] = resolved.get("step_metric")
        kept["delivery"] = {name: config.target(name, resolved) for name in resolved.get("backends") or ()}
    session.push(run.folder, run.id, **kept)


def _create(
    journal: Journal,
    folder: str,
    name: str | None,
    resolved: config.Settings,
    parent_id: str | None,
    description: str | None,
    tags: Mapping[str, object],
    params: Mapping[str, object],
) -> Run:
    run_id = new_run_id()
    inherited = read.run_settings(journal, parent_id) if parent_id is not None else None
    fields = {
        "name": name if name is not None else f"run-{run_id[-6:]}",
        "experiment": _experiment(resolved, inherited),
        "start_time": write.now_ms(),
        "parent_id": parent_id,
        "description": description,
        "key_prefix": resolved.get("key_prefix") or "",
        "step_metric": resolved.get("step_metric"),
    }
    targets = {name: config.as_text(config.target(name, resolved)) for name in resolved.get("backends") or ()}
    prefix = fields["key_prefix"]
    write.create_run(journal, run_id, fields, targets, tag_texts(tags), param_texts(params, prefix))
    return Run(journal, folder, run_id, key_prefix=prefix, owned=True)


def _experiment(resolved: config.Settings, inherited: Mapping[str, Any] | None) -> str:
    """A child run is in its parent's experiment, unless an argument says otherwise."""
    chosen = resolved.values.get("experiment")
    if inherited is not None and (chosen is None or chosen.origin != "argument"):
        return str(inherited["experiment"])
    return str(chosen.value) if chosen is not None else config.DEFAULT_EXPERIMENT


def _captured(kinds: Sequence[str], folder: str, command: Sequence[str]) -> dict[str, str]:
    if not kinds:
        return {}
    from trk import capture

    project = Path(folder).parent
    return capture.collect(kinds, folder=str(project), environ=settings.environment(), command=command)


def _adopt(run: Run) -> None:
    """Make a run this process's own: the one that worker threads fall back to, ended at exit if nobody did."""
    if os.getpid() not in _watched:
        if not _watched:
            _watch_excepthook()
        _watched.add(os.getpid())
        atexit.register(_end_at_exit, os.getpid())
    _mine.append((os.getpid(), run))


_watched: set[int] = set()  # a fork's child watches over its own runs only
_died: str | None = None  # how its runs end when the program dies of an exception


def _watch_excepthook() -> None:
    """Remember whether the program dies of an exception: its runs then did not finish."""
    before = sys.excepthook

    def hook(kind: Any, error: Any, trace: Any) -> None:
        global _died
        _died = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        before(kind, error, trace)

    sys.excepthook = hook


AT_EXIT_S = 10.0  # how long the end of a program waits for what it left to be delivered
_DELIVER = "import sys, trk; [trk.sync(run, timeout=float(sys.argv[1])) for run in sys.argv[2:]]"


def _end_at_exit(pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork's child: the runs are its parent's
    left: dict[str, list[str]] = {}
    for owner, run in reversed(_mine):
        try:
            if owner == pid and run.status == "RUNNING":
                run.finish(_died or "FINISHED")
                left.setdefault(run.folder, []).append(run.id)
        except TrkError as error:
            warnings.warn(f"run {run.id} could not be ended: {error}", stacklevel=1)
    for folder, run_ids in left.items():
        _deliver_apart(folder, run_ids)


def _deliver_apart(folder: str, run_ids: Sequence[str]) -> None:
    """Deliver in a process of its own: a program that is ending can't start threads any more (Python 3.12)."""
    command = [sys.executable, "-c", _DELIVER, str(AT_EXIT_S), *run_ids]
    environ = {**settings.environment(), "TRK_DIR": folder}
    nowhere = subprocess.DEVNULL
    try:
        subprocess.run(
            command, env=environ, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=AT_EXIT_S + 5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # what is pending is in the journal, for trk sync


def active_run() -> Run | None:
    """The run this code is in: the enclosing `with`'s, else this process's newest, else `TRK_RUN`'s or the session's.

    None when there is none. Raises SessionError, and NotFound when `TRK_RUN` names no run.
    """
    run = current.get()
    if run is not None:
        return run
    for _, own in reversed(_mine):
        if own.status == "RUNNING":
            return own
    found = find_journal()
    run_id = session.current_run_id(*found) if found else session.current_run_id(None, None)
    return Run(found[1], found[0], run_id) if found and run_id is not None else None


def need_run(named: str | None = None) -> Run:
    """The run that `named` (id, prefix, name, `@`, `@last`) means, else the active one.

    Raises NoActiveRun, NotFound, and UsageError when several runs are meant.
    """
    if named is None or named == "@":
        run = active_run()
        if run is None:
            raise NoActiveRun("no run is active here", hint="trk start")
        return run
    found = find_journal()
    if found is None:
        raise NotFound(f"there is no run {named!r}: no .trk folder here", hint="trk start, or set TRK_DIR")
    folder, journal = found
    return Run(journal, folder, resolve(journal, named))


def attach(run: str | None = None, *, shell_session: bool = False) -> Run:
    """An existing run that is still open, to log into; it is left open at the end of a `with` block.

    `run` is an id, a unique prefix of four or more characters, a name, `@` or `@last`; left out it is `TRK_RUN`'s or
    the session's. With `shell_session` the directory's shells are in it from now on. Raises NotFound, NoActiveRun,
    and Conflict when the run has ended (`trk.resume` reopens it) or the shells are in another run.
    """
    found = need_run(run)
    if (status := found.status) != "RUNNING":
        raise Conflict(f"run {found.id} has ended ({status})", hint=f"trk resume {found.id}")
    if shell_session:
        _check_free(found)
        enter_session(found)
    return Run(found.journal, found.folder, found.id)  # never the object that owns it, which would end it


def _check_free(run: Run) -> None:
    before = _shells_run(run.folder, run.journal)
    if before not in (None, run.id):
        raise Conflict(f"run {before} is active here", hint="trk detach or trk end")


def detach() -> str:
    """Take the innermost run out of the shells' session and leave it as it is; returns its id. Raises NoActiveRun."""
    found = find_journal()
    run_id = session.active_run_id(*found) if found is not None else None
    if found is None or run_id is None:
        raise NoActiveRun("no run is active here", hint="trk start")
    session.remove(found[0], run_id)
    return run_id


def resume(run: str, *, shell_session: bool = False) -> Run:
    """Reopen an ended run of trk: its status becomes RUNNING again, and what is logged goes on after what is there.

    With `shell_session` the directory's shells are in it from now on, else this process owns it. Raises NotFound,
    and Conflict when it has not ended or the shells are in another run.
    """
    found = need_run(run)
    if shell_session:
        _check_free(found)
    write.set_status(found.journal, found.id, "RUNNING", write.now_ms())
    reopened = Run(found.journal, found.folder, found.id, owned=True)
    if shell_session:
        enter_session(reopened)
    else:
        _adopt(reopened)
    return reopened


def sync(
    run: str | None = None,
    *,
    to: str | None = None,
    timeout: float = delivery.DEFAULT_TIMEOUT_S,
    strict: bool = False,
    progress: delivery.Progress | None = None,
) -> list[RunRecord]:
    """Deliver what is pending: of every run, or of one; to every backend, or to one. At most `timeout` seconds.

    Returns the records of the runs that had something pending (of `run`, in any case), whose `backends` tell what
    was delivered. With `strict`, NotDelivered is raised when anything is pending or rejected.
    """
    from trk.journal import cursors

    if to is not None:
        known_backends.check_known(to)
    found = find_journal()
    if found is None:
        return []
    folder, journal = found
    waiting = [need_run(run).id] if run is not None else None
    concerned = waiting or list(dict.fromkeys(e.run_id for e in cursors.pending(journal, None, _only(to))))
    if concerned:
        delivery.deliver(journal, folder, concerned, backends=_only(to), timeout=timeout, progress=progress)
    records = [record for run_id in concerned if (record := read.record(journal, run_id)) is not None]
    if strict:
        delivery.check_delivered(records)
    return records


def _only(backend: str | None) -> tuple[str, ...] | None:
    return None if backend is None else (backend,)


__all__ = ["active_run", "attach", "detach", "need_run", "resume", "start", "sync"]
