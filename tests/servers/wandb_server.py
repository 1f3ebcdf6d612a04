"""A W&B server for tests: what wandb 0.31 and its core process ask of one, all kept to be looked at, faults on command.

    with WandbServer() as server:
        program(CODE, **server.environment(folder))
        assert server.run("tester", "digits", "r1").history == [{"_step": 0, "loss": 0.5, ...}]

By hand: `python tests/servers/wandb_server.py --port 8799 --folder /tmp/wb` and its environment is printed; started
again with the folder, also after SIGKILL, it has everything that it ever acknowledged.

What it takes from the real server, as far as the SDK's source and its users' reports show that: a resumed run is told
the numbers of its lines and its last line; a line that is sent again replaces itself; rows of shared writers are kept
apart by the client id in the headers and numbered as they come; the id of a deleted run is answered 409, which the SDK
repeats until `init_timeout`; NaN and infinity are read as text; file URLs need no key. What it does not have: exported
(Parquet) histories, sweeps, registries, forks and rewinds, artifact collections' tags, multipart uploads.

What the real SDK was seen to do against it (test_wandb_faults.py holds it to that):

- `log` never waits for the server. A row is here 0.05 to 1 s after it with `x_file_stream_transmit_interval=1`; of all
  the settings in seconds of the streams only whole ones count, 0.5 means the default (15 s between sendings; 2 to 60 s
  between tries). `finish_timeout` and `init_timeout` may be fractions.
- `finish` waits for the stream and the files, by default for days. With `finish_timeout` it gives up in time and
  `finish_timeout_raises` makes that a TimeoutError; the run can be resumed at once, also in the same process.
- **That `finish` returned proves nothing.** A stream once answered 400 or 404 (by the SDK's source also 401, 403,
  409, 410, 413, 422, 501), or whose `x_file_stream_retry_max` is used up, dies silently: all that comes after it is
  gone, and `finish` is content. A refused run file is missing without a word. Only `log_artifact(…).wait()` raises.
- The summary can be ahead of the history: it is no proof that rows arrived. `lastHistoryStep` is.
- Resumed with `resume="must"` or "allow" after any death, rows up to the server's last step are dropped by the SDK and
  the others sent: a replay from 0 is whole and single. `run.resumed` must be true, else the rows come twice.
- A dead core: `log`, `config`, `save`, `finish` raise ConnectionResetError; a wait under way HandleAbandonedError;
  `init` MailboxClosedError; `Api()` AuthenticationError. The first `teardown` raises, too, the second mends it all.
- After an `init` that failed its id is "in use" (ServerResponseError) in that process until `teardown`.
- Another key: `init` raises CommError at once, `Api()` AuthenticationError. A server that is down makes `Api()` raise
  the same: only the text "user is not logged in" tells them apart.
- `scan_history` asks for as many rows as a page has steps: where steps repeat, rows are sampled away.
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

    def heal(self) -> None:
        """Listen, answer well, and hide nothing any more."""
        self.faults.clear()
        self.private.clear()
        if self._web is None:
            self.start()

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

    def add_user(self, name: str) -> str:
        """Another user, who is shown nothing of the first one's; returns their key."""
        key = f"{len(self.service.keys):040x}"
        self.service.keys[key] = name
        self.service.store.users.add(name)
        return key

    @property
    def private(self) -> set[tuple[str, str | None]]:
        """(entity, project), or all of an entity's with None: what is in here is shown to nobody."""
        return self.service.store.private

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
