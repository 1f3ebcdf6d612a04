"""The W&B test server, and processes with the real SDK against it. One of each serves a whole module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from servers.wandb_child import SdkProcess
from servers.wandb_server import WandbServer


@pytest.fixture(scope="module")
def wandb_server() -> Iterator[WandbServer]:
    """A server that nobody but this module uses; every test has run ids of its own."""
    with WandbServer() as server:
        yield server


@pytest.fixture(scope="module")
def sdk_process(
    wandb_server: WandbServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., SdkProcess]]:
    """`sdk_process(WANDB_API_KEY="…")`: another process with the SDK, ended after the module."""
    started: list[SdkProcess] = []

    def start(**environment: str) -> SdkProcess:
        folder = tmp_path_factory.mktemp("sdk")
        started.append(SdkProcess(folder, wandb_server.environment(folder) | environment))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(scope="module")
def sdk(sdk_process: Callable[..., SdkProcess]) -> SdkProcess:
    """The module's process with the SDK."""
    return sdk_process()


@pytest.fixture
def answers_all(wandb_server: WandbServer) -> Iterator[None]:
    """Nothing was asked that the server does not know, and its faults end with the test."""
    yield
    wandb_server.faults.clear()
    assert wandb_server.unknown() == []
