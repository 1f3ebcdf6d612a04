"""Who is first by a metric: the one ranking of `best`, of baselines and of comparisons with the best.

What is told of histories, by what delivery left or from memory, is believed where nothing contradicts it. Of the runs
that come first the histories themselves are asked, and when one says otherwise, those of all runs are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trk import rules
from trk.errors import NotFound
from trk.query.scores import Score
from trk.query.sources import Source
from trk.records import Aggregate, Best

Placed = tuple[tuple[float, int | None], Score]
"""The value of a run that counts, with its step where it is known, and the run's score."""


def first(
    source: Source, n: int, ask: Callable[[bool], tuple[Sequence[Score], Best]], *, believe: bool = True
) -> list[Placed]:
    """The `n` best, best first; ties go to the earlier run. Raises NotFound when none has a finite value.

    `ask` gives the scores, and by what they are ranked; it is told whether to believe what is told of histories.
    """
    scores, by = ask(believe)
    found = _sorted(scores, by)[:n]
    if believe and not all(source.holds(score, by.metric) for _, score in found):
        return first(source, n, ask, believe=False)  # somebody put points where nobody could see it
    return found


def value(score: Score, mode: str, agg: Aggregate) -> tuple[float, int | None] | None:
    """The value of a run that counts, with its step; None when it is not finite."""
    if agg == "last":
        return (score.last, score.last_step) if rules.is_ranked(score.last) else None
    largest = agg == "max" or (agg == "best" and mode == "max")
    return score.high if largest else score.low


def _sorted(scores: Sequence[Score], by: Best) -> list[Placed]:
    sign = -1.0 if by.mode == "max" else 1.0
    valued = [(found, score) for score in scores if (found := value(score, by.mode, by.agg)) is not None]
    if not valued:
        raise NotFound(f"no run has a finite value of {by.metric}", hint="NaN and infinity are never best")
    return sorted(valued, key=lambda placed: (sign * placed[0][0], placed[1].start_ms, placed[1].run_id))
