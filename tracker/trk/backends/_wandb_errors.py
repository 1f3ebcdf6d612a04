"""What the errors of W&B's SDK mean."""

from __future__ import annotations

import re

from trk.errors import BackendError, BackendNeedsUser, BackendRefused, BackendRunGone, BackendUnavailable

_DEAD = {"MailboxClosedError", "HandleAbandonedError", "WandbCoreNotAvailableError"}
_DELETED = re.compile(r"previously created and deleted|was deleted|run .{0,60} deleted", re.IGNORECASE)
# Not by the kind of error: the SDK's AuthenticationError may also mean that it could not ask.
_UNAUTHORISED = re.compile(
    r"\b401\b|\b403\b|permission denied|unauthori[sz]ed|api[_ ]?key|not logged in|wandb login", re.IGNORECASE
)
_GONE = re.compile(r"could not find run", re.IGNORECASE)
_PASSING = re.compile(
    r"\b5\d\d\b|\b429\b|time[d]? ?out|connection|refused|unreachable|no such host|EOF|network", re.IGNORECASE
)
# An opening that failed leaves the run's id taken in the core process.
_TAKEN = re.compile(r"run ID \S+ is in use")
LOGIN = "wandb login, or set WANDB_API_KEY"


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


def translated(error: BaseException, what: str) -> BackendError:
    """An error of the SDK as one of trk's."""
    words = " ".join(str(error).split())[:300] or type(error).__name__
    message = f"{what}: {words}"
    if _DELETED.search(words) or _GONE.search(words):
        return BackendRunGone(f"{what}: the run is not there any more, and W&B takes no other with its id")
    if _UNAUTHORISED.search(words):
        return BackendNeedsUser(message, hint=LOGIN)
    if isinstance(error, TimeoutError) or _PASSING.search(words):
        return BackendUnavailable(message)
    if isinstance(error, ValueError | TypeError) or type(error).__name__ == "UsageError":
        return BackendRefused(message)
    return BackendUnavailable(message)
