"""What trk's questions are answered with: frozen records of runs, rows and points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

Mode = Literal["max", "min"]
Aggregate = Literal["best", "last", "min", "max"]


class Status(StrEnum):
    """The state of a run, in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Kind(StrEnum):
    """What a row of the journal says."""

    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    DELETE_TAG = "delete_tag"
    SUMMARY = "summary"
    DEFINE = "define"
    STATUS = "status"
    TABLE = "table"
    HTML = "html"
    TEXT = "text"
    DICT = "dict"
    IMAGE = "image"
    FIGURE = "figure"
    FILE = "file"
    ARTIFACT = "artifact"
    DELETE = "delete"
    RESTORE = "restore"


MEDIA = frozenset({Kind.HTML, Kind.TEXT, Kind.DICT, Kind.IMAGE, Kind.FIGURE})
"""What is logged under a name, where the latest shows and the earlier ones are kept."""

FILES = MEDIA | {Kind.FILE, Kind.ARTIFACT}
"""Rows that carry files."""

LINES = frozenset({Kind.TABLE, Kind.HTML, Kind.IMAGE, Kind.FIGURE})
"""Rows that are a line of a run's history where one is kept by lines (W&B), beside those that have values."""


def from_ms(time_ms: int | None) -> datetime | None:
    """Milliseconds since 1970 as a UTC datetime; None stays None."""
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """One file of a row.

    `path` is its place inside the run, `size` its bytes, `sha256` their hash in hexadecimal; `local` is where the bytes
    lie on this machine. A snapshot lies in the journal's blobs; a file that was logged without one has `changed_ns`,
    its time of change in nanoseconds since 1970, by which it is known again. A reference has `uri` and no bytes here.
    `earlier` is the row that last put something at this path before (0: none did), `before` where its bytes lie.
    `before_sha256` is their hash; `freed`: `trk gc` removed them when they had been delivered. `delivered`: the backend
    has an earlier file of this run at this path, so what is there is not another program's.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    local: str | None = None
    changed_ns: int | None = None
    uri: str | None = None
    earlier: int = 0
    before: str | None = None
    delivered: bool = False
    before_sha256: str | None = None
    freed: bool = False


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A whole table as it is delivered: `count` rows from one or many rows of the journal, in journal order.

    `path` is its place inside the run. `rows` gives each row as a list of JSON values, beside `columns`, from the
    beginning each time it is called. `delivered`: the backend has some of this table, so what is at its path is not
    another program's.
    """

    path: str
    columns: Sequence[str]
    count: int
    rows: Callable[[], Iterator[list[Any]]]
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class MetricStats:
    """A metric's whole history in a few numbers: how many points, the last, the lowest and highest finite values.

    `last` is that of the largest (step, time, value) and may be NaN or infinite; `last_ms` is its time, milliseconds
    since 1970. `low` and `high` with their steps are None when no value is finite. `mode` is the direction that was
    defined for it in the experiment.
    """

    count: int
    last: float
    last_step: int
    low: float | None = None
    low_step: int | None = None
    high: float | None = None
    high_step: int | None = None
    mode: str | None = None
    last_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a run: what one log call said.

    `n` is its place in the run, from 1. A METRIC row has `step` and `values` (one or several metrics); PARAM, TAG
    have `key` and `text`; DELETE_TAG has `key`; a SUMMARY row is either a number (`step`, `values` with one entry)
    or JSON (`text`, `step` None); DEFINE has `key` and `text` (JSON of mode and step_metric); STATUS has `text`, a
    Status. `time_ms` is milliseconds since 1970.

    A TABLE has its name as `key`, and, when it is handed to a backend, `table`. HTML, TEXT, DICT, IMAGE, FIGURE have
    their name as `key` and one of `files`; an image of a series has `step`. A FILE has its path as `key`. An ARTIFACT
    has a name as `key`, `files`, a `type` and a `version` from 0. A STATUS that ends a run has all `files` and the
    `stats` of all metrics that the run then has when it is handed to a backend; it is `final` when those are of exactly
    the points that the backend was given: none was rejected, none comes after. DELETE and RESTORE say nothing more.
    `line` is its place among the rows of the run that make a line of a history, from 0, for backends that number them.
    """

    n: int
    kind: Kind
    time_ms: int
    key: str | None = None
    step: int | None = None
    text: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    files: tuple[LoggedFile, ...] = ()
    table: LoggedTable | None = None
    type: str | None = None
    version: int | None = None
    stats: Mapping[str, MetricStats] = field(default_factory=dict)
    final: bool = False
    line: int | None = None

    @property
    def makes_line(self) -> bool:
        """Whether it makes a line of a history: points, and what is shown beside them."""
        return bool(self.values) or self.kind in LINES


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One point of one metric of one run. `value` may be NaN or infinite."""

    run_id: str
    metric: str
    step: int
    time_ms: int
    value: float

    @property
    def time(self) -> datetime:
        """When it was logged, UTC."""
        return datetime.fromtimestamp(self.time_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that a backend will never have, and why. `kind` is the row's kind, `key` its metric, param or tag."""

    n: int
    kind: str
    key: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of one run at one backend. Always: logged = delivered + pending + rejected + skipped, in rows.

    `skipped` rows are those the backend cannot hold at all; `rejections` says why rows were rejected.
    """

    run_id: str | None
    url: str | None
    logged: int
    delivered: int
    pending: int
    rejected: int
    skipped: int
    rejections: tuple[Rejection, ...] = ()
    last_error: str | None = None


PARTS = frozenset({"params", "metrics", "tags", "backends"})
"""What of a run's record is read only where it is needed."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, as a source knows it.

    `run_id` is trk's id, or a handle such as `mlflow:<id>` for a run that trk did not make. `metrics` holds last
    values (largest step, then time, then value), `params` and `tags` text. Times are UTC.
    """

    run_id: str
    name: str
    experiment: str
    status: Status
    source: str
    start_time: datetime | None
    end_time: datetime | None
    parent_id: str | None = None
    description: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    backends: Mapping[str, Delivery] = field(default_factory=dict)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, or until now while it runs; None when it is not known.

        0 when the clock was set back between.
        """
        end = self.end_time or (datetime.now(UTC) if self.status is Status.RUNNING else None)
        if self.start_time is None or end is None:
            return None
        took = round((end - self.start_time).total_seconds(), 3)
        return took if took > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Best:
    """Why a run was ranked as it was: the value found, at which step, by which mode and aggregate."""

    metric: str
    value: float
    step: int
    mode: Mode
    agg: Aggregate


@dataclass(frozen=True, slots=True)
class BestRun:
    """A run among the best, with the values of its other metrics at the step of its best value."""

    run: RunRecord
    best: Best
    at_step: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer of `best`: the best runs in order, and how many runs could not take part."""

    runs: Sequence[BestRun]
    without_metric: int = 0
    not_finite: int = 0


@dataclass(frozen=True, slots=True)
class Freed:
    """What `gc` removed from the journal's folder, or with `dry_run` would remove: blobs, and their bytes in all.

    `kept` blobs of `kept_bytes` stay. Of the removed ones, no row of the journal names `unnamed`. `drafts` of
    `draft_bytes` were left by writers that were killed; they are not counted with a `dry_run`.
    """

    removed: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    unnamed: int = 0
    drafts: int = 0
    draft_bytes: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a backend needs to find or make a run.

    `target` is what was resolved for this backend when the run started (for mlflow: `tracking_uri`), never with a
    password. `parent_remote_id` is the parent's id at this backend. `remote_id` is the id found at an earlier
    opening. `start_ms` is milliseconds since 1970. A run that is `deleted` here may be so at the backend too: opening
    it is then no error. An `external` run is another program's that was attached to: what it has is left as it is.
    `step_metric` is the metric against which the others are drawn, None where that is the step; `key_prefix` is what
    the names of the run's metrics begin with.
    """

    run_id: str
    name: str
    experiment: str
    start_ms: int
    target: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    parent_id: str | None = None
    parent_remote_id: str | None = None
    remote_id: str | None = None
    deleted: bool = False
    external: bool = False
    step_metric: str | None = None
    key_prefix: str = ""


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """A run as a backend knows it: its own id, and the address a person can open (None when there is none).

    An `external` run is another program's.
    """

    run_id: str
    remote_id: str
    url: str | None = None
    experiment_id: str | None = None
    external: bool = False


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """One file, table or reference of a run, as a source knows it.

    `path` is its place inside the run. `kind` is table, html, text, dict, image, figure, file or artifact; `name` is
    what it was logged as. `size` is in bytes, `sha256` in hexadecimal; None where the source does not know. `step` is
    that of an image of a series, `type` and `version` are those of a typed artifact, `uri` is where a reference
    points. `rows` is the number of rows of a table, `n` the row of the journal that put it there.
    """

    run_id: str
    path: str
    kind: str
    name: str
    size: int | None = None
    sha256: str | None = None
    step: int | None = None
    type: str | None = None
    version: int | None = None
    uri: str | None = None
    rows: int | None = None
    n: int | None = None


Verdict = Literal["better", "worse", "same"]


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric side by side. Keys are run ids; a run without the metric has no entry.

    `mode` is which direction is better, None when nobody says. `values` are last values. Against a baseline, and
    without an entry for the baseline itself: `delta` is value - baseline; `relative` is delta / |baseline|, None
    where that is not a finite number; `verdict` has no entry where it can't be said.
    """

    mode: Mode | None
    values: Mapping[str, float]
    delta: Mapping[str, float] = field(default_factory=dict)
    relative: Mapping[str, float | None] = field(default_factory=dict)
    verdict: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer of `compare`: the runs, the baseline's first, and their params and metrics by name.

    `baseline` is the baseline's run id. `params` has the texts by run id; a run without the param has no entry.
    """

    baseline: str | None
    runs: Sequence[RunRecord]
    params: Mapping[str, Mapping[str, str]]
    metrics: Mapping[str, MetricComparison]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a backend differs from the journal.

    `kind` is metric, param, tag, summary, file, reference, table, status, end_time or run; `key` its name or path, None
    where there is but one. `journal` and `backend` are what each has, None where it has nothing. A point of a metric
    has `step` and `time_ms`, milliseconds since 1970.
    """

    kind: str
    key: str | None
    journal: float | str | None
    backend: float | str | None
    step: int | None = None
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class VerifiedBackend:
    """How one run at one backend compares with the journal.

    `missing` the backend should have, `extra` it has besides, `different` is there with another value; of each at most
    1,000 are listed, `differences` counts all. `compared` counts, by kind, what was looked at. `pending`, `rejected`
    and `skipped` rows are not expected there. `ok` is None when the backend can't be read back at all; `note` says so,
    or why there was little to compare.
    """

    ok: bool | None
    missing: Sequence[Difference] = ()
    extra: Sequence[Difference] = ()
    different: Sequence[Difference] = ()
    differences: int = 0
    compared: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    rejected: int = 0
    skipped: int = 0
    note: str | None = None


@dataclass(frozen=True, slots=True)
class VerifiedRun:
    """One run of the journal as its backends have it, by their names."""

    run_id: str
    name: str
    backends: Mapping[str, VerifiedBackend] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no backend differs."""
        return all(backend.ok is not False for backend in self.backends.values())
