"""doctor, gc, ui: what is wrong here, what takes room for nothing, and MLflow's UI on the right store."""

from __future__ import annotations

from typing import Annotated

from trk.errors import UsageError
from trk.media.table_cells import count
from trk.rules import shown
from trk_cli import output
from trk_cli.commands import options
from trk_cli.declared import Leave, Option
from trk_cli.results import Column, Listing, Single


def doctor(
    timeout: Annotated[
        str, Option("--timeout", metavar="SECONDS", help="How long all the checks together may take.")
    ] = "5",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Only what is not as it should be; no talk.")] = False,
) -> None:
    """Look for what is wrong here, and say what mends it; changes nothing. Exit 1 when a check fails.

    Example: trk doctor
    """
    from trk import checkup

    shape = options.shape(format, json, field, quiet)
    checks = checkup.doctor(options.seconds(timeout))
    told = [check for check in checks if not quiet or check.state in ("warn", "fail")]
    rows = [[check.name, check.state, check.found, check.mend] for check in told]
    heads: list[Column | str] = [Column("check", keep=True), Column("state", keep=True), "found", "mend"]
    forms = [dict(zip(("check", "state", "found", "mend"), row, strict=True)) for row in rows]
    output.show(Listing(heads, rows, data=forms, empty="nothing is wrong"), shape)
    counts = {state: sum(check.state == state for check in checks) for state in ("fail", "warn")}
    if field is None:
        output.talk(f"{count(len(checks), 'check')}; failed: {counts['fail']}, warnings: {counts['warn']}", quiet=quiet)
    if counts["fail"]:
        raise Leave(1)


def gc(
    older_than: Annotated[
        str | None,
        Option(
            "--older-than",
            metavar="TIME",
            help="Of runs that ended so long ago: 30d, 12h, 0. Else the setting retention.",
        ),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Remove nothing; say what would be.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove the bytes of files that every backend of their runs has, some time after the runs ended.

    The journal keeps every row, name and hash. trk help storage tells what stays.

    Example: trk gc --dry-run
    """
    from dataclasses import asdict

    from trk import cleaning

    freed = cleaning.gc(older_than=older_than, dry_run=dry_run)
    if json:
        output.show(Single(asdict(freed)), options.JSON)
    did = "would be removed" if dry_run else "removed"
    files, kept = count(freed.removed, "file"), count(freed.kept, "file")
    output.talk(f"{files} {did}, {in_units(freed.bytes)}; {kept} kept, {in_units(freed.kept_bytes)}", quiet=quiet)
    if freed.unnamed:
        output.talk(f"of these {freed.unnamed} belonged to no run: left by crashes and refusals", quiet=quiet)
    if freed.drafts:
        output.talk(
            f"{count(freed.drafts, 'draft')} of killed commands removed, {in_units(freed.draft_bytes)}", quiet=quiet
        )


def in_units(size: int) -> str:
    """A number of bytes for people."""
    number, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{size} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


def ui(
    host: Annotated[
        str | None, Option("--host", metavar="ADDRESS", help="Where to listen, for a database: 127.0.0.1.")
    ] = None,
    port: Annotated[str | None, Option("--port", metavar="N", help="Left out: 5000, or a free one.")] = None,
    open: Annotated[bool, Option("--open", help="Open it in the browser.")] = False,  # noqa: A002 - the flag's name
    run: options.Run = None,
    timeout: Annotated[str, Option("--timeout", metavar="SECONDS", help="How long MLflow may take to start.")] = "60",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """MLflow's UI on the store that the runs go to. Prints its address; of a database it runs until Ctrl-C.

    A server that the runs go to has its own address: it is asked once, and --host and --port say nothing of it.

    Example: trk ui --open
    """
    from trk_cli.ui import Wanted, show_ui

    wanted = Wanted(host, _port(port), options.seconds(timeout), open, json, quiet)
    code = show_ui(run, wanted)
    if code:
        raise Leave(code)


def _port(text: str | None) -> int | None:
    number = options.count(text, "port")
    if number is not None and not 0 < number < 65536:
        raise UsageError(f"port {shown(text)} is not from 1 to 65535")
    return number
