"""A TCP proxy before a real server that does to requests what networks, servers and other proxies do.

It knows as much of HTTP as it takes to tell one request from the next; an answer that it passes on is the server's,
byte for byte. One request per connection.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from servers.mlflow_server import GARBAGE, http_answer

LATE_S = 2.5  # longer than PATIENCE_S: the answer comes when nobody waits for it any more
PATIENCE_S = "2"  # what MLFLOW_HTTP_REQUEST_TIMEOUT is set to where silence is to be noticed soon
_PIECE = 1 << 16


@dataclass(frozen=True)
class Request:
    """One request: its method, its path without the query, and all its bytes as they came, but `Connection: close`."""

    method: str
    path: str
    head: bytes
    body: bytes


@dataclass
class _Strike:
    fault: str
    path: str
    method: str | None
    left: int


@dataclass(frozen=True)
class Seen:
    """What was done to a request, and when (by time.monotonic)."""

    method: str
    path: str
    fault: str
    at: float


@dataclass
class Proxy:
    """Stands before `port` on 127.0.0.1 and treats requests as `weather` says: one of FAULTS, "pass" or "refuse".

    It may also be a function that says it anew for each request (all but "refuse"). `strike` singles requests out.
    `did` counts what was done, `seen` lists it.
    """

    port: int
    weather: str | Callable[[], str] = "pass"
    did: Counter[str] = field(default_factory=Counter)
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._strikes: list[_Strike] = []
        self._turn = threading.Lock()
        self._over = threading.Event()
        self.let_go = threading.Event()
        self._keeper = _bound(0)  # keeps the port while nobody listens on it
        self.url = f"http://127.0.0.1:{self._keeper.getsockname()[1]}"
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        self.turn(self.weather)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.let_go.set()
        self._close()
        for thread in self._threads:
            thread.join(30)
        self._keeper.close()

    def turn(self, weather: str | Callable[[], str]) -> None:
        """Change the weather: from the next request on."""
        assert callable(weather) or weather in ("pass", "refuse", *FAULTS), weather
        self.weather = weather
        if weather == "refuse":
            self.did["refuse"] += 1
            self._close()
        elif self._listener is None:
            self._listen()

    def strike(self, fault: str, path: str = "", times: int = 1, method: str | None = None) -> None:
        """Do this to the next so many requests whose path ends with `path`, whatever the weather."""
        assert fault in ("pass", *FAULTS), fault
        with self._turn:
            self._strikes.append(_Strike(fault, path, method, times))

    def times(self, fault: str, path: str = "") -> int:
        """How many requests whose path ends with `path` this was done to."""
        return sum(one.fault == fault and one.path.endswith(path) for one in list(self.seen))

    # -- connections --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._listener = _bound(self._keeper.getsockname()[1])
        self._listener.listen(64)
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            client.settimeout(30)
            request = _read(client)
            if request is None:
                return
            fault = self._fault_of(request)
            self.did[fault] += 1
            self.seen.append(Seen(request.method, request.path, fault, time.monotonic()))
            FAULTS.get(fault, passed)(self, client, request)

    def _fault_of(self, request: Request) -> str:
        with self._turn:
            for strike in self._strikes:
                if strike.left and request.path.endswith(strike.path) and strike.method in (None, request.method):
                    strike.left -= 1
                    return strike.fault
        now = self.weather() if callable(self.weather) else self.weather
        return now if now != "refuse" else "pass"  # it came before the port was closed

    # -- what faults are made of --------------------------------------------------------------------------------------

    def answers(self, request: Request) -> Iterator[bytes]:
        """Carry out the request: the server's answer, piece by piece."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as server:
            server.sendall(request.head + request.body)
            while piece := server.recv(_PIECE):
                yield piece

    def silence(self, client: socket.socket, seconds: float | None = None) -> bool:
        """Say nothing until the client has left (False), or for so long."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._over.is_set() and (until is None or time.monotonic() < until):
            ready, _, _ = select.select([client], [], [], 0.05)
            if ready and not client.recv(_PIECE):
                return False
        return True


def passed(proxy: Proxy, client: socket.socket, request: Request) -> None:
    for piece in proxy.answers(request):
        client.sendall(piece)


def _reset(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The connection breaks before the server has heard of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _break(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The server gets half of the request."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as server:
        server.sendall(request.head + request.body[: len(request.body) // 2] if request.body else request.head[:-2])
    _reset(proxy, client, request)


def _hang(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """Nobody answers."""
    proxy.silence(client)


def _slow(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The answer takes its time."""
    answer = b"".join(proxy.answers(request))
    proxy.silence(client, 0.3)
    client.sendall(answer)


def _late(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The request is carried out, and the answer comes too late."""
    answer = b"".join(proxy.answers(request))
    if proxy.silence(client, LATE_S):
        client.sendall(answer)


def _held(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The request comes to the server when nobody waits for its answer any more: as soon as `let_go` is set."""
    proxy.let_go.wait(30)
    for _ in proxy.answers(request):
        pass


def _cut(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The request is carried out, and half of the answer comes."""
    answer = b"".join(proxy.answers(request))
    head = answer.find(b"\r\n\r\n") + 4
    client.sendall(answer[: head + (len(answer) - head) // 2])


def _lose(proxy: Proxy, client: socket.socket, request: Request) -> None:
    """The request is carried out, and nothing of the answer comes."""
    for _ in proxy.answers(request):
        pass


def _says(answer: bytes) -> Callable[[Proxy, socket.socket, Request], None]:
    """Something between answers instead of the server, that never hears of it."""
    return lambda proxy, client, request: client.sendall(answer)


FAULTS: dict[str, Callable[[Proxy, socket.socket, Request], None]] = {
    "reset": _reset,
    "break": _break,
    "hang": _hang,
    "slow": _slow,
    "late": _late,
    "cut": _cut,
    "held": _held,
    "lose": _lose,
    "500": _says(http_answer(500, "<h1>Internal Server Error</h1>")),
    "502": _says(http_answer(502, "<h1>Bad Gateway</h1>")),
    "503": _says(http_answer(503, Retry_After="1")),
    "429": _says(http_answer(429, Retry_After="1")),
    "garbage": _says(GARBAGE),
    "html": _says(http_answer(200, "<html>Welcome</html>", Content_Type="text/html")),
    "empty": _says(http_answer(200)),
    "silent": _says(b""),  # closed without a word
    "401": _says(http_answer(401, "You are not authenticated.")),
    "403": _says(http_answer(403, "Forbidden")),
}
NEEDS_USER = ("401", "403")
PASSING = tuple(name for name in FAULTS if name not in (*NEEDS_USER, "held"))  # what goes by itself; "refuse" does, too


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def _read(client: socket.socket) -> Request | None:
    """The request that comes; None when none does."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = client.recv(_PIECE)
        if not piece:
            return None
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    told = {name.strip().lower(): text.strip() for name, _, text in (line.partition(b":") for line in headers)}
    if told.get(b"transfer-encoding", b"").lower() == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(client)
    else:
        while len(body) < int(told.get(b"content-length", 0)):
            body += _more(client)
    kept = [line for line in headers if not line.lower().startswith((b"connection:", b"keep-alive:"))]
    method, target, _ = first.decode("latin-1").split(" ", 2)
    once = b"\r\n".join([first, *kept, b"Connection: close", b"", b""])
    return Request(method, target.partition("?")[0], once, body)


def _more(client: socket.socket) -> bytes:
    piece = client.recv(_PIECE)
    if not piece:
        raise ValueError("it left in the middle of its request")
    return piece
