"""Rows of files and tables as MLflow takes them: what lies at which path, and the tags by which its page finds it.

<path>                                the file, the latest that was logged there; a table as JSON
images/<key>+step+…+compressed.webp   of an image of a series, the small one that MLflow's page shows
trk/history/<n>/<path>                what a page, text or picture was before: what row n put there
trk/references/<name>-<hash>.json     of a file that stays where it is, its address
trk/pages/<name>-<hash>.html          of a figure in Plotly's JSON, a page that shows it
trk/manifest.json                     when the run ended: every file with size and hash

What trk adds lies in the folder `trk`, which no logged path has: it takes the place of nothing that a user put there.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trk import tabular
from trk.backends import _mlflow_plotly as plotly
from trk.backends._mlflow_files import Upload, put, writing
from trk.backends._mlflow_store import Store
from trk.errors import BackendRefused, BackendRunGone
from trk.records import Kind, LoggedFile, LoggedTable, RemoteRun, Row
from trk.rules import shown

HISTORY = "trk/history"
REFERENCES = "trk/references"
PAGES = "trk/pages"
MANIFEST = "trk/manifest.json"
COMPRESSED = "+compressed.webp"
TABLES_TAG, IMAGES_TAG = "mlflow.loggedArtifacts", "mlflow.loggedImages"
SHOWN = (".png", ".webp")  # what the page's grid of images takes; of others it gets a PNG beside

_MAX_TAG = 8000
_LONGEST_NAME = 255  # bytes of a name that file systems take
_READABLE = 100  # bytes of such a name that are kept, for people
_MAX_PIXELS = 50_000_000  # of an image that a small one is made of
_PLAIN_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA"))


def active(store: Store, run: RemoteRun) -> Any:
    """MLflow's own `Run`. Raises BackendRunGone when it is deleted: its artifacts would be taken all the same."""
    with store.calling() as mlflow:
        found = mlflow.get_run(run.remote_id)
    if found.info.lifecycle_stage != "active":
        raise BackendRunGone(f"run {run.remote_id} is deleted")
    return found


def send_files(store: Store, run: RemoteRun, rows: Sequence[Row]) -> None:
    """Put the files of neighbouring rows. Of what two rows have at one path, the later one's lies there."""
    found = active(store, run)
    with tempfile.TemporaryDirectory(prefix="trk-") as here:
        plan = _Plan(Path(here))
        for row in rows:
            plan.add(row)
        put(store, found, plan.uploads)
    if plan.has_series and IMAGES_TAG not in found.data.tags:
        _set_tag(store, run, IMAGES_TAG, "True")


def send_table(store: Store, run: RemoteRun, row: Row) -> None:
    """Put a table, whole, and list it among those that MLflow's page and `load_table` know.

    Where the tag that lists them is full, or somebody else's, it stays as it is: the file is there all the same.
    """
    table = row.table
    assert table is not None
    found = active(store, run)
    known = found.data.tags.get(TABLES_TAG)
    listed = _listed(known, table.path)
    with tempfile.TemporaryDirectory(prefix="trk-") as here:
        local = Path(here) / "table"
        _write(table, local)
        put(store, found, {table.path: Upload(str(local))})
    if listed not in (None, known):
        _set_tag(store, run, TABLES_TAG, listed)


def send_manifest(store: Store, run: RemoteRun, row: Row) -> None:
    """Put the list of a run's files when it ends: by it a machine without the journal knows what they must be."""
    files = [
        {key: value for key, value in given.items() if value is not None}
        for file in row.files
        for given in ({"path": file.path, "size": file.size, "sha256": file.sha256, "uri": file.uri},)
    ]
    found = active(store, run)
    with tempfile.TemporaryDirectory(prefix="trk-") as here:
        local = Path(here) / "manifest"
        with writing(MANIFEST):
            local.write_text(_json({"version": 1, "files": files}), encoding="utf-8")
        put(store, found, {MANIFEST: Upload(str(local))})


def reference_path(path: str) -> str:
    """Where the address of a file lies that stays where it is."""
    return apart(REFERENCES, path, ".json")


def reference(file: LoggedFile) -> bytes:
    """What lies there."""
    given = {"uri": file.uri, "size": file.size, "sha256": file.sha256}
    return _json({key: value for key, value in given.items() if value is not None}).encode()


def apart(folder: str, name: str, ending: str) -> str:
    """A path in a folder of trk's own for what belongs to a file or param; no two names have the same."""
    last = posixpath.basename(name).encode()[:_READABLE].decode(errors="ignore")
    return f"{folder}/{last}-{hashlib.sha256(name.encode()).hexdigest()[:12]}{ending}"


class _Plan:
    """What is put where. What has to be made for it is made in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.uploads: dict[str, Upload] = {}
        self.has_series = False
        self._folder = folder
        self._number = 0

    def add(self, row: Row) -> None:
        """Take the files of a row. Raises BackendRefused for one that has neither bytes nor an address."""
        for file in row.files:
            if file.local is not None:
                self._file(row, file)
            elif file.uri is not None:
                self._made(reference_path(file.path), reference(file))
            else:
                raise BackendRefused(f"{shown(file.path)} has no bytes here and no address")

    def _file(self, row: Row, file: LoggedFile) -> None:
        assert file.local is not None
        if file.earlier and file.before is not None and Path(file.before).is_file():
            self.uploads[f"{HISTORY}/{file.earlier}/{file.path}"] = Upload(file.before)
        self.uploads.pop(file.path, None)
        logged = (file.size, file.changed_ns) if file.size is not None and file.changed_ns is not None else None
        self.uploads[file.path] = Upload(file.local, file.sha256, logged)
        if row.kind is Kind.IMAGE and row.step is not None:
            self._series(file.path, file.local)
        elif row.kind is Kind.FIGURE and file.path.endswith(".json"):
            self._page(file.path, file.local)

    def _series(self, path: str, local: str) -> None:
        """What MLflow's page shows of an image of a series."""
        self.has_series = True
        stem, ending = posixpath.splitext(path)
        wanted = {stem + COMPRESSED: True} | ({} if ending.lower() in SHOWN else {stem + ".png": False})
        places = {path: (self._new(), small) for path, small in wanted.items() if _fits(path)}
        for path in _pictures(Path(local), places):
            self.uploads[path] = Upload(str(places[path][0]))

    def _page(self, path: str, local: str) -> None:
        page = plotly.page(Path(local), posixpath.basename(path))
        if page is not None:
            self._made(apart(PAGES, path.removesuffix(".json"), ".html"), page.encode())

    def _made(self, path: str, content: bytes) -> None:
        local = self._new()
        with writing(path):
            local.write_bytes(content)
        self.uploads[path] = Upload(str(local))

    def _new(self) -> Path:
        self._number += 1
        return self._folder / str(self._number)


def _fits(path: str) -> bool:
    return len(posixpath.basename(path).encode()) <= _LONGEST_NAME


def _pictures(source: Path, places: Mapping[str, tuple[Path, bool]]) -> Iterator[str]:
    """Make the pictures (place, whether it is to be small) of an image; gives the paths of those that could be made.

    None when Pillow is not installed, or can't read the image: that one is put as it is.
    """
    try:
        from mlflow.tracking.multimedia import compress_image_size
        from PIL import Image
    except ImportError:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd colour profiles, and of sizes that are looked at here
            with Image.open(source) as opened:
                if opened.width * opened.height > _MAX_PIXELS:
                    return
                image: Image.Image = opened if opened.mode in _PLAIN_MODES else opened.convert("RGB")
                for path, (place, small) in places.items():
                    picture = compress_image_size(image) if small else image
                    picture.save(place, "WEBP" if small else "PNG")
                    yield path
    except Exception:  # noqa: BLE001 - a damaged or odd image makes Pillow raise nearly anything
        return


def _write(table: LoggedTable, local: Path) -> None:
    with local.open("wb") as file:
        for piece in tabular.as_json(table):
            with writing(table.path):
                file.write(piece)


def _listed(known: str | None, path: str) -> str | None:
    """The tag that lists the tables of a run, with this one; None where it can't be in there."""
    try:
        tables = json.loads(known or "[]")
    except ValueError:
        tables = None
    if not isinstance(tables, list):
        return None
    entry = {"path": path, "type": "table"}
    if known is not None and entry in tables:
        return known
    # With the separators that load_table looks for, and not in ASCII, which it does not find.
    listed = json.dumps([*tables, entry], ensure_ascii=False)
    return listed if len(listed) <= _MAX_TAG else None


def _set_tag(store: Store, run: RemoteRun, key: str, text: str) -> None:
    with store.calling() as mlflow:
        from mlflow.entities import RunTag

        mlflow.set_tag(run.remote_id, RunTag(key, text))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
