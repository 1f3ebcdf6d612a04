"""The memory backend keeps the contract, and shows that the contract can be kept in a few lines."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from trk.backends.memory import MemoryBackend, servers
from trk.errors import BackendUnavailable
from trk.records import Kind
from trk.testing import Arrived, BackendContract


class TestMemory(BackendContract):
    def make_backend(self) -> MemoryBackend:
        return MemoryBackend({"server": "contract"})

    def read_back(self, remote_id: str) -> Arrived:
        run = servers["contract"].runs[remote_id]
        return Arrived(
            points=list(run.points.values()),
            params=run.params,
            tags=run.tags,
            summary=run.summary,
            status=run.status.value,
            end_ms=run.end_ms,
            parent=run.spec.parent_remote_id,
            modes=servers["contract"].modes.get(run.spec.experiment, {}),
        )

    def read_file(self, remote_id: str, kind: Kind, path: str) -> bytes | None:
        return servers["contract"].runs[remote_id].files.get(path, (None, None))[1]

    def read_table(self, remote_id: str, path: str) -> tuple[list[str], list[list[Any]]]:
        found = json.loads(servers["contract"].runs[remote_id].files[path][1] or "")
        return found["columns"], found["data"]

    def delete_remotely(self, remote_id: str) -> None:
        runs = servers["contract"].runs
        runs[remote_id] = dataclasses.replace(runs[remote_id], deleted=True)

    def test_a_fault_is_injected_at_the_server(self) -> None:
        def fail(call: str) -> None:
            raise BackendUnavailable(f"{call}: the server is down")

        backend = MemoryBackend({"server": "failing"})
        servers["failing"].fail = fail
        with pytest.raises(BackendUnavailable, match="open: the server is down"):
            backend.open(self.spec())
        servers["failing"].fail = None
        assert backend.open(self.spec()).remote_id
