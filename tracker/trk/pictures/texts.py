"""Names and numbers as they stand in pictures and pages: nothing in them acts, and nothing misleads."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from trk.records import RunRecord

_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidi marks, half characters, line separators
LONGEST_LABEL = 40


def tame(text: str, longest: int = 500) -> str:
    """The text on one line, with what could turn round or hide what stands near it shown instead (`\\u202e`)."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(ascii(char)[1:-1] if unicodedata.category(char) in _ACTING else char for char in text)


def told(value: float | None, digits: int = 6) -> str:
    """A number for people, with so many significant digits; NaN and infinities in words, None as a dash."""
    if value is None:
        return "–"
    if value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return f"{value:.{digits}g}"


def moment(found: datetime | None) -> str:
    """A time to the minute, in UTC."""
    return "–" if found is None else f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float | None) -> str:
    """A time span in the two largest units that it has: `1 h 5 min`, `2.5 s`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def labels(runs: Sequence[RunRecord]) -> dict[str, str]:
    """A label for each run, by id, unlike any other: its name, with the end of its id where that is not enough."""
    names = {run.run_id: tame(run.name or run.run_id, LONGEST_LABEL) for run in runs}
    taken = list(names.values())
    length = 6
    while length < 26 and len({run_id[-length:] for run_id in names}) < len(names):
        length += 1
    return {
        run_id: name if taken.count(name) == 1 else f"{name} …{tame(run_id)[-length:]}"
        for run_id, name in names.items()
    }
