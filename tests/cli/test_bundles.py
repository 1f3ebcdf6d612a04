"""export and import as commands: what they say, on which stream, and with which exit code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import helpers
from trk import settings
from trk.run import Run

Call = Callable[..., object]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Go to another folder, without a `.trk`."""

    def go() -> Path:
        folder = tmp_path / "desk"
        folder.mkdir()
        monkeypatch.chdir(folder)
        return folder

    return go


def test_what_is_exported_and_imported_is_said(call: Call, open_run: str, desk: Callable[[], Path]) -> None:
    done = call("export", "--bundle", "../b.trk")
    assert (done.code, done.out) == (0, "../b.trk\n")
    first, second = done.err.splitlines()
    assert first.startswith("exported 1 run, 3 rows, 0 files (0 bytes): ")
    assert second == f"run one ({open_run}) is open: what is logged from now on is not in it"
    folder = desk()
    done = call("import", "../b.trk")
    assert (done.code, done.out) == (0, f"{open_run}\n")
    assert done.err.splitlines() == [
        f"made {folder}/.trk",
        "imported 3 rows of 1 run, 0 new files (0 bytes)",
        f"run one ({open_run}) had not ended when it was exported",
        "nothing waits to be delivered",
    ]
    assert call("import", "../b.trk", "-q").err == ""
    assert "1 run had nothing new" in call("import", "../b.trk").err


def test_json_has_the_same(
    call: Call, open_run: str, desk: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(call("export", "--bundle", "../b.trk", "--json", "-q").out)
    assert found == {
        "path": "../b.trk", "rows": 3, "files": 0, "bytes": 0, "size": Path("../b.trk").stat().st_size, "missing": [],
        "runs": [{"run_id": open_run, "name": "one", "experiment": "tests", "rows": 3, "open": True}],
    }  # fmt: skip
    folder = desk()
    monkeypatch.setenv("TRK_BACKENDS", "memory")
    done = call("import", "../b.trk", "--json")
    assert json.loads(done.out) == {
        "runs": [
            {"run_id": open_run, "name": "one", "experiment": "tests", "status": "RUNNING", "rows": 3, "added": 3}
        ],
        "left_out": [], "rows": 3, "files": 0, "bytes": 0, "missing": 0, "pending": {"memory": 3},
        "new_folder": f"{folder}/.trk",
    }  # fmt: skip
    assert "to be delivered: 3 rows for memory (trk sync)" in done.err


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["export"], 2, "export needs what it writes: --bundle FILE"),
        (["export", "--bundle", "-", "--json"], 2, "prints what is exported itself"),
        (["export", "--bundle", "there"], 2, "'there' is there already"),
        (["export", "--bundle", "b", "nobody"], 4, "there is no run 'nobody'"),
        (["export", "--bundle", "b", "--run", "nobody"], 4, "there is no run 'nobody'"),
        (["export", "--bundle", "b", "one", "--pending"], 2, "are not narrowed"),
        (["export", "--bundle", "b", "--filter", "x >"], 2, "filter"),
        (["export", "--bundle", "no/such/folder/b"], 1, "can't be written: No such file"),
        (["import"], 2, "missing argument"),
        (["import", "nothing"], 2, "'nothing' is not there"),
        (["import", "there"], 2, "not a whole ZIP file"),
        (["import", "there", "-b", "nobody"], 2, "nobody"),
        (["import", "./mlflow"], 2, "'./mlflow' is not there"),
    ],
)
def test_what_can_not_be_meant_is_one_line(call: Call, open_run: str, words: list[str], code: int, why: str) -> None:
    Path("there").write_text("precious")
    done = call(*words)
    assert (done.code, done.out) == (code, "")
    assert len(done.err.splitlines()) == 1
    assert why in done.err
    assert Path("there").read_text() == "precious"
    assert not Path("b").exists()


def test_force_replaces_a_file(call: Call, open_run: str) -> None:
    Path("there").write_text("precious")
    assert call("export", "--bundle", "there", "--force").code == 0
    assert zipfile.is_zipfile("there")


def test_without_a_trk_folder_there_is_nothing_to_export(call: Call) -> None:
    done = call("export", "--bundle", "b")
    assert (done.code, done.out) == (4, "")
    assert "no .trk folder here" in done.err


def test_a_bundle_goes_through_a_pipe(call: Call, open_run: str, desk: Callable[[], Path]) -> None:
    command = (
        f"{' '.join(helpers.COMMAND)} export --bundle - one | (cd ../desk && {' '.join(helpers.COMMAND)} import -)"
    )
    Path("../desk").mkdir()
    import subprocess

    done = subprocess.run(
        ["sh", "-c", command], env=helpers.child_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"{open_run}\n"), done.stderr
    assert Path("../desk/.trk/journal.db").exists()


def test_bytes_that_are_missing_are_told(call: Call, open_run: str, desk: Callable[[], Path]) -> None:
    Path("f").write_text("x")
    call("log-artifact", "f", "--no-snapshot")
    Path("f").unlink()
    done = call("export", "--bundle", "../b.trk")
    assert done.code == 0
    assert f"trk: warning: the bytes of f of run {open_run} are not in it: " in done.err
    desk()
    assert "trk: warning: the bytes of 1 file are not in the bundle" in call("import", "../b.trk").err


def test_what_a_bundle_says_can_not_act_in_a_terminal(call: Call, project: Path) -> None:
    Path("\x1b[31mred").write_bytes(b"no bundle")
    done = call("import", "\x1b[31mred")
    assert done.code == 2
    assert "\x1b" not in done.err


def test_the_environment_says_where_runs_go(
    call: Call, open_run: str, desk: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    call("export", "--bundle", "../b.trk")
    folder = desk()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    assert call("import", "../b.trk", "-b", "mlflow").code == 0
    from trk.tracker import need_run

    run = need_run(open_run)
    assert isinstance(run, Run)
    assert run.folder == str(folder / ".trk")
    assert run.journal.read("SELECT backend, json_extract(target, '$.tracking_uri') FROM deliveries") == [
        ("mlflow", "http://127.0.0.1:9")
    ]
    assert "secret" not in (folder / ".trk/journal.db").read_bytes().decode("latin1")
    assert settings.env("MLFLOW_TRACKING_URI") is not None
