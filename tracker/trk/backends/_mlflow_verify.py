"""Reading back what MLflow has of a run: what each row leaves there, and what is found.

Not looked for is what trk makes for MLflow's pages alone: small pictures, pages of figures, the list of tables, the
manifest.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from trk.backends import _mlflow_content as content
from trk.backends import _mlflow_write as write
from trk.backends._mlflow_artifacts import Artifacts
from trk.backends._mlflow_read import HANDLE, Reader
from trk.backends._mlflow_store import Store, _sqlite_file
from trk.backends.base import Held, Trace
from trk.records import FILES, Kind, LoggedFile, Row
from trk.rules import RESERVED_TAGS

_LIMITS = {"param": write.MAX_PARAM, "tag": write.MAX_TAG}


def traces(row: Row) -> list[Trace]:
    """See `VerifiableBackend.traces`."""
    key, text = row.key or "", row.text or ""
    if row.kind is Kind.DELETE_TAG:
        return [Trace("tag", key, None), _no_long("tag", key)]
    if row.kind in (Kind.PARAM, Kind.TAG):
        return _text("param" if row.kind is Kind.PARAM else "tag", key, text)
    if row.kind is Kind.SUMMARY and not row.values:
        name, shown = write.SUMMARY + key, write.summary_text(text)
        return [*_text("tag", name, shown), *_text("param", name, shown, first=True)]
    if row.kind in FILES:
        return [trace for file in row.files for trace in _file(file)]
    return []


def held(store: Store, reader: Reader, artifacts: Artifacts, remote_id: str) -> Held | None:
    """See `VerifiableBackend.held`."""
    file = _sqlite_file(store.uri)
    if file is not None and not file.exists():
        return None  # to ask would make the database
    found = reader.any(remote_id)
    if found is None:
        return None
    run, record = found
    record = replace(record, run_id=HANDLE + remote_id)  # a copied run may have the same trk run id
    if run.info.lifecycle_stage != "active":
        return Held(record, deleted=True)
    texts = {"param": dict(run.data.params), "tag": dict(run.data.tags)}
    sizes, ours = artifacts.everything(run.info.artifact_uri)
    own = {("tag", key) for key in texts["tag"] if key.startswith(RESERVED_TAGS)}
    return Held(record, False, texts, sizes, frozenset(own | {("file", path) for path in ours}))


def _text(kind: str, key: str, text: str, *, first: bool = False) -> list[Trace]:
    if len(text) <= _LIMITS[kind]:
        found = [Trace(kind, key, text, first=first)]
        return [*found, _no_long(kind, key)] if kind == "tag" else found
    path, stands = write.long_text(kind, key, text)
    whole = text.encode()
    told = f"the text of {kind} {key}"
    return [
        Trace(kind, key, stands, first=first),
        Trace("file", path, hashlib.sha256(whole).hexdigest(), len(whole), first=first, told=told),
    ]


def _no_long(kind: str, key: str) -> Trace:
    """A text that was too long before may never have been put: another one came in the same batch."""
    return Trace("file", write.long_text(kind, key, "")[0], None)


def _file(file: LoggedFile) -> list[Trace]:
    if file.local is None:
        there = content.reference(file)
        digest = hashlib.sha256(there).hexdigest()
        return [Trace("file", content.reference_path(file.path), digest, len(there), told=f"{file.path} at {file.uri}")]
    found = [Trace("file", file.path, file.sha256, file.size)]
    if file.earlier and file.before is not None and (file.freed or Path(file.before).is_file()):
        found.append(Trace("file", f"{content.HISTORY}/{file.earlier}/{file.path}", file.before_sha256))
    return found
