"""TensorBoard's event files: which there are, and what is written of them by now, read by TensorBoard's own code."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from trk.errors import UsageError
from trk.rules import shown

MARK = "tfevents"  # in the name of each event file
SCALARS, TEXT, HPARAMS = "scalars", "text", "hparams"
REST = 16  # bytes of a record beside its event
UNFINISHED = "bytes at the end of event files, broken or not finished"
QUIET_S = 60.0  # a file that did not grow for so long is not kept open

Skip = Callable[[str, int], None]  # (reason, how many) of what is left out


def folders(top: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder with event files, by name, and these in the order in which they were begun. Raises UsageError."""
    if not os.path.isdir(top):
        if os.path.exists(top):
            raise UsageError(f"{shown(top)} is a file, not a folder")
        return
    for here, inner, names in os.walk(top):
        inner.sort()
        files = [os.path.join(here, one) for one in sorted(names) if MARK in one]
        files = [one for one in files if os.path.isfile(one)]
        if files:
            yield here, files


class EventFile:
    """An event file that may grow."""

    def __init__(self, path: str, skip: Skip) -> None:
        self.path = path
        self._skip = skip
        self._known: dict[str, Any] = {}
        self._loader: Any = None
        self._read = 0
        self._is_closed = False
        self._identity: tuple[int, int] | None = None
        self._size = 0

    def has_news(self) -> bool:
        """Whether it may have more than was read."""
        found = _stat(self.path)
        return found is not None and (self._identity is None or found.st_size != self._size or self.is_another())

    def is_another(self) -> bool:
        """Whether what was read of it has to be read again: it was replaced or cut, or grew after it was closed."""
        found = _stat(self.path)
        if self._identity is None or found is None:
            return False
        is_same = (found.st_dev, found.st_ino) == self._identity and found.st_size >= self._read
        return not is_same or (self._is_closed and found.st_size != self._size)

    def events(self) -> Iterator[Any]:
        """The events that were not given yet, as TensorBoard reads them; those that can't be read are counted."""
        from google.protobuf.message import DecodeError

        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        from tensorboard import data_compat, dataclass_compat
        from tensorboard.compat.proto import event_pb2

        try:
            for record in self._records():
                self._read += len(record) + REST
                try:
                    event = event_pb2.Event.FromString(record)
                    events = list(dataclass_compat.migrate_event(data_compat.migrate_event(event), self._known))
                except (DecodeError, ValueError, TypeError, AttributeError):
                    self._skip("events that can't be read", 1)
                    continue
                yield from events
        except (OSError, ValueError) as error:
            self._skip(f"event files that can't be read ({type(error).__name__})", 1)
            self._read = self._size

    def _records(self) -> Iterator[bytes]:
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

        found = os.stat(self.path)
        self._identity, self._size = (found.st_dev, found.st_ino), found.st_size
        if self._loader is None:
            self._loader = RawEventFileLoader(self.path)
        yield from self._loader.Load()

    def rest(self) -> int:
        """How many bytes at its end are no event, or none yet."""
        found = _stat(self.path)
        return max(found.st_size - self._read, 0) if found is not None and self._identity is not None else 0

    def let_go(self) -> None:
        """Close it when it did not grow for long: of a thousand old runs, none is kept open."""
        found = _stat(self.path)
        if self._loader is not None and found is not None and time.time() - found.st_mtime > QUIET_S:
            self._loader = None
            self._is_closed = True


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def ms(wall_s: float) -> int:
    """Seconds as milliseconds; -1, which is no time, for what is none."""
    return round(wall_s * 1000) if 0 <= wall_s < 1e11 else -1


def param(value: Any) -> str:
    """A hyperparameter as text: whole numbers without a point, as they were given."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    if kind == "bool_value":
        return str(value.bool_value)
    return str(value.string_value) if kind == "string_value" else ""


def scalar(value: Any) -> float | None:
    """The number of a scalar; None when it is none."""
    tensor = value.tensor
    if len(tensor.float_val) == 1:
        return float(tensor.float_val[0])
    from tensorboard.util import tensor_util

    try:
        found = tensor_util.make_ndarray(tensor)
        return float(found.reshape(-1)[0]) if found.size == 1 else None
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
