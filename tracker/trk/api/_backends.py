"""Beginning and ending a tracker's runs: its own, and those that are active in this process by other means."""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING, Any

from trk import active, backends, config, owners, session
from trk.api import _writing
from trk.api._arguments import InitArguments, is_off, sorted_out
from trk.backends import _wandb_own as own
from trk.backends import _wandb_sdk, _wandb_server, bounded
from trk.backends.active import has_ended
from trk.errors import BackendUnavailable, SourceUnavailable, TrkError
from trk.journal import lifecycle, read
from trk.owning import adopt
from trk.run import Run
from trk.tracker import create, hand_over

if TYPE_CHECKING:
    from trk.api.experiment_tracker import ExperimentTracker

PREPARE_S = 10.0  # a server that takes longer is one that does not answer now


# ---- preparing


def prepare(tracker: ExperimentTracker) -> None:
    """See that what the tracker needs is there. Raises ImportError, TrkError."""
    if _is_own_wandb(tracker):
        _prepare_wandb(tracker)
    if tracker.use_mlflow:
        _need("mlflow", {"tracking_uri": ""})
        if tracker.mlflow_tracking_uri:
            import mlflow

            mlflow.set_tracking_uri(tracker.mlflow_tracking_uri)
        if tracker.mlflow_experiment_name and not _is_in_mlflow(tracker):
            _prepare_mlflow(tracker)


def _prepare_wandb(tracker: ExperimentTracker) -> None:
    _need("wandb", {})
    arguments = sorted_out(tracker.wandb_init_kwargs, tracker.wandb_api_key)
    resolved = _resolved(tracker, ["wandb"], arguments)
    target = config.target("wandb", resolved)
    if "wandb" not in (resolved.get("backends") or ()) or target.get("mode") == "offline":
        return
    if arguments.api_key:
        own.set_key(target, arguments.api_key)
    _wandb_sdk.module()  # its import is not the server's time
    try:
        bounded.answer("W&B", time.monotonic() + PREPARE_S, lambda: _wandb_server.check_login(target))
    except (BackendUnavailable, SourceUnavailable):
        return  # it waits in the journal


def _prepare_mlflow(tracker: ExperimentTracker) -> None:
    from trk.backends.mlflow import MlflowBackend

    resolved = _resolved(tracker, ["mlflow"], InitArguments())
    target = config.target("mlflow", resolved)
    _need("mlflow", target)
    importlib.import_module("mlflow")  # its import is not the server's time
    backend = MlflowBackend(target)
    name = str(tracker.mlflow_experiment_name)
    try:
        bounded.answer("MLflow", time.monotonic() + PREPARE_S, lambda: backend.prepare(name))
    except (BackendUnavailable, SourceUnavailable):
        return


def _need(name: str, target: dict[str, Any]) -> None:
    if (missing := backends.load(name).missing(target)) is not None:
        other = {"wandb": "use_wandb=False", "mlflow": "use_mlflow=False"}[name]
        raise ImportError(f"{name} is not installed: pip install '{missing}', or {other}")


# ---- beginning


def begin(tracker: ExperimentTracker, begun: list[Run], failed: _writing.Failed) -> None:
    """Begin the runs that a tracker logs into, each put into `begun` when it is. Raises ImportError, TrkError."""
    places: list[str] = []
    if tracker.use_mlflow:
        _need("mlflow", {"tracking_uri": ""})
        if _is_in_mlflow(tracker):
            begun.append(_joined(tracker, "mlflow", failed))
        else:
            places.append("mlflow")
    if tracker.use_wandb and tracker.wandb_attach_existing:
        _need("wandb", {})
        begun.append(_joined(tracker, "wandb", failed))
    elif _is_own_wandb(tracker):
        _need("wandb", {})
        places.append("wandb")
    if places:
        begun.append(_started(tracker, places, failed))


def _is_own_wandb(tracker: ExperimentTracker) -> bool:
    return tracker.use_wandb and not tracker.wandb_attach_existing and not is_off(tracker.wandb_init_kwargs)


def _is_in_mlflow(tracker: ExperimentTracker) -> bool:
    """Whether the tracker logs into a run that MLflow has active: it is to, or there is one."""
    return tracker.mlflow_attach_existing or active.mlflow_run_id() is not None


def _joined(tracker: ExperimentTracker, place: str, failed: _writing.Failed) -> Run:
    return active.attach(
        place,
        key_prefix=tracker.key_prefix,
        step_metric=tracker.wandb_step_metric,
        timeout=PREPARE_S,
        warn=lambda text: failed(None, text),
    )


def _resolved(tracker: ExperimentTracker, places: list[str], arguments: InitArguments) -> config.Settings:
    return config.resolve(session.find_folder(), **_given(tracker, places, arguments))


def _given(tracker: ExperimentTracker, places: list[str], arguments: InitArguments) -> dict[str, Any]:
    """The settings of trk that the tracker's arguments are."""
    experiment = tracker.mlflow_experiment_name
    if experiment is None and "mlflow" not in places:
        experiment = arguments.given.get("wandb_project")
    return {
        "experiment": experiment,
        "backends": places,
        "key_prefix": tracker.key_prefix,
        "step_metric": tracker.wandb_step_metric,
        "mlflow_uri": tracker.mlflow_tracking_uri or active.mlflow_uri(),
        **arguments.given,
    }


def _started(tracker: ExperimentTracker, places: list[str], failed: _writing.Failed) -> Run:
    """A run of the tracker's own, which a thread of this process delivers."""
    arguments = InitArguments()
    if "wandb" in places:
        arguments = sorted_out(tracker.wandb_init_kwargs, tracker.wandb_api_key)
    for name in arguments.unused:
        failed(name, f"wandb_init_kwargs[{name!r}] is not used: a run of trk has an id of its own")
    given = _given(tracker, places, arguments)
    # Nobody delivers it before this process knows what to deliver it with.
    made = create(
        arguments.name, given | {"delivery": "end"}, tags=None, params=None, description=arguments.notes, nested=False,
        parent=None, capture=(), command=sys.orig_argv, owner=owners.of_process(), shell_session=False, replace=False,
        places={"wandb": arguments.place},
    )  # fmt: skip
    run = made.run
    for warning in made.settings.warnings:
        failed(None, warning)
    _keep_own(run, arguments, failed)
    hand_over(run, config.resolve(run.folder, **given, delivery="thread"), goes_on=True)
    adopt(run)
    return run


def _keep_own(run: Run, arguments: InitArguments, failed: _writing.Failed) -> None:
    """What `wandb.init` is to be called with: in the run, or in this process alone."""
    target = read.targets(run.journal, run.id).get("wandb")
    if target is None:
        return
    if arguments.api_key:
        own.set_key(target, arguments.api_key)
    own.set_arguments(run.id, arguments.rest)
    for tag in arguments.tags:
        try:
            run.set_tag(tag, "")
        except TrkError as error:
            failed(tag, error.message)
    _writing.config(run, arguments.config, failed, prefix="")


# ---- ending


def is_open(run: Run) -> bool:
    """Whether a run can be logged into still."""
    if isinstance(run, active.ActiveRun):
        return active.wandb_run() is not None and not has_ended(active.wandb_run())
    return lifecycle.is_open(run.journal, run.id)


def end(run: Run, status: str, seconds: float) -> None:
    """End a run, and deliver it for so long; one that was attached to is only delivered."""
    if not lifecycle.is_open(run.journal, run.id):
        return  # others have ended it
    own_end = "FINISHED" if lifecycle.is_external(run.journal, run.id) else status
    run.end(own_end, wait=seconds > 0, timeout=seconds)
    run.waited = True
