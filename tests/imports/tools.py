"""What the tests of imports look at: the points of a run as a set, and a journal as it stands."""

from __future__ import annotations

from typing import Any

import trk
from trk.expecting import same
from trk.journal.db import Journal
from trk.tracker import find_journal

Point = tuple[str, int, int, float]


def points(run_id: str) -> set[Point]:
    """All points of a run here: (metric, step, milliseconds, value); NaN is one object."""
    names = trk.get_run(run_id, source="local").metrics
    found = [point for name in names for point in trk.history(name, run_id, source="local")]
    return {(point.metric, point.step, point.time_ms, same(point.value)) for point in found}


def journal() -> Journal:
    """The journal of the folder that the test is in."""
    found = find_journal()
    assert found is not None
    made: Journal = found[1]
    return made


def rows() -> list[Any]:
    """All rows of the journal, by run id; but for when a run was taken up again."""
    found = journal().read("SELECT run_id, n, kind, time, key, step, value FROM rows JOIN runs USING (run)")
    return sorted(found, key=repr)


def live() -> list[Any]:
    """What the journal tells of each metric in short, which has to be that of its points."""
    return sorted(
        journal().read(
            "SELECT run_id, key, count, last_step, last_time, last, low, low_step, high, high_step "
            "FROM metrics JOIN runs USING (run)"
        ),
        key=repr,
    )
