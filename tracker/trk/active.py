"""Runs that are active in this process by MLflow's or W&B's own means: logging into them beside their program.

A run of MLflow is attached to by its id: any process can deliver into it. Into a run of W&B only this process can log,
so what is logged is handed to its SDK before the call returns; the journal has it too.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from trk import addresses, attaching, config, rules, session
from trk.backends import active as hosts
from trk.delivery.lane import Lane
from trk.errors import NoActiveRun, UsageError
from trk.ids import new_run_id
from trk.journal import cursors, lifecycle
from trk.journal.lifecycle import Owned
from trk.journal.write import now_ms
from trk.run import Run
from trk.tracker import hand_over

PLACES = ("mlflow", "wandb")


def _imported(name: str) -> Any:
    """A module that this process has imported: who has not is in no run of it. None also while a thread imports it."""
    module = sys.modules.get(name)
    # CPython's own mark of what has a name already and nothing in it yet.
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def mlflow_run_id() -> str | None:
    """The id of the run that this thread is in by MLflow's own means; None when there is none, or it is captured."""
    mlflow = _imported("mlflow")
    if _is_captured(mlflow):
        return None
    run = mlflow.active_run() if mlflow is not None else None
    return None if run is None else str(run.info.run_id)


def mlflow_uri() -> str | None:
    """The tracking URI that the program has told MLflow; None when it told none."""
    mlflow = _imported("mlflow")
    if mlflow is None or not mlflow.is_tracking_uri_set() or _is_captured(mlflow):
        return None
    return str(mlflow.get_tracking_uri())


def _is_captured(mlflow: Any) -> bool:
    """Whether MLflow logs, for a while, where `trk.capture_autolog` takes it from."""
    return mlflow is not None and str(mlflow.get_tracking_uri()).startswith(f"{addresses.CAPTURED}:")


def wandb_run() -> Any:
    """The SDK's run that is active in this process; None when there is none."""
    wandb = _imported("wandb")
    run = getattr(wandb, "run", None)
    return None if run is None or hosts.has_ended(run) else run


def attach(
    place: str,
    *,
    key_prefix: str | None = None,
    step_metric: str | None = None,
    timeout: float = attaching.DEFAULT_TIMEOUT_S,
    warn: attaching.Warn = attaching._warn,
) -> Run:
    """The run that is active in this process at a place (`mlflow`, `wandb`), to log into; it is left open.

    Raises NoActiveRun when there is none, UsageError for another place, and what `trk.attach` raises.
    """
    if place not in PLACES:
        raise UsageError(f"active must be mlflow or wandb, not {rules.shown(place)}")
    if place == "wandb":
        return _attach_wandb(key_prefix, step_metric)
    remote_id = mlflow_run_id()
    if remote_id is None:
        raise NoActiveRun("no run of MLflow is active in this thread", hint="mlflow.start_run() before")
    resolved = config.resolve(
        session.find_folder(),
        mlflow_uri=mlflow_uri(), key_prefix=key_prefix, step_metric=step_metric, delivery="thread",
    )  # fmt: skip
    joined = attaching.join_foreign([f"mlflow:{remote_id}"], resolved, timeout=timeout, warn=warn).run
    run = Run(joined.journal, joined.folder, joined.id, key_prefix=key_prefix)
    hand_over(run, resolved, goes_on=True)
    return run


def _attach_wandb(key_prefix: str | None, step_metric: str | None) -> Run:
    host = wandb_run()
    if host is None:
        raise NoActiveRun("no run of W&B is active in this process", hint="wandb.init() before")
    resolved = config.resolve(session.find_folder(), key_prefix=key_prefix, step_metric=step_metric)
    folder, _ = session.make_folder()
    journal = session.open_journal(folder)
    handle = f"wandb:{hosts.path_of(host)}"
    fields = {
        "name": attaching._title(str(host.name or host.id), handle),
        "experiment": attaching._title(str(host.project or ""), config.DEFAULT_EXPERIMENT),
        "start_time": now_ms(),
        "status": "RUNNING",
        "key_prefix": resolved.get("key_prefix") or "",
        "step_metric": resolved.get("step_metric"),
        "keyless": False,
    }
    target = config.as_text(hosts.target_of(host))
    delivery = ("wandb", target, hosts.path_of(host), hosts.url_of(host))
    run_id = lifecycle.attach(journal, new_run_id(), fields, [delivery], Owned({}, {}, {}))
    return ActiveRun(Run(journal, folder, run_id, key_prefix=key_prefix), target)


class ActiveRun(Run):
    """A run of W&B that is active in this process. What a call logs is with its SDK when the call returns."""

    def __init__(self, run: Run, target: str) -> None:
        super().__init__(run.journal, run.folder, run.id, key_prefix=run._prefix)
        self._lane = Lane(run.journal, "wandb", target, threading.Event())
        self._turn = threading.Lock()
        self._process = os.getpid()

    def hand_over(self) -> None:
        """Hand what is logged to the SDK. Its trouble is kept with the run, and nobody's error here."""
        if self._process != os.getpid():
            return  # in a forked child the lock may be held for ever; the SDK's run is its parent's
        with self._turn:
            if waiting := cursors.pending(self.journal, [self.id], ["wandb"]):
                self._lane.deliver(waiting)

    def end(self, *args: Any, **words: Any) -> Any:
        """Deliver, and leave the run to its program."""
        self.hand_over()
        return super().end(*args, **words)


_LOGGING = (
    "define_metric", "delete_tag", "log_artifact", "log_dict", "log_figure", "log_html", "log_image", "log_lines",
    "log_metric", "log_metrics", "log_params", "log_summary", "log_table", "log_text", "set_tags",
)  # fmt: skip


def _handing(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def logged(self: ActiveRun, *args: Any, **words: Any) -> Any:
        done = call(self, *args, **words)
        self.hand_over()
        return done

    return logged


for _name in _LOGGING:
    setattr(ActiveRun, _name, _handing(getattr(Run, _name)))
