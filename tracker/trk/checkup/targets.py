"""The settings, the backends that they name, and what these do not have yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module, metadata
from typing import Any

from trk import backends, config
from trk.addresses import without_userinfo
from trk.checkup.here import Finding, Here
from trk.checkup.machine import DISTRIBUTION
from trk.journal import health
from trk.media.table_cells import count

# The modules whose `probe(target, timeout)` says in words what was found at a target, or raises a BackendError. What
# a backend's own code does on opening a run would make what is missing.
PROBES = {"mlflow": "trk.backends._mlflow_probe"}
TRUST = "trk config trust"


def backend_checks(here: Here) -> list[tuple[str, Callable[[Here], Iterator[Finding]]]]:
    """A check for each backend that is configured."""
    names = here.settings.get("backends") if here.settings is not None else ()
    return [(f"backend {name}", partial(backend, name)) for name in names or ()]


def settings_files(here: Here) -> Iterator[Finding]:
    """Whether the settings can be read, and what in them is not used."""
    if here.settings is None:
        assert here.trouble is not None
        raise here.trouble
    chosen = here.settings.values["backends"]
    yield "ok", f"backends: {', '.join(chosen.value) or 'the journal alone'} ({chosen.origin})", None
    for warning in here.settings.warnings:
        yield "warn", warning, TRUST if TRUST in warning else None
    address = here.settings.values.get("mlflow_uri")
    if (
        address is not None
        and not address.origin.startswith("environment")
        and without_userinfo(address.value) != address.value
    ):
        yield (
            "warn",
            f"user and password in {address.origin} are not used: they count from the environment alone",
            "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…",
        )


def backend(name: str, here: Here) -> Iterator[Finding]:
    """Whether a backend's package is there, and whether its target answers. Raises BackendError."""
    assert here.settings is not None
    target = config.target(name, here.settings)
    missing = backends.load(name).missing(target)
    if missing is not None:
        yield "fail", f"{_place(target)}: {name} is not installed here", f"pip install '{missing}'"
        return
    installed, wanted = _versions(name)
    if installed and wanted and _numbers(installed) < _numbers(wanted):
        yield (
            "warn",
            f"{name} {installed} is installed; trk is tried with {wanted} and newer",
            f"pip install --upgrade '{name}>={wanted}'",
        )
    with_version = f" ({name} {installed} here)" if installed else ""
    if name not in PROBES:
        yield "ok", f"{_place(target)}{with_version}", None
        return
    found = import_module(PROBES[name]).probe(target, here.left * 0.9)
    yield "ok", f"{found}{with_version}", None


def _place(target: dict[str, Any]) -> str:
    """A target for people: its address, or whatever it says."""
    where = target.get("tracking_uri") or ", ".join(f"{key} {value}" for key, value in target.items())
    return str(where or "as its own settings say")


def _versions(name: str) -> tuple[str | None, str | None]:
    """(installed version, least version that trk asks for) of a backend's package."""
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None, None
    try:
        wanted = [re.match(rf"{re.escape(name)}>=([\w.]+)", line) for line in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        wanted = []
    return installed, next((found[1] for found in wanted if found), None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def delivery(here: Here) -> Iterator[Finding]:
    """What the backends do not have, over all runs."""
    if here.journal is None:
        yield "skip", "there is no journal yet", None
        return
    with health.read_only(here.journal) as opened:
        backlogs = health.backlogs(opened)
    if not backlogs:
        yield "ok", "no run goes to a backend", None
    for backlog in backlogs:
        yield from _backlog(backlog)


def _backlog(backlog: health.Backlog) -> Iterator[Finding]:
    name = backlog.backend
    if backlog.ended or backlog.unopened:
        why = f" (last: {backlog.last_error})" if backlog.last_error else ""
        theirs = f", {backlog.theirs} of them of other programs' runs" if backlog.theirs else ""
        yield (
            "warn",
            f"{name} does not have {count(backlog.ended, 'row')} of ended runs{theirs}{why}",
            f"trk sync --to {name}",
        )
    elif backlog.pending:
        come = "comes" if backlog.pending == 1 else "come"
        yield (
            "ok",
            f"{name} has everything of ended runs; {count(backlog.pending, 'row')} of open runs {come} when they end",
            None,
        )
    else:
        yield "ok", f"{name} has everything that it takes", None
    if backlog.rejected:
        yield (
            "warn",
            f"{name} rejected {count(backlog.rejected, 'row')} of {count(backlog.rejected_runs, 'run')}",
            f"trk status --run {backlog.rejected_run_id}",
        )
