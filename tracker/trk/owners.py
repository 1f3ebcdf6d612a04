"""Who started a run: the process, on which machine, since which of its starts; and whether that process still lives.

That it has ended is no proof of a crash: each step of a CI job and each line of a Makefile is a shell of its own, and a
run goes on through several of them. So nothing is ever ended because of what is found here; it is only told.

A process is known again by its start time, since numbers of processes come again, and is looked for only where its
number means the same: on this machine, since the same start of it, among the same processes (a container has its own).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trk import settings

SILENT_MS = 600_000  # a run whose owner has ended, and of which nothing was heard for so long, is told of
BEAT_S = 30.0  # how often an owner that stays (`trk run`) notes that it lives
LATE_MS = 180_000  # one that has noted nothing for so long has died, and its machine perhaps with it
_NO_NAMES = ("", "localhost", "localhost.localdomain", "(none)")  # by which no machine is known again
_LAUNCHERS = ("hatch", "pixi", "rye", "strace", "sudo", "time", "timeout", "uv")  # run one command, and end with it
_GENERATIONS = 8
_LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who started a run, or (`resumed`) reopened it last, and what is known of that process now.

    `pid` is the process, the shell's for `trk start`, on the machine `host`. `alive` says whether it lives, `this_boot`
    whether this machine has not been restarted since. None is: not known, as of anything on another machine. `beat_ms`
    is when an owner that notes every half a minute that it lives, as `trk run` does, did so last; None of others.
    """

    pid: int | None = None
    host: str | None = None
    alive: bool | None = None
    this_boot: bool | None = None
    resumed: bool = False
    beat_ms: int | None = None

    def is_gone(self, now_ms: int) -> bool:
        """Whether it has ended, as far as can be known: what can't be looked at from here is known by its silence."""
        silent = self.alive is None and self.beat_ms is not None and now_ms - self.beat_ms >= LATE_MS
        return self.alive is False or silent

    def is_left(self, last_ms: int, now_ms: int) -> bool:
        """Whether the run looks as if nobody went on with it, when it was last heard of at `last_ms`."""
        silent_ms = LATE_MS if self.beat_ms is not None else SILENT_MS
        heard_ms = max(last_ms, self.beat_ms or 0)
        return self.is_gone(now_ms) and (self.this_boot is False or now_ms - heard_ms >= silent_ms)

    def story(self) -> str:
        """What is known, as a part of a sentence about a run: `process 12, which started it, has ended`."""
        did = "resumed" if self.resumed else "started"
        if self.this_boot is False:
            return f"it was {did} on this machine before that was restarted"
        if self.this_boot is None and self.host is not None:
            silent = ", which has fallen silent" if self.beat_ms is not None else ""
            return f"it was {did} on host {self.host}{silent}"
        if self.pid is None:
            return f"it is not known who {did} it"
        fate = {True: "is there", False: "has ended", None: "can't be looked at from here"}[self.alive]
        return f"process {self.pid}, which {did} it, {fate}"


def of_process(*, resumed: bool = False, beat_ms: int | None = None) -> str:
    """This process as an owner, as the journal keeps it. `beat_ms`, the present: it will go on noting that it lives."""
    return _kept(os.getpid(), resumed, beat_ms)


def of_caller(*, resumed: bool = False) -> str:
    """The shell that called this command, as the journal keeps it.

    A subshell, such as that of `$(trk start)`, ends at once and stands for its shell; `uv run` for its caller.
    """
    pid = os.getppid()
    known = _look(pid)
    for _ in range(_GENERATIONS):
        above = _look(known.parent) if known else None
        if not known or not above or not (_is_copy(known, above) or known.name in _LAUNCHERS):
            break
        pid, known = known.parent, above
    return _kept(pid, resumed)


def look(kept: str | None) -> Owner:
    """What is known now of an owner that the journal keeps: nothing of None and of what can't be read. No errors."""
    try:
        found = json.loads(kept) if kept is not None else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return Owner()
    pid = found.get("pid") if isinstance(found.get("pid"), int) else None
    host = str(found["host"]) if found.get("host") else None
    this_boot = _is_this_boot(found)
    alive = None
    if this_boot is False:
        alive = False
    elif this_boot and pid is not None and found.get("space") == _space():
        alive = _lives(pid, found.get("started"))
    beat = found.get("beat")
    return Owner(pid, host, alive, this_boot, bool(found.get("resumed")), beat if isinstance(beat, int) else None)


def _kept(pid: int, resumed: bool, beat_ms: int | None = None) -> str:
    known = _look(pid) if pid > 0 else None  # 0: the caller is outside of this container
    found = {
        "host": _host(), "machine": _machine(), "boot": _boot(), "space": _space(),
        "pid": pid if known else None, "started": known.started if known else None, "resumed": resumed or None,
        "beat": beat_ms,
    }  # fmt: skip
    return json.dumps({name: value for name, value in found.items() if value is not None})


def _is_this_boot(found: dict[str, Any]) -> bool | None:
    """Whether this machine has not been restarted since; None where it is another one, or can't be told."""
    here, theirs = _boot(), found.get("boot")
    if not here or not theirs:
        return None
    if here == theirs:
        return True
    same = found.get("host") == _host() and _host() not in _NO_NAMES and found.get("machine") == _machine()
    return False if same else None


def _lives(pid: int, started: object) -> bool | None:
    known = _look(pid)
    if known is None:
        return None
    if not known:
        return False
    return known.started == started if started is not None else None


# ---- this machine


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else ""


def _boot() -> str | None:
    """What is another text after each start of this machine."""
    if sys.platform == "darwin":
        return _said("sysctl", "-n", "kern.bootsessionuuid") or None
    return _read("/proc/sys/kernel/random/boot_id")


def _machine() -> str | None:
    """What tells machines of the same name apart; not the machine's id itself, which is nobody's business."""
    found = _read("/etc/machine-id")
    if not found:
        return None
    import hashlib

    return hashlib.sha256(b"trk:" + found.encode()).hexdigest()[:16]


def _space() -> str | None:
    """Among which processes a process's number means something: those of one container."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


# ---- processes


@dataclass(frozen=True, slots=True)
class _Process:
    """A process: the number of its parent, when it was started, its name, and where its program lies in memory."""

    parent: int = 0
    started: str = ""
    name: str = ""
    image: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.started)


_NONE = _Process()  # there is no such process


def _is_copy(process: _Process, above: _Process) -> bool:
    """Whether a process runs its parent's program as it was loaded there: a fork, such as a subshell."""
    return (process.name, process.image) == (above.name, above.image) and process.image != ()


def _look(pid: int) -> _Process | None:
    """A process; _NONE when there is none of that number, or it has ended; None where that can't be told."""
    if pid <= 0:
        return None
    return _look_darwin(pid) if sys.platform == "darwin" else _look_linux(pid)


def _look_linux(pid: int) -> _Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return _NONE if Path("/proc/self/stat").exists() and _is_nobody(pid) else None
    except OSError:
        return None
    words = text[text.rindex(")") + 1 :].split()  # from the third field of proc(5) on: a name may have spaces in it
    if words[0] in ("Z", "X"):
        return _NONE  # it has ended, and nobody has asked how
    # Addresses of the code, the stack, the words and the environment; 0 for whoever may not know them.
    image = tuple(words[at] for at in (23, 25, 45, 47) if words[25] != "0")
    return _Process(int(words[1]), words[19], text[text.index("(") + 1 : text.rindex(")")], image)


def _look_darwin(pid: int) -> _Process | None:
    text = _said("ps", "-o", "ppid=,stat=,lstart=,command=", "-p", str(pid))
    if text is None:
        return None
    words = text.split(None, 7)
    if len(words) < 7 or words[1].startswith("Z"):
        return _NONE if text or _is_nobody(pid) else None
    command = words[7] if len(words) > 7 else "?"
    return _Process(int(words[0]), " ".join(words[2:7]), Path(command.split(None, 1)[0]).name, (command,))


def _is_nobody(pid: int) -> bool:
    """Whether there is certainly no process of that number: /proc may hide those of others."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def _said(*command: str) -> str | None:
    """What a command of the system prints, whatever the language and time zone here; None when it can't be had."""
    environ = {**settings.environment(), "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LOOK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip()
