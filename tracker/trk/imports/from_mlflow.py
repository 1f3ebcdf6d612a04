"""Runs of an MLflow store."""

from __future__ import annotations

import functools
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from trk import addresses, backends, config, session
from trk.backends._mlflow_artifacts import Artifacts
from trk.backends._mlflow_read import NOTE_TAG, PARENT_TAG, RUN_TAG, Reader, is_empty
from trk.backends._mlflow_store import Store, asked
from trk.errors import BackendError, NotFound, SourceUnavailable
from trk.expecting import same
from trk.imports.naming import TAG
from trk.imports.records import End, File, Head, ImportReport, Progress
from trk.imports.run import RunIntake
from trk.imports.taking import Intake
from trk.query import filters
from trk.records import RunRecord
from trk.rules import shown

HANDLE = "mlflow:"
MOST_HELD = 500_000  # points of all metrics of a run that are in memory at once
PER_PAGE = 25_000  # more a server does not give at once
DATASETS = f"{TAG}datasets"
# What is a run's own field here, and what trk keeps there for itself.
_FIELDS = frozenset(("mlflow.runName", PARENT_TAG, NOTE_TAG))

Point = tuple[int, int, str, float]  # milliseconds, step, name, value
Found = tuple[str, RunRecord]  # a run with MLflow's id


def import_mlflow(
    runs: Sequence[str] | str = (),
    *,
    uri: str | None = None,
    experiment: str | None = None,
    filter: str | None = None,  # noqa: A002 - as everywhere in trk
    artifacts: bool = False,
    backends: Sequence[str] | str | None = None,
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Take runs of an MLflow store into the journal here, with all points; again, only what is new is taken.

    `runs` are MLflow's or trk's ids; left out, all runs that are not deleted, of an `experiment` or of all, that match
    a `filter`. `uri` is the store's address; left out, that of the settings. `artifacts` takes the files of the runs
    along; else they are counted. Where the runs are delivered to is as in `trk.start`, with `backends` and the
    arguments after it, but never back into the store that they came from.

    `dry_run` changes nothing. `progress` is told (runs done, runs in all, points read). Raises NotFound, UsageError,
    Conflict, JournalError, and SourceUnavailable when the store does not answer, or mlflow is not installed.
    """
    given = {
        "backends": backends, "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    where = filters.parse(filter) if filter is not None else None
    target = _source(uri)
    store = Store(target)
    source = _Source(store, str(target["tracking_uri"]))
    found = source.named([runs] if isinstance(runs, str) else runs) if runs else source.all(experiment, where)
    with Intake(
        "mlflow", given, is_origin=_is_origin, dry_run=dry_run, artifacts=artifacts, progress=progress
    ) as intake:
        for number, (remote_id, _) in enumerate(found):
            intake.at(number, len(found))
            source.take(remote_id, intake)
        intake.at(len(found), len(found))
        return intake.report()


def _source(uri: str | None) -> Mapping[str, Any]:
    """Where the runs are. Raises SourceUnavailable, and NotFound for a database that is not there."""
    if uri is not None:
        addresses.remember(uri)
    resolved = config.resolve(session.find_folder(), mlflow_uri=uri)
    target = config.target("mlflow", resolved)
    try:
        backends.make("mlflow", target)
    except BackendError as error:
        hint = error.hint.removesuffix(", then trk sync") if error.hint else None
        raise SourceUnavailable(error.message, hint=hint) from None
    file = str(target["tracking_uri"]).removeprefix("sqlite:///")
    if str(target["tracking_uri"]).startswith("sqlite:///") and not Path(file).exists():
        raise NotFound(f"there is no MLflow store at {target['tracking_uri']}", hint="--uri URI")
    return target


def _is_origin(head: Head, backend: str, target: Mapping[str, Any]) -> bool:
    return backend == "mlflow" and addresses.is_same(str(target.get("tracking_uri", "")), head.place)


class _Source:
    """An MLflow store that is read."""

    def __init__(self, store: Store, place: str) -> None:
        self._store = store
        self._place = place
        self._reader = Reader(store)
        self._artifacts = Artifacts(store, self._reader)
        self._trk_ids: dict[str, str | None] = {}  # by MLflow's

    def named(self, names: Sequence[str]) -> list[Found]:
        """Runs by their ids. Raises NotFound."""
        found = []
        for name in names:
            record = self._reader.get(name)
            if record is None:
                raise NotFound(f"there is no run {shown(name)} at {self._place}", hint="trk ls --source mlflow")
            found.append((self._reader.remote_id(record.run_id), record))
        return _parents_first(found)

    def all(self, experiment: str | None, where: filters.Filter | None) -> list[Found]:
        """The runs that match, those above others first. Raises NotFound when there is none."""
        text = (where.mlflow_text or None) if where is not None else None
        # Several may have one id of trk's: MLflow's id is asked for before the next one is read.
        search = ((self._reader.remote_id(one.run_id), one) for one in self._reader.search(experiment, text))
        found = [one for one in search if where is None or where.matches_record(one[1])]
        if not found:
            of = f" in experiment {shown(experiment)}" if experiment is not None else ""
            raise NotFound(f"there is no such run{of} at {self._place}", hint="trk ls --source mlflow")
        return _parents_first(found)

    def take(self, remote_id: str, intake: Intake) -> None:
        """One run, by MLflow's id."""
        known = self._reader.any(remote_id)
        if known is None:  # it was deleted meanwhile
            return
        run, record = known
        made_as = run.data.tags.get(RUN_TAG) or None
        trk_id = self._trk_id(remote_id, made_as, intake)
        if trk_id is None and made_as is not None and is_empty(run):  # its making was tried twice
            intake.leave_out(f"{HANDLE}{remote_id}", record.name, f"an empty copy of run {made_as}")
            return
        record = replace(record, run_id=trk_id or f"{HANDLE}{remote_id}")
        taken = intake.begin(self._head(run, record, intake))
        if taken is None:
            return
        for (time_ms, step), points in groupby(self._points(run), key=lambda point: point[:2]):
            _lines(taken, time_ms, step, points)
        taken.end(End(record.status, _ms(record.end_time), files=self._files(record, intake)))

    def _trk_id(self, remote_id: str, run_id: str | None, intake: Intake) -> str | None:
        """Trk's id of a run that says it has this one; None when it says none, or is a copy of the one that has it."""
        if run_id is None:
            return None
        if remote_id not in self._trk_ids:
            was_copy = intake.started(f"{HANDLE}{remote_id}", self._place) is not None  # and stays a run of its own
            is_copy = was_copy or self._reader.first(run_id) not in (remote_id, None)
            self._trk_ids[remote_id] = None if is_copy else run_id
        return self._trk_ids[remote_id]

    def _head(self, run: Any, record: RunRecord, intake: Intake) -> Head:
        trk_id = None if record.run_id.startswith(HANDLE) else record.run_id
        tags = {(f"{TAG}{key}" if key.startswith("mlflow.") else key): text for key, text in run.data.tags.items()
                if key not in _FIELDS and not key.startswith("trk.")}  # fmt: skip
        if datasets := _datasets(run):
            tags[DATASETS] = datasets
        return Head(
            origin=f"{HANDLE}{run.info.run_id}",
            place=self._place,
            name=record.name,
            experiment=record.experiment,
            start_ms=run.info.start_time,
            run_id=trk_id,
            description=record.description,
            parent=self._parent(run, record, intake),
            params=record.params,
            tags=tags,
        )

    def _parent(self, run: Any, record: RunRecord, intake: Intake) -> tuple[str, str | None, int] | None:
        remote_id = run.data.tags.get(PARENT_TAG)
        if not remote_id or record.parent_id is None:
            return None
        above = self._reader.any(remote_id)
        start_ms = above[0].info.start_time if above is not None else run.info.start_time
        trk_id = self._trk_id(remote_id, above[0].data.tags.get(RUN_TAG) or None, intake) if above is not None else None
        return f"{HANDLE}{remote_id}", trk_id, start_ms or 0

    def _points(self, run: Any) -> Iterator[Point]:
        """All points by (time, step), of all metrics at once, with no more in memory than needs be."""
        names = sorted(run.data.metrics)
        page = min(PER_PAGE, max(MOST_HELD // max(len(names), 1), 100))
        return heapq.merge(*(self._history(run.info.run_id, name, page) for name in names), key=lambda p: p[:2])

    def _history(self, remote_id: str, name: str, size: int) -> Iterator[Point]:
        token = None
        before: Point | None = None
        while True:
            with asked(self._store) as mlflow:
                page = mlflow.get_metric_history(remote_id, name, max_results=size, page_token=token)
            for one in page:
                point = (int(one.timestamp), int(one.step), name, same(float(one.value)))
                # No store has a point twice: one that comes again has moved to this page from the last one.
                if point != before:
                    yield point
                before = point
            token = page.token
            if not token:
                return

    def _files(self, record: RunRecord, intake: Intake) -> list[File]:
        try:
            found = self._artifacts.records(record)
        except SourceUnavailable:
            if intake.artifacts:
                raise
            intake.skip("runs whose files can't be listed")
            return []
        intake.skip("files that stay elsewhere", sum(one.uri is not None for one in found))
        return [
            File(one.path, one.size, functools.partial(self._artifacts.fetch, record, one.path))
            for one in found
            if one.uri is None
        ]


def _lines(taken: RunIntake, time_ms: int, step: int, points: Iterator[Point]) -> None:
    """The points of one time and step: a line, or several where a metric has several there."""
    values: dict[str, float] = {}
    for _, _, name, value in points:
        if name in values:
            taken.line(time_ms, step, values)
            values = {}
        values[name] = value
    taken.line(time_ms, step, values)


def _parents_first(found: Sequence[Found]) -> list[Found]:
    """By start; a run above others comes before them, which have started after it."""
    return sorted(found, key=lambda one: (_ms(one[1].start_time) or 0, one[1].parent_id is not None))


def _ms(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def _datasets(run: Any) -> str | None:
    """What the run says of the data it used, as JSON."""
    inputs = getattr(getattr(run, "inputs", None), "dataset_inputs", None) or ()
    told = [
        {
            "name": one.dataset.name, "digest": one.dataset.digest, "source_type": one.dataset.source_type,
            "source": one.dataset.source, "context": {tag.key: tag.value for tag in one.tags},
        }
        for one in inputs
    ]  # fmt: skip
    return json.dumps(told, ensure_ascii=False) if told else None
