"""`trk verify`: what it prints, and how it exits."""

from __future__ import annotations

import json
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from cli.terminals import Terminal
from helpers import COMMAND, child_environment
from servers.mlflow_server import closed_port
from trk.backends.memory import servers
from trk.run import Run

T0 = 1_763_726_400_000


@pytest.fixture
def delivered() -> Run:
    """A run named `one` that has ended and was delivered to the memory backend."""
    run = trk.start("one", backends="memory", params={"lr": 0.1})
    run.log_metric("f1", 0.5, step=1, timestamp=T0)
    run.log_text("a note", name="note")
    run.end(strict=True)
    return run


def test_what_is_as_it_should_be_is_said(call: Any, delivered: Run) -> None:
    told = f"run one ({delivered.id}): memory has what was logged (1 param, 1 point, 1 file)\n"
    for words in (("verify",), ("verify", "one"), ("verify", "--run", "@last"), ("verify", "-b", "memory")):
        done = call(*words)
        assert (done.code, done.out, done.err) == (0, "", told + "nothing differs\n")
    assert call("verify", "-q") == call("verify", "-q", "--format", "plain") != call("verify")
    assert (call("verify", "-q").out, call("verify", "-q").err) == ("", "")


def test_json_has_the_promised_form(call: Any, delivered: Run) -> None:
    form = json.loads(call("verify", "--json").out)
    backend = form["runs"][0]["backends"]["memory"]
    assert (form["ok"], form["runs"][0]["run_id"]) == (True, delivered.id)
    assert {key: backend[key] for key in ("ok", "missing", "extra", "different")} == {
        "ok": True, "missing": [], "extra": [], "different": [],
    }  # fmt: skip
    assert call("verify", "--field", "ok").out == "true\n"
    assert call("verify", "--field", "runs.0.backends.memory.compared.point").out == "1\n"


def spoil(run: Run) -> None:
    kept = servers["default"].runs[run.id]
    kept.points.clear()
    kept.params["lr"] = "\x1b[31m0.2"
    kept.tags["more"] = "=1"


def test_what_differs_is_named_and_exits_6(call: Any, delivered: Run) -> None:
    spoil(delivered)
    done = call("verify", "one")
    assert done.code == 6
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows == [
        ["run", "backend", "differs", "kind", "key", "step", "time", "journal", "backend has"],
        [delivered.id, "memory", "missing", "metric", "f1", "1", "2025-11-21T12:00:00.000Z", "0.5", ""],
        [delivered.id, "memory", "extra", "tag", "more", "", "", "", "=1"],
        [delivered.id, "memory", "different", "param", "lr", "", "", "0.1", "\\x1b[31m0.2"],
    ]
    assert done.err.splitlines() == [
        f"run one ({delivered.id}): memory differs in 3 things (1 param, 1 point, 1 file)",
        f"trk: run {delivered.id}: memory differs from the journal in 3 things "
        "(it was changed or lost there; the journal has what was logged: --source local)",
    ]
    assert call("verify", "-q").out == f"{delivered.id}\n"
    as_json = call("verify", "--json", "-q")
    assert (as_json.code, json.loads(as_json.err)["error"]["code"]) == (6, "not_delivered")
    (missing,) = json.loads(as_json.out)["runs"][0]["backends"]["memory"]["missing"]
    assert missing == {
        "kind": "metric", "key": "f1", "step": 1, "time": "2025-11-21T12:00:00.000Z", "journal": 0.5, "backend": None,
    }  # fmt: skip


def test_what_is_not_a_number_or_no_time_can_be_told(call: Any, delivered: Run) -> None:
    kept = servers["default"].runs[delivered.id]
    for point in [("a", 0, 10**17, float("nan")), ("a", 1, T0, float("-inf"))]:
        kept.points[repr(point)] = point
    extra = json.loads(call("verify", "--json").out)["runs"][0]["backends"]["memory"]["extra"]
    assert [(one["time"], one["backend"]) for one in extra] == [
        (f"{10**17} ms", "NaN"), ("2025-11-21T12:00:00.000Z", "-Infinity"),
    ]  # fmt: skip


def test_what_is_pending_is_said_and_is_no_difference(call: Any) -> None:
    run = trk.start("open", backends="memory")
    run.log_metric("f1", 0.5)
    done = call("verify")
    assert done.code == 0
    assert done.err.startswith(
        f"run open ({run.id}): memory 1 pending, it does not know the run yet: there is nothing to verify\n"
    )
    trk.sync()
    run.log_metric("f1", 0.5)
    assert call("verify", "@").err.startswith(f"run open ({run.id}): memory has what was logged (1 point), 1 pending\n")


def test_without_a_run_or_a_backend_that_is_said(call: Any) -> None:
    assert (call("verify").code, call("verify").err) == (0, "there is no run here\nnothing differs\n")
    run = trk.start("alone")
    assert call("verify").err == f"run alone ({run.id}): in the journal alone\nnothing differs\n"
    assert call("verify", "-b", "memory").err == f"run alone ({run.id}): not sent to memory\nnothing differs\n"


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("verify", "nobody"), 4, "not_found"),
        (("verify", "one", "--run", "one"), 2, "usage"),
        (("verify", "one", "two"), 2, "usage"),
        (("verify", "-b", "nothing"), 2, "configuration"),
        (("verify", "--timeout", "soon"), 2, "usage"),
        (("verify", "@"), 3, "no_active_run"),
        (("verify", "--format", "xml"), 2, "usage"),
    ],
)
def test_what_is_wrong_is_said(call: Any, delivered: Run, words: tuple[str, ...], code: int, name: str) -> None:
    done = call(*words, "--json") if "--format" not in words else call(*words)
    assert done.code == code, done.err
    assert "--format" in words or json.loads(done.err)["error"]["code"] == name
    assert done.out == ""


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_a_backend_that_does_not_answer_is_exit_1(call: Any, delivered: Run) -> None:
    with closed_port() as url, sqlite3.connect(delivered.journal.path) as journal:
        journal.execute(
            "UPDATE deliveries SET backend = 'mlflow', target = ?, remote_id = ?",
            (json.dumps({"tracking_uri": url}), "0" * 32),
        )
        journal.commit()
        done = call("verify", "--json")
    journal.close()
    assert (done.code, done.out) == (1, "")
    assert json.loads(done.err)["error"]["code"] == "source_unavailable"


def test_a_terminal_shows_a_table(delivered: Run, project: Path) -> None:
    terminal = Terminal([*COMMAND, "verify"], child_environment(COLUMNS="200"), project)  # whose memory knows no run
    try:
        terminal.read_until(lambda: "trk: run" in terminal.shown and terminal.shown.endswith("\n"))
    finally:
        terminal.close()
    lines = terminal.shown.splitlines()
    assert "reading back" in terminal.shown  # the bar
    head = next(at for at, line in enumerate(lines) if line.startswith("run  ") and "backend has" in line)
    assert lines[head + 1].split() == [delivered.id, "memory", "missing", "run", delivered.id, "there"]
