"""A question to a server takes no longer than it is allowed, whatever the server does."""

from __future__ import annotations

import threading
import time

import pytest

from helpers import in_time
from trk.backends import _mlflow_read
from trk.errors import SourceUnavailable
from trk.query.sources import LocalSource, within
from trk.records import MetricPoint


class Silent:
    """A source of a name, which is all that `within` looks at."""

    name = "silent"


def test_a_source_that_never_answers_is_left_when_the_time_is_over() -> None:
    never = threading.Event()
    with in_time(0.1), pytest.raises(SourceUnavailable, match="silent did not answer"):
        within(Silent(), time.monotonic() + 0.1, lambda: never.wait(60))
    never.set()


def test_what_the_source_raises_comes_out_as_it_is() -> None:
    def fail() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        within(Silent(), time.monotonic() + 5, fail)


def test_the_journal_is_asked_at_once_even_when_the_time_is_over() -> None:
    assert within(LocalSource(None), 0.0, lambda: "answer") == "answer"


def test_nan_stands_where_mlflow_and_the_journal_both_have_it() -> None:
    points = [MetricPoint("r", "m", 0, 5, value) for value in (float("nan"), -1.0, 1.0)]
    assert [str(point.value) for point in sorted(points, key=_mlflow_read.sort_place)] == ["-1.0", "nan", "1.0"]
