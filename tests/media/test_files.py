"""Folders and files as they lie on a disk: what goes into a run, under which path, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

import trk
from helpers import costs_at_most
from trk.errors import UsageError
from trk.journal import files as held
from trk.media import files
from trk.run import Run


@pytest.fixture
def run() -> Run:
    return trk.start("files", experiment="tests")


@pytest.fixture
def folder(project: Path) -> Path:
    """A folder `data` with two files, one of them deeper."""
    made = project / "data"
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_bytes(b"a")
    (made / "deep" / "b.txt").write_bytes(b"b")
    return made


def paths(run: Run) -> list[str]:
    return [one.path for one in held.of_run(run.journal, run.id)]


def refused(run: Run, match: str, *names: str | Path, **options: str) -> None:
    """These are refused for this reason, and nothing is written."""
    with pytest.raises(UsageError, match=match) as raised:
        run.log_artifact(*names, **options)
    assert raised.value.message.isprintable()
    assert run.journal.read("SELECT count(*) FROM rows") == [(0,)]


# ---- which path


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("data", ["data/a.txt", "data/deep/b.txt"]),
        ("./data", ["data/a.txt", "data/deep/b.txt"]),
        ("data/", ["a.txt", "deep/b.txt"]),
        ("data/.", ["data/a.txt", "data/deep/b.txt"]),
        ("data/deep/..", ["data/a.txt", "data/deep/b.txt"]),
        ("data/deep", ["deep/b.txt"]),
        ("data/deep/b.txt", ["b.txt"]),
    ],
)
def test_a_folder_goes_in_under_its_name_and_with_a_slash_without_it(
    run: Run, folder: Path, named: str, expected: list[str]
) -> None:
    run.log_artifact(named)
    assert paths(run) == expected


def test_the_folder_one_is_in_and_the_one_above_go_in_without_a_name(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run.log_artifact(".", path="here")
    monkeypatch.chdir(folder / "deep")
    run.log_artifact("..", path="above")
    assert paths(run) == ["above/a.txt", "above/deep/b.txt", "here/a.txt", "here/deep/b.txt"]


def test_trks_own_folder_is_left_out_wherever_it_is_met(run: Run, folder: Path, project: Path) -> None:
    (project / "link").symlink_to(".trk")
    (project / "inner").symlink_to(".trk/blobs")
    run.log_text("keeps a blob", "note")
    run.log_artifact(".", path="all")
    assert paths(run) == ["all/data/a.txt", "all/data/deep/b.txt", "note.txt"]
    for name in (".trk", ".trk/", "link", ".trk/blobs"):
        with pytest.raises(UsageError, match="trk's own folder"):
            run.log_artifact(name)


def test_a_folder_that_only_begins_as_trks_does_is_not_left_out(run: Run, project: Path) -> None:
    (project / ".trk-notes").mkdir()
    (project / ".trk-notes" / "a.txt").write_bytes(b"a")
    run.log_artifact(".trk-notes")
    run.log_artifact(".", path="all")
    assert paths(run) == [".trk-notes/a.txt", "all/.trk-notes/a.txt"]


def test_two_files_of_one_path_are_refused(run: Run, folder: Path, project: Path) -> None:
    (project / "a.txt").write_bytes(b"another")
    refused(run, "would both be a.txt", "data/a.txt", "a.txt")
    refused(run, "would both be a.txt", "data/", "a.txt")
    run.log_artifact("a.txt", "a.txt")
    assert paths(run) == ["a.txt"]


def test_a_path_that_would_be_a_file_and_a_folder_is_refused(run: Run, folder: Path, project: Path) -> None:
    (project / "flat").mkdir()
    (project / "flat" / "deep").write_bytes(b"a file of the folder's name")
    refused(run, "both a file and a folder", "data/", "flat/")
    refused(run, "both a file and a folder", "data/", reference="s3://bucket/deep")
    refused(run, "two of 'a.txt'", "data/", reference="s3://bucket/a.txt")


# ---- names


@pytest.mark.parametrize("name", ["with space.txt", "-x", "--name", "über.txt", "a=b@c[1],'\"$;&|<>*!.txt", ".hidden"])
def test_odd_names_are_kept(run: Run, project: Path, name: str) -> None:
    (project / "odd").mkdir()
    (project / "odd" / name).write_bytes(b"x")
    (project / name).write_bytes(b"x")
    run.log_artifact("odd")
    run.log_artifact(name)
    assert paths(run) == sorted([f"odd/{name}", name])


@pytest.mark.parametrize(
    "name",
    [
        "two\nlines", "tab\t", "\x1b[31mred", "\udcff\udcfe", "\u202egnp.exe", " lead", "trail ",
        "a\\b", "50%41", "c:x", "a#b", "q?",
    ],
)  # fmt: skip
def test_names_that_no_run_can_have_are_refused_by_their_name(run: Run, project: Path, name: str) -> None:
    (project / "odd").mkdir()
    (project / "odd" / name).write_bytes(b"x")
    (project / name).write_bytes(b"x")
    refused(run, "artifact path", "odd")
    refused(run, "artifact path", name)


def test_names_of_folders_are_held_to_the_same(run: Run, project: Path) -> None:
    (project / "odd" / "two\nlines").mkdir(parents=True)
    (project / "odd" / "two\nlines" / "a.txt").write_bytes(b"x")
    refused(run, "artifact path", "odd")
    run.log_artifact("odd/two\nlines/")
    assert paths(run) == ["a.txt"]


def test_a_folder_named_as_trks_own_in_a_run_is_refused(run: Run, project: Path) -> None:
    (project / "trk").mkdir()
    (project / "trk" / "a.txt").write_bytes(b"x")
    refused(run, "reserved", "trk")
    run.log_artifact("trk", path="src")
    assert paths(run) == ["src/trk/a.txt"]


def test_folders_of_any_depth_are_walked_or_refused_without_a_traceback(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    os.mkdir("deep")
    os.chdir("deep")
    for level in range(1_400):
        if level == 400:
            Path("leaf").write_bytes(b"x")
        os.mkdir("d")
        os.chdir("d")
    Path("leaf").write_bytes(b"x")
    os.chdir(project)
    with pytest.raises(UsageError, match=r"too deep|1 to 1000 characters"):
        run.log_artifact("deep")
    os.chdir(project / "deep" / "/".join(["d"] * 401))
    os.rename("d", project / "rest")
    os.chdir(project)
    run.log_artifact("deep")
    assert paths(run) == ["deep/" + "d/" * 400 + "leaf"]
    subprocess.run(["rm", "-r", "deep", "rest"], check=True)  # Python's own way of removing them recurses too deep


# ---- links


def test_links_within_their_folder_are_followed(run: Run, folder: Path) -> None:
    (folder / "file").symlink_to("a.txt")
    (folder / "folder").symlink_to("deep")
    (folder / "deep" / "up").symlink_to("../a.txt")
    run.log_artifact("data")
    assert paths(run) == [f"data/{name}" for name in (
        "a.txt", "deep/b.txt", "deep/up", "file", "folder/b.txt", "folder/up",
    )]  # fmt: skip


@pytest.mark.parametrize("target", ["/etc/hostname", "..", "../outside", "../outside.txt", "/", "../data2/x"])
def test_links_that_leave_their_folder_are_refused(run: Run, folder: Path, project: Path, target: str) -> None:
    (project / "outside").mkdir()
    (project / "outside.txt").write_bytes(b"x")
    (project / "data2").mkdir()  # begins as the folder's own name does
    (project / "data2" / "x").write_bytes(b"x")
    (folder / "link").symlink_to(target)
    refused(run, "leads out of its folder|leads nowhere", "data")


@pytest.mark.parametrize("target", [".", "../data", "deep/../../data"])
def test_links_that_lead_round_are_refused(run: Run, folder: Path, target: str) -> None:
    (folder / "deep" / "link").symlink_to(target if target == "." else f"../{target}")
    refused(run, "leads back", "data")


@pytest.mark.parametrize("target", ["nothing", "link", "other"])
def test_links_that_dangle_or_hold_each_other_are_refused(run: Run, folder: Path, target: str) -> None:
    (folder / "other").symlink_to("link")
    (folder / "link").symlink_to(target)
    refused(run, "leads nowhere, or round", "data")
    refused(run, "is not there|symbolic links", "data/link")


def test_a_link_that_is_named_itself_is_followed_anywhere(run: Run, folder: Path, project: Path) -> None:
    (project / "to folder").symlink_to(folder)
    (project / "to file").symlink_to(folder / "a.txt")
    run.log_artifact("to folder", "to file")
    assert paths(run) == ["to file", "to folder/a.txt", "to folder/deep/b.txt"]


def test_links_that_fork_without_end_are_given_up(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 1_000)
    (project / "bomb").mkdir()
    for level in range(12):
        (project / "bomb" / f"l{level}").mkdir()
        for side in "ab":
            (project / "bomb" / f"l{level}" / side).symlink_to(f"../l{level + 1}")
    (project / "bomb" / "l12").mkdir()
    (project / "bomb" / "l12" / "leaf").write_bytes(b"x")
    refused(run, "more than 1000 files", "bomb")


# ---- what is no file


def test_pipes_sockets_and_devices_are_refused_and_not_waited_for(
    run: Run, folder: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe")
    refused(run, "is a pipe", "data")
    refused(run, "is a pipe", "data/pipe")
    refused(run, "device or socket", "/dev/zero")
    (folder / "pipe").unlink()
    monkeypatch.chdir(folder)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        refused(run, "device or socket|can't be read", ".")


@pytest.mark.parametrize("snapshot", [True, False])
def test_what_is_not_there_is_refused(run: Run, folder: Path, project: Path, snapshot: bool) -> None:
    for name in ("missing", "data/missing", "data/a.txt/x", "nul\0", "x" * 300, "a.txt/", "~nobody/x"):
        with pytest.raises(UsageError, match=r"is not there|can't be read|artifact path"):
            run.log_artifact(name, snapshot=snapshot)
    assert paths(run) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_what_can_not_be_read_is_refused(run: Run, folder: Path) -> None:
    (folder / "a.txt").chmod(0)
    refused(run, "can't be read: Permission denied", "data")
    (folder / "a.txt").chmod(0o600)
    (folder / "deep").chmod(0)
    try:
        refused(run, "can't be read: Permission denied", "data")
    finally:
        (folder / "deep").chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose reading fails")
@pytest.mark.parametrize("snapshot", [True, False])
def test_a_file_whose_reading_fails_is_refused(run: Run, snapshot: bool) -> None:
    with pytest.raises(UsageError, match="'/proc/self/mem' can't be read: Input/output error"):
        run.log_artifact("/proc/self/mem", snapshot=snapshot)
    for log in (run.log_html, run.log_dict, run.log_image, run.log_figure):
        with pytest.raises(UsageError, match=r"can't be read|must end"):
            log("/proc/self/mem", "x.json" if log is run.log_dict else "x")


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs files that do not say their size")
def test_a_file_that_does_not_say_its_size_is_kept_whole(run: Run) -> None:
    run.log_artifact("/proc/self/limits")
    (one,) = held.of_run(run.journal, run.id)
    assert one.size == len(Path("/proc/self/limits").read_bytes())


def test_folders_without_a_file_are_refused(run: Run, project: Path) -> None:
    (project / "empty" / "deep").mkdir(parents=True)
    refused(run, "holds no files", "empty")
    refused(run, "holds no files", ".")  # trk's own folder is none of them


def test_an_empty_file_is_a_file(run: Run, project: Path) -> None:
    (project / "empty.txt").touch()
    run.log_artifact("empty.txt")
    (one,) = held.of_run(run.journal, run.id)
    assert (one.path, one.size) == ("empty.txt", 0)


# ---- many


def test_three_thousand_files_take_seconds_at_most(run: Run, project: Path) -> None:
    for number in range(3_000):
        place = project / "many" / f"{number % 60}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(str(number))
    with costs_at_most(20):
        assert run.log_artifact("many") == (3_000, None)
        assert run.log_artifact("many", name="all", type="dataset") == (3_001, 0)
    assert len(paths(run)) == 6_000
