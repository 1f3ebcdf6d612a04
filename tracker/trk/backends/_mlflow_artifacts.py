"""The files of MLflow's runs: which there are, and fetching one. What a server says of paths is looked at first.

A run of trk's has a manifest from when it ended; of others' runs, and of files that came since, kinds are told by
paths and tags alone.
"""

from __future__ import annotations

import json
import posixpath
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trk.backends import _mlflow_content as content
from trk.backends._mlflow_files import THREADS, each
from trk.backends._mlflow_listing import Entry, is_http, is_local, is_plain, save
from trk.backends._mlflow_listing import folder as in_folder
from trk.backends._mlflow_read import Reader
from trk.backends._mlflow_store import Store, as_source, asked, once
from trk.errors import BackendUnavailable, NotFound, SourceUnavailable, UsageError
from trk.records import ArtifactRecord, RunRecord, Status
from trk.rules import RESERVED_FOLDER, shown

MAX_FILES = 1_000_000  # of one run: a server that tells of more is not believed
MAX_MANIFEST = 500_000_000  # bytes
T = TypeVar("T")
_WITH_PNG = (".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".svg")  # images of a series that a PNG is put beside
_SERIES = re.compile(
    r"images/(?P<key>[^/]*?)(?P<mark>[+%])step(?P=mark)(?P<step>-?\d{1,19})(?P=mark)timestamp(?P=mark)."
)


@dataclass(frozen=True, slots=True)
class _Found:
    """The files of a run: sizes by path, what the manifest tells by path, and which paths are tables."""

    sizes: Mapping[str, int | None]
    told: Mapping[str, Mapping[str, Any]]
    tables: frozenset[str]


class Artifacts:
    """Lists and fetches the files of one MLflow store's runs."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    def records(self, run: RunRecord) -> list[ArtifactRecord]:
        """See `ArtifactBackend.artifacts`."""
        known = self._run(run)
        uri = known.info.artifact_uri
        sizes = self._listed(uri)
        told = self._manifest(uri, ended=run.status is not Status.RUNNING) if content.MANIFEST in sizes else {}
        found = _Found(sizes, told, _tables(known.data.tags))
        return [record for path in sorted({*sizes, *told}) if (record := _record(run.run_id, path, found))]

    def everything(self, uri: str) -> tuple[dict[str, int | None], frozenset[str]]:
        """(sizes of all files below an artifact address by path, the paths of what trk put beside what was logged)."""
        found = _Found(self._listed(uri), {}, frozenset())
        return dict(found.sizes), frozenset(path for path in found.sizes if _is_ours(path, found))

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """See `ArtifactBackend.fetch`."""
        uri = self._run(run).info.artifact_uri
        target = Path(to).absolute()
        try:
            with tempfile.TemporaryDirectory(prefix=".trk-", dir=target.parent) as here:
                local = Path(here) / "file"
                self._download(uri, path, local)
                local.replace(target)
        except OSError as error:
            raise UsageError(f"{shown(to)} can't be written: {error.strerror}") from None

    def _run(self, run: RunRecord) -> Any:
        remote_id = self._reader.remote_id(run.run_id)
        with asked(self._store) as mlflow:
            return mlflow.get_run(remote_id)

    @contextmanager
    def _opened(self, uri: str) -> Iterator[Any]:
        """MLflow's artifact repository, to ask inside a `with`."""
        with as_source(), self._store.repository(uri) as repository, _settings(repository):
            yield repository

    def _download(self, uri: str, path: str, local: Path) -> None:
        """Raises NotFound: whatever went wrong, if nothing is listed there, nothing is there."""
        if not is_plain(path):
            raise NotFound(f"there is no {shown(path)} in this run")
        try:
            with self._opened(uri) as repository:
                save(self._store, repository, path, local)
        except (SourceUnavailable, UsageError):
            with self._opened(uri) as repository:
                listed = in_folder(self._store, repository, posixpath.dirname(path))
            if any(entry.path == path and not entry.is_folder for entry in listed):
                raise
            raise NotFound(f"there is no {shown(path)} in this run", hint="trk artifacts ls") from None

    def _manifest(self, uri: str, *, ended: bool) -> dict[str, Mapping[str, Any]]:
        """What the manifest tells of each path. While a run goes on again, a hash in it may be an earlier file's."""
        with tempfile.TemporaryDirectory(prefix="trk-") as here:
            local = Path(here) / "manifest"
            self._download(uri, content.MANIFEST, local)
            if local.stat().st_size > MAX_MANIFEST:
                return {}
            try:
                files = json.loads(local.read_bytes())["files"]
                known = {file["path"]: file for file in files if is_plain(file["path"])}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return {}  # somebody else's
        return known if ended else {path: {"uri": file.get("uri")} for path, file in known.items()}

    def _listed(self, uri: str) -> dict[str, int | None]:
        """Sizes by path, of everything below the root, level by level."""
        sizes: dict[str, int | None] = {}
        folders: list[str] = [""]
        with self._opened(uri) as repository:
            while folders:
                listed: list[Entry] = []
                each(
                    lambda folder, listed=listed: listed.extend(in_folder(self._store, repository, folder)),  # type: ignore[misc]
                    folders,
                    1 if is_local(repository) else THREADS,
                )
                sizes |= {entry.path: entry.size for entry in listed if not entry.is_folder}
                folders = [entry.path for entry in listed if entry.is_folder]
                if len(sizes) + len(folders) > MAX_FILES:
                    raise BackendUnavailable(f"MLflow at {self._store.uri}: a run of more than {MAX_FILES} files")
        return sizes


def _settings(repository: Any) -> AbstractContextManager[None]:
    """One try, where MLflow's own code asks."""
    return nullcontext() if is_http(repository) or is_local(repository) else once()


def _tables(tags: Mapping[str, str]) -> frozenset[str]:
    try:
        return frozenset(
            entry["path"] for entry in json.loads(tags.get(content.TABLES_TAG, "[]")) if entry["type"] == "table"
        )
    except (ValueError, KeyError, TypeError):
        return frozenset()  # somebody else's


def _record(run_id: str, path: str, found: _Found) -> ArtifactRecord | None:
    """A file as a record; None for what trk itself put beside what was logged, and for what is not there."""
    told = found.told.get(path, {})
    uri = told.get("uri")
    there = path in found.sizes or (isinstance(uri, str) and content.reference_path(path) in found.sizes)
    if not there or (path not in found.told and _is_ours(path, found)):
        return None
    kind, name, step = _kind(path, found.tables)
    return ArtifactRecord(
        run_id,
        path,
        kind,
        name,
        _if(int, found.sizes.get(path, told.get("size"))),
        _if(str, told.get("sha256")),
        step,
        uri=_if(str, uri),
    )


def _if(kind: type[T], value: Any) -> T | None:
    return value if isinstance(value, kind) else None


def _is_ours(path: str, found: _Found) -> bool:
    if path.startswith(RESERVED_FOLDER + "/") or path.endswith(content.COMPRESSED):
        return True
    stem, ending = posixpath.splitext(path)
    if ending == ".png" and _SERIES.match(path):
        return any(stem + other in found.sizes for other in _WITH_PNG)
    return False


def _kind(path: str, tables: frozenset[str]) -> tuple[str, str, int | None]:
    """(kind, name, step) of what lies at a path, as far as the path tells."""
    if path in tables:
        return "table", path.removesuffix(".json"), None
    if series := _SERIES.match(path):
        return "image", series["key"].replace("~", "/"), int(series["step"])
    return "file", path, None
