"""The W&B backend keeps the contract on a server, with the real SDK, and what only it promises."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from helpers import until
from servers.wandb_server import WandbServer
from trk.backends.wandb import WandbBackend
from trk.errors import BackendLost, BackendRefused
from trk.records import Kind, RemoteRun, Row
from trk.testing import NOON, Arrived, BackendContract, entry, files, logged
from trk.testing.base import raises

pytestmark = [
    pytest.mark.wandb,
    pytest.mark.usefixtures("wandb_here"),
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
    # The SDK's threads die noisily when its core process is gone.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

OWN = ("_step", "_timestamp", "_runtime", "trk/step", "trk/file")


def read_back(wandb_server: WandbServer, remote_id: str) -> Arrived:
    """What the server has of a run, from what it keeps itself."""
    run = wandb_server.run(*remote_id.split("/"))
    points = [
        (key, line["trk/step"], round(line["_timestamp"] * 1000), value)
        for line in run.history
        for key, value in line.items()
        if key not in OWN and not isinstance(value, dict)
    ]
    summary = {key: value for key, value in run.summary.items() if _is_given(key, value, run.history)}
    status = run.summary.get("trk/status", "RUNNING") if run.state != "running" else "RUNNING"
    tags = dict(tag.partition("=")[::2] for tag in run.tags)
    tags |= {key.removeprefix("trk/tags/"): text for key, text in run.summary.items() if key.startswith("trk/tags/")}
    return Arrived(
        points,
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in run.config.items()},
        {key: text for key, text in tags.items() if text is not None},
        summary,
        str(status),
        run.summary.get("trk/end_time") if run.state != "running" else None,
        run.summary.get("trk/parent"),
    )


def _is_given(key: str, value: Any, history: list[Mapping[str, Any]]) -> bool:
    """Whether a value of the summary was logged as one: what is in the history stands there, too."""
    return not key.startswith(("_", "trk/")) and not any(key in line for line in history)


def _is_at(key: str, step: int | None, media: str, path: str) -> bool:
    """Whether what is shown under a key is what was logged at a path: `<key>.<ending>`, or of a series its step."""
    ending = "." + media.partition(".")[2].removeprefix("plotly.")
    return path == key + ending or path.startswith(f"images/{key.replace('/', '~')}+step+{step}+")


class TestOnline(BackendContract):
    keeps_modes = False
    restores = False
    replay_every = 4  # what is told to W&B beside the points arrives 5 s later

    @pytest.fixture(autouse=True)
    def _target(self, wandb_server: WandbServer, tmp_path: Path) -> None:
        self.server = wandb_server
        self.target = {"base_url": wandb_server.url, "mode": "online", "dir": str(tmp_path)}

    def make_backend(self) -> WandbBackend:
        return WandbBackend(self.target)

    def read_back(self, remote_id: str) -> Arrived:
        path = remote_id.split("/")
        until(lambda: "trk/start_time" in self.server.run(*path).summary)  # the SDK sends it a moment after the opening
        return read_back(self.server, remote_id)

    def refused_row(self, n: int) -> Row | None:
        return None  # W&B's config may change

    def delete_remotely(self, remote_id: str) -> None:
        import wandb

        wandb.Api(overrides={"base_url": self.server.url}).run(remote_id).delete()

    def read_file(self, remote_id: str, kind: Kind, path: str) -> bytes | None:
        run = self.server.run(*remote_id.split("/"))
        if kind is Kind.ARTIFACT:
            name, _, inside = path.split("/", 2)
            return next((one.files.get(inside) for one in run.artifacts if one.name == name), None)
        shown = [
            value["path"]
            for line in run.history
            for key, value in line.items()
            if isinstance(value, dict) and _is_at(key, line.get("trk/step"), value["path"], path)
        ]
        return run.files.get(shown[-1] if shown else path)

    def read_table(self, remote_id: str, path: str) -> tuple[list[str], list[list[Any]]]:
        run = self.server.run(*remote_id.split("/"))
        found = json.loads(run.files[run.summary[path.removesuffix(".json")]["path"]])
        return found["columns"], found["data"]

    def test_rows_of_which_nothing_is_known_are_not_taken_for_delivered(self) -> None:
        unknown = RemoteRun("a" * 26, f"tester/digits/{'a' * 26}")
        raises(BackendLost, lambda: self.make_backend().confirm(unknown, 3))

    def test_what_wandb_can_not_show_is_refused_with_a_reason(self) -> None:
        backend, spec = self.make_backend(), self.spec()
        run = backend.open(spec)
        for row in (
            entry(1, Kind.PARAM, "_wandb", "1"),
            Row(1, Kind.METRIC, NOON, step=0, values={f"m{n}": 0.5 for n in range(20_001)}),
            entry(1, Kind.SUMMARY, "prompt", json.dumps("x" * 2_000_001)),
        ):
            raises(BackendRefused, lambda row=row: backend.deliver(run, [row]))
        backend.close()

    def test_a_file_that_takes_anothers_place_counts_when_its_own_bytes_are_there(self, tmp_path: Path) -> None:
        backend, spec = self.make_backend(), self.spec()
        run = backend.open(spec)
        first, second = (logged(tmp_path, "m.bin", content) for content in (b"one", b"two"))
        backend.deliver(run, [files(1, Kind.FILE, "m.bin", first)])
        self.settle(backend, run, 1)
        self.server.fail("/storage/", status=500)
        try:
            backend.deliver(run, [files(2, Kind.FILE, "m.bin", second)])
            until_s = time.monotonic() + 3
            while time.monotonic() < until_s:
                assert backend.confirm(run, 2) == 1
                time.sleep(0.1)
        finally:
            self.server.faults.clear()
        self.settle(backend, run, 2)
        assert self.read_file(run.remote_id, Kind.FILE, "m.bin") == b"two"
        backend.close()
