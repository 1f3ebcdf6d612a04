"""Which job this is, so that the same job, started again, goes on with its run.

A batch system that starts a job again, and a CI system that repeats one, say so by the same numbers in the environment.
A run is gone on with when it is the newest of this journal with the same key, did not finish, and nobody is at it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from trk import owners
from trk.capture import ci
from trk.errors import UsageError
from trk.journal import lifecycle, write
from trk.journal.db import Journal
from trk.rules import check_text

TAG = "run.restart_key"

# What a batch system calls a job, the same after each of its starts, and what tells the tasks of one job apart.
_BATCH = {
    "slurm": (("SLURM_JOB_ID",), ("SLURM_STEP_ID", "SLURM_PROCID")),
    "pbs": (("PBS_JOBID",), ("PBS_ARRAY_INDEX",)),
    "lsf": (("LSB_JOBID",), ("LSB_JOBINDEX",)),
    "sge": (("JOB_ID", "SGE_TASK_ID"), ()),
    "awsbatch": (("AWS_BATCH_JOB_ID",), ()),
}


def key_of(given: str | None, environ: Mapping[str, str], words: Sequence[str]) -> str:
    """The key: as it is given, else made of what the batch or CI system says, and of the command line.

    Jobs of a matrix, and several commands of one job, are told apart by their command lines. Raises UsageError.
    """
    if given is not None:
        if not given:
            raise UsageError("the restart key is empty")
        return check_text(given, "restart key")
    job = _job(environ)
    if job is None:
        raise UsageError("nothing here says which job this is", hint="--restart-key KEY")
    told = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{job}:{told}"


def _job(environ: Mapping[str, str]) -> str | None:
    for system, (names, parts) in _BATCH.items():
        if all(environ.get(name) for name in names):
            words = [*(environ[name] for name in names), *(environ.get(name, "") for name in parts)]
            return ":".join([system, *words]).rstrip(":")
    found = ci.collect(environ)
    if not found.get(ci.PIPELINE):
        return None
    return ":".join((found[ci.SYSTEM], found[ci.PIPELINE], found.get(ci.JOB, "")))


def to_resume(journal: Journal, key: str) -> tuple[str | None, str | None]:
    """(the run to go on with, or None for a new one; what should be said about that).

    An open run whose process is gone is ended as KILLED: that is what became of it.
    """
    found = lifecycle.latest_tagged(journal, TAG, key)
    if found is None:
        return None, None
    run_id, status, kept = found
    if status == "FINISHED":
        return None, None
    if status == "RUNNING":
        owner, now = owners.look(kept), write.now_ms()
        lately = owner.beat_ms is not None and now - owner.beat_ms < owners.LATE_MS
        if owner.alive or (owner.alive is None and lately):
            return None, f"run {run_id} of the same job is still going on: this is a new run"
        write.set_status(journal, run_id, "KILLED", now)
    return run_id, None
