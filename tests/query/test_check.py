"""`check`: what is read, what holds, what is told, and which baseline it is measured by."""

from __future__ import annotations

import inspect
import math
import operator
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import trk
from trk.errors import CheckFailed, NoActiveRun, NotFound, UsageError
from trk.query.check import parse_all, require_passed
from trk.query.expressions import MAX_LENGTH, MAX_PARTS, parse
from trk.query.terms import (
    Absolute,
    Expression,
    Negated,
    Node,
    Number,
    Operation,
    Percent,
    Reference,
    Text,
)
from trk.rules import HUGE

mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


def ended(name: str = "a run", experiment: str = "digits", **more: Any) -> trk.Run:
    """A run that has ended, with these `params`, `tags` and `metrics` (a list is a history)."""
    metrics = more.pop("metrics", {})
    run = trk.start(name, experiment=experiment, **more)
    for key, values in metrics.items():
        for value in values if isinstance(values, list) else [values]:
            run.log_metric(key, value)
    run.finish()
    return run


def one(expression: str, run: trk.Run | str = "run", **asked: Any) -> trk.CheckedCondition:
    """The one condition as it was judged."""
    (found,) = trk.check(expression, run, **asked).checks
    return found


# -- what is read -------------------------------------------------------------------------------------------------

F1 = Reference("metric", "f1")


@pytest.mark.parametrize(
    ("text", "left", "comparator", "right"),
    [
        ("f1 >= 0.85", F1, ">=", Number("0.85")),
        ("f1>=.5e-3", F1, ">=", Number(".5e-3")),
        ("`val/f1-macro` > 0.8", Reference("metric", "val/f1-macro"), ">", Number("0.8")),
        ("val.f1 > 1", Reference("metric", "val.f1"), ">", Number("1")),
        ("metrics.f1 = 1", F1, "==", Number("1")),
        ("metrics.`a b` != 1", Reference("metric", "a b"), "!=", Number("1")),
        ("`params.lr` < 1", Reference("metric", "params.lr"), "<", Number("1")),
        ("`baseline` < 1", Reference("metric", "baseline"), "<", Number("1")),
        ("f1 >= baseline", F1, ">=", Reference("metric", "f1", baseline=True)),
        ("best(f1) >= baseline", Reference("metric", "f1", "best"), ">=", Reference("metric", "f1", "best", True)),
        ("f1 > baseline.loss", F1, ">", Reference("metric", "loss", baseline=True)),
        ("f1 > baseline(loss)", F1, ">", Reference("metric", "loss", baseline=True)),
        ("f1 > baseline.`a b`", F1, ">", Reference("metric", "a b", baseline=True)),
        ("f1 > baseline(max(loss))", F1, ">", Reference("metric", "loss", "max", True)),
        ("f1 > max(baseline.loss)", F1, ">", Reference("metric", "loss", "max", True)),
        ("f1 > baseline + 2%", F1, ">", Percent("+", Reference("metric", "f1", baseline=True), "2")),
        ("duration < 10m", Reference("duration"), "<", Number("10", "m")),
        ("duration < baseline * 1.2", Reference("duration"), "<",
         Operation("*", Reference("duration", baseline=True), Number("1.2"))),
        ("params.lr <= 0.1", Reference("param", "lr"), "<=", Number("0.1")),
        ("params.model = 'rf'", Reference("param", "model"), "==", Text("rf")),
        ("tags.stage != \"it's\"", Reference("tag", "stage"), "!=", Text("it's")),
        ("status == FINISHED", Reference("status"), "==", Text("FINISHED")),
        ("finished = status", Text("FINISHED"), "==", Reference("status")),
        ("f1 - 1 - 2 > 0", Operation("-", Operation("-", F1, Number("1")), Number("2")), ">", Number("0")),
        ("f1 - (1 - 2) > 0", Operation("-", F1, Operation("-", Number("1"), Number("2"))), ">", Number("0")),
        ("f1 + 2 * 3 > -1", Operation("+", F1, Operation("*", Number("2"), Number("3"))), ">", Negated(Number("1"))),
        ("abs(f1 - baseline) < 1", Absolute(Operation("-", F1, Reference("metric", "f1", baseline=True))), "<",
         Number("1")),
        ("trefferquote_ü > 1", Reference("metric", "trefferquote_ü"), ">", Number("1")),
    ],
)  # fmt: skip
def test_a_condition_is_read_as_it_is_meant(text: str, left: Node, comparator: str, right: Node) -> None:
    found = parse(text)
    assert (found.left, found.comparator, found.right) == (left, comparator, right)
    assert parse(str(found)) == found
    assert found.text == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("", 1, "expected"),
        ("f1", 3, "quotes"),
        ("f1 0.85", 4, "quotes"),
        ("f1 >= ", 7, "a value is expected at the end"),
        ("f1 => 1", 4, "say >="),
        ("f1 ≥ 1", 4, "say >="),
        ("f1 > 1 > 2", 8, "one comparator"),
        ("f1 > 1 and f2 > 2", 8, "words of their own"),
        ("f1 > 1 && f2 > 2", 8, "word"),
        ("f1 > (1", 6, "never closed"),
        ("f1 > 1)", 7, "the end"),
        ("`f1 > 1", 1, "never closed"),
        ("`` > 1", 1, "empty"),
        ("val/f1 > 1", 4, "`val/f1`"),
        ("val/f1-macro > 1", 4, "`val/f1-macro`"),
        ("top-5 > 1", 4, "`top-5`"),
        ("a:b > 1", 2, "backticks"),
        ("my metric > 1", 4, "backticks"),
        ("2nd > 1", 1, "backticks"),
        ("f1 > nan", 6, "nan"),
        ("f1 < Infinity", 6, "Infinity"),
        ("f1 > 1e999", 6, "larger"),
        ("f1 > 85%", 6, "0.85"),
        ("f1 > baseline * 98%", 17, "0.98"),
        ("f1 > 10m", 4, "duration"),
        ("f1 > 10min", 6, "10m"),
        ("baseline > 1", 1, "baseline.f1"),
        ("f1 + f2 > baseline", 11, "baseline.f1"),
        ("best(f1) + f1 > baseline", 17, "baseline.f1"),
        ("best(f1 + 1) > 1", 6, "takes a metric"),
        ("best(params.lr) > 1", 6, "takes a metric"),
        ("best(baseline) > f1", 6, "takes a metric"),
        ("best(max(f1)) > 1", 6, "takes a metric"),
        ("min(f1, f2) > 1", 7, "one thing"),
        ("f1(x) > 1", 1, "no function"),
        ("foo.`a` > 1", 1, "foo"),
        ("1 < 2", 1, "nothing of the run"),
        ("'a' = 'b'", 1, "nothing of the run"),
        ("params.model = rf", 14, "'rf'"),
        ("params.model > 'rf'", 14, "== or !="),
        ("f1 = 'rf'", 4, "param"),
        ("status > 1", 8, "status"),
        ("status == DONE", 8, "RUNNING, FINISHED"),
        ("status + 1 == 2", 12, "no number"),
        ("f1 > 1; rm -rf", 7, "can't stand"),
        ("f1 > \0", 6, "can't stand"),
        ("f1 > " + "(" * (MAX_PARTS + 1), 106, "at most"),
        ("f1 > " + "-" * (MAX_PARTS + 1) + "1", 106, "at most"),
        ("f1 > 1" + " + 1" * (MAX_PARTS + 1), 408, "at most"),
        ("f1 > " + "1" * MAX_LENGTH, 1, "at most"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_place_and_the_rule(text: str, place: int, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert f"character {place}: " in raised.value.message
    assert told in f"{raised.value.message} ({raised.value.hint})"
    assert "\n" not in raised.value.message


names = st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), min_size=1, max_size=8)
texts = st.text(max_size=5).filter(lambda text: "'" not in text or '"' not in text)
references = st.builds(
    Reference, st.just("metric"), names, st.sampled_from(["last", "best", "min", "max"]), st.booleans()
) | st.builds(Reference, st.sampled_from(["param", "tag"]), names, st.just("last"), st.booleans())
numbers = st.builds(Number, st.floats(0, 1e300).map(repr) | st.integers(0, 99).map(str))
trees = st.recursive(
    references | numbers,
    lambda below: (
        st.builds(Negated, below)
        | st.builds(Absolute, below)
        | st.builds(Operation, st.sampled_from("+-*/"), below, below)
        | st.builds(Percent, st.sampled_from("+-"), below, st.sampled_from(["2", "0.5", "1e1"]))
    ),
    max_leaves=12,
)
comparators = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


@given(trees, comparators, trees)
def test_every_tree_reads_back_as_itself(left: Node, comparator: str, right: Node) -> None:
    made = Expression(left, comparator, right)
    if not made.references or all(isinstance(side, Reference) and side.kind != "metric" for side in (left, right)):
        return  # nothing is asked, or texts are compared
    assert parse(str(made)) == made


@given(st.sampled_from(["params", "tags"]), names, st.sampled_from(["==", "!="]), texts)
@settings(max_examples=30)
def test_every_text_reads_back_as_itself(head: str, key: str, comparator: str, text: str) -> None:
    made = parse(f"{head}.`{key}` {comparator} {Text(text)}")
    assert (made.right, made.textual) == (Text(text), True)
    assert parse(str(made)) == made


PARTS = [
    "f1", "baseline", "`a b`", "params.x", "best(", "(", ")", "%", "+", "-", "*", "/", ">", "<=", "==", "0.5", "3m",
    "'t'", "status", "duration", " ", ".", ",", "FINISHED", "and", "\x1b", "é", "metrics.", "abs(", "`",
]  # fmt: skip


@given(st.text(max_size=40) | st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
@example("((((((((((f1) > 1")
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    try:
        found = parse(text)
    except UsageError as error:
        assert error.message.isprintable()  # noqa: PT017 - what may be refused, may be refused
        assert error.message.startswith("condition ")  # noqa: PT017
    else:
        assert parse(str(found)) == found


# -- what holds ---------------------------------------------------------------------------------------------------


@pytest.fixture
def run() -> trk.Run:
    """A run with something of everything."""
    ended(
        "base", metrics={"f1": [0.9, 0.8], "loss": -2.0, "cost": 5.0}, params={"lr": 0.1, "model": "rf"},
        tags={"branch": "main"},
    )  # fmt: skip
    return ended(
        "run",
        metrics={"f1": [0.2, 0.95, 0.7], "loss": -2.03, "nan": math.nan, "inf": math.inf, "dip": [1.0, math.nan]},
        params={"lr": 1e-2, "model": "svm", "note": "a b"}, tags={"n": "3", "branch": "dev"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "left", "right", "passed"),
    [
        ("f1 >= 0.7", 0.7, 0.7, True),
        ("f1 > 0.7", 0.7, 0.7, False),
        ("f1 <= 0.7", 0.7, 0.7, True),
        ("f1 != 0.7", 0.7, 0.7, False),
        ("0.7 = f1", 0.7, 0.7, True),
        ("last(f1) = f1", 0.7, 0.7, True),
        ("best(f1) == 0.95", 0.95, 0.95, True),
        ("min(f1) == 0.2", 0.2, 0.2, True),
        ("max(f1) - min(f1) == 0.75", 0.75, 0.75, True),
        ("best(loss) < 0", -2.03, 0.0, True),
        ("max(dip) == 1", 1.0, 1.0, True),
        ("f1 >= baseline - 0.1", 0.7, 0.7, True),  # 0.7000000000000001 in floating point
        ("f1 >= baseline - 0.09", 0.7, 0.71, False),
        ("best(f1) > baseline", 0.95, 0.9, True),
        ("baseline(max(f1)) < best(f1)", 0.9, 0.95, True),
        ("loss <= baseline + 2%", -2.03, -1.96, True),  # up, although it is negative
        ("loss >= baseline - 2%", -2.03, -2.04, True),
        ("loss >= baseline - 1%", -2.03, -2.02, False),
        ("abs(loss - baseline) < 0.05", 0.03, 0.05, True),
        ("-loss * 2 / 4 == 1.015", 1.015, 1.015, True),
        ("f1 + 50% > 1", 1.05, 1.0, True),
        ("params.lr <= 0.01", 0.01, 0.01, True),
        ("params.lr < baseline", 0.01, 0.1, True),
        ("tags.n * 2 == 6", 6.0, 6.0, True),
        ("params.model == 'svm'", "svm", "svm", True),
        ("params.model != baseline", "svm", "rf", True),
        ("params.model == baseline.params.model", "svm", "rf", False),
        ("params.note = 'a b'", "a b", "a b", True),
        ("tags.branch != 'main'", "dev", "main", True),
        ("status = finished", "FINISHED", "FINISHED", True),
        ("status != FINISHED", "FINISHED", "FINISHED", False),
        ("f1 > baseline.cost", 0.7, 5.0, False),
        ("f1 > nothing", 0.7, None, False),
        ("nothing < 1", None, 1.0, False),
        ("f1 < inf1", 0.7, None, False),
        ("params.nothing = 'x'", None, "x", False),
        ("params.model > 1", "svm", 1.0, False),
        ("f1 > baseline.nothing", 0.7, None, False),
        ("f1 / 0 > 1", None, 1.0, False),
        ("0 * f1 / 0 > 1", None, 1.0, False),
        ("f1 * 1e300 * 1e300 > 1", None, 1.0, False),
        ("f1 < 2 * `inf`", 0.7, None, False),
        ("`inf` > 1", math.inf, 1.0, False),
        ("`inf` == `inf`", math.inf, math.inf, False),
        ("`nan` != 1", math.nan, 1.0, False),
        ("dip > 0", math.nan, 0.0, False),
        ("max(`nan`) > 0", None, 0.0, False),
    ],
)
def test_what_holds(run: trk.Run, expression: str, left: Any, right: Any, passed: bool) -> None:
    found = one(expression, run, baseline="base")
    assert repr((found.left, found.right, found.passed)) == repr((left, right, passed))
    assert found.expression == expression
    assert (found.reason is None) == passed


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("f1 >= 0.85", "0.7 is less than 0.85, by 0.15"),
        ("f1 < 0.7", "both are 0.7"),
        ("fl > 0", "the run has no metric fl; there is f1"),
        ("params.moddel = 'rf'", "the run has no param moddel; there is model"),
        ("f1 > baseline.f2", "the baseline base has no metric f2; there is f1"),
        ("dip > 0", "dip is NaN, which is nothing to judge by"),
        ("-`inf` < 0", "inf is Infinity, which is nothing to judge by"),
        ("max(`nan`) > 0", "max(nan): there is no finite value"),
        ("params.model > 0", "params.model is 'svm', which is no number"),
        ("params.model = baseline", "'svm' is not 'rf'"),
        ("status != FINISHED", "'FINISHED' is the same as 'FINISHED'"),
        ("1 / (f1 - f1) > 0", "it divides by zero"),
    ],
)
def test_a_reason_says_what_is_wrong(run: trk.Run, expression: str, reason: str) -> None:
    assert one(expression, run, baseline="base").reason == reason


numbers_of = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@given(numbers_of, numbers_of, numbers_of, comparators, st.sampled_from("+-"), st.booleans())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])  # runs of their own each
def test_a_tolerance_is_exact_in_decimals(
    own: float, base: float, tolerance: float, comparator: str, sign: str, percent: bool
) -> None:
    first, second = ended(metrics={"f1": base}), ended(metrics={"f1": own})
    moved = Decimal(repr(abs(tolerance)))
    text = f"f1 {comparator} baseline {sign} {moved:f}{'%' if percent else ''}"
    if percent:
        moved *= abs(Decimal(repr(base))) / 100
    right = Decimal(repr(base)) + (moved if sign == "+" else -moved)
    assert one(text, second, baseline=first).passed is COMPARE[comparator](Decimal(repr(own)), right)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, HUGE, -HUGE])
@pytest.mark.parametrize("comparator", ["<", ">", "==", "!="])
def test_what_is_not_finite_is_nothing_to_judge_by_on_either_side(value: float, comparator: str) -> None:
    base, run = ended(metrics={"loss": value}), ended(metrics={"loss": 0.5})
    assert not one(f"loss {comparator} baseline", run, baseline=base).passed
    assert not one(f"loss {comparator} baseline", base, baseline=run).passed


def test_the_duration_is_in_seconds_or_a_span_of_time(run: trk.Run) -> None:
    record = trk.get_run(run)
    found = one("duration < 1h", run)
    assert (found.left, found.right, found.passed) == (record.duration_s, 3600.0, True)
    assert one(f"duration == {record.duration_s}", run).passed
    with trk.start("running") as active:
        assert one("duration >= 0", active).passed


def test_a_defined_direction_counts_for_best_and_an_unknown_one_is_asked_for() -> None:
    with trk.start("run") as run:
        for value in (1.0, 3.0, 2.0):
            run.log_metric("tokens", value)
        with pytest.raises(UsageError, match="more or less"):
            trk.check("best(tokens) > 2", run)
        run.define_metric("tokens", mode="min")
        assert one("best(tokens) == 1", run).passed


def test_all_conditions_are_judged_and_the_report_says_by_what(run: trk.Run) -> None:
    report = trk.check(["f1 >= 0.9", "f1 >= baseline", "f1 > 0.5"], run, baseline="base")
    assert (report.passed, [check.passed for check in report.checks]) == (False, [False, False, True])
    assert (report.run.run_id, report.baseline and report.baseline.name) == (run.id, "base")
    with pytest.raises(CheckFailed, match="2 of 3 conditions do not hold for run run"):
        require_passed(report)
    good = trk.check("f1 > 0.5", run)
    assert (good.passed, good.baseline, require_passed(good)) == (True, None, None)


def test_a_mistake_in_one_condition_is_told_before_any_run_is_looked_for() -> None:
    for expressions in ([], "f1", ["f1 > 1", "f1 >"]):
        with pytest.raises(UsageError):
            trk.check(expressions, "nobody")
    assert [condition.text for condition in parse_all(" f1  >  1 ")] == ["f1 > 1"]


def test_the_run_is_the_active_one_when_none_is_named() -> None:
    with pytest.raises(NoActiveRun):
        trk.check("f1 > 0")
    with trk.start() as run:
        run.log_metric("f1", 0.5)
        assert trk.check("f1 > 0").run.run_id == run.id
    with pytest.raises(NotFound):
        trk.check("f1 > 0", "nobody")


# -- the baseline -------------------------------------------------------------------------------------------------


def test_every_word_for_a_baseline_means_the_run_that_compare_means() -> None:
    low = ended("low", metrics={"f1": 0.5, "tokens": 1.0}, tags={"branch": "main"})
    high = ended("high", metrics={"f1": 0.9, "tokens": 2.0})
    ended("elsewhere", experiment="letters", metrics={"f1": 0.99}, tags={"branch": "main"})
    run = ended("run", metrics={"f1": 0.7, "tokens": 1.5}, tags={"branch": "main"})
    meant = {
        "low": low, high.id: high, "best:f1": high, "best:f1:min": low, "best:tokens:max": high,
        "tag:branch=main": low,
    }  # fmt: skip
    for word, base in meant.items():
        report = trk.check("f1 > baseline", run, baseline=word)
        assert report.baseline is not None
        assert (word, report.baseline.run_id) == (word, base.id)
        assert trk.compare(run, baseline=word).baseline == base.id
    last = trk.check("f1 > baseline", run, baseline="@last").baseline
    assert last is not None
    assert last.name == "elsewhere"
    there = trk.check("f1 > baseline", run, baseline="best:f1", experiment="letters").baseline
    assert there is not None
    assert there.name == "elsewhere"


def test_without_a_baseline_it_is_not_found_or_passes_with_a_note() -> None:
    run = ended("run", metrics={"f1": 0.7}, tags={"branch": "main"})
    for word in (None, "nobody", "best:f1", "best:loss", "tag:branch=main", "tag:branch=dev", "@last"):
        with pytest.raises(NotFound, match="baseline"):
            trk.check("f1 >= baseline", run, baseline=word)
        report = trk.check(["f1 >= baseline", "f1 > 0.9"], run, baseline=word, allow_no_baseline=True)
        assert report.baseline is None
        assert [check.passed for check in report.checks] == [True, False]
        assert str(report.checks[0].reason).startswith("passed without a baseline: ")
        assert (report.checks[0].left, report.checks[0].right) == (0.7, None)
    assert trk.check("f1 > 0.5", run, baseline="nobody").passed  # nothing needs it


@pytest.mark.parametrize("word", ["tag:stage", "tag:=x", "best:", "best:tokens", "run"])
def test_a_baseline_that_can_not_be_meant_is_an_error_whatever_is_allowed(word: str) -> None:
    ended("other", metrics={"f1": 0.5, "tokens": 1.0})
    run = ended("run", metrics={"f1": 0.7})
    with pytest.raises(UsageError):
        trk.check("f1 >= baseline", run, baseline=word, allow_no_baseline=True)


def test_what_is_new_in_a_run_has_no_baseline_and_what_nobody_has_fails() -> None:
    ended("base", metrics={"f1": 0.5})
    run = ended("run", metrics={"f1": 0.7, "new": 1.0})
    conditions = ["new >= baseline", "nobody >= baseline", "f1 >= baseline.nobody", "f1 >= baseline.new"]
    found = trk.check(conditions, run, baseline="base", allow_no_baseline=True)
    assert [check.passed for check in found.checks] == [True, False, False, True]
    found = trk.check(conditions, run, baseline="base")
    assert [check.passed for check in found.checks] == [False] * 4
    missing = trk.check("nobody >= baseline", run, baseline="nothing", allow_no_baseline=True)
    assert not missing.passed  # the run's own lack counts more


def test_what_is_not_finite_fails_without_a_baseline_too() -> None:
    run = ended("run", metrics={"f1": math.nan, "loss": math.inf})
    conditions = ["baseline - f1 <= 0.01", "abs(baseline - f1) < 0.1", "baseline.loss - loss < 1"]
    found = trk.check(conditions, run, baseline="nobody", allow_no_baseline=True)
    assert [check.passed for check in found.checks] == [False] * 3


def test_python_checks_with_the_words_of_the_command_line() -> None:
    assert list(inspect.signature(trk.check).parameters) == [
        "expressions", "run", "baseline", "allow_no_baseline", "experiment", "source", "timeout", "warn",
    ]  # fmt: skip


@mlflow
@pytest.mark.mlflow
def test_mlflow_and_the_journal_judge_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    ended("base", metrics={"f1": [0.9, 0.8], "loss": 0.5}, tags={"branch": "main"}, params={"model": "rf"})
    run = ended("run", metrics={"f1": [0.95, 0.7], "loss": math.inf}, params={"model": "rf"})
    conditions = [
        "f1 >= baseline - 0.1", "best(f1) > baseline", "loss > 0", "min(f1) == 0.7", "params.model = baseline",
        "status = FINISHED", "nothing > 1",
    ]  # fmt: skip
    for word in ("best:f1", "tag:branch=main", "base", "@last"):
        told = [trk.check(conditions, run, baseline=word, source=source) for source in ("mlflow", "local")]
        assert told[0].run.source == "mlflow"
        passed = [[check.passed for check in report.checks] for report in told]
        assert passed[0] == passed[1] == [True, True, False, True, True, True, False]
        assert [check.reason for check in told[0].checks] == [check.reason for check in told[1].checks]
