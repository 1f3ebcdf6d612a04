"""watch-file: a file that grows, into a run."""

from __future__ import annotations

from typing import Annotated, Any

from trk.errors import UsageError
from trk.lines import LoggedLines
from trk.media.table_cells import count
from trk.tracker import need_run
from trk_cli import forms, output, progress, stopping
from trk_cli.commands import options
from trk_cli.declared import Argument, Option

TOLD = 20  # bad lines that are told one by one


def watch_file(
    file: Annotated[str, Argument(metavar="FILE", help="JSON Lines or KEY=VALUE lines; or a CSV with a header.")],
    run: options.Run = None,
    type: Annotated[  # noqa: A002 - the flag's name
        str | None, Option("--type", metavar="TYPE", help="jsonl or csv; left out: by the ending.")
    ] = None,
    step: Annotated[str | None, Option("--step", metavar="COLUMN", help="A CSV's column with the step.")] = None,
    time: Annotated[str | None, Option("--time", metavar="COLUMN", help="A CSV's column with the time.")] = None,
    once: Annotated[bool, Option("--once", help="Take what is there now, and end.")] = False,
    until_idle: options.UntilIdle = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log the lines of a file while it grows, until the run ends; again, only what is new.

    Lines mean what they mean to trk log; of a CSV, each column of numbers is a metric. trk help import tells the rest.

    Example: trk watch-file metrics.jsonl --once
    """
    from trk.growing.watch import watch_file as watch

    if once and until_idle is not None:
        raise UsageError("--once and --until-idle exclude each other", hint="--once ends at once")
    into = need_run(run)
    idle = None if until_idle is None else options.seconds(until_idle)
    if not once:
        output.talk(f"watching {file} (Ctrl-C ends it)", quiet=quiet)
    with stopping.on_signal() as stop, progress.grown(quiet, "watching") as report:
        done = watch(
            file, run=into, type=type, step=step, time=time, once=once, until_idle=idle, stop=stop,
            warn=lambda text: output.warn(text, quiet=quiet),
            tell=None if report is None else lambda points: report(0, 0, points),
        )  # fmt: skip
    _tell(done, file, quiet)
    if json:
        output.emit(forms.dumps(_json(into.id, done)) + "\n")
    stop.leave()


def _tell(done: LoggedLines, file: str, quiet: bool) -> None:
    for line in done.bad_lines[:TOLD]:
        output.warn(f"line {line.number}: {line.reason}", quiet=quiet)
    output.talk(f"{count(done.lines, 'line')} of {file}, {count(done.points, 'point')}", quiet=quiet)
    if done.bad:  # that lines are missing is told also to those who want no talk
        output.warn(f"{done.bad:,} of {done.bad + done.lines:,} lines were not logged")


def _json(run_id: str, done: LoggedLines) -> dict[str, Any]:
    bad = [{"line": line.number, "reason": line.reason} for line in done.bad_lines]
    return {
        "run_id": run_id, "n": done.n, "step": done.step, "lines": done.lines, "points": done.points, "bad": done.bad,
        "bad_lines": bad,
    }  # fmt: skip
