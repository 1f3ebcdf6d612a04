"""history: the points of metrics, one below the other or side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from trk.errors import UsageError
from trk.listed import AlignedRow, Series
from trk.media.table_cells import count
from trk.query import histories as library
from trk.query.series import aligned
from trk_cli import forms, output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Column, Listing, OutputOptions


def history(
    keys: Annotated[list[str] | None, Argument(metavar="KEY", help="The metrics; also globs, such as 'val/*'.")] = None,
    run: Annotated[
        list[str] | None, Option("--run", metavar="RUN", help="The run; may be given again. Else the active one.")
    ] = None,
    experiment: options.Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    status: options.Status = None,
    since: options.Since = None,
    until: options.Until = None,
    align: Annotated[bool, Option("--align", help="A line a step, a column for each run and metric.")] = False,
    last: Annotated[str | None, Option("--last", metavar="N", help="The last N points of each.")] = None,
    sample: Annotated[
        str | None,
        Option("--sample", metavar="N", help="N points of each, evenly, with first, last, lowest, highest."),
    ] = None,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """Every point of one or several metrics, of one or several runs: --run, or those that a filter chooses.

    Example: trk history loss f1 --run @last --format csv
    """
    shape = options.shape(format, json, field, quiet)
    if not keys:
        raise UsageError("history needs a metric", hint="trk history f1")
    found = library.series(
        keys, run or None, filter=filter, experiment=experiment, status=status, since=since, until=until,
        last=options.count(last, "--last"), sample=options.count(sample, "--sample"), source=source,
        timeout=options.seconds(timeout), warn=output.warn,
    )  # fmt: skip
    (_show_aligned if align else _show_points)(found, shape)


def _show_points(found: Sequence[Series], shape: OutputOptions) -> None:
    points = [point for one in found for point in one.points]
    rows: list[list[Any]] = [[p.run_id, p.metric, p.step, p.time, p.value] for p in points]
    data = [output.point_json(point) for point in points]
    heads: list[Column | str] = [Column("run", keep=True), "metric", "step", "time", Column("value", keep=True)]
    output.show(Listing(heads, rows, data=data, ids=_ids(found)), shape)


def _ids(found: Sequence[Series]) -> list[str]:
    return list(dict.fromkeys(one.run.run_id for one in found))


def _show_aligned(found: Sequence[Series], shape: OutputOptions) -> None:
    rows, lost = aligned(found)
    heads = [Column("step", keep=True), *(Column(title) for title in _titles(found))]
    notes = [f"{count(lost, 'point')} not shown: of several at one step the last is"] if lost else []
    data = [_row_json(row, found) for row in rows]
    output.show(
        Listing(heads, [[row.step, *row.values] for row in rows], data=data, ids=_ids(found), notes=notes), shape
    )


def _titles(found: Sequence[Series]) -> list[str]:
    """A metric's name where there is one run; before it the run's name, or its id where several have that name."""
    runs = {one.run.run_id: one.run.name for one in found}
    names = list(runs.values())
    labels = {run_id: name if name and names.count(name) == 1 else run_id for run_id, name in runs.items()}
    return [one.metric if len(runs) == 1 else f"{labels[one.run.run_id]} {one.metric}" for one in found]


def _row_json(row: AlignedRow, found: Sequence[Series]) -> dict[str, Any]:
    values: dict[str, dict[str, Any]] = {}
    for one, value in zip(found, row.values, strict=True):
        if value is not None:
            values.setdefault(one.run.run_id, {})[one.metric] = forms.number(value)
    return {"step": row.step, "values": values}
