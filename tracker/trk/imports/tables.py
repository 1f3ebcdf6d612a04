"""Metrics in files: CSV, TSV, JSON and Parquet; a metric a row, or a metric a column; or a run a row."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from trk import config, rules
from trk.errors import NotFound, UsageError
from trk.imports import cells, run_tables
from trk.imports.records import End, Head, ImportReport, Progress
from trk.imports.run import RunIntake
from trk.imports.taking import Intake
from trk.journal import blobs
from trk.media import tables
from trk.records import Status
from trk.rules import shown

KEYS, VALUES = ("metric", "key"), ("value",)
STEPS, TIMES, RUNS = ("step", "_step"), ("time", "timestamp", "_timestamp"), ("run_id", "run")
JSON_ENDS = (".jsonl", ".ndjson", ".json")
PARQUET_END = ".parquet"
DEEPEST = 20  # levels of an object in a line
TOLD = 5  # numbers of bad lines that are told
LONGEST_LINE = 1 << 24  # characters
LONGEST_BEGIN = 4096  # characters, of which one says whether a file is one JSON document
TELL_EVERY = 5000  # lines


_NO_LINE = "line {}, which is no line of metrics"
_JOINED = "the end of line {}, which quotes join to those before it"
# The number of its last line, how many lines it is, its cells; None: it is none.
_Row = tuple[int, int, Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column is what. `metric` None: each other column is a metric."""

    step: str | None
    time: str | None
    run: str | None
    params: tuple[str, ...]
    metric: str | None = None
    value: str | None = None

    @property
    def special(self) -> frozenset[str]:
        """Those that are no metrics."""
        found = (self.step, self.time, self.run, self.metric, self.value, *self.params)
        return frozenset(name for name in found if name is not None)


def import_csv(
    file: str | os.PathLike[str],
    *,
    step: str | None = None,
    time: str | None = None,
    params: Sequence[str] | str = (),
    run_column: str | None = None,
    name: str | None = None,
    experiment: str | None = None,
    backends: Sequence[str] | str | None = None,
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Take the metrics of a CSV, TSV, JSON, JSON Lines or Parquet file into the journal; again, only what is new.

    With columns `metric` and `value` each row is a point; else each column of numbers is a metric. `step` and `time`
    name those columns (left out: `step`, `time` or `timestamp`, if there), `run_column` the one that tells runs apart
    (left out: `run_id` or `run`), `params` columns that are params of a run. A step that is nowhere is the metric's
    next, a time that is nowhere the run's start. `name` is the run's (left out: the file's), or what stands before the
    names of several. Where the runs are delivered to is as in `trk.start`, with `backends` and the arguments after it.
    Of a table of runs as `trk.export_runs` writes it each row is a run with its params, tags and last values, at step
    0; `experiment` then counts more than the table's.

    `dry_run` changes nothing. `progress` is told (bytes read, bytes in all, points read). Raises UsageError for a file
    that can't be read or has no such columns, NotFound when it is not there, Conflict, JournalError.
    """
    given = {
        "backends": backends, "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group, "experiment": experiment,
    }  # fmt: skip
    path = os.path.realpath(os.fspath(file))
    if not os.path.lexists(path):
        raise NotFound(f"{shown(os.fspath(file))} is not there")
    if name is not None:
        rules.check_title(name, "run name")
    listed = params.split(",") if isinstance(params, str) else params
    wanted = _Columns(step, time, run_column, tuple(column for column in listed if column))
    with (
        os.fdopen(blobs.open_regular(path), encoding="utf-8-sig", errors="replace", newline="") as stream,
        Intake("csv", given, dry_run=dry_run, progress=progress) as intake,
    ):
        _Reading(intake, stream, path, wanted, name, experiment).read()
        return intake.report()


@dataclass(slots=True)
class _One:
    """A run of the file on its way, with the next step of each metric that is told without one."""

    intake: RunIntake | None
    next_step: dict[str, int] = field(default_factory=dict)


class _Reading:
    """A file being read."""

    def __init__(
        self, intake: Intake, stream: TextIO, path: str, wanted: _Columns, name: str | None, experiment: str | None
    ) -> None:
        self._intake = intake
        self._given_experiment = experiment
        self._stream = stream
        self._path = path
        self._wanted = wanted
        self._name = name
        self._runs: dict[str, _One] = {}
        self._bad = 0
        self._joined = 0
        self._texts: set[str] = set()  # of several lines, that are params here
        self._columns, self._special = wanted, wanted.special
        end = Path(path).suffix.lower()
        self._is_parquet = end == PARQUET_END
        self._is_json = end in JSON_ENDS or self._is_parquet  # whose texts are exact, also those on several lines
        self._of_runs = False

    def read(self) -> None:
        """All of it."""
        size = os.fstat(self._stream.fileno()).st_size
        for number, (last, lines, values) in enumerate(self._source(), 1):
            if values is None or not self._take(values):
                self._bad = self._skip(_NO_LINE, last - lines + 1, last, self._bad)
            elif lines > 1 and not self._is_known(values):
                self._joined = self._skip(_JOINED, last - lines + 2, last, self._joined)
            if number % TELL_EVERY == 0:
                self._intake.at(min(self._stream.buffer.tell(), size), size)
        self._intake.skip("more lines that are no lines of metrics", max(self._bad - TOLD, 0))
        self._intake.skip("more lines that quotes join to those before them", max(self._joined - TOLD, 0))
        if not self._runs:
            raise UsageError(f"{shown(self._path)} has no metrics", hint="trk help import")
        for one in self._runs.values():
            if one.intake is not None:
                one.intake.end(End(Status.FINISHED, None))
        self._intake.at(size, size)

    def _skip(self, reason: str, first: int, last: int, before: int) -> int:
        """Lines that are not taken, after so many others; the first ones are named. Returns how many there are now."""
        for number in range(first, min(last + 1, first + max(TOLD - before, 0))):
            self._intake.skip(reason.format(number))
        return before + last - first + 1

    def _is_known(self, row: Mapping[str, Any]) -> bool:
        """Whether all that is on several lines of a row is a param's text."""
        return all(
            (column in self._columns.params and cell in self._texts)
            for column, cell in row.items()
            if isinstance(cell, str) and _is_on_lines(cell)
        )

    # ---- lines

    def _source(self) -> Iterator[_Row]:
        if self._is_parquet:
            return self._table("parquet")
        if not self._is_json:
            return self._rows()
        begin = self._stream.read(LONGEST_BEGIN).lstrip()
        self._stream.seek(0)
        return self._table("json") if begin.startswith("[") else self._objects()

    def _table(self, kind: str) -> Iterator[_Row]:
        """The rows of what is one document."""
        found = tables.read_file(self._path, type=kind)
        self._settle(found.columns)
        for number, row in enumerate(found.rows, 1):
            yield number, 1, self._flat(dict(zip(found.columns, row, strict=True)))

    def _flat(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row if self._of_runs else dict(_flat(row, "", DEEPEST))

    def _rows(self) -> Iterator[_Row]:
        head = self._stream.readline(LONGEST_LINE)
        lines = _Lines(head, self._stream)
        reader = csv.reader(lines, delimiter=_delimiter(head, self._path))
        columns = self._header(reader, lines)
        self._settle(columns)
        width = len(columns)
        while True:
            before = reader.line_num
            try:
                row = next(reader, None)
            except csv.Error:  # a cell that is longer than the reader takes
                row = [""] * (width + 1)
                self._check_quotes(before + 1, reader.line_num)
            if row is None:
                return
            if lines.is_over:  # the row was not at its end
                self._check_quotes(before + 1, reader.line_num)
            if row:
                is_whole = len(row) <= width and not lines.is_over
                values = dict(zip(columns, row, strict=False)) if is_whole else None
                yield reader.line_num, reader.line_num - before, values

    def _check_quotes(self, first: int, last: int) -> None:
        """Raise UsageError for a cell that goes on from one line to others without an end: all of them were lost."""
        if last > first:
            raise UsageError(
                f"{shown(self._path)}: in line {first} a quote opens that nothing closes",
                hint="mend that line, then the same command again: it goes on where it was",
            )

    def _header(self, reader: Iterator[list[str]], lines: _Lines) -> list[str]:
        """The names of the columns. Raises UsageError for what can't be."""
        if "\0" in lines.head:
            raise UsageError(f"{shown(self._path)} is no text in UTF-8", hint="trk help import")
        try:
            columns = [column.strip() for column in next(reader, [])]
        except csv.Error:
            raise UsageError(f"{shown(self._path)} has a column whose name is too long") from None
        if lines.is_over or any(map(_is_on_lines, columns)):
            raise UsageError(f"{shown(self._path)}: in its first line a quote opens that it does not close")
        if len(set(columns)) != len(columns):
            raise UsageError(f"{shown(self._path)} has two columns of one name", hint="name each column otherwise")
        if not any(columns):
            raise UsageError(f"{shown(self._path)} is empty, or begins with an empty line")
        return columns

    def _objects(self) -> Iterator[_Row]:
        is_first = True
        for number, line in enumerate(_pieces(self._stream), 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
                flat = dict(_flat(found, "", DEEPEST)) if isinstance(found, dict) else None
            except (ValueError, RecursionError):
                flat = None
            if is_first and flat is not None:
                self._settle(flat, some_missing=True)
                is_first = False
            yield number, 1, found if self._of_runs and flat is not None else flat

    def _settle(self, names: Sequence[str] | Mapping[str, Any], some_missing: bool = False) -> None:
        self._of_runs = run_tables.is_one(names) and self._wanted == _Columns(None, None, None, ())
        self._columns = _found(self._wanted, names, self._path, some_missing)
        self._special = self._columns.special

    def _take(self, row: Mapping[str, Any]) -> bool:
        """One row; whether it was one."""
        if self._of_runs:
            return self._take_run(row)
        columns = self._columns
        try:
            step = cells.step(row.get(columns.step)) if columns.step is not None else None
            time_ms = cells.time(row.get(columns.time)) if columns.time is not None else None
        except UsageError:
            return False
        values = self._values(row)
        if values is None:
            return False
        label = str(row.get(columns.run) or "") if columns.run is not None else ""
        if not self._is_json and _is_on_lines(label):
            return False
        one = self._runs.get(label)
        if one is None:
            if not (values or label or columns.params):  # text alone makes no run
                return True
            one = self._runs[label] = self._begun(label, row, time_ms)
        if one.intake is not None and values:
            self._add(one, one.intake, time_ms, step, values)
        return True

    def _take_run(self, row: Mapping[str, Any]) -> bool:
        """A row that is a run; whether it was one."""
        label = str(row.get("run_id") or "")
        if not label or label in self._runs:
            return False
        place = str(Path(self._path).parent)
        given = self._given_experiment
        try:
            head = run_tables.head(row, f"csv:{self._path}#{label}", place, given, self._experiment)
            end = run_tables.end(row)
        except UsageError:
            return False
        self._runs[label] = _One(None)
        run = self._intake.begin(replace(head, name=f"{self._name} {head.name}") if self._name else head)
        if run is not None:
            found = {key: cells.number(value) for key, value in run_tables.part(row, "metrics").items()}
            self._intake.skip("cells that are no numbers", sum(value is None for value in found.values()))
            values = {key: value for key, value in found.items() if value is not None}
            run.line(run.start_ms if end.end_ms is None else end.end_ms, 0, values)
            run.end(end)
        return True

    @property
    def _experiment(self) -> str:
        return str(self._intake.resolved.get("experiment") or config.DEFAULT_EXPERIMENT)

    def _add(
        self, one: _One, run: RunIntake, time_ms: int | None, step: int | None, values: Mapping[str, float]
    ) -> None:
        time_ms = run.start_ms if time_ms is None else time_ms
        if step is not None:
            run.line(time_ms, step, values)
            return
        for key, value in values.items():
            step = one.next_step.get(key, 0)
            one.next_step[key] = step + 1
            run.line(time_ms, step, {key: value})

    def _values(self, row: Mapping[str, Any]) -> dict[str, float] | None:
        columns = self._columns
        if columns.metric is not None:
            key, text = row.get(columns.metric), row.get(columns.value or "")
            value = cells.number(text)
            is_name = key and (self._is_json or not _is_on_lines(key))
            return {str(key): value} if is_name and value is not None else None
        values = {}
        special = self._special
        for key, text in row.items():
            if key in special or text is None or text == "" or not key:
                continue
            value = cells.number(text)
            if value is None:
                self._intake.skip("cells that are no numbers")
            else:
                values[key] = value
        return values

    def _begun(self, label: str, row: Mapping[str, Any], time_ms: int | None) -> _One:
        known = Path(self._path)
        origin = f"csv:{self._path}" + (f"#{label}" if label else "")
        place = str(known.parent)
        stem = self._name or known.stem
        name = (f"{self._name} {label}" if self._name else label) if label else stem
        start = self._intake.started(origin, place)
        if start is None:
            start = time_ms if time_ms is not None else int(known.stat().st_mtime * 1000)
        params = {key: str(row[key]) for key in self._columns.params if row.get(key) not in (None, "")}
        self._texts.update(filter(_is_on_lines, params.values()))
        return _One(self._intake.begin(Head(origin, place, name, self._experiment, start, params=params)))


class _Lines:
    """The lines of a file from its first on; `is_over` when one was asked for and there was none."""

    def __init__(self, head: str, stream: TextIO) -> None:
        self.head = head
        self.is_over = False
        self._lines = itertools.chain((head,), _pieces(stream))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            self.is_over = True
            raise


def _is_on_lines(cell: str) -> bool:
    return "\n" in cell or "\r" in cell


def _pieces(stream: TextIO) -> Iterator[str]:
    """The lines of a file; one that is longer than any memory should hold comes in pieces, which are no lines."""
    return iter(lambda: stream.readline(LONGEST_LINE), "")


def _delimiter(head: str, path: str) -> str:
    if path.lower().endswith((".tsv", ".tab")):
        return "\t"
    return max(",;\t", key=head.count) if head else ","


def _found(
    wanted: _Columns, columns: Sequence[str] | Mapping[str, Any], path: str, some_missing: bool = False
) -> _Columns:
    """Which of these columns is what. Raises UsageError for one that was asked for and is not there."""
    named = (wanted.step, wanted.time, wanted.run, *wanted.params)
    missing = [name for name in named if name is not None and name not in columns]
    if missing and not some_missing:
        raise UsageError(
            f"{shown(os.path.basename(path))} has no column {shown(missing[0])}",
            hint="columns: " + ", ".join(shown(column) for column in list(columns)[:20]),
        )

    def pick(given: str | None, usual: Sequence[str]) -> str | None:
        return given or next((name for name in usual if name in columns), None)

    metric, value = pick(None, KEYS), pick(None, VALUES)
    is_long = metric is not None and value is not None
    return _Columns(
        pick(wanted.step, STEPS), pick(wanted.time, TIMES), pick(wanted.run, RUNS), wanted.params,
        metric if is_long else None, value if is_long else None,
    )  # fmt: skip


def _flat(found: Mapping[str, Any], before: str, levels: int) -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, dict) and levels:
            yield from _flat(value, f"{before}{key}/", levels - 1)
        else:
            yield before + key, value
