"""The options that several verbs share, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

from trk.errors import UsageError
from trk.rules import parse_number, shown
from trk_cli.results import OutputOptions

Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="The run: id, prefix, name, @ or @last.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; errors are JSON on stderr.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No talk on stderr.")]
IdsOnly = Annotated[bool, typer.Option("-q", "--quiet", help="Print run ids only.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for delivery.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 6 when rows are pending or rejected.")]
Format = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="table, json, csv, tsv, markdown or plain.")
]
Field = Annotated[str | None, typer.Option("--field", metavar="PATH", help="Print one bare value, as params.lr.")]
Source = Annotated[str | None, typer.Option("--source", metavar="SOURCE", help="Where to read: local, mlflow, wandb.")]
Experiment = Annotated[str | None, typer.Option("-e", "--experiment", metavar="NAME", help="The experiment.")]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="EXPR", help="Such as \"metrics.f1 > 0.85 and params.model = 'rf'\".")
]
Status = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="RUNNING, FINISHED, …; several with commas.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Started then or later: 2h, 7d, 2026-11-21T07:27.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Started then or before.")]
Sort = Annotated[
    str | None, typer.Option("--sort", metavar="KEY", help='Such as "metrics.f1 desc, name"; else newest first.')
]
Most = Annotated[str | None, typer.Option("-n", "--n", metavar="N", help="How many at most.")]
UntilIdle = Annotated[
    str | None, typer.Option("--until-idle", metavar="SECONDS", help="End when nothing was added for so long.")
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="LIST", help="Such as name,metrics.f1,params.*,tags.stage,status."),
]
_WANDB = "For the W&B backend, when it is installed."
WandbProject = Annotated[str | None, typer.Option("--wandb-project", metavar="NAME", help=_WANDB)]
WandbEntity = Annotated[str | None, typer.Option("--wandb-entity", metavar="NAME", help=_WANDB)]
WandbGroup = Annotated[str | None, typer.Option("--wandb-group", metavar="NAME", help=_WANDB)]


JSON = OutputOptions(format="json")
AS_FITS = OutputOptions()


def seconds(text: str) -> float:
    """A time to wait. Raises UsageError."""
    number = parse_number(text, "timeout")
    if not 0 <= number <= 1e7:
        raise UsageError(f"timeout {shown(text)} is not a number of seconds from 0 up")
    return number


def count(text: str | None, name: str) -> int | None:
    """A number of things. Raises UsageError."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"{name} {shown(text)} is not a whole number from 0 up")
    return int(text)


def shape(format: str | None, json: bool, field: str | None = None, quiet: bool = False) -> OutputOptions:  # noqa: A002
    """How an answer is printed. Raises UsageError for an unknown format."""
    if json and format not in (None, "json"):
        raise UsageError(f"--json and --format {format} exclude each other", hint="--json is --format json")
    return OutputOptions(format="json" if json else format, field=field, quiet=quiet)
