"""What MLflow has, asked by MLflow's own client: what the tests read back with is not what delivers."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from pathlib import Path
from typing import Any

from trk.rules import HUGE
from trk.testing import Arrived


@functools.cache
def client(uri: str) -> Any:
    """MLflow's own client."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def read_back(uri: str, remote_id: str) -> Arrived:
    run = client(uri).get_run(remote_id)
    tags = {key: text for key, text in run.data.tags.items() if not key.startswith(("mlflow.", "trk."))}
    experiment = client(uri).get_experiment(run.info.experiment_id)
    return Arrived(
        points=[
            (key, point.step, point.timestamp, unhuge(point.value))
            for key in run.data.metrics
            for point in client(uri).get_metric_history(remote_id, key)
        ],
        params={key: text for key, text in run.data.params.items() if not key.startswith("summary/")},
        tags={key: text for key, text in tags.items() if not key.startswith("summary/")},
        summary={key[8:]: decoded(text) for key, text in tags.items() if key.startswith("summary/")},
        status=run.info.status,
        end_ms=run.info.end_time,
        parent=run.data.tags.get("mlflow.parentRunId"),
        modes={key[9:]: text for key, text in experiment.tags.items() if key.startswith("trk.mode.")},
    )


def downloaded(uri: str, remote_id: str, path: str) -> bytes | None:
    """What MLflow's own client finds at a path of a run."""
    folder = path.rpartition("/")[0]
    if path not in [found.path for found in client(uri).list_artifacts(remote_id, folder or None) if not found.is_dir]:
        return None
    with tempfile.TemporaryDirectory() as here:
        return Path(client(uri).download_artifacts(remote_id, path, here)).read_bytes()


def unhuge(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= HUGE else value


def decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
