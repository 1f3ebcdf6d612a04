"""MLflow as a source: its runs and histories as trk's records."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from typing import Any

from trk.backends import _mlflow_stats as stats
from trk.backends._mlflow_content import IMAGES_TAG, TABLES_TAG
from trk.backends._mlflow_pages import Pages
from trk.backends._mlflow_store import Store, asked, file_mark
from trk.backends._mlflow_write import MODE_TAG
from trk.errors import BackendError, BackendRefused, BackendRunGone, SourceUnavailable
from trk.records import MetricPoint, MetricStats, RunRecord, Status, from_ms
from trk.rules import HUGE, place

RUN_TAG = "trk.run_id"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
HANDLE = "mlflow:"
MOST_KEPT = 20_000  # runs of a search that are remembered as long as a database file stays as it is
EXPERIMENTS_PER_PAGE = 1000
EXPERIMENTS_PER_QUERY = 500  # databases limit how many values one query may name; SQLite once took 999

_BOOKKEEPING = frozenset(
    ("mlflow.user", "mlflow.runName", "mlflow.log-model.history", PARENT_TAG, NOTE_TAG, TABLES_TAG, IMAGES_TAG)
)
_BOOKKEEPING_PREFIXES = ("mlflow.source.", "trk.")
_STATUS = {"SCHEDULED": Status.RUNNING}  # MLflow's only state that trk has not


def tag_filter(run_id: str) -> str:
    """The filter, in MLflow's grammar, that finds a run by its trk run id."""
    return f"tags.`{RUN_TAG}` = '{run_id}'"


def age(run: Any) -> tuple[bool, int, str]:
    """Sorts the run that was delivered to first, then the oldest: of several that have the same trk run id."""
    return is_empty(run), run.info.start_time or 0, run.info.run_id


def is_empty(run: Any) -> bool:
    """Whether a run has neither metrics nor params."""
    return not run.data.metrics and not run.data.params


class _Facts:
    """What MLflow tells of a run beside what a record says, and what follows from it."""

    __slots__ = ("_stats", "end_ms", "ended", "lasts", "texts")

    def __init__(self, run: Any, ended: bool) -> None:
        self.ended = ended
        self.end_ms = run.info.end_time
        self.texts = {key: text for key, text in run.data.tags.items() if key.startswith(stats.TAG)}
        # With their steps, which `data.metrics` leaves out.
        points = getattr(run.data, "_metric_objs", None) or ()
        self.lasts = {point.key: (point.step, point.timestamp, _value(point.value)) for point in points}
        self._stats: Mapping[str, MetricStats] | None = None

    @property
    def stats(self) -> Mapping[str, MetricStats]:
        """What delivery left, of a run that has ended."""
        if self._stats is None:
            self._stats = stats.told(self.texts, self.end_ms, self.lasts) if self.ended and self.texts else {}
        return self._stats


class Reader:
    """Asks one MLflow store. What it learns of experiments, parents and runs it keeps until it is to `forget`.

    Of several runs with one trk run id, one has it here, and the others are known by MLflow's own.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pages = Pages(store)
        self._experiments: dict[str, str] = {}
        self._trk_ids: dict[str, str] = {}
        self._remote_ids: dict[str, str] = {}
        self._owners: dict[str, str] = {}  # the MLflow run that has a trk run id
        self._facts: dict[str, _Facts] = {}
        self._kept: tuple[Any, list[RunRecord]] | None = None  # the latest search of a database file, and what it found

    def forget(self) -> None:
        """See `KeepingBackend.forget`. Of a database file that nobody has written to since, all is as it was."""
        if self._kept is not None and self._kept[0][0] == file_mark(self._store.uri):
            return
        self._kept = None
        for known in (self._experiments, self._trk_ids, self._remote_ids, self._owners, self._facts):
            known.clear()

    def search(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        """See `SearchableBackend.search`."""
        mark = file_mark(self._store.uri)
        asked_for = None if mark is None else (mark, experiment, filter_string)
        if self._kept is not None and self._kept[0] == asked_for:
            yield from self._kept[1]
            return
        self._kept = None
        found: list[RunRecord] = []
        for record in self._searched(experiment, filter_string):
            if asked_for is not None and len(found) <= MOST_KEPT:
                found.append(record)
            yield record
        if asked_for is not None and len(found) <= MOST_KEPT and file_mark(self._store.uri) == mark:
            self._kept = asked_for, found

    def _searched(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        ids = self._all_experiments() if experiment is None else self._experiment_named(experiment)
        queries = [
            self._runs(ids[start : start + EXPERIMENTS_PER_QUERY], filter_string)
            for start in range(0, len(ids), EXPERIMENTS_PER_QUERY)
        ]
        seen: set[str] = set()  # a run that starts between two pages moves the last one of a page to the next
        for run in heapq.merge(*queries, key=lambda run: -(run.info.start_time or 0)):
            if run.info.run_id not in seen:
                seen.add(run.info.run_id)
                yield self._record(run)

    def get(self, run_id: str) -> RunRecord | None:
        """See `SearchableBackend.get`."""
        if not run_id.startswith(HANDLE):
            if not run_id.isalnum():  # neither trk's nor MLflow's, and the filter has no way to quote
                return None
            if same := list(self._runs(self._all_experiments(), tag_filter(run_id))):
                owner = self._owners.get(run_id)
                return self._record(min(same, key=lambda run: (run.info.run_id != owner, age(run))))
        found = self._run(run_id.removeprefix(HANDLE))
        return self._record(found) if found is not None and found.info.lifecycle_stage == "active" else None

    def first(self, run_id: str) -> str | None:
        """MLflow's id of the run that `get` finds by trk's id, of several that have it; None when there is none."""
        same = list(self._runs(self._all_experiments(), tag_filter(run_id))) if run_id.isalnum() else []
        return str(min(same, key=age).info.run_id) if same else None

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """See `SearchableBackend.history`."""
        remote_id = self.remote_id(run.run_id)
        points: list[MetricPoint] = []
        token = None
        while True:
            with asked(self._store) as mlflow:
                from mlflow.store.tracking import GET_METRIC_HISTORY_MAX_RESULTS as PER_PAGE

                page = mlflow.get_metric_history(remote_id, metric, max_results=PER_PAGE, page_token=token)
            points += [point_of(run, metric, point.step, point.timestamp, point.value) for point in page]
            token = page.token
            if not token:
                return sorted(points, key=sort_place)

    def told(self, run: RunRecord, metric: str) -> MetricStats | None:
        """See `ScoringBackend.told`."""
        facts = self._facts.get(run.run_id)
        return None if facts is None else facts.stats.get(metric)

    def mark(self, run: RunRecord, metric: str) -> str | None:
        """See `ScoringBackend.mark`."""
        facts = self._facts.get(run.run_id)
        if facts is None or not facts.ended or metric not in facts.lasts:
            return None
        step, time_ms, value = facts.lasts[metric]
        return f"{self._remote_ids[run.run_id]} {facts.end_ms} {step} {time_ms} {value!r}"

    def modes(self, experiment: str) -> Mapping[str, str]:
        """See `SearchableBackend.modes`."""
        with asked(self._store) as mlflow:
            found = mlflow.get_experiment_by_name(experiment)
        tags = found.tags if found is not None else {}
        return {key.removeprefix(MODE_TAG): mode for key, mode in tags.items() if key.startswith(MODE_TAG)}

    def any(self, remote_id: str) -> tuple[Any, RunRecord] | None:
        """A run by MLflow's own id, deleted or not, as MLflow's `Run` and as a record; None when there is none."""
        found = self._run(remote_id)
        return None if found is None else (found, self._record(found))

    def _runs(self, experiment_ids: list[str], filter_string: str | None) -> Iterator[Any]:
        for page in self._pages.of(experiment_ids, filter_string) if experiment_ids else ():
            for run in sorted(page, key=age):  # of those with one trk run id, the first here has it
                self._trk_ids[run.info.run_id] = self._own_id(run)  # parents are often on the same page
            yield from page

    def _run(self, remote_id: str) -> Any:
        try:
            with self._store.calling() as mlflow:
                return mlflow.get_run(remote_id)
        except (BackendRunGone, BackendRefused):  # unknown, or no id at all
            return None
        except BackendError as error:
            raise SourceUnavailable(error.message, hint="--source local") from None

    def _all_experiments(self) -> list[str]:
        ids: list[str] = []
        token = None
        while True:
            with asked(self._store) as mlflow:
                page = mlflow.search_experiments(max_results=EXPERIMENTS_PER_PAGE, page_token=token)
            self._experiments.update((found.experiment_id, found.name) for found in page)
            ids += [found.experiment_id for found in page]
            token = page.token
            if not token:
                return ids

    def _experiment_named(self, name: str) -> list[str]:
        with asked(self._store) as mlflow:
            found = mlflow.get_experiment_by_name(name)
        if found is None:
            return []
        self._experiments[found.experiment_id] = name
        return [found.experiment_id]

    def _experiment_name(self, experiment_id: str) -> str:
        if experiment_id not in self._experiments:
            with asked(self._store) as mlflow:
                self._experiments[experiment_id] = mlflow.get_experiment(experiment_id).name
        return self._experiments[experiment_id]

    def _parent_id(self, remote_id: str | None) -> str | None:
        if not remote_id:
            return None
        if remote_id not in self._trk_ids:
            parent = self._run(remote_id)
            self._trk_ids[remote_id] = HANDLE + remote_id if parent is None else self._own_id(parent)
        return self._trk_ids[remote_id]

    def remote_id(self, run_id: str) -> str:
        """The MLflow run id of a record's run id. Raises SourceUnavailable when there is no such run."""
        if run_id.startswith(HANDLE):
            return run_id.removeprefix(HANDLE)
        if run_id not in self._remote_ids:
            self.get(run_id)
        if run_id not in self._remote_ids:
            raise SourceUnavailable(f"MLflow at {self._store.uri} has no run {run_id}", hint="--source local")
        return self._remote_ids[run_id]

    def _own_id(self, run: Any) -> str:
        """The run's trk run id, if it is the one that has it; else MLflow's."""
        remote_id: str = run.info.run_id
        named = run.data.tags.get(RUN_TAG)
        return str(named) if named and self._owners.setdefault(named, remote_id) == remote_id else HANDLE + remote_id

    def _record(self, run: Any) -> RunRecord:
        info, data = run.info, run.data
        run_id = self._own_id(run)
        self._remote_ids[run_id] = info.run_id
        status = _STATUS.get(info.status) or Status(info.status)
        ended = status is not Status.RUNNING and info.end_time  # a reopened run keeps its old end time there
        self._facts[run_id] = _Facts(run, bool(ended))
        return RunRecord(
            run_id=run_id,
            name=info.run_name or "",
            experiment=self._experiment_name(info.experiment_id),
            status=status,
            source="mlflow",
            start_time=from_ms(info.start_time or None),
            end_time=from_ms(info.end_time) if ended else None,
            parent_id=self._parent_id(data.tags.get(PARENT_TAG)),
            description=data.tags.get(NOTE_TAG),
            params=dict(data.params),
            metrics={key: _value(value) for key, value in data.metrics.items()},
            tags={key: text for key, text in data.tags.items() if not _is_bookkeeping(key)},
        )


def _is_bookkeeping(key: str) -> bool:
    return key in _BOOKKEEPING or key.startswith(_BOOKKEEPING_PREFIXES)


def _value(value: float) -> float:
    """MLflow's databases hold infinity as ±1.797e308."""
    return math.copysign(math.inf, value) if abs(value) >= HUGE else value


def point_of(run: RunRecord, metric: str, step: int, time_ms: int, value: float) -> MetricPoint:
    """A point as MLflow has it."""
    return MetricPoint(run.run_id, metric, step, time_ms, _value(value))


def sort_place(point: MetricPoint) -> tuple[int, int, float]:
    """What points of a metric are sorted by."""
    return point.step, point.time_ms, place(point.value)
