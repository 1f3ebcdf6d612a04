"""What `trk export` wrote comes back by `trk import csv`, in every format; and what is no table makes no run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import trk
from imports.tools import points, rows
from trk.errors import UsageError
from trk.records import RunRecord, Status

FORMATS = ("csv", "tsv", "json", "jsonl", "parquet")
KEPT = ("name", "experiment", "status", "start_time", "end_time", "description", "params", "metrics")


@pytest.fixture
def logged(project: Path) -> list[RunRecord]:
    """Two runs, one with NaN and without params, one that failed."""
    with trk.start("a", experiment="digits", params={"lr": "0.10", "note": "a,b"}, tags={"stage": "dev"}) as run:
        for step, value in enumerate((0.5, -math.inf, 0.1 + 0.2)):
            run.log_metrics({"val/f1": value, "loss": 1e-300}, step=step)
    run = trk.start("b", experiment="other", description="what for")
    run.log_metric("loss", math.nan, step=7)
    run.end(status="FAILED")
    return [trk.get_run(name, source="local") for name in ("a", "b")]


def _is_there(format_: str) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet is pyarrow's")


def _seen(record: RunRecord) -> list[str]:
    """NaN is not itself, but its text is."""
    return [repr(getattr(record, name)) for name in KEPT]


@pytest.mark.parametrize("format_", FORMATS)
def test_exported_points_come_back_all_and_once(logged: list[RunRecord], format_: str) -> None:
    _is_there(format_)
    trk.export_history(f"points.{format_}", source="local")
    done = trk.import_csv(f"points.{format_}")
    assert (done.points, done.skipped) == (7, {})
    for run in logged:
        (taken,) = (one for one in done.runs if one.name == run.run_id)
        assert points(taken.run_id) == points(run.run_id)
    before = rows()
    again = trk.import_csv(f"points.{format_}")
    assert (again.points, len(again.runs)) == (0, 2)
    assert rows() == before


@pytest.mark.parametrize("format_", FORMATS)
def test_exported_runs_come_back_as_runs(logged: list[RunRecord], format_: str) -> None:
    _is_there(format_)
    trk.export_runs(f"runs.{format_}", source="local")
    done = trk.import_csv(f"runs.{format_}")
    assert (done.points, done.skipped, len(done.runs)) == (3, {}, 2)
    for run, taken in zip(logged, sorted(done.runs, key=lambda one: one.name), strict=True):
        here = trk.get_run(taken.run_id, source="local")
        assert _seen(here) == _seen(run)
        assert {key: here.tags.get(key) for key in run.tags} == dict(run.tags)
    before = rows()
    again = trk.import_csv(f"runs.{format_}")
    assert (again.points, sum(one.changed for one in again.runs)) == (0, 0)
    assert rows() == before


def test_the_experiment_and_name_that_are_given_count_more_than_the_table(logged: list[RunRecord]) -> None:
    trk.export_runs("runs.csv", source="local")
    done = trk.import_csv("runs.csv", experiment="taken", name="old")
    assert {(one.name, one.experiment) for one in done.runs} == {("old a", "taken"), ("old b", "taken")}


def test_a_table_of_runs_by_mlflow(project: Path) -> None:
    Path("runs.csv").write_text(
        "run_id,experiment_id,status,artifact_uri,start_time,end_time,metrics.f1,params.lr,tags.mlflow.runName\n"
        "0a1b,1,KILLED,/x,2026-11-21 07:27:00.123000+00:00,,0.5,0.1,first\n"
        "0a1c,1,DREAMING,/x,2026-11-21 07:27:00.123000+00:00,,0.5,0.1,second\n"
    )
    done = trk.import_csv("runs.csv")
    (taken,) = done.runs
    assert done.skipped == {"line 3, which is no line of metrics": 1}
    here = trk.get_run(taken.run_id, source="local")
    assert (here.name, here.status, here.params, here.metrics) == ("first", Status.KILLED, {"lr": "0.1"}, {"f1": 0.5})
    assert here.start_time is not None
    assert here.start_time.isoformat() == "2026-11-21T07:27:00.123000+00:00"


def test_what_has_no_metrics_makes_no_run(project: Path) -> None:
    Path("binary.csv").write_bytes(b"PAR1\x15\x04\x15\x00,\xff\nx,\x00\n")
    Path("texts.csv").write_text("name,note\na,b\nc,d\n")
    for name, why in (("binary.csv", "is no text in UTF-8"), ("texts.csv", "has no metrics")):
        with pytest.raises(UsageError, match=why):
            trk.import_csv(name)
    assert trk.search(source="local") == []


def test_a_broken_parquet_file_makes_no_run(project: Path) -> None:
    _is_there("parquet")
    Path("broken.parquet").write_bytes(b"PAR1 is how it begins")
    with pytest.raises(UsageError, match="not a Parquet file"):
        trk.import_csv("broken.parquet")
    assert trk.search(source="local") == []
