"""One run of MLflow by its own id, whoever made it: what trk has to know before it logs into it."""

from __future__ import annotations

from collections.abc import Callable

from trk.backends._mlflow_read import _STATUS, _is_bookkeeping, _value
from trk.backends._mlflow_store import Store, _sqlite_file
from trk.backends.foreign import ForeignRun
from trk.errors import BackendRefused, BackendRunGone
from trk.records import Status


def foreign(store: Store, run_id: str, url: Callable[[str, str], str | None]) -> ForeignRun | None:
    """See `AttachableBackend.foreign`. `url` gives the address of (experiment id, run id)."""
    file = _sqlite_file(store.uri)
    if file is not None and not file.exists():
        return None  # to ask would make the database
    try:
        with store.calling() as mlflow:
            found = mlflow.get_run(run_id)
            experiment = mlflow.get_experiment(found.info.experiment_id)
    except (BackendRunGone, BackendRefused):  # unknown, or no id at all
        return None
    info, data = found.info, found.data
    status = _STATUS.get(info.status) or Status(info.status)
    return ForeignRun(
        remote_id=info.run_id,
        name=info.run_name or "",
        experiment=experiment.name,
        start_ms=info.start_time or 0,
        status=status,
        deleted=info.lifecycle_stage != "active",
        url=url(str(info.experiment_id), info.run_id),
        # With their steps, which `data.metrics` leaves out.
        last={point.key: (point.step, point.timestamp, _value(point.value)) for point in data._metric_objs},
        end_ms=info.end_time or None if status is not Status.RUNNING else None,  # a reopened run keeps its old one
        params=dict(data.params),
        tags={key: text for key, text in data.tags.items() if not _is_bookkeeping(key)},
    )
