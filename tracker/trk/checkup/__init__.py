"""What `trk doctor` looks at: the installation, the folder, the journal, the session, the settings, the backends.

Nothing is changed or made by looking. Each check is a short function of its own that yields what it found, and runs in
a thread of its own, so that a server, a name service or a file system that hangs holds up none of the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from trk import rules, settings
from trk.addresses import without_userinfo
from trk.capture.secrets import MASK, is_secret_name, mask
from trk.checkup import machine, places, records, targets
from trk.checkup.here import Finding, Here, State, look_around
from trk.errors import JournalError, TrkError, UsageError

__all__ = ["Check", "State", "doctor"]

DEFAULT_TIMEOUT_S = 5.0
LOCAL_S = 2.0  # what is on this machine is looked at for so long, however short the time is for servers
_SHORTEST_SECRET = 6  # a value shorter than this may stand in any text by chance
_FOLDERS = ("PWD", "OLDPWD")  # named like passwords, and no secrets

CHECKS: tuple[tuple[str, Callable[[Here], Iterator[Finding]]], ...] = (
    ("python", machine.python),
    ("trk", machine.installation),
    ("command", machine.command),
    ("import", machine.working_directory),
    ("environment", machine.environment),
    ("folder", places.folder),
    ("other folders", places.folders_of_others),
    ("file system", places.file_system),
    ("space", places.space),
    ("drafts", places.drafts),
    ("journal", records.journal),
    ("session", records.session_file),
    ("open runs", records.open_runs),
    ("files", records.files),
    ("settings", targets.settings_files),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    `state` is ok, warn, fail or skip (there was nothing to look at), `found` says what was found, in one line, and
    `mend` is the command that mends it, None when nothing has to be.
    """

    name: str
    state: State
    found: str
    mend: str | None = None


def doctor(timeout: float = DEFAULT_TIMEOUT_S) -> list[Check]:
    """Look for what is wrong here and say what mends it; changes nothing, and takes at most `timeout` seconds.

    What is on this machine is looked at for 2 seconds, if `timeout` is less. What does not answer in its time is a
    check that failed. Never raises for what it finds; UsageError for a timeout that is none.
    """
    seconds = rules.to_number(timeout, "timeout")
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise UsageError(f"timeout {rules.shown(timeout)} is not a number of seconds from 0 up")
    seconds_here, began = max(seconds, LOCAL_S), time.monotonic()
    looked = _Asked(partial(look_around, began + seconds_here))
    here = looked.answer(began + seconds_here)
    if here is None:
        return [_late("folder", seconds_here)]
    if isinstance(here, Exception):
        return [_failed("folder", here)]
    there = replace(here, deadline=began + seconds)
    wanted = [(name, look, here, seconds_here) for name, look in CHECKS]
    wanted += [(name, look, there, seconds) for name, look in targets.backend_checks(here)]
    wanted.append(("delivery", targets.delivery, here, seconds_here))
    asked = [(name, _Asked(partial(_checks, name, look, where)), may) for name, look, where, may in wanted]
    found: list[Check] = []
    for name, question, may in asked:
        answer = question.answer(began + may)
        if isinstance(answer, Exception):
            answer = [_failed(name, answer)]
        found += answer or [_late(name, may)]
    return found


T = TypeVar("T")


class _Asked(Generic[T]):
    """A question put in a thread, which is left behind when it takes too long."""

    def __init__(self, question: Callable[[], T]) -> None:
        self._answer: T | Exception | None = None
        self._question = question
        self._thread = threading.Thread(target=self._run, name="trk-doctor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._question()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the check found
            self._answer = error

    def answer(self, deadline: float) -> T | Exception | None:
        """The answer, or what was raised; None when there is none at the deadline."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        return self._answer


def _checks(name: str, look: Callable[[Here], Iterator[Finding]], here: Here) -> list[Check]:
    """What one check found, as far as it came."""
    found: list[Check] = []
    try:
        for state, told, mend in look(here):
            found.append(Check(name, state, _clean(mask(told)), _clean(mend) if mend else None))
    except Exception as error:  # noqa: BLE001 - a check that fails is a finding, too
        found.append(_failed(name, error))
    return found


def _failed(name: str, error: Exception) -> Check:
    if isinstance(error, JournalError) and name != "journal":
        return Check(name, "skip", "the journal can't be read: see the check of the journal")
    if isinstance(error, TrkError):
        return Check(name, "fail", _clean(mask(error.message)), _clean(error.hint) if error.hint else None)
    return Check(name, "fail", _clean(mask(f"this check failed itself: {type(error).__name__}: {error}")))


def _late(name: str, seconds: float) -> Check:
    return Check(name, "fail", f"no answer within {seconds:g} s", f"trk doctor --timeout {max(seconds * 4, 20):g}")


def _clean(text: str) -> str:
    """The text on one line, with no password of an address and nothing of what secret variables hold."""
    text = without_userinfo(" ".join(text.split()))
    for name, value in settings.environment().items():
        if len(value) >= _SHORTEST_SECRET and value in text and name not in _FOLDERS and is_secret_name(name):
            text = text.replace(value, MASK)
    return text
