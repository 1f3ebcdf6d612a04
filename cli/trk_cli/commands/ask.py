"""best, show: questions about runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

from trk import rules
from trk.errors import TrkError, UsageError
from trk.media.table_cells import count
from trk.query import ask as library
from trk.query import sources
from trk.query.sources import Source
from trk.records import ArtifactRecord, BestRun, Ranking, RunRecord
from trk_cli import output, progress
from trk_cli.commands import options
from trk_cli.commands.listing import cell
from trk_cli.declared import Argument, Option
from trk_cli.render import sparkline
from trk_cli.results import Column, Listing, Single

_SHOWN = ("run_id", "name", "experiment", "status", "source", "started", "duration", "parent_id", "description")


def best(
    metric: Annotated[str | None, Option("--metric", metavar="KEY", help="The metric to rank by.")] = None,
    mode: Annotated[
        str | None, Option("--mode", metavar="max|min", help="Which is better; else as defined, or by name.")
    ] = None,
    agg: Annotated[
        str, Option("--agg", metavar="HOW", help="best (over the whole history), last, min or max.")
    ] = "best",
    n: Annotated[str | None, Option("-n", "--n", metavar="N", help="How many runs, best first.")] = None,
    experiment: options.Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    fresh: Annotated[
        bool, Option("--fresh", help="Read every history, whatever trk left on the runs or remembers.")
    ] = False,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """The best run by a metric, with the step and the other metrics at that step. NaN and infinity never win.

    Example: RUN=$(trk best --metric f1 -q)
    """
    shape = options.shape(format, json, field, quiet)
    if metric is None:
        raise UsageError("best needs a metric", hint="trk best --metric f1")
    wanted = options.count(n, "-n")
    with progress.late_bar(quiet, "reading", "histories") as report:
        ranking = library.best(
            metric,
            mode=mode,  # type: ignore[arg-type]  # the library checks what a user typed
            agg=agg,  # type: ignore[arg-type]
            n=1 if wanted is None else wanted,
            experiment=experiment, filter=filter, fresh=fresh, source=source, timeout=options.seconds(timeout),
            warn=output.warn, progress=report,
        )  # fmt: skip
    output.show(_ranking_result(ranking, metric, many=wanted is not None), shape)
    _tell_left_out(ranking, metric, quiet or field is not None)


def _tell_left_out(ranking: Ranking, metric: str, quiet: bool) -> None:
    left_out = []
    if ranking.without_metric:
        left_out.append(f"{ranking.without_metric} without {metric}")
    if ranking.not_finite:
        left_out.append(f"{ranking.not_finite} with no finite value of it")
    if left_out:
        output.talk(f"runs left out: {', '.join(left_out)}", quiet=quiet)


def _ranking_result(ranking: Ranking, metric: str, many: bool) -> Listing:
    forms = [output.best_json(entry) for entry in ranking.runs]
    names = sorted({name for entry in ranking.runs for name in entry.at_step})
    columns: list[Column | str] = [
        Column("run", keep=True), "name", "experiment", Column(metric, keep=True), "step", *names,
    ]  # fmt: skip
    rows = [_best_row(entry, names) for entry in ranking.runs]
    ids = [entry.run.run_id for entry in ranking.runs]
    return Listing(columns, rows, data=forms if many else forms[0], ids=ids)


def _best_row(entry: BestRun, names: Sequence[str]) -> list[Any]:
    run, found = entry.run, entry.best
    others = [entry.at_step.get(name) for name in names]
    return [run.run_id, run.name, run.experiment, found.value, found.step, *others]


def show(
    named: Annotated[str | None, Argument(metavar="RUN", help="The run; left out: the active one.")] = None,
    run: options.Run = None,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """Everything about one run: last, lowest and highest values, in a table with sparklines.

    Example: trk show @last --field metrics.f1
    """
    shape = options.shape(format, json, field, quiet)
    if named is not None and run is not None:
        raise UsageError("the run is named twice, as RUN and as --run")
    found, record = library.locate(
        named if named is not None else run, source=source, timeout=options.seconds(timeout), warn=output.warn
    )
    form = output.run_json(record)
    if shape.format == "json" or field is not None or (quiet and shape.format is None):
        output.show(Single(form, ids=[record.run_id]), shape)
        return
    rows = [*_details(found, record), *_held(found, record, options.seconds(timeout))]
    heads: list[Column | str] = [
        "what",
        Column("name", keep=True),
        Column("value", keep=True),
        Column("history", whole=True),
    ]
    heads += ["min", "max"]
    if shape.format not in (None, "table") or (shape.format is None and not output.is_terminal()):
        del heads[3]  # a sparkline is for people alone
        rows = [[*row[:3], *row[4:]] for row in rows]
    output.show(Listing(heads, rows, data=form, ids=[record.run_id]), shape)


_NONE = ("", None, None)  # of what is no metric: history, min, max


def _details(source: Source, record: RunRecord) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["run", name, cell(record, ("", name)), *_NONE] for name in _SHOWN if cell(record, ("", name)) is not None
    ]
    rows += [["param", key, value, *_NONE] for key, value in sorted(record.params.items())]
    for key, value in sorted(record.metrics.items()):
        values = [point.value for point in source.history(record, key)]
        finite = [value for value in values if rules.is_ranked(value)]
        low, high = (min(finite), max(finite)) if finite else (None, None)
        rows.append(["metric", key, value, sparkline(values), low, high])
    rows += [["tag", key, value, *_NONE] for key, value in sorted(record.tags.items())]
    for name, state in record.backends.items():
        told = f"{state.delivered} of {count(state.logged, 'row')} delivered"
        told += f", {state.pending} pending" if state.pending else ""
        told += f", {state.rejected} rejected" if state.rejected else ""
        told += f", {state.skipped} skipped" if state.skipped else ""
        rows.append(["backend", name, f"{told} {state.url or ''}".rstrip(), *_NONE])
    return rows


_MOST_FILES = 50  # of a run, in what is shown of it: `trk artifacts ls` lists them all


def _held(source: Source, record: RunRecord, timeout: float) -> list[list[Any]]:
    """The run's tables and files, one line each; an image series is one line."""
    try:
        found = sources.within(source, time.monotonic() + timeout, lambda: source.artifacts(record))
    except TrkError as error:  # the rest of the run is known
        output.warn(f"its files can't be listed: {error.message}")
        return []
    series: dict[str, list[ArtifactRecord]] = {}
    rows: list[list[Any]] = []
    for one in found:
        if one.step is None:
            rows.append([one.kind, one.path, _size(one), *_NONE])
        else:
            series.setdefault(one.name, []).append(one)
    for name, images in series.items():
        rows.append(["image", name, count(len(images), "image"), *_NONE])
    rows.sort(key=lambda row: (row[0] != "table", row[0], row[1]))
    if len(rows) > _MOST_FILES:
        more = ["…", f"{len(rows) - _MOST_FILES} more", f"trk artifacts ls {record.run_id}", *_NONE]
        return [*rows[:_MOST_FILES], more]
    return rows


def _size(found: ArtifactRecord) -> str:
    if found.uri is not None:
        return f"at {found.uri}"
    if found.rows is not None:
        return count(found.rows, "row")
    size = count(found.size, "byte") if found.size is not None else ""
    if found.version is None:
        return size
    return f"{found.type} v{found.version}, {size}" if size else f"{found.type} v{found.version}"
