"""Runs and histories taken along, as files that other programs read."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from trk.errors import UsageError
from trk.query import cells, sorting, sources, written
from trk.query import columns as cols
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, check_count, source_of, warn_python
from trk.query.filters import Moment
from trk.query.histories import Chosen, read
from trk.query.sources import Source, Warn
from trk.query.written import Table, Type
from trk.records import MetricPoint, RunRecord
from trk.whole import put_whole

Target = str | os.PathLike[str] | BinaryIO

_TYPES: Mapping[str, Type] = {
    "metrics": "number", "started": "time", "start_time": "time", "end_time": "time", "duration": "number",
    "duration_s": "number",
}  # fmt: skip
_POINTS: Mapping[str, Type] = {
    "run_id": "text",
    "metric": "text",
    "step": "integer",
    "time": "time",
    "value": "number",
}


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """What was written: `format`, how many rows, the columns, and the size of the file in bytes.

    `path` is None when it was written into a file that was open.
    """

    path: str | None
    format: str
    rows: int
    columns: Sequence[str]
    size: int


def export_runs(
    path: Target,
    runs: RunName | Sequence[RunName] | None = None,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    columns: str | Iterable[str] | None = None,
    experiment: str | None = None,
    filter: str | None = None,  # noqa: A002 - as in search
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    sort: str | None = None,
    n: int | None = None,
    source: str | None = None,
    overwrite: bool = False,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> ExportedTable:
    """Write runs into a file: csv, tsv, json, jsonl or parquet, as `format` or the ending of `path` says.

    `runs` are ids, prefixes, names or runs; left out it is all, or those that are chosen as in `trk.search`. Each is a
    row with its attributes, params, metrics (last values) and tags, or with the `columns` asked for
    ("name,metrics.f1,params.*"). `path` may be a file that is open for writing in bytes, which needs `format`. The file
    is there when it is whole, or not at all.

    In CSV and TSV, a text that a spreadsheet would compute has an apostrophe before it; the other formats hold every
    text as it was logged. Raises NotFound, UsageError for a file that is there already unless `overwrite`, and when
    pyarrow is missing for Parquet, JournalError when it can't be written, SourceUnavailable.
    """
    chosen = Chosen.of(runs, filter, experiment, status, since, until, all_unless_named=True)
    asked = None if columns is None else cols.parse(columns)
    order = sorting.parse_order(sort) if sort else None
    if n is not None:
        check_count(n, "n", 0)

    def made(found: Source) -> Table:
        records = chosen.runs(found)
        records = (records if order is None else sorting.in_order(records, order))[:n]
        return _of_runs(records, asked)

    return _export(path, format, overwrite, chosen, source, timeout, warn, made)


def export_history(
    path: Target,
    metric: str | Sequence[str] = "*",
    runs: RunName | Sequence[RunName] | None = None,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    experiment: str | None = None,
    filter: str | None = None,  # noqa: A002 - as in search
    status: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    source: str | None = None,
    overwrite: bool = False,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> ExportedTable:
    """Write every point of metrics (names or globs; left out: all) into a file, as `export_runs` writes runs.

    A point is a row: run_id, metric, step, time, value. Runs without a metric are no reason to say anything; a metric
    that none of the runs has is NotFound.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    chosen = Chosen.of(runs, filter, experiment, status, since, until, all_unless_named=True)

    def made(found: Source) -> Table:
        if metrics == ["*"]:  # runs without metrics have no points: that is no mistake
            metrics[:] = sorted({name for run in chosen.runs(found) for name in run.metrics})
        points = (point for one in read(found, chosen, metrics, lambda text: None) for point in one.points)
        return Table(_POINTS, map(_of_point, points if found.name == sources.LOCAL else list(points)))

    return _export(path, format, overwrite, chosen, source, timeout, warn, made)


def _export(
    path: Target,
    format: str | None,  # noqa: A002 - as above
    overwrite: bool,
    chosen: Chosen,
    source: str | None,
    timeout: float,
    warn: Warn,
    made: Callable[[Source], Table],
) -> ExportedTable:
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if name is None and format is None:
        known = "|".join(written.FORMATS)
        raise UsageError("an open file has no ending that says the format", hint=f"--format {known}")
    form = written.format_of(name or "", format)
    written.check_installed(form)
    deadline = time.monotonic() + timeout
    found = sources.choose(source or source_of(chosen.named or ()), timeout=timeout, warn=warn)
    table = sources.within(found, deadline, lambda: made(found))
    if not isinstance(path, (str, os.PathLike)):
        with tempfile.TemporaryFile() as spool:  # the caller's may have no places to go back to
            rows, size = written.write(spool, table, form), spool.tell()
            spool.seek(0)
            shutil.copyfileobj(spool, path)
    else:
        with put_whole(os.fspath(path), overwrite) as file:
            rows, size = written.write(file, table, form), file.tell()
    return ExportedTable(name, form, rows, list(table.columns), size)


def _of_runs(runs: Sequence[RunRecord], asked: Sequence[cols.Column] | None) -> Table:
    columns = cols.all_of(runs) if asked is None else cols.expanded(asked, runs)
    types = {cols.title(column): _TYPES.get(column[0] or column[1], "text") for column in columns}

    def rows() -> Iterator[tuple[Sequence[Any], Any]]:
        for run in runs:
            row = [cols.cell(run, column) for column in columns]
            yield row, _object(run) if asked is None else dict(zip(types, map(cells.in_json, row), strict=True))

    return Table(types, rows())


def _object(run: RunRecord) -> dict[str, Any]:
    """A run as JSON has it: the keys of `trk show --json` but for what only this journal knows, its deliveries."""
    own = ("run_id", "name", "experiment", "status", "source", "start_time", "end_time", "duration_s", "parent_id")
    return {
        **{name: cells.in_json(cols.cell(run, ("", name))) for name in (*own, "description")},
        "params": dict(run.params),
        "metrics": {key: cells.number(value) for key, value in run.metrics.items()},
        "tags": dict(run.tags),
    }


def _of_point(point: MetricPoint) -> tuple[Sequence[Any], Any]:
    row = [point.run_id, point.metric, point.step, point.time, point.value]
    return row, dict(zip(_POINTS, map(cells.in_json, row), strict=True))
