"""The JSON forms of records, as promised to scripts, and the paths into them.

Nothing is imported before it is needed: errors of the log commands come through here.
"""

from __future__ import annotations

from trk.errors import NotFound, UsageError
from trk.rules import acts as acts
from trk.rules import escape as escape
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Any, TypeGuard

    from trk.ci.model import Summary
    from trk.query.reports import CheckReport
    from trk.records import (
        ArtifactRecord,
        BestRun,
        Comparison,
        Delivery,
        Difference,
        MetricComparison,
        MetricPoint,
        RunRecord,
        VerifiedBackend,
        VerifiedRun,
    )

MAX_PATH = 1_000  # characters of a --field path
_NEAR_PATH = 80  # characters up to which near names are looked for: the search is quadratic
_NEAR_AMONG = 2_000
_MISSING = object()


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if moment is None:
        return None
    offset = moment.utcoffset()
    if offset is None or offset:  # those of records are in UTC
        from datetime import UTC

        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def number(value: float) -> float | str:
    """A number as JSON can hold it: NaN and infinities are the strings NaN, Infinity, -Infinity."""
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def run_json(run: RunRecord) -> dict[str, Any]:
    """A run, with every key that is promised."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "status": str(run.status),
        "source": run.source,
        "start_time": iso(run.start_time),
        "end_time": iso(run.end_time),
        "duration_s": run.duration_s,
        "parent_id": run.parent_id,
        "params": dict(run.params),
        "metrics": {key: number(value) for key, value in run.metrics.items()},
        "tags": dict(run.tags),
        "backends": {name: delivery_json(delivery) for name, delivery in run.backends.items()},
    }


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    """What is known of a run at one backend."""
    return {
        "run_id": delivery.run_id,
        "url": delivery.url,
        "logged": delivery.logged,
        "delivered": delivery.delivered,
        "pending": delivery.pending,
        "rejected": delivery.rejected,
        "skipped": delivery.skipped,
        "rejections": [
            {"n": rejection.n, "kind": rejection.kind, "key": rejection.key, "reason": rejection.reason}
            for rejection in delivery.rejections
        ],
        "last_error": delivery.last_error,
    }


def best_json(found: BestRun) -> dict[str, Any]:
    """A run among the best: a run, why it is, and its other metrics at that step."""
    best = found.best
    return {
        **run_json(found.run),
        "best": {
            "metric": best.metric,
            "value": number(best.value),
            "step": best.step,
            "mode": best.mode,
            "agg": best.agg,
        },
        "at_step": {key: number(value) for key, value in found.at_step.items()},
    }


def point_json(point: MetricPoint) -> dict[str, Any]:
    """One point of a history."""
    return {
        "run_id": point.run_id,
        "metric": point.metric,
        "step": point.step,
        "time": iso(point.time),
        "value": number(point.value),
    }


def verified_json(found: Sequence[VerifiedRun]) -> dict[str, Any]:
    """Runs as their backends have them."""
    runs = [
        {
            "run_id": run.run_id,
            "name": run.name,
            "ok": run.ok,
            "backends": {name: _verified_backend_json(state) for name, state in run.backends.items()},
        }
        for run in found
    ]
    return {"ok": all(run.ok for run in found), "runs": runs}


def _verified_backend_json(found: VerifiedBackend) -> dict[str, Any]:
    lists = {"missing": found.missing, "extra": found.extra, "different": found.different}
    return {
        "ok": found.ok,
        **{name: [_difference_json(one) for one in some] for name, some in lists.items()},
        "differences": found.differences,
        "compared": dict(found.compared),
        "pending": found.pending,
        "rejected": found.rejected,
        "skipped": found.skipped,
        "note": found.note,
    }


def _difference_json(found: Difference) -> dict[str, Any]:
    sides = (found.journal, found.backend)
    journal, backend = (number(side) if isinstance(side, float) else side for side in sides)
    return {
        "kind": found.kind,
        "key": found.key,
        "step": found.step,
        "time": at_ms(found.time_ms),
        "journal": journal,
        "backend": backend,
    }


def at_ms(time_ms: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601; what no calendar has, as the number."""
    from trk.records import from_ms

    try:
        return iso(from_ms(time_ms))
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Runs side by side."""
    return {
        "baseline": found.baseline,
        "runs": [run_json(run) for run in found.runs],
        "params": {key: dict(texts) for key, texts in found.params.items()},
        "metrics": {key: _metric_json(metric) for key, metric in found.metrics.items()},
    }


def _metric_json(metric: MetricComparison) -> dict[str, Any]:
    return {
        "mode": metric.mode,
        "values": {run_id: number(value) for run_id, value in metric.values.items()},
        "delta": {run_id: number(value) for run_id, value in metric.delta.items()},
        "relative": dict(metric.relative),
        "verdict": dict(metric.verdict),
    }


def summary_json(found: Summary) -> dict[str, Any]:
    """What a CI job tells of its runs."""
    metrics = {key: {**_metric_json(one), "best": {}} for key, one in found.metrics.items()}
    for (run_id, key), (value, step) in found.best.items():
        if key in metrics:
            metrics[key]["best"][run_id] = {"value": number(value), "step": step}
    return {
        "passed": found.passed,
        "pipeline": found.pipeline,
        "runs": [run_json(run) for run in found.runs],
        "baseline": None if found.baseline is None else run_json(found.baseline),
        "metrics": metrics,
        "checks": [check_json(report) for report in found.checks],
        "notes": list(found.notes),
    }


def check_json(found: CheckReport) -> dict[str, Any]:
    """Conditions as they were judged."""
    return {
        "passed": found.passed,
        "checks": [
            {
                "expression": one.expression,
                "left": jsonable(one.left),
                "right": jsonable(one.right),
                "passed": one.passed,
                "reason": one.reason,
            }
            for one in found.checks
        ],
        "run_id": found.run.run_id,
        "baseline": None if found.baseline is None else found.baseline.run_id,
    }


def artifact_json(found: ArtifactRecord) -> dict[str, Any]:
    """One file or table of a run. `size` is in bytes; what does not apply or is not known is null."""
    names = ("run_id", "path", "kind", "name", "size", "sha256", "step", "rows", "type", "version", "uri", "n")
    return {name: getattr(found, name) for name in names}


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return hasattr(value, "keys")


def jsonable(value: Any) -> Any:
    """The value in what JSON has: times as ISO 8601, NaN and infinities as strings, mappings as objects."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)  # an enum's member, too
    if isinstance(value, float):
        return number(value)
    if _is_mapping(value):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "isoformat"):
        return iso(value)
    return [jsonable(item) for item in value]


def dumps(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON in which nothing acts on a terminal; `ascii_only` for an output that can't hold other letters."""
    import json

    def encoded(value: Any) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False, default=jsonable)

    try:
        text = encoded(value)
    except ValueError:  # a NaN or an infinity is in it; to look for them first takes as long as the rest
        text = encoded(jsonable(value))
    if text.isprintable():
        return text
    return "".join(json.dumps(char)[1:-1] if char != "\n" and acts(char) else char for char in text)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON form with their paths: `params.lr`, `backends.mlflow.rejections.0.reason`."""
    if _is_mapping(value):
        items: Iterator[tuple[Any, Any]] = iter(value.items())
    elif isinstance(value, (list, tuple)):
        items = iter(enumerate(value))
    else:
        yield path, value
        return
    for key, item in items:
        yield from flatten(item, f"{path}.{key}" if path else str(key))


def field(value: Any, path: str) -> Any:
    """What a dotted path means in a JSON form. Keys may hold dots: the longest that fits counts.

    Raises NotFound, with near names, and UsageError for what is no path.
    """
    found = _walk(value, _parts(path))
    if found is _MISSING:
        raise NotFound(f"there is no field {shown(path)}", hint=_near(value, path))
    return found


def fields(value: Any, path: str) -> list[Any]:
    """`field`, of each entry of a list unless the path begins with an index; None for those that lack it."""
    parts = _parts(path)
    if not isinstance(value, list) or parts[0].isdecimal():
        return [field(value, path)]
    found = [_walk(item, parts) for item in value]
    if found and all(item is _MISSING for item in found):
        return [field(value[0], path)]
    return [None if item is _MISSING else item for item in found]


def _parts(path: str) -> list[str]:
    if not path or len(path) > MAX_PATH:
        rule = f"at most {MAX_PATH} characters" if path else "such as params.lr"
        raise UsageError(f"field {shown(path)} is not a path ({rule})")
    return path.split(".")


def _walk(value: Any, parts: list[str]) -> Any:
    if not parts:
        return value
    if _is_mapping(value):
        for end in range(len(parts), 0, -1):
            key = ".".join(parts[:end])
            if key in value:
                found = _walk(value[key], parts[end:])
                if found is not _MISSING:
                    return found
    elif isinstance(value, (list, tuple)) and parts[0].isascii() and parts[0].isdigit():
        index = int(parts[0])
        if index < len(value):
            return _walk(value[index], parts[1:])
    return _MISSING


def _near(value: Any, path: str) -> str | None:
    """The paths that look like the one that is missing; without such, those at the top."""
    from difflib import get_close_matches
    from itertools import islice

    known = [name for name, _ in islice(flatten(value), _NEAR_AMONG) if name]
    near = get_close_matches(path, known, cutoff=0.5) if len(path) <= _NEAR_PATH else []
    if near:
        return f"near: {', '.join(near)}"
    top = [str(key) for key in value][:20] if _is_mapping(value) else []
    return f"fields: {', '.join(top)}" if top else None


def bare(value: Any, *, ascii_only: bool = False) -> str:
    """A value as --field prints it: text without quotes, null as an empty line, the rest as JSON.

    Newlines and tabs are kept, since scripts read them; nothing else that acts is.
    """
    value = jsonable(value)
    if value is None:
        return ""
    return escape(value, keep="\n\t") if isinstance(value, str) else dumps(value, ascii_only=ascii_only)
