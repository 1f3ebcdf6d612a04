"""Planning: rows of a run, in order, into batches that one call to a backend may carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from trk.backends.base import Limits
from trk.records import FILES, Kind, Row

_PLAIN = frozenset({Kind.METRIC, Kind.PARAM, Kind.TAG})
_POINT_BYTES = 120  # a metric as JSON, beside its name: value, timestamp, step and their keys
_TEXT_BYTES = 40


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows for one call. When it is through, the backend has everything up to row `upto`."""

    rows: tuple[Row, ...]
    upto: int


def batches(rows: Sequence[Row], limits: Limits) -> Iterator[Batch]:
    """The rows as batches within the limits, in order. A row with more values than one call takes is parted."""
    gathered: list[Row] = []
    load = _Load(limits)
    through = rows[0].n - 1 if rows else 0
    for row in rows:
        # A line of a history is one: a part of it could not be told from the whole.
        for part in (row,) if limits.lines else _parts(row, limits.metrics):
            size = _size(part)
            if not gathered:
                load.begin(part, size)
            elif not (_joins(gathered[-1], part) and load.takes(part, size)):
                yield Batch(tuple(gathered), through)
                gathered = []
                load.begin(part, size)
            gathered.append(part)
        through = row.n
    if gathered:
        yield Batch(tuple(gathered), through)


def _parts(row: Row, most: int) -> Iterable[Row]:
    return (row,) if len(row.values) <= most else _parted(row, most)


def _parted(row: Row, most: int) -> Iterator[Row]:
    values = iter(row.values.items())
    while part := dict(islice(values, most)):
        yield replace(row, values=part)


def _joins(before: Row, row: Row) -> bool:
    """Whether two neighbours may go in one call: plain values with each other, files with each other.

    Anything else goes alone, to keep its place.
    """
    return (_is_plain(before) and _is_plain(row)) or (before.kind in FILES and row.kind in FILES)


def _is_plain(row: Row) -> bool:
    return row.kind in _PLAIN or bool(row.values)  # a summary that is a number is a point


def _size(row: Row) -> int:
    """How many bytes a row may be as JSON."""
    if row.values:
        return sum([len(key) if key.isascii() else 12 * len(key) for key in row.values], _POINT_BYTES * len(row.values))
    text = row.text or ""
    # JSON may write a character as six bytes (\u0001), beyond ASCII as twelve (an emoji); of a text longer than a
    # backend takes, it sends the whole apart.
    return _TEXT_BYTES + _name_bytes(row.key or "") + (6 if text.isascii() else 12) * min(len(text), 8000)


class _Load:
    """How full a batch is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._metrics = self._params = self._tags = self._files = self._bytes = 0

    def begin(self, row: Row, size: int) -> None:
        """A batch begins with this row, of so many bytes, whatever it is."""
        self._metrics, self._params, self._tags, self._files = _counts(row)
        self._bytes = size

    def takes(self, row: Row, size: int) -> bool:
        """Whether the row, of so many bytes, goes into the batch; then it is in it."""
        metrics, params, tags, files = _counts(row)
        metrics, params, tags = metrics + self._metrics, params + self._params, tags + self._tags
        files, size = files + self._files, size + self._bytes
        limits = self._limits
        if (
            metrics > limits.metrics
            or params > limits.params
            or tags > limits.tags
            or files > limits.files
            or size > limits.bytes
        ):
            return False
        self._metrics, self._params, self._tags, self._files, self._bytes = metrics, params, tags, files, size
        return True


def _counts(row: Row) -> tuple[int, int, int, int]:
    """How many metrics, params, tags and files a row has."""
    if row.values:
        return len(row.values), 0, 0, 0
    return 0, int(row.kind is Kind.PARAM), int(row.kind is Kind.TAG), len(row.files)


def _name_bytes(name: str) -> int:
    return len(name) if name.isascii() else 12 * len(name)
