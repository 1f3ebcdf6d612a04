"""Places to deliver to. Built-in and third-party backends enter by the entry-point group `trk.backends.v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trk.backends.base import Backend, is_active
from trk.errors import BackendNeedsUser, ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP = "trk.backends.v1"


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import: a question to the journal needs no backend

    return entry_points(group=GROUP)


def names() -> list[str]:
    """The names of the installed backends, whether or not their SDK is there."""
    return sorted({point.name for point in _entry_points()})


def check_known(name: str) -> str:
    """The name, if such a backend is installed. Raises ConfigurationError that lists those that are."""
    known = names()
    if name not in known:
        raise ConfigurationError(f"unknown backend {name!r}", hint=f"known here: {', '.join(known) or 'none'}")
    return name


def load(name: str) -> type[Backend]:
    """The class of a backend. Raises BackendNeedsUser when there is none of that name or it can't be imported."""
    for point in _entry_points().select(name=name):
        try:
            loaded: type[Backend] = point.load()
        except Exception as error:  # a plugin's module may raise anything
            raise BackendNeedsUser(f"backend {name} ({point.value}) can't be loaded: {error}") from error
        return loaded
    raise BackendNeedsUser(f"no backend {name!r} is installed here")


def make(name: str, target: Mapping[str, Any]) -> Backend:
    """A backend for a target. Raises BackendNeedsUser when its package is missing."""
    if is_active(target):
        from trk.backends import active

        return active.ActiveWandb(target)
    backend = load(name)
    requirement = backend.missing(target)
    if requirement is not None:
        raise BackendNeedsUser(f"{name} is not installed here", hint=f"pip install '{requirement}', then trk sync")
    return backend(target)
