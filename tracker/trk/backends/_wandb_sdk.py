"""The SDK of Weights & Biases and its core process: started once, shared by all runs of this process, survived.

When the core process dies, every run of the process is dead at once, and what was handed over since the cursor may be
lost. `calling` then shuts down what is left of the SDK and raises BackendLost, so that the deliverer begins anew.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from trk import settings
from trk.backends import _wandb_own as own
from trk.backends import _wandb_settings as keys
from trk.backends._wandb_errors import LOGIN, is_dead, translated
from trk.backends._wandb_run import WandbRun
from trk.errors import BackendError, BackendLost, BackendNeedsUser, BackendUnavailable
from trk.records import RunSpec

INIT_S = 20.0
FINISH_S = 30.0
PROBE_S = 5.0
# Found in the environment they would lead this process to somebody else's run, or to a core process that dies with the
# script that started it; an empty mode is refused by the SDK.
_FOREIGN = ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_MODE", "WANDB_NAME", "WANDB_NOTES", "WANDB_TAGS",
            "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_SWEEP_ID", "WANDB_SHARED")  # fmt: skip

_lock = threading.RLock()
_open: dict[str, WandbRun] = {}
_ours: tuple[Any, Any] = (None, None)  # the SDK's settings for trk, and the environment that they were read of
_hooked: Any = None  # the connection with a core process that was looked at last
_deaths = 0  # how often the core process was found dead: runs of an earlier life are dead


def deaths() -> int:
    """How often the core process was found dead in this process; runs from before the last time are dead."""
    return _deaths


def _in_child() -> None:
    """A forked child has no core process of its own yet, and its parent's runs are not its own."""
    global _lock, _deaths
    _lock = threading.RLock()
    _open.clear()
    _deaths += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@contextlib.contextmanager
def calling(what: str) -> Iterator[Any]:
    """The `wandb` module, for one call; its errors become trk's. `what` says where it goes, for messages."""
    born = _deaths
    try:
        yield module()
    except BackendError:
        raise
    except Exception as error:  # the SDK raises what its parts raise: protobuf, sockets, pydantic
        if is_dead(error):
            _bury(born)
            raise BackendLost(f"{what}: W&B's core process died ({type(error).__name__})") from error
        raise translated(error, what) from error


def module() -> Any:
    """The `wandb` module, imported in an environment that binds it to no other run."""
    with _lock:
        if "wandb" not in sys.modules:
            with settings.hidden(_FOREIGN), settings.overridden(WANDB_ERROR_REPORTING="false"):
                importlib.import_module("wandb")
        return importlib.import_module("wandb")  # which waits for a thread of the program that is just importing it


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """For a call that reads the SDK's settings, which it reads of the environment once: they are trk's.

    A program that uses the SDK itself finds its own settings and environment as they were. What the SDK would say on
    the terminal is not said.
    """
    global _ours
    wandb = module()
    with _lock, settings.hidden(_FOREIGN), settings.overridden(WANDB_ERROR_REPORTING="false"):
        setup = wandb.sdk.wandb_setup.singleton()
        theirs = setup._settings, setup._settings_environ
        setup._settings, setup._settings_environ = _ours
        try:
            if setup._settings is None:
                wandb.setup(wandb.Settings(silent=True, quiet=True))
                _ours = setup._settings, setup._settings_environ
            wandb.termsetup(setup._settings, None)
            setup.ensure_service()
            _unhook(setup)
            yield
        finally:
            setup._settings, setup._settings_environ = theirs
            if theirs[0] is not None:  # else who loads settings of its own says how loud it is
                wandb.termsetup(theirs[0], None)


def _unhook(setup: Any) -> None:
    """At its exit a program does not wait for a core process that trk started, unless it has runs of its own there."""
    global _hooked
    connection = setup._connection
    if connection is None or connection is _hooked:
        return
    _hooked = connection
    if connection.owns_service and not setup._active_runs and connection._cleanup is not None:
        connection._cleanup()
        atexit.register(_at_exit, setup)


def _at_exit(setup: Any) -> None:
    ours = [run.sdk for run in _open.values()]
    if any(run not in ours for run in setup._active_runs):
        with contextlib.suppress(Exception):  # the program is ending: nobody could do anything about it
            sys.modules["wandb"].teardown()


def _bury(born: int) -> None:
    """Shut down what is left of an SDK whose core process died; the next run starts another one."""
    global _deaths
    with _lock:
        if _deaths != born:
            return  # another thread did
        _deaths += 1
        _open.clear()
        _hush()
        for _ in range(2):  # the first may raise what the dead connection raises, and leave the rest to the second
            with contextlib.suppress(Exception):  # the SDK is dead, and says so in its own ways
                sys.modules["wandb"].teardown()


def _hush() -> None:
    """The SDK's own threads die of what has happened, each with its traceback: they are not this program's trouble."""
    before = threading.excepthook
    if getattr(before, "of_trk", False):
        return

    def hook(args: threading.ExceptHookArgs) -> None:
        if not args.exc_type.__module__.startswith("wandb."):
            before(args)

    hook.of_trk = True  # type: ignore[attr-defined]
    threading.excepthook = hook


def started(spec: RunSpec, target: Mapping[str, Any], what: str, **more: Any) -> Any:
    """The SDK's run for a run of trk, new or gone on with."""
    offline = target.get("mode") == "offline"
    if spec.external:
        return _joined(spec, target, what)
    with _lock:
        if (before := _open.pop(spec.run_id, None)) is not None:
            before.let_go()
    if not offline:
        _check(target, what)
    with _lock, calling(what) as wandb, own_settings():
        given = own.arguments(spec.run_id)
        fixed = {
            "entity": target.get("entity"),
            "project": str(target.get("project") or spec.experiment),
            "id": spec.run_id,
            "name": spec.name or None,
            "notes": spec.description,
            "group": target.get("group"),
            "job_type": target.get("job_type"),
            "dir": str(target.get("dir") or "."),
            "resume": None if offline else "allow",
            "reinit": "create_new",
            "mode": "offline" if offline else "online",
            "settings": _settings(wandb, target, given.pop("settings", {}) | more),
        }
        return wandb.init(**given | fixed)


def key(target: Mapping[str, Any]) -> str | None:
    """The key for a target, given or in the environment now: the SDK would keep to the first that it met there.

    None when the SDK is to find one elsewhere.
    """
    return own.key(target) or (settings.env("WANDB_API_KEY") or "").strip() or None


def check_key(target: Mapping[str, Any], what: str) -> None:
    """Raise BackendNeedsUser when there is no key for a target's server."""
    if own.key(target) is None and not keys.has_key(base_url(target)):
        raise BackendNeedsUser(f"{what}: there is no key for it here", hint=LOGIN)


def _joined(spec: RunSpec, target: Mapping[str, Any], what: str) -> Any:
    """Another program's run, in shared mode: its state and its summary are its owner's."""
    entity, project, remote_id = str(spec.remote_id).split("/")
    _check(target, what)
    with _lock, calling(what) as wandb, own_settings():
        return wandb.init(
            entity=entity,
            project=project,
            id=remote_id,
            dir=str(target.get("dir") or "."),
            reinit="create_new",
            mode="shared",
            settings=_settings(
                wandb,
                target,
                {
                    "x_primary": False,
                    "x_update_finish_state": False,
                    "x_server_side_derived_summary": True,
                    "x_label": f"trk-{spec.run_id[-6:]}",
                },
            ),
        )


def _check(target: Mapping[str, Any], what: str) -> None:
    """Raise BackendNeedsUser when there is no key, BackendUnavailable when the server does not answer."""
    check_key(target, what)
    probe(base_url(target), what)


@contextlib.contextmanager
def flowing(made: Any) -> Iterator[None]:
    """For the length of a `with`, what is handed to an offline run goes to the core process, and isn't waited for.

    The SDK's thread that talks with the core keeps the order, and a connection that broke stays broken: who calls
    afterwards hears of it, `finish` at last. To wait for each line costs more than the line. An SDK that can't do so
    waits; so does a run that is online, where the network is what takes time, and a dead core is to be met at once.
    """
    interface: Any = getattr(made, "_interface", None)
    publish: Any = getattr(interface, "_publish", None)
    can = publish is not None and "nowait" in inspect.signature(publish).parameters
    # Python 3.11.0 lets one task at a time wait for a socket to take more, and breaks the connection of the others.
    if not can or not made.offline or sys.version_info < (3, 11, 1):
        yield
        return
    interface._publish = functools.partial(publish, nowait=True)
    try:
        yield
    finally:
        del interface._publish


def opened(run: WandbRun) -> None:
    """Remember an open run: the core process takes a run's id once."""
    with _lock:
        _open[run.spec.run_id] = run


def closed(run: WandbRun) -> None:
    """A run was finished, or let go of."""
    with _lock:
        if _open.get(run.spec.run_id) is run:
            del _open[run.spec.run_id]


def probe(url: str, what: str) -> None:
    """Raise BackendUnavailable when a server does not answer: the SDK would try for long, and keep the run's id."""
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=PROBE_S):  # noqa: S310 - the user's own server
            return
    except HTTPError as error:
        error.close()
        if error.code >= 500 or error.code == 429:
            raise BackendUnavailable(f"{what}: HTTP {error.code}", retry_after=_seconds(error)) from None
    except (URLError, OSError) as error:
        if "CERTIFICATE" not in str(error):  # the SDK may know other authorities
            raise BackendUnavailable(f"{what}: {getattr(error, 'reason', error)}") from None


def _seconds(error: Any) -> float | None:
    said = error.headers.get("Retry-After") or ""
    return float(said) if said.isdecimal() else None


def base_url(target: Mapping[str, Any]) -> str:
    """The address of a target's server."""
    return str(target.get("base_url") or keys.CLOUD)


def _settings(wandb: Any, target: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    chosen = {
        "silent": True,
        "quiet": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "disable_job_creation": True,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,  # else the packages of this process are uploaded as the run's
    }
    needed = {
        "base_url": base_url(target),
        "x_file_stream_transmit_interval": 1,  # half a second would silently be fifteen
        "x_file_stream_retry_wait_min_seconds": 1,
        "x_file_stream_retry_wait_max_seconds": 5,  # a server that is back is found out soon; it is tried for hours
        "x_graphql_retry_wait_max_seconds": 5,
        "x_file_transfer_retry_wait_max_seconds": 5,
        "init_timeout": INIT_S,
        "finish_timeout": FINISH_S,
        "finish_timeout_raises": True,
    }
    if (found := key(target)) is not None:
        needed["api_key"] = found
    return wandb.Settings(**{**chosen, **given, **needed})
