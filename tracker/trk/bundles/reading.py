"""Opening a bundle that anybody may have made: its members are the expected ones, and each is what the manifest says.

Nothing is unpacked by name, no link is followed, and nothing is read beyond the size that was declared.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

from trk.bundles import checking
from trk.bundles import format as form
from trk.errors import UsageError
from trk.rules import shown

_LINK, _KIND = 0o120000, 0o170000
_ENCRYPTED = 0x1
# What zipfile raises for a file that is no ZIP, or a damaged one, or one that nobody's tool makes.
_BROKEN = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError,
    ValueError, IndexError, KeyError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself: how many runs and rows, (hash, size) of the members, sizes of the blobs.

    `missing` are the blobs that rows name and that were not to be had when it was made.
    """

    runs: int
    rows: int
    members: dict[str, tuple[str, int]]
    blobs: dict[str, int]
    missing: frozenset[str]


class Bundle:
    """A bundle that is open. Whatever it reads raises UsageError for what is not as the manifest says."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.where = where
        with self.explained():
            self._zip = zipfile.ZipFile(file)
            size = file.seek(0, io.SEEK_END)
            self._entries = self._checked(size)
        self.manifest = self._manifest()
        self._check_members()

    def refused(self, why: str) -> UsageError:
        """The error for a bundle that can't be taken."""
        return UsageError(f"{self.where} can't be imported: {why}", hint="export it again; nothing was changed")

    @contextmanager
    def explained(self, what: str = "") -> Iterator[None]:
        """What is wrong with a bundle, as one error that names it."""
        inside = f"{what}: " if what else ""
        try:
            yield
        except UsageError as error:
            raise error if error.message.startswith(self.where) else self.refused(inside + error.message) from None
        except _BROKEN as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise self.refused(f"{inside}it is not a whole ZIP file ({said})") from None
        except OSError as error:
            raise UsageError(f"{self.where} can't be read: {error.strerror or error}") from None

    def _checked(self, size: int) -> dict[str, zipfile.ZipInfo]:
        """The members by name, none of them of a kind that a bundle does not have."""
        found: dict[str, zipfile.ZipInfo] = {}
        packed = 0
        for entry in self._zip.infolist():
            name = entry.filename
            if name in found:
                raise UsageError(f"it has {shown(name)} twice")
            if not _is_expected(name) or name != entry.orig_filename:
                raise UsageError(f"it has {shown(entry.orig_filename)}, which is no part of a bundle")
            if entry.external_attr >> 16 & _KIND == _LINK:
                raise UsageError(f"{shown(name)} is a link")
            if entry.flag_bits & _ENCRYPTED:
                raise UsageError(f"{shown(name)} is encrypted")
            blob = name.startswith(form.BLOBS)
            if entry.compress_type != zipfile.ZIP_STORED and (blob or entry.compress_type != zipfile.ZIP_DEFLATED):
                raise UsageError(f"{shown(name)} is compressed in a way that no bundle is")
            packed += entry.compress_size
            found[name] = entry
        if packed > size:  # members that lie in each other
            raise UsageError("its members are larger than the file")
        return found

    def _manifest(self) -> Manifest:
        """The manifest, whose version is looked at before anything else."""
        entry = self._entries.get(form.MANIFEST)
        with self.explained(form.MANIFEST if entry is not None else ""):
            if entry is None:
                raise UsageError("it has no manifest: it is not a bundle of trk")
            if entry.file_size > form.MAX_MANIFEST:
                raise UsageError(f"{entry.file_size} bytes are too many")
            given = checking.object_of(self._zip.read(entry).decode())
            if given.get("format") != form.FORMAT or type(given.get("version")) is not int:
                raise UsageError("it is not a bundle of trk")
            if given["version"] > form.VERSION:
                raise self._newer(given["version"])
            if given["version"] < 1:
                raise UsageError(f"there is no version {given['version']} of bundles")
            return _manifest_of(given)

    def _newer(self, version: int) -> UsageError:
        return UsageError(
            f"{self.where} was written by a newer trk (version {shown(version)} of bundles; this one knows "
            f"{form.VERSION})", hint="pip install --upgrade trk-ml"
        )  # fmt: skip

    def _check_members(self) -> None:
        """The members are those that the manifest names, and as large."""
        wanted = {name: size for name, (_, size) in self.manifest.members.items()}
        wanted |= {form.BLOBS + sha256: size for sha256, size in self.manifest.blobs.items()}
        with self.explained():
            there = set(self._entries) - {form.MANIFEST}
            for name in sorted(there.symmetric_difference(wanted))[:1]:
                missing = "is missing" if name in wanted else "is not in the manifest"
                raise UsageError(f"{shown(name)} {missing}")
            for name, size in wanted.items():
                if self._entries[name].file_size != size:
                    raise UsageError(f"{shown(name)} has another size than the manifest says")

    def _claimed(self, name: str) -> tuple[str, int]:
        """(hash, size) that a member should have."""
        if name in self.manifest.members:
            return self.manifest.members[name]
        sha256 = name.removeprefix(form.BLOBS)
        return sha256, self.manifest.blobs[sha256]

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """The lines of a member with their numbers, from 1; at their end its hash is known to be right."""
        sha256, size = self._claimed(name)
        digest, number = hashlib.sha256(), 0
        with self.explained(name):
            opened = self._zip.open(self._entries[name])
        with opened, io.BufferedReader(opened, form.CHUNK) as stream:  # type: ignore[type-var]  # it reads bytes
            while True:
                with self.explained(f"{name} line {number + 1}"):
                    found = stream.readline(form.MAX_LINE + 1)
                    if not found:
                        break
                    size -= len(found)
                    if len(found) > form.MAX_LINE or size < 0:
                        raise UsageError("it is too long")
                    if not found.endswith(b"\n"):
                        raise UsageError("it is cut off")
                    digest.update(found)
                    text = found[:-1].decode()
                number += 1
                yield number, text
        with self.explained(name):
            _check_hash(digest.hexdigest(), sha256)

    def copy(self, sha256: str, to: IO[bytes] | None) -> None:
        """Read a blob whole, writing it `to` a file if one is given; raises OSError when that can't be written."""
        name = form.BLOBS + sha256
        digest, left = hashlib.sha256(), self.manifest.blobs[sha256]
        with self.explained(name):
            opened = self._zip.open(self._entries[name])
        with opened:
            while True:
                with self.explained(name):
                    chunk = opened.read(form.CHUNK)
                    left -= len(chunk)
                    if left < 0:
                        raise UsageError("it is longer than the manifest says")
                    digest.update(chunk)
                if not chunk:
                    break
                if to is not None:
                    to.write(chunk)
        with self.explained(name):
            _check_hash(digest.hexdigest(), sha256)

    def close(self) -> None:
        """Let go of the file, which stays open."""
        self._zip.close()


def _is_expected(name: str) -> bool:
    if name in (form.MANIFEST, form.RUNS, form.ROWS):
        return True
    return name.startswith(form.BLOBS) and form.SHA256.fullmatch(name[len(form.BLOBS) :]) is not None


def _check_hash(found: str, wanted: str) -> None:
    if found != wanted:
        raise UsageError("its SHA-256 is not the one it should have: it was changed or damaged")


def _manifest_of(given: dict[str, Any]) -> Manifest:
    """What a manifest of this version says. Raises UsageError."""
    checking.check_keys(
        given,
        {"format", "version", "trk", "created_ms", "runs", "rows", "members", "blobs", "missing"},
    )
    members, blobs, missing = given["members"], given["blobs"], given["missing"]
    if not (isinstance(members, dict) and isinstance(blobs, dict) and isinstance(missing, list)):
        raise UsageError("members and blobs are objects, missing is a list")
    checking.check_keys(members, {form.RUNS, form.ROWS})
    listed: dict[str, tuple[str, int]] = {}
    for name, said in members.items():
        if not isinstance(said, dict):
            raise UsageError(f"{name} has no hash and size")
        checking.check_keys(said, {"sha256", "size"})
        listed[name] = (checking.check_hash(said["sha256"]), checking.whole(said["size"], "size"))
    sizes = {checking.check_hash(sha256): checking.whole(size, "size") for sha256, size in blobs.items()}
    absent = frozenset(map(checking.check_hash, missing))
    if both := absent & sizes.keys():
        raise UsageError(f"{min(both)} is both there and missing")
    return Manifest(checking.whole(given["runs"], "runs"), checking.whole(given["rows"], "rows"), listed, sizes, absent)
