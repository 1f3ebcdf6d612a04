"""The protocol of `trk.backends.base` at its smallest: a server that is a dict of this process.

What a server keeps outlives the instances that deliver to it, as with any backend: a new instance with the same
`target["server"]` finds the same runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trk.backends.base import Held, Limits, Trace
from trk.errors import BackendRefused, BackendRunGone, NotFound, UsageError
from trk.records import (
    FILES,
    ArtifactRecord,
    Kind,
    LoggedFile,
    LoggedTable,
    MetricPoint,
    RemoteRun,
    Row,
    RunRecord,
    RunSpec,
    Status,
    from_ms,
)
from trk.rules import place
from trk.tabular import as_json

Point = tuple[str, int, int, float]  # metric, step, milliseconds, value


@dataclass(slots=True)
class MemoryRun:
    """A run as the server keeps it. Points are keyed by their text, so that NaN equals NaN and is kept once."""

    spec: RunSpec
    status: Status = Status.RUNNING
    end_ms: int | None = None
    points: dict[str, Point] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, tuple[ArtifactRecord, bytes | None]] = field(default_factory=dict)
    deleted: bool = False

    def copy(self) -> MemoryRun:
        """A run like this one, of its own."""
        own: dict[str, Any] = {name: dict(getattr(self, name)) for name in _KEPT}
        return replace(self, **own)

    def take(self, row: Row) -> None:
        """Let a row have its effect."""
        key, text = row.key or "", row.text or ""
        for metric, value in row.values.items():
            point = (metric, row.step or 0, row.time_ms, value)
            self.points[repr(point)] = point
        if row.kind is Kind.PARAM and self.params.setdefault(key, text) != text:
            raise BackendRefused(f"param {key!r} is {self.params[key]!r} already")
        if row.kind is Kind.TAG:
            self.tags[key] = text
        if row.kind is Kind.DELETE_TAG:
            self.tags.pop(key, None)
        if row.kind is Kind.SUMMARY and not row.values:
            self.summary[key] = json.loads(text)
        if row.kind is Kind.STATUS:
            self.status = Status(text)
            self.end_ms = None if self.status is Status.RUNNING else row.time_ms
        if row.kind in (Kind.DELETE, Kind.RESTORE):
            self.deleted = row.kind is Kind.DELETE
        if row.kind in FILES:
            for file in row.files:
                self._keep(row, file)
        if row.table is not None:
            self._keep_table(row, row.table)

    def _keep(self, row: Row, file: LoggedFile) -> None:
        """What lay at the path before is gone, as on a disk."""
        try:
            content = None if file.local is None else Path(file.local).read_bytes()
        except OSError as error:
            raise BackendRefused(f"{file.local} can't be read any more: {error.strerror}") from None
        record = ArtifactRecord(
            self.spec.run_id, file.path, str(row.kind), row.key or "", file.size, file.sha256, row.step, row.type,
            row.version, file.uri, n=row.n,
        )  # fmt: skip
        self.files[file.path] = record, content

    def _keep_table(self, row: Row, table: LoggedTable) -> None:
        record = ArtifactRecord(self.spec.run_id, table.path, str(row.kind), row.key or "", rows=table.count, n=row.n)
        self.files[table.path] = record, b"".join(as_json(table))


_KEPT = ("points", "params", "tags", "summary", "files")


@dataclass(slots=True)
class MemoryServer:
    """Runs by trk run id, and modes by experiment. `fail`, if set, is called before each call and may raise."""

    runs: dict[str, MemoryRun] = field(default_factory=dict)
    modes: dict[str, dict[str, str]] = field(default_factory=dict)
    fail: Callable[[str], None] | None = None


servers: dict[str, MemoryServer] = {}


class MemoryBackend:
    """Delivers to `servers[target["server"]]`, by default the server `default`."""

    name = "memory"
    limits = Limits()

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        """Nothing has to be installed."""
        return None

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._server = servers.setdefault(str(target.get("server", "default")), MemoryServer())

    def open(self, run: RunSpec) -> RemoteRun:
        """Find the run or make it."""
        self._called("open")
        if self._server.runs.setdefault(run.run_id, MemoryRun(run)).deleted and not run.deleted:
            raise BackendRunGone(f"run {run.run_id} was deleted")
        return RemoteRun(run.run_id, run.run_id)

    def holds(self, row: Row) -> bool:
        """There is a place for everything but a definition without a direction."""
        return row.kind is not Kind.DEFINE or "mode" in json.loads(row.text or "{}")

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        """Take the rows: all of them, or none when one is refused."""
        self._called("deliver")
        stored = self._server.runs.get(run.remote_id)
        if stored is None:
            raise BackendRunGone(f"run {run.remote_id} is not there any more")
        changed = stored.copy()
        for row in rows:
            if changed.deleted and row.kind not in (Kind.DELETE, Kind.RESTORE):
                raise BackendRunGone(f"run {run.remote_id} was deleted")
            changed.take(row)
        self._server.runs[run.remote_id] = changed
        modes = self._server.modes.setdefault(stored.spec.experiment, {})
        modes.update((row.key or "", json.loads(row.text or "")["mode"]) for row in rows if row.kind is Kind.DEFINE)

    def confirm(self, run: RemoteRun, n: int) -> int:
        """Everything handed over is there."""
        self._called("confirm")
        return n

    def close(self) -> None:
        """Nothing is held."""

    def search(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        """All runs of the experiment; the filter is left to the caller."""
        self._called("search")
        found = [run for run in self._server.runs.values() if experiment in (None, run.spec.experiment)]
        for run in sorted(found, key=lambda run: -run.spec.start_ms):
            if not run.deleted:
                yield self._record(run)

    def get(self, run_id: str) -> RunRecord | None:
        """The run with this trk run id."""
        self._called("get")
        run = self._server.runs.get(run_id)
        return None if run is None or run.deleted else self._record(run)

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """All points of a metric, by (step, time, value)."""
        self._called("history")
        points = self._server.runs[run.run_id].points.values()
        return [MetricPoint(run.run_id, *point) for point in sorted(points, key=_place) if point[0] == metric]

    def modes(self, experiment: str) -> Mapping[str, str]:
        """The directions defined so far."""
        self._called("modes")
        return self._server.modes.get(experiment, {})

    def artifacts(self, run: RunRecord) -> list[ArtifactRecord]:
        """What lies at each path of a run."""
        self._called("artifacts")
        files = self._server.runs[run.run_id].files
        return [files[path][0] for path in sorted(files)]

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """Write the bytes at a path of a run into a file."""
        self._called("fetch")
        _, content = self._server.runs[run.run_id].files.get(path, (None, None))
        if content is None:
            raise NotFound(f"there is no {path} in run {run.run_id}")
        try:
            Path(to).write_bytes(content)
        except OSError as error:
            raise UsageError(f"{to} can't be written: {error.strerror}") from None

    def set_deleted(self, run_id: str, deleted: bool) -> None:
        """Delete a run, or restore it."""
        self._called("set_deleted")
        if run_id not in self._server.runs:
            raise NotFound(f"there is no run {run_id}")
        self._server.runs[run_id] = replace(self._server.runs[run_id], deleted=deleted)

    def traces(self, row: Row) -> list[Trace]:
        """Each text under its own name; at a path either bytes or a reference."""
        key = row.key or ""
        if row.kind in (Kind.PARAM, Kind.TAG, Kind.DELETE_TAG):
            return [Trace("param" if row.kind is Kind.PARAM else "tag", key, row.text)]
        if row.kind is Kind.SUMMARY and not row.values:
            return [Trace("summary", key, _same(json.loads(row.text or "")))]
        found = []
        for file in row.files:
            is_here = file.local is not None
            found.append(Trace("file", file.path, file.sha256 if is_here else None, file.size))
            found.append(Trace("reference", file.path, None if is_here else file.uri))
        return found

    def held(self, remote_id: str) -> Held | None:
        """Everything but the points."""
        self._called("held")
        run = self._server.runs.get(remote_id)
        if run is None:
            return None
        texts = {
            "param": run.params,
            "tag": run.tags,
            "summary": {key: _same(value) for key, value in run.summary.items()},
            "reference": {path: record.uri or "" for path, (record, content) in run.files.items() if content is None},
        }
        sizes = {path: len(content) for path, (_, content) in run.files.items() if content is not None}
        return Held(self._record(run), run.deleted, texts, sizes)

    def _called(self, name: str) -> None:
        if self._server.fail is not None:
            self._server.fail(name)

    def _record(self, run: MemoryRun) -> RunRecord:
        return RunRecord(
            run_id=run.spec.run_id,
            name=run.spec.name,
            experiment=run.spec.experiment,
            status=run.status,
            source=self.name,
            start_time=from_ms(run.spec.start_ms),
            end_time=from_ms(run.end_ms),
            parent_id=run.spec.parent_remote_id,
            description=run.spec.description,
            params=dict(run.params),
            metrics={point[0]: point[3] for point in sorted(run.points.values(), key=_place)},
            tags=dict(run.tags),
        )


def _same(value: Any) -> str:
    """A JSON value as a text that is the same for the same value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _place(point: Point) -> tuple[int, int, float]:
    """By (step, time, value), as every source has it."""
    return point[1], point[2], place(point[3])
