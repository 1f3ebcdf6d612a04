"""The columns of a list of runs: attributes, and params, metrics and tags by name or glob."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trk.errors import NotFound, UsageError
from trk.query import words
from trk.records import RunRecord
from trk.rules import shown

KINDS = ("params", "metrics", "tags")
ATTRIBUTES: Mapping[str, Callable[[RunRecord], Any]] = {
    "run": lambda run: run.run_id,
    "run_id": lambda run: run.run_id,
    "name": lambda run: run.name,
    "experiment": lambda run: run.experiment,
    "status": lambda run: str(run.status),
    "source": lambda run: run.source,
    "started": lambda run: run.start_time,
    "start_time": lambda run: run.start_time,
    "end_time": lambda run: run.end_time,
    "duration": lambda run: run.duration_s,
    "duration_s": lambda run: run.duration_s,
    "parent_id": lambda run: run.parent_id,
    "description": lambda run: run.description,
}
"""What a column of each name shows of a run."""

Column = tuple[str, str]
"""("", attribute), or (params, metrics or tags; name or glob)."""


def parse(given: str | Iterable[str]) -> list[Column]:
    """The columns of `name,metrics.f1,params.*`. Raises UsageError for what is none."""
    found = [column_of(word, "column") for word in words.listed(given, "columns")]
    if not found:
        raise UsageError("columns names no column", hint="such as name,metrics.f1,params.*")
    return found


def column_of(word: str, what: str) -> Column:
    """One column by what it is called. Raises UsageError."""
    kind, dot, name = word.partition(".")
    name = words.unquoted(name)
    if not dot and word in ATTRIBUTES:
        return "", word
    if kind in KINDS and name:
        return kind, name
    raise UsageError(
        f"unknown {what} {shown(word)}",
        hint=f"metrics.KEY, params.KEY, tags.KEY, or one of {', '.join(ATTRIBUTES)}",
    )


def expanded(columns: Sequence[Column], runs: Sequence[RunRecord]) -> list[Column]:
    """The columns with each glob replaced by the names that these runs have; each column once.

    Raises NotFound when runs are given and no column is left.
    """
    found: dict[Column, None] = {}
    for kind, name in columns:
        if not kind or not words.is_glob(name):
            found[kind, name] = None
        else:
            names = sorted({key for run in runs for key in getattr(run, kind)})
            found |= {(kind, key): None for key in words.meant(name, names)}
    if runs and not found:
        asked = ", ".join(title(column) for column in columns)
        raise NotFound(f"no run here has any of the columns {asked[:200]}", hint="trk ls --columns run,metrics.*")
    return list(found)


def all_of(runs: Sequence[RunRecord]) -> list[Column]:
    """Every column that these runs have, attributes first."""
    own = ("run_id", "name", "experiment", "status", "source", "start_time", "end_time", "duration_s", "parent_id")
    return expanded([*(("", name) for name in (*own, "description")), *((kind, "*") for kind in KINDS)], runs)


def title(column: Column) -> str:
    """What a column is called."""
    kind, name = column
    return f"{kind}.{name}" if kind else name


def cell(run: RunRecord, column: Column) -> Any:
    """What a run has there; None when it has nothing."""
    kind, name = column
    return getattr(run, kind).get(name) if kind else ATTRIBUTES[name](run)
