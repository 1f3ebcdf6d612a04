"""Planning batches: nothing is lost, doubled or out of order, and no call carries more than a backend takes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk.backends.base import Limits
from trk.delivery.plan import Batch, batches
from trk.records import FILES, Kind, Row

NOW = 1_763_726_400_123
PLAIN = (Kind.METRIC, Kind.PARAM, Kind.TAG)

names = st.text(st.sampled_from("ab/é模𝒜"), min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
values = st.dictionaries(names, st.floats(), min_size=1, max_size=9)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Rows of a run from any place in it."""
    first = draw(st.integers(1, 10**6))
    kinds = draw(st.lists(st.sampled_from(Kind), max_size=30))
    return [draw(row(n, kind)) for n, kind in enumerate(kinds, first)]


def row(n: int, kind: Kind) -> st.SearchStrategy[Row]:
    if kind is Kind.METRIC:
        return st.builds(Row, st.just(n), st.just(kind), st.just(NOW), step=st.integers(0, 9), values=values)
    if kind is Kind.SUMMARY:
        number = st.builds(
            lambda key, value: Row(n, kind, NOW, key=key, step=0, values={key: value}), names, st.floats()
        )
        return number | st.builds(lambda key: Row(n, kind, NOW, key=key, text='"so"'), names)
    return st.builds(lambda key, text: Row(n, kind, NOW, key=key, text=text), names, texts)


limits = st.builds(Limits, st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.integers(300, 3000))


def planned(given: Sequence[Row], within: Limits = Limits()) -> list[Batch]:  # noqa: B008 - it is frozen
    return list(batches(given, within))


def pieces(given: Sequence[Row]) -> list[tuple[int, Kind, str | None, str | None, str]]:
    """Rows as what they say, value by value, in a form that compares NaN."""
    return [
        (row.n, row.kind, row.key, row.text, repr(value))
        for row in given
        for value in (list(row.values.items()) or [None])
    ]


def alone(row: Row) -> bool:
    """What is no plain value keeps its place by going alone."""
    return row.kind not in PLAIN and not row.values


@given(rows(), limits)
def test_every_value_is_there_once_and_in_order(given: list[Row], within: Limits) -> None:
    sent = [row for batch in planned(given, within) for row in batch.rows]
    assert pieces(sent) == pieces(given)


@given(rows(), limits)
def test_no_batch_has_more_metrics_params_or_tags_than_allowed(given: list[Row], within: Limits) -> None:
    for batch in planned(given, within):
        assert sum(len(row.values) for row in batch.rows) <= within.metrics
        assert sum(row.kind is Kind.PARAM for row in batch.rows) <= within.params
        assert sum(row.kind is Kind.TAG for row in batch.rows) <= within.tags


@given(rows(), limits)
def test_upto_is_the_last_row_that_is_whole(given: list[Row], within: Limits) -> None:
    last = {row.n: index for index, batch in enumerate(planned(given, within)) for row in batch.rows}
    for index, batch in enumerate(planned(given, within)):
        whole = [row.n for row in given if last[row.n] <= index]
        assert batch.upto == max(whole, default=given[0].n - 1)


@given(rows(), limits)
def test_no_row_is_twice_in_one_batch(given: list[Row], within: Limits) -> None:
    # The deliverer halves a refused batch and moves the cursor between its rows.
    for batch in planned(given, within):
        assert len({row.n for row in batch.rows}) == len(batch.rows)


def all_files(rows: Sequence[Row]) -> bool:
    return all(row.kind in FILES for row in rows)


@given(rows(), limits)
def test_what_is_no_plain_value_goes_alone(given: list[Row], within: Limits) -> None:
    for batch in planned(given, within):
        assert len(batch.rows) == 1 or not any(alone(row) for row in batch.rows) or all_files(batch.rows)


@given(rows())
def test_neighbours_that_fit_go_together(given: list[Row]) -> None:
    for before, after in zip(found := planned(given), found[1:], strict=False):
        last, first = before.rows[-1], after.rows[0]
        assert alone(last) or alone(first)
        assert not all_files((last, first))


def as_mlflow_counts(batch: Batch) -> int:
    """The bytes of the JSON that MLflow's client makes of a batch."""
    body = {
        "run_id": "f" * 32,
        "metrics": [
            {"key": key, "value": value, "timestamp": row.time_ms, "step": row.step}
            for row in batch.rows
            for key, value in row.values.items()
        ],
        "params": [{"key": row.key, "value": row.text} for row in batch.rows if row.kind is Kind.PARAM],
        "tags": [{"key": row.key, "value": row.text} for row in batch.rows if row.kind is Kind.TAG],
    }
    return len(json.dumps(body))


@pytest.mark.parametrize("char", ["a", "\x01", '"', "é", "模", "𝒜"])
def test_no_request_is_larger_than_mlflow_takes_whatever_the_letters(char: str) -> None:
    name = char * 240 if char.isalpha() else "n" * 240  # others may be in a text, not in a name
    rows = [
        Row(n, Kind.METRIC, NOW, step=2**62, values={f"{name}{n}": -1.2345678901234567e-300}) for n in range(1, 2001)
    ]
    rows += [Row(2000 + n, Kind.PARAM, NOW, key=f"{name}{n}", text=char * 6000) for n in range(1, 200)]
    rows += [Row(2200 + n, Kind.TAG, NOW, key=f"{name}{n}", text=char * 8000) for n in range(1, 200)]
    assert all(as_mlflow_counts(batch) <= 1_000_000 for batch in planned(rows))


@given(st.lists(st.tuples(names, texts), min_size=1, max_size=40), st.integers(500, 4000))
def test_batches_of_several_rows_stay_within_the_bytes(given: list[tuple[str, str]], most: int) -> None:
    rows = [Row(n, Kind.PARAM, NOW, key=key, text=text) for n, (key, text) in enumerate(given, 1)]
    for batch in planned(rows, Limits(bytes=most)):
        assert len(batch.rows) == 1 or as_mlflow_counts(batch) - 80 <= most


def test_a_row_of_3000_values_is_parted() -> None:
    row = Row(7, Kind.METRIC, NOW, step=3, values={f"m{n}": float(n) for n in range(3000)})
    found = planned([Row(6, Kind.PARAM, NOW, key="p", text="1"), row, Row(8, Kind.TAG, NOW, key="t", text="1")])
    assert [batch.upto for batch in found] == [6, 6, 8]
    assert [row.n for row in found[-1].rows] == [7, 8]
    assert {key: value for batch in found for row in batch.rows for key, value in row.values.items()} == row.values
    assert all((row.step, row.time_ms) == (3, NOW) for batch in found for row in batch.rows if row.values)


def test_a_text_larger_than_a_call_still_goes() -> None:
    rows = [Row(n, Kind.TAG, NOW, key="t", text="x" * 10**6) for n in (1, 2)]
    assert [len(batch.rows) for batch in planned(rows, Limits(bytes=1000))] == [1, 1]


def test_no_rows_make_no_batch() -> None:
    assert planned([]) == []


def test_a_line_of_a_history_is_never_parted() -> None:
    row = Row(1, Kind.METRIC, 0, step=0, values={f"m{n}": float(n) for n in range(50)})
    assert [batch.rows for batch in batches([row], Limits(metrics=8, lines=True))] == [(row,)]
