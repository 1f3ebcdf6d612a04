"""Ways to answer badly, on command: for the next requests to an endpoint, or until told otherwise."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """What goes wrong with the requests to `endpoint`; taken back by `remove`.

    `endpoint` is the name of a GraphQL operation ("UpsertBucket"), "graphql" for all of them, or a part of a path:
    "file_stream", "/storage/" (run files), "/artifact-files/", "/artifact-manifests/"; "*" is everything.

    Not carried out: `status` answers with it (and `retry_after`, seconds), `refuse` closes the connection without a
    word. Carried out all the same: `lose` closes the connection then, `cut` after half the answer, `garbage` answers
    200 with something that is not JSON, `without` leaves the fields of this name out wherever they are.
    `slow` waits that many seconds first, alone or with any of these.
    """

    endpoint: str
    status: int | None = None
    retry_after: float | None = None
    message: str = "told to fail"
    refuse: bool = False
    lose: bool = False
    cut: bool = False
    garbage: bool = False
    without: str | None = None
    slow: float = 0.0
    times: int | None = None
    after: int = 0
    hits: int = 0
    gone: threading.Event = field(default_factory=threading.Event)

    def remove(self) -> None:
        """Answer well again; one that is being slow stops waiting."""
        self.gone.set()

    def _is_for(self, operation: str, path: str) -> bool:
        if self.endpoint in ("*", operation):
            return True
        return self.endpoint in path


class Faults:
    """The faults that are to come."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """From now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Answer well again, to all."""
        with self._lock:
            for fault in self._faults:
                fault.remove()
            self._faults.clear()

    def of(self, operation: str, path: str) -> Fault | None:
        """The fault that this request meets, counted."""
        with self._lock:
            for fault in self._faults:
                if fault.gone.is_set() or not fault._is_for(operation, path):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is None or fault.hits < fault.times:
                    fault.hits += 1
                    return fault
        return None


def left_out(answer: Any, name: str) -> Any:
    """The answer without the fields of this name."""
    if isinstance(answer, dict):
        return {key: left_out(value, name) for key, value in answer.items() if key != name}
    if isinstance(answer, list):
        return [left_out(one, name) for one in answer]
    return answer
