"""Hyperparameters as params: of the caller's own names, of argparse, of dataclasses, of mappings, of config files.

What looks like a secret, by its name or by itself, is never taken. What is too long, or no plain value, is left out,
and said to be.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from trk import rules
from trk.capture.secrets import is_secret_name, looks_secret, masked_words
from trk.errors import UsageError
from trk.media.documents import ENDINGS, MAX_BYTES, Written, decoded, parse
from trk.rules import shown
from trk.run import Run
from trk.tracker import need_run

LONGEST = 1000  # characters of a value
DEEPEST = 10  # levels of values in values
MOST = 1000  # params
SECRET, TOO_LONG, NOT_PLAIN = "it looks like a secret", f"it has more than {LONGEST} characters", "it is no plain value"
_HARMLESS = frozenset(("", "none", "null", "true", "false"))


@dataclass(frozen=True, slots=True)
class CapturedParams:
    """What `trk.capture_hyperparams` logged, as text, and what it left out, each with the reason."""

    params: Mapping[str, str]
    left_out: Mapping[str, str]


def capture_hyperparams(
    source: object = None,
    *,
    run: Run | None = None,
    prefix: str = "",
    if_exists: Literal["error", "keep", "suffix"] = "error",
) -> CapturedParams:
    """Log hyperparameters as params of a run (left out: the active one); returns which, and what was left out.

    `source` is an `argparse.Namespace`, an `ArgumentParser` (the program's own arguments are then parsed), a dataclass'
    object, a mapping, any object with attributes, or the path of a JSON, YAML or TOML file. Left out, it is the names
    of the function that calls this, or of the module if none does, but for those that begin with `_`, for modules,
    functions and classes. Values in values have names with a dot: `optimizer.lr`; `prefix` stands before all.

    Numbers, texts, paths, None, enums and short lists of these are taken. Raises UsageError for a source that is none
    of these, a file that can't be read or a name that no param can have, NoActiveRun, Conflict, JournalError.
    """
    into = run if run is not None else need_run()
    if source is None:
        frame = sys._getframe(1)
        given = _of_frame(frame)
    else:
        given = _of(source)
    params: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, value in _flat(given, prefix, 0):
        found = _judged(name, value)
        if isinstance(found, _Reason):
            left_out[name] = found
        elif len(params) >= MOST:
            left_out[name] = f"more than {MOST} are no hyperparameters"
        else:
            params[name] = found
    if params:
        into.log_params(params, if_exists=if_exists)
    return CapturedParams(params, left_out)


class _Reason(str):
    """Why something is left out."""

    __slots__ = ()


def _of_frame(frame: FrameType) -> dict[str, Any]:
    """The caller's own names: a function's locals, or the globals of a module."""
    return {
        name: value
        for name, value in frame.f_locals.items()
        if not name.startswith("_") and not _is_code(value) and name not in ("self", "cls")
    }


def _is_code(value: object) -> bool:
    return inspect.ismodule(value) or inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, Run)


def _of(source: Any) -> dict[str, Any]:
    """Names and values of a source. Raises UsageError."""
    if isinstance(source, (str, os.PathLike)):
        return _of_file(os.fspath(source))
    if isinstance(source, argparse.ArgumentParser):
        return dict(vars(source.parse_known_args()[0]))
    if isinstance(source, Mapping):
        return {str(key): value for key, value in source.items()}
    if dataclasses.is_dataclass(source) and not isinstance(source, type):
        return _fields(source)
    if _is_code(source) or not hasattr(source, "__dict__") or not vars(source):
        raise UsageError(
            f"{shown(source)} has no hyperparameters", hint="argparse's, a dataclass' object, a mapping, a file"
        )
    return {name: value for name, value in vars(source).items() if not name.startswith("_") and not _is_code(value)}


def _fields(source: Any) -> dict[str, Any]:
    return {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}


def _of_file(name: str | bytes) -> dict[str, Any]:
    path = Path(os.fsdecode(name))
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"{shown(str(path))}: the file must end in {', '.join(ENDINGS)}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{shown(str(path))} is larger than {MAX_BYTES // 1_000_000} MB")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown(str(path))} can't be read: {error.strerror}") from None
    found: dict[str, Any] = parse(decoded(content, shown(str(path))), ending, shown(str(path)))
    return found


def _flat(given: Mapping[str, Any], before: str, level: int) -> Iterator[tuple[str, Any]]:
    """All values by their whole names."""
    for key, value in given.items():
        name = f"{before}{key}"
        inner: Mapping[str, Any] | None = None
        if isinstance(value, (Mapping, argparse.Namespace)):
            inner = _of(value) if value or isinstance(value, argparse.Namespace) else None
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = _fields(value)
        if inner is None or is_secret_name(str(key)):
            yield name, value
        elif level >= DEEPEST:
            yield name, _Reason(f"it has more than {DEEPEST} levels")
        else:
            yield from _flat(inner, f"{name}.", level + 1)


def _judged(name: str, value: Any) -> str | _Reason:
    """The text of a value, or why it is left out. Raises UsageError for a name that no param can have."""
    if isinstance(value, _Reason):
        return value
    text = _text(value)
    is_text = not isinstance(value, (bool, int, float)) and value is not None
    if is_text and is_secret_name(name) and (text is None or text.lower() not in _HARMLESS):
        return _Reason(SECRET)
    if text is None:
        return _Reason(NOT_PLAIN)
    if len(text) > LONGEST:
        return _Reason(TOO_LONG)
    if looks_secret(name, text) or any(list(masked_words(words)) != words for words in _lists(value)):
        return _Reason(SECRET)
    rules.check_param_name(name)
    try:
        return rules.check_text(text, name)
    except UsageError:
        return _Reason(NOT_PLAIN)


def _lists(value: Any) -> Iterator[list[str]]:
    """The lists in a value, however deep, as words: each may be a command line."""
    if isinstance(value, (list, tuple)):
        yield [str(one) for one in value]
    for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ():
        yield from _lists(one)


def _text(value: Any) -> str | None:
    """A plain value as a param has it; None when it is none."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Written):
        return value.text
    if value is None or isinstance(value, (bool, int, float, str)):
        return _number_or_text(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if hasattr(value, "isoformat"):  # dates and times
        return str(value.isoformat())
    if isinstance(value, (list, tuple, set, frozenset)) and len(value) <= LONGEST:
        return _list(value)
    if isinstance(value, Mapping) and not value:
        return "{}"
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # numpy's and a tensor's scalars
        item = value.item()
        return None if hasattr(item, "ndim") else _text(item)
    # torch.float32, numpy.dtype("f4") and the like say what they are in a word.
    return str(value) if type(value).__name__.lower().endswith(("dtype", "device")) else None


def _number_or_text(value: bool | int | float | str | None) -> str | None:
    try:
        return str(value)
    except ValueError:  # thousands of digits
        return None


def _list(value: Any) -> str | None:
    items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else list(value)
    try:
        return json.dumps([_item(one) for one in items], ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _item(value: Any) -> Any:
    """A value in a list, as JSON has it. Raises TypeError."""
    if isinstance(value, (list, tuple)):
        return [_item(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _item(one) for key, one in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return value
    text = _text(value)
    if text is None:
        raise TypeError
    return text
