"""Histories of many runs: MLflow gives those of several runs in one answer, where it can, and they are asked for in
several threads.

An answer has so many points at most and does not say that it was cut: then the last run in it, and those that are not
in it, are asked for again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from trk.backends._mlflow_read import Reader, point_of, sort_place
from trk.backends._mlflow_store import Store, as_source, asked, file_timeout, is_server, requested
from trk.errors import BackendError, BackendRefused, BackendRunGone
from trk.records import MetricPoint, RunRecord

RUNS = 50  # in one request: their ids are in its address, of which some servers take 4,000 bytes
POINTS = 25_000  # that a server gives at most
ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
THREADS = 8
_ANSWER_BYTES = POINTS * 120

Found = list[tuple[RunRecord, list[MetricPoint]]]


class Histories:
    """Reads the histories of one store."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader
        self._in_bulk = True  # until the store turns out not to know of it

    def read(self, runs: Sequence[RunRecord], metric: str) -> Iterator[tuple[RunRecord, list[MetricPoint]]]:
        """See `ScoringBackend.histories`."""
        groups = [runs[start : start + RUNS] for start in range(0, len(runs), RUNS)]
        # In a database file, threads of one process only wait for each other.
        threads = 1 if self._store.uri.startswith("sqlite") else THREADS
        stop = threading.Event()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="trk-histories")
        try:
            for done in as_completed([pool.submit(self._group, group, metric, stop) for group in groups]):
                yield from done.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _group(self, runs: Sequence[RunRecord], metric: str, stop: threading.Event) -> Found:
        left = {self._reader.remote_id(run.run_id): run for run in runs}
        found: Found = []
        while len(left) > 1 and self._in_bulk and not stop.is_set():
            points = self._bulk(list(left), metric)
            if points is None:
                self._in_bulk = False
                break
            grouped = _by_run(points, left, metric)
            whole = list(left) if len(points) < POINTS else list(grouped)[:-1]
            if not whole:
                break  # one run fills an answer
            found += [(left.pop(remote_id), sorted(grouped.get(remote_id, ()), key=sort_place)) for remote_id in whole]
        for run in left.values():
            if stop.is_set():
                break
            found.append((run, self._reader.history(run, metric)))
        return found

    def _bulk(self, remote_ids: Sequence[str], metric: str) -> list[dict[str, Any]] | None:
        """The points of several runs, by run; None where there is no such thing."""
        if is_server(self._store.uri):
            return self._from_server(remote_ids, metric)
        with asked(self._store) as mlflow:
            if not hasattr(mlflow, "get_metric_history_bulk"):
                return None
            return [point.to_dict() for point in mlflow.get_metric_history_bulk(list(remote_ids), metric, POINTS)]

    def _from_server(self, remote_ids: Sequence[str], metric: str) -> list[dict[str, Any]] | None:
        words = [*(("run_id", remote_id) for remote_id in remote_ids), ("metric_key", metric)]
        with as_source(), self._store.calling() as mlflow:
            host = getattr(mlflow, "host", None)
            if host is None:
                return None
            try:
                answer = requested(
                    self._store.uri, host, ENDPOINT, "GET", file_timeout(_ANSWER_BYTES), params=words
                )  # fmt: skip
                points = answer.json()["metrics"] if answer.status_code == 200 else None
            except (BackendRefused, BackendRunGone, ValueError, KeyError, TypeError):
                return None  # a server that knows no such request, or something in between that takes no such address
            except BackendError:
                raise
        return points if isinstance(points, list) else None


def _by_run(points: Iterable[dict[str, Any]], runs: dict[str, RunRecord], metric: str) -> dict[str, list[MetricPoint]]:
    """The points of each run that has some, in the order of the answer."""
    grouped: dict[str, list[MetricPoint]] = {}
    for point in points:
        run = runs.get(point["run_id"])
        if run is not None:
            value = float("nan") if point["value"] is None else float(point["value"])
            found = point_of(run, metric, int(point["step"]), int(point["timestamp"]), value)
            grouped.setdefault(point["run_id"], []).append(found)
    return grouped
