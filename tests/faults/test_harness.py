"""What causes the faults does cause them: otherwise no course proves anything."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.harness.clock import Clock
from faults.harness.disk import fill, free
from faults.harness.proxy import FAULTS, LATE_S, PATIENCE_S, Proxy
from helpers import program, until

PATIENCE = float(PATIENCE_S)
BODY = b"a whole answer"


class Upstream(http.server.ThreadingHTTPServer):
    """A server that notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[bytes] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        got = self.rfile.read(size)
        if len(got) == size:
            self.server.asked.append(got)
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(proxy: Proxy, path: str = "/runs/create?x=1") -> tuple[int, bytes, float] | str:
    """Status, body and seconds of an answer, or what was wrong with it."""
    client = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=PATIENCE)
    began = time.monotonic()
    try:
        client.request("POST", path, b"the whole request")
        answer = client.getresponse()
        return answer.status, answer.read(), time.monotonic() - began
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        client.close()


WHAT = {
    "reset": "ConnectionResetError",
    "break": "ConnectionResetError",
    "hang": "TimeoutError",
    "late": "TimeoutError",
    "held": "TimeoutError",
    "cut": "IncompleteRead",
    "lose": "RemoteDisconnected",
    "silent": "RemoteDisconnected",
    "garbage": "BadStatusLine",
    "empty": 200, "html": 200, "500": 500, "502": 502, "503": 503, "429": 429, "401": 401, "403": 403, "slow": 200,
}  # fmt: skip
CARRIED_OUT = ("slow", "late", "cut", "lose")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_what_it_is_called_and_is_counted(fault: str, upstream: Upstream) -> None:
    with Proxy(upstream.server_port) as proxy:
        proxy.strike(fault, "runs/create")
        found = ask(proxy)
        assert (found if isinstance(found, str) else found[0]) == WHAT[fault]
        if fault == "slow":
            assert found[2] >= 0.3
        assert proxy.times(fault, "runs/create") == proxy.did[fault] == 1
        assert upstream.asked == [b"the whole request"] * (fault in CARRIED_OUT)
        after = ask(proxy)
        assert after[:2] == (200, BODY), "that was once"
        proxy.let_go.set()
        until(lambda: len(upstream.asked) == 1 + (fault in (*CARRIED_OUT, "held")))
    assert PATIENCE < LATE_S


def test_a_port_that_refuses_does_so_until_it_does_not(upstream: Upstream) -> None:
    with Proxy(upstream.server_port) as proxy:
        for _ in range(3):
            assert ask(proxy)[:2] == (200, BODY)
            proxy.turn("refuse")
            assert ask(proxy) == "ConnectionRefusedError"
            proxy.turn("pass")
        proxy.turn(iter(["500", "pass"]).__next__)
        assert [ask(proxy)[0] for _ in range(2)] == [500, 200]
        proxy.turn("500")
        assert ask(proxy, "/other")[0] == 500


def test_the_clock_steps_for_all_who_look_at_it(clock: Clock) -> None:
    code = (
        "import sys, time, datetime\n"
        "print(time.time(), time.time_ns() / 1e9, datetime.datetime.now().timestamp(), time.monotonic())"
    )
    for step in (0, -3600, 86_400):
        clock.step(step)
        *wall, steady = map(float, program(code, **clock.variables).stdout.split())
        assert all(abs(one - time.time() - step) < 30 for one in wall)
        assert abs(steady - time.monotonic()) < 30


def test_a_disk_is_full_but_for_what_was_asked(mounted: Callable[..., Path]) -> None:
    disk = mounted("size=1m")
    ballast = fill(disk, 100_000)
    assert 90_000 < free(disk) <= 100_000 + 8192
    ballast.unlink()
    fill(disk)
    assert free(disk) == 0
