"""SIGKILL at random instants."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

from trk.daemon import place


def daemon_of(folder: str) -> int | None:
    """The process that serves a `.trk` folder just now."""
    found = place.look(folder)
    return int(found[1].split()[0]) if found is not None and found[0] and found[1] else None


def kill(pid: int | None) -> bool:
    """End a process as nothing else does; False when there is none."""
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


@contextlib.contextmanager
def ended(children: list[subprocess.Popen[Any]]) -> Iterator[list[subprocess.Popen[Any]]]:
    """Inside a `with`: these processes run; afterwards none does, however the test went."""
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


class Killer(threading.Thread):
    """Inside a `with`: kills what `find` finds, again and again, after pauses that the dice tell. Counts `kills`."""

    def __init__(self, find: Callable[[], int | None], dice: random.Random, pauses: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self.kills = 0
        self._find = find
        self._dice = random.Random(dice.random())  # its own: threads would take turns at random
        self._pauses = pauses
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._dice.uniform(*self._pauses)):
            self.kills += kill(self._find())

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
