"""The output of a command is in its run also before the command has ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import trk
from helpers import started, until
from trk.running import keeping
from trk.running.keeping import Keeping

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
