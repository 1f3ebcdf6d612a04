"""`trk check`: a gate in a script. What it judges is tested in tests/query/test_check.py."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import helpers
import trk

Call = Callable[..., Any]


@pytest.fixture
def run() -> str:
    """A run that has ended; returns its id."""
    for name, metrics in (("base", {"f1": 0.8}), ("run", {"f1": 0.7, "loss": float("nan"), "big": float("inf")})):
        made = trk.start(name, experiment="digits", params={"model": "rf"})
        made.log_metrics(metrics)
        made.finish()
    return made.id


def test_json_has_the_promised_shape(call: Call, run: str) -> None:
    done = call("check", "f1 >= 0.85", "f1 >= baseline - 0.1", "loss < 1", "--run", run, "--baseline", "base", "--json")
    found = json.loads(done.out)
    assert list(found)[:2] == ["passed", "checks"]
    assert [list(one) for one in found["checks"]] == [["expression", "left", "right", "passed", "reason"]] * 3
    assert found["passed"] is False
    assert found["checks"] == [
        {"expression": "f1 >= 0.85", "left": 0.7, "right": 0.85, "passed": False,
         "reason": "0.7 is less than 0.85, by 0.15"},
        {"expression": "f1 >= baseline - 0.1", "left": 0.7, "right": 0.7, "passed": True, "reason": None},
        {"expression": "loss < 1", "left": "NaN", "right": 1.0, "passed": False,
         "reason": "loss is NaN, which is nothing to judge by"},
    ]  # fmt: skip
    assert (found["run_id"], found["baseline"]) == (run, json.loads(call("show", "base", "--json").out)["run_id"])
    error = json.loads(done.err)["error"]
    assert (done.code, error["code"], error["message"]) == (
        5, "check_failed", "2 of 3 conditions do not hold for run run",
    )  # fmt: skip


def test_every_condition_is_shown_in_every_format(call: Call, run: str) -> None:
    conditions = ["f1 >= 0.85", "f1 > 0.5", "nothing > 1"]
    for shape in ("table", "csv", "tsv", "markdown", "plain"):
        done = call("check", *conditions, "--run", run, "--format", shape)
        assert done.code == 5
        lines = [line for line in done.out.splitlines() if "f1 &gt;" in line or "f1 >" in line or "nothing" in line]
        assert len(lines) == 3, done.out
    rows = [line.split("\t") for line in call("check", *conditions, "--run", run).out.splitlines()]
    assert rows[0] == ["passed", "condition", "left", "right", "reason"]
    assert [row[:2] for row in rows[1:]] == [
        ["false", "f1 >= 0.85"], ["true", "f1 > 0.5"], ["false", "nothing > 1"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("check 'f1 > 0.5' --run run", 0, None),
        ("check 'f1 > 0.75' --run run", 5, "check_failed"),
        ("check 'f2 > 0.75' --run run", 5, "check_failed"),
        ("check 'loss > 0' --run run", 5, "check_failed"),
        ("check 'big > 0' --run run", 5, "check_failed"),
        ("check 'f1 >= baseline' --run run --baseline base", 5, "check_failed"),
        ("check 'f1 >= baseline' --run run --baseline run", 2, "usage"),
        ("check 'f1 >= baseline' --run run", 4, "not_found"),
        ("check 'f1 >= baseline' --run run --baseline nobody", 4, "not_found"),
        ("check 'f1 >= baseline' --run run --baseline tag:a=b", 4, "not_found"),
        ("check 'f1 >= baseline' --run run --baseline tag:a=b --allow-no-baseline", 0, None),
        ("check 'f1 >= baseline' --run run --allow-no-baseline", 0, None),
        ("check 'f1 >= baseline' --run run --baseline best:f1 -e letters", 4, "not_found"),
        ("check 'f1 >= baseline' --run base --baseline best:f1", 0, None),
        ("check 'f1 > 0.5'", 3, "no_active_run"),
        ("check 'f1 > 0.5' --run nobody", 4, "not_found"),
        ("check --run run", 2, "usage"),
        ("check f1 0.5 --run run", 2, "usage"),
        ("check 'f1 > ' --run run", 2, "usage"),
        ("check '' --run run", 2, "usage"),
        ("check 'f1 > 0.5' --run run --source nowhere", 2, "configuration"),
        ("check 'f1 > 0.5' --run run --format xml", 2, "usage"),
        ("check --from nothing.txt --run run", 2, "usage"),
        ("check --from empty.txt --run run", 2, "usage"),
        ("check --from gates.txt --run run", 0, None),
        ("check --from gates.txt 'f1 > 1' --run run", 5, "check_failed"),
    ],
)
def test_each_answer_has_its_exit_code(
    line: str, code: int, error: str | None, call: Call, run: str, project: Path
) -> None:
    (project / "gates.txt").write_text("# gates\n\n  f1 > 0.5\nparams.model = 'rf'\n", encoding="utf-8")
    (project / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    done = call(*shlex.split(line))
    assert (done.code, done.err.count("\n")) == (code, 0 if error is None else 1), done.err
    assert (done.out == "") == (code not in (0, 5))
    if error is not None:
        assert json.loads(call(*shlex.split(line), "--json").err)["error"]["code"] == error


def test_quiet_prints_nothing_and_field_one_value(call: Call, run: str) -> None:
    assert call("check", "f1 > 0.5", "--run", run, "-q") == type(call("help"))(0, "", "")
    failed = call("check", "f1 > 0.9", "--run", run, "-q")
    assert (failed.code, failed.out) == (5, "")
    assert call("check", "f1 > 0.5", "--run", run, "--field", "passed").out == "true\n"
    assert call("check", "f1 > 0.5", "--run", run, "--field", "checks.0.left").out == "0.7\n"


@pytest.mark.parametrize("columns", [20, 60, 80])
def test_a_table_fits_and_hostile_names_do_nothing(
    columns: int, call: Call, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    hostile = ["`a|b\x1b[31m<b>` > 1", "params.model = '=1+1|\x1b]0;x\x07'", "f1 > baseline.`" + "x" * 200 + "`"]
    for shape in ("table", "markdown", "csv", "tsv", "plain", "json"):
        done = call("check", *hostile, "--run", run, "--baseline", "base", "--format", shape)
        assert done.code == 5
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err
        if shape == "table":
            assert max(map(cell_len, done.out.splitlines())) <= columns
        if shape == "markdown":
            assert {line.count(" | ") for line in done.out.splitlines()} == {4}
            assert "<b>" not in done.out


def test_conditions_come_from_standard_input() -> None:
    with trk.start("run") as run:
        run.log_metric("f1", 0.9)
    done = helpers.trk("check", "--from", "-", "--run", run.id, input="f1 > 0.5\n# no more\nf1 < 0.95\n")
    assert (done.returncode, done.stdout.count("true\t")) == (0, 2)
    none = helpers.trk("check", "--from", "-", "--run", run.id, input="")
    assert (none.returncode, "holds no condition" in none.stderr) == (2, True)
