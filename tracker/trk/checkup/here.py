"""What all checks start from: the folder, its journal and the settings that count here."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trk import config, session
from trk.errors import TrkError

State = Literal["ok", "warn", "fail", "skip"]

Finding = tuple[State, str, str | None]
"""How a thing stands, what was found, and the command that mends it."""


@dataclass(frozen=True, slots=True)
class Here:
    """Where the checks look.

    `cwd` is the working directory, `folder` the `.trk` that serves it, `journal` its journal's file; the latter two are
    None when there is none. `settings` is None when they can't be read, `trouble` is why. `deadline` is by
    time.monotonic.
    """

    cwd: Path
    folder: str | None
    journal: str | None
    settings: config.Settings | None
    trouble: TrkError | None
    deadline: float

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(self.deadline - time.monotonic(), 0.1)


def look_around(deadline: float) -> Here:
    """Find the folder and read the settings. Raises TrkError when there is no working directory any more."""
    try:
        cwd = Path.cwd()
    except OSError:
        raise TrkError("the working directory was deleted", hint="cd to one that exists") from None
    folder = session.find_folder()
    path = Path(folder, session.JOURNAL) if folder is not None else None
    journal = str(path) if path is not None and os.path.lexists(path) else None
    try:
        return Here(cwd, folder, journal, config.resolve(folder), None, deadline)
    except TrkError as error:
        return Here(cwd, folder, journal, None, error, deadline)
