"""What runs hold besides numbers: listed, and fetched with their checksums verified."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from trk import rules, session
from trk.delivery import Progress
from trk.errors import Conflict, NoActiveRun, NotFound, TrkError, UsageError
from trk.journal import blobs, files
from trk.query import ask, sources, tables, words
from trk.query.sources import Source, Warn
from trk.records import ArtifactRecord, RunRecord
from trk.tracker import find_journal, need_run

GET_TIMEOUT_S = 3600.0  # a large model takes its time


def artifacts(
    run: ask.RunName | None = None,
    *,
    path: str | None = None,
    type: str | None = None,  # noqa: A002 - the option's name
    earlier: bool = False,
    source: str | None = None,
    timeout: float = ask.DEFAULT_TIMEOUT_S,
    warn: Warn = ask.warn_python,
) -> list[ArtifactRecord]:
    """The files and tables of a run (left out: the active one), by path.

    `path` narrows them to a folder or file, `type` to artifacts of that type. With `earlier`, what was logged at a path
    before is listed too (in the journal alone). Raises NotFound, NoActiveRun, SourceUnavailable.
    """
    deadline = time.monotonic() + timeout
    found, record = ask.locate(run, source=source, timeout=timeout, warn=warn)
    listed = sources.within(found, deadline, lambda: found.artifacts(record, earlier))
    return [
        one
        for one in listed
        if (path is None or one.path == path.rstrip("/") or one.path.startswith(path.rstrip("/") + "/"))
        and type in (None, one.type)
    ]


def get_artifact(
    what: str,
    run: ask.RunName | None = None,
    *,
    to: str | os.PathLike[str] = ".",
    n: int | None = None,
    overwrite: bool = False,
    single: bool = False,
    source: str | None = None,
    timeout: float = GET_TIMEOUT_S,
    warn: Warn = ask.warn_python,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetch files of a run (left out: the active one), with checksums verified; returns where they are.

    `what` is a path, a folder, `.` for everything, the name something was logged under (all images of a series), or an
    artifact as `name`, `name:latest` or `name:v3`; for those the run may be left out where none is active, and the
    experiment's newest is meant. One file goes into the folder `to`, or is `to` itself when that is no folder and has
    no slash at its end; several go into a folder of their name in `to`, and everything goes into `to` as it lies in
    the run. A table is JSON, unless the file that it is to be ends in .csv, .tsv or .jsonl: then it is written so.
    `n` is the row of an earlier content. What is there already is left when it is the same, and otherwise a Conflict
    unless `overwrite`. With `single` several are a UsageError, and nothing is fetched. `progress` is told how many of
    several files are there, of how many.

    Raises NotFound, also when all of it is references, SourceUnavailable, and TrkError when a checksum differs (nothing
    is left of that file).
    """
    if not rules.check_text(what, "the artifact's name"):
        raise UsageError("the artifact's name is empty", hint=". is everything; else trk artifacts ls")
    if n is not None:
        ask.check_count(n, "n", 0)
    if not os.fspath(to) or "\0" in os.fspath(to):
        raise UsageError(f"output {rules.shown(os.fspath(to))} is no path", hint=". is the folder you are in")
    deadline = time.monotonic() + timeout
    found, record = ask.locate(_run_of(what, run), source=source, timeout=timeout, warn=warn)
    listed = sources.within(found, deadline, lambda: found.artifacts(record, n is not None))
    chosen, folder = _chosen(what, [one for one in listed if n in (None, one.n)], record)
    here = [one for one in chosen if one.uri is None]
    if not here:
        raise NotFound(f"{chosen[0].path} is a reference: it stays at {chosen[0].uri}")
    if single and len(chosen) > 1:
        raise UsageError(f"{rules.shown(what)} is {len(chosen)} files", hint="name one of them by its path")
    for one in chosen:
        if one.uri is not None:
            warn(f"{one.path} is a reference: it stays at {one.uri}")
    fetched: list[Path] = []
    for one in here:
        if progress is not None and len(here) > 1:
            progress(len(fetched), len(here))
        target = _target(to, one.path, folder)
        _fetch(found, record, one, target, overwrite=overwrite, deadline=deadline)
        if one.sha256 is None and one.kind != "table":
            warn(f"{one.path}: {found.name} knows no checksum of it, so it was not verified")
        fetched.append(target)
    return fetched


def _run_of(what: str, run: ask.RunName | None) -> ask.RunName | None:
    """The run to look in: the one named, the active one, else the newest with an artifact of this name.

    Raises NoActiveRun, and NotFound where a version is named and no run has it.
    """
    if run is not None:
        return run
    try:
        need_run(None)
    except NoActiveRun:
        here = find_journal()
        name, colon, alias = what.partition(":")
        version, place = _version(alias), ask.narrowed(None)
        newest = files.newest_version(here[1], place, name, version) if here is not None else None
        if newest is None and colon:
            where = f" in experiment {place}" if place else ""
            raise NotFound(f"no run{where} has an artifact {rules.shown(what)}", hint="trk artifacts ls RUN") from None
        if newest is None:
            raise
        return newest
    return None


def _version(alias: str) -> int | None:
    """The version that an alias means; None for the latest. Raises UsageError."""
    if alias in ("", "latest"):
        return None
    if alias[0] == "v" and alias[1:].isascii() and alias[1:].isdigit() and len(alias) < 10:
        return int(alias[1:])
    raise UsageError(f"{rules.shown(alias)} is no version of an artifact", hint="latest, or v0, v1, …")


def _chosen(
    what: str, listed: Sequence[ArtifactRecord], run: RunRecord
) -> tuple[list[ArtifactRecord], tuple[str, str] | None]:
    """What is meant; and when it is several files, the name of their folder and the path above them."""
    path = what.rstrip("/")
    if path == ".":
        if not listed:
            raise NotFound(f"run {run.run_id} has no files", hint=f"trk artifacts ls {run.run_id}")
        return list(listed), ("", "")
    if exact := [one for one in listed if one.path == path]:
        return exact[-1:], None
    name, _, alias = what.partition(":")
    versions = [one for one in listed if one.name == name and one.version is not None]
    if versions:
        wanted = _version(alias)
        newest = max(versions, key=lambda one: (one.n or 0, one.version or 0)).version
        if same := [one for one in versions if one.version == (newest if wanted is None else wanted)]:
            return same, (_last(name), f"{name}/v{same[0].version}/")
    named = [one for one in listed if one.name == what and one.version is None]
    if len({one.path for one in named}) == 1:
        return named[-1:], None
    if named:
        return named, (_last(what), "images/")
    if below := [one for one in listed if one.path.startswith(path + "/")]:
        return below, (_last(path), path + "/")
    near = words.near(what, {name for one in listed for name in (one.path, one.name) if name}, others=0, alike=0.6)
    hint = f"there is {', '.join(near)}" if near else f"trk artifacts ls {run.run_id}"
    raise NotFound(f"run {run.run_id} has no artifact {rules.shown(what)}", hint=hint)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _target(to: str | os.PathLike[str], path: str, folder: tuple[str, str] | None) -> Path:
    """Where a file goes. Paths of a server are not trusted: none leads out of the folder."""
    if not path.isprintable() or "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise TrkError(f"the path {rules.shown(path)} is no plain path, so it is not written here")
    place = Path(to)
    if folder is None:
        # Unlike pathlib's, this is False for a name too long, which is told when the file is written.
        is_folder = os.fspath(to).endswith("/") or os.path.isdir(to)  # noqa: PTH112
        return place / _last(path) if is_folder else place
    own, above = folder
    return place / own / path.removeprefix(above)


def _fetch(
    source: Source, run: RunRecord, artifact: ArtifactRecord, target: Path, *, overwrite: bool, deadline: float
) -> None:
    """Fetch one file beside its target, and put it there when it is whole and what it should be."""
    form = tables.form_of(target, artifact.path) if artifact.kind == "table" else None
    try:
        _check_target(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trk-", dir=target.parent, ignore_cleanup_errors=True) as apart:
            draft = Path(apart) / "draft"
            if form is None:
                sources.within(source, deadline, lambda: source.fetch(run, artifact, str(draft)))
            else:
                sources.within(source, deadline, lambda: _fetch_table(source, run, artifact, form, draft))
            sha256 = _verified(draft, artifact)
            if overwrite or not _is_same(target, sha256):
                draft.replace(target)
    except OSError as error:
        raise TrkError(f"{rules.shown(str(target))} can't be written: {error.strerror}", hint="df -h; ls -ld") from None


def _fetch_table(source: Source, run: RunRecord, artifact: ArtifactRecord, form: str, to: Path) -> None:
    """Write a whole table as csv, tsv or jsonl: from the journal's rows, or from the file that a backend has."""
    journal = session.existing_journal(session.find_folder()) if source.name == sources.LOCAL else None
    try:
        if journal is not None:
            tables.write(tables.of_journal(journal, artifact), form, to)
        else:
            whole = to.with_name("whole")
            source.fetch(run, artifact, str(whole))
            tables.write(tables.of_file(whole, artifact), form, to)
    except UsageError as error:
        raise TrkError(f"{artifact.path} can't be read as a table: {error.message}", hint="-o FILE.json") from None


def _check_target(target: Path) -> None:
    """Raise Conflict where no file can be put: what is there is a folder, or a device that would be lost."""
    if target.is_dir():
        raise Conflict(f"{rules.shown(str(target))} is a folder", hint="another --output")
    if target.exists() and not target.is_file():
        raise Conflict(f"{rules.shown(str(target))} is a pipe, socket or device, not a file", hint="-o - > FILE")


def _is_same(target: Path, sha256: str) -> bool:
    """Whether a file with this content is there already. Raises Conflict for anything else that is there."""
    if not os.path.lexists(target):
        return False
    if not target.is_file() or _hash(target) != sha256:
        raise Conflict(f"{rules.shown(str(target))} is there already, and differs", hint="--force, or another --output")
    return True


def _verified(draft: Path, artifact: ArtifactRecord) -> str:
    """The hash of what was fetched. Raises TrkError when it is not what was logged."""
    found = _hash(draft)
    if artifact.sha256 is not None and artifact.kind != "table" and found != artifact.sha256:
        raise TrkError(
            f"{artifact.path} is not what was logged: its sha256 is {found[:12]}…, and it was {artifact.sha256[:12]}…",
            hint="--source local has the copy that was made when it was logged",
        )
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return blobs.hash_of(file.fileno(), None)[0]
