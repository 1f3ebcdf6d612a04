"""Starting and finding runs: what people call first."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trk import config, leftovers, owners, owning, rules, session, settings
from trk.daemon import client as daemon
from trk.daemon import credentials, left_alone
from trk.delivery import live
from trk.errors import DaemonError, NoActiveRun, NotFound
from trk.ids import new_run_id
from trk.journal import lifecycle, read, write
from trk.journal.db import Journal
from trk.journal.select import resolve
from trk.run import Run, current
from trk.texts import param_texts, tag_texts


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
    delivery: str | None = None,
    exit_timeout: float | None = None,
    shell_session: bool = False,
    replace: bool = False,
) -> Run:
    """Start a run and return it; best used as `with trk.start(…) as run:`.

    `experiment` groups runs (MLflow's experiment, W&B's project); left out it is `TRK_EXPERIMENT`'s, the settings',
    or "Default". `backends` are names such as "mlflow"; "none" records in the journal alone. `nested` makes it a
    child of the active run, `parent` (a Run, id or name) of that one. `capture` takes any of git, env, system, args,
    ci, which is noted in every CI job unless `TRK_CAPTURE_CI` or the setting `capture_ci` is off.

    `delivery` says who delivers what is logged meanwhile: "daemon", a process of its own, where one can run and
    `TRK_DAEMON` is not off; "thread", one of this process, with what it has to reach backends by; "end", nobody, but
    the run's end. Left out it is `TRK_DELIVERY`'s, the settings', or "daemon". Leaving the run's block or the program
    waits for the rest for `exit_timeout` seconds (else `TRK_EXIT_TIMEOUT`, the settings', or 30 and 10; 0: it does
    not wait); what is pending then stays in the journal, one line on stderr says so, and `trk.sync()` delivers it.

    The shells of the directory are told of the run only with `shell_session`; `replace` then ends the run they are
    in as KILLED. A run that is not theirs is ended when the program ends, FAILED if it dies of an exception; what
    `sys.exit` says is seen only by the `with` block that it leaves.

    Raises UsageError for names and settings, NoActiveRun for `nested` without one, Conflict when a shell session has
    an active run, JournalError.
    """
    settings_given = {
        "experiment": experiment, "backends": backends, "key_prefix": key_prefix, "step_metric": step_metric,
        "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group, "delivery": delivery, "exit_timeout": exit_timeout,
    }  # fmt: skip
    started = create(
        name, settings_given, tags=tags, params=params, description=description, nested=nested, parent=parent,
        capture=capture, command=sys.orig_argv, owner=owners.of_process(), shell_session=shell_session,
        replace=replace, goes_on=True,
    )  # fmt: skip
    run = started.run
    if started.warning is not None:
        warnings.warn(started.warning, stacklevel=2)
    if not shell_session:
        owning.adopt(run)
    return run


@dataclass(frozen=True, slots=True)
class Started:
    """A new run, the settings it was started with, the `.trk` folder if it was made for it, and what to warn of."""

    run: Run
    settings: config.Settings
    new_folder: str | None
    replaced: str | None = None
    warning: str | None = None


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
    owner: str,
    shell_session: bool,
    replace: bool,
    goes_on: bool = False,
    places: Mapping[str, Mapping[str, Any]] | None = None,
) -> Started:
    """`start`, without making the run this process's own. `command` is the command line to capture.

    `owner` is who starts it, as `trk.owners` has it. With `replace` the run before is delivered like the new one.
    `goes_on` says that this process is not over in a moment. `places` has, by backend, more of where the run goes
    than the settings say.
    """
    # Whatever can be wrong with the words is found before a folder is made for the run.
    _check_words(name, description, tags or {}, params or {}, capture)
    asked = config.resolve(session.find_folder(), **settings_given)
    config.check_experiment(_experiment(asked, None), asked)
    parent_id = _parent_id(nested, parent)
    folder, made = session.make_folder()
    journal = session.open_journal(folder)
    resolved = config.resolve(folder, **settings_given)
    kinds = capture if resolved.get("capture_ci") == "off" else [*capture, "ci"]
    all_tags = {**_captured(kinds, folder, command), **(tags or {})}

    def make() -> Run:
        return _create(
            journal, folder, name, resolved, parent_id, description, all_tags, params or {}, owner, places or {}
        )

    replaced = None
    if shell_session:
        run, replaced = enter(folder, journal, make, beside=parent_id is not None, replace=replace)
    else:
        run = make()
    warning = hand_over(run, resolved, goes_on=goes_on)
    if replaced is not None:
        hand_over(Run(journal, folder, replaced), resolved)  # it may be of a time before this daemon
    return Started(run, resolved, folder if made else None, replaced, warning)


def hand_over(run: Run, resolved: config.Settings, *, goes_on: bool = False) -> str | None:
    """See that a daemon delivers a run, or a thread of this process if it `goes_on`, as the settings say; else its end.

    Returns what the user should know when there can't be one though it is wanted.
    """
    how = config.delivery(resolved)
    run.exit_timeout = resolved.get("exit_timeout")
    if not read.targets(run.journal, run.id):
        return None
    run.left_alone = how != "daemon"
    (left_alone.add if run.left_alone else left_alone.discard)(run.id)
    later = "what is logged is delivered when the run ends"
    if how == "daemon" and daemon.can_run():
        try:
            daemon.ensure(run.folder, run.id)
        except DaemonError as error:
            return f"{error.message}: {later}"
    elif how == "thread" and goes_on:
        if not live.serve(run.journal, run.folder, run.id):
            return f"no thread can be started: {later}"
        owning.served(run)
    return None


def enter(
    folder: str, journal: Journal, make: Callable[[], Run], *, beside: bool, replace: bool = False
) -> tuple[Run, str | None]:
    """Make a run the one that the shells are in; returns it and the run that it replaced.

    All of it under the session's lock: of two that start at once, one gets the Conflict. `beside` allows the run to
    come on top of the active one.
    """
    done: list[tuple[Run, str | None]] = []

    def enter(content: dict[str, Any]) -> None:
        # Runs that were ended by other hands are over: they hold up nobody.
        stack = [run_id for run_id in content["active"] if lifecycle.is_open(journal, run_id)]
        before = stack[-1] if stack else None
        if before is not None and not replace and not beside:
            raise leftovers.conflict(journal, before)
        run = make()
        if replace and before is not None:
            stack.pop()
            if not lifecycle.is_external(journal, before):  # another program's is left as it is
                write.set_status(journal, before, "KILLED", write.now_ms())
        content["active"] = [run_id for run_id in stack if run_id != run.id] + [run.id]
        content.update(_kept(run))
        done.append((run, before if replace else None))

    session.change(folder, enter)
    return done[0]


def _kept(run: Run) -> dict[str, Any]:
    """What a session tells of its run besides the id."""
    known = read.run_settings(run.journal, run.id) or {}
    kept = {name: known.get(name) for name in ("experiment", "key_prefix", "step_metric")}
    return {**kept, "delivery": read.targets(run.journal, run.id)}


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


def _create(
    journal: Journal,
    folder: str,
    name: str | None,
    resolved: config.Settings,
    parent_id: str | None,
    description: str | None,
    tags: Mapping[str, object],
    params: Mapping[str, object],
    owner: str,
    places: Mapping[str, Mapping[str, Any]],
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
        "keyless": is_anyones(resolved),
        "owner": owner,
    }
    targets = {
        name: config.as_text({**config.target(name, resolved), **places.get(name, {})})
        for name in resolved.get("backends") or ()
    }
    config.check_experiment(fields["experiment"], resolved)
    prefix = fields["key_prefix"]
    write.create_run(journal, run_id, fields, targets, tag_texts(tags), param_texts(params, prefix))
    return Run(journal, folder, run_id, key_prefix=prefix, owned=True)


def is_anyones(resolved: config.Settings) -> bool:
    """Whether any daemon without credentials may deliver a run: it needs none, and is not delivered otherwise."""
    return resolved.get("delivery") in (None, "daemon") and not credentials.held(settings.environment())


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


def active_run() -> Run | None:
    """The run this code is in: the enclosing `with`'s, else this process's newest, else `TRK_RUN`'s or the session's.

    None when there is none. Raises SessionError, and NotFound when `TRK_RUN` names no run.
    """
    entered = current.get()
    if entered:
        return entered[-1]
    for own in owning.newest():
        if own.status == "RUNNING":
            return own
    found = find_journal()
    run_id = session.current_run_id(*found) if found else session.current_run_id(None, None)
    return Run(found[1], found[0], run_id) if found and run_id is not None else None


def need_run(named: str | None = None) -> Run:
    """The run that `named` (id, prefix, name, `@`, `@last`, `mlflow:<id>`) means, else the active one.

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
