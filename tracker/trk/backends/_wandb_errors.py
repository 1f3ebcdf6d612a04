"""What the errors of W&B's SDK mean."""

from __future__ import annotations

import re

from trk.errors import BackendError, BackendNeedsUser, BackendRefused, BackendRunGone, BackendUnavailable

_DEAD = {"MailboxClosedError", "HandleAbandonedError", "WandbCoreNotAvailableError"}
_DELETED = re.compile(r"previously created and deleted|was deleted|run .{0,60} deleted", re.IGNORECASE)
# Not by the kind of error: the SDK's AuthenticationError may also mean that it could not ask.
_UNAUTHORISED = re.compile(r"\b401\b|unauthori[sz]ed|api[_ ]?key|not logged in|wandb login", re.IGNORECASE)
_NOT_ALLOWED = re.compile(r"\b403\b|permission denied", re.IGNORECASE)
# What a key may not see, the server says is not there.
_NOT_SHOWN = re.compile(r"could not find run", re.IGNORECASE)
_NO_PLACE = re.compile(r"\b(entity|team|project)\b.{0,200}\bnot found", re.IGNORECASE)
_PASSING = re.compile(
    r"\b5\d\d\b|\b429\b|time[d]? ?out|connection|refused|unreachable|no such host|EOF|network", re.IGNORECASE
)
# An opening that failed leaves the run's id taken in the core process.
_TAKEN = re.compile(r"run ID \S+ is in use")
LOGIN = "wandb login, or set WANDB_API_KEY"
OTHER_KEY = "WANDB_API_KEY of somebody who may see it, and the WANDB_ENTITY that it is under"


class RunNotShown(BackendUnavailable):
    """The server shows this key no such run: it is gone, or the key may not see where it is."""


def is_dead(error: BaseException) -> bool:
    """Whether an error says that the SDK's core process is gone, or no use any more."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionResetError | BrokenPipeError) or type(seen).__name__ in _DEAD:
            return True
        if "service process is not running" in str(seen) or _TAKEN.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def gone(what: str) -> BackendRunGone:
    """A run that was deleted there."""
    return BackendRunGone(f"{what}: the run is not there any more, and W&B takes no other with its id")


def translated(error: BaseException, what: str) -> BackendError:
    """An error of the SDK as one of trk's."""
    words = " ".join(str(error).split())[:300] or type(error).__name__
    message = f"{what}: {words}"
    if _DELETED.search(words):
        return gone(what)
    if _NOT_SHOWN.search(words):
        return RunNotShown(message)
    if _NO_PLACE.search(words) or _NOT_ALLOWED.search(words):
        return BackendNeedsUser(message, hint=OTHER_KEY)
    if _UNAUTHORISED.search(words):
        return BackendNeedsUser(message, hint=LOGIN)
    if isinstance(error, TimeoutError) or _PASSING.search(words):
        return BackendUnavailable(message)
    if isinstance(error, ValueError | TypeError) or type(error).__name__ == "UsageError":
        return BackendRefused(message)
    return BackendUnavailable(message)
