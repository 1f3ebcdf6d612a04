"""MLflow's own UI on a store: the command that runs it, its process, and the address of a page in it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from trk import settings
from trk.addresses import without_userinfo
from trk.backends._mlflow_errors import translated
from trk.backends._mlflow_probe import API, answer, ask, check_schema, no_mlflow
from trk.backends._mlflow_store import _secrets, _sqlite_file, _with_userinfo, is_database, is_server
from trk.errors import BackendError, BackendNeedsUser, NotFound, TrkError, UsageError

DEFAULT_PORT = 5000  # MLflow's own
REQUIREMENT = "trk-ml[mlflow]"
PACKAGES = ("mlflow", "sqlalchemy", "alembic", "flask", "fastapi", "uvicorn")  # mlflow-skinny has no UI
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here: how to reach what is
POLL_S = 0.1
STOP_WITHIN_S = 8.0  # uvicorn waits 3 s for requests under way
KEPT_LINES = 12
_TOLD = 300  # characters of what MLflow said last

# Settings of a server, or of another store, that would make MLflow show something else or elsewhere.
_NOT_OURS = (
    "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_REGISTRY_STORE_URI", "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "MLFLOW_ARTIFACTS_ONLY", "MLFLOW_STATIC_PREFIX", "MLFLOW_GUNICORN_OPTS", "MLFLOW_UVICORN_OPTS",
    "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID",
)  # fmt: skip
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners are processes more, and no part of looking at runs
    "PYTHONWARNINGS": "ignore",
}


def check(target: Mapping[str, Any]) -> None:
    """Raise NotFound when there is no store to show yet, BackendNeedsUser when MLflow's UI is not installed."""
    uri = without_userinfo(str(target["tracking_uri"]))
    if not is_database(uri) and not uri.startswith(("/", "file:")):
        raise UsageError(f"MLflow at {uri} has a UI of its own", hint="open that in a browser")
    if not all(_is_installed(name) for name in PACKAGES):
        raise BackendNeedsUser("MLflow's UI is not installed here", hint=f"pip install '{REQUIREMENT}'")
    file = _sqlite_file(uri)
    if file is not None and (not file.exists() or file.stat().st_size == 0):
        raise NotFound(f"there is no MLflow database at {file} yet", hint="trk start -b mlflow …, then trk sync")
    if file is not None:
        with translated(uri):
            check_schema(uri, file)


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    found = find_spec(name)
    return found is not None and found.origin is not None


def port_for(host: str, wanted: int | None) -> int:
    """The port to serve on: the one that is wanted, else MLflow's own, else, when that is taken, a free one.

    Raises UsageError for a host that is not this machine's, TrkError when the port that is wanted is taken.
    """
    try:
        return _bound(host, DEFAULT_PORT if wanted is None else wanted)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"host {host!r} is not known", hint="--host 127.0.0.1") from None
    except OSError as error:
        import errno

        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"host {host} is not this machine's", hint="--host 127.0.0.1") from None
        if wanted is not None:
            raise TrkError(f"port {wanted} of {host}: {error.strerror}", hint="without --port a free one") from None
    return _bound(host, 0)


def _bound(host: str, port: int) -> int:
    """The number of a port that could be bound to just now. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just been let go of is free
        probe.bind(address)
        return int(probe.getsockname()[1])


class Server:
    """`mlflow ui` on a store, as a child process. Use it in a `with`: at its end nothing of it is left running."""

    def __init__(
        self, target: Mapping[str, Any], host: str, port: int, say: Callable[[str], None] | None = None
    ) -> None:
        self._target = target
        self._host = host
        self._port = port
        self._say = say
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._ready = False
        self._process: subprocess.Popen[str] | None = None
        shown = EVERYWHERE.get(host, host)
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def __enter__(self) -> Server:
        file = _sqlite_file(str(self._target["tracking_uri"]))
        self._process = subprocess.Popen(
            self._command(),
            env=self._environment(),
            cwd=file.parent if file is not None else None,  # where relative paths in the store lead from
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, which is stopped as a whole; a Ctrl-C comes to trk alone
            preexec_fn=_die_with_parent(),
        )
        threading.Thread(target=self._listen, args=(self._process,), name="trk-ui", daemon=True).start()
        return self

    def _command(self) -> list[str]:
        # The folder of the server's code is named, since uvicorn would import what lies in the working directory.
        opts = "--app-dir / --no-access-log --log-level warning --timeout-graceful-shutdown 3"
        words = [sys.executable, "-m", "mlflow", "ui", "--host", self._host, "--port", str(self._port)]
        words += ["--workers", "1", "--uvicorn-opts", opts]
        root = self._target.get("artifact_root")
        return [*words, "--default-artifact-root", str(root)] if root else words

    def _environment(self) -> dict[str, str]:
        """This process's, with the store's address in it: a command line is seen by everyone on the machine."""
        uri = str(self._target["tracking_uri"])
        ours = {key: text for key, text in settings.environment().items() if key not in _NOT_OURS}
        file = _sqlite_file(uri)
        if file is not None:  # where `mlflow server` puts artifacts when it is started beside its database
            ours.setdefault("MLFLOW_ARTIFACTS_DESTINATION", str(file.absolute().parent / "mlartifacts"))
        where = {"MLFLOW_BACKEND_STORE_URI": _with_userinfo(uri), "PYTHONSAFEPATH": "1"}
        return {**_DEFAULTS, **ours, **where}

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Pass on what MLflow says, and keep the end of it."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                told = without_userinfo(line.rstrip())
                for secret in _secrets():
                    told = told.replace(secret, "***")
                if told:
                    self._last.append(told)
                    if self._say is not None and self._ready:  # how it starts is of interest when it does not
                        self._say(told)

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until it answers. Raises TrkError with MLflow's own words when it does not come to that."""
        deadline = time.monotonic() + timeout
        process = self._running()
        while not self._answers():
            if process.poll() is not None:
                raise TrkError(f"MLflow's UI did not start: {self._why()}", hint="trk doctor")
            if time.monotonic() > deadline:
                raise TrkError(f"MLflow's UI did not answer within {timeout:g} s: {self._why()}", hint="--timeout 120")
            time.sleep(POLL_S)
        self._ready = True

    def _answers(self) -> bool:
        try:
            return ask(self.url, "/health", 2, own=True)[0] == 200
        except BackendError:
            return False

    def _why(self) -> str:
        """What MLflow said last; an error's last line is what happened."""
        errors = [line for line in self._last if "rror" in line] or list(self._last)
        told = errors[-1] if errors else "it said nothing"
        return told if len(told) <= _TOLD else told[: _TOLD - 1] + "…"

    def wait(self) -> int:
        """Wait until it ends by itself; returns its exit code, 128 + n when signal n ended it."""
        code = self._running().wait()
        return code if code >= 0 else 128 - code

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "used outside its `with`"
        return self._process

    def __exit__(self, *_: object) -> None:
        process = self._running()
        try:
            _signal_group(process, signal.SIGTERM)
            deadline = time.monotonic() + STOP_WITHIN_S
            while _group_lives(process) and time.monotonic() < deadline:
                time.sleep(POLL_S / 2)
        finally:  # in any case, an impatient second Ctrl-C included
            _signal_group(process, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
            process.wait()


def _signal_group(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    """Send a signal to the child and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: what is left of the group is dying
        if hasattr(os, "killpg"):
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)


def _group_lives(process: subprocess.Popen[str]) -> bool:
    process.poll()  # a child that has ended is in its group until somebody asks
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, 0)
            return True
    except (ProcessLookupError, PermissionError):
        return False
    return process.poll() is None


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does first on Linux, so that it is told to end when trk is killed without a chance to tell it."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    set_death_signal, number = 1, int(signal.SIGTERM)
    return lambda: prctl(set_death_signal, number)


def page(base: str, experiment: str | None, remote_id: str | None, timeout: float, *, own: bool = False) -> str:
    """The address of a run, else of an experiment, else of the whole UI at `base`, where MLflow has just answered.

    What is not there yet, or no longer, is passed over. `own` is said of a `Server` that runs here. Raises
    BackendError, within `timeout` seconds, when no MLflow answers.
    """
    base = without_userinfo(base).rstrip("/")
    until = time.monotonic() + timeout

    def asked(path: str, **query: str) -> dict[str, Any] | None:
        return answer(base, f"{API}/{path}", max(until - time.monotonic(), 0.1), own=own, **query)

    if remote_id is not None and (found := asked("runs/get", run_id=remote_id)) is not None:
        return f"{base}/#/experiments/{found['run']['info']['experiment_id']}/runs/{remote_id}"
    if experiment is not None:
        found = asked("experiments/get-by-name", experiment_name=experiment)
        if found is not None:
            return f"{base}/#/experiments/{found['experiment']['experiment_id']}"
    if asked("experiments/search", max_results="1") is None:
        raise no_mlflow(base)
    return base


__all__ = ["DEFAULT_PORT", "Server", "check", "is_server", "page", "port_for"]
