"""Putting files into a run's artifacts: to MLflow's server by one request each, elsewhere by MLflow's own code.

MLflow's own upload to a server is tried again for minutes, and takes any page with status 200 for a success, a login
page too. What is put replaces what lay at its path, so putting it again changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from trk.backends import _mlflow_listing as listing
from trk.backends._mlflow_listing import is_http, is_local, not_mlflows
from trk.backends._mlflow_store import Store, _with_userinfo, file_timeout, is_server, once, quiet, requested
from trk.errors import BackendNeedsUser, BackendRefused, BackendUnavailable
from trk.rules import shown

THREADS = 4  # a folder of many small files is waiting for answers, most of the time
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_TAKEN = (NotADirectoryError, IsADirectoryError, FileExistsError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """Where the bytes of a file lie, and their hash when it is known.

    A file that was logged without a snapshot may change meanwhile: `logged` is its (size, time of change in ns) then.
    """

    local: str
    sha256: str | None = None
    logged: tuple[int, int] | None = None


def put(store: Store, run: Any, uploads: Mapping[str, Upload]) -> None:
    """Put files at their paths in a run (an MLflow `Run`), several at once where that is worth it.

    Raises BackendRefused for a file that is gone or changed meanwhile, and whatever the artifact store's trouble is.
    """
    uri = run.info.artifact_uri
    waiting = {path: upload for path, upload in uploads.items() if not _is_done(store, uri, path, upload)}
    if not waiting:
        return
    with store.repository(uri) as repository, _way(store, repository, waiting) as (send, threads):

        def one(item: tuple[str, Upload]) -> None:
            path, upload = item
            with _unchanged(upload):
                send(path, upload.local)
            if upload.sha256 is not None:
                store.done[uri, path] = upload.sha256

        each(one, waiting.items(), threads)
        if is_http(repository):
            _check_there(store, repository, uri, waiting)
        if threads == 1 and is_server(store.uri) and uri not in store.seen:
            _check_seen(store, run, next(iter(waiting)))


def put_text(store: Store, run: Any, path: str, text: str) -> None:
    """Put a text at a path of a run (an MLflow `Run`)."""
    with tempfile.TemporaryDirectory(prefix="trk-") as here:
        local = Path(here) / "text"
        with writing(path):
            local.write_text(text, encoding="utf-8", newline="")
        put(store, run, {path: Upload(str(local))})


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Around writing a temporary file: what goes wrong with the disk is passing."""
    try:
        yield
    except OSError as error:
        raise BackendUnavailable(
            f"{tempfile.gettempdir()} can't take {shown(what)} on its way to MLflow: {error.strerror}",
            hint="make room there, or set TMPDIR to another folder",
        ) from None


def each(work: Callable[[T], None], items: Iterable[T], threads: int) -> None:
    """Call `work` with every item, from a few threads; raises the first error when all of them have stopped.

    The threads don't hold up the end of the program, which a pool's would.
    """
    waiting = deque(items)
    if threads == 1 or len(waiting) < 2:
        for item in waiting:
            work(item)
        return
    errors: list[BaseException] = []

    def run() -> None:
        with quiet():
            while not errors:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                try:
                    work(item)
                except BaseException as error:  # noqa: BLE001 - it is raised again in the thread of who called
                    errors.append(error)

    started = [threading.Thread(target=run, name="trk-mlflow-files", daemon=True) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]


def _check_there(store: Store, repository: Any, uri: str, uploads: Mapping[str, Upload]) -> None:
    """Ask a server for what it was given: an empty answer of status 200 may be anybody's, or a lost file's."""
    found: dict[str, int | None] = {}
    for folder in {posixpath.dirname(path) for path in uploads}:
        found |= {entry.path: entry.size for entry in listing.folder(store, repository, folder)}
    for path, upload in uploads.items():
        if path not in found or found[path] not in (None, Path(upload.local).stat().st_size):
            store.done.pop((uri, path), None)
            raise BackendUnavailable(f"MLflow at {store.uri}: it took {shown(path)}, and does not have it")


def _is_done(store: Store, uri: str, path: str, upload: Upload) -> bool:
    return upload.sha256 is not None and store.done.get((uri, path)) == upload.sha256


@contextmanager
def _unchanged(upload: Upload) -> Iterator[None]:
    """Around an upload: refuses a file that is gone, or that is not what was logged, or was not all the while."""
    before = _state(upload.local)
    if upload.logged not in (None, before):
        with Path(upload.local).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != upload.sha256:
                raise BackendRefused(f"{shown(upload.local)} has changed since it was logged")
    yield
    if upload.logged is not None and _state(upload.local) != before:
        raise BackendRefused(f"{shown(upload.local)} changed while it was delivered, and so did what arrived")


def _state(local: str) -> tuple[int, int]:
    try:
        with Path(local).open("rb") as file:
            found = os.fstat(file.fileno())
    except _GONE as error:
        raise BackendRefused(f"{shown(local)} can't be read any more: {error.strerror}") from None
    return found.st_size, found.st_mtime_ns


Send = Callable[[str, str], None]  # to a path, from a local file


@contextmanager
def _way(store: Store, repository: Any, waiting: Mapping[str, Upload]) -> Iterator[tuple[Send, int]]:
    """How a file gets to an artifact store, and with how many threads."""
    if is_local(repository):
        mode = _normal_mode()
        yield lambda path, local: _to_folder(store, repository, path, local, mode), 1
        return
    largest = max(_state(upload.local)[0] for upload in waiting.values())
    if not is_http(repository):
        with once(largest):  # the environment is the whole process's: once for all threads
            yield lambda path, local: _through_mlflow(repository, path, local), THREADS
        return
    parts = _smallest_in_parts()
    with once(largest) if largest >= parts else nullcontext():
        yield lambda path, local: _to_server(store, repository, path, local, parts), THREADS


def _smallest_in_parts() -> int:
    """The size from which MLflow's client asks the server whether a file may go to its bucket in parts."""
    from mlflow.environment_variables import MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE as SMALLEST

    return int(SMALLEST.get())


def _to_server(store: Store, repository: Any, path: str, local: str, parts: int) -> None:
    from mlflow.utils.rest_utils import verify_rest_response

    size = Path(local).stat().st_size
    if size >= parts:
        _through_mlflow(repository, path, local)
        return
    with Path(local).open("rb") as file:
        answer = requested(
            store.uri,
            repository.artifact_uri,
            f"/{quote(path)}",
            "PUT",
            file_timeout(size),
            data=file if size else b"",  # of an empty file requests doesn't tell the length
            extra_headers={"Content-Type": "application/octet-stream"},
        )
    said = answer.text.strip()  # MLflow says {}, or nothing at all
    if answer.status_code == 200 and (answer.request.method != "PUT" or (said and not said.startswith("{"))):
        raise not_mlflows(store)
    verify_rest_response(answer, path)


def _to_folder(store: Store, repository: Any, path: str, local: str, mode: int) -> None:
    try:
        _through_mlflow(repository, path, local)
        put = Path(repository.artifact_dir, path)
        if put.stat().st_mode & 0o777 != mode:
            put.chmod(mode)  # MLflow gives it the source's, and a blob is its owner's alone
    except OSError as error:
        if isinstance(error, _TAKEN) and Path(repository.artifact_dir).is_dir():
            raise BackendRefused(f"{shown(path)}: something else is there: {error.strerror}") from None
        if is_server(store.uri):
            raise _not_here(store, repository.artifact_dir, str(error.strerror)) from None
        raise


def _through_mlflow(repository: Any, path: str, local: str) -> None:
    folder, _, name = path.rpartition("/")
    with _called(name, local) as link:
        repository.log_artifact(link, folder or None)


@contextmanager
def _called(name: str, local: str) -> Iterator[str]:
    """A file under another name, for the length of a `with`: MLflow's code calls what it puts by its source's name."""
    with tempfile.TemporaryDirectory(prefix="trk-") as here:
        link = Path(here) / name
        try:
            link.symlink_to(Path(local).absolute())
        except (OSError, NotImplementedError):  # no links on this file system
            with writing(name):
                shutil.copyfile(local, link)
        yield str(link)


def _normal_mode() -> int:
    """The permissions that a new file gets here."""
    with tempfile.TemporaryDirectory(prefix="trk-") as here:
        new = Path(here) / "new"
        new.touch()
        return new.stat().st_mode & 0o777


def _check_seen(store: Store, run: Any, path: str) -> None:
    """Ask a server whose artifacts are a folder whether it sees what was put there: it may be another machine's."""
    folder = path.rpartition("/")[0]
    query = {"run_id": run.info.run_id, **({"path": folder} if folder else {})}
    host = _with_userinfo(store.uri)
    answer = requested(store.uri, host, "/api/2.0/mlflow/artifacts/list", "GET", file_timeout(0), params=query)
    if path not in [file.get("path") for file in answer.json().get("files", [])]:
        raise _not_here(store, run.info.artifact_uri, "the server does not see what is put there")
    store.seen.add(run.info.artifact_uri)


def _not_here(store: Store, folder: str, why: str) -> BackendNeedsUser:
    return BackendNeedsUser(
        f"MLflow at {store.uri}: its artifacts are in {folder}, a folder of its own machine: {why}",
        hint="start the server with --serve-artifacts and --artifacts-destination, and use a new experiment",
    )
