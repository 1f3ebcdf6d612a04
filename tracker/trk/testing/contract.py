"""The tests of runs, points, params, tags, directions and sources."""

# ruff: noqa: D102 - the name of a test says what it tests
from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from trk.errors import BackendRefused, BackendRunGone
from trk.records import Kind, Row, RunSpec, Status
from trk.testing.base import NOON, Arrived, Point, entry, metric, raises, skip, status
from trk.testing.content import ContentContract
from trk.testing.listing import ListingContract
from trk.testing.verifying import VerifyingContract


class BackendContract(ContentContract, ListingContract, VerifyingContract):
    """Subclass this, and override `make_backend` and `read_back`; the other hooks where the defaults don't fit."""

    # -- opening ----------------------------------------------------------------------------------------------

    def test_nothing_is_missing_where_these_tests_run(self) -> None:
        backend = self.make_backend()
        assert backend.name
        assert backend.limits.metrics > 0

    def test_opening_twice_finds_the_same_run(self) -> None:
        backend, spec = self.make_backend(), self.spec()
        assert backend.open(spec).remote_id == backend.open(spec).remote_id

    def test_a_fresh_instance_finds_the_same_run(self) -> None:
        spec = self.spec()
        first, second = self.make_backend().open(spec), self.make_backend().open(spec)
        assert first.remote_id == second.remote_id
        assert first.run_id == second.run_id == spec.run_id

    def test_a_run_is_found_by_the_id_of_an_earlier_opening(self) -> None:
        spec = self.spec()
        first = self.make_backend().open(spec)
        again = RunSpec(spec.run_id, spec.name, spec.experiment, spec.start_ms, remote_id=first.remote_id)
        assert self.make_backend().open(again).remote_id == first.remote_id

    def test_two_runs_of_one_experiment_are_two(self) -> None:
        backend, one = self.make_backend(), self.spec()
        other = self.spec(experiment=one.experiment)
        assert backend.open(one).remote_id != backend.open(other).remote_id

    def test_a_child_names_its_parent(self) -> None:
        backend, mother = self.make_backend(), self.spec()
        parent = backend.open(mother)
        child = self.spec(experiment=mother.experiment, parent_id=mother.run_id, parent_remote_id=parent.remote_id)
        assert self.read_back(backend.open(child).remote_id).parent == parent.remote_id

    def test_a_deleted_run_is_gone(self) -> None:
        spec = self.spec()
        run = self.delivered([metric(1, "f1", 0.5)], spec)
        self.delete_remotely(run.remote_id)
        raises(BackendRunGone, lambda: self.make_backend().open(spec))
        raises(BackendRunGone, lambda: self.make_backend().deliver(run, [metric(2, "f1", 0.6, 1)]))

    # -- each kind of row -------------------------------------------------------------------------------------

    def test_metrics_arrive_with_step_time_and_value(self) -> None:
        rows = [
            Row(1, Kind.METRIC, NOON, step=3, values={"f1": 0.1 + 0.2, "val/loss": 1e-300}),
            metric(2, "f1", -0.0, 4, NOON + 1),
        ]
        _same_points(
            self.arrived(rows),
            [("f1", 3, NOON, 0.1 + 0.2), ("val/loss", 3, NOON, 1e-300), ("f1", 4, NOON + 1, 0.0)],
        )

    def test_params_arrive_as_typed(self) -> None:
        typed = {"lr": "0.1", "seed": "007", "empty": "", "on": "true", "text": "two\nlines\t✓ naïve 模型"}
        rows = [entry(n, Kind.PARAM, key, text) for n, (key, text) in enumerate(typed.items(), 1)]
        assert _without_blank(self.arrived(rows).params) == _without_blank(typed)

    def test_tags_arrive_and_the_last_value_counts(self) -> None:
        rows = [
            entry(1, Kind.TAG, "stage", "draft"),
            entry(2, Kind.TAG, "who", "Zoë 🚀"),
            entry(3, Kind.TAG, "stage", "final"),
        ]
        assert self.arrived(rows).tags == {"stage": "final", "who": "Zoë 🚀"}

    def test_a_tag_is_set_deleted_and_set_again_in_order(self) -> None:
        rows = [
            entry(1, Kind.TAG, "a", "1"),
            entry(2, Kind.TAG, "b", "1"),
            entry(3, Kind.DELETE_TAG, "a"),
            entry(4, Kind.DELETE_TAG, "b"),
            entry(5, Kind.TAG, "a", "2"),
        ]
        assert self.arrived(rows).tags == {"a": "2"}

    def test_deleting_a_tag_that_is_not_there_is_fine(self) -> None:
        assert self.arrived([entry(1, Kind.DELETE_TAG, "never"), entry(2, Kind.TAG, "a", "1")]).tags == {"a": "1"}

    def test_summary_values_arrive(self) -> None:
        value = {"classes": ["cat", "dog"], "n": 2, "ok": True, "none": None}
        rows = [
            Row(1, Kind.SUMMARY, NOON, key="best_f1", step=0, values={"best_f1": 0.9}),
            entry(2, Kind.SUMMARY, "verdict", json.dumps("good")),
            entry(3, Kind.SUMMARY, "report", json.dumps(value)),
        ]
        arrived = self.arrived(rows)
        assert ("best_f1", 0, NOON, 0.9) in arrived.points
        assert arrived.summary == {"verdict": "good", "report": value}

    def test_the_latest_summary_counts(self) -> None:
        rows = [entry(n, Kind.SUMMARY, "verdict", json.dumps(text)) for n, text in enumerate(["bad", "good"], 1)]
        assert self.arrived(rows).summary == {"verdict": "good"}

    def test_a_defined_direction_arrives(self) -> None:
        row = entry(1, Kind.DEFINE, "latency", json.dumps({"mode": "min", "step_metric": None}))
        if not self.keeps_modes or not self.make_backend().holds(row):
            skip("this backend has no place for directions")
        assert self.arrived([row]).modes == {"latency": "min"}

    def test_a_run_ends_and_is_reopened(self) -> None:
        spec = self.spec()
        run = self.delivered([status(1, Status.FAILED, NOON + 5000)], spec)
        ended = self.read_back(run.remote_id)
        assert (ended.status, ended.end_ms) == ("FAILED", NOON + 5000)
        self.delivered([status(2, Status.RUNNING, NOON + 6000), metric(3, "f1", 0.5)], spec)
        assert self.read_back(run.remote_id).status == "RUNNING"
        self.delivered([status(4, Status.FINISHED, NOON + 7000)], spec)
        assert self.read_back(run.remote_id).status == "FINISHED"

    # -- values at the edge -----------------------------------------------------------------------------------

    def test_steps_may_come_out_of_order_and_below_zero(self) -> None:
        steps = [5, 3, -7, 4, 0, 2**53 + 1]
        rows = [metric(n, "loss", float(n), step, NOON + n) for n, step in enumerate(steps, 1)]
        _same_points(self.arrived(rows), [("loss", step, NOON + n, float(n)) for n, step in enumerate(steps, 1)])

    def test_nan_and_infinity_arrive(self) -> None:
        values = [math.nan, math.inf, -math.inf, 5e-324, 1.7e308]
        rows = [metric(n, "odd", value, n) for n, value in enumerate(values, 1)]
        _same_points(self.arrived(rows), [("odd", n, NOON, value) for n, value in enumerate(values, 1)])

    def test_times_keep_their_milliseconds(self) -> None:
        rows = [metric(n, "f1", 0.5, 0, NOON + n) for n in range(1, 4)]
        _same_points(self.arrived(rows), [("f1", 0, NOON + n, 0.5) for n in range(1, 4)])

    def test_a_long_param_is_whole_somewhere(self) -> None:
        long = "é-" * 5000 + "end"
        run = self.delivered([entry(1, Kind.PARAM, "prompt/long", long), entry(2, Kind.PARAM, "lr", "0.1")])
        assert self.read_long_param(run.remote_id, "prompt/long") == long

    def test_many_values_fit_one_call(self) -> None:
        limits = self.make_backend().limits
        rows = [metric(n, "loss", n / 7, n) for n in range(1, limits.metrics + 1)]
        rows += [entry(limits.metrics + n, Kind.PARAM, f"p{n}", str(n)) for n in range(1, limits.params + 1)]
        arrived = self.arrived(rows)
        assert len(arrived.points) == limits.metrics
        assert len(arrived.params) == limits.params

    # -- replay and refusal -----------------------------------------------------------------------------------

    def story(self) -> list[Row]:
        """A little of everything, where order matters."""
        return [
            entry(1, Kind.PARAM, "lr", "0.1"),
            metric(2, "loss", 1.0, 0),
            entry(3, Kind.TAG, "stage", "draft"),
            metric(4, "loss", math.nan, 1, NOON + 1),
            entry(5, Kind.DELETE_TAG, "stage"),
            entry(6, Kind.SUMMARY, "verdict", '"bad"'),
            status(7, Status.FAILED, NOON + 2),
            status(8, Status.RUNNING, NOON + 3),
            entry(9, Kind.TAG, "stage", "final"),
            metric(10, "loss", math.inf, 1, NOON + 1),
            entry(11, Kind.SUMMARY, "verdict", '"good"'),
            status(12, Status.FINISHED, NOON + 4),
        ]

    def test_replaying_any_beginning_changes_nothing(self) -> None:
        story = self.story()
        expected = self.arrived(story)
        for cut in range(1, len(story) + 1, self.replay_every):
            spec = self.spec()
            self.delivered(story[:cut], spec)
            run = self.delivered(story, spec)
            arrived = self.read_back(run.remote_id)
            assert _plain(arrived) == _plain(expected), f"after a replay of the first {cut} rows"

    def test_rows_one_by_one_make_the_same_as_rows_at_once(self) -> None:
        story, spec = self.story(), self.spec()
        for row in story:
            run = self.delivered([row], spec)
        assert _plain(self.read_back(run.remote_id)) == _plain(self.arrived(story))

    def test_a_bad_entry_is_refused_and_the_rest_goes_through_apart(self) -> None:
        spec, bad = self.spec(), self.refused_row(3)
        if bad is None:
            skip("this backend refuses nothing")
        run = self.delivered([entry(1, Kind.PARAM, "fixed", "1")], spec)
        backend = self.make_backend()
        backend.open(spec)
        good = [metric(2, "f1", 0.5), entry(4, Kind.TAG, "a", "1")]
        raises(BackendRefused, lambda: backend.deliver(run, [good[0], bad, good[1]]))
        raises(BackendRefused, lambda: backend.deliver(run, [bad]))
        for row in good:
            backend.deliver(run, [row])
        self.settle(backend, run, 4)
        arrived = self.read_back(run.remote_id)
        assert arrived.params == {"fixed": "1"}
        assert arrived.tags == {"a": "1"}
        _same_points(arrived, [("f1", 0, NOON, 0.5)])

    # -- as a source ------------------------------------------------------------------------------------------

    def test_a_source_gives_what_was_delivered(self) -> None:
        source, spec = self.source(), self.spec(description="why ✓")
        self.delivered(self.story(), spec)
        record = source.get(spec.run_id)
        assert record is not None
        assert (record.run_id, record.name, record.experiment) == (spec.run_id, spec.name, spec.experiment)
        assert record.status is Status.FINISHED
        assert record.description == "why ✓"
        assert record.params["lr"] == "0.1"
        assert record.tags["stage"] == "final"
        assert record.start_time is not None
        assert record.end_time is not None
        assert record.duration_s == 0.004
        assert record.metrics["loss"] == math.inf
        points = [(point.metric, point.step, point.time_ms, point.value) for point in source.history(record, "loss")]
        expected = [("loss", 0, NOON, 1.0), ("loss", 1, NOON + 1, math.nan), ("loss", 1, NOON + 1, math.inf)]
        assert [repr(point) for point in points] == [repr(point) for point in expected]
        assert all(point.run_id == spec.run_id for point in source.history(record, "loss"))

    def test_a_history_is_ordered_by_step_then_time(self) -> None:
        source, spec = self.source(), self.spec()
        self.delivered(
            [metric(1, "a", 1.0, 5), metric(2, "a", 2.0, -1, NOON + 9), metric(3, "a", 3.0, 5, NOON - 9)], spec
        )
        found = source.history(self.found(spec), "a")
        assert [(point.step, point.value) for point in found] == [(-1, 2.0), (5, 3.0), (5, 1.0)]
        assert source.history(self.found(spec), "unknown") == []

    def test_search_gives_the_runs_of_an_experiment_newest_first(self) -> None:
        source, old = self.source(), self.spec()
        new = self.spec(experiment=old.experiment, start_ms=NOON + 1000)
        for spec in (old, new):
            self.delivered([metric(1, "f1", 0.5)], spec)
        found = list(source.search(old.experiment, None))
        assert [record.run_id for record in found] == [new.run_id, old.run_id]
        everything = {record.run_id for record in source.search(None, None)}
        assert {old.run_id, new.run_id} <= everything
        assert list(source.search(f"no such {old.experiment}", None)) == []

    def test_search_agrees_with_get(self) -> None:
        source, spec = self.source(), self.spec()
        self.delivered(self.story(), spec)
        assert repr(list(source.search(spec.experiment, None))) == repr([source.get(spec.run_id)])

    def test_search_leaves_out_none_that_the_filter_admits(self) -> None:
        source, good = self.source(), self.spec()
        poor = self.spec(experiment=good.experiment)
        self.delivered([metric(1, "f1", 0.9)], good)
        self.delivered([metric(1, "f1", 0.1)], poor)
        found = [record.run_id for record in source.search(good.experiment, "metrics.f1 > 0.5")]
        assert good.run_id in found

    def test_a_source_names_the_parent_by_its_trk_run_id(self) -> None:
        mother = self.spec()
        parent = self.delivered([metric(1, "f1", 0.5)], mother)
        child = self.spec(parent_id=mother.run_id, parent_remote_id=parent.remote_id)
        self.delivered([metric(1, "f1", 0.6)], child)
        assert self.found(child).parent_id == mother.run_id

    def test_a_source_knows_no_unknown_and_no_deleted_run(self) -> None:
        source, spec = self.source(), self.spec()
        run = self.delivered([metric(1, "f1", 0.5)], spec)
        assert source.get(uuid.uuid4().hex[:26]) is None
        self.delete_remotely(run.remote_id)
        assert source.get(spec.run_id) is None
        assert list(source.search(spec.experiment, None)) == []

    def test_a_source_gives_the_defined_directions(self) -> None:
        source, spec = self.source(), self.spec()
        rows = [entry(1, Kind.DEFINE, "latency", '{"mode":"min"}'), entry(2, Kind.DEFINE, "f1", '{"mode":"max"}')]
        if not self.keeps_modes:
            skip("this backend has no place for directions")
        self.delivered(rows, spec)
        assert source.modes(spec.experiment) == {"latency": "min", "f1": "max"}
        assert source.modes(f"no such {spec.experiment}") == {}


def _same_points(arrived: Arrived, expected: Iterable[Point]) -> None:
    """As lists in any order: a point too many shows. Texts are compared, since NaN differs from itself."""
    assert _texts(arrived.points) == _texts(expected)


def _texts(points: Iterable[Point]) -> list[str]:
    return sorted(repr((key, step, time_ms, float(value) + 0.0)) for key, step, time_ms, value in points)


def _plain(arrived: Arrived) -> tuple[Any, ...]:
    """What has to be the same, in a form that compares NaN."""
    return (_texts(arrived.points), arrived.params, arrived.tags, arrived.summary, arrived.status, arrived.end_ms)


def _without_blank(params: Mapping[str, str]) -> dict[str, str]:
    """A server may keep no param whose text is empty."""
    return {key: text for key, text in params.items() if text}
