"""The deliverer: for each backend and target a thread that opens runs, sends batches, and moves cursors.

A failure is passing (tried again with growing pauses), needs the user (this target's delivery stops), or final (the
entry is found by halving the batch and kept as rejected; the rest goes on). Whatever is killed when, the next
deliverer goes on from the cursor; what was sent beyond it is sent again, which backends take as the same.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import tenacity

from trk import backends, config
from trk.backends.base import Backend
from trk.delivery.lock import DeliverLock
from trk.delivery.plan import batches
from trk.errors import BackendError, BackendRefused, BackendRunGone, BackendUnavailable
from trk.journal import cursors, read
from trk.journal.cursors import Pending
from trk.journal.db import Journal
from trk.records import Rejection, RemoteRun, Row

PAGE = 2000  # rows read at once: two of MLflow's batches
GRACE_S = 0.5  # what a batch under way may take beyond the time allowed

Progress = Callable[[int, int], None]  # rows settled, rows in all
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
    ) -> None:
        self.journal = journal
        self.stop = threading.Event()
        self._folder = folder
        self._run_ids = run_ids
        self._only = only
        self._progress = progress
        self._counting = threading.Lock()
        self._settled = self._goal = 0
        self._busy = False

    def run(self, timeout: float) -> Outcome:
        """Deliver for at most `timeout` seconds, and a moment for what is under way then."""
        if not self._waiting():
            return Outcome(finished=True)
        deadline = time.monotonic() + timeout
        # A thread, so that a call that an SDK does not give up can be left behind; being killed is survived.
        thread = threading.Thread(target=self._deliver, args=(deadline,), name="trk-deliverer", daemon=True)
        thread.start()
        try:
            thread.join(timeout)
        finally:
            self.stop.set()
        thread.join(GRACE_S)
        return Outcome(finished=not thread.is_alive() and not self._busy, busy=self._busy)

    def _waiting(self) -> list[Pending]:
        return cursors.pending(self.journal, self._run_ids, self._only)

    def _deliver(self, deadline: float) -> None:
        lock = DeliverLock(self._folder)
        if not lock.acquire(deadline):
            self._busy = True
            return
        try:
            waiting = self._waiting()  # again: whoever held the lock may have delivered it
            self._goal = sum(entry.logged - entry.cursor for entry in waiting)
            workers = [_Worker(self, *group) for group in _groups(waiting)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            self.journal.checkpoint()
        finally:
            lock.release()

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


class _Worker(threading.Thread):
    """Delivers runs to one target of one backend."""

    def __init__(self, session: Session, name: str, target: str, entries: list[Pending]) -> None:
        super().__init__(name=f"trk-{name}", daemon=True)
        self._session = session
        self._journal = session.journal
        self._backend_name = name
        self._target = target
        self._entries = entries
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
            backend = backends.make(
                self._backend_name, config.live_target(self._backend_name, json.loads(self._target))
            )
        except BackendError as error:
            self._failed(error)
            return
        try:
            for entry in self._entries:
                if self._session.stop.is_set():
                    return
                self._run(backend, entry)
        except BackendError as error:
            self._failed(error)
        finally:
            backend.close()

    def _run(self, backend: Backend, entry: Pending) -> None:
        cursor = entry.cursor
        try:
            remote = self._open(backend, entry.run)
            while cursor < entry.logged and not self._session.stop.is_set():
                cursor = self._page(backend, remote, entry.run, cursor)
        except BackendRunGone as error:
            self._reject_rest(entry.run, error)

    def _open(self, backend: Backend, run: int) -> RemoteRun:
        """The run at the backend, its parents before it."""
        spec = read.spec(self._journal, run, self._backend_name, self._parent_remote_id(backend, run))
        remote = self._try(lambda: backend.open(spec))
        cursors.opened(self._journal, run, self._backend_name, remote.remote_id, remote.url)
        return remote

    def _parent_remote_id(self, backend: Backend, run: int) -> str | None:
        parent = cursors.parent(self._journal, run)
        known = cursors.remote(self._journal, parent, self._backend_name) if parent is not None else None
        if parent is None or known is None:
            return None
        if known[0] is not None:
            return known[0]
        try:
            return self._open(backend, parent).remote_id
        except BackendRunGone:
            return None  # the child outlives its parent

    def _page(self, backend: Backend, remote: RemoteRun, run: int, cursor: int) -> int:
        """Deliver the next rows; returns the cursor after them."""
        rows = read.rows_after(self._journal, run, cursor, PAGE)
        skipped = [_rejection(row, "this backend has no place for it") for row in rows if not backend.holds(row)]
        left_out = {entry.n for entry in skipped}
        rejected: list[Rejection] = []
        for batch in batches([row for row in rows if row.n not in left_out], backend.limits):
            rejected += self._send(backend, remote, batch.rows)
            if batch.upto > cursor:
                confirmed = self._try(lambda upto=batch.upto: backend.confirm(remote, upto))  # type: ignore[misc]
                cursor = self._advance(run, cursor, confirmed, rejected, skipped)
                rejected = [entry for entry in rejected if entry.n > cursor]
            if self._session.stop.is_set():
                return cursor
        return self._advance(run, cursor, rows[-1].n, rejected, skipped) if rows[-1].n > cursor else cursor

    def _advance(
        self, run: int, cursor: int, n: int, rejected: Sequence[Rejection], skipped: Sequence[Rejection]
    ) -> int:
        cursors.advance(
            self._journal,
            run,
            self._backend_name,
            n,
            [entry for entry in rejected if cursor < entry.n <= n],
            [entry for entry in skipped if cursor < entry.n <= n],
        )
        self._session.settled(n - cursor)
        return n

    def _send(self, backend: Backend, remote: RemoteRun, rows: Sequence[Row]) -> list[Rejection]:
        """Hand over rows; those that the backend will never take come back with its reason."""
        try:
            self._try(lambda: backend.deliver(remote, rows))
        except BackendRefused as error:
            if len(rows) > 1:
                middle = len(rows) // 2
                return self._send(backend, remote, rows[:middle]) + self._send(backend, remote, rows[middle:])
            return self._send_values(backend, remote, rows[0], error)
        return []

    def _send_values(self, backend: Backend, remote: RemoteRun, row: Row, error: BackendRefused) -> list[Rejection]:
        """A refused row: of several metrics, those that are fine still go; the row counts as rejected."""
        if len(row.values) <= 1:
            return [_rejection(row, error.message)]
        rejected = []
        for key, value in row.values.items():
            rejected += self._send(backend, remote, [replace(row, key=key, values={key: value})])
        return rejected[:1]

    def _reject_rest(self, run: int, error: BackendRunGone) -> None:
        """The run is gone at the backend: all that it does not have, it will never have."""
        found = cursors.remote(self._journal, run, self._backend_name)
        cursor = found[1] if found else 0
        while rows := read.rows_after(self._journal, run, cursor, PAGE):
            rejected = [_rejection(row, error.message) for row in rows]
            cursor = self._advance(run, cursor, rows[-1].n, rejected, [])
        cursors.failed(self._journal, [(run, self._backend_name)], _told(error))

    def _try(self, call: Callable[[], T]) -> T:
        """Call the backend, again and again while its failure is a passing one and there is time."""
        result: T = self._retrying(_classified, call)
        return result

    def _note(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, BackendError):
            self._failed(error)

    def _failed(self, error: BackendError) -> None:
        cursors.failed(self._journal, [(entry.run, entry.backend) for entry in self._entries], _told(error))


def _classified(call: Callable[[], T]) -> T:
    try:
        return call()
    except BackendError:
        raise
    except Exception as error:  # an SDK or a plugin may raise anything; nothing is lost by trying again later
        raise BackendUnavailable(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


_growing = tenacity.wait_exponential(multiplier=0.2, max=30.0) + tenacity.wait_random(0, 0.2)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the server asked for, else growing with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, BackendUnavailable) else None
    return asked if asked is not None else _growing(state)


def _rejection(row: Row, reason: str) -> Rejection:
    return Rejection(row.n, str(row.kind), row.key or ", ".join(row.values) or None, reason)


def _told(error: BackendError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
