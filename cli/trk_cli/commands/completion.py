"""completion: the script that completes trk's words in a shell."""

from __future__ import annotations

from typing import Annotated

from trk.errors import UsageError
from trk_cli import output
from trk_cli.declared import Argument

_LOADED = 'bash and zsh: eval "$(trk completion SHELL)"; fish: trk completion fish | source'


def completion(
    shell: Annotated[str | None, Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)] = None,
) -> None:
    """Print the script by which a shell completes trk's verbs, options and values, and the runs and metrics here.

    bash: eval "$(trk completion bash)" in ~/.bashrc.

    zsh: eval "$(trk completion zsh)" in ~/.zshrc, after compinit.

    fish: trk completion fish | source in ~/.config/fish/config.fish.

    Example: eval "$(trk completion bash)"
    """
    from trk_cli import app
    from trk_cli import completion as library

    if shell is None:
        raise UsageError("completion needs a shell: bash, zsh or fish", hint=_LOADED)
    output.emit(library.script(app.application(), shell))
