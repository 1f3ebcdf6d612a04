"""A W&B server for tests: what wandb 0.31 and its core process ask of one, all kept to be looked at, faults on command.

    with WandbServer() as server:
        program(CODE, **server.environment(folder))
        assert server.run("tester", "digits", "r1").history == [{"_step": 0, "loss": 0.5, ...}]

By hand: `python tests/servers/wandb_server.py --port 8799 --folder /tmp/wb` and its environment is printed; started
again with the folder, also after SIGKILL, it has everything that it ever acknowledged.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a program
    sys.path.insert(0, str(Path(__file__).parents[1]))

from servers.mlflow_server import free_port
from servers.wandb_parts.faults import Fault, Faults
from servers.wandb_parts.recorder import Recorder
from servers.wandb_parts.service import Request, Service
from servers.wandb_parts.store import Run
from servers.wandb_parts.web import Web

KEY = "0123456789abcdef0123456789abcdef01234567"  # the SDK wants 40 characters
USER = "tester"


class WandbServer:
    """The server, in threads of this process. Stopping and starting it keeps port and data.

    `heartbeat_s` is how long a run may be silent before it is called crashed. With `folder` the data is on disk too.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        key: str = KEY,
        user: str = USER,
        heartbeat_s: float = 300.0,
        folder: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = key
        self.user = user
        self.faults = Faults()
        self.requests: list[Request] = []
        self._recorder = Recorder(folder) if folder else None
        self.service = Service(self.url, key, user, heartbeat_s, self._recorder)
        self._web: Web | None = None

    def start(self) -> None:
        """Listen."""
        self._web = Web(self.port, self.service, self.faults, self.requests)
        self._web.start()

    def stop(self) -> None:
        """Stop listening, and hang up on everybody at once. Twice is once."""
        web, self._web = self._web, None
        if web is not None:
            web.close()

    def __enter__(self) -> WandbServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.faults.clear()
        self.stop()
        if self._recorder is not None:
            self._recorder.close()

    def environment(self, folder: Path | None = None) -> dict[str, str]:
        """What makes the SDK use this server and be quiet; with a folder, write below it only."""
        found = {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.key,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
        }
        if folder is not None:
            found["HOME"] = str(folder)
            for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR"):
                place = folder / f"wandb-{name.lower()}"
                place.mkdir(parents=True, exist_ok=True)
                found[f"WANDB_{name}"] = str(place)
        return found

    def fail(self, endpoint: str, **how: Any) -> Fault:
        """Answer badly from now on; the words are those of `Fault`."""
        return self.faults.add(Fault(endpoint, **how))

    def run(self, entity: str, project: str, run_id: str) -> Run:
        """A run as the server has it now, deleted or not. Raises KeyError."""
        with self.service.lock:
            self.service.tick()
            return self.service.store.seen(self.service.store.runs[entity, project, run_id])

    def runs(self) -> list[Run]:
        """All runs that are not deleted, in order of creation."""
        with self.service.lock:
            self.service.tick()
            return [self.service.store.seen(run) for run in self.service.store.runs.values() if not run.deleted]

    def asked(self, endpoint: str) -> list[Request]:
        """The requests for an operation, or with this in their path, in order."""
        return [one for one in list(self.requests) if endpoint == one.operation or endpoint in one.path]

    def unknown(self) -> list[str]:
        """The fields that somebody asked for and this server does not know, as `Type.field`."""
        return [name for request in list(self.requests) for name in request.unknown]


def main() -> None:
    """Serve until a signal to end."""
    parser = argparse.ArgumentParser(description="A W&B server for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the data here")
    parser.add_argument("--heartbeat", type=float, default=300.0, help="seconds of silence that are a crash")
    given = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with WandbServer(given.port or None, folder=given.folder, heartbeat_s=given.heartbeat) as server:
        print(f"export WANDB_BASE_URL={server.url} WANDB_API_KEY={server.key}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
