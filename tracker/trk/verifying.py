"""Reading back from each backend, and comparing with the journal: points as sets, texts, files by their hashes.

Nothing is changed, here or there. What is defined for an experiment (`define-metric`) is not a run's own and is not
compared; nor are a run's name and description, which people edit where they see them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from trk import backends as known_backends
from trk.backends import bounded
from trk.backends.base import VerifiableBackend, goes_whole
from trk.errors import BackendError, NotDelivered, SourceUnavailable, UsageError
from trk.expecting import Expected
from trk.journal import lifecycle, read
from trk.journal.db import Journal
from trk.readback import SORTS, Found, Reading, compare_points, compare_run, compare_state, compare_texts
from trk.readback_files import compare_files
from trk.records import Delivery, VerifiedBackend, VerifiedRun
from trk.run import Run
from trk.tracker import find_journal, need_run

DEFAULT_TIMEOUT_S = 3600.0  # a large model takes its time
MEND = "it was changed or lost there; the journal has what was logged: --source local"

Progress = Callable[[int, int], None]  # parts that are compared, of how many as far as is known
T = TypeVar("T")


def verify(
    run: str | Run | None = None,
    *,
    backends: Sequence[str] | str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    strict: bool = False,
    progress: Progress | None = None,
) -> list[VerifiedRun]:
    """Read a run back from its backends (left out: every run of the journal) and compare it with the journal.

    `backends` narrows it to these. What is pending, rejected or skipped is not expected there. Of a run of trk, what a
    backend has beyond the journal is a difference too; of another program's that was attached to, it is its owner's.
    With `strict`, NotDelivered is raised when a backend differs. Nothing is delivered before, and nothing is changed.

    Raises NotFound, UsageError, and SourceUnavailable when a backend can't be asked within `timeout` seconds in all.
    """
    only = [backends] if isinstance(backends, str) else backends
    for name in only or ():
        known_backends.check_known(name)
    if run is not None:
        meant = run if isinstance(run, Run) else need_run(run)
        journal, keys = meant.journal, [read.run_key(meant.journal, meant.id)]
    else:
        found = find_journal()
        if found is None:
            return []
        journal, keys = found[1], list(read.run_keys(found[1]))
    asking = _Asking(journal, time.monotonic() + timeout, progress, len(keys))
    done = [_verified(asking, key, only) for key in keys if key is not None]
    if strict:
        check_verified(done)
    return done


def check_verified(done: Iterable[VerifiedRun]) -> None:
    """Raise NotDelivered when a backend differs."""
    wrong = [(run, name, state) for run in done for name, state in run.backends.items() if state.ok is False]
    if wrong:
        run, name, state = wrong[0]
        things = "1 thing" if state.differences == 1 else f"{state.differences} things"
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise NotDelivered(f"run {run.run_id}: {name} differs from the journal in {things}{more}", hint=MEND)


class _Asking:
    """The backends that are asked, until a time, and how far that has come."""

    def __init__(self, journal: Journal, deadline: float, progress: Progress | None, runs: int) -> None:
        self.journal = journal
        self._deadline = deadline
        self._progress = progress
        self._made: dict[tuple[str, str], Any] = {}
        self._done, self._goal = 0, runs

    def backend(self, name: str, target: Mapping[str, Any]) -> VerifiableBackend | None:
        """The backend; None for one that can't be read back. Raises SourceUnavailable when it can't be had."""
        key = (name, json.dumps(target, sort_keys=True))
        if key not in self._made:
            try:
                self._made[key] = known_backends.make(name, target)
            except BackendError as error:
                hint = error.hint.removesuffix(", then trk sync") if error.hint else None
                raise SourceUnavailable(error.message, hint=hint) from error
        made = self._made[key]
        return made if isinstance(made, VerifiableBackend) and not goes_whole(target) else None

    def ask(self, name: str, question: Callable[[], T]) -> T:
        """The answer to a question. Raises SourceUnavailable."""
        try:
            return bounded.answer(name, self._deadline, question)
        except (SourceUnavailable, BackendError, UsageError) as error:
            raise SourceUnavailable(error.message, hint="trk verify, when it answers; or --timeout") from error

    def expect(self, parts: int) -> None:
        """So many parts more are to be compared."""
        self._goal += parts

    def went(self) -> None:
        """One of them is compared."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._goal)


def _verified(asking: _Asking, key: int, only: Collection[str] | None) -> VerifiedRun:
    record = read.records_of(asking.journal, [key])[0]
    targets = read.targets(asking.journal, record.run_id)
    done = {
        name: _backend(asking, key, record.run_id, name, targets[name], state)
        for name, state in record.backends.items()
        if only is None or name in only
    }
    asking.went()
    return VerifiedRun(record.run_id, record.name, done)


def _backend(
    asking: _Asking, key: int, run_id: str, name: str, target: Mapping[str, Any], state: Delivery
) -> VerifiedBackend:
    plain = VerifiedBackend(True, pending=state.pending, rejected=state.rejected, skipped=state.skipped)
    if state.run_id is None:
        return replace(plain, note="it does not know the run yet: there is nothing to verify")
    backend = asking.backend(name, target)
    if backend is None:
        return replace(plain, ok=None, note="it can't be read back")
    external = lifecycle.is_external(asking.journal, run_id)
    expected = Expected(asking.journal, key, name, state, backend.traces, external=external)
    found = Found()
    _compare(asking, backend, state.run_id, expected, found)
    missing, extra, different = (tuple(found.lists[sort]) for sort in SORTS)
    return replace(
        plain, ok=found.count == 0, missing=missing, extra=extra, different=different, differences=found.count,
        compared=found.compared, note="; ".join(found.notes) or None,
    )  # fmt: skip


def _compare(asking: _Asking, backend: VerifiableBackend, remote_id: str, expected: Expected, found: Found) -> None:
    held = asking.ask(backend.name, lambda: backend.held(remote_id))
    if not compare_run(held, remote_id, expected, found):
        return
    assert held is not None
    reading = Reading(asking, backend, held, expected, found)
    compare_state(held, expected, found)
    compare_texts(held, expected, found)
    compare_points(reading)
    compare_files(reading)


__all__ = ["verify"]
