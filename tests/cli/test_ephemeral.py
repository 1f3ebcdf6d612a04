"""In a container or a CI job, `trk end` and `trk sync` say what would vanish with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trk
from trk import settings
from trk.ephemeral import Vanishing


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing says where this is but what the test sets."""
    for name in ("TRK_EPHEMERAL", *settings._CI, *settings._CONTAINERS, "container"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def pending(call: Any) -> str:
    """A run with two rows that nobody takes; its id."""
    run_id: str = call("start", "-q", "-b", "mlflow", "--mlflow-uri", "http://127.0.0.1:9").out.strip()
    call("log-metric", "f1", "0.5")
    return run_id


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("GITHUB_ACTIONS", "true", "CI job"),
        ("GITLAB_CI", "true", "CI job"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", "container"),
        ("container", "podman", "container"),
        ("TRK_EPHEMERAL", "yes", "machine"),
    ],
)
def test_the_end_says_how_many_rows_would_vanish_and_what_saves_them(
    call: Any, project: Path, unsaid: pytest.MonkeyPatch, name: str, value: str, place: str
) -> None:
    pending(call)
    unsaid.setenv(name, value)
    done = call("end", "--no-wait")
    assert done.code == 0
    assert f"trk: warning: 2 rows of 1 run not delivered yet may vanish with this {place}" in done.err
    assert str(project / ".trk" / "journal.db") in done.err
    assert "trk sync before it goes, or trk export --bundle FILE" in done.err
    told = call("sync", "--timeout", "0", "--json")
    assert json.loads(told.out)["vanishing"] is True
    assert "may vanish" in told.err
    assert "safe in the journal" not in told.err
    assert call("sync", "--timeout", "0", "-q").err == ""
    assert trk.vanishing() == Vanishing(place, 2, 1, str(project / ".trk" / "journal.db"))


def test_nothing_is_said_when_everything_is_delivered(call: Any, unsaid: pytest.MonkeyPatch) -> None:
    unsaid.setenv("GITHUB_ACTIONS", "true")
    call("start", "-q", "-b", "memory")
    call("log-metric", "f1", "0.5")
    done = call("end", "--json")
    assert json.loads(done.out)["vanishing"] is False
    assert "vanish" not in done.err
    assert trk.vanishing() is None


def test_nothing_is_said_where_the_disk_stays(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("TRK_EPHEMERAL", "no")
    pending(call)
    done = call("end", "--no-wait", "--json")
    assert json.loads(done.out)["vanishing"] is False
    assert "may vanish" not in done.err
    assert "safe in the journal" in call("sync", "--timeout", "0").err


def test_a_volume_is_taken_to_stay(call: Any, mounted: Callable[..., Path], unsaid: pytest.MonkeyPatch) -> None:
    unsaid.setenv("TRK_DIR", str(mounted("size=8m")))
    unsaid.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    pending(call)
    assert "may vanish" not in call("end", "--no-wait").err
    unsaid.setenv("TRK_EPHEMERAL", "yes")
    assert "may vanish with this machine" in call("sync", "--timeout", "0").err


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv", "proc/1/environ"])
def test_containers_are_known_by_their_marks(tmp_path: Path, unsaid: pytest.MonkeyPatch, mark: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert settings.passing_place(str(root)) is None
    (root / mark).parent.mkdir(parents=True, exist_ok=True)
    (root / mark).write_bytes(b"A=1\0container=podman\0")
    assert settings.passing_place(str(root)) == "container"


def test_containers_that_stay_like_machines_are_none(tmp_path: Path, unsaid: pytest.MonkeyPatch) -> None:
    (tmp_path / "proc" / "1").mkdir(parents=True)
    (tmp_path / "proc" / "1" / "environ").write_bytes(b"container=lxc\0A=1\0")
    assert settings.passing_place(str(tmp_path)) is None


def test_without_a_journal_nothing_can_vanish(unsaid: pytest.MonkeyPatch) -> None:
    unsaid.setenv("TRK_EPHEMERAL", "yes")
    assert trk.vanishing() is None
