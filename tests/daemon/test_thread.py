"""Delivery by a thread of the program: live, beside a daemon, over forks, and however the program is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import helpers
import trk
from daemon.tools import Place
from faults.harness.proxy import Proxy
from trk.daemon import place as lock
from trk.delivery.lock import DeliverLock
from trk.errors import ConfigurationError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")

WAIT = "def wait(name):\n    while not pathlib.Path(name).exists(): time.sleep(0.01)\n"
HEAD = f"import os, pathlib, signal, sys, threading, time, trk\n{WAIT}"
ARRIVED = (
    "def arrived(n):\n"
    "    path = pathlib.Path(os.environ['ARRIVALS'])\n"
    "    while not path.exists() or len(set(path.read_text().splitlines()) - {''}) < n: time.sleep(0.01)\n"
)


def program(place: Place, code: str, *words: str, **env: str) -> subprocess.Popen[str]:
    """A program in the project, started."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + ARRIVED + code, *words], cwd=place.project, env=place.environment(**env),
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def done(place: Place, code: str, *words: str, code_expected: int | None = 0, seconds: float = 60, **env: str) -> str:
    """What a program says on stderr, when it has left in time."""
    child = program(place, code, *words, **env)
    try:
        said, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        pytest.fail(f"it has not left within {seconds} s: {child.communicate()}")
    assert code_expected in (None, child.returncode), (said, errors)
    return errors


def once(place: Place) -> list[int]:
    """The rows that arrived, each of which must have arrived once."""
    rows = place.arrived()
    assert len(set(rows)) == len(rows)
    return sorted(n for _, n in rows)


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


# -- live -------------------------------------------------------------------------------------------------------------


def test_a_thread_delivers_while_the_program_goes_on_and_no_daemon_is_started(place: Place) -> None:
    code = (
        "run = trk.start(delivery='thread')\n"
        "for n in range(3):\n"
        "    run.log_metric('loss', n)\n"
        "    arrived(n + 1)\n"
        "time.sleep(1.1)\n"  # the next log call looks after the daemon
        "run.log_metric('loss', 3)\n"
        "run.end(strict=True)\n"
        "print([thread.name for thread in threading.enumerate()])\n"
    )
    child = program(place, code)
    said, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    assert "trk-delivery" in said
    assert once(place) == [1, 2, 3, 4, 5]
    assert lock.look(place.folder) is None


def test_the_environment_asks_for_a_thread_as_well_and_a_command_starts_nothing(place: Place) -> None:
    code = "with trk.start() as run:\n    run.log_metric('loss', 1)\n    arrived(1)\n"
    assert done(place, code, TRK_DELIVERY="thread") == ""
    place.done("start", "-q", TRK_DELIVERY="thread")
    place.done("log-metric", "loss", "1", TRK_DELIVERY="thread")
    assert lock.look(place.folder) is None
    assert json.loads(place.done("end", "--json"))["runs"][0]["backends"]["on-file"]["delivered"] == 2
    assert once(place) == [1, 1, 2, 2]


def test_delivery_at_the_end_starts_neither_thread_nor_daemon(place: Place) -> None:
    code = (
        "with trk.start(delivery='end') as run:\n"
        "    run.log_metric('loss', 1)\n"
        "    time.sleep(1.1)\n"
        "    run.log_metric('loss', 2)\n"
        "    assert threading.active_count() == 1\n"
        "    assert not pathlib.Path(os.environ['ARRIVALS']).exists()\n"
    )
    assert done(place, code) == ""
    assert once(place) == [1, 2, 3]
    assert lock.look(place.folder) is None


def test_another_word_is_refused_before_anything_is_made(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="delivery must be daemon, thread or end, not 'fork'"):
        trk.start(delivery="fork")
    with pytest.raises(ConfigurationError, match="exit_timeout must be a number of seconds from 0"):
        trk.start(exit_timeout=-1)
    assert not (project / ".trk").exists()


def test_runs_that_are_attached_to_and_reopened_have_the_thread_too(place: Place) -> None:
    first = place.done("start", "first", "-q", "--shell", TRK_DELIVERY="end").split("=")[1].split()[0]
    code = (
        "run = trk.attach(sys.argv[1], delivery='thread')\n"
        "run.log_metric('loss', 1); arrived(1); run.end(); arrived(2)\n"
        "run = trk.resume(sys.argv[1], delivery='thread')\n"
        "run.log_metric('loss', 2); arrived(4); run.end(strict=True)\n"
    )
    assert done(place, code, first) == ""
    assert once(place) == [1, 2, 3, 4, 5]


def test_many_runs_and_threads_of_one_program_share_the_thread(place: Place) -> None:
    code = (
        "def work(number):\n"
        "    with trk.start(f'run {number}', delivery='thread') as run:\n"
        "        for n in range(50): run.log_metric('loss', n)\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        "for one in threads: one.start()\n"
        "while any(one.is_alive() for one in threads):\n"
        "    assert [t.name for t in threading.enumerate()].count('trk-delivery') <= 1\n"
        "    time.sleep(0.01)\n"
    )
    assert done(place, code) == ""
    assert once(place) == sorted([*range(1, 52)] * 4)


def test_it_ends_when_its_runs_have_and_comes_back_for_the_next(place: Place) -> None:
    code = (
        "from trk.delivery import live\n"
        "live.IDLE_S = 0.3\n"
        "for n in range(2):\n"
        "    run = trk.start(delivery='thread')\n"
        "    run.log_metric('loss', 1)\n"
        "    time.sleep(1)\n"
        "    assert 'trk-delivery' in [t.name for t in threading.enumerate()], 'a run is open'\n"
        "    run.end(strict=True)\n"
        "    while 'trk-delivery' in [t.name for t in threading.enumerate()]: time.sleep(0.01)\n"
    )
    assert done(place, code) == ""
    assert once(place) == [1, 1, 2, 2]


# -- beside others ----------------------------------------------------------------------------------------------------

BESIDE = (
    "run = trk.start('mine', delivery='thread')\n"
    "n = 0\n"
    "while not pathlib.Path('stop').exists():\n"
    "    n += 1; run.log_metric('loss', n); time.sleep(0.01)\n"
    "run.end(strict=True)\n"
    "print(run.id, n)\n"
)


def test_a_daemon_and_a_thread_of_one_journal_take_turns_and_neither_starves(place: Place) -> None:
    child = program(place, BESIDE)
    helpers.until(lambda: len(place.arrived()) > 10)
    run = place.done("start", "-q")  # its daemon finds the lock taken
    for n in range(1, 6):
        place.done("log-metric", "loss", str(n))
        there = len(place.arrived())
        helpers.until(lambda n=n: len(place.rows(run)) >= n)
        helpers.until(lambda there=there: len(place.arrived()) > there + 10)
    by = {pid for _, _, pid in lines(place, run)}
    (place.project / "stop").touch()
    said, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    mine, count = said.split()
    assert place.rows(mine) == list(range(1, int(count) + 2))
    assert by == {place.serving()}
    assert {pid for _, _, pid in lines(place, mine)} == {child.pid}
    place.done("end", "-q", "--strict")
    once(place)


def lines(place: Place, run: str) -> list[tuple[str, int, int]]:
    """(run, row, process that delivered it) of what arrived of a run."""
    words = [line.split() for line in (place.project / "arrivals").read_text().splitlines()]
    return [(found[0], int(found[1]), int(found[2])) for found in words if found and found[0] == run]


def test_a_sync_of_somebody_else_gets_its_turn_from_a_thread_that_never_rests(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    place.done("log-metric", "loss", "1", TRK_DAEMON="off")
    child = program(place, BESIDE)
    helpers.until(lambda: len(place.arrived()) > 10)
    with helpers.in_time(0):
        place.done("end", "-q", "--strict", "--timeout", "50", TRK_DAEMON="off")
    (place.project / "stop").touch()
    _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    once(place)


def test_two_programs_with_threads_take_turns(place: Place) -> None:
    two = [program(place, BESIDE) for _ in range(2)]
    helpers.until(lambda: len({run for run, _ in place.arrived()}) == 2)
    for _ in range(3):
        there = {run: len(place.rows(run)) for run, _ in place.arrived()}
        helpers.until(lambda there=there: all(len(place.rows(run)) > count + 5 for run, count in there.items()))
    (place.project / "stop").touch()
    for child in two:
        said, _ = child.communicate(timeout=60)
        run, count = said.split()
        assert place.rows(run) == list(range(1, int(count) + 2))
    once(place)


def test_who_waits_for_the_lock_is_seen_and_comes_first(project: Path) -> None:
    first, second, third = (DeliverLock(str(project)) for _ in range(3))
    assert first.attempt(queue=False)
    assert not first.is_wanted()
    assert not second.attempt(queue=True)
    assert first.is_wanted()
    first.release()
    assert not third.attempt(queue=True), "somebody was there before"
    assert second.attempt(queue=True)
    assert not second.is_wanted()
    second.release()
    assert third.acquire(time.monotonic())
    third.release()


# -- forks ------------------------------------------------------------------------------------------------------------


def test_a_forked_child_logs_and_the_thread_of_its_parent_delivers(place: Place) -> None:
    code = (
        "run = trk.start(delivery='thread')\n"
        "run.log_metric('loss', 0); arrived(1)\n"
        "children = []\n"
        "for child in range(4):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        assert threading.active_count() == 1\n"
        "        for n in range(50): trk.active_run().log_metric(f'child{child}', n)\n"
        "        sys.exit(7)\n"  # all that a program does at its exit
        "    children.append(pid)\n"
        "assert {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children} == {7}\n"
        "assert run.status == 'RUNNING'\n"
        "arrived(201)\n"
        "run.end(strict=True)\n"
    )
    assert done(place, code) == ""
    assert once(place) == list(range(1, 203))
    assert {pid for _, _, pid in lines(place, place.arrived()[0][0])} != set()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_neither_hang_nor_lose(place: Place, tmp_path: Path, method: str) -> None:
    (tmp_path / "main.py").write_text(
        "import multiprocessing, sys, trk\n"
        "def work(args):\n"
        "    run, number = args\n"
        "    for n in range(25): trk.attach(run).log_metric(f'worker{number}', n)\n"
        "    return number\n"
        "if __name__ == '__main__':\n"
        "    with trk.start() as run:\n"
        "        run.log_metric('loss', 1)\n"
        "        for _ in range(2):\n"
        "            with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "                assert pool.map(work, [(run.id, n) for n in range(4)]) == [0, 1, 2, 3]\n"
    )
    child = subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), method], cwd=place.project, text=True, capture_output=True,
        env=place.environment(TRK_DELIVERY="thread"), timeout=120, check=False,
    )  # fmt: skip
    assert (child.returncode, child.stderr) == (0, "")
    assert once(place) == list(range(1, 203))
    assert lock.look(place.folder) is None


def test_a_child_that_outlives_a_killed_parent_does_not_keep_the_lock(place: Place) -> None:
    code = (
        "run = trk.start(delivery='thread')\n"
        "run.log_metric('loss', 0); arrived(1)\n"
        "if os.fork() == 0:\n"
        "    run.log_metric('loss', 1)\n"
        "    pathlib.Path('forked').touch()\n"
        "    wait('go')\n"
        "    os._exit(0)\n"
        "wait('forked')\n"
        "run.log_metric('loss', 2)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = program(place, code)
    child.wait(60)  # its pipes are its child's as well
    try:
        place.done("sync", "-q", "--strict", "--timeout", "20", TRK_DAEMON="off")
    finally:
        (place.project / "go").touch()
        child.communicate(timeout=60)
    assert max(n for _, n in place.arrived()) == 3
    assert len({n for _, n in place.arrived()}) == 3


@needs_mlflow
@pytest.mark.long
def test_forks_in_the_middle_of_deliveries_leave_mlflows_store_whole(place: Place, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/store.db"
    code = (
        "run = trk.start(delivery='thread', backends='mlflow', mlflow_uri=sys.argv[1])\n"
        "def first():\n"
        "    while run.record.backends['mlflow'].pending: time.sleep(0.02)\n"
        "run.log_metric('loss', 0); first()\n"
        "for n in range(20):\n"
        "    for k in range(25): run.log_metric('loss', n)\n"
        "    if os.fork() == 0:\n"
        "        run.log_metric('child', n)\n"
        "        os._exit(0)\n"  # as workers do: what MLflow imports does not stand a whole exit in a fork's child
        "    if n % 4 == 3:\n"
        "        for _ in range(4): os.wait()\n"
        "run.end(strict=True)\n"
        "print(run.id)\n"
    )
    child = program(place, code, uri)
    said, errors = child.communicate(timeout=120)
    assert (child.returncode, errors) == (0, "")
    told = json.loads(place.done("verify", said.strip(), "--json", MLFLOW_TRACKING_URI=uri, TRK_BACKENDS="mlflow"))
    assert told, "it was read back, and nothing differs"
    import sqlite3

    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM metrics WHERE key = 'child'").fetchone() == (20,)


# -- leaving ----------------------------------------------------------------------------------------------------------

LEFT: dict[str, tuple[str, int | None, str | None]] = {
    "by its end": ("", 0, "FINISHED"),
    "by sys.exit": ("sys.exit(3)", 3, "FINISHED"),
    "by an exception": ("raise ValueError", 1, "FAILED"),
    "by Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", None, "KILLED"),
}


@pytest.mark.parametrize("delivery", helpers.some(["thread", "daemon", "end"], "thread"))
@pytest.mark.parametrize("way", LEFT)
def test_whoever_leaves_without_an_end_has_delivered_all_the_same(place: Place, way: str, delivery: str) -> None:
    code, expected, status = LEFT[way]
    done(
        place, f"run = trk.start('left', delivery='{delivery}')\nrun.log_metric('loss', 1)\n{code}",
        code_expected=expected,
    )  # fmt: skip
    told = json.loads(place.done("status", "--run", "left", "--json"))
    assert told["status"] == status
    assert told["backends"]["on-file"]["pending"] == 0
    assert once(place) == [1, 2]


@pytest.mark.parametrize(
    "way",
    helpers.some(["os._exit(0)", "os.kill(os.getpid(), 15)", "os.kill(os.getpid(), 9)"], "os.kill(os.getpid(), 9)"),
)
def test_whoever_is_killed_has_lost_nothing(place: Place, way: str) -> None:
    code = (
        "run = trk.start(delivery='thread')\n"
        "for n in range(200): run.log_metric('loss', n)\n"
        "sys.stdout.flush()\n"
        f"{way}\n"
    )
    child = program(place, code)
    child.communicate(timeout=60)
    place.done("sync", "-q", "--strict", TRK_DAEMON="off")
    assert sorted({n for _, n in place.arrived()}) == list(range(1, 201))


@needs_mlflow
@pytest.mark.parametrize("delivery", helpers.some(["thread", "end", "daemon"], "thread"))
@pytest.mark.parametrize("how", helpers.some(["", "run.end(timeout=1)\n", "with run: run.log_metric('loss', 2)\n"], ""))
def test_a_server_that_never_answers_holds_nobody_longer_than_the_time_allowed(
    place: Place, delivery: str, how: str
) -> None:
    with silent_server() as url:
        code = (
            "run = trk.start('left', delivery=sys.argv[1], exit_timeout=1)\n"
            "run.log_metric('loss', 1)\n"
            "time.sleep(2)\n"  # the thread is in a call that hangs
            f"{how}"
            "print('left', time.time(), flush=True)\n"
        )
        child = program(place, code, delivery, TRK_BACKENDS="mlflow", MLFLOW_TRACKING_URI=url)
        said, errors = child.communicate(timeout=60)
        took = time.time() - float(said.split()[1])
        assert child.returncode == 0, errors
        assert took < 6
        (line,) = errors.splitlines()
        assert "pending" in line
        assert "trk sync" in line
    told = json.loads(place.done("status", "--run", "left", "--json"))
    assert told["status"] == "FINISHED"
    assert told["backends"]["mlflow"]["pending"] >= 2


@pytest.mark.parametrize("delivery", ["thread", "end"])
def test_with_no_time_allowed_nothing_is_waited_for_and_a_sync_delivers(place: Place, delivery: str) -> None:
    code = "run = trk.start(delivery=sys.argv[1])\nfor n in range(500): run.log_metric('loss', n)\n"
    said = done(place, code, delivery, TRK_EXIT_TIMEOUT="0")
    assert delivery == "thread" or "501 rows pending; trk sync delivers" in said
    place.done("sync", "-q", "--strict", TRK_DAEMON="off")
    assert sorted({n for _, n in place.arrived()}) == list(range(1, 502))


def test_a_daemon_that_goes_on_is_no_reason_to_say_anything(place: Place) -> None:
    code = "run = trk.start()\nrun.log_metric('loss', 1)\narrived(1)\n"
    assert done(place, code, TRK_EXIT_TIMEOUT="0") == ""
    helpers.until(lambda: once(place) == [1, 2])


@needs_mlflow
def test_a_server_that_is_down_is_told_in_one_line_and_gets_everything_once_it_is_up(place: Place, link: Proxy) -> None:
    link.turn("refuse")
    env = {"TRK_BACKENDS": "mlflow", "MLFLOW_TRACKING_URI": link.url}
    code = (
        "for n in range(3):\n"
        "    run = trk.start(f'run{n}', delivery='thread', exit_timeout=2)\n"
        "    run.log_metric('loss', n)\n"
    )
    (line,) = done(place, code, **env).splitlines()
    assert "3 runs are not all at mlflow: 6 rows pending" in line
    link.turn("pass")
    place.done("sync", "-q", "--strict", timeout=90, TRK_DAEMON="off", **env)
    for n in range(3):
        place.done("verify", f"run{n}", **env)


def test_an_interrupt_while_leaving_leaves_at_once(place: Place, tmp_path: Path) -> None:
    with silent_server() as url:
        code = "run = trk.start(delivery='thread', exit_timeout=50)\nrun.log_metric('loss', 1)\nprint(1, flush=True)\n"
        child = program(place, code, TRK_BACKENDS="mlflow", MLFLOW_TRACKING_URI=url)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
    assert "Traceback" not in errors
    assert "trk sync" in errors
