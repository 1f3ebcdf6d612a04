"""`trk log`: standard input, line by line, into a run.

What was read is written when nothing more comes for a moment, or when much has come; a signal lets it be written too
before the process goes as the signal says.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from trk import daemon
from trk.errors import Conflict, JournalError, TrkError, UsageError
from trk.lines import BadLine, LoggedLines
from trk.piping import LINGER_S, Outcome, Pipe
from trk_cli import forms, hot, output

TOLD = 20  # bad lines that are told one by one
_READ = 1 << 17
_PIPE = 1 << 20  # what a pipe may hold where the system lets it: fewer changes between two processes
_F_SETPIPE_SZ = 1031


def log(options: Mapping[str, Any], words: Sequence[str]) -> None:
    """Log the lines of standard input. Raises what a log command raises; UsageError when no line could be logged."""
    if list(words) not in ([], ["-"]):
        raise UsageError(f"log reads standard input, not {words[0]!r}", hint=f"trk log - < {words[0]}")
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint="… | trk log -")
    run = hot.find_run(options.get("run"))
    ack, quiet = bool(options.get("ack")), bool(options.get("quiet"))
    if ack and options.get("json"):
        raise UsageError("--ack and --json exclude each other", hint="the answers to --ack are one line each")
    told = _Told(quiet or ack or bool(options.get("strict")))
    pipe = Pipe(run, strict=bool(options.get("strict")), answer=_answer if ack else None, tell=told.tell)
    if os.isatty(0):
        output.talk("one line at a time, such as loss=0.5 f1=0.9; Ctrl-D ends", quiet=quiet)
    try:
        _Reader(pipe, 0.0 if ack else LINGER_S).run()
    except (Conflict, JournalError):
        output.talk(f"lines logged before this: {pipe.report.lines:,}", quiet=quiet)
        raise
    finally:
        daemon.revive(run.folder, run.id)
        _say_bad(pipe.report, strict=bool(options.get("strict")))
    _judge(pipe.report)
    if options.get("json"):
        output.emit(forms.dumps(_json(run.id, pipe.report)) + "\n")


def _json(run_id: str, report: LoggedLines) -> dict[str, Any]:
    bad = [{"line": line.number, "reason": line.reason} for line in report.bad_lines]
    return {
        "run_id": run_id, "n": report.n, "step": report.step, "lines": report.lines, "points": report.points,
        "bad": report.bad, "bad_lines": bad,
    }  # fmt: skip


def _say_bad(report: LoggedLines, *, strict: bool) -> None:
    """That lines are missing is told also to those who want no talk."""
    if report.bad and report.lines and not strict:
        output.warn(f"{report.bad:,} of {report.bad + report.lines:,} lines were not logged")


def _judge(report: LoggedLines) -> None:
    if report.bad and not report.lines:
        first = report.bad_lines[0]
        raise UsageError(
            f"nothing was logged: all of {report.bad:,} lines are bad; line {first.number}: {first.reason}",
            hint="trk help pipes",
        )


class _Told:
    """Bad lines on stderr, as long as they are few."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._count = 0

    def tell(self, bad: BadLine) -> None:
        self._count += 1
        if self._count <= TOLD:
            output.warn(f"line {bad.number}: {bad.reason}", quiet=self._quiet)
        elif self._count == TOLD + 1:
            output.warn("further bad lines are counted only", quiet=self._quiet)


def _answer(outcomes: Sequence[Outcome]) -> None:
    """One line per line: `ok N STEP`, `error CODE MESSAGE`, or `skip` for a line with nothing in it."""
    output.emit("".join([_told(outcome) for outcome in outcomes]))


def _told(outcome: Outcome) -> str:
    if outcome is None:
        return "skip\n"
    if isinstance(outcome, TrkError):
        return f"error {outcome.code} {output.escape(outcome.message)}\n"
    return f"ok {outcome[0]} {outcome[1]}\n"


class _Reader:
    """Reads file 0 into a Pipe until it ends or a signal comes."""

    def __init__(self, pipe: Pipe, linger: float) -> None:
        self._pipe = pipe
        self._linger = linger
        self._signal = 0
        self._is_waiting = False

    def run(self) -> None:
        """Read all. Raises KeyboardInterrupt after a Ctrl-C; after SIGTERM the process ends of it."""
        _widen()
        kept = self._catch()
        thresholds = gc.get_threshold()
        gc.set_threshold(200_000, 50, 100)  # hundreds of thousands of tuples a second, and no cycles
        try:
            try:
                while not self._signal and self._take():
                    pass
            except KeyboardInterrupt:
                pass
            self._pipe.flush() if self._signal else self._pipe.finish()
        finally:
            gc.set_threshold(*thresholds)
            for number, handler in kept.items():
                signal.signal(number, handler)
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal:
            os.kill(os.getpid(), self._signal)

    def _take(self) -> bool:
        """Read once, and write when nothing more comes, or enough has; False at the end."""
        chunk = self._read(None)
        due = monotonic() + self._linger
        while chunk:
            self._pipe.feed(chunk)
            left = due - monotonic()
            if self._pipe.is_due or left < 0:
                break
            chunk = self._read(left)
        self._pipe.flush()
        return chunk != b""

    def _read(self, timeout: float | None) -> bytes | None:
        """What comes next; None when nothing comes in this time, nothing at the end."""
        self._is_waiting = True
        try:
            if self._signal:
                raise KeyboardInterrupt
            ready, _, _ = select.select([0], [], [], timeout)
            return os.read(0, _READ) if ready else None
        finally:
            self._is_waiting = False

    def _catch(self) -> dict[int, Any]:
        """Have signals wait until what was read is written; returns the handlers that were there."""
        kept: dict[int, Any] = {}
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is usual:  # one that is ignored stays so
                try:
                    kept[number] = signal.signal(number, self._come)
                except ValueError:  # not the main thread: they come there
                    break
        return kept

    def _come(self, number: int, _: object) -> None:
        again, self._signal = self._signal, number
        if self._is_waiting or again:
            raise KeyboardInterrupt


def _widen() -> None:
    """Let the pipe hold more, where it is one and the system lets it."""
    try:
        import fcntl

        fcntl.fcntl(0, _F_SETPIPE_SZ, _PIPE)
    except (OSError, ImportError):
        pass  # then it is as it was
