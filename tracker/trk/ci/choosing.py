"""Which runs a summary is about: those named, or those of a pipeline, an experiment, the last hours."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trk import rules, settings
from trk.capture import ci as captured
from trk.errors import NotFound, UsageError
from trk.query import filters, sources
from trk.query.ask import RunName, name_of, names_of, narrowed
from trk.query.sources import Source
from trk.records import RunRecord

MOST_RUNS = 100
THIS = "@"  # of a pipeline: the one that this job is of


@dataclass(frozen=True, slots=True)
class Chosen:
    """How runs are looked for. `named` ones alone, unless there are none and one of the others is set.

    `since_ms` is milliseconds since 1970; `place` the experiment to look in, None for all.
    """

    named: Sequence[str]
    pipeline: str | None = None
    since_ms: int | None = None
    experiment: str | None = None
    place: str | None = None

    @property
    def subject(self) -> tuple[str, str] | None:
        """(what, name) of what the runs have in common."""
        if self.named:
            return None
        if self.pipeline is not None:
            return "pipeline", self.pipeline
        return ("experiment", self.place) if self.place is not None else None

    def key(self, records: Sequence[RunRecord]) -> str:
        """What a second summary of the same is known by."""
        if self.named:
            words = sorted(record.run_id for record in records)
        else:
            words = [self.pipeline or "", self.place or "", "since" if self.since_ms is not None else ""]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def chosen(
    runs: RunName | Sequence[RunName] | None, experiment: str | None, since: str | None, pipeline: str | None
) -> Chosen:
    """What the words mean. Raises UsageError, NoActiveRun."""
    none_named = runs is None or (not isinstance(runs, (str, RunRecord)) and not getattr(runs, "id", None) and not runs)
    if not none_named and (since is not None or pipeline is not None):
        raise UsageError("runs are named, or looked for by pipeline and since, not both", hint="leave one out")
    if none_named and experiment is None and since is None and pipeline is None:
        return Chosen([name_of(None)], place=narrowed(None))
    place = narrowed(experiment)
    if not none_named:
        return Chosen(list(dict.fromkeys(names_of(runs))), experiment=experiment, place=place)
    return Chosen((), _pipeline(pipeline), _since(since), experiment, place)


def _pipeline(named: str | None) -> str | None:
    if named is None:
        return None
    if named == THIS:
        found = captured.collect(settings.environment()).get(captured.PIPELINE)
        if found is None:
            raise UsageError("this is no job of a pipeline that says its id", hint="--pipeline ID, trk help ci")
        return found
    rules.check_text(named, "pipeline")
    if not named.strip() or ("'" in named and '"' in named):
        raise UsageError(f"pipeline {rules.shown(named)} is no id of a pipeline", hint="--pipeline @ is this one")
    return named


def _since(text: str | None) -> int | None:
    """The time in milliseconds since 1970: so long ago, or that moment."""
    if text is None:
        return None
    try:
        return round((time.time() - rules.parse_duration(text, "since")) * 1000)
    except UsageError:
        try:
            return rules.parse_time(text)
        except UsageError:
            raise UsageError(
                f"since {rules.shown(text)} is neither a span of time nor a moment",
                hint="--since 2h, 2026-11-21T07:00Z",
            ) from None


def records(found: Source, what: Chosen) -> tuple[list[RunRecord], int]:
    """(the runs in order of their start, how many more there are). Raises NotFound, UsageError."""
    if what.named:
        once = {record.run_id: record for record in (sources.find(found, name) for name in what.named)}
        return sorted(once.values(), key=_started), 0
    conditions = []
    if what.pipeline is not None:
        quote = '"' if "'" in what.pipeline else "'"
        conditions.append(f"tags.`{captured.PIPELINE}` = {quote}{what.pipeline}{quote}")
    if what.since_ms is not None:
        conditions.append(f"attributes.start_time >= {what.since_ms}")
    where = filters.parse(" AND ".join(conditions)) if conditions else None
    matching = list(found.search(what.place, where))
    if not matching:
        raise NotFound(f"no run{_told(what)} (source {found.name})", hint="trk ls")
    return sorted(matching[:MOST_RUNS], key=_started), len(matching) - len(matching[:MOST_RUNS])


def _told(what: Chosen) -> str:
    of = f" of pipeline {rules.shown(what.pipeline)}" if what.pipeline is not None else ""
    of += f" in experiment {rules.shown(what.place)}" if what.place is not None else ""
    return of + (" since then" if what.since_ms is not None else "")


def _started(record: RunRecord) -> tuple[float, str]:
    return (record.start_time.timestamp() if record.start_time is not None else 0.0, record.run_id)
