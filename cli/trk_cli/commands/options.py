"""The options that several verbs share, each said once."""

from __future__ import annotations

from typing import Annotated

from trk.errors import UsageError
from trk.rules import parse_number, shown
from trk_cli.declared import Option
from trk_cli.results import OutputOptions

Run = Annotated[str | None, Option("--run", metavar="RUN", help="The run: id, prefix, name, @ or @last.")]
Json = Annotated[bool, Option("--json", help="Print JSON; errors are JSON on stderr.")]
Quiet = Annotated[bool, Option("-q", "--quiet", help="No talk on stderr.")]
IdsOnly = Annotated[bool, Option("-q", "--quiet", help="Print run ids only.")]
Timeout = Annotated[str, Option("--timeout", metavar="SECONDS", help="How long to wait for delivery.")]
Strict = Annotated[bool, Option("--strict", help="Exit 6 when rows are pending or rejected.")]
Format = Annotated[str | None, Option("--format", metavar="FORMAT", help="table, json, csv, tsv, markdown or plain.")]
Field = Annotated[str | None, Option("--field", metavar="PATH", help="Print one bare value, as params.lr.")]
Source = Annotated[str | None, Option("--source", metavar="SOURCE", help="Where to read: local, mlflow, wandb.")]
Experiment = Annotated[str | None, Option("-e", "--experiment", metavar="NAME", help="The experiment.")]
Filter = Annotated[
    str | None, Option("--filter", metavar="EXPR", help="Such as \"metrics.f1 > 0.85 and params.model = 'rf'\".")
]
Status = Annotated[str | None, Option("--status", metavar="STATUS", help="RUNNING, FINISHED, …; several with commas.")]
Since = Annotated[
    str | None, Option("--since", metavar="TIME", help="Started then or later: 2h, 7d, 2026-11-21T07:27.")
]
Until = Annotated[str | None, Option("--until", metavar="TIME", help="Started then or before.")]
Sort = Annotated[
    str | None, Option("--sort", metavar="KEY", help='Such as "metrics.f1 desc, name"; else newest first.')
]
Most = Annotated[str | None, Option("-n", "--n", metavar="N", help="How many at most.")]
UntilIdle = Annotated[
    str | None, Option("--until-idle", metavar="SECONDS", help="End when nothing was added for so long.")
]
Columns = Annotated[
    str | None,
    Option("--columns", metavar="LIST", help="Such as name,metrics.f1,params.*,tags.stage,status."),
]
_WANDB = "For the W&B backend, when it is installed."
WandbProject = Annotated[str | None, Option("--wandb-project", metavar="NAME", help=_WANDB)]
WandbEntity = Annotated[str | None, Option("--wandb-entity", metavar="NAME", help=_WANDB)]
WandbGroup = Annotated[str | None, Option("--wandb-group", metavar="NAME", help=_WANDB)]

# Of what starts a run.
_AGAIN = "May be given again."
Backends = Annotated[list[str] | None, Option("-b", "--backend", metavar="NAME", help=f"Where to deliver to. {_AGAIN}")]
Tags = Annotated[list[str] | None, Option("--tag", metavar="K=V", help=f"A tag. {_AGAIN}")]
Params = Annotated[list[str] | None, Option("--param", metavar="K=V", help=f"A param. {_AGAIN}")]
Description = Annotated[str | None, Option("--description", metavar="TEXT")]
Nested = Annotated[bool, Option("--nested", help="As a child of the active run.")]
Parent = Annotated[str | None, Option("--parent", metavar="RUN", help="As a child of this run.")]
KeyPrefix = Annotated[
    str | None, Option("--key-prefix", metavar="TEXT", help="Goes before metric, param, summary names.")
]
StepMetric = Annotated[str | None, Option("--step-metric", metavar="KEY", help="The metric that is the x-axis in W&B.")]
Capture = Annotated[
    list[str] | None,
    Option("--capture", metavar="KINDS", help="Any of git,env,system,args,ci, as tags; packages."),
]
MlflowUri = Annotated[str | None, Option("--mlflow-uri", metavar="URI", help="MLflow's server.")]
Wait = Annotated[bool, Option("--wait", help="Until the backends have the run.")]
NoWait = Annotated[bool, Option("--no-wait", help="Do not deliver now; trk sync does.")]

# Of what runs a command.
Scrape = Annotated[bool, Option("--scrape", help="Log the metrics that the command prints.")]
Patterns = Annotated[
    list[str] | None,
    Option("--pattern", metavar="REGEX", help=f"Groups key, value, step, or metrics. {_AGAIN}"),
]
SystemMetrics = Annotated[bool, Option("--system-metrics", help="Sample CPU, memory, disk, network and GPUs.")]
Interval = Annotated[str | None, Option("--interval", metavar="SECONDS", help="Between two samples; left out: 10.")]
NoOutput = Annotated[bool, Option("--no-output", help="Keep no copy of the output.")]
ResumeOnRestart = Annotated[
    bool, Option("--resume-on-restart", help="The same job, started again, goes on with its run.")
]
RestartKey = Annotated[
    str | None, Option("--restart-key", metavar="KEY", help="What is the same job, where nothing tells.")
]


JSON = OutputOptions(format="json")
AS_FITS = OutputOptions()


def seconds(text: str, name: str = "timeout") -> float:
    """A time to wait. Raises UsageError."""
    number = parse_number(text, name)
    if not 0 <= number <= 1e7:
        raise UsageError(f"{name} {shown(text)} is not a number of seconds from 0 up")
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
