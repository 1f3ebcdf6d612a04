"""Speaking with a daemon, starting one, and delivering through it: what run, tracker and command line call."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import trk
from trk import config, delivery, settings
from trk.daemon import credentials, place
from trk.delivery import live
from trk.delivery.lock import DeliverLock
from trk.delivery.waiting import Waiting
from trk.errors import Conflict, DaemonError, TrkError
from trk.journal import cursors
from trk.journal.db import Journal

ANSWER_S = 2.0  # a daemon that does not answer in this time is as good as none
CONNECT_S = 0.5  # one that has just been started opens its socket in this time
AGAIN_S = 1.0  # a daemon that was killed is started again after this time
AT_ONCE_S = 0.05  # how long a log command waits for it
STARTING_S = 3.0  # a question waits so long for one to start: it imports what the question would have to
LEAVING_S = 30.0  # a daemon that was asked to leave has left after this time
_POLL_S = 0.02
_ASK_S = 0.2
_LINE = 1 << 16


class Connection:
    """One conversation with the daemon of a `.trk` folder."""

    def __init__(self, folder: str, timeout: float = ANSWER_S) -> None:
        self.request = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(place.socket_of(folder))
            self._lines = self._socket.makefile("r", encoding="utf-8", newline="\n")
            self.hello = self._read()
        except (OSError, ValueError) as error:
            self._socket.close()
            raise DaemonError(f"the daemon of {folder} does not answer: {error}", hint="trk daemon status") from None

    def ask(self, what: str, timeout: float = ANSWER_S, **more: Any) -> dict[str, Any]:
        """Its answer. Raises DaemonError."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(json.dumps({"ask": what, **more}).encode() + b"\n")
            return self._read()
        except (OSError, ValueError) as error:
            raise DaemonError(f"the daemon does not answer: {error}", hint="trk daemon status") from None

    def told(self, timeout: float, **said: Any) -> Iterator[dict[str, Any]]:
        """What it says to this, message by message until the last, which has `end`. Raises DaemonError."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(json.dumps(said).encode() + b"\n")
            while True:
                message = self._read(-1)
                yield message
                if "end" in message:
                    return
        except (OSError, ValueError) as error:
            raise DaemonError(f"the daemon does not answer: {error}", hint="trk daemon status") from None

    def answers(self, source: str, target: str) -> bool:
        """Whether it answers questions to a source, from now on: it does when both have the same credentials."""
        if self.hello.get("trk") != trk.__version__:
            return False
        nonce = bytes.fromhex(str(self.hello["nonce"]))
        said = credentials.proof(settings.environment(), nonce)
        return bool(self.ask("query", source=source, target=target, proof=said).get("same"))

    def serves(self, run_id: str, whole: bool = False) -> bool:
        """Whether it will deliver this run: it does when both have the same credentials.

        `whole` asks for it also where it goes in one piece and has not ended.
        """
        nonce = bytes.fromhex(str(self.hello["nonce"]))
        said = credentials.proof(settings.environment(), nonce)
        answer = self.ask("serve", run=run_id, proof=said, whole=whole)
        self.request = max(self.request, int(answer.get("request") or 0))
        return bool(answer.get("same"))

    def stuck(self) -> set[str]:
        """The runs that were tried since this asked for them, and now wait until somebody does something."""
        return set(self.ask("stuck", request=self.request)["stuck"])

    def lives(self) -> bool:
        """Whether it is still there."""
        try:
            ready, _, _ = select.select([self._socket], [], [], 0)
            return not ready or self._socket.recv(1, socket.MSG_PEEK) != b""
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, most: int = _LINE) -> dict[str, Any]:
        line = self._lines.readline(most)
        if not line.endswith("\n"):
            raise ValueError("it hung up")
        found = json.loads(line)
        if not isinstance(found, dict):
            raise ValueError("it says something else")
        return found


def is_wanted() -> bool:
    """Whether delivery is a daemon's, where one can run: `TRK_DAEMON` is not off."""
    return (settings.env("TRK_DAEMON") or "auto").lower() not in ("off", "0", "false", "no") and can_run()


def can_run() -> bool:
    """Whether this system has what a daemon needs: sockets in the file system, locks, a way to detach."""
    if not sys.executable or getattr(sys, "frozen", False):
        return False  # the program is not Python itself: started again it would be the program once more
    return hasattr(socket, "AF_UNIX") and hasattr(os, "fork") and hasattr(os, "posix_spawn")


def ensure(folder: str, run_id: str) -> bool:
    """See that a daemon delivers this run, without waiting for it; whether one does.

    An older daemon is asked to make room. Where none can run, delivery is in the foreground.
    """
    place.socket_path(folder)  # where none can be, it is said here
    found = place.look(folder)
    if found is None or not found[0]:
        spawn(folder, run_id)
        return True
    try:
        with _reached(folder) as connection:
            if not _leaves(connection):
                return connection.serves(run_id)
    except DaemonError:
        pass  # it is just leaving, or does not listen yet: the next one waits for its lock, and asks again
    spawn(folder, run_id, wait_s=LEAVING_S)
    return True


@contextlib.contextmanager
def _reached(folder: str) -> Iterator[Connection]:
    """A connection with a daemon that may just have been started. Raises DaemonError."""
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            connection = Connection(folder)
            break
        except DaemonError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
    with connection:
        yield connection


def may_replace(folder: str) -> bool:
    """Ask a daemon of an older version to make room; False when the one that lives here is none, and stays."""
    with contextlib.suppress(DaemonError), _reached(folder) as connection:
        return _leaves(connection)
    return True  # it is just leaving, or does not listen yet


def _leaves(connection: Connection) -> bool:
    """Whether it is an older one, which then was asked to leave."""
    is_older = _is_older(str(connection.hello.get("trk")), trk.__version__)
    if is_older:
        connection.ask("leave")
    return is_older


def _is_older(theirs: str, ours: str) -> bool:
    return _numbers(theirs) < _numbers(ours)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdecimal())


def spawn(folder: str, run_id: str | None, wait_s: float = 0.5) -> None:
    """Start a daemon, detached from this process, its terminal and its files. It leaves if there is one already."""
    environ = {name: value for name, value in settings.environment().items() if name not in credentials.BINDING}
    command = [sys.executable, "-P", "-m", "trk.daemon", folder, run_id or "", str(wait_s)]
    nowhere = [(os.POSIX_SPAWN_OPEN, file, os.devnull, os.O_RDWR, 0) for file in (0, 1, 2)]
    try:
        child = os.posix_spawn(sys.executable, command, environ, file_actions=nowhere)
    except OSError as error:
        raise DaemonError(f"a daemon can't be started: {error.strerror}", hint="TRK_DAEMON=off") from None
    _reap(child)


def introduce(folder: str, run_id: str) -> None:
    """Have the daemon that came first deliver this run: of two starts in one moment each may have started one."""
    with contextlib.suppress(DaemonError), _reached(folder) as connection:
        connection.serves(run_id)


def revive(folder: str, run_id: str, lives: bool) -> None:
    """Start a daemon again that was killed, or have one that lives deliver this run; never an error of who logs."""
    if not is_wanted() or (not lives and _was_just_started(folder)):
        return
    with contextlib.suppress(TrkError):
        if config.delivery(config.resolve(folder)) != "daemon":
            return
        if lives:
            with Connection(folder, AT_ONCE_S) as connection:
                connection.serves(run_id)
        else:
            spawn(folder, run_id)


def _was_just_started(folder: str) -> bool:
    """One that can't live must not be started by every log command; one that was not needed any more says so."""
    try:
        return abs(time.time() - os.stat(place.lock_path(folder)).st_mtime) < AGAIN_S
    except OSError:
        return False


def _reap(child: int) -> None:
    """The child leaves as soon as it has detached the daemon; a program that goes on must not keep it as a zombie."""
    from threading import Thread

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)

    Thread(target=wait, name="trk-reaper", daemon=True).start()


def for_questions(folder: str, source: str, target: str) -> Connection | None:
    """A connection with the daemon that answers questions to a source; it is started if there is none.

    None when there is to be none, or it has other credentials, is of another version, or does not answer.
    """
    if not is_wanted():
        return None
    try:
        found = place.look(folder)
        if found is None or not found[0]:
            place.socket_path(folder)  # where none can be, none is started
            start(folder, STARTING_S)
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(_reached(folder))
            if connection.answers(source, target):
                stack.pop_all()
                return connection
    except (DaemonError, KeyError, ValueError):
        pass
    return None


def status(folder: str) -> dict[str, Any]:
    """What a daemon says of itself; `{"running": False}` when there is none."""
    found = place.look(folder)
    if found is None or not found[0]:
        return {"running": False, "pid": None, "uptime_s": None, "version": None, "runs": 0, "backends": {}}
    with _reached(folder) as connection:
        return connection.ask("status")


def start(folder: str, timeout: float = 10.0) -> None:
    """Start a daemon and wait until it answers. Raises DaemonError."""
    spawn(folder, None)
    deadline = time.monotonic() + timeout
    while not ((found := place.look(folder)) is not None and found[0]):
        if time.monotonic() >= deadline:
            raise DaemonError(f"the daemon has not started within {timeout:g} s", hint="trk daemon logs")
        time.sleep(_POLL_S)
    with _reached(folder):
        return


def stop(folder: str, timeout: float = 10.0) -> bool:
    """Ask the daemon to leave, and wait until it has; False when there is none. Raises DaemonError."""
    found = place.look(folder)
    if found is None or not found[0]:
        return False
    with _reached(folder) as connection:
        connection.ask("leave")
    deadline = time.monotonic() + timeout
    while (now := place.look(folder)) is not None and now[0]:
        if time.monotonic() >= deadline:
            raise DaemonError(f"the daemon has not left within {timeout:g} s", hint="trk daemon status")
        time.sleep(_POLL_S)
    return True


def deliver(
    journal: Journal,
    folder: str,
    run_ids: Collection[str] | None = None,
    *,
    backends: Collection[str] | None = None,
    timeout: float = delivery.DEFAULT_TIMEOUT_S,
    progress: delivery.Progress | None = None,
    trouble: delivery.Trouble | None = None,
) -> delivery.Outcome:
    """As `trk.delivery.deliver`; by the thread or the daemon that delivers these runs, while this one waits."""
    deadline = time.monotonic() + timeout
    if (asked := live.asked(journal, folder, run_ids, backends)) is not None:
        done = Waiting(journal, asked, deadline, progress, trouble).until_delivered(asked.runs, backends)
        if done is not None:
            return done
    found = place.look(folder) if can_run() else None
    if found is not None and found[0]:
        with contextlib.suppress(DaemonError), _reached(folder) as connection:
            theirs = {entry.run_id for entry in cursors.pending(journal, run_ids, backends)}
            others = {run_id for run_id in sorted(theirs) if not connection.serves(run_id, whole=True)}
            waiting = Waiting(journal, connection, deadline, progress, trouble)
            outcome = waiting.until_delivered(theirs - others, backends)
            if outcome is not None and not others:
                return outcome
            connection.ask("yield", timeout=max(0.1, deadline - time.monotonic()))
            return _here(journal, folder, run_ids, backends, deadline, progress, trouble)
    return _here(journal, folder, run_ids, backends, deadline, progress, trouble)


@contextlib.contextmanager
def alone(folder: str, timeout: float) -> Iterator[Callable[[], None]]:
    """Inside a `with` nobody else delivers from this folder: a daemon pauses. What it gives lets go of the lock.

    For a change of where runs go, after which whoever delivers looks anew. Raises Conflict when another process
    goes on delivering for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    lock = DeliverLock(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        asked = False
        while True:
            found = None if asked or not can_run() else place.look(folder)
            if found is not None and found[0]:
                with contextlib.suppress(DaemonError):  # it is just leaving, or in a long call: asked again
                    connection = stack.enter_context(_reached(folder))
                    connection.ask("yield", timeout=max(0.1, deadline - time.monotonic()))
                    asked = True
            if lock.acquire(min(deadline, time.monotonic() + _ASK_S)):
                break
            if time.monotonic() >= deadline:
                raise Conflict(
                    f"another process has been delivering for {timeout:g} s: nothing was changed",
                    hint="trk daemon status; or a longer --timeout",
                )
        yield lock.release


def _here(
    journal: Journal,
    folder: str,
    run_ids: Collection[str] | None,
    backends: Collection[str] | None,
    deadline: float,
    progress: delivery.Progress | None,
    trouble: delivery.Trouble | None,
) -> delivery.Outcome:
    left = max(0.0, deadline - time.monotonic())
    return delivery.deliver(
        journal, folder, run_ids, backends=backends, timeout=left, progress=progress, trouble=trouble
    )
