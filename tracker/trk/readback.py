"""One run at one backend, compared with what is expected of it: whether it is there, its texts, its points.

Points compare as sets of (step, millisecond, value), a few metrics at a time; files are `trk.readback_files`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from trk.backends.base import Held, VerifiableBackend
from trk.expecting import Expected, Point, same
from trk.records import Difference, from_ms
from trk.rules import place

THREADS = 8  # histories asked for at once
MAX_TOLD = 1000  # differences listed of each sort; all are counted
SORTS = ("missing", "extra", "different")
T = TypeVar("T")


class Asking(Protocol):
    """How a backend is asked, and who is told how far that has come."""

    def ask(self, name: str, question: Callable[[], T]) -> T:
        """The answer to a question. Raises SourceUnavailable."""
        ...

    def expect(self, parts: int) -> None:
        """So many parts more are to be compared."""
        ...

    def went(self) -> None:
        """One of them is compared."""
        ...


@dataclass(slots=True)
class Found:
    """What differs, as it is found."""

    lists: dict[str, list[Difference]] = field(default_factory=lambda: {name: [] for name in SORTS})
    count: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Take a difference; which sort it is, is told by which side has nothing."""
        sort = "missing" if difference.backend is None else "extra" if difference.journal is None else "different"
        self.count += 1
        if len(self.lists[sort]) < MAX_TOLD:
            self.lists[sort].append(difference)

    def looked(self, kind: str, number: int = 1) -> None:
        """Count what was compared."""
        if number:
            self.compared[kind] = self.compared.get(kind, 0) + number


@dataclass(frozen=True, slots=True)
class Reading:
    """One run at one backend while it is read back."""

    asking: Asking
    backend: VerifiableBackend
    held: Held
    expected: Expected
    found: Found

    def ask(self, question: Callable[[], T]) -> T:
        """The backend's answer to a question. Raises SourceUnavailable."""
        return self.asking.ask(self.backend.name, question)


def compare_run(held: Held | None, remote_id: str, expected: Expected, found: Found) -> bool:
    """Whether the run is there, as it should be, and its content is to be compared."""
    is_gone = held is None or held.deleted
    found.looked("run")
    if not (is_gone or expected.deleted):
        return True
    if is_gone and expected.deleted:
        found.notes.append("the run is deleted, here and there")
    elif is_gone in expected.catch_up().deleted:
        found.notes.append("the run is being deleted or restored just now")
    elif is_gone:
        found.add(Difference("run", remote_id, "there", None))
    else:
        found.add(Difference("run", remote_id, "deleted", "not deleted"))
    return False


def compare_state(held: Held, expected: Expected, found: Found) -> None:
    """The status, and when the run ended. Of another program's run that is for its owner to say."""
    if expected.external:
        return
    end = held.run.end_time
    there = (str(held.run.status), None if end is None else round(end.timestamp() * 1000))
    found.looked("status")
    if there == expected.state or there in expected.catch_up().states:
        return
    if there[0] != expected.state[0]:
        found.add(Difference("status", None, expected.state[0], there[0]))
    else:
        found.add(Difference("end_time", None, _time(expected.state[1]), _time(there[1])))


def _time(time_ms: int | None) -> str:
    moment = from_ms(time_ms)
    return "none" if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compare_texts(held: Held, expected: Expected, found: Found) -> None:
    """Params, tags, summary values and references."""
    wanted = {name: trace for name, trace in expected.texts.items() if name[0] != "file"}
    there = {(kind, key): text for kind, texts in held.texts.items() for key, text in texts.items()}
    for (kind, key), trace in sorted(wanted.items()):
        found.looked(kind)
        text = there.get((kind, key))
        if text != trace.text and not expected.catch_up().text(kind, key, text):
            found.add(Difference(kind, key, trace.told or trace.text, text))
    if expected.external:
        return
    for kind, key in sorted(there.keys() - wanted.keys() - held.own):
        if not expected.catch_up().text(kind, key, there[kind, key]):
            found.add(Difference(kind, key, None, there[kind, key]))


def compare_points(reading: Reading) -> None:
    """A few metrics at a time: what is in memory of a backend's answers stays small."""
    expected, held = reading.expected, reading.held
    known = {*expected.points, *(() if expected.external else held.run.metrics)}
    names = iter(sorted(known))
    reading.asking.expect(len(known))
    with _pool() as pool:

        def ask(some: Sequence[str]) -> list[set[Point]]:
            return list(pool.map(lambda metric: _history(reading.backend, held, metric), some))

        while some := list(islice(names, THREADS)):
            for name, there in zip(some, reading.ask(partial(ask, some)), strict=True):
                _compare_metric(name, there, expected, reading.found)
                reading.asking.went()


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads, which are not waited for when an answer took too long."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="trk-verify")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _history(backend: VerifiableBackend, held: Held, metric: str) -> set[Point]:
    if metric not in held.run.metrics:
        return set()
    return {(point.step, point.time_ms, same(point.value)) for point in backend.history(held.run, metric)}


def _compare_metric(name: str, there: set[Point], expected: Expected, found: Found) -> None:
    wanted = expected.points.get(name, set())
    found.looked("point", len(wanted))
    missing = wanted - there
    extra = set() if expected.external else there - wanted
    if extra:
        extra -= expected.catch_up().points.get(name, set())
    # At a step and time where each side has one point of its own, it is another value of one point.
    by_place: dict[tuple[int, int], list[Point]] = {}
    for point in extra:
        by_place.setdefault(point[:2], []).append(point)
    for point in sorted(missing, key=_place):
        others = by_place.get(point[:2], [])
        value = others.pop()[2] if others else None
        found.add(Difference("metric", name, point[2], value, point[0], point[1]))
    for point in sorted((point for points in by_place.values() for point in points), key=_place):
        found.add(Difference("metric", name, None, point[2], point[0], point[1]))


def _place(point: Point) -> tuple[int, int, float]:
    return point[0], point[1], place(point[2])
