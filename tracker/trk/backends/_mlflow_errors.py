"""What went wrong at MLflow, as one of trk's classes of backend errors: one table, and the words for it.

MLflow raises its own exception for nearly everything, with a code that is often INTERNAL_ERROR; what really
happened is in the exceptions underneath and in the text. So a rule looks at all three, and the first that fits wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from trk.addresses import without_userinfo
from trk.errors import (
    BackendError,
    BackendNeedsUser,
    BackendRefused,
    BackendRunGone,
    BackendUnavailable,
    TrkError,
)

LONGEST = 300  # characters of MLflow's own words that a message carries

CREDENTIALS = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. It fits when each of `causes`, `codes` and `pattern` that is given fits.

    `says` and `hint` may use {uri}, {own} (MLflow's own words), {found} (what the pattern's group caught) and
    {package} (the package of the module that the pattern's group caught).
    """

    error: type[BackendError]
    says: str = "{own}"
    hint: str | None = None
    causes: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    pattern: str | None = None


def _rule(error: type[BackendError], says: str = "{own}", hint: str | None = None, **conditions: str) -> Rule:
    """A rule from words: `causes` and `codes` are separated by spaces."""
    return Rule(
        error,
        says,
        hint,
        frozenset(conditions.get("causes", "").split()),
        frozenset(conditions.get("codes", "").split()),
        conditions.get("pattern"),
    )


RULES = (
    # What MLflow's own text tells. Patterns fit from its beginning: further on it may quote what a user logged.
    _rule(
        BackendNeedsUser,
        "the database was made by another version of MLflow",
        "back it up, then: mlflow db upgrade {uri} (or install the MLflow that made it)",
        pattern=r"Detected out-of-date database schema|Can't locate revision",
    ),
    _rule(
        BackendNeedsUser,
        "experiment {found} is deleted",
        "MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {found}",
        pattern=r"[Tt]he experiment (\S+) must be in the 'active' state",
    ),
    _rule(
        BackendRunGone,
        "run {found} is deleted",
        "MLFLOW_TRACKING_URI={uri} mlflow runs restore --run-id {found}",
        pattern=r"[Tt]he run (\S+) must be in the 'active' state",
    ),
    _rule(BackendRunGone, pattern=r"Run (with id=)?'?\w+'? (was )?not found"),
    _rule(BackendNeedsUser, pattern=r"No [Ee]xperiment with id"),
    _rule(
        BackendNeedsUser,
        "MLflow no longer writes to a folder of files (mlruns)",
        "mlflow migrate-filestore, or MLFLOW_ALLOW_FILE_STORE=true",
        pattern=r"The filesystem tracking backend",
    ),
    _rule(
        BackendUnavailable,
        "it answered with something that is not MLflow's",
        pattern=r"API request to endpoint was successful but the response body was not",
    ),
    _rule(
        BackendNeedsUser,
        "its artifacts are reached through an MLflow server, and this is none",
        "set MLFLOW_TRACKING_URI to the server's address",
        pattern=r"When an mlflow-artifacts URI was supplied",
    ),
    _rule(
        BackendNeedsUser,
        "no package here reaches its artifact store: {own}",
        pattern=r"Could not find a registered artifact repository",
    ),
    # What a disk says.
    _rule(
        BackendUnavailable,
        "no space left: {own}",
        causes="builtins.OSError",
        pattern=r".*(No space left on device|Disk quota exceeded)",
    ),
    _rule(BackendRefused, causes="builtins.OSError", pattern=r".*File name too long"),
    # What the database under an embedded store says.
    _rule(
        BackendUnavailable,
        "the database is locked by another program",
        causes="sqlalchemy.exc.OperationalError sqlite3.OperationalError",
        pattern=r".*(database (table )?is locked|[Dd]eadlock|[Ll]ock wait timeout)",
    ),
    _rule(
        BackendNeedsUser,
        "it can't be written: {own}",
        "check the owner and permissions of the file and its folder",
        causes="sqlalchemy.exc.OperationalError sqlite3.OperationalError builtins.OSError",
        pattern=r".*(readonly database|unable to open database file|Permission denied|Not a directory|"
        r"File exists|Read-only file system)",
    ),
    _rule(
        BackendNeedsUser,
        "the database denies access: {own}",
        "put user and password into MLFLOW_TRACKING_URI, in the environment",
        causes="sqlalchemy.exc.OperationalError",
        pattern=r".*(authentication failed|Access denied|no password supplied)",
    ),
    _rule(
        BackendNeedsUser,
        "the database is damaged: {own}",
        causes="sqlalchemy.exc.DatabaseError sqlite3.DatabaseError",
        pattern=r".*(file is not a database|database disk image is malformed)",
    ),
    _rule(BackendUnavailable, causes="sqlalchemy.exc.OperationalError sqlalchemy.exc.InterfaceError"),
    # What lies underneath, as the class of any exception in the chain.
    _rule(
        BackendNeedsUser,
        "its TLS certificate is not trusted here",
        "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of the authority that signed it",
        causes="requests.exceptions.SSLError",
    ),
    _rule(
        BackendUnavailable,
        "its host name is not known",
        causes="socket.gaierror urllib3.exceptions.NameResolutionError",
    ),
    _rule(BackendUnavailable, "connection refused", causes="builtins.ConnectionRefusedError"),
    _rule(
        BackendUnavailable,
        "no answer in time",
        "set MLFLOW_HTTP_REQUEST_TIMEOUT (seconds) if it needs longer",
        causes="requests.exceptions.Timeout builtins.TimeoutError",
    ),
    _rule(
        BackendUnavailable,
        "the connection broke before the whole answer was there",
        causes="requests.exceptions.ConnectionError requests.exceptions.ChunkedEncodingError "
        "requests.exceptions.ContentDecodingError urllib3.exceptions.HTTPError http.client.HTTPException",
    ),
    _rule(
        BackendNeedsUser,
        "that is no address of an MLflow store",
        "set MLFLOW_TRACKING_URI",
        causes="requests.exceptions.InvalidURL requests.exceptions.InvalidSchema "
        "requests.exceptions.MissingSchema mlflow.exceptions.InvalidUrlException "
        "mlflow.tracking.registry.UnsupportedModelRegistryStoreURIException sqlalchemy.exc.ArgumentError "
        "sqlalchemy.exc.NoSuchModuleError",
    ),
    _rule(
        BackendNeedsUser,
        "a package is missing: {own}",
        "pip install {package}, beside mlflow",
        causes="builtins.ImportError",
        pattern=r".*No module named '([\w.]+)'",
    ),
    _rule(
        BackendNeedsUser,
        "a package is missing: {own}",
        "install it beside mlflow",
        causes="builtins.ImportError",
    ),
    # What the SDKs of artifact stores raise.
    _rule(
        BackendNeedsUser,
        "its artifact store wants credentials: {own}",
        "set them in the environment, as the store's own tools read them",
        causes="botocore.exceptions.NoCredentialsError botocore.exceptions.PartialCredentialsError "
        "botocore.exceptions.TokenRetrievalError google.auth.exceptions.DefaultCredentialsError "
        "google.auth.exceptions.RefreshError azure.core.exceptions.ClientAuthenticationError",
    ),
    _rule(
        BackendNeedsUser,
        "its artifact store denies access: {own}",
        "check the credentials, and that they may write there",
        causes="botocore.exceptions.ClientError boto3.exceptions.S3UploadFailedError",
        pattern=r".*\((AccessDenied|AllAccessDisabled|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|NoSuchBucket"
        r"|40[13])\)",
    ),
    _rule(
        BackendNeedsUser,
        "its artifact store denies access: {own}",
        "check the credentials, and that they may write there",
        causes="google.api_core.exceptions.Unauthorized google.api_core.exceptions.Forbidden",
    ),
    _rule(
        BackendUnavailable,
        "it answered with something that is not MLflow's",
        causes="google.protobuf.json_format.ParseError json.decoder.JSONDecodeError",
    ),
    # MLflow's own codes.
    _rule(
        BackendNeedsUser,
        "it wants other credentials: {own}",
        CREDENTIALS,
        codes="UNAUTHENTICATED PERMISSION_DENIED CUSTOMER_UNAUTHORIZED",
    ),
    _rule(
        BackendNeedsUser,
        "there is no MLflow server at this address: {own}",
        "check MLFLOW_TRACKING_URI",
        codes="ENDPOINT_NOT_FOUND NOT_FOUND",
    ),
    _rule(
        BackendRefused,
        codes="INVALID_PARAMETER_VALUE BAD_REQUEST RESOURCE_ALREADY_EXISTS ALREADY_EXISTS "
        "RESOURCE_DOES_NOT_EXIST NOT_IMPLEMENTED DATA_LOSS",
    ),
    _rule(BackendNeedsUser, codes="INVALID_STATE FEATURE_DISABLED"),
    # Everything else may pass: INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE, and what nobody foresaw.
    _rule(BackendUnavailable),
)

# HTTP answers that say enough by their number. A 404 or 400 in MLflow's own form is judged by the table above.
STATUS_RULES: Mapping[int, Rule] = {
    401: _rule(BackendNeedsUser, "it wants credentials (HTTP 401): {own}", CREDENTIALS),
    403: _rule(BackendNeedsUser, "it denies access (HTTP 403): {own}", CREDENTIALS),
    405: _rule(BackendNeedsUser, "there is no MLflow server at this address (HTTP 405)", "check MLFLOW_TRACKING_URI"),
    407: _rule(BackendNeedsUser, "the proxy wants credentials (HTTP 407)", "set them in HTTPS_PROXY"),
    408: _rule(BackendUnavailable, "it gave up waiting for the request (HTTP 408)"),
    413: _rule(BackendRefused, "the request is too large for it (HTTP 413)"),
    425: _rule(BackendUnavailable, "it asks to come again (HTTP 425)"),
    429: _rule(BackendUnavailable, "it asks to slow down (HTTP 429)"),
}
_NO_ARTIFACTS = _rule(
    BackendNeedsUser,
    "the server takes no artifacts (it runs with --no-serve-artifacts)",
    "start it with --serve-artifacts",
)
# A proxy's or a login page's 400 says nothing of the rows: to take it for MLflow's would reject them for good.
_NOT_MLFLOWS = _rule(BackendUnavailable, "something in between answered (HTTP {status}): {own}")
_SERVER_FAULT = _rule(BackendUnavailable, "it failed (HTTP {status}): {own}")


def classify(error: BaseException, uri: str, secrets: tuple[str, ...] = ()) -> BackendError:
    """The trk error for whatever was raised on the way to the MLflow store at `uri`."""
    answer = getattr(error, "response", None)  # an HTTPError, which uploads of artifacts raise
    if isinstance(status := getattr(answer, "status_code", None), int):
        told = from_status(status, getattr(answer, "headers", {}), getattr(answer, "text", ""), uri, secrets)
        if told is not None:
            return told
    own = _own_words(error)
    causes = _causes(error)
    code = str(getattr(error, "error_code", ""))
    for rule in RULES:
        if rule.causes and not rule.causes & causes:
            continue
        if rule.codes and code not in rule.codes:
            continue
        found = re.match(rule.pattern, own) if rule.pattern else None
        if rule.pattern and found is None:
            continue
        caught = (found.group(1) or "") if found is not None and found.lastindex else ""
        return _made(rule, uri, secrets, own=own, found=caught)
    raise AssertionError("the last rule fits everything")


def from_status(
    status: int, headers: Mapping[str, str], text: str, uri: str, secrets: tuple[str, ...] = ()
) -> BackendError | None:
    """The trk error for an HTTP answer whose number says enough; None for one that has to be read."""
    rule = _SERVER_FAULT if status >= 500 else STATUS_RULES.get(status)
    if status == 503 and "--no-serve-artifacts" in text:
        rule = _NO_ARTIFACTS
    if rule is None and 400 <= status < 500 and status != 404 and '"error_code"' not in text:
        rule = _NOT_MLFLOWS
    if rule is None:
        return None
    error = _made(rule, uri, secrets, own=_message_in(text), status=str(status))
    if isinstance(error, BackendUnavailable):
        error.retry_after = _retry_after(headers)
    return error


@contextmanager
def translated(uri: str, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Whatever is raised inside comes out as one of trk's errors, without a chain that could show a password."""
    try:
        yield
    except TrkError:
        raise
    except Exception as error:  # noqa: BLE001 - MLflow, SQLAlchemy, requests and cloud SDKs each raise their own
        raise classify(error, uri, secrets) from None


def _made(rule: Rule, uri: str, secrets: tuple[str, ...], **words: str) -> BackendError:
    words["uri"] = uri
    words["own"] = _clean(words["own"], secrets) or "no reason given"
    words["package"] = _package(words.get("found", ""))
    says = rule.says.format(**words)
    hint = rule.hint.format(**words) if rule.hint else None
    return rule.error(without_userinfo(f"MLflow at {uri}: {says}"), hint=without_userinfo(hint) if hint else None)


_PACKAGES = {
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
    "psycopg2": "psycopg2-binary",
}


def _package(module: str) -> str:
    """What has to be installed for a module to be there."""
    known = {
        "google": "google-cloud-storage",
        "azure": "azure-storage-blob azure-identity",
        "psycopg2": "psycopg2-binary",
    }
    return known.get(module.partition(".")[0], module.replace(".", "-"))


def _own_words(error: BaseException) -> str:
    """MLflow's message without the code that a RestException puts before it, on one line.

    SQLAlchemy appends the statement and its parameters: long, and not what the reader needs.
    """
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    text = text.removeprefix(f"{getattr(error, 'error_code', '')}: ")
    return " ".join(re.split(r"\[SQL:|\(Background on this error", text)[0].split())


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    """One printable line of at most LONGEST characters, with nothing secret in it."""
    text = without_userinfo(text)
    for secret in secrets:
        text = text.replace(secret, "***")
    text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _causes(error: BaseException) -> frozenset[str]:
    """The classes of an exception, of all it was raised from, and of all their bases: `module.Name`."""
    names: set[str] = set()
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        names.update(f"{kind.__module__}.{kind.__qualname__}" for kind in type(at).__mro__)
        at = at.__cause__ or at.__context__
    return frozenset(names)


def _message_in(body: str) -> str:
    """The message of an answer in MLflow's form, else the answer itself without markup."""
    import json

    try:
        answer = json.loads(body)
    except ValueError:
        return re.sub(r"<[^>]*>", " ", body)
    return str(answer.get("message", "")) if isinstance(answer, dict) else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds a server asks to wait. A date is measured against the answer's own Date: no clock is needed."""
    from email.utils import parsedate_to_datetime

    told = headers.get("Retry-After", "").strip()
    if not told:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(told) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
