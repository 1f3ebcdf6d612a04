"""Runs that trk did not make: what has to be known of one before it is attached to, deleted or restored."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from trk import backends
from trk.backends import bounded
from trk.backends.base import DeletingBackend
from trk.errors import BackendError, ConfigurationError, SourceUnavailable, TrkError
from trk.journal import lifecycle
from trk.journal.db import Journal
from trk.records import Status


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run as the backend has it, by the backend's own id.

    `last` is the last point of each metric: (step, milliseconds since 1970, value); `tags` are those that people set.
    `start_ms` and `end_ms` are in milliseconds since 1970; 0 and None when they are not known.
    """

    remote_id: str
    name: str
    experiment: str
    start_ms: int
    status: Status
    deleted: bool
    url: str | None = None
    last: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)
    end_ms: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()  # why logging into it may go wrong

    @property
    def state(self) -> dict[str, Any]:
        """How it stands with its owner, as columns of the journal."""
        return {"status": str(self.status), "end_time": self.end_ms}

    @property
    def owned(self) -> lifecycle.Owned:
        """What its owner logged, as far as the journal keeps it."""
        return lifecycle.Owned(self.last, self.params, self.tags)


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


def catch_up(journal: Journal, run_ids: Collection[str], deadline: float) -> None:
    """Take over how the owners of attached runs have them now: whether they have ended, and what is in them.

    Asked is, once for each run and until `deadline` (by time.monotonic), a backend to which everything was delivered
    that was logged here: it has just answered. One that does not answer changes nothing, and is nobody's error.
    """
    silent = set()
    for run_id in run_ids:
        for name, target, remote_id in lifecycle.settled(journal, run_id):
            if (name, target) not in silent and deadline > time.monotonic():
                try:
                    there = looked_up(name, json.loads(target), remote_id, deadline)
                except TrkError:
                    silent.add((name, target))
                    continue
                if there is not None and not there.deleted:
                    lifecycle.caught_up(journal, run_id, there.state, there.owned)


def looked_up(name: str, target: Mapping[str, Any], remote_id: str, deadline: float) -> ForeignRun | None:
    """A run as its backend has it, None when there is none; asked until `deadline`, by time.monotonic.

    Raises SourceUnavailable, ConfigurationError, BackendError.
    """
    place = attachable(name, target)
    return bounded.answer(name, deadline, lambda: place.foreign(remote_id))


def _made(name: str, target: Mapping[str, Any]) -> Any:
    try:
        return backends.make(name, target)
    except BackendError as error:
        hint = error.hint.removesuffix(", then trk sync") if error.hint else None
        raise SourceUnavailable(error.message, hint=hint) from error
