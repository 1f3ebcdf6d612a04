"""What a tracker logs, as rows of a run. What is wrong with one value is told of that one; the others are logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trk import rules
from trk.backends import _wandb_own as own
from trk.errors import TrkError, UsageError
from trk.journal import content, write
from trk.journal.write import now_ms
from trk.media import log, tables
from trk.run import Run
from trk.texts import param_texts

MAX_LEVELS = 50
_NO_NUMBERS = (str, bytes, bytearray, complex, Mapping, list, tuple, set, frozenset)

Failed = Callable[[str | None, str], None]  # the key, and what is wrong with it


def config(run: Run, given: Mapping[Any, Any], failed: Failed, *, prefix: str | None = None) -> None:
    """Params, which W&B has with their types. One that is another now is changed, where a backend allows that."""
    prefix = run.key_prefix if prefix is None else prefix
    texts: dict[str, str] = {}
    for key, value in given.items():
        kept = value if isinstance(value, bool | int | float | str) or value is None else str(value)
        try:
            ((name, text),) = param_texts({key: kept}, prefix).items()
        except TrkError as error:
            failed(_shown(key), error.message)
            continue
        texts[name] = text
        if not isinstance(kept, float):  # whose text says all, also where JSON has no such number
            own.set_value(run.id, name, text, kept)
    if texts:
        write.params(run.journal, run.id, texts, now_ms(), "change")


def metrics(run: Run, given: Mapping[Any, Any], step: Any, failed: Failed) -> None:
    """One row of what is a number. What is not meant to be one is left out without a word."""
    numbers: dict[str, float] = {}
    for key, value in given.items():
        if not _may_be_number(value):
            continue
        try:
            rules.check_metric_name(run.key_prefix + rules.check_name(key, "metric name"))
            numbers[key] = rules.to_number(value, f"the value of {key}")
        except TrkError as error:
            if _is_meant(value):
                failed(_shown(key), error.message)
    if numbers:
        run.log_metrics(numbers, _step(step, failed))


def _may_be_number(value: Any) -> bool:
    return value is not None and not isinstance(value, _NO_NUMBERS) and getattr(value, "ndim", 0) == 0


def _is_meant(value: Any) -> bool:
    return isinstance(value, int | float) or hasattr(value, "__float__") or hasattr(value, "item")


def _step(step: Any, failed: Failed) -> int | None:
    """The step, None for the next one: a bad one costs no values."""
    if step is None:
        return None
    try:
        return rules.whole_step(step)
    except TrkError as error:
        failed("step", f"{error.message}; the next one is taken")
        return None


def summary(run: Run, given: Mapping[Any, Any], failed: Failed) -> None:
    """What stands on the run's overview: numbers, texts, and anything else as JSON."""
    for key, value in given.items():
        try:
            run.log_summary({key: _summarised(value)})
        except TrkError as error:
            failed(_shown(key), error.message)


def _summarised(value: Any) -> Any:
    if isinstance(value, float):
        return float(value)
    if _may_be_number(value) and not isinstance(value, bool) and hasattr(value, "__float__"):
        try:
            return rules.to_number(value)
        except UsageError:  # an object that looks like a number; or one beyond a double
            pass
    return jsonable(value)


def table(run: Run, name: Any, columns: Iterable[Any], data: Iterable[Any]) -> None:
    """Rows of a table, all or none. Columns that it has not yet are added; what a row lacks is null."""
    rows = [[_cell(value) for value in row] for row in data]
    if rows:
        log.table(run, name, tables.from_data(rows, [str(column) for column in columns]), widen=True)


def _cell(value: Any) -> Any:
    return float(value) if isinstance(value, float) else jsonable(value)


def html(run: Run, page: Any, key: Any) -> None:
    """A page under one name in a folder of its own; again: the latest shows, in the same place."""
    name = rules.check_name(run.key_prefix + rules.check_name(key, "name"))
    path = rules.check_artifact_path(f"{name}/{name.rpartition('/')[2]}.html", "name")
    given = log.given(page if isinstance(page, str | bytes) else str(page), "the HTML")
    content.append_files(run.journal, run.id, "html", [given.entry(run.journal, path)], name)


def jsonable(value: Any, level: int = 0) -> Any:
    """A value as JSON has it: arrays as lists, sets as lists, numbers that JSON has not and all else as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else str(int(value))
    if isinstance(value, float):
        return float(value) if value - value == 0 else str(float(value))
    if level > MAX_LEVELS:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item, level + 1) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray | memoryview):
        return [jsonable(item, level + 1) for item in value]
    if callable(getattr(value, "tolist", None)) and not isinstance(value, type):
        return jsonable(value.tolist(), level + 1)
    return str(value)


def _shown(key: Any) -> str:
    return key if isinstance(key, str) else rules.shown(key)
