"""The deliverer against backends that fail in every way they are allowed to, and in some they are not."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import helpers
import trk
from delivery.hostile import Server, effects
from trk import delivery
from trk.delivery import Outcome, check_delivered, engine
from trk.errors import (
    BackendNeedsUser,
    BackendRefused,
    BackendRunGone,
    BackendUnavailable,
    JournalError,
    NotDelivered,
)
from trk.journal import read
from trk.records import Delivery, Kind, RunRecord

BOTH = ("hostile", "other")


def start(name: str | None = None, **more: Any) -> trk.Run:
    return trk.start(name, **{"backends": "hostile", **more})


def deliver(run: trk.Run, timeout: float = 20.0, **more: Any) -> Outcome:
    return delivery.deliver(run.journal, run.folder, timeout=timeout, **more)


def state(run: trk.Run, backend: str = "hostile") -> Delivery:
    found = run.record.backends[backend]
    assert found.logged == found.delivered + found.pending + found.rejected + found.skipped
    assert min(found.delivered, found.pending, found.rejected, found.skipped) >= 0
    return found


def logged(run: trk.Run) -> list[tuple[int, str, str]]:
    """What the journal has of a run, in order, as effects."""
    key = read.run_key(run.journal, run.id)
    assert key is not None
    return effects(read.rows_after(run.journal, key, 0, 10**6))


def raiser(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def failing(call: str, *errors: BaseException) -> Callable[[str, Any], None]:
    """A fault: the first calls of this name fail so, the later ones do not."""
    waiting = list(errors)

    def fault(name: str, what: Any) -> None:
        if name == call and waiting:
            raise waiting.pop(0)

    return fault


def always(call: str, error: BaseException) -> Callable[[str, Any], None]:
    def fault(name: str, what: Any) -> None:
        if name == call:
            raise error

    return fault


def refusing(word: str) -> Callable[[Any], bool]:
    """What the server refuses: any row that names a metric or param with this word in it."""
    return lambda row: any(word in key for key in (row.key or "", *row.values))


# -- the cursor ---------------------------------------------------------------------------------------------------


def test_what_was_logged_arrives_in_order_and_the_cursor_says_so(server: Server) -> None:
    run = start(params={"lr": 0.1}, tags={"a": "b"})
    for n in range(50):
        run.log_metrics({"loss": 1 / (n + 1), "f1": math.nan})
    run.delete_tag("a")
    run.log_summary({"verdict": "good", "best": 0.9})
    run.finish()
    assert deliver(run).finished
    assert server.once(run.id) == logged(run)
    found = state(run)
    assert (found.delivered, found.pending, found.last_error) == (found.logged, 0, None)
    assert (found.run_id, found.url) == (f"remote-{run.id}", f"http://there/{run.id}")


def test_delivering_again_calls_nobody(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    deliver(run)
    calls = len(server.calls)
    assert deliver(run).finished
    assert len(server.calls) == calls


def test_a_run_without_rows_is_opened_once(server: Server) -> None:
    run = start()
    deliver(run)
    deliver(run)
    assert server.calls == [("open", run.id, ())]


def test_later_rows_are_sent_from_the_cursor_on(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    deliver(run)
    run.log_metric("loss", 0.5)
    deliver(run)
    assert [call[2] for call in server.calls if call[0] == "deliver"] == [(1,), (2,)]
    assert server.opened[run.id].remote_id is None


def test_only_the_runs_and_backends_asked_for_are_delivered(server: Server, other: Server) -> None:
    one, two = start(backends=BOTH), start(backends=BOTH)
    delivery.deliver(one.journal, one.folder, [one.id], backends=["other"])
    assert (server.calls, list(other.opened)) == ([], [one.id])
    assert state(two, "other").run_id is None


def test_rows_logged_during_delivery_wait_for_the_next(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    server.before = lambda name, _: run.log_metric("late", 1.0) if name == "deliver" else None
    seen: list[tuple[int, int]] = []
    deliver(run, progress=lambda done, goal: seen.append((done, goal)))
    assert (state(run).delivered, state(run).pending) == (1, 1)
    assert seen == [(1, 1)]
    server.before = lambda name, what: None
    deliver(run)
    assert server.once(run.id) == logged(run)


def test_a_run_is_logged_into_while_it_is_delivered(server: Server) -> None:
    run = start()
    writer = threading.Thread(target=lambda: [run.log_metric("loss", n / 7) for n in range(3000)])
    writer.start()
    while writer.is_alive():
        deliver(run)
        state(run)
    deliver(run)
    assert server.once(run.id) == logged(run)
    assert set(server.arrived[run.id].values()) == {1}


def test_a_confirmation_that_comes_late_moves_the_cursor_late(server: Server) -> None:
    run = start()
    for n in range(4500):
        run.log_metric("loss", float(n))
    answers = iter([0, 0, 7, 7, 1000, 1200])
    seen: list[int] = []

    def confirm(n: int) -> int:
        seen.append(state(run).delivered)
        return min(n, next(answers, n))

    server.confirms = confirm
    assert deliver(run).finished
    assert seen[:7] == [0, 0, 0, 7, 7, 1000, 1200]
    assert state(run).delivered == 4500


def test_what_is_never_confirmed_is_never_called_delivered(server: Server) -> None:
    run = start()
    for _ in range(10):
        run.log_metric("loss", 1.0)
    server.confirms = lambda n: min(n, 4)
    assert not deliver(run, timeout=1.5).finished
    assert (state(run).delivered, state(run).pending) == (4, 6)


def test_progress_grows_to_its_goal(server: Server) -> None:
    runs = [start() for _ in range(3)]
    for run in runs:
        for n in range(1500):
            run.log_metric("loss", float(n))
    seen: list[tuple[int, int]] = []
    deliver(runs[0], progress=lambda done, goal: seen.append((done, goal)))
    assert seen == sorted(seen)
    assert seen[-1] == (4500, 4500)


# -- parents ------------------------------------------------------------------------------------------------------


def test_a_parent_is_opened_before_its_child(server: Server) -> None:
    parent = start()
    child = start(parent=parent)
    delivery.deliver(child.journal, child.folder, [child.id])
    assert [call[1] for call in server.calls if call[0] == "open"] == [parent.id, child.id]
    assert server.opened[child.id].parent_remote_id == f"remote-{parent.id}"


def test_a_parent_that_goes_elsewhere_is_not_opened_here(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = start()
    parent.journal.connection.execute('UPDATE deliveries SET target = \'{"tracking_uri": "elsewhere"}\'')
    child = start(parent=parent)
    delivery.deliver(child.journal, child.folder, [child.id])
    assert list(server.opened) == [child.id]
    assert server.opened[child.id].parent_remote_id is None
    assert state(parent).run_id is None


def test_a_child_outlives_its_deleted_parent(server: Server) -> None:
    parent = start()
    child = start(parent=parent)
    parent.log_metric("loss", 1.0)
    child.log_metric("loss", 1.0)

    def fault(name: str, what: Any) -> None:
        if name == "open" and what.run_id == parent.id:
            raise BackendRunGone("it was deleted")

    server.before = fault
    deliver(child)
    assert state(parent).rejected == 1
    assert state(child).delivered == 1


# -- passing failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "deliver", "confirm"])
def test_a_passing_failure_is_tried_again_with_growing_pauses(server: Server, call: str) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    times: list[float] = []
    fails = failing(call, *[BackendUnavailable("down")] * 3)

    def fault(name: str, what: Any) -> None:
        times.extend([time.monotonic()] if name == call else [])
        fails(name, what)

    server.before = fault
    deliver(run)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[0] >= 0.2
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8
    assert sum(pauses) < 3
    assert (state(run).delivered, state(run).last_error) == (1, None)


def test_an_answer_that_is_lost_doubles_nothing(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    server.after = failing("deliver", BackendUnavailable("the answer was lost"))
    deliver(run)
    assert server.once(run.id) == logged(run)


def test_retry_after_is_honoured(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    server.before = failing("deliver", BackendUnavailable("slow down", retry_after=0.7))
    begun = time.monotonic()
    deliver(run)
    assert time.monotonic() - begun >= 0.7
    assert state(run).delivered == 1


@pytest.mark.parametrize("asked", [0.0, -5.0])
def test_a_server_that_asks_for_no_pause_is_not_hammered(server: Server, asked: float) -> None:
    run = start()
    calls: list[str] = []

    def fault(name: str, what: Any) -> None:
        calls.append(name)
        if name == "open":
            raise BackendUnavailable("slow down", retry_after=asked)

    server.before = fault
    deliver(run, timeout=0.7)
    assert calls.count("open") <= 5


@pytest.mark.parametrize("asked", [math.inf, 1e300, math.nan, 86_400.0])
def test_a_senseless_retry_after_breaks_nothing(server: Server, asked: float) -> None:
    run = start()
    server.before = always("open", BackendUnavailable("slow down", retry_after=asked))
    assert not deliver(run, timeout=1).finished
    assert state(run).last_error == "slow down"


def test_while_it_fails_the_reason_is_told_and_then_forgotten(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    server.before = always("deliver", BackendUnavailable("connection refused", hint="start it"))
    assert not deliver(run, timeout=1).finished
    assert state(run).last_error == "connection refused (start it)"
    server.before = lambda name, what: None
    deliver(run)
    assert state(run).last_error is None


def test_a_run_that_is_through_has_no_failure_of_a_later_one(server: Server) -> None:
    first, second = start(), start()
    first.log_metric("loss", 1.0)

    def fault(name: str, what: Any) -> None:
        if name == "open" and what.run_id == second.id:
            raise BackendUnavailable("down by now")

    server.before = fault
    deliver(first, timeout=1)
    assert (state(first).pending, state(first).last_error) == (0, None)
    assert state(second).last_error == "down by now"


@pytest.mark.parametrize("call", ["make", "open", "deliver", "confirm", "close"])
@pytest.mark.parametrize("error", [ValueError("odd\n  thing"), SystemExit(3), KeyError("x")], ids=repr)
def test_whatever_an_sdk_raises_is_told_and_loses_nothing(
    server: Server, other: Server, call: str, error: BaseException
) -> None:
    run = start(backends=BOTH)
    run.log_metric("loss", 1.0)
    server.before = always(call, error)
    deliver(run, timeout=1)
    assert state(run, "other").delivered == 1
    if call != "close":  # by then all had arrived
        assert str(state(run).last_error).startswith(type(error).__name__)
        assert "\n" not in str(state(run).last_error)
    server.before = lambda name, what: None
    deliver(run)
    assert server.once(run.id) == logged(run)
    assert state(run).delivered == 1


def test_a_backend_that_does_not_know_what_it_holds_loses_nothing(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    server.holds = raiser(TypeError("what?"))
    deliver(run)
    assert (state(run).pending, state(run).last_error) == (1, "TypeError: what?")


# -- what needs the user ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["make", "open", "deliver", "confirm"])
def test_what_needs_the_user_stops_that_backend_only_and_is_told(server: Server, other: Server, call: str) -> None:
    runs = [start(backends=BOTH, experiment=name) for name in ("a", "a", "b")]
    for run in runs:
        run.log_metric("loss", 1.0)
    server.before = always(call, BackendNeedsUser("no key", hint="trk login"))
    with helpers.in_time(0):
        assert deliver(runs[0], timeout=120).finished
    for run in runs:
        assert (state(run).pending, state(run).last_error) == (1, "no key (trk login)")
        assert state(run, "other").delivered == 1


def test_a_deleted_experiment_does_not_hold_up_the_runs_of_others(server: Server) -> None:
    stuck, also, fine = start(experiment="gone"), start(experiment="gone"), start(experiment="fine")
    for run in (stuck, also, fine):
        run.log_metric("loss", 1.0)

    def fault(name: str, what: Any) -> None:
        if name == "open" and what.experiment == "gone":
            raise BackendNeedsUser("experiment 'gone' was deleted there")

    server.before = fault
    deliver(fine)
    assert state(fine).delivered == 1
    for run in (stuck, also):
        assert (state(run).pending, state(run).last_error) == (1, "experiment 'gone' was deleted there")


def test_a_run_whose_opening_is_refused_waits_and_the_others_go(server: Server) -> None:
    bad, good = start("bad"), start("good")
    for run in (bad, good):
        run.log_metric("loss", 1.0)

    def fault(name: str, what: Any) -> None:
        if name == "open" and what.name == "bad":
            raise BackendRefused("that name is taken")

    server.before = fault
    deliver(good)
    assert state(good).delivered == 1
    assert (state(bad).pending, state(bad).last_error) == (1, "that name is taken")


def test_a_backend_that_is_not_installed_any_more_is_told(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    run.journal.connection.execute("UPDATE deliveries SET backend = 'vanished'")
    deliver(run)
    found = state(run, "vanished")
    assert found.pending == 1
    assert "no backend 'vanished' is installed" in str(found.last_error)


# -- what is refused, and what has no place -----------------------------------------------------------------------


def test_of_a_thousand_rows_only_the_bad_ones_are_rejected(server: Server) -> None:
    run = start()
    for n in range(1000):
        run.log_metric("bad" if n in (0, 500, 501, 999) else "loss", float(n), step=n)
    server.refuses = refusing("bad")
    deliver(run)
    found = state(run)
    assert [entry.n for entry in found.rejections] == [1, 501, 502, 1000]
    assert {(entry.kind, entry.key, entry.reason) for entry in found.rejections} == {
        ("metric", "bad", "it does not like that")
    }
    assert (found.delivered, found.rejected) == (996, 4)
    assert server.once(run.id) == [effect for effect in logged(run) if effect[1] != "bad"]
    assert server.times("deliver") < 90


def test_of_a_row_of_several_metrics_the_good_values_arrive(server: Server) -> None:
    run = start()
    run.log_metrics({"a": 1.0, "bad": 2.0, "c": 3.0}, step=5)
    run.log_metric("a", 2.0)
    server.refuses = refusing("bad")
    deliver(run)
    assert [effect[1:] for effect in server.once(run.id)] == [("a", "1.0"), ("c", "3.0"), ("a", "2.0")]
    found = state(run)
    assert (found.delivered, found.rejected) == (1, 1)
    assert (found.rejections[0].n, found.rejections[0].key) == (1, "bad")


def test_a_row_that_needs_several_calls_is_rejected_once(server: Server) -> None:
    run = start()
    run.log_metrics({f"bad{n}" if n in (3, 2500) else f"m{n}": float(n) for n in range(3000)})
    server.refuses = refusing("bad")
    deliver(run)
    found = state(run)
    assert (found.logged, found.rejected, len(found.rejections)) == (1, 1, 1)
    assert len(server.once(run.id)) == 2998


@pytest.mark.parametrize("count", [1, 2, 2000, 2001])
def test_when_all_is_refused_all_is_rejected(server: Server, count: int) -> None:
    run = start()
    for _ in range(count):
        run.log_metric("bad", 1.0)
    server.refuses = refusing("bad")
    deliver(run)
    assert (state(run).rejected, state(run).pending) == (count, 0)


def test_halving_that_is_cut_short_goes_on_where_it_was(server: Server) -> None:
    run = start()
    for _ in range(400):
        run.log_metric("bad", 1.0)

    def slow(row: Any) -> bool:
        time.sleep(0.0005)
        return True

    server.refuses = slow
    rounds = 0
    while state(run).pending:
        deliver(run, timeout=0.2)
        rounds += 1
        assert rounds < 100, "who begins from the first row each time never comes to the last"
    assert rounds > 1


def test_what_has_no_place_is_skipped_wherever_it_stands(server: Server) -> None:
    run = start()
    run.define_metric("latency", mode="min")
    run.log_metric("loss", 1.0)
    run.define_metric("loss", mode="min")
    run.define_metric("f1", mode="max")
    server.holds = lambda row: row.kind is not Kind.DEFINE
    deliver(run)
    found = state(run)
    assert (found.delivered, found.skipped, found.pending, found.rejections) == (1, 3, 0, ())
    assert [effect[0] for effect in server.once(run.id)] == [2]


def test_a_run_that_is_gone_rejects_the_rest_with_the_reason(server: Server) -> None:
    gone, fine = start(), start()
    for run in (gone, fine):
        run.log_metric("loss", 1.0)
    deliver(gone)
    for run in (gone, fine):
        run.log_param("lr", 1)
        run.log_metrics({"a": 1.0, "b": 2.0})

    def fault(name: str, what: Any) -> None:
        if name == "deliver" and server.calls[-1][1] == gone.id:
            raise BackendRunGone("it was deleted", hint="restore it")

    server.before = fault
    deliver(gone)
    found = state(gone)
    assert (found.delivered, found.rejected, found.pending) == (1, 2, 0)
    assert [(entry.kind, entry.key, entry.reason) for entry in found.rejections] == [
        ("param", "lr", "it was deleted"),
        ("metric", "a, b", "it was deleted"),
    ]
    assert found.last_error == "it was deleted (restore it)"
    assert state(fine).delivered == 3


# -- independent and bounded --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["make", "open", "deliver", "confirm", "close"])
def test_a_backend_that_hangs_delays_nobody(server: Server, other: Server, call: str) -> None:
    run = start(backends=BOTH)
    run.log_metric("loss", 1.0)
    release = threading.Event()
    server.before = lambda name, what: release.wait() and None if name == call else None  # type: ignore[func-returns-value]
    at: list[float] = []
    other.after = lambda name, what: at.append(time.monotonic()) if name == "deliver" else None
    begun = time.monotonic()
    try:
        with helpers.in_time(1.5):
            assert not deliver(run, timeout=1.5).finished
        assert at[0] - begun < 1.5
        assert state(run, "other").delivered == 1
        if call != "close":
            assert state(run).last_error == "not done within 1.5 s"
    finally:
        release.set()


def test_what_a_late_call_carried_is_known_afterwards(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    release, through = threading.Event(), threading.Event()
    server.before = lambda name, what: release.wait() and None if name == "deliver" else None  # type: ignore[func-returns-value]
    server.after = lambda name, what: through.set() if name == "deliver" else None
    deliver(run, timeout=0.1)
    assert state(run).delivered == 0
    release.set()
    assert through.wait(10)
    deliver(run)
    assert state(run).delivered == 1
    assert set(server.arrived[run.id].values()) == {1}


@pytest.mark.parametrize("timeout", [0.0, 0.3])
def test_no_delivery_takes_longer_than_its_timeout(server: Server, timeout: float) -> None:
    run = start()
    server.before = always("open", BackendUnavailable("down", retry_after=100))
    with helpers.in_time(timeout):
        assert not deliver(run, timeout=timeout).finished


# -- one deliverer at a time --------------------------------------------------------------------------------------


def test_of_two_deliverers_one_waits_and_finds_nothing_left(server: Server) -> None:
    run = start()
    for _ in range(100):
        run.log_metric("loss", 1.0)
    inside, release = threading.Event(), threading.Event()

    def fault(name: str, what: Any) -> None:
        if name == "deliver":
            inside.set()
            release.wait()

    server.before = fault
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(deliver(run))) for _ in range(2)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join()
    assert outcomes == [Outcome(finished=True)] * 2
    assert server.times("open") == server.times("deliver") == 1


def test_who_waits_in_vain_for_the_other_deliverer_is_told(server: Server) -> None:
    run = start()
    lock = engine.DeliverLock(run.folder)
    assert lock.acquire(0)
    with helpers.in_time(0.2):
        assert deliver(run, timeout=0.2) == Outcome(finished=False, busy=True)
    assert server.calls == []
    lock.release()
    assert deliver(run).finished


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # that is the point
def test_a_child_forked_during_a_delivery_does_not_keep_the_lock(server: Server) -> None:
    run = start()
    reading, writing = os.pipe()
    children: list[int] = []

    def fork(name: str, what: Any) -> None:
        if name == "open" and not children:
            child = os.fork()
            if child == 0:
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
            children.append(child)

    server.before = fork
    deliver(run)
    run.log_metric("loss", 1.0)
    try:
        assert deliver(run, timeout=2.0).finished
    finally:
        os.close(writing)
        os.waitpid(children[0], 0)
        os.close(reading)


def test_a_folder_that_takes_no_lock_is_an_error_of_one_line(server: Server) -> None:
    run = start()
    (Path(run.folder) / "deliver.lock").mkdir()
    with pytest.raises(JournalError, match=r"deliver\.lock"):
        deliver(run)
    assert server.calls == []


def test_a_journal_that_takes_no_cursor_is_an_error_of_the_caller(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1.0)
    run.journal.connection.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON deliveries BEGIN SELECT raise(FAIL, 'database or disk is full'); END"
    )
    with pytest.raises(JournalError, match="no space left"):
        deliver(run)
    run.journal.connection.execute("DROP TRIGGER full")
    deliver(run)
    assert server.once(run.id) == logged(run)


# -- what the callers make of it ----------------------------------------------------------------------------------


def record(**counts: int) -> RunRecord:
    found = Delivery(None, None, **{"logged": 3, "delivered": 3, "pending": 0, "rejected": 0, "skipped": 0, **counts})
    return RunRecord("r", "r", "e", trk.Status.FINISHED, "local", None, None, backends={"hostile": found})


def test_strict_is_content_with_what_is_delivered_or_skipped() -> None:
    check_delivered([record(), record(delivered=2, skipped=1)])


@pytest.mark.parametrize("counts", [{"delivered": 2, "pending": 1}, {"delivered": 1, "pending": 1, "rejected": 1}])
def test_strict_raises_for_what_is_not_delivered(counts: dict[str, int]) -> None:
    with pytest.raises(NotDelivered, match=f"{counts['delivered']} of 3 rows"):
        check_delivered([record(), record(**counts)])


def test_ending_a_run_in_python_delivers_it(server: Server) -> None:
    with start() as run:
        run.log_metric("loss", 1.0)
    assert state(run).delivered == 2
    assert server.once(run.id) == logged(run)


def test_no_thread_is_left_behind(server: Server) -> None:
    deliver(start())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("trk-")]
