"""Runs of W&B, logged by its own SDK to a server that speaks its protocol: whole histories, once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from imports.tools import live, points, rows
from servers.wandb_server import WandbServer
from trk.errors import NotFound, SourceUnavailable, UsageError
from trk.expecting import same
from trk.records import Status

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


def theirs(server: WandbServer, project: str, lines: list[dict[str, Any]], **more: Any) -> Any:
    """A run of another program's, with its SDK's own settings; returns it, ended."""
    import wandb

    settings = wandb.Settings(base_url=server.url, api_key=server.key, silent=True, console="off", x_disable_stats=True)
    run = wandb.init(project=project, reinit="create_new", settings=settings, **more)
    for line in lines:
        run.log(line)
    return run


def test_a_run_is_taken_whole_and_goes_on(server: WandbServer, project: Path) -> None:
    odd = [math.nan, math.inf, -math.inf]
    before = int(time.time() * 1000) - 1000
    lines = [{"loss": 1 / (n + 1), "val": {"f1": n / 2}, "odd": odd[n % 3]} for n in range(7)]
    config = {"lr": 0.1, "deep": {"on": True}}
    run = theirs(
        server, "whole", [*lines, {"note": "text"}], config=config, tags=["baseline"], group="sweep", notes="why"
    )
    run.summary["verdict"] = "good"
    run.summary["best"] = 0.25
    run.summary["loss"] = 0.05
    run.finish()

    done = trk.import_wandb("tester/whole")
    (found,) = done.runs
    expected = {("loss", n, 1 / (n + 1)) for n in range(7)} | {("val.f1", n, n / 2) for n in range(7)}
    expected |= {("odd", n, same(odd[n % 3])) for n in range(7)} | {("best", 0, 0.25)}
    assert {(key, step, value) for key, step, _, value in points(found.run_id)} == expected
    assert all(before < time_ms < time.time() * 1000 + 1000 for _, _, time_ms, _ in points(found.run_id))
    assert done.skipped == {"texts in histories": 1, "numbers of summaries that are not their metric's last": 1}
    record = trk.get_run(found.run_id, source="local")
    assert (record.experiment, record.status, record.description) == ("whole", Status.FINISHED, "why")
    assert record.params == {"lr": "0.1", "deep": '{"on":true}'} | {
        key: text for key, text in record.params.items() if key.startswith("summary/")
    }
    assert record.tags["summary/verdict"] == "good"
    assert record.tags["imported.wandb.group"] == "sweep"
    assert record.tags["imported.from"] == f"wandb:tester/whole/{run.id}"

    kept = rows(), live()
    assert trk.import_wandb(f"wandb:tester/whole/{run.id}").points == 0
    assert (rows(), live()) == kept
    again = theirs(server, "whole", [{"loss": 9.0}], id=run.id, resume="must")
    again.finish()
    (grown,) = trk.import_wandb(["tester/whole"]).runs
    assert (grown.run_id, grown.points, grown.new) == (found.run_id, 1, False)


def test_it_never_goes_back_and_ours_keep_their_ids(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "wandb,memory")
    with trk.start("ours", experiment="own", params={"lr": "1e-3"}, backends="wandb") as run:
        run.log_metric("loss", 0.5, step=7)
        run.log_metric("loss", math.nan, step=3)
        run.log_summary({"verdict": "good"})
    trk.sync(strict=True)
    assert trk.import_wandb("tester/own").runs == []
    here = points(run.id)
    monkeypatch.setenv("TRK_DIR", str(tmp_path / "desk"))
    (tmp_path / "desk").mkdir()
    done = trk.import_wandb("tester/own")
    assert [one.run_id for one in done.runs] == [run.id]
    assert (points(run.id), done.origins, set(done.pending)) == (here, ["wandb"], {"memory"})
    record = trk.get_run(run.id, source="local")
    assert (record.params["lr"], record.tags["summary/verdict"], record.name) == ("1e-3", "good", "ours")
    assert "wandb" in trk.import_wandb("tester/own", backends="wandb", wandb_project="another").pending


def test_what_is_not_there_is_not_found(server: WandbServer, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        trk.import_wandb("tester/nowhere")
    with pytest.raises(SourceUnavailable, match="shows this key nothing of tester/nowhere"):  # it may be private
        trk.import_wandb("tester/nowhere/x")
    with pytest.raises(UsageError):
        trk.import_wandb("one word")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(SourceUnavailable):
        trk.import_wandb("tester/whole")
    assert not (project / ".trk").exists()


def test_names_that_begin_with_a_line_are_metrics_too(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = theirs(server, "lines", [{"_loss": 1.0, "val": {"_f1": 2.0}}, {"_loss": 0.5}])
    run.summary["_best"] = 0.25
    run.finish()
    (found,) = trk.import_wandb("tester/lines").runs
    expected = {("_loss", 0, 1.0), ("_loss", 1, 0.5), ("val._f1", 0, 2.0), ("_best", 0, 0.25)}
    assert {(key, step, value) for key, step, _, value in points(found.run_id)} == expected

    monkeypatch.setenv("TRK_BACKENDS", "wandb")
    with trk.start("ours", experiment="own lines") as own:
        own.log_metric("_loss", 0.5, step=7)
    trk.sync(strict=True)
    here = points(own.id)
    monkeypatch.setenv("TRK_DIR", str(tmp_path / "desk"))
    (tmp_path / "desk").mkdir()
    trk.import_wandb("tester/own lines")
    assert points(own.id) == here
