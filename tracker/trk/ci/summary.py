"""`summary`: what a CI job tells of its runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trk.capture import ci as captured
from trk.ci import choosing, mermaid
from trk.ci.choosing import Chosen
from trk.ci.model import Summary
from trk.errors import ConfigurationError, NotFound, SourceUnavailable
from trk.media.table_cells import count
from trk.pictures import gather
from trk.query import baselines, check, compare, filters, sources
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, check_count, name_of, source_of, warn_python
from trk.query.baselines import Baseline
from trk.query.reports import CheckReport
from trk.query.scores import place, stats
from trk.query.sources import Source, Warn
from trk.query.terms import Expression
from trk.records import ArtifactRecord, Comparison, MetricPoint, RunRecord, Status

CANDIDATES = 3  # times as many metrics are looked at as charts are wanted, of several runs: not all make a line

Histories = Mapping[tuple[str, str], Sequence[MetricPoint]]


def summary(
    runs: RunName | Sequence[RunName] | None = None,
    *,
    baseline: RunName | None = None,
    checks: str | Sequence[str] = (),
    allow_no_baseline: bool = False,
    metrics: Sequence[str] = (),
    experiment: str | None = None,
    since: str | None = None,
    pipeline: str | None = None,
    max_charts: int = 6,
    max_rows: int = 100,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> Summary:
    """What a CI job tells of a run, or several: metrics with what changed against a baseline, checks, charts, links.

    `runs` are named as everywhere; left out, it is the active one, or, with any of these, all runs of a `pipeline` (its
    id, or `@`: the one that this job is of), of an `experiment`, started `since` so long ago (`2h`) or that moment.
    `baseline` is named as in `compare`, and `checks` are conditions as in `check`, judged for each run; where one is
    needed and is not there NotFound is raised, or with `allow_no_baseline` the summary says so. `best:` and `tag:` look
    in `experiment`, left out in the one that all runs are of. `metrics` are names and patterns such as `val/*`.

    Raises UsageError, NotFound, NoActiveRun, SourceUnavailable.
    """
    check_count(max_charts, "max_charts", 0)
    check_count(max_rows, "max_rows", 1)
    conditions = check.parse_all(checks) if checks else []
    what = choosing.chosen(runs, experiment, since, pipeline)
    against = None if baseline is None else name_of(baseline)
    meant = None if against is None else baselines.parse(against)
    named = [*what.named, *([against] if against is not None else [])]
    found = sources.choose(source or source_of(named), timeout=timeout, warn=warn)
    asked = _Asked(
        found,
        what,
        meant,
        conditions,
        tuple(metrics),
        allow_no_baseline,
        max_charts,
        max_rows,
        time.monotonic() + timeout,
    )
    return sources.within(found, asked.deadline, asked.answer)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question, and where it is put."""

    source: Source
    what: Chosen
    meant: Baseline | None
    conditions: Sequence[Expression]
    patterns: tuple[str, ...]
    lenient: bool
    most_charts: int
    most_rows: int
    deadline: float

    def answer(self) -> Summary:
        """The summary."""
        records, more = choosing.records(self.source, self.what)
        base, absence = self._baseline(records)
        together = list({run.run_id: run for run in [*([base] if base is not None else []), *records]}.values())
        comparison = compare.side_by_side(self.source, together, base)
        keys = self._keys(records, comparison)
        histories = self._histories(records, base, keys)
        notes = [f"{count(more, 'earlier run')} of these not shown."] if more else []
        artifacts, why = self._artifacts(records)
        return Summary(
            records, self.source.name, self.what.key(records),
            metrics={key: comparison.metrics[key] for key in keys},
            best=_best(records, comparison, histories),
            params=_differing(records, comparison) if len(records) > 1 else {},
            checks=self._checks(records, base, absence),
            baseline=base,
            missing_baseline=self.meant.named if self.meant is not None and absence is not None else None,
            notes=[*notes, *([why] if why else [])],
            subject=self.what.subject, pipeline=self.what.pipeline or _shared(records, captured.PIPELINE),
            artifacts=artifacts,
            histories=self._drawable(histories, keys),
            most_charts=self.most_charts, most_rows=self.most_rows,
        )  # fmt: skip

    # -- the baseline

    def _baseline(self, records: Sequence[RunRecord]) -> tuple[RunRecord | None, NotFound | None]:
        """(the baseline, why there is none). Raises NotFound when one is wanted and none is allowed to be missing."""
        wanted = self.meant is not None or any(condition.needs_baseline for condition in self.conditions)
        if not wanted:
            return None, None
        try:
            return self._find(records), None
        except NotFound as absence:
            if self.lenient:
                return None, absence
            hint = f"{absence.hint}; --allow-no-baseline for the first run" if absence.hint else "--allow-no-baseline"
            raise NotFound(f"there is no baseline: {absence.message}", hint=hint) from None

    def _find(self, records: Sequence[RunRecord]) -> RunRecord:
        if self.meant is None:
            raise NotFound("none is named", hint="--baseline RUN, best:f1, tag:ci.branch=main or @last")
        place = self.what.experiment or baselines.shared_experiment(*records) or self.what.place
        if len(records) == 1:
            return baselines.find(self.source, self.meant, place, besides=records[0])
        own = {run.run_id for run in records}
        if self.meant.metric is not None:
            ranked = baselines.ranked(self.source, self.meant.metric, place, len(own) + 1, mode=self.meant.mode)
            return _first(ranked, own)
        if self.meant.tag is not None:
            return self._newest(*self.meant.tag, place, own)
        found = baselines.find(self.source, self.meant, place)
        if self.meant.named == baselines.LAST and found.run_id in own:
            raise NotFound("the run that ended last is one of these", hint="name a run as the baseline")
        return found

    def _newest(self, key: str, value: str, place: str | None, own: set[str]) -> RunRecord:
        """The newest finished run with a tag that is none of these."""
        quote = '"' if "'" in value else "'"
        plain = quote not in value and "`" not in key
        where = filters.parse(f"tags.`{key}` = {quote}{value}{quote} AND status = 'FINISHED'") if plain else None
        matching = (
            run
            for run in self.source.search(place, where)
            if run.tags.get(key) == value and run.status is Status.FINISHED and run.run_id not in own
        )
        return _first(list(matching)[:1], set())

    # -- what is told

    def _keys(self, records: Sequence[RunRecord], comparison: Comparison) -> list[str]:
        """The metrics in the order in which they are shown: as asked for, else those first that can be judged."""
        if self.patterns:
            return gather.metrics(records, self.patterns)
        known = {key for run in records for key in run.metrics}
        modes = {key: one.mode for key, one in comparison.metrics.items()}
        return sorted(known, key=lambda key: (key.startswith("system/"), modes[key] is None, key))

    def _checks(
        self, records: Sequence[RunRecord], base: RunRecord | None, absence: NotFound | None
    ) -> list[CheckReport]:
        if not self.conditions:
            return []
        return [
            check.judge(
                self.source, run, self.conditions, base if base is None or base.run_id != run.run_id else None,
                allow_no_baseline=self.lenient or (base is not None and base.run_id == run.run_id), absence=absence,
            )
            for run in records
        ]  # fmt: skip

    def _histories(self, records: Sequence[RunRecord], base: RunRecord | None, keys: Sequence[str]) -> Histories:
        drawn = [*records[: mermaid.MOST_LINES - (base is not None)], *([base] if base is not None else [])]
        once = list({run.run_id: run for run in drawn}.values())
        most = self.most_rows if len(records) == 1 else self.most_charts * CANDIDATES
        wanted = gather.Wanted(timeout=max(0.0, self.deadline - time.monotonic()))
        return gather.histories(self.source, once, keys[:most], wanted)

    def _drawable(self, histories: Histories, keys: Sequence[str]) -> Histories:
        """The histories that charts are drawn from: of the first metrics that make a line."""
        by_key: dict[str, dict[str, Sequence[MetricPoint]]] = {}
        for (run_id, key), points in histories.items():
            by_key.setdefault(key, {})[run_id] = points
        lined = [key for key in keys if key in by_key and mermaid.lines(by_key[key]) is not None][: self.most_charts]
        return {(run_id, key): points for key in lined for run_id, points in by_key[key].items()}

    def _artifacts(self, records: Sequence[RunRecord]) -> tuple[Sequence[ArtifactRecord], str | None]:
        """(the files of the one run, what is to be said if they can't be listed)."""
        if len(records) > 1:
            return (), None
        try:
            return self.source.artifacts(records[0]), None
        except (ConfigurationError, SourceUnavailable, NotFound):
            return (), f"Its files can't be listed ({self.source.name})."


def _first(runs: Sequence[RunRecord], own: set[str]) -> RunRecord:
    for run in runs:
        if run.run_id not in own:
            return run
    raise NotFound("no other run would do", hint="name a run as the baseline")


def _best(
    records: Sequence[RunRecord], comparison: Comparison, histories: Histories
) -> dict[tuple[str, str], tuple[float, int]]:
    found = {}
    for run in records:
        for key in run.metrics:
            mode, points = comparison.metrics[key].mode, histories.get((run.run_id, key))
            if mode is None or not points:
                continue
            known = stats(points)
            best = place(known.high, known.high_step) if mode == "max" else place(known.low, known.low_step)
            if best is not None:
                found[run.run_id, key] = best
    return found


def _differing(records: Sequence[RunRecord], comparison: Comparison) -> dict[str, Mapping[str, str]]:
    """The params in which the runs themselves differ."""
    ids = [run.run_id for run in records]
    return {key: texts for key, texts in comparison.params.items() if len({texts.get(run_id) for run_id in ids}) > 1}


def _shared(records: Sequence[RunRecord], tag: str) -> str | None:
    values = {run.tags.get(tag) for run in records}
    return values.pop() if len(values) == 1 else None


def require_passed(found: Summary) -> None:
    """Raise CheckFailed when a condition does not hold for one of the runs."""
    for report in found.checks:
        check.require_passed(report)
