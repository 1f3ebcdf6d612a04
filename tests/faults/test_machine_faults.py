"""What happens to the machine under a daemon: locks, a full disk, noise in the journal, a clock that steps, a reboot.

What is delivered goes to a file; a real server's faults are in `test_backend_faults` and `test_weather`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import helpers
from daemon.tools import Place, filing_place, short_folder
from delivery import hostile
from faults.harness.clock import Clock
from faults.harness.disk import fill
from faults.harness.holders import holding_database, holding_file
from faults.harness.killer import daemon_of, ended, kill
from helpers import Course
from trk import session
from trk.daemon import place as lock
from trk.errors import SessionError


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with hostile.installed(tmp_path_factory.mktemp("site")) as paths:
        yield paths


@pytest.fixture
def place(project: Path, plugins: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A project whose runs go to a file, and where a daemon may run."""
    with filing_place(project, plugins, monkeypatch) as found:
        yield found


def delivery(place: Place, run: str) -> dict[str, int]:
    """What `trk status` says of a run's delivery; it adds up."""
    told: dict[str, int] = json.loads(place.done("status", "--run", run, "--json"))["backends"]["on-file"]
    assert told["logged"] == sum(told[part] for part in ("delivered", "pending", "rejected", "skipped"))
    return told


def starting(place: Place, *words: str) -> subprocess.Popen[str]:
    """A command that is not waited for."""
    return subprocess.Popen(
        [*helpers.COMMAND, *words], env=place.environment(), cwd=place.project, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def die(place: Place, code: str, **env: str) -> None:
    """A program that ends as if by kill -9."""
    whole = f"import os, signal, trk\n{code}\nos.kill(os.getpid(), signal.SIGKILL)"
    gone = subprocess.run([sys.executable, "-c", whole], env=place.environment(**env), cwd=place.project, check=False)
    assert gone.returncode == -signal.SIGKILL


# -- locks ------------------------------------------------------------------------------------------------------------


def test_a_journal_that_is_locked_is_read_and_waited_for_but_not_for_ever(place: Place, course: Course) -> None:
    seconds = course.many(2, 60)
    run = place.done("start", "-q")
    pid = place.serving()
    lock_file = holding_database(f"{place.folder}/journal.db")
    with contextlib.ExitStack() as waiting:
        with lock_file:
            began = time.monotonic()
            (log,) = waiting.enter_context(ended([starting(place, "log-metric", "m", "1")]))
            assert delivery(place, run)["logged"] == 0
            place.done("ls")
            time.sleep(max(0, seconds - (time.monotonic() - began)))  # the length of the fault
            assert log.poll() == (1 if seconds > 30 else None)
        _, told = log.communicate(timeout=30)
    assert log.returncode == (1 if seconds > 30 else 0)
    assert ("was locked by another process for 30 s" in told) == (seconds > 30)
    place.done("log-metric", "m", "2")
    place.done("end", "-q", "--strict")
    assert place.rows(run) == list(range(1, 3 if seconds > 30 else 4))
    assert place.serving() == pid


def test_a_journal_that_is_locked_while_rows_arrive_makes_no_doubles(place: Place) -> None:
    run = place.done("start", "-q")
    place.serving()
    for number in range(5):
        place.done("log-metric", "m", str(number))
        with holding_database(f"{place.folder}/journal.db"):
            time.sleep(0.3)  # the daemon may have handed it over, and can't write that down
    place.done("end", "-q", "--strict")
    assert [n for found, n in place.arrived() if found == run] == list(range(1, 7))


@pytest.mark.parametrize("daemon", ["auto", "off"])
def test_another_deliverer_holds_up_no_end_and_what_waits_arrives_afterwards(place: Place, daemon: str) -> None:
    run = place.done("start", "-q", TRK_DAEMON="off")
    place.done("log-metric", "m", "1", TRK_DAEMON="off")
    with holding_file(f"{place.folder}/deliver.lock"):
        if daemon == "auto":
            place.done("daemon", "start")
        room_s, began = place.room_s(), time.monotonic()
        ended_ = place.trk("end", "--timeout", "1", TRK_DAEMON=daemon)
        assert time.monotonic() - began < 1 + room_s
        assert ended_.returncode == 0
        assert "on-file does not have 2 of 2 rows" in ended_.stderr
        assert place.arrived() == []
    place.done("sync", "-q", "--strict", TRK_DAEMON=daemon)
    assert place.rows(run) == [1, 2]


def test_a_session_that_is_being_changed_is_waited_for_but_not_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place.done("start", "-q", TRK_DAEMON="off")
    with contextlib.ExitStack() as waiting:
        with holding_file(f"{place.folder}/session.json.lock"):
            place.done("log-metric", "m", "1")  # who only reads it does not wait
            (end,) = waiting.enter_context(ended([starting(place, "end", "-q", "--no-wait")]))
            monkeypatch.setattr(session, "LOCK_WAIT_S", 0.5)
            with pytest.raises(SessionError, match="changed by another process"):
                session.push(place.folder, run)
            assert end.poll() is None
        assert end.wait(30) == 0
    place.done("sync", "-q", "--strict")
    assert place.rows(run) == [1, 2]


def test_a_daemon_that_is_stopped_holds_up_nobody(place: Place) -> None:
    run = place.done("start", "-q")
    pid = place.serving()
    place.done("log-metric", "m", "1")
    helpers.until(lambda: place.rows(run) == [1])
    os.kill(pid, signal.SIGSTOP)
    try:
        room_s, began = place.room_s(), time.monotonic()
        place.done("log-metric", "m", "2")
        assert time.monotonic() - began < room_s
        began = time.monotonic()
        stopped = place.trk("end", "--timeout", "3")
        assert time.monotonic() - began < 3 + room_s
        assert stopped.returncode == 0
        assert "on-file does not have 2 of 3 rows" in stopped.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    place.done("sync", "-q", "--strict")
    assert place.rows(run) == [1, 2, 3]


# -- disks ------------------------------------------------------------------------------------------------------------


def test_a_daemon_on_a_full_disk_waits_for_room_and_delivers_in_order(
    mounted: Callable[..., Path], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mounted("size=3m")
    place.folder = str(disk / ".trk")
    monkeypatch.setenv("TRK_DIR", place.folder)
    run = place.done("start", "-q")
    pid = place.serving()
    place.done("log-metric", "m", "0")
    helpers.until(lambda: place.rows(run) == [1])
    ballast = fill(disk, 100_000)
    logged = 1
    for number in range(30):
        done = place.trk("log-param", f"p{number}", "x" * 20_000)
        if done.returncode:
            break
        logged += 1
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    fill_the_rest = disk / "rest"
    with fill_the_rest.open("wb") as file:
        file.write(b"x" * 4096 * max(0, os.statvfs(disk).f_bavail))
    time.sleep(0.5)  # the daemon looks at it
    ballast.unlink()
    fill_the_rest.unlink()
    place.done("log-metric", "m", "1")
    place.done("end", "-q", "--strict")
    assert place.rows(run) == list(range(1, logged + 3))
    assert delivery(place, run)["delivered"] == logged + 2
    assert place.serving() == pid
    assert "Traceback" not in place.done("daemon", "logs")
    place.end()  # before its disk is taken away


@pytest.mark.parametrize("how", ["noise", "truncated", "empty"])
def test_a_journal_that_is_spoilt_under_a_daemon_is_said_so_and_a_new_one_goes_on(place: Place, how: str) -> None:
    place.done("start", "-q")
    pid = place.serving()
    place.done("log-metric", "m", "1")
    helpers.until(lambda: len(place.arrived()) == 1)
    journal = Path(place.folder) / "journal.db"
    for path in (journal, Path(f"{journal}-wal")):
        if path.exists():
            size = path.stat().st_size
            with path.open("r+b") as file:
                if how == "noise":
                    file.write(os.urandom(size))
                else:
                    file.truncate(size // 2 if how == "truncated" else 0)
    done = place.trk("log-metric", "m", "2", "--json")
    assert done.returncode == 1, done
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "journal_error"
    assert error["hint"]
    time.sleep(1)  # whatever the daemon makes of it
    for path in Path(place.folder).glob("journal.db*"):
        path.rename(f"{path}.broken")
    (Path(place.folder) / "session.json").unlink()
    run = place.done("start", "-q")
    place.done("log-metric", "m", "3")
    helpers.until(lambda: place.rows(run) == [1])
    helpers.until(lambda: place.daemons() == [place.serving()])
    assert place.serving() != pid
    log = place.done("daemon", "logs")
    assert "this should not have happened" not in log
    assert len(log) < 20_000


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_clock_that_steps_back_while_a_daemon_runs_loses_nothing_and_changes_no_order(
    place: Place, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in clock.variables.items():
        monkeypatch.setenv(name, text)
    run = place.done("start", "-q")
    place.serving()
    place.done("log-metric", "m", "0")
    helpers.until(lambda: place.rows(run) == [1])
    clock.step(-3600)
    place.done("log-metric", "m", "1")
    helpers.until(lambda: place.rows(run) == [1, 2])
    assert kill(daemon_of(place.folder))
    helpers.until(place.is_free)
    time.sleep(lock_age_s(place))
    clock.step(-7200)
    place.done("log-metric", "m", "2")
    helpers.until(lambda: place.rows(run) == [1, 2, 3])
    points = json.loads(place.done("history", "m", "--run", run, "--json"))
    times = [point["time"] for point in points]
    assert [(point["step"], point["value"]) for point in points] == [(0, 0), (1, 1), (2, 2)]
    assert times == sorted(times, reverse=True), "the clock did step"
    place.done("end", "-q", "--strict")
    assert place.rows(run) == [1, 2, 3, 4]
    told = json.loads(place.done("status", "--run", run, "--json"))
    assert told["duration_s"] == 0
    later = place.done("start", "-q")
    place.done("end", "-q", "--strict")
    assert place.rows(later) == [1]
    assert json.loads(place.done("show", "@last", "--json"))["run_id"] in (run, later)


def lock_age_s(place: Place) -> float:
    """Until a daemon that was killed may be started again by a log command."""
    return max(0.0, 1.1 - (time.time() - os.stat(Path(place.folder) / lock.LOCK).st_mtime))


def test_after_a_reboot_what_was_pending_arrives(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place.done("start", "-q")
    place.done("log-metric", "m", "0")
    helpers.until(lambda: delivery(place, run)["pending"] == 0)
    assert kill(place.serving())
    helpers.until(place.is_free)
    code = f"run = trk.attach({run!r})\nfor n in range(9): run.log_metric('m', n)"
    die(place, code, TRK_DAEMON="off")
    # What is in memory alone is gone: the folder of sockets, the index of the log; what a lock says is of no process.
    shutil.rmtree(place.runtime / "trk")
    Path(f"{place.folder}/journal.db-shm").unlink()
    Path(f"{place.folder}/daemon.lock").write_text(f"{os.getpid()} 0.1.0 {place.runtime}/trk/gone.sock\n{run}\n")
    os.utime(f"{place.folder}/daemon.lock", (0, 0))  # a machine takes a while to start again
    with short_folder() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        assert delivery(place, run)["pending"] == 9
        place.done("log-metric", "m", "9")
        helpers.until(lambda: delivery(place, run)["pending"] == 0)
        place.done("end", "-q", "--strict")
        assert place.rows(run) == list(range(1, 13))
        place.end()
        helpers.until(place.is_free)


# -- others -----------------------------------------------------------------------------------------------------------


def test_a_newer_daemon_delivers_what_an_older_program_logs(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    code = "trk.__version__ = '99.0'\nfrom trk.daemon import serve\nserve.Daemon(sys.argv[1]).run(None)"
    code = f"import sys, trk\n{code}\n"
    newer = subprocess.Popen([sys.executable, "-c", code, place.folder], env=place.environment(), cwd=place.project)
    with ended([newer]):
        assert place.serving() == newer.pid
        run = place.done("start", "--replace", "-q")
        place.done("log-metric", "m", "1")
        place.done("end", "-q", "--strict")
        assert place.rows(run) == [1, 2]
        assert place.serving() == newer.pid


def test_a_session_that_a_crash_left_is_logged_into_or_replaced(place: Place) -> None:
    die(place, "run = trk.start('crashed', shell_session=True)\nrun.log_metric('m', 1)")
    crashed = json.loads(place.done("status", "--json"))["run_id"]
    place.done("log-metric", "m", "2")
    refused = place.trk("start", "-q")
    assert refused.returncode == 7
    assert "--replace" in refused.stderr
    other = place.done("start", "-q", "--replace")
    place.done("end", "-q", "--strict")
    place.done("sync", "-q", "--strict")
    assert place.rows(crashed)[:2] == [1, 2]
    assert place.rows(other) == [1]
