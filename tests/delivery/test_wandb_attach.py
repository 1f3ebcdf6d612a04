"""Runs of other programs at W&B that are attached to: both log, nothing of either is lost, and the owner ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import helpers
from servers.mlflow_server import MlflowServer
from servers.wandb_server import WandbServer

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]

OWNER = """
import sys, wandb
settings = wandb.Settings(
    silent=True, console="off", x_disable_stats=True, x_file_stream_transmit_interval=1, x_save_requirements=False,
    x_label="owner",
)
mode = sys.argv[1]
run = wandb.init(project="digits", id="owned", config={"lr": 0.1}, tags=["theirs"], mode=mode, settings=settings)
run.log({"loss": 1.0})
print("open", flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        break
    run.log({"loss": float(line)})
run.finish()
"""


class Owner:
    """The program whose run it is."""

    def __init__(self, project: Path, mode: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", OWNER, mode], cwd=project, env=helpers.child_environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "open\n"

    def say(self, word: object) -> None:
        """Let it log a value, or end."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Let it end its run."""
        self.say("end")
        assert self._process.wait(60) == 0

    def close(self) -> None:
        """It is gone, whatever it was doing."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def sdk(wandb_server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb_server.service.store.runs.clear()
    for name, value in wandb_server.environment(tmp_path / "sdk").items():
        monkeypatch.setenv(name, value)


def trk(project: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does."""
    found = subprocess.run(
        [*helpers.COMMAND, *words], cwd=project, env=helpers.child_environment(), capture_output=True, text=True,
        check=False, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    return found


def values(wandb_server: WandbServer, key: str) -> list[Any]:
    """The points of a metric, in the order of their values."""
    return sorted(line[key] for line in wandb_server.run("tester", "digits", "owned").history if key in line)


def verified(project: Path) -> tuple[dict[str, int], list[tuple[str, str, Any]], int]:
    """What `trk verify` compared, what is missing there, and its exit code; nothing is too much or different."""
    done = subprocess.run(
        [*helpers.COMMAND, "verify", "--json"], cwd=project, env=helpers.child_environment(), capture_output=True,
        text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    told = json.loads(done.stdout)["runs"][0]["backends"]["wandb"]
    assert (told["extra"], told["different"]) == ([], []), told
    return told["compared"], [(one["kind"], one["key"], one["journal"]) for one in told["missing"]], done.returncode


@pytest.mark.usefixtures("sdk")
def test_a_shell_logs_into_a_run_in_shared_mode_and_its_owner_ends_it(project: Path, wandb_server: WandbServer) -> None:
    owner = Owner(project, "shared")
    try:
        told = trk(project, "attach", "wandb:tester/digits/owned")
        assert "shared mode" not in told.stderr
        for number in range(5):
            trk(project, "log-metric", "f1", f"0.{number}", "--step", str(10 - number))
            owner.say(number)
        trk(project, "log-params", "depth=3", "rate=1e-3")
        trk(project, "set-tags", "stage=dev", "gone=x")
        trk(project, "delete-tag", "gone")
        trk(project, "log-summary", "verdict=good", 'odd={"b":1.0,"a":[]}')
        (project / "notes.txt").write_text("of trk")
        trk(project, "log-artifact", "notes.txt")
        ended = json.loads(trk(project, "end", "--json", "--strict", "--timeout", "60").stdout)
        state = ended["runs"][0]["backends"]["wandb"]
        assert (state["delivered"], state["pending"], state["rejected"]) == (state["logged"], 0, 0)
        run = wandb_server.run("tester", "digits", "owned")
        assert (run.state, run.config["summary/verdict"]) == ("running", "good")
        assert set(run.tags) == {"theirs", "stage=dev"}
        owner.say(9)
        owner.end()
    finally:
        owner.close()
    run = wandb_server.run("tester", "digits", "owned")
    assert values(wandb_server, "f1") == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert values(wandb_server, "loss") == [0, 1, 1.0, 2, 3, 4, 9]
    assert sorted(line["trk/step"] for line in run.history if "f1" in line) == [6, 7, 8, 9, 10]
    assert (run.state, run.config["lr"]) == ("finished", 0.1)
    # The owner's SDK sends config and tags as it has them: what trk logged stands in the history, too.
    beside = {key: value for line in run.history for key, value in line.items() if key.count("/") == 2}
    assert beside == {
        "trk/params/depth": 3, "trk/params/rate": "1e-3", "trk/tags/stage": "dev", "trk/tags/gone": None,
        "trk/summary/verdict": "good", "trk/summary/odd": '{"b":1.0,"a":[]}',
    }  # fmt: skip
    compared = {"param": 2, "tag": 1, "summary": 2, "run": 1, "point": 5, "file": 1}
    assert verified(project) == (compared, [], 0)
    run.summary.pop("f1", None)  # the owner's SDK may send one without what others logged
    run.tags.append("more of theirs")
    assert verified(project)[1:] == ([], 0)
    lost = next(slot for slot, line in run.rows.items() if line.get("f1") == 0.3)
    run.rows[lost]["f1"] = 0.7
    assert verified(project) == (compared, [("metric", "f1", 0.3)], 6)


@pytest.mark.usefixtures("sdk")
def test_what_is_delivered_later_goes_on_where_the_server_has_it(project: Path, wandb_server: WandbServer) -> None:
    owner = Owner(project, "shared")
    try:
        trk(project, "attach", "wandb:tester/digits/owned")
        for number in range(3):
            trk(project, "log-metric", "f1", str(number))
            trk(project, "sync", "--strict", "--timeout", "60")
        found = json.loads(trk(project, "status", "--json").stdout)["backends"]["wandb"]
        assert found["delivered"] == found["logged"] == 3
        owner.end()
    finally:
        owner.close()
    assert values(wandb_server, "f1") == [0, 1, 2]


@pytest.mark.usefixtures("sdk")
def test_an_owner_that_is_not_in_shared_mode_is_warned_of(project: Path) -> None:
    owner = Owner(project, "online")
    try:
        told = trk(project, "attach", "wandb:tester/digits/owned")
        assert "its owner did not open it in shared mode" in told.stderr
        owner.end()
    finally:
        owner.close()


@pytest.mark.usefixtures("sdk")
def test_names_that_mean_no_run_of_wandb_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not wandb:<entity>/<project>/<run id>" in trk(project, "attach", "wandb:owned", code=2).stderr
    assert "there is no run tester/digits/nobody" in trk(project, "attach", "wandb:tester/digits/nobody", code=4).stderr
    assert "in two ways" in trk(project, "attach", "x", "--wandb", "a/b/c", code=2).stderr
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert "can't be attached to offline" in trk(project, "attach", "wandb:a/b/c", code=2).stderr
    assert not (project / ".trk").exists()


@pytest.mark.mlflow
@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
@pytest.mark.usefixtures("sdk")
def test_one_run_is_attached_to_at_mlflow_and_wandb(
    project: Path, wandb_server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    with MlflowServer(tmp_path / "mlflow") as mlflow:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.url)
        client = MlflowClient(mlflow.url)
        theirs = client.create_run("0").info.run_id
        owner = Owner(project, "shared")
        try:
            told = trk(project, "attach", "--mlflow", theirs, "--wandb", "tester/digits/owned")
            assert f"mlflow:{theirs} and wandb:tester/digits/owned" in told.stderr
            trk(project, "log-metric", "f1", "0.5")
            trk(project, "end", "--strict", "--timeout", "60")
            owner.end()
        finally:
            owner.close()
        assert values(wandb_server, "f1") == [0.5]
        assert [point.value for point in client.get_metric_history(theirs, "f1")] == [0.5]
        assert client.get_run(theirs).info.status == "RUNNING"


@pytest.mark.long
@pytest.mark.usefixtures("sdk")
def test_two_that_attach_with_a_journal_each_lose_nothing_of_each_other(
    project: Path, wandb_server: WandbServer
) -> None:
    other = project.parent / "other"
    other.mkdir()
    owner = Owner(project, "shared")
    try:
        for number, place in enumerate((project, other)):
            trk(place, "attach", "wandb:tester/digits/owned")
            for value in range(4 - number):
                trk(place, "log-metric", f"m{number}", str(value))
            trk(place, "sync", "--strict", "--timeout", "60")
        owner.end()
    finally:
        owner.close()
    assert values(wandb_server, "m0") == [0, 1, 2, 3]
    assert values(wandb_server, "m1") == [0, 1, 2]
