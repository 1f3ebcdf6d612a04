"""Places to deliver to. Built-in and third-party backends enter by the entry-point group `trk.backends.v1`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from trk.backends import active
from trk.backends.base import Backend
from trk.errors import BackendNeedsUser, ConfigurationError

GROUP = "trk.backends.v1"


def names() -> list[str]:
    """The names of the installed backends, whether or not their SDK is there."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def check_known(name: str) -> str:
    """The name, if such a backend is installed. Raises ConfigurationError that lists those that are."""
    known = names()
    if name not in known:
        raise ConfigurationError(f"unknown backend {name!r}", hint=f"known here: {', '.join(known) or 'none'}")
    return name


def load(name: str) -> type[Backend]:
    """The class of a backend. Raises BackendNeedsUser when there is none of that name or it can't be imported."""
    for point in entry_points(group=GROUP, name=name):
        try:
            loaded: type[Backend] = point.load()
        except Exception as error:  # a plugin's module may raise anything
            raise BackendNeedsUser(f"backend {name} ({point.value}) can't be loaded: {error}") from error
        return loaded
    raise BackendNeedsUser(f"no backend {name!r} is installed here")


def make(name: str, target: Mapping[str, Any]) -> Backend:
    """A backend for a target. Raises BackendNeedsUser when its package is missing."""
    if active.is_meant(target):
        return active.ActiveWandb(target)
    backend = load(name)
    requirement = backend.missing(target)
    if requirement is not None:
        raise BackendNeedsUser(f"{name} is not installed here", hint=f"pip install '{requirement}', then trk sync")
    return backend(target)
