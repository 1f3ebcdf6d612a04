"""Runs of a real MLflow store: all that its own client logged is here, once, however often it is taken."""

from __future__ import annotations

import json
import math
import random
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import COMMAND, Course, child_environment
from imports.tools import Point, live, points, rows
from query.test_sources import client
from servers.mlflow_server import closed_port
from trk.errors import NotFound, SourceUnavailable, UsageError
from trk.expecting import same
from trk.records import Status

pytestmark = [pytest.mark.mlflow, pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")]

NOON = 1_763_726_400_000
ODD = [math.nan, math.inf, -math.inf, 0.0, -1e-300, 1.797e308, 0.1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store of MLflow's own; each test has experiments of its own there."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/theirs.db"


@pytest.fixture
def theirs(store: str) -> Any:
    """MLflow's client for it."""
    return client(store)


def fill(theirs: Any, experiment: str, dice: random.Random, runs: int, most: int) -> dict[str, set[Point]]:
    """Random runs; returns the points of each by MLflow's id, as they were logged."""
    from mlflow.entities import Metric

    made = theirs.get_experiment_by_name(experiment)
    place = made.experiment_id if made is not None else theirs.create_experiment(experiment)
    told = {}
    for _ in range(runs):
        run = theirs.create_run(place)
        told[run.info.run_id] = more(theirs, run.info.run_id, dice, most)
        if dice.random() < 0.7:
            theirs.set_terminated(run.info.run_id, dice.choice(["FINISHED", "FAILED", "KILLED"]))
    assert Metric
    return told


def more(theirs: Any, run_id: str, dice: random.Random, most: int) -> set[Point]:
    """More points of a run."""
    from mlflow.entities import Metric

    found = [
        Metric(dice.choice(["loss", "val/f1", "a b", "ä-1"]), dice.choice([*ODD, dice.gauss(0, 1)]),
               NOON + dice.randrange(0, 50), dice.randrange(-3, 40))
        for _ in range(dice.randrange(most + 1))
    ]  # fmt: skip
    if found:
        theirs.log_batch(run_id, found)
    return {(one.key, one.step, one.timestamp, same(one.value) + 0.0 if one.value == one.value else same(one.value))
            for one in found}  # fmt: skip


def taken(report: Any) -> dict[str, set[Point]]:
    """The points here of what was taken, by MLflow's ids."""
    return {run.origin.removeprefix("mlflow:"): points(run.run_id) for run in report.runs}


def test_random_runs_are_here_as_they_are_there_and_what_grows_there_grows_here(
    theirs: Any, store: str, course: Course
) -> None:
    dice = course.dice
    told = fill(theirs, "random", dice, course.many(6, 60), course.many(150, 3000))
    done = trk.import_mlflow(uri=store, experiment="random")
    assert taken(done) == told
    assert done.points == sum(map(len, told.values()))
    before = rows(), live()
    assert trk.import_mlflow(uri=store, experiment="random").points == 0
    assert (rows(), live()) == before
    for run_id in told:
        told[run_id] |= more(theirs, run_id, dice, 60)
    assert taken(trk.import_mlflow(uri=store, experiment="random")) == told
    assert trk.import_mlflow(uri=store, experiment="random").points == 0
    assert sum(row[2] for row in live()) == sum(map(len, told.values()))  # none twice


def test_all_else_of_a_run_comes_along(theirs: Any, store: str, tmp_path: Path) -> None:
    place = theirs.create_experiment("all else")
    parent = theirs.create_run(place, run_name="parent", start_time=NOON, tags={"mlflow.note.content": "why\nnot ✓"})
    tags = {"mlflow.parentRunId": parent.info.run_id, "stage": "dev", "mlflow.source.git.commit": "abc", "trk.x": "y"}
    child = theirs.create_run(place, run_name="the child", start_time=NOON + 5, tags=tags)
    theirs.log_param(child.info.run_id, "lr", "0.10")
    theirs.log_text(child.info.run_id, "hello", "notes/a.txt")
    theirs.set_terminated(child.info.run_id, "KILLED", NOON + 9)

    done = trk.import_mlflow(uri=store, experiment="all else")
    assert [(run.name, run.status) for run in done.runs] == [
        ("parent", Status.RUNNING), ("the child", Status.KILLED),
    ]  # fmt: skip
    assert done.skipped == {"files (--artifacts takes them)": 1}
    first, second = (trk.get_run(run.run_id, source="local") for run in done.runs)
    assert (first.description, second.parent_id, second.params) == ("why\nnot ✓", first.run_id, {"lr": "0.10"})
    assert second.tags == {
        "stage": "dev", "imported.mlflow.source.git.commit": "abc", "imported.place": store,
        "imported.from": f"mlflow:{child.info.run_id}",
    }  # fmt: skip
    assert [round(t.timestamp() * 1000) for t in (second.start_time, second.end_time) if t] == [NOON + 5, NOON + 9]

    assert trk.import_mlflow([child.info.run_id], uri=store, artifacts=True).files == 1
    assert trk.import_mlflow(f"mlflow:{child.info.run_id}", uri=store, artifacts=True).files == 0
    (got,) = trk.get_artifact("notes/a.txt", second.run_id, to=tmp_path / "got", source="local")
    assert got.read_text() == "hello"

    theirs.set_tag(child.info.run_id, "stage", "prod")
    theirs.log_param(child.info.run_id, "new", "1")
    theirs.set_terminated(parent.info.run_id, "FINISHED", NOON + 20)
    again = trk.import_mlflow(uri=store, experiment="all else")
    assert [(run.changed, run.new) for run in again.runs] == [(0, False), (2, False)]
    assert trk.get_run(first.run_id, source="local").status is Status.FINISHED
    now = trk.get_run(second.run_id, source="local")
    assert (now.tags["stage"], now.params, now.status) == ("prod", {"lr": "0.10", "new": "1"}, Status.KILLED)
    assert now.end_time == second.end_time


def test_runs_above_each_other_in_a_circle_are_taken_without_it(theirs: Any, store: str) -> None:
    place = theirs.create_experiment("circle")
    ids = [theirs.create_run(place, run_name=name).info.run_id for name in "abc"]
    for run_id, above in zip(ids, [ids[2], ids[0], ids[1]], strict=True):
        theirs.set_tag(run_id, "mlflow.parentRunId", above)
    done = trk.import_mlflow(uri=store, experiment="circle")
    assert len(done.runs) == 3
    assert done.skipped == {"links to a parent that go round": 1}
    above = {run.run_id: trk.get_run(run.run_id, source="local").parent_id for run in done.runs}
    assert sum(parent is None for parent in above.values()) == 1


def test_it_goes_elsewhere_and_never_back(theirs: Any, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = fill(theirs, "back", random.Random(3), 2, 20)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow,memory")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    done = trk.import_mlflow(experiment="back")
    assert done.origins == ["mlflow"]
    assert set(done.pending) == {"memory"}
    assert taken(done) == told


@pytest.mark.long
def test_from_one_store_it_is_delivered_to_another(theirs: Any, store: str, project: Path) -> None:
    told = fill(theirs, "moved", random.Random(3), 2, 20)
    elsewhere = f"sqlite:///{project}/mlflow.db"
    there = trk.import_mlflow(experiment="moved", uri=store, mlflow_uri=elsewhere, backends="mlflow")
    assert there.origins == []
    trk.sync(strict=True)
    (found,) = (e for e in client(elsewhere).search_experiments() if e.name == "moved")
    runs = client(elsewhere).search_runs([found.experiment_id])
    assert {run.data.tags["imported.from"] for run in runs} == {f"mlflow:{run_id}" for run_id in told}
    assert all(verified.ok for verified in trk.verify())
    assert len(theirs.search_runs([theirs.get_experiment_by_name("moved").experiment_id])) == 2


def test_a_run_that_trk_delivered_keeps_its_id_and_is_no_other_where_it_was_logged(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with trk.start("ours", experiment="ours", params={"lr": 1}) as run:
        run.log_metrics({"loss": math.inf, "f1": 0.5}, step=3)
        run.log_summary({"verdict": "good"})
    trk.sync(strict=True)
    here = trk.import_mlflow(experiment="ours")
    assert (here.runs, here.left_out[0].reason) == ([], "it was logged here, or brought here by a bundle")
    before = points(run.id)
    monkeypatch.setenv("TRK_DIR", str(tmp_path / "desk"))
    (tmp_path / "desk").mkdir()
    (found,) = trk.import_mlflow(experiment="ours").runs
    assert (found.run_id, points(found.run_id)) == (run.id, before)
    assert trk.get_run(run.id, source="local").tags["summary/verdict"] == "good"
    assert trk.import_mlflow(run.id).runs[0].points == 0


def test_what_is_not_there_is_not_found_and_makes_nothing(theirs: Any, store: str, project: Path) -> None:
    for asked in ({"runs": "nobody"}, {"experiment": "none of mine"}, {"filter": "metrics.nothing > 1"}):
        with pytest.raises(NotFound):
            trk.import_mlflow(uri=store, **asked)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        trk.import_mlflow(uri=store, filter="metrics.")
    with pytest.raises(NotFound, match="no MLflow store"):
        trk.import_mlflow(uri=f"sqlite:///{project}/none.db")
    with closed_port() as url, pytest.raises(SourceUnavailable):
        trk.import_mlflow(uri=url)
    assert list(project.iterdir()) == []


def test_a_filter_chooses_and_a_dry_run_only_says(theirs: Any, store: str, project: Path) -> None:
    place = theirs.create_experiment("chosen")
    for name, value in (("a", 0.5), ("b", 0.9)):
        run = theirs.create_run(place, run_name=name)
        theirs.log_metric(run.info.run_id, "f1", value, NOON, 0)
    dry = trk.import_mlflow(uri=store, experiment="chosen", filter="metrics.f1 > 0.6", dry_run=True)
    assert [(run.name, run.points) for run in dry.runs] == [("b", 1)]
    assert not (project / ".trk").exists()
    done = trk.import_mlflow(uri=store, experiment="chosen", filter="metrics.f1 > 0.6")
    assert [run.run_id for run in done.runs] == [run.run_id for run in dry.runs]


@pytest.mark.long
def test_killed_and_started_again_it_is_as_once(theirs: Any, store: str, tmp_path: Path, course: Course) -> None:
    told = fill(theirs, "killed", course.dice, 6, 900)
    environment = child_environment(TRK_DIR=str(tmp_path / "again" / ".trk"))
    (tmp_path / "again").mkdir()
    words = [*COMMAND, "import", "mlflow", "-e", "killed", "--uri", store, "-q", "--json"]
    for _ in range(course.many(1, 20)):
        child = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        journal = tmp_path / "again" / ".trk" / "journal.db"
        deadline = time.monotonic() + 60
        while not journal.exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(course.dice.uniform(0, 0.2))
        child.kill()
        child.wait()
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert len(json.loads(done.stdout)["runs"]) == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRK_DIR", str(tmp_path / "again" / ".trk"))
        runs = trk.search(source="local")
        assert {run.tags["imported.from"].removeprefix("mlflow:"): points(run.run_id) for run in runs} == told
        assert sum(row[2] for row in live()) == sum(map(len, told.values()))


def test_it_never_goes_back_by_another_way_to_the_same_store(
    theirs: Any, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(theirs, "by a link", random.Random(3), 1, 3)
    (tmp_path / "link").symlink_to(Path(store.removeprefix("sqlite:///")).parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/link/theirs.db")
    assert trk.import_mlflow(uri=store, experiment="by a link", backends="mlflow").origins == ["mlflow"]


def test_copies_of_a_run_are_runs_of_their_own_each_with_its_numbers(theirs: Any, store: str, project: Path) -> None:
    place = theirs.create_experiment("copies")
    ids = []
    for n, value in enumerate((None, 0.3, 0.7)):
        tags = {"trk.run_id": "01m809rrn2czh79842gpgd7mzh"} | ({"mlflow.parentRunId": ids[1]} if n == 2 else {})
        run = theirs.create_run(place, start_time=NOON + n, tags=tags, run_name=f"copy {n}")
        ids.append(run.info.run_id)
        if value is not None:
            theirs.log_metric(ids[n], "f1", value, NOON, 0)
            theirs.log_text(ids[n], str(value), "value.txt")
    one = {"experiment": "copies", "filter": "metrics.f1 > 0.5"}
    for asked in (one, {"experiment": "copies"}, {"runs": ids}):
        done = trk.import_mlflow(uri=store, artifacts=True, **asked)
        values = {run.origin: {value for *_, value in points(run.run_id)} for run in done.runs}
        assert values == {f"mlflow:{ids[n]}": {(0, 0.3, 0.7)[n]} for n in ((2,) if asked is one else (1, 2))}
    assert [(one.origin, one.reason) for one in done.left_out] == [
        (f"mlflow:{ids[0]}", "an empty copy of run 01m809rrn2czh79842gpgd7mzh")
    ]
    first, second = done.runs
    assert first.run_id == "01m809rrn2czh79842gpgd7mzh"
    assert trk.get_run(second.run_id, source="local").parent_id == first.run_id
    (got,) = trk.get_artifact("value.txt", second.run_id, to=project / "got", source="local")
    assert got.read_text() == "0.7"
    theirs.delete_run(ids[1])
    assert trk.import_mlflow(ids[2], uri=store).runs[0].run_id == second.run_id
