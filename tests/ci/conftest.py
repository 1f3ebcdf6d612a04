"""Runs to tell of, and the command in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import trk
from trk_cli.__main__ import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("summary", "@last")`: (exit code, stdout, stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def baseline() -> str:
    """A run `main` of the experiment digits, ended; its id."""
    with trk.start("main", experiment="digits", params={"lr": 0.1, "model": "mlp"}, tags={"branch": "main"}) as run:
        for step in range(5):
            run.log_metrics({"f1": 0.5 + step / 20, "loss": 1 / (step + 1)}, step=step)
    return run.id


@pytest.fixture
def better(baseline: str) -> str:
    """A run `better` after it, with another param and better values; its id."""
    with trk.start("better", experiment="digits", params={"lr": 0.01, "model": "mlp"}) as run:
        for step in range(10):
            run.log_metrics({"f1": 0.5 + step / 20, "loss": 1 / (step + 1)}, step=step)
        run.log_text("converged", "note")
    return run.id
