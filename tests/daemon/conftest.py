"""A daemon may run here, for a short time only; whatever is left of it is ended after the test."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.tools import Place
from delivery import hostile


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The hostile backends are installed; what PYTHONPATH needs so that they are in a child, too."""
    with hostile.installed(tmp_path_factory.mktemp("site")) as paths:
        yield paths


@pytest.fixture
def place(project: Path, plugins: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A project whose runs go to a file, and where a daemon may run."""
    monkeypatch.setenv("TRK_DAEMON", "auto")
    monkeypatch.setenv("TRK_DAEMON_IDLE", "30")
    monkeypatch.setenv("TRK_BACKENDS", "on-file")
    monkeypatch.setenv("ARRIVALS", str(project / "arrivals"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(project.parent / "runtime"))
    (project.parent / "runtime").mkdir(mode=0o700)
    found = Place(project, plugins)
    yield found
    for pid in found.daemons():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
