"""A real MLflow server, a proxy before it, and a project whose runs go there."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from daemon.tools import Place, short_folder
from faults.harness.clock import Clock
from faults.harness.proxy import PATIENCE_S, Proxy
from servers.mlflow_server import MlflowServer


@pytest.fixture
def place(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A project where a daemon may run, and whose runs go to MLflow."""
    if find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed")
    monkeypatch.setenv("TRK_DAEMON", "auto")
    monkeypatch.setenv("TRK_DAEMON_IDLE", "60")
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with short_folder() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        found = Place(project, [], runtime)
        yield found
        found.end()


@pytest.fixture
def server(mlflow_server: MlflowServer) -> MlflowServer:
    """A real server."""
    return mlflow_server


@pytest.fixture
def proxy(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands before the server; everything goes through it, and soon gives up waiting."""
    with Proxy(server.port) as standing:
        monkeypatch.setenv("TRK_BACKENDS", "mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", standing.url)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", PATIENCE_S)
        yield standing


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that steps."""
    (tmp_path / "clock").mkdir()
    return Clock(tmp_path / "clock")
