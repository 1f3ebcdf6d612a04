"""How often a process that is trk's own looks for objects that only hold each other."""

from __future__ import annotations

import gc

# Between two looks at the young objects, at those that stayed, at all. Python's own 700 is for programs that drop
# cycles all the time. SDKs make millions of objects and hardly a cycle: looking took a fifth of a delivery's time.
RARELY = (50_000, 10, 10)


def collect_rarely() -> None:
    """Look less often. For the command and the daemon; what a user's program does is the user's choice."""
    gc.set_threshold(*RARELY)
