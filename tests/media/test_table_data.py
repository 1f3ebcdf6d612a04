"""Tables of Python's data: frames, mappings, rows; what JSON can't hold is refused by its column."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk.errors import UsageError
from trk.media.table_cells import Parsed
from trk.media.tables import from_data

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=5,
)


class Color(Enum):
    RED = 1


class Level(IntEnum):
    HIGH = 3


class Split(StrEnum):
    TRAIN = "train"


def rows(data: Any, columns: list[str] | None = None) -> tuple[list[str], list[Any]]:
    found = from_data(data, columns)
    return found.columns, list(found.rows)


def value(given_: Any) -> Any:
    """What one value of a cell becomes."""
    return rows([{"a": given_}])[1][0][0]


def refused(data: Any, columns: Any = None) -> str:
    def take() -> None:
        list(from_data(data, columns).rows)

    with pytest.raises(UsageError) as caught:
        take()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    return caught.value.message


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), min_size=1, max_size=5))
def test_every_way_to_give_a_table_says_the_same(table: list[list[Any]]) -> None:
    found = [
        rows(table, ["a", "b"]),
        rows([dict(zip("ab", row, strict=True)) for row in table]),
        rows({"a": [row[0] for row in table], "b": tuple(row[1] for row in table)}),
        rows((tuple(row) for row in table), ["a", "b"]),
    ]
    for columns, values in found:
        assert columns == ["a", "b"]
        assert json.dumps(values) == json.dumps(table)


def test_rows_come_from_anything_that_has_rows() -> None:
    objects = [{"a": 1}, OrderedDict(a=2), MappingProxyType({"a": 3})]
    for data in (objects, tuple(objects), deque(objects), iter(objects)):
        assert rows(data) == (["a"], [[1], [2], [3]])
    assert rows(((1, "x") for _ in range(2)), ["a", "b"])[1] == [[1, "x"], [1, "x"]]
    assert rows({"a": range(2), "b": deque("xy")})[1] == [[0, "x"], [1, "y"]]


def test_the_columns_of_mappings_are_all_keys_and_what_one_lacks_is_none() -> None:
    assert rows([{"b": 1}, {"a": 2}, {}]) == (["b", "a"], [[1, None], [None, 2], [None, None]])
    assert rows([{"b": 1}, {"a": 2}], ["a", "b"]) == (["a", "b"], [[None, 1], [2, None]])
    assert rows({"b": [1], "a": [2]}, ["a", "b"]) == (["a", "b"], [[2, 1]])


def test_a_mapping_of_single_values_is_one_row() -> None:
    assert rows({"a": 1, "b": "text", "c": None, "d": {"x": 1}}) == (
        ["a", "b", "c", "d"],
        [[1, "text", None, {"x": 1}]],
    )


def test_labels_that_are_whole_numbers_become_their_text() -> None:
    assert rows([{0: "x", 1: "y"}]) == (["0", "1"], [["x", "y"]])
    assert rows({0: [1]}, ["0"]) == (["0"], [[1]])
    assert "'1' is there twice" in refused({1: [1], "1": [2]})


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (Level.HIGH, 3),
        (Split.TRAIN, "train"),
        (Color.RED, "RED"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2), "01:02:00"),
        (timedelta(0), "PT0S"),
        (timedelta(1), "P1D"),
        (timedelta(days=1, hours=2, seconds=63, microseconds=500), "P1DT2H1M3.0005S"),
        (timedelta(seconds=-1), "-PT1S"),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({1: {"x": (1,)}}, {"1": {"x": [1]}}),
        (Decimal(5), 5),
        (Decimal("5.00"), 5.0),
        (Decimal("1.10"), 1.1),
        (Decimal("1E+3"), 1000),
        (Decimal("NaN"), math.nan),
        (Decimal("sNaN"), math.nan),
        (Decimal("-Infinity"), -math.inf),
        (Decimal(12345678901234567890), "12345678901234567890"),
        (Decimal("0.12345678901234567890123"), "0.12345678901234567890123"),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("1E-400"), "1E-400"),
        (Decimal("1E+99999999"), "1E+99999999"),
    ],
    ids=str,
)
def test_a_value_becomes_what_json_has(given_: Any, kept: Any) -> None:
    for found in (value(given_), value([given_])[0], value({"x": given_})["x"]):
        assert type(found) is type(kept)
        assert json.dumps(found) == json.dumps(kept)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (2**63, "9223372036854775808 does not fit 64 bits"),
        (-(2**63) - 1, "does not fit 64 bits"),
        (10**5000, "does not fit 64 bits"),
        (b"x", "a value of type bytes is not JSON"),
        (bytearray(b"x"), "bytearray"),
        (object(), "a value of type object"),
        (1j, "a value of type complex"),
        ({1, 2}, "a value of type set"),
        (Fraction(1, 3), "a value of type Fraction"),
        (Exception, "the class Exception"),
        (Split, "the class Split"),
        (iter([]), "list_iterator"),
        ("\ud800", "text '\\ud800' is not valid UTF-8"),
        ("a\0b", "contains a NUL"),
        ({"\ud800": 1}, "is not valid UTF-8"),
        ({(1, 2): 3}, "a key of type tuple"),
        ({None: 3}, "a key of type NoneType"),
        ({True: 3}, "a key of type bool"),
        ({1: 2, "1": 3}, "has a key twice"),
        ("x" * 10_000_001, "at most 10000000"),
    ],
    ids=lambda bad: str(type(bad).__name__),
)
def test_what_json_can_not_hold_is_refused_by_column_and_type(bad: Any, says: str) -> None:
    for given_ in (bad, [bad], {"x": bad}):
        line = refused([{"a": 1, "loss": given_}])
        assert line.startswith("column 'loss'")
        assert says in line


def test_values_are_nested_200_levels_and_no_more() -> None:
    deep: Any = []
    for _ in range(199):
        deep = [deep]
    assert value(deep) == deep
    assert "nested too deeply" in refused([{"a": [deep]}])
    circle: list[Any] = []
    circle.append(circle)
    assert "nested too deeply" in refused([{"a": circle}])


@pytest.mark.parametrize(
    ("data", "columns", "says"),
    [
        (None, None, "not NoneType"),
        (5, None, "not int"),
        ("a,b", None, "not str"),
        (b"a,b", None, "not bytes"),
        ([], None, "has no rows"),
        (iter([]), None, "has no rows"),
        ({}, None, "at least one column"),
        ([{}], None, "at least one column"),
        ({"a": []}, None, "has no rows"),
        ([1], None, "row 1 is 1"),
        (["text"], None, "row 1 is 'text'"),
        ([[1]], None, "need columns"),
        ([[1], [1, 2]], ["a"], "row 2 has 2 values, where the columns named are 1"),
        ([[1], 2], ["a"], "row 2 is 2"),
        ([{"a": 1}, [2]], None, "row 2 is no mapping"),
        ([[1], {"a": 1}], ["a"], "row 2 is"),
        ({"a": [1, 2], "b": [1]}, None, "column 'b' has 1 value, and column 'a' has 2"),
        ({"a": [1], "b": 2}, None, "column 'b' is one value"),
        ({"a": "text", "b": [1]}, None, "column 'a' is one value"),
        ([{"a": 1}], ["b"], "'b' is not in the table"),
        ([{"a": 1, "b": 2}], ["b"], "'a' of the table is not among"),
        ([{"a": 1}], "a", "must be a list of names"),
        ([[1, 2]], ["a", "a"], "'a' is there twice"),
        ([{"a\nb": 1}], None, "invisible"),
        ({None: [1]}, None, "must be text, not NoneType"),
        ({f"c{number}": 1 for number in range(10_001)}, None, "at most 10000 columns"),
    ],
)
def test_what_is_no_table_is_refused(data: Any, columns: Any, says: str) -> None:
    assert says in refused(data, columns)


def test_columns_are_known_before_rows_are_taken() -> None:
    found = from_data([{"a": 1}, {"a": object()}])
    assert isinstance(found, Parsed)
    assert found.columns == ["a"]
    assert next(found.rows) == [1]
    with pytest.raises(UsageError):
        next(found.rows)


# ---- numpy, pandas, polars


def test_numpy_numbers_and_arrays_become_numbers_and_lists() -> None:
    np = pytest.importorskip("numpy", reason="needs numpy")
    for given_, kept in [
        (np.int8(3), 3),
        (np.uint64(2**63 - 1), 2**63 - 1),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16("nan"), math.nan),
        (np.longdouble("1.5"), 1.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(5), 5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.5], np.longdouble), [1.5]),
        (np.array(["x", None], object), ["x", None]),
        (np.datetime64("2026-01-02T03:04:05.5", "ns"), "2026-01-02T03:04:05.500000000"),
        (np.datetime64("NaT"), None),
        (np.array(["2026-01-02", "NaT"], "M8[D]"), ["2026-01-02", None]),
        (np.timedelta64(90, "s"), "PT1M30S"),
        (np.timedelta64(-1, "ns"), "-PT0.000000001S"),
        (np.timedelta64(2, "W"), "P14D"),
        (np.array([2, "NaT"], "m8[25s]"), ["PT50S", None]),
    ]:
        found = value(given_)
        assert type(found) is type(kept)
        assert json.dumps(found) == json.dumps(kept)
    for bad in (
        np.uint64(2**63),
        np.complex64(1),
        np.timedelta64(1, "M"),
        np.timedelta64(1),
        np.bytes_(b"x"),
        np.array([b"x"]),
        np.int8,
    ):
        assert refused([{"a": bad}]).startswith("column 'a'")
    assert rows(np.array([[1, 2], [3, 4]]), ["a", "b"])[1] == [[1, 2], [3, 4]]
    assert rows({"a": np.arange(2), "b": np.array(["2026-01-02", "NaT"], "M8[ns]")})[1] == [
        [0, "2026-01-02T00:00:00.000000000"],
        [1, None],
    ]
    assert json.dumps(rows({"a": np.array([1, math.nan])})[1]) == "[[1.0], [NaN]]"


def test_a_frame_of_pandas_keeps_its_types_and_what_is_missing_is_none() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "f": [0.5, math.nan],
            "s": ["x", None],
            "o": [{"a": (1,)}, math.nan],
            "at": pd.to_datetime(["2026-01-02", None]),
            "int": pd.array([1, None], dtype="Int64"),
            "float": pd.array([0.5, None], dtype="Float64"),
            "truth": pd.array([True, None], dtype="boolean"),
            "kind": pd.Categorical(["u", None]),
        },
        index=["first", "second"],
    )
    columns, found = rows(frame)
    assert columns == ["index", *frame.columns]
    assert [row.pop(0) for row in found] == ["first", "second"]
    assert found[0] == [1, 0.5, "x", {"a": [1]}, "2026-01-02T00:00:00", 1, 0.5, True, "u"]
    assert math.isnan(found[1][1])
    assert found[1][2:] == [None] * 7
    assert [type(one) for one in found[0][:2]] == [int, float]
    assert rows(frame[["s", "n"]], ["n", "s"]) == (["n", "s"], [[1, "x"], [2, None]])
    assert rows({"s": frame["s"], "n": frame["n"]})[1] == [["x", 1], [None, 2]]


def test_a_frame_that_is_no_table_is_refused() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    assert "'a' is there twice" in refused(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    levels = pd.MultiIndex.from_tuples([("a", "b")])
    assert "several levels" in refused(pd.DataFrame([[1]], columns=levels))
    assert "at least one column" in refused(pd.DataFrame())
    assert "has no rows" in refused(pd.DataFrame({"a": []}))
    assert "column 'a': a value of type bytes" in refused(pd.DataFrame({"a": [b"x"]}))
    assert "must be text, not float" in refused(pd.DataFrame({0.5: [1]}))
    assert rows(pd.DataFrame([[1, 2]])) == (["0", "1"], [[1, 2]])


def test_an_index_of_pandas_is_the_first_column_or_columns() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({"set": ["a", "a", "b"], "kind": ["x", "y", "x"], "loss": [1.0, 3.0, 5.0]})
    columns, found = rows(frame.describe())
    assert columns == ["index", "loss"]
    assert [row[0] for row in found] == ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]
    assert rows(frame.groupby("set").mean(numeric_only=True)) == (["set", "loss"], [["a", 2.0], ["b", 5.0]])
    assert rows(frame.groupby(["set", "kind"]).sum()) == (
        ["set", "kind", "loss"],
        [["a", "x", 1.0], ["a", "y", 3.0], ["b", "x", 5.0]],
    )
    unnamed = pd.DataFrame({"n": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), (None, 2)]))
    assert rows(unnamed) == (["level_0", "level_1", "n"], [["a", 1, 1], [None, 2, 2]])
    assert rows(frame[["loss"]].sort_values("loss", ascending=False).iloc[[0, 2, 1]]) == (
        ["index", "loss"],
        [[2, 5.0], [0, 1.0], [1, 3.0]],
    )
    days = pd.DataFrame({"n": [1]}, index=pd.DatetimeIndex(["2026-01-02"], name="day"))
    assert rows(days) == (["day", "n"], [["2026-01-02T00:00:00", 1]])


def test_an_index_that_only_counts_rows_is_left_out() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({"n": [1, 2, 3]})
    assert rows(frame) == rows(frame.head()) == (["n"], [[1], [2], [3]])
    assert rows(frame.tail(1)) == (["n"], [[3]])  # as the second chunk of a file
    assert rows(frame.rename_axis("epoch")) == (["epoch", "n"], [[0, 1], [1, 2], [2, 3]])


def test_columns_leave_an_index_out_or_order_it() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({"n": [1], "m": [2]}, index=["x"])
    assert rows(frame, ["m", "n"]) == (["m", "n"], [[2, 1]])
    assert rows(frame, ["m", "index", "n"]) == (["m", "index", "n"], [[2, "x", 1]])
    assert "'k' is not in the table" in refused(frame, ["k", "n", "m"])


@pytest.mark.parametrize("name", ["index", "n"])
def test_an_index_of_a_columns_name_is_refused_with_the_ways_out(name: str) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({name: [1]}, index=pd.Index(["x"], name=None if name == "index" else name))
    with pytest.raises(UsageError, match=f"the index becomes the column '{name}', which the table has") as caught:
        from_data(frame)
    assert "reset_index(drop=True)" in str(caught.value.hint)


def test_a_series_of_pandas_is_a_column_beside_its_index() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({"set": ["a", "a", "b"]})
    assert rows(frame.groupby("set").size()) == (["set", "value"], [["a", 2], ["b", 1]])
    assert rows(frame["set"].value_counts().rename("count").rename_axis("set")) == (
        ["set", "count"],
        [["a", 2], ["b", 1]],
    )
    assert rows(pd.Series([0.5, math.nan], name="loss").astype("Float64")) == (["loss"], [[0.5], [None]])
    assert rows(pd.Series([1, 2], index=["a", "b"])) == (["index", "value"], [["a", 1], ["b", 2]])


def test_durations_periods_and_intervals_of_pandas_are_text() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({
        "took": pd.to_timedelta(["1 days 00:00:01.5", None]),
        "month": pd.PeriodIndex(["2026-01", "2026-02"], freq="M"),
        "bin": pd.IntervalIndex.from_breaks([0, 10, 20]),
    })  # fmt: skip
    assert rows(frame)[1] == [["P1DT1.5S", "2026-01", "(0, 10]"], [None, "2026-02", "(10, 20]"]]
    assert value(pd.Timedelta(1, "ns")) == "PT0.000000001S"
    assert rows(pd.Series([1, 5, 15]).groupby([0, 0, 1]).count())[1] == [[0, 2], [1, 1]]
    assert [row[0] for row in rows(pd.cut(pd.Series([5, 15]), [0, 10, 20]).value_counts().sort_index())[1]] == [
        "(0, 10]",
        "(10, 20]",
    ]
    for text in ("P1DT2H3M4.5S", "PT0S", "-PT1S", "-P1DT0.000000001S"):
        assert value(pd.Timedelta(text)) == text


def test_a_table_of_arrow_is_read_as_one_of_parquet() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = pa.table({"n": [1, None], "took": pa.array([1, None], pa.duration("s")), "s": ["x", None]})
    expected = [[1, "PT1S", "x"], [None, None, None]]
    assert rows(table) == rows(table.to_batches()[0]) == (["n", "took", "s"], expected)
    assert rows(table, ["s", "n", "took"])[1] == [["x", 1, "PT1S"], [None, None, None]]
    assert rows(pa.table({"n": range(25_000)}))[1][-1] == [24_999]
    assert "column 'a': bytes" in refused(pa.table({"a": [b"x"]}))
    assert "has no rows" in refused(table.slice(0, 0))


class Frame:
    """What a table needs of a frame of polars."""

    def __init__(self, data: Mapping[str, list[Any]]) -> None:
        self._data = data

    columns = property(lambda self: list(self._data))

    def __len__(self) -> int:
        return len(next(iter(self._data.values()), []))

    def iter_rows(self) -> Any:
        return zip(*self._data.values(), strict=True)


def test_a_frame_that_has_the_ways_of_polars_is_read() -> None:
    frame = Frame({"a": [1, None], "b": [date(2026, 1, 2), None], "c": [math.nan, 0.5]})
    columns, found = rows(frame)
    assert columns == ["a", "b", "c"]
    assert json.dumps(found) == '[[1, "2026-01-02", NaN], [null, null, 0.5]]'
    assert rows(Frame({"a": [1], "b": [2]}), ["b", "a"]) == (["b", "a"], [[2, 1]])
    assert "has no rows" in refused(Frame({"a": []}))


def test_a_frame_of_polars_keeps_its_types() -> None:
    pl = pytest.importorskip("polars", reason="needs polars")
    frame = pl.DataFrame({"n": [1, None], "s": ["x", None], "l": [[1], None], "o": [{"a": 1}, None]})
    assert rows(frame) == (["n", "s", "l", "o"], [[1, "x", [1], {"a": 1}], [None, None, None, None]])
    assert rows({"n": frame["n"], "s": ["x", "y"]})[1] == [[1, "x"], [None, "y"]]
    assert rows(frame["n"]) == (["n"], [[1], [None]])
    assert "not LazyFrame" in refused(frame.lazy())
