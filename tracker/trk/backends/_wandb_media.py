"""Tables, pages, images, figures, files and artifacts as W&B's SDK takes them."""

from __future__ import annotations

import glob
import re
import shutil
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha256
from pathlib import Path, PurePosixPath
from typing import Any

from trk.backends._wandb_run import WandbRun
from trk.backends._wandb_texts import FILE, HISTORY, name_of, place_of
from trk.errors import BackendRefused, BackendUnavailable
from trk.records import Kind, LoggedFile, LoggedTable, Row

TABLE_ROWS = 200_000  # what the SDK takes
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tiff", ".webp")
_THEIRS = {"job": "", "run_table": "run-", "code": "source-"}  # types of artifacts whose names begin so are W&B's own
_ARTIFACT = re.compile(r"[^A-Za-z0-9_.-]+")


def _sdk() -> Any:
    return sys.modules["wandb"]


def line(run: WandbRun, row: Row) -> tuple[dict[str, Any], Any]:
    """A table, page, image or figure as a line of the history, and what is shown in it, as the SDK has it.

    What W&B can't show (None) is put among the run's files.
    """
    shown = _table(row) if row.kind is Kind.TABLE else _shown(run, row)
    data: dict[str, Any] = {"_timestamp": row.time_ms / 1000, FILE: _told(row)}
    if row.step is not None:
        data[run.axis] = row.step
    if shown is not None:
        data[name_of(row.key or "")] = shown
    else:
        for path, digest in files(run, row):
            run.expected.other(row.n, "file", path, digest)
    return data, shown


def path_of(run: WandbRun, shown: Any) -> str:
    """Where the file of what was logged lies among the run's."""
    return Path(shown._path).relative_to(run.sdk.dir).as_posix()


def _told(row: Row) -> str:
    """What is shown in a line, as JSON: W&B keeps it under a name of its own."""
    import json

    told: dict[str, Any] = {"kind": str(row.kind), "name": row.key}
    if row.table is not None:
        told |= {"path": row.table.path, "rows": row.table.count, "json": sorted(_nested(row.table))}
    else:
        file = row.files[0]
        told |= {"path": file.path, "size": file.size, "sha256": file.sha256, "step": row.step}
    return json.dumps({key: value for key, value in told.items() if value is not None}, ensure_ascii=False)


def _table(row: Row) -> Any:
    table = row.table
    assert table is not None
    if table.count > TABLE_ROWS:
        raise BackendRefused(f"W&B takes tables of at most {TABLE_ROWS:,} rows, this has {table.count:,}")
    wandb = _sdk()
    nested = _nested(table)
    data = [_cells(one, nested) for one in table.rows()]
    return wandb.Table(columns=list(table.columns), data=data, allow_mixed_types=True)


def _nested(table: LoggedTable) -> set[int]:
    """The columns, from 0, that have nested values."""
    return {place for row in table.rows() for place, cell in enumerate(row) if isinstance(cell, list | dict)}


def _cells(row: list[Any], nested: set[int]) -> list[Any]:
    """Columns with nested values as JSON, texts too, so that they can be told apart: W&B's tables hold plain ones."""
    if not nested:
        return row
    import json

    return [
        json.dumps(cell, ensure_ascii=False) if place in nested and isinstance(cell, list | dict | str) else cell
        for place, cell in enumerate(row)
    ]


def _shown(run: WandbRun, row: Row) -> Any:
    """What W&B's page shows of a file, None when it can't."""
    file = row.files[0]
    ending = PurePosixPath(file.path).suffix.lower()
    wandb = _sdk()
    try:
        here = _named(run, file)
    except FileNotFoundError:
        raise BackendRefused(f"{file.local} is not there any more") from None
    try:
        if row.kind is Kind.HTML or ending == ".html":
            return wandb.Html(here, inject=False)
        if ending == ".json" and row.kind is Kind.FIGURE:
            return _plotly(wandb, here)
        if ending in _IMAGES:
            return wandb.Image(here)
    except (ValueError, OSError, ImportError, wandb.Error):  # no UTF-8, no image after all, Pillow is not installed
        return None
    return None


def _plotly(wandb: Any, path: str) -> Any:
    """A figure that is JSON already, for which Plotly need not be installed."""

    class Given(wandb.Plotly):  # type: ignore[misc]
        def __init__(self) -> None:
            super(wandb.Plotly, self).__init__()
            self._set_file(path, is_tmp=False, extension=".plotly.json")

    return Given()


def _named(run: WandbRun, file: LoggedFile) -> str:
    """A file's bytes under its own name, for as long as the SDK's run is open."""
    if file.local is None:
        raise BackendRefused(f"{file.path} has no bytes here")
    ending = ".plotly.json" if file.path.endswith(".json") else PurePosixPath(file.path).suffix
    here = Path(run.sdk.dir).parent / "tmp" / "trk" / f"{Path(file.local).name}{ending}"
    here.parent.mkdir(parents=True, exist_ok=True)
    if not here.exists():
        _copy(Path(file.local), here)
    return str(here)


def _copy(local: Path, there: Path) -> None:
    """Whole or not at all, as what was killed while it copied may come back."""
    there.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=there.parent, delete=False) as beside, local.open("rb") as given:
        shutil.copyfileobj(given, beside)
    Path(beside.name).replace(there)


def files(run: WandbRun, row: Row) -> Iterator[tuple[str, tuple[int, str]]]:
    """Put a row's files among the run's, each at its own path; of what it replaces, the earlier one beside.

    Gives the paths, with the size and MD5 by which the server knows what it has.
    """
    for file in row.files:
        if file.local is None:
            continue
        if file.before is not None:
            yield _save(run, f"{HISTORY}/{file.earlier}/{file.path}", file.before)
        yield _save(run, place_of(file.path), file.local)


def _save(run: WandbRun, path: str, local: str) -> tuple[str, tuple[int, str]]:
    top = Path(run.sdk.dir)
    try:
        _copy(Path(local), top / path)
    except FileNotFoundError:
        raise BackendRefused(f"{local} is not there any more") from None
    except OSError as error:
        raise BackendUnavailable(f"{path} can't be copied for W&B: {error.strerror}") from None
    run.sdk.save(glob.escape(str(top / path)), base_path=str(top), policy="now")
    return path, _known_by(top / path)


def _known_by(file: Path) -> tuple[int, str]:
    """A file's size, and its MD5 in base64, as W&B tells it."""
    digest = md5(usedforsecurity=False)
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            digest.update(part)
    return file.stat().st_size, b64encode(digest.digest()).decode()


def artifact_name(name: str) -> str:
    """An artifact's name as W&B takes it: others than letters, digits, `_.-` become `-`, with a mark to tell apart."""
    plain = _ARTIFACT.sub("-", name)
    if plain == name and len(name) <= 128:
        return name
    return f"{plain[:100]}-{sha256(name.encode()).hexdigest()[:8]}"


def artifact_type(type_: str, name: str) -> str:
    """An artifact's type as W&B takes it, likewise: it keeps some for itself. The summary has it as it was logged."""
    theirs = type_.startswith("wandb-") or (type_ in _THEIRS and artifact_name(name).startswith(_THEIRS[type_]))
    return artifact_name(f"trk-{type_}" if theirs else type_)


def _refer(artifact: Any, path: str, uri: str) -> None:
    """An address as it is: `add_reference` asks for the libraries of each kind of storage, though nothing is read."""
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
    from wandb.sdk.lib.paths import LogicalPath

    artifact.manifest.add_entry(ArtifactManifestEntry(path=LogicalPath(path), ref=uri, digest=uri))


def artifact(run: WandbRun, row: Row) -> Any:
    """Log a version of an artifact; returns what the SDK gives for it. The same content is the same version there."""
    wandb = _sdk()
    made = wandb.Artifact(artifact_name(row.key or ""), type=artifact_type(row.type or "file", row.key or ""))
    top = f"{row.key}/v{row.version}/"
    for file in row.files:
        path = file.path.removeprefix(top)
        if file.local is not None:
            made.add_file(file.local, name=path, policy="immutable", skip_cache=True)
        else:
            _refer(made, path, file.uri or "")
    aliases = ["latest", f"trk-v{row.version}", alias(run.spec.run_id, row.version)]
    return run.sdk.log_artifact(made, aliases=aliases)


def alias(run_id: str, version: int | str | None) -> str:
    """The alias of an artifact's version that no other run takes away."""
    return f"trk-{run_id}-v{version}"
