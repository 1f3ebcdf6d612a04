"""Rows of tables and files: what is written of them, in one transaction each, and what their JSON means.

The bytes are in the blobs (`trk.journal.blobs`) before the row is written. Small pieces of tables stand in the row
itself. A value is a JSON object:

    table      {"columns": […], "rows": [[…], …]}, or {"columns": […], "sha256": "…", "size": …, "count": …}
    others     {"files": [{"path", "size", "sha256", "source", "changed_ns", "uri"}, …], "step", "type", "version"}
"""

from __future__ import annotations

import json
import os

from trk.errors import Conflict, UsageError
from trk.journal import blobs, write
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from trk.journal.db import Journal
    from trk.journal.write import Rows

_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SHOWN = ("html", "text", "dict", "image", "figure")  # of these what was there before is kept
TABLE_END = ".json"  # MLflow's load_table goes by it


def append_files(
    journal: Journal,
    run_id: str,
    kind: str,
    files: Sequence[Mapping[str, Any]],
    name: str | None = None,
    step: int | None = None,
) -> int:
    """A row for each file, all or none; returns the last one's number. `name` left out: each file's path.

    Raises Conflict when the run has ended, or has something else at a path.
    """
    time_ms = write.now_ms()
    with blobs.settled(journal, _hashes(files)), journal.explaining, journal.lock, journal.begun() as db:
        rows = write.open_rows(db, run_id)
        for file in files:
            _check_earlier(journal, rows, file["path"], kind)
            key = file["path"] if name is None else name
            keep_files(rows, kind, key, [file], step, n=rows.n + 1)
            rows.append(kind, time_ms, key, None, packed(files=[file], step=step))
    return rows.n


def append_artifact(
    journal: Journal,
    run_id: str,
    name: str,
    type_: str | None,
    guess: str,
    digest: str,
    files: Sequence[Mapping[str, Any]],
) -> tuple[int, int]:
    """A version of a named artifact; returns (row number, version). `type_` left out: the known one, else `guess`.

    Versions count up from 0 for each name of an experiment; the same content has the same version. The paths of the
    files are put below `<name>/v<version>/`. Raises Conflict, also when the name is one of another type.
    """
    time_ms = write.now_ms()
    with blobs.settled(journal, _hashes(files)), journal.explaining, journal.lock, journal.begun() as db:
        rows = write.open_rows(db, run_id)
        experiment = db.execute("SELECT experiment FROM runs WHERE run = ?", (rows.run,)).fetchone()[0]
        type_, version = _version(rows, experiment, name, type_, guess, digest)
        placed = [{**file, "path": f"{name}/v{version}/{file['path']}"} for file in files]
        keep_files(rows, "artifact", name, placed, None, n=rows.n + 1)
        n = rows.append("artifact", time_ms, name, None, packed(files=placed, type=type_, version=version))
        keep_version(rows, n, name, version, type_, digest)
    return n, version


def keep_version(rows: Rows, n: int, name: str, version: int, type_: str, digest: str) -> None:
    """A version of a named artifact of the run's experiment, which row `n` is."""
    rows.db.execute(
        "INSERT INTO versions SELECT run, ?2, experiment, ?3, ?4, ?5, ?6 FROM runs WHERE run = ?1",
        (rows.run, n, name, version, type_, digest),
    )


def digest_of(files: Sequence[Mapping[str, Any]]) -> str:
    """What an artifact holds, as one hash: the same files at the same paths are the same version."""
    from hashlib import sha256

    held = sorted((file["path"], file.get("sha256") or file["uri"]) for file in files)
    return sha256(json.dumps(held).encode()).hexdigest()


def _version(rows: Rows, experiment: str, name: str, type_: str | None, guess: str, digest: str) -> tuple[str, int]:
    """(type, version) of what is logged under a name of an experiment."""
    found = rows.db.execute(
        "SELECT version, type FROM versions WHERE experiment = ? AND name = ? ORDER BY version DESC LIMIT 1",
        (experiment, name),
    ).fetchone()
    if found is None:
        return type_ or guess, 0
    newest, known = found
    if type_ not in (None, known):
        raise Conflict(f"artifact {name} of this experiment is a {known}, not a {type_}", hint="another --name")
    same = rows.db.execute(
        "SELECT max(version) FROM versions WHERE experiment = ? AND name = ? AND digest = ?", (experiment, name, digest)
    ).fetchone()[0]
    return known, newest + 1 if same is None else same


def append_table(
    journal: Journal, run_id: str, name: str, columns: Sequence[str], part: Mapping[str, Any], count: int
) -> int:
    """Rows of a table; returns the row's number. `part` is {"rows": …} or {"sha256": …, "size": …, "count": …}.

    The first call makes the table; from then on its columns are these, in any order. Raises UsageError for others.
    """
    time_ms = write.now_ms()
    with blobs.settled(journal, _hashes([part])), journal.explaining, journal.lock, journal.begun() as db:
        rows = write.open_rows(db, run_id)
        _check_earlier(journal, rows, name + TABLE_END, "table")
        keep_table(rows, name, columns, part, count, n=rows.n + 1)
        return rows.append("table", time_ms, name, None, packed(columns=columns, **part))


def keep_table(rows: Rows, name: str, columns: Sequence[str], part: Mapping[str, Any], count: int, *, n: int) -> None:
    """Rows of a table, which row `n` brings. Raises Conflict and UsageError for what can't be added to it."""
    path = name + TABLE_END
    _check_place(rows, path, "table")
    _check_columns(rows, name, path, columns)
    rows.db.execute(
        "INSERT INTO tables VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET count = count + ?4",
        (rows.run, path, _json(columns), count),
    )
    rows.db.execute(_FILE, (rows.run, path, n, "table", name, None, part.get("size"), part.get("sha256"), None))


def _hashes(files: Sequence[Mapping[str, Any]]) -> list[str]:
    return [file["sha256"] for file in files if file.get("sha256") is not None]


def _check_columns(rows: Rows, name: str, path: str, columns: Sequence[str]) -> None:
    found = rows.db.execute("SELECT columns FROM tables WHERE run = ? AND path = ?", (rows.run, path)).fetchone()
    known = json.loads(found[0]) if found is not None else columns
    if set(known) != set(columns):
        raise UsageError(
            f"table {name} has the columns {_named(known)}, and these rows have {_named(columns)}",
            hint="the same columns, or another --name",
        )


def _named(columns: Sequence[str]) -> str:
    shown_ones = ", ".join(shown(column) for column in columns[:10])
    return f"{shown_ones}, …" if len(columns) > 10 else shown_ones


def _check_place(rows: Rows, path: str, kind: str) -> None:
    """A path is a table, of a version, or another file, and no folder: nothing else may be there, above or below."""
    found = rows.db.execute("SELECT kind FROM files WHERE run = ? AND path = ? LIMIT 1", (rows.run, path)).fetchone()
    if found is not None:
        if found[0] == kind or not {found[0], kind} & {"table", "artifact"}:
            return
        article = "an" if found[0][0] in "aeiou" else "a"
        raise Conflict(f"{path} is {article} {found[0]} of this run already", hint="another --name or --path")
    at = path.find("/")
    while at != -1:
        if rows.db.execute("SELECT 1 FROM files WHERE run = ? AND path = ? LIMIT 1", (rows.run, path[:at])).fetchone():
            raise Conflict(f"{path[:at]} is a file of this run, and no folder for {path}", hint="another path")
        at = path.find("/", at + 1)
    below = rows.db.execute(  # "0" follows "/"
        "SELECT path FROM files WHERE run = ? AND path >= ? AND path < ? LIMIT 1", (rows.run, path + "/", path + "0")
    ).fetchone()
    if below is not None:
        raise Conflict(f"{path} is a folder of this run: {below[0]} is in it", hint="another --name or --path")


def _check_earlier(journal: Journal, rows: Rows, path: str, kind: str) -> None:
    """Raise Conflict when delivering this would need earlier bytes of its path that `trk gc` has removed.

    A table is handed over whole, and what a page or picture was before is put beside the new one.
    """
    if rows.db.execute("SELECT 1 FROM removed LIMIT 1").fetchone() is None:
        return
    found = rows.db.execute(
        "SELECT sha256, kind, removed.time FROM files LEFT JOIN removed USING (sha256) WHERE run = ? AND path = ? "
        "ORDER BY n DESC LIMIT ?",
        (rows.run, path, -1 if kind == "table" else 1),
    )
    for sha256, before, time_ms in found:
        needed = before == "table" or before in _SHOWN or kind in _SHOWN
        if time_ms is not None and needed and not os.path.exists(blobs.path(journal, sha256)):
            raise Conflict(
                f"trk gc removed here what {path} was before: it would be lost when this takes its place",
                hint="another --name",
            )


def keep_files(
    rows: Rows, kind: str, name: str, files: Sequence[Mapping[str, Any]], step: int | None, *, n: int
) -> None:
    """Files, which row `n` brings. Raises Conflict when something else is at a path of theirs."""
    for file in files:
        _check_place(rows, file["path"], kind)
    rows.db.executemany(
        _FILE,
        [(rows.run, f["path"], n, kind, name, step, f.get("size"), f.get("sha256"), f.get("uri")) for f in files],
    )


def packed(**values: Any) -> str:
    """The value of a row: what is None is left out."""
    return _json({key: value for key, value in values.items() if value is not None})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
