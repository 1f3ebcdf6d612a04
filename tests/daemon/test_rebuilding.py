"""Runs go to another server while a daemon delivers: it goes on with the new place, and the old one gets nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.tools import Place
from helpers import until

pytest.importorskip("mlflow", reason="mlflow is not installed")


def test_a_daemon_goes_on_with_the_new_place(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (f"sqlite:///{tmp_path}/{name}/mlflow.db" for name in ("old", "new"))
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", old)
    ended = place.done("start", "ended")
    place.done("log-metric", "loss", "1")
    place.done("end", "--timeout", "60", "--strict")
    run = place.done("start", "open")
    place.done("log-metric", "loss", "1")
    daemon = place.serving()
    until(lambda: pending(place, run) == 0, 60)
    said = place.trk("sync", "--to", "mlflow", "--uri", new, "--timeout", "60", "--strict")
    assert said.returncode == 0, said.stderr
    assert f"2 runs go to mlflow at {new} now" in said.stderr
    assert "names another place for new runs" in said.stderr
    for value in ("2", "3"):
        place.done("log-metric", "loss", value)
    until(lambda: pending(place, run) == 0, 60)
    assert place.serving() == daemon, "the same one went on"
    (tmp_path / "old").rename(tmp_path / "lost")
    place.done("end", "--timeout", "60", "--strict")
    verified = json.loads(place.done("verify", "--json"))
    assert verified["ok"]
    assert {one["run_id"]: one["backends"]["mlflow"]["compared"]["point"] for one in verified["runs"]} == {
        ended: 1, run: 3,
    }  # fmt: skip
    told = json.loads(place.done("status", "--run", run, "--json"))
    assert told["targets"]["mlflow"]["tracking_uri"] == new
    assert f"mlflow: {new}" in place.trk("status", "--run", run).stderr
    assert not (tmp_path / "old").exists()
    assert set(place.status()["backends"]) <= {"mlflow"}


def pending(place: Place, run: str) -> int:
    """How many rows of a run wait."""
    return int(place.done("status", "--run", run, "--field", "backends.mlflow.pending"))
