"""The environment: the only module of the library that reads or sets it. Files and precedence are in `trk.config`.

Imported by every log command, so it imports nothing that is not loaded anyway.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_hidden: dict[str, str] = {}  # taken out of the environment for a moment, for an SDK's sake


def env(name: str) -> str | None:
    """The value of an environment variable; None when it is unset or empty."""
    return os.environ.get(name) or _hidden.get(name) or None


def environment() -> Mapping[str, str]:
    """The whole environment, to read."""
    return {**os.environ, **_hidden} if _hidden else os.environ


def flag(name: str) -> bool:
    """Whether a variable is set to something that means yes."""
    return (os.environ.get(name) or "").lower() in ("1", "true", "yes", "on")


def home() -> str:
    """The user's home folder."""
    return os.path.expanduser("~")


def user_config_dir() -> str:
    """Where the user's own settings lie: `$XDG_CONFIG_HOME/trk`, else `~/.config/trk`."""
    return os.path.join(env("XDG_CONFIG_HOME") or os.path.join(home(), ".config"), "trk")


_CI = (
    "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "TF_BUILD", "BITBUCKET_BUILD_NUMBER", "CODEBUILD_BUILD_ID",
    "DRONE", "APPVEYOR",
)  # fmt: skip
_CONTAINERS = ("KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4")
_LASTING = ("", "lxc", "lxc-libvirt", "wsl")  # what calls itself a container and stays like a machine


def passing_place(root: str = "/") -> str | None:
    """What this machine's disk may go with: `CI job` or `container`, as far as can be seen; None when it stays.

    `TRK_EPHEMERAL` says it for certain: yes is `machine`, no is None. The marks of containers are looked for below
    `root`.
    """
    said = (env("TRK_EPHEMERAL") or "auto").lower()
    if said in ("0", "false", "no", "off"):
        return None
    if flag("TRK_EPHEMERAL"):
        return "machine"
    if any(env(name) for name in _CI):
        return "CI job"
    marked = any(os.path.exists(os.path.join(root, mark)) for mark in (".dockerenv", "run/.containerenv"))
    if marked or any(env(name) for name in _CONTAINERS):
        return "container"
    return "container" if (env("container") or _first_process(root)) not in (None, *_LASTING) else None


def _first_process(root: str) -> str | None:
    """What the first process was told to be in: podman and systemd say it by the variable `container`."""
    try:
        with open(os.path.join(root, "proc/1/environ"), "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return None
    return next((word[10:].decode("utf-8", "replace") for word in words if word.startswith(b"container=")), None)


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


class hidden:  # noqa: N801 - used as a statement: `with settings.hidden(...)`
    """For the length of a `with`: an SDK does not find these variables, and what it sets of them goes with it.

    `env` and `environment` tell them all the same: another thread may be starting a run. One thread at a time.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __enter__(self) -> None:
        for name in self._names:
            if name in os.environ:
                _hidden[name] = os.environ[name]
                del os.environ[name]

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            os.environ.pop(name, None)
            if name in _hidden:
                os.environ[name] = _hidden[name]
                del _hidden[name]


class kept:  # noqa: N801 - used as a statement: `with settings.kept(...)`
    """After a `with` these variables are as they were before, whatever was done to them; some are not there in it."""

    def __init__(self, names: tuple[str, ...], *, without: tuple[str, ...] = ()) -> None:
        self._names = names
        self._without = without
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._names}
        for name in self._without:
            os.environ.pop(name, None)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
