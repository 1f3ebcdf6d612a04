"""run: a command as a run."""

from __future__ import annotations

import os
import signal
from typing import Annotated

from trk import delivery
from trk.capture.machine import EVERY_S
from trk.daemon import client as daemon
from trk.errors import TrkError, UsageError
from trk.media.table_cells import count
from trk.records import RunRecord
from trk.running import command as library
from trk_cli import hot, output, progress
from trk_cli.commands import options, session
from trk_cli.declared import Argument, Leave

_USAGE = "trk run [OPTIONS] [NAME] -- COMMAND ARGUMENTS"


def run(
    words: Annotated[
        list[str] | None,
        Argument(metavar="[NAME] -- COMMAND...", help="The run's name; after -- the command and its words."),
    ] = None,
    experiment: options.Experiment = None,
    backend: options.Backends = None,
    tag: options.Tags = None,
    param: options.Params = None,
    description: options.Description = None,
    nested: options.Nested = False,
    parent: options.Parent = None,
    key_prefix: options.KeyPrefix = None,
    step_metric: options.StepMetric = None,
    capture: options.Capture = None,
    scrape: options.Scrape = False,
    pattern: options.Patterns = None,
    system_metrics: options.SystemMetrics = False,
    interval: options.Interval = None,
    no_output: options.NoOutput = False,
    resume_on_restart: options.ResumeOnRestart = False,
    restart_key: options.RestartKey = None,
    mlflow_uri: options.MlflowUri = None,
    wandb_project: options.WandbProject = None,
    wandb_entity: options.WandbEntity = None,
    wandb_group: options.WandbGroup = None,
    wait: options.Wait = False,
    timeout: options.Timeout = "30",
    no_wait: options.NoWait = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a command as a run, and exit as it does. What it prints passes through untouched; see: trk help run.

    Exit 125 when trk failed before the command was run, 126 when that can't be executed, 127 when it is not there.

    Example: trk run --scrape -- sh -c 'for n in 1 2 3; do echo "loss: 0.$n (step $n)"; done'
    """
    limit = options.seconds(timeout)
    name, command = _parted(words or [])
    strict = strict or session.strict_setting()
    settings_given = {
        "experiment": experiment, "backends": backend, "key_prefix": key_prefix, "step_metric": step_metric,
        "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    every = options.seconds(interval or f"{EVERY_S}", "interval")
    wishes = library.Wishes(
        not no_output, scrape, tuple(pattern or ()), every if system_metrics else None, resume_on_restart, restart_key
    )
    prepared = library.prepare(
        command, name, settings_given, wishes, tags=hot.as_text(hot.pairs(tag or ())),
        params=hot.as_text(hot.pairs(param or ())), description=description, nested=nested, parent=parent,
        capture=[kind for word in capture or () for kind in word.split(",") if kind],
    )  # fmt: skip
    result = _carried_out(prepared, limit if wait else 0.0, quiet)
    _leave(result, _delivered(prepared, result, None if no_wait else limit, strict, quiet))


def _parted(words: list[str]) -> tuple[str | None, list[str]]:
    """(the run's name or None, the command). Raises UsageError."""
    if "--" not in words:
        raise UsageError("the command stands after --", hint=_USAGE)
    at = words.index("--")
    if at > 1:
        raise UsageError(f"{words[1]!r} stands before --, where the run's name alone may be", hint=_USAGE)
    return (words[0] if at else None), words[at + 1 :]


def _carried_out(prepared: library.Prepared, first: float, quiet: bool) -> library.CommandResult:
    """Run it, when the backends have the run or `first` seconds are over, and say what went wrong."""
    _tell_start(prepared, quiet)
    if first:
        try:
            daemon.deliver(prepared.run.journal, prepared.run.folder, [prepared.run.id], timeout=first)
        except BaseException:  # Ctrl-C, too: a run whose command never was is not left open
            prepared.run.finish("KILLED")
            raise
    result = library.carried_out(prepared)
    if result.mid_line and (result.troubles or not quiet):
        output.talk("")  # what follows would stand in the command's last line, and a bar would wipe that out
    for trouble in result.troubles:
        output.warn(trouble)
    return result


def _tell_start(prepared: library.Prepared, quiet: bool) -> None:
    started = prepared.started
    warning = [started.warning] if started.warning is not None else []
    for told in (*started.settings.warnings, *warning, *prepared.notes):
        output.warn(told)
    if started.new_folder is not None:
        output.talk(f"made {started.new_folder}", quiet=quiet)
    if prepared.resumed:
        output.talk(f"run {started.run.name} ({started.run.id}) goes on: the same job", quiet=quiet)
    else:
        session.tell_place(started.run, started.settings, quiet)


def _tell_end(record: RunRecord, quiet: bool, *, wanted: bool) -> None:
    """What became of the run, on stderr: stdout is the command's."""
    output.talk(f"run {record.name} ({record.run_id}) {record.status}", quiet=quiet)
    for name, state in record.backends.items():
        where = f": {state.url}" if state.url else ""
        output.talk(f"{name}: {state.delivered} of {count(state.logged, 'row')} delivered{where}", quiet=quiet)
    session.warn_left([record], quiet=quiet, wanted=wanted)


def _delivered(
    prepared: library.Prepared, result: library.CommandResult, limit: float | None, strict: bool, quiet: bool
) -> int:
    """Deliver the run, whatever becomes of that; returns the exit status: the command's, but for --strict."""
    run = prepared.run
    code = result.exit_code
    try:
        if limit is not None and result.record is not None:
            with progress.bar(quiet) as report:
                daemon.deliver(
                    run.journal, run.folder, [run.id], timeout=limit, progress=report, trouble=session.trouble(quiet)
                )
        record = run.record
        _tell_end(record, quiet, wanted=limit is not None)
        if strict:
            delivery.check_delivered([record])
    except KeyboardInterrupt:
        output.warn(f"run {run.id} is {result.status}, and not all delivered: trk sync", quiet=quiet)
    except TrkError as error:
        output.error(error)
        if code == 0 and strict:
            code = error.exit_code
    return code


def _leave(result: library.CommandResult, code: int) -> None:
    """End as the command did: of the same signal, where that can be."""
    if result.signal is not None and code == result.exit_code:
        number = result.signal
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL has no other way
        _without_core()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    raise Leave(code)


def _without_core() -> None:
    """The command has left its own picture of its memory; ours would be in its place."""
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (OSError, ValueError):
        pass  # then there is one
