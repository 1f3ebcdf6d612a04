"""Tables of Python's own data: mappings, lists of rows, and the data frames of pandas and polars."""

from __future__ import annotations

from trk.errors import UsageError
from trk.media.table_cells import Parsed, cell, check_columns, count, placed
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

_WAYS = "a data frame or Series, a mapping of column to values, a list of mappings, or a list of rows with columns="


def from_data(data: Any, columns: Sequence[str] | None = None) -> Parsed:
    """A table from a pandas or polars DataFrame or Series, an Arrow table, a mapping of column to values, or rows.

    The index of pandas becomes the first columns unless it only counts the rows, or `columns` name the others only.
    A Series without a name is the column `value`. A mapping of single values is one row. Rows are mappings (what
    one lacks is None), or sequences when `columns` names their values; `columns` otherwise has to be the same
    names. Raises UsageError, also while rows are taken.
    """
    given = None if columns is None else check_columns(columns)
    if _is_whole_series(data):
        data = data.to_frame("value" if data.name is None or data.name == "" else data.name)
    if hasattr(data, "to_pydict") and hasattr(data, "schema"):
        from trk.media import table_parquet

        return table_parquet.of_arrow(data, given)
    if (hasattr(data, "itertuples") or hasattr(data, "iter_rows")) and hasattr(data, "columns"):
        return _of_frame(data, given)
    if _is_mapping(data):
        return _of_mapping(data, given)
    if isinstance(data, (str, bytes, bytearray)) or not hasattr(data, "__iter__"):
        raise UsageError(f"a table is {_WAYS}; not {type(data).__name__}")
    rows = data if isinstance(data, (list, tuple)) else list(data)
    if not rows:
        raise UsageError("the table has no rows")
    if _is_mapping(rows[0]):
        return _of_mappings(rows, given)
    if not _is_column(rows[0]):
        raise UsageError(f"row 1 is {shown(rows[0])}; a table is {_WAYS}")
    if given is None:
        raise UsageError("rows without names need columns", hint='columns=["a", "b"]')
    return Parsed(given, _of_sequences(rows, given))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) or (hasattr(value, "keys") and hasattr(value, "items") and not _is_series(value))


def _is_series(value: Any) -> bool:
    return hasattr(value, "dtype")


def _is_column(value: Any) -> bool:
    """Whether a value is several values: a list, an array, a Series."""
    if isinstance(value, (str, bytes, bytearray)) or _is_mapping(value):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def _is_whole_series(value: Any) -> bool:
    """Whether it is a Series of pandas or polars, which is a frame of one column."""
    kind = type(value)
    return kind.__name__ == "Series" and hasattr(value, "to_frame") and _is_series(value)


def _of_frame(data: Any, columns: list[str] | None) -> Parsed:
    if getattr(data.columns, "nlevels", 1) > 1:
        raise UsageError("columns of several levels are no names", hint="pandas: flatten them before")
    own = check_columns(data.columns)
    if not len(data):
        raise UsageError("the table has no rows")
    if hasattr(data, "iter_rows"):
        return _ordered(own, _of_tuples(data.iter_rows(), own, [False] * len(own)), columns)
    rows, missing = data.itertuples(index=False, name=None), [_marks_missing(dtype) for dtype in data.dtypes]
    index = _index_names(data.index, own)
    if index and (columns is None or not set(columns).isdisjoint(index)):
        levels = data.index.levels if data.index.nlevels > 1 else [data.index]
        missing = [_marks_missing(level.dtype) for level in levels] + missing
        keys = data.index if data.index.nlevels > 1 else ((key,) for key in data.index)
        rows = ((*key, *row) for key, row in zip(keys, rows, strict=True))
        own = index + own
    return _ordered(own, _of_tuples(rows, own, missing), columns)


def _index_names(index: Any, own: list[str]) -> list[str]:
    """The columns that a frame's index becomes: none when it only counts the rows.

    Raises UsageError when one of them is a column already.
    """
    if type(index).__name__ == "RangeIndex" and index.name is None:
        return []
    without = ["index"] if index.nlevels == 1 else [f"level_{level}" for level in range(index.nlevels)]
    names = [name if label is None else label for label, name in zip(index.names, without, strict=True)]
    found = check_columns(names)
    for name in found:
        if name in own:
            raise UsageError(
                f"the index becomes the column {shown(name)}, which the table has already",
                hint="pandas: reset_index(drop=True) leaves the index out, rename_axis() names it",
            )
    return found


def _ordered(own: list[str], rows: Iterator[list[Any]], columns: list[str] | None) -> Parsed:
    places = placed(own, columns)
    if places is None:
        return Parsed(own, rows)
    return Parsed([own[place] for place in places], ([row[place] for place in places] for row in rows))


def _marks_missing(dtype: Any) -> bool:
    """Whether NaN in such a pandas column says that a value is missing: in columns of numbers it is a number."""
    return getattr(dtype, "kind", "O") not in "fc"


def _of_tuples(rows: Iterable[Sequence[Any]], names: list[str], missing: list[bool]) -> Iterator[list[Any]]:
    for row in rows:
        yield [
            None if gone and isinstance(value, float) and value != value else cell(value, name)
            for value, name, gone in zip(row, names, missing, strict=True)
        ]


def _of_mapping(data: Mapping[Any, Any], columns: list[str] | None) -> Parsed:
    names = check_columns(data.keys())
    places = placed(names, columns)
    values = list(data.values())
    if not any(map(_is_column, values)):
        values = [[value] for value in values]
    for name, value in zip(names, values, strict=True):
        if not _is_column(value):
            raise UsageError(f"column {shown(name)} is one value, where other columns are lists")
        if len(value) != len(values[0]):
            told = f"column {shown(name)} has {count(len(value), 'value')}"
            raise UsageError(f"{told}, and column {shown(names[0])} has {len(values[0])}")
    if not len(values[0]):
        raise UsageError("the table has no rows")
    if places is not None:
        names, values = [names[place] for place in places], [values[place] for place in places]
    missing = [_is_pandas(value) and _marks_missing(value.dtype) for value in values]
    return Parsed(names, _of_tuples(zip(*map(_plain, values), strict=True), names, missing))


def _is_pandas(value: Any) -> bool:
    return _is_series(value) and type(value).__module__.partition(".")[0] == "pandas"


def _plain(values: Any) -> Any:
    """Numbers of numpy as a list of Python's, which is quicker than one by one."""
    if getattr(getattr(values, "dtype", None), "kind", "") in ("f", "i", "u", "b") and hasattr(values, "tolist"):
        return values.tolist()
    return values


def _of_mappings(rows: Sequence[Any], columns: list[str] | None) -> Parsed:
    own: dict[Any, None] = {}
    for number, row in enumerate(rows, 1):
        if not _is_mapping(row):
            raise UsageError(f"row {number} is no mapping of names to values, as row 1 is")
        if not own.keys() >= row.keys():
            own.update(dict.fromkeys(row))
    names = check_columns(own)
    keys = list(own)
    places = placed(names, columns)
    if places is not None:
        names, keys = [names[place] for place in places], [keys[place] for place in places]
    return Parsed(names, ([cell(row.get(key), name) for key, name in zip(keys, names, strict=True)] for row in rows))


def _of_sequences(rows: Sequence[Any], names: list[str]) -> Iterator[list[Any]]:
    for number, row in enumerate(rows, 1):
        if not _is_column(row):
            raise UsageError(f"row {number} is {shown(row)}, not a list of values")
        if len(row) != len(names):
            raise UsageError(f"row {number} has {count(len(row), 'value')}, where the columns named are {len(names)}")
        yield [cell(value, name) for value, name in zip(row, names, strict=True)]
