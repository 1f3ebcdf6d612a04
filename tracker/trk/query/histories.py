"""The questions about points: history, and series of several runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trk.backends.histories import THREADS
from trk.errors import NotFound, UsageError
from trk.listed import Series
from trk.media.table_cells import count
from trk.query import filters, sources, words
from trk.query import series as shorter
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, check_count, names_of, narrowed, source_of, warn_python
from trk.query.filters import Filter, Moment
from trk.query.listing import check_place
from trk.query.sources import LOCAL, Source, Warn
from trk.records import MetricPoint, RunRecord
from trk.rules import shown

AT_ONCE = 100  # histories that are read from a server before they are taken
MAX_WARNED = 5  # runs without a metric that are named


def history(
    metric: str | Sequence[str],
    run: RunName | Sequence[RunName] | None = None,
    *,
    filter: str | None = None,  # noqa: A002 - the word of the command line and of MLflow
    experiment: str | None = None,
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    last: int | None = None,
    sample: int | None = None,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> list[MetricPoint]:
    """Every point of one or several metrics, of one or several runs (left out: the active one), by (step, time, value).

    A metric may be a glob ("val/*"). Instead of by name, runs are chosen by `filter`, `experiment`, `status`, `since`,
    `until`, as in `search`. Of each metric of each run, `last` takes the last so many points, `sample` at most so many
    (4 or more), evenly, with the first, last, lowest and highest. Raises NotFound for a metric that none of the runs
    has, UsageError, SourceUnavailable.
    """
    found = series(
        metric, run, filter=filter, experiment=experiment, status=status, since=since, until=until, last=last,
        sample=sample, source=source, timeout=timeout, warn=warn,
    )  # fmt: skip
    return [point for one in found for point in one.points]


def series(
    metric: str | Sequence[str],
    run: RunName | Sequence[RunName] | None = None,
    *,
    filter: str | None = None,  # noqa: A002 - as in history
    experiment: str | None = None,
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    last: int | None = None,
    sample: int | None = None,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> list[Series]:
    """`history`, each metric of each run by itself, with its run; those without points are left out."""
    metrics = [metric] if isinstance(metric, str) else list(metric)
    if last is not None:
        check_count(last, "last", 1)
    if sample is not None:
        check_count(sample, "sample", shorter.LEAST_SAMPLE)
    if last is not None and sample is not None:
        raise UsageError("last and sample exclude each other")
    chosen = Chosen.of(run, filter, experiment, status, since, until)
    deadline = time.monotonic() + timeout
    found = sources.choose(source or source_of(chosen.named or ()), timeout=timeout, warn=warn)
    whole = sources.within(found, deadline, lambda: _whole(found, chosen, metrics, warn))
    if last is not None:
        return [Series(one.run, one.metric, one.points[-last:]) for one in whole]
    if sample is not None:
        return [Series(one.run, one.metric, shorter.sampled(one.points, sample)) for one in whole]
    return whole


def _whole(source: Source, chosen: Chosen, metrics: Sequence[str], warn: Warn) -> list[Series]:
    """All series that have points. Raises NotFound when none of a metric has: W&B knows values without a history."""
    read_ones = list(read(source, chosen, metrics, warn))
    found = [one for one in read_ones if one.points]
    for name in metrics:
        if read_ones and not any(words.meant(name, [one.metric]) for one in found):
            raise no_points([one.run for one in read_ones], name)
    return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which runs are meant: those `named`, or those that `where` admits in an `experiment`."""

    named: list[str] | None
    where: Filter | None
    experiment: str | None

    @classmethod
    def of(
        cls,
        run: RunName | Sequence[RunName] | None,
        filter: str | None,  # noqa: A002 - as in history
        experiment: str | None,
        status: str | None,
        since: Moment | None,
        until: Moment | None,
        *,
        all_unless_named: bool = False,
    ) -> Chosen:
        """From what was asked; without anything it is the active run, or with `all_unless_named` every run.

        Raises UsageError when runs are named and narrowed as well, NoActiveRun.
        """
        where = filters.narrowed(filter, status=status, since=since, until=until)
        narrowing = where is not None or experiment is not None
        if run is not None and narrowing:
            raise UsageError("runs that are named are not narrowed by filter, experiment, status, since or until")
        if run is None and (narrowing or all_unless_named):
            return cls(None, where, narrowed(experiment))
        return cls(names_of(run), None, None)

    def runs(self, source: Source) -> list[RunRecord]:
        """The runs, as the source knows them. Raises NotFound for a name of none, an experiment without runs."""
        if self.named is not None:
            return [sources.find(source, name) for name in self.named]
        found = list(source.search(self.experiment, self.where))
        if not found and self.experiment is not None:
            check_place(source, self.experiment)
        return found


def read(source: Source, chosen: Chosen, metrics: Sequence[str], warn: Warn) -> Iterator[Series]:
    """The series of these metrics or globs, run by run. Raises NotFound for a metric that no run has."""
    runs = chosen.runs(source)
    if not runs:
        return
    wanted = [(run, name) for run in runs for name in _names(run, metrics)]
    missing = [name for name in metrics if not any(words.meant(name, list(run.metrics)) for run in runs)]
    if missing:
        raise no_points(runs, missing[0])
    for name in metrics if chosen.named is not None else ():  # of runs that are chosen, some may well not have it
        without = [run.run_id for run in runs if not words.meant(name, list(run.metrics))]
        if without:
            _tell(without, name, warn)
    yield from _series(source, wanted)


def _names(run: RunRecord, metrics: Sequence[str]) -> list[str]:
    """The metrics of a run that are meant, each once."""
    own = sorted(run.metrics)
    return list(dict.fromkeys(name for metric in metrics for name in words.meant(metric, own)))


def _series(source: Source, wanted: Sequence[tuple[RunRecord, str]]) -> Iterator[Series]:
    """From a server several at once, and no more of them than are soon taken."""
    if source.name == LOCAL:
        yield from (Series(run, name, source.history(run, name)) for run, name in wanted)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            yield from pool.map(lambda one: Series(one[0], one[1], source.history(*one)), some)


def _tell(without: Sequence[str], metric: str, warn: Warn) -> None:
    if len(without) <= MAX_WARNED:
        for run_id in without:
            warn(f"run {run_id} has no {metric}")
    else:
        warn(f"{count(len(without), 'run')} have no {metric}")


def no_points(records: Sequence[RunRecord], metric: str) -> NotFound:
    """What is raised for a metric that none of these runs has."""
    known = sorted({name for record in records for name in record.metrics})
    near = words.near(metric, known)
    hint = f"there is {', '.join(near)}" if near else "there are no metrics yet"
    who = f"run {records[0].run_id} has" if len(records) == 1 else "none of these runs has"
    what = shown(metric) if words.is_glob(metric) else metric
    return NotFound(f"{who} {'no' if len(records) == 1 else 'the'} metric {what}", hint=hint)
