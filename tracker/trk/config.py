"""Settings: argument > environment > project's files > user's file > detected, each with where it came from.

Project files are `[tool.trk]` of pyproject.toml and `.trk/config.toml`; the user's is `trk/config.toml` in the config
folder. Whoever wrote a repository wrote its files: a server address in them would receive the user's token, so
addresses from project files count only after `trk config trust`, which remembers path and content.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trk import backends, rules, settings
from trk.addresses import without_userinfo
from trk.backends import _wandb_settings as wandb
from trk.errors import ConfigurationError, TrkError, UsageError

DEFAULT_EXPERIMENT = "Default"  # MLflow's own

# name → the environment variables that set it, the first one that is set counts
VARIABLES: dict[str, tuple[str, ...]] = {
    "experiment": ("TRK_EXPERIMENT", "MLFLOW_EXPERIMENT_NAME"),
    "backends": ("TRK_BACKENDS",),
    "source": ("TRK_SOURCE",),
    "delivery": ("TRK_DELIVERY",),
    "daemon": ("TRK_DAEMON",),
    "exit_timeout": ("TRK_EXIT_TIMEOUT",),
    "strict": ("TRK_STRICT",),
    "key_prefix": ("TRK_KEY_PREFIX",),
    "step_metric": ("TRK_STEP_METRIC",),
    "capture_ci": ("TRK_CAPTURE_CI",),
    "retention": ("TRK_RETENTION",),
    "mlflow_uri": ("MLFLOW_TRACKING_URI",),
    "wandb_project": ("WANDB_PROJECT",),
    "wandb_entity": ("WANDB_ENTITY",),
    "wandb_group": ("WANDB_RUN_GROUP",),
    "wandb_mode": ("WANDB_MODE",),
    "wandb_url": ("WANDB_BASE_URL",),
}
DELIVERIES = ("daemon", "thread", "end")  # who delivers a run while it is logged into: a process, a thread, nobody
ADDRESSES = frozenset(
    {"mlflow_uri", "wandb_url", "wandb_entity", "wandb_project"}
)  # where data goes: only from trusted files


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting's value and where it came from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a folder. `warnings` are what the user should know of their coming about."""

    values: Mapping[str, Setting]
    project: Path
    warnings: tuple[str, ...] = ()

    def get(self, name: str) -> Any:
        """The value of a setting, None when it is not set."""
        return self.values[name].value if name in self.values else None


@dataclass(slots=True)
class _Layers:
    values: dict[str, Setting] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def offer(self, name: str, value: Any, origin: str) -> None:
        """Take a value unless one from a stronger place is there."""
        if value is not None and name not in self.values:
            self.values[name] = Setting(_checked(name, value, origin), origin)


def resolve(folder: str | None, **given: Any) -> Settings:
    """The settings for a `.trk` folder (None: for the working directory), `given` being arguments or flags.

    Raises ConfigurationError that names the setting and where it came from.
    """
    layers, project = _offered(folder, given)
    _detect_backends(layers, project)
    _leave_out_disabled(layers)
    return Settings(layers.values, project, tuple(layers.warnings))


def said(folder: str | None, **given: Any) -> Settings:
    """As `resolve`, without looking which backends there are when none are set, which takes its time."""
    layers, project = _offered(folder, given)
    return Settings(layers.values, project, tuple(layers.warnings))


def _offered(folder: str | None, given: Mapping[str, Any]) -> tuple[_Layers, Path]:
    """What arguments, environment and files say; and the project's folder."""
    project = Path(folder).parent if folder else _working_directory()
    layers = _Layers()
    for name, value in given.items():
        layers.offer(name, value, "argument")
    for name, variables in VARIABLES.items():
        for variable in variables:
            layers.offer(name, settings.env(variable), f"environment ({variable})")
    files: list[tuple[Path, tuple[str, ...]]] = [(Path(folder) / "config.toml", ())] if folder else []
    files.append((project / "pyproject.toml", ("tool", "trk")))
    for path, table in files:
        _offer_file(layers, path, table, trusted=False)
    _offer_file(layers, user_file(), (), trusted=True)
    for name, value, origin in wandb.login_settings():
        layers.offer(name, value, origin)
    return layers, project


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:
        raise TrkError("the working directory was deleted", hint="cd to one that exists") from None


def user_file() -> Path:
    """The user's own settings file."""
    return Path(settings.user_config_dir()) / "config.toml"


def _offer_file(layers: _Layers, path: Path, table: tuple[str, ...], trusted: bool) -> None:
    content = _table(path, table)
    if not content:
        return
    unknown = sorted(set(content) - set(VARIABLES))
    if unknown:
        raise ConfigurationError(
            f"{path} has the unknown setting {rules.shown(unknown[0])}", hint=f"known: {', '.join(VARIABLES)}"
        )
    untrusted = [name for name in content if name in ADDRESSES] if not trusted else []
    if untrusted and not is_trusted(path):
        layers.warnings.append(
            f"{', '.join(untrusted)} in {path} not used: it says where data goes; if you trust it: trk config trust"
        )
    else:
        untrusted = []
    for name, value in content.items():
        if name not in untrusted:
            layers.offer(name, value, str(path))


def _table(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    import tomllib  # slow, and most projects have no such file

    try:
        content: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    for name in names:
        content = content.get(name, {}) if isinstance(content, dict) else {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: [{'.'.join(names)}] must be a table")
    return content


def _checked(name: str, value: Any, origin: str) -> Any:
    """A setting's value in its own type. Raises ConfigurationError naming the value and where it came from."""
    try:
        if name == "backends":
            return _backend_list(value)
        if name == "strict":
            return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")
        if name == "retention" and value == 0 and not isinstance(value, bool):
            return "0"
        if name == "exit_timeout":
            return _seconds(value)
        if not isinstance(value, str):
            raise UsageError(f"{name} must be text, not {rules.shown(value)}")
        if name == "experiment":
            return rules.check_title(value, "experiment name")
        if name == "key_prefix" and value:
            # A prefix may end where a name may not: `trial1/` is fine, since a name follows.
            rules.check_name(value + "x", "key prefix")
        if name == "step_metric":
            rules.check_name(value, "step metric")
        if name == "wandb_project":
            return wandb.check_project(value, "wandb_project")
        if name == "retention":
            rules.parse_duration(value, "retention")
        if name == "wandb_mode":
            return wandb.check_mode(value)
        if name in ("daemon", "capture_ci") and value not in ("auto", "off"):
            raise UsageError(f"{name} must be auto or off, not {rules.shown(value)}")
        if name == "delivery" and value not in DELIVERIES:
            raise UsageError(f"delivery must be {', '.join(DELIVERIES[:-1])} or end, not {rules.shown(value)}")
        return value
    except UsageError as error:
        where = "" if origin == "argument" else f" (from {origin})"
        raise ConfigurationError(f"{error.message}{where}", hint=error.hint) from None


def _seconds(value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UsageError(f"exit_timeout must be a number of seconds from 0, not {rules.shown(value)}")
    return seconds


def _backend_list(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"backends must be a list of names, not {rules.shown(value)}")
    stripped = [name.strip() for name in names if name.strip()]
    if stripped == ["none"]:
        return ()
    return tuple(dict.fromkeys(backends.check_known(name) for name in stripped))


def _wandb_sign(layers: _Layers) -> str | None:
    """What says that W&B is wanted: its mode, or a key for its server; None when nothing does."""
    mode, url = layers.values.get("wandb_mode"), layers.values.get("wandb_url")
    if mode is not None:
        return None if mode.value == "disabled" else mode.origin
    return "a key for W&B" if wandb.has_key(url.value if url is not None else wandb.CLOUD) else None


def _leave_out_disabled(layers: _Layers) -> None:
    """W&B's own switch counts, whatever the backends are said to be."""
    mode, chosen = layers.values.get("wandb_mode"), layers.values["backends"]
    if mode is not None and mode.value == "disabled" and "wandb" in chosen.value:
        layers.warnings.append(f"nothing goes to wandb: its mode is disabled ({mode.origin})")
        layers.values["backends"] = Setting(tuple(name for name in chosen.value if name != "wandb"), chosen.origin)


def _detect_backends(layers: _Layers, project: Path) -> None:
    """With nothing said: what MLflow's or W&B's own settings name, else MLflow's default store, else the journal."""
    if "backends" in layers.values:
        return
    if "mlflow" in backends.names() and layers.values.get("mlflow_uri") is not None:
        layers.offer("backends", "mlflow", f"detected: {layers.values['mlflow_uri'].origin}")
    elif "wandb" in backends.names() and (sign := _wandb_sign(layers)) is not None:
        layers.offer("backends", "wandb", f"detected: {sign}")
    elif "mlflow" not in backends.names():
        layers.offer("backends", (), "detected: trk's mlflow backend is not installed, the journal alone")
    elif not _embedded_mlflow():
        layers.offer("backends", (), "detected: mlflow is not installed, the journal alone")
    elif any(sign in str(project) for sign in _UNSAYABLE):
        layers.warnings.append(f"{project} has a ? or % in its name, which MLflow's default store can't have")
        layers.offer("backends", (), "detected: the folder's name, the journal alone")
    elif populated_mlruns(project):
        layers.warnings.append(
            f"{project / 'mlruns'} holds runs of an older MLflow, which no longer writes such a folder: "
            "recording in the journal alone (mlflow migrate-filestore, or set MLFLOW_TRACKING_URI)"
        )
        layers.offer("backends", (), "detected: an old mlruns folder is in the way")
    else:
        layers.offer("backends", "mlflow", "detected: mlflow is installed")


# MLflow's database address would take what follows as something else than the file's name.
_UNSAYABLE = ("?", "%")


def _embedded_mlflow() -> bool:
    """Whether mlflow with its database store is installed (mlflow-skinny has none)."""
    return all(importlib.util.find_spec(name) is not None for name in ("mlflow", "sqlalchemy", "alembic"))


def populated_mlruns(project: Path) -> bool:
    """Whether MLflow's old file store with experiments in it lies here: MLflow then means that, and refuses it."""
    try:
        return any(
            entry.name.isdigit() and (Path(entry.path) / "meta.yaml").exists()
            for entry in os.scandir(project / "mlruns")
        )
    except OSError:
        return False


def delivery(resolved: Settings) -> str:
    """Who delivers a run: one of DELIVERIES. Left out, and unless `daemon` is off, a daemon does where one can run."""
    wanted = str(resolved.get("delivery") or "daemon")
    return "end" if wanted == "daemon" and resolved.get("daemon") == "off" else wanted


def target(name: str, resolved: Settings) -> dict[str, Any]:
    """Where a backend's runs go: written into the journal when a run starts; never a password."""
    if name == "mlflow":
        return _mlflow_target(resolved)
    if name == "wandb":
        return wandb.target(resolved.get, resolved.project)
    return {}


def _mlflow_target(resolved: Settings) -> dict[str, Any]:
    uri = resolved.get("mlflow_uri")
    if uri is None and any(sign in str(resolved.project) for sign in _UNSAYABLE):
        raise ConfigurationError(
            f"{resolved.project} has a ? or % in its name, which MLflow's default store can't have",
            hint="set MLFLOW_TRACKING_URI",
        )
    if uri is None:
        uri = f"sqlite:///{resolved.project / 'mlflow.db'}"
    uri = _absolute(uri)
    found = {"tracking_uri": without_userinfo(uri)}
    if uri.startswith("sqlite:///"):
        # MLflow would take it relative to the working directory of whoever opens the store first, for ever.
        found["artifact_root"] = str(Path(uri.removeprefix("sqlite:///")).parent / "mlruns")
    return found


_RELATIVE_FILE = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?:///|file:)(?P<path>(?!/).+)")


def _absolute(uri: str) -> str:
    """The address, if it is a file's, from the root: it is used later, from wherever delivery is run."""
    if ":" not in uri and uri not in ("databricks", "databricks-uc", "uc"):
        return str(_working_directory() / Path(uri).expanduser())
    found = _RELATIVE_FILE.fullmatch(uri)
    if found is None or found["path"].startswith(":memory:"):
        return uri
    return f"{found['scheme']}{_working_directory() / found['path']}"


def _trust_file() -> Path:
    return Path(settings.user_config_dir()) / "trusted.json"


def _trusted() -> dict[str, str]:
    try:
        content = json.loads(_trust_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing is trusted that can't be read to be
    return content if isinstance(content, dict) else {}


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_trusted(path: Path) -> bool:
    """Whether the user has trusted this file with this content."""
    return path.exists() and _trusted().get(str(path.resolve())) == _digest(path)


def trust(folder: str | None) -> list[Path]:
    """Trust the project's settings files as they are now; returns them."""
    project = Path(folder).parent if folder else _working_directory()
    files = [project / "pyproject.toml", *([Path(folder) / "config.toml"] if folder else [])]
    found = [path for path in files if path.exists()]
    known = _trusted() | {str(path.resolve()): _digest(path) for path in found}
    _trust_file().parent.mkdir(parents=True, exist_ok=True)
    _trust_file().write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return found


def check_experiment(name: str, resolved: Settings) -> None:
    """Raise UsageError for an experiment that one of the backends can't have: it is said here, not at delivery."""
    if "wandb" in (resolved.get("backends") or ()) and not resolved.get("wandb_project"):
        wandb.check_project(name, "experiment name")


def as_text(target: Mapping[str, Any]) -> str:
    """A target as the journal keeps it: the same place is the same text."""
    return json.dumps(target, sort_keys=True)


def shown_value(name: str, value: Any) -> Any:
    """A setting's value as it may be shown: an address without user and password."""
    return without_userinfo(value) if name in ADDRESSES else list(value) if isinstance(value, tuple) else value
