"""The environment: the only module of the library that reads or sets it. Files and precedence are in `trk.config`.

Imported by every log command, so it imports nothing that is not loaded anyway.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def env(name: str) -> str | None:
    """The value of an environment variable; None when it is unset or empty."""
    return os.environ.get(name) or None


def environment() -> Mapping[str, str]:
    """The whole environment, to read."""
    return os.environ


def flag(name: str) -> bool:
    """Whether a variable is set to something that means yes."""
    return (os.environ.get(name) or "").lower() in ("1", "true", "yes", "on")


def home() -> str:
    """The user's home folder."""
    return os.path.expanduser("~")


def user_config_dir() -> str:
    """Where the user's own settings lie: `$XDG_CONFIG_HOME/trk`, else `~/.config/trk`."""
    return os.path.join(env("XDG_CONFIG_HOME") or os.path.join(home(), ".config"), "trk")


class overridden:  # noqa: N801 - used as a statement: `with settings.overridden(...)`
    """For the length of a `with`: variables that the user has not set have these values."""

    def __init__(self, **values: str) -> None:
        self._values = values
        self._set: list[str] = []

    def __enter__(self) -> None:
        for name, value in self._values.items():
            if name not in os.environ:
                os.environ[name] = value
                self._set.append(name)

    def __exit__(self, *_: object) -> None:
        for name in self._set:
            os.environ.pop(name, None)
