"""Filters and orders of run lists, and samples of histories, as the public API asks for them."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from .store import Run, moment

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
SPELT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: the server gives them as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return value


def _deep(tree: Any, path: str) -> Any:
    """`a.b` in a tree: the key with the dot if it is there, else what is below."""
    if not isinstance(tree, dict):
        return None
    if path in tree:
        return tree[path]
    for cut in (place for place, letter in enumerate(path) if letter == "."):
        found = _deep(tree.get(path[:cut]), path[cut + 1 :])
        if found is not None:
            return found
    return None


def _attribute(run: Run, path: str) -> Any:
    """What a filter or an order calls a run's part."""
    head, _, rest = path.partition(".")
    if head == "config":
        return _deep(run.config, rest.removesuffix(".value"))
    if head in ("summary_metrics", "summary", "summaryMetrics"):
        return _deep(run.summary, rest)
    plain = {
        "name": run.id,
        "display_name": run.display_name,
        "displayName": run.display_name,
        "state": run.state,
        "group": run.group,
        "jobType": run.job_type,
        "job_type": run.job_type,
        "tags": run.tags,
        "notes": run.notes,
        "created_at": moment(run.created_at),
        "createdAt": moment(run.created_at),
        "heartbeat_at": moment(run.heartbeat_at),
        "username": "tester",
        "host": run.host,
    }
    return plain.get(head)


def _holds(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and wanted and all(key.startswith("$") for key in wanted):
        return all(_operator(found, name, value) for name, value in wanted.items())
    if isinstance(found, list) and not isinstance(wanted, list):
        return wanted in found
    return bool(found == wanted)


def _operator(found: Any, name: str, value: Any) -> bool:
    if name in ("$in", "$nin"):
        inside = any(_holds(found, one) for one in value)
        return inside == (name == "$in")
    if name == "$exists":
        return (found is not None) == value
    if name == "$regex":
        return any(re.search(value, str(one)) for one in (found if isinstance(found, list) else [found]))
    if name == "$not":
        return not _holds(found, value)
    if name == "$ne":
        return not _holds(found, value)
    if name not in OPERATORS:
        raise ValueError(f"the test server knows no filter {name}")
    if found is None or isinstance(found, str) != isinstance(value, str):
        return False
    return bool(OPERATORS[name](found, value))


def matches(run: Run, wanted: dict[str, Any]) -> bool:
    """Whether a run passes a filter in MongoDB's words."""
    for key, value in wanted.items():
        if key == "$and":
            passed = all(matches(run, one) for one in value)
        elif key == "$or":
            passed = any(matches(run, one) for one in value)
        elif key == "$not":
            passed = not matches(run, value)
        else:
            passed = _holds(_attribute(run, key), value)
        if not passed:
            return False
    return True


def chosen(runs: list[Run], filters: str | None, order: str | None) -> list[Run]:
    """The runs that pass, in the order asked for; those without the value come last."""
    wanted = json.loads(filters) if filters else {}
    found = [run for run in runs if matches(run, wanted)]
    for key in reversed((order or "+created_at").split(",")):
        falling, path = key.strip().startswith("-"), key.strip().lstrip("+-")
        having = [run for run in found if _comparable(_attribute(run, path))]
        without = [run for run in found if not _comparable(_attribute(run, path))]
        having.sort(key=lambda run: (isinstance(_attribute(run, path), str), _attribute(run, path)), reverse=falling)
        found = having + without
    return found


def _comparable(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and value == value


def sampled(rows: list[dict[str, Any]], samples: int | None) -> list[dict[str, Any]]:
    """At most so many rows, evenly, the first and the last among them."""
    if samples is None or len(rows) <= samples:
        return rows
    if samples < 2:
        return rows[-1:]
    places = sorted({round(place * (len(rows) - 1) / (samples - 1)) for place in range(samples)})
    return [rows[place] for place in places]


def ranged(rows: list[dict[str, Any]], lowest: int | None, above: int | None) -> list[dict[str, Any]]:
    """The rows with `lowest <= _step < above`, by step."""
    found = [
        row for row in rows if (lowest is None or row["_step"] >= lowest) and (above is None or row["_step"] < above)
    ]
    return sorted(found, key=lambda row: row["_step"])
