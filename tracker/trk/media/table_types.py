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
MARK = 64  # NA and its like, which say that a value is missing
LONG = 128  # whole numbers that no double holds: beside a fraction they would lose digits

_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_MARKS = frozenset(("NA", "N/A", "n/a", "null", "NULL", "None"))
_MISSING = _MARKS | {""}
_DIGITS = "0123456789+-.eE"
_LEADING = tuple(f",0{digit}" for digit in "0123456789")
_EXACT = 2**53  # up to here every whole number is a double
_SAMPLE = 100  # of so many cells one is looked at where a column is known to be text


class Column:
    """What is known of a column's cells so far.

    `numbers` and `others` are how many cells are numbers and how many are not, nearly: of a column that is text, cells
    are sampled. The first cells that kept it from being a column of numbers are `odd`, `wide` and `long`.
    """

    __slots__ = ("found", "long", "numbers", "odd", "others", "wide")

    def __init__(self) -> None:
        self.found = 0
        self.numbers = self.others = 0.0
        self.odd: str | None = None  # text, or true and false
        self.wide: str | None = None  # an ODD
        self.long: str | None = None

    def see(self, cells: tuple[str, ...]) -> None:
        """Look at some more cells."""
        if self.found & TEXT:
            sample = cells[::_SAMPLE]
            self._weigh(sample, len(cells) / len(sample))
            return
        if "" in cells:
            cells = tuple(filter(None, cells))
        if not cells:
            return
        found = _among(cells, bool(self.found & REAL))
        self.found |= found
        if found & LONG and self.long is None:
            self.long = next(filter(_is_long, cells))
        if found & TRUTH:
            self.others += len(cells)
            self.odd = self.odd or next(filter(_TRUTHS.__contains__, cells))
        elif found & (TEXT | ODD):
            every = 1 if found & TEXT or self.wide is None else _SAMPLE
            self._weigh(cells[::every], every)
        else:
            self.numbers += len(cells)

    def _weigh(self, cells: tuple[str, ...], weight: float) -> None:
        """Count which of these are numbers, each for `weight` cells, and keep the first that are not."""
        for text in cells:
            found = _alone(text)
            if found & (TEXT | TRUTH):
                self.others += weight
                if self.odd is None:
                    self.odd = text
            elif found & ODD:
                self.wide = self.wide or text
                if text[0] == "+":
                    self.others += weight  # a phone's
                else:
                    self.numbers += weight
            elif found & (PLAIN | REAL):
                self.numbers += weight

    def kind(self) -> int:
        """What the column is: PLAIN, REAL or TRUTH, each perhaps with MARK, or TEXT; 0 when every cell is empty.

        Digits that are no number anyone counts with (`+49…`, twenty digits of an id) are numbers only beside numbers
        with a fraction, and `nan` only beside any number. Marks of what is missing are text in a column of text.
        """
        found, mark = self.found & ~(MARK | LONG), self.found & MARK
        if found in (PLAIN, TRUTH):
            return found | mark
        if not found:
            return TEXT if mark else 0
        if found & (TEXT | TRUTH):
            return TEXT
        if found & REAL or found == PLAIN | SPECIAL:
            return TEXT if self.found & LONG else REAL | mark
        return TEXT

    def culprit(self) -> tuple[str, str] | None:
        """The cell by which a column of numbers became text, and what it is; None when it is no such column."""
        if self.kind() != TEXT or self.numbers <= self.others:
            return None
        if self.odd is not None:
            return self.odd, _fault(self.odd)
        if self.long is not None and (self.found & REAL or not self.found & ODD):
            return self.long, "would lose digits beside numbers with a fraction or nan"
        if self.wide is not None:
            return self.wide, "begins with +" if self.wide[0] == "+" else "does not fit 64 bits"
        return None


def convert(cells: Sequence[str], kind: int) -> Sequence[Any]:
    """The values of a column's cells, by the column's kind. Raises ValueError or KeyError for a cell of another."""
    if kind == TEXT:
        return cells
    if kind == 0 and not any(cells):
        return [None] * len(cells)
    to_value: Any = {PLAIN: int, REAL: float, TRUTH: _TRUTHS.__getitem__}[kind & ~MARK]
    if kind & MARK:
        return [None if text in _MISSING else to_value(text) for text in cells]
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
        low, high = min(numbers), max(numbers)
        if low >= -MAX_STEP - 1 and high <= MAX_STEP and tuple(map(str, numbers)) == cells:
            far = high > _EXACT or low < -_EXACT
            return PLAIN | LONG if far and any(int(float(number)) != number for number in numbers) else PLAIN
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
    far = max(floats) >= _EXACT or min(floats) <= -_EXACT
    found = LONG if far and any(map(_is_long, cells)) else 0
    if real or "." in joined or "e" in joined or "E" in joined:
        return found | REAL
    for text in set(cells):  # whole numbers, not all plain
        found |= REAL if text == "-0" else PLAIN if _is_plain(text) else ODD
    return found


def _alone(text: str) -> int:
    """What a cell is by itself; 0 for one that is missing."""
    if text in _MISSING:
        return 0
    try:
        float(text)
    except ValueError:
        return TRUTH if text in _TRUTHS else TEXT  # quicker than the whole way
    return _among((text,), False)


def _fault(text: str) -> str:
    """What keeps a text from being a number."""
    if text and not text.strip(_DIGITS):
        try:
            number = float(text)
        except ValueError:
            return "is not a number"
        if _has_leading_zero("," + text):
            return "begins with 0"
        if number - number != 0:
            return "is larger than a double can hold"
    return "is not a number"


def _is_long(text: str) -> bool:
    """Whether digits are a whole number that no double holds."""
    return text.lstrip("+-").isdecimal() and int(text) != int(float(text))


def _has_leading_zero(joined: str) -> bool:
    bare = joined.replace("+", "").replace("-", "")
    if bare.count(",0") == bare.count(",0."):  # 0.5 is what most zeros begin
        return False
    return any(zero in bare for zero in _LEADING)


def _is_plain(text: str) -> bool:
    return text[0] != "+" and len(text) <= 20 and -MAX_STEP - 1 <= int(text) <= MAX_STEP


def _among_words(cells: tuple[str, ...], real: bool) -> int:
    """What is among cells of which some have letters: `nan` and `inf`, marks of what is missing, or else text."""
    words = set(cells)
    if not words.isdisjoint(_MARKS):
        others = tuple(text for text in cells if text not in _MARKS)
        return MARK | (_among(others, real) if others else 0)
    special = set()
    for text in words:
        if text.strip(_DIGITS):
            try:
                parse_number(text)
            except UsageError:
                return TEXT
            special.add(text)
    others = tuple(text for text in cells if text not in special)
    return SPECIAL | (_among(others, real) if others else 0)
