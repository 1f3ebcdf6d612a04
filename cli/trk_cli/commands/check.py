"""check: a gate for a run."""

from __future__ import annotations

from typing import Annotated

from trk.errors import UsageError
from trk.query import check as library
from trk.query.reports import CheckReport
from trk_cli import output, values
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Cell, Column, Listing, OutputOptions


def check(
    expressions: Annotated[
        list[str] | None, Argument(metavar="EXPR", help="The conditions, each in quotes of its own.")
    ] = None,
    run: options.Run = None,
    baseline: Annotated[
        str | None,
        Option(
            "--baseline", metavar="RUN", help="What baseline is: RUN, best:f1, best:f1:min, tag:branch=main, @last."
        ),
    ] = None,
    allow_no_baseline: Annotated[
        bool, Option("--allow-no-baseline", help="Without a baseline what needs one passes, with a note.")
    ] = False,
    from_: Annotated[
        str | None, Option("--from", metavar="FILE", help="And the conditions in FILE, one a line; - is stdin.")
    ] = None,
    experiment: Annotated[
        str | None,
        Option("-e", "--experiment", metavar="NAME", help="Where best and tag look; else that of the run."),
    ] = None,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Print nothing: the exit code tells.")] = False,
) -> None:
    """A gate: whether a run fulfils all conditions, each shown. Exit 5 when one fails. See: trk help checks.

    Example: trk check 'f1 >= 0.85' 'f1 >= baseline - 2%' --baseline best:f1
    """
    shape = options.shape(format, json, field, quiet)
    texts = [*(expressions or ()), *(conditions_in(from_) if from_ is not None else ())]
    found = library.check(
        texts, run, baseline=baseline, allow_no_baseline=allow_no_baseline, experiment=experiment, source=source,
        timeout=options.seconds(timeout), warn=output.warn,
    )  # fmt: skip
    output.show(_listing(found, shape), shape)
    library.require_passed(found)


def conditions_in(name: str) -> list[str]:
    """The conditions in a file: one a line, without empty lines and those that begin with #. Raises UsageError."""
    lines = (line.strip() for line in values.lines_of(name, "trk check --from - < gates.txt"))
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UsageError(f"{name} holds no condition", hint="one a line, such as f1 >= 0.85")
    return found


def _listing(found: CheckReport, shape: OutputOptions) -> Listing:
    people = shape.format in ("table", "markdown") or (shape.format is None and output.is_terminal())
    passed = {True: "passed", False: "FAILED"} if people else {True: "true", False: "false"}
    rows: list[list[Cell]] = [
        [passed[one.passed], one.expression, one.left, one.right, one.reason] for one in found.checks
    ]
    heads: list[Column | str] = [
        Column("result" if people else "passed", keep=True), Column("condition", keep=True), "left", "right", "reason",
    ]  # fmt: skip
    return Listing(heads, rows, data=output.check_json(found), ids=[])
