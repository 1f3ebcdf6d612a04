"""Lists of words as they are typed: `metrics.f1, params.*`; names with a comma in quotes; globs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from trk.errors import UsageError
from trk.rules import check_text, shown

MAX_LIST = 20_000  # characters
_QUOTES = "`\"'"


def split(text: str, what: str) -> list[str]:
    """The words between the commas that no quotes hold, without empty ones. Raises UsageError."""
    check_text(text, what)
    if len(text) > MAX_LIST:
        raise UsageError(f"{what} {shown(text)} has {len(text)} characters; at most {MAX_LIST} are allowed")
    words, start, quote = [], 0, ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in _QUOTES and text[at - 1 : at] in ("", ".", ",", " "):
            quote = char
        elif char == ",":
            words.append(text[start:at])
            start = at + 1
    return [word.strip() for word in (*words, text[start:]) if word.strip()]


def listed(given: str | Iterable[str], what: str) -> list[str]:
    """The words of a text, or words that come one by one. Raises UsageError."""
    if isinstance(given, str):
        return split(given, what)
    words = list(given)
    for word in words:
        if not isinstance(word, str):
            raise UsageError(f"{what} {shown(word)} is no text")
        check_text(word, what)
    return words


def unquoted(name: str) -> str:
    """A name without the quotes round it."""
    return name[1:-1] if len(name) >= 2 and name[0] in _QUOTES and name[0] == name[-1] else name


def is_glob(name: str) -> bool:
    """Whether a name means several: * is any text, ? any one character."""
    return "*" in name or "?" in name


def meant(pattern: str, names: Sequence[str]) -> list[str]:
    """The names that a pattern means, in their order; a name that is there as it is written means itself alone."""
    if pattern in names:
        return [pattern]
    if not is_glob(pattern):
        return []
    pieces = ({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in re.sub(r"\*+", "*", pattern))
    matches = re.compile("".join(pieces), re.DOTALL).fullmatch
    return [name for name in names if matches(name)]


def near(name: str, known: Collection[str], others: int = 5, alike: float = 0.5) -> list[str]:
    """The known names most like this one, at most three; when none is like it, the first few others."""
    from difflib import get_close_matches  # slow to import: it is there for mistakes

    return get_close_matches(name, known, n=3, cutoff=alike) or list(islice(known, others))
