"""Hyperparameters from wherever a program has them; never what looks like a secret."""

from __future__ import annotations

import argparse
import datetime
import enum
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trk
from trk.errors import Conflict, NoActiveRun, UsageError

TOKEN = "ghp_" + "a1B2" * 9


class Kind(enum.Enum):
    ADAM = 1


@dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple[float, ...] = (0.9, 0.999)
    api_key: str = "abc"


@dataclass
class Config:
    name: str = "base"
    optimizer: Optimizer = field(default_factory=Optimizer)


@pytest.fixture
def run(project: Path) -> trk.Run:
    return trk.start("one", delivery="end")


def test_the_callers_own_names_are_taken(run: trk.Run) -> None:
    lr, layers, model = 0.1, [1, 2], "rf"
    kind, nothing, where = Kind.ADAM, None, Path("data/x")
    _hidden = 1
    data = bytearray(10)
    long = "x" * 2000
    hf_token, header, wandb_key = TOKEN, f"Bearer {TOKEN}", "0123456789abcdef" * 3
    found = trk.capture_hyperparams()
    assert found.params == {
        "lr": "0.1", "layers": "[1, 2]", "model": "rf", "kind": "ADAM", "nothing": "None", "where": "data/x",
    }  # fmt: skip
    assert found.left_out == {
        "data": "it is no plain value", "long": "it has more than 1000 characters",
        "hf_token": "it looks like a secret", "header": "it looks like a secret", "wandb_key": "it looks like a secret",
    }  # fmt: skip
    assert run.record.params == found.params
    assert [lr, layers, model, kind, nothing, where, _hidden, data, long, hf_token, header, wandb_key]


def test_of_a_module_its_constants_are_taken(run: trk.Run) -> None:
    names: dict[str, Any] = {"__name__": "job", "trk": trk}
    code = "import os\nLR = 0.5\ndef train(): pass\nclass Net: pass\ntrk.capture_hyperparams()\n"
    exec(compile(code, "job.py", "exec"), names)
    assert run.record.params == {"LR": "0.5"}


def test_argparse_dataclasses_mappings_and_objects_are_taken(run: trk.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--password")
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.25", "--password", "hunter2", "--other"])
    found = trk.capture_hyperparams(parser, prefix="a.")
    assert (found.params, found.left_out) == ({"a.lr": "0.25"}, {"a.password": "it looks like a secret"})
    assert trk.capture_hyperparams(argparse.Namespace(lr=1, on=True), prefix="b.").params == {
        "b.lr": "1",
        "b.on": "True",
    }
    assert trk.capture_hyperparams(Config(), prefix="c.").params == {
        "c.name": "base", "c.optimizer.lr": "0.1", "c.optimizer.betas": "[0.9, 0.999]",
    }  # fmt: skip
    deep = {"a": {"b": {"c": 1, "d": {}}}, "day": datetime.date(2026, 11, 22), "s": {3, 1}}
    assert trk.capture_hyperparams(deep, prefix="d.").params == {
        "d.a.b.c": "1", "d.a.b.d": "{}", "d.day": "2026-11-22", "d.s": "[1, 3]",
    }  # fmt: skip
    assert trk.capture_hyperparams(SimpleNamespace(x=1), prefix="e.").params == {"e.x": "1"}
    assert "a.password" not in run.record.params


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "lr: 1e-3\nopt: {name: adam, token: abcdefgh12345}\n"),
        ("c.json", '{"lr": 1e-3, "opt": {"name": "adam", "token": "abcdefgh12345"}}'),
        ("c.toml", 'lr = "1e-3"\n[opt]\nname = "adam"\ntoken = "abcdefgh12345"\n'),
    ],
)
def test_config_files_are_taken(run: trk.Run, name: str, text: str) -> None:
    Path(name).write_text(text)
    found = trk.capture_hyperparams(Path(name))
    assert found.params == {"lr": "1e-3", "opt.name": "adam"}
    assert list(found.left_out) == ["opt.token"]


def test_scalars_of_arrays_and_what_names_itself_are_plain(run: trk.Run) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    found = trk.capture_hyperparams(
        {"a": numpy.float32(0.5), "b": numpy.array(3), "c": numpy.dtype("f4"), "d": numpy.zeros(3), "max_tokens": 5}
    )
    assert found.params == {"a": "0.5", "b": "3", "c": "float32", "max_tokens": "5"}
    assert list(found.left_out) == ["d"]


def test_harmless_values_of_telling_names_stay(run: trk.Run) -> None:
    given = {"use_auth": True, "token": None, "pad_token": "<pad>", "n_pass": 3, "password": "", "secret": "x"}
    found = trk.capture_hyperparams(given)
    assert set(found.left_out) == {"secret"}


def test_what_can_t_be_taken_is_an_error(run: trk.Run) -> None:
    for source in (3, len, object(), "nothing.yaml", "config.ini"):
        with pytest.raises(UsageError):
            trk.capture_hyperparams(source)
    with pytest.raises(UsageError):
        trk.capture_hyperparams({"a(b)": 1})
    trk.capture_hyperparams({"lr": 1})
    with pytest.raises(Conflict):
        trk.capture_hyperparams({"lr": 2})
    assert trk.capture_hyperparams({"lr": 2}, if_exists="keep").params == {"lr": "2"}
    assert run.record.params == {"lr": "1"}
    with trk.start("other") as other:
        trk.capture_hyperparams({"lr": 3}, run=run, prefix="mine.")
        assert other.record.params == {}


def test_a_run_is_needed(project: Path) -> None:
    with pytest.raises(NoActiveRun):
        trk.capture_hyperparams({"lr": 1})


def test_a_command_line_in_a_list_keeps_no_secret(run: trk.Run) -> None:
    nested = {"steps": [["--password", "hunter2"]], "jobs": [{"run": ("x", ["--token", "x" * 20])}]}
    assert set(trk.capture_hyperparams(nested).left_out) == {"steps", "jobs"}
    given = {"cmd": ["--password", "hunter2"], "keys": ("--api-key", "x" * 20), "sizes": [1, 2], "lr": ["--lr", "0.1"]}
    found = trk.capture_hyperparams(given, run=run)
    assert set(found.left_out) == {"cmd", "keys"}
    assert set(found.params) == {"sizes", "lr"}
