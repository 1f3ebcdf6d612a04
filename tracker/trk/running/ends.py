"""What a command's exit status makes of its run."""

from __future__ import annotations

KILLED = (130, 137, 143)  # as a shell has it: died of SIGINT, SIGKILL, SIGTERM


def status_of(code: int) -> str:
    """The run's status for an exit status from 0 to 255."""
    return "FINISHED" if code == 0 else "KILLED" if code in KILLED else "FAILED"
