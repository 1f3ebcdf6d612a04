"""Making a bundle of runs of the journal, while others go on logging into them."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from trk import __version__
from trk.bundles import format as form
from trk.errors import JournalError, NotFound, TrkError, UsageError
from trk.journal import blobs, carry, cursors, read
from trk.journal.db import Journal
from trk.query import filters
from trk.records import FILES, Kind, LoggedFile
from trk.rules import shown
from trk.run import Run
from trk.tracker import find_journal, need_run
from trk.whole import put_whole

Progress = Callable[[int, int], None]  # parts that are written, of how many as far as is known

_WITH_BLOBS = frozenset(str(kind) for kind in (*FILES, Kind.TABLE))
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same runs make the same members


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run in a bundle: how many rows of it; an `open` one may get more, which another bundle then brings."""

    run_id: str
    name: str
    experiment: str
    rows: int
    open: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """A file whose bytes are not in the bundle, and why."""

    run_id: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExportedBundle:
    """What was written: the runs, how many rows, distinct files and their bytes; `size` is that of the bundle.

    `missing` are files whose bytes could not be had any more.
    """

    path: str | None
    runs: Sequence[ExportedRun]
    rows: int
    files: int
    bytes: int
    size: int
    missing: Sequence[Missing] = ()


def export_bundle(
    path: str | os.PathLike[str] | BinaryIO,
    runs: str | Run | Sequence[str | Run] | None = None,
    *,
    experiment: str | None = None,
    filter: str | None = None,  # noqa: A002 - the word of the command line and of MLflow
    pending: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportedBundle:
    """Write runs with their rows and files into one file, which `trk.import_bundle` reads elsewhere.

    `runs` are ids, prefixes, names or runs; left out it is every run of the journal that is not deleted, narrowed to an
    `experiment`, by a `filter` in MLflow's grammar (of what the journal has), to those with something `pending` (also
    deleted ones, then). Runs may be open and logged into: each goes in as it is at one moment. `path` may be a file
    that is open for writing. The file is there when it is whole, or not at all.

    Raises NotFound, UsageError for a file that is there already unless `overwrite`, JournalError when it can't be
    written.
    """
    where = filters.parse(filter) if filter else None
    if runs is not None and (experiment is not None or where is not None or pending):
        raise UsageError("runs that are named are not narrowed by experiment, filter or pending")
    found = find_journal()
    if found is None:
        raise NotFound("there is no .trk folder here, so no run to export", hint="trk start, or set TRK_DIR")
    journal = found[1]
    keys = _named(runs) if runs is not None else _chosen(journal, experiment, where, pending)
    if not isinstance(path, (str, os.PathLike)):
        return _Writing(journal, path, progress).write(keys, None)
    name = os.fspath(path)
    with put_whole(name, overwrite) as file:
        return _Writing(journal, file, progress).write(keys, name)


def _named(runs: str | Run | Sequence[str | Run]) -> list[int]:
    given = [runs] if isinstance(runs, (str, Run)) else runs
    meant = [run if isinstance(run, Run) else need_run(run) for run in given]
    keys = [read.run_key(run.journal, run.id) for run in meant]
    return sorted({key for key in keys if key is not None})


def _chosen(journal: Journal, experiment: str | None, where: filters.Filter | None, pending: bool) -> list[int]:
    keys = carry.run_keys(journal, experiment, deleted=pending)
    if pending:
        waiting = {entry.run for entry in cursors.pending(journal)}
        keys = [key for key in keys if key in waiting]
    if where is None:
        return keys
    matching = []
    for start in range(0, len(keys), read.RUNS_PAGE):
        page = keys[start : start + read.RUNS_PAGE]
        records = read.records_of(journal, page)
        matching += [key for key, record in zip(page, records, strict=True) if where.matches_record(record)]
    return matching


@dataclass(slots=True)
class _Blob:
    """Bytes that rows name: how many, where a run has them, and where they lie if not among the blobs."""

    size: int
    run_id: str
    path: str
    source: str | None = None


@dataclass(slots=True)
class _Member:
    """What has been written of a member."""

    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def add(self, to: IO[bytes], data: bytes) -> None:
        to.write(data)
        self.digest.update(data)
        self.size += len(data)

    @property
    def said(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {"sha256": self.digest.hexdigest(), "size": self.size}


class _Writing:
    """A bundle that is being written."""

    def __init__(self, journal: Journal, file: BinaryIO, progress: Progress | None) -> None:
        self._journal = journal
        self._file = file
        self._progress = progress
        self._done = self._goal = 0
        self._blobs: dict[str, _Blob] = {}
        self._members: dict[str, dict[str, Any]] = {}

    def write(self, keys: Sequence[int], name: str | None) -> ExportedBundle:
        """Write these runs; returns what was written."""
        taken = [carry.snapshot(self._journal, key) for key in keys]
        self._goal = sum(one.rows for one in taken)
        with zipfile.ZipFile(self._file, "w", allowZip64=True) as made:
            self._lines(made, form.ROWS, (line for one in taken for line in self._rows(one)))
            self._lines(made, form.RUNS, (form.line(_head(one)) for one in taken))
            missing = self._copy_blobs(made)
            self._manifest(made, taken, missing)
        size = self._file.tell()
        held = {sha256: blob.size for sha256, blob in self._blobs.items() if sha256 not in missing}
        runs = [_exported(one) for one in taken]
        return ExportedBundle(
            name, runs, sum(one.rows for one in taken), len(held), sum(held.values()), size, tuple(missing.values())
        )

    def _report(self, parts: int) -> None:
        self._done += parts
        if self._progress is not None:
            self._progress(self._done, self._goal)

    def _lines(self, made: zipfile.ZipFile, name: str, lines: Iterator[bytes]) -> None:
        member = _Member()
        with made.open(_entry(name, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as to:
            for line in lines:
                member.add(to, line)
        self._members[name] = member.said

    def _rows(self, one: carry.Snapshot) -> Iterator[bytes]:
        run_id = one.fields["run_id"]
        for page in carry.pages(self._journal, one.run, one.rows):
            lines = []
            for row in page:
                line = form.row_line(run_id, row)
                if len(line) > form.MAX_LINE:
                    raise TrkError(f"row {row[0]} of run {run_id} is too large for a bundle ({len(line)} bytes)")
                if row[1] in _WITH_BLOBS:
                    self._note(one, row)
                lines.append(line)
            yield b"".join(lines)
            self._report(len(page))

    def _note(self, one: carry.Snapshot, row: tuple[Any, ...]) -> None:
        """Remember the blobs that a row names."""
        n, kind, _, key, _, value = row
        run_id = one.fields["run_id"]
        held = json.loads(value)
        files = [{"path": key, **held}] if kind == Kind.TABLE else held["files"]
        named = {file["sha256"]: file for file in files if "sha256" in file}
        away = carry.sources(self._journal, one.run, n) if named and kind != Kind.TABLE else {}
        for sha256, file in named.items():
            known = self._blobs.setdefault(sha256, _Blob(file["size"], run_id, file["path"], away.get(sha256)))
            if sha256 not in away:
                known.source = None  # somewhere it was logged with its bytes

    def _copy_blobs(self, made: zipfile.ZipFile) -> dict[str, Missing]:
        """Copy the bytes of files; returns those that can't be had, by hash."""
        missing: dict[str, Missing] = {}
        self._goal += sum(_parts(blob.size) for blob in self._blobs.values())
        for sha256, blob in self._blobs.items():
            own = blobs.path(self._journal, sha256)
            local = own if blob.source is None or Path(own).exists() else blob.source
            file = LoggedFile(blob.path, blob.size, sha256, local, None if local == own else 0)
            trouble = _trouble(file)
            if trouble is not None:
                missing[sha256] = Missing(blob.run_id, blob.path, trouble)
            else:
                self._copy(made, sha256, local)
            self._report(_parts(blob.size))
        return missing

    def _copy(self, made: zipfile.ZipFile, sha256: str, local: str) -> None:
        member = _Member()
        with (
            Path(local).open("rb") as source,
            made.open(_entry(form.BLOBS + sha256, zipfile.ZIP_STORED), "w", force_zip64=True) as to,
        ):
            while chunk := source.read(form.CHUNK):
                member.add(to, chunk)
        if member.said["sha256"] != sha256:
            raise JournalError(f"{shown(local)} changed while it was read", hint="export again")

    def _manifest(self, made: zipfile.ZipFile, taken: Sequence[carry.Snapshot], missing: dict[str, Missing]) -> None:
        held = {sha256: blob.size for sha256, blob in self._blobs.items() if sha256 not in missing}
        said = {
            "format": form.FORMAT, "version": form.VERSION, "trk": __version__, "created_ms": time.time_ns() // 10**6,
            "runs": len(taken), "rows": sum(one.rows for one in taken), "members": self._members, "blobs": held,
            "missing": sorted(missing),
        }  # fmt: skip
        with made.open(_entry(form.MANIFEST, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as to:
            to.write(form.line(said))


def _trouble(file: LoggedFile) -> str | None:
    """Why the bytes of a file can't be had as they were logged; None when they can."""
    try:
        found = blobs.trouble(file)
    except JournalError as error:
        found = error.message
    return None if found is None else found.removesuffix(", so it can't be delivered").removesuffix(" yet")


def _parts(size: int) -> int:
    """How much of the progress a file is."""
    return 1 + (size >> 20)


def _head(one: carry.Snapshot) -> dict[str, Any]:
    said = {**one.fields, "rows": one.rows}
    if one.fields["external"]:
        said |= {"status": one.status, "end_time": one.end_time, "handles": [list(handle) for handle in one.handles]}
    return said


def _exported(one: carry.Snapshot) -> ExportedRun:
    fields = one.fields
    is_open = one.status == "RUNNING" and not one.deleted
    return ExportedRun(fields["run_id"], fields["name"], fields["experiment"], one.rows, is_open)


def _entry(name: str, how: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _WHEN)
    entry.compress_type = how
    entry.external_attr = 0o600 << 16
    return entry


__all__ = ["ExportedBundle", "ExportedRun", "Missing", "export_bundle"]
