"""Rows of tables and files as a backend takes them: tables whole, files with their bytes, checked.

A table is handed over with all the rows that were logged of it so far, once, in the place of the first row that the
backend does not have; the rows after it are covered by that. So a thousand `log-table` calls are one upload.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from trk.errors import BackendRefused, JournalError
from trk.journal import blobs, files, freeing, read
from trk.journal.content import TABLE_END
from trk.journal.db import Journal
from trk.records import FILES, Kind, LoggedFile, Rejection, Row, Status
from trk.rules import shown


def rejection(row: Row, reason: str) -> Rejection:
    """A row as rejected."""
    return Rejection(row.n, str(row.kind), row.key or ", ".join(row.values) or None, reason)


def _is_end(row: Row) -> bool:
    return row.kind is Kind.STATUS and row.text != Status.RUNNING


def _first(journal: Journal, needed: Iterable[LoggedFile]) -> str | None:
    """The first trouble with files that a row needs; None when they are all as they were.

    Raises BackendRefused when one can't be read now: the run waits, and others go on.
    """
    try:
        for file in needed:
            if (why := blobs.trouble(file)) is not None:
                removed = freeing.reason(journal, file.sha256) if file.changed_ns is None else None
                return why if removed is None else f"{shown(file.path)}: {removed}"
    except JournalError as error:
        raise BackendRefused(error.message, hint=error.hint) from None
    return None


class Contents:
    """The tables and files of one run on their way to one backend, as far as row `upto`."""

    def __init__(self, journal: Journal, run: int, backend: str) -> None:
        self._journal = journal
        self._run = run
        self._backend = backend
        self.upto = 0
        self._covered: dict[str, int] = {}  # by table: the last row that a hand-over covers
        self._refused: dict[str, str] = {}  # by table: why the backend will not have it
        self._dropped: list[Row] = []  # of the page under way: rows that a hand-over covers
        self._rejected: set[int] = set()  # rows
        self._handed: dict[str, int] = {}  # by table: the row in whose place it was handed over, until it arrived

    def whole(self, rows: Sequence[Row]) -> Sequence[Row]:
        """As many of the next rows as go into one page: the end of a run, which lists its files, begins another."""
        at = next((at for at, row in enumerate(rows) if row.kind is Kind.STATUS and at and _is_end(row)), len(rows))
        return rows[:at]

    def covers(self, row: Row) -> bool:
        """Whether a TABLE row was handed over with one before it."""
        return self._covered.get(row.key or "", 0) >= row.n

    def arrived(self, n: int) -> list[str]:
        """The tables of which the backend now has every row, since it has all up to row `n`."""
        names = [name for name, handed in self._handed.items() if handed <= n and name not in self._refused]
        for name in names:
            del self._handed[name]
        return names

    def prepared(self, rows: Sequence[Row]) -> tuple[list[Row], list[Rejection]]:
        """The next page as it is handed over, and what can't be: files that changed or are gone."""
        self._dropped = []
        ready: list[Row] = []
        rejected: list[Rejection] = []
        for row in rows:
            if row.values:  # most are
                ready.append(row)
            elif row.kind is Kind.TABLE:
                self._table(row, ready, rejected)
            elif row.kind in FILES:
                self._files(row, ready, rejected)
            elif _is_end(row):
                ready.append(self._ended(row))
            elif row.kind is Kind.DEFINE:
                ready.append(self._defined(row))
            else:
                ready.append(row)
        self._rejected.update(entry.n for entry in rejected)
        return ready, rejected

    def _ended(self, row: Row) -> Row:
        """The end of a run, with what the run then has."""
        there = files.newest(self._journal, self._run, row.n, self._backend, self._rejected)
        stats = read.stats(self._journal, self._run)
        # Asked after the numbers were read: what came in between comes after this row.
        final = read.has_all_points(self._journal, self._run, row.n, self._backend)
        return replace(row, files=there, stats=stats, final=final)

    def refused(self, row: Row, reason: str) -> list[Rejection]:
        """A row that the backend will not have, and, of a table, all the rows that were handed over with it."""
        self._rejected.add(row.n)
        if row.kind is not Kind.TABLE:
            return [rejection(row, reason)]
        self._refused[row.key or ""] = reason
        covered = [dropped for dropped in self._dropped if dropped.key == row.key]
        return [rejection(one, reason) for one in (row, *covered)]

    def _defined(self, row: Row) -> Row:
        """A definition as it counts now: runs are handed over one after the other, not in the order of their rows."""
        given = json.loads(row.text or "{}")
        mode = read.mode(self._journal, self._run, row.key or "")
        if mode is None or "mode" not in given or given["mode"] == mode:
            return row
        return replace(row, text=json.dumps({**given, "mode": mode}, separators=(",", ":")))

    def _table(self, row: Row, ready: list[Row], rejected: list[Rejection]) -> None:
        name = row.key or ""
        if self.covers(row):
            if name in self._refused:
                rejected.append(rejection(row, self._refused[name]))
            else:
                self._dropped.append(row)
            return
        path = name + TABLE_END
        table, self._covered[name] = files.table(self._journal, self._run, path, self.upto, self._backend)
        trouble = _first(self._journal, files.table_blobs(self._journal, self._run, path, self.upto))
        if trouble is None:
            ready.append(replace(row, text=None, table=table))
            self._refused.pop(name, None)  # now it may be taken
            self._handed[name] = row.n
        else:
            self._refused[name] = trouble
            rejected.append(rejection(row, trouble))

    def _files(self, row: Row, ready: list[Row], rejected: list[Rejection]) -> None:
        located = files.located(self._journal, self._run, row, self._backend)
        trouble = _first(self._journal, located.files)
        if trouble is None:
            ready.append(located)
        else:
            rejected.append(rejection(row, trouble))
