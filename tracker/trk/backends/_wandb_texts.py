"""What stands where in a run of W&B's beside W&B's own places, and how a text comes back as it was logged.

In the summary, where W&B's own places could not say it:

trk/start_time, trk/end_time      in milliseconds since 1970; W&B knows when a run was made there
trk/status, trk/parent            the status as trk has it; the parent's `<entity>/<project>/<id>`
trk/experiment                    where that is not the project
trk/axis                          the metric that has the step in the history, where that is not `trk/step`
trk/axis_is_metric                whether that is logged as a metric, too: such lines have `trk/step` beside it
trk/params/<key>                  a param's text, where the config shows another: `1e-3` is 0.001 there
trk/summary/<key>                 the first and the latest text of a summary value, where the summary shows others
trk/tags/<key>                    a tag that is too long for W&B's
trk/references/<path>             the address of a file that stays where it is
trk/artifacts/<name>/v<version>   the type of an artifact, which has the alias `trk-<run id>-v<version>`

In the history `trk/step` or the axis is the step, and `trk/file` says, as JSON, what of trk's is shown in a line. Among
the files `trk/files/<path>` is what would else lie where W&B's SDK has files of its own, `trk/history` what a text was
before.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

START, EXPERIMENT, AXIS, PARENT = "trk/start_time", "trk/experiment", "trk/axis", "trk/parent"
AXIS_TOO = "trk/axis_is_metric"
PARAMS, SUMMARIES, LONG_TAG = "trk/params/", "trk/summary/", "trk/tags/"
REFERENCES, ARTIFACTS = "trk/references/", "trk/artifacts/"
FILE = "trk/file"  # in the history
PLACED = "trk/files/"  # among the files
HISTORY = "trk/history"  # the folder of what a text was before
SUMMARY_TAG = "summary/"  # before the name of a summary value that is no number, where it is a tag and a param
HANDLE = "wandb:"

_LONGEST_SHOWN = 90  # characters; the file's name, 255 bytes, has 60 of W&B's, and an artifact's, 128, has the run's id
_SAFE = 2**53  # beyond it whole numbers are no longer told apart where numbers are floats
_SPELT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_THEIRS = frozenset(
    "config.yaml wandb-summary.json wandb-metadata.json wandb-history.jsonl wandb-events.jsonl output.log diff.patch "  # noqa: SIM905
    "requirements.txt conda-environment.yaml model-def.json".split()
)
_THEIR_FOLDERS = frozenset(("media", "artifact", "code", "logs", "tmp", "wandb"))


def number(value: Any) -> float | None:
    """A number of the history or the summary, also one that JSON can't say; None when it is none."""
    if isinstance(value, str):
        return _SPELT.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def scalar(text: str) -> Any:
    """A param's text as JSON, if it is a number, true, false or null as JSON writes them; else the text itself."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str | list | dict) or value in (math.inf, -math.inf):
        return text
    return text if isinstance(value, int) and abs(value) > _SAFE else value


def _no_number(text: str) -> Any:
    raise ValueError(text)


def text_of(value: Any) -> str:
    """A value of the config as a text: as JSON writes it, whole numbers without a point, since W&B drops it."""
    return value if isinstance(value, str) else _json(_plain(value))


def canonical(value: Any) -> str:
    """JSON that is the same for values that are."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def shown(text: str) -> str:
    """A summary value's JSON as it is shown: a text as itself, any other JSON in its shortest form."""
    value = json.loads(text)
    return value if isinstance(value, str) else _json(value)


def summary_text(value: Any) -> str:
    """A value of the summary as it is shown, as far as it can be told: W&B keeps neither order nor `1.0`."""
    return value if isinstance(value, str) else canonical(value)


def exact(said: str | None, value: Any) -> str:
    """The text of a summary value as it was logged, where what is said of it still is its text."""
    text = summary_text(value)
    if said is None or said == text or isinstance(value, str):
        return text
    try:
        return said if canonical(json.loads(said)) == text else text
    except (ValueError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _SAFE:
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def name_of(key: str) -> str:
    """The name under which the history shows a table, page, image or figure: W&B makes names of files of it."""
    if len(key) <= _LONGEST_SHOWN and len(key.encode()) <= 2 * _LONGEST_SHOWN:
        return key
    kept = key[: _LONGEST_SHOWN // 4]
    return f"{kept}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def place_of(path: str) -> str:
    """Where a file of this path lies among the run's."""
    return PLACED + path if _is_theirs(path) else path


def path_at(place: str) -> str | None:
    """The path of what lies at a place among the run's files; None for what is no logged file."""
    if place.startswith(PLACED):
        return place.removeprefix(PLACED)
    return None if _is_theirs(place) or place.startswith("trk/") else place


def _is_theirs(path: str) -> bool:
    first, slash, _ = path.partition("/")
    return path in _THEIRS or (bool(slash) and first in _THEIR_FOLDERS)
