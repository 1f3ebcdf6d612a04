"""Whether an MLflow store answers: asked in a second or two, without importing MLflow, and without changing anything.

MLflow's own store can't be asked for that: importing it takes seconds, and opening a database makes what is missing.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trk import settings
from trk.backends._mlflow_errors import classify, from_status, translated
from trk.backends._mlflow_store import _reach, _secrets, _sqlite_file, _with_userinfo, is_database, is_server
from trk.errors import BackendNeedsUser, BackendUnavailable
from trk.journal import health

API = "/api/2.0/mlflow"
PACKAGES = ("mlflow", "mlflow-skinny")
START_IT = "start the server, or check MLFLOW_TRACKING_URI; what is logged until then is safe here: trk sync"
_REVISION = re.compile(r"^(down_)?revision(?:: [^=]*)?\s*=\s*(.+)$", re.MULTILINE)


def installed() -> str | None:
    """The version of MLflow that is installed here."""
    for name in PACKAGES:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


def probe(target: Mapping[str, Any], timeout: float) -> str:
    """What was found at an MLflow target, in words. Raises BackendError that says what is wrong and what mends it."""
    uri = str(target["tracking_uri"])
    if is_server(uri):
        try:
            return _server(uri, timeout)
        except BackendUnavailable as error:
            raise BackendUnavailable(error.message, hint=error.hint or START_IT) from error
    if not is_database(uri):
        return f"{uri} (not looked at: neither a server nor a database)"
    with translated(uri, _secrets()):
        file = _sqlite_file(uri)
        if file is not None:
            return _file(uri, file)
        if not uri.startswith("sqlite"):
            _reach(_with_userinfo(uri))
        return f"{uri} can be opened"


# ---- a server


def _server(uri: str, timeout: float) -> str:
    until = time.monotonic() + timeout
    began = time.monotonic()
    status, text = ask(uri, "/version", timeout)
    took = time.monotonic() - began
    known = f"MLflow {text.strip()}" if status == 200 and re.fullmatch(r"\s*\d[\w.+-]{0,40}\s*", text) else "a server"
    # `version` is answered to everyone: this is not, and it needs the server's own database.
    if answer(uri, f"{API}/experiments/search", max(until - time.monotonic(), 0.1), max_results="1") is None:
        raise no_mlflow(uri)
    return f"{uri}: {known} answers in {took * 1000:.0f} ms"


def no_mlflow(uri: str) -> BackendNeedsUser:
    """The error of a server that knows nothing of MLflow's API."""
    return BackendNeedsUser(
        f"MLflow at {uri}: there is no MLflow server at this address (HTTP 404)", hint="check MLFLOW_TRACKING_URI"
    )


def answer(uri: str, path: str, timeout: float, *, own: bool = False, **query: str) -> dict[str, Any] | None:
    """What a server's API answers, parsed; None for a 404. Raises BackendError. `own` as in `ask`."""
    import json

    status, text = ask(uri, path, timeout, own=own, **query)
    if status == 404:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or status != 200:
        raise BackendUnavailable(
            f"MLflow at {uri}: it answered with something that is not MLflow's (HTTP {status})",
            hint="check MLFLOW_TRACKING_URI",
        )
    return found


def ask(uri: str, path: str, timeout: float, *, own: bool = False, **query: str) -> tuple[int, str]:
    """(HTTP status, text) of a GET. Raises BackendError where the status says enough.

    By `requests`, with the user's credentials, as MLflow does it: the same proxies, certificates and .netrc count.
    A server of trk's `own` on this machine gets no credentials, and no proxy stands before it.
    """
    with translated(uri, _secrets()):
        import requests

        with requests.Session() as session:
            session.trust_env = not own
            given = {} if own else _credentials(requests.auth)
            address = (uri if own else _with_userinfo(uri)).rstrip("/") + path
            found = session.get(address, params=query, timeout=timeout, **given)
        error = from_status(found.status_code, found.headers, found.text, uri, _secrets())
        if error is not None:
            raise error
        return found.status_code, found.text


def _credentials(auth: Any) -> dict[str, Any]:
    """What `requests` is to be called with, from the variables and the file that MLflow reads."""
    given: dict[str, Any] = {"headers": {}}
    filed = _filed_credentials()
    user = settings.env("MLFLOW_TRACKING_USERNAME") or filed.get("mlflow_tracking_username")
    password = settings.env("MLFLOW_TRACKING_PASSWORD") or filed.get("mlflow_tracking_password")
    token = settings.env("MLFLOW_TRACKING_TOKEN")
    if user and password:
        given["auth"] = auth.HTTPBasicAuth(user.encode(), password.encode())
    elif token:
        given["headers"]["Authorization"] = f"Bearer {token}"
    if settings.flag("MLFLOW_TRACKING_INSECURE_TLS"):
        given["verify"] = False
    elif certificate := settings.env("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        given["verify"] = certificate
    if client := settings.env("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        given["cert"] = client
    return given


def _filed_credentials() -> Mapping[str, str]:
    """User and password of `~/.mlflow/credentials`."""
    from configparser import ConfigParser, Error

    found = ConfigParser(interpolation=None)
    try:
        found.read(Path(settings.home()) / ".mlflow" / "credentials", encoding="utf-8")
    except (Error, OSError, UnicodeDecodeError):
        return {}  # what can't be read is refused by the server, which is told
    return dict(found.items("mlflow")) if found.has_section("mlflow") else {}


# ---- a database file


def _file(uri: str, file: Path) -> str:
    folder = _existing(file.absolute().parent)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(uri, f"the folder {folder} can't be written to", folder)
    if not file.exists() or file.stat().st_size == 0:
        return f"{uri}: not made yet, the first delivery does it"
    if not file.is_file() or not os.access(file, os.R_OK | os.W_OK):
        raise _unwritable(uri, "the file can't be read and written", file)
    if not check_schema(uri, file):
        return f"{uri}: without MLflow's tables yet, the first delivery makes them"
    return f"{uri}: readable, writable, of this MLflow's schema"


def _existing(folder: Path) -> Path:
    return folder if folder.is_dir() or folder == folder.parent else _existing(folder.parent)


def _unwritable(uri: str, what: str, path: Path) -> BackendNeedsUser:
    return BackendNeedsUser(f"MLflow at {uri}: {what}", hint=f"ls -ld {shlex.quote(str(path))}")


def check_schema(uri: str, file: Path) -> bool:
    """Whether MLflow's tables are in a file. Raises BackendNeedsUser when the installed MLflow would refuse them."""
    found, before = health.schema_revision(str(file)), dict(_revisions())
    heads = set(before) - {name for names in before.values() for name in names}
    if found is None or not before or found in heads:
        return found is not None
    if found in before:
        raise classify(RuntimeError("Detected out-of-date database schema"), uri)  # MLflow's own words
    raise BackendNeedsUser(
        f"MLflow at {uri}: the database was made by a newer MLflow than the installed {installed()}",
        hint="pip install --upgrade mlflow",
    )


def _revisions() -> Iterator[tuple[str, list[str]]]:
    """Each schema revision that the installed MLflow knows, with those it comes after: read, not imported."""
    package = find_spec("mlflow")
    if package is None or package.origin is None:
        return
    for path in (Path(package.origin).parent / "store" / "db_migrations" / "versions").glob("*.py"):
        names = {bool(down): re.findall(r"['\"](\w+)['\"]", text) for down, text in _REVISION.findall(path.read_text())}
        if names.get(False):
            yield names[False][0], names.get(True, [])
