"""`trk compare`: its shape in JSON, its lines for scripts, and its table for people."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len

import trk

Call = Callable[..., Any]


def ended(name: str, metrics: dict[str, float], **params: object) -> str:
    """A run that has ended; returns its id."""
    run = trk.start(name, experiment="digits", params=params)
    run.log_metrics(metrics)
    run.finish()
    return run.id


@pytest.fixture
def runs() -> tuple[str, str]:
    """A baseline, and a run that is better by f1, worse by loss and without the third metric."""
    base = ended("base", {"f1": 0.5, "loss": 0.25, "tokens": 2.0, "acc": 0.5}, lr=0.1, seed=1)
    return base, ended("one", {"f1": 0.75, "loss": 0.5, "acc": 0.5}, lr=0.2, seed=1)


def cells(text: str) -> dict[tuple[str, str], list[str]]:
    """Plain lines by what and name."""
    return {(row[0], row[1]): row[2:] for row in (line.split("\t") for line in text.splitlines())}


def test_json_has_the_promised_shape(call: Call, runs: tuple[str, str]) -> None:
    base, one = runs
    found = json.loads(call("compare", "one", "--baseline", "base", "--json").out)
    assert list(found) == ["baseline", "runs", "params", "metrics"]
    assert found["baseline"] == base
    assert found["runs"] == [json.loads(call("show", run, "--json").out) for run in runs]
    assert found["params"] == {"lr": {base: "0.1", one: "0.2"}}
    assert found["metrics"] == {
        "f1": {
            "mode": "max", "values": {base: 0.5, one: 0.75}, "delta": {one: 0.25},
            "relative": {one: 0.5}, "verdict": {one: "better"},
        },
        "loss": {
            "mode": "min", "values": {base: 0.25, one: 0.5}, "delta": {one: 0.25},
            "relative": {one: 1.0}, "verdict": {one: "worse"},
        },
        "tokens": {"mode": None, "values": {base: 2.0}, "delta": {}, "relative": {}, "verdict": {}},
    }  # fmt: skip


def test_json_without_a_baseline_says_null(call: Call, runs: tuple[str, str]) -> None:
    found = json.loads(call("compare", *runs, "--json").out)
    assert found["baseline"] is None
    for metric in found["metrics"].values():
        assert (metric["delta"], metric["relative"], metric["verdict"]) == ({}, {}, {})


def test_json_holds_nan_and_infinity_as_text(call: Call) -> None:
    base, one = ended("base", {"f1": float("nan")}), ended("one", {"f1": float("inf")})
    metric = json.loads(call("compare", "one", "--baseline", "base", "--json").out)["metrics"]["f1"]
    assert metric["values"] == {base: "NaN", one: "Infinity"}
    assert (metric["delta"], metric["relative"], metric["verdict"]) == ({one: "NaN"}, {one: None}, {})


def test_scripts_get_each_number_alone_in_its_cell(call: Call, runs: tuple[str, str]) -> None:
    found = cells(call("compare", "one", "--baseline", "base").out)
    assert found["what", "name"] == ["base", "one"]
    assert found["run", "run_id"] == [*runs]
    assert found["run", "baseline"] == ["true", "false"]
    assert found["param", "lr"] == ["0.1", "0.2"]
    assert found["metric", "f1"] == ["0.5", "0.75"]
    assert found["delta", "f1"] == ["", "0.25"]
    assert found["relative", "f1"] == ["", "0.5"]
    assert found["verdict", "loss"] == ["", "worse"]
    assert found["metric", "tokens"] == ["2.0", ""]
    assert ("delta", "tokens") not in found
    assert ("param", "seed") not in found
    assert ("metric", "acc") not in found
    rows = list(csv.reader(io.StringIO(call("compare", "one", "--baseline", "base", "--format", "csv").out)))
    assert {(row[0], row[1]): row[2:] for row in rows} == found


def test_people_get_the_difference_and_what_it_means(call: Call, runs: tuple[str, str]) -> None:
    shown = call("compare", "one", "--baseline", "base", "--format", "table").out
    assert "base (baseline)" in shown
    assert "0.75 (+0.25 better)" in shown
    assert "0.5 (+0.25 worse)" in shown
    assert "run_id" not in shown
    page = call("compare", "one", "--baseline", "base", "--format", "markdown").out
    assert f"| run | run\\_id | {runs[0]} | {runs[1]} |" in page
    assert "| metric | f1 | 0.5 | 0.75 (+0.25 better) |" in page
    assert "0.5 (same)" in call("compare", "one", "--baseline", "base", "--format", "table", "--all").out


def test_without_a_direction_there_is_a_difference_and_no_verdict(call: Call) -> None:
    ended("base", {"tokens": 2.0, "words": float("nan")})
    ended("one", {"tokens": 1.0, "words": 2.0})
    shown = call("compare", "one", "--baseline", "base", "--format", "markdown").out
    assert "| metric | tokens | 2.0 | 1.0 (-1) |" in shown
    assert "| metric | words | NaN | 2.0 |" in shown


def test_the_same_is_the_same_in_every_format_whatever_is_better(call: Call) -> None:
    base = ended("base", {"tokens": 2.0, "f1": 0.5, "words": float("nan")})
    one = ended("one", {"tokens": 2.0, "f1": 0.5, "words": float("nan")})
    words = ("compare", "one", "--baseline", "base", "--all")
    found = json.loads(call(*words, "--json").out)["metrics"]
    assert [found[key]["verdict"] for key in ("tokens", "f1", "words")] == [{one: "same"}] * 3
    assert found["tokens"]["mode"] is None
    assert cells(call(*words).out)["verdict", "tokens"] == ["", "same"]
    assert "2.0 (same)" in call(*words, "--format", "markdown").out
    assert "2 (same)" in call(*words, "--format", "table").out
    assert call(*words, "--field", f"metrics.tokens.verdict.{one}").out == "same\n"
    assert base not in found["tokens"]["verdict"]


def test_nothing_differs_is_said(call: Call) -> None:
    for name in ("one", "two"):
        ended(name, {"f1": 0.5}, lr=0.1)
    done = call("compare", "one", "two")
    assert (done.code, done.out, done.err) == (0, "", "nothing differs (--all shows all)\n")
    assert call("compare", "one", "two", "--format", "csv").out == "what,name,one,two\n"
    found = json.loads(call("compare", "one", "two", "--json").out)
    assert (found["params"], found["metrics"], len(found["runs"])) == ({}, {}, 2)
    whole = cells(call("compare", "one", "two", "--all").out)
    assert (whole["param", "lr"], whole["metric", "f1"]) == (["0.1", "0.1"], ["0.5", "0.5"])
    assert (whole["run", "name"], whole["run", "status"]) == (["one", "two"], ["FINISHED", "FINISHED"])
    assert ("run", "description") not in whole


def test_runs_that_differ_in_their_state_alone_do_differ(call: Call) -> None:
    ended("one", {"f1": 0.5})
    with trk.start("two", experiment="letters") as run:
        run.log_metric("f1", 0.5)
        found = cells(call("compare", "one", "two").out)
    assert found["run", "status"] == ["FINISHED", "RUNNING"]
    assert found["run", "experiment"] == ["digits", "letters"]
    assert ("metric", "f1") not in found


def test_quiet_prints_ids_and_field_one_value(call: Call, runs: tuple[str, str]) -> None:
    base, one = runs
    assert call("compare", "one", "--baseline", "base", "-q").out == f"{base}\n{one}\n"
    assert call("compare", "one", "--baseline", "base", "--field", f"metrics.f1.verdict.{one}").out == "better\n"
    assert call("compare", "one", "--baseline", "best:f1", "--field", "baseline").out == f"{base}\n"
    assert call("compare", "--best", "2", "--metric", "f1", "-q").out == f"{one}\n{base}\n"


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("compare", 2, "usage"),
        ("compare one", 2, "usage"),
        ("compare one one", 2, "usage"),
        ("compare one --baseline one", 2, "usage"),
        ("compare one twin", 2, "usage"),
        ("compare one base --mode max", 2, "usage"),
        ("compare one --best 2", 2, "usage"),
        ("compare one --metric f1", 2, "usage"),
        ("compare --best 0 --metric f1", 2, "usage"),
        ("compare --best -1 --metric f1", 2, "usage"),
        ("compare --best many --metric f1", 2, "usage"),
        ("compare --best 2 --metric tokens", 2, "usage"),
        ("compare one --baseline best:tokens", 2, "usage"),
        ("compare one --baseline tag:stage", 2, "usage"),
        ("compare one base --format xml", 2, "usage"),
        ("compare one base --source nowhere", 2, "configuration"),
        ("compare one @", 3, "no_active_run"),
        ("compare one nobody", 4, "not_found"),
        ("compare one --baseline nobody", 4, "not_found"),
        ("compare one --baseline best:f2", 4, "not_found"),
        ("compare one --baseline tag:stage=prod", 4, "not_found"),
        ("compare one base --field metrics.f2", 4, "not_found"),
        ("compare --best 2 --metric f1 -e nothing", 4, "not_found"),
    ],
)
def test_each_refusal_has_its_exit_code(line: str, code: int, error: str, call: Call) -> None:
    for name in ("base", "one", "twin", "twin"):
        ended(name, {"f1": 0.5, "tokens": float(len(name))})
    done = call(*shlex.split(line))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    assert json.loads(call(*shlex.split(line), "--json").err)["error"]["code"] == error


HOSTILE = ["=1+1", "a|b `c` <b>", "name", "what", "日本 🎯", "[red]x[/red]", "x" * 250, "x" * 249 + "y"]


@pytest.mark.parametrize("format", ["table", "csv", "tsv", "markdown", "plain"])
def test_whatever_a_run_is_called_its_column_is_its_own(format: str, call: Call) -> None:  # noqa: A002 - the flag
    ids = [ended(name, {"f1": float(n)}, note=name) for n, name in enumerate([*HOSTILE, "twin", "twin"])]
    done = call("compare", *ids, "--baseline", ids[0], "--format", format)
    assert (done.code, "Traceback" in done.err) == (0, False)
    if format == "markdown":
        assert len({line.count(" | ") for line in done.out.splitlines()}) == 1
    elif format in ("csv", "tsv"):
        rows = list(csv.reader(io.StringIO(done.out), delimiter="," if format == "csv" else "\t"))
        assert {len(row) for row in rows} == {2 + len(ids)}
        assert len(set(rows[0])) == len(rows[0])
        assert not [cell for row in rows for cell in row if cell.startswith("=")]
        assert rows[1] == ["run", "run_id", *ids]
    elif format == "plain":
        found = cells(done.out)
        assert found["run", "name"] == found["param", "note"] == [*HOSTILE, "twin", "twin"]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_table_fits_and_names_the_runs_it_has_no_room_for(
    columns: int, count: int, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"run {n}" for n in range(count)]
    for n, name in enumerate(names):
        ended(name, {"val/f1-macro": n + 1 / 3, "loss": n / 7}, path=f"/data/{n}" * 20, model="rf")
    monkeypatch.setenv("COLUMNS", str(columns))
    done = call("compare", *names, "--baseline", names[0], "--format", "table")
    assert max(map(cell_len, done.out.splitlines())) <= columns
    for name in names:
        flat = "".join(done.out.split())
        assert name.replace(" ", "") in flat or name in done.err
    if columns >= 60:
        assert "val/f1-macro" in done.out
        assert "run 1" in done.out


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_twenty_runs_of_two_hundred_params_are_shown_whole_and_in_reach(
    columns: int, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        metrics = {"f1": n / 20, "val/loss": 1 / (n + 1)}
        ended(f"trial {n}", metrics, **{f"param_{k}": n * k for k in range(1, 201)})
    monkeypatch.setenv("COLUMNS", str(columns))
    words = ("compare", "--best", "20", "--metric", "f1", "--baseline", "best:f1")
    done = call(*words, "--format", "table")
    lines = done.out.splitlines()
    assert max(map(cell_len, lines)) <= columns
    parts = done.out.split("\n\n")
    assert lines[1].split()[:2] == ["run", "f1"]
    for part in parts:  # each with all runs, the baseline first
        names = [line[:9].strip() for line in part.splitlines()[2:]]
        assert names == [f"trial {n}" for n in reversed(range(20))]
    shown = [word for part in parts for word in part.splitlines()[1].split()[1:]]
    assert sorted(shown) == sorted(["f1", "val/loss", "duration", *(f"param_{k}" for k in range(1, 201))])
    assert "--metrics" in done.err
    some = call(*words, "--format", "table", "--params", "param_1,param_2?", "--metrics", "f1")
    assert some.out.count("param_") == 11
    assert "--metrics" not in some.err


def test_two_runs_too_wide_for_the_terminal_stay_columns(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        ended(name, {f"metric {n}": n + len(name) / 7 for n in range(20)}, path=f"/data/{name}/" * 8)
    monkeypatch.setenv("COLUMNS", "60")
    lines = call("compare", "one", "two", "--format", "table").out.splitlines()
    assert lines[0].split() == ["what", "name", "one", "two"]
    assert max(map(cell_len, lines)) <= 60
    assert "" not in lines


def test_a_metric_of_the_longest_name_leaves_room_for_the_runs(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ended("one", {"m" * 250: 1.0})
    ended("two", {"m" * 250: 2.0})
    monkeypatch.setenv("COLUMNS", "60")
    done = call("compare", "one", "two", "--format", "table")
    assert done.out.splitlines()[0].split() == ["what", "name", "one", "two"]
    assert done.err == ""
