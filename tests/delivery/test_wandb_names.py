"""Names that trk takes and W&B would not: refused when they are logged, or mapped, and read back as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import trk
from servers.wandb_reading import run_of
from servers.wandb_server import WandbServer
from trk.errors import UsageError

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.usefixtures("wandb_here"),
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]
TYPES = ("job", "wandb-history", "code", "a:b/c d", "t" * 250)


def test_every_name_that_is_taken_arrives_and_is_read_back(
    wandb_server: WandbServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "wandb")
    (project / "f.txt").write_text("x")
    with trk.start("n" * 250, delivery="end") as run:
        for name in ("_private", "a.b", "m:x y", "m" * 250, "über/größe"):
            run.log_metric(name, 1.0)
        run.log_params({"p" * 250: "1", "p.q": "1", "a:b /c": "x"})
        run.set_tag("t: x", "y")
        run.log_summary({"s.t": "x", "s" * 240: [1]})
        for name in ("t a b/c.d", "t" * 245, "ü" * 120):
            run.log_table(name, [{"a": 1}])
        run.log_html("<p>", "h x: y")
        run.log_html("<p>", "h" * 245)
        for number, type_ in enumerate(TYPES):
            run.log_artifact(project / "f.txt", name=f"source- {number}", type=type_)
        run.log_artifact(project / "f.txt", name="n" * 250)
    trk.sync(timeout=60, strict=True)
    state = run.record.backends["wandb"]
    assert (state.delivered, state.rejected) == (state.logged, 0)
    assert trk.verify(run)[0].backends["wandb"].ok
    there = {one.type for one in run_of(wandb_server, run.id).artifacts}
    assert there >= {"trk-job", "trk-wandb-history", "trk-code"}
    kept = {one.type for one in trk.artifacts(run, source="wandb") if one.type}
    assert kept == {*TYPES, "custom"}


@pytest.mark.parametrize("name", ["_wandb", "trk/status"])
def test_what_wandb_or_trk_keeps_for_itself_is_refused_when_it_is_logged(name: str) -> None:
    run = trk.start()
    for log in _logs(run):
        with pytest.raises(UsageError, match="is reserved: trk and W&B"):
            log(name)
    assert run.record.params == {}


def _logs(run: trk.Run) -> list[Callable[[str], object]]:
    return [lambda name: run.log_metric(name, 1), lambda name: run.log_summary({name: json.dumps("x")})]


@pytest.mark.parametrize("name", ["_wandb", "wandb_version"])
def test_params_that_are_wandbs_own_are_refused(name: str) -> None:
    run = trk.start()
    with pytest.raises(UsageError, match="W&B uses it for itself"):
        run.log_param(name, "1")
