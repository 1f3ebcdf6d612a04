"""A real `mlflow server` as a child process, and a server of faults to stand in its place or before it."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

START_WITHIN_S = 120  # MLflow imports for several seconds, and its first start makes the tables
STOP_WITHIN_S = 10


PORTS = range(10_000, 32_000)  # below those that a system gives by itself to whoever wants any, as most tests do
LISTENS = b"Uvicorn running on "


def free_port() -> int:
    """A port that nobody listens on just now, and hardly anybody will before a slow server does."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = secrets.choice(PORTS)
            probe.bind(("127.0.0.1", port))
            return port


class MlflowServer:
    """`mlflow server` on 127.0.0.1 with an SQLite store in `folder`. Starting it again keeps port and data."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._said = 0  # bytes of the log before it was started

    def start(self) -> None:
        """Start it, and wait until it answers; one that runs is left alone."""
        if self._process is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        ours = {key: text for key, text in os.environ.items() if not key.startswith(("MLFLOW_", "_MLFLOW_"))}
        with self.log.open("ab") as log:
            self._said = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=ours | quiet | {"HOME": str(home)},
                start_new_session=True,  # a process group of its own: workers are stopped with it
            )
        self._wait_until_healthy()

    def _options(self) -> list[str]:
        store, artifacts = f"sqlite:///{self.folder}/server.db", str(self.folder / "artifacts")
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        return [*where, "--backend-store-uri", store, "--artifacts-destination", artifacts]

    def _wait_until_healthy(self) -> None:
        until = time.monotonic() + START_WITHIN_S
        while True:
            if self._is_healthy():
                return
            alive = self._process is not None and self._process.poll() is None
            if not alive or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"mlflow server did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _is_healthy(self) -> bool:
        if LISTENS not in self.log.read_bytes()[self._said :]:
            return False  # whoever answers there may be another one
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and its workers: this process group, and nothing else."""
        process, self._process = self._process, None
        if process is None:
            return
        for sent in (how, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):  # a worker that outlived its parent
            os.killpg(process.pid, signal.SIGKILL)

    def __enter__(self) -> MlflowServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def http_answer(status: int, body: str = "", **headers: str) -> bytes:
    """An HTTP answer as it goes over the wire; `Retry_After="3"` becomes the header Retry-After."""
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Odd')}", "Connection: close"]
    lines += [f"{key.replace('_', '-')}: {text}" for key, text in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", body]).encode()


HALF = http_answer(200, '{"run": {"info"', Content_Length="5000", Content_Type="application/json")
NOTHING = b""  # the connection is closed without a word
GARBAGE = b"\x00\xff\x13 this is not HTTP\r\n\r\n"


class FaultServer:
    """Reads HTTP requests on 127.0.0.1 and answers each with `answer`; None is silence until `stop`.

    `requests` holds the paths that were asked for. With `upstream` ("host:port") requests for which `lose` is true
    are carried out there and their answer is thrown away; the others are answered as upstream answers.
    """

    def __init__(self, answer: bytes | None = NOTHING, upstream: str | None = None) -> None:
        self.answer = answer
        self.upstream = upstream
        self.lose: Callable[[str], bool] = lambda path: False
        self.requests: list[str] = []
        self._stopped = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._connections: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        for connection in self._connections:
            connection.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            thread.start()
            self._connections.append(thread)

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            first = stream.readline().decode("latin-1").split()
            if len(first) < 2:
                return
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers.get("Content-Length", 0)))
            self.requests.append(first[1])
            if self.upstream is not None:
                answer: bytes | None = self._carried(first[0], first[1], body, dict(headers))
            else:
                answer = self.answer
            if answer is None:
                self._stopped.wait()
            else:
                connection.sendall(answer)

    def _carried(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        upstream = http.client.HTTPConnection(str(self.upstream), timeout=30)
        try:
            upstream.request(method, path, body or None, {"Content-Type": headers.get("Content-Type", "")})
            answer = upstream.getresponse()
            text = answer.read().decode()
        finally:
            upstream.close()
        return NOTHING if self.lose(path) else http_answer(answer.status, text, Content_Type="application/json")


@contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a port that refuses: bound, so that nobody else takes it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
