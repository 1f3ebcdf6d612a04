"""Files that grow, line by line into a run: JSON Lines as `trk log` takes them, and CSV with a header.

Up to where a file is in the run is kept in the transaction of its lines: whoever is killed when, no line is lost and
none comes twice. A file is known again by what is in it, not by its name: one that is written anew with the same
beginning goes on (also a CSV that has got more columns), one with another content is taken from its begin.
"""

from __future__ import annotations

from collections.abc import Callable

from trk.errors import Conflict, NotFound, TrkError, UsageError
from trk.growing.reading import Reader, State, Taken
from trk.journal import bulk, lifecycle, watched
from trk.journal.write import now_ms
from trk.lines import MAX_KEPT, BadLine, LoggedLines, Said
from trk.rules import shown
from trk.run import Run

ROWS = 16_000  # in a transaction
MOST_AGAIN = 100  # tries while others take lines of the same file

Warn = Callable[[str], None]


def warned(text: str) -> None:
    """Warn as Python does."""
    import warnings

    warnings.warn(text, stacklevel=4)


def catch_up(run: Run, warn: Warn = warned) -> None:
    """Take what files that are watched for a run have by now; what `trk end` does before it ends the run.

    Only those whose watching was not ended: whoever watches may be a moment behind, or was killed.
    """
    for path, kept in watched.paths(run.journal, run.id):
        state = State.read(kept)
        if state is None or not state.is_on:
            continue
        try:
            watching = Watching(run, path, warn, state.kind, state.step, state.time)
            watching.take()
            watching.finish(is_on=False)
        except (OSError, TrkError) as error:  # the run is ended all the same
            warn(f"{shown(path)}: {error}")


class Watching:
    """A file being taken into a run."""

    def __init__(self, run: Run, path: str, warn: Warn, kind: str, step: str | None, time: str | None) -> None:
        self.is_over = False  # whether the run has ended
        self._run = run
        self._path = path
        self._warn = warn
        self._options = (kind, step, time)
        self._logged = self._points = self._bad = 0
        self._bad_lines: list[BadLine] = []
        self._last: tuple[int | None, int | None] = (None, None)
        self._told: set[str] = set()
        self._reader = self._resumed()

    @property
    def report(self) -> LoggedLines:
        """What became of the lines so far."""
        return LoggedLines(self._logged, self._points, self._bad, tuple(self._bad_lines), *self._last)

    def _resumed(self) -> Reader:
        """A reader at the place that the journal knows."""
        kept = watched.state(self._run.journal, self._run.id, self._path)
        return Reader(self._path, self._options, kept, self._run.metric_name)

    def begin(self) -> None:
        """Keep that somebody watches: who ends the run then takes what is there. Raises Conflict, NotFound."""
        self._beside_others(lambda: self._write(self._reader.hello()))

    def take(self) -> int:
        """Take all whole lines that are there; returns how many points that were."""
        if not lifecycle.is_open(self._run.journal, self._run.id):
            self._over()
            return 0
        before = self._points
        try:
            self._beside_others(self._write_all)
        except Conflict:
            if lifecycle.is_open(self._run.journal, self._run.id):
                raise
            self._over()
        self._say(self._reader.notes)
        return self._points - before

    def _write_all(self) -> None:
        while (taken := self._reader.next(ROWS, now_ms())) is not None:
            self._write(taken)

    def _beside_others(self, write: Callable[[], None]) -> None:
        """Write, and once more from the journal's place when another one has just taken lines of this file."""
        for _ in range(MOST_AGAIN):
            try:
                write()
                return
            except watched.Moved:
                self._reader.close()
                self._reader = self._resumed()

    def _over(self) -> None:
        self.is_over = True
        self._reader.close()
        self._reader = self._resumed()  # who ended it may have taken the last lines
        if (left := self._reader.unread()) > 0:
            self._warn(f"run {self._run.id} has ended: {left:,} bytes of {shown(self._path)} are not in it")

    def _write(self, taken: Taken) -> None:
        """Make lines durable, and with them how far they go."""
        run = self._run
        said: list[Said] = [one for one in taken.said if isinstance(one, tuple)]
        mark = watched.mark(self._path, taken.before, taken.after)
        before, whole, refused = bulk.stream(run.journal, run.id, said, mark=mark)
        self._reader.written(taken)
        rows = [one for one in whole if one is not None]
        if rows:
            self._logged += len(rows)
            self._points += sum([1 if key is not None else len(value) for _, _, key, value in rows])
            self._last = (before + len(rows), rows[-1][1])
        at = 0
        for number, one in enumerate(taken.said, taken.first):
            error = one if isinstance(one, UsageError) else None
            if isinstance(one, tuple):
                error = refused.get(at)
                at += 1
            if error is not None:
                self._note(BadLine(number, error.message))
        if rows:
            run._look()

    def _note(self, bad: BadLine) -> None:
        self._bad += 1
        if len(self._bad_lines) < MAX_KEPT:
            self._bad_lines.append(bad)

    def _say(self, notes: list[str]) -> None:
        for note in notes:
            if note not in self._told:
                self._told.add(note)
                self._warn(f"{shown(self._path)}: {note}")
        notes.clear()

    def finish(self, *, is_on: bool) -> None:
        """Take a last line that is whole though nothing ends it; keep that nobody watches any more."""
        try:
            if not self.is_over:
                self._beside_others(lambda: self._write(self._reader.last(now_ms(), is_on)))
        except (Conflict, NotFound):  # the run was ended at this moment
            self._over()
        self._say(self._reader.notes)
        self._reader.close()
