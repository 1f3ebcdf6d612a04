"""The daemon itself: it watches the journal, delivers what is new, and answers on its socket.

One thread a lane (backend and target) delivers; the main thread watches the journal and decides when to leave; each
client has a thread as long as it is connected.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import trk
from trk import leftovers, session, settings
from trk.daemon import credentials, place
from trk.delivery.lane import Lane, groups
from trk.delivery.lock import DeliverLock
from trk.delivery.patience import Patience
from trk.errors import DaemonError, JournalError
from trk.journal import cursors, lifecycle, read
from trk.journal.cursors import Pending
from trk.journal.db import Journal

WATCH_S = 0.1  # how often the journal is looked at while it changes, and
WATCH_IDLE_S = 0.5  # when it has not for a while
LIVELY_S = 5.0
AGAIN_S = 30.0  # a journal that can't be written is tried again so often, at last
IDLE_S = 600.0  # after the last open run ended, unless TRK_DAEMON_IDLE says otherwise
ABANDONED_S = 6 * 3600.0  # a run of which nothing was heard for so long keeps no daemon
LINE = 1 << 16  # bytes of a message

log = logging.getLogger("trk.daemon")


def idle_s() -> float:
    """How many seconds a daemon stays with nothing to do."""
    said = settings.env("TRK_DAEMON_IDLE")
    try:
        return max(0.0, float(said)) if said is not None else IDLE_S
    except ValueError:
        return IDLE_S


class _LaneThread(threading.Thread):
    """Delivers to one target until it is stopped; what is new wakes it."""

    def __init__(self, daemon: Daemon, name: str, target: str) -> None:
        super().__init__(name=f"trk-{name}", daemon=True)
        self.wake = threading.Event()
        self.urged = False  # somebody waits for it: what rests is tried at once
        self.last_error: str | None = None
        self.stuck: dict[str, int] = {}  # runs that need the user, with the number of the request that found it out
        self._daemon = daemon
        self._key = (name, target)
        self._patience = Patience()
        self._lane = Lane(
            daemon.journal, name, target, daemon.pause,
            settled=daemon.moved, troubled=self._troubled, patience=self._patience, may=daemon.may,
        )  # fmt: skip

    def run(self) -> None:
        """Deliver what waits, again and again."""
        broken = 0  # how often in a row the journal could not be read or written
        while not self._daemon.pause.is_set():
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
        number = self._daemon.requests
        if self.urged:
            self.urged = False
            self._patience.urge()
        entries = self._daemon.waiting(self._key)
        tried = [entry for entry in entries if self._patience.may_try(entry.run)]
        if tried:
            self._lane.deliver(tried)
            self.last_error = self._lane.last_error
            for entry in tried:
                if self._patience.needs_user(entry.run):
                    self.stuck[entry.run_id] = number
                else:
                    self.stuck.pop(entry.run_id, None)
            self._daemon.settled()
        return entries

    def _troubled(self, name: str, why: str) -> None:
        log.warning("%s: %s; trying again", name, why)


class Daemon:
    """Serves one `.trk` folder."""

    def __init__(self, folder: str, idle_s: float = IDLE_S) -> None:
        journal = session.existing_journal(folder)
        if journal is None:
            raise DaemonError(f"{folder} has no journal", hint="trk start")
        self.folder = folder
        self.journal: Journal = journal
        self.pause = threading.Event()  # while it is set, nothing is delivered
        self.leaving = threading.Event()
        self._idle_s = idle_s
        self._started = time.monotonic()
        self._served: set[str] = set()  # runs whose programs proved to have this process's credentials
        self._asked_for: set[int] = set()
        self._declined: set[str] = set()  # runs whose programs have others
        self._environ = dict(settings.environment())  # SDKs add to it
        self._keyless = not credentials.held(self._environ)
        self._lanes: dict[tuple[str, str], _LaneThread] = {}
        self._pending: dict[tuple[str, str], list[Pending]] = {}
        self._lock = DeliverLock(folder)
        self._turn = threading.Condition()
        self._yielded = 0
        self._stirred = threading.Event()  # the main thread has something to look at
        self._nudged = False
        self._moved_at = time.monotonic()
        self.requests = 0  # how many clients asked for something to be delivered
        self._home: list[tuple[int, int]] = []
        self._lock_file = -1
        self._socket = place.socket_path(folder)
        self._known = 0  # the newest run that was looked at
        self._open: set[int] = set()  # the runs that were open when the journal was last looked at
        self._unfinished: set[int] = set()  # those of which something waited then

    # -- its life -----------------------------------------------------------------------------------------------------

    def run(self, run_id: str | None, wait_s: float = 0.5) -> bool:
        """Serve until there is nothing more to do; False when another daemon serves this folder already."""
        signal.signal(signal.SIGTERM, lambda *_: self._leave())  # before anybody can find this process
        if not self._locked(wait_s):
            return False
        try:
            with self._listening():
                if run_id is not None:
                    self._serve(run_id)
                log.info("serving %s (process %s, trk %s)", self.folder, os.getpid(), trk.__version__)
                self._watch()
        finally:
            self._halt()
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
        """Look for new rows until it is time to leave."""
        version = -1
        changed_at = busy_at = time.monotonic()
        while not self.leaving.is_set() and self._is_at_home():
            now = time.monotonic()
            try:
                found = self.journal.version()
            except JournalError as error:
                log.error("%s", error.message)
                found = version
            nudged, self._nudged = self._nudged, False
            if found != version or nudged:
                version, changed_at = found, now
                self._look(wake=True)
            elif self._stirred.is_set():
                self._look(wake=False)
            self._stirred.clear()
            self._deliver()
            if self._is_busy(now - changed_at):
                busy_at = now
            if now - max(busy_at, self._moved_at) >= self._idle_s:
                return
            self._stirred.wait(WATCH_S if now - changed_at < LIVELY_S else WATCH_IDLE_S)

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

    def moved(self, rows: int) -> None:
        """Rows were delivered."""
        self._moved_at = time.monotonic()

    def settled(self) -> None:
        """A lane is through with what there was: see whether there is still a reason to stay."""
        self._stirred.set()

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

    def _may(self, entry: Pending) -> bool:
        return entry.run_id in self._served or (self._keyless and entry.keyless)

    def may(self, run_id: str) -> bool:
        """Whether a run, which may have nothing to deliver, is for this process to deliver."""
        return run_id in self._served or (self._keyless and lifecycle.is_keyless(self.journal, run_id))

    def waiting(self, key: tuple[str, str]) -> list[Pending]:
        """What waits for a lane now."""
        with self._turn:
            known = self._pending.get(key, [])
        return cursors.refreshed(self.journal, known)

    def _deliver(self) -> None:
        """See that each lane with something to do has its thread, as long as nobody else is delivering."""
        with self._turn:
            if self._yielded or not self._pending:
                return
            if not self._lock.held and not self._lock.acquire(0):
                return
            for key in self._pending:
                thread = self._lanes.get(key)
                if thread is None or not thread.is_alive():
                    self._lanes[key] = thread = _LaneThread(self, *key)
                    thread.start()

    def _is_busy(self, quiet_s: float) -> bool:
        """Whether there is a reason to stay: an open run whose owner lives, or of which something was just heard."""
        if quiet_s < min(LIVELY_S, self._idle_s):
            return lifecycle.has_open(self.journal)
        return quiet_s < ABANDONED_S and leftovers.is_anybody_there(self.journal)

    def _halt(self) -> None:
        """Stop the lanes between two calls of their backends, and let go of the journal."""
        self.pause.set()
        for thread in self._lanes.values():
            thread.wake.set()
        for thread in self._lanes.values():
            thread.join()
        self._lanes.clear()
        if self._lock.held:
            with contextlib.suppress(JournalError):
                self.journal.checkpoint()
            self._lock.release()

    # -- its clients --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        path = self._socket
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of one that was killed: its lock is ours
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(path)
        os.chmod(path, 0o600)
        server.listen(64)
        threading.Thread(target=self._accept, args=(server,), name="trk-socket", daemon=True).start()
        try:
            yield
        finally:
            server.close()
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                if server.fileno() == -1:
                    return  # it was closed
                time.sleep(0.1)  # no descriptors, or the caller has left
                continue
            threading.Thread(target=self._talk, args=(client,), name="trk-client", daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError, KeyError):  # whoever it was has left, or speaks otherwise
            client.settimeout(30)
            if not _is_own_user(client):
                return
            nonce = os.urandom(32)
            hello = {"trk": trk.__version__, "pid": os.getpid(), "nonce": nonce.hex(), "folder": self.folder}
            _say(client, hello)
            lines = client.makefile("r", encoding="utf-8", newline="\n")
            while line := lines.readline(LINE):
                asked = json.loads(line)
                answer = _ANSWERS.get(asked.get("ask")) if isinstance(asked, dict) else None
                if answer is None:
                    _say(client, {"error": "this daemon does not know that"})
                elif answer is Daemon._yield:
                    self._yield(client, lines)
                    return
                else:
                    _say(client, answer(self, asked, nonce))

    def _answer_serve(self, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
        """Deliver a run whose program proves to have the same credentials."""
        if not credentials.same(self._environ, nonce, str(asked.get("proof"))):
            with self._turn:
                self._declined.add(str(asked["run"]))
                self._tell_lock()
            return {"same": False}
        self._serve(str(asked["run"]))
        key = read.run_key(self.journal, str(asked["run"]))
        if key is not None:
            self._asked_for.add(key)  # it may have ended long ago
        self.requests += 1
        self._nudge()
        return {"same": True, "request": self.requests}

    def _answer_status(self, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
        lanes: dict[str, dict[str, Any]] = {}
        with self._turn:
            waiting = {key: list(entries) for key, entries in self._pending.items()}
        for key in {*waiting, *self._lanes}:
            told = lanes.setdefault(key[0], {"pending": 0, "last_error": None})
            entries = cursors.refreshed(self.journal, waiting.get(key, []))
            told["pending"] += sum(entry.logged - entry.cursor for entry in entries)
            thread = self._lanes.get(key)
            told["last_error"] = told["last_error"] or (thread.last_error if thread is not None else None)
        return {
            "running": True, "pid": os.getpid(), "uptime_s": round(time.monotonic() - self._started, 3),
            "version": trk.__version__, "runs": lifecycle.count_open(self.journal), "backends": lanes,
        }  # fmt: skip

    def _answer_stuck(self, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
        """The runs that wait until somebody does something, each with the request that found it out."""
        stuck: dict[str, int] = {}
        for thread in list(self._lanes.values()):
            stuck |= thread.stuck
        return {"stuck": stuck}

    def _answer_leave(self, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
        self._leave()
        return {"ok": True, "pid": os.getpid()}

    def _leave(self) -> None:
        self.leaving.set()
        self._stirred.set()

    def _yield(self, client: socket.socket, lines: Any) -> None:
        """Let a client deliver: until it has left, nothing is delivered here."""
        with self._turn:
            self._yielded += 1
        try:
            self._halt()
            _say(client, {"ok": True})
            client.settimeout(None)
            lines.read(1)
        finally:
            with self._turn:
                self._yielded -= 1
                if not self._yielded:
                    self.pause.clear()
            self._nudge()

    def _serve(self, run_id: str) -> None:
        with self._turn:
            self._served.add(run_id)
            self._declined.discard(run_id)
            self._tell_lock()

    def _nudge(self) -> None:
        """Look at once, and try at once what waits for another try."""
        self._nudged = True
        self._stirred.set()
        for thread in list(self._lanes.values()):
            thread.urged = True
            thread.wake.set()


_ANSWERS: dict[object, Callable[..., Any]] = {
    "serve": Daemon._answer_serve,
    "status": Daemon._answer_status,
    "stuck": Daemon._answer_stuck,
    "leave": Daemon._answer_leave,
    "yield": Daemon._yield,
}


def _say(client: socket.socket, message: dict[str, Any]) -> None:
    client.sendall(json.dumps(message).encode() + b"\n")


def _is_own_user(client: socket.socket) -> bool:
    """Whether the process at the other end is this user's. Where the system does not tell, its folder's mode does."""
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is None:
        return True
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, kind, struct.calcsize("3i")))
    return bool(uid == os.getuid())
