"""A filter in MLflow's grammar as W&B's server takes it, in MongoDB's words, as far as that leaves out no run.

What W&B keeps in another way than trk shows it is left to the caller, who looks again.
"""

from __future__ import annotations

import re
from typing import Any

from trk.backends._wandb_texts import scalar
from trk.backends._wandb_write import tag_of

# One condition as trk writes it; names that are quoted are not asked for.
_CONDITION = re.compile(
    r"(?P<entity>metrics|params|tags|attributes)\.(?P<key>\w+) "
    r"(?:(?P<op>=|!=|>=|<=|>|<) (?:(?P<number>-?[\d.]+(?:e-?\d+)?)|'(?P<text>[^'\\]*)')|LIKE '%')"
)
_ANY = re.compile(r"""(?:"[^"]*"|'[^']*'|`[^`]*`|[^"'`])+?(?= AND |$)""")
_OPERATORS = {"=": "$eq", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_INFINITE = ["Infinity", "-Infinity"]


def translated(text: str | None) -> dict[str, Any]:
    """The filter for W&B's server; empty when nothing of it can be said there."""
    found = [said for part in _parts(text or "") if (said := _condition(part)) is not None]
    return {"$and": found} if found else {}


def _parts(text: str) -> list[str]:
    return [part.removeprefix(" AND ").strip() for part in _ANY.findall(text)]


def _condition(part: str) -> dict[str, Any] | None:
    found = _CONDITION.fullmatch(part)
    if found is None or found["op"] is None:
        return None
    entity, key, op, text = found["entity"], found["key"], found["op"], found["text"]
    if entity == "metrics" and found["number"] is not None and op in _OPERATORS:
        name = f"summary_metrics.{key}"
        return {"$or": [{name: {_OPERATORS[op]: float(found["number"])}}, {name: {"$in": _INFINITE}}]}
    if text is None or op != "=":
        return None
    if entity == "params" and (text[:1].isalpha() or scalar(text) != text):
        return {f"config.{key}": {"$in": list(dict.fromkeys([text, scalar(text)]))}}
    if entity == "attributes" and key == "run_name":
        return {"display_name": text}
    if entity == "tags" and (tag := tag_of(key, text)) is not None:
        return {"tags": {"$in": [tag]}}
    return None
