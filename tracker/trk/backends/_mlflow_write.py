"""Rows as MLflow takes them: batches of metrics, params and tags, and what can't go into a batch in between."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from trk.backends import _mlflow_beside as beside
from trk.backends import _mlflow_content as content
from trk.backends import _mlflow_stats as stats
from trk.backends._mlflow_files import put_text
from trk.backends._mlflow_store import Store
from trk.errors import BackendRefused, BackendRunGone
from trk.records import FILES, Kind, RemoteRun, Row, Status

MODE_TAG = "trk.mode."  # of an experiment: the direction of a metric
SUMMARY = "summary/"  # before the name of a summary value that is no number

MAX_ENTITIES = 1000  # metrics, params and tags together in one request
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_REQUEST = 900_000  # bytes of JSON; the server refuses more than 1,000,000
MAX_PARAM = 6000  # characters; MLflow cuts what is longer without a word
MAX_TAG = 8000
LONG = "trk/long"  # the folder of what is too long for a param or tag
_ENTRY = 80  # bytes of JSON around the name and value of one entry, at most


@dataclass(slots=True)
class Batch:
    """Neighbouring rows that MLflow takes in one request. Of a tag that is set twice, the last value counts."""

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    params_if_new: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take a METRIC, PARAM, TAG or SUMMARY row. Raises BackendRefused for a param that would change."""
        if row.values or row.kind is Kind.METRIC:
            for key, value in row.values.items():
                self.metrics.append((key, value, row.time_ms, row.step or 0))
            return
        key, text = row.key or "", row.text or ""
        if row.kind is Kind.TAG:
            self.tags[key] = text
        elif row.kind is Kind.PARAM:
            if self.params.setdefault(key, text) != text:
                raise BackendRefused(f"param {key!r} has another value already")
        else:
            shown = summary_text(text)
            self.tags[SUMMARY + key] = shown
            self.params_if_new.setdefault(SUMMARY + key, shown)


def send(store: Store, run: RemoteRun, rows: Sequence[Row]) -> None:
    """Carry rows to a run, in order. Replaying them changes nothing."""
    if run.external:
        beside.check(store, run, rows)
    for is_content, together in groupby(rows, lambda row: row.kind in FILES):
        if is_content:
            content.send_files(store, run, list(together))
            continue
        for part in _parts(together):
            if isinstance(part, Batch):
                _send_batch(store, run, part)
            else:
                _SINGLE[part.kind](store, run, part)
    store.done.clear()  # what is handed over again after this is put again


def _parts(rows: Iterable[Row]) -> Iterator[Batch | Row]:
    batch: Batch | None = None
    for row in rows:
        if row.kind not in _SINGLE:
            batch = batch or Batch()
            batch.add(row)
            continue
        if batch is not None:
            yield batch
            batch = None
        yield row
    if batch is not None:
        yield batch


def _send_batch(store: Store, run: RemoteRun, batch: Batch) -> None:
    params = dict(batch.params)
    if batch.params_if_new:
        known = _params(store, run)
        params |= {key: text for key, text in batch.params_if_new.items() if key not in known and key not in params}
    params = {key: _fitting(store, run, "param", key, text, MAX_PARAM) for key, text in params.items()}
    tags = {key: _fitting(store, run, "tag", key, text, MAX_TAG) for key, text in batch.tags.items()}
    for request in _requests(batch.metrics, params, tags):
        with store.calling() as mlflow:
            mlflow.log_batch(run.remote_id, *request)


def _requests(
    metrics: Sequence[tuple[str, float, int, int]], params: Mapping[str, str], tags: Mapping[str, str]
) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    """MLflow's entities in lists that one request takes: by number, and by the bytes of their JSON."""
    from mlflow.entities import Metric, Param, RunTag

    waiting: list[tuple[int, Any, int]] = [(1, Param(*item), _bytes(*item)) for item in params.items()]
    waiting += [(2, RunTag(*item), _bytes(*item)) for item in tags.items()]
    waiting += [(0, Metric(*point), _name_bytes(point[0]) + _ENTRY) for point in metrics]
    request: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    caps = (MAX_ENTITIES, MAX_PARAMS, MAX_TAGS)
    number = size = 0
    for place, entity, weight in waiting:
        if number >= MAX_ENTITIES or size + weight > MAX_REQUEST or len(request[place]) >= caps[place]:
            yield request
            request, number, size = ([], [], []), 0, 0
        request[place].append(entity)
        number += 1
        size += weight
    if number:
        yield request


def _bytes(key: str, text: str) -> int:
    return _name_bytes(key) + len(json.dumps(text)) + _ENTRY


@functools.lru_cache(maxsize=4096)
def _name_bytes(name: str) -> int:
    """As JSON, where a letter beyond ASCII takes six bytes or twelve."""
    return len(json.dumps(name))


def _params(store: Store, run: RemoteRun) -> Mapping[str, str]:
    with store.calling() as mlflow:
        known: Mapping[str, str] = mlflow.get_run(run.remote_id).data.params
    return known


def _fitting(store: Store, run: RemoteRun, kind: str, key: str, text: str, limit: int) -> str:
    """The text, or, when MLflow would cut it, its hash and where the whole of it lies as an artifact."""
    if len(text) <= limit:
        return text
    path, stands = long_text(kind, key, text)
    put_text(store, content.active(store, run), path, text)
    return stands


def long_text(kind: str, key: str, text: str) -> tuple[str, str]:
    """(path of the artifact that has the whole of a text, what stands in its place)."""
    path = content.apart(f"{LONG}/{kind}", key, ".txt")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return path, f"sha256:{digest} ({len(text)} characters, in artifact {path})"


def summary_text(text: str) -> str:
    """A JSON string as itself, any other JSON in its shortest form."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackendRefused(f"a summary value is no JSON: {error}") from None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def mode_of(row: Row) -> str | None:
    """The direction that a DEFINE row gives its metric; None when it gives none."""
    defined = json.loads(row.text or "{}")
    mode: str | None = defined.get("mode")
    return mode


def _delete_tag(store: Store, run: RemoteRun, row: Row) -> None:
    with store.calling() as mlflow:
        from mlflow.exceptions import MlflowException

        try:
            mlflow.delete_tag(run.remote_id, row.key)
        except MlflowException as error:
            # A tag that is not there any more: this row was delivered before. A run that is not there is another thing.
            if not ("No tag with name" in str(error) and error.error_code == "RESOURCE_DOES_NOT_EXIST"):
                raise


def _define(store: Store, run: RemoteRun, row: Row) -> None:
    with store.calling() as mlflow:
        from mlflow.entities import ExperimentTag

        mode = mode_of(row)
        experiment_id = run.experiment_id or mlflow.get_run(run.remote_id).info.experiment_id
        if mode is not None:
            mlflow.set_experiment_tag(experiment_id, ExperimentTag(f"{MODE_TAG}{row.key}", mode))


def _set_status(store: Store, run: RemoteRun, row: Row) -> None:
    status = Status(row.text or "")
    if row.files:
        content.send_manifest(store, run, row)
    if row.final and not run.external:
        _leave_stats(store, run, row)
    with store.calling() as mlflow:
        from mlflow.entities import RunStatus

        end_ms = None if status is Status.RUNNING else row.time_ms
        mlflow.update_run_info(run.remote_id, RunStatus.from_string(status.value), end_ms, None)


def _leave_stats(store: Store, run: RemoteRun, row: Row) -> None:
    """Tell of the histories in tags. Without them they are read: a server that refuses them still takes the end."""
    try:
        for request in _requests((), {}, stats.tags(row.stats, row.time_ms)):
            with store.calling() as mlflow:
                mlflow.log_batch(run.remote_id, *request)
    except BackendRefused:
        return


def _set_deleted(store: Store, run: RemoteRun, row: Row) -> None:
    set_deleted(store, run.remote_id, row.kind is Kind.DELETE)


def set_deleted(store: Store, remote_id: str, deleted: bool) -> None:
    """Delete a run or restore it; one that is so already stays so. Raises BackendRunGone when there is none."""
    with store.calling() as mlflow:
        before = mlflow.get_run(remote_id).info.lifecycle_stage
    if (before == "deleted") == deleted:
        return
    try:
        with store.calling() as mlflow:
            (mlflow.delete_run if deleted else mlflow.restore_run)(remote_id)
    except BackendRunGone:
        if not deleted:
            raise
        # Somebody was quicker: it is deleted.


_SINGLE = {
    Kind.DELETE_TAG: _delete_tag,
    Kind.DEFINE: _define,
    Kind.STATUS: _set_status,
    Kind.TABLE: content.send_table,
    Kind.DELETE: _set_deleted,
    Kind.RESTORE: _set_deleted,
}
