"""`--capture args`: the tag `args.command`, the command line with what looks like a secret masked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trk.capture.secrets import mask_command


def command_of(pid: int) -> list[str]:
    """The command line of a process; [] where the system does not tell (it has no /proc)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [word.decode("utf-8", "surrogateescape") for word in words if word]


def collect(command: Sequence[str]) -> dict[str, str]:
    """The tag; {} for an empty command line."""
    text = mask_command(command)
    return {"args.command": text} if text else {}
