"""How a verb's function says what its parameters are on the command line: `Annotated[str, Option("--name", …)]`.

`app` makes Typer's options of these when there is something to explain. They are not Typer's from the beginning
because importing Typer takes longer than most verbs do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args, get_type_hints


class Option(NamedTuple):
    """An option: its names, and what its help says. A bool takes no value, a list may be given again."""

    name: str
    short_or_long: str | None = None
    metavar: str | None = None
    help: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its spellings."""
        return (self.name,) if self.short_or_long is None else (self.name, self.short_or_long)


class Argument(NamedTuple):
    """A positional; a list takes all that are left."""

    metavar: str
    help: str | None = None
    show_default: bool = True


class Parameter(NamedTuple):
    """A parameter of a verb's function: its name, its type, and what it is on the command line."""

    name: str
    kind: Any
    declared: Option | Argument

    @property
    def many(self) -> bool:
        """Whether it takes several."""
        return "list[str]" in str(self.kind)


class Leave(Exception):
    """The command ends here, with this exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def parameters(function: Callable[..., object]) -> list[Parameter]:
    """What a verb's function takes, in order."""
    hints = get_type_hints(function, include_extras=True)
    return [Parameter(name, *get_args(hint)) for name, hint in hints.items() if name != "return"]
