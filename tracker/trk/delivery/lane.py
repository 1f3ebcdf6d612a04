"""One backend and target: runs are opened there, batches sent, cursors moved.

A failure is passing (tried again with growing pauses), needs the user (this target's delivery stops), or final (the
entry is found by halving the batch and kept as rejected; the rest goes on). Whatever is killed when, the next
deliverer goes on from the cursor; what was sent beyond it is sent again, which backends take as the same.

What needs the user stops the runs of that experiment, since it may be the experiment that was deleted: the runs of
others are tried. What stays behind keeps its last error.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

import tenacity

from trk import backends
from trk.backends.base import Backend
from trk.delivery import forks
from trk.delivery.content import Contents, rejection
from trk.delivery.patience import TRIES, Patience
from trk.delivery.plan import Batch, batches
from trk.errors import (
    BackendError,
    BackendNeedsUser,
    BackendRefused,
    BackendRunGone,
    BackendUnavailable,
    JournalError,
)
from trk.journal import cursors, read
from trk.journal.cursors import Pending
from trk.journal.db import Journal
from trk.records import Kind, Rejection, RemoteRun, Row

PAGE = 2000  # rows read at once: two of MLflow's batches
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_ASKED_S = 0.2, 30.0, 3600.0
CONFIRM_EVERY_S = 0.2
DOWN = 2  # so many runs in a row that get no answer: the target is down

T = TypeVar("T")


def groups(waiting: Sequence[Pending]) -> dict[tuple[str, str], list[Pending]]:
    """What waits, by backend and target: one unreachable server holds up nothing that goes elsewhere."""
    found: dict[tuple[str, str], list[Pending]] = {}
    for entry in waiting:
        found.setdefault((entry.backend, entry.target), []).append(entry)
    return found


@dataclass(slots=True)
class _Way:
    """How far a run has come.

    Up to row `sent` everything was handed over, rejected or skipped, up to `cursor` that is known to have arrived.
    `handed` is the last row of which anything was handed over.
    """

    run: int
    contents: Contents
    cursor: int
    sent: int
    handed: int
    rejected: list[Rejection] = field(default_factory=list)  # beyond the cursor
    skipped: list[Rejection] = field(default_factory=list)


class Lane:
    """Delivers runs to one target of one backend, which it keeps open until it is closed.

    `stop` ends it between two calls of the backend. `settled` is told how many rows were, `troubled` (backend, why)
    what is tried again. With `patience` it is a lane that is called again and again: what does not come on is left for
    later. A parent that is not there yet is opened only if it `may` (its run id) be.
    """

    def __init__(
        self,
        journal: Journal,
        name: str,
        target: str,
        stop: threading.Event,
        *,
        settled: Callable[[int], None] = lambda rows: None,
        troubled: Callable[[str, str], None] = lambda name, why: None,
        patience: Patience | None = None,
        may: Callable[[str], bool] = lambda run_id: True,
    ) -> None:
        self.last_error: str | None = None  # what held up the last delivery
        self.name = name
        self.target = target
        self._journal = journal
        self._stop = stop
        self._settled_rows = settled
        self._troubled = troubled
        self._backend: Backend | None = None
        self._remotes: dict[int, RemoteRun] = {}
        self._contents: dict[int, Contents] = {}
        self._patience = patience
        self._may = may
        self._entries: Sequence[Pending] = ()
        self._tried_again = False
        self._settled: set[int] = set()  # runs that are through, or have a failure of their own
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BackendUnavailable),
            wait=_pause,
            stop=tenacity.stop_any(
                tenacity.stop_when_event_set(stop),
                tenacity.stop_after_attempt(TRIES) if patience else tenacity.stop_never,
            ),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._note,
            reraise=True,
        )

    def deliver(self, entries: Sequence[Pending]) -> None:
        """Deliver what waits of these runs; keep what stops it. Raises JournalError alone."""
        self._entries, self._tried_again, self.last_error = entries, False, None
        self._settled.clear()
        if self._patience is not None:
            self._patience.begin()
        try:
            if self._backend is None:
                self._backend = backends.make(self.name, json.loads(self.target))
            self._runs(self._backend)
        except BackendError as error:
            self._failed_all(error)
        except JournalError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything anywhere, sys.exit() too
            self._failed_all(_unforeseen(error))

    def close(self) -> None:
        """Let go of the backend."""
        backend, self._backend = self._backend, None
        try:
            if backend is not None:
                backend.close()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, sys.exit() too
            self._failed(_unforeseen(error))

    def _runs(self, backend: Backend) -> None:
        stuck: dict[str, BackendNeedsUser] = {}  # by experiment: it may be that alone that needs the user
        failures = 0
        for entry in self._entries:
            if self._stop.is_set():
                return
            if self._patience is not None and not self._patience.may_try(entry.run):
                continue
            settings = read.run_settings(self._journal, entry.run_id) or {}
            experiment = str(settings.get("experiment"))
            try:
                if experiment in stuck:
                    raise stuck[experiment]
                self._run(backend, entry)
            except BackendNeedsUser as error:
                stuck[experiment] = error
                self._told(entry, error)
            except BackendRefused as error:  # at its opening: the user may mend that, so nothing is given up
                self._told(entry, error)
            except BackendUnavailable as error:
                if self._patience is None or self._stop.is_set():
                    raise
                self._told(entry, error)
                failures += 1
                if failures >= DOWN:
                    raise  # it is the target that does not answer, not this run

    def _run(self, backend: Backend, entry: Pending) -> None:
        try:
            remote = self._remotes.pop(entry.run, None) or self._open(backend, entry.run)
            contents = self._contents.pop(entry.run, None) or Contents(self._journal, entry.run, self.name)
            contents.upto = entry.logged
            way = _Way(entry.run, contents, entry.cursor, entry.cursor, entry.cursor)
            while way.sent < entry.logged and not self._stop.is_set():
                if not self._page(backend, remote, way, entry):
                    break
            while way.cursor < way.sent and not self._stop.wait(CONFIRM_EVERY_S):
                self._confirm(backend, remote, way)
        except BackendRunGone as error:
            self._reject_rest(entry.run, error)
            self._told(entry, error)
        else:
            if not self._stop.is_set():
                self._settled.add(entry.run)
                self._keep(entry, remote, contents)

    def _keep(self, entry: Pending, remote: RemoteRun, contents: Contents) -> None:
        """What the next delivery of an open run need not find out again."""
        if self._patience is None:
            return
        if entry.ended:
            self._patience.forget(entry.run)
        else:
            self._patience.came_on(entry.run)
            self._remotes[entry.run], self._contents[entry.run] = remote, contents

    def _open(self, backend: Backend, run: int) -> RemoteRun:
        """The run at the backend, its parents before it."""
        spec = read.spec(self._journal, run, self.name, self._parent_remote_id(backend, run))
        remote = self._try(lambda: backend.open(spec))
        cursors.opened(self._journal, run, self.name, remote.remote_id, remote.url)
        return remote

    def _parent_remote_id(self, backend: Backend, run: int) -> str | None:
        """The parent's id at this backend; None when it has none, or was delivered to another place."""
        found = cursors.parent(self._journal, run, self.name)
        if found is None:
            return None
        parent, remote_id = found
        if remote_id is None and not self._may(read.run_id(self._journal, parent)):
            raise BackendRefused("its parent is not there yet, and is delivered by who started it", hint="trk sync")
        try:
            return remote_id or self._open(backend, parent).remote_id
        except BackendRunGone:
            return None  # the child outlives its parent

    def _page(self, backend: Backend, remote: RemoteRun, way: _Way, entry: Pending) -> bool:
        """Hand over the next rows, and move the cursor as far as they are known to have arrived.

        False when the next row is a table's that is to rest for a while.
        """
        more = read.rows_after(self._journal, way.run, way.sent, min(PAGE, entry.logged - way.sent))
        rows = self._not_resting(way.contents.whole(more), way, entry)
        if not rows:
            return False
        skipped = [rejection(row, "this backend has no place for it") for row in rows if not backend.holds(row)]
        left_out = {entry.n for entry in skipped}
        way.skipped += skipped
        ready, rejected = way.contents.prepared([row for row in rows if row.n not in left_out])
        way.rejected += rejected
        waiting = deque(batches(ready, backend.limits))
        while waiting:
            if self._stop.is_set():
                return True
            batch = waiting.popleft()
            began = time.monotonic()
            try:
                self._try(lambda rows=batch.rows: backend.deliver(remote, rows))  # type: ignore[misc]
            except BackendRefused as error:
                if parts := _halves(batch):
                    waiting.extendleft(reversed(parts))
                    continue
                way.rejected += way.contents.refused(batch.rows[0], error.message)
            else:
                way.handed = batch.rows[-1].n
                if self._patience is not None and batch.rows[0].kind is Kind.TABLE:
                    self._patience.went(way.run, batch.rows[0].key or "", time.monotonic() - began)
            way.sent = max(way.sent, batch.upto)
            if way.sent > way.cursor:
                self._confirm(backend, remote, way)
        way.sent = rows[-1].n
        self._confirm(backend, remote, way)
        return True

    def _not_resting(self, rows: Sequence[Row], way: _Way, entry: Pending) -> Sequence[Row]:
        """As many of the next rows as come before a table that is to rest; of an ended run, all."""
        if self._patience is None or entry.ended:
            return rows
        for at, row in enumerate(rows):
            is_next = row.kind is Kind.TABLE and not way.contents.covers(row)
            if is_next and not self._patience.may_go(way.run, row.key or ""):
                return rows[:at]
        return rows

    def _confirm(self, backend: Backend, remote: RemoteRun, way: _Way) -> None:
        """Move the cursor up to where the backend is known to have everything."""
        if way.handed > way.cursor:
            confirmed = self._try(lambda: backend.confirm(remote, way.handed))
            if confirmed < way.handed:
                self._advance(way, min(confirmed, way.sent))
                return
        self._advance(way, way.sent)

    def _advance(self, way: _Way, n: int) -> None:
        if n <= way.cursor:
            return
        cursors.advance(
            self._journal,
            way.run,
            self.name,
            n,
            [entry for entry in way.rejected if entry.n <= n],
            [entry for entry in way.skipped if entry.n <= n],
            way.contents.arrived(n),
        )
        way.rejected = [entry for entry in way.rejected if entry.n > n]
        way.skipped = [entry for entry in way.skipped if entry.n > n]
        self._settled_rows(n - way.cursor)
        way.cursor = n

    def _reject_rest(self, run: int, error: BackendRunGone) -> None:
        """The run is gone at the backend: all that it does not have, it will never have."""
        cursor = cursors.cursor(self._journal, run, self.name)
        while rows := read.rows_after(self._journal, run, cursor, PAGE):
            rejected = [rejection(row, error.message) for row in rows]
            contents = Contents(self._journal, run, self.name)
            self._advance(_Way(run, contents, cursor, cursor, cursor, rejected), rows[-1].n)
            cursor = rows[-1].n

    def _try(self, call: Callable[[], T]) -> T:
        """Call the backend, again and again while its failure is a passing one and there is time."""
        result: T = self._retrying(_classified, call)
        return result

    def _note(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, BackendError):
            if not self._tried_again:
                self._troubled(self.name, _words(error))
            self._tried_again = True
            self._failed(error)

    def _failed(self, error: BackendError) -> None:
        """Keep what holds up all the runs that are still to come."""
        left = [(entry.run, entry.backend) for entry in self._entries if entry.run not in self._settled]
        cursors.failed(self._journal, left, _words(error))

    def _failed_all(self, error: BackendError) -> None:
        """What ends a delivery: all that is still to come waits."""
        self.last_error = _words(error)
        self._failed(error)
        for entry in self._entries:
            if entry.run not in self._settled:
                self._rests(entry.run, error)

    def _rests(self, run: int, error: BackendError) -> None:
        if self._patience is not None:
            asked = error.retry_after if isinstance(error, BackendUnavailable) else None
            self._patience.failed(run, user=not isinstance(error, BackendUnavailable), asked_s=asked)

    def _told(self, entry: Pending, error: BackendError) -> None:
        """Keep what holds up this run."""
        self._settled.add(entry.run)
        self.last_error = _words(error)
        self._rests(entry.run, error)
        cursors.failed(self._journal, [(entry.run, entry.backend)], _words(error))


def _classified(call: Callable[[], T]) -> T:
    try:
        with forks.calling:
            return call()
    except BackendError:
        raise
    except Exception as error:  # an SDK or a plugin may raise anything; nothing is lost by trying again later
        raise _unforeseen(error) from error


def _unforeseen(error: BaseException) -> BackendUnavailable:
    return BackendUnavailable(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


_jitter = tenacity.wait_random(0, FIRST_PAUSE_S)
_growing = tenacity.wait_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S) + _jitter


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the server asked for, else growing with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, BackendUnavailable) else None
    return _growing(state) if asked is None else min(max(FIRST_PAUSE_S, asked), LONGEST_ASKED_S)


def _halves(batch: Batch) -> list[Batch]:
    """The batch in two, by rows or, of one row, by values; nothing when it is a single value."""
    if len(batch.rows) > 1:
        middle = len(batch.rows) // 2
        return [Batch(batch.rows[:middle], batch.rows[middle - 1].n), Batch(batch.rows[middle:], batch.upto)]
    row = batch.rows[0]
    if len(row.values) < 2:
        return []
    values = iter(row.values.items())
    first = dict(islice(values, len(row.values) // 2))
    return [Batch((replace(row, values=first),), row.n - 1), Batch((replace(row, values=dict(values)),), batch.upto)]


def _words(error: BackendError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
