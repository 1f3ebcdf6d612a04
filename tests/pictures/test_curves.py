"""Smoothing, thinning and axes, against what they are defined to be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk.pictures.axes import axis
from trk.pictures.curves import Point, sampled, segments, smoothed, thinned

VALUES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]))
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64).filter(lambda value: abs(value) < 1.7e308)


@given(st.lists(VALUES, max_size=30), st.floats(0, 0.99))
def test_smoothing_is_the_mean_of_what_came_before_by_the_powers_of_the_weight(
    values: list[float], weight: float
) -> None:
    found = smoothed(values, weight)
    past: list[float] = []
    for value, smooth in zip(values, found, strict=True):
        if not math.isfinite(value):
            assert smooth == value or (smooth != smooth and value != value)
            continue
        past.insert(0, value)
        powers = [weight**age for age in range(len(past))]
        mean = sum(power * one for power, one in zip(powers, past, strict=True)) / sum(powers)
        assert smooth == pytest.approx(mean, rel=1e-6, abs=1e-6)


def test_without_weight_nothing_is_smoothed() -> None:
    assert smoothed([3.0, 1.0, 2.0], 0) == [3.0, 1.0, 2.0]


@given(st.lists(VALUES, min_size=1, max_size=400), st.integers(1, 20))
def test_thinning_loses_no_extreme_no_end_and_no_order(values: list[float], buckets: int) -> None:
    points: list[Point] = [(float(at), value) for at, value in enumerate(values)]
    found = thinned(points, buckets)
    assert len(found) <= 6 * buckets
    assert [x for x, _ in found] == sorted({x for x, _ in found})
    assert set(found) <= set(points)
    assert (found[0][0], found[-1][0]) == (points[0][0], points[-1][0]) or len(segments(points)) != 1
    finite = [value for value in values if math.isfinite(value)]
    kept = [y for _, y in found if math.isfinite(y)]
    if finite:
        assert (min(kept), max(kept)) == (min(finite), max(finite))


def test_a_peak_of_one_point_in_100_000_stays() -> None:
    points = [(float(at), 1e6 if at == 54_321 else math.sin(at / 1000)) for at in range(100_000)]
    found = thinned(points, 300)
    assert len(found) <= 1_200
    assert (54_321.0, 1e6) in found
    assert max(sampled([y for _, y in points], 24)) == 1e6


def test_a_gap_parts_a_line_also_when_it_is_thinned() -> None:
    points = [(float(at), math.nan if 400 <= at < 600 else 1.0) for at in range(1000)]
    left, right = segments(thinned(points, 50))
    assert (left[-1][0], right[0][0]) == (399, 600)
    assert segments([(0, 1), (1, math.nan), (2, math.inf), (3, 1), (4, 2)]) == [[(0, 1)], [(3, 1), (4, 2)]]


@given(st.lists(FINITE, min_size=1, max_size=20), st.booleans(), st.integers(1, 12))
def test_every_value_has_its_place_and_ticks_are_within(values: list[float], log: bool, most: int) -> None:
    found = axis(values, log=log)
    for value in values:
        if found.takes(value):
            assert -1e-6 <= found.place(value) <= 1 + 1e-6
    ticks = found.ticks(most)
    assert len(ticks) <= 6 * most + 12
    for value, text in ticks:
        assert text
        assert -0.01 <= found.place(value) <= 1.01


def test_ticks_are_numbers_that_people_like() -> None:
    assert [text for _, text in axis([0, 1]).ticks(5)] == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [text for _, text in axis([0.001, 10], log=True).ticks(5)] == ["0.001", "0.01", "0.1", "1", "10"]
    noon = 1_795_262_400_000
    assert [text for _, text in axis([noon, noon + 3_600_000], kind="time").ticks(4)] == [
        "12:00", "12:15", "12:30", "12:45", "13:00",
    ]  # fmt: skip
    hours = axis([0, 4 * 3600], kind="relative")
    assert (hours.title, [text for _, text in hours.ticks(4)]) == ("hours since the start", ["0", "1", "2", "3", "4"])


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [1e308, -1e308], [1e-320, 2e-320], [1e16, 1e16 + 2]], ids=repr)
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_of_odd_values_is_still_one(values: list[float], log: bool) -> None:
    found = axis(values, log=log, pad=0.05)
    assert found.low < found.high
    assert all(math.isfinite(value) for value, _ in found.ticks(5))
