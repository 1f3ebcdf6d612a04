"""The hostile backends are installed for these tests, each with a server that knows nothing yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from delivery import hostile
from delivery.hostile import Server


@pytest.fixture(scope="session")
def hostile_paths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The hostile backends are installed; what PYTHONPATH needs so that they are in a child, too."""
    with hostile.installed(tmp_path_factory.mktemp("site")) as paths:
        yield paths


@pytest.fixture
def server(hostile_paths: list[str]) -> Server:
    """What the backend `hostile` delivers to."""
    hostile.servers.clear()
    return hostile.servers.setdefault("hostile", Server())


@pytest.fixture
def other(server: Server) -> Server:
    """What the backend `other` delivers to."""
    return hostile.servers.setdefault("other", Server())
