"""ls, search: runs, or groups of them, with their metrics."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from trk.errors import UsageError
from trk.media.table_cells import count
from trk.query import columns as cols
from trk.query import listing as library
from trk.records import PARTS, RunRecord
from trk_cli import output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Column, Listing, OutputOptions, Seconds

if TYPE_CHECKING:
    from trk.listed import MetricSummary, RunGroup

GroupBy = Annotated[
    str | None, Option("--group-by", metavar="LIST", help="Such as params.model,tags.stage: a line a group.")
]
Agg = Annotated[
    str | None,
    Option("--agg", metavar="LIST", help="Of groups: mean, std, best, min, max, median, count."),
]
Deleted = Annotated[bool, Option("--deleted", help="The deleted ones, from the journal alone.")]


def ls(
    experiment: options.Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    status: options.Status = None,
    since: options.Since = None,
    until: options.Until = None,
    sort: options.Sort = None,
    n: options.Most = None,
    columns: options.Columns = None,
    group_by: GroupBy = None,
    agg: Agg = None,
    deleted: Deleted = False,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """Runs with their metrics, newest first; or groups of runs (trk help ls).

    Example: trk ls --filter "metrics.f1 > 0.9" --sort "metrics.f1 desc"
    """
    shape = options.shape(format, json, field, quiet)
    asked: dict[str, Any] = {
        "filter": filter, "experiment": experiment, "status": status, "since": since, "until": until, "sort": sort,
        "n": options.count(n, "-n"), "source": source, "timeout": options.seconds(timeout), "warn": output.warn,
    }  # fmt: skip
    if group_by is not None:
        if deleted:
            raise UsageError("--deleted and --group-by exclude each other")
        _show_groups(library.groups(group_by, agg=agg, metrics=_metrics(columns), **asked), shape)
        return
    if agg is not None:
        raise UsageError("--agg is for groups", hint="trk ls --group-by params.model --agg mean,std,best")
    wanted = None if columns is None else cols.parse(columns)
    _show_runs(library.search(deleted=deleted, parts=_parts(wanted, shape), **asked), wanted, shape)


def search(
    filter: Annotated[  # noqa: A002 - what it is
        str, Argument(metavar="FILTER", help="Such as \"metrics.f1 > 0.85 or params.model = 'rf'\".")
    ],
    experiment: options.Experiment = None,
    status: options.Status = None,
    since: options.Since = None,
    until: options.Until = None,
    sort: options.Sort = None,
    n: options.Most = None,
    columns: options.Columns = None,
    group_by: GroupBy = None,
    agg: Agg = None,
    deleted: Deleted = False,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """Runs that match a filter (trk help filters): ls, with the filter first.

    Example: trk search "metrics.f1 > 0.9 or tags.stage = 'dev'" --columns "name,metrics.*"
    """
    ls(
        experiment, filter, status, since, until, sort, n, columns, group_by, agg, deleted, source, timeout, format,
        json, field, quiet,
    )  # fmt: skip


# -- runs -----------------------------------------------------------------------------------------------------------


def _parts(asked: Sequence[cols.Column] | None, shape: OutputOptions) -> Collection[str]:
    """What has to be read of each run to show these columns; as JSON it is shown whole."""
    if shape.format == "json" or shape.field is not None:
        return PARTS
    return {kind for kind, _ in asked if kind} if asked is not None else {"metrics"}


def _show_runs(runs: Sequence[RunRecord], asked: Sequence[cols.Column] | None, shape: OutputOptions) -> None:
    found = _columns_for(runs) if asked is None else cols.expanded(asked, runs)
    heads = _ranked(found) if asked is None else [_head(column) for column in found]
    rows = list(zip(*(_cells(runs, column) for column in found), strict=True))
    ids = [run.run_id for run in runs]

    def forms() -> list[Any]:  # which a table does not need
        return [output.run_json(run) for run in runs]

    output.show(Listing(heads, rows, data=forms, ids=ids, empty="no runs"), shape)


def cell(run: RunRecord, column: cols.Column) -> Any:
    """What a run has in a column, as it is shown."""
    found = cols.cell(run, column)
    return Seconds(found) if column == ("", "duration") and found is not None else found


def _cells(runs: Sequence[RunRecord], column: cols.Column) -> list[Any]:
    """What the runs have in a column."""
    kind, name = column
    if kind == "metrics":  # the most, of long lists
        return [run.metrics.get(name) for run in runs]
    if not kind:
        told = [*map(cols.ATTRIBUTES[name], runs)]
        return [None if one is None else Seconds(one) for one in told] if name == "duration" else told
    return [cell(run, column) for run in runs]


def _head(column: cols.Column) -> Column:
    return Column(cols.title(column), keep=column in (("", "run"), ("", "run_id")))


def _columns_for(runs: Sequence[RunRecord]) -> list[cols.Column]:
    """The columns shown unasked: the run's own, and the metrics, those of most runs first."""
    counts = Counter(itertools.chain.from_iterable(run.metrics for run in runs))
    common = sorted(counts, key=lambda name: (-counts[name], name))
    own = [("", name) for name in ("run", "name", "experiment", "status")]
    return [*own, *(("metrics", name) for name in common), ("", "started"), ("", "duration")]


_RANKS = {"run": 0, "name": 0, "status": 1, "experiment": 3, "started": 5, "duration": 6}


def _ranked(columns: Sequence[cols.Column]) -> list[Column]:
    """Their heads. On a narrow terminal the first metrics stay longest: they are what is looked for."""
    metrics = [name for kind, name in columns if kind]
    return [
        Column(name, rank=min(2 * metrics.index(name), 4)) if kind else Column(name, name == "run", rank=_RANKS[name])
        for kind, name in columns
    ]


# -- groups ---------------------------------------------------------------------------------------------------------


def _metrics(columns: str | None) -> list[str] | None:
    """The metrics among the columns asked for, which are all that a group has."""
    if columns is None:
        return None
    found = cols.parse(columns)
    for column in found:
        if column[0] != "metrics":
            raise UsageError(
                f"a group has no column {cols.title(column)[:80]}, only metrics", hint='--columns "metrics.val/*"'
            )
    return [name for _, name in found]


def _show_groups(groups: Sequence[RunGroup], shape: OutputOptions) -> None:
    first = groups[0] if groups else None
    told = [(name, aggregate) for name, found in (first.metrics if first else {}).items() for aggregate in found.values]
    heads = [Column(title, keep=True) for title in (first.key if first else ())]
    heads += [Column("runs"), *(Column(f"{name}.{aggregate}", rank=1) for name, aggregate in told)]
    rows = [
        [*group.key.values(), len(group.runs), *(group.metrics[name].values[aggregate] for name, aggregate in told)]
        for group in groups
    ]
    ids = [run.run_id for group in groups for run in group.runs]
    forms = [group_json(group) for group in groups]
    output.show(Listing(heads, rows, data=forms, ids=ids, empty="no runs", notes=_left_out(groups)), shape)


def _left_out(groups: Sequence[RunGroup]) -> list[str]:
    counts: dict[str, int] = {}
    for group in groups:
        for name, found in group.metrics.items():
            counts[name] = counts.get(name, 0) + found.not_finite
    return [f"{count(number, 'value')} of {name} left out: not finite" for name, number in counts.items() if number]


def group_json(group: RunGroup) -> dict[str, Any]:
    """A group, with every key that is promised."""
    return {
        "group": dict(group.key),
        "runs": len(group.runs),
        "run_ids": [run.run_id for run in group.runs],
        "metrics": {name: _summary_json(found) for name, found in group.metrics.items()},
    }


def _summary_json(found: MetricSummary) -> dict[str, Any]:
    return {**found.values, "count": found.count, "not_finite": found.not_finite}
