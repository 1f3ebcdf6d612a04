"""Records, points and errors as JSON, for who asks a daemon and for the daemon. Both are of one version of trk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from trk import errors
from trk.errors import TrkError
from trk.query.scores import Score
from trk.records import Delivery, MetricPoint, Rejection, RunRecord, Status


def record_out(record: RunRecord) -> list[Any]:
    """A record as a list in the order of its fields."""
    start, end = record.start_time, record.end_time
    return [
        record.run_id, record.name, record.experiment, str(record.status), record.source,
        start.isoformat() if start is not None else None, end.isoformat() if end is not None else None,
        record.parent_id, record.description, dict(record.params), dict(record.metrics), dict(record.tags),
        {name: _delivery_out(found) for name, found in record.backends.items()},
    ]  # fmt: skip


def record_in(said: Sequence[Any]) -> RunRecord:
    """The record that a list says."""
    run_id, name, experiment, status, source, start, end, parent, description, params, metrics, tags, found = said
    return RunRecord(
        run_id, name, experiment, Status(status), source, _moment(start), _moment(end), parent, description, params,
        metrics, tags, {backend: _delivery_in(one) for backend, one in found.items()},
    )  # fmt: skip


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _delivery_out(found: Delivery) -> list[Any]:
    rejections = [[one.n, one.kind, one.key, one.reason] for one in found.rejections]
    return [
        found.run_id, found.url, found.logged, found.delivered, found.pending, found.rejected, found.skipped,
        rejections, found.last_error,
    ]  # fmt: skip


def _delivery_in(said: Sequence[Any]) -> Delivery:
    run_id, url, logged, delivered, pending, rejected, skipped, rejections, last_error = said
    reasons = tuple(Rejection(*one) for one in rejections)
    return Delivery(run_id, url, logged, delivered, pending, rejected, skipped, reasons, last_error)


def score_out(score: Score) -> list[Any]:
    """A score without its key."""
    return [
        score.run_id, score.experiment, score.start_ms, score.last, score.last_step, score.low, score.high, score.told,
    ]  # fmt: skip


def score_in(said: Sequence[Any]) -> Score:
    """The score that a list says; its key is the run's id."""
    run_id, experiment, start_ms, last, last_step, low, high, told = said
    return Score(run_id, run_id, experiment, start_ms, last, last_step, _place(low), _place(high), told)


def _place(said: Sequence[Any] | None) -> tuple[float, int] | None:
    return None if said is None else (float(said[0]), int(said[1]))


def point_out(point: MetricPoint) -> list[Any]:
    """A point without its run and metric."""
    return [point.step, point.time_ms, point.value]


def error_out(error: TrkError) -> list[Any]:
    """An error by the name of its class."""
    return [type(error).__name__, error.message, error.hint]


def error_in(said: Sequence[Any]) -> TrkError:
    """The error that a list says."""
    name, message, hint = said
    kind = getattr(errors, str(name), TrkError)
    is_ours = isinstance(kind, type) and issubclass(kind, TrkError)
    return (kind if is_ours else TrkError)(message, hint=hint)
