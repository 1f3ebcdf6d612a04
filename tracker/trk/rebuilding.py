"""Letting runs go to another place: from the journal everything of them is delivered there, and what comes later.

The place where they were is left as it is, and not asked: it may be lost.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trk import config, delivery, session
from trk.addresses import remember, without_userinfo
from trk.daemon import client as daemon
from trk.errors import Conflict, NotFound, SessionError, UsageError
from trk.journal import cursors, lifecycle, read
from trk.journal.db import Journal
from trk.records import RunRecord
from trk.rules import check_text, shown

# Backends whose place is an address, and what else names it, for people.
ADDRESSES = {
    "mlflow": "MLFLOW_TRACKING_URI, or mlflow_uri in the settings,",
    "wandb": "WANDB_BASE_URL with WANDB_ENTITY, or wandb_url with wandb_entity in the settings,",
}
# What a run keeps of its place at W&B: the address says of which server, and of whom, its project is.
KEPT = {"wandb": ("project", "group", "job_type")}


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs are to go: a backend and its target, as the journal keeps it. `secret`: with user and password."""

    backend: str
    target: dict[str, Any]
    secret: bool

    @property
    def text(self) -> str:
        """The target as the journal keeps it."""
        return config.as_text(self.target)

    @property
    def address(self) -> str:
        """The address, for people."""
        if self.backend == "wandb":
            return "/".join(str(self.target[name]) for name in ("base_url", "entity") if name in self.target)
        return str(self.target["tracking_uri"])


def place(folder: str | None, backend: str | None, uri: str) -> Place:
    """The place that an address means. User and password of it stay in this process's memory. Raises UsageError."""
    if backend is None:
        raise UsageError("--uri is an address of a backend: which one?", hint="trk sync --to mlflow --uri ADDRESS")
    if backend not in ADDRESSES:
        raise UsageError(f"{backend} has no address that --uri could be", hint=f"--to {' or '.join(ADDRESSES)}")
    if not check_text(uri, "the address").strip() or not uri.isprintable():
        raise UsageError(f"{shown(without_userinfo(uri))} is no address", hint="such as http://127.0.0.1:5000")
    if backend == "wandb":
        return Place(backend, _wandb_target(folder, uri), secret=False)
    return Place(backend, config.target(backend, config.resolve(folder, mlflow_uri=uri)), remember(uri))


def _wandb_target(folder: str | None, uri: str) -> dict[str, Any]:
    """`https://host/ENTITY`; without an entity it is that of the key there, whatever the settings say."""
    hint = "such as https://api.wandb.ai/ENTITY, or https://wandb.example.com"
    try:
        parts = urlsplit(uri)
        entity, *more = parts.path.strip("/").split("/")
    except ValueError:
        raise UsageError(f"{shown(without_userinfo(uri))} is no address", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or more or parts.query or parts.fragment:
        raise UsageError(f"{shown(without_userinfo(uri))} is no address of a W&B server", hint=hint)
    if parts.username is not None or parts.password is not None:
        raise UsageError("W&B takes no user and password in its address", hint="the key: WANDB_API_KEY")
    host = "api.wandb.ai" if parts.hostname == "wandb.ai" else parts.netloc  # where its pages are
    given = {"wandb_url": f"{parts.scheme}://{host}", "wandb_mode": "online"}
    found = config.target("wandb", config.resolve(folder, **given))
    place_ = {name: value for name, value in found.items() if name != "entity"}
    return {**place_, "entity": entity} if entity else place_


def rebuild(
    journal: Journal,
    folder: str,
    to: Place,
    run_id: str | None,
    *,
    timeout: float,
    progress: delivery.Progress | None = None,
    trouble: delivery.Trouble | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[RunRecord]:
    """`point`, and deliver what is pending of these runs, for `timeout` seconds in all; returns all their records.

    `warn` (left out: Python's warnings) is told of the runs of other programs, which stay where they are.
    """
    deadline = time.monotonic() + timeout
    pointed = point(journal, folder, to, run_id, timeout)
    for left in pointed.external:
        handle = lifecycle.handle(journal, left) or left
        (warn or _warn)(f"run {handle} belongs to another program: it stays where it is")
    concerned = [*pointed.runs, *pointed.there]
    if cursors.pending(journal, concerned, (to.backend,)):
        left_s = max(0.0, deadline - time.monotonic())
        _deliver(journal, folder, to, concerned, timeout=left_s, progress=progress, trouble=trouble)
    found = (read.record(journal, run_id) for run_id in concerned)
    return [record for record in found if record is not None]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=5)


def point(journal: Journal, folder: str, to: Place, run_id: str | None, timeout: float) -> cursors.Pointed:
    """Let runs (None: all of trk's own that are not deleted) go to a place, from their first row on.

    Those that go there already go on as they do. Raises Conflict, when another process goes on delivering for
    `timeout` seconds or the one run is another program's, and NotFound when it is deleted.
    """
    if run_id is not None and lifecycle.is_deleted(journal, run_id):
        raise NotFound(f"run {run_id} is deleted", hint=f"trk restore {run_id}")
    if run_id is not None and lifecycle.is_external(journal, run_id):
        raise Conflict(
            f"run {run_id} belongs to another program: the journal has not got all of it",
            hint=f"{to.backend}'s own tools copy such a run",
        )
    with daemon.alone(folder, timeout):
        runs = None if run_id is None else {run_id}
        pointed = cursors.point(journal, to.backend, to.text, runs, KEPT.get(to.backend, ()))
    if pointed.runs:
        _tell_session(journal, folder, pointed.runs)
    return pointed


def _tell_session(journal: Journal, folder: str, run_ids: Collection[str]) -> None:
    """The session says where its run goes."""

    def tell(content: dict[str, Any]) -> None:
        if content["active"] and content["active"][-1] in run_ids:
            content["delivery"] = read.targets(journal, content["active"][-1])

    with contextlib.suppress(SessionError):  # one that can't be read is told where it is needed
        if any(run_id in run_ids for run_id in session.load(folder)["active"]):
            session.change(folder, tell)


def _deliver(
    journal: Journal,
    folder: str,
    to: Place,
    run_ids: Collection[str],
    *,
    timeout: float,
    progress: delivery.Progress | None = None,
    trouble: delivery.Trouble | None = None,
) -> None:
    """Deliver what is pending of these runs. With user and password that a daemon does not know, in this process."""
    if not to.secret:
        daemon.deliver(
            journal, folder, run_ids, backends=(to.backend,), timeout=timeout, progress=progress, trouble=trouble
        )
        return
    deadline = time.monotonic() + timeout
    with daemon.alone(folder, timeout) as let_go:
        let_go()
        delivery.deliver(
            journal, folder, run_ids, backends=(to.backend,), timeout=max(0.0, deadline - time.monotonic()),
            progress=progress, trouble=trouble,
        )  # fmt: skip
