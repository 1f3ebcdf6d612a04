"""What `check` answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trk.records import RunRecord


@dataclass(frozen=True, slots=True)
class CheckedCondition:
    """One condition of `check` as it was judged.

    `expression` is the condition as it was written, `left` and `right` are what its sides come to: numbers, or texts
    where texts are compared; None where that can't be said. `reason` says why it failed; of one that passed it is
    None, or the note that there was no baseline to measure by.
    """

    expression: str
    left: float | str | None
    right: float | str | None
    passed: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The answer of `check`: whether all conditions hold, each condition, the run, and the baseline if one was needed.

    `baseline` is None where no condition speaks of one, or there is none.
    """

    passed: bool
    checks: Sequence[CheckedCondition]
    run: RunRecord
    baseline: RunRecord | None = None
