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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

import tenacity

from trk import backends
from trk.backends.base import Backend, finish, goes_whole
from trk.delivery import forks
from trk.delivery.content import Contents, rejection
from trk.delivery.patience import TRIES, Patience
from trk.delivery.plan import Batch, batches
from trk.delivery.way import Way
from trk.errors import (
    BackendError,
    BackendLost,
    BackendNeedsUser,
    BackendRefused,
    BackendRunGone,
    BackendUnavailable,
    JournalError,
)
from trk.journal import cursors, lifecycle, read
from trk.journal.cursors import Pending
from trk.journal.db import Journal
from trk.records import Kind, RemoteRun, Row

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


class Lane:
    """Delivers runs to one target of one backend, which it keeps open until it is closed.

    `stop` ends it between two calls of the backend. `settled` is told how many rows were, `troubled` (backend, why)
    what is tried again. With `patience` it is a lane that is called again and again: what does not come on is left for
    later; open runs that go in one piece too, unless they are `asked` for: by run, the number of the request. A parent
    that is not there yet is opened only if it `may` (its run id) be.
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
        asked: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.last_error: str | None = None  # what held up the last delivery
        self.name = name
        self.target = target
        self._journal = journal
        self._stop = stop
        self._settled_rows = settled
        self._troubled = troubled
        self._backend: Backend | None = None
        self._ways: dict[int, Way] = {}  # runs that go on where they are
        self._lost: dict[int, tuple[int, int]] = {}  # by run: its cursor when what was beyond it was lost, how often
        self._patience = patience
        self._may = may
        self._asked = asked
        self._answered: dict[int, int] = {}  # by run: the last request for all of it that was done
        self._entries: Sequence[Pending] = ()
        self._tried_again = False
        self._settled: set[int] = set()  # runs that are through, or have a failure of their own
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
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
            left = self._pass(self._backend, entries)
            while left and self._patience is None and not self._stop.wait(CONFIRM_EVERY_S):
                left = self._pass(self._backend, left)
        except BackendError as error:
            self._failed_all(error)
        except JournalError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything anywhere, sys.exit() too
            self._failed_all(_unforeseen(error))

    @property
    def awaits(self) -> bool:
        """Whether something was handed over that is not known to have arrived."""
        return any(way.cursor < way.sent for way in self._ways.values())

    def due_s(self, entries: Sequence[Pending]) -> float | None:
        """Seconds until there is something to do for these, if nothing new comes; None when there will not be."""
        rests = self._patience.due_s([entry.run for entry in entries]) if self._patience is not None else None
        if self.awaits:
            return CONFIRM_EVERY_S if rests is None else min(rests, CONFIRM_EVERY_S)
        return rests

    def close(self) -> None:
        """Let go of the backend."""
        self._ways.clear()
        backend, self._backend = self._backend, None
        try:
            if backend is not None:
                backend.close()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, sys.exit() too
            self._failed(_unforeseen(error))

    def _pass(self, backend: Backend, entries: Sequence[Pending]) -> list[Pending]:
        """Bring each run on as far as it goes now; returns those that wait for the backend to have everything."""
        stuck: dict[str, BackendNeedsUser] = {}  # by experiment: it may be that alone that needs the user
        failures = 0
        left = []
        for entry in entries:
            if self._stop.is_set():
                return []
            if self._patience is not None and not self._patience.may_try(entry.run):
                continue
            settings = read.run_settings(self._journal, entry.run_id) or {}
            experiment = str(settings.get("experiment"))
            try:
                if experiment in stuck:
                    raise stuck[experiment]
                if not self._run(backend, entry):
                    left.append(entry)
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
        return left

    def _run(self, backend: Backend, entry: Pending) -> bool:
        """Bring a run on; whether the backend is known to have all of it that was to go now."""
        whole = goes_whole(json.loads(entry.target))
        asked = self._asked.get(entry.run, 0)
        if whole and self._patience is not None and not entry.ended and asked <= self._answered.get(entry.run, 0):
            return True  # it goes when it has ended, or somebody asks for it
        try:
            way = self._way(backend, entry, whole)
            while way.sent < entry.logged and not self._stop.is_set():
                if not self._page(backend, way, entry):
                    break
            if whole and not self._stop.is_set():
                self._try(lambda: finish(backend, way.remote))
            if way.cursor < way.sent and not self._stop.is_set():
                self._confirm(backend, way)
        except _StoppedError:
            return False  # in the middle of a page: the next delivery begins at the cursor
        except BackendLost as error:
            self._again(entry, error)
            return False
        except BackendRunGone as error:
            self._reject_rest(entry.run, error)
            self._told(entry, error)
            return True
        if self._stop.is_set():
            return False
        if way.cursor == way.sent:
            self._settled.add(entry.run)
            self._answered[entry.run] = asked
        self._keep(entry, way, whole)
        return way.cursor == way.sent

    def _way(self, backend: Backend, entry: Pending, whole: bool) -> Way:
        """The run as it was left, or opened and on from its cursor; one that goes whole from its beginning."""
        way = self._ways.pop(entry.run, None)
        if way is None or way.cursor < entry.cursor:
            remote = self._open(backend, entry.run)
            cursor = cursors.cursor(self._journal, entry.run, self.name)
            sent = 0 if whole else cursor
            lines = read.lines(self._journal, entry.run, sent) if backend.limits.lines else None
            way = Way(entry.run, remote, Contents(self._journal, entry.run, self.name), cursor, sent, sent, lines)
        way.contents.upto = entry.logged
        return way

    def _keep(self, entry: Pending, way: Way, whole: bool) -> None:
        """What the next delivery of an open run need not find out again."""
        if way.cursor < way.sent:
            self._ways[entry.run] = way
        elif self._patience is not None and (entry.ended or whole):  # one that goes whole begins anew
            self._patience.forget(entry.run)
        elif self._patience is not None:
            self._patience.came_on(entry.run)
            self._ways[entry.run] = way

    def _again(self, entry: Pending, error: BackendLost) -> None:
        """What was handed over since the cursor is lost: it is handed over again, unless that has not helped."""
        cursor = cursors.cursor(self._journal, entry.run, self.name)
        before, times = self._lost.get(entry.run, (-1, 0))
        self._lost[entry.run] = cursor, times + 1 if cursor == before else 1
        self._troubled(self.name, _words(error))
        self.last_error = _words(error)
        self._rests(entry.run, error)
        cursors.failed(self._journal, [(entry.run, entry.backend)], self.last_error)
        if self._lost[entry.run][1] > TRIES:
            del self._lost[entry.run]
            raise BackendUnavailable(error.message, hint=error.hint)

    def _open(self, backend: Backend, run: int) -> RemoteRun:
        """The run at the backend, its parents before it."""
        spec = read.spec(self._journal, run, self.name, self._parent_remote_id(backend, run))
        remote = self._try(lambda: backend.open(spec))
        cursors.opened(self._journal, run, self.name, remote.remote_id, remote.url)
        return remote

    def _no_place(self, row: Row, backend: Backend, run_id: str) -> str | None:
        """Why a backend is not to have a row at all: also a deletion taken back since, where it could not be there."""
        if not backend.holds(row):
            return "this backend has no place for it"
        if row.kind is not Kind.DELETE or backend.holds(replace(row, kind=Kind.RESTORE)):
            return None
        return None if lifecycle.is_deleted(self._journal, run_id) else "the run was restored since"

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

    def _page(self, backend: Backend, way: Way, entry: Pending) -> bool:
        """Hand over the next rows, and move the cursor as far as they are known to have arrived.

        False when the next row is a table's that is to rest for a while.
        """
        more = read.rows_after(self._journal, way.run, way.sent, min(PAGE, entry.logged - way.sent), way.lines)
        rows = self._not_resting(way.contents.whole(more), way, entry)
        way.took(rows)
        if not rows:
            return False
        skipped = [rejection(row, why) for row in rows if (why := self._no_place(row, backend, entry.run_id))]
        left_out = {entry.n for entry in skipped}
        way.skipped += skipped
        ready, rejected = way.contents.prepared([row for row in rows if row.n not in left_out])
        way.rejected += rejected
        waiting = deque(batches(ready, backend.limits))
        while waiting:
            if self._stop.is_set():
                raise _StoppedError
            batch = waiting.popleft()
            began = time.monotonic()
            try:
                self._try(lambda rows=batch.rows: backend.deliver(way.remote, rows))  # type: ignore[misc]
            except BackendRefused as error:
                if parts := _halves(batch, backend.limits.lines):
                    waiting.extendleft(reversed(parts))
                    continue
                way.rejected += way.contents.refused(batch.rows[0], error.message)
            else:
                way.handed = batch.rows[-1].n
                if self._patience is not None and batch.rows[0].kind is Kind.TABLE:
                    self._patience.went(way.run, batch.rows[0].key or "", time.monotonic() - began)
            way.sent = max(way.sent, batch.upto)
            if way.sent > way.cursor:
                self._confirm(backend, way)
        way.sent = rows[-1].n
        self._confirm(backend, way)
        return True

    def _not_resting(self, rows: Sequence[Row], way: Way, entry: Pending) -> Sequence[Row]:
        """As many of the next rows as come before a table that is to rest; of an ended run, all."""
        if self._patience is None or entry.ended:
            return rows
        for at, row in enumerate(rows):
            is_next = row.kind is Kind.TABLE and not way.contents.covers(row)
            if is_next and not self._patience.may_go(way.run, row.key or ""):
                return rows[:at]
        return rows

    def _confirm(self, backend: Backend, way: Way) -> None:
        """Move the cursor up to where the backend is known to have everything."""
        n = way.sent
        if way.handed > way.cursor:
            confirmed = self._try(lambda: backend.confirm(way.remote, way.handed))
            if confirmed < way.handed:
                n = min(confirmed, way.sent)
        self._advance(way, n)

    def _advance(self, way: Way, n: int) -> None:
        if rows := way.advance(self._journal, self.name, n):
            self._settled_rows(rows)

    def _reject_rest(self, run: int, error: BackendRunGone) -> None:
        """The run is gone at the backend: all that it does not have, it will never have."""
        cursor = cursors.cursor(self._journal, run, self.name)
        while rows := read.rows_after(self._journal, run, cursor, PAGE):
            rejected = [rejection(row, error.message) for row in rows]
            contents = Contents(self._journal, run, self.name)
            nowhere = RemoteRun("", "")
            self._advance(Way(run, nowhere, contents, cursor, cursor, cursor, None, rejected), rows[-1].n)
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


class _StoppedError(Exception):
    """This delivery is to end."""


def _passes(error: BaseException) -> bool:
    """Whether the same call may do the next time."""
    return isinstance(error, BackendUnavailable) and not isinstance(error, BackendLost)


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


def _halves(batch: Batch, lines: bool) -> list[Batch]:
    """The batch in two, by rows or, of one row that is no line, by values; nothing when it is a single value."""
    if len(batch.rows) > 1:
        middle = len(batch.rows) // 2
        return [Batch(batch.rows[:middle], batch.rows[middle - 1].n), Batch(batch.rows[middle:], batch.upto)]
    row = batch.rows[0]
    if lines or len(row.values) < 2:
        return []
    values = iter(row.values.items())
    first = dict(islice(values, len(row.values) // 2))
    return [Batch((replace(row, values=first),), row.n - 1), Batch((replace(row, values=dict(values)),), batch.upto)]


def _words(error: BackendError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
