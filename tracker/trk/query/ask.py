"""The questions: best, get_run; and what all questions share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import get_args

from trk import config, rules, session
from trk.errors import NotFound, UsageError
from trk.query import filters, ranking, sources, words
from trk.query.backed import Progress
from trk.query.sources import Score, Source, Warn
from trk.records import Aggregate, Best, BestRun, Mode, Ranking, RunRecord
from trk.run import Run

DEFAULT_TIMEOUT_S = 30.0

RunName = str | Run | RunRecord
"""What names a run: an id, unique prefix, name, `@`, `@last`, `mlflow:<id>`; or a run itself."""


def warn_python(text: str) -> None:
    """A warning as Python's."""
    warnings.warn(text, stacklevel=4)


def name_of(run: RunName | None) -> str:
    """The text that names a run. Raises UsageError for what names none, NoActiveRun.

    `@`, and None, are looked up here: a source is asked from a thread that is in no run.
    """
    if isinstance(run, Run):
        return run.id
    if isinstance(run, RunRecord):
        return run.run_id
    if run is not None and not isinstance(run, str):
        raise UsageError(
            f"a run is named by text, or is a trk.Run or RunRecord, not {type(run).__name__}",
            hint="its id or its name; several runs as a list",
        )
    if run not in (None, "@"):
        return str(run)
    from trk.tracker import need_run  # what starts runs is slow to import, and most questions name none

    return need_run(None).id


def names_of(runs: RunName | Sequence[RunName] | None) -> list[str]:
    """The texts that name one or several runs (None: the active one). Raises as `name_of`."""
    if runs is None or isinstance(runs, (str, Run, RunRecord)) or not isinstance(runs, Iterable):
        return [name_of(runs)]
    return [name_of(run) for run in runs]


def source_of(named: Collection[str]) -> str | None:
    """The source that a handle such as `mlflow:<id>` among them names; None when the settings decide."""
    return "mlflow" if any(name.startswith("mlflow:") for name in named) else None


def check_count(number: object, what: str, least: int) -> None:
    """Raise UsageError for what is no whole number from `least` up."""
    if not hasattr(number, "__index__") or isinstance(number, bool) or number.__index__() < least:
        raise UsageError(f"{what} must be a whole number from {least} up, not {rules.shown(number)}")


def narrowed(experiment: str | None) -> str | None:
    """The experiment that queries are narrowed to: the argument, else the settings'; None for all."""
    found: str | None = config.said(session.find_folder(), experiment=experiment).get("experiment")
    return found


def best(
    metric: str,
    *,
    mode: Mode | None = None,
    agg: Aggregate = "best",
    n: int = 1,
    experiment: str | None = None,
    filter: str | None = None,  # noqa: A002 - the word of the command line and of MLflow
    fresh: bool = False,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
    progress: Progress | None = None,
) -> Ranking:
    """The `n` best runs by a metric, best first.

    `mode` says whether larger ("max") or smaller ("min") is better; left out it is as defined for the experiment,
    else as the metric's name says. `agg` is the value of a run that counts: "best" (by mode, over the whole
    history), "last", "min" or "max". NaN and infinities never count, ties go to the earlier run. `filter` is in
    MLflow's grammar. `progress` is told how many histories have been read, and of how many, where a source has to be
    asked for them.

    Raises UsageError when the direction is unknown, NotFound when no run has a finite value of the metric,
    SourceUnavailable.
    """
    rules.check_name(metric, "metric name")
    if mode not in (None, *get_args(Mode)) or agg not in get_args(Aggregate):
        raise UsageError(f"mode must be max or min, and agg one of {', '.join(get_args(Aggregate))}")
    check_count(n, "n", 1)
    where = filters.parse(filter) if filter else None
    deadline = time.monotonic() + timeout
    found = sources.choose(source, timeout=timeout, warn=warn, progress=progress)
    place = narrowed(experiment)

    def ask() -> Ranking:
        scores: list[Score] = []
        without = 0
        by = Best(metric, 0.0, 0, mode or "max", agg)

        def scored(believe: bool) -> tuple[list[Score], Best]:
            nonlocal scores, without, by
            scores, without = found.scores(metric, place, where, agg != "last", believe=believe)
            if not scores:
                raise _unknown_metric(found, metric, place, where)
            by = replace(by, mode=mode or _direction(found, metric, {score.experiment for score in scores}))
            return scores, by

        first = ranking.first(found, n, scored, believe=not fresh)
        not_finite = sum(ranking.value(score, by.mode, agg) is None for score in scores)
        return Ranking([_best_run(found, score, value, by) for value, score in first], without, not_finite)

    return sources.within(found, deadline, ask)


def _direction(source: Source, metric: str, experiments: Collection[str]) -> Mode:
    found = source.modes(experiments).get(metric) or rules.direction(metric)
    if found not in ("max", "min"):
        raise UsageError(
            f"which is better for {metric}, more or less?",
            hint=f"--mode max or --mode min, or once: trk define-metric {metric} --mode max",
        )
    return "max" if found == "max" else "min"


def _unknown_metric(source: Source, metric: str, experiment: str | None, where: object) -> NotFound:
    names = source.metric_names(experiment)
    place = f" in experiment {experiment}" if experiment else ""
    if metric in names and where is not None:
        return NotFound(f"no run{place} that the filter admits has the metric {metric}", hint="trk ls --filter …")
    near = words.near(metric, names)
    hint = f"there is {', '.join(near)}" if near else "no metrics have been logged there"
    return NotFound(f"no run{place} has the metric {metric} (source {source.name})", hint=hint)


def _best_run(source: Source, score: Score, found: tuple[float, int | None], by: Best) -> BestRun:
    record = source.scored(score)
    value, step = found
    if step is None:
        points = source.history(record, by.metric)
        step = points[-1].step if points else 0
    others = {name: at for name, at in source.at_step(record, step).items() if name != by.metric}
    return BestRun(record, Best(by.metric, value, step, by.mode, by.agg), others)


def get_run(
    run: RunName | None = None,
    *,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> RunRecord:
    """One run, by id, unique prefix, name, `@` (the active one, also when left out), `@last`, or `mlflow:<id>`.

    Of a Run or a RunRecord it is what the source knows now. Raises NotFound, NoActiveRun, UsageError when several runs
    are meant, SourceUnavailable.
    """
    chosen, record = locate(run, source=source, timeout=timeout, warn=warn)
    del chosen
    return record


def locate(run: RunName | None, *, source: str | None, timeout: float, warn: Warn) -> tuple[Source, RunRecord]:
    """(source, run): `get_run` for who goes on to ask the source."""
    named = name_of(run)
    deadline = time.monotonic() + timeout
    found = sources.choose(source or source_of([named]), timeout=timeout, warn=warn)
    return found, sources.within(found, deadline, lambda: sources.find(found, named))
