"""The filter grammar: what it says, what it refuses, and that MLflow's own client agrees."""

from __future__ import annotations

import contextlib
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import costs_at_most
from servers.wandb_parts.select import finite, matches
from servers.wandb_parts.store import Run
from trk.backends._wandb_filter import translated
from trk.backends._wandb_texts import scalar
from trk.backends._wandb_write import tag_of
from trk.errors import UsageError
from trk.query.filters import Condition, Filter, parse
from trk.query.logic import Both, Not, Part, both, either
from trk.query.sorting import parse_sort
from trk.records import RunRecord, Status

START = datetime(2026, 11, 21, 7, 27, 0, 123_000, UTC)
START_MS = 1_795_246_020_123


def record(**fields: Any) -> RunRecord:
    known: dict[str, Any] = {
        "run_id": "01k0000000000000000000000a",
        "name": "first",
        "experiment": "exp",
        "status": Status.FINISHED,
        "source": "local",
        "start_time": START,
        "end_time": START + timedelta(seconds=2),
    }
    return RunRecord(**{**known, **fields})


RUN = record(
    params={"model": "rf", "lr": "0.1", "empty": "", "quote": "it's", "path": "C:\\data", "two words": "x"},
    metrics={"f1": 0.9, "val/f1-macro": 0.8, "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "a.b": 1.0},
    tags={"stage": "Prod", "mlflow.user": "ann", "lines": "one\ntwo"},
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "metrics.f1 > 0.85",
        "metric.f1>=0.9",
        "metrics.f1 = .9",
        "metrics.f1 != 1e-3",
        "metrics.f1 < +1",
        "metrics.f1 < inf",
        "metrics.`val/f1-macro` = 0.8",
        'metrics."val/f1-macro" = 0.8',
        "metrics.a.b = 1",
        "`metrics`.f1 > 0",
        "metrics.inf = inf",
        "metrics.inf = 1.7976931348623157e308",
        "metrics.`-inf` < -1e300",
        "params.model = 'rf'",
        'parameter.model = "rf"',
        "parameters.model != 'RF'",
        "param.model LIKE 'r%'",
        "params.model like '_f'",
        "params.model ILIKE 'R_'",
        "params.empty = ''",
        "params.empty LIKE '%'",
        "params.`two words` = 'x'",
        'params.quote = "it\'s"',
        "params.path = 'C:\\data'",
        "params.other IS NULL",
        "params.model is  not  null",
        "tags.stage = 'Prod' and tag.mlflow.user = 'ann'",
        "tags.lines LIKE 'one%two'",
        "tags.lines LIKE 'one_two'",
        "attributes.status = 'FINISHED'",
        "status != 'FAILED' AND run.status = 'FINISHED' AND attr.status LIKE 'F%'",
        "run_name = 'first' AND attributes.`run name` = 'first' AND \"Run Name\" = 'first'",
        "user_id = 'ann'",
        f"start_time = {START_MS} AND created >= {START_MS} AND attributes.Created < 1.9e12",
        f"end_time > {START_MS + 1999}",
        "run_id IN ('x', '01k0000000000000000000000a')",
        "attributes.run_id not in ('x',)",
        "params.model='rf'AND params.lr='0.1'",
        "metrics.f1 IS NOT NULL AND metrics.nan IS NOT NULL AND metrics.missing IS NULL",
        "end_time IS NOT NULL",
        "metrics.f1 > 1 OR params.model = 'rf'",
        "params.model='rf'OR(metrics.f1 > 1)",
        "metrics.f1 > 0 OR metrics.f1 > 1 AND metrics.f1 > 2",  # AND binds tighter
        "metrics.f1 > 2 AND metrics.f1 > 1 OR metrics.f1 > 0",
        "(metrics.f1 > 0 OR metrics.f1 > 1) AND ((params.lr = '0.1'))",
        "NOT metrics.f1 > 1 AND not (params.model = 'svm' or tags.stage = 'dev')",
        "NOT params.missing = 'x'",
        "NOT NOT params.model = 'rf'",
        "NOT metrics.nan < 1",
    ],
)
def test_it_holds(text: str) -> None:
    assert parse(text).matches_record(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.f1 > 0.9",
        "metrics.missing != 1",
        "metrics.nan != 1",
        "metrics.nan = nan",
        "metrics.f1 != nan",
        "metrics.f1 < nan",
        "params.missing != 'x'",
        "params.missing LIKE '%'",
        "params.missing IS NOT NULL",
        "params.model IS NULL",
        "params.model = 'RF'",
        "params.model LIKE 'R%'",
        "params.model LIKE '_'",
        "params.model LIKE 'rf_'",
        "params.model LIKE 'f'",
        "tags.stage != 'Prod'",
        "status = 'finished'",
        "run_id NOT IN ('01k0000000000000000000000a')",
        "run_id IN ('01k0000000000000000000000A')",
        "params.model = 'rf' AND metrics.f1 > 1",
        "(metrics.f1 > 0 OR metrics.f1 > 1) AND metrics.f1 > 2",
        "NOT (params.model = 'rf' OR metrics.f1 > 1)",
        "metrics.f1 IS NULL OR metrics.nan IS NULL",
        "params.missing = 'x' OR params.missing != 'x'",
    ],
)
def test_it_does_not_hold(text: str) -> None:
    assert not parse(text).matches_record(RUN)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("metrics.f1 >", "character 13: a value is expected after >", None),
        ("metrics.f1", "character 11: a comparator is expected; a metric takes =, !=", None),
        ("metrics.f1 > 1 AND", "character 16: a condition is expected after AND", None),
        ("AND metrics.f1 > 1", "character 1: a field is expected, not AND", "attributes are"),
        ("metrics.f1 > 1 OR", "character 16: a condition is expected after OR", None),
        ("metrics.f1 > 1 XOR metrics.f1 < 0", "character 16: AND, OR or the end is expected", None),
        ("metrics.f1 > 1 params.a = 'x'", "character 16: AND, OR or the end is expected", None),
        ("(metrics.f1 > 1", "character 1: this ( is never closed", None),
        ("params.a = 'x' AND (metrics.f1 > 1 metrics.f1 < 2)", "character 36: AND, OR or ) is expected", None),
        ("metrics.f1 > 1)", "character 15: this ) closes nothing", None),
        ("metrics.f1 > 1 AND ()", "character 21: a condition is expected in the parentheses", None),
        ("(metrics.f1 > 1 OR )", "character 17: a condition is expected after OR", None),
        ("NOT", "character 1: a condition is expected after NOT", None),
        ("(NOT) metrics.f1 > 1", "character 2: a condition is expected after NOT", None),
        ("NOT " * 51 + "metrics.f1 > 1", "more than 50 parentheses and NOTs", None),
        ("metrics.f1 > '1'", "character 14: a number is expected, without quotes", None),
        ("metrics.f1 > 1_000", "character 14: value '1_000' is not a number", None),
        ("metrics.f1 > 0x10", "'0x10' is not a number", None),
        ("metrics.f1 > 1e999", "larger than a double", None),
        ("metrics.f1 LIKE 'x'", "LIKE does not go here; a metric takes =, !=, >, >=, <, <=", None),
        ("run_id IS NULL", "IS NULL does not go here", None),
        ("metrics.f1 == 1", "== is no comparator", "say ="),
        ("params.a <> 'b'", "<> is no comparator", "say !="),
        ("params.lr > 0.1", "> does not go here; a param takes =, !=, LIKE, ILIKE", None),
        ("params.a = rf", "a param is text: its value goes in quotes", "params.a = '…'"),
        ("params.a IN ('x')", "IN does not go here", None),
        ("params.a NOT LIKE 'x'", "NOT LIKE is no comparator", None),
        ("params.a = 'x", "character 12: the quote ' is never closed", None),
        ("params.`a = 'x'", "the quote ` is never closed", None),
        ("params.a = 'it''s'", "the quote ' can't stand inside", "the other kind"),
        ("params. = 'x'", "a name is expected after params.", "params.`name`"),
        ("params.`` = 'x'", "a name is expected after params.", None),
        ("metrics.val/f1 > 1", "'/' can't stand in a bare name", "metrics.`val/f1`"),
        ("metrics.val-loss>1", "'-' can't stand in a bare name", "metrics.`val-loss`"),
        ("f1 > 0.8", "runs have no attribute 'f1'", "others are metrics."),
        ("attributes.nope = 'x'", "runs have no attribute 'nope'", "run_name"),
        ("lifecycle_stage = 'active'", "no attribute 'lifecycle_stage'", None),
        ("Metrics.f1 > 1", "'Metrics' is no kind of field", "metrics."),
        ("dataset.name = 'x'", "'dataset' is no kind of field", None),
        ("status IN ('RUNNING')", "IN does not go here", None),
        ("run_id IN ()", "the list is empty", None),
        ("run_id IN ('a' 'b')", "a comma or ) is expected", None),
        ("run_id IN 'a'", "a list in parentheses is expected", None),
        ("run_id IN ('a'", "a comma or ) is expected", None),
        ("run_id IN (1)", "a text in quotes is expected in the list", None),
        ("params.a = 'x'; DROP TABLE runs", "; is not in the grammar: this is a filter, not SQL", None),
        ("params.a = 'x' -- comment", "AND, OR or the end is expected", None),
        ("1=1", "runs have no attribute '1'", None),
        ("' OR 1=1", "a field is expected", None),
        ("SELECT * FROM runs", "runs have no attribute 'SELECT'", None),
        ("0.5 < metrics.f1", "'0' is no kind of field", None),
        ("metrics.\x1b[31m > 1", "can't stand in a bare name", None),
        ("\x00", "contains a NUL", None),
        ("\udcff", "not valid UTF-8", None),
    ],
)
def test_it_is_refused_in_one_line(text: str, says: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert says in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
    assert caught.value.message.isprintable()


def test_ilike_folds_letters_of_any_script_but_ascii_only_meets_ascii() -> None:
    run = record(params={"accent": "É", "kelvin": "\u212a"})
    assert parse("params.accent ILIKE 'é'").matches_record(run)
    # SQLite's lower() leaves the Kelvin sign alone: were it a k here, MLflow would leave this run out first.
    assert not parse("params.kelvin ILIKE 'k'").matches_record(run)


def test_a_long_filter_is_shown_where_it_is_wrong() -> None:
    with pytest.raises(UsageError) as caught:
        parse(" AND ".join(["metrics.f1 > 0.5"] * 100) + " OR x")
    assert "OR x" in caught.value.message
    assert len(caught.value.message) < 160


def test_too_long_a_filter_is_refused() -> None:
    with pytest.raises(UsageError, match="20001 characters; at most 20000"):
        parse(" " * 20_001)


@pytest.mark.parametrize(
    "text",
    [
        " AND ".join(["a.b"] * 4000),
        "(" * 20_000,
        "run_id IN (" + "'a', " * 3900 + ")",
        "metrics.f1 IS" + " " * 19_900,
        "params.a LIKE '" + "%a" * 9000 + "'",
        "status NOT" + " " * 19_900 + "x",
        "`" + "a" * 19_998,
    ],
)
def test_hostile_length_costs_no_time(text: str) -> None:
    with costs_at_most(2), contextlib.suppress(UsageError):
        parse(text).matches_record(record(params={"a": "a" * 5000 + "b"}))


def test_fields_are_what_it_needs() -> None:
    found = parse("metrics.f1 > 1 AND params.a = 'x' AND created > 0 AND metrics.f1 < 2")
    assert found.fields == {("metric", "f1"), ("param", "a"), ("attribute", "start_time")}
    assert len(found.conditions) == 4


def test_artifact_uri_is_parsed_but_no_record_can_answer() -> None:
    asked = parse("artifact_uri LIKE 's3:%'")
    assert asked.fields == {("attribute", "artifact_uri")}
    with pytest.raises(UsageError, match="does not know the artifact_uri"):
        asked.matches_record(RUN)


@pytest.mark.parametrize(
    ("text", "pushed"),
    [
        ("", ""),
        ("metric.f1>+.5", "metrics.f1 > 0.5"),
        ("metrics.f1 < 1e+22", "metrics.f1 < 1e22"),
        ("metrics.f1 < inf AND metrics.f1 != nan", ""),
        ("params.a = 'x' AND run_id = 'y' AND user_id = 'z'", "params.a = 'x'"),
        ('params.a = "it\'s"', 'params.a = "it\'s"'),
        ("params.a = 'C:\\x'", ""),
        ("params.a = 'one\ntwo'", ""),
        ("params.a LIKE 'a_b%'", "params.a LIKE 'a%b%'"),
        ("params.a LIKE '[x]'", ""),
        ("params.a ILIKE 'É'", ""),
        ("params.a LIKE 'É'", "params.a LIKE 'É'"),
        ("params.a IS NULL", ""),  # older servers do not know it
        ("params.a IS NOT NULL", "params.a LIKE '%'"),
        ("tags.`a b` != 'x'", "tags.`a b` != 'x'"),
        ("status = 'FINISHED'", "attributes.status = 'FINISHED'"),
        ("status = 'RUNNING'", ""),
        ("status LIKE 'R%'", ""),
        ("created > 1.5 AND created > 1e30", ""),
        ("created > 1.7e12", "attributes.start_time > 1700000000000"),
        ("`run name` ILIKE 'a'", "attributes.run_name ILIKE 'a'"),
        ("metrics.f1 IS NOT NULL AND metrics.f1 IS NULL AND end_time IS NOT NULL", ""),  # MLflow has none of these
        ("params.a = 'x' OR params.b = 'y'", ""),
        ("params.a = 'x' AND (params.b = 'y' OR NOT params.c = 'z')", "params.a = 'x'"),
        ("(params.a = 'x' AND (params.b = 'y'))", "params.a = 'x' AND params.b = 'y'"),
        ("NOT params.a = 'x'", ""),
    ],
)
def test_what_mlflow_may_filter_first(text: str, pushed: str) -> None:
    assert parse(text).mlflow_text == pushed


def test_not_more_is_pushed_than_sqlite_can_join() -> None:
    assert parse(" AND ".join(["params.a = 'x'"] * 200)).mlflow_text.count("params.a") == 30


# What is likely to be nearly right, beside what is plainly wrong.
WORDS = (
    "metrics . f1 params model tags status run_id start_time ` ' \" ( ) , = != > >= < <=",
    "LIKE ILIKE IN NOT IS NULL AND OR ) ( NOT 0.5 -1e-3 nan inf 'x' `a ; -- == <> % _ \\ é \u202e \x1b",
)
PIECES = st.sampled_from([*" ".join(WORDS).split(" "), "\n"])


@given(st.text() | st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, max_size=12).map(" ".join))
@example("metrics.")
@example("run_id IN (")
@settings(max_examples=500)
def test_whatever_the_text_nothing_but_a_usage_error_is_raised(text: str) -> None:
    found, message = None, ""
    try:
        found = parse(text)
    except UsageError as error:
        message = error.message
    assert message.isprintable()
    assert len(message) < 300
    if found is not None:
        parse(found.mlflow_text)
        if ("attribute", "artifact_uri") not in found.fields:
            found.matches_record(RUN)


LETTERS = "abAB%_' \"\\é.É-\n"
texts = st.text(LETTERS, max_size=6)
constants = texts.filter(lambda text: not ("'" in text and '"' in text))
KEYS = ("a", "b", "a.b", "val/f1", "two words", "x-y")
keys = st.sampled_from(KEYS)
NUMBERS = (0.0, -0.5, 1.0, 1e-7, 1e22, 2.5e300)
numbers = st.sampled_from(NUMBERS) | st.floats(width=32)
numeric = st.sampled_from(["=", "!=", ">", ">=", "<", "<="])


def conditions(*, plain: bool = False) -> st.SearchStrategy[Condition]:
    """Any condition; `plain`: without what MLflow reads otherwise or not at all (infinity, backslashes)."""
    words = constants.filter(lambda text: "\\" not in text) if plain else constants
    finite = numbers.filter(lambda number: abs(number) < 1e308) if plain else numbers
    times = st.integers(START_MS - 3, START_MS + 3).map(float)
    operators = ["=", "!=", "LIKE"] if plain else ["=", "!=", "LIKE", "ILIKE"]
    compared = st.sampled_from(operators)
    fields = st.sampled_from(["param", "tag"])
    found = [
        st.builds(Condition, st.just("metric"), keys, numeric, finite),
        st.builds(Condition, fields, keys, compared, words),
        st.builds(Condition, fields, keys, st.just("ILIKE"), words.filter(str.isascii)),
        st.builds(Condition, fields, keys, st.sampled_from(["IS NULL", "IS NOT NULL"]), st.none()),
        st.builds(Condition, st.just("attribute"), st.just("start_time"), numeric, times),
        st.builds(Condition, st.just("attribute"), st.sampled_from(["run_name", "status"]), compared, words),
        st.builds(
            Condition,
            st.just("attribute"),
            st.just("status"),
            compared,
            st.sampled_from(["RUNNING", "FINISHED", "FAILED", "%D", "F%"]),
        ),
    ]
    if not plain:
        some = st.lists(words, min_size=1, max_size=3).map(tuple)
        found.append(
            st.builds(Condition, st.just("attribute"), st.just("run_id"), st.sampled_from(["IN", "NOT IN"]), some)
        )
        nulls = st.sampled_from(["IS NULL", "IS NOT NULL"])
        found.append(st.builds(Condition, st.just("metric"), keys, nulls, st.none()))
        found.append(st.builds(Condition, st.just("attribute"), st.just("end_time"), nulls, st.none()))
    return st.one_of(found)


def trees(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Part]:
    """Conditions joined in every way, as the parser joins them."""

    def joined(parts: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
        some = st.lists(parts, min_size=1, max_size=3)
        return st.one_of(some.map(both), some.map(either), parts.map(Not))

    return st.recursive(leaves, joined, max_leaves=6)


@given(trees(conditions()))
def test_a_filter_says_what_parses_back_to_it(asked: Part) -> None:
    found = parse(str(asked))
    assert repr(both(found.conditions)) == repr(asked)
    assert parse(found.whole_text).whole_text == found.whole_text


@pytest.mark.parametrize(
    "text",
    [
        "NOT " * 50 + "metrics.f1 > 1",
        "NOT (" * 25 + "metrics.f1 > 1 OR metrics.f1 < 0" + ")" * 25,
        "metrics.a > 1 OR metrics.b > 1 AND (" * 50 + "metrics.c > 1" + ")" * 50,
    ],
)
def test_the_deepest_filter_parses_back(text: str) -> None:
    found = parse(text)
    assert parse(found.whole_text).conditions == found.conditions


@given(st.lists(conditions(), max_size=4), st.sampled_from([" AND ", "  and\n", " And "]))
def test_a_condition_says_what_parses_back_to_it(asked: list[Condition], joint: str) -> None:
    back = parse(joint.join(map(str, asked))).conditions
    assert [repr(condition) for condition in back] == [repr(condition) for condition in asked]  # nan != nan


def oracle(condition: Condition, run: RunRecord) -> bool:
    """The same question, answered another way: LIKE by one regular expression, numbers by cases."""
    known: dict[str, Any] = {
        "metric": run.metrics,
        "param": run.params,
        "tag": run.tags,
        "attribute": {
            "run_id": run.run_id,
            "run_name": run.name,
            "status": run.status.value,
            "start_time": round(run.start_time.timestamp() * 1000) if run.start_time else None,
            "end_time": round(run.end_time.timestamp() * 1000) if run.end_time else None,
        },
    }
    found, value = known[condition.entity].get(condition.key), condition.value
    match condition.comparator:
        case "IS NULL":
            return found is None
        case "IS NOT NULL":
            return found is not None
    if found is None or found != found or value != value:
        return False
    match condition.comparator:
        case "LIKE" | "ILIKE":
            pattern = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in value)
            flags = re.DOTALL | (re.IGNORECASE if condition.comparator == "ILIKE" else 0)
            return re.fullmatch(pattern, found, flags) is not None
        case "IN" | "NOT IN":
            return (found in value) is (condition.comparator == "IN")
    order = (found > value) - (found < value)
    return order in {"=": [0], "!=": [-1, 1], ">": [1], ">=": [0, 1], "<": [-1], "<=": [-1, 0]}[condition.comparator]


runs = st.builds(
    record,
    run_id=texts,
    name=texts,
    status=st.sampled_from(Status),
    start_time=st.none() | st.integers(-3, 3).map(lambda ms: START + timedelta(milliseconds=ms)),
    params=st.dictionaries(keys, texts),
    tags=st.dictionaries(keys, texts),
    metrics=st.dictionaries(keys, numbers),
)


def brute(part: Part, run: RunRecord) -> bool:
    """Whether a tree of conditions holds, by counting."""
    if isinstance(part, Condition):
        return oracle(part, run)
    if isinstance(part, Not):
        return not brute(part.part, run)
    holding = [brute(one, run) for one in part.parts].count(True)
    return holding == len(part.parts) if isinstance(part, Both) else holding > 0


@given(st.lists(trees(conditions()), max_size=3), runs)
@settings(max_examples=500)
def test_it_agrees_with_brute_force(asked: list[Part], run: RunRecord) -> None:
    assert Filter("", tuple(asked)).matches_record(run) == all(brute(part, run) for part in asked)


@given(trees(conditions()), st.lists(runs, min_size=1, max_size=5))
def test_what_is_pushed_admits_what_the_whole_admits(asked: Part, given_runs: list[RunRecord]) -> None:
    found = parse(str(asked))
    pushed = parse(found.mlflow_text)
    assert not any(found.matches_record(run) and not pushed.matches_record(run) for run in given_runs)


def at_wandb(run: RunRecord) -> Run:
    """A run as the W&B test server has it: what is no JSON as text, params as what they say, tags as one text."""
    made = Run(1, "tester", "project", "id", 0.0, display_name=run.name)
    made.full_config = {key: {"value": scalar(text)} for key, text in run.params.items()}
    made.summary = {key: finite(value) for key, value in run.metrics.items()}
    tags = {key: tag_of(key, text) for key, text in run.tags.items()}
    made.tags = [tag for tag in tags.values() if tag is not None]
    return made


simple = st.one_of(
    conditions(),
    st.builds(Condition, st.just("param"), st.sampled_from("ab"), st.just("="), st.sampled_from(["0.1", "rf", "null"])),
    st.builds(Condition, st.just("metric"), st.sampled_from("ab"), numeric, st.sampled_from(NUMBERS)),
)
at_both = st.builds(
    record,
    name=texts,
    params=st.dictionaries(
        st.sampled_from("ab"), st.sampled_from(["0.1", "0.10", "1e-1", "rf", "null", "true"]) | texts
    ),
    tags=st.dictionaries(st.sampled_from("ab"), texts),
    metrics=st.dictionaries(st.sampled_from("ab"), st.sampled_from([*NUMBERS, math.nan, math.inf, -math.inf])),
)


@given(trees(simple), st.lists(at_both, min_size=1, max_size=6))
@settings(max_examples=300)
@example(parse("metrics.a IS NOT NULL OR params.a = 'rf'").conditions[0], [record(metrics={"a": math.nan})])
def test_what_wandb_filters_first_is_never_too_little(asked: Part, given_runs: list[RunRecord]) -> None:
    found = parse(str(asked))
    wanted = translated(found.whole_text)
    ours = [run for run in given_runs if found.matches_record(run)]
    assert [run for run in ours if not matches(at_wandb(run), wanted)] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.a IS NOT NULL", {"summary_metrics.a": {"$exists": True}}),
        ("metrics.a IS NULL", None),  # a table in the summary is there, too, and is no metric
        (
            "params.a = 'rf' OR run_name = 'x'",
            {"$or": [{"config.a": {"$in": ["rf"]}}, {"display_name": "x"}]},
        ),
        ("params.a = 'rf' OR metrics.`val/f1` > 1", None),
        ("NOT params.a = 'rf'", None),
        ("(params.a = 'rf' AND run_name LIKE 'x') OR run_name = 'y'", {"$or": [
            {"$and": [{"config.a": {"$in": ["rf"]}}]}, {"display_name": "y"}]}),
    ],
)  # fmt: skip
def test_what_wandb_may_filter_first(text: str, wanted: dict[str, Any] | None) -> None:
    assert translated(parse(text).whole_text) == ({"$and": [wanted]} if wanted else {})


def test_sorting_puts_missing_and_nan_last_in_either_direction() -> None:
    given_runs = [
        record(name="none"),
        record(name="high", metrics={"f1": 0.9}),
        record(name="nan", metrics={"f1": math.nan}),
        record(name="inf", metrics={"f1": math.inf}),
        record(name="low", metrics={"f1": 0.1}),
    ]
    up = [run.name for run in parse_sort("metrics.f1").sorted(given_runs)]
    down = [run.name for run in sorted(given_runs, key=parse_sort("metrics.f1 DESC").key)]
    assert up == ["low", "high", "inf", "nan", "none"]
    assert down == ["inf", "high", "low", "nan", "none"]


def test_params_that_are_numbers_sort_as_numbers_before_words() -> None:
    given_runs = [record(name=text, params={"lr": text}) for text in ["10", "b", "9", "1e-3", "a", "nan"]]
    assert [run.name for run in parse_sort("params.lr").sorted(given_runs)] == [
        "1e-3",
        "9",
        "10",
        "a",
        "b",
        "nan",
    ]
    down = [run.name for run in parse_sort("params.lr desc").sorted(given_runs)]
    assert down == ["b", "a", "10", "9", "1e-3", "nan"]


@pytest.mark.parametrize(
    ("text", "field", "descending"),
    [
        ("metrics.val/f1 desc", ("metric", "val/f1"), True),
        ("metrics.`two words`", ("metric", "two words"), False),
        ("params.lr ASC", ("param", "lr"), False),
        ("attributes.start_time", ("attribute", "start_time"), False),
        ("created desc", ("attribute", "start_time"), True),
        ("name", ("attribute", "run_name"), False),
        ("duration", ("attribute", "duration"), False),
        ("tags.mlflow.user", ("tag", "mlflow.user"), False),
    ],
)
def test_sort_keys(text: str, field: tuple[str, str], descending: bool) -> None:
    found = parse_sort(text)
    assert ((found.entity, found.field), found.descending) == (field, descending)
    assert len(found.sorted([RUN, record(end_time=None, start_time=None)])) == 2


@pytest.mark.parametrize("text", ["", "f1", "metrics.", "foo.bar", "desc", "attributes.x", "\x1b[31m", "x" * 2000])
def test_sort_keys_that_name_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sort(text)
    assert caught.value.message.isprintable()


@given(st.text() | st.lists(PIECES, max_size=5).map(" ".join), st.lists(runs, max_size=4))
def test_any_sort_key_is_refused_or_sorts(text: str, given_runs: list[RunRecord]) -> None:
    try:
        found = parse_sort(text)
    except UsageError:
        return
    assert len(found.sorted(given_runs)) == len(given_runs)


@dataclass
class Store:
    """An MLflow store on SQLite, and the records of what is in it."""

    client: Any
    experiment_id: str
    records: dict[str, RunRecord] = field(default_factory=dict)

    def add(self, run: RunRecord) -> None:
        from mlflow.entities import Metric, Param, RunTag

        start = parse_sort("start_time").key(run)[1]
        made = self.client.create_run(self.experiment_id, start_time=int(start), run_name=run.name)
        self.client.log_batch(
            made.info.run_id,
            [Metric(key, value, 1, 0) for key, value in run.metrics.items()],
            [Param(key, value) for key, value in run.params.items()],
            [RunTag(key, value) for key, value in run.tags.items()],
        )
        if run.status is not Status.RUNNING:
            self.client.set_terminated(made.info.run_id, status=run.status.value)
        self.records[made.info.run_id] = read_back(self.client.get_run(made.info.run_id))

    def search(self, text: str) -> set[str]:
        return {run.info.run_id for run in self.client.search_runs([self.experiment_id], text)}

    def without_nan(self, asked: Filter) -> set[str]:
        """The runs that have no NaN where the filter looks: there MLflow's != holds, and ours does not."""
        names = [key for entity, key in asked.fields if entity == "metric"]
        return {
            run_id
            for run_id, run in self.records.items()
            if not any(math.isnan(run.metrics.get(name, 0)) for name in names)
        }


def read_back(run: Any) -> RunRecord:
    return record(
        run_id="trk:" + run.info.run_id,
        name=run.info.run_name,
        status=Status(run.info.status),
        start_time=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=run.info.start_time),
        params=run.data.params,
        tags=run.data.tags,
        metrics=run.data.metrics,
    )


def random_run(chance: random.Random) -> RunRecord:
    def text() -> str:
        return "".join(chance.choices(LETTERS, k=chance.randrange(4)))

    def some(value: Callable[[], Any]) -> dict[str, Any]:
        return {key: value() for key in KEYS if chance.random() < 0.6}

    return record(
        name="".join(chance.choices("abAB%é", k=chance.randrange(1, 4))),
        status=chance.choice(list(Status)),
        start_time=START + timedelta(milliseconds=chance.randint(-3, 3)),
        params=some(text),
        tags=some(text),
        metrics=some(lambda: chance.choice([*NUMBERS, math.nan, math.inf, -math.inf])),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    tracking = pytest.importorskip("mlflow.tracking", reason="needs the mlflow extra")
    folder = tmp_path_factory.mktemp("mlflow")
    client = tracking.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    made = Store(client, client.create_experiment("filters", artifact_location=f"file://{folder}/artifacts"))
    chance = random.Random(7)
    for _ in range(60):
        made.add(random_run(chance))
    yield made
    client._tracking_client.store._dispose_engine()


@pytest.mark.mlflow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's use of SQLAlchemy 2.1
@given(asked=st.lists(trees(conditions()), max_size=3).map(lambda parts: parse(" AND ".join(map(str, parts)))))
@settings(max_examples=30, deadline=None)  # a search takes as long as SQLite takes
def test_what_mlflow_filters_first_is_never_too_little(store: Store, asked: Filter) -> None:
    ours = {run_id for run_id, run in store.records.items() if asked.matches_record(run)}
    assert ours <= store.search(asked.mlflow_text)


@pytest.mark.mlflow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's use of SQLAlchemy 2.1
@given(asked=st.lists(conditions(plain=True), max_size=3).map(lambda parts: parse(" AND ".join(map(str, parts)))))
@settings(max_examples=100, deadline=None)  # a search takes as long as SQLite takes
def test_mlflow_gives_the_same_runs(store: Store, asked: Filter) -> None:
    certain = store.without_nan(asked)
    ours = {run_id for run_id, run in store.records.items() if asked.matches_record(run)}
    assert ours & certain == store.search(asked.text) & certain
