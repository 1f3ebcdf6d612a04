"""Tables with a row a run, as `trk export --runs` writes them, and MLflow's `search_runs` with `to_csv`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trk import rules
from trk.errors import UsageError
from trk.imports import cells
from trk.imports.records import End, Head
from trk.records import Status

_ALL = frozenset({"run_id", "status", "start_time"})  # that no table of points has
_MISSING = (None, "")


def is_one(columns: Collection[str]) -> bool:
    """Whether these are the columns of one."""
    return set(columns) >= _ALL


def part(row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The metrics, params or tags of a row by name, without missing ones: of columns `metrics.f1`, or of an object."""
    begin = f"{kind}."
    found = {name[len(begin) :]: value for name, value in row.items() if name.startswith(begin)}
    nested = row.get(kind)
    if isinstance(nested, Mapping):
        found.update(nested)
    return {name: value for name, value in found.items() if name and value not in _MISSING}


def head(row: Mapping[str, Any], origin: str, place: str, experiment: str | None, otherwise: str) -> Head:
    """The run of a row. `experiment` counts more than the row's, which counts more than `otherwise`.

    Raises UsageError for a time that is none.
    """
    tags = part(row, "tags")
    name = row.get("name") or tags.get("mlflow.runName") or row["run_id"]
    return Head(
        origin, place, str(name), experiment or str(row.get("experiment") or otherwise),
        cells.time(row.get("start_time")),
        description=str(row.get("description") or "") or None,
        params={name: str(value) for name, value in part(row, "params").items()},
        tags={name: str(value) for name, value in tags.items()},
    )  # fmt: skip


def end(row: Mapping[str, Any]) -> End:
    """How the run of a row ended; one that a table calls running is FINISHED, since nothing more of it will come.

    Raises UsageError for a time or status that is none.
    """
    try:
        status = Status(str(row.get("status") or Status.FINISHED))
    except ValueError:
        raise UsageError(f"{rules.shown(str(row['status']))} is no status of a run") from None
    return End(Status.FINISHED if status is Status.RUNNING else status, cells.time(row.get("end_time")))
