"""The journal and the session: whether they can be read, and what in them was forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from trk import leftovers, session, settings
from trk.checkup.here import Finding, Here
from trk.checkup.places import size
from trk.errors import TrkError
from trk.journal import health, lifecycle, select
from trk.journal.write import now_ms
from trk.media.table_cells import count

LARGEST_CHECKED = 200_000_000  # bytes of a journal that are checked page by page
LARGE_LOG = 100_000_000
FORGOTTEN_MS = 24 * 3600 * 1000
SHOWN = 5


def journal(here: Here) -> Iterator[Finding]:
    """Whether the journal opens, is of this version, and is whole."""
    if here.journal is None:
        yield "skip", "there is no journal yet", "trk start"
        return
    try:
        with health.read_only(here.journal) as opened:
            runs, running = health.counts(opened)
    except health.Outdated as error:
        yield "warn", f"{error.message}: the next command brings it up to date", error.hint
        return
    logged = health.log_size(here.journal)
    found = f"{here.journal}: {count(runs, 'run')}, {running} open, {size(_size(here.journal))}, log {size(logged)}"
    damage, note = _checked(here)
    if damage is not None:
        whole = quote(f"{here.journal}.recovered")
        yield "fail", f"{found}: it is damaged ({damage})", f"sqlite3 {quote(here.journal)} .recover | sqlite3 {whole}"
    elif logged > LARGE_LOG:
        yield "warn", f"{found}: somebody keeps the log from being folded in", f"lsof {quote(here.journal)}"
    else:
        yield "ok", f"{found}{note}", None


def _checked(here: Here) -> tuple[str | None, str]:
    """(what is damaged, how far that was looked for)."""
    assert here.journal is not None
    if _size(here.journal) + health.log_size(here.journal) > LARGEST_CHECKED:
        return None, f", not checked page by page: over {size(LARGEST_CHECKED)}"
    try:
        # A part of the time: what is said of the journal has to be said in time.
        return health.damage(here.journal, here.deadline - here.left * 0.2), ", whole"
    except TimeoutError:
        return None, ", not checked to its end in this time"


def _size(path: str) -> int:
    return Path(path).stat().st_size


def session_file(here: Here) -> Iterator[Finding]:
    """Whether the session can be read, and whether its runs are there and open."""
    if here.folder is None:
        yield "skip", "there is no session without a .trk folder", None
        return
    path = session.session_path(here.folder)
    active = [str(run_id) for run_id in session.load(here.folder)["active"]]
    stale = 0
    if here.journal is not None:
        with health.read_only(here.journal) as opened:
            yield from _named_run(opened)
            for run_id in active:
                known = select.columns(opened, run_id)
                if not lifecycle.is_open(opened, run_id):
                    stale += 1
                    state = _over(opened, run_id, known["status"]) if known else "is not in this journal"
                    yield "warn", f"the session's run {run_id} {state}", "trk detach"
    if not stale:
        yield "ok", f"{path}: {f'in run {active[-1]}' if active else 'in no run'}", None


def _named_run(opened: health.ReadOnly) -> Iterator[Finding]:
    """Whether the run that TRK_RUN names can be logged into."""
    named = settings.env("TRK_RUN")
    if named is None:
        return
    try:
        run_id = select.resolve(opened, named)
        known = select.columns(opened, run_id)
    except TrkError as error:
        yield "fail", f"TRK_RUN: {error.message}", "unset TRK_RUN"
        return
    if known is not None and not lifecycle.is_open(opened, run_id):
        yield "warn", f"TRK_RUN names run {named}, which {_over(opened, run_id, known['status'])}", "unset TRK_RUN"


def _over(opened: health.ReadOnly, run_id: str, status: str) -> str:
    """Why a run can't be logged into."""
    return "is deleted" if lifecycle.is_deleted(opened, run_id) else f"has ended ({status})"


def files(here: Here) -> Iterator[Finding]:
    """Whether the files that the backends wait for lie here as they were logged, by their size."""
    if here.journal is None:
        yield "skip", "there is no journal yet", None
        return
    with health.read_only(here.journal) as opened:
        waiting = health.pending_files(opened)
    bad = [(run_id, path, why) for run_id, path, lying, size in waiting if (why := _trouble(lying, size))]
    if not bad:
        yield "ok", f"{len(waiting)} files wait for their delivery, and are whole" if waiting else "none wait", None
        return
    shown = ", ".join(f"{path} of {run_id} ({why})" for run_id, path, why in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    yield (
        "fail",
        f"{len(bad)} of {len(waiting)} files that are not delivered yet can't be: {shown}{more}",
        f"trk log-artifact {quote(bad[0][1])} (the same file, into any run), then trk sync",
    )


def _trouble(path: str, size: int) -> str | None:
    """What is wrong with a file that has this many bytes; None when nothing is."""
    try:
        found = Path(path).stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None if found.st_size == size else f"{path} has {found.st_size} bytes, not {size}"


def open_runs(here: Here) -> Iterator[Finding]:
    """Open runs that were left: their owner has ended, or nobody logged into them for a day and no session has them.

    A run that the shells here are in goes on through many of them, as through the steps of a CI job: as long as it is
    heard of, it is not left.
    """
    if here.journal is None or here.folder is None:
        yield "skip", "there is no journal yet", None
        return
    with health.read_only(here.journal) as opened:
        held, now = _held(here.folder, opened), now_ms()
        gone = leftovers.of_all(opened)
        silent = health.silent_runs(opened, now - FORGOTTEN_MS)
    lively = any(run.run_id in held and not run.is_left(now) for run in gone)
    left = [run for run in gone if run.run_id not in held or (run.is_left(now) and not lively)]
    known = held | {run.run_id for run in gone}
    forgotten = [run for run in silent if run[0] not in known]
    for run in left[:SHOWN]:
        yield "warn", f"{run.run_id} ({run.name}) is open, but {run.story()}", _settle(run.run_id)
    if left[SHOWN:]:
        more = f"{count(len(left) - SHOWN, 'more run')} open whose owner has ended"
        yield "warn", more, f"{_settle(left[SHOWN].run_id)}, then trk doctor"
    if forgotten:
        shown = ", ".join(f"{run_id} ({name})" for run_id, name in forgotten[:SHOWN])
        more = f" and {len(forgotten) - SHOWN} more" if len(forgotten) > SHOWN else ""
        yield "warn", f"open, and silent for a day: {shown}{more}", _settle(forgotten[0][0])
    if not left and not forgotten:
        going = ", ".join(f"; {run.run_id} goes on here, though {run.story()}" for run in gone[:SHOWN])
        yield "ok", f"no run was left open{going}", None


def _settle(run_id: str) -> str:
    return f"trk end --run {run_id} --status KILLED"


def _held(folder: str, opened: health.ReadOnly) -> set[str]:
    """The runs that the shells here are in. Of what can't be read, the check of the session tells."""
    held: set[str] = set()
    with contextlib.suppress(TrkError):
        held.update(session.load(folder)["active"])
    with contextlib.suppress(TrkError):
        held.update([select.resolve(opened, named)] if (named := settings.env("TRK_RUN")) else ())
    return held
