"""The deliverer: for each backend and target a thread that opens runs, sends batches, and moves cursors.

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
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

import tenacity

from trk import backends
from trk.backends.base import Backend
from trk.delivery.content import Contents, rejection
from trk.delivery.lock import DeliverLock
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
from trk.records import Rejection, RemoteRun

PAGE = 2000  # rows read at once: two of MLflow's batches
GRACE_S = 0.5  # what a batch under way may take beyond the time allowed
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_ASKED_S = 0.2, 30.0, 3600.0
CONFIRM_EVERY_S = 0.2

Progress = Callable[[int, int], None]  # rows settled, rows in all
Trouble = Callable[[str, str], None]  # backend, what is wrong with it
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery went: `finished` within the time allowed; `busy` when another process was delivering."""

    finished: bool
    busy: bool = False


class Session:
    """One delivery of what is pending now."""

    def __init__(
        self,
        journal: Journal,
        folder: str,
        run_ids: Collection[str] | None,
        only: Collection[str] | None,
        progress: Progress | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        self.journal = journal
        self.stop = threading.Event()
        self._folder = folder
        self._run_ids = run_ids
        self._only = only
        self._progress = progress
        self._trouble = trouble
        self._counting = threading.Lock()
        self._settled = self._goal = 0
        self._busy = False
        self._failure: JournalError | None = None

    def run(self, timeout: float) -> Outcome:
        """Deliver for at most `timeout` seconds, and a moment for what is under way then.

        Raises JournalError when the journal can't keep what was delivered.
        """
        if not self._waiting():
            return Outcome(finished=True)
        deadline = time.monotonic() + timeout
        # A thread, so that a call that an SDK does not give up can be left behind; being killed is survived.
        thread = threading.Thread(target=self._deliver, args=(deadline,), name="trk-deliverer", daemon=True)
        thread.start()
        try:
            thread.join(timeout)
            in_time = not thread.is_alive()
        finally:
            self.stop.set()
        thread.join(GRACE_S)
        if thread.is_alive():
            cursors.unanswered(self.journal, self._waiting(), f"not done within {timeout:g} s")
        if self._failure is not None:
            raise self._failure
        return Outcome(finished=in_time and not self._busy, busy=self._busy)

    def failed(self, error: JournalError) -> None:
        """Remember what the caller has to know: it is raised in the caller's thread."""
        self._failure = self._failure or error

    def _waiting(self) -> list[Pending]:
        return cursors.pending(self.journal, self._run_ids, self._only)

    def _deliver(self, deadline: float) -> None:
        lock = DeliverLock(self._folder)
        try:
            if not lock.acquire(deadline):
                self._busy = True
                cursors.unanswered(self.journal, self._waiting(), "another process was delivering at that time")
                return
            waiting = self._waiting()  # again: whoever held the lock may have delivered it
            self._goal = sum(entry.logged - entry.cursor for entry in waiting)
            workers = [_Worker(self, *group) for group in _groups(waiting)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            self.journal.checkpoint()
        except JournalError as error:
            self.failed(error)
        finally:
            lock.release()

    def troubled(self, backend: str, why: str) -> None:
        """Tell who watches what keeps a backend from going on."""
        if self._trouble is not None:
            self._trouble(backend, why)

    def settled(self, rows: int) -> None:
        """Count rows as settled, for who watches."""
        if self._progress is not None:
            with self._counting:
                self._settled += rows
                self._progress(self._settled, self._goal)


def _groups(waiting: Sequence[Pending]) -> Iterator[tuple[str, str, list[Pending]]]:
    """What waits, by backend and target: one unreachable server holds up nothing that goes elsewhere."""
    groups: dict[tuple[str, str], list[Pending]] = {}
    for entry in waiting:
        groups.setdefault((entry.backend, entry.target), []).append(entry)
    for (name, target), entries in groups.items():
        yield name, target, entries


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


class _Worker(threading.Thread):
    """Delivers runs to one target of one backend."""

    def __init__(self, session: Session, name: str, target: str, entries: list[Pending]) -> None:
        super().__init__(name=f"trk-{name}", daemon=True)
        self._session = session
        self._journal = session.journal
        self._backend_name = name
        self._target = target
        self._entries = entries
        self._tried_again = False
        self._settled: set[int] = set()  # runs that are through, or have a failure of their own
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BackendUnavailable),
            wait=_pause,
            stop=tenacity.stop_when_event_set(session.stop),
            sleep=tenacity.sleep_using_event(session.stop),
            before_sleep=self._note,
            reraise=True,
        )

    def run(self) -> None:
        """Deliver every run; keep what stops it."""
        try:
            self._deliver()
        except JournalError as error:
            self._session.failed(error)

    def _deliver(self) -> None:
        try:
            backend = backends.make(self._backend_name, json.loads(self._target))
            try:
                self._runs(backend)
            finally:
                backend.close()
        except BackendError as error:
            self._failed(error)
        except JournalError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything anywhere, sys.exit() too
            self._failed(_unforeseen(error))

    def _runs(self, backend: Backend) -> None:
        stuck: dict[str, BackendNeedsUser] = {}  # by experiment: it may be that alone that needs the user
        for entry in self._entries:
            if self._session.stop.is_set():
                return
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

    def _run(self, backend: Backend, entry: Pending) -> None:
        try:
            remote = self._open(backend, entry.run)
            contents = Contents(self._journal, entry.run, self._backend_name, entry.logged)
            way = _Way(entry.run, contents, entry.cursor, entry.cursor, entry.cursor)
            while way.sent < entry.logged and not self._session.stop.is_set():
                self._page(backend, remote, way, entry.logged)
            while way.cursor < way.sent and not self._session.stop.wait(CONFIRM_EVERY_S):
                self._confirm(backend, remote, way)
        except BackendRunGone as error:
            self._reject_rest(entry.run, error)
            self._told(entry, error)
        else:
            if not self._session.stop.is_set():
                self._settled.add(entry.run)

    def _open(self, backend: Backend, run: int) -> RemoteRun:
        """The run at the backend, its parents before it."""
        spec = read.spec(self._journal, run, self._backend_name, self._parent_remote_id(backend, run))
        remote = self._try(lambda: backend.open(spec))
        cursors.opened(self._journal, run, self._backend_name, remote.remote_id, remote.url)
        return remote

    def _parent_remote_id(self, backend: Backend, run: int) -> str | None:
        """The parent's id at this backend; None when it has none, or was delivered to another place."""
        found = cursors.parent(self._journal, run, self._backend_name)
        if found is None:
            return None
        parent, remote_id = found
        try:
            return remote_id or self._open(backend, parent).remote_id
        except BackendRunGone:
            return None  # the child outlives its parent

    def _page(self, backend: Backend, remote: RemoteRun, way: _Way, logged: int) -> None:
        """Hand over the next rows, and move the cursor as far as they are known to have arrived."""
        rows = way.contents.whole(read.rows_after(self._journal, way.run, way.sent, min(PAGE, logged - way.sent)))
        skipped = [rejection(row, "this backend has no place for it") for row in rows if not backend.holds(row)]
        left_out = {entry.n for entry in skipped}
        way.skipped += skipped
        ready, rejected = way.contents.prepared([row for row in rows if row.n not in left_out])
        way.rejected += rejected
        waiting = deque(batches(ready, backend.limits))
        while waiting:
            if self._session.stop.is_set():
                return
            batch = waiting.popleft()
            try:
                self._try(lambda rows=batch.rows: backend.deliver(remote, rows))  # type: ignore[misc]
            except BackendRefused as error:
                if parts := _halves(batch):
                    waiting.extendleft(reversed(parts))
                    continue
                way.rejected += way.contents.refused(batch.rows[0], error.message)
            else:
                way.handed = batch.rows[-1].n
            way.sent = max(way.sent, batch.upto)
            if way.sent > way.cursor:
                self._confirm(backend, remote, way)
        way.sent = rows[-1].n
        self._confirm(backend, remote, way)

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
            self._backend_name,
            n,
            [entry for entry in way.rejected if entry.n <= n],
            [entry for entry in way.skipped if entry.n <= n],
            way.contents.arrived(n),
        )
        way.rejected = [entry for entry in way.rejected if entry.n > n]
        way.skipped = [entry for entry in way.skipped if entry.n > n]
        self._session.settled(n - way.cursor)
        way.cursor = n

    def _reject_rest(self, run: int, error: BackendRunGone) -> None:
        """The run is gone at the backend: all that it does not have, it will never have."""
        cursor = cursors.cursor(self._journal, run, self._backend_name)
        while rows := read.rows_after(self._journal, run, cursor, PAGE):
            rejected = [rejection(row, error.message) for row in rows]
            contents = Contents(self._journal, run, self._backend_name, cursor)
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
                self._session.troubled(self._backend_name, _words(error))
            self._tried_again = True
            self._failed(error)

    def _failed(self, error: BackendError) -> None:
        """Keep what holds up all the runs that are still to come."""
        left = [(entry.run, entry.backend) for entry in self._entries if entry.run not in self._settled]
        cursors.failed(self._journal, left, _words(error))

    def _told(self, entry: Pending, error: BackendError) -> None:
        """Keep what holds up this run."""
        self._settled.add(entry.run)
        cursors.failed(self._journal, [(entry.run, entry.backend)], _words(error))


def _classified(call: Callable[[], T]) -> T:
    try:
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
