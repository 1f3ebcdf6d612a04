"""The output of a command is in its run also before the command has ended."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import trk
from helpers import started, until
from trk.running import keeping
from trk.running.keeping import Keeping
from trk.running.kept import Kept

WATCHED = """
import functools, trk
from trk.running import beat, command, keeping
keeping.FIRST_S, command.Beat = 0.0, functools.partial(beat.Beat, every=0.05)
trk.run_command(["sh", "-c", "echo so far; exec sleep 600"], "watched")
"""


def logs(run: trk.Run | str) -> list[str]:
    """The sizes of all that was kept, the latest last."""
    return [str(found.size) for found in trk.artifacts(run, earlier=True) if found.path == "output.log"]


def test_it_is_kept_when_it_is_time_and_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("trk.running.keeping.time.monotonic", lambda: now)
    run = trk.start("one")
    kept, found = Keeping(run), []
    for minute in range(9):
        now = 60.0 * minute
        kept.copy.take(b"line\n")
        before = len(logs(run))
        kept.now_and_then()
        found += [minute] * (len(logs(run)) - before)
    assert found == [1, 3, 7]
    kept.keep()
    kept.keep()  # nothing came since
    assert len(logs(run)) == 4
    assert keeping.LONGEST_S == 3600


def test_what_a_command_had_printed_when_trk_was_killed_is_there(tmp_path: Path) -> None:
    child = started(WATCHED)
    until(lambda: bool(trk.search("run_name = 'watched'")) and bool(logs("watched")), 60)
    sleeping = [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and parent_of(pid) == child.pid]
    for pid in (child.pid, *sleeping):
        os.kill(pid, signal.SIGKILL)
    child.communicate()
    [path] = trk.get_artifact("output.log", "watched", to=tmp_path / "got")
    assert path.read_text() == "so far\n"


def parent_of(pid: str) -> int | None:
    """The process that a process descends from."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_a_job_that_goes_on_keeps_the_output_of_each_of_its_attempts() -> None:
    for words in ("echo first; exit 1", "echo second"):
        done = trk.run_command(["sh", "-c", words], "job", restart_key="night")
    found = {one.path: one.size for one in trk.artifacts(done.run_id)}
    assert found == {"output.log": len("first\n"), "output-2.log": len("second\n")}


def test_a_command_that_ends_its_own_run_loses_neither_its_output_nor_its_status() -> None:
    words = f"echo before; {sys.executable} -m trk_cli end -q STATUS; echo after; exit CODE"
    for status, code, last in (("", 3, "FAILED"), ("", 0, "FINISHED"), ("--failed", 0, "FAILED")):
        done = trk.run_command(["sh", "-c", words.replace("STATUS", status).replace("CODE", str(code))])
        assert (done.status, done.exit_code, done.troubles) == (last, code, ())
        record = trk.get_run(done.run_id)
        assert (str(record.status), record.tags["run.exit_code"]) == (last, str(code))
        [log] = trk.artifacts(done.run_id)
        assert log.size == len("before\nafter\n")


def test_a_version_before_the_end_has_whole_lines_alone() -> None:
    copy = Kept(head=10, tail=10)
    for piece in (b"one\n", b"two\nth"):
        copy.take(piece)
    assert copy.so_far(whole_lines=True).content() == b"one\ntwo\n"
    assert copy.so_far().content() == b"one\ntwo\nth"
    copy.take(b"r" * 200_000)
    copy.take(b"e\nfour")
    assert copy.so_far(whole_lines=True).content().endswith(b"e\n")
    assert Kept().so_far(whole_lines=True).total == 0


def test_a_last_part_that_begins_within_a_key_shows_nothing_of_it() -> None:
    copy = Kept(head=10, tail=100_000)
    copy.take(b"x" * 80 + b"\n")
    copy.take(b"-----BEGIN RSA PRIVATE KEY-----\n")
    for _ in range(20_000):
        copy.take(b"\x1b[32mMIIEpAIBAAKCAQEA7bq9\x1b[0m\n")
    copy.take(b"-----END RSA PRIVATE KEY-----\nand on\n")
    assert copy.is_cut
    assert b"MIIEp" not in copy.content().partition(b"left out here")[2]
    assert copy.content().endswith(b"and on\n")
