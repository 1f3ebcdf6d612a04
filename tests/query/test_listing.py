"""Lists of runs: sorted, narrowed by time, in columns and groups; every number beside a brute-force one."""

from __future__ import annotations

import math
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import trk
from helpers import costs_at_most
from trk.errors import NotFound, UsageError
from trk.query import columns, groups, words
from trk.query.filters import moment_ms, narrowed
from trk.query.sorting import in_order, parse_order
from trk.records import RunRecord, Status
from trk.rules import is_ranked

NOW = datetime(2026, 11, 21, 7, 27, tzinfo=UTC)


def record(name: str = "run", **fields: Any) -> RunRecord:
    known: dict[str, Any] = {
        "run_id": name, "name": name, "experiment": "exp", "status": Status.FINISHED, "source": "local",
        "start_time": NOW, "end_time": NOW + timedelta(seconds=2),
    }  # fmt: skip
    return RunRecord(**{**known, **fields})


# -- sorting


values = st.none() | st.sampled_from([math.nan, math.inf, -math.inf]) | st.integers(-2, 2).map(float)
pairs = st.lists(st.tuples(values, values), max_size=8)


@given(pairs, st.booleans(), st.booleans())
def test_several_keys_sort_one_after_the_other(given_pairs: Any, first_down: bool, second_down: bool) -> None:
    runs = [
        record(str(at), metrics={key: value for key, value in (("a", a), ("b", b)) if value is not None})
        for at, (a, b) in enumerate(given_pairs)
    ]
    order = f"metrics.a{' desc' if first_down else ''}, metrics.b {'DESC' if second_down else 'asc'}"
    found = [run.name for run in in_order(runs, parse_order(order))]

    def place(value: float | None, down: bool) -> tuple[int, float]:
        if value is None:
            return (2, 0.0)
        return (1, 0.0) if math.isnan(value) else (0, -value if down else value)

    ranked = sorted(
        range(len(given_pairs)),
        key=lambda at: (place(given_pairs[at][0], first_down), place(given_pairs[at][1], second_down), at),
    )
    assert found == [str(at) for at in ranked]


@pytest.mark.parametrize("text", [",", " , ", "metrics.a,,f1", "metrics.a desc, nonsense", "x" * 30_000])
def test_a_list_of_keys_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_order(text)
    assert caught.value.message.isprintable()


def test_names_with_commas_stand_in_quotes() -> None:
    assert words.split("metrics.`a,b` desc, params.\"c,d\",'e,f', it's, x", "list") == [
        "metrics.`a,b` desc", 'params."c,d"', "'e,f'", "it's", "x",
    ]  # fmt: skip
    assert [(sort.field, sort.descending) for sort in parse_order("metrics.`a,b` desc, name")] == [
        ("a,b", True),
        ("run_name", False),
    ]
    assert columns.parse("metrics.`a,b`,name") == [("metrics", "a,b"), ("", "name")]


# -- columns


def test_globs_are_the_names_that_the_runs_have() -> None:
    runs = [record("a", params={"lr": "1", "seed": "2"}, metrics={"val/f1": 1.0, "f1": 2.0}), record("b")]
    asked = columns.parse("name, params.*, metrics.val/?1, params.lr, tags.none, metrics.f1")
    found = [columns.title(column) for column in columns.expanded(asked, runs)]
    assert found == ["name", "params.lr", "params.seed", "metrics.val/f1", "tags.none", "metrics.f1"]
    with pytest.raises(NotFound, match=r"any of the columns tags\.x\*"):
        columns.expanded(columns.parse("tags.x*"), runs)
    assert columns.expanded(columns.parse("tags.x*"), []) == []


def test_a_name_with_a_star_means_itself_where_it_is() -> None:
    assert words.meant("a*", ["a*", "ab"]) == ["a*"]
    assert words.meant("a*", ["ab", "b"]) == ["ab"]
    assert words.meant("[ab]", ["a", "b"]) == []


def test_a_hostile_glob_takes_no_time() -> None:
    with costs_at_most(2):
        words.meant("*a" * 50 + "*" * 1000 + "b", ["a" * 40])


# -- narrowing


@pytest.mark.parametrize(
    ("since", "until", "names"),
    [
        ("2026-11-21T07:27:00Z", None, ["new", "now"]),
        (None, "2026-11-21T07:27:00Z", ["now", "old", "older"]),
        ("2026-11-20", "2026-11-21T07:27", ["now", "old"]),
        (NOW, NOW, ["now"]),
        (NOW.timestamp(), None, ["new", "now"]),
    ],
)
def test_runs_are_narrowed_by_when_they_started(since: Any, until: Any, names: list[str]) -> None:
    runs = [
        record("new", start_time=NOW + timedelta(milliseconds=1)),
        record("now"),
        record("old", start_time=NOW - timedelta(hours=3)),
        record("older", start_time=NOW - timedelta(days=9)),
        record("timeless", start_time=None),
    ]
    where = narrowed(None, since=since, until=until)
    assert where is not None
    assert [run.name for run in runs if where.matches_record(run)] == names
    assert where.mlflow_text.startswith("attributes.start_time ")


def test_a_span_counts_back_from_now() -> None:
    before = time.time() * 1000
    assert abs(moment_ms("2h", "since") - (before - 7_200_000)) < 60_000
    assert moment_ms("100000d", "since") == 0


@pytest.mark.parametrize(
    ("words_", "says"),
    [
        ({"since": "yesterday"}, "since 'yesterday' is neither a time nor a span before now"),
        ({"until": "1x"}, "until '1x' is neither"),
        ({"until": "d"}, "until 'd' is neither"),
        ({"since": "1d", "until": "2d"}, "since '1d' is after until '2d'"),
        ({"status": "DONE"}, "status must be RUNNING, FINISHED, FAILED or KILLED"),
        ({"status": ""}, "status must be"),
    ],
)
def test_times_and_states_that_are_none_are_refused(words_: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        narrowed(None, **words_)


def test_several_states_are_any_of_them() -> None:
    where = narrowed("metrics.a IS NULL", status="failed,KILLED")
    assert where is not None
    assert [status for status in Status if where.matches_record(record(status=status))] == ["FAILED", "KILLED"]


# -- groups


odd = st.sampled_from([math.nan, math.inf, -math.inf, 1.797e308, 1.7e308, -1.7e308, 1e-320, 0.0])
numbers = odd | st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6)
models = st.sampled_from(["rf", "svm", "0.1", "10", ""]) | st.none()


def close(found: float | None, expected: float) -> bool:
    return found is not None and math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)


@given(st.lists(st.tuples(models, st.none() | numbers), max_size=10))
@example([("rf", 1.7e308), ("rf", 1.7e308), ("rf", -1.7e308)])
def test_groups_agree_with_brute_force(given_runs: list[tuple[str | None, float | None]]) -> None:
    runs = [
        record(str(at), params={} if model is None else {"m": model}, metrics={} if value is None else {"f1": value})
        for at, (model, value) in enumerate(given_runs)
    ]
    found = groups.grouped(runs, [("params", "m")], list(groups.AGGREGATES), ["f1"], {})
    assert sorted(run.name for group in found for run in group.runs) == sorted(run.name for run in runs)
    for group in found:
        model = group.key["params.m"]
        members = [value for at, (its, value) in enumerate(given_runs) if its == model]
        known = [value for value in members if value is not None]
        finite = [value for value in known if is_ranked(value)]
        told = group.metrics["f1"]
        assert (len(group.runs), told.count, told.not_finite) == (len(members), len(finite), len(known) - len(finite))
        assert told.values["count"] == len(finite)
        if not finite:
            assert {told.values[name] for name in ("mean", "std", "min", "max", "median", "best")} == {None}
            continue
        assert told.values["min"] == min(finite)
        assert told.values["max"] == told.values["best"] == max(finite)  # f1: more is better
        if max(map(abs, finite)) < 1e300:
            assert close(told.values["mean"], statistics.fmean(finite))
            assert close(told.values["median"], statistics.median(finite))
            if len(finite) > 1:
                assert close(told.values["std"], float(statistics.stdev(finite)))
        assert (told.values["std"] is None) == (len(finite) == 1)


def test_the_order_of_groups_is_numbers_words_none_unless_another_is_asked_for() -> None:
    runs = [
        record(model or "none", params={} if model is None else {"m": model}, metrics={"f1": value})
        for model, value in (("svm", 0.5), ("10", 0.7), (None, 0.9), ("9", 0.1), ("rf", math.nan))
    ]
    made = groups.grouped(runs, [("params", "m")], ["mean"], ["f1"], {})
    assert [group.key["params.m"] for group in made] == ["9", "10", "rf", "svm", None]
    sorted_ = groups.in_order(made, "metrics.f1.mean desc")
    assert [group.key["params.m"] for group in sorted_] == [None, "10", "svm", "9", "rf"]
    sorted_ = groups.in_order(made, "runs, params.m desc")
    assert [group.key["params.m"] for group in sorted_] == ["svm", "rf", "10", "9", None]
    for wrong in ("metrics.f1.std", "metrics.loss.mean"):
        with pytest.raises(NotFound):
            groups.in_order(made, wrong)
    with pytest.raises(UsageError, match="names no column"):
        groups.in_order(made, "params.other")


@pytest.mark.parametrize(
    ("by", "agg", "says"),
    [
        ("", None, "grouped by nothing"),
        ("metrics.f1", None, "not grouped by 'metrics.f1'"),
        ("params.*", None, "not grouped by"),
        ("start_time", None, "not grouped by"),
        ("nonsense", None, "unknown group 'nonsense'"),
        ("name", "mode", "aggregate 'mode' is not one of"),
        ("name", ",", "names none"),
    ],
)
def test_groups_of_nothing_are_refused(by: str, agg: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        trk.groups(by, agg=agg)


# -- the questions, on the journal


@pytest.fixture
def sweep() -> list[trk.Run]:
    """Four runs, from the oldest: lr 0.1, 0.1, 0.2, none; f1 0.5, 0.7, NaN, none."""
    made = []
    for at, (lr, f1) in enumerate((("0.1", 0.5), ("0.1", 0.7), ("0.2", math.nan), (None, None))):
        run = trk.start(f"run {at}", experiment="sweep", params={"lr": lr} if lr else {}, backends="none")
        if f1 is not None:
            run.log_metrics({"f1": f1, "cost": 1.0})
        run.finish("FAILED" if at == 1 else "FINISHED")
        made.append(run)
    return made


def test_search_and_groups_ask_alike(sweep: list[trk.Run]) -> None:
    found = trk.search("metrics.f1 > 0 OR metrics.f1 IS NULL", sort="metrics.f1 desc, name", since="1h")
    assert [run.name for run in found] == ["run 1", "run 0", "run 3"]
    assert [run.name for run in trk.search(n=2)] == ["run 3", "run 2"]
    assert trk.search(until=sweep[0].record.start_time.timestamp() - 1) == []  # type: ignore[union-attr]
    assert [run.name for run in trk.search("NOT params.lr = '0.1'", status="FINISHED,failed")] == ["run 3", "run 2"]
    (one, two, three) = trk.groups("params.lr", agg=["best", "mean"], metrics="f1")
    assert [group.key["params.lr"] for group in (one, two, three)] == ["0.1", "0.2", None]
    assert (one.metrics["f1"].values, len(one.runs)) == ({"best": 0.7, "mean": 0.6}, 2)
    assert (two.metrics["f1"].count, two.metrics["f1"].not_finite, two.metrics["f1"].values["best"]) == (0, 1, None)
    assert trk.groups("status", agg="mean", status="FAILED", n=0) == []
    with pytest.raises(NotFound, match="no run here has any of the columns"):
        trk.groups("params.lr", metrics="nonsense*")


def test_best_of_a_group_goes_by_the_direction_that_was_defined(sweep: list[trk.Run]) -> None:
    said: list[str] = []
    (all_,) = trk.groups("experiment", agg="best", metrics="cost", warn=said.append)
    assert all_.metrics["cost"].values == {"best": None}
    assert said == ["which is better is not known of cost (trk define-metric KEY --mode max)"]
    with trk.start("more", experiment="sweep", backends="none") as run:
        run.define_metric("cost", mode="max")
        run.log_metric("cost", 3.0)
    (all_,) = trk.groups("experiment", agg="best", metrics="cost")
    assert all_.metrics["cost"].values == {"best": 3.0}


def test_parts_that_are_not_needed_may_be_left_empty_and_change_no_answer() -> None:
    for number, lr in enumerate(("0.2", "0.1")):
        run = trk.start(f"run {number}", params={"lr": lr}, tags={"stage": "dev"})
        run.log_metric("f1", number)
        run.end()
    whole = trk.search(sort="params.lr")
    found = trk.search("tags.stage = 'dev'", sort="params.lr", parts={"metrics"})
    assert [(run.run_id, run.metrics, run.status) for run in found] == [
        (run.run_id, run.metrics, run.status) for run in whole
    ]
    assert [run.name for run in found] == ["run 1", "run 0"]
    assert not any(run.tags for run in trk.search(parts=()))
    with pytest.raises(trk.UsageError, match="no record has the part 'files'"):
        trk.search(parts={"files"})
