"""summary: what a CI job tells of its runs."""

from __future__ import annotations

from typing import Annotated

from trk import settings
from trk.ci import step_file
from trk.ci import summary as library
from trk.ci.model import FORMATS, Summary
from trk.errors import UsageError
from trk.pictures.plotting import write
from trk.rules import shown
from trk_cli import forms, output
from trk_cli.commands import options
from trk_cli.commands.check import conditions_in
from trk_cli.declared import Argument, Option
from trk_cli.results import OutputOptions, Text

STDOUT = "-"

Baseline = Annotated[
    str | None,
    Option("--baseline", metavar="RUN", help="What changed is shown against: RUN, best:f1, tag:k=v, @last."),
]
Conditions = Annotated[
    list[str] | None,
    Option("--check", metavar="EXPR", help="A condition, as trk check has it. May be given again."),
]
From = Annotated[
    str | None, Option("--from", metavar="FILE", help="And the conditions in FILE, one a line; - is stdin.")
]
AllowNoBaseline = Annotated[
    bool, Option("--allow-no-baseline", help="Without a baseline go on, and say so: the first run.")
]
Metrics = Annotated[
    list[str] | None,
    Option("--metric", metavar="KEY", help="A metric, or a pattern such as 'val/*'. May be given again."),
]
Experiment = Annotated[
    str | None,
    Option("-e", "--experiment", metavar="NAME", help="All runs of it; of named ones, where best looks."),
]
Since = Annotated[str | None, Option("--since", metavar="TIME", help="All runs started since: 2h, or a moment.")]
Pipeline = Annotated[str | None, Option("--pipeline", metavar="ID", help="All runs of a CI pipeline; @ is this job's.")]
JUnit = Annotated[str | None, Option("--junit", metavar="FILE", help="Also the conditions as JUnit XML.")]
Output = Annotated[
    str | None, Option("-o", "--output", metavar="FILE", help="Into a file; - is stdout, in GitHub too.")
]
Format = Annotated[
    str | None, Option("--format", metavar="FORMAT", help="markdown, gitlab, html, openmetrics, junit, json.")
]


def summary(
    runs: Annotated[list[str] | None, Argument(metavar="RUN", help="The runs; left out: the active one.")] = None,
    baseline: Baseline = None,
    check: Conditions = None,
    from_: From = None,
    fail: Annotated[bool, Option("--fail", help="Exit 5 when a condition fails.")] = False,
    allow_no_baseline: AllowNoBaseline = False,
    metric: Metrics = None,
    experiment: Experiment = None,
    since: Since = None,
    pipeline: Pipeline = None,
    max_charts: Annotated[str | None, Option("--max-charts", metavar="N", help="At most; 6.")] = None,
    max_rows: Annotated[str | None, Option("--max-rows", metavar="N", help="Of a table at most; 100.")] = None,
    junit: JUnit = None,
    to: Output = None,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.Quiet = False,
) -> None:
    """What a CI job tells of its runs: metrics, changes, checks, charts. In GitHub it goes
    into the step's summary. See: trk help ci.

    Example: trk summary @ --baseline best:f1 --check 'f1 >= baseline - 2%'
    """
    chosen = _format(format, json, field)
    conditions = [*(check or ()), *(conditions_in(from_) if from_ is not None else ())]
    if fail and not conditions:
        raise UsageError("--fail needs a condition that can fail", hint="--check 'f1 >= 0.85'")
    if junit is not None and not conditions:
        raise UsageError("--junit needs conditions to write", hint="--check 'f1 >= 0.85'")
    found = library.summary(
        runs or None, baseline=baseline, checks=conditions, allow_no_baseline=allow_no_baseline, metrics=metric or (),
        experiment=experiment, since=since, pipeline=pipeline,
        max_charts=_count(max_charts, "--max-charts", 6), max_rows=_count(max_rows, "--max-rows", 100),
        source=source, timeout=options.seconds(timeout), warn=output.warn,
    )  # fmt: skip
    if junit is not None:
        write(junit, found.junit.encode())
    _put(found, chosen, to, OutputOptions(field=field, quiet=quiet))
    if fail:
        library.require_passed(found)


def _format(named: str | None, json: bool, field: str | None) -> str:
    if json and named not in (None, "json"):
        raise UsageError(f"--json and --format {named} exclude each other", hint="--json is --format json")
    chosen = named or ("json" if json or field is not None else "markdown")
    if chosen not in FORMATS:
        raise UsageError(f"format {shown(chosen)} is not one of {', '.join(FORMATS)}")
    return chosen


def _count(text: str | None, name: str, otherwise: int) -> int:
    found = options.count(text, name)
    return otherwise if found is None else found


def _put(found: Summary, chosen: str, to: str | None, shape: OutputOptions) -> None:
    """Where it is wanted: a file, the step's summary in GitHub, else stdout."""
    if chosen == "markdown" and to is None and settings.env(step_file.VARIABLE) is not None:
        path = found.write_step_summary()
        if path is None:
            output.warn("the step's summary is full: GitHub shows at most 1 MiB, and this one was not added")
        else:
            output.talk(f"in the step's summary: {path}", quiet=shape.quiet)
        return
    if to is not None and to != STDOUT:
        path = write(to, _text(found, chosen).encode())
        output.talk(f"written to {path}", quiet=shape.quiet)
        return
    as_json = OutputOptions("json", shape.field, shape.quiet) if chosen == "json" else shape
    output.show(Text("" if chosen == "json" else _text(found, chosen), data=output.summary_json(found)), as_json)


def _text(found: Summary, chosen: str) -> str:
    if chosen == "json":
        return forms.dumps(output.summary_json(found), indent=2) + "\n"
    return str(getattr(found, chosen))
