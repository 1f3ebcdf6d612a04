"""Lines on their way into a run: parsed as they come, and written in transactions bounded by rows and by time.

`trk log` feeds what it reads to a `Pipe`, `Run.log_lines` gives it an iterable. When nothing is told otherwise, what a
bad line says is left out and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from trk.errors import TrkError, UsageError
from trk.journal import bulk, db
from trk.journal.write import now_ms
from trk.lines import MAX_KEPT, MAX_LINE, BadLine, Lines, LoggedLines, Said, decoded
from trk.run import Run

ROWS = 16_000  # a transaction of so many rows takes some 30 ms, for which others wait
LINGER_S = 0.05  # how long a line may wait for others to be written with
_TOGETHER = 2000  # lines of Python that are parsed at once

Outcome = tuple[int, int] | TrkError | None
"""What became of a line: its row's number and step, why it was not logged, or None when there was nothing in it."""


class Pipe:
    """Lines of a stream on their way into a run.

    `answer` is told what became of each line, in order, once it is durable; `tell` of each bad line. With `strict` the
    first bad line raises UsageError, with the lines before it logged and none behind it.
    """

    def __init__(
        self,
        run: Run,
        *,
        strict: bool = False,
        answer: Callable[[Sequence[Outcome]], None] | None = None,
        tell: Callable[[BadLine], None] | None = None,
    ) -> None:
        self.run = run
        self.waiting: list[Said | UsageError | None] = []  # what lines say that are not written yet
        self._strict = strict
        self._answer = answer
        self._tell = tell
        self._parser = Lines(run.metric_name)
        self._rest = b""  # of a line that has not ended yet
        self._is_skipping = False  # a line that is too long
        self._begun = False
        self._number = 0  # of the last line that was written
        self._logged = self._points = self._bad = 0
        self._bad_lines: list[BadLine] = []
        self._last: tuple[int | None, int | None] = (None, None)

    @property
    def report(self) -> LoggedLines:
        """What became of the lines so far."""
        return LoggedLines(self._logged, self._points, self._bad, tuple(self._bad_lines), *self._last)

    @property
    def is_due(self) -> bool:
        """Whether as many lines wait as are written at once."""
        return len(self.waiting) >= ROWS

    def feed(self, chunk: bytes) -> None:
        """Take bytes of the stream; at most as many at once as the longest line may have."""
        if self._is_skipping:
            end = chunk.find(b"\n") + 1
            if not end:
                return
            chunk = chunk[end:]
            self._skipped()
        data = self._rest + chunk
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if end > MAX_LINE and (first := data.find(b"\n") + 1) > MAX_LINE:
            self._skipped()
            data, end = data[first:], end - first
        if end:
            self.read(decoded(data[:end]))
        if len(self._rest) >= MAX_LINE:
            self._rest, self._is_skipping = b"", True

    def _skipped(self) -> None:
        self._is_skipping, self._begun = False, True
        self.waiting.append(UsageError(f"the line has more than {MAX_LINE:,} bytes"))

    def read(self, text: str) -> None:
        """Take whole lines."""
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        self.waiting += self._parser.read(text, now_ms())

    def say(self, line: str | Mapping[str, object]) -> None:
        """Take one line, or what stands for it."""
        self._begun = True
        try:
            self.waiting.append(self._parser.say(line, now_ms()))
        except UsageError as error:
            self.waiting.append(error)

    def finish(self) -> None:
        """The stream has ended: take its last line, which may have no end, and write all. Raises as `flush`."""
        rest, self._rest = self._rest, b""
        if self._is_skipping:
            self._skipped()
        elif rest:
            self.read(decoded(rest))
        self.flush()

    def flush(self) -> None:
        """Make what waits durable. Raises Conflict, NotFound, JournalError, and with `strict` UsageError."""
        if self.waiting:
            db.close_all(replaced=True)  # nothing more goes into a file that was deleted or moved away
        while self.waiting:
            found, self.waiting = self.waiting[: 2 * ROWS], self.waiting[2 * ROWS :]
            if self._strict and (
                bad := next((at for at, one in enumerate(found) if isinstance(one, UsageError)), None)
            ):
                del found[bad + 1 :]
                self.waiting.clear()
            said = [one for one in found if isinstance(one, tuple)]
            try:
                done = bulk.stream(self.run.journal, self.run.id, said, stop=self._strict) if said else (0, (), {})
            except TrkError as error:
                self.waiting.clear()
                if self._answer is not None:
                    self._answer([error if isinstance(one, tuple) else one for one in found])
                raise
            self._written(found, *done)

    def _written(
        self,
        found: list[Said | UsageError | None],
        before: int,
        whole: Sequence[Said | None],
        refused: Mapping[int, UsageError],
    ) -> None:
        """Count what was written, answer and tell."""
        rows = [one for one in whole if one is not None]
        if rows:
            self._logged += len(rows)
            self._points += sum([1 if key is not None else len(value) for _, _, key, value in rows])
            self._last = (before + len(rows), rows[-1][1])
        if self._answer is not None or len(rows) < len(found):
            self._account(found, before, whole, refused)
        else:
            self._number += len(found)
        if rows:
            self.run._look()

    def _account(
        self,
        found: list[Said | UsageError | None],
        before: int,
        whole: Sequence[Said | None],
        refused: Mapping[int, UsageError],
    ) -> None:
        """Go through the lines one by one: answer them, and note the bad ones."""
        outcomes: list[Outcome] = []
        at, n = 0, before
        first: UsageError | None = None
        for one in found:
            self._number += 1
            outcome: Outcome = None if isinstance(one, tuple) else one
            if isinstance(one, tuple):
                outcome = refused.get(at)
                if outcome is None:
                    n += 1
                    outcome = (n, _step(whole[at]))
                at += 1
            outcomes.append(outcome)
            if isinstance(outcome, UsageError):
                self._note(BadLine(self._number, outcome.message))
                if self._strict:
                    first = UsageError(f"line {self._number}: {outcome.message}", hint=self._hint())
                    break
        if self._answer is not None:
            self._answer(outcomes)
        if first is not None:
            self.waiting.clear()
            raise first

    def _hint(self) -> str:
        return f"lines logged before it: {self._logged}; it and what follows: none"

    def _note(self, bad: BadLine) -> None:
        self._bad += 1
        if len(self._bad_lines) < MAX_KEPT:
            self._bad_lines.append(bad)
        if self._tell is not None:
            self._tell(bad)


def _step(said: Said | None) -> int:
    assert said is not None
    assert said[1] is not None  # it has its row
    return said[1]


def log_lines(run: Run, lines: Iterable[str | bytes | Mapping[str, object]], *, strict: bool = False) -> LoggedLines:
    """`Run.log_lines`."""
    if isinstance(lines, (str, bytes, Mapping)):
        raise UsageError(f"lines are wanted, not one {type(lines).__name__}", hint="[line], or text.splitlines()")
    pipe = Pipe(run, strict=strict)
    held: list[str] = []

    def write() -> None:
        if held:
            pipe.read("\n".join(held) + "\n")
            held.clear()

    due = monotonic() + LINGER_S
    try:
        for line in lines:
            if isinstance(line, bytes):
                line = decoded(line)
            if isinstance(line, str) and "\n" not in (line := line.removesuffix("\n")):
                held.append(line)
            else:
                write()
                pipe.say(line)
            is_late = monotonic() >= due
            if is_late or len(held) >= _TOGETHER:
                write()
            if is_late or pipe.is_due:
                pipe.flush()
                due = monotonic() + LINGER_S
    finally:  # what was given is logged, also when whoever gives the lines fails
        write()
        pipe.flush()
    return pipe.report
