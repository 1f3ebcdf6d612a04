"""Rows that were logged elsewhere, put into a journal as if they had been logged here.

What each row changes in the live tables is said by the functions that log (`keep_…` in `trk.journal.write`, `content`
and `lifecycle`). Names and values are checked by the caller; here it is what depends on the rows before: no row but a
resumption follows a run's end, a param keeps its value, a table its columns, a path its kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trk.errors import Conflict
from trk.journal import content, lifecycle, write
from trk.journal.write import Rows
from trk.records import FILES, Kind, Status
from trk.rules import shown


@dataclass(frozen=True, slots=True)
class Carried:
    """A row as the journal keeps it. `content` is what its value says, where that is more than a number or a text.

    That is: the points of a metric row by name; the shown text of a summary; `mode` and `step_metric` of a definition;
    the object of a table (`rows` of it, or `count`) or of files (with `digest` for a named artifact).
    """

    kind: Kind
    time_ms: int
    key: str | None
    step: int | None
    value: float | str | None
    content: Any = None


def carried(columns: Sequence[Any]) -> Carried:
    """A row of a journal, from (n, kind, time, key, step, value)."""
    _, name, time_ms, key, step, value = columns
    kind = Kind(name)
    said: Any = None
    if step is not None:
        values = {key: value} if key is not None else json.loads(value)
        said = {name: float(number) for name, number in values.items()}
    elif kind is Kind.SUMMARY:
        said = shown_summary(value)
    elif kind in FILES or kind in (Kind.TABLE, Kind.DEFINE):
        said = json.loads(value)
    if kind is Kind.ARTIFACT:
        said["digest"] = digest(key, said)
    return Carried(kind, time_ms, key, step, value, said)


def shown_summary(text: str) -> str:
    """How a summary value, which is JSON, is shown: a text as itself."""
    value = json.loads(text)
    return value if isinstance(value, str) else text


def digest(name: str, held: Any) -> str:
    """What a version of an artifact holds, wherever in a run it lies."""
    within = len(f"{name}/v{held['version']}/")
    return content.digest_of([{**file, "path": file["path"][within:]} for file in held["files"]])


class Replay:
    """A run whose rows are put in, inside a transaction. Of an `external` one, the owner's texts are not known here."""

    def __init__(self, rows: Rows, *, external: bool = False, deleted: bool = False) -> None:
        self.rows = rows
        self._external = external
        self._deleted = deleted

    @property
    def state(self) -> tuple[str, int, bool]:
        """(status, last row, whether it is deleted), to go on with in another transaction."""
        return self.rows.status, self.rows.n, self._deleted

    def add(self, row: Carried) -> None:
        """Put the next row in. Raises Conflict or UsageError for one that could not have been logged."""
        rows = self.rows
        if row.kind in _STATES:
            self._state(row)
        elif rows.status != Status.RUNNING:
            raise Conflict(f"a {row.kind} row after the run's end")
        elif row.kind is Kind.DELETE_TAG:
            if not write.drop_tag(rows, row.key or "") and not self._external:
                raise Conflict(f"tag {shown(row.key)} is taken away and was not there")
        else:
            _KEEP.get(row.kind, _files)(rows, row)
        rows.append(str(row.kind), row.time_ms, row.key, row.step, row.value)

    def _state(self, row: Carried) -> None:
        """A run ends, is resumed, deleted, restored."""
        if self._external:
            raise Conflict(f"a {row.kind} row of a run that is another program's")
        ended = self.rows.status != Status.RUNNING
        if row.kind is Kind.STATUS:
            if (row.value == Status.RUNNING) != ended or self._deleted:
                raise Conflict(f"status {row.value} of a run that is {self._said()}")
            self.rows.status = str(row.value)
            write.keep_status(self.rows, self.rows.status, row.time_ms)
            return
        deleted = row.kind is Kind.DELETE
        if not ended or deleted == self._deleted:
            raise Conflict(f"a {row.kind} row of a run that is {self._said()}")
        self._deleted = deleted
        lifecycle.keep_deleted(self.rows, deleted, row.time_ms)

    def _said(self) -> str:
        return "deleted" if self._deleted else self.rows.status


_STATES = frozenset({Kind.STATUS, Kind.DELETE, Kind.RESTORE})


def _points(rows: Rows, row: Carried) -> None:
    if row.step is None:  # a summary that is no number
        write.keep_summary(rows, row.key or "", row.content)
        return
    for key, value in row.content.items():
        write.keep_point(rows, key, (row.step, row.time_ms, value))


def _param(rows: Rows, row: Carried) -> None:
    key, value = row.key or "", str(row.value)
    known = write.param(rows.db, rows.run, key)
    if known is None:
        write.keep_param(rows, key, value)
    elif known != value:
        raise Conflict(f"param {shown(key)} is already {shown(known)} in the run and can't become {shown(value)}")


def _tag(rows: Rows, row: Carried) -> None:
    write.keep_tag(rows, row.key or "", str(row.value))


def _definition(rows: Rows, row: Carried) -> None:
    write.keep_definition(rows, row.key or "", row.content.get("mode"), row.content.get("step_metric"))


def _table(rows: Rows, row: Carried) -> None:
    part = row.content
    count = part["count"] if "count" in part else len(part["rows"])
    content.keep_table(rows, row.key or "", part["columns"], part, count, n=rows.n + 1)


def _files(rows: Rows, row: Carried) -> None:
    assert row.kind in FILES
    held, key, n = row.content, row.key or "", rows.n + 1
    content.keep_files(rows, str(row.kind), key, held["files"], held.get("step"), n=n)
    if row.kind is Kind.ARTIFACT:
        content.keep_version(rows, n, key, held["version"], held["type"], held["digest"])


_KEEP: dict[Kind, Callable[[Rows, Carried], None]] = {
    Kind.METRIC: _points,
    Kind.SUMMARY: _points,
    Kind.PARAM: _param,
    Kind.TAG: _tag,
    Kind.DEFINE: _definition,
    Kind.TABLE: _table,
}
