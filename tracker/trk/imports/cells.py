"""Cells of a table as what trk logs: a number, a step, a time."""

from __future__ import annotations

from typing import Any

from trk import rules
from trk.errors import UsageError
from trk.rules import shown

_SPELT = frozenset({"nan", "inf", "infinity", "-inf", "-infinity"})


def number(text: Any) -> float | None:
    """A cell as a number; None when it is none."""
    if isinstance(text, str):
        text = text.strip()
        try:
            found = float(text)
        except ValueError:
            return None
        if "_" in text or not text.isascii() or len(text) > rules.MAX_NUMBER:
            return None
        # What no double can hold became infinite without a word.
        return found if found - found == 0 or text.lower().lstrip("+") in _SPELT else None
    if isinstance(text, bool) or not isinstance(text, (int, float)):
        return None
    try:
        return float(text)
    except OverflowError:
        return None


def step(text: Any) -> int | None:
    """A cell as a step; None when it is empty. Raises UsageError."""
    if text is None or text == "":
        return None
    found = number(text)
    if found is None or not found.is_integer():
        raise UsageError(f"{shown(text)} is no step")
    if isinstance(text, str) and text.strip().lstrip("-").isdigit():
        return rules.check_step(int(text))
    return rules.check_step(text if isinstance(text, int) else int(found))


def time(text: Any) -> int | None:
    """A cell as a time in milliseconds; None when it is empty. Raises UsageError."""
    if text is None or text == "":
        return None
    return rules.check_time(text.strip() if isinstance(text, str) else text)
