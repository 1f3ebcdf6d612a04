"""One run of W&B by its own id, whoever made it: what trk has to know before it logs into it, or deletes it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from trk.backends import _wandb_sdk as sdk
from trk.backends._wandb_read import Reader, as_source, moment, path_of
from trk.backends._wandb_run import STEP
from trk.backends._wandb_texts import number
from trk.backends.foreign import ForeignRun
from trk.errors import Conflict, NotFound
from trk.records import RunRecord, Status

NOT_SHARED = (
    'its owner did not open it in shared mode (wandb.init(mode="shared")), so W&B may lose or double rows of both'
)
TAIL = 1000  # lines of the history that are looked through for the last points


def foreign(reader: Reader, run_id: str) -> ForeignRun | None:
    """See `AttachableBackend.foreign`."""
    found = reader.run(run_id)
    if found is None:
        return None
    record = reader.record(found)
    return ForeignRun(
        remote_id=path_of(found),
        name=record.name,
        experiment=record.experiment,
        start_ms=_ms(record.start_time) or 0,
        status=record.status,
        deleted=False,
        url=str(found.url),
        last=_last(reader, found, record),
        end_ms=_ms(record.end_time) if record.status is not Status.RUNNING else None,
        params=record.params,
        tags=record.tags,
        troubles=() if _is_shared(found) or record.status is not Status.RUNNING else (NOT_SHARED,),
    )


def _is_shared(run: Any) -> bool:
    """Whether its owner opened it in shared mode, which the SDK notes among the features that were used."""
    feature: Any = importlib.import_module("wandb.proto.wandb_telemetry_pb2").Feature
    told = run.rawconfig.get("_wandb")
    used = told.get("t", {}).get("3", ()) if isinstance(told, Mapping) else ()
    return feature.DESCRIPTOR.fields_by_name["shared_mode"].number in used


def _ms(moment_: Any) -> int | None:
    return None if moment_ is None else round(moment_.timestamp() * 1000)


def _last(reader: Reader, run: Any, record: RunRecord) -> dict[str, tuple[int, int, float]]:
    """The last point of each metric. Of one that the last lines do not have, no later than those: as if in the last."""
    end = int((run._attrs.get("historyKeys") or {}).get("lastStep", -1))
    lines = reader.lines(run, [], max(0, end + 1 - TAIL)) if end >= 0 else {}
    found: dict[str, tuple[int, int, float]] = {}
    for _, line in sorted(lines.items()):
        found |= {key: point for key in record.metrics if (point := _point(line, key)) is not None}
    made = round(moment(run.created_at).timestamp() * 1000)
    summary: Mapping[str, Any] = run.summary_metrics
    time_ms = round(summary["_timestamp"] * 1000) if number(summary.get("_timestamp")) is not None else made
    step = int(summary.get(STEP, summary.get("_step", 0)))
    return {key: found.get(key, (step, time_ms, value)) for key, value in record.metrics.items()}


def _point(line: Mapping[str, Any], key: str) -> tuple[int, int, float] | None:
    value, time_s = number(line.get(key)), line.get("_timestamp")
    if value is None or time_s is None:
        return None
    return int(line.get(STEP, line["_step"])), round(time_s * 1000), value


def set_deleted(reader: Reader, run_id: str, deleted: bool) -> None:
    """See `DeletingBackend.set_deleted`. What is deleted at W&B is gone: it can't be restored."""
    if not deleted:
        raise Conflict(f"W&B can't restore runs: {run_id} is there, or gone for good", hint="trk show, --source local")
    with as_source():
        found = reader.run(run_id)
        if found is None:
            raise NotFound(f"there is no run {run_id} at W&B")
        with sdk.calling("W&B"):
            found.delete()
