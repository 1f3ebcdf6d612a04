"""MLflow's settings in this process, turned to a place of our own for a while, and put back."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trk import settings
from trk.addresses import CAPTURED
from trk.backends._mlflow_store import _building, quiet
from trk.capture.autolog import store
from trk.capture.autolog.mirror import Mirror
from trk.errors import Conflict, SourceUnavailable

VARIABLES = (
    "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID",
    "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID",
)  # fmt: skip
# Of those, what would have MLflow look in our store for what is elsewhere.
_ELSEWHERE = ("MLFLOW_RUN_ID", "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID")

_one = threading.Lock()  # what is turned is the whole process's
_empty: list[bytes] = []  # a database of MLflow with nothing in it: its tables take a second to make


class Place:
    """A store in a temporary folder, and MLflow's settings turned to it."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._undo = ExitStack()
        self._folder = ""
        self._uri = ""
        self._store: Any = None

    def enter(self) -> None:
        """Turn MLflow there. Raises SourceUnavailable, and Conflict when a run of MLflow is active."""
        if find_spec("mlflow") is None or find_spec("sqlalchemy") is None:
            raise SourceUnavailable("mlflow is not installed here", hint="pip install 'trk-ml[mlflow]'")
        if not _one.acquire(blocking=False):
            raise Conflict("a capture of autolog is on in this process", hint="leave its block first")
        with ExitStack() as undo:
            undo.callback(_one.release)
            _check_no_run()
            self._folder = tempfile.mkdtemp(prefix="trk-autolog-")
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._uri = f"{CAPTURED}:///{Path(self._folder).name}"
            try:
                self._make(undo)
                self._turn(undo)
            except Exception as error:  # a full disk, or parts of MLflow's own that are others in its version
                reason = (str(error).splitlines() or [""])[0]
                raise SourceUnavailable(
                    f"mlflow {_version()} can't be captured: {type(error).__name__}: {reason}"
                ) from error
            self._undo = undo.pop_all()

    def leave(self, status: str) -> None:
        """Log what is left, end what runs there, and put all back."""
        with self._undo:
            from mlflow.tracking._tracking_service import utils

            try:
                self._end_runs(status)
            except Exception as error:  # noqa: BLE001 - whatever MLflow raises there, it is no error of the program
                self._mirror.fail(f"{type(error).__name__}: {error}")
            finally:
                self._mirror.finish(status)
            if utils._tracking_uri != self._uri:  # by a way around the function
                self._mirror.count("set_tracking_uri")

    def _make(self, undo: ExitStack) -> None:
        """The stores, under a scheme of their own: who hands the address on to another process is refused there."""
        # Alembic, which makes MLflow's tables, has one database in hand for the whole process.
        with _building, quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as below, and so do its migrations
            from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Models
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Runs
            from mlflow.tracking._model_registry.utils import _get_store_registry
            from mlflow.tracking._tracking_service.utils import _tracking_store_registry

            address = self._database(Models)
            registered = store.models(Models, self._mirror)(address)
            undo.callback(store.close, registered)
            self._store = store.runs(Runs, self._mirror)(address, Path(self._folder, "artifacts").as_uri())
            undo.callback(store.close, self._store)
        for registry, made in ((_tracking_store_registry, self._store), (_get_store_registry(), registered)):
            registry.register(CAPTURED, _giving(made))
            undo.callback(registry._registry.pop, CAPTURED, None)

    def _database(self, models: Any) -> str:
        """The address of a file with MLflow's tables and nothing in them, which are made once in a process."""
        if not _empty:
            file = Path(self._folder, "empty.db")
            store.close(models(f"sqlite:///{file}"))
            _empty.append(file.read_bytes())
        file = Path(self._folder, "mlflow.db")
        file.write_bytes(_empty[0])
        return f"sqlite:///{file}"

    def _turn(self, undo: ExitStack) -> None:
        import mlflow
        from mlflow.tracking import fluent
        from mlflow.tracking._model_registry import utils as models
        from mlflow.tracking._tracking_service import utils as runs

        undo.enter_context(settings.kept(VARIABLES, without=_ELSEWHERE))
        for name in ("_last_active_run_id", "_last_logged_model_id", "_ACTIVE_MODEL_CONTEXT"):
            kept = getattr(fluent, name, None)
            if kept is not None:
                undo.callback(kept.set, kept.get())
                kept.set(kept.default_factory())
        for module, name, value in (
            (runs, "_tracking_uri", self._uri),
            (models, "_registry_uri", self._uri),
            (fluent, "_active_experiment_id", self._store.get_experiment("0").experiment_id),
        ):
            undo.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        _turn_traces(undo)
        for function in (mlflow.set_tracking_uri, mlflow.set_registry_uri):
            self._stop(function, undo)

    def _stop(self, function: Callable[..., Any], undo: ExitStack) -> None:
        """Wherever the function is known by its name, another is that does nothing."""
        name = function.__name__

        def not_followed(uri: Any) -> None:
            self._mirror.count(name)

        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get(name) is function:
                undo.callback(setattr, module, name, function)
                setattr(module, name, not_followed)

    def _end_runs(self, status: str) -> None:
        """End what is active still, in this thread as MLflow does it, in others without their help."""
        import mlflow
        from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
        from mlflow.tracking.fluent import _active_run_stack

        try:
            while mlflow.active_run() is not None:
                mlflow.end_run(status)
        finally:
            ours = set(self._mirror.remote_ids())
            for stack in _active_run_stack.get_all_thread_values().values():
                stack[:] = [run for run in stack if run.info.run_id not in ours]
            _flush_traces()
            self._store.shut_down_async_logging()
            for remote_id in ours:
                if (repository := _artifact_repos_cache.pop(remote_id, None)) is not None:
                    repository.flush_async_logging()


def _turn_traces(undo: ExitStack) -> None:
    """Have MLflow's traces begin anew: they go where the address was when the first one began."""
    from mlflow.environment_variables import MLFLOW_USE_DEFAULT_TRACER_PROVIDER
    from mlflow.tracing.provider import provider
    from opentelemetry.trace import NoOpTracerProvider

    # One that other programs share, or that is turned off, stays.
    if not MLFLOW_USE_DEFAULT_TRACER_PROVIDER.get() or isinstance(provider.get(), NoOpTracerProvider):
        return
    _flush_traces()
    is_made = provider.once._done
    before = provider._isolated_tracer_provider
    provider._isolated_tracer_provider = None

    def turn_back() -> None:
        provider.reset()
        provider._isolated_tracer_provider = before
        provider.once._done = is_made

    undo.callback(turn_back)
    provider.once._done = False


def _flush_traces() -> None:
    """Wait for traces that are on their way."""
    from mlflow import flush_trace_async_logging
    from mlflow.tracing.provider import provider

    if provider.once._done:
        flush_trace_async_logging()


def _giving(made: Any) -> Callable[..., Any]:
    def give(store_uri: str | None = None, artifact_uri: str | None = None, tracking_uri: str | None = None) -> Any:
        return made

    return give


def _version() -> str:
    return str(getattr(sys.modules.get("mlflow"), "__version__", ""))


def _check_no_run() -> None:
    """Raise Conflict when a thread is in a run of MLflow's: it would look for it in our store."""
    with settings.overridden(MLFLOW_DISABLE_TELEMETRY="true"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of others
        from mlflow.tracking.fluent import _active_run_stack
    stacks = _active_run_stack.get_all_thread_values()
    if any(stacks.get(thread.ident) for thread in threading.enumerate()):
        raise Conflict(
            "a run of MLflow is active in this process",
            hint='mlflow.end_run() before, or log into it: trk.attach(active="mlflow")',
        )
