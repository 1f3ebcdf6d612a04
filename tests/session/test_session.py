"""Where `.trk` is found and made, and the session file: whole, private, and an error with a way out when it is not."""

import json
import os
import threading
from pathlib import Path

import pytest

import trk
from helpers import started
from trk import session
from trk.errors import ConfigurationError, JournalError, NoActiveRun, SessionError
from trk.journal.db import Journal

needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def folder(project: Path) -> Path:
    return Path(session.make_folder()[0])


@pytest.fixture
def open_journal(folder: Path) -> Journal:
    return session.open_journal(str(folder))


def at(place: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What is found from a directory."""
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place)
    return session.find_folder()


# ---- finding


def test_the_nearest_folder_upward_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".trk").mkdir()
    assert at(project / "a" / "b", monkeypatch) == str(project / ".trk")
    (project / "a" / ".trk").mkdir()
    assert session.find_folder() == str(project / "a" / ".trk")


def test_there_may_be_none(project: Path) -> None:
    assert session.find_folder() is None
    assert session.existing_journal(None) is None


def test_the_search_ends_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".trk").mkdir()
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    assert at(home / "work", monkeypatch) is None
    (home / ".trk").mkdir()
    assert session.find_folder() == str(home / ".trk")


@pytest.mark.parametrize("written", ["a link", "with a slash at its end"])
def test_the_search_ends_at_home_however_home_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / ".trk").mkdir()
    home = tmp_path / "disk" / "home"
    home.mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("HOME", str(tmp_path / "link") if written == "a link" else f"{home}/")
    assert at(home / "work", monkeypatch) is None


def test_outside_of_home_the_search_goes_on_to_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".trk").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    assert at(tmp_path / "work" / "deep", monkeypatch) == str(tmp_path / ".trk")


@needs_root
def test_a_folder_that_another_user_planted_catches_nobody(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".trk").mkdir()
    (project / ".trk").mkdir()
    os.chown(project / ".trk", 12345, 12345)
    assert at(project / "work", monkeypatch) == str(tmp_path / ".trk")


@needs_root
def test_a_link_to_another_users_folder_catches_nobody(project: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    (project / ".trk").symlink_to(tmp_path / "theirs")
    assert session.find_folder() is None


@needs_root
def test_nothing_is_made_in_another_users_folder(project: Path) -> None:
    (project / ".trk").mkdir()
    os.chown(project / ".trk", 12345, 12345)
    with pytest.raises(ConfigurationError, match="belongs to another user") as caught:
        session.make_folder()
    assert caught.value.hint
    assert list((project / ".trk").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "dangling link", "link to a file"])
def test_what_is_no_folder_is_passed_by(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / ".trk").mkdir()
    (project / "file").touch()
    if kind == "file":
        (project / ".trk").touch()
    else:
        (project / ".trk").symlink_to(project / ("nowhere" if kind == "dangling link" else "file"))
    assert session.find_folder() == str(tmp_path / ".trk")


def test_the_search_does_not_leave_the_file_system(tmp_path: Path, mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".trk").mkdir()
    disk = mounted()
    assert at(disk / "work", monkeypatch) is None
    (disk / ".trk").mkdir()
    assert session.find_folder() == str(disk / ".trk")


def test_trk_dir_is_used_whatever_lies_about(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".trk").mkdir()
    monkeypatch.setenv("TRK_DIR", "../else")
    assert session.find_folder() is None
    assert session.make_folder() == (str(tmp_path / "else"), True)
    assert session.find_folder() == str(tmp_path / "else")
    assert session.make_folder() == (str(tmp_path / "else"), False)


def test_a_trk_dir_that_is_a_file_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").touch()
    monkeypatch.setenv("TRK_DIR", str(project / "file"))
    with pytest.raises(JournalError) as caught:
        session.make_folder()
    assert caught.value.hint == "set TRK_DIR to a writable folder"


def test_in_a_deleted_directory_nothing_is_found_and_nothing_made(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "gone").mkdir()
    monkeypatch.chdir(project / "gone")
    (project / "gone").rmdir()
    try:
        assert session.find_folder() is None
        with pytest.raises(JournalError):
            session.make_folder()
        with pytest.raises(trk.TrkError, match="working directory was deleted"):
            trk.start("a")
    finally:
        os.chdir(project)


# ---- making


def test_it_is_made_here_for_this_user_alone_and_git_ignores_it(project: Path) -> None:
    folder, made = session.make_folder()
    assert (folder, made) == (str(project / ".trk"), True)
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert (project / ".trk" / ".gitignore").read_text() == "*\n"
    assert session.make_folder() == (folder, False)


@pytest.mark.parametrize("kind", ["folder", "file of a worktree"])
def test_it_is_made_in_the_root_of_the_git_work_tree(project: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    (project / ".git").mkdir() if kind == "folder" else (project / ".git").write_text("gitdir: elsewhere\n")
    (project / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(project / "src" / "deep")
    assert session.make_folder() == (str(project / ".trk"), True)


def test_a_work_tree_above_home_is_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (tmp_path / ".git").mkdir()
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    assert session.make_folder()[0] == str(home / "work" / ".trk")


def test_a_git_folder_that_anyone_may_have_planted_is_not_used(tmp_path: Path, project: Path) -> None:
    (tmp_path / ".git").mkdir()
    tmp_path.chmod(0o1777)
    assert session.make_folder()[0] == str(project / ".trk")


def test_it_is_made_where_it_will_be_found_again(tmp_path: Path, mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    disk = mounted()  # in the work tree, but the search ends at its border
    monkeypatch.chdir(disk)
    assert session.make_folder()[0] == str(disk / ".trk")
    assert session.find_folder() == str(disk / ".trk")


# ---- the session file


def active(folder: Path) -> list[str]:
    return session.load(str(folder))["active"]


def test_the_session_is_a_stack_and_a_run_leaves_it_by_its_id(folder: Path, open_journal: Journal) -> None:
    for run in ("a", "b", "c"):
        session.push(str(folder), run, experiment=run)
    assert active(folder) == ["a", "b", "c"]
    assert session.active_run_id(str(folder), open_journal) == "c"
    session.remove(str(folder), "b")
    session.remove(str(folder), "not there")
    assert active(folder) == ["a", "c"]
    session.push(str(folder), "a")
    assert active(folder) == ["c", "a"]
    assert session.load(str(folder))["experiment"] == "c"


def test_without_a_file_nothing_is_active_and_nothing_is_made(folder: Path, open_journal: Journal) -> None:
    assert session.active_run_id(str(folder), open_journal) is None
    assert active(folder) == []
    session.remove(str(folder), "a")
    assert not (folder / "session.json").exists()


def test_an_empty_stack_has_no_active_run(folder: Path, open_journal: Journal) -> None:
    session.push(str(folder), "a")
    session.remove(str(folder), "a")
    assert session.active_run_id(str(folder), open_journal) is None


def test_the_file_is_private_and_nothing_is_left_beside_it(folder: Path) -> None:
    session.push(str(folder), "a")
    assert (folder / "session.json").stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in folder.iterdir()) == [".gitignore", "session.json", "session.json.lock"]


def test_a_change_that_fails_changes_nothing(folder: Path) -> None:
    session.push(str(folder), "a")
    before = (folder / "session.json").read_bytes()
    with pytest.raises(TypeError):
        session.push(str(folder), "b", odd=object())
    assert (folder / "session.json").read_bytes() == before
    assert len(list(folder.iterdir())) == 3
    session.push(str(folder), "c")


def test_trk_session_names_another_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session.push(str(folder), "a")
    monkeypatch.setenv("TRK_SESSION", str(tmp_path / "new" / "s.json"))
    assert active(folder) == []
    session.push(str(folder), "b")
    monkeypatch.delenv("TRK_SESSION")
    assert active(folder) == ["a"]
    assert json.loads((tmp_path / "new" / "s.json").read_text())["active"] == ["b"]


BAD = {
    "empty": b"",
    "torn": b'{"version": 1, "active": ["a',
    "noise": bytes(range(256)),
    "text": b"hello",
    "not UTF-8": b'{"version": 1, "active": ["\xff"]}',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "someone else's": b'{"name": "x"}',
    "no version": b'{"active": ["a"]}',
    "version is text": b'{"version": "1", "active": ["a"]}',
    "no stack": b'{"version": 1}',
    "stack is text": b'{"version": 1, "active": "a"}',
    "version is true": b'{"version": true, "active": ["a"]}',
    "version is a fraction": b'{"version": 1.0, "active": ["a"]}',
    "runs are numbers": b'{"version": 1, "active": [1]}',
    "a BOM": b'\xef\xbb\xbf{"version": 1, "active": []}',
    "deeply nested": b'{"version": 1, "active": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "two documents": b'{"version": 1, "active": []}{"version": 1, "active": []}',
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_that_is_no_session_is_an_error_with_a_way_out(
    folder: Path, open_journal: Journal, content: bytes
) -> None:
    path = folder / "session.json"
    path.write_bytes(content)
    for use in (
        lambda: session.active_run_id(str(folder), open_journal),
        lambda: session.load(str(folder)),
        lambda: session.push(str(folder), "a"),
    ):
        with pytest.raises(SessionError) as caught:
            use()
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint.startswith(f"rm {path}")
    session.remove(str(folder), "a")  # the end of a run is not held up by it
    assert path.read_bytes() == content


def test_a_newer_session_is_refused_by_its_version(folder: Path, open_journal: Journal) -> None:
    (folder / "session.json").write_text('{"version": 2, "runs": {"main": ["a"]}}')
    for use in (lambda: session.active_run_id(str(folder), open_journal), lambda: session.load(str(folder))):
        with pytest.raises(SessionError, match="version 2") as caught:
            use()
        assert "pip install --upgrade trk-ml" in caught.value.hint


def test_a_folder_in_the_files_place_is_an_error(folder: Path, open_journal: Journal) -> None:
    (folder / "session.json").mkdir()
    for use in (lambda: session.active_run_id(str(folder), open_journal), lambda: session.push(str(folder), "a")):
        with pytest.raises(SessionError):
            use()


CHANGER = """
import sys
from trk import session
sys.stdin.readline()
for number in range(10):
    session.push(sys.argv[1], f"{sys.argv[2]}-{number}")
    if number % 2:
        session.remove(sys.argv[1], f"{sys.argv[2]}-{number}")
"""


def test_processes_that_change_the_session_at_once_lose_nothing(folder: Path) -> None:
    changers = [started(CHANGER, str(folder), str(number)) for number in range(8)]
    for changer in changers:
        changer.stdin.write("go\n")
        changer.stdin.flush()
    for changer in changers:
        _, errors = changer.communicate(timeout=60)
        assert changer.returncode == 0, errors
    assert sorted(active(folder)) == sorted(f"{who}-{number}" for who in range(8) for number in (0, 2, 4, 6, 8))


def test_threads_that_change_the_session_at_once_lose_nothing(folder: Path) -> None:
    threads = [threading.Thread(target=session.push, args=(str(folder), str(number))) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(active(folder)) == sorted(map(str, range(12)))


def test_readers_never_see_half_a_session(folder: Path, open_journal: Journal) -> None:
    session.push(str(folder), "a")
    changer = started(CHANGER, str(folder), "b")
    changer.stdin.write("go\n")
    changer.stdin.flush()
    while changer.poll() is None:
        assert session.active_run_id(str(folder), open_journal) is not None
    changer.communicate(timeout=30)


def test_no_secret_is_in_the_session_or_the_journal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "Hunter2" + "hunter2"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{secret}@tracking.example.org/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    monkeypatch.setenv("WANDB_API_KEY", secret)
    trk.start("a", backends="mlflow", shell_session=True, capture=["env"])
    kept = b"".join(file.read_bytes() for file in (project / ".trk").rglob("*") if file.is_file())
    assert b"tracking.example.org" in kept
    assert secret.encode() not in kept


# ---- which run is meant


def test_trk_run_beats_the_session(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trk.start("first", shell_session=True)
    other = trk.start("other", shell_session=True, nested=True)
    folder = first.folder
    assert session.current_run_id(folder, first.journal) == other.id
    for named in (first.id, first.id[:24] if first.id[:24] != other.id[:24] else first.id, "first"):
        monkeypatch.setenv("TRK_RUN", named)
        assert session.current_run_id(folder, first.journal) == first.id


def test_trk_run_without_a_folder_is_no_active_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.current_run_id(None, None) is None
    monkeypatch.setenv("TRK_RUN", "x" * 26)
    with pytest.raises(NoActiveRun, match=r"there is no \.trk folder"):
        session.current_run_id(None, None)
