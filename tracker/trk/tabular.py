"""A whole table as JSON, piece by piece: `{"columns": […], "data": [[…], …]}`, which MLflow and pandas read ("split").

A NaN is null, as pandas writes it. An infinite number is written as 1e999, which JSON allows and every reader takes for
infinity: `Infinity` is no JSON, and MLflow's page would show nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trk.records import LoggedTable

_PIECE = 1 << 20  # characters


def as_json(table: LoggedTable) -> Iterator[bytes]:
    """The bytes of the JSON, in pieces of about a megabyte, however long the table is."""
    waiting, size = [f'{{"columns":{_dumps(list(table.columns))},"data":['], 0
    comma = ""
    for row in table.rows():
        line = comma + _row(row)
        comma = ","
        waiting.append(line)
        size += len(line)
        if size > _PIECE:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    waiting.append("]}")
    yield "".join(waiting).encode()


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _row(row: list[Any]) -> str:
    try:
        return _dumps(row)
    except ValueError:  # a NaN or an infinity is in it
        return "[" + ",".join(map(_value, row)) + "]"


def _value(value: Any) -> str:
    if isinstance(value, float) and value - value != 0:
        return "null" if value != value else ("1e999" if value > 0 else "-1e999")
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_dumps(key)}:{_value(inner)}" for key, inner in value.items()) + "}"
    return _dumps(value)
