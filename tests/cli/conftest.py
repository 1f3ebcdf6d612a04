"""The command line in this process: quick, and the same entry that the command has. Processes are in `helpers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from trk_cli.__main__ import main


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("log-metric", "f1", "0.9")` in this process; whatever was printed before is forgotten."""

    def run(*words: str) -> Done:
        capsys.readouterr()
        code = main(list(words))
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def open_run(call: Call) -> str:
    """A run named `one`, with a metric, a param and a tag; the session is in it."""
    started = call("start", "one", "-e", "tests", "--param", "lr=0.1", "--tag", "stage=dev", "-q")
    assert call("log-metric", "f1", "0.9").code == 0
    return started.out.strip()
