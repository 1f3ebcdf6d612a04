"""What lies in a folder of a run's artifacts, and its bytes. What a server says of paths is looked at first."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from trk.backends._mlflow_store import Store, file_timeout, requested
from trk.errors import BackendUnavailable
from trk.rules import MAX_PATH

SERVICE = "/mlflow-artifacts/artifacts"  # of MLflow's server, in the address of artifacts that it serves

_CHUNK = 1 << 20


class Entry(NamedTuple):
    """What lies in a folder of a run."""

    path: str
    is_folder: bool
    size: int | None


def folder(store: Store, repository: Any, path: str) -> list[Entry]:
    """What lies in a folder of a run. What would lie elsewhere is left out: a server may tell anything."""
    if is_http(repository):
        found = _told_by_server(store, repository, path)
    else:
        listed = repository.list_artifacts(path or None)
        found = [Entry(entry.path, entry.is_dir, entry.file_size) for entry in listed]
    return [entry for entry in found if is_plain(entry.path) and posixpath.dirname(entry.path) == path]


def _told_by_server(store: Store, repository: Any, path: str) -> list[Entry]:
    from mlflow.utils.rest_utils import verify_rest_response

    host, _, root = repository.artifact_uri.partition(SERVICE)
    query = {"path": posixpath.join(root.lstrip("/"), path).rstrip("/")}
    answer = requested(store.uri, host, SERVICE, "GET", file_timeout(0), params=query)
    verify_rest_response(answer, SERVICE)
    try:
        return [
            Entry(
                posixpath.join(path, entry["path"]),
                bool(entry.get("is_dir")),
                int(entry["file_size"]) if "file_size" in entry else None,
            )
            for entry in answer.json().get("files", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise not_mlflows(store) from None


def save(store: Store, repository: Any, path: str, local: Path) -> None:
    """Write the bytes at a path into a new file."""
    if not is_http(repository):
        repository._download_file(path, str(local))  # what every repository has to have
        return
    from mlflow.utils.rest_utils import verify_rest_response

    asked_for = f"/{quote(path)}"
    answer = requested(store.uri, repository.artifact_uri, asked_for, "GET", file_timeout(0), stream=True)
    with answer, local.open("wb") as file:
        verify_rest_response(answer, path) if answer.status_code != 200 else None
        if answer.history and "Content-Disposition" not in answer.headers:
            raise not_mlflows(store)  # a login page
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and "Content-Encoding" not in answer.headers and file.tell() != int(length):
            raise BackendUnavailable(f"MLflow at {store.uri}: the connection broke before the whole file was there")


def is_http(repository: Any) -> bool:
    """Whether an artifact repository speaks MLflow's own protocol over HTTP."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    return isinstance(repository, HttpArtifactRepository)


def is_local(repository: Any) -> bool:
    """Whether an artifact repository is a folder on this machine."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return isinstance(repository, LocalArtifactRepository)


def not_mlflows(store: Store) -> BackendUnavailable:
    return BackendUnavailable(f"MLflow at {store.uri}: it answered with something that is not MLflow's")


def is_plain(path: str) -> bool:
    """Whether a path is one inside a run, of valid text, and not so long that it goes round and round."""
    valid = len(path) <= 4 * MAX_PATH and "\0" not in path and path.encode(errors="replace").decode() == path
    return valid and all(part not in ("", ".", "..") for part in path.split("/"))
