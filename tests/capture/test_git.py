"""`--capture git` on real repositories."""

import os
import subprocess
from pathlib import Path

import pytest

from trk.capture import git

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}
TOKEN = "gh" + "p_" + "Ab1" * 12


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], env=ENVIRON, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    run(folder, "init", "-q", "-b", "trunk")
    (folder / "train.py").write_text("print(1)\n")
    run(folder, "add", "train.py")
    run(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_work_tree_has_commit_and_branch(repository: Path) -> None:
    assert git.collect(str(repository), ENVIRON) == {
        "git.commit": run(repository, "rev-parse", "HEAD"),
        "git.branch": "trunk",
        "git.dirty": "false",
    }


def test_a_folder_below_the_root_gives_the_same(repository: Path) -> None:
    below = repository / "a" / "b"
    below.mkdir(parents=True)
    assert git.collect(str(below), ENVIRON) == git.collect(str(repository), ENVIRON)


def test_a_changed_or_staged_file_makes_it_dirty_and_an_untracked_one_does_not(repository: Path) -> None:
    (repository / "mlflow.db").write_text("x")
    assert git.collect(str(repository), ENVIRON)["git.dirty"] == "false"
    (repository / "train.py").write_text("print(2)\n")
    assert git.collect(str(repository), ENVIRON)["git.dirty"] == "true"
    run(repository, "add", "train.py")
    assert git.collect(str(repository), ENVIRON)["git.dirty"] == "true"


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    run(repository, "checkout", "-q", "--detach")
    found = git.collect(str(repository), ENVIRON)
    assert "git.branch" not in found
    assert found["git.commit"] == run(repository, "rev-parse", "HEAD")


def test_before_the_first_commit_there_is_a_branch_and_no_commit(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q", "-b", "trunk")
    assert git.collect(str(tmp_path), ENVIRON) == {"git.branch": "trunk", "git.dirty": "false"}


def test_origin_is_the_remote_and_has_neither_user_nor_token(repository: Path) -> None:
    run(repository, "remote", "add", "backup", "https://example.org/backup.git")
    assert git.collect(str(repository), ENVIRON)["git.remote"] == "https://example.org/backup.git"
    run(repository, "remote", "add", "origin", f"https://me:{TOKEN}@example.org/team/repo.git")
    assert git.collect(str(repository), ENVIRON)["git.remote"] == "https://example.org/team/repo.git"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("git@example.org:team/repo.git", "git@example.org:team/repo.git"),
        ("someone@example.org:team/repo.git", "example.org:team/repo.git"),
        ("ssh://someone@example.org:2222/repo.git", "ssh://example.org:2222/repo.git"),
        (f"https://{TOKEN}@example.org/repo.git", "https://example.org/repo.git"),
        (f"https://example.org/repo.git?access_token={TOKEN}", "https://example.org/repo.git?access_token=***"),
        ("/srv/git/repo.git", "/srv/git/repo.git"),
        ("../repo@2.git", "../repo@2.git"),
    ],
)
def test_addresses_of_remotes_are_made_public(address: str, public: str) -> None:
    assert git.public_address(address) == public


def test_outside_a_repository_or_without_git_there_is_nothing(tmp_path: Path, repository: Path) -> None:
    alone = {**ENVIRON, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    assert git.collect(str(tmp_path), alone) == {}
    assert git.collect(str(tmp_path / "missing"), alone) == {}
    assert git.collect(str(repository), {**ENVIRON, "PATH": str(tmp_path)}) == {}


def test_the_folder_decides_and_not_a_hook_s_environment(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    run(other, "init", "-q", "-b", "elsewhere")
    in_hook = {**ENVIRON, "GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": "index"}
    assert git.collect(str(repository), in_hook) == git.collect(str(repository), ENVIRON)


def test_looking_starts_no_monitor_and_takes_no_lock(repository: Path, tmp_path: Path) -> None:
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    monitor.chmod(0o755)
    run(repository, "config", "core.fsmonitor", str(monitor))
    index = repository / ".git" / "index"
    (repository / ".git" / "index.lock").touch()  # another git is at work
    before = index.stat().st_mtime_ns
    os.utime(repository / "train.py", (1, 1))  # git would refresh its index
    assert git.collect(str(repository), ENVIRON)["git.dirty"] == "false"
    assert index.stat().st_mtime_ns == before
    assert not (tmp_path / "started").exists()


def test_a_git_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(git, "TIMEOUT_S", 0.2)
    assert git.collect(str(tmp_path), {**ENVIRON, "PATH": f"{tmp_path}:{ENVIRON['PATH']}"}) == {}


def test_a_status_that_hangs_leaves_dirty_unsaid(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\ncase "$*" in *" status "*) exec sleep 60;; esac\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setattr(git, "TIMEOUT_S", 0.5)
    found = git.collect(str(repository), {**ENVIRON, "PATH": f"{shim.parent}:{ENVIRON['PATH']}"})
    assert set(found) == {"git.commit", "git.branch"}
