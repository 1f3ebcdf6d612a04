"""Runs go to another W&B server: everything of them is there, in their projects, and the old one is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

import trk
from servers.wandb_reading import points
from servers.wandb_server import WandbServer
from trk import rebuilding
from trk.errors import UsageError
from trk.journal import read
from trk.tracker import find_journal

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.usefixtures("wandb_here"),
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]


@pytest.fixture
def other() -> Iterator[WandbServer]:
    """Another server, of another user's."""
    with WandbServer(user="keeper", key="f" * 40) as running:
        yield running


def ended(name: str, **more: str) -> trk.Run:
    """A run of three points and a tag, delivered."""
    with trk.start(name, experiment="moved", backends="wandb", tags={"stage": "dev"}, **more) as run:
        for step in range(3):
            run.log_metric("loss", 1 / (step + 1), step=step)
    trk.sync(strict=True, timeout=60)
    return run


def test_runs_are_rebuilt_at_another_wandb_in_the_projects_that_they_were_in(
    wandb_server: WandbServer, other: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ended("one", wandb_project="all", wandb_group="sweep")
    with monkeypatch.context() as offline:
        offline.setenv("WANDB_MODE", "offline")
        two = ended("two")
    wandb_server.stop()
    monkeypatch.setenv("WANDB_API_KEY", other.key)
    monkeypatch.setenv("WANDB_ENTITY", "nobody")
    monkeypatch.setenv("WANDB_PROJECT", "new")
    records = trk.sync(to="wandb", uri=f"{other.url}/keeper", timeout=120, strict=True)
    assert {record.run_id for record in records} == {one.id, two.id}
    for run, project in ((one, "all"), (two, "moved")):
        there = other.run("keeper", project, run.id)
        assert [(key, step, float(value)) for key, step, _, value in points(there)] == [
            ("loss", step, 1 / (step + 1)) for step in range(3)
        ]
        assert (there.state, there.tags, there.group) == ("finished", ["stage=dev"], "sweep" if run is one else None)
    assert all(told.backends["wandb"].ok for told in trk.verify())
    seen = len(other.requests)
    trk.sync(to="wandb", uri=f"{other.url}/keeper/", timeout=120, strict=True)
    assert len(other.requests) == seen  # they are there


def test_an_address_that_is_none_of_wandbs_is_refused(wandb_server: WandbServer) -> None:
    run = trk.start("one", backends="wandb", wandb_project="all", delivery="end")
    for wrong, why in (
        ("api.wandb.ai", "no address of a W&B server"),
        ("sqlite:///a.db", "no address of a W&B server"),
        ("https://wandb.ai/team/project", "no address of a W&B server"),
        ("https://[half/team", "no address"),
        ("https://me:secret@wandb.example.com", "no user and password"),
    ):
        with pytest.raises(UsageError, match=why) as refused:
            trk.sync(to="wandb", uri=wrong)
        assert "secret" not in str(refused.value)
    found = find_journal()
    assert found is not None
    assert read.targets(found[1], run.id)["wandb"]["base_url"] == wandb_server.url
    assert rebuilding.place(None, "wandb", "https://wandb.ai/team").address == "https://api.wandb.ai/team"
