"""Every error of trk, as one tree. Each has a stable `code`, and the exit code the command line gives for it.

    TrkError                 failure            1   anything unforeseen
     ├─ UsageError           usage              2   a wrong flag, name or value: nothing was written
     │   └─ ConfigurationError  configuration   2   a setting that cannot be meant
     ├─ NoActiveRun          no_active_run      3   a run is needed and none is active or named
     ├─ NotFound             not_found          4   no such run, experiment or metric
     │   └─ CommandNotFound  command_not_found 127  what is to be run is not there
     ├─ CommandNotExecutable command_not_executable 126  what is to be run can't be
     ├─ CheckFailed          check_failed       5   a condition of `check` does not hold
     ├─ NotDelivered         not_delivered      6   rows are pending or rejected, and that was asked about
     ├─ Conflict             conflict           7   a run is active, has ended, or a param would change
     ├─ JournalError         journal_error      1   the journal can't be read or written
     ├─ SessionError         session_error      1   the session file is torn or not ours
     ├─ DaemonError          daemon_error       1   the background process can't be started or asked
     ├─ SourceUnavailable    source_unavailable 1   the place a query reads from does not answer
     └─ BackendError         backend_error      1   what a backend raises; delivery decides by its class
         ├─ BackendUnavailable   passing: try again later
         │  └─ BackendLost       what was not confirmed is lost there: hand it over again
         ├─ BackendNeedsUser     someone has to do something first
         ├─ BackendRefused       final for what was handed over
         └─ BackendRunGone       final for the whole run

A message says what happened, in one line; `hint` is the command or the rule that mends it.
"""

from __future__ import annotations


class TrkError(Exception):
    """The root of trk's errors: `message` says what happened, `hint` what mends it (or None)."""

    code = "failure"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TrkError, ValueError):
    """A name, value or flag that no rule allows. Nothing was written."""

    code = "usage"
    exit_code = 2


class ConfigurationError(UsageError):
    """A setting, from wherever it came, that cannot be meant."""

    code = "configuration"


class NoActiveRun(TrkError):
    """A run is needed, and none is active or named."""

    code = "no_active_run"
    exit_code = 3


class NotFound(TrkError, LookupError):
    """No such run, experiment, metric or artifact."""

    code = "not_found"
    exit_code = 4


class CommandNotFound(NotFound):
    """The command that is to be run is not there."""

    code = "command_not_found"
    exit_code = 127


class CommandNotExecutable(TrkError):
    """The command that is to be run is there, and can't be executed."""

    code = "command_not_executable"
    exit_code = 126


class CheckFailed(TrkError):
    """A condition of `check` does not hold, or what it is about is missing or NaN."""

    code = "check_failed"
    exit_code = 5


class NotDelivered(TrkError):
    """Rows are pending or rejected after the time allowed, and the caller asked to be told."""

    code = "not_delivered"
    exit_code = 6


class Conflict(TrkError):
    """A run is already active, the run has ended, or a param would change."""

    code = "conflict"
    exit_code = 7


class JournalError(TrkError):
    """The journal can't be read or written: a full disk, a read-only folder, a damaged or newer file."""

    code = "journal_error"


class SessionError(TrkError):
    """The session file is torn, foreign or of a newer version."""

    code = "session_error"


class DaemonError(TrkError):
    """The background process can't be started, or does not answer as it should."""

    code = "daemon_error"


class SourceUnavailable(TrkError):
    """The place a query reads from does not answer."""

    code = "source_unavailable"


class BackendError(TrkError):
    """What went wrong at a backend."""

    code = "backend_error"


class BackendUnavailable(BackendError):
    """A passing failure: refused, timed out, 5xx, 429, database locked. `retry_after` is in seconds, if told."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BackendLost(BackendUnavailable):
    """What was handed over and not confirmed is lost there, as when an SDK's helper was killed: hand it over again."""


class BackendNeedsUser(BackendError):
    """Delivery to this backend stops until someone acts: a missing package or key, an outdated schema."""


class BackendRefused(BackendError):
    """The backend will never take this as it is. For a batch, the deliverer finds the entry at fault."""


class BackendRunGone(BackendError):
    """The run was deleted at the backend: whatever more is delivered to it is rejected."""
