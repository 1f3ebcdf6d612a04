"""Delivering as long as a process lives: it looks for new rows, has a thread a lane (backend and target) deliver
them, and lets others have a turn. The daemon goes round in it, and so does a thread of a Python program.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from trk.delivery.lane import Lane, groups
from trk.delivery.lock import DeliverLock
from trk.delivery.patience import Patience
from trk.errors import JournalError
from trk.journal import cursors, lifecycle, read
from trk.journal.cursors import Pending
from trk.journal.db import Journal

WATCH_S = 0.1  # how often the journal is looked at while it changes, and
WATCH_IDLE_S = 0.5  # when it has not for a while
LIVELY_S = 5.0
AGAIN_S = 30.0  # a journal that can't be written is tried again so often, at last
QUEUE_S = 0.4  # whoever delivers may be about to deliver ours: until then nobody queues
TURN_S = 1.0  # who has the lock and something to do keeps it so long, though others wait
STOPPING_S = 2.0  # so long it waits for the lanes to stop, so that others get their turn; if one hangs, it goes on, and
HUNG_S = 5.0  # tries again then

Key = tuple[str, str]  # backend and target

log = logging.getLogger("trk.delivery")
log.addHandler(logging.NullHandler())  # the daemon writes it down; in a program nobody prints


class _LaneThread(threading.Thread):
    """Delivers to one target until it is stopped; what is new wakes it."""

    def __init__(self, loop: Loop, key: Key, patience: Patience) -> None:
        super().__init__(name=f"trk-{key[0]}", daemon=True)
        self.wake = threading.Event()
        self.urged = False  # somebody waits for it: what rests is tried at once
        self.working = False
        self.last_error: str | None = None
        self._loop = loop
        self._key = key
        self._patience = patience
        self._lane = Lane(
            loop.journal, *key, loop.pause,
            settled=loop.moved, troubled=self._troubled, patience=patience, may=loop.may_open,
            asked=loop.asked_whole,
        )  # fmt: skip

    def run(self) -> None:
        """Deliver what waits, again and again."""
        broken = 0  # how often in a row the journal could not be read or written
        while not self._loop.pause.is_set():
            try:
                entries = self._round()
                broken = 0
            except JournalError as error:
                broken += 1
                self.last_error = error.message
                log.error("%s: %s", self._key[0], error.message)
                self.wake.wait(min(AGAIN_S, 0.5 * 2 ** min(broken, 10)))
                continue
            # Something may have come while the last of it was delivered: then the event is set, and this is no wait.
            self.wake.wait(self._lane.due_s(entries))
        self._lane.close()

    def _round(self) -> list[Pending]:
        self.wake.clear()
        number = self._loop.requests
        if self.urged:
            self.urged = False
            self._patience.urge()
        entries = self._loop.waiting(self._key)
        tried = [entry for entry in entries if self._patience.may_try(entry.run)]
        if tried:
            self.working = True
            try:
                self._lane.deliver(tried)
            finally:
                self.working = False
            self.last_error = self._lane.last_error
            self._loop.tried(self._key, tried, number)
        return entries

    def _troubled(self, name: str, why: str) -> None:
        log.warning("%s: %s; trying again", name, why)


class Loop:
    """Delivers what waits in one journal, of the runs that are its own.

    `may` says which they are, `may_open` (a run id) whether a parent may be opened that has nothing to deliver. The
    journal is an object that nobody writes with: it is asked whether others have. With `known` the runs up to that key
    are not looked at unless they are open or asked for.
    """

    def __init__(
        self,
        journal: Journal,
        folder: str,
        *,
        may: Callable[[Pending], bool],
        may_open: Callable[[str], bool],
        known: int = 0,
    ) -> None:
        self.journal = journal
        self.may_open = may_open
        self.pause = threading.Event()  # while it is set, nothing is delivered
        self.requests = 0  # how often somebody asked for something to be delivered
        self.moved_at = time.monotonic()  # when rows were last delivered
        self.can_start = True  # an interpreter that is ending starts no threads
        self._may = may
        self._lanes: dict[Key, _LaneThread] = {}
        self._patience: dict[Key, Patience] = {}
        self._pending: dict[Key, list[Pending]] = {}
        # Runs of each lane that need the user, and that did not come on, with the number of the request that showed it.
        self._stuck: dict[Key, dict[str, int]] = {}
        self._failed: dict[Key, dict[str, int]] = {}
        self.asked_whole: dict[int, int] = {}  # by run: the last request for all of it, though it has not ended
        self._asked_for: set[int] = set()
        self._lock = DeliverLock(folder)
        self._turn = threading.Condition()
        self._yielded = 0
        self._stirred = threading.Event()  # there is something to look at
        self._nudged = False
        self._version = (-1, -1)
        self._changed_at = time.monotonic()
        self._since = self._not_before = 0.0  # of our own turn; of the next try to end it
        self._blocked_since: float | None = None
        self._known = known  # the newest run that was looked at
        self._open: set[int] = set()  # the runs that were open when the journal was last looked at
        self._unfinished: set[int] = set()  # those of which something waited then

    # -- a round --------------------------------------------------------------------------------------------------

    def turn(self) -> float:
        """Look for new rows, and see that they are delivered; returns for how many seconds nobody wrote any."""
        try:
            found = self.journal.version()
            nudged, self._nudged = self._nudged, False
            if found != self._version or nudged:
                self._version, self._changed_at = found, time.monotonic()
                self._look(wake=True)
            elif self._stirred.is_set():
                self._look(wake=False)
            self._stirred.clear()
            self._give_way()
            self._deliver()
        except JournalError as error:
            log.error("%s", error.message)
            self._version = (-1, -1)  # whatever it was about is looked at again
            self._stirred.clear()
        return time.monotonic() - self._changed_at

    def rest(self) -> None:
        """Wait until it is time for the next round."""
        lively = time.monotonic() - self._changed_at < LIVELY_S or self._blocked_since is not None
        self._stirred.wait(WATCH_S if lively else WATCH_IDLE_S)

    def _look(self, wake: bool) -> None:
        """Find what waits, and wake the lanes that it is for."""
        before = self._open | self._unfinished
        while self._asked_for:
            before.add(self._asked_for.pop())
        self._open, self._known = lifecycle.open_keys(self.journal, self._known)
        waiting = cursors.of_runs(self.journal, self._open | before)
        mine = [entry for entry in waiting if self._may(entry)]
        self._unfinished = {entry.run for entry in mine}
        with self._turn:
            self._pending = groups(mine)
        for key in self._pending if wake else ():
            if (thread := self._lanes.get(key)) is not None:
                thread.wake.set()

    def _deliver(self) -> None:
        """See that each lane with something to do has its thread, as long as nobody else is delivering."""
        with self._turn:
            if self._yielded or not self._pending:
                self._lock.withdraw()
                self._blocked_since = None
                return
            if not self._lock.held and not self._has_come():
                return
            for key in self._pending if self.can_start else ():
                thread = self._lanes.get(key)
                if thread is None or not thread.is_alive():
                    patience = self._patience.setdefault(key, Patience())
                    self._lanes[key] = thread = _LaneThread(self, key, patience)
                    self._start(thread)

    def _start(self, thread: _LaneThread) -> None:
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is ending
            log.error("%s", error)
            self.can_start = False

    def _has_come(self) -> bool:
        """Take the lock, and queue for it when whoever has it did not deliver ours in a moment."""
        now = time.monotonic()
        self._blocked_since = self._blocked_since or now
        if not self._lock.attempt(queue=now - self._blocked_since > QUEUE_S):
            return False
        self._blocked_since, self._since = None, now
        self._look(wake=False)  # whoever had it may have delivered ours
        return True

    # -- others ---------------------------------------------------------------------------------------------------

    def _give_way(self) -> None:
        """Let go of the lock when somebody waits for it; to go on, it is queued for."""
        now = time.monotonic()
        if not self._lock.held or now < self._not_before or not self._lock.is_wanted():
            return
        if now - self._since < TURN_S and any(thread.working for thread in list(self._lanes.values())):
            return
        if not self.halt(now + STOPPING_S):
            self._not_before = time.monotonic() + HUNG_S
        with self._turn:
            if not self._yielded:
                self.pause.clear()

    def halt(self, deadline: float | None = None) -> bool:
        """Stop the lanes between two calls of their backends, and let go of the lock; False when one did not stop.

        `deadline` is by time.monotonic; without one it waits for as long as a call takes.
        """
        self.pause.set()
        for thread in list(self._lanes.values()):
            thread.wake.set()
        for key, thread in list(self._lanes.items()):
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if not thread.is_alive():
                self._lanes.pop(key, None)
        if self._lanes:
            return False
        if self._lock.held:
            with contextlib.suppress(JournalError):
                self.journal.checkpoint()
        self._lock.release()
        return True

    def stop(self) -> None:
        """Deliver nothing any more: the lanes stop between two calls of their backends; nobody waits for them here."""
        with self._turn:
            self._yielded += 1
        self.pause.set()
        for thread in list(self._lanes.values()):
            thread.wake.set()
        self._stirred.set()

    @contextlib.contextmanager
    def yielded(self) -> Iterator[None]:
        """For the length of a `with` nothing is delivered here."""
        with self._turn:
            self._yielded += 1
        try:
            self.halt()
            yield
        finally:
            with self._turn:
                self._yielded -= 1
                if not self._yielded:
                    self.pause.clear()
            self._nudge()

    # -- who asks -------------------------------------------------------------------------------------------------

    def ask(self, run_id: str, whole: bool = False) -> int:
        """Look at a run at once, and try at once what waits for another try; returns the number of this request.

        `whole` is for all of it, also where it goes in one piece and has not ended.
        """
        key = read.run_key(self.journal, run_id)
        if key is not None:
            self._asked_for.add(key)  # it may have ended long ago
        with self._turn:
            self.requests += 1
            number = self.requests
        if key is not None and whole:
            self.asked_whole[key] = number
        self._nudge()
        return number

    @property
    def has_unfinished(self) -> bool:
        """Whether something waited when the journal was last looked at."""
        return bool(self._unfinished)

    @property
    def is_asked(self) -> bool:
        """Whether somebody has asked for a run that was not looked at yet."""
        return bool(self._asked_for)

    def _nudge(self) -> None:
        self._nudged = True
        self._stirred.set()
        for thread in list(self._lanes.values()):
            thread.urged = True
            thread.wake.set()

    def stir(self) -> None:
        """Wake who rests in `rest`."""
        self._stirred.set()

    def stuck(self, request: int) -> set[str]:
        """The runs that were tried since this request, and now wait until somebody does something."""
        return _since(self._stuck, request)

    def failed(self, request: int) -> set[str]:
        """The runs that were tried since this request, and did not come on."""
        return _since(self._failed, request)

    def told(self) -> dict[str, dict[str, object]]:
        """Per backend how many rows wait here, and what holds them up."""
        backends: dict[str, tuple[int, str | None]] = {}
        with self._turn:
            waiting = {key: list(entries) for key, entries in self._pending.items()}
        for key in {*waiting, *self._lanes}:
            rows, error = backends.get(key[0], (0, None))
            entries = cursors.refreshed(self.journal, waiting.get(key, []))
            thread = self._lanes.get(key)
            rows += sum(entry.logged - entry.cursor for entry in entries)
            backends[key[0]] = rows, error or (thread.last_error if thread is not None else None)
        return {name: {"pending": rows, "last_error": error} for name, (rows, error) in backends.items()}

    # -- what the lanes call --------------------------------------------------------------------------------------

    def waiting(self, key: Key) -> list[Pending]:
        """What waits for a lane now."""
        with self._turn:
            known = self._pending.get(key, [])
        return cursors.refreshed(self.journal, known)

    def moved(self, rows: int) -> None:
        """Rows were delivered."""
        self.moved_at = time.monotonic()

    def tried(self, key: Key, entries: list[Pending], number: int) -> None:
        """A lane is through with what there was: see whether there is still a reason to stay."""
        patience = self._patience[key]
        for kept, is_so in ((self._stuck, patience.needs_user), (self._failed, patience.rests)):
            before = kept.get(key, {})
            tried = {entry.run_id: entry.run for entry in entries}
            kept[key] = {
                **{run_id: at for run_id, at in before.items() if run_id not in tried},
                **{run_id: number for run_id, run in tried.items() if is_so(run)},
            }
        self._stirred.set()


def _since(kept: Mapping[Key, Mapping[str, int]], request: int) -> set[str]:
    return {run_id for found in list(kept.values()) for run_id, number in found.items() if number >= request}
