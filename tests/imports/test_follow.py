"""A log folder that is followed while TensorBoard's own code, or tensorboardX, writes into it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import program, started, until
from imports.test_tensorboard import NOON, hparams, new, old, write
from imports.tools import journal, live, points, rows
from trk.errors import Conflict
from trk.growing import waking
from trk.growing.waking import Waker

pytest.importorskip("tensorboard", reason="tensorboard is not installed")


class Follower:
    """`trk.follow_tensorboard` in a thread, ended and asked for its report by `done`."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.told: list[str] = []
        self._stop = threading.Event()
        self._report: list[trk.ImportReport] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._follow, args=(folder,), kwargs=more)
        self._thread.start()

    def _follow(self, folder: Path, **more: Any) -> None:
        try:
            found = trk.follow_tensorboard(folder, stop=self._stop, warn=self.told.append, **more)
            self._report.append(found)
        except Exception as error:
            self._error.append(error)

    def done(self) -> trk.ImportReport:
        self._stop.set()
        return self.ended()

    def ended(self) -> trk.ImportReport:
        self._thread.join(30)
        if self._error:
            raise self._error[0]
        return self._report[0]


def taken(name: str = "logs") -> set[Any]:
    """The points of the run of that name, once it is here."""
    try:
        run = trk.get_run(name, source="local")
    except trk.TrkError:
        return set()
    return points(run.run_id)


def test_what_is_written_comes_while_it_is_written(project: Path) -> None:
    logs = project / "logs"
    follower = Follower(logs)
    until(lambda: bool(follower.told))
    assert "there are no event files" in follower.told[0]
    file = write(logs, *((NOON + n, n, [old("loss", n / 3)]) for n in range(20)))
    until(lambda: len(taken()) == 20)
    assert trk.get_run("logs", source="local").status == "RUNNING"
    whole = file.read_bytes()
    late = write(logs, (NOON + 50, 0, [old("loss", 7.0)]), suffix=".later").read_bytes()
    until(lambda: len(taken()) == 21)
    write(logs / "inner", (NOON, 0, [old("loss", 7.0)]), *[(NOON, 0, hparams(lr=0.5))])
    until(lambda: len(taken("inner")) == 1)
    until(lambda: trk.get_run("inner", source="local").status == "FAILED")  # its files say that it ended so
    done = follower.done()
    assert (done.points, {run.name: run.new for run in done.runs}) == (22, {"logs": True, "inner": True})
    assert trk.get_run("logs", source="local").status == "FINISHED"
    assert file.read_bytes() == whole
    assert late
    before = rows(), live()
    assert trk.import_tensorboard(logs).points == 0
    assert (rows(), live()) == before


def test_half_an_event_waits_for_its_other_half(project: Path) -> None:
    logs = project / "logs"
    file = write(logs, *((NOON + n, n, [old("loss", n / 3)]) for n in range(20)))
    whole = file.read_bytes()
    for cut in (7, 0):
        file.write_bytes(whole[:-7] if cut else whole)
        done = trk.follow_tensorboard(logs, until_idle=0)
        assert done.points == (19 if cut else 1)
    grown = project / "grown" / file.name
    grown.parent.mkdir()
    follower = Follower(grown.parent)
    with grown.open("wb", buffering=0) as stream:
        for place in range(0, len(whole), 97):
            stream.write(whole[place : place + 97])
            until(lambda: len(taken("grown")) >= whole[: grown.stat().st_size].count(b"loss") - 1)
    assert follower.done().points == 20
    assert taken("grown") == taken()


def test_a_file_that_is_replaced_is_read_anew_and_nothing_comes_twice(project: Path) -> None:
    logs = project / "logs"
    file = write(logs, *((NOON + n, n, [old("loss", n / 3)]) for n in range(9)))
    follower = Follower(logs)
    until(lambda: len(taken()) == 9)
    other = write(project / "other", *((NOON + n, n, [old("loss", n / 3)]) for n in range(5, 14)))
    other.rename(file)
    until(lambda: len(taken()) == 14)
    file.write_bytes(file.read_bytes()[:200])  # cut
    write(logs, (NOON + 50, 0, [old("loss", 7.0)]), suffix=".later")
    until(lambda: len(taken()) == 15)
    assert follower.done().points == 15
    assert journal().read("SELECT count(*) FROM rows WHERE kind = 'metric'")[0][0] == 15


def test_a_run_that_is_ended_here_is_followed_no_more(project: Path) -> None:
    logs = project / "logs"
    write(logs, (NOON, 0, [old("loss", 7.0)]))
    follower = Follower(logs)
    until(lambda: len(taken()) == 1)
    run_id = trk.get_run("logs", source="local").run_id
    trk.attach(run_id).end("KILLED")
    done = follower.ended()
    assert done.points == 1
    assert trk.get_run("logs", source="local").status == "KILLED"
    assert run_id in follower.told[-1]


def test_others_may_log_into_a_run_that_is_followed(project: Path) -> None:
    logs = project / "logs"
    write(logs, (NOON, 0, [old("loss", 7.0)]))
    follower = Follower(logs)
    until(lambda: len(taken()) == 1)
    run = trk.attach(trk.get_run("logs", source="local").run_id)
    run.set_tag("stage", "dev")
    run.log_metric("loss", 8.0, step=1)
    write(logs, (NOON, 2, [old("loss", 9.0), new("note", [b"well"], "text", "text")]), suffix=".2")
    until(lambda: len(taken()) == 3)
    assert follower.done().points == 2
    assert trk.get_run("logs", source="local").tags["text/note"] == "well"


def test_a_folder_is_followed_once_at_a_time(project: Path) -> None:
    logs = project / "logs"
    write(logs, (NOON, 0, [old("loss", 7.0)]))
    follower = Follower(logs)
    until(lambda: len(taken()) == 1)
    with pytest.raises(Conflict, match="followed already"):
        trk.follow_tensorboard(logs)
    follower.done()
    assert not list((project / ".trk").glob("follow-*"))


FOLLOW = """
import sys, threading
import trk
print("ready", flush=True)
trk.follow_tensorboard(sys.argv[1], warn=print)
"""


def test_a_follower_that_is_killed_at_any_time_loses_and_doubles_nothing(project: Path, course: Any) -> None:
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    logs = project / "logs"
    writer = EventFileWriter(str(logs))
    count = 0
    for _ in range(course.many(2, 200)):
        follower = started(FOLLOW, str(logs))
        assert follower.stdout is not None
        follower.stdout.readline()
        deadline = time.monotonic() + course.dice.uniform(0.1, 0.9)
        while time.monotonic() < deadline:
            event = event_pb2.Event(wall_time=NOON + count, step=count % 7)
            event.summary.value.append(old("loss", count / 3))
            writer.add_event(event)
            count += 1
            if count % 50 == 0:
                writer.flush()
        follower.kill()
        follower.communicate()
    writer.close()
    assert trk.follow_tensorboard(logs, until_idle=0).runs[0].read == count
    assert len(taken()) == count
    assert journal().read("SELECT count(*) FROM rows WHERE kind = 'metric'")[0][0] == count


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_following_and_tells(number: int, code: int, project: Path) -> None:
    logs = project / "logs"
    write(logs, (NOON, 0, [old("loss", 7.0)]))
    program = "import sys; from trk_cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    follower = started(program, "import", "tensorboard", str(logs), "--follow", "-e", "digits")
    until(lambda: len(taken()) == 1)
    os.kill(follower.pid, number)
    out, said = follower.communicate(timeout=30)
    assert follower.returncode == code
    run = trk.get_run("logs", source="local")
    assert (out, run.status, run.experiment) == (f"{run.run_id}\n", "FINISHED", "digits")
    assert said.splitlines()[0] == f"following {logs} (Ctrl-C ends it)"
    assert "imported 1 point, 1 new run from tensorboard" in said


def test_without_the_library_that_listens_it_is_looked_now_and_then(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "watchdog.events", None)
    logs = project / "logs"
    write(logs, (NOON, 0, [old("loss", 7.0)]))
    follower = Follower(logs)
    until(lambda: bool(follower.told))
    assert "watchdog is not installed" in follower.told[0]
    write(logs, (NOON, 1, [old("loss", 7.0)]), suffix=".2")
    until(lambda: len(taken()) == 2)
    write(logs, (NOON, 2, [old("loss", 7.0)]), suffix=".3")
    until(lambda: len(taken()) == 3)
    assert follower.done().points == 3
    assert sum("watchdog" in told for told in follower.told) == 1


def test_a_change_wakes_and_reading_does_not(project: Path) -> None:
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    (project / "file").touch()
    stop = threading.Event()
    with Waker(str(project)) as waker:
        waker.wait(stop, 0.1)
        assert waker.note is None
        (project / "file").read_bytes()
        assert not waker._changed.wait(0.3)
        (project / "file").write_text("more")
        assert waker._changed.wait(10)


STOPPED = """
from trk.growing.waking import Waker

with Waker(".") as waker:
    for emitter in waker._observer.emitters:
        emitter.on_thread_stop()
        emitter.queue_events(0.1)  # as its thread does when an event comes at this moment
"""


@pytest.mark.skipif(find_spec("watchdog") is None or sys.platform != "linux", reason="needs watchdog's inotify")
def test_what_watchdog_logs_of_its_end_is_not_said(project: Path) -> None:
    done = program(STOPPED)
    assert (done.returncode, done.stderr) == (0, "")
