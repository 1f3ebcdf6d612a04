"""`trk.report`: runs on one page of HTML that needs nothing but itself."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from trk import rules
from trk.errors import NotFound, TrkError, UsageError
from trk.media.table_cells import count
from trk.pictures import frames, gather, plotting, sections
from trk.pictures.curves import Chart
from trk.pictures.gather import Wanted
from trk.pictures.plotting import Style
from trk.query import compare, sources
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, warn_python
from trk.query.sources import Source, Warn
from trk.records import ArtifactRecord, Comparison, Mode, RunRecord
from trk.run import Run
from trk.tracker import need_run

FILE = "trk-report.html"
NAME = "trk-report"  # of the page in a run
MOST_RUNS = 50
MOST_CHARTS = 40


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a report tells. `runs` are in order: by `metric` and `mode` the best first, where there are those.

    `best` is for each run that has one the best finite value of `metric` over its whole history, and its step.
    """

    title: str
    source: str
    runs: Sequence[RunRecord]
    charts: Sequence[Chart]
    modes: Mapping[str, Mode]
    metric: str | None = None
    best: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    comparison: Comparison | None = None
    artifacts: Mapping[str, Sequence[ArtifactRecord]] = field(default_factory=dict)
    pages: frames.Pages = field(default_factory=dict)
    notes: Sequence[str] = ()
    written: datetime | None = None

    @property
    def mode(self) -> Mode | None:
        """Which is better of `metric`."""
        return None if self.metric is None else self.modes.get(self.metric)


def report(
    runs: RunName | Sequence[RunName] | None = None,
    *,
    to: str | os.PathLike[str] = FILE,
    best: int | None = None,
    metric: str | None = None,
    mode: Mode | None = None,
    filter: str | None = None,  # noqa: A002 - the word of the command line and of MLflow
    experiment: str | None = None,
    n: int | None = None,
    baseline: RunName | None = None,
    title: str | None = None,
    log: bool = False,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> Path:
    """Write a page of HTML about runs, which needs no network; returns the file's path.

    It has a leaderboard by `metric` (left out: a metric of most runs whose direction is known), its charts over steps,
    how params go with it, what differs in params and tags, artifacts (HTML pages of up to 500 kB in frames in which
    nothing acts), and with `baseline` (as in `trk.compare`) what is better or worse. `runs` are named as everywhere;
    `best`, `filter`, `experiment` and `n` choose as in `trk.plot`; left out, it is the newest runs of the settings'
    experiment, else of all. With `log` the page is also logged as `trk-report.html` into the run it is about, or of
    several into the active one.

    Raises UsageError, NotFound, NoActiveRun (with `log`), Conflict when that run has ended, SourceUnavailable.
    """
    if Path(os.fsdecode(to)).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"a report is written to a file that ends in .html, not {rules.shown(str(to))}")
    wanted = Wanted(runs, best, metric, mode, filter, experiment, n or MOST_RUNS, source, timeout, warn)
    into = None
    if log and not _is_one(runs):
        into = need_run(None)  # known to be there before anything is read
    found = findings(wanted, baseline=baseline, title=title)
    page = sections.page(found)
    path = plotting.write(to, page.encode())
    if log:
        (into or need_run(found.runs[0].run_id)).log_html(page, NAME)
    return path


def _is_one(runs: object) -> bool:
    return isinstance(runs, (str, Run, RunRecord)) or (isinstance(runs, Sequence) and len(runs) == 1)


def findings(wanted: Wanted, *, baseline: RunName | None = None, title: str | None = None) -> Findings:
    """What a report of these runs tells. Raises as `report`."""
    found, records = gather.runs(replace(wanted, warn=wanted.warn), everything=True)
    comparison = None
    if baseline is not None:
        comparison = compare.compare(
            records, baseline=baseline, experiment=wanted.experiment, all=True, source=wanted.source,
            timeout=wanted.timeout, warn=wanted.warn,
        )  # fmt: skip
        records = list({run.run_id: run for run in [*comparison.runs, *records]}.values())
    names, left = _names(records, wanted.metric)
    points = gather.histories(found, records, names, wanted)
    modes = _modes(found, records, names, wanted)
    metric = wanted.metric or _main(records, names, modes)
    best = _best(records, points, metric, modes)
    ordered = _ordered(records, best, modes.get(metric) if metric else None)
    charts = [plotting.chart_of(name, ordered, points, Style()) for name in _first(names, metric)]
    artifacts, notes = _artifacts(found, ordered, wanted)
    pages = frames.fetched(found, ordered, artifacts, f"{NAME}.html", wanted)
    return Findings(
        title or _title(ordered), found.name, ordered, [chart for chart in charts if chart.curves], modes, metric, best,
        comparison, artifacts, pages, [*left, *notes], datetime.now(UTC),
    )  # fmt: skip


def _title(runs: Sequence[RunRecord]) -> str:
    if len(runs) == 1:
        return runs[0].name or runs[0].run_id
    experiments = list(dict.fromkeys(run.experiment for run in runs))
    return experiments[0] if len(experiments) == 1 else count(len(experiments), "experiment")


def _names(records: Sequence[RunRecord], metric: str | None) -> tuple[list[str], list[str]]:
    """(the metrics that get charts: those of most runs, what is to be said of the others). Raises NotFound."""
    counts: dict[str, int] = {}
    for record in records:
        for name in record.metrics:
            counts[name] = counts.get(name, 0) + 1
    if metric is not None and metric not in counts:
        gather.metrics(records, [rules.check_name(metric, "metric name")])
        raise NotFound(f"none of these runs has the metric {metric}")
    names = sorted(counts, key=lambda name: (name != metric, -counts[name], name))
    left = [f"{len(names) - MOST_CHARTS} more metrics have no chart here"] if len(names) > MOST_CHARTS else []
    return names[:MOST_CHARTS], left


def _modes(found: Source, records: Sequence[RunRecord], names: Sequence[str], wanted: Wanted) -> dict[str, Mode]:
    """The directions that are known: as given, as defined, or as the name says."""
    deadline = time.monotonic() + wanted.timeout
    defined = sources.within(found, deadline, lambda: found.modes({record.experiment for record in records}))
    modes: dict[str, Mode] = {}
    for name in names:
        said = defined.get(name) or rules.direction(name)
        if said in get_args(Mode):
            modes[name] = "max" if said == "max" else "min"
    if wanted.mode is not None and wanted.metric is not None:
        modes[wanted.metric] = wanted.mode
    return modes


def _main(records: Sequence[RunRecord], names: Sequence[str], modes: Mapping[str, Mode]) -> str | None:
    """The metric to rank by when none is named: of those with a direction one of most runs, upwards before down."""
    known = [name for name in names if name in modes]
    having = {name: sum(name in record.metrics for record in records) for name in known}
    return min(known, key=lambda name: (-having[name], modes[name] != "max", name), default=None)


def _first(names: Sequence[str], metric: str | None) -> list[str]:
    return sorted(names, key=lambda name: name != metric)


def _best(
    records: Sequence[RunRecord], points: gather.Histories, metric: str | None, modes: Mapping[str, Mode]
) -> dict[str, tuple[float, int]]:
    """Each run's best finite value over its whole history, the earliest of equals, with its step."""
    if metric is None or metric not in modes:
        return {}
    sign = -1 if modes[metric] == "max" else 1
    best = {}
    for record in records:
        finite = [point for point in points.get((record.run_id, metric), ()) if rules.is_ranked(point.value)]
        if finite:
            point = min(finite, key=lambda point: (sign * point.value, point.step))
            best[record.run_id] = (point.value, point.step)
    return best


def _ordered(records: Sequence[RunRecord], best: Mapping[str, tuple[float, int]], mode: Mode | None) -> list[RunRecord]:
    """By the best value, ties to the earlier run, those without one last; as they are where nothing ranks."""
    if mode is None:
        return list(records)
    sign = -1 if mode == "max" else 1
    start = {record.run_id: record.start_time.timestamp() if record.start_time else 0.0 for record in records}

    def place(record: RunRecord) -> tuple[bool, float, float, str]:
        value = best.get(record.run_id)
        return value is None, sign * value[0] if value else 0.0, start[record.run_id], record.run_id

    return sorted(records, key=place)


def _artifacts(
    found: Source, records: Sequence[RunRecord], wanted: Wanted
) -> tuple[dict[str, Sequence[ArtifactRecord]], list[str]]:
    deadline = time.monotonic() + wanted.timeout
    listed: dict[str, Sequence[ArtifactRecord]] = {}
    for record in records:
        try:
            listed[record.run_id] = sources.within(found, deadline, lambda record=record: found.artifacts(record))  # type: ignore[misc]  # mypy can't infer the bound argument
        except TrkError as error:  # the rest of the page is known
            wanted.warn(f"files can't be listed: {error.message}")
            return listed, [f"files of some runs could not be listed: {error.message}"]
    return listed, []
