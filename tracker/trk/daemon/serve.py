"""The daemon itself: it watches the journal, delivers what is new, answers on its socket, and decides when to leave."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import trk
from trk import leftovers, session, settings
from trk.daemon import credentials, place, talk
from trk.delivery.loop import LIVELY_S, Loop
from trk.errors import DaemonError
from trk.journal import lifecycle
from trk.journal.cursors import Pending
from trk.journal.db import Journal

if TYPE_CHECKING:
    from trk.query.answers import Answers

IDLE_S = 600.0  # after the last open run ended, unless TRK_DAEMON_IDLE says otherwise
ABANDONED_S = 6 * 3600.0  # a run of which nothing was heard for so long keeps no daemon

log = logging.getLogger("trk.daemon")


def idle_s() -> float:
    """How many seconds a daemon stays with nothing to do."""
    said = settings.env("TRK_DAEMON_IDLE")
    try:
        return max(0.0, float(said)) if said is not None else IDLE_S
    except ValueError:
        return IDLE_S


class Daemon:
    """Serves one `.trk` folder."""

    def __init__(self, folder: str, idle_s: float = IDLE_S) -> None:
        journal = session.existing_journal(folder)
        if journal is None:
            raise DaemonError(f"{folder} has no journal", hint="trk start")
        self.folder = folder
        self.journal: Journal = journal
        self.leaving = threading.Event()
        self.loop = Loop(journal, folder, may=self._may, may_open=self._may_open)
        self._idle_s = idle_s
        self._started = time.monotonic()
        self._served: set[str] = set()  # runs whose programs proved to have this process's credentials
        self._declined: set[str] = set()  # runs whose programs have others
        self._telling = threading.Lock()
        self._answers: Answers | None = None  # until somebody asks
        self._environ = dict(settings.environment())  # SDKs add to it
        self._keyless = not credentials.held(self._environ)
        self._home: list[tuple[int, int]] = []
        self._lock_file = -1
        self._socket = place.socket_path(folder)

    # -- its life -----------------------------------------------------------------------------------------------------

    def run(self, run_id: str | None, wait_s: float = 0.5) -> bool:
        """Serve until there is nothing more to do; False when another daemon serves this folder already."""
        signal.signal(signal.SIGTERM, lambda *_: self.leave())  # before anybody can find this process
        if not self._locked(wait_s):
            return False
        try:
            with talk.listening(self, self._socket):
                if run_id is not None:
                    self._serve(run_id)
                log.info("serving %s (process %s, trk %s)", self.folder, os.getpid(), trk.__version__)
                self._watch()
        finally:
            self.loop.halt()
            log.info("leaving")
        return True

    def _locked(self, wait_s: float) -> bool:
        """Take the lock that says that a daemon lives; whoever looks at it has it for an instant."""
        self._lock_file = os.open(place.lock_path(self.folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)
            else:
                self._tell_lock()
                return True

    def _tell_lock(self) -> None:
        told = [f"{run_id}\n" for run_id in sorted(self._served)] + [f"-{one}\n" for one in sorted(self._declined)]
        text = f"{os.getpid()} {trk.__version__} {self._socket}\n" + "".join(told)
        os.pwrite(self._lock_file, text.encode(), 0)
        os.ftruncate(self._lock_file, len(text))

    def _watch(self) -> None:
        """Have new rows delivered until it is time to leave."""
        busy_at = time.monotonic()
        while not self.leaving.is_set() and self._is_at_home():
            quiet_s = self.loop.turn()
            now = time.monotonic()
            answers = self._answers
            if self._is_busy(quiet_s) or (answers is not None and answers.is_asked):
                busy_at = now
            elif now - max(busy_at, self.loop.moved_at, answers.asked_at if answers else 0.0) >= self._idle_s:
                os.utime(self._lock_file, (0, 0))  # it did not die: who logs next may start another one at once
                return
            self.loop.rest()

    def _is_busy(self, quiet_s: float) -> bool:
        """Whether there is a reason to stay: an open run whose owner lives, or of which something was just heard."""
        if quiet_s < min(LIVELY_S, self._idle_s):
            return lifecycle.has_open(self.journal)
        return quiet_s < ABANDONED_S and leftovers.is_anybody_there(self.journal)

    def _is_at_home(self) -> bool:
        """Whether lock and journal are the files that this process opened: a project may be removed, or another's."""
        try:
            now = [os.stat(path) for path in (place.lock_path(self.folder), self.journal.path)]
        except OSError:
            now = []
        found = [(one.st_dev, one.st_ino) for one in now]
        self._home = self._home or found
        if found == self._home and found:
            return True
        log.warning("%s is not there any more, or is another one", self.folder)
        return False

    # -- whom it delivers for -----------------------------------------------------------------------------------------

    def _may(self, entry: Pending) -> bool:
        return entry.run_id in self._served or (self._keyless and entry.keyless)

    def _may_open(self, run_id: str) -> bool:
        return run_id in self._served or (self._keyless and lifecycle.is_keyless(self.journal, run_id))

    def _serve(self, run_id: str) -> None:
        with self._telling:
            self._served.add(run_id)
            self._declined.discard(run_id)
            self._tell_lock()

    # -- what its clients ask -----------------------------------------------------------------------------------------

    def take_on(self, run_id: str, nonce: bytes, proof: str, *, whole: bool = False) -> int | None:
        """Deliver a run whose program proves to have the same credentials; None when it has others.

        `whole` is as `Loop.ask` has it.
        """
        if not credentials.same(self._environ, nonce, proof):
            with self._telling:
                self._declined.add(run_id)
                self._tell_lock()
            return None
        self._serve(run_id)
        return self.loop.ask(run_id, whole)

    def answers_to(self, nonce: bytes, proof: str) -> Answers | None:
        """Who answers questions of a program that proves to have the same credentials; else None."""
        if not credentials.same(self._environ, nonce, proof):
            return None
        from trk.query.answers import Answers

        with self._telling:
            self._answers = self._answers or Answers(self.journal)
            return self._answers

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "running": True, "pid": os.getpid(), "uptime_s": round(time.monotonic() - self._started, 3),
            "version": trk.__version__, "runs": lifecycle.count_open(self.journal), "backends": self.loop.told(),
        }  # fmt: skip

    def leave(self) -> None:
        """Leave as soon as no backend is being called."""
        self.leaving.set()
        self.loop.stir()
