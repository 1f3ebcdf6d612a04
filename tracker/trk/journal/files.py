"""What a run has in tables and files: which, where their bytes lie, and what was there before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from shlex import quote
from typing import Any, BinaryIO

from trk.errors import JournalError, NotFound
from trk.journal import blobs, freeing, read
from trk.journal.db import Journal
from trk.records import MEDIA, ArtifactRecord, Kind, LoggedFile, LoggedTable, Row
from trk.rules import shown
from trk.tabular import as_json

PARTS = 200  # rows of a table read at once, each of at most `trk.media.log.INLINE` bytes or of a blob


def of_run(journal: Journal, run_id: str, *, earlier: bool = False) -> list[ArtifactRecord]:
    """What lies at each path of a run now, by path; with `earlier` everything that ever did, oldest first."""
    run = read.run_key(journal, run_id)
    if run is None:
        return []
    found = journal.read(
        "SELECT path, n, kind, name, step, size, sha256, uri, "
        "(SELECT count FROM tables t WHERE t.run = f.run AND t.path = f.path), "
        "(SELECT type FROM versions v WHERE v.run = f.run AND v.n = f.n), "
        "(SELECT version FROM versions v WHERE v.run = f.run AND v.n = f.n) "
        "FROM files f WHERE run = ? ORDER BY path, n",
        (run,),
    )
    listed: dict[Any, ArtifactRecord] = {}
    for path, n, kind, name, step, size, sha256, uri, rows, type_, version in found:
        if kind == "table":
            size = sha256 = None  # a part's, which is not the table's
        key = (path, n) if earlier and kind != "table" else path
        listed[key] = ArtifactRecord(run_id, path, kind, name, size, sha256, step, type_, version, uri, rows, n)
    return list(listed.values())


def newest(
    journal: Journal, run: int, upto: int, backend: str, rejected: Collection[int] = ()
) -> tuple[LoggedFile, ...]:
    """The file that each path of a run has at a backend, of what was logged up to row `upto`; tables are left out.

    So are the rows that the backend rejected, as far as that is in the journal, and the rows `rejected`.
    """
    found = journal.read(
        "SELECT path, size, sha256, uri, n FROM files WHERE run = ?1 AND n <= ?2 AND kind != 'table' AND NOT EXISTS "
        "(SELECT 1 FROM rejections r WHERE r.run = ?1 AND r.backend = ?3 AND r.n = files.n) ORDER BY path, n",
        (run, upto, backend),
    )
    latest = {path: LoggedFile(path, size, sha256, None, uri=uri) for path, size, sha256, uri, n in found
              if n not in rejected}  # fmt: skip
    return tuple(latest.values())


def located(journal: Journal, run: int, row: Row, backend: str | None = None) -> Row:
    """A row with where its files' bytes lie, and, of what has a name, where those of the time before do.

    With a backend: also whether it has something of this run at their paths.
    """
    return replace(row, files=tuple(_located(journal, run, row, file, backend) for file in row.files))


def _has(journal: Journal, run: int, path: str, backend: str | None) -> bool:
    """Whether a backend has something of this run at a path."""
    return bool(
        journal.read(
            "SELECT 1 FROM files f JOIN deliveries d USING (run) WHERE run = ?1 AND path = ?2 AND backend = ?3 "
            "AND f.n <= cursor AND NOT EXISTS "
            "(SELECT 1 FROM rejections r WHERE r.run = ?1 AND r.backend = ?3 AND r.n = f.n) LIMIT 1",
            (run, path, backend),
        )
    )


def _located(journal: Journal, run: int, row: Row, file: LoggedFile, backend: str | None) -> LoggedFile:
    if file.local is None and file.sha256 is not None:
        file = replace(file, local=blobs.path(journal, file.sha256))
    if backend is not None:
        file = replace(file, delivered=_has(journal, run, file.path, backend))
    before = journal.read(
        "SELECT n, sha256, kind FROM files WHERE run = ? AND path = ? AND n < ? ORDER BY n DESC LIMIT 1",
        (run, file.path, row.n),
    )
    if not before or not MEDIA & {row.kind, Kind(before[0][2])}:
        return file
    n, sha256, _ = before[0]
    before_path = blobs.path(journal, sha256) if sha256 is not None else None
    freed = freeing.reason(journal, sha256) is not None
    return replace(file, earlier=n, before=before_path, before_sha256=sha256, freed=freed)


def table(journal: Journal, run: int, path: str, upto: int, backend: str | None = None) -> tuple[LoggedTable, int]:
    """A table of a run with all that was logged of it up to row `upto`; and the last row that is of it.

    With a backend: also whether it has some of it.
    """
    parts = _parts(journal, run, path, upto)
    columns = json.loads(journal.read("SELECT columns FROM tables WHERE run = ? AND path = ?", (run, path))[0][0])
    count = sum(_count(value) for value in _values(journal, run, parts))
    delivered = _has(journal, run, path, backend)
    return LoggedTable(path, columns, count, lambda: _rows(journal, run, parts, columns), delivered), parts[-1]


def table_blobs(journal: Journal, run: int, path: str, upto: int) -> Iterator[LoggedFile]:
    """The blobs in which rows of a table lie: what has to be whole before it can be handed over."""
    for value in _values(journal, run, _parts(journal, run, path, upto)):
        if "sha256" in value:
            yield LoggedFile(path, value["size"], value["sha256"], blobs.path(journal, value["sha256"]))


def _parts(journal: Journal, run: int, path: str, upto: int) -> list[int]:
    found = journal.read(
        "SELECT n FROM files WHERE run = ? AND path = ? AND n <= ? AND kind = 'table' ORDER BY n", (run, path, upto)
    )
    return [n for (n,) in found]


def _values(journal: Journal, run: int, parts: Sequence[int]) -> Iterator[Any]:
    for start in range(0, len(parts), PARTS):
        page = parts[start : start + PARTS]
        marks = ", ".join("?" * len(page))
        for (text,) in journal.read(
            f"SELECT value FROM rows WHERE run = ? AND n IN ({marks}) ORDER BY n",  # noqa: S608 - question marks
            (run, *page),
        ):
            yield json.loads(text)


def _count(value: Any) -> int:
    return int(value["count"]) if "count" in value else len(value["rows"])


def _rows(journal: Journal, run: int, parts: Sequence[int], columns: Sequence[str]) -> Iterator[list[Any]]:
    for value in _values(journal, run, parts):
        rows = value["rows"] if "rows" in value else _lines(journal, value["sha256"])
        if value["columns"] == columns:
            yield from rows
            continue
        order = [value["columns"].index(column) for column in columns]
        for row in rows:
            yield [row[at] for at in order]


def _lines(journal: Journal, sha256: str) -> Iterator[list[Any]]:
    try:
        file = open(blobs.path(journal, sha256), encoding="utf-8")  # noqa: SIM115 - only its opening is explained
    except FileNotFoundError:
        if (why := freeing.reason(journal, sha256)) is not None:
            raise NotFound(f"rows of the table are not here: {why}", hint="--source mlflow") from None
        raise
    with file:
        for line in file:
            yield json.loads(line)


def file_of(journal: Journal, run_id: str, path: str, n: int | None = None) -> LoggedFile | None:
    """The file at a path of a run: the latest, or that of row `n`; None when there is none."""
    run = read.run_key(journal, run_id)
    found = journal.read(
        "SELECT n FROM files WHERE run = ? AND path = ? AND (?3 IS NULL OR n = ?3) AND kind != 'table' "
        "ORDER BY n DESC LIMIT 1",
        (run, path, n),
    )
    if run is None or not found:
        return None
    row = located(journal, run, read.rows_after(journal, run, found[0][0] - 1, 1)[0])
    return next(file for file in row.files if file.path == path)


def copy(journal: Journal, artifact: ArtifactRecord, to: str) -> None:
    """Write a file of the journal, or a whole table as JSON, into the file `to`.

    Raises NotFound for what is not there, or not any more, and JournalError when it can't be written.
    """
    try:
        with open(to, "wb") as target:
            if artifact.kind == "table":
                _copy_table(journal, artifact, target)
            else:
                _copy_file(journal, artifact, target)
    except OSError as error:
        raise JournalError(f"{shown(to)} can't be written: {error.strerror}", hint="df -h; ls -ld") from None


def _copy_table(journal: Journal, artifact: ArtifactRecord, target: BinaryIO) -> None:
    run = read.run_key(journal, artifact.run_id)
    assert run is not None
    whole, _ = table(journal, run, artifact.path, artifact.n or 0)
    target.writelines(as_json(whole))


def _copy_file(journal: Journal, artifact: ArtifactRecord, target: BinaryIO) -> None:
    file = file_of(journal, artifact.run_id, artifact.path, artifact.n)
    if file is None or file.local is None:
        raise NotFound(f"{artifact.path} is not here: it stays at {artifact.uri}")
    try:
        source = open(file.local, "rb")  # noqa: SIM115 - only its opening is explained; the `with` follows
    except OSError as error:
        if file.changed_ns is None and (why := freeing.reason(journal, file.sha256)) is not None:
            raise NotFound(f"{artifact.path} is not here: {why}", hint=_there(journal, artifact)) from None
        raise NotFound(f"{artifact.path}: {shown(file.local)} can't be read any more: {error.strerror}") from None
    with source:
        shutil.copyfileobj(source, target, blobs.CHUNK)


def _there(journal: Journal, artifact: ArtifactRecord) -> str:
    """The command that fetches from a backend what is not here any more."""
    backend = next(iter(read.targets(journal, artifact.run_id)), "mlflow")
    return f"trk artifacts get {quote(artifact.path)} --run {artifact.run_id} --source {backend}"


def newest_version(journal: Journal, experiment: str | None, name: str, version: int | None) -> str | None:
    """The id of the run that logged an artifact of this name last, in this version if one is given; else None."""
    found = journal.read(
        "SELECT run_id FROM versions v JOIN runs USING (run) WHERE v.name = ?2 AND (?1 IS NULL OR v.experiment = ?1) "
        "AND (?3 IS NULL OR version = ?3) AND deleted IS NULL ORDER BY version DESC, run DESC, n DESC LIMIT 1",
        (experiment, name, version),
    )
    return found[0][0] if found else None
