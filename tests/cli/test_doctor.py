"""`trk doctor`: what it prints, and how it exits."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from helpers import in_time
from servers.mlflow_server import FaultServer, http_answer

SECRET = "hunter2-open-sesame"
STATES = {"ok", "warn", "fail", "skip"}


def test_json_is_a_list_of_checks(call: Any, open_run: str) -> None:
    done = call("doctor", "--json", "-q")
    assert call("doctor", "--json").code == 0
    assert done.err == ""
    checks = json.loads(call("doctor", "--json").out)
    assert all(list(check) == ["check", "state", "found", "mend"] for check in checks)
    assert {check["state"] for check in checks} <= STATES
    assert {"python", "trk", "command", "folder", "journal", "session", "settings"} <= {c["check"] for c in checks}
    assert next(c["found"] for c in checks if c["check"] == "session").endswith(f"in run {open_run}")
    assert all(check["mend"] for check in checks if check["state"] in ("warn", "fail"))


@pytest.mark.parametrize("form", ["table", "plain", "tsv", "csv", "markdown"])
def test_every_format_says_the_state_in_words(
    call: Any, open_run: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no path is folded, however long it is here
    done = call("doctor", "--format", form)
    assert done.code == 0
    assert "journal.db: 1 run, 1 open" in done.out.replace("\\_", "_")
    assert "\x1b" not in done.out
    if form == "csv":
        rows = list(csv.reader(io.StringIO(done.out)))
        assert rows[0] == ["check", "state", "found", "mend"]
        assert {row[1] for row in rows[1:]} <= STATES


def test_warnings_are_exit_0_and_failures_exit_1(call: Any, open_run: str, project: Path) -> None:
    (project / ".trk").chmod(0o755)
    done = call("doctor")
    assert done.code == 0
    assert "failed: 0" in done.err
    (project / ".trk" / "session.json").write_text("{")
    done = call("doctor")
    assert done.code == 1
    assert "failed: 1" in done.err
    assert "trk: " not in done.err


def test_quiet_tells_what_is_wrong_and_nothing_else(call: Any, open_run: str, project: Path) -> None:
    (project / ".trk" / "session.json").write_text("{")
    done = call("doctor", "-q", "--json")
    assert (done.code, done.err) == (1, "")
    told = json.loads(done.out)
    assert {check["state"] for check in told} <= {"warn", "fail"}
    assert "session" in {check["check"] for check in told}


def test_one_value_can_be_had(call: Any) -> None:
    done = call("doctor", "--field", "state")
    assert (done.code, done.err) == (0, "")
    assert set(done.out.split()) <= STATES


@pytest.mark.parametrize("words", [["--timeout", "soon"], ["--timeout", "-1"], ["--format", "xml"], ["all"]])
def test_what_is_not_understood_is_exit_2(call: Any, words: list[str]) -> None:
    assert call("doctor", *words).code == 2


def test_the_command_takes_no_longer_than_it_may(trk_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    with FaultServer(None) as server:
        monkeypatch.setenv("TRK_BACKENDS", "mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with in_time(2):
            done = trk_command("doctor", "--timeout", "2")
    assert done.returncode == 1
    assert "backend mlflow\tfail\t" in done.stdout


def test_no_secret_is_ever_shown(trk_command: Any, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("WANDB_API_KEY", f"{SECRET}-of-wandb")
    (project / "pyproject.toml").write_text(f'[tool.trk]\nmlflow_uri = "http://ada:{SECRET}@a.example"\n')
    with FaultServer(http_answer(403, f"not with {SECRET}")) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url.replace("//", f"//ada:{SECRET}@"))
        done = trk_command("doctor")
    assert done.returncode == 1
    assert "HTTP 403" in done.stdout
    assert SECRET not in done.stdout + done.stderr
