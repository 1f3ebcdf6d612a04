"""Files and folders of the user: what is found there, and under which path each file goes into a run."""

from __future__ import annotations

import os

from trk import rules
from trk.errors import UsageError
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Found = tuple[str, str]  # the file here, its path in the run


MAX_FILES = 1_000_000  # links that fork again and again make more of a few folders than any disk holds


def gathered(names: Sequence[str], into: str | None, *, without: str, contents: bool = False) -> list[Found]:
    """Every file of files and folders, each with its path inside a run, below `into`. A path comes once.

    A folder goes in under its own name; one named with a slash at its end, and a single one with `contents`, goes in
    without it. `without` is a folder that is left out: trk's own. Raises UsageError for what is no file or folder, for
    names that no run can have, for links that lead out of their folder or round in it, and for two files of one path.
    """
    found: dict[str, str] = {}
    for name in names:
        if not name:
            raise UsageError("the path of a file is empty")
        for here, path in _of(name, into, without, bare=contents and len(names) == 1):
            rules.check_artifact_path(path, "artifact path")
            if len(found) == MAX_FILES:
                raise UsageError(f"there are more than {MAX_FILES} files", hint="log an archive of them")
            if path in found and found[path] != here:
                raise UsageError(
                    f"{shown(found[path])} and {shown(here)} would both be {path}", hint="log them with two --path"
                )
            found[path] = here
    return [(here, path) for path, here in found.items()]


def _of(name: str, into: str | None, without: str, *, bare: bool) -> Iterator[Found]:
    own = os.path.basename(os.path.normpath(name))
    if not os.path.isdir(name):
        yield name, _joined(into, own)
        return
    if bare or name.endswith("/") or own in (".", ".."):
        own = ""
    top = os.path.realpath(name)
    if _is_in(top, without):
        raise UsageError(f"{shown(name)} is trk's own folder, which is no part of a run")
    seen = False
    for here, inner in _walk(name, "", top, (top,), without):
        seen = True
        yield here, _joined(into, _joined(own, inner))
    if not seen:
        raise UsageError(f"folder {shown(name)} holds no files")


def _joined(folder: str | None, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name


def _walk(folder: str, inner: str, top: str, above: tuple[str, ...], without: str) -> Iterator[Found]:
    """The files below a folder, by name. `above` are the real folders that this one is in."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{shown(folder)} can't be read: {error.strerror}") from None
    if len(inner) > rules.MAX_PATH:
        raise UsageError(f"folder {shown(inner)} lies too deep: a path has at most {rules.MAX_PATH} characters")
    for entry in entries:
        path = _joined(inner, entry.name)
        if entry.is_symlink():
            _check_link(entry.path, top)
        if not entry.is_dir():
            yield entry.path, path
            continue
        real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
        if _is_in(real, without):
            continue
        if real in above:
            raise UsageError(f"the link {shown(entry.path)} leads back to a folder that it is in")
        yield from _walk(entry.path, path, top, (*above, real), without)


def _check_link(link: str, top: str) -> None:
    """Inside a folder a link may lead anywhere in that folder: what lies elsewhere nobody meant to log."""
    try:
        real = os.path.realpath(link, strict=True)
    except OSError:
        raise UsageError(f"the link {shown(link)} leads nowhere, or round") from None
    if not _is_in(real, top):
        raise UsageError(f"the link {shown(link)} leads out of its folder", hint="log what it leads to by its own path")


def _is_in(real: str, folder: str) -> bool:
    return real == folder or real.startswith(folder.rstrip("/") + "/")


def stem(name: str) -> str:
    """A file's name without folder and ending."""
    return os.path.splitext(os.path.basename(os.path.normpath(name)))[0]


def ending(name: str) -> str:
    """A file's ending with its dot, in lower case; empty when it has none."""
    return os.path.splitext(name)[1].lower()
