"""How often a process that is trk's own looks for objects that only hold each other."""

from __future__ import annotations

import gc

# Between two looks at the young objects, at those that stayed, at all. Python's own 700 is for programs that drop
# cycles all the time. SDKs make millions of objects and hardly a cycle: looking took a fifth of a delivery's time.
YOUNG = 50_000
YOUNG_OF_COMMAND = 200_000  # what it holds at most is gone soon; ten thousand runs are a hundred thousand objects


def collect_rarely(young: int = YOUNG) -> None:
    """Look less often. For the command and the daemon; what a user's program does is the user's choice."""
    gc.set_threshold(young, 10, 10)
