"""What W&B's server has of a run, asked through the SDK's public API."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from trk.backends import _wandb_sdk as sdk
from trk.backends._wandb_errors import OTHER_KEY, RunNotShown, gone
from trk.backends._wandb_run import LINE, WRITER, WandbRun
from trk.errors import BackendNeedsUser

ASK_S = 6


class Server:
    """One server, asked as one user."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._target = target
        self._api: Any = None
        self._life = -1
        self._lock = threading.Lock()
        self.name = f"W&B at {sdk.base_url(target)}"

    def api(self) -> Any:
        """The SDK's public API; a new one after the core process, which does its talking, has died."""
        with self._lock, sdk.calling(self.name) as wandb:
            if self._api is None or self._life != sdk.deaths():
                overrides = {"base_url": sdk.base_url(self._target)}
                if self._target.get("entity"):
                    overrides["entity"] = str(self._target["entity"])
                self._life = sdk.deaths()
                with sdk.own_settings():
                    self._api = wandb.Api(overrides=overrides, timeout=ASK_S, api_key=sdk.key(self._target))
            return self._api

    def state(self, path: str) -> State:
        """What there is of a run now. Raises as `run`."""
        return State(self.run(path))

    def run(self, path: str) -> Any:
        """The SDK's run at `<entity>/<project>/<id>`, as it is now.

        Raises BackendRunGone when its project has no such run, BackendNeedsUser when this key is not shown the project.
        """
        try:
            return self._asked(path)
        except RunNotShown:
            self._must_see(*path.split("/")[:2])
        try:
            return self._asked(path)  # it may be that the project has come to be shown just now
        except RunNotShown as error:
            raise gone(self.name) from error

    def _asked(self, path: str) -> Any:
        api = self.api()
        with sdk.calling(self.name):
            run = api.run(path)
            run.load(force=True)
            return run

    def _must_see(self, entity: str, project: str) -> None:
        if not self.sees(entity, project):
            raise self.hidden(f"{entity}/{project}")

    def hidden(self, place: str) -> BackendNeedsUser:
        """The error of a key that is not shown a project or an entity: nobody can say what is there, and what not."""
        return BackendNeedsUser(
            f"{self.name} shows this key nothing of {place}: it is gone, or another's and private", hint=OTHER_KEY
        )

    def sees(self, entity: str, project: str) -> bool:
        """Whether this key is shown a project."""
        api = self.api()
        with sdk.calling(self.name):
            try:
                return bool(api.project(project, entity).id)
            except ValueError as error:
                if error.__cause__ is None:
                    return False
                raise error.__cause__ from None

    def is_own(self, entity: str) -> bool:
        """Whether an entity is this key's user, or a team of theirs: what is not shown of it is not there."""
        api = self.api()
        with sdk.calling(self.name):
            user = api.viewer
            return entity in (user.username, user.entity, *user.teams)


def check_login(target: Mapping[str, Any]) -> None:
    """Raise BackendNeedsUser when there is no key for a target's server, or it refuses it; BackendUnavailable."""
    server = Server(target)
    sdk.check_key(target, server.name)
    sdk.probe(sdk.base_url(target), server.name)
    server.api()


class State:
    """A run as the server has it at one moment."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self._keys = run._attrs.get("historyKeys")
        self.tags = list(run.tags or ())
        self.config: Mapping[str, Any] = run.config
        self.summary: Mapping[str, Any] = run.summary_metrics
        self._files: dict[str, tuple[int, str | None]] = {}

    def last_line(self, run: WandbRun) -> int:
        """The last of trk's lines of the history; -1 when there is none."""
        if not run.spec.external and self._keys is not None:
            return int(self._keys.get("lastStep", -1))
        names = [LINE, WRITER] if run.spec.external else ["_step"]
        with sdk.calling("W&B"):
            for row in self.run.scan_history(keys=["_step", *names], min_step=run.seen):
                if row.get(WRITER, run.spec.run_id) == run.spec.run_id:
                    run.there = max(run.there, int(row[names[0]]))
                run.seen = max(run.seen, int(row["_step"]))
        return run.there

    def met(self, run: WandbRun, n: int) -> int:
        """Up to which row of a run, at most `n`, the server has everything."""
        names = run.expected.names("file")
        if names:
            with sdk.calling("W&B"):
                self._files = {
                    file.name: (int(file.size), getattr(file, "md5", None))
                    for file in self.run.files(names=names)
                    if file.size is not None
                }
        return run.expected.met(self.last_line(run), self._shows, n)

    def retag(self, tags: Mapping[str, bool]) -> None:
        """In another program's run: see that each tag is there or not, and leave the others."""
        kept = [tag for tag in self.tags if tags.get(tag, True)]
        kept += [tag for tag, there in tags.items() if there and tag not in self.tags]
        if kept != self.tags:
            with sdk.calling("W&B"):
                self.run.tags = kept
                self.run.update()

    def _shows(self, kind: str, name: str, value: Any) -> bool:
        if kind == "artifact":
            return _is_committed(value)
        if kind == "config":
            return name in self.config and self.config[name] == value
        if kind == "summary":
            return same(self.summary.get(name), value)
        if kind == "tag":
            return name in self.tags
        if kind == "no tag":
            return name not in self.tags
        return self._has_file(name, value)

    def _has_file(self, name: str, known_by: tuple[int, str] | None) -> bool:
        """Whether a file is there: of one that may take another's place, by what it is known by."""
        there = self._files.get(name)
        if there is None or known_by is None:
            return there is not None
        size, digest = known_by
        told = there[1]
        return told == digest if told is not None and len(told) == len(digest) else there[0] == size


def same(there: Any, value: Any) -> bool:
    """Whether a summary shows a value: one that is null may be left out."""
    return bool(there == value)


def _is_committed(artifact: Any) -> bool:
    """Whether a version that was logged has arrived, with all its files."""
    wandb = sdk.module()
    try:
        artifact.wait(timeout=0.05)
    except wandb.sdk.artifacts.exceptions.WaitTimeoutError:
        return False
    return True
