"""The runs that are this process's own: which its threads and workers fall back to, and how they end with it."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from trk.errors import TrkError
from trk.run import Run

# (process, run) started or resumed by this process, or by the one it was forked from; the newest open one is the
# process's run, which its worker threads and worker processes fall back to.
_mine: list[tuple[int, Run]] = []
_served: list[tuple[int, Run]] = []  # likewise, those that a thread of the process delivers
_below: list[tuple[int, Run]] = []  # likewise, those that somebody else's code has begun below them


def newest() -> Iterator[Run]:
    """The runs that were started here, or by the process this one was forked from, newest first."""
    return (run for _, run in reversed(_mine))


def served(run: Run) -> None:
    """A thread of this process delivers a run: the end of the process waits for that."""
    _watch_exit()
    _served.append((os.getpid(), run))


def served_here() -> list[Run]:
    """The runs that a thread of this process delivers."""
    return [run for pid, run in _served if pid == os.getpid()]


def adopt(run: Run) -> None:
    """Make a run this process's own: the one that worker threads fall back to, ended at exit if nobody did."""
    _watch_exit()
    _mine.append((os.getpid(), run))


def take_along(run: Run) -> None:
    """Have the end of the process wait for a run's delivery. Nobody falls back to it."""
    _watch_exit()
    _below.append((os.getpid(), run))


def _watch_exit() -> None:
    if os.getpid() not in _watched:
        if not _watched:
            _filters.extend(warnings.filters)
            _watch_excepthook()
        _watched.add(os.getpid())
        atexit.register(_end_at_exit, os.getpid())


_filters: list[Any] = []  # those of warnings, before any SDK was imported by a thread
_watched: set[int] = set()  # a fork's child watches over its own runs only
_died: str | None = None  # how its runs end when the program dies of an exception


def _watch_excepthook() -> None:
    """Remember whether the program dies of an exception: its runs then did not finish."""
    before = sys.excepthook

    def hook(kind: Any, error: Any, trace: Any) -> None:
        global _died
        _died = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        before(kind, error, trace)

    sys.excepthook = hook


def _end_at_exit(pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork's child: the runs are its parent's
    for owner, run in reversed(_mine):
        try:
            if owner == pid and run.status == "RUNNING":
                run.finish(_died or "FINISHED")
        except TrkError as error:
            warnings.warn(f"run {run.id} could not be ended: {error}", stacklevel=1)
    own = {run.id: run for owner, run in (*_served, *_mine, *_below) if owner == pid}
    if own:
        from trk import leaving

        leaving.leave(list(own.values()), _filters)
