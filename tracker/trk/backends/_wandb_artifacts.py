"""The files of W&B's runs: which there are, and fetching one. What a server says of paths is looked at first.

What W&B's page shows lies under names of W&B's own: the lines of the history say what it is (`trk/file`), and the names
of pages and pictures have a part of the hash of their bytes. Tables are W&B's, and are given as trk writes them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trk.backends import _wandb_sdk as sdk
from trk.backends import _wandb_texts as texts
from trk.backends._wandb_media import alias, artifact_name
from trk.backends._wandb_read import Reader, as_source, is_ours, logged, path_of
from trk.errors import NotFound, SourceUnavailable, UsageError
from trk.records import ArtifactRecord, LoggedTable, RunRecord
from trk.rules import check_artifact_path, shown
from trk.tabular import as_json

FILES_PER_PAGE = 200
_HASH = 20  # characters of the hash of a page or picture that are in its name
_PASSING = ("run_table", "wandb-history", "job", "code")  # types of artifacts that W&B makes by itself


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies at a path: a run's file (of a table with the columns that are JSON), or an artifact and its part."""

    record: ArtifactRecord
    file: Any = None
    entry: tuple[Any, str] | None = None
    nested: frozenset[int] | None = None

    def save(self, here: Path) -> Path | None:
        """Write the bytes into a folder; returns where, None when they are there no more."""
        file = self.file
        if self.entry is not None:
            artifact, inner = self.entry
            file = next(iter(artifact.files(names=[inner], per_page=1)), None)
            if file is None:
                return None
        file.download(root=str(here), replace=True).close()
        return here / str(file.name)


class Artifacts:
    """Lists and fetches the files of runs at one W&B server. It remembers what it has listed of a run."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Mapping[str, Kept]] = {}

    def records(self, run: RunRecord) -> list[ArtifactRecord]:
        """See `ArtifactBackend.artifacts`."""
        kept = self.of(run)
        return [kept[path].record for path in sorted(kept) if not _is_before(path)]

    def of(self, run: RunRecord) -> Mapping[str, Kept]:
        """What lies at each path of a run now, also what a text was before."""
        with as_source():
            found = self._reader.run(_named(run, self._reader))
            if found is None:
                raise SourceUnavailable(f"W&B has no run {run.run_id}", hint="--source local")
            with sdk.calling("W&B"):
                self._known[run.run_id] = _listed(run.run_id, found, self._reader)
        return self._known[run.run_id]

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """See `ArtifactBackend.fetch`."""
        kept = self._known.get(run.run_id, {}).get(path) or self.of(run).get(path)
        if kept is None or kept.record.uri is not None:
            raise NotFound(f"there is no {shown(path)} in this run", hint="trk artifacts ls")
        target = Path(to).absolute()
        try:
            with tempfile.TemporaryDirectory(prefix=".trk-", dir=target.parent) as here:
                with as_source(), sdk.calling("W&B"):
                    local = kept.save(Path(here))
                if local is None:
                    raise NotFound(f"there is no {shown(path)} in this run any more", hint="trk artifacts ls")
                if kept.nested is not None:
                    local = _as_table(local, path, kept.nested)
                local.replace(target)
        except OSError as error:
            raise UsageError(f"{shown(to)} can't be written: {error.strerror}") from None


def _named(run: RunRecord, reader: Reader) -> str:
    return path_of(reader.met(run))


def _is_before(path: str) -> bool:
    return path.startswith(texts.HISTORY + "/")


def _listed(run_id: str, run: Any, reader: Reader) -> dict[str, Kept]:
    files = {file.name: file for file in run.files(per_page=FILES_PER_PAGE)}
    found: dict[str, Kept] = {}
    for name, file in files.items():
        path = name if _is_before(name) else texts.path_at(name)
        if path is not None and (_is_before(path) or _is_plain(path)):
            found[path] = Kept(ArtifactRecord(run_id, path, "file", path, file.size), file)
    for key, uri in run.summary_metrics.items():
        path = key.removeprefix(texts.REFERENCES)
        if key.startswith(texts.REFERENCES) and isinstance(uri, str) and _is_plain(path):
            found[path] = Kept(ArtifactRecord(run_id, path, "file", path, uri=uri))
    for kept in _shown(run_id, run, files, reader):
        found[kept.record.path] = kept
    for kept in _typed(run_id, run, reader) if is_ours(run) else _of_others(run_id, run):
        found[kept.record.path] = kept
    return found


def _is_plain(path: str) -> bool:
    try:
        return check_artifact_path(path) == path
    except UsageError:
        return False


# ---- what is shown


def _shown(run_id: str, run: Any, files: Mapping[str, Any], reader: Reader) -> Iterator[Kept]:
    """Pages, pictures, figures and tables, the latest of each path."""
    if texts.FILE not in logged(run):
        return
    by_hash = {_hash_in(name): file for name, file in files.items() if name.startswith("media/")}
    latest: dict[str, Mapping[str, Any]] = {}
    for _, line in sorted(reader.lines(run, [texts.FILE]).items()):
        if (told := _told(line[texts.FILE])) is not None:
            latest[told["path"]] = told
    for path, told in latest.items():
        kind, name = str(told.get("kind")), str(told.get("name"))
        if kind == "table":
            media = run.summary_metrics.get(texts.name_of(name))
            file = files.get(str(media.get("path"))) if isinstance(media, Mapping) else None
            record = ArtifactRecord(run_id, path, kind, name, rows=told.get("rows"))
            if file is not None:
                yield Kept(record, file, nested=frozenset(told.get("json", ())))
            continue
        sha256 = str(told.get("sha256"))
        file = by_hash.get(sha256[:_HASH]) or files.get(texts.place_of(path))
        if file is not None:
            yield Kept(ArtifactRecord(run_id, path, kind, name, file.size, sha256, told.get("step")), file)


def _told(text: Any) -> Mapping[str, Any] | None:
    try:
        told = json.loads(text)
        return told if _is_plain(told["path"]) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # somebody else's


def _hash_in(name: str) -> str:
    """The part of a hash that W&B puts into the name of what it shows: `<key>_<step>_<part>.<ending>`."""
    return name.rpartition("_")[2].partition(".")[0]


def _as_table(local: Path, path: str, nested: frozenset[int]) -> Path:
    """W&B's file of a table as trk's."""
    try:
        table = json.loads(local.read_bytes())
        rows = [[_cell(cell, place in nested) for place, cell in enumerate(row)] for row in table["data"]]
        columns = [str(column) for column in table["columns"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SourceUnavailable(f"what W&B has of {shown(path)} is no table", hint="--source local") from None
    there = local.with_name("table")
    with there.open("wb") as file:
        file.writelines(as_json(LoggedTable(path, columns, len(rows), lambda: iter(rows))))
    return there


def _cell(cell: Any, is_json: bool) -> Any:
    return json.loads(cell) if is_json and isinstance(cell, str) else cell


# ---- typed artifacts


def _typed(run_id: str, run: Any, reader: Reader) -> Iterator[Kept]:
    """The artifacts that trk logged, each by the alias that is this run's own."""
    for key, type_ in run.summary_metrics.items():
        name, _, version = key.removeprefix(texts.ARTIFACTS).rpartition("/v")
        if key.startswith(texts.ARTIFACTS) and version.isdecimal():
            at = f"{run.entity}/{run.project}/{artifact_name(name)}:{alias(run.id, version)}"
            if (found := reader.artifact(at)) is not None:
                yield from _entries(run_id, found, f"{name}/v{version}", name, str(type_))


def _of_others(run_id: str, run: Any) -> Iterator[Kept]:
    for found in run.logged_artifacts():
        if found.type not in _PASSING:
            name = found.name.rpartition(":")[0]
            yield from _entries(run_id, found, f"{name}/{found.version}", name, found.type)


def _entries(run_id: str, artifact: Any, top: str, name: str, type_: str) -> Iterator[Kept]:
    version = top.rpartition("/v")[2]
    for inner, entry in artifact.manifest.entries.items():
        path = f"{top}/{inner}"
        if _is_plain(path):
            number = int(version) if version.isdecimal() else None
            record = ArtifactRecord(
                run_id, path, "artifact", name, entry.size, type=type_, version=number, uri=entry.ref
            )
            yield Kept(record, entry=(artifact, inner))
