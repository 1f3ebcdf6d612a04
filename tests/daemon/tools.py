"""A project with a daemon: its command, its processes, and what arrived."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import helpers
from trk.daemon import place as lock


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of this user's with a short name, as sockets need it."""
    made = Path(tempfile.mkdtemp(prefix="trk-", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


class Place:
    """A project folder in which `trk` is run as a shell does."""

    def __init__(self, project: Path, plugins: list[str], runtime: Path) -> None:
        self.project = project
        self.runtime = runtime
        self.folder = str(project / ".trk")
        self._path = os.pathsep.join([*helpers.source_roots(), *plugins])

    def environment(self, **more: str) -> dict[str, str]:
        """What a child sees."""
        return helpers.child_environment(PYTHONPATH=self._path, **more)

    def trk(self, *words: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return subprocess.run(
            [*helpers.COMMAND, *words], capture_output=True, text=True, check=False, timeout=timeout,
            stdin=subprocess.DEVNULL, cwd=self.project, env=self.environment(**env),
        )  # fmt: skip

    def done(self, *words: str, timeout: float = 60, **env: str) -> str:
        """Run a command that succeeds; returns what it prints."""
        found = self.trk(*words, timeout=timeout, **env)
        assert found.returncode == 0, f"{found.stderr}\n{self.trace()}"
        return found.stdout.strip()

    def trace(self) -> str:
        """What the daemons say of themselves, and where their threads are: for who looks into a failure."""
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        time.sleep(0.5)  # nothing tells when it is written; this is a failure's last word
        found = self.project / ".trk" / "daemon.log"
        return found.read_text()[-20_000:] if found.exists() else "no daemon wrote a log"

    def status(self) -> dict[str, Any]:
        """What `trk daemon status` says."""
        told: dict[str, Any] = json.loads(self.done("daemon", "status", "--json"))
        return told

    def serving(self) -> int:
        """The process id of the daemon that has the lock, when there is one at last."""
        helpers.until(lambda: (found := lock.look(self.folder)) is not None and found[0] and bool(found[1]))
        found = lock.look(self.folder)
        assert found is not None
        return int(found[1].split()[0])

    def is_free(self) -> bool:
        """Whether no daemon has the lock."""
        found = lock.look(self.folder)
        return found is not None and not found[0]

    def daemons(self) -> list[int]:
        """The process ids of all daemons of this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"trk.daemon" in words and os.fsencode(self.folder) in words:
                    found.append(int(entry.name))
        return found

    def end(self) -> None:
        """End what is left of the daemons."""
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        helpers.until(lambda: self.daemons() == [])

    def room_s(self) -> float:
        """What a command may take beyond its `--timeout`: 2 s, and more on a machine that is busy with others."""
        began = time.monotonic()
        self.done("config", "show")
        return 1 + 4 * (time.monotonic() - began)

    def arrived(self) -> list[tuple[str, int]]:
        """(run, row) of everything that arrived, in order, doubles too."""
        path = self.project / "arrivals"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(words[0], int(words[1])) for line in lines if len(words := line.split()) == 3]

    def rows(self, run_id: str) -> list[int]:
        """The rows of a run that arrived, each once, in order."""
        return list(dict.fromkeys(n for found, n in self.arrived() if found == run_id))


@contextlib.contextmanager
def filing_place(project: Path, plugins: list[str], patch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A project whose runs go to a file, and where a daemon may run; what is left of daemons is ended."""
    patch.setenv("TRK_DAEMON", "auto")
    patch.setenv("TRK_DAEMON_IDLE", "30")
    patch.setenv("TRK_BACKENDS", "on-file")
    patch.setenv("ARRIVALS", str(project / "arrivals"))
    with short_folder() as runtime:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        found = Place(project, plugins, runtime)
        yield found
        found.end()
