"""Tables as they are fetched in Python: the same rows from the journal and from MLflow, whatever the file ends in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import program
from trk.errors import TrkError, UsageError

ROWS = [
    {"id": 1, "text": 'a, "b"\nc', "score": 0.1, "ok": True},
    {"id": 2, "text": "=é", "score": float("inf"), "ok": None},
    {"id": 3, "text": "", "score": 2.0, "ok": False},
]
CSV = [
    ["id", "text", "score", "ok"],
    ["1", 'a, "b"\nc', "0.1", "true"],
    ["2", "=é", "inf", ""],
    ["3", "", "2.0", "false"],
]
THEIRS = """
import mlflow
with mlflow.start_run() as active:
    mlflow.log_table({"a": [1, 2], "b": ["x", None]}, "good.json")
    mlflow.log_table({"a": [1]}, "bad.json")
    mlflow.log_text("[1, 2", "bad.json")
print(active.info.run_id)
"""
mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


def cells(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=delimiter, strict=True))


@pytest.mark.parametrize("source", ["local", pytest.param("mlflow", marks=[mlflow, pytest.mark.mlflow])])
def test_a_table_is_what_its_file_ends_in(
    source: str, project: Path, monkeypatch: pytest.MonkeyPatch, detected_backends: Callable[..., Any]
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow" if source == "mlflow" else "none")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'runs.db'}")
    with trk.start("one") as run:
        run.log_table("losses", ROWS)
    for name, delimiter in (("x.csv", ","), ("x.TSV", "\t")):
        assert trk.get_artifact("losses", run, to=name, source=source) == [Path(name)]
        assert cells(Path(name), delimiter) == CSV
    trk.get_artifact("losses", run, to=Path("x.jsonl"), source=source)
    assert [json.loads(line) for line in Path("x.jsonl").read_text(encoding="utf-8").splitlines()] == ROWS
    trk.get_artifact("losses", run, to="x.json", source=source)
    assert json.loads(Path("x.json").read_text(encoding="utf-8"))["columns"] == CSV[0]
    with pytest.raises(UsageError, match="not written as"):
        trk.get_artifact("losses", run, to="x.parquet", source=source)
    assert not list(project.rglob(".trk-*"))


@mlflow
@pytest.mark.mlflow
def test_a_table_that_something_else_made_is_converted_or_said_to_be_none(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'runs.db'}")
    handle = f"mlflow:{program(THEIRS).stdout.split()[-1]}"
    trk.get_artifact("good.json", handle, to="good.csv", warn=lambda _: None)
    assert cells(Path("good.csv")) == [["a", "b"], ["1", "x"], ["2", ""]]
    with pytest.raises(TrkError, match=r"bad\.json can't be read as a table"):
        trk.get_artifact("bad.json", handle, to="bad.csv", warn=lambda _: None)
    assert not Path("bad.csv").exists()
