"""Reaching an MLflow store: without chdir, without MLflow's retries, without its chatter.

MLflow's own client can't be used as it is: it repeats `runs/create` when an answer is lost, blocks for minutes on a
closed port, and gives a database store an artifact root that follows the working directory. The stores underneath
it (`AbstractStore`, what MLflow's plugins implement) can be made with the right settings instead, so that the
environment and the user's own use of MLflow in this process stay as they are.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trk import settings
from trk.addresses import remembered, without_userinfo
from trk.backends._mlflow_errors import from_status, translated
from trk.errors import (
    BackendError,
    BackendNeedsUser,
    BackendRefused,
    BackendUnavailable,
    SourceUnavailable,
    UsageError,
)

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
TIMEOUT_S = 10  # of one request; MLflow's own default is 120
# A server that has the points already looks each one up: a batch that always timed out would be replayed for ever.
BYTES_PER_S = 10_000  # so much longer a large request may take
FILE_BYTES_PER_S = 1_000_000  # and a file, which the server puts on a disk or into a bucket
# Answers that always carry something: an empty one was not MLflow's.
_NEVER_EMPTY = frozenset(("CreateRun", "GetRun", "CreateExperiment", "GetExperiment", "GetExperimentByName"))
_LONGEST_REASON = 10_000  # bytes of an error's page
_CHATTY = ("mlflow", "alembic", "sqlalchemy", "sqlalchemy.engine", "huey")
_CHATTY_ITSELF = ("urllib3.connectionpool", "urllib3.util.retry")  # these have no handlers of their own

_building = threading.Lock()


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of a server."""
    return uri.startswith(("http://", "https://"))


def is_database(uri: str) -> bool:
    """Whether a tracking URI is that of a database which MLflow's code here opens itself."""
    return uri.split(":", 1)[0].split("+", 1)[0] in DATABASES


class _Hush(logging.Filter):
    """Drops the records of threads that are inside `quiet()`."""

    here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "on", False)


_hush = _Hush()


@contextmanager
def quiet() -> Iterator[None]:
    """For the length of a `with`, in this thread only: MLflow and what it uses log nothing."""
    for name in _CHATTY:
        # At the handlers, since a logger's filter does not see what its children send up.
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_hush)
    for name in _CHATTY_ITSELF:
        logging.getLogger(name).addFilter(_hush)
    before = getattr(_Hush.here, "on", False)
    _Hush.here.on = True
    try:
        yield
    finally:
        _Hush.here.on = before


class Store:
    """An MLflow store, made when it is first called. One instance may be used by several threads."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self.uri = without_userinfo(str(target["tracking_uri"]))
        root = target.get("artifact_root")
        self._artifact_root = str(root) if root is not None else None
        self._made: Any = None
        self._file: tuple[int, int] | None = None
        self._repository: tuple[str, Any] | None = None
        # What a call to `deliver` has put already, as (artifact address, path) and hash: it may be tried again.
        self.done: dict[tuple[str, str], str] = {}
        self.seen: set[str] = set()  # artifact addresses where the server sees what is put there

    @contextmanager
    def calling(self) -> Iterator[Any]:
        """The store (an MLflow `AbstractStore`) to call inside a `with`; what goes wrong is raised as trk's errors."""
        # Stores of plugins and Databricks read the settings of their requests from the environment.
        ours = is_server(self.uri) or is_database(self.uri)
        with translated(self.uri, _secrets()), quiet(), nullcontext() if ours else once():
            yield self._store()

    @contextmanager
    def repository(self, artifact_uri: str) -> Iterator[Any]:
        """MLflow's `ArtifactRepository` at this address to use inside a `with`; errors as in `calling`."""
        with translated(self.uri, _secrets()), quiet():
            known = self._repository
            if known is None or known[0] != artifact_uri:
                with _building, warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # as below
                    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
                known = artifact_uri, get_artifact_repository(artifact_uri, tracking_uri=_with_userinfo(self.uri))
                self._repository = known
            yield known[1]

    def _store(self) -> Any:
        if not self._is_current():
            with _building, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's imports and migrations warn of their own deprecations
                if not self._is_current():  # another thread may have been quicker
                    if hasattr(self._made, "engine"):
                        # The file was deleted or replaced: connections that are still open lead into the old one.
                        self._made.engine.dispose()
                    self._made = _made(self.uri, self._artifact_root)
                    self._file = _identity(self.uri)
        return self._made

    def _is_current(self) -> bool:
        return self._made is not None and _identity(self.uri) == self._file


@contextmanager
def asked(store: Store) -> Iterator[Any]:
    """The store to ask inside a `with`; errors as in `as_source`."""
    with as_source(), store.calling() as mlflow:
        yield mlflow


@contextmanager
def as_source() -> Iterator[None]:
    """For the length of a `with`: what goes wrong is a source's error, and a refusal the caller's."""
    try:
        yield
    except BackendRefused as error:
        raise UsageError(error.message) from None
    except BackendError as error:
        raise SourceUnavailable(error.message, hint="--source local") from None


def once(size: int = 0) -> settings.overridden:
    """One try, no progress bars, and a time-out for `size` bytes, where MLflow goes by the environment."""
    return settings.overridden(
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_HTTP_REQUEST_TIMEOUT=str(TIMEOUT_S + size // FILE_BYTES_PER_S),
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    )


def requested(uri: str, host: str, path: str, method: str, timeout: Any, **more: Any) -> Any:
    """The answer to a request that is made once, with MLflow's credentials, and judged by its HTTP status.

    `uri` is what messages call the server. The caller judges what an answer says whose status is not enough.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    creds = get_default_host_creds(host)
    answer = http_request(creds, path, method, max_retries=0, timeout=timeout, raise_on_status=False, **more)
    if answer.status_code >= 400:
        if more.get("stream"):  # as `Response.content` keeps it; nobody knows how much there is
            answer._content = next(answer.iter_content(_LONGEST_REASON), b"")
        error = from_status(answer.status_code, answer.headers, answer.text, uri, _secrets())
        if error is not None:
            raise error
    return answer


def _made(uri: str, artifact_root: str | None) -> Any:
    # Importing MLflow writes an installation id into the home folder unless its telemetry is off.
    with settings.overridden(MLFLOW_DISABLE_TELEMETRY="true"):
        from mlflow.tracking._tracking_service.utils import _tracking_store_registry
    with quiet():  # again: the handlers came with the import
        full_uri = _with_userinfo(uri)
        if is_server(uri):
            return _one_try()(full_uri)
        builder = _tracking_store_registry.get_store_builder(full_uri)
        if not is_database(uri):
            return builder(store_uri=full_uri, artifact_uri=artifact_root)
        file = _sqlite_file(uri)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            # MLflow's own default would follow the working directory of whoever opens the store first.
            artifact_root = artifact_root or str(file.absolute().parent / "mlruns")
        with _alone_in(file.parent if file is not None else None):
            _reach(full_uri)
            return builder(store_uri=full_uri, artifact_uri=artifact_root)


@functools.cache
def _one_try() -> Any:
    """MLflow's REST store, whose requests are made once, with a time-out, and judged by their HTTP status first."""
    import json

    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.proto_json_utils import parse_dict
    from mlflow.utils.rest_utils import verify_rest_response

    class OneTryStore(RestStore):  # type: ignore[misc]  # MLflow is not typed
        def __init__(self, uri: str) -> None:
            super().__init__(functools.partial(get_default_host_creds, uri))
            self.host = uri
            self._uri = without_userinfo(uri)

        def _call_endpoint(
            self,
            api: Any,
            json_body: str | None = None,
            endpoint: str | None = None,
            retry_timeout_seconds: int | None = None,
            response_proto: Any = None,
        ) -> Any:
            parsed = response_proto or api.Response()
            parse_dict(js_dict=self._answer(api, json_body, endpoint), message=parsed)
            if api.__name__ in _NEVER_EMPTY and not parsed.ListFields():
                raise self._nothing()
            return parsed

        def _answer(self, api: Any, json_body: str | None, endpoint: str | None = None) -> Any:
            path, method = self._METHOD_TO_INFO[api]
            path = endpoint or path
            body = {"params" if method == "GET" else "json": json.loads(json_body) if json_body else None}
            answer = requested(self._uri, self.host, path, method, _timeout(len(json_body or "")), **body)
            if not answer.content.strip():  # MLflow's client takes that for an answer; MLflow's server sends {}
                raise self._nothing()
            return json.loads(verify_rest_response(answer, path).text)

        def _nothing(self) -> BackendUnavailable:
            return BackendUnavailable(f"MLflow at {self._uri}: it answered with nothing")

        def _search_runs(self, *asked_for: Any) -> tuple[list[Any], str | None]:
            return _searched(self, *asked_for)

    return OneTryStore


def _searched(
    store: Any, ids: Sequence[str], where: str, view: int, most: int, order_by: Sequence[str], token: str | None
) -> tuple[list[Any], str | None]:
    """As MLflow's own, without its detour over protobuf, which takes a third as long as the server does."""
    from mlflow.entities import ViewType
    from mlflow.protos.service_pb2 import SearchRuns
    from mlflow.utils.proto_json_utils import message_to_json

    from trk.backends._mlflow_json import run_of

    request = SearchRuns(
        experiment_ids=ids, filter=where, run_view_type=ViewType.to_proto(view), max_results=most, order_by=order_by,
        page_token=token,
    )  # fmt: skip
    found = store._answer(SearchRuns, message_to_json(request))
    try:
        return [run_of(one) for one in found.get("runs", ())], found.get("next_page_token") or None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BackendUnavailable(f"MLflow at {store._uri}: it answered with no runs ({error})") from None


def _timeout(size: int) -> float:
    """Seconds for a request of so many bytes, unless the user has set them."""
    return _told_timeout() or TIMEOUT_S + size / BYTES_PER_S


def file_timeout(size: int) -> tuple[float, float]:
    """Seconds to connect, and for the answer to a file of so many bytes: the server may pass it on before it answers.

    What the user has set counts for both.
    """
    told = _told_timeout()
    return (told, told) if told else (TIMEOUT_S, TIMEOUT_S + size / FILE_BYTES_PER_S)


def _told_timeout() -> float | None:
    told = settings.env("MLFLOW_HTTP_REQUEST_TIMEOUT")
    try:
        return float(told) if told else None
    except ValueError:
        raise BackendNeedsUser(f"MLFLOW_HTTP_REQUEST_TIMEOUT is {told!r}, not a number of seconds") from None


def _secrets() -> tuple[str, ...]:
    """What may never stand in a message, however MLflow came to print it."""
    known = (settings.env("MLFLOW_TRACKING_PASSWORD"), settings.env("MLFLOW_TRACKING_TOKEN"))
    return tuple(secret for secret in known if secret)


def _with_userinfo(uri: str) -> str:
    """The URI with the user and password that a caller or MLFLOW_TRACKING_URI gave for it: none are stored."""
    if (given := remembered(uri)) is not None:
        return given
    told = settings.env("MLFLOW_TRACKING_URI")
    return told if told is not None and without_userinfo(told).rstrip("/") == uri.rstrip("/") else uri


@functools.lru_cache(maxsize=64)
def _sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI; None for other URIs, for memory, and for SQLite's own `file:` form."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url  # its versions differ in whether %20 is a space

    path = make_url(uri).database or ""
    return Path(path) if path and path != ":memory:" and not path.startswith("file:") else None


def _identity(uri: str) -> tuple[int, int] | None:
    """Which file on which device an SQLite URI leads to just now."""
    file = _sqlite_file(uri)
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found is not None else None


def file_mark(uri: str) -> tuple[int, ...] | None:
    """What is another one after anybody has written to an SQLite file; None where that can't be told.

    SQLite counts the changes in bytes 24 to 27, unless there is a write-ahead log (18 and 19 are then 2).
    """
    file = _sqlite_file(uri) if uri.startswith("sqlite") else None
    if file is None:
        return None
    try:
        found = file.stat()
        with file.open("rb") as opened:
            head = opened.read(28)
    except OSError:
        return None
    if len(head) < 28 or head[18:20] != b"\x01\x01":
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, int.from_bytes(head[24:28], "big")


def _reach(uri: str) -> None:
    """Connect once. MLflow itself would try ten times, 101 s in all, before it says that it can't."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    engine.connect().close()


@contextmanager
def _alone_in(folder: Path | None) -> Iterator[None]:
    """One process at a time makes the tables in this folder: MLflow's migrations don't stand a second one."""
    if folder is None or sys.platform == "win32":
        yield
        return
    import fcntl
    import os

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: as MLflow alone would be there
            pass
        yield
    finally:
        os.close(descriptor)
