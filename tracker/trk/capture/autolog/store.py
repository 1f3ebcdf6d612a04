"""MLflow's stores of runs and of registered models, which tell of each call that changes them."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

# What is followed call by call; of all else that changes something, it is counted that it was called.
TAKEN = frozenset((
    "create_logged_model", "create_run", "delete_tag", "finalize_logged_model", "log_batch", "log_inputs", "log_metric",
    "log_logged_model_params", "log_param", "set_logged_model_tags", "set_tag", "update_run_info",
))  # fmt: skip
# These end in one of those, or say what the run has anyway.
_QUIET = frozenset((
    "log_batch_async", "log_metric_async", "log_outputs", "log_param_async", "record_logged_model", "set_tag_async",
))  # fmt: skip
_CHANGING = (
    "add_", "archive_", "create_", "delete_", "link_", "log_", "register_", "remove_", "rename_", "restore_", "set_",
    "start_", "transition_", "unlink_", "update_", "upsert_",
)  # fmt: skip
OVER = "the block of trk.capture_autolog is over: {name} came after it"


class Told(Protocol):
    """Who is told of the calls."""

    is_over: bool

    def take(self, name: str, given: dict[str, Any], done: Any) -> None:
        """A call that is followed, with its arguments and what it returned."""

    def count(self, name: str) -> None:
        """A call that has no place in a run."""

    def late(self, name: str) -> None:
        """A call after the end."""


def runs(kind: type, told: Told) -> type:
    """A class of stores of runs that tell."""
    return _telling(kind, told, TAKEN)


def models(kind: type, told: Told) -> type:
    """A class of stores of registered models that tell."""
    return _telling(kind, told, ())


def _telling(kind: type, told: Told, taken: Iterable[str]) -> type:
    inside = threading.local()  # a call of the store's to itself is none of its program's
    names = (name for name in dir(kind) if name.startswith(_CHANGING) and name not in _QUIET)
    methods = {name: _method(name, getattr(kind, name), told, name in taken, inside) for name in names}
    return type(kind.__name__, (kind,), methods)


def _method(name: str, method: Callable[..., Any], told: Told, is_taken: bool, inside: threading.local) -> Any:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def called(self: Any, *args: Any, **words: Any) -> Any:
        if getattr(inside, "on", False):
            return method(self, *args, **words)
        if told.is_over:
            from mlflow.exceptions import MlflowException

            told.late(name)
            raise MlflowException(OVER.format(name=name))
        inside.on = True
        try:
            done = method(self, *args, **words)
        finally:
            inside.on = False
        if is_taken:
            told.take(name, dict(signature.bind(self, *args, **words).arguments), done)
        else:
            told.count(name)
        return done

    return called


def close(store: Any) -> None:
    """Let go of a store's file."""
    store.engine.dispose()
    getattr(store, "_engine_map", {}).pop(store.db_uri, None)
