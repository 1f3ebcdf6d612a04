"""The daemon: a process that delivers in the background while scripts go on. One per journal, of the user's own.

`client` is what others call; `serve` is the process itself; `place` says where lock and socket are; `credentials` lets
two processes prove that they reach backends alike; `logs` is what it writes down.
"""

from __future__ import annotations

from trk.daemon import place

left_alone: set[str] = set()  # runs that this program wants no daemon for


def revive(folder: str, run_id: str) -> None:
    """One look at the lock: a daemon that is gone is started again, one that does not know this run is told of it.

    What a log command calls when its row is in the journal. Where no daemon was ever started, that is all.
    """
    if run_id in left_alone:
        return
    found = place.look(folder)
    if found is None or (found[0] and run_id in found[1]):
        return
    from trk.daemon import client

    client.revive(folder, run_id, found[0])
