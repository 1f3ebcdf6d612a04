"""Names, texts and ids of what comes from elsewhere, as trk's rules have them.

A name that the rules take stays as it is. Any other becomes one that they take, always the same for the same names in
the same order, and no two become one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from trk import rules
from trk.errors import UsageError

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # as `trk.ids` has it
_KEPT = frozenset("_-. :/")
TAG = "imported."  # what the names of tags begin with that say where a run came from
SUFFIX = 16  # characters of a run id that come from the origin; the ones before are its time
_ROOM = 230  # characters of a name that is cut


def suffix_of(origin: str, place: str) -> str:
    """The end of the run id of what comes from there: 80 bits of a hash."""
    number = int.from_bytes(hashlib.sha256(f"{place}\0{origin}".encode(errors="surrogateescape")).digest()[:10], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def run_id_of(origin: str, place: str, start_ms: int) -> str:
    """The run id of what comes from there: it sorts by when the run started."""
    time = "".join(_ALPHABET[start_ms >> shift & 31] for shift in range(45, -1, -5))
    return time + suffix_of(origin, place)


class Names:
    """The names of one kind (metrics, params, tags) of one run, each judged once."""

    def __init__(self, check: Callable[[str], str]) -> None:
        self._check = check
        self._known: dict[str, str] = {}
        self._taken: set[str] = set()
        self.changed: dict[str, str] = {}  # by the names at the source
        self._seeded: dict[str, str] = {}

    def seed(self, changed: Mapping[str, str], kept: Iterable[str]) -> None:
        """What the names became when they were judged earlier, and those that stayed: each is the same again."""
        self.changed.update(changed)
        self._seeded.update(changed)
        self._taken.update(changed.values())
        for name in kept:
            if name not in self._taken:
                self._taken.add(name)
                self._known[name] = name

    def of(self, name: str) -> str:
        """The name here."""
        known = self._known.get(name)
        return known if known is not None else self._new(name)

    def _new(self, name: str) -> str:
        seeded = self._seeded.pop(text(name), None)
        if seeded is not None:
            self._known[name] = seeded
            return seeded
        try:
            found = self._check(name)
        except UsageError:
            found = self._mended(name)
        if found in self._taken:  # another name has become this one
            found = f"{found[:_ROOM].rstrip(' /')}_{_short_hash(name)}"
        self._taken.add(found)
        self._known[name] = found
        if found != name:
            self.changed[text(name)] = found
        return found

    def _mended(self, name: str) -> str:
        plain = "".join(char if char.isalnum() or char in _KEPT else "_" for char in name)
        parts = [part if part not in (".", "..") else "_" for part in plain.split("/") if part]
        mended = "/".join(parts).strip(" ")
        if mended.startswith(".."):
            mended = "_" + mended[2:]
        if len(mended) > rules.MAX_NAME:
            mended = f"{mended[:_ROOM].rstrip(' /')}_{_short_hash(name)}"
        for candidate in (mended, f"{TAG}{mended}"):  # a reserved name
            try:
                return self._check(candidate)
            except UsageError:
                continue
        return f"name_{_short_hash(name)}"


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]


def text(value: str) -> str:
    """A text without what no text may have: NUL and halves of characters."""
    try:
        return rules.check_text(value, "text")
    except UsageError:
        return value.replace("\0", "�").encode(errors="replace").decode()[: rules.MAX_TEXT]


def check_param(name: str) -> str:
    """A param's name. Raises UsageError."""
    return rules.check_name(name, "param name")


def texts(values: Mapping[str, str], check: Callable[[str], str]) -> dict[str, str]:
    """Params or tags under the names that they have here."""
    names = Names(check)
    return {names.of(str(key)): text(str(value)) for key, value in values.items()}


def title(given: str, otherwise: str) -> str:
    """A name of a run or experiment, on one line and visible; another one where that can't be."""
    printable = "".join(char if char.isprintable() else " " for char in text(given))
    for found in (given, " ".join(printable.split()).lstrip("@")[: rules.MAX_NAME].strip()):
        try:
            return rules.check_title(found, "name")
        except UsageError:
            continue
    return otherwise
