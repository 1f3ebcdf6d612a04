"""`trk gc` and `trk sync --uri` as commands: what they say, in which units, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trk.backends.memory import servers
from trk_cli.commands.care import in_units


@pytest.fixture
def delivered(call: Any, project: Path) -> str:
    """An ended run with a file, at a backend that has it."""
    servers.clear()
    (project / "model.bin").write_bytes(bytes(2_500_000))
    run = call("start", "one", "-b", "memory", "-q").out.strip()
    assert call("log-artifact", "model.bin").code == 0
    assert call("end", "-q").code == 0
    return run


def test_it_says_what_it_freed(call: Any, delivered: str) -> None:
    tried = call("gc", "--older-than", "0", "--dry-run")
    assert (tried.code, tried.out) == (0, "")
    assert tried.err.splitlines() == ["1 file would be removed, 2.5 MB; 0 files kept, 0 bytes"]
    done = call("gc", "--older-than", "0", "--json", "-q")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "removed": 1, "bytes": 2_500_000, "kept": 0, "kept_bytes": 0, "unnamed": 0, "drafts": 0, "draft_bytes": 0,
        "dry_run": False,
    }  # fmt: skip
    got = call("artifacts", "get", "model.bin", "--run", delivered, "--source", "local", "--json")
    error = json.loads(got.err)["error"]
    assert (got.code, error["code"]) == (4, "not_found")
    assert "model.bin is not here: its bytes were removed by trk gc, after memory had them" in error["message"]
    assert error["hint"] == f"trk artifacts get model.bin --run {delivered} --source memory"


def test_the_retention_is_shown_with_the_settings(
    call: Any, delivered: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "0 files removed" in call("gc").err
    (project / ".trk" / "config.toml").write_text('retention = "12h"\n')
    assert json.loads(call("config", "show", "--json").out)["retention"]["value"] == "12h"
    monkeypatch.setenv("TRK_RETENTION", "0")
    assert "1 file removed" in call("gc").err


def test_what_is_no_span_of_time_is_refused(call: Any, delivered: str) -> None:
    for wrong in ("30", "-1d", "soon", "1y", "nand"):
        done = call("gc", f"--older-than={wrong}")
        assert (done.code, "no span of time" in done.err, wrong in done.err) == (2, True, True)


def test_an_address_needs_its_backend(call: Any, delivered: str) -> None:
    done = call("sync", "--uri", "http://127.0.0.1:1")
    assert (done.code, "trk sync --to mlflow --uri ADDRESS" in done.err) == (2, True)
    done = call("sync", "--to", "memory", "--uri", "http://127.0.0.1:1")
    assert (done.code, "memory has no address" in done.err) == (2, True)


def test_units_are_for_people() -> None:
    sizes = {
        0: "0 bytes",
        999: "999 bytes",
        1000: "1.0 kB",
        1_250_000: "1.2 MB",
        3 * 10**9: "3.0 GB",
        10**16: "10000.0 TB",
    }
    assert {size: in_units(size) for size in sizes} == sizes
