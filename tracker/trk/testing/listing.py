"""The tests of listing and fetching the files of runs, and of deleting runs that trk did not make."""

# ruff: noqa: D102 - the name of a test says what it tests
from __future__ import annotations

from pathlib import Path

from trk.backends.base import DeletingBackend
from trk.errors import Conflict, NotFound
from trk.records import Kind, LoggedFile, Row, Status
from trk.rules import check_artifact_path
from trk.testing.base import NOON, Hooks, files, logged, metric, raises, skip, table
from trk.testing.content import png, series_path

EDGE_NAMES = (
    "a b/c  d.txt",
    "größe/模型 ✓.txt",
    "-x",
    "--help/-rf",
    "a;b",
    "a&b=c+d.txt",
    "2026-11-21T12:00.txt",
    "50%.txt",
    "100%/x",
    'it\'s "quoted".txt',
    "~user/$HOME`x`.txt",
    "{a}[b](c)!,@^|<>*.txt",
    ".hidden/.file",
    "...",
    "trk.txt",
    "trkx/y",
    "ends.in.dots...",
    "o" * 250,
    "🚀" * 62,
    "/".join(["deep"] * 40),
)


class ListingContract(Hooks):
    """Part of `trk.testing.BackendContract`."""

    def test_what_was_logged_is_listed_by_path_and_fetched_byte_for_byte(self, tmp_path: Path) -> None:
        keeper, spec = self.keeper(), self.spec()
        page, data = logged(tmp_path, "report.html", b"<p>1</p>"), logged(tmp_path, "out/data.bin", b"\0\1" * 3000)
        picture = logged(tmp_path, series_path("val/x", 7), png(3))
        rows = [
            files(1, Kind.HTML, "report", page),
            files(2, Kind.FILE, "out/data.bin", data),
            files(3, Kind.IMAGE, "val/x", picture, step=7),
            table(4, "t/scores", ["n"], [[1]]),
        ]
        self.holding(*rows)
        self.delivered(rows, spec)
        run = self.found(spec)
        listed = {record.path: record for record in keeper.artifacts(run)}
        assert sorted(listed) == list(listed) == sorted((page.path, data.path, picture.path, "t/scores.json"))
        assert {record.run_id for record in listed.values()} == {spec.run_id}
        assert listed["out/data.bin"].size == 6000
        assert (listed["t/scores.json"].kind, listed["t/scores.json"].name) == ("table", "t/scores")
        found = listed[picture.path]
        assert (found.kind, found.name, found.step) == ("image", "val/x", 7)
        for file in (page, data, picture):
            target = tmp_path / "fetched"
            keeper.fetch(run, file.path, str(target))
            assert target.read_bytes() == Path(str(file.local)).read_bytes()

    def test_names_at_the_rules_edge_are_found_again(self, tmp_path: Path) -> None:
        keeper, spec = self.keeper(), self.spec()
        given = [logged(tmp_path, check_artifact_path(name), name.encode()) for name in EDGE_NAMES]
        rows = [files(n, Kind.FILE, file.path, file) for n, file in enumerate(given, 1)]
        self.holding(*rows)
        self.delivered(rows, spec)
        run = self.found(spec)
        assert [record.path for record in keeper.artifacts(run)] == sorted(EDGE_NAMES)
        for file in given:
            keeper.fetch(run, file.path, str(tmp_path / "fetched"))
            assert (tmp_path / "fetched").read_bytes() == file.path.encode(), file.path

    def test_the_files_of_an_ended_run_are_listed_with_what_they_must_be(self, tmp_path: Path) -> None:
        keeper, spec = self.keeper(), self.spec()
        data, pointer = logged(tmp_path, "data.bin", b"data"), LoggedFile("set/v0/train", uri="s3://bucket/train")
        rows = [
            files(1, Kind.FILE, "data.bin", data),
            files(2, Kind.ARTIFACT, "set", pointer, type="dataset", version=0),
        ]
        self.holding(*rows)
        self.delivered([*rows, Row(3, Kind.STATUS, NOON, text=Status.FINISHED, files=(data, pointer))], spec)
        listed = {record.path: record for record in keeper.artifacts(self.found(spec))}
        assert sorted(listed) == ["data.bin", "set/v0/train"]
        assert listed["data.bin"].sha256 in (data.sha256, None)
        assert listed["set/v0/train"].uri == "s3://bucket/train"
        raises(NotFound, lambda: keeper.fetch(self.found(spec), "set/v0/train", str(tmp_path / "fetched")))

    def test_a_run_without_files_has_none(self) -> None:
        keeper, spec = self.keeper(), self.spec()
        self.delivered([metric(1, "f1", 0.5)], spec)
        assert keeper.artifacts(self.found(spec)) == []

    def test_fetching_what_is_not_there_says_so_and_leaves_nothing(self, tmp_path: Path) -> None:
        keeper, spec = self.keeper(), self.spec()
        row = files(1, Kind.FILE, "deep/data.bin", logged(tmp_path, "deep/data.bin", b"data"))
        self.holding(row)
        self.delivered([row], spec)
        run = self.found(spec)
        here = tmp_path / "here"
        here.mkdir()
        for path in ("nothing", "deep", "deep/nothing", "deep/data.bin/x", "", "../deep", "/etc/passwd", "deep/../x"):
            raises(NotFound, lambda path=path: keeper.fetch(run, path, str(here / "fetched")))
        assert list(here.iterdir()) == []

    def test_a_run_is_deleted_and_restored_by_its_own_id_there(self) -> None:
        source, spec, backend = self.source(), self.spec(), self.make_backend()
        if not isinstance(backend, DeletingBackend):
            skip("this backend deletes no runs")
        run = self.delivered([metric(1, "f1", 0.5)], spec)
        if not self.restores:
            backend.set_deleted(run.remote_id, True)
            assert source.get(spec.run_id) is None
            raises(Conflict, lambda: backend.set_deleted(run.remote_id, False))
        for deleted in (True, True, False, False) if self.restores else ():
            backend.set_deleted(run.remote_id, deleted)
            assert (source.get(spec.run_id) is None) == deleted
        raises(NotFound, lambda: backend.set_deleted("0" * 32, True))
