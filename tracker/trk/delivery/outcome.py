"""What is told of a delivery: while it goes on, and how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]  # rows settled, rows in all
Trouble = Callable[[str, str], None]  # backend, what is wrong with it


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery went: `finished` within the time allowed; `busy` when another process was delivering."""

    finished: bool
    busy: bool = False
