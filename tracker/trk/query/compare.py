"""Runs side by side: what differs between them, and how far each is from a baseline."""

from __future__ import annotations

import difflib
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast, get_args

from trk import rules
from trk.errors import NotFound, UsageError
from trk.query import sources
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, check_count, name_of, names_of, narrowed, source_of
from trk.query.filters import Condition, Filter
from trk.query.sources import Source, Warn
from trk.records import Comparison, MetricComparison, Mode, RunRecord, Verdict

BEST = "best:"
TAG = "tag:"
T = TypeVar("T")


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def compare(
    runs: RunName | Sequence[RunName] = (),
    *,
    baseline: RunName | None = None,
    best: int | None = None,
    metric: str | None = None,
    mode: Mode | None = None,
    experiment: str | None = None,
    all: bool = False,  # noqa: A002 - the word of the command line
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = _warn,
) -> Comparison:
    """Runs side by side: the params and metrics (last values) in which they differ, or `all` of them.

    `runs` are named as everywhere; `best` and `metric` add the best so many by that metric. A run that is named
    twice counts once. `baseline` is a run that the others are measured against, and comes first: a run's name,
    `best:KEY` (the best run by that metric) or `tag:KEY=VALUE` (the newest run with that tag); of one run alone the
    baseline is looked for among the others. `best`, `best:` and `tag:` look in `experiment`; left out, in the one
    that all named runs are of, else in the settings', else in all. `mode` says which is better for `metric`, without
    it for the metric of `best:KEY`; left out it is as defined for the experiment, else as the metric's name says.

    Raises UsageError when there are not two runs, or when a run or a direction is not clear; NotFound,
    NoActiveRun, SourceUnavailable.
    """
    named = names_of(runs)
    against = None if baseline is None else name_of(baseline)
    _check(best, metric, mode)
    modes = _modes_given(mode, metric, against)
    settled = narrowed(experiment)
    deadline = time.monotonic() + timeout
    found = sources.choose(
        source or source_of(named if against is None else [*named, against]), timeout=timeout, warn=warn
    )

    def ask() -> Comparison:
        records = [sources.find(found, name) for name in named]
        place = settled if experiment is not None else shared_experiment(records) or settled
        base = None
        if against is not None:
            besides = records[0] if best is None and len({record.run_id for record in records}) == 1 else None
            base = find_baseline(found, against, place, modes=modes, besides=besides)
            records.insert(0, base)
        if best is not None and metric is not None:
            records += ranked(found, metric, place, best, mode=modes.get(metric))
        return side_by_side(found, _several(records), base, modes=modes, all=all)

    return sources.within(found, deadline, ask)


def _check(best: int | None, metric: str | None, mode: str | None) -> None:
    if (best is None) != (metric is None):
        raise UsageError("best and metric go together: so many, by that metric", hint="--best 3 --metric f1")
    if metric is not None:
        rules.check_name(metric, "metric name")
    if best is not None:
        check_count(best, "best", 1)
    if mode not in (None, *get_args(Mode)):
        raise UsageError(f"mode must be max or min, not {rules.shown(mode)}")


def _modes_given(mode: Mode | None, metric: str | None, baseline: str | None) -> dict[str, Mode]:
    """The direction that was asked for, by the metric that it is meant for."""
    if mode is None:
        return {}
    key = metric or (baseline.removeprefix(BEST) if baseline is not None and baseline.startswith(BEST) else None)
    if key is None:
        raise UsageError("mode is for the metric of --best or of a baseline best:KEY, and there is neither")
    return {key: mode}


def shared_experiment(runs: Sequence[RunRecord]) -> str | None:
    """The experiment that all runs are of; None when they are of several, or there are none."""
    experiments = {run.experiment for run in runs}
    return experiments.pop() if len(experiments) == 1 else None


def _several(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs, each once. Raises UsageError when that is not two."""
    once = list({record.run_id: record for record in records}.values())
    if len(once) < 2:
        told = f"there is only one: {once[0].run_id}" if once else "none is named"
        raise UsageError(
            f"compare needs two runs, and {told}", hint="trk compare RUN RUN, --baseline RUN, --best 3 --metric f1"
        )
    return once


# -- the baseline -------------------------------------------------------------------------------------------------


def find_baseline(
    source: Source,
    named: str,
    experiment: str | None,
    *,
    modes: Mapping[str, Mode] | None = None,
    besides: RunRecord | None = None,
) -> RunRecord:
    """The run that `named` means as a baseline: a run's name, `best:KEY`, or `tag:KEY=VALUE` (the newest with it).

    `best:` and `tag:` look in `experiment` (None: in all) and pass over `besides`. `modes` are directions that go
    before those defined. Raises NotFound when there is no such run; UsageError.
    """
    if named.startswith(BEST):
        key = rules.check_name(named.removeprefix(BEST), "metric name")
        return ranked(source, key, experiment, 1, mode=(modes or {}).get(key), besides=besides)[0]
    if named.startswith(TAG):
        return _newest(source, named, experiment, besides)
    return sources.find(source, named)


def _newest(source: Source, named: str, experiment: str | None, besides: RunRecord | None) -> RunRecord:
    key, equals, value = named.removeprefix(TAG).partition("=")
    if not equals:
        raise UsageError(f"baseline {rules.shown(named)} names no tag and value", hint="--baseline tag:stage=prod")
    rules.check_name(key, "tag name")
    condition = Condition("tag", key, "=", rules.check_text(value, "tag value"))
    # No filter can quote a text that has both quotes: then every run is looked at.
    where = None if "'" in value and '"' in value else Filter(str(condition), (condition,))
    for record in source.search(experiment, where):
        if record.tags.get(key) == value and (besides is None or record.run_id != besides.run_id):
            return record
    other = "other " if besides is not None else ""
    raise NotFound(
        f"no {other}run{_in(experiment)} has the tag {rules.shown(f'{key}={value}')} (source {source.name})",
        hint="trk set-tag gives a run a tag",
    )


def ranked(
    source: Source,
    metric: str,
    experiment: str | None,
    n: int,
    *,
    mode: Mode | None = None,
    besides: RunRecord | None = None,
) -> list[RunRecord]:
    """The `n` best runs of an experiment (None: of all) by a metric, best first, but for `besides`.

    As `best` ranks them: over whole histories, without what is not finite. Raises NotFound when none is left, and
    UsageError when the direction is not known.
    """
    scores, _ = source.scores(metric, experiment, None, extremes=True)
    scores = [score for score in scores if besides is None or score.run_id != besides.run_id]
    if not scores:
        raise _unknown_metric(source, metric, experiment)
    found = mode or _direction(source.modes({score.experiment for score in scores}), metric)
    if found is None:
        raise UsageError(
            f"which is better for {metric}, more or less?",
            hint=f"--mode max or --mode min, or once: trk define-metric {metric} --mode max",
        )
    sign = -1.0 if found == "max" else 1.0
    valued = [
        (sign * point[0], score.start_ms, score.run_id, score)
        for score in scores
        if (point := score.high if found == "max" else score.low) is not None
    ]
    if not valued:
        raise NotFound(f"no run has a finite value of {metric}", hint="NaN and infinity are never best")
    return [source.scored(score) for *_, score in sorted(valued, key=lambda entry: entry[:3])[:n]]


def _unknown_metric(source: Source, metric: str, experiment: str | None) -> NotFound:
    names = source.metric_names(experiment)
    where = f"{_in(experiment)} has the metric {metric} (source {source.name})"
    if metric in names:  # the one that was passed over has it
        return NotFound(f"no other run{where}", hint="name a run as the baseline")
    near = difflib.get_close_matches(metric, names, n=3, cutoff=0.5) or list(names[:5])
    hint = f"there is {', '.join(near)}" if near else "no metrics have been logged there"
    return NotFound(f"no run{where}", hint=hint)


def _in(experiment: str | None) -> str:
    return f" in experiment {experiment}" if experiment else ""


def _direction(defined: Mapping[str, str], metric: str) -> Mode | None:
    """As defined, else as the name says; None when neither does, or definitions contradict each other."""
    found = defined.get(metric) or rules.direction(metric)
    return cast("Mode", found) if found in get_args(Mode) else None


# -- side by side -------------------------------------------------------------------------------------------------


def side_by_side(
    source: Source,
    runs: Sequence[RunRecord],
    baseline: RunRecord | None,
    *,
    modes: Mapping[str, Mode] | None = None,
    all: bool = False,  # noqa: A002 - as in compare
) -> Comparison:
    """The comparison of runs that are found. `baseline` is one of them; `modes` go before those defined."""
    defined = {**source.modes({run.experiment for run in runs}), **(modes or {})}
    params = _by_key({run.run_id: run.params for run in runs})
    metrics = _by_key({run.run_id: run.metrics for run in runs})
    return Comparison(
        None if baseline is None else baseline.run_id,
        runs,
        {key: texts for key, texts in params.items() if all or _differ(texts, len(runs))},
        {
            key: _measured(values, baseline, _direction(defined, key))
            for key, values in metrics.items()
            if all or _differ(values, len(runs))
        },
    )


def _by_key(found: Mapping[str, Mapping[str, T]]) -> dict[str, dict[str, T]]:
    """From run id → key → value, key → run id → value; the keys in order."""
    keys = sorted({key for values in found.values() for key in values})
    return {key: {run_id: values[key] for run_id, values in found.items() if key in values} for key in keys}


def _differ(values: Mapping[str, str | float], runs: int) -> bool:
    """Whether not all runs have the value, or not the same one."""
    first = next(iter(values.values()))
    return len(values) < runs or not all(_same(first, value) for value in values.values())


def _measured(values: Mapping[str, float], baseline: RunRecord | None, mode: Mode | None) -> MetricComparison:
    """A metric's values, measured against the baseline's if it has one."""
    if baseline is None or baseline.run_id not in values:
        return MetricComparison(mode, values)
    base = values[baseline.run_id]
    others = {run_id: value for run_id, value in values.items() if run_id != baseline.run_id}
    delta = {run_id: value - base + 0.0 for run_id, value in others.items()}  # never -0.0
    relative = {run_id: _relative(difference, base) for run_id, difference in delta.items()}
    verdict = {run_id: said for run_id, value in others.items() if (said := judged(value, base, mode)) is not None}
    return MetricComparison(mode, values, delta, relative, verdict)


def _relative(delta: float, base: float) -> float | None:
    found = delta / abs(base) if base and delta - delta == 0 and base - base == 0 else None
    return found if found is not None and found - found == 0 else None


def _same(value: object, other: object) -> bool:
    return value == other or (value != value and other != other)


def judged(value: float, base: float, mode: Mode | None) -> Verdict | None:
    """Whether a value is better or worse than the baseline's, or the same (NaN is the same as NaN).

    What is not finite is worse than anything that is. None when they differ and the direction is not known, or
    neither is finite.
    """
    if _same(value, base):
        return "same"
    if mode is None:
        return None
    if not (rules.is_ranked(value) and rules.is_ranked(base)):
        return "worse" if rules.is_ranked(base) else "better" if rules.is_ranked(value) else None
    return "better" if (value > base) == (mode == "max") else "worse"
