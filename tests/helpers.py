"""What many tests need: the command in a process of its own, small programs, and a run in a bare journal."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trk.ids import new_run_id
from trk.journal import write
from trk.journal.db import Journal

ROOM_S = 25.0  # what a busy machine may add to the time that something is to take

COMMAND = [sys.executable, "-m", "trk_cli"]


def some(cases: Iterable[str], *often: str) -> list[Any]:
    """Cases of a test: these are always tried, the others in long courses (`--long`)."""
    return [case if case in often else pytest.param(case, marks=pytest.mark.long) for case in cases]


@dataclass(frozen=True)
class Course:
    """How long a course is, and the dice that decide what happens when: the same seed, the same dice."""

    long: bool
    seed: int
    dice: random.Random

    def many(self, short: int, long: int) -> int:
        """One number or the other."""
        return long if self.long else short


def source_roots() -> list[str]:
    """Where `trk` and `trk_cli` are imported from, so that children import the same."""
    roots = []
    for module in ("trk.errors", "trk_cli.tokens"):
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        roots.append(str(Path(spec.origin).parents[1]))
    return roots


def child_environment(**more: str) -> dict[str, str]:
    """This test's environment, for a child."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(source_roots()), **more}


def trk(
    *words: str,
    input: str | None = None,  # noqa: A002 - as in subprocess.run
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `trk WORDS…` in this test's environment, `env` added; text in, text out, whatever the exit code."""
    return subprocess.run(
        [*COMMAND, *words],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(**(env or {})),
        cwd=cwd,
        timeout=timeout,
    )


def program(code: str, *words: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a small Python program in this test's environment."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(**env),
        timeout=timeout,
    )


def started(code: str, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start a small Python program that the test talks to over its pipes, and ends."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(**env),
    )


@contextlib.contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """See that something is given up after so long: far from what it would take else, however busy the machine is."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + ROOM_S


@contextlib.contextmanager
def costs_at_most(seconds: float) -> Iterator[None]:
    """See that something costs this thread no more of the processor, whoever else has it meanwhile."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < seconds


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def new_run(
    journal: Journal, name: str = "a run", experiment: str = "tests", start_time: int = 1_000, **more: object
) -> str:
    """A run in a bare journal, with no backend; returns its id."""
    run_id = new_run_id()
    fields = {"name": name, "experiment": experiment, "start_time": start_time, **more}
    write.create_run(journal, run_id, fields, {}, {}, {})
    return run_id
