"""The daemon's answers to questions: it asks backends whose SDKs are imported already, with the same code as anybody.

A conversation is about one source. Each question is one message; the answer is messages with `some` of it, or with how
many histories are `read`, and one with `end`: the rest of the answer, or the error. A search is answered with the first
runs, and `more` are asked for.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

from trk import backends
from trk.backends.base import SearchableBackend
from trk.errors import NotFound, TrkError
from trk.journal.db import Journal
from trk.query import grammar, wire
from trk.query.backed import BackendSource
from trk.query.filters import Filter
from trk.query.scores import Score
from trk.records import RunRecord

Message = dict[str, Any]
Answer = Callable[[Message], Iterator[Message]]

RECORDS = 100  # in one message
POINTS = 5_000
TOLD_EVERY_S = 0.2  # how often it is said how much has been read
MOST_IDLE = 2  # sources to one place that are kept, connections and all


class Answers:
    """Answers questions about what a journal's backends have, to several programs at once."""

    def __init__(self, journal: Journal) -> None:
        self.asked_at = 0.0  # when the last answer was given, by time.monotonic
        self._journal = journal
        self._lock = threading.Lock()
        self._asking = 0
        self._idle: dict[tuple[str, str], list[BackendSource]] = {}

    @property
    def is_asked(self) -> bool:
        """Whether an answer is being given."""
        return self._asking > 0

    @contextmanager
    def conversation(self, name: str, target: str) -> Iterator[Answer | None]:
        """Yields what answers to each question; None when there is no such source here."""
        with self._lock:
            idle = self._idle.setdefault((name, target), [])
            source = idle.pop() if idle else None
        source = source or self._made(name, target)
        if source is None:
            yield None
            return
        source.renew()
        yield _Conversation(self, source).answer
        with self._lock:  # not after an error that nobody foresaw
            if len(idle) < MOST_IDLE:
                idle.append(source)

    def _made(self, name: str, target: str) -> BackendSource | None:
        try:
            backend = backends.make(name, json.loads(target))
        except TrkError:
            return None  # who asks finds out why
        return BackendSource(backend, self._journal, target) if isinstance(backend, SearchableBackend) else None

    @contextmanager
    def asked(self) -> Iterator[None]:
        """For the length of a `with` an answer is being given."""
        with self._lock:
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
            self.asked_at = time.monotonic()


class _Conversation:
    """What one program asks of one source."""

    def __init__(self, answers: Answers, source: BackendSource) -> None:
        self._answers = answers
        self._source = source
        self._known: dict[str, RunRecord] = {}  # what it was told of
        self._scored: dict[str, Score] = {}
        self._numbers = count()
        self._searches: dict[int, Iterator[RunRecord]] = {}  # of which there may be more

    def answer(self, said: Message) -> Iterator[Message]:
        """The answer to a question, message by message."""
        with self._answers.asked():
            try:
                yield from _QUESTIONS[said["what"]](self, said)
            except TrkError as error:
                yield {"end": None, "error": wire.error_out(error)}

    def _search(self, said: Message) -> Iterator[Message]:
        """The first runs; in `end` is the number by which more are asked for, if there may be more."""
        found = self._source.search(said["experiment"], _where(said))
        yield from self._page(next(self._numbers), found)

    def _more(self, said: Message) -> Iterator[Message]:
        yield from self._page(said["search"], self._searches.pop(said["search"]))

    def _page(self, number: int, found: Iterator[RunRecord]) -> Iterator[Message]:
        page = list(islice(found, RECORDS))
        self._known.update((record.run_id, record) for record in page)
        yield {"some": [wire.record_out(record) for record in page]}
        if len(page) == RECORDS:
            self._searches[number] = found
        yield {"end": number if len(page) == RECORDS else None}

    def _get(self, said: Message) -> Iterator[Message]:
        found = self._source.get(said["run"])
        if found is not None:
            self._known[found.run_id] = found
        yield {"end": None if found is None else wire.record_out(found)}

    def _run(self, run_id: str) -> RunRecord:
        found = self._known.get(run_id) or self._source.get(run_id)
        if found is None:
            raise NotFound(f"there is no run {run_id} in {self._source.name}")
        self._known[run_id] = found
        return found

    def _history(self, said: Message) -> Iterator[Message]:
        points = self._source.history(self._run(said["run"]), said["metric"])
        for start in range(0, len(points), POINTS):
            yield {"some": [wire.point_out(point) for point in points[start : start + POINTS]]}
        yield {"end": None}

    def _modes(self, said: Message) -> Iterator[Message]:
        yield {"end": dict(self._source.modes(said["experiments"]))}

    def _scores(self, said: Message) -> Iterator[Message]:
        """The scores, which may take long to read: meanwhile it is said how far that is."""
        told: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        answers: list[Any] = []

        def ask() -> None:
            try:
                asked = said["metric"], said["experiment"], _where(said), bool(said["extremes"])
                answers.append(self._source.scores(*asked, believe=bool(said["believe"])))
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread of who asked
                answers.append(error)
            finally:
                told.put(None)

        self._source.progress = lambda done, total: told.put((done, total))
        thread = threading.Thread(target=ask, name="trk-scores", daemon=True)
        thread.start()
        at = 0.0
        while (read := told.get()) is not None:
            if time.monotonic() - at >= TOLD_EVERY_S:
                at = time.monotonic()
                yield {"read": read}
        thread.join()
        self._source.progress = None
        if isinstance(answers[0], BaseException):
            raise answers[0]
        scores, without = answers[0]
        self._known.update((score.run_id, score.key) for score in scores)
        self._scored = {score.run_id: score for score in scores}
        yield {"end": [[wire.score_out(score) for score in scores], without]}

    def _holds(self, said: Message) -> Iterator[Message]:
        yield {"end": self._source.holds(self._scored[said["run"]], said["metric"])}

    def _record(self, said: Message) -> Iterator[Message]:
        yield {"end": wire.record_out(self._source.scored(self._scored[said["run"]]))}

    def _at_step(self, said: Message) -> Iterator[Message]:
        yield {"end": dict(self._source.at_step(self._run(said["run"]), int(said["step"])))}

    def _metric_names(self, said: Message) -> Iterator[Message]:
        yield {"end": list(self._source.metric_names(said["experiment"]))}


def _where(said: Message) -> Filter | None:
    if said["where"] is None:
        return None
    text, whole = said["where"]
    return Filter(text, grammar.conditions(whole))


_QUESTIONS: dict[str, Callable[[_Conversation, Message], Iterator[Message]]] = {
    "search": _Conversation._search,
    "more": _Conversation._more,
    "get": _Conversation._get,
    "history": _Conversation._history,
    "modes": _Conversation._modes,
    "scores": _Conversation._scores,
    "holds": _Conversation._holds,
    "scored": _Conversation._record,
    "at_step": _Conversation._at_step,
    "metric_names": _Conversation._metric_names,
}
