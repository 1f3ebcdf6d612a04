"""What a program writes for TensorBoard by a `SummaryWriter`, logged into a run of trk as well.

The methods of the classes of torch and tensorboardX are replaced while any capture is on, and put back as they were
when the last one ends. What a method does, returns and raises stays the same: what can't be logged is counted and
warned of once, and never an error of the training.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from trk import rules
from trk.capture.secrets import looks_secret, mask
from trk.errors import SourceUnavailable, TrkError, UsageError
from trk.imports import naming
from trk.run import Run
from trk.tracker import need_run

log = logging.getLogger("trk.capture")

PLACES = ("torch.utils.tensorboard.writer", "tensorboardX.writer")
LONGEST_TEXT = 5_000  # characters of a text that is a tag, as `trk import tensorboard` has it
METHODS = ("add_scalar", "add_scalars", "add_text", "add_image", "add_images", "add_hparams")
LEFT = ("add_histogram", "add_histogram_raw", "add_audio", "add_video", "add_graph", "add_embedding", "add_mesh",
        "add_pr_curve", "add_pr_curve_raw")  # fmt: skip

_within: ContextVar[tuple[CapturedWriters, ...]] = ContextVar("trk_captured_writers", default=())


def capture_tensorboard(run: Run | None = None) -> CapturedWriters:
    """While its block runs, what any `SummaryWriter` of torch or tensorboardX is given is logged into a run as well.

    Scalars become points (of `add_scalars` as `main/tag`), with the step and time that they are given, hyperparameters
    params, texts tags `text/<tag>` (long ones files), images and figures images; the rest is counted in `skipped`.
    What looks like a secret is no param (`failed` tells of it), and is masked in texts.
    `run` left out is the active one. Writers may be made before or in the block.

    Of several captures the innermost around a call has it; what other threads write, that are in none of their own,
    goes to the newest that is on. Leaving the last one puts every method back, also after an error.

    Raises NoActiveRun, and SourceUnavailable when neither torch with tensorboard nor tensorboardX is installed.
    """
    return CapturedWriters(run if run is not None else need_run())


class CapturedWriters:
    """A capture, to be entered by `with`; what it could not log stays to be asked for.

    `skipped` counts what no run has a place for, by method, and `failed` what the run refused, by the reason;
    `renamed` has the names that trk's rules refuse, and those that stand for them in the run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.skipped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._metrics = _Names(rules.check_metric_name)
        self._params = _Names(rules.check_param_name)
        self._texts = _Names(rules.check_name)
        self._images = _Names(_check_image_name)

    @property
    def renamed(self) -> dict[str, str]:
        """Names that are others in the run."""
        return {**self._metrics.changed, **self._params.changed, **self._texts.changed, **self._images.changed}

    def __enter__(self) -> Self:
        _hooks.enter(self)
        _within.set((*_within.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered = list(_within.get())
        if self in entered:
            del entered[len(entered) - 1 - entered[::-1].index(self)]
        _within.set(tuple(entered))
        _hooks.leave(self)

    def take(self, method: str, writer: Any, arguments: Mapping[str, Any]) -> None:
        """Log what a method was given. Trouble is counted, and warned of the first time."""
        try:
            getattr(self, f"_{method}", self._other)(method, writer, arguments)
        except TrkError as error:
            self._fail(error.message)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is looked at, training goes on
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        is_first = not self.failed
        self.failed[reason] += 1
        if is_first:
            log.warning("not logged into run %s: %s (more is counted)", self.run.id, reason)

    def _other(self, method: str, writer: Any, arguments: Mapping[str, Any]) -> None:
        self.skipped[method] += 1

    def _add_scalar(self, method: str, writer: Any, given: Mapping[str, Any]) -> None:
        name = self._metrics.of(str(given["tag"]))
        self.run.log_metric(name, _number(given["scalar_value"]), **_place(given))

    def _add_scalars(self, method: str, writer: Any, given: Mapping[str, Any]) -> None:
        main = given["main_tag"]
        values = {self._metrics.of(f"{main}/{tag}"): _number(value) for tag, value in given["tag_scalar_dict"].items()}
        if values:
            self.run.log_metrics(values, **_place(given))

    def _add_text(self, method: str, writer: Any, given: Mapping[str, Any]) -> None:
        text = mask(str(given["text_string"]))
        name = self._texts.of(f"text/{given['tag']}")
        if len(text) <= LONGEST_TEXT:
            self.run.set_tag(name, naming.text(text))
        else:
            self.run.log_text(text, name)

    def _add_image(self, method: str, writer: Any, given: Mapping[str, Any]) -> None:
        from trk.media import log as content

        drawn = _module_of(writer).image(given["tag"], given["img_tensor"], dataformats=given["dataformats"])
        encoded = drawn.value[0].image.encoded_image_string
        step = given.get("global_step")
        name = self._images.of(str(given["tag"]))
        content.image(
            self.run, content.Given(None, encoded), name, None if step is None else rules.check_step(int(step))
        )

    _add_images = _add_image

    def _add_hparams(self, method: str, writer: Any, given: Mapping[str, Any]) -> None:
        # Its metrics come by `add_scalar` of a writer that it makes.
        params = {}
        for key, value in given["hparam_dict"].items():
            text = _plain(value)
            if looks_secret(str(key), text):
                self._fail(f"hyperparameter {rules.shown(str(key))} looks like a secret")
            else:
                params[self._params.of(str(key))] = text
        if params:
            self.run.log_params(params, if_exists="suffix")


class _Names(naming.Names):
    """Names as the rules have them, judged by several threads."""

    def of(self, name: str) -> str:
        """The name here."""
        known = self._known.get(name)
        if known is not None:
            return known
        with _hooks.naming:
            return super().of(name)


class _Hooks:
    """The methods of the classes, as they were and as they are while anything is captured."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.naming = threading.Lock()
        self._on: list[CapturedWriters] = []
        self._replaced: list[tuple[type, str, Any, Any]] = []

    def enter(self, capture: CapturedWriters) -> None:
        """Capture, with the methods replaced if this is the first. Raises SourceUnavailable."""
        with self._turn:
            if not self._on:
                self._replace()
            self._on.append(capture)

    def leave(self, capture: CapturedWriters) -> None:
        """Capture no more, and put the methods back if this was the last."""
        with self._turn:
            del self._on[len(self._on) - 1 - self._on[::-1].index(capture)]
            if self._on:
                return
            for kind, name, before, ours in self._replaced:
                # One that somebody else has replaced meanwhile is theirs: under it, ours does nothing any more.
                if vars(kind).get(name) is ours:
                    setattr(kind, name, before)
            self._replaced.clear()

    def _replace(self) -> None:
        kinds = _writers()
        if not kinds:
            raise SourceUnavailable(
                "neither torch with tensorboard nor tensorboardX is installed here", hint="pip install tensorboardX"
            )
        for kind in kinds:
            for name in (*METHODS, *LEFT):
                before = vars(kind).get(name)
                if before is not None:
                    ours = _capturing(name, before)
                    self._replaced.append((kind, name, before, ours))
                    setattr(kind, name, ours)

    def current(self) -> CapturedWriters | None:
        """The capture that a call belongs to."""
        within = _within.get()
        for capture in reversed(within):
            if capture in self._on:
                return capture
        with self._turn:
            return self._on[-1] if self._on else None

    def after_fork(self) -> None:
        """In a child the locks may be held by threads that are not there."""
        self._turn = threading.Lock()
        self.naming = threading.Lock()


_hooks = _Hooks()
os.register_at_fork(after_in_child=_hooks.after_fork)


def _writers() -> list[type]:
    """The classes of those packages that are installed."""
    found: list[type] = []
    for place in PLACES:
        package = place.partition(".")[0]
        if find_spec(package) is None or (package == "torch" and find_spec("tensorboard") is None):
            continue
        found.append(import_module(place).SummaryWriter)
    return found


def _capturing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def captured(self: Any, *args: Any, **words: Any) -> Any:
        capture = _hooks.current()
        kept = _kept(name, args, words) if capture is not None else None
        done = method(self, *args, **words)
        if capture is not None and kept is not None:
            capture.take(name, self, kept)
        return done

    return captured


# The arguments of the methods that are looked at, in the order in which both packages have them.
_ORDER: Mapping[str, tuple[str, ...]] = {
    "add_scalar": ("tag", "scalar_value", "global_step", "walltime"),
    "add_scalars": ("main_tag", "tag_scalar_dict", "global_step", "walltime"),
    "add_text": ("tag", "text_string", "global_step", "walltime"),
    "add_image": ("tag", "img_tensor", "global_step", "walltime", "dataformats"),
    "add_images": ("tag", "img_tensor", "global_step", "walltime", "dataformats"),
    "add_hparams": ("hparam_dict", "metric_dict"),
}
_FORMATS = {"add_image": "CHW", "add_images": "NCHW"}


def _kept(name: str, args: tuple[Any, ...], words: Mapping[str, Any]) -> dict[str, Any]:
    given = {**dict(zip(_ORDER.get(name, ()), args, strict=False)), **words}
    if name in _FORMATS:
        given.setdefault("dataformats", _FORMATS[name])
    return given


def _module_of(writer: Any) -> Any:
    """The module whose code draws a writer's images: its class may be somebody's own."""
    for kind in type(writer).__mro__:
        if kind.__module__ in PLACES:
            return import_module(kind.__module__)
    raise UsageError(f"{type(writer).__name__} is no writer")


def _place(given: Mapping[str, Any]) -> dict[str, Any]:
    step, wall = given.get("global_step"), given.get("walltime")
    return {"step": None if step is None else int(step), "timestamp": None if wall is None else float(wall)}


def _number(value: Any) -> float:
    """A scalar, also where it is the one value of an array."""
    if getattr(value, "ndim", 0) and hasattr(value, "item"):
        value = value.item()
    return rules.to_number(value)


def _plain(value: Any) -> str:
    return naming.text(str(value.item() if hasattr(value, "item") else value))


def _check_image_name(name: str) -> str:
    if not name.isascii() or ":" in name:
        raise UsageError(f"name {rules.shown(name)} is none of a series of images")
    return rules.check_artifact_path(rules.check_name(name))
