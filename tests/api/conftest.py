"""A W&B server and an MLflow store for trackers, and what they have of a run."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from servers.wandb_parts.store import Run
from servers.wandb_server import WandbServer
from trk.delivery import live


class Places:
    """Where trackers of a test log to, and what is there."""

    def __init__(self, server: WandbServer, uri: str, experiment: str) -> None:
        self.server = server
        self.uri = uri
        self.experiment = experiment
        self.mlflow_only = {
            "use_mlflow": True, "mlflow_tracking_uri": uri, "mlflow_experiment_name": experiment
        }  # fmt: skip
        self.wandb_only = {"use_wandb": True, "wandb_init_kwargs": {"project": experiment}}
        self.both: dict[str, Any] = self.mlflow_only | self.wandb_only

    def tracker(self, **arguments: Any) -> trk.ExperimentTracker:
        """A tracker of both backends, but for what is given."""
        return trk.create_experiment_tracker(**(self.both | arguments))

    def wandb_runs(self) -> list[Run]:
        """The runs of this test at W&B, in order of creation."""
        return [run for run in self.server.runs() if run.project == self.experiment]

    def wandb(self) -> Run:
        """The one run of this test at W&B."""
        (run,) = self.wandb_runs()
        return run

    def lines(self, run: Run | None = None) -> list[dict[str, Any]]:
        """The history at W&B without what is the SDK's own."""
        own = ("_step", "_timestamp", "_runtime")
        return [{k: v for k, v in line.items() if k not in own} for line in (run or self.wandb()).history]

    def wandb_table(self, key: str, run: Run | None = None) -> tuple[list[str], list[list[Any]]]:
        """What W&B shows of a table."""
        run = run or self.wandb()
        found = json.loads(run.files[run.summary[key]["path"]])
        return found["columns"], found["data"]

    @property
    def client(self) -> Any:
        """MLflow's own."""
        import mlflow

        return mlflow.MlflowClient(self.uri)

    def mlflow_runs(self) -> list[Any]:
        """The runs of this test at MLflow, newest first."""
        found = self.client.get_experiment_by_name(self.experiment)
        return list(self.client.search_runs([found.experiment_id])) if found is not None else []

    def mlflow(self) -> Any:
        """The one run of this test at MLflow."""
        (run,) = self.mlflow_runs()
        return run

    def points(self, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric at MLflow."""
        return [(p.step, p.value) for p in self.client.get_metric_history(self.mlflow().info.run_id, metric)]

    def artifacts(self, folder: str | None = None) -> list[str]:
        """The paths in a folder of the run at MLflow."""
        return [file.path for file in self.client.list_artifacts(self.mlflow().info.run_id, folder)]

    def artifact(self, path: str, to: Path) -> str:
        """The text of a file of the run at MLflow."""
        to.mkdir(exist_ok=True)
        return Path(self.client.download_artifacts(self.mlflow().info.run_id, path, str(to))).read_text()

    def texts(self, folder: str, to: Path) -> set[str]:
        """The texts of all files in a folder of the run at MLflow."""
        to.mkdir(exist_ok=True)
        here = Path(self.client.download_artifacts(self.mlflow().info.run_id, folder, str(to)))
        return {path.read_text() for path in here.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def _server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture(scope="session")
def _store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def places(
    _server: WandbServer,
    _store: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Places]:
    """A W&B server and an MLflow store, where this test has an experiment and project of its own."""
    for name in ("wandb", "mlflow"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn, of SQLAlchemy among others
        importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    for name, value in _server.environment(tmp_path_factory.mktemp("sdk")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRK_EXIT_TIMEOUT", "20")
    yield Places(_server, _store, f"p{abs(hash(request.node.nodeid)):x}")
    _server.faults.clear()
    live.leave(0.0)
