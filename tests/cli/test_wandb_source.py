"""W&B as a source, and read back: what commands say of runs there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from servers.mlflow_server import closed_port
from servers.wandb_server import WandbServer
from trk.query import sources

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture(autouse=True)
def sdk(server: WandbServer, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment(tmp_path_factory.mktemp("sdk")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRK_BACKENDS", "wandb")


def foreign(server: WandbServer, project: str) -> Any:
    """A run of another program's, ended, with its SDK's own settings."""
    import wandb

    run = wandb.init(project=project, config={"lr": 0.1, "deep": {"on": True}}, tags=["baseline"], reinit="create_new")
    for n in range(3):
        run.log({"loss": 1 / (n + 1), "val/f1": n / 2})
    run.summary["verdict"] = "good"
    run.finish()
    return run


def told(record: Any) -> dict[str, Any]:
    """A record but for what each source has of its own; a NaN equals itself."""
    names = ("run_id", "name", "experiment", "status", "start_time", "end_time", "parent_id", "description")
    found = {name: getattr(record, name) for name in names}
    return {**found, "params": record.params, "tags": record.tags, "metrics": repr(dict(record.metrics))}


def everything(project: Path) -> trk.Run:
    """An ended run with some of everything, at its edges."""
    with trk.start("one", experiment="digits", description="why ✓", params={"lr": "1e-3", "on": True, "n": "1.0"}) as run:
        for step, value in ((3, 0.5), (1, float("nan")), (2, float("inf")), (3, 0.25), (0, 0.0), (2, 1e-300)):
            run.log_metrics({"loss": value, "a.b/c": 2**40}, step=step)
        run.set_tags({"stage": "dev", "long": "x" * 200, "empty": ""})
        run.log_summary({"score": 0.75, "labels": ["b", {"z": 1.0, "a": None}], "word": "good"})
        run.log_summary({"word": "better"})
        run.log_table("scores", [{"n": 1, "x": float("nan"), "deep": [1, {"a": 2}]}, {"n": 2, "x": 3.0, "deep": "text"}])
        run.log_html("<p>1</p>", "page")
        run.log_html("<p>2</p>", "page")
        run.log_text("eins", "notes")
        run.log_text("zwei", "notes")
        (project / "config.yaml").write_text("mine: 1\n")
        run.log_artifact(project / "config.yaml")
        (project / "weights.bin").write_bytes(bytes(range(256)) * 20)
        run.log_artifact(project / "weights.bin", name="my model", type="model")
    return run


def test_a_run_is_the_same_here_and_there(call: Any, project: Path, server: WandbServer) -> None:
    run = everything(project)
    assert call("status", "--run", run.id, "--field", "backends.wandb.pending").out == "0\n"
    local = sources.choose("local", timeout=1, warn=print)
    source = sources.choose(None, timeout=30, warn=print)
    here = local.get(run.id)
    assert here is not None
    assert source.name == "wandb"
    assert [told(source.get(run.id)), told(next(source.search("digits", None)))] == [told(here), told(here)]
    for metric in here.metrics:
        assert repr(source.history(here, metric)) == repr(local.history(here, metric)), metric

    done = json.loads(call("verify", run.id, "--json").out)["runs"][0]["backends"]["wandb"]
    assert (done["ok"], done["note"], done["pending"], done["rejected"], done["skipped"]) == (True, None, 0, 0, 0)
    assert done["compared"].pop("point") > 10
    assert done["compared"] == {"run": 1, "status": 1, "param": 3, "tag": 3, "summary": 2, "file": 5, "table": 1}

    listed = {one["path"]: one for one in json.loads(call("artifacts", "ls", run.id, "--json").out)}
    kept = {one["path"]: one for one in json.loads(call("artifacts", "ls", run.id, "--json", "--source", "local").out)}
    assert listed.keys() == kept.keys() >= {"config.yaml", "page.html", "scores.json", "my model/v0/weights.bin"}
    for n, path in enumerate(kept):
        for name in ("local", "wandb"):
            assert call("artifacts", "get", path, "--run", run.id, "-o", f"{n}.{name}", "--source", name, "-q").code == 0
        assert Path(f"{n}.wandb").read_bytes() == Path(f"{n}.local").read_bytes(), path
