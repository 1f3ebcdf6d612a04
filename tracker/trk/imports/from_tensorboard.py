"""TensorBoard's event files, read by TensorBoard's own code: a run for each folder that has some."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from trk import config
from trk.errors import NotFound, SourceUnavailable, UsageError
from trk.imports.records import End, Head, ImportReport, Progress
from trk.imports.run import RunIntake
from trk.imports.taking import Intake
from trk.records import Status
from trk.rules import shown

MARK = "tfevents"  # in the name of each event file
SCALARS, TEXT, HPARAMS = "scalars", "text", "hparams"
LONGEST_TEXT = 5_000  # characters of a text that is a tag
REST = 16  # bytes of a record beside its event
_KINDS = {"images": "images", "image": "images", "histograms": "histograms", "audio": "sounds", "graphs": "graphs",
          "pr_curves": "curves", "mesh": "meshes", "custom_scalars": "layouts"}  # fmt: skip


def import_tensorboard(
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    experiment: str | None = None,
    backends: str | list[str] | tuple[str, ...] | None = None,
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Take what TensorBoard shows of a log folder into the journal here; again, only what is new is taken.

    A run is what TensorBoard calls one: a folder with event files; `name` stands before their names. Scalars become
    points with step and time, hyperparameters params, short texts tags; images, histograms and the like are counted and
    left. Where the runs are delivered to is as in `trk.start`, with `backends` and the arguments after it.

    `dry_run` changes nothing. `progress` is told (runs done, runs in all, points read). Raises NotFound, UsageError,
    Conflict, JournalError, and SourceUnavailable when tensorboard is not installed.
    """
    given = {
        "backends": backends, "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group, "experiment": experiment,
    }  # fmt: skip
    if find_spec("tensorboard") is None:
        raise SourceUnavailable("tensorboard is not installed here", hint="pip install 'trk-ml[tensorboard]'")
    top = os.path.realpath(os.fspath(folder))
    found = list(_folders(top))
    if not found:
        raise NotFound(f"there are no event files in {shown(os.fspath(folder))}", hint="name TensorBoard's log folder")
    with Intake("tensorboard", given, dry_run=dry_run, progress=progress) as intake:
        for number, (place, files) in enumerate(found):
            intake.at(number, len(found))
            _Folder(intake, top, place, files, name).take()
        intake.at(len(found), len(found))
        return intake.report()


def _folders(top: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder with event files, by name, and these in the order in which they were begun."""
    if not os.path.isdir(top):
        if os.path.exists(top):
            raise UsageError(f"{shown(top)} is a file, not a folder")
        return
    for here, folders, names in os.walk(top):
        folders.sort()
        files = [os.path.join(here, one) for one in sorted(names) if MARK in one]
        files = [one for one in files if os.path.isfile(one)]
        if files:
            yield here, files


@dataclass(slots=True)
class _Met:
    """What a run has beside its points, as far as it is read."""

    params: dict[str, str] = field(default_factory=dict)
    texts: dict[str, tuple[int, str]] = field(default_factory=dict)  # the latest of each: (step, text)
    status: Status = Status.FINISHED
    last_s: float = 0.0


class _Folder:
    """A folder being read."""

    def __init__(self, intake: Intake, top: str, place: str, files: list[str], name: str | None) -> None:
        self._intake = intake
        self._place = place
        self._files = files
        inner = os.path.relpath(place, top)
        own = os.path.basename(top) or "tensorboard"
        self._name = "/".join(part for part in (name, "" if inner == "." and name else inner) if part)
        if self._name == ".":
            self._name = own
        self._met = _Met()

    def take(self) -> None:
        """All of its files."""
        origin = f"tensorboard:{self._place}"
        events = (one for file in self._files for one in _events(file, self._intake))
        first = next(events, None)
        if first is None:
            self._intake.leave_out(origin, self._name, "its event files are empty")
            return
        # Params stand before the points or in files of their own: they are looked for first, and are few.
        self._look(first)
        start = self._intake.started(origin, self._place)
        if start is None:
            start = _ms(first.wall_time)
        experiment = str(self._intake.resolved.get("experiment") or config.DEFAULT_EXPERIMENT)
        run = self._intake.begin(Head(origin, self._place, self._name, experiment, start))
        if run is None:
            return
        self._points(first, run)
        for event in events:
            self._look(event)
            self._points(event, run)
        tags = {f"text/{tag.removesuffix('/text_summary')}": text for tag, (_, text) in self._met.texts.items()}
        run.describe(self._met.params, tags)
        run.end(End(self._met.status, round(self._met.last_s * 1000)))

    def _look(self, event: Any) -> None:
        """Take what is no point."""
        wall = event.wall_time
        if 0 <= wall < 1e11:
            self._met.last_s = max(self._met.last_s, wall)
        if event.WhichOneof("what") == "graph_def":
            self._intake.skip("graphs")
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            if plugin == HPARAMS:
                self._hparams(value)
            elif plugin == TEXT:
                self._text(value, event.step)
            elif plugin != SCALARS:
                self._intake.skip(_KINDS.get(plugin, "values of other kinds"))

    def _points(self, event: Any, run: RunIntake) -> None:
        values: dict[str, float] = {}
        time_ms = _ms(event.wall_time)
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name != SCALARS:
                continue
            number = _scalar(value)
            if number is None:
                self._intake.skip("scalars that are none")
                continue
            if value.tag in values:
                run.line(time_ms, event.step, values)
                values = {}
            values[value.tag] = number
        if values:
            run.line(time_ms, event.step, values)

    def _text(self, value: Any, step: int) -> None:
        try:
            text = b"\n".join(value.tensor.string_val).decode(errors="replace")
        except TypeError:
            return
        known = self._met.texts.get(value.tag)
        if len(text) > LONGEST_TEXT:
            self._intake.skip("long texts")
        elif known is None or step >= known[0]:
            self._met.texts[value.tag] = (step, text)

    def _hparams(self, value: Any) -> None:
        from google.protobuf.message import DecodeError
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

        try:
            data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        except DecodeError:
            self._intake.skip("hyperparameters that can't be read")
            return
        kind = data.WhichOneof("data")
        if kind == "session_start_info":
            for key, one in sorted(data.session_start_info.hparams.items()):
                self._met.params[key] = _param(one)
        elif kind == "session_end_info" and data.session_end_info.status == api_pb2.STATUS_FAILURE:
            self._met.status = Status.FAILED


def _ms(wall_s: float) -> int:
    """Seconds as milliseconds; -1, which is no time, for what is none."""
    return round(wall_s * 1000) if 0 <= wall_s < 1e11 else -1


def _param(value: Any) -> str:
    """A hyperparameter as text: whole numbers without a point, as they were given."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    if kind == "bool_value":
        return str(value.bool_value)
    return str(value.string_value) if kind == "string_value" else ""


def _scalar(value: Any) -> float | None:
    tensor = value.tensor
    if len(tensor.float_val) == 1:
        return float(tensor.float_val[0])
    from tensorboard.util import tensor_util

    try:
        found = tensor_util.make_ndarray(tensor)
        return float(found.reshape(-1)[0]) if found.size == 1 else None
    except (TypeError, ValueError, KeyError, OverflowError):
        return None


def _events(file: str, intake: Intake) -> Iterator[Any]:
    """The events of a file as TensorBoard reads them; what is behind a broken or unfinished one is counted."""
    from google.protobuf.message import DecodeError

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard import data_compat, dataclass_compat
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto import event_pb2

    known: dict[str, Any] = {}
    read = 0
    try:
        for record in RawEventFileLoader(file).Load():
            read += len(record) + REST
            try:
                event = event_pb2.Event.FromString(record)
                events = list(dataclass_compat.migrate_event(data_compat.migrate_event(event), known))
            except (DecodeError, ValueError, TypeError, AttributeError):
                intake.skip("events that can't be read")
                continue
            yield from events
    except (OSError, ValueError) as error:
        intake.skip(f"event files that can't be read ({type(error).__name__})")
        return
    left = os.stat(file).st_size - read
    if left > 0:
        intake.skip("bytes at the end of event files, broken or not finished", left)
