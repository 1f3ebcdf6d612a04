"""Which run others are measured against: one grammar for compare, check and summary.

    RUN               a run, named as everywhere: id, prefix, name, `@`, mlflow:<id>, wandb:<entity>/<project>/<id>
    @last             the run that ended last
    best:KEY          the best run by a metric, as `best` finds it; best:KEY:min and best:KEY:max say the direction
    tag:KEY=VALUE     the newest FINISHED run with that tag

`best:` and `tag:` look in one experiment. A run is never its own baseline; nor, by a tag of CI such as ci.branch, is
another one of its pipeline, whose jobs all have that tag and end in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from trk import rules, session
from trk.capture import ci as captured
from trk.capture.ci import PIPELINE
from trk.errors import NotFound, UsageError
from trk.journal import select
from trk.query import filters, ranking, sources, words
from trk.query.conditions import Condition
from trk.query.sources import Score, Source
from trk.records import Best, Mode, RunRecord, Status

BEST = "best:"
TAG = "tag:"
LAST = "@last"


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline as it was named: by the best of a `metric`, by a `tag` (key and value), else by the run's name."""

    named: str
    metric: str | None = None
    mode: Mode | None = None
    tag: tuple[str, str] | None = None


def parse(named: str) -> Baseline:
    """What a baseline's name says. Raises UsageError."""
    if named.startswith(BEST):
        return _best_of(named)
    if not named.startswith(TAG):
        return Baseline(named)
    key, equals, value = named.removeprefix(TAG).partition("=")
    if not equals:
        raise UsageError(f"baseline {rules.shown(named)} names no tag and value", hint="--baseline tag:stage=prod")
    return Baseline(named, tag=(rules.check_name(key, "tag name"), rules.check_text(value, "tag value")))


def _best_of(named: str) -> Baseline:
    key, mode = named.removeprefix(BEST), None
    head, _, tail = key.rpartition(":")
    if head and tail in get_args(Mode):
        key, mode = head, cast("Mode", tail)
    return Baseline(named, metric=rules.check_name(key, "metric name"), mode=mode)


def find(
    source: Source,
    baseline: Baseline,
    experiment: str | None,
    *,
    modes: Mapping[str, Mode] | None = None,
    besides: RunRecord | None = None,
) -> RunRecord:
    """The run that is meant. `best:` and `tag:` look in `experiment` (None: in all) and pass over the run `besides`.

    `modes` are directions that go before those defined. Raises NotFound when there is no such run, and UsageError when
    it is not clear, or is the run `besides` itself.
    """
    if baseline.metric is not None:
        mode = baseline.mode or (modes or {}).get(baseline.metric)
        return ranked(source, baseline.metric, experiment, 1, mode=mode, besides=besides)[0]
    if baseline.tag is not None:
        return _newest(source, *baseline.tag, experiment, besides)
    named = baseline.named
    if named == LAST and besides is not None:
        named = _last_but(besides)
    found = sources.find(source, named)
    if besides is not None and found.run_id == besides.run_id:
        raise UsageError(
            f"{rules.shown(baseline.named)} is the run itself, which is never its own baseline",
            hint="another run, best:f1, tag:branch=main or @last",
        )
    return found


def _last_but(run: RunRecord) -> str:
    """The id of the run of this journal that ended last, of all others."""
    journal = session.existing_journal(session.find_folder())
    found = select.last_but(journal, run.run_id) if journal is not None else None
    if found is None:
        raise NotFound("no other run has ended here", hint="name a run as the baseline")
    return found


def _newest(source: Source, key: str, value: str, experiment: str | None, besides: RunRecord | None) -> RunRecord:
    condition = Condition("tag", key, "=", value)
    # No filter can quote a text that has both quotes: then every run is looked at.
    where = None if "'" in value and '"' in value else filters.parse(f"{condition} AND status = 'FINISHED'")
    for record in source.search(experiment, where):
        matches = record.tags.get(key) == value and record.status is Status.FINISHED
        if matches and (besides is None or not _is_beside(record, besides, key)):
            return record
    other = "other " if besides is not None else ""
    raise NotFound(
        f"no {other}finished run{_in(experiment)} has the tag {rules.shown(f'{key}={value}')} (source {source.name})",
        hint="trk set-tag gives a run a tag",
    )


def _is_beside(record: RunRecord, run: RunRecord, key: str) -> bool:
    """Whether a record is the run itself, or, looked for by a tag of CI, of the same pipeline."""
    pipeline = run.tags.get(PIPELINE) if key in captured.TAGS else None
    return record.run_id == run.run_id or (pipeline is not None and record.tags.get(PIPELINE) == pipeline)


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

    def ask(believe: bool) -> tuple[list[Score], Best]:
        scores, _ = source.scores(metric, experiment, None, extremes=True, believe=believe)
        scores = [score for score in scores if besides is None or score.run_id != besides.run_id]
        if not scores:
            raise _unknown_metric(source, metric, experiment)
        found = mode or direction(source.modes({score.experiment for score in scores}), metric)
        if found is None:
            raise UsageError(
                f"which is better for {metric}, more or less?",
                hint=f"--mode max or --mode min, best:{metric}:max, or once: trk define-metric {metric} --mode max",
            )
        return scores, Best(metric, 0.0, 0, found, "best")

    return [source.scored(score) for _, score in ranking.first(source, n, ask)]


def _unknown_metric(source: Source, metric: str, experiment: str | None) -> NotFound:
    names = source.metric_names(experiment)
    where = f"{_in(experiment)} has the metric {metric} (source {source.name})"
    if metric in names:  # the one that was passed over has it
        return NotFound(f"no other run{where}", hint="name a run as the baseline")
    near = words.near(metric, names)
    hint = f"there is {', '.join(near)}" if near else "no metrics have been logged there"
    return NotFound(f"no run{where}", hint=hint)


def _in(experiment: str | None) -> str:
    return f" in experiment {experiment}" if experiment else ""


def direction(defined: Mapping[str, str], metric: str) -> Mode | None:
    """As defined, else as the name says; None when neither does, or definitions contradict each other."""
    found = defined.get(metric) or rules.direction(metric)
    return cast("Mode", found) if found in get_args(Mode) else None


def shared_experiment(*runs: RunRecord) -> str | None:
    """The experiment that all runs are of; None when they are of several, or there are none."""
    experiments = {run.experiment for run in runs}
    return experiments.pop() if len(experiments) == 1 else None
