"""W&B's own settings, read without its SDK: the mode, the server, and whether there is a key for it, never which."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trk import rules, settings
from trk.addresses import without_userinfo
from trk.errors import UsageError

CLOUD = "https://api.wandb.ai"


def has_key(base_url: str) -> bool:
    """Whether the SDK would find a key for this server, or a token's file, without asking anybody."""
    if settings.env("WANDB_API_KEY") or settings.env("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    home, named = Path(settings.home()), settings.env("NETRC")
    places = [Path(named)] if named else [home / ".netrc", home / "_netrc"]
    return any(_is_in(place, urlsplit(base_url).hostname or base_url) for place in places)


def _is_in(place: Path, host: str) -> bool:
    if not os.access(place, os.R_OK):  # netrc and configparser are slow to import
        return False
    import netrc

    try:
        return netrc.netrc(place).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


_MODES = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline",
          "disabled": "disabled"}  # fmt: skip


def check_mode(text: str) -> str:
    """`WANDB_MODE` as online, offline or disabled. Raises UsageError for what W&B does not know."""
    if text not in _MODES:
        raise UsageError(f"wandb_mode must be online, offline or disabled, not {rules.shown(text)}")
    return _MODES[text]


_NOT_IN_PROJECTS = "/\\#?%:"
_LONGEST_PROJECT = 128


def check_project(name: str, what: str) -> str:
    """A project's name as W&B takes it. Raises UsageError."""
    bad = next((char for char in name if char in _NOT_IN_PROJECTS), None)
    if bad is not None:
        raise UsageError(f"{what} {rules.shown(name)} has a {bad}, which a project of W&B can't have", hint=_OTHER)
    if len(name) > _LONGEST_PROJECT:
        raise UsageError(f"{what} {rules.shown(name)} is longer than a project of W&B may be (128)", hint=_OTHER)
    return name


_OTHER = "--wandb-project NAME"


def login_settings() -> Iterator[tuple[str, str, str]]:
    """What `wandb login --host` and the like have written for the user: (trk's name of the setting, value, file)."""
    path = Path(settings.env("WANDB_CONFIG_DIR") or Path(settings.home()) / ".config" / "wandb") / "settings"
    if not os.access(path, os.R_OK):
        return
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return  # the SDK says so when it reads it
    for name, option in (("wandb_url", "base_url"), ("wandb_entity", "entity"), ("wandb_project", "project")):
        if value := parser.get("default", option, fallback=None):
            yield name, value, str(path)


def target(get: Callable[[str], Any], project: Path) -> dict[str, Any]:
    """Where runs go, by settings. Offline, a run is written in one piece into a folder that `wandb sync` takes."""
    names = ("wandb_project", "wandb_entity", "wandb_group")
    found = {name.removeprefix("wandb_"): get(name) for name in names if get(name)}
    found["dir"] = str(project / (settings.env("WANDB_DIR") or ""))
    if get("wandb_mode") == "offline":
        return found | {"mode": "offline", "whole": True}
    return found | {"mode": "online", "base_url": without_userinfo(get("wandb_url") or CLOUD).rstrip("/")}
