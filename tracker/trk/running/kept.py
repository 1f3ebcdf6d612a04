"""A command's output as the run keeps it: lines of both streams as they came, what looks like a secret masked.

Of very much output the first and the last part are kept, in memory: what is not masked yet is in no file.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from itertools import groupby

from trk.capture.secrets import mask

HEAD = 1 << 20  # bytes of the first part
TAIL = 2 << 20  # bytes of the last part
NAME = "output.log"
_MARGIN = 64 << 10  # bytes beyond each part that are masked with it: a secret may lie across its border
_LONGEST = 64 << 10  # bytes of a line that has no end yet, before it is taken as it is

# Colours and the like: they would hide a secret from the masks, and a page shows them as rubbish.
CODES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[=>78@-Z\\^_])")

Taker = Callable[[bytes], None]


class Lines:
    """Takes one stream apart into whole lines, for all `takers`. A line that is written over (`\\r`) is one as well.

    `lock` is one for both streams: a line of one never comes into a line of the other.
    """

    def __init__(self, takers: list[Taker], lock: threading.Lock) -> None:
        self._takers = takers
        self._lock = lock
        self._rest = bytearray()

    def take(self, chunk: bytes) -> None:
        """A piece of the stream."""
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not end and len(self._rest) + len(chunk) < _LONGEST:
            self._rest += chunk
            return
        if not end or len(chunk) - end >= _LONGEST:
            end = len(chunk)
        whole = bytes(self._rest) + chunk[:end]
        self._rest = bytearray(chunk[end:])
        self._give(whole)

    def end(self) -> None:
        """There is no more of it."""
        whole, self._rest = bytes(self._rest), bytearray()
        if whole:
            self._give(whole)

    def _give(self, whole: bytes) -> None:
        with self._lock:
            for taker in self._takers:
                taker(whole)


class Kept:
    """What is kept of the output. `at_terminal` says that its lines end as on a terminal."""

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        self._head_size, self._tail_size = head, tail
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._in_tail = 0
        self.total = 0
        self.at_terminal = False

    def take(self, piece: bytes) -> None:
        """Some whole lines."""
        self.total += len(piece)
        room = self._head_size + _MARGIN - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        if not piece:
            return
        self._tail.append(piece)
        self._in_tail += len(piece)
        while self._in_tail - len(self._tail[0]) >= self._tail_size + _MARGIN:
            self._in_tail -= len(self._tail.popleft())

    def so_far(self) -> Kept:
        """What there is at this moment; it does not change any more."""
        found = Kept(self._head_size, self._tail_size)
        found.total, found._in_tail, found.at_terminal = self.total, self._in_tail, self.at_terminal
        found._head, found._tail = bytearray(self._head), deque(self._tail)
        return found

    @property
    def is_cut(self) -> bool:
        """Whether a part of it is not kept."""
        return self.total > len(self._head) + self._in_tail

    def content(self) -> bytes:
        """It, masked, and without a terminal's codes."""
        tail = b"".join(self._tail)
        if not self.is_cut:
            return _masked(bytes(self._head) + tail, self.at_terminal)
        first = _masked(bytes(self._head), self.at_terminal)[: self._head_size]
        last = _masked(tail, self.at_terminal)[-self._tail_size :]
        first = first[: first.rfind(b"\n") + 1] or first
        last = last[last.find(b"\n") + 1 :] or last
        left = self.total - len(first) - len(last)
        return b"%b\n[trk: about %d of %d bytes are left out here]\n\n%b" % (first, left, self.total, last)


# What every secret has somewhere: a long word, a name's `=` or `:`, an option, or a word that announces one.
_SUSPECT = re.compile(r"[\w+/=.-]{16}|[=:]|(?<!\w)-|login", re.IGNORECASE | re.ASCII)


def _masked(raw: bytes, at_terminal: bool) -> bytes:
    plain = CODES.sub(b"", raw)
    if at_terminal:
        plain = plain.replace(b"\r\n", b"\n")
    text = plain.decode("utf-8", "surrogateescape")  # bytes that are no text come back as they were
    if "PRIVATE KEY" in text:  # it goes over many lines
        return mask(text).encode("utf-8", "surrogateescape")
    parts: list[str] = []
    for suspect, lines in groupby(text.splitlines(keepends=True), key=lambda line: bool(_SUSPECT.search(line))):
        joined = "".join(lines)
        parts.append(mask(joined) if suspect else joined)
    return "".join(parts).encode("utf-8", "surrogateescape")
