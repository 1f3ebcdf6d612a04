"""What happens between trk and a real MLflow server: each fault passes, loses nothing and doubles nothing."""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

import helpers
import trk
from daemon.tools import Place
from delivery.test_mlflow_end_to_end import client, points_logged, points_there, state, there
from faults.harness.holders import holding_database
from faults.harness.proxy import PASSING, Proxy
from helpers import Course
from servers.mlflow_server import MlflowServer

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

FAILURES = ("refuse", *(fault for fault in PASSING if fault != "slow"))
SLOW = ("hang", "late", "429", "503")  # each costs the time that is waited
DONE_BUT_UNHEARD = ("late", "cut", "lose")  # the server does what it is asked, and its answer does not come


def some_run(experiment: str = "faults") -> trk.Run:
    """A run with something of each kind of request."""
    run = trk.start(experiment=experiment, params={"lr": 0.1}, tags={"stage": "draft"})
    for step in range(3):
        run.log_metrics({"loss": 1 / (step + 1), "f1": step / 3}, step=step)
    run.log_text("a text", "notes.txt")
    run.log_table("rows", [[1, "a"], [2, "b"]], ["n", "text"])
    run.finish()
    return run


def assert_all_there(server: MlflowServer, run_id: str) -> None:
    """Every row is delivered, each point is there once, and one run only, whichever is counted, has the id."""
    found = state(run_id)
    assert (found.delivered, found.last_error) == (found.logged, None)
    assert points_there(server.url, run_id) == points_logged(run_id)
    assert there(server.url, run_id).info.status == "FINISHED"
    (told,) = trk.verify(run_id)
    assert told.ok, told


# -- in the foreground ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", helpers.some(FAILURES, "refuse", "cut", "lose", "500", "429", "garbage"))
def test_a_server_that_fails_gets_everything_once_when_it_is_well_again(
    fault: str, proxy: Proxy, server: MlflowServer
) -> None:
    run = some_run()
    proxy.turn(fault)

    def was_tried() -> bool:
        """MLflow's import alone may take longer than this, the first time."""
        trk.sync(run.id, timeout=0.5)
        told = state(run.id).last_error or ""
        return "refused" in told if fault == "refuse" else proxy.did[fault] > 0 and told != ""

    helpers.until(was_tried, seconds=60)
    found = state(run.id)
    assert (found.delivered, found.pending, found.rejected) == (0, found.logged, 0)
    assert found.last_error
    proxy.turn("pass")
    trk.sync(run.id, timeout=30)
    assert_all_there(server, run.id)


REQUESTS = {
    "POST": ("experiments/create", "runs/create", "runs/log-batch", "runs/update"),
    "PUT": ("rows.json", "notes.txt"),
}


def test_each_request_may_fail_and_everything_arrives_once(proxy: Proxy, server: MlflowServer, course: Course) -> None:
    for round_ in range(course.many(1, 500)):
        run = some_run(f"faults {round_}")
        struck = []
        for method, paths in REQUESTS.items():
            for path in paths:
                struck.append((course.dice.choice([fault for fault in FAILURES[1:] if fault not in SLOW]), path))
                proxy.strike(*struck[-1], method=method)
        print(struck)
        trk.sync(run.id, timeout=60)
        assert all(proxy.times(*strike) for strike in struck)
        assert_all_there(server, run.id)


@pytest.mark.parametrize("fault", DONE_BUT_UNHEARD)
def test_a_lost_answer_to_the_making_of_a_run_makes_no_second_one(
    fault: str, proxy: Proxy, server: MlflowServer
) -> None:
    run = some_run()
    proxy.strike(fault, "runs/create", times=5)
    trk.sync(run.id, timeout=30)
    assert proxy.times(fault, "runs/create") == 1, "it was looked for before it was made again"
    assert_all_there(server, run.id)  # `there` looks among the deleted ones, too


def test_a_server_that_asks_for_time_is_left_alone_for_so_long(proxy: Proxy, server: MlflowServer) -> None:
    run = some_run()
    for fault in ("429", "503"):
        proxy.strike(fault, "runs/create")
    trk.sync(run.id, timeout=30)
    creates = [one for one in proxy.seen if one.path.endswith("runs/create")]
    assert [one.fault for one in creates] == ["429", "503", "pass"]
    for before, after in pairwise(creates):
        between = [one for one in proxy.seen if before.at < one.at < before.at + 0.99]
        assert between == []
        assert after.at - before.at >= 1
    assert_all_there(server, run.id)


@pytest.mark.parametrize(("fault", "says"), [("401", "not authenticated"), ("403", "denies")])
def test_a_server_that_denies_access_stops_delivery_says_so_and_gets_everything_when_it_does_not(
    fault: str, says: str, proxy: Proxy, server: MlflowServer
) -> None:
    run = some_run()
    proxy.turn(fault)
    with helpers.in_time(0):  # nothing passes by itself here
        trk.sync(run.id, timeout=60)
    assert proxy.did[fault] == 1
    found = state(run.id)
    assert (found.pending, found.rejected) == (found.logged, 0)
    assert says in str(found.last_error)
    proxy.turn("pass")
    trk.sync(run.id, timeout=30)
    assert_all_there(server, run.id)


def test_a_host_that_is_not_known_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://no-such-host.invalid:5000")
    run = place.done("start", "-q")
    assert place.trk("end", "--timeout", "1").returncode == 0
    assert place.trk("sync", "--run", run, "--timeout", "1", "--strict").returncode == 6
    helpers.until(lambda: "host name is not known" in str(state(run).last_error))
    assert state(run).rejected == 0


# -- by the daemon ----------------------------------------------------------------------------------------------------


def test_a_daemon_outlives_each_fault_of_a_server_and_delivers_once(
    place: Place, proxy: Proxy, server: MlflowServer, course: Course
) -> None:
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "0")
    helpers.until(lambda: state(run).pending == 0)
    pid = place.serving()
    order = course.dice.sample(FAILURES, course.many(5, len(FAILURES)))
    print(order)
    for number, fault in enumerate(order):
        proxy.turn(fault)
        place.done("log-metric", "loss", str(number))
        helpers.until(lambda fault=fault: proxy.did[fault] > 0 and state(run).last_error is not None)  # type: ignore[misc]
        assert state(run).pending == 1
        proxy.turn("pass")
        place.done("sync", "-q", "--strict", "--timeout", "20")
        assert state(run).last_error is None
    place.done("end", "-q", "--strict")
    assert place.daemons() == [pid]
    assert_all_there(server, run)


def test_a_daemon_whose_making_of_a_run_is_not_answered_makes_no_second_one(
    place: Place, proxy: Proxy, server: MlflowServer
) -> None:
    proxy.strike("lose", "runs/create", times=5)
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    place.done("end", "-q", "--strict")
    assert proxy.times("lose", "runs/create") == 1
    assert_all_there(server, run)


def test_a_run_that_is_made_twice_since_the_first_request_was_held_up_is_one_in_the_end(
    place: Place, proxy: Proxy, server: MlflowServer
) -> None:
    proxy.strike("held", "runs/create")
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    helpers.until(lambda: state(run).pending == 0)
    (made,) = active(server, run)
    proxy.let_go.set()
    helpers.until(lambda: len(active(server, run)) == 2)
    found = trk.get_run(run, source="mlflow")
    assert found is not None
    assert found.metrics == {"loss": 1.0}, "it is the one that was delivered to"
    place.done("end", "-q", "--strict")
    assert active(server, run) == [made]
    place.done("verify", run)


def active(server: MlflowServer, run: str) -> list[str]:
    """The runs with this id that are not deleted there."""
    known = client(server.url)
    everywhere = [found.experiment_id for found in known.search_experiments()]
    return [found.info.run_id for found in known.search_runs(everywhere, f"tags.`trk.run_id` = '{run}'")]


def test_a_daemon_that_is_denied_access_says_so_and_goes_on_when_it_is_not(
    place: Place, proxy: Proxy, server: MlflowServer
) -> None:
    proxy.turn("401")
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    with helpers.in_time(0):
        ended = place.trk("end", "--timeout", "50")
    assert ended.returncode == 0
    assert "MLFLOW_TRACKING_TOKEN" in ended.stderr
    assert "not authenticated" in place.status()["backends"]["mlflow"]["last_error"]
    proxy.turn("pass")
    place.done("sync", "-q", "--strict")
    assert_all_there(server, run)


def test_a_run_that_is_deleted_there_under_the_daemon_rejects_the_rest_and_says_why(
    place: Place, proxy: Proxy, server: MlflowServer
) -> None:
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    helpers.until(lambda: state(run).pending == 0)
    client(server.url).delete_run(there(server.url, run).info.run_id)
    place.done("log-metric", "loss", "2")
    helpers.until(lambda: state(run).rejected == 1)
    assert place.trk("end", "--strict").returncode == 6
    found = state(run)
    assert (found.delivered, found.rejected, found.pending) == (1, 2, 0)
    assert "was deleted there" in found.rejections[0].reason


def test_a_server_whose_database_is_locked_is_waited_for(place: Place, proxy: Proxy, server: MlflowServer) -> None:
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    helpers.until(lambda: state(run).pending == 0)
    with holding_database(f"{server.folder}/server.db", "BEGIN EXCLUSIVE"):
        place.done("log-metric", "loss", "2")
        room_s, began = place.room_s(), time.monotonic()
        ended = place.trk("end", "--timeout", "1")
        assert time.monotonic() - began < 1 + 2 * room_s
        assert ended.returncode == 0
        assert "does not have 2 of 3 rows" in ended.stderr
        assert state(run).pending == 2
    place.done("sync", "-q", "--strict")
    assert_all_there(server, run)


HIDING = """
import os, sys

class Hiding:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow" and os.path.exists(os.environ["HIDES_MLFLOW"]):
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def test_a_daemon_that_finds_no_mlflow_says_what_to_install_and_delivers_when_it_is_there(
    place: Place, proxy: Proxy, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDING)
    (tmp_path / "hidden").touch()
    monkeypatch.setenv("HIDES_MLFLOW", str(tmp_path / "hidden"))
    without = Place(place.project, [str(tmp_path / "site")], place.runtime)
    run = without.done("start", "-q")
    without.done("log-metric", "loss", "1")
    ended = without.trk("end", "--timeout", "30")
    assert ended.returncode == 0
    assert "pip install 'trk-ml[mlflow]'" in ended.stderr
    assert (state(run).pending, proxy.seen) == (2, [])
    pid = without.serving()
    (tmp_path / "hidden").unlink()
    without.done("sync", "-q", "--strict")
    assert without.serving() == pid
    assert_all_there(server, run)


# -- nobody waits for a network ---------------------------------------------------------------------------------------

VERBS = {
    "log-metric": ("loss", "0.5"), "log-params": ("a=1",), "set-tag": ("stage", "draft"),
    "log-text": ("--text", "a text", "--name", "notes.txt"),
    "log-table": ("--name", "t", "--columns", "n", "--row", "1"),
}  # fmt: skip


def usual_ms(place: Place, alone: dict[str, str]) -> dict[str, tuple[float, float]]:
    """What each log command takes (as `alone` says, and as usual), one after the other: the median of some."""
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(3):
        for verb, words in VERBS.items():
            began = time.monotonic()
            place.done(verb, *words, **alone)
            between = time.monotonic()
            place.done(verb, *words)
            taken.setdefault(verb, []).append(((between - began) * 1000, (time.monotonic() - between) * 1000))
    return {
        verb: (statistics.median(one for one, _ in times), statistics.median(other for _, other in times))
        for verb, times in taken.items()
    }


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_server_that_is_gone_or_silent_slows_no_log_command_and_holds_up_no_end(
    fault: str, place: Place, proxy: Proxy, server: MlflowServer
) -> None:
    alone = {"TRK_DAEMON": "off", "TRK_DIR": str(place.project / "alone" / ".trk")}
    place.done("start", "alone", "-q", "-b", "none", **alone)
    proxy.turn(fault)
    run = place.done("start", "-q")
    helpers.until(lambda: fault == "refuse" or proxy.did["hang"] > 0)
    taken = usual_ms(place, alone)
    print(taken)
    for verb, (without, beside) in taken.items():
        assert beside < 3 * without + 100, verb  # a request would take seconds; the machine may be busy
    room_s, began = place.room_s(), time.monotonic()
    ended = place.trk("end", "--timeout", "3")
    assert 3 <= time.monotonic() - began < 3 + room_s
    assert ended.returncode == 0
    assert "mlflow does not have" in ended.stderr
    assert "trk sync" in ended.stderr
    began = time.monotonic()
    assert place.trk("sync", "--timeout", "1", "--strict").returncode == 6
    assert time.monotonic() - began < 1 + room_s
    assert proxy.did[fault] >= 1
    proxy.turn("pass")
    place.done("sync", "-q", "--strict")
    assert_all_there(server, run)


@pytest.mark.long
def test_without_a_daemon_a_silent_server_holds_up_no_end_either(
    place: Place, proxy: Proxy, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_DAEMON", "off")
    proxy.turn("hang")
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "0.5")
    room_s, began = place.room_s(), time.monotonic()
    ended = place.trk("end", "--timeout", "3")
    assert time.monotonic() - began < 3 + room_s
    assert ended.returncode == 0
    assert f"mlflow does not have 2 of 2 rows of {run}" in ended.stderr
    assert place.trk("sync", "--timeout", "1", "--strict").returncode == 6
    proxy.turn("pass")
    place.done("sync", "--strict", "-q")
    assert_all_there(server, run)
