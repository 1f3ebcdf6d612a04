"""`trk.watch_file`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from trk.errors import NotFound, UsageError
from trk.growing.file import Warn, Watching, warned
from trk.growing.parsing import CSV, JSONL, KINDS
from trk.growing.waking import Waker, check_idle
from trk.lines import LoggedLines
from trk.rules import shown
from trk.run import Run
from trk.tracker import need_run


def watch_file(
    path: str | os.PathLike[str],
    *,
    run: Run | None = None,
    type: str | None = None,  # noqa: A002 - the word of the command line
    step: str | None = None,
    time: str | None = None,
    once: bool = False,
    until_idle: float | None = None,
    stop: threading.Event | None = None,
    warn: Warn = warned,
    tell: Callable[[int], None] | None = None,
) -> LoggedLines:
    """Log the lines of a file that grows into a run (left out: the active one), until that ends; returns what became.

    JSON Lines mean what they mean to `Run.log_lines`; a CSV (by its ending, or `type="csv"`) has a header, and each
    column of numbers is a metric. `step` and `time` name the columns with these (left out: `step`, and `timestamp` or
    `time`, if there). A line counts when its end is written; the file need not be there yet, and may be rotated, cut,
    replaced, or written anew: one with the same beginning goes on, another one is taken from its begin.

    Again, only what is new is taken, also after this process died at any moment. It ends with the run, and before when
    `stop` is set, nothing was added for `until_idle` seconds, or, with `once`, all that is there was taken. Whoever
    ends the run takes what the file has by then. `warn` is told what the user should know meanwhile, `tell` how many
    points were logged so far. Raises NoActiveRun, UsageError, NotFound, Conflict, JournalError.
    """
    file = os.path.abspath(os.fspath(path))
    check_idle(until_idle)
    if os.path.isdir(file):
        raise UsageError(f"{shown(os.fspath(path))} is a folder, not a file")
    if os.path.exists(file) and not os.path.isfile(file):
        raise UsageError(f"{shown(os.fspath(path))} is no file that could be read again", hint="trk log - < it")
    kind = _kind(file, type)
    if kind == JSONL and (step or time):
        raise UsageError("only a CSV has columns to name", hint='lines of JSON have "step" and "timestamp"')
    watching = Watching(run if run is not None else need_run(), file, warn, kind, step, time)
    if once:
        if not os.path.exists(file):
            raise NotFound(f"{shown(os.fspath(path))} is not there")
        watching.take()
        watching.finish(is_on=False)
        return watching.report
    stop = stop or threading.Event()
    try:
        _until_done(watching, file, stop, until_idle, warn, tell)
    finally:  # also after Ctrl-C
        watching.finish(is_on=False)
    return watching.report


def _kind(file: str, given: str | None) -> str:
    """How a file is read. Raises UsageError."""
    if given is not None and given not in KINDS:
        raise UsageError(f"type must be one of {', '.join(KINDS)}, not {shown(given)}")
    return given or (CSV if file.lower().endswith((".csv", ".tsv")) else JSONL)


def _until_done(
    watching: Watching,
    file: str,
    stop: threading.Event,
    until_idle: float | None,
    warn: Warn,
    tell: Callable[[int], None] | None,
) -> None:
    watching.begin()

    def look() -> int:
        taken = watching.take()
        if taken and tell is not None:
            tell(watching.report.points)
        return taken

    with Waker(os.path.dirname(file), recursive=False) as waker:
        if not os.path.exists(file):
            warn(f"{shown(file)} is not there yet")
        waker.go_on(look, lambda: watching.is_over, stop=stop, until_idle=until_idle, warn=warn, what="the file")
