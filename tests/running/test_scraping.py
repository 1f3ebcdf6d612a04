"""Metrics out of a command's output, beside its way: bounded, told, and all of them in MLflow."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

import trk
from servers.mlflow_server import MlflowServer

DIGITS = """
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0)
model = SGDClassifier(loss="log_loss", random_state=0)
print("training", model, "on", len(x_train), "digits, see http://localhost:8080/?digits=1")
for epoch in range(1, 6):
    model.partial_fit(x_train, y_train, classes=range(10))
    predicted = model.predict(x_test)
    loss = log_loss(y_test, model.predict_proba(x_test))
    print(f"Epoch {epoch}/5 - loss: {loss:.4f} - accuracy: {accuracy_score(y_test, predicted):.4f}", flush=True)
print(f"f1: {f1_score(y_test, predicted, average='macro'):.4f} (step 5)")
"""


def test_a_training_that_only_prints_is_whole_in_mlflow(
    mlflow_server: MlflowServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="a real training is wrapped")
    pytest.importorskip("psutil", reason="the extra system brings it")
    from mlflow import MlflowClient

    (project / "train.py").write_text(DIGITS)
    result = trk.run_command(
        [sys.executable, "train.py"], "digits", experiment="wrapped", backends="mlflow", mlflow_uri=mlflow_server.url,
        scrape=True, system_metrics=0.2, capture=["args", "packages"], strict=True,
    )  # fmt: skip
    assert (result.status, result.troubles, result.points) == ("FINISHED", (), 11)
    client = MlflowClient(mlflow_server.url)
    run_id = result.record.backends["mlflow"].run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert {name for name in run.data.metrics if not name.startswith("system/")} == {"loss", "accuracy", "f1"}
    losses = client.get_metric_history(run_id, "loss")
    assert [point.step for point in losses] == [1, 2, 3, 4, 5]
    assert losses[-1].value < losses[0].value
    assert run.data.metrics["f1"] > 0.8
    for name in ("cpu_utilization_percentage", "system_memory_usage_megabytes", "process_memory_usage_megabytes"):
        assert run.data.metrics[f"system/{name}"] >= 0
    assert run.data.tags["args.command"].endswith("python train.py")
    assert {"output.log", "requirements.txt"} <= {one.path for one in client.list_artifacts(run_id)}
    log = Path(client.download_artifacts(run_id, "output.log", str(project))).read_text()
    assert log.splitlines()[-1].startswith("f1: 0.")


def points(run: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in trk.history(key, run=run, source="local")]


def test_a_pattern_that_never_ends_is_left_out_and_told_and_holds_up_nothing() -> None:
    line = "a" * 40 + "!"
    script = f"for n in 1 2 3 4; do echo {line}; echo it took $n turns; done"
    before = time.monotonic()
    result = trk.run_command(
        ["sh", "-c", script], patterns=["(?P<never>(a+)+)$", r"took (?P<turns>\d+) turns"], output=False
    )
    assert time.monotonic() - before < 60
    assert points(result.run_id, "turns") == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
    assert result.metrics == ("turns",)
    assert len(result.troubles) == 1
    assert "takes too long and was left out" in result.troubles[0]


def test_what_a_terminal_would_show_in_colour_is_read_as_well() -> None:
    script = r"printf '\033[1mloss\033[0m: \033[32m0.5\033[0m (step 3)\r\nacc=1\racc=2\n'"
    result = trk.run_command(["sh", "-c", script], scrape=True, output=False, key_prefix="a/")
    assert points(result.run_id, "a/loss") == [(3, 0.5)]
    assert points(result.run_id, "a/acc") == [(0, 1.0), (1, 2.0)]


def test_names_without_end_are_cut_off_and_told() -> None:
    result = trk.run_command(["sh", "-c", "for n in $(seq 300); do echo key_$n=1; done"], scrape=True, output=False)
    assert len(result.metrics) == 200
    assert [trouble for trouble in result.troubles if "more than 200 different metrics" in trouble]


def test_a_run_that_ends_under_way_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import trk\ntrk.active_run().finish()\nfor n in range(9): print(f'loss: {n}')"
    result: Any = trk.run_command([sys.executable, "-c", code], scrape=True, output=False)
    assert result.points == 0
    assert [one for one in result.troubles if "ended before" in one]
    assert result.record.status == "FINISHED"
