"""Rows of tables and files as a backend takes them: tables whole, files with their bytes, checked.

A table is handed over with all the rows that were logged of it so far, once, in the place of the first row that the
backend does not have; the rows after it are covered by that. So a thousand `log-table` calls are one upload.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trk.journal import blobs, files
from trk.journal.content import TABLE_END
from trk.journal.db import Journal
from trk.records import FILES, Kind, LoggedFile, Rejection, Row, Status


def rejection(row: Row, reason: str) -> Rejection:
    """A row as rejected."""
    return Rejection(row.n, str(row.kind), row.key or ", ".join(row.values) or None, reason)


def _first(needed: Iterable[LoggedFile]) -> str | None:
    """The first trouble with files that a row needs; None when they are all as they were."""
    return next((why for file in needed if (why := blobs.trouble(file))), None)


class Contents:
    """The tables and files of one run on their way to one backend, as far as row `upto`."""

    def __init__(self, journal: Journal, run: int, upto: int) -> None:
        self._journal = journal
        self._run = run
        self._upto = upto
        self._covered: dict[str, int] = {}  # by table: the last row that a hand-over covers
        self._refused: dict[str, str] = {}  # by table: why the backend will not have it
        self._dropped: list[Row] = []  # of the page under way: rows that a hand-over covers

    def prepared(self, rows: Sequence[Row]) -> tuple[list[Row], list[Rejection]]:
        """The next page as it is handed over, and what can't be: files that changed or are gone."""
        self._dropped = []
        ready: list[Row] = []
        rejected: list[Rejection] = []
        for row in rows:
            if row.kind is Kind.TABLE:
                self._table(row, ready, rejected)
            elif row.kind in FILES:
                self._files(row, ready, rejected)
            elif row.kind is Kind.STATUS and row.text != Status.RUNNING:
                ready.append(replace(row, files=files.newest(self._journal, self._run, row.n)))
            else:
                ready.append(row)
        return ready, rejected

    def refused(self, row: Row, reason: str) -> list[Rejection]:
        """A row that the backend will not have, and, of a table, all the rows that were handed over with it."""
        if row.kind is not Kind.TABLE:
            return [rejection(row, reason)]
        self._refused[row.key or ""] = reason
        covered = [dropped for dropped in self._dropped if dropped.key == row.key]
        return [rejection(one, reason) for one in (row, *covered)]

    def _table(self, row: Row, ready: list[Row], rejected: list[Rejection]) -> None:
        name = row.key or ""
        if self._covered.get(name, 0) >= row.n:
            if name in self._refused:
                rejected.append(rejection(row, self._refused[name]))
            else:
                self._dropped.append(row)
            return
        path = name + TABLE_END
        table, self._covered[name] = files.table(self._journal, self._run, path, self._upto)
        trouble = _first(files.table_blobs(self._journal, self._run, path, self._upto))
        if trouble is None:
            ready.append(replace(row, text=None, table=table))
        else:
            self._refused[name] = trouble
            rejected.append(rejection(row, trouble))

    def _files(self, row: Row, ready: list[Row], rejected: list[Rejection]) -> None:
        located = files.located(self._journal, self._run, row)
        trouble = _first(located.files)
        if trouble is None:
            ready.append(located)
        else:
            rejected.append(rejection(row, trouble))
