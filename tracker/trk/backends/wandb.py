"""Delivery to Weights & Biases by the official SDK, and W&B as a source.

Handed over is not delivered: the SDK acknowledges nothing, and its core process may be killed. A row counts as
delivered when the server shows it. Offline, a run is written in one piece when it has ended, or when somebody asks for
it: an earlier folder of the run is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trk.backends import _wandb_attach as attach
from trk.backends import _wandb_offline as offline
from trk.backends import _wandb_read as read
from trk.backends import _wandb_sdk as sdk
from trk.backends import _wandb_verify as back
from trk.backends import _wandb_write as write
from trk.backends._wandb_artifacts import Artifacts
from trk.backends._wandb_run import EXIT_CODES, STEP, WandbRun, let_go
from trk.backends._wandb_server import Server, State
from trk.backends._wandb_texts import LONG_TAG, SUMMARIES, number, summary_text
from trk.backends.base import Held, Limits, Trace
from trk.backends.foreign import ForeignRun
from trk.backends.histories import in_threads
from trk.errors import BackendLost, BackendNeedsUser, BackendRefused, BackendRunGone, BackendUnavailable
from trk.records import ArtifactRecord, Kind, MetricPoint, MetricStats, RemoteRun, Row, RunRecord, RunSpec

STALLED_S = 60.0  # a server that answers, and shows nothing more of what was handed over for so long, has lost it;
UPLOAD_S = 1800.0  # and of files, if they were not there after so long
CHECK_S = 15.0  # after the SDK has finished a run, the server shows all of it in this time
CHECK_AGAIN_S = 0.2


class WandbBackend:
    """W&B, at `target["base_url"]`, as `target["entity"]`; `target["mode"]` is online or offline.

    `target["dir"]` is the folder in which the SDK makes its folder `wandb`; `target["project"]` the project, by default
    the run's experiment; `target["group"]` the run's group. The key comes from the environment or `wandb login`.
    """

    name = "wandb"
    takes_whole_filters = True
    limits = Limits(metrics=50_000, params=1000, tags=1000, files=100, bytes=8_000_000, lines=True)

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        """The pip requirement that is missing."""
        found = find_spec("wandb")
        return None if found is not None and found.origin is not None else "trk-ml[wandb]"

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._target = target
        self._offline = target.get("mode") == "offline"
        self._server = Server(target)
        self._reader = read.Reader(target, self._server)
        self._artifacts = Artifacts(self._reader)
        self._runs: dict[str, WandbRun] = {}
        self._specs: dict[str, RunSpec] = {}
        self._ended: dict[str, int] = {}  # runs whose end, or deletion, the server is known to have: up to which row
        self._whole: dict[str, int] = {}  # runs that were written in one piece, and up to which row

    def open(self, run: RunSpec) -> RemoteRun:
        """Go on with the run where the server has it, or make it. Offline, nothing is written before there are rows."""
        self._specs[run.run_id] = run
        known = self._runs.get(run.run_id)
        if self._offline:
            if known is not None:
                self._drop(known)
            self._whole.pop(run.run_id, None)
            return RemoteRun(run.run_id, run.run_id)
        if known is not None and known.life == sdk.deaths():
            self._there(known)
        else:
            try:
                known = self._started(run)
            except BackendRunGone:
                if not run.deleted or run.remote_id is None:
                    raise
                return RemoteRun(run.run_id, run.remote_id)
        known.expected = type(known.expected)()  # everything since the cursor is handed over again
        return RemoteRun(run.run_id, self._path(known), self._url(known))

    def holds(self, row: Row) -> bool:
        """Everything but the return of a run that was deleted."""
        return row.kind is not Kind.RESTORE

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        """Hand rows over to the SDK."""
        if rows[0].kind is Kind.DELETE:
            self._delete(run)
            self._ended[run.run_id] = self._whole[run.run_id] = rows[0].n
            return
        found = self._running(run)
        if found.ending is not None and not self._offline:
            self._finish(found, rows[0].n - 1)  # it goes on after its end
            found = self._running(run)
        if not found.expected:
            found.waits()
        with sdk.calling(self._server.name):
            write.take(found, rows)
        if self._offline:
            self._whole[run.run_id] = rows[-1].n

    def finish(self, run: RemoteRun) -> None:
        """Offline: that was all; what was written of the run before is replaced."""
        known = self._runs.get(run.run_id)
        if known is None:
            return
        status = known.ending
        with sdk.calling(self._server.name):
            write.remind(known)
            known.sdk.finish(exit_code=EXIT_CODES[status] if status is not None else 0)
        self._drop(known, finished=True)
        offline.replace(self._target, run.run_id, Path(known.sdk.dir).parent, known.first, known.line + 1)

    def confirm(self, run: RemoteRun, n: int) -> int:
        """Up to which row the server shows everything. Raises BackendLost when that comes no further."""
        known = self._runs.get(run.run_id)
        if self._offline:
            return 0 if known is not None else min(n, self._whole.get(run.run_id, 0))
        if known is None:
            if self._ended.get(run.run_id, 0) < n:
                raise BackendLost(f"{self._server.name}: what was handed over is not known to have arrived")
            return n
        if known.life != sdk.deaths():
            self._runs.pop(run.run_id, None)
            raise BackendLost(f"{self._server.name}: the SDK's core process died")
        if known.ending is not None:
            self._finish(known, n)
            return n
        if time.monotonic() >= known.due:
            known.looked(self._met(known, n))
            allowed = UPLOAD_S if known.expected.uploads() else STALLED_S
            if time.monotonic() - known.came_on > allowed and known.confirmed < n:
                self._drop(known)
                raise BackendLost(f"{self._server.name}: nothing new was seen there for {allowed:.0f} s")
        return min(n, known.confirmed)

    def close(self) -> None:
        """Let go of the runs: what was not confirmed is handed over again by the next deliverer."""
        left = [known for known in self._runs.values() if known.life == sdk.deaths()]
        self._runs.clear()
        for known in left:
            sdk.closed(known)
        let_go(left)

    # -- asking W&B ---------------------------------------------------------------------------------------------------

    def search(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        """The runs of a project, or of all of the entity's, newest first."""
        return self._reader.search(experiment, filter_string)

    def get(self, run_id: str) -> RunRecord | None:
        """The run with this trk run id, with W&B's `<entity>/<project>/<id>`, or `wandb:` and that."""
        return self._reader.get(run_id)

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """All points of a metric, by (step, time, value)."""
        return self._reader.history(run, metric)

    def told(self, run: RunRecord, metric: str) -> MetricStats | None:
        """Nothing: the summary has the best value, and not its step."""
        return None

    def mark(self, run: RunRecord, metric: str) -> str | None:
        """When W&B last heard of the run, and what it says of the names in its history."""
        return self._reader.mark(run, metric)

    def histories(self, runs: Sequence[RunRecord], metric: str) -> Iterator[tuple[RunRecord, list[MetricPoint]]]:
        """The histories of many runs, several at once."""
        return in_threads(self.history, runs, metric)

    def modes(self, experiment: str) -> Mapping[str, str]:
        """None: W&B keeps no directions."""
        return {}

    def artifacts(self, run: RunRecord) -> list[ArtifactRecord]:
        """What lies at each path of a run, but what trk or W&B puts beside it."""
        return self._artifacts.records(run)

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """Write the bytes at a path of a run into the file `to`, whole or not at all."""
        self._artifacts.fetch(run, path, to)

    def traces(self, row: Row) -> list[Trace]:
        """What W&B has of a row in the run's config, tags, summary and files."""
        return back.traces(row)

    def held(self, remote_id: str) -> Held | None:
        """The run with all that W&B has of it; None when it is deleted, too."""
        return back.held(self._reader, self._artifacts, remote_id)

    def foreign(self, run_id: str) -> ForeignRun | None:
        """A run by W&B's `<entity>/<project>/<id>`; None when there is none, or none any more."""
        return attach.foreign(self._reader, run_id)

    def set_deleted(self, run_id: str, deleted: bool) -> None:
        """Delete a run, for good. Raises NotFound, SourceUnavailable, and Conflict for one that is to be restored."""
        attach.set_deleted(self._reader, run_id, deleted)

    # -- runs in the SDK ----------------------------------------------------------------------------------------------

    def _running(self, run: RemoteRun) -> WandbRun:
        known = self._runs.get(run.run_id)
        if known is not None and known.life == sdk.deaths():
            return known
        if known is not None:
            del self._runs[run.run_id]
            raise BackendLost(f"{self._server.name}: the SDK's core process died")
        return self._started(self._specs.get(run.run_id) or self._spec(run))

    def _spec(self, run: RemoteRun) -> RunSpec:
        """A run that was opened by another instance: what it is called and where it lies is known there."""
        *_, project, remote_id = run.remote_id.split("/")
        state = self._server.state(run.remote_id)
        start_ms = int(read.moment(state.run.created_at).timestamp() * 1000)
        return RunSpec(remote_id, "", project, start_ms, remote_id=run.remote_id)

    def _started(self, spec: RunSpec) -> WandbRun:
        if self._offline:
            offline.await_name(self._target, spec.run_id)
        elif spec.remote_id is not None:
            self._server.state(spec.remote_id)  # of one that was deleted the SDK would try for long
        life = sdk.deaths()
        made = sdk.started(spec, self._target, self._server.name)
        known = WandbRun(spec, made, life)
        if self._offline:
            known.first = offline.sent_lines(self._target, spec.run_id)
            known.line = known.first - 1
        sdk.opened(known)
        try:
            self._prepare(known)
        except BaseException:  # also Ctrl-C: half prepared it would double lines, and take tags away
            self._drop(known)
            raise
        self._runs[spec.run_id] = known
        return known

    def _prepare(self, known: WandbRun) -> None:
        spec, made = known.spec, known.sdk
        with sdk.calling(self._server.name):
            if not spec.external:
                made.define_metric(known.axis, hidden=known.axis == STEP)
                made.define_metric(f"{spec.key_prefix}*", step_metric=known.axis)
        there: Mapping[str, Any] = {}
        if spec.remote_id is not None or made.resumed:
            there = {} if self._offline else self._go_on(known)
        if not spec.external:
            with sdk.calling(self._server.name):
                write.begin(known, self._target, there)

    def _go_on(self, known: WandbRun) -> Mapping[str, Any]:
        """From what the server has; returns its summary."""
        state = self._server.state(self._path(known))
        known.line = state.last_line(known)
        for tag in state.tags:
            key, _, text = tag.partition("=")
            known.tags[key] = text
        for name, text in state.summary.items():
            if name.startswith(LONG_TAG) and text is not None:
                known.tags[name.removeprefix(LONG_TAG)] = str(text)
            elif name.startswith(SUMMARIES) and isinstance(text, list):
                known.said.add(name)
                known.firsts[name.removeprefix(SUMMARIES)] = str(text[0])
            elif not name.startswith(("_", "trk/")) and number(text) is None:
                known.firsts.setdefault(name, summary_text(text))
        return state.summary

    def _finish(self, known: WandbRun, n: int) -> None:
        """Tell the SDK how the run ended, and see that the server shows all of it."""
        assert known.ending is not None
        self._there(known)  # of one that was deleted the SDK would try to tell the end for long
        self._drop(known, finished=True)
        try:
            with sdk.calling(self._server.name):
                known.sdk.finish(exit_code=EXIT_CODES[known.ending])
            self._see(known, n)
        except (BackendUnavailable, BackendRefused) as error:
            raise BackendLost(error.message) from error
        self._ended[known.spec.run_id] = n

    def _see(self, known: WandbRun, n: int) -> None:
        """Wait until the server shows all of a run that was finished."""
        until = time.monotonic() + CHECK_S
        while self._met(known, n) < n:
            if time.monotonic() >= until:
                raise BackendLost(f"{self._server.name}: the run was finished, and the server does not show all of it")
            time.sleep(CHECK_AGAIN_S)

    def _met(self, known: WandbRun, n: int) -> int:
        """Up to which row the server shows everything now."""
        state = self._there(known)
        if known.retags:
            state.retag(known.retags)
            known.retags.clear()
        if not known.spec.external and not write.tags(known):
            # The SDK does not send a list that became empty.
            state.retag(dict.fromkeys(known.expected.names("no tag"), False))
        return state.met(known, n)

    def _there(self, known: WandbRun) -> State:
        """What the server has of a run; one that is gone, or is no longer shown, is let go of."""
        try:
            return self._server.state(self._path(known))
        except (BackendRunGone, BackendNeedsUser):
            self._drop(known)
            raise

    def _drop(self, known: WandbRun, finished: bool = False) -> None:
        """Let go of a run; one that is not finished goes on elsewhere, or later."""
        self._runs.pop(known.spec.run_id, None)
        sdk.closed(known)
        if known.life == sdk.deaths() and not finished:
            known.let_go()

    def _delete(self, run: RemoteRun) -> None:
        if (known := self._runs.get(run.run_id)) is not None:
            self._drop(known)
        if self._offline:
            offline.remove(offline.folders(self._target, run.run_id))
            return
        try:
            there = self._server.state(run.remote_id).run
        except BackendRunGone:
            return
        with sdk.calling(self._server.name):
            there.delete()

    def _path(self, known: WandbRun) -> str:
        if known.spec.external:
            return str(known.spec.remote_id)
        return f"{known.sdk.entity}/{known.sdk.project}/{known.sdk.id}"

    def _url(self, known: WandbRun) -> str | None:
        return str(known.sdk.url) if known.sdk.url else None
