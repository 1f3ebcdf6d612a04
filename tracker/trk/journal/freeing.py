"""Which blobs nothing needs any more, their removal, and what is known afterwards of those that were removed.

A blob is needed as long as any row that names it may have to be delivered, from the beginning or because a later row
needs it: a table is handed over whole when more of it is logged, and a page, text or picture is put beside what takes
its place. `trk.journal.holds` tells why no blob is removed that a row is about to name.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trk.errors import JournalError
from trk.journal import blobs, holds
from trk.journal.db import Journal
from trk.records import MEDIA, Freed, Kind, Status

GRACE_S = 3600.0  # what nothing names is left for so long: it may be another machine's that is writing here
GATE_S = 10.0  # how long the gate is waited for
BATCH = 100  # blobs that are removed with the gate closed once

_REFERENCES = (
    "SELECT f.sha256, f.kind, f.step, r.status, r.end_time, r.deleted, "
    "f.n = (SELECT max(n) FROM files g WHERE g.run = f.run AND g.path = f.path), "
    "(SELECT count(*) FROM deliveries d WHERE d.run = f.run), "
    # What goes in one piece is written anew, with all its bytes, when the run goes on.
    "(SELECT count(*) FROM deliveries d WHERE d.run = f.run AND remote_id IS NOT NULL "
    "AND d.target NOT LIKE '%\"whole\": true%' "
    "AND cursor >= (SELECT max(n) FROM rows WHERE rows.run = f.run) AND NOT EXISTS "
    "(SELECT 1 FROM rejections x WHERE x.run = f.run AND x.backend = d.backend AND x.n = f.n)) "
    "FROM files f JOIN runs r USING (run) WHERE f.sha256 IN ({marks})"
)
_PLACES = (
    "SELECT DISTINCT f.sha256, d.backend, d.target FROM files f JOIN deliveries d USING (run) "
    "WHERE f.sha256 IN ({marks}) ORDER BY d.backend, d.target"
)


class Limits(NamedTuple):
    """Before when a run must have ended for its blobs to go (milliseconds), and a blob that nothing names (seconds)."""

    ended_ms: int
    unnamed_s: float


class _Reference(NamedTuple):
    """A row that names a blob, and how its run stands; `whole` of its `places` have all of the run, and this row."""

    sha256: str
    kind: str
    step: int | None
    status: str
    end_ms: int | None
    deleted_ms: int | None
    newest: bool
    places: int
    whole: int

    def needs(self, ended_ms: int) -> bool:
        """Whether the bytes may have to be handed over again."""
        if self.status == Status.RUNNING or self.end_ms is None or not self.places or self.whole < self.places:
            return True
        if max(self.end_ms, self.deleted_ms or 0) > ended_ms:
            return True
        # A run that is resumed may get more rows of a table, or another page in the place of this one. One that was
        # deleted has to be restored before that; then it is refused (`check_kept`).
        return self.deleted_ms is None and (self.kind == Kind.TABLE or self._shows())

    def _shows(self) -> bool:
        """Whether it is what shows at a path where something may take its place: an image of a series has its own."""
        return self.newest and self.kind in MEDIA and not (self.kind == Kind.IMAGE and self.step is not None)


@dataclass(slots=True)
class _Count:
    removed: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    unnamed: int = 0


class _Blob(NamedTuple):
    sha256: str
    size: int
    changed_s: float


def free(journal: Journal, limits: Limits, *, dry_run: bool) -> Freed:
    """Remove the blobs that nothing needs, and drafts of writers that were killed; with `dry_run` only count them.

    Raises JournalError when the journal or the folder can't be written.
    """
    count = _Count()
    drafts = (0, 0)
    try:
        for page in _pages(journal):
            _free(journal, page, limits, dry_run, count)
        if not dry_run:
            drafts = blobs.remove_left(journal)
    except TimeoutError:
        where = blobs.folder(journal)
        raise JournalError(
            f"{where} is in use by another process for {GATE_S:g} s", hint=f"see: lsof {where}"
        ) from None
    except OSError as error:
        where = blobs.folder(journal)
        raise JournalError(f"{where} can't be cleaned up: {error.strerror}", hint=f"ls -ld {where}") from None
    return Freed(count.removed, count.bytes, count.kept, count.kept_bytes, count.unnamed, drafts[0], drafts[1], dry_run)


def _pages(journal: Journal) -> Iterator[list[_Blob]]:
    """All blobs, so many at a time."""
    home = blobs.folder(journal)
    for two in sorted(os.listdir(home)) if os.path.isdir(home) else ():
        if len(two) != 2:
            continue
        found = [_Blob(entry.name, *_state(entry)) for entry in os.scandir(os.path.join(home, two)) if _is_blob(entry)]
        for start in range(0, len(found), BATCH):
            yield found[start : start + BATCH]


def _is_blob(entry: os.DirEntry[str]) -> bool:
    return len(entry.name) == 64 and entry.is_file(follow_symlinks=False)


def _state(entry: os.DirEntry[str]) -> tuple[int, float]:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0.0  # another one that cleans up was quicker
    return found.st_size, found.st_mtime


def _free(journal: Journal, page: Sequence[_Blob], limits: Limits, dry_run: bool, count: _Count) -> None:
    free, named = _not_needed(journal, page, limits)
    for blob in page:
        if blob not in free:
            count.kept += 1
            count.kept_bytes += blob.size
    if not dry_run and free:
        # First it is noted where the bytes are, then they go: a note about a blob that stays is not read.
        _note(journal, [blob.sha256 for blob in free if blob.sha256 in named])
        free = _remove(journal, free, limits, count)
    count.removed += len(free)
    count.bytes += sum(blob.size for blob in free)
    count.unnamed += sum(blob.sha256 not in named for blob in free)


def _not_needed(journal: Journal, page: Sequence[_Blob], limits: Limits) -> tuple[list[_Blob], set[str]]:
    """(those of these blobs that may go, the hashes that some row names)."""
    marks = ", ".join("?" * len(page))
    found = journal.read(_REFERENCES.format(marks=marks), [blob.sha256 for blob in page])
    references = [_Reference(*columns) for columns in found]
    named = {one.sha256 for one in references}
    needed = {one.sha256 for one in references if one.needs(limits.ended_ms)}
    free = [
        blob
        for blob in page
        if blob.sha256 not in needed and (blob.sha256 in named or blob.changed_s <= limits.unnamed_s)
    ]
    return free, named


def _note(journal: Journal, hashes: Sequence[str]) -> None:
    """Keep who has the bytes of blobs that are about to go."""
    if not hashes:
        return
    places: dict[str, list[Any]] = {sha256: [] for sha256 in hashes}
    marks = ", ".join("?" * len(hashes))
    for sha256, backend, target in journal.read(_PLACES.format(marks=marks), hashes):
        places[sha256].append([backend, json.loads(target)])
    time_ms = time.time_ns() // 1_000_000
    with journal.explaining, journal.lock, journal.begun() as db:
        db.executemany(
            "INSERT OR REPLACE INTO removed VALUES (?, ?, ?)",
            [(sha256, time_ms, json.dumps(where, sort_keys=True)) for sha256, where in places.items()],
        )


def _remove(journal: Journal, free: Sequence[_Blob], limits: Limits, count: _Count) -> list[_Blob]:
    """Remove those that may still go when nobody is putting a blob; returns them."""
    home = blobs.folder(journal)
    with holds.Gate(home, alone=True, deadline=time.monotonic() + GATE_S):
        held = holds.held(home)  # before the journal is asked: see `trk.journal.holds`
        there = [_again(journal, blob) for blob in free if blob.sha256 not in held]
        going, _ = _not_needed(journal, [blob for blob in there if blob is not None], limits)
        for blob in going:
            os.unlink(blobs.path(journal, blob.sha256))
    stayed = len(free) - len(going)
    count.kept += stayed
    count.kept_bytes += sum(blob.size for blob in free) - sum(blob.size for blob in going)
    return going


def _again(journal: Journal, blob: _Blob) -> _Blob | None:
    """The blob as it is now: it may have been put anew; None when it is gone."""
    try:
        found = os.stat(blobs.path(journal, blob.sha256))
    except FileNotFoundError:
        return None
    return _Blob(blob.sha256, found.st_size, found.st_mtime)


# ---- what is known of those that were removed


def where(journal: Journal, sha256: str) -> str | None:
    """Who had the bytes of a blob when `trk gc` removed it, for people; None when that did not remove it."""
    found = journal.read("SELECT places FROM removed WHERE sha256 = ?", (sha256,))
    if not found:
        return None
    return " and ".join(_place(backend, target) for backend, target in json.loads(found[0][0]))


def _place(backend: str, target: Any) -> str:
    address = target.get("tracking_uri")
    return f"{backend} at {address}" if address else str(backend)


def reason(journal: Journal, sha256: str | None) -> str | None:
    """Why bytes with this hash are not here, when `trk gc` removed them; None when they are, or are lost otherwise."""
    if sha256 is None or os.path.exists(blobs.path(journal, sha256)):
        return None
    places = where(journal, sha256)
    return None if places is None else f"its bytes were removed by trk gc, after {places} had them"
