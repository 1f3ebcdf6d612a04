"""The tests of tables, files, and of deleting and restoring."""

# ruff: noqa: D102 - the name of a test says what it tests
from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trk.errors import BackendRefused, BackendRunGone
from trk.records import Kind, LoggedFile, RemoteRun, Row, RunSpec, Status
from trk.testing.base import NOON, Hooks, files, logged, metric, raises, status, table

COLUMNS = ["epoch", "loss", 'a "quoted" name', "größe 模型"]


def png(shade: int, width: int = 4) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    line = b"\0" + bytes([shade]) * width
    head = struct.pack(">IIBBBBB", width, width, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(line * width)) + chunk(b"IEND", b"")
    )


def series_path(key: str, step: int, ending: str = ".png") -> str:
    """The path of an image of a series."""
    return f"images/{key.replace('/', '~')}+step+{step}+timestamp+{NOON}+0123abcd-0000-4000-8000-{step:012d}{ending}"


class ContentContract(Hooks):
    """Part of `trk.testing.BackendContract`."""

    def content(self, here: Path) -> list[Row]:
        """One row of every kind of file."""
        return [
            files(1, Kind.HTML, "report", logged(here, "report.html", b"<h1>Report \xe2\x9c\x93</h1>")),
            files(2, Kind.TEXT, "notes/first", logged(here, "notes/first.txt", "eins\nzwei ✓\n".encode())),
            files(3, Kind.DICT, "labels", logged(here, "labels.json", b'{"classes": ["cat", "dog"]}\n')),
            files(4, Kind.IMAGE, "sample", logged(here, "sample.png", png(20))),
            files(5, Kind.FIGURE, "curve", logged(here, "curve.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
            files(6, Kind.FILE, "deep/er/a b.bin", logged(here, "deep/er/a b.bin", bytes(range(256)) * 100)),
            files(7, Kind.FILE, "empty", logged(here, "empty", b"")),
            files(
                8, Kind.ARTIFACT, "model", logged(here, "model/v0/weights.bin", b"\0" * 5000),
                logged(here, "model/v0/deep/config.json", b"{}"), type="model", version=0,
            ),
        ]  # fmt: skip

    def same_files(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        """The server shows each file of the rows as it was logged."""
        for row in rows:
            for file in row.files:
                assert self.read_file(run.remote_id, row.kind, file.path) == _bytes(file), file.path

    # -- files ------------------------------------------------------------------------------------------------

    def test_every_kind_of_content_arrives_byte_for_byte(self, tmp_path: Path) -> None:
        rows = self.content(tmp_path)
        self.holding(*rows)
        self.same_files(self.delivered(rows), rows)

    def test_the_images_of_a_series_arrive(self, tmp_path: Path) -> None:
        rows = [
            files(n, Kind.IMAGE, "val/sample", logged(tmp_path, series_path("val/sample", step), png(step)), step=step)
            for n, step in enumerate((0, 10, 200), 1)
        ]
        self.holding(*rows)
        self.same_files(self.delivered(rows), rows)

    def test_what_is_logged_again_shows_its_latest(self, tmp_path: Path) -> None:
        first, second, third = (logged(tmp_path, "page.html", f"<p>{n}</p>".encode()) for n in range(3))
        rows = [
            files(1, Kind.HTML, "page", first),
            files(2, Kind.HTML, "page", replace(second, earlier=1, before=first.local)),
            files(3, Kind.HTML, "page", replace(third, earlier=2, before=second.local)),
        ]
        self.holding(*rows)
        self.same_files(self.delivered(rows), rows[-1:])
        spec = self.spec()
        for row in rows:
            self.same_files(self.delivered([row], spec), [row])

    def test_a_file_that_is_logged_again_is_replaced(self, tmp_path: Path) -> None:
        spec, rows = self.spec(), []
        for n, content in enumerate((b"long " * 1000, b"short"), 1):
            rows.append(files(n, Kind.FILE, "out.bin", logged(tmp_path, "out.bin", content)))
            self.holding(*rows)
            self.same_files(self.delivered(rows[-1:], spec), rows[-1:])
        self.same_files(self.delivered(rows, spec), rows[-1:])

    def test_as_many_files_as_one_call_may_carry_arrive(self, tmp_path: Path) -> None:
        many = range(1, self.make_backend().limits.files + 1)
        rows = [files(n, Kind.FILE, f"f/{n}", logged(tmp_path, f"f/{n}", b"%d" % n)) for n in many]
        self.holding(*rows)
        self.same_files(self.delivered(rows), rows)

    def test_a_file_without_a_snapshot_arrives(self, tmp_path: Path) -> None:
        own = logged(tmp_path, "data.csv", b"a,b\n1,2\n")
        rows = [files(1, Kind.FILE, "data.csv", replace(own, changed_ns=Path(str(own.local)).stat().st_mtime_ns))]
        self.holding(*rows)
        self.same_files(self.delivered(rows), rows)

    def test_a_file_that_is_gone_is_refused_and_the_others_go_through_apart(self, tmp_path: Path) -> None:
        spec = self.spec()
        good, bad = (files(n, Kind.FILE, f"{n}", logged(tmp_path, f"{n}", b"%d" % n)) for n in (1, 2))
        self.holding(good, bad)
        Path(str(bad.files[0].local)).unlink()
        backend = self.make_backend()
        run = backend.open(spec)
        raises(BackendRefused, lambda: backend.deliver(run, [good, bad]))
        raises(BackendRefused, lambda: backend.deliver(run, [bad]))
        backend.deliver(run, [good])
        self.settle(backend, run, 1)
        self.same_files(run, [good])

    def test_a_reference_is_taken(self, tmp_path: Path) -> None:
        pointer = LoggedFile("data/v0/train", uri="s3://bucket/train")
        rows = [files(1, Kind.ARTIFACT, "data", pointer, type="dataset", version=0), metric(2, "f1", 0.5)]
        self.holding(*rows)
        run = self.delivered(rows[:1])
        assert self.read_file(run.remote_id, Kind.ARTIFACT, "data/v0/train") is None

    # -- tables -----------------------------------------------------------------------------------------------

    def test_a_table_arrives_with_its_types(self) -> None:
        rows = [[1, 0.5, "eins ✓", True], [2, -1e-300, 'zwei "2"\n', None], [2**53 + 1, 3.0, "", False]]
        row = table(1, "scores/val", COLUMNS, rows)
        self.holding(row)
        run = self.delivered([row])
        assert _table(self.read_table(run.remote_id, "scores/val.json")) == _table((COLUMNS, rows))

    def test_a_table_is_replaced_by_what_it_has_grown_to(self) -> None:
        spec, rows = self.spec(), [[n, n / 7] for n in range(50)]
        for n, count in enumerate((10, 20, 50), 1):
            row = table(n, "losses", ["epoch", "loss"], rows[:count])
            self.holding(row)
            run = self.delivered([row], spec)
            assert _table(self.read_table(run.remote_id, "losses.json")) == _table((["epoch", "loss"], rows[:count]))

    def test_several_tables_of_a_run_are_kept_apart(self) -> None:
        rows = [table(n, f"t{n}", ["n"], [[n]]) for n in (1, 2, 3)]
        self.holding(*rows)
        run = self.delivered(rows)
        for n in (1, 2, 3):
            assert _table(self.read_table(run.remote_id, f"t{n}.json")) == (["n"], [[n]])

    # -- replay -----------------------------------------------------------------------------------------------

    def content_story(self, here: Path) -> list[Row]:
        """Files and tables where order matters."""
        old, new = logged(here, "page.html", b"<p>old</p>"), logged(here, "page.html", b"<p>new</p>")
        data = logged(here, "data.bin", b"data")
        return [
            metric(1, "f1", 0.5),
            files(2, Kind.HTML, "page", old),
            table(3, "t", ["n"], [[1], [2]]),
            files(4, Kind.HTML, "page", replace(new, earlier=1, before=old.local)),
            files(5, Kind.FILE, "data.bin", data),
            replace(status(6, Status.FINISHED), files=(replace(data, local=None), replace(new, local=None))),
        ]

    def test_replaying_any_beginning_of_content_changes_nothing(self, tmp_path: Path) -> None:
        story = self.content_story(tmp_path)
        self.holding(*story)
        for cut in range(1, len(story) + 1, self.replay_every):
            spec = self.spec()
            self.delivered(story[:cut], spec)
            run = self.delivered(story, spec)
            self.same_files(run, [story[3], story[4]])
            assert _table(self.read_table(run.remote_id, "t.json")) == (["n"], [[1], [2]])
            arrived = self.read_back(run.remote_id)
            assert (arrived.status, len(arrived.points)) == ("FINISHED", 1)

    # -- deleting ---------------------------------------------------------------------------------------------

    def deleted(self, spec: RunSpec, rows: Sequence[Row]) -> RemoteRun:
        """A run that had these rows and was then deleted by trk."""
        self.delivered(rows, spec)
        last = rows[-1].n
        return self.delivered([Row(last + 1, Kind.DELETE, NOON)], spec)

    def test_a_run_that_is_deleted_is_hidden_and_comes_back_when_it_is_restored(self) -> None:
        source, spec = self.source(), self.spec()
        story: list[Row] = [metric(1, "f1", 0.5), status(2, Status.FINISHED)]
        self.holding(Row(3, Kind.DELETE, NOON), Row(4, Kind.RESTORE, NOON))
        first = self.deleted(spec, story)
        for deleted in (True, False, True, False):
            kind = Kind.DELETE if deleted else Kind.RESTORE
            gone = replace(spec, deleted=True, remote_id=first.remote_id)
            for _ in range(2):  # again, as after an answer that was lost
                run = self.delivered([Row(3, kind, NOON)], gone)
                assert run.remote_id == first.remote_id
                found = [record.run_id for record in source.search(spec.experiment, None)]
                assert found == ([] if deleted else [spec.run_id])
        record = self.found(spec)
        assert record.metrics == {"f1": 0.5}
        assert record.status is Status.FINISHED

    def test_a_restored_run_takes_rows_again(self) -> None:
        spec = self.spec()
        self.holding(Row(2, Kind.DELETE, NOON), Row(3, Kind.RESTORE, NOON))
        self.deleted(spec, [metric(1, "f1", 0.5)])
        gone = replace(spec, deleted=True)
        run = self.delivered([Row(3, Kind.RESTORE, NOON), metric(4, "f1", 0.75, 1)], gone)
        assert len(self.read_back(run.remote_id).points) == 2

    def test_a_run_that_is_deleted_before_anything_arrived_arrives_deleted(self) -> None:
        source, spec = self.source(), self.spec()
        rows: list[Row] = [metric(1, "f1", 0.5), Row(2, Kind.DELETE, NOON)]
        self.holding(*rows)
        gone = replace(spec, deleted=True)
        run = self.delivered(rows[:1], gone)
        assert self.make_backend().open(gone).remote_id == run.remote_id
        self.delivered(rows[1:], gone)
        assert list(source.search(spec.experiment, None)) == []

    def test_a_run_that_somebody_else_deleted_takes_no_content(self, tmp_path: Path) -> None:
        spec, backend = self.spec(), self.make_backend()
        rows: list[Row] = [
            files(2, Kind.FILE, "late.txt", logged(tmp_path, "late.txt", b"late")),
            table(3, "late", ["n"], [[1]]),
        ]
        self.holding(*rows)
        run = self.delivered([metric(1, "f1", 0.5)], spec)
        self.delete_remotely(run.remote_id)
        for row in rows:
            raises(BackendRunGone, lambda row=row: backend.deliver(run, [row]))


def _bytes(file: LoggedFile) -> bytes:
    assert file.local is not None
    return Path(file.local).read_bytes()


def _table(found: tuple[Sequence[str], Sequence[Sequence[Any]]]) -> tuple[list[str], list[list[Any]]]:
    columns, rows = found
    return list(columns), [list(row) for row in rows]
