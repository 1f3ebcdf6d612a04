"""A backend as a source: its runs as records, with what the journal knows of their delivery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from trk.backends.base import ArtifactBackend, KeepingBackend, ScoringBackend, SearchableBackend
from trk.backends.histories import THREADS, in_threads
from trk.errors import ConfigurationError
from trk.journal import files, lifecycle, read, remembered
from trk.journal.db import Journal
from trk.query.filters import Filter
from trk.query.scores import Score, last_score, score, stats
from trk.records import ArtifactRecord, MetricPoint, MetricStats, RunRecord

PAGE = 200  # records whose deliveries are looked up together
KEEP_EVERY = 500  # histories that are remembered together: who interrupts a long reading keeps what there is

Progress = Callable[[int, int], None]
"""Told how many histories have been read, and of how many."""

_MOST_POINTS = 200_000  # of histories that are held for who asks for them next


class BackendSource:
    """A backend that can search; what the journal knows of a run's delivery is added to its records."""

    def __init__(self, backend: SearchableBackend, journal: Journal | None, target: str) -> None:
        self.name = backend.name
        self.progress: Progress | None = None
        self._backend = backend
        self._journal = journal
        self._target = target
        # Runs of other programs that were attached to: their ids here, by their ids at the backend.
        self._attached: dict[str, str] = {}
        self._deleted: frozenset[str] = frozenset()
        self._read: dict[tuple[str, str], list[MetricPoint]] = {}
        self.renew()

    def renew(self) -> None:
        """Look into the journal and at names again: for who keeps a source from one question to the next."""
        if isinstance(self._backend, KeepingBackend):
            self._backend.forget()
        if self._journal is not None:
            self._attached = dict(lifecycle.externals(self._journal, self.name, self._target))
            self._deleted = frozenset(lifecycle.deleted_ids(self._journal))
        self._read.clear()

    def search(self, experiment: str | None, where: Filter | None) -> Iterator[RunRecord]:
        """The runs that match, newest first."""
        found = self._matching(experiment, where)
        while page := list(islice(found, PAGE)):
            yield from self._with_deliveries(page)

    def _matching(self, experiment: str | None, where: Filter | None) -> Iterator[RunRecord]:
        """The same, as the backend has them."""
        text = self._pushed(where) if where is not None else None
        for record in self._backend.search(experiment, text):
            # The backend's own reading may be wider: MLflow counts a NaN as 0. And it may not have been told yet that
            # a run is deleted.
            if record.run_id not in self._deleted and (where is None or where.matches_record(record)):
                yield record

    def _pushed(self, where: Filter) -> str | None:
        """What the backend may filter first."""
        whole = getattr(self._backend, "takes_whole_filters", False)
        return (where.whole_text if whole else where.mlflow_text) or None

    def _with_deliveries(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        if self._journal is None:
            return list(records)
        ids = [self._here(record.run_id) for record in records]
        keys = read.keys_of(self._journal, ids)
        found = read.deliveries_of(self._journal, list(keys.values()))
        return [
            replace(record, backends=found.get(keys[run_id], {})) if run_id in keys else record
            for record, run_id in zip(records, ids, strict=True)
        ]

    def _here(self, run_id: str) -> str:
        """The id that a run has in the journal, if it is there."""
        return self._attached.get(run_id.removeprefix(f"{self.name}:"), run_id)

    def get(self, named: str) -> RunRecord | None:
        """The run with this trk id, or with this id at the backend."""
        theirs = {run_id: remote_id for remote_id, run_id in self._attached.items()}
        record = self._delivered(named) or self._backend.get(theirs.get(named, named.removeprefix(f"{self.name}:")))
        return None if record is None else self._with_deliveries([record])[0]

    def _delivered(self, run_id: str) -> RunRecord | None:
        """A run of this journal, by the id that it was delivered to: a backend finds that in one step."""
        run = read.run_key(self._journal, run_id) if self._journal is not None else None
        if self._journal is None or run is None:
            return None
        state = read.deliveries_of(self._journal, [run]).get(run, {}).get(self.name)
        record = self._backend.get(f"{self.name}:{state.run_id}") if state is not None and state.run_id else None
        return record if record is not None and record.run_id == run_id else None

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """The points of a metric by (step, time, value)."""
        return self._backend.history(run, metric)

    def modes(self, experiments: Collection[str]) -> Mapping[str, str]:
        """The directions defined for metrics, at the backend and, before that, here."""
        return agreed(self._modes(name) for name in experiments)

    def _modes(self, experiment: str) -> Mapping[str, str]:
        here = read.modes(self._journal, experiment) if self._journal is not None else {}
        return {**self._backend.modes(experiment), **here}

    # -- scores -------------------------------------------------------------------------------------------------------

    def scores(
        self, metric: str, experiment: str | None, where: Filter | None, extremes: bool, *, believe: bool = True
    ) -> tuple[list[Score], int]:
        """From what delivery left, from memory, and the other histories read in several threads.

        Where extremes are not asked for, from the last values alone.
        """
        records = list(self._matching(experiment, where))
        having = [record for record in records if metric in record.metrics]
        found: dict[str, Score] = {}
        if not extremes:
            found = {record.run_id: last_score(record, metric) for record in having}
        elif believe:
            found = self._told(having, metric)
        unread = [record for record in having if record.run_id not in found]
        found |= {record.run_id: score(record, numbers) for record, numbers in self._from_points(unread, metric)}
        scores = [found.get(record.run_id) or last_score(record, metric) for record in having]
        return scores, len(records) - len(having)

    def _told(self, records: Sequence[RunRecord], metric: str) -> dict[str, Score]:
        """The scores for which no history need be read."""
        backend = self._backend
        if not isinstance(backend, ScoringBackend):
            return {}
        found = {}
        known = remembered.load(self._folder, self._target, metric) if self._folder is not None else {}
        for record in records:
            mark, numbers = known.get(record.run_id, (None, None))
            if mark is None or mark != backend.mark(record, metric):
                numbers = backend.told(record, metric)  # what was read from an ended run is newer than that
            if numbers is not None:
                found[record.run_id] = score(record, numbers, told=True)
        return found

    def _from_points(self, records: Sequence[RunRecord], metric: str) -> Iterator[tuple[RunRecord, MetricStats]]:
        """The histories in numbers, each as soon as it is read; those of ended runs are remembered."""
        waiting: list[tuple[str, str, MetricStats]] = []
        try:
            for number, (record, points) in enumerate(self._histories(records, metric), 1):
                if points:
                    numbers = stats(points)
                    yield record, numbers
                    mark = self._backend.mark(record, metric) if isinstance(self._backend, ScoringBackend) else None
                    if mark is not None:
                        waiting.append((record.run_id, mark, numbers))
                if self.progress is not None:
                    self.progress(number, len(records))
                if len(waiting) >= KEEP_EVERY:
                    self._keep(metric, waiting)
        finally:
            self._keep(metric, waiting)

    def _keep(self, metric: str, waiting: list[tuple[str, str, MetricStats]]) -> None:
        if self._folder is not None:
            remembered.keep(self._folder, self._target, metric, waiting)
        waiting.clear()

    @property
    def _folder(self) -> str | None:
        return str(Path(self._journal.path).parent) if self._journal is not None else None

    def _histories(self, records: Sequence[RunRecord], metric: str) -> Iterator[tuple[RunRecord, list[MetricPoint]]]:
        if isinstance(self._backend, ScoringBackend):
            return self._backend.histories(records, metric)
        return in_threads(self.history, records, metric)

    def holds(self, score_: Score, metric: str) -> bool:
        """Whether the points say what was told of them."""
        if not score_.told:
            return True
        points = self.history(score_.key, metric)
        if len(points) <= _MOST_POINTS:
            self._read[score_.run_id, metric] = points
        read_ = score(score_.key, stats(points)) if points else None
        return read_ is not None and (read_.low, read_.high) == (score_.low, score_.high)

    def scored(self, score: Score) -> RunRecord:
        """The run that a score is of."""
        return self._with_deliveries([score.key])[0]

    def at_step(self, run: RunRecord, step: int) -> Mapping[str, float]:
        """The values of all metrics at this step."""
        from concurrent.futures import ThreadPoolExecutor

        names = sorted(run.metrics)
        with ThreadPoolExecutor(THREADS) as pool:
            histories = pool.map(
                lambda name: self._read.pop((run.run_id, name), None) or self.history(run, name), names
            )
        found = {}
        for name, points in zip(names, histories, strict=True):
            values = [point.value for point in points if point.step == step]
            if values:
                found[name] = values[-1]
        return found

    def metric_names(self, experiment: str | None) -> Sequence[str]:
        """Every metric that some run has."""
        return sorted({name for record in self._backend.search(experiment, None) for name in record.metrics})

    # -- files --------------------------------------------------------------------------------------------------------

    def artifacts(self, run: RunRecord, earlier: bool = False) -> list[ArtifactRecord]:
        """What the backend has, with what the journal knows of it besides."""
        if not isinstance(self._backend, ArtifactBackend):
            raise ConfigurationError(f"backend {self.name} can't list artifacts", hint="--source local")
        if earlier:
            raise ConfigurationError("what was at a path before is in the journal", hint="--source local")
        here = files.of_run(self._journal, run.run_id) if self._journal is not None else []
        known = {artifact.path: artifact for artifact in here}
        return [_completed(found, known.get(found.path)) for found in self._backend.artifacts(run)]

    def fetch(self, run: RunRecord, artifact: ArtifactRecord, to: str) -> None:
        """Download it."""
        assert isinstance(self._backend, ArtifactBackend)
        self._backend.fetch(run, artifact.path, to)


def agreed(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The directions of all; "both" where they contradict each other."""
    said: dict[str, set[str]] = {}
    for modes in found:
        for key, mode in modes.items():
            said.setdefault(key, set()).add(mode)
    return {key: modes.pop() if len(modes) == 1 else "both" for key, modes in said.items()}


def _completed(found: ArtifactRecord, here: ArtifactRecord | None) -> ArtifactRecord:
    """A backend's record of what this journal delivered, by what was logged; the size is what the backend says."""
    return found if here is None else replace(here, size=found.size, sha256=here.sha256 or found.sha256)
