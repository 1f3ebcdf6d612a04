"""Runs side by side: what differs between them, and how far each is from a baseline."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TypeVar, get_args

from trk import rules
from trk.errors import UsageError
from trk.query import baselines, sources, words
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, check_count, name_of, names_of, narrowed, source_of
from trk.query.baselines import Baseline, direction, ranked, shared_experiment
from trk.query.sources import Source, Warn
from trk.records import Comparison, MetricComparison, Mode, RunRecord, Verdict

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
    metrics: str | Sequence[str] | None = None,
    params: str | Sequence[str] | None = None,
    experiment: str | None = None,
    all: bool = False,  # noqa: A002 - the word of the command line
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = _warn,
) -> Comparison:
    """Runs side by side: the params and metrics (last values) in which they differ, or `all` of them.

    `runs` are named as everywhere; `best` and `metric` add the best so many by that metric. A run that is named
    twice counts once. `baseline` is a run that the others are measured against, and comes first: a run's name,
    `best:KEY` (the best run by that metric; `best:KEY:min`), `tag:KEY=VALUE` (the newest FINISHED run with that tag)
    or `@last`; of one run alone the baseline is looked for among the others. `best`, `best:` and `tag:` look in
    `experiment`; left out, in the one that all named runs are of, else in the settings', else in all. `mode` says
    which is better for `metric`, without it for the metric of `best:KEY`; left out it is as defined for the
    experiment, else as the metric's name says.

    `metrics` and `params` are globs such as "val/*" that narrow what is told; none of a kind with an empty list. The
    user is warned of one that fits nothing.

    Raises UsageError when there are not two runs, or when a run or a direction is not clear; NotFound,
    NoActiveRun, SourceUnavailable.
    """
    named = names_of(runs)
    against = None if baseline is None else name_of(baseline)
    meant = None if against is None else baselines.parse(against)
    _check(best, metric, mode)
    modes = _modes_given(mode, metric, meant)
    settled = narrowed(experiment)
    deadline = time.monotonic() + timeout
    found = sources.choose(
        source or source_of(named if against is None else [*named, against]), timeout=timeout, warn=warn
    )

    def ask() -> Comparison:
        records = [sources.find(found, name) for name in named]
        place = settled if experiment is not None else shared_experiment(*records) or settled
        base = None
        if meant is not None:
            besides = records[0] if best is None and len({record.run_id for record in records}) == 1 else None
            base = baselines.find(found, meant, place, modes=modes, besides=besides)
            records.insert(0, base)
        if best is not None and metric is not None:
            records += ranked(found, metric, place, best, mode=modes.get(metric))
        return side_by_side(found, _several(records), base, modes=modes)

    told = _only(sources.within(found, deadline, ask), metrics, params, warn)
    return told if all else differing(told)


def _only(
    found: Comparison, metrics: str | Sequence[str] | None, params: str | Sequence[str] | None, warn: Warn
) -> Comparison:
    return replace(
        found,
        params=_narrowed("param", found.params, params, warn),
        metrics=_narrowed("metric", found.metrics, metrics, warn),
    )


def _narrowed(what: str, found: Mapping[str, T], globs: str | Sequence[str] | None, warn: Warn) -> Mapping[str, T]:
    """What one of the globs fits; all without any."""
    if globs is None:
        return found
    fitting = {glob: {key for key in found if fnmatchcase(key, glob)} for glob in _names_in(globs)}
    for glob, keys in fitting.items():
        if not keys:
            near = words.near(glob, found, others=0)
            warn(f"none of these runs has a {what} {glob}" + (f"; there is {', '.join(near)}" if near else ""))
    return {key: value for key, value in found.items() if any(key in keys for keys in fitting.values())}


def _names_in(globs: str | Sequence[str]) -> list[str]:
    """One glob or several."""
    return [globs] if isinstance(globs, str) else list(globs)


def differing(found: Comparison) -> Comparison:
    """Only the params and metrics in which the runs differ."""
    count = len(found.runs)
    return replace(
        found,
        params={key: texts for key, texts in found.params.items() if _differ(texts, count)},
        metrics={key: metric for key, metric in found.metrics.items() if _differ(metric.values, count)},
    )


def _check(best: int | None, metric: str | None, mode: str | None) -> None:
    if (best is None) != (metric is None):
        raise UsageError("best and metric go together: so many, by that metric", hint="--best 3 --metric f1")
    if metric is not None:
        rules.check_name(metric, "metric name")
    if best is not None:
        check_count(best, "best", 1)
    if mode not in (None, *get_args(Mode)):
        raise UsageError(f"mode must be max or min, not {rules.shown(mode)}")


def _modes_given(mode: Mode | None, metric: str | None, baseline: Baseline | None) -> dict[str, Mode]:
    """The directions that were asked for, by the metrics that they are meant for."""
    found: dict[str, Mode] = {}
    if baseline is not None and baseline.metric is not None and baseline.mode is not None:
        found[baseline.metric] = baseline.mode
    if mode is None:
        return found
    key = metric or (baseline.metric if baseline is not None else None)
    if key is None:
        raise UsageError("mode is for the metric of --best or of a baseline best:KEY, and there is neither")
    if found.get(key, mode) != mode:
        raise UsageError(f"mode is {mode}, and the baseline says {found[key]} for {key}")
    return {**found, key: mode}


def _several(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs, each once. Raises UsageError when that is not two."""
    once = list({record.run_id: record for record in records}.values())
    if len(once) < 2:
        told = f"there is only one: {once[0].run_id}" if once else "none is named"
        raise UsageError(
            f"compare needs two runs, and {told}", hint="trk compare RUN RUN, --baseline RUN, --best 3 --metric f1"
        )
    return once


# -- side by side -------------------------------------------------------------------------------------------------


def side_by_side(
    source: Source,
    runs: Sequence[RunRecord],
    baseline: RunRecord | None,
    *,
    modes: Mapping[str, Mode] | None = None,
) -> Comparison:
    """The comparison of runs that are found, in all that they have. `baseline` is one of them.

    `modes` go before those defined.
    """
    defined = {**source.modes({run.experiment for run in runs}), **(modes or {})}
    params = _by_key({run.run_id: run.params for run in runs})
    metrics = _by_key({run.run_id: run.metrics for run in runs})
    return Comparison(
        None if baseline is None else baseline.run_id,
        runs,
        params,
        {key: _measured(values, baseline, direction(defined, key)) for key, values in metrics.items()},
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
