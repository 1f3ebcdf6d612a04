"""ls, search, history and export as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trk_cli import render
from trk_cli.results import Column, Listing


@pytest.fixture
def sweep(call: Any) -> None:
    for at, (model, f1) in enumerate((("rf", "0.5"), ("rf", "0.7"), ("svm", "nan"))):
        assert call("start", f"run {at}", "-e", "sweep", "--param", f"model={model}", "-q").code == 0
        assert call("log-metrics", f"f1={f1}", "val/loss=1", "val/acc=0.5", "--step", "1").code == 0
        assert call("log-metrics", "val/loss=0.5", "--step", "2").code == 0
        assert call("end", "-q", *(["--failed"] if at == 1 else [])).code == 0


def test_search_is_ls_with_the_filter_first(call: Any, sweep: None) -> None:
    asked = "metrics.f1 > 0.6 or params.model = 'svm'"
    flags = ["--columns", "name,metrics.val/*", "--sort", "metrics.f1 desc"]
    found = call("search", asked, *flags)
    assert found.out == "name\tmetrics.val/acc\tmetrics.val/loss\nrun 1\t0.5\t0.5\nrun 2\t0.5\t0.5\n"
    assert found == call("ls", "--filter", asked, *flags)
    assert call("search", "NOT status = 'FINISHED'", "--field", "name").out == "run 1\n"
    assert call("search").code == 2
    done = call("search", "metrics.f1 > ", "--json")
    assert (done.code, "character 14: a value is expected after >" in done.err) == (2, True)


def test_groups_in_every_format(call: Any, sweep: None) -> None:
    asked = ["ls", "--group-by", "params.model", "--columns", "metrics.f1", "--agg", "mean,std,count"]
    table = call(*asked)
    assert table.out == (
        "params.model\truns\tf1.mean\tf1.std\tf1.count\nrf\t2\t0.6\t0.14142135623730948\t2\nsvm\t1\t\t\t0\n"
    )
    assert table.err == "1 value of f1 left out: not finite\n"
    (rf, svm) = json.loads(call(*asked, "--json").out)
    assert (rf["group"], rf["runs"], len(rf["run_ids"])) == ({"params.model": "rf"}, 2, 2)
    assert svm["metrics"] == {"f1": {"mean": None, "std": None, "count": 0, "not_finite": 1}}
    assert call(*asked, "--field", "metrics.f1.mean").out == "0.6\n\n"
    assert len(call(*asked, "-q").out.split()) == 3
    for wrong in (["--agg", "mean"], ["--group-by", "params.model", "--columns", "name"],
                  ["--group-by", "params.model", "--deleted"], ["--since", "soon"]):  # fmt: skip
        assert call("ls", *wrong).code == 2


def test_history_side_by_side(call: Any, sweep: None) -> None:
    aligned = call("history", "val/*", "--filter", "params.model = 'rf'", "--align")
    assert aligned.out == (
        "step\trun 1 val/acc\trun 1 val/loss\trun 0 val/acc\trun 0 val/loss\n1\t0.5\t1.0\t0.5\t1.0\n2\t\t0.5\t\t0.5\n"
    )
    (first, second) = json.loads(call("history", "val/*", "--run", "run 2", "--align", "--json").out)
    assert first["step"] == 1
    assert list(second["values"].values()) == [{"val/loss": 0.5}]
    assert call("history", "val/*", "--run", "run 2", "--last", "1", "--align").out == (
        "step\tval/acc\tval/loss\n1\t0.5\t\n2\t\t0.5\n"
    )
    assert call("history", "f1", "--run", "run 2", "--status", "FAILED").code == 2


def test_export_of_tables(call: Any, sweep: None, project: Path) -> None:
    done = call("export", "--runs", "runs.csv", "--columns", "name,metrics.f1", "--sort", "name", "--json")
    assert json.loads(done.out)["rows"] == 3
    assert (project / "runs.csv").read_text() == "name,metrics.f1\nrun 0,0.5\nrun 1,0.7\nrun 2,NaN\n"
    assert call("export", "--runs", "runs.csv").code == 2  # it is there
    piped = call("export", "--history", "-", "--format", "jsonl", "--metric", "f1", "run 0")
    assert [json.loads(line)["value"] for line in piped.out.splitlines()] == [0.5]
    assert piped.err == "exported 1 row to standard output\n"
    for wrong in ([], ["--runs", "a.csv", "--history", "b.csv"], ["--runs", "-"], ["--history", "a.csv", "-n", "1"],
                  ["--bundle", "x", "--sort", "name"], ["--runs", "a.csv", "--pending"]):  # fmt: skip
        assert call("export", *wrong).code == 2
    assert sorted(path.name for path in project.glob("*.*") if path.is_file()) == ["runs.csv"]


def test_the_columns_of_the_largest_rank_go_first() -> None:
    heads = [Column("run", keep=True), Column("a", rank=1), Column("b", rank=2), Column("c", rank=2), Column("d")]
    rows = [["x" * 10] * 5]
    for width, dropped in ((60, ""), (50, "c"), (40, "bc"), (30, "abc"), (12, "abcd")):
        assert render.table(Listing(heads, rows), width=width, terminal=False)[1] == list(dropped)
