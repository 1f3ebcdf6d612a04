"""start, end, status, sync: the life of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from trk import (
    config,
    delivery,
    ephemeral,
    leftovers,
    owners,
    rebuilding,
    session,
    settings,
    syncing,
    tracker,
)
from trk.backends import foreign
from trk.daemon import client as daemon
from trk.errors import NoActiveRun, UsageError
from trk.journal import cursors, lifecycle, read, write
from trk.media.table_cells import count
from trk.records import RunRecord, Status
from trk.rules import shown
from trk.run import Run, check_end
from trk.running.ends import status_of
from trk_cli import forms, hot, output, progress
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Column, Listing, Single


def start(
    name: Annotated[str | None, Argument(metavar="NAME", help="The run's name; made up when left out.")] = None,
    experiment: options.Experiment = None,
    backend: options.Backends = None,
    tag: options.Tags = None,
    param: options.Params = None,
    description: options.Description = None,
    nested: options.Nested = False,
    parent: options.Parent = None,
    replace: Annotated[bool, Option("--replace", help="End the active run as KILLED first.")] = False,
    key_prefix: options.KeyPrefix = None,
    step_metric: options.StepMetric = None,
    capture: options.Capture = None,
    mlflow_uri: options.MlflowUri = None,
    wandb_project: options.WandbProject = None,
    wandb_entity: options.WandbEntity = None,
    wandb_group: options.WandbGroup = None,
    wait: options.Wait = False,
    timeout: options.Timeout = "30",
    shell: Annotated[bool, Option("--shell", help='For eval "$(…)": this shell alone is in the run.')] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Start a run and print its id; later commands here log into it.

    Example: RUN=$(trk start baseline -e digits --param lr=0.1)
    """
    limit = options.seconds(timeout)
    settings_given = {
        "experiment": experiment, "backends": backend, "key_prefix": key_prefix, "step_metric": step_metric,
        "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    kinds = [kind for word in capture or () for kind in word.split(",") if kind]
    started = tracker.create(
        name, settings_given, tags=hot.as_text(hot.pairs(tag or ())), params=hot.as_text(hot.pairs(param or ())),
        description=description, nested=nested, parent=parent, capture=kinds, command=_caller(),
        owner=owners.of_caller(), shell_session=not shell, replace=replace, python=_python(kinds),
    )  # fmt: skip
    if wait:
        waited_for = [started.run.id, *([started.replaced] if started.replaced is not None else [])]
        daemon.deliver(started.run.journal, started.run.folder, waited_for, timeout=limit)
    _tell_start(started, shell, quiet)
    record = started.run.record
    warn_undelivered([record], quiet=quiet, wanted=wait)
    if json:
        output.show(Single(output.run_json(record)), options.JSON)
    else:
        output.emit((_exports(started.run) if shell else started.run.id) + "\n")


def _caller() -> list[str]:
    """The command line of the script or shell that calls `trk start`: that is what a user wants captured."""
    import os

    from trk.capture.args import command_of

    return command_of(os.getppid())


def _python(kinds: Sequence[str]) -> str | None:
    """The Python of the shell that calls: its packages are meant, not those beside trk."""
    if "packages" not in kinds:
        return None
    from trk.capture.packages import python_here

    return python_here(settings.environment())


def _exports(run: Run) -> str:
    from shlex import quote

    return f"export TRK_RUN={run.id}\nexport TRK_DIR={quote(run.folder)}"


def _tell_start(started: tracker.Started, shell: bool, quiet: bool) -> None:
    run, resolved = started.run, started.settings
    for warning in (*resolved.warnings, *([started.warning] if started.warning is not None else [])):
        output.warn(warning)
    if started.new_folder is not None:
        output.talk(f"made {started.new_folder}", quiet=quiet)
    if started.replaced is not None:
        theirs = lifecycle.is_external(run.journal, started.replaced)
        fate = "belongs to another program and stays open" if theirs else "ended as KILLED"
        if not daemon.is_wanted() and cursors.pending(run.journal, [started.replaced]):
            fate += "; trk sync delivers it"
        output.talk(f"run {started.replaced} {fate}", quiet=quiet)
    tell_place(run, resolved, quiet)
    other = settings.env("TRK_RUN")
    if other is not None and not shell and other != run.id:
        output.warn(f"TRK_RUN is set: commands of this shell log into {other}, not into the new run (unset TRK_RUN)")


def tell_place(run: Run, resolved: config.Settings, quiet: bool) -> None:
    """Say which run it is, where it goes, and who says so."""
    backends = ", ".join(_place(name, resolved) for name in resolved.get("backends")) or "the journal alone"
    origin = resolved.values["backends"].origin
    output.talk(f"run {run.name} ({run.id}) in experiment {run.experiment} → {backends} ({origin})", quiet=quiet)


def _place(name: str, resolved: config.Settings) -> str:
    """A backend and where its data goes."""
    where = config.target(name, resolved).get("tracking_uri")
    return f"{name} at {where}" if where else name


def end(
    run: options.Run = None,
    status: Annotated[
        str | None, Option("--status", metavar="STATUS", help="FINISHED (the default), FAILED or KILLED.")
    ] = None,
    failed: Annotated[bool, Option("--failed", help="The same as --status FAILED.")] = False,
    exit_code: Annotated[
        str | None, Option("--exit-code", metavar="N", help="0 is FINISHED; 130, 137, 143 KILLED; else FAILED.")
    ] = None,
    timeout: options.Timeout = "30",
    no_wait: options.NoWait = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """End the active run and deliver it, for at most --timeout seconds; what is pending then stays in the journal.

    A run of another program (trk attach mlflow:ID) is delivered and left: its end is for its owner to say.

    Example: trap 'trk end --exit-code $?' EXIT
    """
    limit = options.seconds(timeout)
    ended = _end_status(status, failed, exit_code)
    strict = strict or strict_setting()  # a setting that can't be read is found before anything is done
    found = hot.find_run(run)
    theirs = lifecycle.is_external(found.journal, found.id)
    if theirs and (status, failed, exit_code) != (None, False, None):
        output.warn(
            f"{check_end(ended)} is ignored: the end of {found.name} is for the program that made it", quiet=quiet
        )
    found.finish("FINISHED" if theirs else ended)
    if not no_wait:
        with progress.bar(quiet) as report:
            deadline = time.monotonic() + limit
            daemon.deliver(
                found.journal, found.folder, [found.id], timeout=limit, progress=report, trouble=trouble(quiet)
            )
            foreign.catch_up(found.journal, [found.id], deadline)
    record = found.record
    fate = _fate_of_theirs(record) if theirs else record.status
    output.talk(f"run {record.name} ({record.run_id}) {fate}", quiet=quiet)
    _report([record], json, quiet, wanted=not no_wait)
    _tell_others(found, quiet)
    if strict:
        delivery.check_delivered([record])


def _fate_of_theirs(record: RunRecord) -> str:
    if record.status is Status.RUNNING:
        return "belongs to another program and stays open"
    return f"belongs to another program, which has ended it ({record.status})"


def trouble(quiet: bool) -> delivery.Trouble | None:
    """Says at once what the command is waiting for."""
    if quiet:
        return None
    return lambda name, why: output.talk(f"{name}: {why}; trying again until the time is over")


def _tell_others(run: Run, quiet: bool) -> None:
    """Say what ended runs, such as this run's children, still wait for."""
    others = {entry.run_id for entry in cursors.pending(run.journal, ended=True)} - {run.id}
    if others:
        are = "is" if len(others) == 1 else "are"
        output.talk(f"{count(len(others), 'other ended run')} {are} not delivered yet: trk sync", quiet=quiet)


def strict_setting() -> bool:
    """Whether the settings ask for --strict."""
    return bool(config.resolve(session.find_folder()).get("strict"))


def _end_status(status: str | None, failed: bool, exit_code: str | None) -> str:
    if sum((status is not None, failed, exit_code is not None)) > 1:
        raise UsageError("--status, --failed and --exit-code exclude each other")
    if failed:
        return "FAILED"
    if exit_code is None:
        return (status or "FINISHED").upper()
    code = options.count(exit_code, "exit code")
    if code is None or code > 255:
        raise UsageError(f"exit code {shown(exit_code)} is not from 0 to 255")
    return status_of(code)


def sync(
    run: options.Run = None,
    to: Annotated[str | None, Option("--to", metavar="BACKEND", help="To this backend only.")] = None,
    uri: Annotated[
        str | None,
        Option("--uri", metavar="ADDRESS", help="With --to: the runs go there now, from their first row on."),
    ] = None,
    timeout: options.Timeout = "30",
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Deliver what is pending, of every run, for at most --timeout seconds.

    --to BACKEND --uri ADDRESS rebuilds runs (--run: one) on another server, from the journal. See: trk help delivery.

    Example: trk sync --timeout 120
    """
    limit = options.seconds(timeout)
    strict = strict or strict_setting()
    with progress.bar(quiet) as report:
        records = syncing.sync(
            run, to=to, uri=uri, timeout=limit, progress=report, trouble=trouble(quiet),
            warn=partial(output.warn, quiet=quiet),
        )  # fmt: skip
    if uri is not None and to is not None:
        _report_place(records, to, uri, quiet)
        _report(records, json, quiet, wanted=True)
        if strict:
            delivery.check_delivered(records, to)
        return
    if not records:
        output.talk("nothing is pending", quiet=quiet)
    _report(records, json, quiet, wanted=True)
    if strict:
        syncing.check_synced(run, to)


def _report_place(records: Sequence[RunRecord], to: str, uri: str, quiet: bool) -> None:
    """Where the runs go now, and where new ones will, if that is another place."""
    folder = session.find_folder()
    place = rebuilding.place(folder, to, uri)
    go = "goes" if len(records) == 1 else "go"
    output.talk(f"{count(len(records), 'run')} {go} to {to} at {place.address} now", quiet=quiet)
    new = config.resolve(folder)
    if to in (new.get("backends") or ()) and config.target(to, new) != place.target:
        output.talk(f"{rebuilding.ADDRESSES[to]} names another place for new runs", quiet=quiet)


def _report(records: Sequence[RunRecord], json: bool, quiet: bool, wanted: bool) -> None:
    """What was delivered, per run and backend."""
    if json:
        lost = ephemeral.vanishing()
        runs = [output.run_json(record) for record in records]
        kept = [{key: run[key] for key in ("run_id", "status", "backends")} for run in runs]
        output.show(Single({"runs": kept, "vanishing": lost is not None}), options.JSON)
    elif records and not quiet:
        output.show(_deliveries(records), options.AS_FITS)
    warn_left(records, quiet=quiet, wanted=wanted)


def warn_left(records: Sequence[RunRecord], *, quiet: bool, wanted: bool) -> None:
    """Say what the backends do not have, and what would vanish with this machine."""
    lost = ephemeral.vanishing()
    warn_undelivered(records, quiet=quiet, wanted=wanted, safe=lost is None)
    if lost is not None:
        what = f"{count(lost.rows, 'row')} of {count(lost.runs, 'run')} not delivered yet"
        output.warn(
            f"{what} may vanish with this {lost.place}, being in {lost.journal} alone: trk sync before it goes, or "
            "trk export --bundle FILE, and trk import FILE elsewhere",
            quiet=quiet,
        )


def _deliveries(records: Sequence[RunRecord], data: Any = None) -> Listing:
    told = [Column(name, keep=True) for name in ("backend", "delivered", "pending", "rejected")]
    columns: list[Column | str] = ["run", *told, "skipped", "logged", "url"]
    rows: list[list[Any]] = []
    for record in records:
        for name, state in record.backends.items():
            counts = [state.delivered, state.pending, state.rejected, state.skipped, state.logged]
            rows.append([record.run_id, name, *counts, state.url or ""])
    return Listing(columns, rows, data=data, empty="no backend is configured: the run is in the journal alone")


def warn_undelivered(records: Sequence[RunRecord], *, quiet: bool, wanted: bool, safe: bool = True) -> None:
    """Say, per backend, what it does not have and what mends it; `safe` is whether the journal stays."""
    if quiet:
        return
    for record in records:
        for name, state in record.backends.items():
            if state.rejected:
                first = state.rejections[0]
                what = f"{first.kind} {first.key}" if first.key else first.kind
                output.warn(
                    f"{name} rejected {count(state.rejected, 'row')} of {record.run_id}: {what}: {first.reason}"
                )
            if (state.pending or state.run_id is None) and (wanted or state.last_error):
                why = f": {state.last_error}" if state.last_error else ""
                rows = f"{state.pending} of {count(state.logged, 'row')} of {record.run_id}{why}; they are"
                what = rows if state.pending else f"run {record.run_id} yet{why}; it is"
                output.warn(f"{name} does not have {what} {'safe ' if safe else ''}in the journal: {_mend(record)}")


def _mend(record: RunRecord) -> str:
    """What has the rest of a run delivered: into a run of another program that was deleted here, nothing is."""
    journal = session.existing_journal(session.find_folder())
    if journal is None or not lifecycle.is_deleted(journal, record.run_id):
        return "trk sync"
    return f"trk restore {record.run_id}" if lifecycle.is_external(journal, record.run_id) else "trk sync"


def _run_with_status(named: str | None) -> Run:
    """The run to tell of. Raises NoActiveRun that says what is pending without one."""
    try:
        found = hot.find_run(named)
        if named is not None or lifecycle.is_open(found.journal, found.id):
            return found
        raise NoActiveRun(f"the session's run {found.id} has ended ({found.status})", hint="trk start")
    except NoActiveRun as error:
        journal = session.existing_journal(session.find_folder())
        waiting = cursors.pending(journal, ended=True) if journal is not None else []
        if not waiting:
            raise
        rows, runs = sum(entry.logged - entry.cursor for entry in waiting), {entry.run_id for entry in waiting}
        are = "is" if rows == 1 else "are"
        raise NoActiveRun(
            f"{error.message}; {count(rows, 'row')} of {count(len(runs), 'ended run')} {are} pending",
            hint="trk sync, or trk status --run @last",
        ) from None


def status(
    run: options.Run = None,
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """The active run, and per backend what is delivered, pending and rejected. Exit 3 without one.

    Example: trk status --field backends.mlflow.pending
    """
    shape = options.shape(format, json, field, quiet)
    found = _run_with_status(run)
    record = found.record
    deleted = lifecycle.is_deleted(found.journal, found.id)
    shown_as = {**output.run_json(record), "active": lifecycle.is_open(found.journal, found.id), "deleted": deleted}
    shown_as["session"] = session.session_path(found.folder)
    shown_as["targets"] = read.targets(found.journal, found.id)
    owner = found.owner
    shown_as["owner"] = {name: getattr(owner, name) for name in ("alive", "this_boot", "pid", "host")}
    shown_as["last_row_time"] = forms.iso(found.last_row_time)
    if not quiet and field is None:
        gone = f", deleted (trk restore {record.run_id})" if deleted else ""
        output.talk(f"run {record.name} ({record.run_id}) in experiment {record.experiment}: {record.status}{gone}")
        for name, target in shown_as["targets"].items():
            if "tracking_uri" in target and not record.backends[name].url:
                output.talk(f"{name}: {target['tracking_uri']}")
    ids = [record.run_id]
    listing = replace(_deliveries([record], shown_as), ids=ids)
    output.show(listing if field is None else Single(shown_as, ids=ids), shape)
    warn_undelivered([record], quiet=quiet or field is not None, wanted=False)
    if field is None:
        _tell_left(found, run, quiet)


def _tell_left(run: Run, named: str | None, quiet: bool) -> None:
    """Say that a run looks as if nobody went on with it, and what can be done."""
    left = leftovers.of_run(run.journal, run.id)
    if left is None or not left.is_left(write.now_ms()):
        return
    there = named is None and settings.env("TRK_RUN") is None
    ways = (
        "trk end --status KILLED ends it, trk start --replace starts another in its place"
        if there
        else f"trk end --run {run.id} --status KILLED ends it"
    )
    output.warn(f"{left.story()}: {ways}; or just go on logging", quiet=quiet)
