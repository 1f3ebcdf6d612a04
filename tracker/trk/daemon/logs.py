"""The daemon's log: `.trk/daemon.log`, which is rotated, and in which no secret stands."""

from __future__ import annotations

import faulthandler
import logging
import logging.handlers
import os
import signal

from trk.capture.secrets import mask
from trk.daemon import place

MAX_BYTES = 1_000_000
KEPT = 2


class _Masked(logging.Formatter):
    """Masks what looks like a secret, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def open_log(folder: str) -> None:
    """Write the log of this process there, and, at SIGUSR1, where each of its threads is."""
    path = os.path.join(folder, place.LOG)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
    handler.setFormatter(_Masked("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("trk").addHandler(handler)
    logging.getLogger("trk").setLevel(logging.INFO)
    logging.getLogger("trk").propagate = False
    traces = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)  # the handler's is closed when it rotates
    faulthandler.register(signal.SIGUSR1, file=traces, all_threads=True)
