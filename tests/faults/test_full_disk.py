"""A disk that fills up while content is kept: nothing half, nothing of it in the journal, and a clear word."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.harness.disk import fill
from helpers import trk
from trk import start as start_run
from trk.errors import JournalError
from trk.journal import blobs
from trk.journal.db import Journal
from trk.media import log
from trk.run import Run

Mount = Callable[..., Path]


@pytest.fixture
def disk(mounted: Mount, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk of 12 MB with the `.trk` folder on it."""
    disk = mounted("size=12m")
    monkeypatch.setenv("TRK_DIR", str(disk / ".trk"))
    return disk


@pytest.fixture
def run(disk: Path) -> Run:
    run = start_run("full", shell_session=True)
    run.log_text("before", "before")
    return run


def sparse(name: str, size: int) -> Path:
    """A file beside the disk, of zeros that take no room."""
    path = Path(name)
    with path.open("wb") as file:
        file.truncate(size)
    return path


def assert_nothing_of_it(run: Run) -> None:
    """No draft, no blob but the whole one from before, no row, and a journal that is sound."""
    folder = Path(blobs.folder(run.journal))
    assert list((folder / "drafts").iterdir()) == []
    assert [path.read_bytes() for path in folder.glob("??/*")] == [b"before"]
    assert run.journal.read("SELECT kind, key FROM rows") == [("text", "before")]
    assert run.journal.read("PRAGMA integrity_check") == [("ok",)]


def assert_said(done: subprocess.CompletedProcess[str], run: Run) -> None:
    """Exit 1, one line of JSON that says what is full and what mends it."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == "journal_error"
    assert error["message"].startswith(f"no space left in {blobs.folder(run.journal)}")
    assert error["message"].endswith("nothing was logged")
    assert f"df -h {blobs.folder(run.journal)}" in error["hint"]


def assert_usable(run: Run) -> None:
    assert trk("log-text", "--text", "after", "--name", "after").returncode == 0
    assert trk("log-metric", "m", "1").returncode == 0
    assert run.journal.read("SELECT n, kind, key FROM rows") == [
        (1, "text", "before"), (2, "text", "after"), (3, "metric", "m"),
    ]  # fmt: skip


def test_a_file_larger_than_the_room_is_refused_before_it_is_copied(run: Run) -> None:
    sparse("big", 1 << 40)  # its copy would take hours
    assert_said(trk("log-artifact", "big", "--json"), run)
    assert_nothing_of_it(run)
    assert_usable(run)


def test_a_larger_file_is_logged_without_a_copy(run: Run) -> None:
    sparse("big", 100 << 20)
    assert trk("log-artifact", "big", "--no-snapshot").returncode == 0
    assert run.journal.read("SELECT kind, key FROM rows WHERE n = 2") == [("file", "big")]


def test_a_disk_that_fills_up_during_a_copy_keeps_nothing_of_it(run: Run, disk: Path) -> None:
    sparse("big", 10 << 20)
    ballast: list[Path] = []

    def filled(done: int, total: int) -> None:
        if not ballast:  # after the first piece
            ballast.append(fill(disk))

    with pytest.raises(JournalError, match=r"no space left in .*: nothing was logged"):
        log.artifact(run, ["big"], progress=filled)
    assert ballast[0].stat().st_size > 0
    ballast[0].unlink()
    assert_nothing_of_it(run)
    assert_usable(run)


def test_of_two_copies_that_have_room_for_one_the_other_keeps_nothing(run: Run, disk: Path) -> None:
    sparse("one", 7 << 20)
    Path("two").write_bytes(b"x" * (7 << 20))
    inner: list[tuple[int, int | None]] = []

    def together(done: int, total: int) -> None:
        if not inner:  # the first has its first piece, and there is still room for the second
            inner.append(log.artifact(run, ["two"]))

    with pytest.raises(JournalError, match="no space left"):
        log.artifact(run, ["one"], progress=together)
    assert inner == [(2, None)]
    assert run.journal.read("SELECT kind, key FROM rows") == [("text", "before"), ("file", "two")]
    folder = Path(blobs.folder(run.journal))
    assert list((folder / "drafts").iterdir()) == []
    assert sorted(path.stat().st_size for path in folder.glob("??/*")) == [6, 7 << 20]


@pytest.mark.parametrize(
    "words",
    [
        ("log-html", "-", "--name", "page"),
        ("log-text", "-", "--name", "words"),
        ("log-table", "-", "--name", "t", "--type", "csv"),
    ],
)
def test_what_comes_from_a_pipe_fills_the_disk_and_nothing_of_it_is_kept(
    run: Run, disk: Path, words: tuple[str, ...]
) -> None:
    ballast = fill(disk, leave=2 << 20)
    line = "<p>a,b\n"
    assert_said(trk(*words, "--json", input=line * 600_000), run)
    assert_nothing_of_it(run)
    ballast.unlink()
    assert_usable(run)


def test_of_several_files_one_that_does_not_fit_keeps_all_out(run: Run, disk: Path) -> None:
    Path("small").write_bytes(b"x")
    sparse("big", 50 << 20)
    assert_said(trk("log-artifact", "small", "big", "--json"), run)
    assert run.journal.read("SELECT count(*) FROM rows") == [(1,)]
    assert_usable(run)


def test_a_journal_that_a_full_disk_has_no_room_for_is_not_there_in_part(mounted: Mount) -> None:
    disk = mounted("size=2m")
    made, said = [], []
    for room in range(0, 280_000, 8192):
        ballast = fill(disk, leave=room)
        path = disk / "journal.db"
        try:
            journal = Journal.create(str(path))
            assert journal.read("PRAGMA integrity_check") == [("ok",)]
            assert journal.read("SELECT count(*) FROM runs") == [(0,)]
            journal.close()
            made.append(room)
        except JournalError as error:
            said.append(error.message)
        for left in (ballast, *disk.glob("journal.db*")):
            left.unlink()
    assert made
    assert said
    assert [text for text in said if not text.startswith("no space left")] == []


def test_a_disk_without_room_for_the_row_says_so_and_the_blob_is_whole(run: Run, disk: Path) -> None:
    ballast = fill(disk, leave=8 << 10)
    codes = []
    for number in range(8):
        Path("f").write_bytes(bytes([number]) * 4096)
        done = trk("log-artifact", "f", "--json")
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr
    assert codes[-1] == 1
    for path in Path(blobs.folder(run.journal)).glob("??/*"):
        assert path.read_bytes() == b"before" or path.stat().st_size == 4096
    assert run.journal.read("SELECT count(*) FROM rows WHERE kind = 'file'") == [(codes.count(0),)]
    ballast.unlink()
    assert trk("log-artifact", "f").returncode == 0


def test_a_disk_without_a_name_left_says_so(mounted: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = mounted("size=12m,nr_inodes=40")
    monkeypatch.setenv("TRK_DIR", str(disk / ".trk"))
    run = start_run("full", shell_session=True)
    run.log_text("before", "before")
    taken = []
    while os.statvfs(disk).f_favail:
        taken.append(disk / f"{len(taken)}")
        taken[-1].touch()
    assert_said(trk("log-text", "--text", "x", "--name", "x", "--json"), run)
    for path in taken:
        path.unlink()
    assert_nothing_of_it(run)
    assert_usable(run)


def test_fetching_onto_a_full_disk_leaves_nothing(run: Run, mounted: Mount) -> None:
    Path("f").write_bytes(b"x" * 3_000_000)
    run.log_artifact("f")
    small = mounted("size=1m")
    done = trk("artifacts", "get", "f", "-o", str(small), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No space left" in json.loads(done.stderr)["error"]["message"]
    assert list(small.iterdir()) == []


def test_a_read_only_folder_takes_no_content_and_says_so(run: Run, disk: Path) -> None:
    run.journal.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = trk("log-text", "--text", "x", "--name", "x", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't be written: Read-only file system" in json.loads(done.stderr)["error"]["message"]
