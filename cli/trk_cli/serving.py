"""What stands behind the shell functions of `trk shell-init`: a process that logs for one shell, and goes with it.

`trk __serve PID` makes two named pipes in a folder of this user's own, leaves a process behind that serves them, and
prints where. A request is fields that end with NUL: how many follow, its number, the working directory, how many
variables follow and those, the words of the command. The answer is a line: the request's number and

    0   it is durable
    1   nothing was written: the command itself will do it, or say why it can't
    2   it failed, and what was written is not known

Each request is carried out as the command would: from its directory, in its environment, with nothing remembered but
the open journal. The process ends when its shell ends or has become another program, and when it was not needed for a
while; a shell whose process has gone starts another.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from trk import daemon
from trk.daemon import place
from trk.errors import TrkError
from trk.journal import db
from trk_cli import hot, output

Split = Callable[[list[str], tuple[int, int | None]], tuple[dict[str, Any], list[str]] | None]

VERBS = (
    "log-metric", "log-metrics", "log-param", "log-params", "log-summary", "set-tag", "set-tags", "delete-tag",
    "define-metric",
)  # fmt: skip
TICK_S = 2.0  # how often a process that is not needed looks whether its shell is still one
IDLE_S = 600.0  # and how long it stays
_CARRIED = (b"HOME", b"XDG_CONFIG_HOME", b"XDG_RUNTIME_DIR", b"MLFLOW_TRACKING_URI")  # beside all that begins with TRK_


def serve(words: Sequence[str], split: Split) -> int:
    """Start the process for the shell of this process id, and print its own, when it began, and its folder."""
    shell = int(words[0])
    base = _base()
    _sweep(base)
    watch = _watch(shell)
    seen = _program(shell)
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        folder = os.fsdecode(os.read(reading, 4096))
        if folder:
            output.emit(f"trk-serve {child} {began(child)} {folder}\n")
        return 0 if folder else 1
    os.setsid()
    _let_go({writing, watch})
    folder = _folder(base)
    try:
        _Server(folder, shell, watch, seen, split).run(writing)
    finally:
        _remove(folder)
        os._exit(0)


def began(pid: int) -> str:
    """When a process began, as the system counts; nothing where it does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return "-"


def _base() -> str:
    """The folder of this user alone in which the pipes are."""
    base = os.path.join("/tmp", f"trk-{os.getuid()}")  # noqa: S108 - checked: kind, owner, mode
    place.make_private(base)
    return base


def _folder(base: str) -> str:
    folder = os.path.join(base, f"shell-{os.getpid()}")
    _remove(folder)  # of another process that had this number
    os.mkdir(folder, 0o700)
    for name in ("in", "out"):
        os.mkfifo(os.path.join(folder, name), 0o600)
    return folder


def _remove(folder: str) -> None:
    for name in ("in", "out"):
        try:
            os.unlink(os.path.join(folder, name))
        except OSError:
            continue
    try:
        os.rmdir(folder)
    except OSError:
        return


def _sweep(base: str) -> None:
    """Remove what processes have left that were killed."""
    for name in os.listdir(base):
        kind, _, number = name.partition("-")
        if kind == "shell" and number.isdigit() and not _lives(int(number)):
            _remove(os.path.join(base, name))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _watch(shell: int) -> int:
    """A file that can be read when the shell has ended; -1 where the system has none."""
    try:
        return os.pidfd_open(shell)
    except (AttributeError, OSError):
        return -1


def _program(shell: int) -> str:
    """What the shell runs: another one after it has called `exec`."""
    try:
        return os.readlink(f"/proc/{shell}/exe")
    except OSError:
        return ""


def _let_go(kept: set[int]) -> None:
    """Nothing of the shell's stays open here, and its signals are not meant for this process."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    low = 3
    for file in [*sorted(kept - {-1}), 1 << 16]:
        os.closerange(low, file)
        low = file + 1
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)


class _Server:
    """The process: reads requests and answers them, one after the other."""

    def __init__(self, folder: str, shell: int, watch: int, program: str, split: Split) -> None:
        self._shell = shell
        self._watch = watch
        self._program = program
        self._split = split
        self._folder = folder
        # Open both ways, so that neither end is ever at its end.
        self._in = os.open(os.path.join(folder, "in"), os.O_RDWR)
        self._out = os.open(os.path.join(folder, "out"), os.O_RDWR)
        self._environment: list[bytes] | None = None
        self._buffer = b""

    def run(self, told: int) -> None:
        """Say where the pipes are, and serve until there is nobody to serve."""
        os.write(told, os.fsencode(self._folder))
        os.close(told)
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        if self._watch >= 0:
            poll.register(self._watch, select.POLLIN)
        used = monotonic()
        while True:
            ready = {file for file, _ in poll.poll(TICK_S * 1000)}
            if self._watch in ready:
                return
            if self._in in ready:
                self._take()
                used = monotonic()
            elif monotonic() - used > IDLE_S or not self._is_needed():
                return

    def _is_needed(self) -> bool:
        """Between requests: whether the shell is still there. Meanwhile no journal is held open."""
        db.close_all()
        return (self._watch >= 0 or _lives(self._shell)) and _program(self._shell) == self._program

    def _take(self) -> None:
        self._buffer += os.read(self._in, 1 << 16)
        while True:
            head, _, rest = self._buffer.partition(b"\0")
            fields = rest.split(b"\0")
            if not head or len(fields) <= int(head):
                return
            count = int(head)
            self._buffer = b"\0".join(fields[count:])
            self._answer(fields[:count])

    def _answer(self, fields: list[bytes]) -> None:
        number, folder, many, *rest = fields
        variables, words = rest[: int(many)], [os.fsdecode(word) for word in rest[int(many) :]]
        revive: tuple[str, str] | None = None
        try:
            os.chdir(folder)
            self._live_in(variables)
            revive = self._carry_out(words)
            code = b"1" if revive is None else b"0"
        except (TrkError, OSError):
            code = b"1"
        except Exception:  # noqa: BLE001 - whatever it is: it may have come when the row was written
            code = b"2"
        os.write(self._out, number + b" " + code + b"\n")
        if revive is not None:
            try:
                daemon.revive(*revive)
            except Exception:  # noqa: BLE001, S110 - what was logged is acknowledged; the next look does it
                pass
        os.chdir("/")  # no folder is held either

    def _live_in(self, variables: list[bytes]) -> None:
        """Have the variables that the request has, and of their kind no others."""
        if variables == self._environment:
            return
        for name in [name for name in os.environb if name in _CARRIED or name.startswith(b"TRK_")]:
            del os.environb[name]
        for variable in variables:
            name, _, value = variable.partition(b"=")
            os.environb[name] = value
        self._environment = variables

    def _carry_out(self, words: list[str]) -> tuple[str, str] | None:
        """(folder, run id) of what was logged; None for what is the command's business. Raises TrkError."""
        if not words or words[0] not in VERBS:
            return None
        call = self._split(words, hot.POSITIONALS[words[0]])
        if call is None or call[0].get("json"):
            return None
        db.close_all(replaced=True)  # nothing more goes into a file that was deleted or moved away
        run = hot.perform(words[0], *call)[0]
        return run.folder, run.id
