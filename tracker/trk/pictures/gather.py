"""What a picture is of: the runs that were asked for, and the histories of their metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trk import session
from trk.backends.histories import THREADS
from trk.errors import NotFound, UsageError
from trk.journal import read
from trk.media.table_cells import count
from trk.query import ask, listing, sources, words
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, warn_python
from trk.query.sources import Source, Warn
from trk.records import MetricPoint, Mode, RunRecord
from trk.rules import place

MOST_RUNS = 20  # of a filter or an experiment, unless more are asked for

Histories = Mapping[tuple[str, str], Sequence[MetricPoint]]
"""By (run id, metric), the points by (step, time, value)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked for, and where: those named, and the `best` so many by `metric`, among those of a filter.

    Without `best`, a filter or an experiment means the newest `n` runs of it.
    """

    runs: RunName | Sequence[RunName] | None = None
    best: int | None = None
    metric: str | None = None
    mode: Mode | None = None
    filter: str | None = None
    experiment: str | None = None
    n: int | None = None
    source: str | None = None
    timeout: float = DEFAULT_TIMEOUT_S
    warn: Warn = warn_python

    @property
    def searches(self) -> bool:
        """Whether runs are to be looked for, beside those that are named."""
        return self.best is not None or self.filter is not None or self.experiment is not None


def runs(wanted: Wanted, *, everything: bool = False) -> tuple[Source, list[RunRecord]]:
    """(source, the runs that are meant, each once). Without a word it is the active run, or with `everything` all runs.

    Raises UsageError, NotFound, NoActiveRun, SourceUnavailable.
    """
    _check(wanted)
    named: list[str] = []
    if wanted.runs is not None and wanted.runs != () and wanted.runs != []:
        named = ask.names_of(wanted.runs)
    elif not wanted.searches and not everything:
        named = [ask.name_of(None)]
    looked_up = [] if named and not wanted.searches else _looked_up(wanted)
    chosen = wanted.source or ask.source_of(named)
    found = sources.choose(chosen, timeout=wanted.timeout, warn=wanted.warn)
    deadline = time.monotonic() + wanted.timeout
    records = sources.within(found, deadline, lambda: [sources.find(found, name) for name in named])
    once = list({record.run_id: record for record in [*records, *looked_up]}.values())
    if not once:
        raise NotFound(f"no run matches (source {found.name})", hint="trk ls")
    return found, once


def _check(wanted: Wanted) -> None:
    if wanted.best is not None:
        ask.check_count(wanted.best, "best", 1)
        if wanted.metric is None:
            raise UsageError("best and metric go together: so many, by that metric", hint="--best 3 --metric f1")
    if wanted.n is not None:
        ask.check_count(wanted.n, "n", 1)


def _looked_up(wanted: Wanted) -> list[RunRecord]:
    if wanted.best is not None and wanted.metric is not None:
        ranking = ask.best(
            wanted.metric, mode=wanted.mode, n=wanted.best, experiment=wanted.experiment, filter=wanted.filter,
            source=wanted.source, timeout=wanted.timeout, warn=wanted.warn,
        )  # fmt: skip
        return [entry.run for entry in ranking.runs]
    most = wanted.n or MOST_RUNS
    found = listing.search(
        wanted.filter, experiment=wanted.experiment, source=wanted.source, timeout=wanted.timeout, warn=wanted.warn
    )
    if len(found) > most and wanted.n is None:
        wanted.warn(f"the newest {most} of {len(found)} runs are shown (-n {len(found)} shows all)")
    return found[:most]


def metrics(records: Sequence[RunRecord], patterns: Sequence[str]) -> list[str]:
    """The metrics that names and patterns such as `val/*` mean, in their order, each once. Raises NotFound."""
    known = sorted({name for record in records for name in record.metrics})
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [pattern] if pattern in known else [name for name in known if fnmatchcase(name, pattern)]
        if not matching:
            raise _unknown(records, known, pattern)
        found |= dict.fromkeys(matching)
    return list(found)


def _unknown(records: Sequence[RunRecord], known: Sequence[str], pattern: str) -> NotFound:
    near = words.near(pattern, known)
    hint = f"there is {', '.join(near)}" if near else "there are no metrics yet"
    who = f"run {records[0].run_id} has no" if len(records) == 1 else "none of these runs has the"
    return NotFound(f"{who} metric {pattern}", hint=hint)


def histories(found: Source, records: Sequence[RunRecord], names: Sequence[str], wanted: Wanted) -> Histories:
    """The points of these metrics of these runs; a run without the metric is left out, and told of."""
    if found.name == sources.LOCAL:
        return _local(records, names)
    asked = [(record, name) for record in records for name in names if name in record.metrics]
    deadline = time.monotonic() + wanted.timeout

    def all_points() -> list[list[MetricPoint]]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda pair: found.history(*pair), asked))

    points = sources.within(found, deadline, all_points)
    return {(record.run_id, name): some for (record, name), some in zip(asked, points, strict=True) if some}


def _local(records: Sequence[RunRecord], names: Sequence[str]) -> Histories:
    """The same from the journal, each row of which is read once, whatever the number of metrics."""
    journal = session.existing_journal(session.find_folder())
    wanted, points = frozenset(names), dict[tuple[str, str], list[MetricPoint]]()
    if journal is None:
        return points
    for record in records:
        key, n, run_id = read.run_key(journal, record.run_id), 0, record.run_id
        while key is not None and (rows := read.rows_after(journal, key, n, read.PAGE)):
            n = rows[-1].n
            for row in rows:
                for name, value in row.values.items():
                    if name in wanted and row.step is not None:
                        point = MetricPoint(run_id, name, row.step, row.time_ms, value)
                        points.setdefault((run_id, name), []).append(point)
    for some in points.values():
        some.sort(key=lambda point: (point.step, point.time_ms, place(point.value)))
    return points


def tell_missing(records: Sequence[RunRecord], names: Sequence[str], points: Histories, wanted: Wanted) -> None:
    """Warn of runs that lack a metric."""
    for name in names:
        without = [record.run_id for record in records if (record.run_id, name) not in points]
        if len(without) == 1:
            wanted.warn(f"run {without[0]} has no {name}")
        elif without:
            wanted.warn(f"{count(len(without), 'run')} have no {name}")
