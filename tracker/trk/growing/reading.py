"""The lines of a file that grows: which of them were taken, and what the others say.

A file is known again by a chain of hashes over its lines, so that it may be renamed, copied, or written anew with the
same beginning. Of a CSV the chain goes over the cells by their columns: one that is written anew because it has got
more columns is still the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b

from trk.errors import UsageError
from trk.growing.parsing import CHUNK, CSV, CsvLines, JsonLines
from trk.lines import MAX_LINE, Said
from trk.rules import shown

BOM = b"\xef\xbb\xbf"
TAIL = 256  # bytes before the place that are looked at again
Options = tuple[str, str | None, str | None]  # the kind, and a CSV's columns of step and time


@dataclass(frozen=True, slots=True)
class State:
    """How far the lines of a file were taken; as JSON in the journal.

    `chain` is the hash over the first `count` lines (a CSV's header is none), `marks` has it after 1, 2, 4, 8 … of
    them. They end at the byte `offset` of the file with this `device` and `inode`, and `tail` is the hash of the bytes
    before that. `is_unended`: of the last line the end was not written yet. `is_on`: somebody watches, or died at it.
    """

    kind: str
    step: str | None = None
    time: str | None = None
    device: int = 0
    inode: int = 0
    offset: int = 0
    count: int = 0
    chain: str = ""
    tail: str = ""
    marks: dict[str, str] = field(default_factory=dict)
    header: tuple[str, ...] | None = None
    delimiter: str = ","
    is_unended: bool = False
    is_on: bool = True

    @classmethod
    def read(cls, text: str | None) -> State | None:
        """As the journal has it."""
        if text is None:
            return None
        found = json.loads(text)
        return cls(**{**found, "header": None if found["header"] is None else tuple(found["header"])})

    def text(self) -> str:
        """As the journal keeps it."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def line(self, canon: bytes) -> tuple[str, dict[str, str]]:
        """Chain and marks after one more line."""
        chain = _chained(self.chain, canon)
        count = self.count + 1
        return chain, {**self.marks, str(count): chain} if count & (count - 1) == 0 else self.marks


def _chained(chain: str, canon: bytes) -> str:
    return blake2b(chain.encode() + canon, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Taken:
    """Lines on their way into the journal: what each says, the number of the first, what was kept and is to be."""

    said: Sequence[Said | UsageError | None]
    first: int
    before: str | None
    state: State

    @property
    def after(self) -> str:
        """What is kept of the file with these lines."""
        return self.state.text()


class Reader:
    """Reads on from where the journal knows the file to be taken. `notes` has what the user should know."""

    def __init__(self, path: str, options: Options, kept: str | None, metric_name: Callable[[str], str]) -> None:
        self.notes: list[str] = []
        self._path = path
        self._kept = kept
        self._fresh = State(*options)
        known = State.read(kept)
        if known is not None and known.count and known.kind != options[0]:
            raise UsageError(f"{shown(path)} was taken as {known.kind} before", hint=f"--type {known.kind}")
        self._state = self._fresh if known is None else replace(known, step=options[1], time=options[2], is_on=True)
        self._file = -1
        self._looked: tuple[int, ...] = ()  # what was found to be no continuation: not to be read again as it is
        self._parse = CsvLines(metric_name, self.notes) if options[0] == CSV else JsonLines(metric_name)
        self._parse.delimiter = self._state.delimiter

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # ---- what is taken

    def hello(self) -> Taken:
        """No line: that somebody watches from now on."""
        return Taken((), 0, self._kept, self._state)

    def written(self, taken: Taken) -> None:
        """These lines are in the journal."""
        self._state, self._kept = taken.state, taken.after

    def next(self, most: int, now: int) -> Taken | None:
        """The next whole lines, no more than so many; None when there are none by now."""
        while self._is_placed():
            taken = self._lines(most, now)
            if taken is not None or not self._is_old():
                return taken
            left = self._left(now)
            if left is not None:
                return left
            self.close()  # the old file is read to its end; the one that has its name now is next
        return None

    def _left(self, now: int) -> Taken | None:
        """The last line of a file that another one has replaced: nobody will write its end."""
        if self._state.is_unended or not os.pread(self._file, CHUNK, self._state.offset).strip():
            return None
        notes = len(self.notes)
        taken = self.last(now, is_on=True)
        if taken.said:
            return taken
        self.notes[notes:] = ["its last line had no end when another file took its name: it is left out"]
        return None

    def last(self, now: int, is_on: bool) -> Taken:
        """A last line that is whole though nothing ends it, if there is one; for the end."""
        is_placed = self._file >= 0 and self._is_placed()
        state = replace(self._state, is_on=is_on)
        rest = os.pread(self._file, CHUNK, state.offset) if is_placed else b""
        if state.is_unended or not rest.strip():
            return Taken((), 0, self._kept, state)
        said = self._parse.unended(rest, now)
        if said is None or b"\n" in rest or len(rest) > MAX_LINE:
            self.notes.append("the last line has no end yet: it waits")
            return Taken((), 0, self._kept, state)
        found = self._after(state, [rest.strip()], len(rest))
        return Taken([said], self._number(state), self._kept, replace(found, is_unended=True))

    def unread(self) -> int:
        """How many bytes of the file were not taken."""
        try:
            return max(os.stat(self._path).st_size - self._state.offset, 0)
        except OSError:
            return 0

    def _number(self, state: State) -> int:
        return state.count + 1 + (state.header is not None)

    def _lines(self, most: int, now: int) -> Taken | None:
        state = self._state
        data = os.pread(self._file, CHUNK, state.offset)
        if state.is_unended and data:  # of a line that was taken without its end, that comes now
            end = 2 if data[:2] == b"\r\n" else int(data[:1] == b"\n")
            state = replace(state, is_unended=False, offset=state.offset + end)
            data = data[end:]
        end = data.rfind(b"\n") + 1
        if not end:
            return self._too_long(state, data) if len(data) > MAX_LINE else None
        lines = data[: end - 1].split(b"\n")
        if state.offset == 0:
            state = replace(state, header=None)
            lines[0] = lines[0].removeprefix(BOM)
        if state.kind == CSV and state.header is None:
            header, lines = lines[0], lines[1:]
            length = len(header) + (len(BOM) if data.startswith(BOM) else 0) + 1
            columns = self._parse.columns(header)
            state = replace(state, header=columns, delimiter=self._parse.delimiter, offset=state.offset + length)
            data = data[length:]
        del lines[most:]
        length = sum(map(len, lines)) + len(lines)
        if state.offset == 0 and data.startswith(BOM):
            length += len(BOM)
        said = self._parse.say(lines, state.header, (state.step, state.time), now)
        found = self._after(state, lines, length)
        return Taken(said, self._number(state), self._kept, found)

    def _too_long(self, state: State, data: bytes) -> Taken | None:
        """A line that is longer than any may be, if it has ended."""
        at = state.offset + len(data)
        while more := os.pread(self._file, CHUNK, at):
            end = more.find(b"\n") + 1
            at += end or len(more)
            if end:
                error = UsageError(f"the line has more than {MAX_LINE:,} bytes")
                found = self._after(state, [data], at - state.offset)
                return Taken([error], self._number(state), self._kept, found)
        return None

    def _after(self, state: State, lines: Sequence[bytes], length: int) -> State:
        """How far it is with these lines."""
        count, chain, marks = state.count, state.chain, dict(state.marks)
        for canon in self._parse.canons(lines, state.header):
            chain = _chained(chain, canon)
            count += 1
            if count & (count - 1) == 0:
                marks[str(count)] = chain
        found, offset = os.fstat(self._file), state.offset + length
        return replace(
            state, device=found.st_dev, inode=found.st_ino, offset=offset, count=count, chain=chain, marks=marks,
            tail=_tail(self._file, offset),
        )  # fmt: skip

    # ---- where it goes on

    def _is_old(self) -> bool:
        """Whether the file that is open has its name no more, and another one has."""
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _is_placed(self) -> bool:
        """Have a file open in which the lines go on at the known place; False when there is none by now."""
        state = self._state
        if self._file >= 0 and self._is_old():
            found = os.fstat(self._file)
            if (found.st_dev, found.st_ino) != (state.device, state.inode):
                self.close()  # not even that of which lines were taken
        if self._file < 0 and not self._open(self._path):
            return False
        found = os.fstat(self._file)
        is_same = (found.st_dev, found.st_ino) == (state.device, state.inode)
        if state.offset == 0 or (
            is_same and found.st_size >= state.offset and _tail(self._file, state.offset) == state.tail
        ):
            return True
        if self._open_rotated():
            return True
        return self._is_known_again()

    def _open(self, path: str) -> bool:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.notes.append(f"it can't be read: {error.strerror}")
            return False
        self.close()
        self._file = file
        return True

    def _open_rotated(self) -> bool:
        """Open the file that was read last, when it has another name beside this one now, and its rest was not read.

        Its number is no sign: it may have been written anew just before, and another one may have got the number.
        """
        state, (folder, base) = self._state, os.path.split(self._path)
        with os.scandir(folder) as entries:
            names = [
                one.path
                for one in entries
                if (one.inode() == state.inode or one.name.startswith(base)) and one.path != self._path
                if one.is_file() and one.stat().st_size > state.offset
            ]
        for name in sorted(names):
            if os.access(name, os.R_OK):
                file = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                data = os.pread(file, CHUNK, state.offset)
                if _tail(file, state.offset) == state.tail and b"\n" in data:
                    self.close()
                    self._file = file
                    return True
                os.close(file)
        return False

    def _is_known_again(self) -> bool:
        """See whether another content begins with the lines that were taken: then it goes on after them, else anew."""
        found = os.fstat(self._file)
        look = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if look == self._looked:
            return False
        self._looked = look
        state = replace(self._fresh, is_on=self._state.is_on)
        for lines, length, header in self._whole(state.kind):
            state = self._after(replace(state, header=header, delimiter=self._parse.delimiter), lines, length)
            known = self._state.marks
            if any(
                known.get(count, chain) != chain
                for count, chain in state.marks.items()
                if int(count) <= self._state.count
            ):
                self._anew("another file has its name now, or another content")
                return True
            if state.count == self._state.count:
                break
        if state.count < self._state.count:
            if state.count:
                self.notes.append(
                    "it is shorter than what was taken, and begins alike: what is new in it is waited for"
                )
            return False
        if state.chain != self._state.chain:
            self._anew("another file has its name now, or another content")
        else:
            self._state = replace(state, marks=self._state.marks)
        return True

    def _anew(self, note: str) -> None:
        self.notes.append(f"{note}: it is taken from its begin")
        self._state = replace(self._fresh, is_on=self._state.is_on)

    def _whole(self, kind: str) -> Iterator[tuple[list[bytes], int, tuple[str, ...] | None]]:
        """The lines of the open file one by one, each with its bytes, and a CSV's header."""
        with os.fdopen(os.dup(self._file), "rb") as stream:
            stream.seek(0)
            before = 0
            header: tuple[str, ...] | None = None
            for number, line in enumerate(stream):
                if not line.endswith(b"\n"):
                    return
                plain = line[:-1].removeprefix(BOM) if number == 0 else line[:-1]
                if number == 0 and kind == CSV:
                    header, before = self._parse.columns(plain), len(line)
                    continue
                yield [plain], len(line) + before, header
                before = 0


def _tail(file: int, offset: int) -> str:
    """The hash of the bytes before a place of a file."""
    start = max(offset - TAIL, 0)
    return blake2b(os.pread(file, offset - start, start), digest_size=16).hexdigest() if offset else ""
