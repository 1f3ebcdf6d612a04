"""Runs to be drawn, one of them with names and values that would act if they could."""

from __future__ import annotations

import math

import pytest

import trk

HOSTILE = "</title></svg><script>document.title='acted'</script>\"'><img src=x onerror=alert(1)>"
TURNED = "a\u202eb\x1b[31m$\\frac{$"  # what would turn text round, colour a terminal, or be a formula


def ended(name: str, values: list[float], metric: str = "f1", **params: object) -> str:
    """A run that has ended; returns its id."""
    run = trk.start(name, experiment="digits", params=params)
    for value in values:
        run.log_metric(metric, value)
    run.finish()
    return run.id


@pytest.fixture
def runs() -> tuple[str, str, str]:
    """The middle one is best, at step 1; the last has a NaN."""
    return (
        ended("first", [0.5, 0.6, 0.7], lr=0.1, depth=2, kind="a"),
        ended("second", [0.4, 0.95, 0.6], lr=0.01, depth=4, kind="b"),
        ended("third", [0.1, math.nan, 0.2], lr=0.001, depth=2, kind="a"),
    )


@pytest.fixture
def hostile() -> str:
    """A run whose every text tries to act."""
    run = trk.start("other", experiment="digits")
    run.log_metrics({"f1": 0.5, "loss": 0.1})
    run.finish()
    run = trk.start(f"_{HOSTILE}", experiment="digits", params={"note": HOSTILE, "lr": 2}, tags={"said": HOSTILE})
    run.log_metrics({"f1": 0.75, "loss": math.inf})
    run.log_params({"turned": TURNED.replace("\x1b", "")})
    run.log_text("x", "note")
    return run.id
