"""shell-init: the functions by which a shell's log commands need no process each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from trk.errors import UsageError
from trk_cli import output
from trk_cli.declared import Argument

SHELLS = ("bash", "zsh")
_LOADED = 'eval "$(trk shell-init bash)"'


def shell_init(
    shell: Annotated[
        str | None, Argument(metavar="bash|zsh", help="The shell that it is for.", show_default=False)
    ] = None,
) -> None:
    """Print the function trk for a shell: with it, log commands in loops cost under a millisecond each.

    They mean what the command means, and are as durable when they return; everything else is left to the command.

    Example: eval "$(trk shell-init bash)"
    """
    if shell not in SHELLS:
        given = "shell-init needs a shell" if shell is None else f"shell-init knows no {shell!r}"
        raise UsageError(f"{given}: bash or zsh", hint=_LOADED)
    template = Path(__file__).parent.parent / "shells" / f"init.{shell}"
    output.emit(template.read_text(encoding="utf-8"))
