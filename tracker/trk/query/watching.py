"""Runs as they go on: what is new of them, each time something is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeVar

from trk import rules, session
from trk.errors import TrkError, UsageError
from trk.journal import read
from trk.journal.db import Journal
from trk.query import sources
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, names_of, source_of, warn_python
from trk.query.sources import Source, Warn
from trk.records import RunRecord, Status

T = TypeVar("T")

INTERVAL_S = 1.0
LOOK_S = 0.2  # between looks at the journal's version, which cost microseconds
ALL_S = 15.0  # between two readings of all metrics from a server
SLOWEST_S = 5.0  # a look at a server, and at what this process itself writes, which changes no version


@dataclass(frozen=True, slots=True)
class Watched:
    """A run at one moment: its record, its largest step, and per metric the values so far by (step, as they came)."""

    record: RunRecord
    step: int | None = None
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)


def watch(
    runs: RunName | Sequence[RunName] | None = None,
    *,
    interval: float = INTERVAL_S,
    timeout: float | None = None,
    source: str | None = None,
    warn: Warn = warn_python,
) -> Iterator[list[Watched]]:
    """Yields one or several runs (left out: the active one) at once and after each change, until all have ended.

    They are read from the journal, or from `source`. `interval` is the least number of seconds between two answers; a
    server is asked every five seconds at most. Raises TrkError when a run still goes on after `timeout` seconds,
    NotFound, NoActiveRun, UsageError, SourceUnavailable.
    """
    for name, value in (("interval", interval), ("timeout", timeout)):
        if value is not None and not 0 <= rules.to_number(value, name) <= 1e7:
            raise UsageError(f"{name} must be a number of seconds from 0 up, not {rules.shown(value)}")
    named = names_of(runs)
    chosen = source or source_of(named) or sources.LOCAL
    found = sources.choose(chosen, timeout=DEFAULT_TIMEOUT_S, warn=warn)
    journal = session.existing_journal(session.find_folder()) if chosen == sources.LOCAL else None
    ids = list(dict.fromkeys(_within(found, lambda: [sources.find(found, name).run_id for name in named])))
    return _changes(found, journal, ids, interval, None if timeout is None else time.monotonic() + timeout)


def _within(found: Source, ask: Callable[[], T]) -> T:
    return sources.within(found, time.monotonic() + DEFAULT_TIMEOUT_S, ask)


def _changes(
    found: Source, journal: Journal | None, ids: Sequence[str], interval: float, deadline: float | None
) -> Iterator[list[Watched]]:
    followed = [_Followed(found, journal, run_id) for run_id in ids]
    shown: list[Watched] | None = None
    while True:
        version = None if journal is None else journal.version()
        now = _within(found, lambda: [one.look() for one in followed])
        if shown is None or [_state(one) for one in now] != [_state(one) for one in shown]:
            yield now
            shown = now
        going = [one.record.run_id for one in now if one.record.status is Status.RUNNING]
        if not going:
            return
        _wait(journal, version, interval, deadline)
        if deadline is not None and time.monotonic() >= deadline:
            raise TrkError(f"{', '.join(going)} did not end in the time given", hint="trk watch without --timeout")


def _state(one: Watched) -> tuple[object, ...]:
    record = one.record
    sizes = {name: len(values) for name, values in one.values.items()}
    return record.status, repr(record.metrics), record.params, record.tags, record.backends, one.step, sizes


def _wait(journal: Journal | None, version: object, interval: float, deadline: float | None) -> None:
    """Wait for a change, for at least `interval`; no longer than until the deadline."""
    now = time.monotonic()
    earliest, latest = now + interval, now + max(interval, SLOWEST_S)
    while (now := time.monotonic()) < latest and (deadline is None or now < deadline):
        if journal is not None and now >= earliest and journal.version() != version:
            return
        upto = min(latest, latest if deadline is None else deadline)
        time.sleep(max(0.0, min(upto - now, LOOK_S if journal is not None else upto - now)))


class _Followed:
    """One run, of which each look reads no more than what is new."""

    def __init__(self, found: Source, journal: Journal | None, run_id: str) -> None:
        self._found = found
        self._journal = journal
        self._run_id = run_id
        self._n = 0
        self._points: dict[str, list[tuple[int, float]]] = {}
        self._last: dict[str, float] = {}
        self._asked_at = time.monotonic()

    def look(self) -> Watched:
        record = sources.find(self._found, self._run_id)
        if self._journal is not None:
            self._read_rows(self._journal)
        else:
            self._ask(record)
        for points in self._points.values():
            points.sort(key=itemgetter(0))  # of nearly sorted points this is quick
        steps = [points[-1][0] for points in self._points.values() if points]
        values = {name: [value for _, value in points] for name, points in sorted(self._points.items())}
        return Watched(record, max(steps, default=None), values)

    def _read_rows(self, journal: Journal) -> None:
        key = read.run_key(journal, self._run_id)
        while key is not None and (rows := read.rows_after(journal, key, self._n, read.PAGE)):
            self._n = rows[-1].n
            for row in rows:
                for name, value in row.values.items():
                    self._points.setdefault(name, []).append((row.step or 0, value))

    def _ask(self, record: RunRecord) -> None:
        """Of a server: the histories of metrics whose last value is another one; now and then, and at its end, of all.

        For the same value may be logged at the next step.
        """
        now = time.monotonic()
        all_of_them = record.status != Status.RUNNING or now >= self._asked_at + ALL_S
        if all_of_them:
            self._asked_at = now
        for name, value in record.metrics.items():
            known = self._last.get(name)
            is_same = value == known or (value != value and known is not None and known != known)
            if all_of_them or name not in self._last or not is_same:
                points = self._found.history(record, name)
                self._points[name] = [(point.step, point.value) for point in points]
                self._last[name] = value
