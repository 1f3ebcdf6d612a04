"""Every test has a project folder, a home and an environment of its own, and leaves no journal open."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import hypothesis
import pytest

import helpers
from faults.harness.proxy import Proxy
from helpers import Course
from servers.mlflow_server import MlflowServer
from trk import owning, session
from trk.backends import _wandb_sdk
from trk.garbage import collect_rarely
from trk.journal import db
from trk.journal.db import Journal
from trk.run import current

if TYPE_CHECKING:  # most tests need neither
    from daemon.tools import Place
    from servers.wandb_server import WandbServer

# The machine may be busy with the tests beside this one; and a failing example is printed, not kept in a folder.
hypothesis.settings.register_profile("trk", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("trk")

os.environ["TRK_DAEMON"] = "off"  # also for what is set up before the first test; the tests of the daemon turn it on
os.environ["TRK_EPHEMERAL"] = "no"  # wherever the tests run
# Wherever the tests run, runs are not tagged as its jobs, and no summary goes into its own.
for name in (
    "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE", "TF_BUILD", "JENKINS_URL", "BUILD_TAG",
    "GITHUB_STEP_SUMMARY",
):  # fmt: skip
    os.environ.pop(name, None)
collect_rarely()  # a tenth of the time of all tests
FOREIGN = ("TRK_", "MLFLOW_", "WANDB_", "GIT_")
LONG_S = 8 * 3600.0  # no test of a long course takes longer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the courses of tests/faults take hours, not seconds")
    parser.addoption("--seed", type=int, help="what a course that failed has printed: its dice fall the same again")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(LONG_S), append=False)
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason="one of many cases: --long has them all"))


@pytest.fixture
def course(request: pytest.FixtureRequest) -> Course:
    """Short, unless pytest was called with `--long`; its seed is printed, and is `--seed`'s if that is given."""
    told = request.config.getoption("seed")
    seed = int(told) if told is not None else time.time_ns() % 100_000
    long = bool(request.config.getoption("long"))
    print(f"again with: --seed {seed}{' --long' if long else ''}")
    return Course(long, seed, random.Random(seed))


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # the search for .trk goes no higher
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TRK_BACKENDS", "none")
    monkeypatch.setenv("TRK_DAEMON", "off")
    monkeypatch.setenv("TRK_EPHEMERAL", "no")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    (tmp_path / "project").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(session, "_journals", {})
    monkeypatch.setattr(owning, "_mine", [])
    monkeypatch.setattr(owning, "_served", [])
    token = current.set(())
    yield
    current.reset(token)
    if sys.modules.get("mlflow") is not None:  # which a thread that was left behind may be importing still
        importlib.import_module("mlflow").set_tracking_uri(None)  # what a test said to the process is said to no other
    for journal in list(db._opened):
        journal.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder that the test works in."""
    return tmp_path / "project"


@pytest.fixture
def detected_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what trk detects: nothing is said about backends."""
    monkeypatch.delenv("TRK_BACKENDS")


@pytest.fixture
def trk_command() -> Callable[..., CompletedProcess[str]]:
    """`trk_command("log-metric", "f1", "0.9")`: the command in a process of its own."""
    return helpers.trk


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`mounted("size=1m")`: a small file system of its own, gone after the test. Skips where it can't be made."""
    places: list[Path] = []

    def mount(options: str = "size=1m", at: Path | None = None) -> Path:
        place = at or tmp_path / f"disk{len(places)}"
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
        ) if shutil.which("mount") else None  # fmt: skip
        if done is None or done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip() if done else 'no mount here'}")
        places.append(place)
        return place

    yield mount
    for journal in list(db._opened):
        journal.close()
    os.chdir(tmp_path)
    for place in reversed(places):
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow's with nothing in it: its tables take a second to make."""
    if find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed")
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def empty_store(_empty_store: Path) -> Callable[..., str]:
    """`empty_store(folder, name="mlflow.db")`: a store in that folder as if MLflow had made it there; its address."""

    def made(folder: Path, name: str = "mlflow.db") -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_empty_store, folder / name)
        with contextlib.closing(sqlite3.connect(folder / name)) as store, store:
            store.execute("UPDATE experiments SET artifact_location = ?", (f"{folder}/mlruns/0",))
        return f"sqlite:///{folder}/{name}"

    return made


@pytest.fixture(scope="session")
def _mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    if find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed")
    with MlflowServer(tmp_path_factory.mktemp("mlflow-server")) as running:
        yield running


@pytest.fixture
def mlflow_server(_mlflow_server: MlflowServer) -> MlflowServer:
    """A real server that runs, with the runs of other tests on it: its start takes seconds."""
    _mlflow_server.start()
    return _mlflow_server


@pytest.fixture
def link(mlflow_server: MlflowServer) -> Iterator[Proxy]:
    """The way to the real server, that can be broken: `link.turn("refuse")` is as if it were down."""
    with Proxy(mlflow_server.port) as found:
        yield found


@pytest.fixture(scope="module")
def _wandb_server() -> Iterator[WandbServer]:
    from servers.wandb_server import WandbServer

    with WandbServer() as running:
        yield running
        _wandb_sdk._bury(
            _wandb_sdk._deaths
        )  # runs that tests left open would be finished by the next that needs them gone


@pytest.fixture
def wandb_server(_wandb_server: WandbServer) -> Iterator[WandbServer]:
    """A W&B server, one for the tests of a file, that is well before and after each of them."""
    yield _wandb_server
    _wandb_server.heal()


@pytest.fixture
def wandb_here(
    wandb_server: WandbServer, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B's SDK, also in this process, is a quiet user of that server's, and writes into folders of its own."""
    for name, value in wandb_server.environment(tmp_path_factory.mktemp("sdk")).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def wandb_place(
    wandb_server: WandbServer, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A project whose runs go to that server, and where a daemon may run; offline if the test says so."""
    from daemon.tools import Place, short_folder

    for name, value in wandb_server.environment(tmp_path).items():
        if name not in ("WANDB_SILENT", "WANDB_DIR"):  # to be quiet is trk's own task
            monkeypatch.setenv(name, value)
    for name, value in {"TRK_DAEMON": "auto", "TRK_DAEMON_IDLE": "60", "TRK_BACKENDS": "wandb"}.items():
        monkeypatch.setenv(name, value)
    with short_folder() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        found = Place(project, [], runtime)
        yield found
        found.end()


@pytest.fixture
def journal(project: Path) -> Journal:
    """A new journal, not in any `.trk`."""
    return Journal.create(str(project / "journal.db"))
