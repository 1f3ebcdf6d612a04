"""The tests of reading a run back: what rows leave is what is found."""

# ruff: noqa: D102 - the name of a test says what it tests
from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from trk.backends.base import Held, VerifiableBackend
from trk.records import Kind, Row, Status
from trk.testing.base import Hooks, entry, files, logged, metric, skip, status


class VerifyingContract(Hooks):
    """Part of `trk.testing.BackendContract`."""

    def verifiable(self) -> VerifiableBackend:
        """A backend that can be read back; where it can't, the test is left out."""
        backend = self.make_backend()
        return backend if isinstance(backend, VerifiableBackend) else skip("it can't be read back")

    def read_traces(self, backend: VerifiableBackend, rows: list[Row], held: Held, to: Path) -> None:
        """Check that all the traces of these rows are there."""
        for trace in (trace for row in rows for trace in backend.traces(row)):
            if trace.kind == "file" and trace.text is not None:
                backend.fetch(held.run, trace.key, str(to))
                assert sha256(to.read_bytes()).hexdigest() == trace.text, trace.key
                assert held.files[trace.key] in (None, to.stat().st_size)
            elif trace.kind != "file":
                assert held.texts[trace.kind].get(trace.key) == trace.text, trace

    def test_what_rows_leave_is_found_there_and_nothing_else_but_the_backends_own(self, tmp_path: Path) -> None:
        backend, spec = self.verifiable(), self.spec()
        rows = [
            metric(1, "f1", 0.5),
            entry(2, Kind.PARAM, "lr", "0.1"),
            entry(3, Kind.PARAM, "long", "ü" * 20_000),
            entry(4, Kind.TAG, "stage", "dev"),
            entry(5, Kind.SUMMARY, "labels", '["b", {"a": null}]'),
            files(6, Kind.FILE, "a/b.bin", logged(tmp_path, "a/b.bin", b"\0" * 1000)),
            status(7, Status.FINISHED),
        ]
        self.holding(*rows)
        remote = self.delivered(rows, spec)
        held = backend.held(remote.remote_id)
        assert held is not None
        assert (held.deleted, held.run.status, list(held.run.metrics)) == (False, Status.FINISHED, ["f1"])
        self.read_traces(backend, rows, held, tmp_path / "fetched")
        left = {(trace.kind, trace.key) for row in rows for trace in backend.traces(row)}
        there = {(kind, key) for kind, texts in held.texts.items() for key in texts}
        there |= {("file", path) for path in held.files}
        assert there - left - held.own == set()
        assert [point.value for point in backend.history(held.run, "f1")] == [0.5]

    def test_a_tag_that_was_taken_away_leaves_nothing(self) -> None:
        backend, spec = self.verifiable(), self.spec()
        rows = [entry(1, Kind.TAG, "stage", "dev"), entry(2, Kind.DELETE_TAG, "stage")]
        self.holding(*rows)
        held = backend.held(self.delivered(rows, spec).remote_id)
        assert held is not None
        assert "stage" not in held.texts.get("tag", {})
        assert any((trace.kind, trace.key, trace.text) == ("tag", "stage", None) for trace in backend.traces(rows[1]))

    def test_a_run_that_is_deleted_or_was_never_there_is_told(self) -> None:
        backend, spec = self.verifiable(), self.spec()
        remote = self.delivered([metric(1, "f1", 0.5)], spec)
        self.delete_remotely(remote.remote_id)
        held = backend.held(remote.remote_id)
        assert held is None or held.deleted
        assert backend.held("0" * 32) is None
