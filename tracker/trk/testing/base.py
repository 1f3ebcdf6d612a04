"""What the tests of a backend are made of: rows, what a server has, and the hooks that a backend's author fills."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from trk.backends.base import ArtifactBackend, Backend, SearchableBackend
from trk.records import Kind, LoggedFile, LoggedTable, RemoteRun, Row, RunRecord, RunSpec, Status

NOON = 1_763_726_400_123  # milliseconds since 1970, with a part below the second

Point = tuple[str, int, int, float]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a server has of one run.

    `points` are (metric, step, milliseconds, value), as often as they are there; `summary` holds the JSON summary
    values, decoded; `status` is a Status; `end_ms` is None while the run is open; `parent` is the remote id of the
    parent; `modes` are the directions of the run's experiment.
    """

    points: Sequence[Point] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    status: str = "RUNNING"
    end_ms: int | None = None
    parent: str | None = None
    modes: Mapping[str, str] = field(default_factory=dict)


def metric(n: int, key: str, value: float, step: int = 0, time_ms: int = NOON) -> Row:
    """A METRIC row with one value."""
    return Row(n, Kind.METRIC, time_ms, step=step, values={key: value})


def entry(n: int, kind: Kind, key: str, text: str | None = None, time_ms: int = NOON) -> Row:
    """A PARAM, TAG, DELETE_TAG, DEFINE or JSON SUMMARY row."""
    return Row(n, kind, time_ms, key=key, text=text)


def status(n: int, state: Status, time_ms: int = NOON) -> Row:
    """A STATUS row."""
    return Row(n, Kind.STATUS, time_ms, text=state.value)


def skip(reason: str) -> NoReturn:
    """Leave a test out. pytest is imported here, so that this module needs none."""
    import pytest

    pytest.skip(reason)


def logged(folder: Path, path: str, content: bytes, **more: Any) -> LoggedFile:
    """A file as it is handed over: its bytes in a folder, under their hash, readable by their owner alone."""
    digest = sha256(content).hexdigest()
    local = folder / digest
    local.write_bytes(content)
    local.chmod(0o600)
    return LoggedFile(path, len(content), digest, str(local), **more)


def files(n: int, kind: Kind, key: str, *given: LoggedFile, step: int | None = None, **more: Any) -> Row:
    """A row of files: HTML, TEXT, DICT, IMAGE, FIGURE, FILE or ARTIFACT."""
    return Row(n, kind, NOON, key=key, step=step, files=given, **more)


def table(n: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Row:
    """A TABLE row with the whole table."""
    whole = LoggedTable(f"{name}.json", columns, len(rows), lambda: (list(row) for row in rows))
    return Row(n, Kind.TABLE, NOON, key=name, table=whole)


class Hooks:
    """What a backend's author fills, and what the tests do with it."""

    confirm_within_s: float = 30.0
    keeps_modes: bool = True
    replay_every: int = 1
    """Of so many beginnings of a story one is replayed, where each costs a server many seconds."""
    restores: bool = True  # what was deleted there; where not, that is refused by a Conflict

    def make_backend(self) -> Backend:
        """A new backend on the same server."""
        raise NotImplementedError

    def read_back(self, remote_id: str) -> Arrived:
        """What the server has of this run."""
        raise NotImplementedError

    def delete_remotely(self, remote_id: str) -> None:
        """Delete the run at the server, as a user would there."""
        skip("this backend's test deletes no runs")

    def read_long_param(self, remote_id: str, key: str) -> str:
        """The whole text of a param, wherever the backend keeps long ones."""
        return self.read_back(remote_id).params[key]

    def read_file(self, remote_id: str, kind: Kind, path: str) -> bytes | None:
        """What the server shows of what was logged as this kind at this path; None when there is nothing."""
        skip("this backend's test reads no files")

    def read_table(self, remote_id: str, path: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """(columns, rows) of a table at the server."""
        skip("this backend's test reads no tables")

    def refused_row(self, n: int) -> Row | None:
        """A row that the server refuses once `param fixed = 1` is there; None when it refuses nothing."""
        return entry(n, Kind.PARAM, "fixed", "2")

    # -- what the tests are made of ---------------------------------------------------------------------------

    def spec(self, **changes: Any) -> RunSpec:
        """A run that nobody has opened yet."""
        run_id = uuid.uuid4().hex[:26]
        given: dict[str, Any] = {"name": f"run {run_id[:4]}", "experiment": f"contract {run_id}", "start_ms": NOON}
        return RunSpec(run_id=run_id, **given | changes)

    def settle(self, backend: Backend, run: RemoteRun, n: int) -> None:
        """Wait until the backend is known to have everything up to row `n`."""
        until = time.monotonic() + self.confirm_within_s
        while backend.confirm(run, n) < n:
            assert time.monotonic() < until, f"row {n} was not confirmed within {self.confirm_within_s} s"
            time.sleep(0.05)

    def delivered(self, rows: Sequence[Row], spec: RunSpec | None = None) -> RemoteRun:
        """A run to which the rows were delivered in one call."""
        backend = self.make_backend()
        run = backend.open(spec or self.spec())
        backend.deliver(run, rows)
        self.settle(backend, run, rows[-1].n)
        backend.close()
        return run

    def arrived(self, rows: Sequence[Row]) -> Arrived:
        """What the server has after one delivery."""
        return self.read_back(self.delivered(rows).remote_id)

    def holding(self, *rows: Row) -> None:
        """Leave a test out when the backend has no place for these rows."""
        backend = self.make_backend()
        missing = sorted({str(row.kind) for row in rows if not backend.holds(row)})
        if missing:
            skip(f"this backend has no place for {', '.join(missing)}")

    def source(self) -> SearchableBackend:
        """The backend as a source; the test is left out when it is none."""
        backend = self.make_backend()
        if not isinstance(backend, SearchableBackend):
            skip("this backend is no source")
        return backend

    def keeper(self) -> ArtifactBackend:
        """The backend whose files can be listed and fetched; the test is left out when they can't."""
        backend = self.make_backend()
        if not isinstance(backend, ArtifactBackend):
            skip("files of this backend can't be listed")
        return backend

    def found(self, spec: RunSpec) -> RunRecord:
        """The run as the backend, as a source, knows it."""
        record = self.source().get(spec.run_id)
        assert record is not None
        return record


def raises(error: type[Exception], call: Any) -> None:
    """Expect a call to fail in this way."""
    import pytest

    with pytest.raises(error):
        call()
