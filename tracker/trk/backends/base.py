"""What a backend must do. `trk.testing` holds the tests that every backend must pass.

Errors are classes of `trk.errors`: BackendUnavailable (passing), BackendNeedsUser, BackendRefused (final for what
was handed over), BackendRunGone (final for the run). Anything else a backend raises is taken as passing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from trk.records import ArtifactRecord, MetricPoint, MetricStats, RemoteRun, Row, RunRecord, RunSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one call of `deliver` may carry: values per kind, and bytes of names and texts.

    `files` is how many files neighbouring rows may have together; a row of more goes alone. With `lines`, rows that
    make a line of a history are handed over with its number.
    """

    metrics: int = 1000
    params: int = 100
    tags: int = 100
    files: int = 32
    bytes: int = 800_000
    lines: bool = False


def is_active(target: Mapping[str, Any]) -> bool:
    """Whether a target is a run that is, or was, active in a process (`trk.backends.active`)."""
    return "active" in target


class Backend(Protocol):
    """A place to deliver to. One instance serves one target; it is used by one thread at a time."""

    name: str
    limits: Limits

    @classmethod
    def missing(cls, target: Mapping[str, Any]) -> str | None:
        """The pip requirement that has to be installed before this backend works here; None when nothing is."""
        ...

    def __init__(self, target: Mapping[str, Any]) -> None:
        """Take the target; no I/O, and no SDK is imported before it is needed."""
        ...

    def open(self, run: RunSpec) -> RemoteRun:
        """Find the run by its trk run id, or make it. Calling it again, after any crash, finds the same run.

        Raises BackendRunGone when the run was made and then deleted, unless `run.deleted` says that trk did it.
        """
        ...

    def holds(self, row: Row) -> bool:
        """Whether this backend has any place for such a row. One it has no place for is counted as skipped."""
        ...

    def deliver(self, run: RemoteRun, rows: Sequence[Row]) -> None:
        """Hand over rows, in order, within `limits`. Doing it again with the same rows changes nothing.

        A TABLE row has the whole table, which takes the place of what was handed over of it before. The bytes of files
        lie at their `local` and were checked against their hashes just now; of what is logged again at one path, the
        latest shows. DELETE and RESTORE hide the run and bring it back.

        Either all of the rows take effect or BackendRefused is raised; then the deliverer hands over smaller parts,
        down to a single value.
        """
        ...

    def confirm(self, run: RemoteRun, n: int) -> int:
        """Of what was handed over, up to row `n`: the row up to which the backend is known to have everything."""
        ...

    def close(self) -> None:
        """Let go of connections. The instance is not used afterwards."""
        ...


@runtime_checkable
class WholeBackend(Protocol):
    """A backend to which some runs go in one piece: all of their rows, from the first, when they have ended.

    Those whose target has a true `whole`. While one is open, it is delivered only when somebody asks for that.
    """

    def finish(self, run: RemoteRun) -> None:
        """That was all, for now: what was handed over takes the place of what was there of this run."""
        ...


def goes_whole(target: Mapping[str, Any]) -> bool:
    """Whether runs of this target go in one piece (`WholeBackend`)."""
    return bool(target.get("whole"))


def finish(backend: Backend, run: RemoteRun) -> None:
    """Tell a backend to which a run goes in one piece that it has all of it."""
    if isinstance(backend, WholeBackend):
        backend.finish(run)


@runtime_checkable
class SearchableBackend(Protocol):
    """A backend that can be a source. All of these raise SourceUnavailable when it does not answer."""

    name: str

    def search(self, experiment: str | None, filter_string: str | None) -> Iterator[RunRecord]:
        """All runs not deleted, newest first, page by page; `filter_string` is in MLflow's grammar.

        It may give more runs than the filter admits: the caller looks again. An unknown experiment gives no runs. A
        backend with a true `takes_whole_filters` gets what else trk's grammar has: OR, NOT, parentheses, IS NULL.
        """
        ...

    def get(self, run_id: str) -> RunRecord | None:
        """The run with this trk run id, or with this id of the backend's own; None when there is none."""
        ...

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """All points of a metric, by (step, time, value). Safe to call from several threads."""
        ...

    def modes(self, experiment: str) -> Mapping[str, str]:
        """The directions (`max`, `min`) that were defined for metrics of an experiment."""
        ...


@runtime_checkable
class ScoringBackend(Protocol):
    """A backend that tells of histories without each being read by itself.

    `run` is of the latest search that gave this run. All but `told` and `mark` raise SourceUnavailable.
    """

    name: str

    def told(self, run: RunRecord, metric: str) -> MetricStats | None:
        """The history in numbers, as trk left them when it had delivered all of it; None: it has to be read."""
        ...

    def mark(self, run: RunRecord, metric: str) -> str | None:
        """A text that is another one when the history may have changed; None for a run that has not ended."""
        ...

    def histories(self, runs: Sequence[RunRecord], metric: str) -> Iterator[tuple[RunRecord, list[MetricPoint]]]:
        """The `history` of each of these, in any order, each as soon as it is there."""
        ...


@runtime_checkable
class KeepingBackend(Protocol):
    """A backend that keeps what it learns of names from one question to the next."""

    name: str

    def forget(self) -> None:
        """Ask again: somebody may have renamed something."""
        ...


@runtime_checkable
class ArtifactBackend(Protocol):
    """A backend whose runs' files can be listed and fetched. All of these raise SourceUnavailable as above."""

    name: str

    def artifacts(self, run: RunRecord) -> list[ArtifactRecord]:
        """What lies at each path of a run now, by path. `sha256` is None where the backend was not told one."""
        ...

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """Write the bytes at a path of a run into the file `to`. Raises NotFound when there is nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Trace:
    """What a row leaves in a run at a backend, by which it is known again when it is read back.

    `kind` is param, tag, summary, reference or file; `key` is its name there, of a file its path. `text` is what stands
    there, of a file the SHA-256 of its bytes in hexadecimal; None when the row takes it away. `size` is a file's, in
    bytes. With `first`, all such of a row are left out when one of them is there already. `told` is what people are
    told in place of a hash.
    """

    kind: str
    key: str
    text: str | None
    size: int | None = None
    first: bool = False
    told: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What a backend has of a run, as it is found there.

    `run` is what `history` and `fetch` are asked with. `texts` are by kind and key, as in `Trace`; `files` are sizes in
    bytes by path (None: not told). `own` are the (kind, key) that the backend, or trk beside what was logged, keeps for
    itself. Of a run that is deleted nothing more need be told.
    """

    run: RunRecord
    deleted: bool = False
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[str, int | None] = field(default_factory=dict)
    own: frozenset[tuple[str, str]] = frozenset()


@runtime_checkable
class VerifiableBackend(Protocol):
    """A backend that can be read back. `held`, `history`, `fetch` raise SourceUnavailable when it does not answer."""

    name: str

    def traces(self, row: Row) -> list[Trace]:
        """What a PARAM, TAG, DELETE_TAG, SUMMARY or file row leaves there; its metrics and tables are known again."""
        ...

    def held(self, remote_id: str) -> Held | None:
        """What there is of a run, deleted or not, by the backend's own id; None when there is no such run."""
        ...

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """See `SearchableBackend`."""
        ...

    def fetch(self, run: RunRecord, path: str, to: str) -> None:
        """See `ArtifactBackend`."""
        ...


@runtime_checkable
class DeletingBackend(Protocol):
    """A backend that can delete runs which trk did not make, softly."""

    name: str

    def set_deleted(self, run_id: str, deleted: bool) -> None:
        """Delete a run by the backend's own id, or restore it. Raises NotFound, SourceUnavailable."""
        ...
