"""The W&B test server against the real SDK: what is logged is there, and comes back by the public API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="needs the wandb extra: the server is tested with the real SDK")
pytest.importorskip("graphql", reason="needs graphql-core, with which the server reads queries")

from helpers import until
from servers.wandb_child import Raised, SdkProcess
from servers.wandb_server import WandbServer

pytestmark = pytest.mark.usefixtures("answers_all")
PATH = "tester/digits"


def steps(server: WandbServer, run: str) -> list[int]:
    return [row["_step"] for row in server.run("tester", "digits", run).history]


def test_a_run_comes_back_as_it_was_logged(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do("""
run = init("whole", name="first", group="g", tags=["a", "b"], notes="why", config={"lr": 0.1})
for step in (0, 1, 5):
    run.log({"loss": 1 / (step + 1), "_timestamp": 1000.5 + step}, step=step, commit=True)
run.summary["best"] = 0.25
run.finish()
""")
    there = wandb_server.run("tester", "digits", "whole")
    rows = [(row["_step"], row["_timestamp"], row["loss"]) for row in there.history]
    assert rows == [(0, 1000.5, 1), (1, 1001.5, 0.5), (5, 1005.5, pytest.approx(1 / 6))]
    assert (there.state, there.exit_code) == ("finished", 0)
    assert (there.display_name, there.group, there.tags, there.notes) == ("first", "g", ["a", "b"], "why")
    assert there.config == {"lr": 0.1}
    assert there.summary["best"] == 0.25

    back = sdk.do(f"""
run = wandb.Api().run("{PATH}/whole")
result = [run.name, run.group, run.tags, run.notes, run.config, run.state, run.summary["best"], run.lastHistoryStep]
result += [list(run.scan_history()), list(run.scan_history(keys=["loss"], min_step=1))]
result += [run.history(pandas=False), run.history(keys=["loss"], samples=2, pandas=False)]
""")
    assert back[:8] == ["first", "g", ["a", "b"], "why", {"lr": 0.1}, "finished", 0.25, 5]
    assert [(row["_step"], row["_timestamp"], row["loss"]) for row in back[8]] == rows
    assert back[9] == [{"_step": 1, "loss": 0.5}, {"_step": 5, "loss": pytest.approx(1 / 6)}]
    assert [row["_step"] for row in back[10]] == [0, 1, 5]
    assert [row["_step"] for row in back[11]] == [0, 5]


def test_nan_and_infinity_are_read_as_text(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    found = sdk.do(f"""
run = init("odd")
run.log({{"x": float("nan"), "y": float("-inf")}}, step=0, commit=True)
run.finish()
run = wandb.Api().run("{PATH}/odd")
row = next(iter(run.scan_history()))
result = [row["x"], row["y"], run.summary["x"]]
""")
    assert found == ["NaN", "-Infinity", "NaN"]


def test_runs_are_listed_filtered_and_ordered(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    found = sdk.do("""
for name, lr in (("low", 0.1), ("high", 0.9), ("mid", 0.5)):
    run = wandb.init(entity="team", project="lists", id=name, config={"lr": lr}, settings=settings(), tags=[name])
    run.log({"f1": lr}, commit=True)
    run.finish()
api = wandb.Api()
def ids(**words):
    return [run.id for run in api.runs("team/lists", **words)]
result = {
    "all": ids(),
    "falling": ids(order="-summary_metrics.f1"),
    "some": ids(filters={"config.lr": {"$gt": 0.3}}, order="+config.lr.value"),
    "either": ids(filters={"$or": [{"tags": "low"}, {"display_name": "x"}, {"name": "mid"}]}),
    "paged": ids(per_page=1),
    "projects": [project.name for project in api.projects("team")],
}
""")
    assert found == {
        "all": ["low", "high", "mid"],
        "falling": ["high", "mid", "low"],
        "some": ["mid", "high"],
        "either": ["low", "mid"],
        "paged": ["low", "high", "mid"],
        "projects": ["lists"],
    }


def test_media_and_saved_files_arrive_and_can_be_fetched(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    pytest.importorskip("PIL", reason="wandb.Image needs Pillow")
    plotly = pytest.importorskip("plotly", reason="a real figure to log")
    assert plotly
    found = sdk.do(f"""
import numpy, pathlib, plotly.graph_objects
pathlib.Path("sub").mkdir(exist_ok=True)
pathlib.Path("sub/a b.txt").write_text("hello")
run = init("media")
run.log({{"table": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])}}, step=0, commit=True)
run.log({{
    "page": wandb.Html("<p>hi</p>", inject=False),
    "image": wandb.Image(numpy.zeros((4, 4, 3), dtype=numpy.uint8)),
    "figure": plotly.graph_objects.Figure(plotly.graph_objects.Scatter(x=[1], y=[2])),
}}, step=1, commit=True)
run.save("sub/a b.txt", base_path=".")
run.finish()
run = wandb.Api().run("{PATH}/media")
with run.file("sub/a b.txt").download(root="fetched") as file:
    text = file.read()
rows = list(run.scan_history())
table = wandb.Api().artifact("{PATH}/run-media-table:v0").get("table").data
result = [text, [file.name for file in run.files()], table, rows[1]["page"]["_type"], rows[1]["figure"]["_type"]]
""")
    assert found[0] == "hello"
    assert found[2:] == [[[1, "x"], [2, "y"]], "html-file", "plotly-file"]
    there = wandb_server.run("tester", "digits", "media")
    assert sorted(there.files) == found[1]
    kinds = {name.split("/")[1]: content for name, content in there.files.items() if name.startswith("media/")}
    assert set(kinds) == {"table", "html", "images", "plotly"}
    assert kinds["html"] == b"<p>hi</p>"
    assert kinds["images"].startswith(b"\x89PNG")
    assert json.loads(kinds["table"])["data"] == [[1, "x"], [2, "y"]]
    assert [artifact.type for artifact in there.artifacts] == ["run_table"]


def test_artifacts_have_versions_aliases_and_references(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    found = sdk.do(f"""
import pathlib
pathlib.Path("model.bin").write_bytes(b"weights")
pathlib.Path("other.txt").write_text("elsewhere")
def artifact(content):
    made = wandb.Artifact("data", type="dataset", description="rows", metadata={{"k": 1}})
    with made.new_file("rows.csv") as file:
        file.write(content)
    made.add_file("model.bin")
    made.add_reference("file://" + os.path.abspath("other.txt"), name="other")
    return made
run = init("artifacts")
versions = [run.log_artifact(artifact(text), aliases=["latest", *more]).wait().version
            for text, more in (("one", ["best"]), ("two", []), ("one", []))]
run.finish()
user = init("user")
used = user.use_artifact("data:best")
content = pathlib.Path(used.download(), "rows.csv").read_text()
user.finish()
api = wandb.Api()
second = api.artifact("{PATH}/data:v1")
result = {{
    "versions": versions, "content": content,
    "logged": [(one.name, one.type, sorted(one.aliases)) for one in api.run("{PATH}/artifacts").logged_artifacts()],
    "used": [one.name for one in api.run("{PATH}/user").used_artifacts()],
    "by": [second.logged_by().id, [run.id for run in api.artifact("{PATH}/data:v0").used_by()]],
    "files": [file.name for file in second.files()], "entries": sorted(second.manifest.entries),
    "told": [second.metadata, second.description],
    "listed": [one.name for one in api.artifacts("dataset", "{PATH}/data")],
}}
""")
    assert found["versions"] == ["v0", "v1", "v0"]  # the same content is the same version
    assert found["content"] == "one"
    assert found["logged"] == [["data:v0", "dataset", ["best", "latest"]], ["data:v1", "dataset", []]]
    assert found["used"] == ["data:v0"]
    assert found["by"] == ["artifacts", ["user"]]
    assert found["files"] == found["entries"] == ["model.bin", "other", "rows.csv"]
    assert found["told"] == [{"k": 1}, "rows"]
    assert found["listed"] == ["data:v1", "data:v0"]
    first, second = wandb_server.run("tester", "digits", "artifacts").artifacts
    assert (first.version, first.aliases, second.files["rows.csv"]) == (0, ["best", "latest"], b"two")
    assert second.files["model.bin"] == b"weights"
    assert list(second.references) == ["other"]


def test_several_runs_of_one_process_stream_side_by_side(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do("""
runs = [init(f"side{number}") for number in range(5)]
for step in range(20):
    for run in runs:
        run.log({"n": step}, step=step, commit=True)
for run in runs:
    run.finish()
""")
    assert all(steps(wandb_server, f"side{number}") == list(range(20)) for number in range(5))


def test_rows_arrive_within_a_second_or_so_of_the_interval(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do('run = init("soon"); log(run, range(3))')
    until(lambda: steps(wandb_server, "soon") == [0, 1, 2], 10)
    assert wandb_server.run("tester", "digits", "soon").state == "running"
    sdk.do("run.finish(exit_code=3)")
    ended = wandb_server.run("tester", "digits", "soon")
    assert (ended.state, ended.exit_code) == ("failed", 3)


def test_resumed_after_the_core_was_killed_nothing_is_lost_or_doubled(
    wandb_server: WandbServer, sdk: SdkProcess
) -> None:
    sdk.do('run = init("killed", resume="allow", config={"lr": 1}); log(run, range(30))')
    until(lambda: len(steps(wandb_server, "killed")) == 30, 10)
    sdk.do("log(run, range(30, 40)); kill_core()")
    with pytest.raises(Raised, match="ConnectionResetError"):
        until(lambda: sdk.do("log(run, [40])"), 5)
    found = sdk.do("""
teardown()
run = init("killed", resume="must")
result = [run.resumed, dict(run.config)]
log(run, range(50))
run.finish()
""")
    assert found == [True, {"lr": 1}]
    assert steps(wandb_server, "killed") == list(range(50))
    assert len({row["n"] for row in wandb_server.run("tester", "digits", "killed").history}) == 50


def test_a_run_that_is_not_there_cannot_be_resumed_and_one_that_is_can_be_refused(sdk: SdkProcess) -> None:
    with pytest.raises(Raised, match=r"UsageError.*requires an existing run"):
        sdk.do('init("never-made", resume="must")')
    with pytest.raises(Raised, match=r"UsageError.*already exists"):
        sdk.do('init("there").finish(); init("there", resume="never")')


def test_a_deleted_run_is_gone_and_its_id_stays_taken(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do(f'run = init("gone"); log(run, [0]); run.finish(); wandb.Api().run("{PATH}/gone").delete()')
    assert "gone" not in [run.id for run in wandb_server.runs()]
    assert wandb_server.run("tester", "digits", "gone").deleted
    with pytest.raises(Raised, match="CommError: Could not find run"):
        sdk.do(f'wandb.Api().run("{PATH}/gone")')
    with pytest.raises(Raised, match="409: run gone was previously created and deleted"):
        sdk.do('init("gone", settings={"init_timeout": 2})')
    sdk.do("teardown()")  # else the id is "in use" in this process


def test_what_the_public_api_changes_is_changed(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do(f"""
run = init("changed"); run.finish()
run = wandb.Api().run("{PATH}/changed")
run.tags.append("new"); run.config["q"] = 1; run.summary["z"] = 5; run.notes = "later"
run.update()
""")
    there = wandb_server.run("tester", "digits", "changed")
    assert (there.tags, there.config, there.summary["z"], there.notes) == (["new"], {"q": 1}, 5, "later")
    assert there.state == "finished"


def test_two_writers_share_a_run(
    wandb_server: WandbServer, sdk: SdkProcess, sdk_process: Callable[..., SdkProcess]
) -> None:
    other = sdk_process()
    sdk.do('owner = init("shared", settings={"mode": "shared", "x_label": "owner", "x_primary": True})')
    guest = {"mode": "shared", "x_label": "guest", "x_primary": False, "x_update_finish_state": False}
    other.do(f'guest = init("shared", settings={guest!r})')
    sdk.do("[owner.log({'n': step, 'by': 1}, commit=True) for step in range(3)]")
    other.do("[guest.log({'n': step, 'by': 2}, commit=True) for step in range(4)]; guest.finish()")
    assert wandb_server.run("tester", "digits", "shared").state == "running"
    sdk.do("owner.log({'n': 3, 'by': 1}, commit=True); owner.finish()")
    there = wandb_server.run("tester", "digits", "shared")
    assert sorted((row["by"], row["n"]) for row in there.history) == [(by, n) for by in (1, 2) for n in range(4)]
    assert steps(wandb_server, "shared") == list(range(8))
    assert len(there.clients) == 2
    assert there.state == "finished"
    back = sdk.do(f'result = len(list(wandb.Api().run("{PATH}/shared").scan_history()))')
    assert back == 8


def test_an_offline_run_is_synced_once(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    place = sdk.do("""
run = init("offline", settings={"mode": "offline"}, tags=["t"], config={"lr": 1})
result = run.settings.sync_dir
log(run, range(0, 40, 2))
made = wandb.Artifact("later", type="dataset")
with made.new_file("x.txt") as file:
    file.write("x")
run.log_artifact(made)
run.finish()
""")
    ours = {name: text for name, text in os.environ.items() if not name.startswith("WANDB")}
    environment = ours | wandb_server.environment(sdk.folder)
    for _ in range(2):
        synced = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", place],
            capture_output=True, text=True, check=False, env=environment, cwd=sdk.folder, timeout=60,
        )  # fmt: skip
        assert synced.returncode == 0, synced.stderr
    there = wandb_server.run("tester", "digits", "offline")
    assert steps(wandb_server, "offline") == list(range(0, 40, 2))
    assert (there.tags, there.config, there.state) == (["t"], {"lr": 1}, "finished")
    assert [artifact.files for artifact in there.artifacts] == [{"x.txt": b"x"}]


def test_a_run_that_falls_silent_is_called_crashed(tmp_path: Path) -> None:
    with WandbServer(heartbeat_s=1) as server:
        upsert = 'mutation UpsertBucket { upsertBucket(input: {name: "r", modelName: "p"}) { inserted } }'
        assert ask(server, upsert) == {"upsertBucket": {"inserted": True}}
        assert server.run("tester", "p", "r").state == "running"
        until(lambda: server.run("tester", "p", "r").state == "crashed", 10)


def test_an_unknown_field_is_named_not_guessed() -> None:
    with WandbServer() as server:
        with pytest.raises(OSError, match="400"):
            ask(server, "query Q { viewer { shoeSize } }")
        assert server.unknown() == ["User.shoeSize"]


def test_the_server_as_a_process_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    port = WandbServer().port
    program = [sys.executable, str(Path(__file__).with_name("wandb_server.py"))]
    command = [*program, "--port", str(port), "--folder", str(tmp_path / "kept")]
    upsert = 'mutation UpsertBucket { upsertBucket(input: {name: "r%d", modelName: "p"}) { inserted } }'
    for number in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline()
        server = WandbServer(port)
        assert ask(server, upsert % number) == {"upsertBucket": {"inserted": True}}
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with WandbServer(port, folder=tmp_path / "kept") as again:
        assert [run.id for run in again.runs()] == ["r0", "r1"]
        assert ask(again, upsert % 1) == {"upsertBucket": {"inserted": False}}


def ask(server: WandbServer, query: str) -> object:
    """The data of a query's answer, without the SDK."""
    import base64
    import urllib.request

    request = urllib.request.Request(f"{server.url}/graphql", json.dumps({"query": query}).encode())
    request.add_header("Authorization", "Basic " + base64.b64encode(f"api:{server.key}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())["data"]
    except urllib.error.HTTPError as refused:
        refused.close()
        raise


def test_stopped_nothing_listens_and_started_again_all_is_there(wandb_server: WandbServer) -> None:
    with WandbServer() as server:
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        server.start()
        assert ask(server, "query Q { viewer { entity } }") == {"viewer": {"entity": "tester"}}
