"""One command: found, started, waited for."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trk.errors import CommandNotExecutable, CommandNotFound, TrkError, UsageError
from trk.rules import shown
from trk.running import ways
from trk.running.signals import Signals
from trk.running.terminal import Terminal, is_terminal

SHELL = "/bin/sh"  # what runs a script that does not say who does
STOP_S = 0.5  # how long a command that is to stop may take for it
_LOOK_S = 0.25
Sinks = Callable[[], ways.Sink | None]  # makes the sink of one stream


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit status, or the signal it died of; and what trk could not do meanwhile.

    `mid_line` says that what trk says on stderr, at a terminal, would begin in a line that the command has not ended.

    `code` is from 0 to 255 as a shell has it: of a command that died of a signal, 128 and that signal's number.
    """

    code: int
    signal: int | None
    troubles: tuple[str, ...]
    mid_line: bool


def located(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """The file that a command line means, as a shell finds it.

    Raises UsageError, CommandNotFound, and CommandNotExecutable.
    """
    if not words or not words[0]:
        raise UsageError("no command is given", hint="trk run -- python train.py")
    name = words[0]
    if any("\0" in word for word in words):
        raise UsageError("a word of the command has a NUL character")
    places = [name] if "/" in name else _on_path(name, environ)
    found = [place for place in places if os.path.lexists(place)]
    runs = next((place for place in found if os.access(place, os.X_OK) and not os.path.isdir(place)), None)
    if runs is not None:
        return runs
    if not found:
        raise CommandNotFound(f"there is no command {shown(name)}", hint="trk run [OPTIONS] -- COMMAND ARGUMENTS")
    why = "is a folder" if os.path.isdir(found[0]) else "can't be executed"
    raise CommandNotExecutable(f"{shown(found[0])} {why}", hint=f"ls -l {found[0]}")


def _on_path(name: str, environ: Mapping[str, str]) -> list[str]:
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    return [os.path.join(folder or os.curdir, name) for folder in folders]


def hold_standard_streams() -> None:
    """What was closed when we were started leads nowhere: a file that is opened later would be taken for it."""
    while (opened := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    os.close(opened)


@dataclass(frozen=True, slots=True)
class _End:
    """Where the command writes one of its streams (`write`), where we read it, and the terminal that it is."""

    read: int
    write: int
    terminal: Terminal | None


class Child:
    """A command on its way. `sink` makes, for each of its streams, what gets a copy of it."""

    def __init__(self, words: Sequence[str], path: str, environ: Mapping[str, str], sink: Sinks) -> None:
        self._words = words
        self._path = path
        self._environ = environ
        self._sink = sink
        self._terminals: list[Terminal] = []
        self._ways: list[ways.Way] = []
        self._keys: ways.Keys | None = None
        self._lock = threading.RLock()  # a handler of signals may come between
        self._over = False
        self._process: subprocess.Popen[bytes] | None = None
        self._signals: Signals | None = None
        self._troubles: list[str] = []

    @property
    def pid(self) -> int:
        """The command's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it. Raises CommandNotExecutable, CommandNotFound, TrkError."""
        interactive = is_terminal(0) and (is_terminal(1) or is_terminal(2))
        out = self._end(1, interactive=interactive)
        err = out if _is_same(1, 2) else self._end(2, interactive=interactive and out.terminal is None)
        keyboard = (out.terminal or err.terminal) if interactive else None
        try:
            self._process = self._started(keyboard.theirs if keyboard is not None else None, out.write, err.write)
        except BaseException:  # also Ctrl-C: what was opened for the command is closed
            self._close(out, err, reading=True)
            raise
        self._close(out, err, reading=False)
        for end, target in ((out, 1), (err, 2)) if err is not out else ((out, 1),):
            self._ways.append(ways.Way(end.read, target, self._sink()))
        if keyboard is not None:
            self._keys = ways.Keys(0, keyboard.ours, keyboard.is_raw, self._typed)

    def wait(self, signals: Signals) -> Ended:
        """Carry its streams and pass signals on until it has ended, and its output is through."""
        self._signals = signals
        for terminal in self._terminals:
            terminal.enter()
        try:
            for way in self._ways:
                way.start()
            if self._keys is not None:
                self._keys.start()
            signals.start(self.passing)
            code = self._wait()
            if self._keys is not None:
                self._keys.finish()
            for way in self._ways:
                way.leave()
            for way in self._ways:
                way.finish(lambda: signals.is_late)
        finally:
            for terminal in self._terminals:
                terminal.close()
        return self._ended(code)

    def _ended(self, code: int) -> Ended:
        told = [f"output could not be passed on: {way.trouble}" for way in self._ways if way.trouble]
        told += [f"output could not be kept: {way.copy_trouble}" for way in self._ways if way.copy_trouble]
        died = -code if code < 0 else None
        return Ended(code if died is None else 128 + died, died, (*self._troubles, *told), self._is_mid_line())

    @property
    def at_terminal(self) -> bool:
        """Whether what it prints goes to a terminal."""
        return bool(self._terminals)

    def _is_mid_line(self) -> bool:
        return is_terminal(2) and any(way.is_mid_line for way in self._ways if is_terminal(way.aim))

    # ---- starting

    def _end(self, descriptor: int, *, interactive: bool) -> _End:
        """What the command has in the place of our descriptor: a terminal for a terminal, else a pipe."""
        if is_terminal(descriptor):
            terminal = Terminal(descriptor, interactive=interactive)
            self._terminals.append(terminal)
            return _End(os.dup(terminal.ours), terminal.theirs, terminal)
        return _End(*os.pipe(), None)

    def _close(self, *ends: _End, reading: bool) -> None:
        """Close what is the command's own; with `reading` also what we read, since it could not be started."""
        for end in dict.fromkeys(ends):
            if end.terminal is None:
                os.close(end.write)
            elif not reading:
                end.terminal.started()
            if reading:
                os.close(end.read)
        for terminal in self._terminals if reading else ():
            terminal.close()

    def _started(self, stdin: int | None, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        taking = next((number for number, end in ((1, stdout), (2, stderr)) if os.isatty(end)), None)

        def take() -> None:
            # In the new process, which has a session of its own by now: the terminal is that session's.
            fcntl.ioctl(taking or 0, termios.TIOCSCTTY, 0)

        def start(words: Sequence[str], path: str) -> subprocess.Popen[bytes]:
            # Nothing else runs in this process yet that the function in the new one could come across. Files that the
            # caller has left open (`3>log`, `<(…)`, make's jobserver) are the command's; ours are not passed on.
            return subprocess.Popen(
                words, executable=path, env=self._environ, stdin=stdin, stdout=stdout, stderr=stderr, close_fds=False,
                start_new_session=taking is not None, preexec_fn=take if taking is not None else None,
            )  # fmt: skip

        try:
            try:
                return start(self._words, self._path)
            except OSError as error:
                if error.errno != errno.ENOEXEC or not _is_text(self._path):
                    raise
                return start([SHELL, self._path, *self._words[1:]], SHELL)  # as every shell does
        except OSError as error:
            raise _explained(self._path, error) from None

    # ---- its end

    def _wait(self) -> int:
        assert self._process is not None
        ended = threading.Event()
        threading.Thread(target=self._await_end, args=(ended,), daemon=True).start()
        while not ended.wait(_LOOK_S):  # here Python handles signals that another thread was interrupted by
            pass
        with self._lock:
            self._over = True
        return self._process.wait()

    def _await_end(self, ended: threading.Event) -> None:
        assert self._process is not None
        if hasattr(os, "waitid"):  # as long as it is not asked how it ended, its number is nobody else's
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        ended.set()

    # ---- signals

    def passing(self, number: int, from_terminal: bool) -> None:
        """Pass on a signal; one that the terminal has sent to our whole group a command in that has already."""
        if number == signal.SIGTSTP:
            self._suspend(had_it=from_terminal and not self._terminals)
        elif number == signal.SIGCONT:
            self._resume()
        elif number == signal.SIGWINCH and self._terminals:
            resized = [terminal.resize() for terminal in self._terminals]
            if not any(resized):  # a new size tells by itself
                self._send(number)
        elif self._terminals or not from_terminal:
            self._send(number)

    def _send(self, number: int) -> None:
        with self._lock:
            if self._over:
                assert self._signals is not None
                self._signals.late(number)
                return
            try:
                os.kill(self.pid, number)
            except OSError as error:  # it has become another user
                self._troubles.append(f"{signal.Signals(number).name} could not be passed on: {error.strerror}")

    def _suspend(self, *, had_it: bool) -> None:
        """Stop, and the command with us, until somebody continues us."""
        if self._terminals:
            self._stop_terminals()
        elif not had_it:
            self._send(signal.SIGTSTP)
        self._await_stop()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _await_stop(self) -> None:
        """Until it has stopped, for a moment: what it says before it does is to go through."""
        deadline = time.monotonic() + STOP_S
        while hasattr(os, "waitid") and not self._over and time.monotonic() < deadline:
            try:
                if os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is not None:
                    return
            except ChildProcessError:
                return
            time.sleep(0.005)

    def _typed(self, keys: bytes) -> bool:
        """Ctrl-Z stops us, and all that is in our pipeline, as it does without a terminal in between."""
        if not self._terminals[0].suspends(keys, self.pid):
            return False
        self._stop_terminals()
        os.killpg(os.getpgrp(), signal.SIGSTOP)
        return True

    def _stop_terminals(self) -> None:
        for terminal in self._terminals:
            terminal.leave()
        self._send_group(signal.SIGSTOP)  # the other one is ignored where no shell is above to continue

    def _resume(self) -> None:
        for terminal in self._terminals:
            terminal.resize()
            terminal.enter()
        if self._keys is not None:
            self._keys.look()
        if self._terminals:
            self._send_group(signal.SIGCONT)
        else:
            self._send(signal.SIGCONT)

    def _send_group(self, number: int) -> None:
        """To the command and what is in its group, and to what is in the foreground of its terminal."""
        with self._lock:
            for group in {} if self._over else {self.pid, _foreground(self._terminals[0])} - {0}:
                try:
                    os.killpg(group, number)
                except OSError:
                    continue  # gone by now


def _foreground(terminal: Terminal) -> int:
    try:
        return os.tcgetpgrp(terminal.ours)
    except OSError:
        return 0


def _is_same(one: int, other: int) -> bool:
    """Whether two of our descriptors lead to the same place, as with 2>&1: then so do the command's, in one order."""
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _is_text(path: str) -> bool:
    """Whether a file may be a shell's script that does not say so."""
    try:
        with open(path, "rb") as file:
            return b"\0" not in file.read(256)
    except OSError:
        return False


def _explained(path: str, error: OSError) -> CommandNotExecutable | CommandNotFound | TrkError:
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return TrkError(f"no process can be started: {error.strerror}")
    if error.errno == errno.ENOENT and not os.path.lexists(path):
        return CommandNotFound(f"there is no command {shown(path)}")
    why = "what its first line names is not there" if error.errno == errno.ENOENT else error.strerror
    return CommandNotExecutable(f"{shown(path)} can't be executed: {why}", hint=f"head -1 {path}")
