"""Rows as W&B's SDK takes them.

A row of points is a line of the history: its place among the lines is `_step`, so that user steps may come in any order
and a line that comes again is known; the user's step is the metric `trk/step`. Params are the config, tags are W&B's
tags `key=value`, and what has no place of its own stands in the summary under `trk/` (`_wandb_texts`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trk.backends import _wandb_media as media
from trk.backends import _wandb_own as own
from trk.backends import _wandb_sdk as sdk
from trk.backends._wandb_run import END, LINE, STATUS, STEP, WRITER, WandbRun
from trk.backends._wandb_texts import (
    ARTIFACTS,
    AXIS,
    AXIS_TOO,
    EXPERIMENT,
    LONG_TAG,
    PARAMS,
    PARENT,
    REFERENCES,
    START,
    SUMMARIES,
    SUMMARY_TAG,
    name_of,
    scalar,
    shown,
    summary_text,
    text_of,
)
from trk.errors import BackendRefused
from trk.records import LINES, Kind, MetricStats, Row, Status

MOST = 20_000  # values in a line; the SDK leaves out one of more than 10 MB without a word
LONGEST = 2_000_000  # characters of a text in the summary, which has such a limit as well
_THEIRS = frozenset(("_wandb", "wandb_version"))  # the server's answers leave them out of a config
MAX_TAG = 64  # characters of one of W&B's tags
BEST = {"min": "low", "max": "high"}


def begin(run: WandbRun, target: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Write what is known of a run when it begins, unless it is `there`, in the summary, already."""
    spec = run.spec
    project = str(target.get("project") or spec.experiment)
    said = {
        PARENT: spec.parent_remote_id,
        EXPERIMENT: spec.experiment if project != spec.experiment else None,
        AXIS: spec.step_metric,
        START: spec.start_ms,  # last: with it, the others are there
    }
    for key, value in said.items():
        if value is not None and key not in there:
            run.sdk.summary[key] = value


def take(run: WandbRun, rows: Sequence[Row]) -> None:
    """Hand rows over to the SDK, in order. Lines that were handed over before are left out."""
    before = dict(run.tags)
    with sdk.flowing(run.sdk):
        for row in rows[:-1]:
            _take(run, row)
    _take(run, rows[-1])  # is waited for, and with it what was before it
    if run.tags != before and not run.spec.external:
        run.sdk.tags = tuple(tags(run))


def _take(run: WandbRun, row: Row) -> None:
    if row.values:
        _points(run, row)
    elif row.kind in LINES:
        _shown(run, row)
    elif run.spec.external and row.kind in _TEXTS:
        _beside(run, row)
    else:
        _OTHERS[row.kind](run, row)


def tags(run: WandbRun) -> list[str]:
    """The tags that W&B is to show of a run."""
    return [tag for key, text in run.tags.items() if (tag := tag_of(key, text)) is not None]


def _place(run: WandbRun, row: Row) -> int:
    """Which line of the history a row is: in another program's run, where others' lines are between, its number."""
    return row.n if run.spec.external or row.line is None else row.line


def _line(run: WandbRun, row: Row, data: Mapping[str, Any]) -> None:
    line = _place(run, row)
    if len(row.values) > MOST or (run.spec.external and len(row.text or "") > LONGEST):
        raise BackendRefused(f"this is too much for a line of W&B's history ({MOST:,} values, {LONGEST:,} characters)")
    if line > run.line:
        if run.spec.external:  # in shared mode the server numbers the lines, of all who log
            run.sdk.log({**data, LINE: line, WRITER: run.spec.run_id}, commit=True)
        else:
            run.sdk.log(data, step=line, commit=True)
        run.line = line
    run.expected.line(row.n, line)


def _shown(run: WandbRun, row: Row) -> None:
    """What is shown beside the points. That its line is there does not prove that its file is."""
    data, shown = media.line(run, row)
    line = _place(run, row)
    if shown is not None and line <= run.line:
        shown.bind_to_run(run.sdk, name_of(row.key or ""), line)  # its bytes again: they may have been under way
    if shown is not None and run.first:
        run.left_out[name_of(row.key or "")] = shown
    _line(run, row, data)
    run.expected.others.pop(("summary", row.key or ""), None)  # a summary value of that name shows no more
    if shown is not None:
        run.expected.other(row.n, "file", media.path_of(run, shown))


def _points(run: WandbRun, row: Row) -> None:
    step = row.step or 0
    old = run.outdated(row.values, step, row.time_ms)
    if run.spec.external or run.own_axes:
        _give_axes(run, row)
    data = {run.axis: step, **row.values, "_timestamp": row.time_ms / 1000}
    if run.axis in row.values:
        data[STEP] = step  # the axis is a metric, too, which may have another value
    _line(run, row, data)
    if run.spec.external:
        return
    for key in row.values if run.expected.others else ():
        run.expected.others.pop(("summary", key), None)  # a summary value of that name shows no more
    if run.axis in row.values and run.axis != STEP:
        run.sdk.summary[AXIS_TOO] = True
    for key in old:
        run.sdk.summary[key] = _told(run.last[key][2])  # the SDK takes what was logged last for the last


def remind(run: WandbRun) -> None:
    """Offline: the summary has also what stands in lines that were left out of this folder."""
    if not run.first:
        return
    for key, (_, _, value) in run.last.items():
        if ("summary", key) not in run.expected.others:
            run.sdk.summary[key] = _told(value)
    for key, shown_ in run.left_out.items():
        if ("summary", key) not in run.expected.others:
            run.sdk.summary[key] = shown_


def _give_axes(run: WandbRun, row: Row) -> None:
    """In another program's run, an axis for all metrics would take over its own charts."""
    for key in row.values.keys() - run.axes:
        run.sdk.define_metric(key, step_metric=run.axis)
        run.axes.add(key)


def _beside(run: WandbRun, row: Row) -> None:
    """A param, tag or summary value in another program's run.

    Its owner's SDK sends config, tags and summary as it has them, and takes away what others put there. So it stands in
    the history, where nothing is taken away; and, as long as the owner lets it, where people look for it.
    """
    key, text = row.key or "", row.text
    value, told = text, text
    if row.kind is Kind.PARAM:
        value = scalar(text or "")
        told = value if text_of(value) == text else text
    elif row.kind is Kind.SUMMARY:
        value, as_shown = json.loads(text or "null"), shown(text or "null")
        told = value if summary_text(value) == as_shown else as_shown
    _line(run, row, {_TEXTS[row.kind] + key: told, "_timestamp": row.time_ms / 1000})
    if row.kind is Kind.PARAM:
        run.sdk.config.update({key: value}, allow_val_change=True)
    elif row.kind is Kind.SUMMARY:
        run.sdk.config.update({SUMMARY_TAG + key: value}, allow_val_change=True)
    else:
        _retag(run, key, text)


def _retag(run: WandbRun, key: str, text: str | None) -> None:
    """Have another program's tags changed in one: they are sent when the server is asked next."""
    for one, there in ((run.tags.get(key), False), (text, True)):
        if one is not None and (tag := tag_of(key, one)) is not None:
            run.retags[tag] = there
    run.tags.pop(key, None)
    if text is not None:
        run.tags[key] = text


def _param(run: WandbRun, row: Row) -> None:
    key, text = row.key or "", row.text or ""
    if key in _THEIRS:
        raise BackendRefused(f"{key} is a name of W&B's own in a config")
    known = own.has_value(run.spec.run_id, key, text)
    value = own.value(run.spec.run_id, key) if known else scalar(text)
    run.sdk.config.update({key: value}, allow_val_change=True)
    run.expected.other(row.n, "config", key, value)
    if text_of(value) != text:
        _summarise(run, row.n, PARAMS + key, text)


def tag_of(key: str, text: str) -> str | None:
    """A tag as W&B has it; None when it is too long for that."""
    tag = f"{key}={text}" if text else key
    return tag if len(tag) <= MAX_TAG and tag.isprintable() and tag == tag.strip() else None


def _tag(run: WandbRun, row: Row) -> None:
    key, text = row.key or "", row.text or ""
    tag, before = tag_of(key, text), run.tags.get(key)
    run.tags[key] = text
    if before is not None and before != text:
        run.expected.others.pop(("tag", tag_of(key, before) or ""), None)
    if tag is None:
        _summarise(run, row.n, LONG_TAG + key, text)
    else:
        run.expected.others.pop(("no tag", tag), None)
        run.expected.other(row.n, "tag", tag)
        if before is not None and tag_of(key, before) is None:
            _summarise(run, row.n, LONG_TAG + key, None)


def _delete_tag(run: WandbRun, row: Row) -> None:
    key = row.key or ""
    before = run.tags.pop(key, None)
    if before is None:
        return
    tag = tag_of(key, before)
    if tag is None:
        _summarise(run, row.n, LONG_TAG + key, None)
    else:
        run.expected.other(row.n, "no tag", tag)
        run.expected.others.pop(("tag", tag), None)


def _summary(run: WandbRun, row: Row) -> None:
    """A value, and its texts where they can't be told from it: the first is the param's, the latest the tag's."""
    key, value = row.key or "", json.loads(row.text or "null")
    _summarise(run, row.n, key, value)
    text = shown(row.text or "null")
    texts = [run.firsts.setdefault(key, text), text]
    if SUMMARIES + key in run.said or any(summary_text(value) != one for one in texts):
        run.said.add(SUMMARIES + key)
        _summarise(run, row.n, SUMMARIES + key, texts)


def _summarise(run: WandbRun, n: int, key: str, value: Any) -> None:
    if run.spec.external:
        return  # the summary of one who logs would take the place of everybody's
    if isinstance(value, str) and len(value) > LONGEST:
        raise BackendRefused(f"{key} is too long for a summary of W&B's: {len(value):,} characters")
    run.sdk.summary[key] = value
    run.expected.other(n, "summary", key, value)


def _define(run: WandbRun, row: Row) -> None:
    """A direction is nothing that W&B keeps: it says what is written into the summary when the run ends."""
    axis = json.loads(row.text or "{}").get("step_metric")
    if axis:
        run.sdk.define_metric(row.key or "", step_metric=axis)


def _status(run: WandbRun, row: Row) -> None:
    """The end is told to the SDK when everything before it has arrived."""
    status = Status(row.text or "")
    if status is Status.RUNNING:
        run.ending = None
        _summarise(run, row.n, STATUS, str(status))
        return
    run.ending = status
    for key, stats in row.stats.items():
        _stats(run, key, stats)
    _summarise(run, row.n, STATUS, str(status))
    _summarise(run, row.n, END, row.time_ms)


def _told(value: float) -> float | str:
    """A value of the summary: one that is NaN the SDK would leave out, and the server tells it as text anyway."""
    return "NaN" if value != value else value


def _stats(run: WandbRun, key: str, stats: MetricStats) -> None:
    if stats.count:
        run.sdk.summary[key] = _told(stats.last)
        run.expected.others.pop(("summary", key), None)
    best = getattr(stats, BEST[stats.mode]) if stats.mode in BEST else None
    if best is not None:
        run.sdk.summary[f"{key}.{stats.mode}"] = best


def _file(run: WandbRun, row: Row) -> None:
    for path, digest in media.files(run, row):
        run.expected.other(row.n, "file", path, digest)
    for file in row.files:
        if file.uri is not None:
            _summarise(run, row.n, REFERENCES + file.path, file.uri)


def _artifact(run: WandbRun, row: Row) -> None:
    logged = media.artifact(run, row)
    run.expected.other(row.n, "artifact", f"{row.key}:{row.n}", logged)
    _summarise(run, row.n, f"{ARTIFACTS}{row.key}/v{row.version}", row.type or "file")


_TEXTS = {
    Kind.PARAM: PARAMS,
    Kind.TAG: LONG_TAG,
    Kind.DELETE_TAG: LONG_TAG,
    Kind.SUMMARY: SUMMARIES,
}
_OTHERS: dict[Kind, Callable[[WandbRun, Row], None]] = {
    Kind.PARAM: _param,
    Kind.TAG: _tag,
    Kind.DELETE_TAG: _delete_tag,
    Kind.SUMMARY: _summary,
    Kind.DEFINE: _define,
    Kind.STATUS: _status,
    Kind.TEXT: _file,
    Kind.DICT: _file,
    Kind.FILE: _file,
    Kind.ARTIFACT: _artifact,
}
