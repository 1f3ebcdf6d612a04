"""A source that a daemon answers for, since it has the SDK imported already. It gives what the backend itself gives.

When the daemon does not answer, or leaves, the backend is asked from here, from the question on that was not answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from trk.daemon.client import Connection
from trk.errors import DaemonError
from trk.query import wire
from trk.query.backed import BackendSource, Progress
from trk.query.filters import Filter
from trk.query.scores import Score
from trk.records import ArtifactRecord, MetricPoint, RunRecord

LONGEST = 60_000  # bytes of a question; a daemon reads lines of 65,536
GRACE_S = 5.0  # who asked has given up by then

T = TypeVar("T")


class WarmSource:
    """What a daemon says of a source. `here` makes the source in this process, where it comes to that."""

    def __init__(self, name: str, connection: Connection, here: Callable[[], BackendSource], timeout: float) -> None:
        self.name = name
        self.progress: Progress | None = None
        self._connection: Connection | None = connection
        self._make = here
        self._timeout = timeout + GRACE_S
        self._made: BackendSource | None = None
        self._asking = threading.Lock()  # histories are asked for by several threads

    def search(self, experiment: str | None, where: Filter | None) -> Iterator[RunRecord]:
        """The runs that match, newest first."""
        what = "search"
        asked: dict[str, Any] = {"experiment": experiment, "where": _told(where)}
        given: set[str] = set()
        while True:
            # Some at a time: who wants no more asks no more, and may ask something else in between.
            found = self._ask(what, asked, lambda some, end: ([wire.record_in(record) for record in some], end))
            if found is None:
                yield from (record for record in self._here.search(experiment, where) if record.run_id not in given)
                return
            records, number = found[0]
            given.update(record.run_id for record in records)
            yield from records
            if number is None:
                return
            what, asked = "more", {"search": number}

    def get(self, named: str) -> RunRecord | None:
        """The run of this id; None when there is none."""
        found = self._ask("get", {"run": named}, lambda some, end: None if end is None else wire.record_in(end))
        return self._here.get(named) if found is None else found[0]

    def history(self, run: RunRecord, metric: str) -> list[MetricPoint]:
        """The points of a metric by (step, time, value)."""
        asked = {"run": run.run_id, "metric": metric}
        found = self._ask("history", asked, lambda some, end: [MetricPoint(run.run_id, metric, *one) for one in some])
        return self._here.history(run, metric) if found is None else found[0]

    def modes(self, experiments: Collection[str]) -> Mapping[str, str]:
        """The directions defined for metrics in these experiments."""
        found = self._ask("modes", {"experiments": list(experiments)}, lambda some, end: dict(end))
        return self._here.modes(experiments) if found is None else found[0]

    def scores(
        self, metric: str, experiment: str | None, where: Filter | None, extremes: bool, *, believe: bool = True
    ) -> tuple[list[Score], int]:
        """(scores of the matching runs that have the metric, number of matching runs without it)."""
        asked = {
            "metric": metric, "experiment": experiment, "where": _told(where), "extremes": extremes, "believe": believe,
        }  # fmt: skip
        found = self._ask("scores", asked, lambda some, end: ([wire.score_in(one) for one in end[0]], int(end[1])))
        if found is None:
            return self._here.scores(metric, experiment, where, extremes, believe=believe)
        return found[0]

    def holds(self, score: Score, metric: str) -> bool:
        """Whether the points of the metric say what was told of them."""
        if not score.told:
            return True
        if isinstance(score.key, RunRecord):
            return self._here.holds(score, metric)
        found = self._ask("holds", {"run": score.run_id, "metric": metric}, lambda some, end: bool(end))
        return False if found is None else found[0]  # no answer: everything is looked at, from here

    def scored(self, score: Score) -> RunRecord:
        """The run that a score is of."""
        if isinstance(score.key, RunRecord):
            return self._here.scored(score)
        found = self._ask("scored", {"run": score.run_id}, lambda some, end: wire.record_in(end))
        record = found[0] if found is not None else self._here.get(score.run_id)
        assert record is not None
        return record

    def at_step(self, run: RunRecord, step: int) -> Mapping[str, float]:
        """The values of all metrics that have a point at this step."""
        found = self._ask("at_step", {"run": run.run_id, "step": step}, lambda some, end: dict(end))
        return self._here.at_step(run, step) if found is None else found[0]

    def metric_names(self, experiment: str | None) -> Sequence[str]:
        """Every metric that some run has."""
        found = self._ask("metric_names", {"experiment": experiment}, lambda some, end: list(end))
        return self._here.metric_names(experiment) if found is None else found[0]

    def artifacts(self, run: RunRecord, earlier: bool = False) -> list[ArtifactRecord]:
        """The files and tables of a run, asked for from here: bytes don't go over the daemon."""
        return self._here.artifacts(run, earlier)

    def fetch(self, run: RunRecord, artifact: ArtifactRecord, to: str) -> None:
        """Write the bytes of one of them into the file `to`."""
        self._here.fetch(run, artifact, to)

    @property
    def _here(self) -> BackendSource:
        with self._asking:
            if self._made is None:
                self._made = self._make()
        self._made.progress = self.progress
        return self._made

    def _ask(self, what: str, asked: Mapping[str, Any], told: Callable[[list[Any], Any], T]) -> tuple[T] | None:
        """The daemon's answer; None when there is none. Raises what it says went wrong."""
        with self._asking:
            return self._asked(what, asked, told)

    def _asked(self, what: str, asked: Mapping[str, Any], told: Callable[[list[Any], Any], T]) -> tuple[T] | None:
        if self._connection is None or len(json.dumps(asked)) > LONGEST:
            return None
        some: list[Any] = []
        try:
            for message in self._connection.told(self._timeout, what=what, **asked):
                some += message.get("some", ())
                if "read" in message and self.progress is not None:
                    self.progress(*message["read"])
                if "error" in message:
                    raise wire.error_in(message["error"])
                if "end" in message:
                    return (told(some, message["end"]),)
        except DaemonError:
            pass
        self._connection.close()
        self._connection = None
        return None


def _told(where: Filter | None) -> list[str] | None:
    """A filter as it was said, and all of it: it may have been narrowed since."""
    return None if where is None else [where.text, where.whole_text]
