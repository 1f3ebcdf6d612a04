"""Whatever is logged, fails, or is killed when: each row has its effect once, and the counts are true.

A crash is played by stopping a delivery in the middle of a call, before or after its effect, and going on with a new
one; the last tests kill real processes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import helpers
import trk
from delivery import hostile
from delivery.hostile import Effect, Server, effects
from trk.delivery import engine, lane
from trk.errors import BackendNeedsUser, BackendUnavailable
from trk.ids import new_run_id
from trk.journal import read, write
from trk.journal.db import Journal
from trk.records import Kind, Row
from trk.run import Run

FAULTS = ("fine", "fine", "fine", "down", "answer lost", "odd", "needs the user", "killed before", "killed after")
keys = st.sampled_from(["loss", "f1", "bad", "val/acc"])


def refused(row: Row) -> bool:
    return any("bad" in key for key in (row.key or "", *row.values))


def has_place(row: Row) -> bool:
    return row.kind is not Kind.DEFINE


class Deliveries(RuleBasedStateMachine):
    """A run that is logged into, and a backend that fails at random."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="trk-tests-")
        self.journal = Journal.create(f"{self.folder.name}/journal.db")
        run_id = new_run_id()
        fields = {"name": "r", "experiment": "e", "start_time": 1}
        write.create_run(self.journal, run_id, fields, {"hostile": "{}"}, {}, {})
        self.run = Run(self.journal, self.folder.name, run_id, key_prefix="")
        self.server = hostile.servers["hostile"] = Server(refuses=refused, holds=has_place)
        self.server.before = lambda name, what: self.fault(name, "before")
        self.server.after = lambda name, what: self.fault(name, "after")
        self.faults: Iterator[str] = iter(())
        self.now = "fine"
        self.params = 0

    def teardown(self) -> None:
        if hasattr(self, "run"):
            self.deliver([])
            self.deliver([])  # one delivery may end at what needed the user
            state = self.run.record.backends["hostile"]
            assert state.pending == 0
            assert self.server.once(self.run.id) == [effect for effect in self.logged() if not self.is_left_out(effect)]
            self.journal.close()
            self.folder.cleanup()

    def fault(self, name: str, when: str) -> None:
        if name not in ("open", "deliver", "confirm"):
            return
        if when == "before":
            self.now = next(self.faults, "fine")
        match self.now, when:
            case ("down", "before") | ("answer lost", "after"):
                raise BackendUnavailable(self.now)
            case "odd", "before":
                raise ValueError(self.now)
            case "needs the user", "before":
                raise BackendNeedsUser(self.now)
            case ("killed before", "before") | ("killed after", "after"):
                self.session.stop.set()
                raise BackendUnavailable(self.now)

    def deliver(self, faults: list[str]) -> None:
        self.faults = iter(faults)
        self.session = engine.Session(self.journal, self.folder.name, None, None)
        self.session.run(30)

    def logged(self) -> list[Effect]:
        key = read.run_key(self.journal, self.run.id)
        assert key is not None
        return effects(read.rows_after(self.journal, key, 0, 10**6))

    def is_left_out(self, effect: Effect) -> bool:
        return "bad" in effect[1] or effect[1].startswith("define ")

    @rule(values=st.dictionaries(keys, st.floats(), min_size=1), times=st.integers(1, 5))
    def log_metrics(self, values: dict[str, float], times: int) -> None:
        for _ in range(times):
            self.run.log_metrics(values)

    @rule(bad=st.booleans())
    def log_param(self, bad: bool) -> None:
        self.params += 1
        self.run.log_param(f"{'bad' if bad else 'p'}{self.params}", "1")

    @rule(key=keys)
    def tag_and_delete_it(self, key: str) -> None:
        self.run.set_tag(key, "there")
        self.run.delete_tag(key)

    @rule(key=keys)
    def define(self, key: str) -> None:
        self.run.define_metric(key, mode="max")

    @rule()
    def end_and_resume(self) -> None:
        self.run.finish()
        write.set_status(self.journal, self.run.id, "RUNNING", write.now_ms())

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=12))
    def deliver_badly(self, faults: list[str]) -> None:
        self.deliver(faults)

    @invariant()
    def every_row_is_accounted_for(self) -> None:
        if not hasattr(self, "run"):
            return
        state = self.run.record.backends["hostile"]
        assert state.logged == state.delivered + state.pending + state.rejected + state.skipped
        assert min(state.delivered, state.pending, state.rejected, state.skipped) >= 0

    @invariant()
    def what_counts_as_delivered_is_there(self) -> None:
        if not hasattr(self, "run"):
            return
        state = self.run.record.backends["hostile"]
        cursor = state.logged - state.pending
        settled = [effect for effect in self.logged() if effect[0] <= cursor and not self.is_left_out(effect)]
        assert self.server.once(self.run.id)[: len(settled)] == settled
        rejected = {effect[0] for effect in self.logged() if effect[0] <= cursor and "bad" in effect[1]}
        assert {entry.n for entry in state.rejections} == rejected - self.defined()

    def defined(self) -> set[int]:
        return {effect[0] for effect in self.logged() if effect[1].startswith("define ")}


class TestDeliveries(Deliveries.TestCase):
    settings = settings(max_examples=40, stateful_step_count=15, deadline=None)

    @pytest.fixture(autouse=True)
    def _no_pauses(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lane, "_growing", lambda state: 0.0)


# -- real processes, really killed --------------------------------------------------------------------------------

ROWS = 8000  # enough that a quick deliverer is still under way when it is killed, however busy the machine


@pytest.fixture
def arrivals(hostile_paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARRIVALS", str(tmp_path / "arrivals"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*hostile_paths, *helpers.source_roots()]))
    return tmp_path / "arrivals"


def pending(count: int) -> trk.Run:
    run = trk.start(backends="on-file")
    for n in range(count):
        run.log_metric("loss", n / 3)
    run.finish()
    return run


@pytest.fixture
def syncing(arrivals: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts `trk.sync()` in a process of its own; what still runs at the end is ended."""
    children: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen([*helpers.COMMAND, "sync", "-q", "--timeout", "60"]))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


def size(arrivals: Path) -> int:
    """In bytes: reading the file would take the time in which the deliverer gets through."""
    return arrivals.stat().st_size if arrivals.exists() else 0


def numbers(arrivals: Path) -> list[int]:
    lines = arrivals.read_text().splitlines() if arrivals.exists() else []
    return [int(words[1]) for line in lines if len(words := line.split()) == 3]


def test_a_deliverer_killed_again_and_again_loses_nothing(
    arrivals: Path, syncing: Callable[[], subprocess.Popen[bytes]]
) -> None:
    run, dice = pending(ROWS), random.Random(7)
    kills = 0
    while len(numbers(arrivals)) < ROWS and kills < 25:
        before = size(arrivals)
        child = syncing()
        more = dice.randrange(1, 14000)
        while size(arrivals) < before + more and child.poll() is None:
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        state = run.record.backends["on-file"]
        assert state.delivered <= len(set(numbers(arrivals))), "delivered means that it is there"
    assert syncing().wait() == 0
    state = run.record.backends["on-file"]
    assert (state.delivered, state.pending) == (ROWS + 1, 0)
    assert list(dict.fromkeys(numbers(arrivals))) == list(range(1, ROWS + 2)), "all of them, in order"
    # A kill between a call and its cursor sends that call's rows again: one call, at most 25 rows, per kill.
    assert len(numbers(arrivals)) <= ROWS + 1 + 25 * kills
    assert kills > 3


def test_two_processes_that_deliver_at_once_send_nothing_twice(
    arrivals: Path, syncing: Callable[[], subprocess.Popen[bytes]]
) -> None:
    run = pending(2000)
    assert {child.wait() for child in [syncing() for _ in range(3)]} == {0}
    assert numbers(arrivals) == list(range(1, 2002))
    assert run.record.backends["on-file"].delivered == 2001


def test_processes_that_log_while_others_deliver_lose_nothing(
    arrivals: Path, syncing: Callable[[], subprocess.Popen[bytes]]
) -> None:
    run = trk.start(backends="on-file")
    writers = [
        helpers.started(f"import trk\nrun = trk.attach({run.id!r})\nfor n in range(500): run.log_metric('m', n)")
        for _ in range(2)
    ]
    while any(writer.poll() is None for writer in writers):
        assert syncing().wait() == 0
    for writer in writers:
        assert writer.communicate() == ("", "")
    assert syncing().wait() == 0
    assert Counter(numbers(arrivals)) == Counter(range(1, 1001))
