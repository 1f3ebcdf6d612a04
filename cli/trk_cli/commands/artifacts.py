"""artifacts ls|get: the files and tables of runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from trk.errors import UsageError
from trk.query import artifacts as library
from trk.records import ArtifactRecord
from trk_cli import output
from trk_cli.commands import options
from trk_cli.results import Column, Listing, Text


def artifacts(
    action: Annotated[str, typer.Argument(metavar="ls|get", help="ls [RUN], or get WHAT.")],
    what: Annotated[
        str | None,
        typer.Argument(metavar="RUN|WHAT", help="ls: the run. get: a path, a folder, a name, NAME:latest or NAME:v3."),
    ] = None,
    run: options.Run = None,
    path: Annotated[str | None, typer.Option("--path", metavar="PATH", help="ls: this folder or file only.")] = None,
    type: Annotated[  # noqa: A002 - the flag's name
        str | None, typer.Option("--type", metavar="TYPE", help="ls: artifacts of this type only.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="ls: also what was at a path before (in the journal).")
    ] = False,
    row: Annotated[str | None, typer.Option("--row", metavar="N", help="get: what this row put there.")] = None,
    to: Annotated[
        str, typer.Option("-o", "--output", metavar="PATH", help="get: the folder, the name of a single file, or - .")
    ] = ".",
    force: Annotated[bool, typer.Option("--force", help="get: replace files that are there.")] = False,
    source: options.Source = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="SECONDS", help="How long to wait; ls 30, get 3600.")
    ] = None,
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.Quiet = False,
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
        output.show(_listing(found), shape)
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
        if (shape.format, shape.field) != (None, None):
            raise UsageError("-o - prints the bytes of a file, and nothing else in any format")
        _print(fetch)
        return
    paths = [str(one) for one in fetch(to=to, overwrite=force)]
    output.show(Text("".join(output.escape(path) + "\n" for path in paths), data=paths), shape)


def _refuse_flags(action: str, flags: Mapping[str, object]) -> None:
    """Raise UsageError for a flag of the other action, which would be passed over in silence."""
    for name, value in flags.items():
        if value not in (None, False):
            raise UsageError(f"artifacts {action} takes no {name}", hint="trk artifacts --help")


def _print(fetch: Callable[..., list[Path]]) -> None:
    """A single file on standard output. It is fetched whole and verified before its first byte is printed."""
    with tempfile.TemporaryDirectory(prefix="trk-") as folder:
        (path,) = fetch(to=folder, single=True)
        with path.open("rb") as file:
            output.emit_bytes(file)


def _listing(found: list[ArtifactRecord]) -> Listing:
    heads: list[Column | str] = [
        Column("path", keep=True), "kind", "name", "size", "step", "rows", "type", "version", "n", "sha256",
    ]  # fmt: skip
    rows: list[list[Any]] = [
        [one.path, one.kind, one.name, one.size, one.step, one.rows, one.type, _version(one), one.n, one.sha256]
        for one in found
    ]
    return Listing(heads, rows, data=[output.artifact_json(one) for one in found], empty="no artifacts")


def _version(found: ArtifactRecord) -> str | None:
    return None if found.version is None else f"v{found.version}"
