"""W&B as a source, and read back: what commands say of runs there."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from cli.terminals import Terminal
from helpers import COMMAND, child_environment
from servers.mlflow_server import closed_port
from servers.wandb_server import WandbServer
from trk.backends.wandb import WandbBackend
from trk.query import sources
from trk.records import Status

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.usefixtures("wandb_here"),
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]


@pytest.fixture(autouse=True)
def _goes_to_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "wandb")


def foreign(wandb_server: WandbServer, project: str) -> Any:
    """A run of another program's, ended, with its SDK's own settings."""
    import wandb

    settings = wandb.Settings(
        base_url=wandb_server.url, api_key=wandb_server.key, silent=True, console="off", x_disable_stats=True
    )
    config = {"lr": 0.1, "deep": {"on": True}}
    run = wandb.init(project=project, config=config, tags=["baseline"], reinit="create_new", settings=settings)
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
    params = {"lr": "1e-3", "on": True, "n": "1.0"}
    with trk.start("one", experiment="digits", description="why ✓", params=params) as run:
        for step, value in ((3, 0.5), (1, float("nan")), (2, float("inf")), (3, 0.25), (0, 0.0), (2, 1e-300)):
            run.log_metrics({"loss": value, "a.b/c": 2**40}, step=step)
        run.set_tags({"stage": "dev", "long": "x" * 200, "empty": ""})
        run.log_summary({"score": 0.75, "labels": ["b", {"z": 1.0, "a": None}], "word": "good"})
        run.log_summary({"word": "better"})
        odd = {"n": 1, "x": float("nan"), "deep": [1, {"a": 2}]}
        run.log_table("scores", [odd, {"n": 2, "x": 3.0, "deep": "text"}])
        run.log_html("<p>1</p>", "page")
        run.log_html("<p>2</p>", "page")
        run.log_text("eins", "notes")
        run.log_text("zwei", "notes")
        (project / "config.yaml").write_text("mine: 1\n")
        run.log_artifact(project / "config.yaml")
        (project / "weights.bin").write_bytes(bytes(range(256)) * 20)
        run.log_artifact(project / "weights.bin", name="my model", type="model")
    return run


def test_a_run_is_the_same_here_and_there(call: Any, project: Path, wandb_server: WandbServer) -> None:
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
    kinds = {"run": 1, "status": 1, "param": 3, "tag": 3, "summary": 2, "file": 5, "table": 1}
    assert done["compared"] == kinds

    listed, kept = (
        {one["path"] for one in json.loads(call("artifacts", "ls", run.id, "--json", "--source", name).out)}
        for name in ("wandb", "local")
    )
    assert listed == kept >= {"config.yaml", "page.html", "scores.json", "my model/v0/weights.bin"}
    for n, path in enumerate(kept):
        for name in ("local", "wandb"):
            got = call("artifacts", "get", path, "--run", run.id, "-o", f"{n}.{name}", "--source", name, "-q")
            assert got.code == 0, got.err
        assert Path(f"{n}.wandb").read_bytes() == Path(f"{n}.local").read_bytes(), path

    # What was changed there is told.
    there = wandb_server.run("tester", "digits", run.id)
    there.tags.append("more=1")
    there.files["weights.bin" if "weights.bin" in there.files else "notes.txt"] = b"spoiled"
    spoilt = call("verify", run.id, "--json")
    told_of = json.loads(spoilt.out)["runs"][0]["backends"]["wandb"]
    assert spoilt.code == 6
    assert [(one["kind"], one["key"]) for one in told_of["extra"]] == [("tag", "more")]
    assert [one["kind"] for one in told_of["different"]] == ["file"]


def test_runs_of_others_are_read_by_their_handles_and_deleted(call: Any, wandb_server: WandbServer) -> None:
    run = foreign(wandb_server, "theirs")
    handle = f"wandb:tester/theirs/{run.id}"
    assert call("ls", "--source", "wandb", "-e", "theirs", "-q").out == f"{handle}\n"
    shown = json.loads(call("show", handle, "--json").out)
    assert (shown["status"], shown["params"]) == ("FINISHED", {"deep": '{"on":true}', "lr": "0.1"})
    assert (shown["tags"], shown["metrics"]) == ({"baseline": ""}, {"loss": 1 / 3, "val/f1": 1.0})
    points = json.loads(call("history", "val/f1", "--run", handle, "--json").out)
    assert [(one["step"], one["value"]) for one in points] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    best = json.loads(call("best", "--metric", "loss", "-e", "theirs", "--filter", "params.lr = '0.1'", "--json").out)
    assert best["run_id"] == handle
    assert call("ls", "--source", "wandb", "-e", "nowhere", "-q").out == ""

    refused = call("delete", handle)
    assert refused.code == 2
    assert refused.err.endswith("would be gone there for good (--yes)\n")
    assert call("delete", handle, "--yes").code == 0
    assert wandb_server.run("tester", "theirs", run.id).deleted
    assert call("show", handle).code == 4
    assert call("restore", handle).code == 4


def test_what_is_deleted_there_is_gone_and_that_has_to_be_confirmed(call: Any, wandb_server: WandbServer) -> None:
    with trk.start("one", experiment="gone") as run:
        run.log_metric("f1", 0.5)
    refused = call("delete", "one", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert json.loads(refused.err)["error"]["hint"] == "--yes"
    assert call("ls", "--source", "wandb", "-e", "gone", "-q").out == f"{run.id}\n"
    done = call("delete", "one", "--yes")
    assert (done.code, done.err) == (0, f"run one ({run.id}) deleted\nwandb: deleted\n")
    assert wandb_server.run("tester", "gone", run.id).deleted
    back = call("restore", "one")
    assert back.code == 0
    assert f"trk: warning: W&B can't restore: what was deleted there is gone; {run.id} is back in the" in back.err
    assert call("ls", "--source", "local", "-q").out == f"{run.id}\n"


def test_deleting_there_is_asked_about_on_a_terminal(wandb_server: WandbServer, project: Path) -> None:
    with trk.start("one", experiment="asked") as run:
        run.log_metric("f1", 0.5)
    for answer in ("n", "y"):
        terminal = Terminal([*COMMAND, "delete", "one"], child_environment(COLUMNS="200"), project)
        try:
            terminal.read_until(lambda terminal=terminal: "[y/N] " in terminal.shown)
            assert f"W&B can't restore: run one ({run.id}) will be gone there for good." in terminal.shown
            terminal.type(f"{answer}\n")
            said = {"n": "nothing was deleted\r\n", "y": "wandb: deleted\r\n"}[answer]
            terminal.read_until(lambda terminal=terminal, said=said: said in terminal.shown)
        finally:
            terminal.close()
        assert wandb_server.run("tester", "asked", run.id).deleted == (answer == "y")


def test_a_project_for_many_experiments_and_an_axis_that_is_no_metric(
    call: Any, monkeypatch: pytest.MonkeyPatch, wandb_server: WandbServer
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "all")
    with trk.start("mother", experiment="first", step_metric="epoch") as mother:
        mother.log_metric("loss", 0.5, step=7)
        with trk.start("child", experiment="second", step_metric="epoch", nested=True) as child:
            child.log_metrics({"loss": 0.25, "epoch": 3}, step=9)
    source = sources.choose("wandb", timeout=30, warn=print)
    local = sources.choose("local", timeout=1, warn=print)
    for run, name in ((mother, "first"), (child, "second")):
        assert wandb_server.run("tester", "all", run.id).id == run.id
        assert [told(one) for one in source.search(name, None)] == [told(local.get(run.id))]
    assert json.loads(call("verify", "--json").out)["ok"]
    assert {record.run_id for record in source.search(None, None)} >= {mother.id, child.id}


def test_a_deletion_that_was_taken_back_before_it_was_told_deletes_nothing(
    call: Any, wandb_server: WandbServer
) -> None:
    with trk.start("one", experiment="kept") as run:
        run.log_metric("f1", 0.5)
    assert call("delete", "one", "--yes", "--no-wait").code == 0
    assert call("restore", "one").err.endswith("wandb: restored\n")
    assert not wandb_server.run("tester", "kept", run.id).deleted
    assert json.loads(call("verify", run.id, "--json").out)["ok"]


def test_a_server_that_does_not_answer_or_has_no_key_is_told(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        done = call("ls", "--source", "wandb", "--json", "--timeout", "5")
        error = json.loads(done.err)["error"]
        assert (done.code, error["code"], error["hint"]) == (1, "source_unavailable", "--source local")
        monkeypatch.delenv("WANDB_API_KEY")
        keyless = json.loads(call("ls", "--source", "wandb", "--json").err)["error"]
        assert (keyless["code"], keyless["hint"][:11]) == ("source_unavailable", "wandb login")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert call("ls", "-q").code == 0  # the journal is read


def test_what_a_key_is_not_shown_is_not_said_to_be_missing(
    call: Any, monkeypatch: pytest.MonkeyPatch, wandb_server: WandbServer
) -> None:
    with trk.start("one", experiment="hidden") as run:
        run.log_metric("f1", 0.5)
    handle = f"wandb:tester/hidden/{run.id}"
    monkeypatch.setenv("WANDB_API_KEY", wandb_server.add_user("stranger"))
    monkeypatch.setenv("WANDB_ENTITY", "tester")
    for words in (["show", handle], ["ls", "-e", "hidden"], ["ls"], ["show", run.id]):
        done = call(*words, "--source", "wandb", "--json")
        assert done.code == 1, words
        error = json.loads(done.err.splitlines()[-1])["error"]
        assert error["code"] == "source_unavailable"
        assert "nothing of tester" in error["message"]
        assert error["hint"].endswith("WANDB_ENTITY that it is under; or --source local")
    monkeypatch.delenv("WANDB_ENTITY")
    assert call("ls", "-e", "hidden", "--source", "wandb").code == 4  # of their own there is none
    monkeypatch.setenv("WANDB_API_KEY", wandb_server.key)
    assert call("show", handle).code == 0
    assert call("show", f"wandb:tester/hidden/{'a' * 26}").code == 4
    wandb_server.private.add(("tester", "hidden"))
    assert call("show", handle).code == 1


def test_the_last_points_of_anothers_run_are_known(wandb_server: WandbServer) -> None:
    run = foreign(wandb_server, "attached")
    there = WandbBackend({"base_url": wandb_server.url, "mode": "online"}).foreign(f"tester/attached/{run.id}")
    assert there is not None
    assert {key: (step, value) for key, (step, _, value) in there.last.items()} == {
        "loss": (2, 1 / 3),
        "val/f1": (2, 1.0),
    }
    assert (there.status, there.deleted, there.tags) == (Status.FINISHED, False, {"baseline": ""})
    assert there.url is not None
    assert there.url.endswith(f"/tester/attached/runs/{run.id}")
    assert WandbBackend({"base_url": wandb_server.url, "mode": "online"}).foreign("tester/attached/nobody") is None
