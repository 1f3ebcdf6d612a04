"""What MLflow's autolog logs, logged into a run of trk instead of a run of MLflow's beside it.

While a capture is on, MLflow's tracking URI is that of a store of its own in a temporary folder, with all that MLflow
does there, and what is logged there goes into the journal at once. Afterwards MLflow is as it was before.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from types import TracebackType
from typing import Any, Self

from trk.capture.autolog.mirror import Mirror
from trk.capture.autolog.place import Place
from trk.run import Run
from trk.tracker import need_run

log = logging.getLogger("trk.capture")


def capture_autolog(run: Run | None = None) -> CapturedAutolog:
    """While its block runs, what `mlflow.autolog()` logs goes into a run of trk, and no run of MLflow's appears.

    Metrics keep their steps and times; params, tags, files, and models as folders (`model/`) come along, the data sets
    as `datasets.json`. `run` left out is the active one. All that this process logs by MLflow in the block is taken,
    in any thread: there the tracking URI is a temporary place, and `mlflow.set_tracking_uri` is not followed. Clients
    that are told another address, and other processes, are not captured, nor is what is logged after the block.

    Runs that MLflow nests become child runs. What several other ones log goes into the one run: the second one's
    metrics, params and tags that the first has otherwise are `<name>_2`, its files are in `run_2/`.

    What trk has no place for is counted in `skipped`: registered models, traces, notes. Leaving puts the tracking URI,
    the registry's, the experiment, the active runs and MLflow's variables back as they were, also after an error.

    Raises NoActiveRun; entering it raises Conflict when a run of MLflow is active or a capture is on in this process,
    and SourceUnavailable when mlflow is not installed or can't be captured.
    """
    return CapturedAutolog(run if run is not None else need_run())


class CapturedAutolog:
    """A capture, to be entered by `with`; what it could not log stays to be asked for.

    `skipped` counts what no run has a place for, by MLflow's word for it, and `failed` what the run refused, by the
    reason; `renamed` has the names that are others in the run; `children` are the child runs.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.skipped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.renamed: dict[str, str] = {}
        self.children: list[Run] = []
        self._place: Place | None = None
        self._process = 0

    def __enter__(self) -> Self:
        place = Place(Mirror(self))
        place.enter()
        self._place, self._process = place, os.getpid()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        place = self._place
        if place is None or self._process != os.getpid():
            return  # a fork's child leaves the block too: the place is its parent's
        self._place = None
        place.leave("FINISHED" if kind is None else "FAILED")

    def fail(self, reason: str) -> None:
        """Count what could not be logged; of the first it is warned."""
        is_first = not self.failed
        self.failed[reason] += 1
        if is_first:
            log.warning("not logged into run %s: %s (more is counted)", self.run.id, reason)

    def skip(self, what: str, count: Any = 1) -> None:
        """Count what has no place in a run."""
        self.skipped[what] += count
