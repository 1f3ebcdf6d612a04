"""Bytes are kept whole or not at all: by their content, once, for nobody else to read."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from helpers import COMMAND, child_environment, started, trk, until
from trk import start as start_run
from trk.errors import JournalError, UsageError
from trk.journal import blobs, holds
from trk.journal import files as held
from trk.journal.db import Journal
from trk.records import LoggedFile


def place(journal: Journal) -> Path:
    return Path(blobs.folder(journal))


def drafts(journal: Journal) -> list[Path]:
    folder = place(journal) / "drafts"
    return [path for path in folder.iterdir() if path.suffix != holds.ENDING] if folder.exists() else []


def kept(journal: Journal) -> dict[str, bytes]:
    """Every blob by its name."""
    return {path.name: path.read_bytes() for path in place(journal).glob("??/*")}


def as_logged(journal: Journal, digest: str, size: int) -> LoggedFile:
    return LoggedFile("f", size, digest, blobs.path(journal, digest))


# ---- kept


def test_the_same_bytes_are_kept_once_under_their_hash(journal: Journal, project: Path) -> None:
    (project / "f").write_bytes(b"content")
    digest = sha256(b"content").hexdigest()
    for found in (
        blobs.keep_bytes(journal, b"content"),
        blobs.keep_file(journal, "f"),
        blobs.keep_chunks(journal, (b"con", b"", b"tent")),
    ):
        assert found == (digest, 7)
    assert kept(journal) == {digest: b"content"}
    assert Path(blobs.path(journal, digest)).parent.name == digest[:2]
    assert drafts(journal) == []


def test_nothing_at_all_is_kept_too(journal: Journal, project: Path) -> None:
    (project / "f").touch()
    assert blobs.keep_file(journal, "f") == blobs.keep_bytes(journal, b"") == (sha256().hexdigest(), 0)


def test_threads_that_keep_the_same_and_different_bytes_at_once_lose_none(journal: Journal) -> None:
    contents = [bytes([number % 5]) * 200_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda content: blobs.keep_bytes(journal, content), contents))
    assert [digest for digest, _ in found] == [sha256(content).hexdigest() for content in contents]
    assert {name: sha256(content).hexdigest() for name, content in kept(journal).items()} == {
        digest: digest for digest, _ in found
    }
    assert drafts(journal) == []


def test_nobody_else_reads_them_whatever_the_umask(journal: Journal) -> None:
    before = os.umask(0)
    try:
        digest, _ = blobs.keep_bytes(journal, b"secret")
        with blobs.Draft(journal) as draft:
            assert stat.S_IMODE(os.stat(draft.name).st_mode) == 0o600
    finally:
        os.umask(before)
    path = Path(blobs.path(journal, digest))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (place(journal), place(journal) / "drafts", path.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_snapshot_of_an_open_file_has_what_was_there(journal: Journal, project: Path) -> None:
    (project / "f").write_bytes(b"x" * 100_000)
    reported: list[tuple[int, int]] = []
    digest, size = blobs.keep_file(journal, "f", lambda done, total: reported.append((done, total)))
    assert (size, kept(journal)[digest]) == (100_000, b"x" * 100_000)
    assert reported[-1] == (100_000, 100_000)


# ---- not kept


def test_what_goes_wrong_leaves_no_draft_and_no_blob(journal: Journal) -> None:
    def bad(error: BaseException) -> Iterator[bytes]:
        yield b"x" * 10_000_000
        raise error

    for error in (UsageError("a bad row"), KeyboardInterrupt(), MemoryError(), OSError(5, "whatever")):
        with pytest.raises(type(error)):
            blobs.keep_chunks(journal, bad(error))
        assert (drafts(journal), kept(journal)) == ([], {})


def test_a_place_that_is_taken_is_an_error_and_leaves_no_draft(journal: Journal) -> None:
    digest = sha256(b"content").hexdigest()
    Path(blobs.path(journal, digest), "in the way").mkdir(parents=True)
    with pytest.raises(JournalError, match="can't be written: Is a directory"):
        blobs.keep_bytes(journal, b"content")
    assert drafts(journal) == []


def test_a_folder_that_is_none_is_an_error(journal: Journal) -> None:
    place(journal).write_bytes(b"a file")
    with pytest.raises(JournalError, match="can't be written"):
        blobs.keep_bytes(journal, b"content")


def test_a_draft_that_somebody_removed_is_no_second_error(journal: Journal) -> None:
    def remove_and_fail() -> None:
        with blobs.Draft(journal) as draft:
            os.unlink(draft.name)
            raise UsageError("the first")

    with pytest.raises(UsageError, match="the first"):
        remove_and_fail()


def test_a_file_that_changes_while_it_is_read_is_refused(journal: Journal, project: Path) -> None:
    with (project / "f").open("wb") as file:
        file.truncate(64 << 20)
    done = threading.Event()

    def change() -> None:
        with (project / "f").open("ab", 0) as file:
            while not done.is_set():
                file.write(b"x")

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for read in (blobs.keep_file, lambda _, name: blobs.hash_in_place(name)):
            with pytest.raises(UsageError, match="'f' changed while it was read"):
                read(journal, "f")
    finally:
        done.set()
        writer.join()
    assert (drafts(journal), kept(journal)) == ([], {})
    assert blobs.keep_file(journal, "f")[1] == (project / "f").stat().st_size


def test_a_run_has_nothing_of_a_file_that_changed_while_it_was_read(project: Path) -> None:
    run = start_run("changing", shell_session=True)
    with (project / "f").open("wb") as file:
        file.truncate(64 << 20)
    writer = subprocess.Popen(["sh", "-c", "while :; do echo x >> f; done"])
    try:
        done = trk("log-artifact", "f")
    finally:
        writer.kill()
        writer.wait()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trk: 'f' changed while it was read (log it when it is finished)\n"
    assert run.journal.read("SELECT * FROM rows") == []
    assert (drafts(run.journal), kept(run.journal)) == ([], {})


# ---- killed


def test_a_killed_writers_draft_becomes_no_blob_and_the_next_writer_removes_it(project: Path) -> None:
    run = start_run("killed", shell_session=True)
    with (project / "big").open("wb") as file:
        file.truncate(2 << 30)  # takes no room, and its copy more time than is needed to stop it
    with subprocess.Popen([*COMMAND, "log-artifact", "big"], env=child_environment(), stderr=subprocess.PIPE) as writer:
        until(lambda: any(draft.stat().st_size > 0 for draft in drafts(run.journal)))
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    (left,) = drafts(run.journal)
    assert kept(run.journal) == {}
    assert run.journal.read("SELECT * FROM rows") == []

    assert trk("log-text", "--text", "next", "--name", "note").returncode == 0
    assert drafts(run.journal) == [left], "a draft that is new may be about to be locked"
    os.utime(left, (time.time() - 61, time.time() - 61))
    assert trk("log-text", "--text", "next", "--name", "note").returncode == 0
    assert drafts(run.journal) == []
    assert list(kept(run.journal).values()) == [b"next"]
    (one,) = held.of_run(run.journal, run.id)
    assert one.path == "note.txt"


WRITER = """
import sys
from trk.journal import blobs
from trk.journal.db import Journal

def chunks():
    yield b"first"
    print("begun", flush=True)
    sys.stdin.readline()
    yield b"last"

print(*blobs.keep_chunks(Journal(sys.argv[1]), chunks()), flush=True)
"""


def test_a_draft_of_a_living_writer_stays_however_old_it_looks(journal: Journal) -> None:
    writer = started(WRITER, journal.path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begun\n"
    (draft,) = drafts(journal)
    os.utime(draft, (0, 0))
    blobs.keep_bytes(journal, b"another")
    assert drafts(journal) == [draft]
    out, err = writer.communicate("go on\n", timeout=30)
    assert (out, err) == (f"{sha256(b'firstlast').hexdigest()} 9\n", "")
    assert drafts(journal) == []
    assert b"firstlast" in kept(journal).values()


# ---- damaged


@pytest.mark.parametrize("damage", [b"CONTENT", b"cont", b"", b"content and more"])
def test_a_damaged_blob_is_noticed_and_mended_when_its_content_is_logged_again(journal: Journal, damage: bytes) -> None:
    digest, size = blobs.keep_bytes(journal, b"content")
    file = as_logged(journal, digest, size)
    assert blobs.trouble(file) is None
    Path(blobs.path(journal, digest)).write_bytes(damage)
    assert "is damaged: it is not what was logged" in (blobs.trouble(file) or "")
    blobs.keep_bytes(journal, b"content")
    assert blobs.trouble(file) is None


def test_a_blob_that_is_gone_or_no_file_is_noticed_without_waiting(journal: Journal) -> None:
    digest, size = blobs.keep_bytes(journal, b"content")
    path = Path(blobs.path(journal, digest))
    path.unlink()
    assert "is not there, so it can't be delivered" in (blobs.trouble(as_logged(journal, digest, size)) or "")
    os.mkfifo(path)
    assert "is no longer a file" in (blobs.trouble(as_logged(journal, digest, size)) or "")
    path.unlink()
    path.symlink_to(path)
    assert "can't be read" in (blobs.trouble(as_logged(journal, digest, size)) or "")


def test_a_reference_is_no_trouble(journal: Journal) -> None:
    assert blobs.trouble(LoggedFile("f", uri="s3://bucket/f")) is None
