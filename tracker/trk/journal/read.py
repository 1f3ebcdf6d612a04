"""What the journal answers: records of runs, points of metrics, scores for ranking. Reads are short pages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, fields, make_dataclass, replace
from typing import Any

from trk.journal.db import Journal
from trk.records import (
    FILES,
    LINES,
    PARTS,
    Delivery,
    Kind,
    LoggedFile,
    MetricPoint,
    MetricStats,
    Rejection,
    Row,
    RunRecord,
    RunSpec,
    Status,
    from_ms,
)
from trk.rules import place

PAGE = 5000  # rows per read
RUNS_PAGE = 500  # stays under SQLite's oldest limit of 999 arguments
MAX_SHOWN = 1000  # rejections listed with a run; the count is of all

_CONTENT = frozenset(str(kind) for kind in FILES)
# What is put into the queries below.
_ALIVE = "deleted IS NULL AND (?1 IS NULL OR experiment = ?1)"
_RUN_COLUMNS = "run, run_id, name, experiment, status, start_time, end_time, parent_id, description"


def to_float(stored: Any) -> float:
    """A value column as a number: NaN and infinities may be text."""
    return float(stored)


# Ten times as fast as asking the enumerations.
_KINDS = {str(kind): kind for kind in Kind}
_STATUSES = {str(status): status for status in Status}


# A frozen dataclass fills its fields four times as slowly as one that is not, and delivery makes a Row of each point.
_Draft: Any = make_dataclass(
    "_Draft",
    [(one.name, one.type, field(default=one.default, default_factory=one.default_factory)) for one in fields(Row)],
    slots=True,
)


def row(columns: Sequence[Any], line: int | None = None) -> Row:
    """A Row from (n, kind, time, key, step, value), which, if it is of points, is this line of the history."""
    n, kind, time_ms, key, step, value = columns
    if step is None and kind in _CONTENT:
        return _content(n, _KINDS[kind], time_ms, key, json.loads(value))
    if step is None:
        return Row(n, _KINDS[kind], time_ms, key, None, value)
    values = {key: float(value)} if key is not None else {k: float(v) for k, v in json.loads(value).items()}
    made = _Draft(n, _KINDS[kind], time_ms, key, step, None, values, line=line)
    made.__class__ = Row
    point: Row = made
    return point


def _content(n: int, kind: Kind, time_ms: int, key: str, value: Mapping[str, Any]) -> Row:
    """A Row of files; where their bytes lie is told by `trk.journal.files`."""
    files = tuple(
        LoggedFile(**{name: f[name] for name in f if name != "source"}, local=f.get("source")) for f in value["files"]
    )
    return Row(
        n,
        kind,
        time_ms,
        key,
        value.get("step"),
        None,
        files=files,
        type=value.get("type"),
        version=value.get("version"),
    )


def rows_after(journal: Journal, run: int, n: int, limit: int, line: int | None = None) -> list[Row]:
    """The next rows of a run after number `n`, in order, at most `limit`.

    With `line`, those that make a line of a history are numbered, the first of them with it.
    """
    found = journal.read(
        "SELECT n, kind, time, key, step, value FROM rows WHERE run = ? AND n > ? ORDER BY n LIMIT ?", (run, n, limit)
    )
    if line is None:
        return [row(columns) for columns in found]
    rows = []
    for columns in found:
        made = row(columns, line)
        if made.makes_line:
            made = made if made.line is not None else replace(made, line=line)
            line += 1
        rows.append(made)
    return rows


def lines(journal: Journal, run: int, n: int) -> int:
    """How many rows up to number `n` make a line of a history (`Row.makes_line`)."""
    kinds = ", ".join(f"'{kind}'" for kind in sorted(LINES))
    count: int = journal.read(
        f"SELECT count(*) FROM rows WHERE run = ? AND n <= ? AND (step IS NOT NULL OR kind IN ({kinds}))",  # noqa: S608
        (run, n),
    )[0][0]
    return count


def stats(journal: Journal, run: int) -> dict[str, MetricStats]:
    """The history of each metric of a run in a few numbers, by name."""
    found = journal.read(
        "SELECT m.key, count, last, last_step, low, low_step, high, high_step, mode, last_time FROM metrics m "
        "JOIN runs USING (run) LEFT JOIN definitions d ON d.experiment = runs.experiment AND d.key = m.key "
        "WHERE run = ? ORDER BY m.key",
        (run,),
    )
    return {key: MetricStats(count, to_float(last), *rest) for key, count, last, *rest in found}


def has_all_points(journal: Journal, run: int, n: int, backend: str) -> bool:
    """Whether no row up to `n` that has points was rejected or skipped by a backend, and no row after it has any."""
    found = journal.read(
        "SELECT EXISTS (SELECT 1 FROM rows WHERE run = ?1 AND n > ?2 AND step IS NOT NULL) OR EXISTS "
        "(SELECT 1 FROM rejections WHERE run = ?1 AND backend = ?3 AND n <= ?2 AND kind IN ('metric', 'summary'))",
        (run, n, backend),
    )
    return not found[0][0]


def run_key(journal: Journal, run_id: str) -> int | None:
    """The run's key in the journal, or None."""
    found = journal.read("SELECT run FROM runs WHERE run_id = ?", (run_id,))
    return found[0][0] if found else None


def keys_of(journal: Journal, run_ids: Sequence[str]) -> dict[str, int]:
    """The keys of those of these runs, at most RUNS_PAGE, that are in the journal."""
    marks = ", ".join("?" * len(run_ids))
    return dict(journal.read(f"SELECT run_id, run FROM runs WHERE run_id IN ({marks})", run_ids))  # noqa: S608


def run_id(journal: Journal, run: int) -> str:
    """The id of the run with this key."""
    found: str = journal.read("SELECT run_id FROM runs WHERE run = ?", (run,))[0][0]
    return found


def run_settings(journal: Journal, run_id: str) -> Mapping[str, Any] | None:
    """What a run was started with: key_prefix, step_metric, experiment, status, parent_id; None if unknown."""
    names = ("key_prefix", "step_metric", "experiment", "status", "parent_id", "name")
    found = journal.read(f"SELECT {', '.join(names)} FROM runs WHERE run_id = ?", (run_id,))  # noqa: S608 - our names
    return dict(zip(names, found[0], strict=True)) if found else None


def targets(journal: Journal, run_id: str) -> dict[str, Any]:
    """Per backend, where a run goes."""
    found = journal.read("SELECT backend, target FROM deliveries JOIN runs USING (run) WHERE run_id = ?", (run_id,))
    return {backend: json.loads(target) for backend, target in found}


def spec(journal: Journal, run: int, backend: str, parent_remote_id: str | None) -> RunSpec:
    """What a backend needs to find or make the run."""
    found = journal.read(
        "SELECT run_id, name, experiment, start_time, description, parent_id, target, remote_id, "
        # Until it is restored there, too, a run that was restored is still deleted at the backend.
        "deleted IS NOT NULL OR EXISTS "
        "(SELECT 1 FROM rows r WHERE r.run = runs.run AND n > cursor AND kind = 'restore'), external, step_metric, "
        "key_prefix "
        "FROM runs JOIN deliveries USING (run) WHERE run = ? AND backend = ?",
        (run, backend),
    )[0]
    run_id, name, experiment, start, description, parent_id, target, remote_id, deleted, external, *axis = found
    return RunSpec(
        run_id, name, experiment, start, json.loads(target), description, parent_id, parent_remote_id, remote_id,
        bool(deleted), bool(external), *axis,
    )  # fmt: skip


def records(
    journal: Journal,
    experiment: str | None = None,
    among: Collection[int] | None = None,
    parts: Collection[str] = PARTS,
) -> Iterator[RunRecord]:
    """The runs of an experiment (None: of all) that are `among` these (None: all), newest first, page by page.

    Their records have these `parts`; the others are left empty, which is faster. Not those that were deleted; nor are
    they in anything else here that goes over all runs.
    """
    found = journal.read(
        f"SELECT run FROM runs WHERE {_ALIVE} ORDER BY start_time DESC, run_id DESC",  # noqa: S608 - our words
        (experiment,),
    )
    keys = [key for (key,) in found if among is None or key in among]
    for start in range(0, len(keys), RUNS_PAGE):
        yield from records_of(journal, keys[start : start + RUNS_PAGE], parts)


def records_of(journal: Journal, runs: Sequence[int], parts: Collection[str] = PARTS) -> list[RunRecord]:
    """The records of these runs, in the order given, with these parts."""
    marks = ", ".join("?" * len(runs))
    columns = {
        found[0]: found
        for found in journal.read(f"SELECT {_RUN_COLUMNS} FROM runs WHERE run IN ({marks})", runs)  # noqa: S608
    }
    params = _pairs(journal, "SELECT run, key, value FROM params", runs) if "params" in parts else {}
    tags = _pairs(journal, "SELECT run, key, value FROM tags", runs) if "tags" in parts else {}
    metrics = _pairs(journal, "SELECT run, key, last FROM metrics", runs) if "metrics" in parts else {}
    deliveries = deliveries_of(journal, runs) if "backends" in parts else {}
    result = []
    for run in runs:
        _, run_id, name, experiment, status, start, end, parent_id, description = columns[run]
        result.append(
            RunRecord(
                run_id, name, experiment, _STATUSES[status], "local", from_ms(start), from_ms(end), parent_id,
                description, params.get(run, {}),
                {
                    key: value if type(value) is float else to_float(value)
                    for key, value in metrics.get(run, {}).items()
                },
                tags.get(run, {}),
                deliveries.get(run, {}),
            )
        )  # fmt: skip
    return result


def _pairs(journal: Journal, select: str, runs: Sequence[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    marks = ", ".join("?" * len(runs))
    for run, key, value in journal.read(f"{select} WHERE run IN ({marks}) ORDER BY run, key", runs):
        found.setdefault(run, {})[key] = value
    return found


def record(journal: Journal, run_id: str) -> RunRecord | None:
    """One run with its deliveries, or None."""
    key = run_key(journal, run_id)
    return None if key is None else records_of(journal, [key])[0]


def deliveries_of(journal: Journal, runs: Sequence[int]) -> dict[int, dict[str, Delivery]]:
    """Per run and backend, what is known of its delivery; the counts are one consistent picture."""
    marks = ", ".join("?" * len(runs))
    found = journal.read(
        "SELECT run, backend, remote_id, url, last_error, cursor, "  # noqa: S608 - only question marks are put in
        "(SELECT coalesce(max(n), 0) FROM rows r WHERE r.run = d.run), "
        "(SELECT count(*) FROM rejections r WHERE r.run = d.run AND r.backend = d.backend AND skipped = 0), "
        "(SELECT count(*) FROM rejections r WHERE r.run = d.run AND r.backend = d.backend AND skipped = 1) "
        f"FROM deliveries d WHERE run IN ({marks}) ORDER BY run, backend",
        runs,
    )
    result: dict[int, dict[str, Delivery]] = {}
    for run, backend, remote_id, url, last_error, cursor, logged, rejected, skipped in found:
        result.setdefault(run, {})[backend] = Delivery(
            remote_id, url, logged, cursor - rejected - skipped, logged - cursor, rejected, skipped,
            _rejections(journal, run, backend) if rejected else (), last_error,
        )  # fmt: skip
    return result


def _rejections(journal: Journal, run: int, backend: str) -> tuple[Rejection, ...]:
    found = journal.read(
        "SELECT n, kind, key, reason FROM rejections WHERE run = ? AND backend = ? AND skipped = 0 ORDER BY n LIMIT ?",
        (run, backend, MAX_SHOWN),
    )
    return tuple(Rejection(*columns) for columns in found)


def left_out(journal: Journal, run: int, backend: str) -> dict[int, bool]:
    """The rows that a backend will never have, and whether it has no place for them; else it rejected them."""
    found = journal.read("SELECT n, skipped FROM rejections WHERE run = ? AND backend = ?", (run, backend))
    return {n: bool(skipped) for n, skipped in found}


def run_keys(journal: Journal) -> list[int]:
    """The keys of all runs, newest first: deleted ones too, but no attachments that were."""
    found = journal.read(
        "SELECT run FROM runs WHERE NOT (external AND deleted IS NOT NULL) ORDER BY start_time DESC, run_id DESC"
    )
    return [run for (run,) in found]


def points(journal: Journal, run_id: str, metric: str) -> list[MetricPoint]:
    """Every point of a metric of a run, by (step, time, value)."""
    run, after, found = run_key(journal, run_id), 0, []
    while run is not None:
        page = journal.read(
            "SELECT n, time, key, step, value FROM rows WHERE run = ? AND n > ? AND step IS NOT NULL "
            "AND (key = ? OR key IS NULL) ORDER BY n LIMIT ?",
            (run, after, metric, PAGE),
        )
        for after, time_ms, key, step, value in page:  # noqa: B007 - `after` is where the next page begins
            if key is not None:
                found.append(MetricPoint(run_id, metric, step, time_ms, to_float(value)))
            elif f'"{metric}":' in value:
                found.append(MetricPoint(run_id, metric, step, time_ms, to_float(json.loads(value)[metric])))
        if len(page) < PAGE:
            break
    return sorted(found, key=lambda point: (point.step, point.time_ms, place(point.value)))


def at_step(journal: Journal, run: int, step: int) -> dict[str, float]:
    """Every metric with a point at this step of the run, and its value there: the latest, if there are several."""
    found: dict[str, tuple[int, float]] = {}
    for time_ms, key, value in journal.read(
        "SELECT time, key, value FROM rows WHERE run = ? AND step = ? ORDER BY n", (run, step)
    ):
        values = {key: value} if key is not None else json.loads(value)
        for name, text in values.items():
            number = to_float(text)
            if name not in found or (time_ms, place(number)) >= (found[name][0], place(found[name][1])):
                found[name] = (time_ms, number)
    return {name: value for name, (_, value) in sorted(found.items())}


def scores(journal: Journal, metric: str, experiment: str | None) -> list[tuple[Any, ...]]:
    """Per run that has the metric: run, run_id, experiment, start in ms, last, its step, low, its step, high, its step.

    `low` and `high` are over the finite values, None when there is none.
    """
    found = journal.read(
        "SELECT run, run_id, experiment, start_time, last, last_step, low, low_step, high, high_step "  # noqa: S608
        f"FROM metrics JOIN runs USING (run) WHERE key = ?2 AND {_ALIVE}",
        (experiment, metric),
    )
    return [(*row[:4], to_float(row[4]), *row[5:]) for row in found]


def count_runs(journal: Journal, experiment: str | None) -> int:
    """How many runs there are."""
    count: int = journal.read(f"SELECT count(*) FROM runs WHERE {_ALIVE}", (experiment,))[0][0]  # noqa: S608
    return count


def metric_names(journal: Journal, experiment: str | None) -> list[str]:
    """Every metric that any run has."""
    found = journal.read(
        f"SELECT DISTINCT key FROM metrics JOIN runs USING (run) WHERE {_ALIVE} ORDER BY key",  # noqa: S608
        (experiment,),
    )
    return [key for (key,) in found]


def modes(journal: Journal, experiment: str) -> dict[str, str]:
    """The directions that were defined for the metrics of an experiment."""
    return dict(
        journal.read("SELECT key, mode FROM definitions WHERE mode IS NOT NULL AND experiment = ?", (experiment,))
    )


def mode(journal: Journal, run: int, metric: str) -> str | None:
    """The direction that was last defined for a metric of a run's experiment; None when none was."""
    found = journal.read(
        "SELECT mode FROM definitions JOIN runs USING (experiment) WHERE run = ? AND key = ?", (run, metric)
    )
    return found[0][0] if found else None


def field_values(
    journal: Journal, fields: Collection[tuple[str, str]], experiment: str | None
) -> dict[tuple[str, str], dict[int, Any]]:
    """For each (kind, key) of metric, param, tag: the value per run. What a filter needs, and no more."""
    tables = {"metric": ("metrics", "last"), "param": ("params", "value"), "tag": ("tags", "value")}
    result: dict[tuple[str, str], dict[int, Any]] = {}
    for kind, key in fields:
        table, column = tables[kind]
        found = journal.read(
            f"SELECT run, {column} FROM {table} JOIN runs USING (run) "  # noqa: S608 - names from the table above
            f"WHERE key = ?2 AND {_ALIVE}",
            (experiment, key),
        )
        result[kind, key] = {run: to_float(value) if kind == "metric" else value for run, value in found}
    return result


def run_columns(journal: Journal, experiment: str | None) -> dict[int, dict[str, Any]]:
    """Each run's own columns (what a filter calls attributes); times in milliseconds since 1970."""
    names = ("run_id", "name", "experiment", "status", "start_time", "end_time")
    found = journal.read(
        f"SELECT run, {', '.join(names)} FROM runs WHERE {_ALIVE}",  # noqa: S608 - our names
        (experiment,),
    )
    return {run: dict(zip(names, rest, strict=True)) for run, *rest in found}
