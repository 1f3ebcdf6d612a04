"""What MLflow raises is put into the right class, tells what happened in one line, and shows no secret."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers.mlflow_server import GARBAGE, HALF, NOTHING, FaultServer, closed_port, http_answer
from trk.backends import _mlflow_errors as errors
from trk.backends import _mlflow_store
from trk.backends.mlflow import MlflowBackend
from trk.errors import (
    BackendError,
    BackendNeedsUser,
    BackendRefused,
    BackendRunGone,
    BackendUnavailable,
)
from trk.records import RemoteRun, RunSpec
from trk.testing import metric

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]

SPEC = RunSpec("abcd", "a run", "an experiment", 1_700_000_000_000)


def opening(uri: str) -> BackendError:
    """What opening a run raises there."""
    with pytest.raises(BackendError) as caught:
        MlflowBackend({"tracking_uri": uri}).open(SPEC)
    assert "\n" not in caught.value.message
    return caught.value


def json_error(status: int, code: str, message: str) -> bytes:
    return http_answer(status, f'{{"error_code": "{code}", "message": "{message}"}}', Content_Type="application/json")


# -- what really happens on the wire -----------------------------------------------------------------------------

ON_THE_WIRE = [
    ("closed at once", NOTHING, BackendUnavailable, "connection broke"),
    ("no HTTP", GARBAGE, BackendUnavailable, "connection broke"),
    ("half an answer", HALF, BackendUnavailable, "connection broke"),
    ("a web page", http_answer(200, "<html>Welcome</html>"), BackendUnavailable, "not MLflow's"),
    ("an empty answer", http_answer(200), BackendUnavailable, "nothing"),
    ("an empty object", http_answer(200, "{}"), BackendUnavailable, "nothing"),
    ("another's JSON", http_answer(200, '{"hello": 1}'), BackendUnavailable, "nothing"),
    ("JSON of a wrong shape", http_answer(200, '{"experiment": 7}'), BackendUnavailable, "not MLflow's"),
    ("500", http_answer(500, "<h1>Oops</h1>"), BackendUnavailable, "HTTP 500"),
    ("502", http_answer(502), BackendUnavailable, "HTTP 502"),
    ("503 of MLflow", json_error(503, "TEMPORARILY_UNAVAILABLE", "locked"), BackendUnavailable, "locked"),
    ("429", http_answer(429), BackendUnavailable, "slow down"),
    ("408", http_answer(408), BackendUnavailable, "408"),
    ("413", http_answer(413), BackendRefused, "too large"),
    ("401", http_answer(401, "You are not authenticated."), BackendNeedsUser, "not authenticated"),
    ("403", json_error(403, "PERMISSION_DENIED", "no"), BackendNeedsUser, "denies"),
    ("404 page", http_answer(404, "<h1>Not found</h1>"), BackendNeedsUser, "no MLflow server"),
    ("405", http_answer(405), BackendNeedsUser, "no MLflow server"),
    ("400 of MLflow", json_error(400, "INVALID_PARAMETER_VALUE", "bad"), BackendRefused, "bad"),
]


@pytest.mark.parametrize(
    ("answer", "kind", "says"), [case[1:] for case in ON_THE_WIRE], ids=[c[0] for c in ON_THE_WIRE]
)
def test_an_answer_of_a_server_is_classified(answer: bytes, kind: type[BackendError], says: str) -> None:
    with FaultServer(answer) as server:
        error = opening(server.url)
        assert type(error) is kind
        assert says in error.message
        assert len(server.requests) == 1, "it was asked more than once"


def test_a_closed_port_is_passing_and_told_at_once() -> None:
    with closed_port() as url:
        error = opening(url)
    assert type(error) is BackendUnavailable
    assert error.message == f"MLflow at {url}: connection refused"


def test_an_unknown_host_is_passing() -> None:
    error = opening("http://no-such-host.invalid:5000")
    assert type(error) is BackendUnavailable


def test_silence_is_passing_after_the_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with FaultServer(None) as server:
        error = opening(server.url)
    assert type(error) is BackendUnavailable
    assert "in time" in error.message


def test_a_delivery_that_gets_half_an_answer_is_passing() -> None:
    with FaultServer(http_answer(200, "{", Content_Length="20")) as server:
        backend = MlflowBackend({"tracking_uri": server.url})
        with pytest.raises(BackendUnavailable):
            backend.deliver(RemoteRun("abcd", "0" * 32, None, "1"), [metric(1, "f1", 0.5)])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "3"}, 3.0),
        ({"Retry_After": "1.5"}, 1.5),
        ({"Retry_After": "-1"}, 0.0),
        ({"Retry_After": "Fri, 21 Nov 2025 12:00:30 GMT", "Date": "Fri, 21 Nov 2025 12:00:00 GMT"}, 30.0),
        ({"Retry_After": "Fri, 21 Nov 2025 12:00:30 GMT"}, None),
        ({"Retry_After": "soon"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(status: int, headers: dict[str, str], seconds: float | None) -> None:
    with FaultServer(http_answer(status, "", **headers)) as server:
        error = opening(server.url)
    assert isinstance(error, BackendUnavailable)
    assert error.retry_after == seconds


def test_the_environments_retries_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    with FaultServer(http_answer(500)) as server:
        opening(server.url)
        assert len(server.requests) == 1


def test_credentials_that_are_missing_are_named() -> None:
    with FaultServer(http_answer(401)) as server:
        hint = str(opening(server.url).hint)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        assert name in hint


def test_no_message_shows_a_password_or_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "zoe")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2hunter2")
    for answer in (http_answer(401, "hunter2hunter2 is wrong"), GARBAGE, http_answer(500, "saw hunter2hunter2")):
        with FaultServer(answer) as server:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url.replace("://", "://zoe:s3cr3t@"))
            error = opening(server.url)
            assert error.__cause__ is None
            for text in (error.message, str(error.hint)):
                assert "hunter2" not in text
                assert "s3cr3t" not in text


def test_user_and_password_of_the_environments_uri_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://zoe:pw@db.example/mlflow")
    assert _mlflow_store._with_userinfo("postgresql://db.example/mlflow") == "postgresql://zoe:pw@db.example/mlflow"
    assert _mlflow_store._with_userinfo("postgresql://other.example/mlflow") == "postgresql://other.example/mlflow"


# -- embedded stores ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow made."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowBackend({"tracking_uri": f"sqlite:///{file}"}).open(SPEC)
    return file


@pytest.fixture
def copy(database: Path, tmp_path: Path) -> Path:
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    return tmp_path / "mlflow.db"


@pytest.fixture
def locked(copy: Path) -> Iterator[Path]:
    holder = sqlite3.connect(copy, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    yield copy
    holder.execute("ROLLBACK")
    holder.close()


def test_a_locked_database_is_passing(locked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    error = opening(f"sqlite:///{locked}")
    assert type(error) is BackendUnavailable
    assert "locked" in error.message
    assert capfd.readouterr().err == ""


def test_a_database_locked_during_delivery_is_passing(
    copy: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MlflowBackend({"tracking_uri": f"sqlite:///{copy}"})
    run = backend.open(SPEC)
    shorter_waits(monkeypatch)
    holder = sqlite3.connect(copy, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BackendUnavailable, match="locked"):
        backend.deliver(run, [metric(1, "f1", 0.5)])
    holder.execute("ROLLBACK")
    holder.close()
    backend.deliver(run, [metric(1, "f1", 0.5)])
    assert capfd.readouterr().err == "", "MLflow logs a traceback"


def shorter_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow waits 20 s for a lock, by a text in its code."""
    import sqlalchemy

    real = sqlalchemy.sql.text
    monkeypatch.setattr(
        "mlflow.store.db.utils.sql.text", lambda text: real(text.replace("busy_timeout = 20000", "busy_timeout = 200"))
    )


@pytest.mark.parametrize("version", ["0000deadbeef", "451aebb31d03"])
def test_a_database_of_another_version_names_the_command(copy: Path, version: str) -> None:
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.close()
    error = opening(f"sqlite:///{copy}")
    assert type(error) is BackendNeedsUser
    assert f"mlflow db upgrade sqlite:///{copy}" in str(error.hint)


def test_a_file_that_is_no_database_needs_the_user(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(os.urandom(10_000))
    assert type(opening(f"sqlite:///{tmp_path}/mlflow.db")) is BackendNeedsUser


def test_a_folder_in_the_files_place_needs_the_user(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    assert type(opening(f"sqlite:///{tmp_path}/mlflow.db")) is BackendNeedsUser


def test_a_file_in_the_folders_place_needs_the_user(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    assert type(opening(f"sqlite:///{tmp_path}/here/mlflow.db")) is BackendNeedsUser


def test_a_time_out_that_is_no_number_needs_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "long")
    error = opening("http://127.0.0.1:1")
    assert type(error) is BackendNeedsUser
    assert "'long'" in error.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_needs_the_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert type(opening(f"sqlite:///{closed}/mlflow.db")) is BackendNeedsUser
    closed.chmod(stat.S_IRWXU)


def test_a_folder_of_files_needs_the_user(tmp_path: Path) -> None:
    error = opening(f"file://{tmp_path}/mlruns")
    assert type(error) is BackendNeedsUser
    assert "migrate-filestore" in str(error.hint)


def test_an_unknown_kind_of_address_needs_the_user() -> None:
    assert type(opening("gopher://example")) is BackendNeedsUser


def test_a_driver_that_is_not_installed_needs_the_user() -> None:
    if find_spec("psycopg2") is not None:
        pytest.skip("psycopg2 is installed here")
    error = opening("postgresql+psycopg2://127.0.0.1:1/mlflow")
    assert type(error) is BackendNeedsUser
    assert "psycopg2" in error.message


# -- the table itself --------------------------------------------------------------------------------------------


def raised(message: str, code: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    return MlflowException(message, ErrorCode.Value(code))


TABLE = [
    (
        "The run 12ab must be in the 'active' state. Current state is deleted.",
        "INVALID_PARAMETER_VALUE",
        BackendRunGone,
    ),
    ("Run with id=12ab not found", "RESOURCE_DOES_NOT_EXIST", BackendRunGone),
    ("Run '12ab' not found", "RESOURCE_DOES_NOT_EXIST", BackendRunGone),
    ("The experiment 7 must be in the 'active' state.", "INVALID_PARAMETER_VALUE", BackendNeedsUser),
    ("No Experiment with id=7 exists", "RESOURCE_DOES_NOT_EXIST", BackendNeedsUser),
    ("Invalid value 'database is locked' for parameter", "INVALID_PARAMETER_VALUE", BackendRefused),
    ("Changing param values: The run x must be in the 'active' state", "INVALID_PARAMETER_VALUE", BackendRefused),
    ("constraint failed", "BAD_REQUEST", BackendRefused),
    ("busy", "TEMPORARILY_UNAVAILABLE", BackendUnavailable),
    ("too many", "REQUEST_LIMIT_EXCEEDED", BackendUnavailable),
    ("whatever", "INTERNAL_ERROR", BackendUnavailable),
    ("who are you", "UNAUTHENTICATED", BackendNeedsUser),
    ("not yours", "PERMISSION_DENIED", BackendNeedsUser),
]


@pytest.mark.parametrize(("message", "code", "kind"), TABLE)
def test_what_mlflow_raises_is_classified(message: str, code: str, kind: type[BackendError]) -> None:
    assert type(errors.classify(raised(message, code), "sqlite:////x/mlflow.db")) is kind


def test_an_upload_that_is_denied_needs_the_user() -> None:
    import requests

    answer = requests.Response()
    answer.status_code = 403
    error = errors.classify(requests.HTTPError("403 Client Error", response=answer), "http://x")
    assert type(error) is BackendNeedsUser


def test_what_nobody_foresaw_is_passing() -> None:
    assert type(errors.classify(KeyError("odd"), "http://x")) is BackendUnavailable


def test_a_message_is_one_short_line_without_statements_or_secrets() -> None:
    noisy = raised("bad\n\n[SQL: INSERT INTO x]\n(Background on this error at: https://sqlalche.me)", "BAD_REQUEST")
    assert errors.classify(noisy, "sqlite:////x").message == "MLflow at sqlite:////x: bad"
    long = errors.classify(raised("\x1b[31m" + "x" * 5000, "BAD_REQUEST"), "http://u:p@x")
    assert len(long.message) < 400
    assert long.message.isprintable()
    assert "u:p@" not in long.message
    told = errors.classify(raised("https://zoe:p@ss@host/api sent tok-123", "BAD_REQUEST"), "x", ("tok-123",))
    assert told.message == "MLflow at x: https://host/api sent ***"


def test_every_rule_speaks_of_what_it_has() -> None:
    for rule in (*errors.RULES, *errors.STATUS_RULES.values()):
        words = {"uri": "u", "own": "o", "found": "f", "package": "p", "status": "500"}
        assert rule.says.format(**words)
        assert rule.hint is None or rule.hint.format(**words)


@pytest.mark.parametrize("status", [400, 402, 409, 418, 451])
def test_what_a_proxy_answers_rejects_nothing(status: int) -> None:
    error = errors.from_status(status, {}, "<html>400 Bad Request, nginx</html>", "http://host:5000")
    assert isinstance(error, BackendUnavailable)


def test_what_mlflow_itself_refuses_is_read() -> None:
    assert errors.from_status(400, {}, '{"error_code": "INVALID_PARAMETER_VALUE"}', "http://host:5000") is None
