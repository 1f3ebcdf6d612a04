"""A process that has the real W&B SDK, and does there what a test says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PROGRAM = r"""
import json, os, signal, sys, time
import wandb

def settings(**more):
    quiet = dict(console="off", disable_git=True, save_code=False, x_disable_stats=True, x_save_requirements=False)
    return wandb.Settings(**(quiet | {"x_file_stream_transmit_interval": 1} | more))

def init(run, **words):
    more = words.pop("settings", {})
    return wandb.init(project="digits", id=run, reinit="create_new", settings=settings(**more), **words)

def log(run, steps):
    for step in steps:
        run.log({"n": step}, step=step, commit=True)

def core():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"wandb-core" in open(f"/proc/{name}/cmdline", "rb").read():
                found.append(int(name))
        except OSError:
            pass
    return found

def kill_core():
    for pid in core():
        os.kill(pid, signal.SIGKILL)

def teardown():
    for _ in range(2):  # the first raises when the core is dead
        try:
            wandb.teardown()
        except ConnectionResetError:
            pass

names = dict(globals())
for line in sys.stdin:
    names["result"] = None
    try:
        exec(json.loads(line), names)
        said = {"result": names["result"]}
    except Exception as raised:
        said = {"raised": type(raised).__name__, "text": str(raised)}
    print("@@" + json.dumps(said), flush=True)
"""


class Raised(Exception):
    """The code raised there; `kind` is the name of the exception's class."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class SdkProcess:
    """Python with wandb imported as a child process. Its code has `init`, `log`, `kill_core`, `teardown`, `settings`.

    Names stay from one call to the next.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        ours = {name: text for name, text in os.environ.items() if not name.startswith("WANDB")}
        self._errors = (folder / "stderr.txt").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=folder,
            env=ours | environment,
        )

    def do(self, code: str, timeout: float = 60) -> Any:
        """Run code there; what it leaves in `result` (JSON) comes back. Raises `Raised`, and TimeoutError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Timer(timeout, self._process.kill)
        late.start()
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("@@"):
                late.cancel()
                said = json.loads(line[2:])
                if "raised" in said:
                    raise Raised(said["raised"], said["text"])
                return said["result"]
        late.cancel()
        said = (self.folder / "stderr.txt").read_text()[-2000:]
        raise TimeoutError(f"no answer within {timeout} s, or the process died:\n{code}\n{said}")

    def end(self) -> None:
        """Let it end as a script ends, by force if it does not; its core goes with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
