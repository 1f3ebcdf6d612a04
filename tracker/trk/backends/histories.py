"""Histories of many runs, each asked for by itself, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from trk.records import MetricPoint, RunRecord

THREADS = 8  # requests under way at once


def in_threads(
    history: Callable[[RunRecord, str], list[MetricPoint]], runs: Sequence[RunRecord], metric: str
) -> Iterator[tuple[RunRecord, list[MetricPoint]]]:
    """The history of each run as soon as it is there. Who stops asking stops what was not begun."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="trk-histories")
    try:
        asked = {pool.submit(history, run, metric): run for run in runs}
        for done in as_completed(asked):
            yield asked[done], done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
