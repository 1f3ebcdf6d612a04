"""What an import reads, and what it says of what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trk.records import Status

Progress = Callable[[int, int, int], None]  # parts that are done, of how many (0: not known), points that were read


@dataclass(frozen=True, slots=True)
class Head:
    """A run as its source tells of it before its points. Times are in milliseconds since 1970.

    `origin` names it among all sources, and never changes: `mlflow:<id>`, `wandb:<entity>/<project>/<id>`,
    `tensorboard:<folder>`, `csv:<file>#<run>`; `place` is the server or folder it is at. `run_id` is trk's own id if
    trk made it. `start_ms` None is: not told. `parent` is the (origin, trk's id or None, start) of the run above it.
    """

    origin: str
    place: str
    name: str
    experiment: str
    start_ms: int | None
    run_id: str | None = None
    description: str | None = None
    parent: tuple[str, str | None, int] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a run at its source: its place inside the run, its bytes (None: not told), and how to fetch it."""

    path: str
    size: int | None
    fetch: Callable[[str], None]


@dataclass(slots=True)
class End:
    """How a run stands at its source after its points. `summary` has its values beside those of its metrics."""

    status: Status
    end_ms: int | None
    summary: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[File] = ()


@dataclass(frozen=True, slots=True)
class TakenRun:
    """A run of a source: `points` that are new here, of `read` that it has, and `files` that were taken.

    `new`: the run was not here before. `changed` counts params, tags and summary values that are new or were changed.
    """

    run_id: str
    name: str
    experiment: str
    origin: str
    status: Status
    points: int
    read: int
    changed: int = 0
    files: int = 0
    new: bool = True


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A run of a source that was not taken, and why."""

    origin: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What `trk.import_mlflow`, `import_wandb`, `import_tensorboard` or `import_csv` did, or with `dry_run` would do.

    `points` are those that are new here. `skipped` counts, by reason, what of the source is not in the journal;
    `renamed` has names that trk's rules refuse, and those that stand for them. `pending` rows wait to be delivered to
    each backend; `origins` are the backends to which nothing goes, since it came from there. `new_folder` is the `.trk`
    folder if it was made for this.
    """

    source: str
    runs: Sequence[TakenRun] = ()
    left_out: Sequence[NotTaken] = ()
    points: int = 0
    files: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)
    origins: Sequence[str] = ()
    new_folder: str | None = None
    dry_run: bool = False
