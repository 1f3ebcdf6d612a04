"""Planning: rows of a run, in order, into batches that one call to a backend may carry."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
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
        for part in (row,) if limits.lines or len(row.values) <= limits.metrics else _parted(row, limits.metrics):
            if not (gathered and _joins(gathered[-1], part) and load.takes(part)):
                if gathered:
                    yield Batch(tuple(gathered), through)
                    gathered = []
                load.begin(part)
            gathered.append(part)
        through = row.n
    if gathered:
        yield Batch(tuple(gathered), through)


def _parted(row: Row, most: int) -> Iterator[Row]:
    values = iter(row.values.items())
    while part := dict(islice(values, most)):
        yield replace(row, values=part)


def _joins(before: Row, row: Row) -> bool:
    """Whether two neighbours may go in one call: plain values with each other, files with each other.

    Anything else goes alone, to keep its place.
    """
    if row.values or row.kind in _PLAIN:  # a summary that is a number is a point
        return bool(before.values) or before.kind in _PLAIN
    return before.kind in FILES and row.kind in FILES


def _size(row: Row) -> int:
    """How many bytes a row may be as JSON."""
    if row.values:
        return sum(map(_point_bytes, row.values))
    text = row.text or ""
    # JSON may write a character as six bytes (\u0001), beyond ASCII as twelve (an emoji); of a text longer than a
    # backend takes, it sends the whole apart.
    return _TEXT_BYTES + _name_bytes(row.key or "") + (6 if text.isascii() else 12) * min(len(text), 8000)


@functools.lru_cache(maxsize=4096)
def _point_bytes(name: str) -> int:
    return _POINT_BYTES + _name_bytes(name)


class _Load:
    """How full a batch is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._metrics = self._params = self._tags = self._files = self._bytes = 0

    def begin(self, row: Row) -> None:
        """A batch begins with this row, whatever it is."""
        self._metrics, self._params, self._tags, self._files = _counts(row)
        self._bytes = _size(row)

    def takes(self, row: Row) -> bool:
        """Whether the row goes into the batch; then it is in it."""
        limits = self._limits
        size = self._bytes + _size(row)
        if row.values:  # most are: nothing else of them is counted
            metrics = self._metrics + len(row.values)
            if metrics > limits.metrics or size > limits.bytes:
                return False
            self._metrics, self._bytes = metrics, size
            return True
        _, params, tags, files = _counts(row)
        params, tags, files = params + self._params, tags + self._tags, files + self._files
        if params > limits.params or tags > limits.tags or files > limits.files or size > limits.bytes:
            return False
        self._params, self._tags, self._files, self._bytes = params, tags, files, size
        return True


def _counts(row: Row) -> tuple[int, int, int, int]:
    """How many metrics, params, tags and files a row has."""
    if row.values:
        return len(row.values), 0, 0, 0
    return 0, int(row.kind is Kind.PARAM), int(row.kind is Kind.TAG), len(row.files)


def _name_bytes(name: str) -> int:
    return len(name) if name.isascii() else 12 * len(name)
