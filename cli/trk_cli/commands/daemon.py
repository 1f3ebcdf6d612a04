"""daemon: the background process that delivers."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated

from trk import session
from trk.daemon import client, place
from trk.errors import DaemonError, NotFound, UsageError
from trk_cli import output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Column, Listing, OutputOptions, Single

ACTIONS = ("start", "stop", "status", "logs")


def daemon(
    action: Annotated[str, Argument(metavar="start|stop|status|logs", help="What to do.")] = "status",
    n: Annotated[str | None, Option("-n", "--n", metavar="N", help="logs: the last N lines (100).")] = None,
    timeout: Annotated[str, Option("--timeout", metavar="SECONDS", help="stop: how long it may take.")] = "10",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.Quiet = False,
) -> None:
    """The background process that delivers what is logged here: start, stop, look at it.

    Example: trk daemon status
    """
    shape = options.shape(format, json, field, quiet=False)
    if action not in ACTIONS:
        raise UsageError(f"daemon takes start, stop, status or logs, not {action!r}", hint="trk daemon --help")
    folder = session.find_folder()
    if folder is None or session.existing_journal(folder) is None:
        raise NotFound("there is no journal here", hint="trk start")
    if action == "logs":
        _logs(folder, options.count(n, "--n") or 100)
        return
    if action == "start":
        _start(folder, quiet)
    elif action == "stop":
        stopped = client.stop(folder, options.seconds(timeout))
        output.talk("the daemon has left" if stopped else "no daemon was running", quiet=quiet)
    if action == "status" or json or field is not None:
        _status(folder, shape)


def _start(folder: str, quiet: bool) -> None:
    if not client.can_run():
        raise DaemonError("no daemon can run on this system: trk end and trk sync deliver")
    was_there = client.status(folder)["running"]
    if not was_there:
        client.start(folder)
    output.talk("the daemon was running already" if was_there else "the daemon is running", quiet=quiet)


def _status(folder: str, shape: OutputOptions) -> None:
    found = client.status(folder)
    told = found["backends"] or {"": {"pending": 0, "last_error": None}}
    heads: list[Column | str] = ["running", "pid", "uptime_s", "version", "runs", Column("backend", keep=True)]
    rows = [
        [found["running"], found["pid"], found["uptime_s"], found["version"], found["runs"], name, one["pending"],
         one["last_error"]]
        for name, one in told.items()
    ]  # fmt: skip
    listing = Listing([*heads, "pending", "last_error"], rows, data=found)
    output.show(listing if shape.field is None else Single(found), shape)


def _logs(folder: str, lines: int) -> None:
    path = Path(folder) / place.LOG
    if not path.exists():
        raise NotFound("no daemon has written a log here", hint="trk daemon start")
    with path.open(encoding="utf-8", errors="replace") as file:
        output.emit("".join(deque(file, lines)))
