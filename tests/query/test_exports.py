"""Exports: every format reads back what was logged, whole or not at all, and no spreadsheet computes a name."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trk
from trk.errors import JournalError, NotFound, UsageError
from trk.query import cells, written

HOSTILE = [
    "=1+1", "@SUM(A1)", "-2+3", "+1", "two\nlines", 'a "quoted", text', "tab\there", "\x1b[31mred", "\u202eabc", "é✓",
]  # fmt: skip


@pytest.fixture
def runs() -> list[trk.Run]:
    made = []
    for at, text in enumerate(HOSTILE):
        run = trk.start(f"run {at}", experiment="export", params={"p": text, "lr": "1e-3"}, backends="none")
        run.set_tag("t", text)
        run.log_metrics({"f1": [math.nan, math.inf, -math.inf, 0.1][at % 4], "val/loss": float(at)}, step=0)
        run.log_metric("f1", 0.1 + 0.2, step=1)
        run.log_metric("odd", [math.nan, math.inf, -math.inf, 1e-300][at % 4])
        run.finish()
        made.append(run)
    return made


def test_json_and_jsonl_hold_every_text_as_it_was_logged(runs: list[trk.Run], tmp_path: Path) -> None:
    done = trk.export_runs(tmp_path / "runs.json", sort="start_time")
    lines = trk.export_runs(tmp_path / "runs.jsonl", sort="start_time")
    whole = json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))
    text = (tmp_path / "runs.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == whole
    assert (done.rows, done.format, lines.size) == (10, "json", len(text.encode()))
    assert {one["params"]["p"] for one in whole} == {one["tags"]["t"] for one in whole} == set(HOSTILE)
    assert {one["metrics"]["odd"] for one in whole} == {"NaN", "Infinity", "-Infinity", 1e-300}
    assert not {"\x1b", "\u202e"} & set(text)


def test_csv_and_tsv_hold_nothing_that_acts(runs: list[trk.Run], tmp_path: Path) -> None:
    trk.export_runs(tmp_path / "runs.csv", columns="run_id,params.*,metrics.odd")
    with (tmp_path / "runs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["run_id", "params.lr", "params.p", "metrics.odd"]
    found = {row["params.p"] for row in rows}
    assert {"'=1+1", "'@SUM(A1)", "'-2+3", "+1", "two\nlines", 'a "quoted", text', "\\x1b[31mred"} < found
    assert {float(row["metrics.odd"]) for row in rows if row["metrics.odd"] != "NaN"} == {math.inf, -math.inf, 1e-300}
    trk.export_runs(tmp_path / "runs.tsv")
    lines = (tmp_path / "runs.tsv").read_text(encoding="utf-8").split("\n")
    assert {line.count("\t") for line in lines if line} == {len(lines[0].split("\t")) - 1}
    assert len(lines) == 12


def test_parquet_has_types(runs: list[trk.Run], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the parquet extra")
    trk.export_runs(tmp_path / "runs.parquet", sort="start_time")
    table = parquet.read_table(tmp_path / "runs.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types["start_time"] == "timestamp[ms, tz=UTC]"
    assert (types["metrics.odd"], types["params.lr"], types["duration_s"]) == ("double", "string", "double")
    assert set(table["params.p"].to_pylist()) == set(HOSTILE)
    done = trk.export_history(tmp_path / "points.parquet", ["f1", "val/*"], sorted(run.id for run in runs))
    points = parquet.read_table(tmp_path / "points.parquet").to_pylist()
    expected = trk.history(["f1", "val/*"], sorted(run.id for run in runs))
    assert done.rows == len(points) == len(expected) == 30
    assert [(p["run_id"], p["metric"], p["step"], p["time"], repr(p["value"])) for p in points] == [
        (p.run_id, p.metric, p.step, p.time, repr(p.value)) for p in expected
    ]


def test_histories_go_into_every_text_format(runs: list[trk.Run]) -> None:
    for form in ("csv", "tsv", "jsonl", "json"):
        file = io.BytesIO()
        done = trk.export_history(file, format=form)
        text = file.getvalue().decode()
        assert (done.rows, done.path, done.size) == (40, None, len(file.getvalue()))
        assert len(json.loads(text) if form == "json" else text.splitlines()) == (40 if "json" in form else 41)
        assert "0.30000000000000004" in text


def test_a_file_is_there_when_it_is_whole_or_not_at_all(runs: list[trk.Run], tmp_path: Path, monkeypatch: Any) -> None:
    target = tmp_path / "runs.csv"
    target.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        trk.export_runs(target)

    def failing(file: Any, *_: Any) -> int:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(written, "write", failing)
        with pytest.raises(JournalError, match="No space left"):
            trk.export_runs(target, overwrite=True)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["runs.csv"]
    assert target.read_text() == "mine"
    trk.export_runs(target, overwrite=True)
    assert target.read_text(encoding="utf-8").startswith("run_id,")


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    for words in ({}, {"format": "xlsx"}):
        with pytest.raises(UsageError, match="is not one of csv, tsv, json, jsonl, parquet"):
            trk.export_runs(tmp_path / "runs.doc", **words)
    with pytest.raises(UsageError, match="no ending"):
        trk.export_runs(io.BytesIO())
    with pytest.raises(UsageError, match="are not narrowed"):
        trk.export_runs(tmp_path / "runs.csv", "one", experiment="export")
    with pytest.raises(NotFound):
        trk.export_history(tmp_path / "runs.csv", "f1", "no such run")
    done = trk.export_runs(tmp_path / "none.json")
    assert (done.rows, json.loads((tmp_path / "none.json").read_text())) == (0, [])
    assert trk.export_history(tmp_path / "none.csv").rows == 0


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError) as caught:
        trk.export_runs(tmp_path / "runs.parquet")
    assert caught.value.hint is not None
    assert "trk-ml[parquet]" in caught.value.hint
    assert list(tmp_path.glob("*.p*")) == []


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_text_breaks_out_of_its_cell(texts: list[str]) -> None:
    names = ["a", *map(str, range(len(texts)))]
    table = written.Table(dict.fromkeys(names, "text"), [(["x", *texts], texts)])
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        file = io.BytesIO()
        written.write(file, table, form)
        quoting = csv.QUOTE_MINIMAL if form == "csv" else csv.QUOTE_NONE
        rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline=""), delimiter=delimiter, quoting=quoting))
        assert [len(row) for row in rows] == [len(texts) + 1] * 2
        assert not any(cell[:1] in ("=", "@") for row in rows for cell in row)
    file = io.BytesIO()
    written.write(file, table, "jsonl")
    assert json.loads(file.getvalue()) == texts
    assert cells.no_formula("-1.5") == "-1.5"
