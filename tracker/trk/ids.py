"""Run ids: 26 lower-case letters and digits, sortable by time, unique without asking anyone.

The layout is that of a ULID (48 bits of milliseconds, 80 random bits, Crockford's base 32) in lower case.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id() -> str:
    """A new run id."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
