"""compare: runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from trk.query import compare as library
from trk.records import Comparison, MetricComparison, RunRecord
from trk_cli import output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.render import height, in_full, natural_width, short
from trk_cli.results import Cell, Column, Listing, OutputOptions, Seconds

Rows = list[list[Cell]]

LONGEST_HEAD = 24  # characters of a run's name at the head of its column; the whole name is in a row of its own
LONGEST_NAME = 20  # characters of a param's or metric's name up to which a table never folds it
MOST_ROWS = 60  # of a table, before it is told how to narrow it
_NARROW = "--metrics 'f1,val/*' and --params 'lr,opt*' narrow it; --format csv has it in one piece"
_LEADING = ("what", "name")  # the columns before those of the runs

_ATTRIBUTES: dict[str, Callable[[RunRecord], Cell]] = {
    "experiment": lambda r: r.experiment,
    "status": lambda r: str(r.status),
    "description": lambda r: r.description,
    "parent_id": lambda r: r.parent_id,
}
_TIMES: dict[str, Callable[[RunRecord], Cell]] = {
    "started": lambda r: r.start_time,
    "duration": lambda r: None if r.duration_s is None else Seconds(r.duration_s),
}


def compare(
    runs: Annotated[list[str] | None, Argument(metavar="RUN", help="The runs.")] = None,
    baseline: Annotated[
        str | None,
        Option("--baseline", metavar="RUN", help="What the others are measured against: RUN, best:f1, tag:k=v."),
    ] = None,
    best: Annotated[str | None, Option("--best", metavar="N", help="And the N best runs by --metric.")] = None,
    metric: Annotated[str | None, Option("--metric", metavar="KEY", help="The metric for --best.")] = None,
    mode: Annotated[
        str | None,
        Option("--mode", metavar="max|min", help="Which is better of it; else as defined, or by name."),
    ] = None,
    metrics: Annotated[
        str | None, Option("--metrics", metavar="GLOBS", help="Only these metrics, such as 'f1,val/*'.")
    ] = None,
    params: Annotated[
        str | None, Option("--params", metavar="GLOBS", help="Only these params, such as 'lr,opt*'; '' is none.")
    ] = None,
    experiment: Annotated[
        str | None,
        Option("-e", "--experiment", metavar="NAME", help="Where best and tag look; else that of the runs."),
    ] = None,
    all: Annotated[bool, Option("--all", help="What is the same in all runs, too.")] = False,  # noqa: A002
    source: options.Source = None,
    timeout: options.Timeout = "30",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.IdsOnly = False,
) -> None:
    """Runs side by side: in what they differ, and whether that is better or worse than the baseline.

    Example: trk compare @ --baseline best:f1
    """
    shape = options.shape(format, json, field, quiet)
    found = library.compare(
        runs or (), baseline=baseline, best=options.count(best, "--best"), metric=metric,
        mode=mode,  # type: ignore[arg-type]  # the library checks what a user typed
        metrics=_globs(metrics), params=_globs(params), experiment=experiment, all=all,
        source=source, timeout=options.seconds(timeout), warn=output.warn,
    )  # fmt: skip
    output.show(_listing(found, all, shape), shape)


def _globs(text: str | None) -> list[str] | None:
    return None if text is None else [glob.strip() for glob in text.split(",") if glob.strip()]


def _listing(found: Comparison, whole: bool, shape: OutputOptions) -> Listing:
    heads = _heads(found.runs)
    is_table = shape.format == "table" or (shape.format is None and output.is_terminal())
    if is_table or shape.format == "markdown":
        titles, rows = _for_people(found, heads, whole, short if is_table else in_full)
    else:
        titles, rows = heads, _rows(found, heads, whole, _apart)
        if rows and found.baseline is not None:
            rows.insert(1, ["run", "baseline", *(run.run_id == found.baseline for run in found.runs)])
    name = Column("name", keep=all(len(str(row[1])) <= LONGEST_NAME for row in rows))
    listing = Listing(
        ["what", name, *titles],
        rows,
        data=output.comparison_json(found),
        ids=[run.run_id for run in found.runs],
        empty="nothing differs" if whole else "nothing differs (--all shows all)",
        notes=[_NARROW] if is_table and len(rows) > MOST_ROWS else [],
    )
    width = output.width()
    return _parted(listing, found, width) if is_table and rows and natural_width(listing) > width else listing


def _parted(listing: Listing, found: Comparison, width: int) -> Listing:
    """A table too wide, in parts: each run a column, with the baseline in each part; or a row; whichever is shorter."""
    upright = replace(listing, repeat=len(_LEADING) + (found.baseline is not None))
    rows = sorted(listing.rows, key=lambda row: ("metric", "run", "param").index(str(row[0])))
    heads = [Column(str(row[1]), above=str(row[0])) for row in rows]
    names = _heads(found.runs)
    turned = [[name, *(row[len(_LEADING) + at] for row in rows)] for at, name in enumerate(names)]
    first = Column("run", above="" if found.baseline is None else "baseline first")
    flat = replace(listing, columns=[first, *heads], rows=turned, repeat=1)
    return min(upright, flat, key=lambda one: height(one, width))


def _for_people(
    found: Comparison, heads: Sequence[str], whole: bool, write: Callable[[Cell], str]
) -> tuple[list[str], Rows]:
    """(titles, rows) with the baseline marked, and each cell a text: a run's column is not one of numbers or times.

    A table has no room for ids, and `write` is `short` there: they are left out unless the `whole` is wanted.
    """
    titles = [
        f"{head} (baseline)" if run.run_id == found.baseline else head
        for head, run in zip(heads, found.runs, strict=True)
    ]
    rows = _rows(found, heads, whole, _told(write))
    if write is short and not whole:
        rows = rows[1:]
    return titles, [[cell if cell is None else write(cell) for cell in row] for row in rows]


def _heads(runs: Sequence[RunRecord]) -> list[str]:
    """A short name for each run, unlike any other: its name, with the end of its id where that is not enough."""
    names = [run.name if len(run.name) <= LONGEST_HEAD else run.name[: LONGEST_HEAD - 1] + "…" for run in runs]
    taken = [*names, *_LEADING]
    length = 6
    while len({run.run_id[-length:] for run in runs}) < len(runs):
        length += 1
    heads = [
        name if taken.count(name) == 1 else f"{name} …{run.run_id[-length:]}"
        for name, run in zip(names, runs, strict=True)
    ]
    return heads if len({*heads, *_LEADING}) == len(heads) + len(_LEADING) else [run.run_id for run in runs]


def _rows(found: Comparison, heads: Sequence[str], whole: bool, metric_rows: Callable[[Comparison, str], Rows]) -> Rows:
    """What differs, or the `whole`; none when nothing does but the runs' names and times."""
    ids = [run.run_id for run in found.runs]
    own: Rows = [["run", name, *map(ask, found.runs)] for name, ask in _ATTRIBUTES.items()]
    own = [row for row in own if len(set(row[2:])) > 1 or (whole and row[2:] != [None] * len(ids))]
    params: Rows = [["param", key, *map(texts.get, ids)] for key, texts in found.params.items()]
    rows = [*own, *params]
    for key in found.metrics:
        rows += metric_rows(found, key)
    if not rows:
        return []
    names = [run.name for run in found.runs]
    first: Rows = [["run", "run_id", *ids]]
    if whole or list(heads) != names:
        first.append(["run", "name", *names])
    times: Rows = [["run", name, *map(ask, found.runs)] for name, ask in _TIMES.items()]
    return [*first, *(row for row in times if whole or (row[1] == "duration" and len(set(row[2:])) > 1)), *rows]


def _told(write: Callable[[Cell], str]) -> Callable[[Comparison, str], Rows]:
    """For people: one row for a metric, each value with what it means beside the baseline's."""

    def row(found: Comparison, key: str) -> Rows:
        metric = found.metrics[key]
        return [["metric", key, *(_beside(metric, run.run_id, write) for run in found.runs)]]

    return row


def _beside(metric: MetricComparison, run_id: str, write: Callable[[Cell], str]) -> Cell:
    """A value with its signed difference and verdict: `0.93 (+0.02 better)`."""
    value = metric.values.get(run_id)
    delta, verdict = metric.delta.get(run_id), metric.verdict.get(run_id)
    if delta is not None and delta - delta != 0:
        delta = None
    words = [f"{delta:+.4g}"] if delta else []
    words += [verdict] if verdict is not None else []
    return f"{write(value)} ({' '.join(words)})" if words else value


def _apart(found: Comparison, key: str) -> Rows:
    """For machines: rows of the values, the differences and the verdicts, each number alone in its cell."""
    metric = found.metrics[key]
    parts: dict[str, Mapping[str, Cell]] = {
        "metric": metric.values,
        "delta": metric.delta,
        "relative": metric.relative,
        "verdict": metric.verdict,
    }
    return [
        [what, key, *(values.get(run.run_id) for run in found.runs)]
        for what, values in parts.items()
        if any(value is not None for value in values.values())
    ]
