"""A lane that is called again and again: what does not come on is left for later, and holds up nobody else."""

from __future__ import annotations

import threading
import time

import pytest

import helpers
import trk
from delivery.hostile import Server
from delivery.test_engine import start, state
from trk.delivery import patience
from trk.delivery.lane import Lane
from trk.delivery.patience import Patience
from trk.errors import BackendLost, BackendNeedsUser, BackendUnavailable
from trk.journal import cursors
from trk.records import Kind


class Called:
    """A lane, called as the daemon does."""

    def __init__(self, run: trk.Run) -> None:
        self.patience = Patience()
        self._journal = run.journal
        (entry, *_) = cursors.pending(run.journal)
        self._lane = Lane(run.journal, "hostile", entry.target, threading.Event(), patience=self.patience)

    def __call__(self) -> None:
        keys = {entry.run for entry in cursors.pending(self._journal)}
        self._lane.deliver(cursors.of_runs(self._journal, keys))

    def due_s(self) -> float | None:
        return self.patience.due_s([entry.run for entry in cursors.pending(self._journal)])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trk.delivery.lane._growing", lambda state: 0.0)


def test_a_run_that_gets_no_answer_holds_up_no_other_of_its_target(server: Server) -> None:
    bad, good = start("bad"), start("good")
    for run in (bad, good):
        run.log_metric("loss", 1)

    def fault(name: str, what: object) -> None:
        if name == "open" and getattr(what, "run_id", None) == bad.id:
            raise BackendUnavailable("500")

    server.before = fault
    lane = Called(bad)
    lane()
    assert state(good).pending == 0
    assert state(bad).pending == 1
    assert 0 < (lane.due_s() or 0) < 5
    calls = len(server.calls)
    lane()
    assert len(server.calls) == calls, "it rests"


def test_a_target_that_is_down_is_not_tried_for_every_run(server: Server) -> None:
    runs = [start(f"r{n}") for n in range(10)]
    tried: list[str] = []

    def fault(name: str, what: object) -> None:
        if name == "open":
            tried.append(name)
            raise BackendUnavailable("down")

    server.before = fault
    lane = Called(runs[0])
    lane()
    assert len(tried) == 2 * patience.TRIES
    lane()
    assert len(tried) == 2 * patience.TRIES
    server.before = lambda name, what: None
    lane.patience.urge()
    lane()
    assert all(state(run).pending == 0 and state(run).run_id for run in runs)


def test_a_backend_that_asks_for_time_gets_it_though_somebody_waits(server: Server) -> None:
    run = start()
    run.log_metric("loss", 1)
    server.before = lambda name, what: (
        helpers_raise(BackendUnavailable("429", retry_after=0.3)) if name == "deliver" else None
    )
    lane = Called(run)
    lane()
    lane.patience.urge()
    calls = len(server.calls)
    lane()
    assert len(server.calls) == calls
    server.before = lambda name, what: None
    helpers.until(lambda: (lane(), state(run).pending)[1] == 0)


def helpers_raise(error: Exception) -> None:
    raise error


def test_a_table_that_is_held_back_while_its_run_fails_does_not_make_the_lane_spin(server: Server) -> None:
    run = start()
    run.log_table("t", [{"n": 1}])
    lane = Called(run)
    lane()
    run.log_metric("loss", 1)
    run.log_table("t", [{"n": 2}])
    server.before = lambda name, what: helpers_raise(BackendNeedsUser("401")) if name != "make" else None
    lane()
    time.sleep(patience.PAUSE_S)
    lane()
    assert (lane.due_s() or 0) > 10
    server.before = lambda name, what: None
    lane.patience.urge()
    lane()
    assert state(run).pending == 0


def test_a_table_rests_between_two_hand_overs_and_the_end_does_not_wait(server: Server) -> None:
    run = start()
    lane = None
    for n in range(4):
        run.log_table("t", [{"n": n}])
        lane = lane or Called(run)
        lane()
    assert len([row for row in server.rows if row.kind is Kind.TABLE]) == 1
    assert lane is not None
    assert 0 < (lane.due_s() or 0) <= patience.PAUSE_S
    run.finish()
    lane()
    assert state(run).pending == 0
    (_, last) = [row for row in server.rows if row.kind is Kind.TABLE]
    assert last.table is not None
    assert [row[0] for row in last.table.rows()] == [0, 1, 2, 3]


def test_a_table_that_was_refused_and_is_then_taken_is_delivered_whole(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "PAUSE_SHARE", 0.0)
    run = start()
    run.log_table("t", [{"n": 1}])
    server.refuses = lambda row: row.kind is Kind.TABLE
    lane = Called(run)
    lane()
    assert state(run).rejected == 1
    server.refuses = lambda row: False
    for n in range(3):
        run.log_table("t", [{"n": n}])
        lane()
    assert (state(run).delivered, state(run).rejected) == (4, 0)


def test_a_parent_that_is_anothers_to_deliver_is_not_opened_for_its_child(server: Server) -> None:
    parent = start("parent")
    child = start("child", parent=parent)
    child.log_metric("loss", 1)
    entries = [entry for entry in cursors.pending(child.journal) if entry.run_id == child.id]
    lane = Lane(
        child.journal, "hostile", entries[0].target, threading.Event(),
        patience=Patience(), may=lambda run_id: run_id != parent.id,
    )  # fmt: skip
    lane.deliver(entries)
    assert server.opened == {}
    assert state(child).pending == 1
    assert "its parent" in (state(child).last_error or "")


def test_what_was_lost_at_the_backend_is_tried_again_without_anybody_asking(server: Server) -> None:
    run = start("lost")
    run.log_metric("loss", 1)
    losses = [BackendLost("its helper died")]

    def fault(name: str, what: object) -> None:
        if name == "confirm" and losses:
            raise losses.pop()

    server.before = fault
    lane = Called(run)
    lane()
    assert state(run).pending == 1
    assert state(run).last_error == "its helper died"
    assert 0 < (lane.due_s() or 0) < 5
    lane.patience.urge()
    lane()
    assert state(run).pending == 0
