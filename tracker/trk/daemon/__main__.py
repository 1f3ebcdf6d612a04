"""`python -m trk.daemon FOLDER RUN WAIT`: detach, and serve a `.trk` folder. `trk.daemon.client.spawn` calls it."""

from __future__ import annotations

import os
import sys
import time

ASK_S = 1.0  # how often one that waits for the place of an older one asks it to leave


def _detach() -> None:
    """Leave the caller's files, process group and session: no pipe and no terminal must wait for this process."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 4096)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)


def main() -> int:
    """Serve; returns the exit code."""
    folder, run_id, wait_s = sys.argv[1:4]
    _detach()
    os.chdir(os.path.dirname(folder))
    from trk.garbage import collect_rarely

    collect_rarely()
    from trk.daemon import client, logs, serve

    logs.open_log(folder)
    deadline = time.monotonic() + float(wait_s)
    try:
        while not (served := serve.Daemon(folder, serve.idle_s()).run(run_id or None, min(float(wait_s), ASK_S))):
            # An older one may not have listened yet when it was asked before.
            if time.monotonic() >= deadline or not client.may_replace(folder):
                break
    except Exception:  # noqa: BLE001 - whatever it is, the log alone can tell of it
        serve.log.exception("this should not have happened")
        return 1
    if not served and run_id:
        client.introduce(folder, run_id)
    return 0 if served else 3


if __name__ == "__main__":
    code = main()
    os._exit(code)  # an SDK's threads may hang
