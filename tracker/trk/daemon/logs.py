"""The daemon's log: `.trk/daemon.log`, which is rotated, and in which no secret stands."""

from __future__ import annotations

import logging
import logging.handlers
import os

from trk.capture.secrets import mask
from trk.daemon import place

MAX_BYTES = 1_000_000
KEPT = 2


class _Masked(logging.Formatter):
    """Masks what looks like a secret, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def open_log(folder: str) -> None:
    """Write the log of this process there."""
    path = os.path.join(folder, place.LOG)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
    handler.setFormatter(_Masked("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("trk").addHandler(handler)
    logging.getLogger("trk").setLevel(logging.INFO)
    logging.getLogger("trk").propagate = False
