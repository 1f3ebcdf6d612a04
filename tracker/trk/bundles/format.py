"""What a bundle is: a ZIP file with runs, rows and the bytes of files, each with its hash and size in a manifest.

    manifest.json     {"format": "trk-bundle", "version": 1, "trk": "…", "created_ms": …, "runs": …, "rows": …,
                       "members": {"runs.jsonl": {"sha256": "…", "size": …}, "rows.jsonl": {…}},
                       "blobs": {"<sha256>": size, …}, "missing": ["<sha256>", …]}
    runs.jsonl        one run a line: what `trk.journal.carry.FIELDS` names, `rows`, and of another program's run
                      `status`, `end_time` and `handles` [[backend, id], …]
    rows.jsonl        one row a line, runs in the same order, rows from 1 up: [run_id, n, kind, time, key, step, value]
    blobs/<sha256>    bytes, stored as they are: what is compressed can claim any size

`value` is a number, or the text that the journal keeps; what is not finite is "NaN", "Infinity", "-Infinity". JSON
lines rather than a database, since opening somebody's database runs what its schema says.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from trk.errors import UsageError

FORMAT = "trk-bundle"
VERSION = 1
MANIFEST, RUNS, ROWS, BLOBS = "manifest.json", "runs.jsonl", "rows.jsonl", "blobs/"
MAX_MANIFEST = 256_000_000  # bytes: a million files
MAX_LINE = 128_000_000  # bytes of one row or run
CHUNK = 1 << 20

SHA256 = re.compile(r"[0-9a-f]{64}")
_STRING = r'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+"'
_NUMBER = r"-?[0-9]{1,20}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?"
# What has nothing nested in it: a line of thousands of brackets would become gigabytes of lists before it is judged.
_FLAT = re.compile(rf"\[(?:(?:{_STRING}|{_NUMBER}|null)(?:,(?!\])|(?=\]))){{7}}\]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def row_line(run_id: str, columns: tuple[Any, ...]) -> bytes:
    """A row of the journal, (n, kind, time, key, step, value), as a line."""
    *most, value = columns
    if isinstance(value, float) and value - value != 0:
        value = "Infinity" if value > 0 else "-Infinity"  # NaN is text in the journal already
    return line([run_id, *most, value])


def line(value: Any) -> bytes:
    """A line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def row_of(text: str) -> list[Any]:
    """The seven columns of a row's line: texts, finite numbers, None. Raises UsageError."""
    if _FLAT.fullmatch(text) is None:
        raise UsageError("it is not a row: seven texts or numbers")
    try:
        found: list[Any] = _decode(text)
    except ValueError as error:
        raise UsageError(f"it is not JSON: {error}") from None
    return found
