"""Delivery to MLflow, and MLflow as a source.

The run carries the tag `trk.run_id` from its creation and is looked up by it before it is made, so an answer that
was lost makes no second run. MLflow keeps an exact duplicate of a point once, so a replay changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from trk.backends import _mlflow_attach as attach
from trk.backends import _mlflow_read as read
from trk.backends import _mlflow_verify as back
from trk.backends import _mlflow_write as write
from trk.backends._mlflow_artifacts import Artifacts
from trk.backends._mlflow_histories import Histories
from trk.backends._mlflow_store import Store, is_database, is_server
from trk.backends.base import Held, Limits, Trace
from trk.backends.foreign import ForeignRun
from trk.errors import BackendError, BackendNeedsUser, BackendRefused, BackendRunGone, NotFound, SourceUnavailable
from trk.records import ArtifactRecord, Kind, MetricPoint, MetricStats, RemoteRun, Row, RunRecord, RunSpec

KIND_TAG, TRAINING = "mlflow.experimentKind", "custom_model_development"
SAME_RUN = 100  # more runs of one trk run id than this nobody has


class MlflowBackend:
    """MLflow, at `target["tracking_uri"]`: a server, a database file, or whatever else MLflow takes.

    `target["artifact_root"]` is the absolute folder for the artifacts of a database's new experiments; left out, it
    is `mlruns` beside the SQLite file. Neither holds a password: they come from the environment, as MLflow reads it.
    """

    name = "mlflow"
    limits = Limits()

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        """The pip requirement that is missing: mlflow, or, with mlflow-skinny, what databases need."""
        needed = ["mlflow"]
        if is_database(str(target["tracking_uri"])):
            needed += ["sqlalchemy", "alembic"]
        return None if all(_is_installed(name) for name in needed) else "trk-ml[mlflow]"

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._store = Store(target)
        self._reader = read.Reader(self._store)
        self._histories = Histories(self._store, self._reader)
        self._artifacts = Artifacts(self._store, self._reader)
        self._unsure: set[str] = set()  # runs whose making was not answered: a request may still be on its way

    def open(self, run: RunSpec) -> RemoteRun:
        """Find the run, or make it. Raises BackendRunGone when it was deleted by somebody else."""
        found = self._by_id(run.remote_id) if run.remote_id is not None else self._found_or_made(run)
        if found.info.lifecycle_stage != "active" and not run.deleted:
            raise self._gone(found)
        experiment_id = str(found.info.experiment_id)
        url = self._url(experiment_id, found.info.run_id)
        return RemoteRun(run.run_id, found.info.run_id, url, experiment_id, run.external)

    def holds(self, row: Row) -> bool:
        """Everything but a definition that gives no direction: step metrics are W&B's."""
        return row.kind is not Kind.DEFINE or write.mode_of(row) is not None

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        """Hand over rows. When this returns, MLflow has committed them."""
        try:
            write.send(self._store, run, rows)
        except BackendRunGone:
            raise self._gone(self._by_id(run.remote_id)) from None
        if run.run_id in self._unsure and any(row.kind is Kind.STATUS for row in rows):
            self._delete_doubles(run)

    def confirm(self, run: RemoteRun, n: int) -> int:
        """All of it: `deliver` returns when MLflow has it."""
        return n

    def close(self) -> None:
        """Nothing to let go of: MLflow shares its connections with whoever else uses it in this process."""

    def search(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        """The runs that MLflow finds, newest first. Raises UsageError for a filter it refuses."""
        return self._reader.search(experiment, filter_string)

    def get(self, run_id: str) -> RunRecord | None:
        """The run with this trk run id, MLflow run id, or `mlflow:<id>`."""
        return self._reader.get(run_id)

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """All points of a metric, by (step, time, value)."""
        return self._reader.history(run, metric)

    def modes(self, experiment: str) -> Mapping[str, str]:
        """The directions that were defined for the metrics of an experiment."""
        return self._reader.modes(experiment)

    def forget(self) -> None:
        """Ask for the names of experiments and parents again."""
        self._reader.forget()

    def told(self, run: RunRecord, metric: str) -> MetricStats | None:
        """What delivery left when the run ended, unless somebody else has gone on with it."""
        return self._reader.told(run, metric)

    def mark(self, run: RunRecord, metric: str) -> str | None:
        """The run's end, and the last point of the metric."""
        return self._reader.mark(run, metric)

    def histories(self, runs: Sequence[RunRecord], metric: str) -> Iterator[tuple[RunRecord, list[MetricPoint]]]:
        """The histories of many runs, of several in one request."""
        return self._histories.read(runs, metric)

    def artifacts(self, run: RunRecord) -> list[ArtifactRecord]:
        """What lies at each path of a run, but what trk itself puts beside it."""
        return self._artifacts.records(run)

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """Write the bytes at a path of a run into the file `to`, whole or not at all."""
        self._artifacts.fetch(run, path, to)

    def set_deleted(self, run_id: str, deleted: bool) -> None:
        """Delete or restore a run by MLflow's id, or `mlflow:<id>`."""
        try:
            write.set_deleted(self._store, run_id.removeprefix(read.HANDLE), deleted)
        except (BackendRunGone, BackendRefused):  # unknown, or no id at all
            raise NotFound(f"MLflow at {self._store.uri} has no run {run_id}") from None
        except BackendError as error:
            raise SourceUnavailable(error.message, hint=error.hint) from None

    def foreign(self, run_id: str) -> ForeignRun | None:
        """A run by MLflow's own id, deleted or not; None when there is none."""
        return attach.foreign(self._store, run_id, self._url)

    def traces(self, row: Row) -> list[Trace]:
        """What MLflow has of a row in the run's params, tags and artifacts."""
        return back.traces(row)

    def held(self, remote_id: str) -> Held | None:
        """The run with its params, tags and the paths of all its artifacts, deleted or not."""
        return back.held(self._store, self._reader, self._artifacts, remote_id)

    def prepare(self, experiment: str) -> None:
        """See that an experiment is there. Raises BackendNeedsUser when it was deleted."""
        self._experiment(experiment)

    def _url(self, experiment_id: str, remote_id: str) -> str | None:
        if not is_server(self._store.uri):
            return None
        return f"{self._store.uri.rstrip('/')}/#/experiments/{experiment_id}/runs/{remote_id}"

    def _by_id(self, remote_id: str) -> Any:
        with self._store.calling() as mlflow:
            return mlflow.get_run(remote_id)

    def _found_or_made(self, run: RunSpec) -> Any:
        experiment = self._experiment(run.experiment)
        same = self._with_tag(experiment.experiment_id, run.run_id)
        if not same:
            return self._make(experiment.experiment_id, run)
        active = sorted((found for found in same if found.info.lifecycle_stage == "active"), key=read.age)
        self._delete_empty(active[1:])
        return active[0] if active else same[0]

    def _delete_doubles(self, run: RemoteRun) -> None:
        """What was to make this run, and came to MLflow when nobody waited for it any more, made another one."""
        same = self._with_tag(str(run.experiment_id), run.run_id)
        self._delete_empty(
            [one for one in same if one.info.run_id != run.remote_id and one.info.lifecycle_stage == "active"]
        )

    def _delete_empty(self, doubles: Sequence[Any]) -> None:
        for double in doubles:
            if read.is_empty(double):  # what a lost answer left behind
                with self._store.calling() as mlflow:
                    mlflow.delete_run(double.info.run_id)

    def _with_tag(self, experiment_id: str, run_id: str) -> list[Any]:
        with self._store.calling() as mlflow:
            from mlflow.entities import ViewType

            return list(
                mlflow.search_runs([experiment_id], read.tag_filter(run_id), ViewType.ALL, SAME_RUN, None, None)
            )

    def _make(self, experiment_id: str, run: RunSpec) -> Any:
        tags = {
            read.RUN_TAG: run.run_id,
            "mlflow.user": _user(),
            "mlflow.source.name": "trk",
            "mlflow.source.type": "LOCAL",
        }
        if run.parent_remote_id is not None:
            tags[read.PARENT_TAG] = run.parent_remote_id
        if run.description:
            tags[read.NOTE_TAG] = _note(run.description)
        again = run.run_id in self._unsure
        with self._store.calling() as mlflow:
            from mlflow.entities import RunTag

            entities = [RunTag(key, text) for key, text in tags.items()]
            self._unsure.add(run.run_id)
            made = mlflow.create_run(experiment_id, tags["mlflow.user"], run.start_ms, entities, run.name)
            if not again:
                self._unsure.discard(run.run_id)
            return made

    def _experiment(self, name: str) -> Any:
        """The experiment of this name, made when there is none."""
        found = self._experiment_named(name)
        if found is None:
            with self._store.calling() as mlflow:
                from mlflow.entities import ExperimentTag
                from mlflow.exceptions import MlflowException

                try:
                    # Without it MLflow's UI takes the experiment for one of traces, and shows no runs at first.
                    mlflow.create_experiment(name, None, [ExperimentTag(KIND_TAG, TRAINING)])
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody was quicker
                        raise
            found = self._experiment_named(name)
        if found is None or found.lifecycle_stage != "active":
            raise self._experiment_deleted(name, found.experiment_id if found is not None else "?")
        return found

    def _experiment_named(self, name: str) -> Any:
        with self._store.calling() as mlflow:
            return mlflow.get_experiment_by_name(name)

    def _gone(self, run: Any) -> BackendRunGone | BackendNeedsUser:
        """Why a run takes nothing more: it was deleted, or its whole experiment was."""
        with self._store.calling() as mlflow:
            experiment = mlflow.get_experiment(run.info.experiment_id)
        if experiment.lifecycle_stage != "active":
            return self._experiment_deleted(experiment.name, experiment.experiment_id)
        return BackendRunGone(
            f"MLflow at {self._store.uri}: run {run.info.run_id} was deleted there",
            hint=f"what is logged after this brings it back arrives: {self._command()} runs restore --run-id "
            f"{run.info.run_id}",
        )

    def _experiment_deleted(self, name: str, experiment_id: str) -> BackendNeedsUser:
        return BackendNeedsUser(
            f"MLflow at {self._store.uri}: experiment {name!r} was deleted there",
            hint=f"{self._command()} experiments restore --experiment-id {experiment_id}",
        )

    def _command(self) -> str:
        return f"MLFLOW_TRACKING_URI={self._store.uri} mlflow"


def _is_installed(name: str) -> bool:
    """Whether a package is there, without importing it. A folder that happens to have its name is none."""
    found = find_spec(name)
    return found is not None and found.origin is not None


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # no such user in the container
        return "unknown"


def _note(description: str) -> str:
    """MLflow cuts a longer text without a word; this cut says so. The journal has the whole of it."""
    if len(description) <= write.MAX_TAG:
        return description
    return f"{description[: write.MAX_TAG - 100]}… ({len(description)} characters in all)"
