"""What delivery leaves on a run when it ends, so that nobody has to read its histories: tags `trk.stats.0…n`.

Each tag is a whole JSON object: `end`, the run's end in milliseconds, and `metrics`, by name: how many points, the last
value with its step and time, the lowest and the highest finite value with their steps. NaN and infinities are text.

They are believed as long as MLflow says the same of all that it tells without the histories: the end, which metrics
there are, and the last point of each. So another program that went on with the run, or logged beside trk, is noticed;
one that put a point before the last one of a metric, without ending the run, is not: MLflow shows it nowhere but in the
history. Whoever ranks runs reads the histories of those that come first, so no value is given that its run does not
have. That a run which does not come first was given a better point like that, only `best --fresh` finds, which reads
all histories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from trk.records import MetricStats
from trk.rules import HUGE

TAG = "trk.stats."
MAX_TEXT = 4900  # characters of a tag; MLflow takes 8,000, older servers refuse more than 5,000
MAX_TAGS = 90  # of one run, in one request with its 100: the histories of metrics beyond are read

Last = tuple[int, int, float]  # step, milliseconds, value


def tags(stats: Mapping[str, MetricStats], end_ms: int) -> dict[str, str]:
    """The tags that tell of these metrics, of a run that ended then."""
    head, end = f'{{"end":{end_ms},"metrics":{{', "}}"
    parts: list[list[str]] = [[]]
    size = len(head) + len(end)
    for key, found in stats.items():
        entry = f"{json.dumps(key)}:{json.dumps(_listed(found), separators=(',', ':'))}"
        if size + len(entry) + 1 > MAX_TEXT and parts[-1]:
            parts.append([])
            size = len(head) + len(end)
        parts[-1].append(entry)
        size += len(entry) + 1
    return {f"{TAG}{n}": f"{head}{','.join(part)}{end}" for n, part in enumerate(parts[:MAX_TAGS])}


def told(texts: Mapping[str, str], end_ms: int | None, lasts: Mapping[str, Last]) -> dict[str, MetricStats]:
    """What a run's tags tell of its metrics, if MLflow does not say otherwise; else nothing.

    `lasts` are the last points of all metrics, as MLflow has them.
    """
    found: dict[str, MetricStats] = {}
    try:
        for text in texts.values():
            said = json.loads(text)
            if said["end"] != end_ms:
                return {}
            found |= {key: _stats(values) for key, values in said["metrics"].items()}
    except (ValueError, TypeError, KeyError, RecursionError):  # somebody else's text
        return {}
    if len(found) < len(lasts) and len(texts) < MAX_TAGS:
        return {}  # a metric that trk knows nothing of
    same = all(key in lasts and is_same(stats, lasts[key]) for key, stats in found.items())
    return found if same else {}


def is_same(stats: MetricStats, last: Last) -> bool:
    """Whether the last point of a metric is this one; MLflow has ±1.797e308 for infinities."""
    step, time_ms, value = last
    ours, theirs = _clipped(stats.last), _clipped(value)
    equal = ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    return equal and (stats.last_step, stats.last_ms) == (step, time_ms)


def _clipped(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= HUGE else value


def _listed(found: MetricStats) -> list[Any]:
    last = found.last if math.isfinite(found.last) else str(found.last)
    return [
        found.count, last, found.last_step, found.last_ms, found.low, found.low_step, found.high, found.high_step,
    ]  # fmt: skip


def _stats(values: Any) -> MetricStats:
    count, last, last_step, last_ms, low, low_step, high, high_step = values
    return MetricStats(
        int(count),
        float(last),
        int(last_step),
        None if low is None else float(low),
        None if low is None else int(low_step),
        None if high is None else float(high),
        None if high is None else int(high_step),
        last_ms=int(last_ms),
    )
