"""What this process alone knows of how its runs go to W&B: keys, and arguments of `wandb.init` that can't be kept.

Nothing of it is ever written down: another process, such as one that delivers what a crash left, does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_Place = tuple[Any, Any, Any]

_keys: dict[_Place, str] = {}
_arguments: dict[str, dict[str, Any]] = {}
_values: dict[str, dict[str, tuple[str, Any]]] = {}


def _place(target: Mapping[str, Any]) -> _Place:
    return target.get("base_url"), target.get("entity"), target.get("project")


def set_key(target: Mapping[str, Any], key: str) -> None:
    """Use this API key for what goes to the target's server, entity and project."""
    _keys[_place(target)] = key


def key(target: Mapping[str, Any]) -> str | None:
    """The key that was given for a target; None when the SDK is to find one itself."""
    return _keys.get(_place(target))


def set_arguments(run_id: str, arguments: Mapping[str, Any]) -> None:
    """Call `wandb.init` for this run with these arguments too."""
    _arguments[run_id] = dict(arguments)


def arguments(run_id: str) -> dict[str, Any]:
    """Arguments of `wandb.init` for a run, beside trk's own."""
    return dict(_arguments.get(run_id, {}))


def set_value(run_id: str, name: str, text: str, value: Any) -> None:
    """A param whose text does not tell its type: in W&B's config it is this value."""
    _values.setdefault(run_id, {})[name] = (text, value)


def has_value(run_id: str, name: str, text: str) -> bool:
    """Whether the value of this text of a param is known."""
    return _values.get(run_id, {}).get(name, (None,))[0] == text


def value(run_id: str, name: str) -> Any:
    """The value of a param, if it `has_value`."""
    return _values[run_id][name][1]
