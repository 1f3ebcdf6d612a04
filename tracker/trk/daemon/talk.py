"""The daemon's end of a conversation: who is let in, what may be asked, what is answered. A client has a thread."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import trk
from trk.delivery.loop import Loop

if TYPE_CHECKING:
    from trk.query.answers import Answers

LINE = 1 << 16  # bytes of a message


class Host(Protocol):
    """Whom the clients talk to."""

    folder: str
    loop: Loop

    def take_on(self, run_id: str, nonce: bytes, proof: str, *, whole: bool = False) -> int | None:
        """Deliver a run whose program proves to have the same credentials; returns the request's number."""
        ...

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        ...

    def answers_to(self, nonce: bytes, proof: str) -> Answers | None:
        """Who answers questions of a program that proves to have the same credentials; else None."""
        ...

    def leave(self) -> None:
        """Have it leave."""
        ...


@contextlib.contextmanager
def listening(host: Host, path: str) -> Iterator[None]:
    """For the length of a `with`: clients are answered on the socket at `path`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of one that was killed: its lock is ours
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    os.chmod(path, 0o600)
    server.listen(64)
    threading.Thread(target=_accept, args=(host, server), name="trk-socket", daemon=True).start()
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            os.unlink(path)


def _accept(host: Host, server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            if server.fileno() == -1:
                return  # it was closed
            time.sleep(0.1)  # no descriptors, or the caller has left
            continue
        threading.Thread(target=_talk, args=(host, client), name="trk-client", daemon=True).start()


def _talk(host: Host, client: socket.socket) -> None:
    with client, contextlib.suppress(OSError, ValueError, KeyError):  # whoever it was has left, or speaks otherwise
        client.settimeout(30)
        if not _is_own_user(client):
            return
        nonce = os.urandom(32)
        hello = {"trk": trk.__version__, "pid": os.getpid(), "nonce": nonce.hex(), "folder": host.folder}
        _say(client, hello)
        lines = client.makefile("r", encoding="utf-8", newline="\n")
        while line := lines.readline(LINE):
            asked = json.loads(line)
            what = asked.get("ask") if isinstance(asked, dict) else None
            if what == "yield":
                _yield(host, client, lines)
                return
            if what == "query":
                _answer(host, client, lines, asked, nonce)
                return
            answer = _ANSWERS.get(what)
            _say(client, {"error": "this daemon does not know that"} if answer is None else answer(host, asked, nonce))


def _serve(host: Host, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
    number = host.take_on(str(asked["run"]), nonce, str(asked.get("proof")), whole=bool(asked.get("whole")))
    return {"same": False} if number is None else {"same": True, "request": number}


def _stuck(host: Host, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
    """The runs that were tried since a request, and wait until somebody does something."""
    return {"stuck": sorted(host.loop.stuck(int(asked.get("request") or 0)))}


def _leave(host: Host, asked: dict[str, Any], nonce: bytes) -> dict[str, Any]:
    host.leave()
    return {"ok": True, "pid": os.getpid()}


def _yield(host: Host, client: socket.socket, lines: Any) -> None:
    """Let a client deliver: until it has left, nothing is delivered here."""
    with host.loop.yielded():
        _say(client, {"ok": True})
        client.settimeout(None)
        lines.read(1)


def _answer(host: Host, client: socket.socket, lines: Any, asked: dict[str, Any], nonce: bytes) -> None:
    """Answer questions to a source until the client has left."""
    answers = host.answers_to(nonce, str(asked.get("proof")))
    if answers is not None:
        with answers.conversation(str(asked["source"]), str(asked["target"])) as answer:
            _say(client, {"same": answer is not None})
            while answer is not None and (line := lines.readline(LINE)):
                for message in answer(json.loads(line)):
                    _say(client, message)
        return
    _say(client, {"same": False})


_ANSWERS: dict[object, Callable[[Host, dict[str, Any], bytes], dict[str, Any]]] = {
    "serve": _serve,
    "status": lambda host, asked, nonce: host.status(),
    "stuck": _stuck,
    "leave": _leave,
}


def _say(client: socket.socket, message: dict[str, Any]) -> None:
    client.sendall(json.dumps(message).encode() + b"\n")


def _is_own_user(client: socket.socket) -> bool:
    """Whether the process at the other end is this user's. Where the system does not tell, its folder's mode does."""
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is None:
        return True
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, kind, struct.calcsize("3i")))
    return bool(uid == os.getuid())
