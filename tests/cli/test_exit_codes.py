"""Exit codes are promises, and with each comes an error code that stays the same.

What a journal that can't be written to does is among the faults.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

NOTHING = ()
OPEN = ("start one -q --param lr=0.1 --tag stage=dev", "log-metric f1 0.9")
ENDED = (*OPEN, "end -q")

CASES = [
    # before, command, exit code, error code
    (NOTHING, "--version", 0, None),
    (NOTHING, "--help", 0, None),
    (NOTHING, "", 0, None),
    (NOTHING, "start", 0, None),
    (NOTHING, "ls", 0, None),
    (NOTHING, "sync", 0, None),
    (NOTHING, "config", 0, None),
    (NOTHING, "help", 0, None),
    (OPEN, "log-metric f1 nan", 0, None),
    (OPEN, "log-metric f1 -inf", 0, None),
    (OPEN, "log-param lr 0.1", 0, None),
    (OPEN, "log-param lr 0.2 --if-exists keep", 0, None),
    (OPEN, "delete-tag stage", 0, None),
    (OPEN, "attach one", 0, None),
    (OPEN, "start two --replace", 0, None),
    (OPEN, "start two --nested", 0, None),
    (OPEN, "best --metric f1", 0, None),
    (ENDED, "resume one", 0, None),
    (ENDED, "show @last", 0, None),
    (NOTHING, "log-metrik f1 0.9", 2, "usage"),
    (NOTHING, "--nonsense", 2, "usage"),
    (NOTHING, "log-metric", 2, "usage"),
    (NOTHING, "start --nonsense", 2, "usage"),
    (NOTHING, "start one two", 2, "usage"),
    (NOTHING, "start -b nonsense", 2, "configuration"),
    (NOTHING, "start --capture nonsense", 2, "usage"),
    (NOTHING, "start --timeout soon", 2, "usage"),
    (NOTHING, "ls --format xml", 2, "usage"),
    (NOTHING, "ls --status ASLEEP", 2, "usage"),
    (NOTHING, "ls --source nonsense", 2, "configuration"),
    (NOTHING, "ls -n -1", 2, "usage"),
    (NOTHING, "best", 2, "usage"),
    (NOTHING, "history", 2, "usage"),
    (OPEN, "sync --to nonsense", 2, "configuration"),
    (NOTHING, "config set", 2, "usage"),
    (OPEN, "log-metric f1 high", 2, "usage"),
    (OPEN, "log-metric f1 0.9 --step", 2, "usage"),
    (OPEN, "log-metric f1 0.9 --json=yes", 2, "usage"),
    (OPEN, "log-metrics f1", 2, "usage"),
    (OPEN, "log-param lr 0.2 --if-exists overwrite", 2, "usage"),
    (OPEN, "set-tag trk.run_id mine", 2, "usage"),
    (OPEN, "define-metric f1", 2, "usage"),
    (OPEN, "define-metric f1 --mode up", 2, "usage"),
    (OPEN, "end --status ASLEEP", 2, "usage"),
    (OPEN, "end --exit-code 256", 2, "usage"),
    (OPEN, "end --exit-code 0 --failed", 2, "usage"),
    (OPEN, "best --metric unheard --source local", 4, "not_found"),
    (OPEN, "best --metric f1 --mode up", 2, "usage"),
    (OPEN, "best --metric f1 --agg mean", 2, "usage"),
    (OPEN, "best --metric f1 -n 0", 2, "usage"),
    (OPEN, "show one --run one", 2, "usage"),
    (OPEN, "ls --filter 'metrics.f1 >'", 2, "usage"),
    (OPEN, "ls --columns nonsense", 2, "usage"),
    (NOTHING, "log-metric f1 0.9", 3, "no_active_run"),
    (NOTHING, "end", 3, "no_active_run"),
    (NOTHING, "status", 3, "no_active_run"),
    (NOTHING, "detach", 3, "no_active_run"),
    (NOTHING, "show", 3, "no_active_run"),
    (NOTHING, "history f1", 3, "no_active_run"),
    (NOTHING, "start --nested", 3, "no_active_run"),
    (ENDED, "log-metric f1 0.9", 3, "no_active_run"),
    (ENDED, "end", 3, "no_active_run"),
    (ENDED, "status", 3, "no_active_run"),
    (NOTHING, "show nobody", 4, "not_found"),
    (NOTHING, "attach nobody", 4, "not_found"),
    (NOTHING, "best --metric f1", 4, "not_found"),
    (NOTHING, "ls -e nothing", 4, "not_found"),
    (NOTHING, "help nonsense", 4, "not_found"),
    (OPEN, "log-metric f1 0.9 --run nobody", 4, "not_found"),
    (OPEN, "delete-tag nothing", 4, "not_found"),
    (OPEN, "best --metric f2", 4, "not_found"),
    (OPEN, "history f2", 4, "not_found"),
    (OPEN, "show --field params.nothing", 4, "not_found"),
    (OPEN, "resume @last", 4, "not_found"),
    (OPEN, "start two --parent nobody", 4, "not_found"),
    (OPEN, "start two", 7, "conflict"),
    (OPEN, "resume one", 7, "conflict"),
    (OPEN, "log-param lr 0.2", 7, "conflict"),
    (OPEN, "log-params new=1 lr=0.2", 7, "conflict"),
    (ENDED, "attach one", 7, "conflict"),
    (ENDED, "log-metric f1 0.9 --run one", 7, "conflict"),
    (ENDED, "end --run one", 7, "conflict"),
    ((*ENDED, "start two -q"), "resume one", 7, "conflict"),
]


@pytest.mark.parametrize(("before", "line", "code", "error"), CASES, ids=[f"{case[2]}: {case[1]}" for case in CASES])
def test_each_outcome_has_its_exit_code(before: Any, line: str, code: int, error: str | None, call: Any) -> None:
    for first in before:
        assert call(*shlex.split(first)).code == 0
    done = call(*shlex.split(line))
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    if code:
        assert done.out == ""
        assert done.err.startswith("trk: ")
        assert done.err.count("\n") == 1
    words = shlex.split(line)
    if code and words[0] not in ("help", "detach") and not words[0].startswith("-"):
        told = call(words[0], "--json", *words[1:])
        assert told.code == code
        found = json.loads(told.err)["error"]
        assert found["code"] == error
        assert set(found) == {"code", "message", "hint"}


@pytest.mark.parametrize(
    "content",
    ["", '{"version": 1, "acti', "[]", "noise\x00", '{"version": 99, "active": []}', '{"version": 1, "active": 3}'],
)
@pytest.mark.parametrize("line", ["log-metric f1 1", "status", "end", "start two --replace", "detach"])
def test_a_session_file_that_cannot_be_used_is_a_failure_that_names_the_way_out(
    content: str, line: str, call: Any, open_run: str
) -> None:
    Path(".trk/session.json").write_text(content)
    done = call(*line.split())
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "session.json" in done.err
    assert "trk attach RUN" in done.err
    assert call("log-metric", "f1", "1", "--run", open_run).code == 0  # the runs are all there


def test_strict_is_exit_6_when_something_is_pending(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert call("start", "one", "-q").code == 0
    ended = call("end", "--strict", "--timeout", "0", "--json")
    assert ended.code == 6
    assert json.loads(ended.out)["runs"][0]["backends"]["mlflow"]["pending"] == 1
    assert json.loads(ended.err.splitlines()[-1])["error"]["code"] == "not_delivered"
    assert call("sync", "--timeout", "0").code == 0  # an outage is no failure
    assert call("sync", "--timeout", "0", "--strict").code == 6
    monkeypatch.setenv("TRK_STRICT", "1")
    assert call("sync", "--timeout", "0").code == 6


@pytest.mark.mlflow
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_a_source_that_does_not_answer_is_a_failure(trk_command: Any, open_run: str) -> None:
    env = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = trk_command("best", "--metric", "f1", "--source", "mlflow", "--timeout", "1", "--json", env=env)
    assert done.returncode == 1
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "source_unavailable"
    assert "--source local" in error["hint"]
