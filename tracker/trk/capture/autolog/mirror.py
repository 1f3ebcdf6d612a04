"""What is logged into a store of MLflow's, in the journal at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from itertools import groupby
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from trk import config, owners, owning, rules
from trk.capture.autolog.folders import Folder
from trk.capture.autolog.naming import Scope, scope_of
from trk.errors import NotFound, TrkError
from trk.ids import new_run_id
from trk.imports import naming
from trk.journal import lifecycle, read, write
from trk.run import STATUSES, Run
from trk.tracker import hand_over, is_anyones

if TYPE_CHECKING:
    from trk.capture.autolog import CapturedAutolog

PARENT = "mlflow.parentRunId"
FLAVOR = "mlflow.autologging"  # which of MLflow's autologs has made a run
# What MLflow notes by itself of a run, which has its own words for it in trk.
_AUTOMATIC = frozenset((
    PARENT, "mlflow.log-model.history", "mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.type",
    "mlflow.source.git.commit", "mlflow.source.git.branch", "mlflow.source.git.repoURL", "mlflow.rootRunId",
))  # fmt: skip
DATASETS = "datasets.json"


class _Into:
    """Where a run of MLflow's goes: a run, and its number among those that go there."""

    def __init__(self, run: Run, scope: Scope, number: int, *, is_child: bool = False) -> None:
        self.run = run
        self.scope = scope
        self.number = number
        self.is_child = is_child
        self.inside = "" if number == 1 else f"run_{number}"  # the folder of its files
        self.folders: list[Folder] = []
        self.models: dict[str, int] = {}  # how many of a name
        self.params: set[tuple[str, str]] = set()
        self.model_params: set[tuple[str, str]] = set()  # of its models, which most often repeat the run's
        self.datasets: list[dict[str, Any]] = []
        self.told_datasets = 0

    def path(self, name: str) -> str:
        """A place inside the run."""
        return f"{self.inside}/{name}" if self.inside else name


class Mirror:
    """Takes the calls of a store, in any thread. Trouble is counted, and never an error of the program."""

    def __init__(self, capture: CapturedAutolog) -> None:
        self.is_over = False
        self._capture = capture
        self._turn = threading.RLock()
        self._scope = scope_of(capture.run.id)
        capture.renamed = self._scope.renamed
        self._into: dict[str, _Into] = {}  # by MLflow's id of the run
        self._models: dict[str, tuple[_Into, Folder]] = {}  # by MLflow's id of the model

    def take(self, name: str, given: dict[str, Any], done: Any) -> None:
        """Log what a call has changed."""
        try:
            getattr(self, f"_{name}")(given, done)
        except TrkError as error:
            self._capture.fail(error.message)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is looked at, training goes on
            self._capture.fail(f"{type(error).__name__}: {error}")

    def count(self, name: str) -> None:
        """Count a call that has no place in a run."""
        self._capture.skip(name)

    def late(self, name: str) -> None:
        """Count a call after the block."""
        self._capture.fail(f"{name} after the end of the block")

    def remote_ids(self) -> list[str]:
        """MLflow's ids of the runs of the block."""
        return [remote_id for remote_id in list(self._into) if remote_id]

    def fail(self, reason: str) -> None:
        """Count what could not be logged."""
        self._capture.fail(reason)

    def finish(self, status: str) -> None:
        """Log what has been written since, end the child runs that are open still, and take no more."""
        self.is_over = True
        for into in list(self._into.values()):
            self.take("files", {"into": into}, None)
            if apart := into.model_params - into.params:
                self._capture.skip("params of a model", len(apart))
            self.take("end", {"into": into}, SimpleNamespace(status=status, end_time=None))

    def _to(self, given: Mapping[str, Any]) -> _Into:
        into = self._into.get(given["run_id"])
        if into is None:
            raise NotFound(f"run {given['run_id']} of MLflow's was not begun here")
        return into

    def _create_run(self, given: dict[str, Any], done: Any) -> None:
        tags = {tag.key: tag.value for tag in given.get("tags") or ()}
        with self._turn:
            above = self._into.get(tags.get(PARENT, ""))
            into = self._child(above, done) if above is not None else None
            if into is None:
                into = self._beside()
            self._into[done.info.run_id] = into
            into.folders.append(Folder(into.run, _disk(done.info.artifact_uri), into.inside))
        self._tags(into, tags)

    def _child(self, above: _Into, done: Any) -> _Into | None:
        """A child run; None where there can be none: then its parent has what it logs."""
        if lifecycle.is_external(above.run.journal, above.run.id):
            self._capture.skip("child run of a run of another program")
            return None
        child = _child_run(above.run, str(done.info.run_name or ""), int(done.info.start_time))
        self._capture.children.append(child)
        return _Into(child, Scope(self._capture.renamed), 1, is_child=True)

    def _update_run_info(self, given: dict[str, Any], done: Any) -> None:
        into = self._to(given)
        if done.status not in STATUSES:
            return
        self._files({"into": into}, None)
        self._end({"into": into}, done)

    def _end(self, given: dict[str, Any], done: Any) -> None:
        into: _Into = given["into"]
        if into.is_child and into.run.status == "RUNNING":
            write.set_status(into.run.journal, into.run.id, done.status, done.end_time or write.now_ms())

    def _log_batch(self, given: dict[str, Any], done: Any) -> None:
        into = self._to(given)
        self._metrics(into, given.get("metrics") or ())
        self._params(into, {param.key: param.value for param in given.get("params") or ()})
        self._tags(into, {tag.key: tag.value for tag in given.get("tags") or ()})

    def _log_metric(self, given: dict[str, Any], done: Any) -> None:
        self._metrics(self._to(given), [given["metric"]])

    def _log_param(self, given: dict[str, Any], done: Any) -> None:
        self._params(self._to(given), {given["param"].key: given["param"].value})

    def _set_tag(self, given: dict[str, Any], done: Any) -> None:
        self._tags(self._to(given), {given["tag"].key: given["tag"].value})

    def _delete_tag(self, given: dict[str, Any], done: Any) -> None:
        into = self._to(given)
        if not given["key"].startswith("mlflow."):
            into.run.delete_tag(into.scope.tags.of(given["key"], into.number))

    def _metrics(self, into: _Into, metrics: Iterable[Any]) -> None:
        for (time_ms, step), same in groupby(metrics, key=lambda one: (int(one.timestamp), int(one.step))):
            line: dict[str, Any] = {}
            for one in same:
                name = into.scope.metrics.of(one.key, into.number)
                if name in line:
                    self._line(into, line, step, time_ms)
                    line = {}
                line[name] = one.value
            self._line(into, line, step, time_ms)

    def _line(self, into: _Into, line: dict[str, Any], step: int, time_ms: int) -> None:
        timestamp = time_ms if time_ms >= rules.SECONDS_BELOW else time_ms / 1000
        self._try(into.run.log_metrics, line, step=step, timestamp=timestamp)

    def _params(self, into: _Into, params: Mapping[str, Any]) -> None:
        into.params.update(params.items())
        texts = {key: naming.text(str(value)) for key, value in params.items()}
        named = {into.scope.params.of(key, into.number, value): value for key, value in texts.items()}
        if named:
            self._try(into.run.log_params, named, if_exists="suffix")

    def _tags(self, into: _Into, tags: Mapping[str, Any]) -> None:
        kept: dict[str, str] = {}
        for key, value in tags.items():
            text = naming.text(str(value))
            if key == FLAVOR:
                kept[into.scope.tags.of("autologging", into.number, text)] = text
            elif not key.startswith("mlflow."):
                kept[into.scope.tags.of(key, into.number, text)] = text
            elif key not in _AUTOMATIC:
                self._capture.skip(key)
        if kept:
            self._try(into.run.set_tags, kept)

    def _try(self, log: Any, values: dict[str, Any], **words: Any) -> None:
        """Log all of them, or each by itself, so that one that is refused takes no other along."""
        try:
            log(values, **words)
        except TrkError:
            for key, value in values.items():
                try:
                    log({key: value}, **words)
                except TrkError as error:
                    self._capture.fail(error.message)

    def _log_inputs(self, given: dict[str, Any], done: Any) -> None:
        into = self._to(given)
        for one in given.get("datasets") or ():
            data = one.dataset
            told = {
                "name": data.name, "digest": data.digest, "source_type": data.source_type, "source": data.source,
                "schema": data.schema, "profile": data.profile, "tags": {tag.key: tag.value for tag in one.tags},
            }  # fmt: skip
            if told not in into.datasets:
                into.datasets.append(told)
        if given.get("models"):
            self._capture.skip("models as inputs", len(given["models"]))

    def _create_logged_model(self, given: dict[str, Any], done: Any) -> None:
        with self._turn:
            into = self._into.get(done.source_run_id or "") or self._apart()
            count = into.models[done.name] = into.models.get(done.name, 0) + 1
            inside = into.path(done.name if count == 1 else f"{done.name}_{count}")
            folder = Folder(into.run, _disk(done.artifact_location), inside)
            into.folders.append(folder)
            self._models[done.model_id] = into, folder
        self._model_tags(given.get("tags") or ())
        into.model_params.update((one.key, one.value) for one in given.get("params") or ())

    def _apart(self) -> _Into:
        """Where a model goes that is no run's."""
        if "" not in self._into:
            self._into[""] = self._beside()
        return self._into[""]

    def _beside(self) -> _Into:
        """The next place in the run itself."""
        self._scope.number += 1
        return _Into(self._capture.run, self._scope, self._scope.number)

    def _finalize_logged_model(self, given: dict[str, Any], done: Any) -> None:
        _, folder = self._models[done.model_id]
        with self._turn:
            folder.log(self._capture.fail)

    def _set_logged_model_tags(self, given: dict[str, Any], done: Any) -> None:
        self._model_tags(given["tags"])

    def _log_logged_model_params(self, given: dict[str, Any], done: Any) -> None:
        self._models[given["model_id"]][0].model_params.update((one.key, one.value) for one in given["params"])

    def _model_tags(self, tags: Iterable[Any]) -> None:
        """Tags of a model, which has none in trk: a user's are told."""
        if theirs := sum(not tag.key.startswith("mlflow.") for tag in tags):
            self._capture.skip("tags of a model", theirs)

    def _files(self, given: dict[str, Any], done: Any) -> None:
        into: _Into = given["into"]
        with self._turn:
            for folder in into.folders:
                folder.log(self._capture.fail)
            if len(into.datasets) > into.told_datasets:
                into.told_datasets = len(into.datasets)
                self._try_dict(into)

    def _try_dict(self, into: _Into) -> None:
        try:
            into.run.log_dict(into.datasets, into.path(DATASETS))
        except TrkError as error:
            self._capture.fail(error.message)


def _disk(uri: str) -> str:
    from mlflow.utils.file_utils import local_file_uri_to_path

    return str(local_file_uri_to_path(uri))


def _child_run(parent: Run, name: str, start_ms: int) -> Run:
    """A run below another, that goes where that one goes."""
    known: Mapping[str, Any] = read.run_settings(parent.journal, parent.id) or {}
    in_thread = any(served.id == parent.id for served in owning.served_here())
    how = "daemon" if not parent.left_alone else "thread" if in_thread else "end"
    resolved = config.resolve(parent.folder, delivery=how)
    run_id = new_run_id()
    fields = {
        "name": naming.title(name, f"run-{run_id[-6:]}"),
        "experiment": known["experiment"],
        "start_time": start_ms,
        "parent_id": parent.id,
        "description": None,
        "key_prefix": known["key_prefix"],
        "step_metric": known["step_metric"],
        "keyless": is_anyones(resolved),
        "owner": owners.of_process(),
    }
    targets = {backend: config.as_text(target) for backend, target in read.targets(parent.journal, parent.id).items()}
    write.create_run(parent.journal, run_id, fields, targets, {}, {})
    child = Run(parent.journal, parent.folder, run_id, key_prefix=known["key_prefix"], owned=True)
    hand_over(child, resolved, goes_on=True)
    owning.take_along(child)
    return child
