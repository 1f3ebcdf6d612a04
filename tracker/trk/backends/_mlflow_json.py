"""Runs as MLflow's REST API tells of them, as MLflow's own objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_of(told: Mapping[str, Any]) -> Any:
    """A run without its inputs and outputs. What is not told is what it is in MLflow's protocol: 0, empty, RUNNING.

    Raises AttributeError, KeyError, TypeError, ValueError for what is no run.
    """
    from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

    info, data = told.get("info", {}), told.get("data", {})
    return Run(
        RunInfo(
            run_id=info.get("run_id") or info.get("run_uuid", ""), run_name=info.get("run_name", ""),
            experiment_id=info.get("experiment_id", ""), user_id=info.get("user_id", ""),
            status=info.get("status", "RUNNING"), start_time=int(info.get("start_time", 0)),
            end_time=int(info.get("end_time", 0)) or None, lifecycle_stage=info.get("lifecycle_stage", ""),
            artifact_uri=info.get("artifact_uri", ""),
        ),
        RunData(
            # Numbers that JSON has no sign for are texts: NaN, Infinity.
            [Metric(one["key"], float(one.get("value", 0)), int(one.get("timestamp", 0)), int(one.get("step", 0)))
             for one in data.get("metrics", ())],
            [Param(one["key"], one.get("value", "")) for one in data.get("params", ())],
            [RunTag(one["key"], one.get("value", "")) for one in data.get("tags", ())],
        ),
    )  # fmt: skip
