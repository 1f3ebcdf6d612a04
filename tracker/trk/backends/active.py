"""Delivery into a W&B run that is active in this process: what is logged is handed to the host's own SDK run.

Only this process can do that. To any other one such a run is out of reach: while the program lives it delivers
itself; when it has ended, what it had not handed over stays in the journal alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trk import owners
from trk.backends import _wandb_write as write
from trk.backends._wandb_run import STEP, WandbRun
from trk.backends.base import Limits
from trk.errors import BackendNeedsUser, BackendRefused, BackendRunGone
from trk.ids import new_run_id
from trk.records import Kind, RemoteRun, Row, RunSpec

ORDINAL = "trk/n"  # of a line of the history, among trk's own

_hosts: dict[str, tuple[int, Any]] = {}  # by token: the process, and the SDK's run


def target_of(host: Any) -> dict[str, Any]:
    """The target of what goes into an SDK run of this process; the same run has the same one."""
    here = os.getpid()
    token = next((known for known, (pid, run) in _hosts.items() if pid == here and run is host), None)
    if token is None:
        token = new_run_id()
        _hosts[token] = here, host
    return {"active": token, "owner": owners.of_process()}


class ActiveWandb:
    """The host's run. The host began it and ends it; W&B's own counter `_step` is the host's, so none is given."""

    name = "wandb"
    limits = Limits(metrics=50_000, params=1000, tags=1000, files=100, bytes=8_000_000, lines=True)

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        """Nothing: the host has it."""
        return None

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._target = target
        self._runs: dict[str, _Line] = {}

    def open(self, run: RunSpec) -> RemoteRun:
        """Take the host's run. Raises BackendRunGone when the program has ended, BackendNeedsUser in another one."""
        host = self._host()
        if run.run_id not in self._runs:
            self._runs[run.run_id] = _Line(run, host)
        return RemoteRun(run.run_id, run.remote_id or path_of(host), url_of(host), external=True)

    def holds(self, row: Row) -> bool:
        """What can be said to an SDK's run."""
        return row.kind not in (Kind.DELETE, Kind.RESTORE)

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        """Hand rows over to the host's SDK, which delivers them as it does the host's own."""
        line = self._runs[run.run_id]
        if has_ended(line.host):
            raise BackendRunGone(f"W&B: the run {path_of(line.host)} was ended by the program it was active in")
        try:
            line.take(rows)
        except BackendRefused:
            raise
        except Exception as error:  # the SDK raises what its parts raise: to try again would be no better
            raise BackendRefused(f"W&B: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error

    def confirm(self, run: RemoteRun, n: int) -> int:
        """All of it: the rest is between the host and W&B."""
        return n

    def close(self) -> None:
        """The host's run stays as it is."""
        self._runs.clear()

    def _host(self) -> Any:
        pid, host = _hosts.get(str(self._target["active"]), (0, None))
        if pid == os.getpid():
            return host
        owner = owners.look(self._target.get("owner"))
        if owner.alive is False or owner.this_boot is False:
            raise BackendRunGone("W&B: the program in which this run was active has ended")
        raise BackendNeedsUser(f"W&B: the run is active in process {owner.pid}, which alone can log into it")


class _Line:
    """What goes into a host's run, row by row."""

    def __init__(self, spec: RunSpec, host: Any) -> None:
        self.host = host
        self._is_named = bool(spec.key_prefix)
        self._is_drawn = False
        # With a prefix one rule covers all of trk's metrics and none of the host's; else each metric has its own.
        self._run = WandbRun(replace(spec, external=False), _Numbered(host), life=0, own_axes=not self._is_named)

    def take(self, rows: Sequence[Row]) -> None:
        """Hand rows over; of those that were handed over before, none makes a second line."""
        if not self._is_drawn and any(row.values for row in rows):
            axis = self._run.axis
            self.host.define_metric(axis, hidden=axis == STEP)
            if self._is_named:
                self.host.define_metric(f"{self._run.spec.key_prefix}*", step_metric=axis)
            self._is_drawn = True
        write.take(self._run, rows)


class _Numbered:
    """The host's run as rows are handed to it: a line has its ordinal beside it, and the host's tags stay."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._tags = tuple(host.tags or ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    @property
    def tags(self) -> Any:
        """The host's own, and trk's."""
        return self._host.tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._host.tags = tuple(dict.fromkeys((*self._tags, *tags)))

    def log(self, data: Mapping[str, Any], step: int, commit: bool) -> None:
        """A line of the history, at whatever step the host's run is."""
        self._host.log({**data, ORDINAL: step}, commit=commit)


def has_ended(host: Any) -> bool:
    """Whether an SDK's run was finished."""
    return bool(getattr(host, "_is_finished", False))


def path_of(host: Any) -> str:
    """entity/project/id of an SDK's run, as far as it has them."""
    return "/".join(str(part) for part in (host.entity, host.project, host.id) if part)


def url_of(host: Any) -> str | None:
    """The address of an SDK's run; None offline."""
    is_online = not (getattr(host, "offline", False) or getattr(host, "disabled", False))
    return str(host.url) if is_online and host.url else None
