"""The end of a program: what is pending of its runs is delivered, as far as the time allowed goes, and told.

A backend's call that hangs can't be stopped, only left: it is in a thread or process that nobody waits for. Whatever
is not delivered is in the journal.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trk import settings
from trk.daemon import place
from trk.delivery import live
from trk.delivery.waiting import Waiting
from trk.errors import TrkError
from trk.journal import cursors
from trk.journal.cursors import Pending
from trk.journal.db import Journal
from trk.run import Run

AT_EXIT_S = 10.0  # how long it waits, unless `exit_timeout` says otherwise
STOPPING_S = 0.5  # what a call under way may take beyond it
LEAST_S = 0.2  # in less a process does not even start
_POLL_S = 0.02
_DELIVER = "import sys, trk; [trk.sync(run, timeout=float(sys.argv[1])) for run in sys.argv[2:]]"


def leave(runs: Sequence[Run], filters: Sequence[Any]) -> None:
    """Deliver what is pending of these runs of this process, but for those that were waited for already.

    What stays pending then is warned of, in one line a journal, if the `filters` of warnings let it through: those of
    this moment may be of an SDK's import that was left in the middle.
    """
    places: dict[str, list[Run]] = {}
    for run in runs:
        places.setdefault(run.folder, []).append(run)
    deadline = time.monotonic() + _allowed(runs)
    try:
        left = {folder: wanted for folder, here in places.items() if (wanted := _in_process(here, deadline))}
        live.leave(time.monotonic() + STOPPING_S)  # the locks are needed
        _apart(left, deadline)
    except KeyboardInterrupt:
        pass  # who interrupts wants to be gone
    with warnings.catch_warnings():
        warnings.filters = list(filters)
        for folder, here in places.items():
            _tell(folder, here, silent=all(run.exit_timeout == 0 for run in here))


def _allowed(runs: Sequence[Run]) -> float:
    """The seconds that the runs which nobody has waited for allow."""
    times = [AT_EXIT_S if run.exit_timeout is None else run.exit_timeout for run in runs if not run.waited]
    return max(times, default=0.0)


def _in_process(runs: Sequence[Run], deadline: float) -> list[str]:
    """Have this process's thread deliver what it serves; returns the runs of which something is still pending."""
    folder, journal = runs[0].folder, runs[0].journal
    wanted = {run.id for run in runs if not run.waited}
    try:
        served = wanted & live.served(folder)
        asked = live.asked(journal, folder, served, hurried=True) if served and time.monotonic() < deadline else None
        if asked is not None:
            Waiting(journal, asked, deadline, None, None).until_delivered(asked.runs, None)
        return list(dict.fromkeys(entry.run_id for entry in cursors.pending(journal, wanted))) if wanted else []
    except TrkError:
        return []  # the journal can't be read: what is in it waits


def _apart(left: Mapping[str, Collection[str]], deadline: float) -> None:
    """Deliver in processes of their own: a program that is ending can't start threads any more (Python 3.12)."""
    seconds = deadline - time.monotonic()
    if seconds < LEAST_S:
        return
    children = []
    for folder, run_ids in left.items():
        command = [sys.executable, "-P", "-c", _DELIVER, f"{seconds:.3f}", *run_ids]
        environ = {**settings.environment(), "TRK_DIR": folder}
        nowhere = subprocess.DEVNULL
        try:
            children.append(subprocess.Popen(command, env=environ, stdin=nowhere, stdout=nowhere, stderr=nowhere))
        except OSError:
            continue
    try:
        while time.monotonic() < deadline + STOPPING_S and any(child.poll() is None for child in children):
            time.sleep(_POLL_S)
    finally:
        for child in children:
            child.kill()  # at any instant, that loses and doubles nothing
            child.wait()


# ---- what is said of it


def _tell(folder: str, runs: Sequence[Run], *, silent: bool) -> None:
    """Warn of what is pending; not where nobody was to wait, and a daemon goes on with it."""
    journal = runs[0].journal
    alone = {run.id for run in runs if run.left_alone}
    try:
        pending = cursors.pending(journal, {run.id for run in runs})
        found = place.look(folder)
        lives = found is not None and found[0] and not {entry.run_id for entry in pending} & alone
        if pending and not (silent and lives):
            text = _words(journal, pending, lives)
            # The place in this file would tell nobody anything, and take a second line.
            warnings.warn_explicit(text, UserWarning, "trk", 1)
    except TrkError as error:
        warnings.warn_explicit(f"what is pending is not known: {error.message}", UserWarning, "trk", 1)


def _words(journal: Journal, pending: Sequence[Pending], daemon: bool) -> str:
    run_ids = list(dict.fromkeys(entry.run_id for entry in pending))
    rows = sum(entry.logged - entry.cursor for entry in pending)
    names = ", ".join(sorted({entry.backend for entry in pending}))
    reasons = list(dict.fromkeys(" ".join(why.split()) for _, why in cursors.errors(journal, pending)))
    who = f"run {run_ids[0]} is" if len(run_ids) == 1 else f"{len(run_ids)} runs are"
    what = f"{who} not all at {names}: {rows} row{'' if rows == 1 else 's'} pending"
    why = f" ({reasons[0]})" if reasons else ""
    return f"{what}{why}; " + ("the daemon goes on, trk sync waits for it" if daemon else "trk sync delivers")
