"""A daemon may run here, for a short time only; whatever is left of it is ended after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.tools import Place, filing_place
from delivery import hostile


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The hostile backends are installed; what PYTHONPATH needs so that they are in a child, too."""
    with hostile.installed(tmp_path_factory.mktemp("site")) as paths:
        yield paths


@pytest.fixture
def place(project: Path, plugins: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A project whose runs go to a file, and where a daemon may run."""
    with filing_place(project, plugins, monkeypatch) as found:
        yield found
