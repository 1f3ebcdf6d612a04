"""Where a query reads: the journal, or a backend that can search. All give the same records.

`choose` picks the source and first delivers what is pending for it, so that a script reads its own writes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trk import backends, config, session
from trk.backends import bounded
from trk.backends.base import SearchableBackend, goes_whole
from trk.errors import BackendError, ConfigurationError, NotFound, SourceUnavailable, UsageError
from trk.journal import cursors, files, lifecycle, read
from trk.journal.db import Journal
from trk.journal.select import HANDLES, resolve
from trk.media.table_cells import count
from trk.query.backed import BackendSource as BackendSource
from trk.query.backed import Progress, agreed
from trk.query.filters import Filter
from trk.query.scores import Score as Score
from trk.query.scores import place
from trk.records import PARTS, ArtifactRecord, MetricPoint, RunRecord
from trk.rules import check_text, shown

if TYPE_CHECKING:
    from trk.query.warm import WarmSource

LOCAL = "local"
SLOW_TO_IMPORT = ("mlflow", "wandb")  # SDKs, which have the names of their backends

Warn = Callable[[str], None]
T = TypeVar("T")


class Source(Protocol):
    """Where a query reads."""

    name: str

    def search(self, experiment: str | None, where: Filter | None) -> Iterator[RunRecord]:
        """The runs that match, newest first."""
        ...

    def get(self, named: str) -> RunRecord | None:
        """The run of this id; None when there is none."""
        ...

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """The points of a metric by (step, time, value)."""
        ...

    def modes(self, experiments: Collection[str]) -> Mapping[str, str]:
        """The directions defined for metrics in these experiments: max, min, or both when they contradict."""
        ...

    def scores(
        self, metric: str, experiment: str | None, where: Filter | None, extremes: bool, *, believe: bool = True
    ) -> tuple[list[Score], int]:
        """(scores of the matching runs that have the metric, number of matching runs without it).

        `low` and `high` are only needed when `extremes` is set. Unless it is to `believe` what is told of histories,
        those themselves are read.
        """
        ...

    def holds(self, score: Score, metric: str) -> bool:
        """Whether the points of the metric say what was told of them."""
        ...

    def scored(self, score: Score) -> RunRecord:
        """The run that a score is of."""
        ...

    def at_step(self, run: RunRecord, step: int) -> Mapping[str, float]:
        """The values of all metrics that have a point at this step."""
        ...

    def metric_names(self, experiment: str | None) -> Sequence[str]:
        """Every metric that some run has."""
        ...

    def artifacts(self, run: RunRecord, earlier: bool = False) -> list[ArtifactRecord]:
        """The files and tables of a run, by path; with `earlier` also what was at a path before."""
        ...

    def fetch(self, run: RunRecord, artifact: ArtifactRecord, to: str) -> None:
        """Write the bytes of one of them into the file `to`. Raises NotFound."""
        ...


class _ColumnView:
    """One run of the journal as a filter asks it, with no more read than the filter's fields."""

    __slots__ = ("_columns", "_run", "_values")

    def __init__(
        self, run: int, columns: Mapping[str, Any], values: Mapping[tuple[str, str], Mapping[int, Any]]
    ) -> None:
        self._run = run
        self._columns = columns
        self._values = values

    def metric(self, key: str) -> float | None:
        return self._values["metric", key].get(self._run)

    def param(self, key: str) -> str | None:
        return self._values["param", key].get(self._run)

    def tag(self, key: str) -> str | None:
        return self._values["tag", key].get(self._run)

    def attribute(self, name: str) -> str | int | None:
        value: str | int | None = self._columns.get("name" if name == "run_name" else name)
        return value


class LocalSource:
    """The journal."""

    name = LOCAL

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal

    def _matching(self, experiment: str | None, where: Filter) -> set[int]:
        """The keys of the runs that match."""
        assert self._journal is not None
        if ("attribute", "artifact_uri") in where.fields:
            raise ConfigurationError("the journal knows no artifact_uri", hint="leave that condition out")
        asked = [(kind, key) for kind, key in where.fields if kind != "attribute"]
        values = read.field_values(self._journal, asked, experiment)
        columns = read.run_columns(self._journal, experiment)
        return {run for run, found in columns.items() if where.matches(_ColumnView(run, found, values))}

    def search(
        self, experiment: str | None, where: Filter | None, parts: Collection[str] = PARTS
    ) -> Iterator[RunRecord]:
        """The runs that match, newest first, with these parts."""
        if self._journal is not None:
            keys = None if where is None else self._matching(experiment, where)
            yield from read.records(self._journal, experiment, keys, parts)

    def deleted(self, experiment: str | None, where: Filter | None) -> Iterator[RunRecord]:
        """The runs that match and are deleted, those that were deleted latest first."""
        if self._journal is not None:
            keys = lifecycle.deleted_runs(self._journal, experiment)
            for start in range(0, len(keys), read.RUNS_PAGE):
                for record in read.records_of(self._journal, keys[start : start + read.RUNS_PAGE]):
                    if where is None or where.matches_record(record):
                        yield record

    def get(self, named: str) -> RunRecord | None:
        """The run with this id."""
        return None if self._journal is None else read.record(self._journal, named)

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """The points of a metric by (step, time, value)."""
        return [] if self._journal is None else read.points(self._journal, run.run_id, metric)

    def modes(self, experiments: Collection[str]) -> Mapping[str, str]:
        """The directions defined for metrics."""
        return {} if self._journal is None else agreed(read.modes(self._journal, name) for name in experiments)

    def scores(
        self, metric: str, experiment: str | None, where: Filter | None, extremes: bool, *, believe: bool = True
    ) -> tuple[list[Score], int]:
        """From the live tables: no history is read."""
        if self._journal is None:
            return [], 0
        keys = None if where is None else self._matching(experiment, where)
        total = read.count_runs(self._journal, experiment) if keys is None else len(keys)
        found = [
            Score(run, run_id, name, start, last, last_step, place(low, low_step), place(high, high_step))
            for run, run_id, name, start, last, last_step, low, low_step, high, high_step in read.scores(
                self._journal, metric, experiment
            )
            if keys is None or run in keys
        ]
        return found, total - len(found)

    def holds(self, score: Score, metric: str) -> bool:
        """The live tables are kept with the points."""
        return True

    def scored(self, score: Score) -> RunRecord:
        """The run that a score is of."""
        assert self._journal is not None
        return read.records_of(self._journal, [score.key])[0]

    def at_step(self, run: RunRecord, step: int) -> Mapping[str, float]:
        """The values of all metrics at this step."""
        key = read.run_key(self._journal, run.run_id) if self._journal is not None else None
        return {} if self._journal is None or key is None else read.at_step(self._journal, key, step)

    def metric_names(self, experiment: str | None) -> Sequence[str]:
        """Every metric that some run has."""
        return [] if self._journal is None else read.metric_names(self._journal, experiment)

    def artifacts(self, run: RunRecord, earlier: bool = False) -> list[ArtifactRecord]:
        """The files and tables of a run, by path."""
        return [] if self._journal is None else files.of_run(self._journal, run.run_id, earlier=earlier)

    def fetch(self, run: RunRecord, artifact: ArtifactRecord, to: str) -> None:
        """Copy it from the blobs, or put the table together."""
        assert self._journal is not None
        files.copy(self._journal, artifact, to)


def within(source: Source, deadline: float, ask: Callable[[], T]) -> T:
    """What `ask` answers, until `deadline` (by time.monotonic). Raises SourceUnavailable when it takes longer.

    The journal always answers.
    """
    return ask() if source.name == LOCAL else bounded.answer(source.name, deadline, ask)


def choose(named: str | None, *, timeout: float, warn: Warn, progress: Progress | None = None) -> Source:
    """The source to read from: the one named, else `TRK_SOURCE`'s, else the first backend that can search, else local.

    What is pending for it is delivered first, for at most `timeout` seconds; `warn` is told what then is missing.
    `progress` is told how many histories were read, where many are.
    Raises SourceUnavailable, ConfigurationError.
    """
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    resolved = config.said(folder, source=named)
    if resolved.get("source") != LOCAL:
        resolved = config.resolve(folder, source=named)
    for warning in resolved.warnings:
        warn(warning)
    chosen = resolved.get("source") or next(
        (n for n in resolved.get("backends") if _searchable(n) and not goes_whole(config.target(n, resolved))), LOCAL
    )
    if chosen == LOCAL:
        return LocalSource(journal)
    backends.check_known(chosen)
    target = config.target(chosen, resolved)
    if journal is not None and folder is not None:
        if others := cursors.elsewhere(journal, chosen, config.as_text(target)):
            warn(f"{count(others, 'run')} of this journal not sent to this {chosen}: --source local shows all")
        _deliver_pending(journal, folder, chosen, config.as_text(target), timeout, warn)

    def here() -> BackendSource:
        return BackendSource(_connected(chosen, target), journal, config.as_text(target))

    warmed = _warmed(folder, chosen, target, resolved, here, timeout) if journal is not None else None
    found: BackendSource | WarmSource = warmed or here()
    found.progress = progress
    return found


def _warmed(
    folder: str | None,
    chosen: str,
    target: Mapping[str, Any],
    resolved: config.Settings,
    here: Callable[[], BackendSource],
    timeout: float,
) -> WarmSource | None:
    """The backend as a daemon answers for it; None where none does.

    Nobody need import an SDK, for a second or two, where a daemon has it.
    """
    if folder is None or chosen not in SLOW_TO_IMPORT or chosen in sys.modules or config.delivery(resolved) != "daemon":
        return None
    from trk.daemon import client as daemon  # slow to import: the journal is asked without
    from trk.query.warm import WarmSource

    connection = daemon.for_questions(folder, chosen, config.as_text(target))
    return None if connection is None else WarmSource(chosen, connection, here, timeout)


def _searchable(name: str) -> bool:
    try:
        return hasattr(backends.load(name), "search")
    except BackendError:
        return False  # a query goes on without it; delivery says what is wrong


def _connected(name: str, target: Mapping[str, Any]) -> SearchableBackend:
    try:
        backend = backends.make(name, target)
    except BackendError as error:
        raise SourceUnavailable(error.message, hint=f"{error.hint or 'install it'}; or --source local") from error
    if isinstance(backend, SearchableBackend):
        return backend
    raise ConfigurationError(f"backend {name} can't be searched", hint="--source local")


def _deliver_pending(journal: Journal, folder: str, name: str, target: str, timeout: float, warn: Warn) -> None:
    waiting = [e.run_id for e in cursors.pending(journal, None, (name,)) if e.target == target]
    if waiting:
        from trk.daemon import client as daemon

        daemon.deliver(journal, folder, waiting, backends=(name,), timeout=timeout)
    left = [e for e in cursors.pending(journal, waiting, (name,)) if e.target == target]
    if left:
        rows = sum(entry.logged - entry.cursor for entry in left)
        warn(f"{name} lacks {count(rows, 'row')} of {count(len(left), 'run')}, still pending (trk sync)")


def find(source: Source, named: str) -> RunRecord:
    """The run that an id, prefix, name, `@last` or handle means, as the source knows it. Raises NotFound, UsageError.

    The journal is asked first, since prefixes and `@last` are its words; then the source.
    """
    try:
        check_text(named, "the name of a run")
    except UsageError:  # bytes of a command line that are no text: no run has such a name
        raise NotFound(f"there is no run {shown(named)} in {source.name}", hint="trk ls") from None
    journal = session.existing_journal(session.find_folder())
    run_id = named
    # A backend finds a run by its own id in one step.
    own = named.startswith(HANDLES) and named.startswith(f"{source.name}:")
    if journal is not None:
        run_id = _known_id(journal, named, own)
        # Of another program's run the attachment alone is deleted: at its backend it is as it was.
        if lifecycle.is_deleted(journal, run_id) and not (own and lifecycle.is_external(journal, run_id)):
            raise NotFound(f"run {run_id} is deleted", hint=f"trk restore {run_id}")
    elif named.startswith("@"):
        raise NotFound("no run has ended here: there is no journal", hint="trk start")
    record = source.get(named if own else run_id) or _by_name(source, named)
    if record is None:
        raise NotFound(f"there is no run {shown(named)} in {source.name}", hint=f"trk ls --source {source.name}")
    return record


def _known_id(journal: Journal, named: str, own: bool) -> str:
    """The id of the run of this journal that is meant; what was named when none is, or the backend tells."""
    try:
        return resolve(journal, named)
    except (NotFound, UsageError) as error:
        # Of several stores' copies of a run, the backend that is asked has one.
        if named.startswith("@") or (isinstance(error, UsageError) and not own):
            raise
        return named


def _by_name(source: Source, named: str) -> RunRecord | None:
    from trk.query.filters import Condition

    condition = Condition("attribute", "run_name", "=", named)
    if "'" in named and '"' in named:
        return None  # no filter can quote it
    found = list(source.search(None, Filter(str(condition), (condition,))))
    if len(found) > 1:
        listed = ", ".join(record.run_id for record in found[:5])
        raise UsageError(f"{shown(named)} could be several runs: {listed}", hint="name it by its id")
    return found[0] if found else None
