"""A filter as W&B's server takes it, in MongoDB's words, as far as that leaves out no run.

What W&B keeps in another way than trk shows it is left to the caller, who looks again.
"""

from __future__ import annotations

from typing import Any

from trk.backends._wandb_texts import scalar
from trk.backends._wandb_write import tag_of
from trk.query.conditions import Condition
from trk.query.grammar import conditions
from trk.query.logic import Both, Either, Part
from trk.rules import HUGE

_OPERATORS = {"=": "$eq", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_INFINITE = ["Infinity", "-Infinity"]


def translated(text: str | None) -> dict[str, Any]:
    """The filter for W&B's server; empty when nothing of it can be said there."""
    found = [said for part in conditions(text or "") if (said := _said(part)) is not None]
    return {"$and": found} if found else {}


def _said(part: Part) -> dict[str, Any] | None:
    """What admits every run that a part admits, maybe more; None for all runs."""
    if isinstance(part, Condition):
        return _condition(part)
    if isinstance(part, Both):
        found = [said for one in part.parts if (said := _said(one)) is not None]
        return {"$and": found} if found else None
    if isinstance(part, Either):
        sides = [_said(one) for one in part.parts]
        return None if None in sides else {"$or": sides}
    return None  # what admits too many, turned round, admits too few


def _condition(asked: Condition) -> dict[str, Any] | None:
    key, op, value = asked.key, asked.comparator, asked.value
    if asked.entity == "attribute":
        return {"display_name": value} if (key, op) == ("run_name", "=") and _is_plain(value) else None
    if not key.replace("_", "a").isalnum() or not key.isascii():  # a dot leads into a tree there
        return None
    if asked.entity == "metric":
        return _metric(f"summary_metrics.{key}", op, value)
    if op != "=" or not isinstance(value, str) or not _is_plain(value):
        return None
    if asked.entity == "param":
        is_said = value[:1].isalpha() or scalar(value) != value
        return {f"config.{key}": {"$in": list(dict.fromkeys([value, scalar(value)]))}} if is_said else None
    tag = tag_of(key, value)
    return None if tag is None else {"tags": {"$in": list(dict.fromkeys([tag, f"{key}={value}"]))}}


def _metric(name: str, op: str, value: Any) -> dict[str, Any] | None:
    """Infinity is text there, so it is always admitted. A metric without a value there is none, whatever else it is."""
    if op == "IS NOT NULL":
        return {name: {"$exists": True}}
    if op not in _OPERATORS or not -HUGE < value < HUGE:
        return None
    return {"$or": [{name: {_OPERATORS[op]: value}}, {name: {"$in": _INFINITE}}]}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and "\\" not in value
