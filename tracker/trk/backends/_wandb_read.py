"""W&B as a source: its runs and histories as trk's records.

A run of trk's is known by its id, which has the form of trk's, and what it is told by beside W&B's own fields stands in
its summary (`_wandb_texts`). Of other runs the steps are W&B's `_step`, and a number in the summary is a metric.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trk.backends import _wandb_sdk as sdk
from trk.backends import _wandb_settings as keys
from trk.backends import _wandb_texts as texts
from trk.backends._wandb_errors import LOGIN
from trk.backends._wandb_filter import translated
from trk.backends._wandb_run import END, STATUS, STEP
from trk.backends._wandb_server import Server
from trk.backends._wandb_texts import HANDLE, number
from trk.errors import BackendError, BackendNeedsUser, BackendRefused, BackendRunGone, SourceUnavailable
from trk.journal.select import is_run_id
from trk.records import MetricPoint, RunRecord, Status, from_ms
from trk.rules import RESERVED_METRICS, place

RUNS_PER_PAGE = 100
LINES_PER_PAGE = 10_000
PROJECTS_AT_ONCE = 8
_NO_PROJECT = "could not find project"
# What W&B says of runs that have ended; one that was silenced from outside was killed.
_STATES = {
    "running": Status.RUNNING, "pending": Status.RUNNING, "finished": Status.FINISHED, "failed": Status.FAILED,
    "crashed": Status.FAILED,
}  # fmt: skip


@contextmanager
def as_source() -> Iterator[None]:
    """For the length of a `with`: what goes wrong is a source's error."""
    try:
        yield
    except BackendError as error:
        hint = f"{error.hint}; or --source local" if error.hint else "--source local"
        raise SourceUnavailable(error.message, hint=hint) from error


class Reader:
    """Asks one W&B server as one user. It remembers the runs that it has met, for their histories."""

    def __init__(self, target: Mapping[str, Any], server: Server) -> None:
        self._target = target
        self._server = server
        self._lock = threading.Lock()
        self._met: dict[str, Any] = {}  # the SDK's runs by the ids of their records
        self._is_there = False

    # -- see `SearchableBackend` --------------------------------------------------------------------------------------

    def search(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        """See `SearchableBackend.search`."""
        wanted = translated(filter_string)
        with as_source():
            projects = self._projects() if experiment is None else self._likely(experiment)
        found = [self._newest_first(project, wanted) for project in projects]
        for record in heapq.merge(*found, key=_age):
            if experiment is None or record.experiment == experiment:
                yield record

    def get(self, run_id: str) -> RunRecord | None:
        """See `SearchableBackend.get`."""
        with as_source():
            found = self.run(run_id)
            return None if found is None else self.record(found)

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """See `SearchableBackend.history`."""
        with as_source():
            met = self.met(run)
            lines = self.lines(met, [metric, "_timestamp"]) if not is_ours(met) else {}
            axis = met.summary_metrics.get(texts.AXIS)
            for name in (axis, STEP):
                if name in logged(met) and name != metric:
                    lines |= self.lines(met, [metric, "_timestamp", name])
        points = [point for line in lines.values() if (point := _point(run.run_id, metric, line, axis)) is not None]
        return sorted(points, key=lambda point: (point.step, point.time_ms, place(point.value)))

    def mark(self, run: RunRecord, metric: str) -> str | None:
        """See `ScoringBackend.mark`."""
        met = self._met.get(run.run_id)
        said = met._attrs.get("historyKeys") if met is not None else None
        if met is None or run.status is Status.RUNNING or not isinstance(said, Mapping) or metric not in logged(met):
            return None
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return f"{path_of(met)} {run.end_time} {digest}"

    # -- runs, as the SDK has them ------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Any:
        """The SDK's run by trk's id or by `<entity>/<project>/<id>`, as it is now; None when there is none."""
        named = run_id.removeprefix(HANDLE)
        parts = named.split("/")
        if len(parts) == 3 and all(parts):
            return self._at(named)
        if len(parts) != 1 or not named.replace("-", "").replace("_", "").isalnum():
            return None
        asked = {"name": named}
        likely = self._likely()
        for project in likely:
            for found in self._runs(project, asked):
                return found
        others = [project for project in self._projects() if project not in likely]
        with ThreadPoolExecutor(PROJECTS_AT_ONCE, thread_name_prefix="trk-wandb") as pool:
            for some in pool.map(lambda project: list(self._runs(project, asked)), others):
                for found in some:
                    return found
        return None

    def _at(self, path: str) -> Any:
        self.api()
        try:
            with self._lock:
                found = self._server.run(path)
        except BackendRunGone:
            return None
        _tidy(found)
        return found

    def met(self, run: RunRecord) -> Any:
        """The SDK's run of a record. Raises SourceUnavailable when it is not there any more."""
        found = self._met.get(run.run_id) or self.run(run.run_id)
        if found is None:
            raise SourceUnavailable(f"{self._server.name} has no run {run.run_id}", hint="--source local")
        self._met[run.run_id] = found
        return found

    def artifact(self, path: str) -> Any:
        """The SDK's artifact by `<entity>/<project>/<name>:<alias>`; None when there is none."""
        api = self.api()
        try:
            with sdk.calling(self._server.name):
                return api.artifact(path)
        except BackendError as error:
            if "not found" in error.message.lower() or "does not contain artifact" in error.message:
                return None
            raise

    def lines(self, run: Any, names: Sequence[str], first: int = 0) -> dict[int, Mapping[str, Any]]:
        """The lines of a history with all of these names (none: all), from line `first` on, by their `_step`."""
        with sdk.calling(self._server.name):
            scan = run.scan_history(list(names) or None, LINES_PER_PAGE, min_step=first, use_cache=False)
            return {int(line["_step"]): line for line in scan}

    def scan(self, run: Any) -> Iterator[Mapping[str, Any]]:
        """All lines of a history with all that is in them, in order, read page by page."""
        with sdk.calling(self._server.name):
            scan = iter(run.scan_history(None, LINES_PER_PAGE, use_cache=False))
        while True:
            with sdk.calling(self._server.name):
                line = next(scan, None)
            if line is None:
                return
            yield line

    def in_project(self, path: str) -> Iterator[RunRecord]:
        """All runs of `<entity>/<project>`, newest first. Raises SourceUnavailable."""
        return self._newest_first(path, {})

    def entity(self) -> str:
        """The entity that runs go to: as set, else the key's owner's."""
        return self._entity()

    def api(self) -> Any:
        """The SDK's public API; what would make it try for long is looked at first."""
        if self._target.get("mode") == "offline":
            raise BackendNeedsUser("W&B is offline here (wandb_mode)", hint="WANDB_MODE=online")
        url = sdk.base_url(self._target)
        if not keys.has_key(url):
            raise BackendNeedsUser(f"{self._server.name}: there is no key for it here", hint=LOGIN)
        if not self._is_there:
            sdk.probe(url, self._server.name)
            self._is_there = True
        return self._server.api()

    def _entity(self) -> str:
        api = self.api()
        with sdk.calling(self._server.name):
            return str(self._target.get("entity") or api.default_entity)

    def _projects(self) -> list[str]:
        """All projects, as `<entity>/<project>`. Raises BackendNeedsUser when there are none of another's entity."""
        api, entity = self.api(), self._entity()
        try:
            with sdk.calling(self._server.name):
                found = [f"{entity}/{project.name}" for project in api.projects(entity)]
        except BackendRefused:  # the SDK can't take the answer that there is no such entity
            found = []
        if not found and not self._server.is_own(entity):
            raise self._server.hidden(entity)
        return found

    def _likely(self, experiment: str | None = None) -> list[str]:
        """The projects that may have an experiment's runs; without one, that which is set."""
        names = [name for name in (experiment, self._target.get("project")) if name]
        return [f"{self._entity()}/{name}" for name in dict.fromkeys(names)]

    def _runs(self, project: str, wanted: Mapping[str, Any]) -> Iterator[Any]:
        """A project's runs, those that were made last first; none when there is no such project.

        Raises BackendNeedsUser when that can't be told, since it is another's.
        """
        api = self.api()
        with sdk.calling(self._server.name), self._lock:
            api.flush()
            found = api.runs(project, dict(wanted), "-created_at", RUNS_PER_PAGE, lazy=False)
        while True:
            try:
                with sdk.calling(self._server.name):
                    run = next(found, None)
            except BackendError as error:
                if _NO_PROJECT not in error.message.lower():
                    raise
                if not self._server.is_own(project.partition("/")[0]):
                    raise self._server.hidden(project) from error
                return
            if run is None:
                return
            _tidy(run)
            yield run

    def _newest_first(self, project: str, wanted: Mapping[str, Any]) -> Iterator[RunRecord]:
        """By start: a run is made at the server when it has started, or later; so the next ones may be newer."""
        waiting: list[tuple[float, int, RunRecord]] = []
        with as_source():
            for number_, run in enumerate(self._runs(project, wanted)):
                made = -moment(run.created_at).timestamp()
                while waiting and waiting[0][0] <= made:
                    yield heapq.heappop(waiting)[2]
                record = self.record(run)
                heapq.heappush(waiting, (_age(record), number_, record))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def record(self, run: Any) -> RunRecord:
        """A run of the SDK's as trk's record."""
        summary = run.summary_metrics
        status = status_of(run)
        start = summary.get(texts.START)
        ours = is_ours(run)
        params, tags = params_of(run), tags_of(run)
        for key, (first, latest) in summaries(run).items() if ours else ():
            params.setdefault(texts.SUMMARY_TAG + key, first)
            tags[texts.SUMMARY_TAG + key] = latest
        record = RunRecord(
            run_id=run.id if ours else f"{HANDLE}{path_of(run)}",
            name=run.name or "",
            experiment=str(summary.get(texts.EXPERIMENT) or run.project),
            status=status,
            source="wandb",
            start_time=from_ms(start) if isinstance(start, int) else moment(run.created_at),
            end_time=None if status is Status.RUNNING else ended(run),
            parent_id=_parent(summary.get(texts.PARENT)),
            description=getattr(run, "notes", None) or None,
            params=dict(sorted(params.items())),
            metrics=dict(sorted(metrics(run).items())),
            tags=dict(sorted(tags.items())),
        )
        self._met[record.run_id] = run
        return record


def _tidy(run: Any) -> None:
    """Take away the empty folders that the SDK makes for each run it is told of."""
    folder = Path(run.dir)
    with suppress(OSError):  # not empty: it is somebody's
        for place_ in (folder, folder.parent, folder.parent.parent):
            place_.rmdir()


def path_of(run: Any) -> str:
    """`<entity>/<project>/<id>`."""
    return f"{run.entity}/{run.project}/{run.id}"


def is_ours(run: Any) -> bool:
    """Whether trk made a run."""
    return is_run_id(run.id)


def logged(run: Any) -> Mapping[str, Any]:
    """The names that a run's history has."""
    found: Mapping[str, Any] = (run._attrs.get("historyKeys") or {}).get("keys") or {}
    return found


def moment(text: str) -> datetime:
    """A time as the server says it, which may leave out that it is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def status_of(run: Any) -> Status:
    """A run's status. Of one of trk's, trk alone says that it has ended: W&B takes a pause for a crash."""
    if is_ours(run):
        said = run.summary_metrics.get(STATUS)
        has_ended = run.state != "running" and said in Status.__members__
        return Status(said) if has_ended else Status.RUNNING
    return _STATES.get(run.state, Status.KILLED)


def ended(run: Any) -> datetime | None:
    """When a run ended: of others' runs, when W&B last heard of them."""
    end = run.summary_metrics.get(END)
    if isinstance(end, int) and is_ours(run):
        return from_ms(end)
    heard = run._attrs.get("heartbeatAt")
    return moment(heard) if heard else None


def metrics(run: Any) -> dict[str, float]:
    """The last values of a run's metrics."""
    summary = run.summary_metrics
    if not is_ours(run):
        return {key: value for key, value in _flat(summary) if not _is_own(key)}
    names = logged(run).keys() - {axis_alone(summary)}
    found = {key: number(summary.get(key)) for key in names if not is_kept(key)}
    return {key: value for key, value in found.items() if value is not None}


def summaries(run: Any) -> dict[str, tuple[str, str]]:
    """The values of the summary of a run of trk's that are no metrics: (first, latest) text."""
    summary, names = run.summary_metrics, logged(run)
    found = {}
    for key, value in summary.items():
        if is_kept(key) or key in names or value is None or _is_best(key, value, names):
            continue
        said = summary.get(texts.SUMMARIES + key)
        said = said if isinstance(said, list) and len(said) == 2 else (None, None)
        latest = texts.exact(said[1], value)
        found[key] = (str(said[0]) if said[0] is not None else latest, latest)
    return found


def _is_best(key: str, value: Any, names: Mapping[str, Any]) -> bool:
    """Whether trk wrote a value when the run ended: the best of a metric, beside its last."""
    return number(value) is not None and key.rpartition(".")[0] in names and key.endswith((".min", ".max"))


def is_kept(key: str) -> bool:
    """Whether a name of the history or summary of one of trk's runs is what trk or W&B keeps there for itself."""
    return key in RESERVED_METRICS or key.startswith("trk/")


def _is_own(key: str) -> bool:
    return key.startswith(("_", "trk/"))


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and "_type" not in value and not (_is_own(key) and not before):
            yield from _flat(value, f"{before}{key}.")
        elif (found := number(value)) is not None:
            yield before + key, found


def params_of(run: Any) -> dict[str, str]:
    """The config as texts, as they were logged where trk did."""
    summary, found = run.summary_metrics, {}
    for key, value in run.config.items():
        said = summary.get(texts.PARAMS + key)
        is_said = isinstance(said, str) and texts.scalar(said) == value
        found[key] = said if is_said else texts.text_of(value)
    return found


def tags_of(run: Any) -> dict[str, str]:
    """The tags, `key=value`, and those that are too long for W&B's."""
    found = {}
    for tag in run.tags or ():
        key, _, text = tag.partition("=")
        found[key] = text
    for name, text in run.summary_metrics.items():
        if name.startswith(texts.LONG_TAG) and text is not None:
            found[name.removeprefix(texts.LONG_TAG)] = str(text)
    return found


def _parent(path: Any) -> str | None:
    if not isinstance(path, str) or not path:
        return None
    last = path.rpartition("/")[2]
    return last if is_run_id(last) else HANDLE + path


def _point(run_id: str, metric: str, line: Mapping[str, Any], axis: Any) -> MetricPoint | None:
    value, time_s = number(line.get(metric)), line.get("_timestamp")
    if value is None or time_s is None:
        return None
    step = line.get(STEP, line.get(axis, line["_step"]))
    return MetricPoint(run_id, metric, int(step), round(time_s * 1000), value)


def axis_alone(summary: Mapping[str, Any]) -> Any:
    """The name of the history that is an axis and no metric; None when there is none."""
    return None if summary.get(texts.AXIS_TOO) else summary.get(texts.AXIS)


def _age(record: RunRecord) -> float:
    return -record.start_time.timestamp() if record.start_time is not None else 0.0
