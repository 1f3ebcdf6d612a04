"""import of other sources as a command: what it says, on which stream, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trk


def test_what_was_imported_is_said(call: Any, project: Path) -> None:
    Path("a.csv").write_text("epoch,loss (x),lr\n1,0.5,0.1\n2,inf,0.1\nx,1,1\n")
    words = ("import", "csv", "a.csv", "--step", "epoch", "--param", "lr", "--name", "one", "-e", "digits")
    dry = call(*words, "--dry-run")
    assert (dry.code, dry.out) == (0, "")
    assert "would import 2 points, 1 new run from csv\n" in dry.err
    done = call(*words)
    record = trk.get_run("one", source="local")
    assert (done.code, done.out) == (0, f"{record.run_id}\n")
    assert done.err.splitlines() == [
        f"made {project}/.trk",
        "imported 2 points, 1 new run from csv",
        "left: line 4, which is no line of metrics",
        "'loss (x)' is 'loss _x_' here",
        "nothing waits to be delivered",
    ]
    again = call(*words, "-b", "memory")
    assert again.err.splitlines()[:2] == ["imported 0 points, 0 new runs from csv", "1 run had nothing new"]
    assert "to be delivered: 7 rows for memory (trk sync)" in again.err
    assert call(*words, "-q").err == ""


def test_json_has_the_same(call: Any, project: Path) -> None:
    Path("a.jsonl").write_text('{"step": 1, "loss": NaN}\n')
    found = json.loads(call("import", "csv", "a.jsonl", "--json", "-q").out)
    (run,) = found.pop("runs")
    assert {key: run[key] for key in ("name", "status", "points", "new")} == {
        "name": "a", "status": "FINISHED", "points": 1, "new": True,
    }  # fmt: skip
    assert found == {
        "source": "csv", "left_out": [], "points": 1, "files": 0, "skipped": {}, "renamed": {}, "pending": {},
        "origins": [], "new_folder": f"{project}/.trk", "dry_run": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["import"], 2, ""),
        (["import", "csv"], 2, "import csv takes one FILE"),
        (["import", "csv", "a", "b"], 2, "import csv takes one FILE"),
        (["import", "csv", "nothing.csv"], 4, "'nothing.csv' is not there"),
        (["import", "csv", "."], 2, "is a folder, not a file"),
        (["import", "csv", "a.csv", "--uri", "x"], 2, "import csv takes no --uri"),
        (["import", "mlflow", "--step", "x"], 2, "import mlflow takes no --step"),
        (["import", "mlflow", "--attached"], 2, "import mlflow takes no --attached"),
        (["import", "csv", "a.csv", "--follow"], 2, "import csv takes no --follow"),
        (["import", "tensorboard", "--follow"], 2, "import tensorboard takes one LOGDIR"),
        (["import", "tensorboard", "a", "--follow", "--dry-run"], 2, "--follow goes without --dry-run"),
        (["import", "tensorboard", "a", "--until-idle", "1"], 2, "--until-idle goes with --follow"),
        (["import", "tensorboard", "a", "--follow", "--until-idle", "soon"], 2, "'soon' is not a number"),
        (["import", "a.trk", "--dry-run"], 2, "import of a bundle takes no --dry-run"),
        (["import", "a.trk", "b.trk"], 2, "one bundle at a time"),
        (["import", "wandb"], 2, "import wandb takes ENTITY/PROJECT"),
        (["import", "tensorboard"], 2, "import tensorboard takes one LOGDIR"),
    ],
)
def test_what_is_wrong_with_the_words_is_said(call: Any, project: Path, words: list[str], code: int, why: str) -> None:
    done = call(*words)
    assert (done.code, done.out) == (code, "")
    assert why in done.err
    assert not (project / ".trk").exists()
    assert done.err.startswith("trk: ")
    assert done.err.count("\n") == 1
