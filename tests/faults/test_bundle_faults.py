"""Disks that fill up, processes that are killed, and others that log meanwhile, while bundles come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import trk
from bundles.tools import at, held, here, log_everything
from faults.test_full_disk import fill
from helpers import child_environment, started, until
from helpers import trk as command
from trk.errors import JournalError

Mount = Callable[..., Path]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with 30,000 rows and 3 MB of files."""
    job = at(tmp_path / "job", monkeypatch)
    run = trk.start("large")
    for _ in range(30):
        run.log_table("t", [[n] for n in range(1000)], columns=["n"])
    with run.journal.begun() as db:
        db.execute(
            "WITH RECURSIVE numbers (n) AS (SELECT 31 UNION ALL SELECT n + 1 FROM numbers WHERE n < 30000) "
            "INSERT INTO rows SELECT run, n, 'metric', 1700000000000 + n, 'loss', n, n / 3.0 FROM numbers, runs"
        )
    (job / "big").write_bytes(os.urandom(3_000_000))
    run.log_artifact("big")
    run.finish()
    trk.export_bundle(tmp_path / "large.trk")
    return tmp_path / "large.trk"


@pytest.mark.parametrize(
    "room",
    [
        100_000,
        pytest.param(1_500_000, marks=pytest.mark.long),
        3_200_000,
        pytest.param(4_500_000, marks=pytest.mark.long),
    ],
)
def test_a_disk_that_fills_up_during_an_import_leaves_all_as_it_was(
    large: Path, mounted: Mount, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    disk = mounted("size=30m")
    at(disk / "desk", monkeypatch)
    run = trk.start("mine", shell_session=True)
    run.log_text("before", "before")
    before = held(here())
    here().checkpoint()
    ballast = fill(disk, leave=room)
    done = command("import", str(large), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["error"]["message"].startswith("no space left")
    ballast.unlink()
    assert held(here()) == before
    assert list((disk / "desk/.trk/blobs/imports").iterdir()) == []
    assert here().read("PRAGMA integrity_check") == [("ok",)]
    assert command("import", str(large)).returncode == 0
    assert here().read("SELECT max(n) FROM rows") == [(30_002,)]


def test_a_disk_that_is_full_leaves_no_half_bundle(mounted: Mount, large: Path) -> None:
    disk = mounted("size=1m")
    with pytest.raises(JournalError, match="can't be written: No space left"):
        trk.export_bundle(disk / "b")
    assert list(disk.iterdir()) == []
    done = command("export", "--bundle", str(disk / "b"), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert list(disk.iterdir()) == []


KILLED = """
import sys
import trk
told = 0
def report(done, goal):
    global told
    told += 1
    if told == int(sys.argv[2]):
        print("there", flush=True)
        sys.stdin.read()
trk.import_bundle(sys.argv[1], progress=report)
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "when", ["1", pytest.param("4", marks=pytest.mark.long), pytest.param("7", marks=pytest.mark.long), "99"]
)
def test_an_import_that_is_killed_has_done_all_or_nothing_and_the_next_one_clears_up(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    desk = at(tmp_path / "desk", monkeypatch)
    trk.start("mine")
    process = started(KILLED, str(large), when)
    assert process.stdout is not None
    told = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    rows = here().read("SELECT count(*) FROM rows")[0][0]
    assert rows == (30_002 if told == "done\n" else 0)
    for left in (desk / ".trk/blobs/imports").iterdir():
        os.utime(left, (1, 1))  # an hour ago, say
    trk.import_bundle(large)
    assert here().read("SELECT count(*) FROM rows") == [(30_002,)]
    assert list((desk / ".trk/blobs/imports").iterdir()) == []


def test_others_log_while_a_bundle_comes_in_and_goes_out(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(tmp_path / "desk", monkeypatch)
    run = trk.start("mine", shell_session=True)
    code = "import trk, sys\nrun = trk.active_run()\nprint('up', flush=True)\n" \
        "while True:\n    print(run.log_metric('loss', 1)[0], flush=True)"  # fmt: skip
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=child_environment())
    assert writer.stdout is not None
    assert writer.stdout.readline() == "up\n"
    acknowledged: list[int] = []
    reader = threading.Thread(target=lambda: acknowledged.extend(int(line) for line in writer.stdout or ()))
    reader.start()
    until(lambda: len(acknowledged) > 5)
    trk.import_bundle(large)
    seen = len(acknowledged)
    until(lambda: len(acknowledged) > seen + 5)
    done = trk.export_bundle(tmp_path / "both.trk")
    assert writer.poll() is None
    writer.kill()
    writer.wait()
    reader.join()
    writer.stdout.close()
    assert {one.name: one.open for one in done.runs} == {"mine": True, "large": False}
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    assert len(acknowledged) <= here().read("SELECT max(n) FROM rows JOIN runs USING (run) WHERE name = 'mine'")[0][0]
    assert run.status == "RUNNING"


def test_two_imports_of_one_bundle_at_once_make_one_run(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(tmp_path / "desk", monkeypatch)
    processes = [started("import sys, trk\nprint(trk.import_bundle(sys.argv[1]).rows)", str(large)) for _ in range(3)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [err for _, err in said] == [""] * 3
    assert sorted(int(out) for out, _ in said) == [0, 0, 30_002]
    assert here().read("SELECT count(*) FROM rows") == [(30_002,)]
    assert here().read("SELECT count FROM metrics") == [(29_970,)]


def test_a_folder_that_can_not_be_written_takes_nothing(
    large: Path, mounted: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mounted("size=30m")
    at(disk / "desk", monkeypatch)
    log_everything(disk / "desk")
    before = held(here())
    here().close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = command("import", str(large), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Read-only file system" in json.loads(done.stderr)["error"]["message"]
    assert command("export", "--bundle", str(large.parent / "other.trk")).returncode == 0
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert held(here()) == before
