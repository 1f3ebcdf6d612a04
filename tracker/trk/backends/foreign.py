"""Runs that trk did not make: what has to be known of one before it is attached to, deleted or restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from trk import backends
from trk.backends.base import DeletingBackend
from trk.errors import BackendError, ConfigurationError, SourceUnavailable
from trk.records import Status


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run as the backend has it, by the backend's own id.

    `last` is the last point of each metric: (step, milliseconds since 1970, value). `start_ms` is in milliseconds
    since 1970, 0 when it is not known.
    """

    remote_id: str
    name: str
    experiment: str
    start_ms: int
    status: Status
    deleted: bool
    url: str | None = None
    last: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)


@runtime_checkable
class AttachableBackend(Protocol):
    """A backend into whose runs several programs may log at once."""

    name: str

    def foreign(self, run_id: str) -> ForeignRun | None:
        """A run by the backend's own id, deleted or not; None when there is none. Raises BackendError."""
        ...


def attachable(name: str, target: Mapping[str, Any]) -> AttachableBackend:
    """The backend, to ask for a run. Raises SourceUnavailable when it can't be had, ConfigurationError."""
    made = _made(name, target)
    if not isinstance(made, AttachableBackend):
        raise ConfigurationError(f"runs of {name} can't be attached to", hint="trk start, and log into that")
    return made


def deleting(name: str, target: Mapping[str, Any]) -> DeletingBackend:
    """The backend, to delete a run. Raises SourceUnavailable when it can't be had, ConfigurationError."""
    made = _made(name, target)
    if not isinstance(made, DeletingBackend):
        raise ConfigurationError(f"trk can't delete runs of {name}", hint=f"delete it with {name}'s own means")
    return made


def _made(name: str, target: Mapping[str, Any]) -> Any:
    try:
        return backends.make(name, target)
    except BackendError as error:
        hint = error.hint.removesuffix(", then trk sync") if error.hint else None
        raise SourceUnavailable(error.message, hint=hint) from error
