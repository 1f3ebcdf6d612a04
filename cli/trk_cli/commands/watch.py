"""watch: runs live."""

from __future__ import annotations

from typing import Annotated

from trk.query import watching
from trk.query.watching import Watched
from trk_cli import forms, live, output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.render import short


def watch(
    runs: Annotated[list[str] | None, Argument(metavar="RUN", help="The runs; else the active one.")] = None,
    interval: Annotated[
        str, Option("--interval", metavar="SECONDS", help="No more often than this; a server: at most every 5 s.")
    ] = "1",
    timeout: Annotated[
        str | None, Option("--timeout", metavar="SECONDS", help="Exit 1 when a run still goes on after this.")
    ] = None,
    source: Annotated[
        str | None, Option("--source", metavar="SOURCE", help="Where to read; left out: the journal.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Status, last values and delivery of runs as they change, until all have ended; in a pipe a line for each change.

    Example: trk watch other --interval 5
    """
    found = watching.watch(
        runs or None, interval=options.seconds(interval),
        timeout=None if timeout is None else options.seconds(timeout), source=source, warn=output.warn,
    )  # fmt: skip
    if json:
        last: dict[str, str] = {}
        for now in found:
            for line in _fresh(last, {one.record.run_id: _as_json(one) for one in now}):
                output.emit(line)
    elif output.is_terminal() and not quiet:
        live.show(found)
    else:
        said: dict[str, str] = {}
        for now in found:
            for line in _fresh(said, {one.record.run_id: _line(one) for one in now}):
                output.emit("" if quiet else line)


def _fresh(last: dict[str, str], lines: dict[str, str]) -> list[str]:
    """The lines that are not as they were, which they then are."""
    found = [line for run_id, line in lines.items() if last.get(run_id) != line]
    last.update(lines)
    return found


def _as_json(one: Watched) -> str:
    form = forms.run_json(one.record)
    if one.record.end_time is None:
        del form["duration_s"]  # another one at each look
    return forms.dumps({**form, "step": one.step}, ascii_only=True) + "\n"


def _line(one: Watched) -> str:
    """One run on one line, for logs: what it is, how far, the last values, and what is delivered."""
    record = one.record
    words = [record.run_id, record.name, str(record.status)]
    words += [] if one.step is None else [f"step={one.step}"]
    words += [f"{name}={short(value)}" for name, value in record.metrics.items()]
    words += live.delivered(one)
    return "\t".join(output.escape(word) for word in words) + "\n"
