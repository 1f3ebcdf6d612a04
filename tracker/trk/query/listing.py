"""The questions that list runs: search, groups."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from trk.errors import NotFound, UsageError
from trk.query import columns as cols
from trk.query import filters, sorting, sources
from trk.query.ask import DEFAULT_TIMEOUT_S, check_count, narrowed, warn_python
from trk.query.filters import Filter, Moment
from trk.query.sources import LocalSource, Source, Warn
from trk.records import PARTS, RunRecord
from trk.rules import shown

if TYPE_CHECKING:
    from trk.listed import RunGroup


def search(
    filter: str | None = None,  # noqa: A002 - the word of the command line and of MLflow
    *,
    experiment: str | None = None,
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    sort: str | None = None,
    n: int | None = None,
    deleted: bool = False,
    parts: Collection[str] = PARTS,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> list[RunRecord]:
    """The runs that match a filter (`trk help filters`), newest first, or by `sort`: "metrics.f1 desc, start_time".

    `status` is RUNNING, FINISHED, FAILED or KILLED, or several with commas. `since` and `until` are when a run was
    started: ISO 8601, a span before now ("7d"), a datetime. `n` is how many at most. With `deleted` it is the runs that
    `trk.delete` hid and `trk.restore` brings back: those of the journal, the latest deleted first. `parts` is what is
    needed of "params", "metrics", "tags", "backends": thousands of runs are read faster when the others may be empty.
    Raises UsageError, SourceUnavailable, and NotFound when the experiment has no runs at all.
    """
    where = filters.narrowed(filter, status=status, since=since, until=until)
    order = sorting.parse_order(sort) if sort else None
    if n is not None:
        check_count(n, "n", 0)
    if unknown := set(parts) - PARTS:
        raise UsageError(f"no record has the part {shown(min(unknown))}", hint=", ".join(sorted(PARTS)))
    if deleted and source not in (None, sources.LOCAL):
        raise UsageError(f"deleted runs are looked up in the journal, not in {shown(source)}")
    deadline = time.monotonic() + timeout
    found = sources.choose(sources.LOCAL if deleted else source, timeout=timeout, warn=warn)
    place = narrowed(experiment)
    most = n if order is None else None
    needed = parts if order is None else {*parts, *sorting.parts(order)}
    records = sources.within(found, deadline, lambda: _runs(found, place, where, deleted, most, needed))
    return records if order is None else sorting.in_order(records, order)[:n]


def _runs(
    source: Source,
    place: str | None,
    where: Filter | None,
    deleted: bool = False,
    most: int | None = None,
    parts: Collection[str] = PARTS,
) -> list[RunRecord]:
    if isinstance(source, LocalSource):
        matching = source.deleted(place, where) if deleted else source.search(place, where, parts)
    else:
        matching = source.search(place, where)
    records = list(itertools.islice(matching, most))
    if not records and most != 0 and not deleted and place is not None:
        check_place(source, place)
    return records


def check_place(source: Source, experiment: str) -> None:
    """Raise NotFound for an experiment without runs."""
    if next(iter(source.search(experiment, None)), None) is None:
        raise NotFound(f"experiment {experiment!r} has no runs (source {source.name})", hint="trk ls")


def groups(
    by: str | Sequence[str],
    filter: str | None = None,  # noqa: A002 - as in search
    *,
    agg: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    experiment: str | None = None,
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    sort: str | None = None,
    n: int | None = None,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> list[RunGroup]:
    """The runs that match, in groups `by` "params.model, tags.stage", an attribute, or several of them.

    `metrics` are names or globs (left out: all that the runs have); of each there is what `agg` says ("mean, std, best"
    when left out; also min, max, median, count), over the finite last values. Groups come by their keys, or by `sort`
    ("metrics.f1.mean desc", "runs"); `n` is how many at most. The rest is as in `search`, and so is what it raises.
    """
    from trk.query import groups as grouping

    keys, aggregates = grouping.parse_by(by), grouping.parse_aggregates(agg)
    named = ["*"] if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    where = filters.narrowed(filter, status=status, since=since, until=until)
    if n is not None:
        check_count(n, "n", 0)
    deadline = time.monotonic() + timeout
    found = sources.choose(source, timeout=timeout, warn=warn)
    place = narrowed(experiment)

    def ask() -> list[RunGroup]:
        runs = _runs(found, place, where)
        having = runs if metrics is not None or any(run.metrics for run in runs) else []
        names = [name for _, name in cols.expanded([("metrics", name) for name in named], having)]
        modes = found.modes({run.experiment for run in runs}) if "best" in aggregates else {}
        if unsaid := [name for name in names if "best" in aggregates and grouping.best_of(name, modes) is None]:
            warn(f"which is better is not known of {', '.join(unsaid[:5])} (trk define-metric KEY --mode max)")
        return grouping.grouped(runs, keys, aggregates, names, modes)

    made = sources.within(found, deadline, ask)
    return (grouping.in_order(made, sort) if sort else made)[:n]
