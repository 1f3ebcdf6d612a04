"""HTTP for the service: reads requests, meets faults, keeps the log, closes connections when told to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import graphql
from .faults import Fault, Faults, left_out
from .service import Request, Response, Service, refusal


class Web(ThreadingHTTPServer):
    """Serves on 127.0.0.1 until `close`, which also ends the connections that are open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, service: Service, faults: Faults, log: list[Request]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.service = service
        self.faults = faults
        self.log = log
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and hang up on everybody."""
        self.shutdown()
        self.server_close()
        with self._open_lock:
            for connection in list(self._open):
                hang_up(connection)
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget it."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none; anything else is a fault of this server and is shown."""
        import sys

        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError, ValueError, OSError)):
            super().handle_error(request, client_address)


def hang_up(connection: socket.socket) -> None:
    """End a connection at once, whoever else holds it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Web
    timeout = 600
    disable_nagle_algorithm = True  # head and body go in two writes, and the second would wait 40 ms

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: `Web.log` has it all."""

    def do_GET(self) -> None:
        """Answer."""
        self._serve()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    def _serve(self) -> None:
        request = self._request()
        fault = self.server.faults.of(request.operation, request.path)
        self.server.log.append(request)
        if fault is None:
            self._send(request, self.server.service.answer(request))
        else:
            self._fail(request, fault)

    def _request(self) -> Request:
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(time.time(), self.command, self.path, headers, body)
        if self.path == "/graphql":
            request.operation = graphql.name(request.json["query"])
        return request

    def _fail(self, request: Request, fault: Fault) -> None:
        if fault.slow:
            fault.gone.wait(fault.slow)
        if fault.refuse:
            self._hang_up()
        elif fault.status is not None:
            self._send(request, refusal(fault.status, fault.message), fault.retry_after)
        else:
            self._spoil(request, fault, self.server.service.answer(request))

    def _spoil(self, request: Request, fault: Fault, answer: Response) -> None:
        if fault.lose:
            self._hang_up()
        elif fault.garbage:
            self._send(request, Response(200, b"<html>not what you asked for", "text/html"))
        elif fault.without is not None:
            kept = left_out(json.loads(answer.body), fault.without)
            self._send(request, Response(answer.status, json.dumps(kept).encode()))
        elif fault.cut:
            self._send(request, answer, upto=len(answer.body) // 2)
            self._hang_up()
        else:
            self._send(request, answer)

    def _send(
        self, request: Request, answer: Response, retry_after: float | None = None, upto: int | None = None
    ) -> None:
        request.status, request.answer = answer.status, answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("ETag", '"test"')
        if retry_after is not None:
            self.send_header("Retry-After", f"{retry_after:g}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:upto])

    def _hang_up(self) -> None:
        self.close_connection = True
        hang_up(self.connection)
