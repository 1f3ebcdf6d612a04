"""Journals of all kinds of content, what is in them, and bundles that nobody's trk wrote."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import trk
from trk.journal import blobs
from trk.journal.carry import portable
from trk.journal.db import Journal
from trk.run import Run
from trk.tracker import find_journal

LIVE = ("rows", "metrics", "params", "tags", "files", "tables", "versions")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
RUN_ID = "01k0000000000000000000000a"


def at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a project folder of that name, with a `.trk` of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TRK_DIR", str(folder / ".trk"))
    return folder


def here() -> Journal:
    """The journal of the folder that the test is in."""
    found = find_journal()
    assert found is not None
    journal: Journal = found[1]
    return journal


def held(journal: Journal) -> dict[str, Any]:
    """All that a journal has of its runs, whatever their keys are there."""
    ids = dict(journal.read("SELECT run, run_id FROM runs"))
    found: dict[str, Any] = {
        "runs": sorted(
            journal.read(
                "SELECT run_id, name, experiment, status, start_time, end_time, parent_id, description, key_prefix, "
                "step_metric, deleted, external FROM runs"
            )
        ),
        "definitions": journal.read("SELECT * FROM definitions ORDER BY experiment, key"),
    }
    for table in LIVE:
        rows = journal.read(f"SELECT * FROM {table}")
        if table == "rows":
            rows = [(*row[:6], portable(row[2], row[5], row[6])) for row in rows]
        found[table] = sorted(((ids[run], *rest) for run, *rest in rows), key=repr)
    named = {sha256 for (sha256,) in journal.read("SELECT DISTINCT sha256 FROM files WHERE sha256 IS NOT NULL")}
    kept = (path for path in Path(blobs.folder(journal)).glob("??/*") if path.name in named)  # others were refused
    found["bytes"] = {path.name: path.read_bytes() for path in kept}
    return found


def log_everything(project: Path) -> None:
    """Runs with every kind of row: ended, open, deleted, resumed, nested."""
    (project / "folder").mkdir()
    (project / "folder/a b.txt").write_text("a")
    (project / "folder/c.bin").write_bytes(bytes(range(256)) * 300)
    with trk.start(
        "outer", experiment="digits", params={"lr": "0.1", "note": 'ü\n"x"'}, description="all\nof it"
    ) as run:
        _log_values(run)
        _log_content(run, project)
        with trk.start("inner", nested=True, key_prefix="cv/") as inner:
            inner.log_metric("loss", 0.5)
            inner.log_artifact("folder", name="set", type="dataset")
    trk.start("open", experiment="digits").log_metrics({"loss": 1, "acc": 2}, step=7)
    gone = trk.start("gone")
    gone.finish("FAILED")
    trk.delete(gone.id)
    with trk.resume(run.id) as again:
        again.log_metric("loss", -1e-300, step=-5)


def _log_values(run: Run) -> None:
    for value in (0.1, math.nan, math.inf, -math.inf, -0.0, 1e308, 5e-324):
        run.log_metric("loss", value)
    run.log_metrics({"a": math.nan, "b": math.inf, "c/d e": 1.0}, timestamp=1_700_000_000)
    run.log_metrics({"a": 2.0, "b": -3.5}, step=2**63 - 1)
    run.log_summary({"best": 0.9, "verdict": "ready", "table": {"x": [1, None, "é"]}, "flag": True})
    run.log_summary({"verdict": "shipped"})
    run.set_tags({"stage": "dev", "gone": "soon"})
    run.set_tag("stage", "prod")
    run.delete_tag("gone")
    run.define_metric("speed", mode="max")
    run.define_metric("loss", step_metric="a")
    run.log_param("long", "x" * 7000)


def _log_content(run: Run, project: Path) -> None:
    run.log_table("small", {"id": [1, 2], "label": ["ä", None], "score": [math.nan, -math.inf]})
    run.log_table("small", [[3, "c", [1, {"k": 2}]]], columns=["id", "label", "score"])
    run.log_table("small", [["d", 0.5, 4]], columns=["label", "score", "id"])
    run.log_table("large", {"n": list(range(5000)), "text": [f"row {n}" for n in range(5000)]})
    for text in ("<h1>One</h1>", "<h1>Two</h1>"):
        run.log_html(text, "page")
    run.log_text("stopped early", "notes/why")
    run.log_dict({"a": [1, 2]}, "config.json")
    run.log_image(PNG, "sample")
    run.log_image(PNG + b"1", "samples", step=3)
    run.log_figure(b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "roc")
    run.log_artifact("folder", path="in")
    run.log_artifact("folder/c.bin", snapshot=False)
    run.log_artifact("folder/c.bin", name="model", type="model")
    (project / "folder/c.bin").chmod(0o600)
    run.log_artifact("folder/a b.txt", name="model")
    run.log_artifact(reference=["s3://bucket/data set/x".replace(" ", "%20")], name="far", type="dataset")


# ---- bundles by hand


def head(**more: Any) -> dict[str, Any]:
    """A run's line."""
    return {
        "run_id": RUN_ID, "name": "theirs", "experiment": "digits", "start_time": 1_700_000_000_000, "parent_id": None,
        "description": None, "key_prefix": "", "step_metric": None, "external": 0, "rows": 1, **more,
    }  # fmt: skip


def row(
    kind: str = "metric", key: Any = "loss", step: Any = 0, value: Any = 0.5, n: Any = 1, time: Any = 10**12
) -> Any:
    """A row's line."""
    return [RUN_ID, n, kind, time, key, step, value]


def dense(value: Any) -> str:
    """JSON as trk writes it."""
    return json.dumps(value, separators=(",", ":"))


def lines(values: list[Any]) -> bytes:
    """JSON lines; a text goes in as it is."""
    return b"".join((value if isinstance(value, bytes) else dense(value).encode()) + b"\n" for value in values)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bundle(
    path: Path,
    runs: list[Any] | None = None,
    rows: list[Any] | None = None,
    blob_bytes: Mapping[str, bytes] | None = None,
    manifest: Callable[[dict[str, Any]], Any] = lambda said: None,
    zipped: Callable[[zipfile.ZipFile], None] = lambda made: None,
) -> Path:
    """A bundle of these lines and blobs, by hash; `manifest` may change what it says, `zipped` may add to the file."""
    runs = [head()] if runs is None else runs
    rows = [row()] if rows is None else rows
    members = {"runs.jsonl": lines(runs), "rows.jsonl": lines(rows)}
    said: dict[str, Any] = {
        "format": "trk-bundle", "version": 1, "trk": "0.1.0", "created_ms": 1,
        "runs": len(runs), "rows": len(rows),
        "members": {name: {"sha256": sha(data), "size": len(data)} for name, data in members.items()},
        "blobs": {name: len(data) for name, data in (blob_bytes or {}).items()}, "missing": [],
    }  # fmt: skip
    changed = manifest(said)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
        for name, data in (blob_bytes or {}).items():
            made.writestr(zipfile.ZipInfo(f"blobs/{name}"), data)
        made.writestr("manifest.json", changed if isinstance(changed, (bytes, str)) else json.dumps(said))
        zipped(made)
    return path
