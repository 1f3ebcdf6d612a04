"""Tables of Parquet, read by pyarrow a batch at a time."""

from __future__ import annotations

from trk.errors import UsageError
from trk.media.table_cells import Parsed, cell, check_columns, placed
from trk.media.values import duration
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from trk.media.table_source import Source

    Reader = Callable[[Any], list[Any]]

BATCH_ROWS = 10_000
BATCH_CELLS = 200_000
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # nanoseconds


def read(source: Source, columns: Sequence[str] | None) -> Parsed:
    """The table in a Parquet file. Raises UsageError, also while rows are taken, and when pyarrow is not installed.

    Dates, times and durations become ISO 8601 texts, decimals numbers where those have the same digits.
    """
    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]  # which of its versions has types is theirs
        import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise UsageError("Parquet is read by pyarrow, which is not installed", hint="pip install pyarrow") from None
    try:
        file = pyarrow.parquet.ParquetFile(source.file)
        fields = [(field.name, field.type) for field in file.schema_arrow]
        count = file.metadata.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise source.error(f"not a Parquet file: {_said(error)}") from None
    try:
        own, readers = _columns(pyarrow, fields)
        places = placed(own, columns)
    except UsageError as error:
        raise source.error(error.message, hint=error.hint) from None
    if not count:
        raise source.error("the table has no rows")
    names = own if places is None else [own[place] for place in places]
    batches = file.iter_batches(max(1, min(BATCH_ROWS, BATCH_CELLS // len(readers))))
    return Parsed(names, _located(pyarrow, _rows(batches, readers, places), source))


def of_arrow(data: Any, columns: Sequence[str] | None) -> Parsed:
    """An Arrow table or record batch, as `read` reads one from a file."""
    import pyarrow

    own, readers = _columns(pyarrow, [(field.name, field.type) for field in data.schema])
    places = placed(own, columns)
    if not data.num_rows:
        raise UsageError("the table has no rows")
    names = own if places is None else [own[place] for place in places]
    return Parsed(names, _rows(_cut(data), readers, places))


def _cut(data: Any) -> Iterator[Any]:
    """A table in batches of few rows, which share its memory."""
    for batch in data.to_batches() if hasattr(data, "to_batches") else [data]:
        for first in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(first, BATCH_ROWS)


def _columns(pyarrow: Any, fields: list[tuple[str, Any]]) -> tuple[list[str], list[Reader]]:
    own = check_columns([name for name, _ in fields])
    return own, [_reader(pyarrow, kind, name) for (_, kind), name in zip(fields, own, strict=True)]


def _rows(batches: Iterable[Any], readers: list[Reader], places: list[int] | None) -> Iterator[list[Any]]:
    for batch in batches:
        found = [read(values) for read, values in zip(readers, batch.columns, strict=True)]
        if places is not None:
            found = [found[place] for place in places]
        yield from map(list, zip(*found, strict=True))


def _located(pyarrow: Any, rows: Iterator[list[Any]], source: Source) -> Iterator[list[Any]]:
    try:
        yield from rows
    except UsageError as error:
        raise source.error(error.message, hint=error.hint) from None
    except (pyarrow.ArrowException, OSError) as error:
        raise source.error(f"the file is damaged: {_said(error)}") from None


def _reader(pyarrow: Any, kind: Any, name: str) -> Reader:
    """How the values of a column of Arrow become JSON's. Raises UsageError for bytes."""
    types = pyarrow.types
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        raise UsageError(f"column {shown(name)}: bytes are not JSON")
    if types.is_duration(kind):
        return lambda values: _durations(pyarrow, values, _UNITS[kind.unit])
    if (types.is_timestamp(kind) or types.is_time(kind)) and kind.unit == "ns":
        return lambda values: _nanoseconds(pyarrow, values, kind, name)
    if (types.is_integer(kind) and kind != pyarrow.uint64()) or types.is_floating(kind) or types.is_boolean(kind):
        return lambda values: values.to_pylist()
    return lambda values: _converted(values, name)


def _converted(values: Any, name: str) -> list[Any]:
    try:
        return [cell(value, name) for value in values.to_pylist()]
    except UsageError:
        raise
    except (ValueError, OverflowError, ImportError) as error:  # years that Python has not; nested nanoseconds
        raise UsageError(f"column {shown(name)}: {_said(error)}") from None


def _durations(pyarrow: Any, values: Any, unit: int) -> list[Any]:
    counts = values.cast(pyarrow.int64()).to_pylist()
    return [None if count is None else duration(count * unit) for count in counts]


def _nanoseconds(pyarrow: Any, values: Any, kind: Any, name: str) -> list[Any]:
    """Times with nine digits of a second: Python's own have six."""
    nanos = values.cast(pyarrow.int64()).to_pylist()
    of_day = pyarrow.types.is_time(kind)
    shorter = pyarrow.time64("us") if of_day else pyarrow.timestamp("us", kind.tz)
    micros = pyarrow.array([None if nano is None else nano // 1000 for nano in nanos], shorter)
    whole = len("hh:mm:ss") if of_day else len("yyyy-mm-ddThh:mm:ss")
    return [
        text if text is None else _finer(text, whole, nano % 1000)
        for text, nano in zip(_converted(micros, name), nanos, strict=True)
    ]


def _finer(text: str, whole: int, nano: int) -> str:
    """An ISO 8601 time with the digits of nanoseconds after those of microseconds."""
    if not nano:
        return text
    seconds, zone = text[:whole], text[whole:]
    micro = "000000"
    if zone.startswith("."):
        micro, zone = zone[1:7], zone[7:]
    return f"{seconds}.{micro}{nano:03d}{zone}"


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 120 and text.isprintable() else shown(text)
