"""What `wandb.init` is called with, sorted: what can be kept with a run, and what only this process has."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trk import rules, settings
from trk.backends import _wandb_sdk as sdk
from trk.errors import UsageError

# trk's run has an id of its own, and is gone on with by that.
UNUSED = ("id", "resume", "reinit", "resume_from", "fork_from", "force", "allow_val_change", "anonymous")
_FROM_SETTINGS = {
    "project": "project", "entity": "entity", "mode": "mode", "run_name": "name", "run_notes": "notes",
    "run_group": "group", "run_tags": "tags", "run_job_type": "job_type",
}  # fmt: skip


@dataclass(slots=True)
class InitArguments:
    """`wandb_init_kwargs`: `given` are settings of trk, `place` more of the target, `rest` what can't be kept.

    `config` are scalars and texts to be params, `unused` the names of what trk decides itself.
    """

    name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    api_key: str | None = None
    given: dict[str, str] = field(default_factory=dict)
    place: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def is_off(arguments: Mapping[str, Any]) -> bool:
    """Whether they switch W&B off."""
    return (arguments.get("mode") or settings.env("WANDB_MODE")) == "disabled"


def sorted_out(arguments: Mapping[str, Any], api_key: str | None) -> InitArguments:
    """The arguments, each where it belongs. Raises UsageError for what `wandb.init` does not know."""
    left = {name: value for name, value in arguments.items() if value is not None}
    _check_known(left)
    own = _of_settings(left.pop("settings", {}))
    for name, argument in _FROM_SETTINGS.items():
        if name in own:
            left.setdefault(argument, own.pop(name))
    found = InitArguments(api_key=api_key or own.pop("api_key", None))
    found.unused = tuple(name for name in UNUSED if left.pop(name, None) is not None)
    _keep_place(found, left, own)
    found.name = _text(left.pop("name", None) or settings.env("WANDB_NAME"))
    found.notes = _text(left.pop("notes", None) or settings.env("WANDB_NOTES"))
    found.tags = _tags(left.pop("tags", None) or settings.env("WANDB_TAGS"))
    _keep_config(found, left)
    found.rest = left | ({"settings": own} if own else {})
    return found


def _check_known(arguments: Mapping[str, Any]) -> None:
    with sdk.calling("W&B") as wandb:
        known = inspect.signature(wandb.init).parameters
    unknown = next((name for name in arguments if name not in known), None)
    if unknown is not None:
        raise UsageError(f"wandb.init knows no argument {rules.shown(unknown)}", hint="see wandb_init_kwargs")


def _of_settings(given: Any) -> dict[str, Any]:
    """What somebody has set in W&B's settings."""
    if isinstance(given, Mapping):
        return dict(given)
    return {name: getattr(given, name) for name in getattr(given, "model_fields_set", ())}


def _keep_place(found: InitArguments, left: dict[str, Any], own: dict[str, Any]) -> None:
    """Where the run goes: known to whoever delivers it."""
    for name in ("project", "entity", "group", "mode"):
        if (value := left.pop(name, None)) is not None:
            found.given[f"wandb_{name}"] = str(value)
    if (url := own.pop("base_url", None)) is not None:
        found.given["wandb_url"] = str(url)
    if (job_type := left.pop("job_type", None) or settings.env("WANDB_JOB_TYPE")) is not None:
        found.place["job_type"] = str(job_type)
    if (folder := left.pop("dir", None)) is not None:
        path = Path(os.fsdecode(folder)).absolute()
        path.mkdir(parents=True, exist_ok=True)  # the SDK would go elsewhere
        found.place["dir"] = str(path)


def _keep_config(found: InitArguments, left: dict[str, Any]) -> None:
    """What of a config can be params; the rest, such as nested values, goes to `wandb.init` as it is."""
    config = left.pop("config", None)
    if not isinstance(config, Mapping):
        if config is not None:
            left["config"] = config
        return
    for key, value in config.items():
        if isinstance(value, bool | int | float | str) or value is None:
            found.config[str(key)] = value
        else:
            left.setdefault("config", {})[key] = value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _tags(given: Any) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else given or ()
    return tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
