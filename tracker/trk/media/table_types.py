"""What the cells of a column of text are: whole numbers, numbers, true and false, or text exactly as written.

A column's cells are looked at in batches, so that the loops run inside Python's own functions: a million rows of four
columns take about a second.
"""

from __future__ import annotations

from trk.errors import UsageError
from trk.rules import MAX_NUMBER, MAX_STEP, parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# What is among a column's cells.
PLAIN = 1  # whole numbers of 64 bits that are written back the same
REAL = 2  # numbers with a point or an exponent, and -0
ODD = 4  # digits that are no PLAIN: +49123, or more than 64 bits hold
SPECIAL = 8  # nan, inf
TRUTH = 16
TEXT = 32

_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DIGITS = "0123456789+-.eE"
_LEADING = tuple(f",0{digit}" for digit in "0123456789")


class Column:
    """What is known of a column's cells so far."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found = 0

    def see(self, cells: tuple[str, ...]) -> None:
        """Look at some more cells."""
        if self.found & TEXT:
            return
        if "" in cells:
            cells = tuple(filter(None, cells))
        if cells:
            self.found |= _among(cells, bool(self.found & REAL))

    def kind(self) -> int:
        """What the column is: PLAIN, REAL, TRUTH or TEXT; 0 when every cell is empty.

        Digits that are no number anyone counts with (`+49…`, twenty digits of an id) are numbers only beside numbers
        with a fraction, and `nan` only beside any number.
        """
        found = self.found
        if found in (0, PLAIN, TRUTH):
            return found
        if found & (TEXT | TRUTH):
            return TEXT
        return REAL if found & REAL or found == PLAIN | SPECIAL else TEXT


def convert(cells: Sequence[str], kind: int) -> Sequence[Any]:
    """The values of a column's cells, by the column's kind. Raises ValueError or KeyError for a cell of another."""
    if kind == TEXT:
        return cells
    if kind == 0 and not any(cells):
        return [None] * len(cells)
    to_value: Any = {PLAIN: int, REAL: float, TRUTH: _TRUTHS.__getitem__}[kind]
    if "" in cells:
        return [to_value(text) if text else None for text in cells]
    return list(map(to_value, cells))


def alone(text: str) -> Any:
    """The value of a cell that stands for itself: here `nan` is a number, and an empty cell None."""
    column = Column()
    column.see((text,))
    return convert((text,), REAL if column.found == SPECIAL else column.kind())[0]


def _among(cells: tuple[str, ...], real: bool) -> int:
    """What is among cells that are not empty; `real`: numbers with a fraction are known of, so that ODD is of no use.

    That the texts come out again is what tells a plain whole number, and is quicker than looking at its characters.
    """
    try:
        numbers = list(map(int, cells))
        if tuple(map(str, numbers)) == cells and min(numbers) >= -MAX_STEP - 1 and max(numbers) <= MAX_STEP:
            return PLAIN
    except ValueError:
        pass
    if cells[0] in _TRUTHS and _TRUTHS.keys() >= set(cells):
        return TRUTH
    joined = "," + ",".join(cells)
    if joined.strip(_DIGITS + ","):
        return _among_words(cells, real)
    try:
        floats = list(map(float, cells))
    except ValueError:
        return TEXT
    if _has_leading_zero(joined) or max(map(len, cells)) > MAX_NUMBER:
        return TEXT
    if float("inf") in floats or float("-inf") in floats:
        return TEXT  # digits that no double holds
    if real or "." in joined or "e" in joined or "E" in joined:
        return REAL
    found = 0
    for text in set(cells):  # whole numbers, not all plain
        found |= REAL if text == "-0" else PLAIN if _is_plain(text) else ODD
    return found


def _has_leading_zero(joined: str) -> bool:
    bare = joined.replace("+", "").replace("-", "")
    if bare.count(",0") == bare.count(",0."):  # 0.5 is what most zeros begin
        return False
    return any(zero in bare for zero in _LEADING)


def _is_plain(text: str) -> bool:
    return text[0] != "+" and len(text) <= 20 and -MAX_STEP - 1 <= int(text) <= MAX_STEP


def _among_words(cells: tuple[str, ...], real: bool) -> int:
    """What is among cells of which some have letters: `nan` and `inf`, or else they are text."""
    special = set()
    for text in set(cells):
        if text.strip(_DIGITS):
            try:
                parse_number(text)
            except UsageError:
                return TEXT
            special.add(text)
    others = tuple(text for text in cells if text not in special)
    return SPECIAL | (_among(others, real) if others else 0)
