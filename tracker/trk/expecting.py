"""What the journal expects a backend to have of a run, and what else it may have.

Expected is what the rows up to the cursor left there, unless they were rejected or skipped. Rejected rows and rows
beyond the cursor may have left something too: a part of a batch, a hand-over that was not noted yet. What they would
leave is no difference, whether it is there or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from trk.backends.base import Trace
from trk.journal import files, read
from trk.journal.content import TABLE_END
from trk.journal.db import Journal
from trk.records import FILES, Delivery, Kind, LoggedTable, Row, Status
from trk.rules import HUGE

PAGE = 5000  # rows read at once
_ALL = 2**62  # beyond every row
ANYTHING = ""  # among what may be at a path: a file that changed while it was handed over

Point = tuple[int, int, float]  # step, milliseconds, value
State = tuple[str, int | None]  # a status, and when the run ended
_NAN = math.nan  # a set knows this one object again; no NaN equals another


def same(value: float) -> float:
    """A value as it compares: one NaN, and infinite from where MLflow's databases hold infinity."""
    if value != value:
        return _NAN
    return math.copysign(math.inf, value) if abs(value) >= HUGE else value


class Expected:
    """What a backend is expected to have of one run. `traces` is the backend's; `external` is another program's run."""

    def __init__(
        self,
        journal: Journal,
        run: int,
        backend: str,
        state: Delivery,
        traces: Callable[[Row], Sequence[Trace]],
        *,
        external: bool,
    ) -> None:
        self.cursor = state.logged - state.pending
        self.points: dict[str, set[Point]] = {}
        self.texts: dict[tuple[str, str], Trace] = {}
        self.tables: dict[str, int] = {}  # by path: the last row
        self.state: State = (str(Status.RUNNING), None)
        self.deleted = False
        self.may = Possible()
        self._journal = journal
        self._run = run
        self._backend = backend
        self._traces = traces
        self.external = external
        self._seen = self.cursor  # the row up to which `may` knows
        self._left_out = left_out = read.left_out(journal, run, backend)
        for row in _rows(journal, run, 0, self.cursor):
            skipped = left_out.get(row.n)
            if skipped is None:
                self._take(row)
            elif not skipped:
                self.may.take(row, self._left(row))

    def catch_up(self) -> Possible:
        """What may be there, by all rows that are logged now: a deliverer may be at work while a backend is asked."""
        for row in _rows(self._journal, self._run, self._seen, None):
            self.may.take(row, self._left(row))
            self._seen = row.n
        return self.may

    def table(self, path: str, upto: int = _ALL) -> LoggedTable:
        """A table with what was logged of it up to row `upto`."""
        return files.table(self._journal, self._run, path, upto)[0]

    def _left(self, row: Row) -> Sequence[Trace]:
        return self._traces(self._located(row) if row.kind in FILES else row)

    def _located(self, row: Row) -> Row:
        """A row with its files. What was there before can't be beside them where its own row was not taken."""
        located = files.located(self._journal, self._run, row)
        kept = [replace(file, freed=file.freed and file.earlier not in self._left_out) for file in located.files]
        return replace(located, files=tuple(kept))

    def _take(self, row: Row) -> None:
        for key, value in row.values.items():
            self.points.setdefault(key, set()).add((row.step or 0, row.time_ms, same(value)))
        if row.kind is Kind.TABLE:
            self.tables[(row.key or "") + TABLE_END] = row.n
        elif row.kind is Kind.STATUS:
            self.state = state_of(row)
        elif row.kind in (Kind.DELETE, Kind.RESTORE):
            self.deleted = row.kind is Kind.DELETE
        elif not row.values:
            left = self._left(row)
            # Of another program's run nobody here knows what was there before.
            is_late = self.external or any(trace.first and (trace.kind, trace.key) in self.texts for trace in left)
            for trace in left:
                if not (trace.first and is_late):
                    self._keep(trace)

    def _keep(self, trace: Trace) -> None:
        name = (trace.kind, trace.key)
        self.may.texts.pop(name, None)
        if trace.text is None:
            self.texts.pop(name, None)
        else:
            self.texts[name] = trace


class Possible:
    """What may be there beside what is expected, or in its place; None stands for nothing."""

    def __init__(self) -> None:
        self.points: dict[str, set[Point]] = {}
        self.texts: dict[tuple[str, str], set[str | None]] = {}
        self.tables: set[str] = set()
        self.states: set[State] = set()
        self.deleted: set[bool] = set()

    def take(self, row: Row, traces: Sequence[Trace]) -> None:
        """Take what a row may have left."""
        for key, value in row.values.items():
            self.points.setdefault(key, set()).add((row.step or 0, row.time_ms, same(value)))
        for trace in traces:
            self.texts.setdefault((trace.kind, trace.key), set()).add(trace.text)
        for file in row.files:
            if file.changed_ns is not None:
                self.texts.setdefault(("file", file.path), set()).add(ANYTHING)
        if row.kind is Kind.TABLE:
            self.tables.add((row.key or "") + TABLE_END)
        elif row.kind is Kind.STATUS:
            self.states.add(state_of(row))
        elif row.kind in (Kind.DELETE, Kind.RESTORE):
            self.deleted.add(row.kind is Kind.DELETE)

    def text(self, kind: str, key: str, text: str | None) -> bool:
        """Whether this may be there."""
        known = self.texts.get((kind, key), ())
        return text in known or (kind == "file" and ANYTHING in known)


def state_of(row: Row) -> State:
    """What a STATUS row makes of a run."""
    return str(row.text), None if row.text == Status.RUNNING else row.time_ms


def _rows(journal: Journal, run: int, after: int, upto: int | None) -> Iterator[Row]:
    """The rows of a run after a number, and no further than `upto`."""
    while page := read.rows_after(journal, run, after, PAGE if upto is None else min(PAGE, upto - after)):
        yield from page
        after = page[-1].n
