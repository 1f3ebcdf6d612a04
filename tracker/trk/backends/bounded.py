"""Asking a server no longer than is allowed, whatever the SDK in between does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from trk.errors import SourceUnavailable

GRACE_S = 1.0  # what an answer under way may take beyond the time allowed
T = TypeVar("T")


def answer(name: str, deadline: float, ask: Callable[[], T]) -> T:
    """What `ask` answers, until `deadline` (by time.monotonic). Raises SourceUnavailable when it takes longer.

    It is asked from a thread, so that a call that an SDK does not give up can be left behind.
    """
    answers: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread of who asked
            raised.append(error)

    thread = threading.Thread(target=run, name="trk-question", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0.0) + GRACE_S)
    if raised:
        raise raised[0]
    if not answers:
        raise SourceUnavailable(f"{name} did not answer in the time allowed", hint="--timeout, or --source local")
    return answers[0]
