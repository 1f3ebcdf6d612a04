"""Removing from the journal's folder the bytes that nothing needs any more: the backends have them."""

from __future__ import annotations

import time
from datetime import timedelta

from trk import config
from trk.errors import UsageError
from trk.journal import freeing, remembered
from trk.records import Freed
from trk.rules import parse_duration, shown
from trk.tracker import find_journal

RETENTION = "30d"


def gc(*, older_than: str | float | timedelta | None = None, dry_run: bool = False) -> Freed:
    """Remove files, images and earlier pages of runs that ended long ago, where every backend of theirs has them.

    `older_than` is how long ago a run must have ended, or been deleted: "30d", "12h", "0", a timedelta, or seconds;
    left out it is the setting `retention`, or 30 days. What is pending, rejected or skipped at any backend stays, and
    so does everything of a run that goes to none. Tables stay, and the latest page, text or picture of each name,
    since delivery needs them if the run is resumed; of deleted runs they go too. Bytes that no row of the journal
    names, which crashes leave behind, go after an hour. `dry_run` removes nothing. Nothing but bytes is removed: the
    journal keeps every row, name and hash.

    Raises UsageError, and JournalError when the journal or its folder can't be written.
    """
    found = find_journal()
    limit_s = _seconds(older_than, found[0] if found is not None else None)
    if found is None:
        return Freed(dry_run=dry_run)
    now = time.time()
    if not dry_run:
        remembered.forget(found[0], int((now - limit_s) * 1000))
    limits = freeing.Limits(int((now - limit_s) * 1000), now - freeing.GRACE_S)
    return freeing.free(found[1], limits, dry_run=dry_run)


def _seconds(older_than: str | float | timedelta | None, folder: str | None) -> float:
    if older_than is None:
        return parse_duration(str(config.resolve(folder).get("retention") or RETENTION), "retention")
    if isinstance(older_than, timedelta):
        older_than = older_than.total_seconds()
    if isinstance(older_than, str):
        return parse_duration(older_than, "older_than")
    if not 0 <= older_than <= 1e11:
        raise UsageError(f"older_than {shown(older_than)} is no span of time", hint="such as 30d, 12h or 0")
    return older_than
