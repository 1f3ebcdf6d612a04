"""Appending: numbers, steps, live tables; each call is written whole or not at all."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import new_run
from trk.errors import Conflict, NotFound, UsageError
from trk.journal import read, write
from trk.journal.db import Journal
from trk.records import Kind
from trk.rules import MAX_STEP, is_ranked


@pytest.fixture
def run(journal: Journal) -> str:
    return new_run(journal)


def rows(journal: Journal, run_id: str) -> list:
    key = read.run_key(journal, run_id)
    assert key is not None
    return read.rows_after(journal, key, 0, 10_000)


def live(journal: Journal, run_id: str, metric: str) -> dict:
    names = ("count", "last_step", "last_time", "last", "low", "low_step", "high", "high_step")
    found = journal.read(
        f"SELECT {', '.join(names)} FROM metrics JOIN runs USING (run) WHERE run_id = ? AND key = ?", (run_id, metric)
    )
    return dict(zip(names, found[0], strict=True))


def everything(journal: Journal) -> dict[str, list]:
    tables = ("runs", "rows", "metrics", "params", "tags", "definitions", "deliveries")
    return {table: journal.read(f"SELECT * FROM {table}") for table in tables}


def test_rows_are_numbered_from_1_without_gaps_in_each_run(journal: Journal, run: str) -> None:
    other = new_run(journal)
    for expected in (1, 2, 3):
        assert write.metrics(journal, run, {"a": 1.0}, None, 5)[0] == expected
    assert write.metrics(journal, other, {"a": 1.0}, None, 5)[0] == 1
    assert write.params(journal, run, {"lr": "1"}, 5) == 4
    assert write.tags(journal, run, {"a": "1", "b": "2"}, 5) == 6
    assert write.delete_tag(journal, run, "a", 5) == 7
    assert write.define(journal, run, "a", "max", None, 5) == 8
    assert write.summary(journal, run, {"a": 1.0, "t": ('"x"', "x")}, 5) == (10, None)
    assert write.set_status(journal, run, "FINISHED", 5) == 11
    assert [row.n for row in rows(journal, run)] == list(range(1, 12))


def test_the_first_tags_and_params_are_rows_too(journal: Journal) -> None:
    fields = {"name": "a", "experiment": "e", "start_time": 7}
    write.create_run(journal, "r" * 26, fields, {"memory": "{}"}, {"t": "1"}, {"p": "2"})
    assert [(row.kind, row.key, row.text, row.time_ms) for row in rows(journal, "r" * 26)] == [
        (Kind.TAG, "t", "1", 7),
        (Kind.PARAM, "p", "2", 7),
    ]


def test_a_run_id_is_used_once(journal: Journal, run: str) -> None:
    before = everything(journal)
    with pytest.raises(Exception, match="UNIQUE"):
        write.create_run(journal, run, {"name": "a", "experiment": "e", "start_time": 1}, {"memory": "{}"}, {}, {})
    assert everything(journal) == before


def test_a_step_left_out_is_the_metrics_largest_plus_one(journal: Journal, run: str) -> None:
    assert write.metrics(journal, run, {"a": 1.0}, None, 5) == (1, 0)
    assert write.metrics(journal, run, {"a": 1.0}, None, 5) == (2, 1)
    assert write.metrics(journal, run, {"a": 1.0}, 10, 5) == (3, 10)
    assert write.metrics(journal, run, {"a": 1.0}, 3, 5) == (4, 3)
    assert write.metrics(journal, run, {"a": 1.0}, None, 5) == (5, 11)
    assert write.metrics(journal, run, {"b": 1.0}, None, 5) == (6, 0)
    assert write.metrics(journal, run, {"b": 1.0, "a": 1.0, "c": 1.0}, None, 5) == (7, 12)


def test_steps_of_one_run_do_not_count_in_another(journal: Journal, run: str) -> None:
    write.metrics(journal, new_run(journal), {"a": 1.0}, 50, 5)
    assert write.metrics(journal, run, {"a": 1.0}, None, 5) == (1, 0)


def test_after_negative_steps_comes_the_next_one(journal: Journal, run: str) -> None:
    write.metrics(journal, run, {"a": 1.0}, -10, 5)
    assert write.metrics(journal, run, {"a": 1.0}, None, 5) == (2, -9)


def test_steps_go_to_the_ends_of_64_bits_and_no_further(journal: Journal, run: str) -> None:
    write.metrics(journal, run, {"low": 1.0}, -MAX_STEP - 1, 5)
    write.metrics(journal, run, {"high": 1.0}, MAX_STEP, 5)
    with pytest.raises(UsageError, match="64 bits"):
        write.metrics(journal, run, {"high": 2.0}, None, 5)
    assert [row.step for row in rows(journal, run)] == [-MAX_STEP - 1, MAX_STEP]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e22])
@pytest.mark.parametrize("beside", [{}, {"b": 0.5}], ids=["alone", "with another"])
def test_every_double_is_kept_exactly(journal: Journal, run: str, value: float, beside: dict) -> None:
    write.metrics(journal, run, {"a": value, **beside}, None, 5)
    kept = rows(journal, run)[0].values["a"]
    point = read.points(journal, run, "a")[0].value
    record = read.record(journal, run)
    assert record is not None
    for found in (kept, point, record.metrics["a"]):
        assert repr(found) == repr(value)


def test_several_values_are_one_row(journal: Journal, run: str) -> None:
    n, step = write.metrics(journal, run, {"a": 1.0, "val/ü b": math.nan, "c": math.inf}, 4, 5)
    (row,) = rows(journal, run)
    assert (row.n, row.step, row.key) == (n, step, None)
    assert list(row.values) == ["a", "val/ü b", "c"]
    assert math.isnan(row.values["val/ü b"])


POINTS = st.lists(
    st.tuples(
        st.integers(-3, 3) | st.just(MAX_STEP),
        st.integers(0, 3),
        st.floats(width=16) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 1.797e308]),
    ),
    min_size=1,
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(POINTS)
def test_live_rows_are_what_a_look_at_all_points_says(journal: Journal, points: list) -> None:
    run = new_run(journal)
    for step, time_ms, value in points:
        write.metrics(journal, run, {"m": value}, step, time_ms)
    found = live(journal, run, "m")
    place = [(step, time_ms, 0.0 if math.isnan(value) else value) for step, time_ms, value in points]
    last = points[max(range(len(points)), key=lambda at: (place[at], -at))]
    assert found["count"] == len(points)
    assert (found["last_step"], found["last_time"]) == last[:2]
    # of points alike in step, time and place, whichever came first may stand
    kept = float(found["last"])
    assert (0.0 if math.isnan(kept) else kept) == max(place)[2]
    ranked = [(value, step) for step, _, value in points if is_ranked(value)]
    low, low_step = min(ranked, default=(None, None))
    high = max((value for value, _ in ranked), default=None)
    assert (found["low"], found["low_step"]) == (low, low_step)
    assert (found["high"], found["high_step"]) == (high, min((s for v, s in ranked if v == high), default=None))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_logging_does_not_matter(journal: Journal, points: list, random) -> None:
    shuffled = random.sample(points, len(points))
    first, second = new_run(journal), new_run(journal)
    for run, order in ((first, points), (second, shuffled)):
        for step, time_ms, value in order:
            write.metrics(journal, run, {"m": value}, step, time_ms)
    one, other = live(journal, first, "m"), live(journal, second, "m")
    for found in (one, other):
        found["last"] = 0.0 if found["last"] == "NaN" else found["last"]  # NaN and 0 have the same place
    assert one == other


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b", "val/ü", "x y", "a.b", "b:c"]), st.floats(), min_size=1))
def test_values_logged_together_come_back_together(journal: Journal, values: dict[str, float]) -> None:
    run = new_run(journal)
    write.metrics(journal, run, values, 0, 1)
    assert repr(dict(rows(journal, run)[0].values)) == repr(values)
    assert repr(read.at_step(journal, read.run_key(journal, run), 0)) == repr(dict(sorted(values.items())))


# ---- params


def test_the_same_param_again_writes_nothing(journal: Journal, run: str) -> None:
    assert write.params(journal, run, {"lr": "0.1"}, 5) == 1
    assert write.params(journal, run, {"lr": "0.1"}, 5) is None
    assert len(rows(journal, run)) == 1


def test_another_value_of_a_param_is_a_conflict_and_nothing_of_the_call_is_written(journal: Journal, run: str) -> None:
    write.params(journal, run, {"lr": "0.1"}, 5)
    before = everything(journal)
    with pytest.raises(Conflict, match=r"lr is already '0\.1'") as caught:
        write.params(journal, run, {"new": "1", "lr": "0.10", "later": "2"}, 5)
    assert caught.value.hint is not None
    assert everything(journal) == before


def test_keep_keeps_the_first_value_and_takes_the_new_params(journal: Journal, run: str) -> None:
    write.params(journal, run, {"lr": "0.1"}, 5)
    assert write.params(journal, run, {"lr": "0.2", "new": "1"}, 5, "keep") == 2
    assert read.record(journal, run).params == {"lr": "0.1", "new": "1"}


def test_suffix_finds_the_next_free_name_and_repeats_itself_nowhere(journal: Journal, run: str) -> None:
    for value in ("1", "2", "3", "2", "1"):
        write.params(journal, run, {"lr": value}, 5, "suffix")
    assert read.record(journal, run).params == {"lr": "1", "lr_2": "2", "lr_3": "3"}
    assert len(rows(journal, run)) == 3


def test_a_suffix_does_not_make_a_name_too_long(journal: Journal, run: str) -> None:
    write.params(journal, run, {"x" * 250: "1"}, 5)
    before = everything(journal)
    with pytest.raises(UsageError, match="252 characters"):
        write.params(journal, run, {"x" * 250: "2"}, 5, "suffix")
    assert everything(journal) == before


def test_a_long_param_is_kept_whole(journal: Journal, run: str) -> None:
    write.params(journal, run, {"prompt": "ü" * 100_000}, 5)
    assert read.record(journal, run).params["prompt"] == "ü" * 100_000


# ---- summary, tags, definitions


def test_a_summary_number_is_a_point_at_the_next_step(journal: Journal, run: str) -> None:
    write.metrics(journal, run, {"f1": 0.5}, 7, 5)
    assert write.summary(journal, run, {"f1": 0.9}, 6) == (2, 8)
    assert [(p.step, p.value) for p in read.points(journal, run, "f1")] == [(7, 0.5), (8, 0.9)]
    assert read.record(journal, run).metrics == {"f1": 0.9}


def test_a_summary_text_is_a_tag_that_changes_and_a_param_that_does_not(journal: Journal, run: str) -> None:
    write.summary(journal, run, {"note": ('"first"', "first")}, 5)
    write.summary(journal, run, {"note": ('"second"', "second")}, 6)
    record = read.record(journal, run)
    assert record.tags == {"summary/note": "second"}
    assert list(record.params.values()) == ["first"]
    assert [row.text for row in rows(journal, run)] == ['"first"', '"second"']


def test_a_tag_changes_goes_and_comes_again(journal: Journal, run: str) -> None:
    write.tags(journal, run, {"a": "1"}, 5)
    write.tags(journal, run, {"a": "2"}, 5)
    assert read.record(journal, run).tags == {"a": "2"}
    write.delete_tag(journal, run, "a", 5)
    assert read.record(journal, run).tags == {}
    with pytest.raises(NotFound, match="no tag a"):
        write.delete_tag(journal, run, "a", 5)
    write.tags(journal, run, {"a": "3"}, 5)
    assert read.record(journal, run).tags == {"a": "3"}
    assert [str(row.kind) for row in rows(journal, run)] == ["tag", "tag", "delete_tag", "tag"]


def test_a_definition_counts_for_the_experiment_and_its_parts_add_up(journal: Journal, run: str) -> None:
    write.define(journal, run, "speed", "max", None, 5)
    write.define(journal, run, "speed", None, "epoch", 5)
    assert journal.read("SELECT * FROM definitions") == [("tests", "speed", "max", "epoch")]
    write.define(journal, run, "speed", "min", None, 5)
    assert read.modes(journal, "tests") == {"speed": "min"}
    assert [json.loads(row.text) for row in rows(journal, run)] == [
        {"mode": "max"},
        {"step_metric": "epoch"},
        {"mode": "min"},
    ]


# ---- status


def test_a_run_ends_once_and_can_be_reopened(journal: Journal, run: str) -> None:
    write.set_status(journal, run, "FAILED", 50)
    assert read.record(journal, run).status == "FAILED"
    with pytest.raises(Conflict, match="has ended"):
        write.set_status(journal, run, "FINISHED", 60)
    write.set_status(journal, run, "RUNNING", 70)
    record = read.record(journal, run)
    assert (record.status, record.end_time) == ("RUNNING", None)
    with pytest.raises(Conflict, match="has not ended"):
        write.set_status(journal, run, "RUNNING", 80)
    write.set_status(journal, run, "KILLED", 90)
    assert [row.text for row in rows(journal, run)] == ["FAILED", "RUNNING", "KILLED"]


APPENDS = {
    "metrics": lambda journal, run: write.metrics(journal, run, {"a": 1.0}, None, 5),
    "params": lambda journal, run: write.params(journal, run, {"a": "1"}, 5),
    "tags": lambda journal, run: write.tags(journal, run, {"a": "1"}, 5),
    "delete_tag": lambda journal, run: write.delete_tag(journal, run, "t", 5),
    "summary": lambda journal, run: write.summary(journal, run, {"a": 1.0}, 5),
    "define": lambda journal, run: write.define(journal, run, "a", "max", None, 5),
    "end": lambda journal, run: write.set_status(journal, run, "FINISHED", 5),
}


@pytest.mark.parametrize("append", APPENDS.values(), ids=APPENDS)
def test_nothing_goes_into_a_run_that_has_ended_or_is_not_there(journal: Journal, run: str, append) -> None:
    write.tags(journal, run, {"t": "1"}, 5)
    write.set_status(journal, run, "FINISHED", 5)
    before = everything(journal)
    with pytest.raises(Conflict, match=r"has ended \(FINISHED\)") as caught:
        append(journal, run)
    assert caught.value.hint == f"trk resume {run}"
    with pytest.raises(NotFound, match="no run zzz"):
        append(journal, "zzz")
    assert everything(journal) == before


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_whatever_interrupts_a_transaction_leaves_nothing_of_it(journal: Journal, run: str, interruption) -> None:
    before = everything(journal)

    def values():
        yield "a", "1"
        raise interruption

    class Params(dict):
        def items(self):
            return values()

    with pytest.raises(interruption):
        write.params(journal, run, Params(), 5)
    assert everything(journal) == before
    assert write.metrics(journal, run, {"a": 1.0}, None, 5) == (1, 0)
