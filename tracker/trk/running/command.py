"""Running a command as a run: `trk.run_command`, and the parts of it that the command line puts together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trk import config, delivery, owners, settings, tracker
from trk.capture import machine, packages, scrape
from trk.daemon import client as daemon
from trk.errors import TrkError, UsageError
from trk.journal import lifecycle, write
from trk.records import RunRecord
from trk.run import END_S, Run
from trk.running import kept, restarts
from trk.running.beat import Beat
from trk.running.child import Child, Ended, hold_standard_streams, located
from trk.running.ends import status_of
from trk.running.keeping import Keeping
from trk.running.listening import Heard, Listening
from trk.running.sampling import Sampling
from trk.running.signals import Signals
from trk.texts import tag_texts

CODE_TAG = "run.exit_code"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted of a command's run besides the settings that `trk.start` takes.

    `system_metrics` is the time between two samples in seconds; None: there are none.
    """

    output: bool = True
    scrape: bool = False
    patterns: tuple[str, ...] = ()
    system_metrics: float | None = None
    resume_on_restart: bool = False
    restart_key: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is open, for a command that is not started yet. `resumed` says that the run was there before."""

    started: tracker.Started
    words: tuple[str, ...]
    path: str
    wishes: Wishes
    resumed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def run(self) -> Run:
        """The run."""
        return self.started.run


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command: its exit status as a shell has it, the signal it died of, and its run's record.

    The record is None only when the journal can't be read any more.

    `points` and `metrics` are what was read out of its output; `troubles` what trk could not do meanwhile. `mid_line`
    says that it left the terminal in the middle of a line.
    """

    run_id: str
    status: str
    exit_code: int
    signal: int | None
    record: RunRecord | None
    points: int = 0
    metrics: tuple[str, ...] = ()
    troubles: tuple[str, ...] = field(default=())
    mid_line: bool = False


def run_command(
    command: Sequence[str],
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
    output: bool = True,
    scrape: bool = False,
    patterns: Sequence[str] = (),
    system_metrics: bool | float = False,
    resume_on_restart: bool = False,
    restart_key: str | None = None,
    wait: bool = True,
    timeout: float = END_S,
    strict: bool = False,
) -> CommandResult:
    """Run a command (a list of words, no shell) as a run of its own, and wait for it: `trk run` for Python.

    What it prints goes to this process's standard streams as it is; with `output` a masked copy becomes the run's file
    output.log. `scrape` logs metrics in it, `patterns` are regular expressions with groups named key, value and step,
    or named as metrics; `system_metrics` (True: every 10 s, or so many seconds) samples what it uses. `trk help run`
    tells more of these; the other words are as in `trk.start`. In the main thread signals are passed on.

    Raises CommandNotFound, CommandNotExecutable and what `trk.start` does, before anything is run; with `strict` also
    NotDelivered.
    """
    every = machine.EVERY_S if system_metrics is True else system_metrics or None
    wishes = Wishes(output, scrape, tuple(patterns), every, resume_on_restart, restart_key)
    settings_given = {
        "experiment": experiment, "backends": backends, "key_prefix": key_prefix, "step_metric": step_metric,
        "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    if isinstance(command, str):
        raise UsageError("the command is a list of words", hint='["sh", "-c", command]')
    prepared = prepare(
        command, name, settings_given, wishes, tags=tags, params=params, description=description, nested=nested,
        parent=parent, capture=capture,
    )  # fmt: skip
    result = carried_out(prepared)
    return result if result.record is None else _delivered(prepared.run, result, timeout if wait else None, strict)


def _delivered(run: Run, result: CommandResult, timeout: float | None, strict: bool) -> CommandResult:
    """Deliver the run, for at most so many seconds, unless there is None."""
    if timeout is not None:
        daemon.deliver(run.journal, run.folder, [run.id], timeout=timeout)
    record = run.record
    if strict:
        delivery.check_delivered([record])
    return replace(result, record=record)


def prepare(
    words: Sequence[str],
    name: str | None,
    settings_given: Mapping[str, Any],
    wishes: Wishes,
    *,
    tags: Mapping[str, object] | None,
    params: Mapping[str, object] | None,
    description: str | None,
    nested: bool,
    parent: str | Run | None,
    capture: Sequence[str],
) -> Prepared:
    """Check everything that can be wrong, and open the run: a new one, or that of the same job."""
    hold_standard_streams()
    path = located(words, settings.environment())
    scrape.compiled(wishes.patterns)
    if wishes.system_metrics is not None:
        machine.check(wishes.system_metrics)
    key = None
    if wishes.resume_on_restart or wishes.restart_key is not None:
        key = restarts.key_of(wishes.restart_key, settings.environment(), words)
    tags = {**(tags or {}), **({restarts.TAG: key} if key is not None else {})}
    python = packages.python_of(path, settings.environment()) if "packages" in capture else None
    notes: list[str] = []
    if key is not None and (found := tracker.find_journal()) is not None:
        resumed, note = restarts.to_resume(found[1], key)
        notes += [note] if note else []
        if resumed is not None:
            run = Run(found[1], found[0], resumed, owned=True)
            started = _resumed(run, settings_given, tags, params or {}, capture, words)
            return Prepared(started, tuple(words), path, wishes, resumed=True)
    started = tracker.create(
        name, settings_given, tags=tags, params=params, description=description, nested=nested, parent=parent,
        capture=capture, command=words, owner=owners.of_process(beat_ms=write.now_ms()), shell_session=False,
        replace=False, python=python,
    )  # fmt: skip
    return Prepared(started, tuple(words), path, wishes, notes=tuple(notes))


def _resumed(
    run: Run,
    settings_given: Mapping[str, Any],
    tags: Mapping[str, object],
    params: Mapping[str, object],
    capture: Sequence[str],
    words: Sequence[str],
) -> tracker.Started:
    """The run of the same job, open again; its name, experiment and places are as they were."""
    resolved = config.resolve(run.folder, **settings_given)
    owner, before = owners.of_process(resumed=True, beat_ms=write.now_ms()), run.record.status
    write.set_status(run.journal, run.id, "RUNNING", write.now_ms(), owner)
    try:
        run.set_tags({**tracker.captured(capture, run.folder, words), **tag_texts(tags)})
        if params:
            run.log_params(params)
    except BaseException:  # also Ctrl-C: the run is not left open, and ends as it had ended
        run.finish(before)
        raise
    return tracker.Started(run, resolved, None, None, tracker.hand_over(run, resolved))


def carried_out(prepared: Prepared) -> CommandResult:
    """Run the command, and end its run in the journal. Nothing is delivered yet.

    Raises CommandNotFound, CommandNotExecutable, TrkError when it can't be started; then the run is FAILED.
    """
    run, wishes = prepared.run, prepared.wishes
    keeping = Keeping(run, resumed=prepared.resumed) if wishes.output else None
    with Signals() as signals:
        ended, heard = _watched(prepared, signals, keeping)
        troubles = [*ended.troubles, *heard.troubles]
        said: list[str] = []
        troubles += _attempt("its run could not be opened again", lambda: said.extend(_opened_again(run)))
        status = next((one for one in said if one != "FINISHED"), status_of(ended.code))
        if keeping is not None:
            troubles += _attempt("its output could not be kept", keeping.keep)
        troubles += _attempt("its run could not be ended", lambda: _end(run, status, ended.code))
    records: list[RunRecord] = []
    troubles += _attempt("its run can't be read", lambda: records.append(run.record))
    return CommandResult(
        run.id, status, ended.code, ended.signal, records[0] if records else None, heard.points, heard.metrics,
        tuple(troubles), ended.mid_line,
    )  # fmt: skip


def _watched(prepared: Prepared, signals: Signals, keeping: Keeping | None) -> tuple[Ended, Heard]:
    """The command from its start to its end, with what listens beside it."""
    run, wishes = prepared.run, prepared.wishes
    listening = None
    lines: list[kept.Lines] = []
    try:
        if wishes.scrape or wishes.patterns or wishes.system_metrics is not None:
            listening = Listening()
        takers: list[kept.Taker] = [keeping.copy.take] if keeping is not None else []
        if listening is not None and (wishes.scrape or wishes.patterns):
            takers.append(listening.take)
        lock = keeping.lock if keeping is not None else threading.Lock()

        def sink() -> Any:
            lines.append(kept.Lines(takers, lock))
            return lines[-1].take if takers else None

        environ = {**settings.environment(), "TRK_RUN": run.id, "TRK_DIR": run.folder}
        child = Child(prepared.words, prepared.path, environ, sink)
        child.start()
        if keeping is not None:
            keeping.copy.at_terminal = child.at_terminal
        signals.hold()
    except BaseException as error:  # also Ctrl-C: the run is not left open
        if listening is not None:
            listening.abandon()
        run.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if listening is not None:
        listening.start(_told(run, wishes, child.pid))
    beat = Beat(run, due=keeping.now_and_then) if keeping is not None else Beat(run)
    beat.start()
    ended = child.wait(signals)
    beat.stop()
    for one in lines:
        one.end()
    return ended, listening.end() if listening is not None else Heard()


def _told(run: Run, wishes: Wishes, pid: int) -> dict[str, Any]:
    return {
        "folder": run.folder, "run": run.id, "key_prefix": run.key_prefix, "pid": pid, "scrape": wishes.scrape,
        "patterns": wishes.patterns, "system_metrics": wishes.system_metrics,
    }  # fmt: skip


def _attempt(what: str, act: Any) -> list[str]:
    """Do what may fail without the command having to suffer for it; what went wrong."""
    try:
        act()
    except (TrkError, OSError) as error:
        return [f"{what}: {error}"]
    return []


def _opened_again(run: Run) -> list[str]:
    """A command may have ended its run by itself: its output and exit status are still to come. The status it gave."""
    if lifecycle.is_open(run.journal, run.id):
        return []
    status = str(run.record.status)
    write.set_status(run.journal, run.id, "RUNNING", write.now_ms(), owners.of_process(resumed=True))
    return [status]


def _end(run: Run, status: str, code: int) -> None:
    """End the run."""
    run.set_tag(CODE_TAG, code)
    run.finish(status)


def system_metrics(run: Run | str | None = None, *, interval: float = machine.EVERY_S) -> Sampling:
    """Sample what the machine and this process, with those below it, use: `with trk.system_metrics():`.

    `run` left out is the active one; `interval` is in seconds. The metrics are MLflow's (`system/…`), of the whole
    machine, and `system/process_…` of this process's tree: `trk help run` lists them. Raises NoActiveRun, NotFound,
    UsageError, and ConfigurationError when psutil is not installed.
    """
    return Sampling(run if isinstance(run, Run) else tracker.need_run(run), interval=interval)
