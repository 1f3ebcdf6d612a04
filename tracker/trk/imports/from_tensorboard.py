"""TensorBoard's event files, read by TensorBoard's own code: a run for each folder that has some."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from trk import config
from trk.errors import NotFound, SourceUnavailable
from trk.imports.event_files import HPARAMS, SCALARS, TEXT, UNFINISHED, EventFile, folders, ms, param, scalar
from trk.imports.records import End, Head, ImportReport, Progress
from trk.imports.run import RunIntake
from trk.imports.taking import Intake
from trk.records import Status
from trk.rules import shown

LONGEST_TEXT = 5_000  # characters of a text that is a tag
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
    check_installed()
    top = os.path.realpath(os.fspath(folder))
    found = list(folders(top))
    if not found:
        raise NotFound(f"there are no event files in {shown(os.fspath(folder))}", hint="name TensorBoard's log folder")
    with Intake("tensorboard", given, dry_run=dry_run, progress=progress) as intake:
        for number, (place, files) in enumerate(found):
            intake.at(number, len(found))
            one = Folder(intake, top, place, name)
            one.add(files)
            one.read()
            one.leave_out_if_empty()
            one.end()
        intake.at(len(found), len(found))
        return intake.report()


def check_installed() -> None:
    """Raise SourceUnavailable when TensorBoard's own code is not there."""
    if find_spec("tensorboard") is None:
        raise SourceUnavailable("tensorboard is not installed here", hint="pip install 'trk-ml[tensorboard]'")


@dataclass(slots=True)
class _Met:
    """What a run has beside its points, as far as it is read."""

    params: dict[str, str] = field(default_factory=dict)
    texts: dict[str, tuple[int, str]] = field(default_factory=dict)  # the latest of each: (step, text)
    status: Status = Status.FINISHED
    last_s: float = 0.0
    seen: bool = False


class Folder:
    """A folder with event files, which is a run: read once, or again and again as it grows."""

    def __init__(self, intake: Intake, top: str, place: str, name: str | None) -> None:
        self.run: RunIntake | None = None  # while it is taken
        self.files: dict[str, EventFile] = {}
        self.is_ended = False  # whether it says of itself that it has ended
        self._intake = intake
        self._place = place
        self._origin = f"tensorboard:{place}"
        self._skipped: Counter[str] = Counter()
        inner = os.path.relpath(place, top)
        own = os.path.basename(top) or "tensorboard"
        self._name = "/".join(part for part in (name, "" if inner == "." and name else inner) if part)
        if self._name == ".":
            self._name = own
        self._met = _Met()

    def add(self, paths: Iterable[str]) -> None:
        """Its files, those of which are new."""
        for path in paths:
            if path not in self.files:
                self.files[path] = EventFile(path, self._skip)

    def read(self) -> int:
        """Take what is new of its files, in their order; returns how many events that were."""
        count = 0
        for event in (one for file in list(self.files.values()) for one in file.events()):
            count += 1
            # Params stand before the points or in files of their own: they are looked for first, and are few.
            self._look(event)
            if self.run is None and not self._begin(event):
                return count
            assert self.run is not None
            self._points(event, self.run)
        return count

    def _begin(self, first: Any) -> bool:
        start = self._intake.started(self._origin, self._place)
        if start is None:
            start = ms(first.wall_time)
        experiment = str(self._intake.resolved.get("experiment") or config.DEFAULT_EXPERIMENT)
        self.run = self._intake.begin(Head(self._origin, self._place, self._name, experiment, start))
        return self.run is not None

    def describe(self) -> None:
        """Tell the run the params and tags that were met."""
        if self.run is not None:
            tags = {f"text/{tag.removesuffix('/text_summary')}": text for tag, (_, text) in self._met.texts.items()}
            self.run.describe(self._met.params, tags)

    def end(self) -> None:
        """It is read to its end."""
        for reason, count in self._skipped.items():
            self._intake.skip(reason, count)
        self._intake.skip(UNFINISHED, sum(file.rest() for file in self.files.values()))
        self._skipped.clear()
        if self.run is not None:
            self.describe()
            run, self.run = self.run, None
            run.end(End(self._met.status, round(self._met.last_s * 1000)))

    def leave_out_if_empty(self) -> None:
        """Say of a folder of which nothing could be read that it is left out."""
        if not self._met.last_s and not self._met.seen:
            self._intake.leave_out(self._origin, self._name, "its event files are empty")

    def again(self) -> None:
        """Forget what was read: all of it is read again, and what is here of it passed over."""
        self.files = {path: EventFile(path, self._skip) for path in self.files}
        self._met = _Met()
        self._skipped.clear()
        self.is_ended = False
        if self.run is not None:
            run, self.run = self.run, None
            run.leave()

    def _skip(self, reason: str, count: int = 1) -> None:
        self._skipped[reason] += count

    def _look(self, event: Any) -> None:
        """Take what is no point."""
        self._met.seen = True
        wall = event.wall_time
        if 0 <= wall < 1e11:
            self._met.last_s = max(self._met.last_s, wall)
        if event.WhichOneof("what") == "graph_def":
            self._skip("graphs")
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            if plugin == HPARAMS:
                self._hparams(value)
            elif plugin == TEXT:
                self._text(value, event.step)
            elif plugin != SCALARS:
                self._skip(_KINDS.get(plugin, "values of other kinds"))

    def _points(self, event: Any, run: RunIntake) -> None:
        values: dict[str, float] = {}
        time_ms = ms(event.wall_time)
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name != SCALARS:
                continue
            number = scalar(value)
            if number is None:
                self._skip("scalars that are none")
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
            self._skip("long texts")
        elif known is None or step >= known[0]:
            self._met.texts[value.tag] = (step, text)

    def _hparams(self, value: Any) -> None:
        from google.protobuf.message import DecodeError
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

        try:
            data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        except DecodeError:
            self._skip("hyperparameters that can't be read")
            return
        kind = data.WhichOneof("data")
        if kind == "session_start_info":
            for key, one in sorted(data.session_start_info.hparams.items()):
                self._met.params[key] = param(one)
        elif kind == "session_end_info":
            self.is_ended = True
            if data.session_end_info.status == api_pb2.STATUS_FAILURE:
                self._met.status = Status.FAILED
