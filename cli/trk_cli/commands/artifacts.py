"""artifacts ls|get: the files and tables of runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from trk.errors import UsageError
from trk.query import artifacts as library
from trk.records import ArtifactRecord
from trk_cli import output, progress
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Column, Listing, OutputOptions, Text

What = Annotated[
    str | None,
    Argument(
        metavar="RUN|WHAT",
        help="ls: the run. get: a path, a folder, a name, NAME:latest, NAME:v3, or . for all of it.",
    ),
]
To = Annotated[
    str,
    Option(
        "-o", "--output", metavar="PATH",
        help="get: the folder, the name of a single file (a table also as .csv, .tsv, .jsonl), or - .",
    ),
]  # fmt: skip


def artifacts(
    action: Annotated[str, Argument(metavar="ls|get", help="ls [RUN], or get WHAT.")],
    what: What = None,
    run: options.Run = None,
    path: Annotated[str | None, Option("--path", metavar="PATH", help="ls: this folder or file only.")] = None,
    type: Annotated[  # noqa: A002 - the flag's name
        str | None, Option("--type", metavar="TYPE", help="ls: artifacts of this type only.")
    ] = None,
    history: Annotated[bool, Option("--history", help="ls: also what was at a path before (in the journal).")] = False,
    row: Annotated[
        str | None, Option("--row", metavar="N", help="get: what row N of the run put there: n in ls --history.")
    ] = None,
    to: To = ".",
    force: Annotated[bool, Option("--force", help="get: replace files that are there.")] = False,
    source: options.Source = None,
    timeout: Annotated[
        str | None, Option("--timeout", metavar="SECONDS", help="How long to wait; ls 30, get 3600.")
    ] = None,
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: Annotated[bool, Option("-q", "--quiet", help="ls: print paths only. get: no talk.")] = False,
) -> None:
    """List the files and tables of a run, or fetch some of them, with their checksums verified.

    Example: trk artifacts get classifier:latest --output models
    """
    shape = options.shape(format, json, field, quiet)
    if action == "ls":
        _refuse_flags("ls", {"--row": row, "--output": to != ".", "--force": force})
        if what is not None and run is not None:
            raise UsageError("the run is named twice, as RUN and as --run")
        seconds = options.seconds(timeout if timeout is not None else "30")
        found = library.artifacts(
            what if what is not None else run, path=path, type=type, earlier=history, source=source, timeout=seconds,
            warn=output.warn,
        )  # fmt: skip
        output.show(_listing(found, shape), shape)
        return
    if action != "get":
        raise UsageError(f"artifacts takes ls or get, not {action!r}", hint="trk artifacts --help")
    _refuse_flags("get", {"--path": path, "--type": type, "--history": history})
    if what is None:
        raise UsageError("artifacts get needs a path or a name", hint="trk artifacts ls")
    fetch = partial(
        library.get_artifact, what, run, n=options.count(row, "--row"), source=source,
        timeout=options.seconds(timeout) if timeout is not None else library.GET_TIMEOUT_S, warn=output.warn,
    )  # fmt: skip
    if to == "-":
        _print(fetch, shape)
    else:
        with progress.late_bar(quiet, "fetching", "files") as report:
            paths = [str(one) for one in fetch(to=to, overwrite=force, progress=report)]
        output.show(Text("".join(output.escape(path) + "\n" for path in paths), data=paths), shape)


def _refuse_flags(action: str, flags: Mapping[str, object]) -> None:
    """Raise UsageError for a flag of the other action, which would be passed over in silence."""
    for name, value in flags.items():
        if value not in (None, False):
            raise UsageError(f"artifacts {action} takes no {name}", hint="trk artifacts --help")


def _print(fetch: Callable[..., list[Path]], shape: OutputOptions) -> None:
    """A single file on standard output. It is fetched whole and verified before its first byte is printed."""
    if (shape.format, shape.field) != (None, None):
        raise UsageError("-o - prints the bytes of a file, and nothing else in any format")
    with tempfile.TemporaryDirectory(prefix="trk-") as folder:
        (path,) = fetch(to=folder, single=True)
        with path.open("rb") as file:
            output.emit_bytes(file)


_COLUMNS = ("path", "kind", "name", "size", "step", "rows", "type", "version", "n", "sha256", "uri")
_KEPT = ("path", "kind", "size")  # on the narrowest terminal


def _listing(found: list[ArtifactRecord], shape: OutputOptions) -> Listing:
    in_table = shape.format == "table" or (shape.format is None and output.is_terminal())
    rows: list[list[Any]] = [[getattr(one, name) for name in _COLUMNS] for one in found]
    for row, one in zip(rows, found, strict=True):
        row[_COLUMNS.index("version")] = None if one.version is None else f"v{one.version}"
        if in_table:
            row[_COLUMNS.index("path")] = _place(one)
            row[_COLUMNS.index("sha256")] = None if one.sha256 is None else one.sha256[:12] + "…"
    # A table has no room for columns in which nothing stands; elsewhere only `uri`, the last, comes and goes.
    shown = [
        at
        for at, name in enumerate(_COLUMNS)
        if any(row[at] is not None for row in rows) or not (in_table or name == "uri")
    ]
    heads: list[Column | str] = [Column(_COLUMNS[at], keep=_COLUMNS[at] in _KEPT) for at in shown]
    return Listing(
        heads,
        [[row[at] for at in shown] for row in rows],
        data=[output.artifact_json(one) for one in found],
        ids=list(dict.fromkeys(one.path for one in found)),
        empty="no artifacts",
    )


def _place(found: ArtifactRecord) -> str:
    """A path as a table has room for it: that of an image of a series is 80 characters of MLflow's own."""
    return found.path if found.step is None else f"images/{found.name} step {found.step}"
