"""The folders in which W&B's SDK writes runs offline, for `wandb sync`.

A run is written as a whole, and a folder takes the place of the one before. `wandb sync` appends the lines of a folder
to those that the server has of the run: if the folder before was sent, its lines are left out of the next one. How many
that are is noted in each folder.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOTE = "trk.json"


def folders(target: Mapping[str, Any], run_id: str) -> list[Path]:
    """Where the SDK has written a run for `wandb sync`, oldest first."""
    return sorted((Path(str(target.get("dir") or ".")) / "wandb").glob(f"offline-run-*-{run_id}"))


def await_name(target: Mapping[str, Any], run_id: str) -> None:
    """Wait until the SDK would name the run's folder as none is named: its names have the second."""
    while any(time.strftime("-%Y%m%d_%H%M%S-") in folder.name for folder in folders(target, run_id)):
        time.sleep(0.1)


def sent_lines(target: Mapping[str, Any], run_id: str) -> int:
    """How many lines of a run's history `wandb sync` has sent already."""
    return max([_sent(folder) for folder in folders(target, run_id)], default=0)


def _sent(folder: Path) -> int:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return int(note["to" if any(folder.glob("*.wandb.synced")) else "from"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0  # its writing was cut short, or it is of an earlier trk


def replace(target: Mapping[str, Any], run_id: str, written: Path, first: int, end: int) -> None:
    """A run was written, lines `first` to before `end`: that takes the place of what was written of it before."""
    (written / NOTE).write_text(json.dumps({"from": first, "to": end}) + "\n", encoding="utf-8")
    remove([folder for folder in folders(target, run_id) if folder != written])


def remove(old: list[Path]) -> None:
    """Take folders away."""
    for folder in old:
        shutil.rmtree(folder)
