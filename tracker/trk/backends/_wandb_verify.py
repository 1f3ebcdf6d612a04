"""Reading back what W&B has of a run: what each row leaves there, and what is found."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from trk.backends import _wandb_texts as texts
from trk.backends._wandb_artifacts import Artifacts
from trk.backends._wandb_read import (
    Reader,
    as_source,
    axis_alone,
    is_kept,
    is_ours,
    logged,
    params_of,
    summaries,
    tags_of,
)
from trk.backends.base import Held, Trace
from trk.records import FILES, LINES, Kind, LoggedFile, Row, RunRecord
from trk.rules import RESERVED_FOLDER


def traces(row: Row) -> list[Trace]:
    """See `VerifiableBackend.traces`."""
    key, text = row.key or "", row.text or ""
    if row.kind is Kind.DELETE_TAG:
        return [Trace("tag", key, None)]
    if row.kind in (Kind.PARAM, Kind.TAG):
        return [Trace("param" if row.kind is Kind.PARAM else "tag", key, text)]
    if row.kind is Kind.SUMMARY and not row.values:
        shown = texts.shown(text or "null")
        return [Trace("summary", key, None if shown == "null" else shown)]
    if row.kind in FILES:
        return [trace for file in row.files for trace in _file(row, file)]
    return []


def _file(row: Row, file: LoggedFile) -> list[Trace]:
    if file.local is None:
        return [Trace("reference", file.path, file.uri)]
    found = [Trace("file", file.path, file.sha256, file.size)]
    if row.kind not in LINES and file.earlier and file.before is not None and Path(file.before).is_file():
        found.append(Trace("file", f"{texts.HISTORY}/{file.earlier}/{file.path}", file.before_sha256))
    return found


def held(reader: Reader, artifacts: Artifacts, remote_id: str) -> Held | None:
    """See `VerifiableBackend.held`."""
    if remote_id.count("/") != 2:
        return None
    with as_source():
        run = reader.run(remote_id)
    if run is None:
        return None
    record = reader.record(run)
    kept = artifacts.of(record)
    found = {
        "param": params_of(run),
        "tag": tags_of(run),
        "summary": {key: latest for key, (_, latest) in summaries(run).items()} if is_ours(run) else {},
        **({} if is_ours(run) else _told_beside(reader, run)),
        "reference": {path: one.record.uri for path, one in kept.items() if one.record.uri is not None},
    }
    sizes = {path: one.record.size for path, one in kept.items() if one.record.uri is None}
    own = frozenset(("file", path) for path in sizes if path.startswith(f"{RESERVED_FOLDER}/"))
    return Held(replace(record, metrics=_all_metrics(record, run)), False, found, sizes, own)


def _told_beside(reader: Reader, run: Any) -> dict[str, dict[str, str]]:
    """What trk put into another program's run. Config and tags are its owner's to send: it is in the history."""
    found = {"param": params_of(run), "tag": tags_of(run), "summary": dict[str, str]()}
    places = {"param": texts.PARAMS, "tag": texts.LONG_TAG, "summary": texts.SUMMARIES}
    if not any(key.startswith(tuple(places.values())) for key in logged(run)):
        return found
    for _, line in sorted(reader.lines(run, []).items()):
        for kind, place in places.items():
            for key in [key for key in line if key.startswith(place)]:
                value = line[key]
                found[kind].pop(key.removeprefix(place), None)
                if value is not None:
                    found[kind][key.removeprefix(place)] = texts.summary_text(value)
    return found


def _all_metrics(record: RunRecord, run: Any) -> dict[str, float]:
    """Also those whose last value the summary does not have, or not yet."""
    if not is_ours(run):  # its owner's SDK may send a summary without what others logged
        names = {key for key in logged(run) if not key.startswith(("_", "trk/"))}
        return {**dict.fromkeys(names, math.nan), **record.metrics}
    shown = {key for key, value in run.summary_metrics.items() if isinstance(value, dict)}
    names = {key for key in logged(run) if not is_kept(key)} - shown
    return {**dict.fromkeys(names - {axis_alone(run.summary_metrics)}, math.nan), **record.metrics}
