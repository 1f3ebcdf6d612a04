"""Logging content: each function checks what is given, keeps its bytes, then writes the rows. `trk.run` calls these.

Nothing is written to the journal before all of it is known to be good and its bytes are kept. The log commands come
through here, so what costs time is imported where it is needed.
"""

from __future__ import annotations

import json
import os

from trk import rules
from trk.errors import UsageError
from trk.journal import blobs, content
from trk.media import files, kinds
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from trk.journal.db import Journal
    from trk.media.table_cells import Parsed
    from trk.run import Run

INLINE = 16_384  # bytes of rows of a table that stand in the journal itself; more is a blob
Entry = dict[str, "Any"]  # a file as the journal keeps it: path, size, sha256, source, changed_ns, uri


class Given:
    """Content to log: a file of the user's (`name`), or bytes. `where` is what a message calls it."""

    __slots__ = ("content", "name", "where")

    def __init__(self, name: str | None, content: bytes | None = None, where: str | None = None) -> None:
        self.name = name
        self.content = content
        self.where = where or (shown(name) if name is not None else "what is given")

    def head(self) -> bytes:
        """Its first bytes. Raises UsageError when it can't be read."""
        if self.content is not None:
            return self.content[: kinds.HEAD]
        assert self.name is not None
        file = blobs.open_regular(self.name)
        try:
            return os.read(file, kinds.HEAD)
        except OSError as error:
            raise UsageError(f"{self.where} can't be read: {error.strerror}") from None
        finally:
            os.close(file)

    def all(self, most: int) -> bytes:
        """All of it, when it is at most so many bytes; what is kept later is what was read. Raises UsageError."""
        if self.content is None:
            assert self.name is not None
            with os.fdopen(blobs.open_regular(self.name), "rb") as stream:
                try:
                    self.content = stream.read(most + 1)
                except OSError as error:
                    raise UsageError(f"{self.where} can't be read: {error.strerror}") from None
        if len(self.content) > most:
            raise UsageError(f"{self.where} is larger than {most // 1_000_000} MB")
        return self.content

    def entry(self, journal: Journal, path: str, progress: blobs.Progress | None = None) -> Entry:
        """Its bytes kept, as a file at this path of a run."""
        if self.content is not None:
            sha256, size = blobs.keep_bytes(journal, self.content)
        else:
            assert self.name is not None
            sha256, size = blobs.keep_file(journal, self.name, progress)
        return {"path": path, "size": size, "sha256": sha256}


def given(value: Any, what: str, mark: str = "") -> Given:
    """What a caller of Python gave: a path-like object is a file, text, bytes and what an open file holds are content.

    With `mark`, a text without it is the path of a file: `"<"` can't be missing in HTML.
    """
    if hasattr(value, "__fspath__"):
        return Given(os.fsdecode(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Given(None, bytes(value), what)
    if isinstance(value, str) and mark and mark not in value:
        return Given(value)
    if isinstance(value, str):
        return Given(None, rules.check_text(value, what).encode(), what)
    if callable(getattr(value, "read", None)) and not isinstance(value, type):
        return Given(None, _held(value, what), what)
    raise UsageError(f"{what} must be text, bytes, a path or an open file, not {type(value).__name__}")


def _held(file: Any, what: str) -> bytes:
    """All that an open file holds; it is left open, and at the place where it was."""
    try:
        seekable = callable(getattr(file, "seekable", None)) and file.seekable()
        place = file.tell() if seekable else 0
        if seekable:
            file.seek(0)  # what has just been drawn into a buffer ends where it stands
        try:
            found = file.read()
        finally:
            if seekable:
                file.seek(place)
    except UnicodeDecodeError:
        raise UsageError(f"{what} is a file that was opened as text", hint='open(path, "rb")') from None
    except (OSError, ValueError) as error:  # a closed file is a ValueError
        raise UsageError(f"{what} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if isinstance(found, str):
        return rules.check_text(found, what).encode()
    if not isinstance(found, (bytes, bytearray, memoryview)):
        raise UsageError(f"{what} can't be read: its read() gives {type(found).__name__}, not bytes")
    return bytes(found)


def html(run: Run, page: Given, name: str | None) -> int:
    """An HTML page; returns the row's number."""
    kinds.check_html(page.head(), page.where)
    return _one(run, "html", page, _named(run, name, page), (".html", ".htm"))


def text(run: Run, words: Given, name: str | None) -> int:
    """A text. Its path is its name, with .txt if that has no ending."""
    kinds.check_text(words.head(), words.where)
    own = _named(run, name, words, whole=True)
    return _one(run, "text", words, own, (files.ending(own) or ".txt",))


def document(run: Run, given: Given, name: str | None, ending: str | None) -> int:
    """A JSON, YAML or TOML document, kept as it is written. `ending` says which, else the file's or the name's does."""
    from trk.media import documents

    told = [ending or "", files.ending(given.name or ""), files.ending(name or "")]
    found = next((one for one in told if one in documents.ENDINGS), None)
    if found is None:
        raise UsageError(f"{given.where} must end in {', '.join(documents.ENDINGS)}", hint="or say which with --type")
    documents.parse(documents.decoded(given.all(documents.MAX_BYTES), given.where), found, given.where, mapping=False)
    same = (".yaml", ".yml") if found in (".yaml", ".yml") else (found,)
    own = _named(run, name, given)
    if files.ending(own) in documents.ENDINGS and files.ending(own) not in same:
        raise UsageError(f"{given.where} is {found[1:].upper()}, and its name ends in {files.ending(own)}")
    return _one(run, "dict", given, own, (found, *same))


def image(run: Run, picture: Given, name: str | None, step: int | None) -> int:
    """An image; with a step, one of a series under this name."""
    found = kinds.image(picture.head(), picture.where)
    own = _named(run, name, picture)
    if step is None:
        return _one(run, "image", picture, own, _endings(found, own, picture, "image"))
    key = own.removesuffix(found)
    if not key or not key.isascii() or ":" in key:
        raise UsageError(
            f"name {shown(key)} of an image series: letters without accents, digits and _ - . space / only"
        )
    entry = picture.entry(run.journal, "")
    entry["path"] = rules.check_artifact_path(_series_path(key, step, entry["sha256"], found))
    return content.append_files(run.journal, run.id, "image", [entry], key, step)


def _series_path(key: str, step: int, sha256: str, ending: str) -> str:
    """The path by which MLflow's own page knows an image of a series (`MlflowClient.log_image`)."""
    from trk.journal.write import now_ms

    digits = "-".join((sha256[:8], sha256[8:12], sha256[12:16], sha256[16:20], sha256[20:32]))
    return f"images/{key.replace('/', '~')}+step+{step}+timestamp+{now_ms()}+{digits}{ending}"


def figure(run: Run, drawing: Given, name: str | None) -> int:
    """A figure: PNG, JPEG, SVG, PDF, Plotly's JSON, or HTML."""
    found = kinds.figure(drawing.head(), drawing.where)
    if found == ".json":
        _check_plotly(drawing)
    own = _named(run, name, drawing)
    return _one(run, "figure", drawing, own, _endings(found, own, drawing, "figure"))


MAX_FIGURE = 200_000_000  # bytes of a figure in JSON, which is read whole


def _check_plotly(drawing: Given) -> None:
    from trk.media import documents

    text = documents.decoded(drawing.all(MAX_FIGURE), drawing.where)
    try:
        found = documents.json_reader(plain=True)(text)
    except UsageError as error:
        raise UsageError(f"{drawing.where}: {error.message}") from None
    except RecursionError:
        raise UsageError(f"{drawing.where} is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{drawing.where} is not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        raise UsageError(f"{drawing.where} is not a figure of Plotly: it has no list `data`", hint="trk log-dict")


def _endings(found: str, name: str, thing: Given, what: str) -> tuple[str, ...]:
    """The endings that a path may have for a content of this kind, the one to add first."""
    own = files.ending(name)
    if own in (
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".svg",
        ".pdf",
        ".json",
        ".html",
        ".htm",
    ):
        kinds.check_ending(own, found, thing.where, what)
        return found, own
    return (found,)


def _named(run: Run, name: str | None, thing: Given, *, whole: bool = False) -> str:
    """The name to log under: as given, else the file's (without its ending, unless `whole`); with the run's prefix."""
    if name is not None:
        checked = rules.check_name(name)
    elif thing.name is None:
        raise UsageError(f"{thing.where} needs a name", hint="--name NAME")
    else:
        own = os.path.basename(thing.name) if whole else files.stem(thing.name)
        try:
            checked = rules.check_name(own)
        except UsageError as error:
            raise UsageError(error.message, hint="--name NAME") from None
    return rules.check_name(run.key_prefix + checked) if run.key_prefix else checked


def _one(run: Run, kind: str, thing: Given, name: str, endings: Sequence[str]) -> int:
    """One file under a name. The first of `endings` is added to the name unless it has one of them."""
    path = name if name.lower().endswith(tuple(endings)) else name + endings[0]
    rules.check_artifact_path(path, "name")
    return content.append_files(run.journal, run.id, kind, [thing.entry(run.journal, path)], name)


def table(run: Run, name: str, rows: Parsed) -> tuple[int, int]:
    """Rows of a table; returns (row number, how many rows). Nothing is written when one of them is bad."""
    name = rules.check_name(name, "table name")
    name = rules.check_name((run.key_prefix + name).removesuffix(content.TABLE_END), "table name")
    rules.check_artifact_path(name + content.TABLE_END, "table name")
    if ":" in name:
        raise UsageError(f"table name {shown(name)} has a colon, which no table of MLflow may have")
    lines = _Lines(rows.rows)
    first = lines.upto(INLINE)
    if not lines.count:
        raise UsageError("a table without rows: there is nothing to log")
    if lines.ended:
        part: Mapping[str, Any] = {"rows": [json.loads(line) for line in first]}
    else:
        sha256, size = blobs.keep_chunks(run.journal, lines.chunks(first))
        part = {"sha256": sha256, "size": size, "count": lines.count}
    return content.append_table(run.journal, run.id, name, rows.columns, part, lines.count), lines.count


class _Lines:
    """Rows as lines of JSON, counted."""

    __slots__ = ("_rows", "count", "ended")

    def __init__(self, rows: Iterator[list[object]]) -> None:
        self._rows = rows
        self.count = 0
        self.ended = False

    def _next(self) -> str | None:
        for row in self._rows:
            self.count += 1
            return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        self.ended = True
        return None

    def upto(self, most: int) -> list[str]:
        """The first lines, of at most so many characters and one more line."""
        lines: list[str] = []
        while most > 0 and (line := self._next()) is not None:
            lines.append(line)
            most -= len(line)
        return lines

    def chunks(self, first: Sequence[str]) -> Iterator[bytes]:
        """All lines, from the first ones on, as bytes in pieces of some size."""
        waiting, size = list(first), 0
        while (line := self._next()) is not None:
            waiting.append(line)
            size += len(line)
            if size > blobs.CHUNK:
                yield ("\n".join(waiting) + "\n").encode()
                waiting, size = [], 0
        if waiting:
            yield ("\n".join(waiting) + "\n").encode()


def artifact(
    run: Run,
    names: Sequence[str],
    *,
    path: str | None = None,
    name: str | None = None,
    type_: str | None = None,
    references: Sequence[str] = (),
    snapshot: bool = True,
    progress: blobs.Progress | None = None,
) -> tuple[int, int | None]:
    """Files and folders, and references to what stays where it is; returns (row number, version or None)."""
    if not names and not references:
        raise UsageError("no files are given", hint="trk log-artifact model.pt")
    if type_ is not None and name is None:
        raise UsageError("an artifact with a type needs a name", hint="--name NAME")
    into = rules.check_artifact_path(path.rstrip("/") or path, "path") if path is not None else None
    if name is not None:
        check_artifact_name(name)
    if type_ is not None:
        rules.check_name(type_, "artifact type")
    found = files.gathered(names, into, without=os.path.realpath(run.folder), contents=name is not None)
    pointers = [reference(uri, into) for uri in references]
    paths = [path for _, path in found] + [pointer["path"] for pointer in pointers]
    check_once(paths)
    for one in paths if name is not None else ():
        rules.check_artifact_path(f"{name}/v0/{one}", "artifact path")
    for here, _ in found:  # that one can't be read is told before gigabytes of others are copied
        os.close(blobs.open_regular(here))
    entries = [_entry(run.journal, here, at, snapshot, progress) for here, at in found] + pointers
    if name is None:
        return content.append_files(run.journal, run.id, "file", entries), None
    guess = kinds.type_of(files.ending(paths[0]))
    return content.append_artifact(run.journal, run.id, name, type_, guess, content.digest_of(entries), entries)


def check_artifact_name(name: str) -> None:
    """Raise UsageError for a name that no artifact may have."""
    rules.check_artifact_path(rules.check_name(name, "artifact name"), "artifact name")
    if ":" in name:
        raise UsageError(f"artifact name {shown(name)} has a colon, after which the version stands", hint="name:v0")


def check_once(paths: Sequence[str]) -> None:
    """Raise UsageError when a path comes twice, or is both a file and a folder."""
    known = set(paths)
    for path in paths:
        if len(known) != len(paths) and paths.count(path) > 1:
            raise UsageError(f"there are two of {shown(path)}", hint="log them with two --path")
        at = path.rfind("/")
        while at != -1:
            if path[:at] in known:
                raise UsageError(f"{shown(path[:at])} would be both a file and a folder", hint="another --path")
            at = path.rfind("/", 0, at)


def _entry(journal: Journal, here: str, path: str, snapshot: bool, progress: blobs.Progress | None) -> Entry:
    if snapshot:
        return Given(here).entry(journal, path, progress)
    source = rules.check_text(os.path.abspath(here), "the path of a file without a snapshot")
    sha256, size, changed_ns = blobs.hash_in_place(here, progress)
    return {"path": path, "size": size, "sha256": sha256, "source": source, "changed_ns": changed_ns}


def reference(uri: str, into: str | None) -> Entry:
    """What stays where it is, by its address; user, password and keys in it are not kept."""
    from urllib.parse import unquote

    from trk.addresses import without_userinfo

    scheme, mark, rest = rules.check_text(uri, "reference").partition("://")
    plain = scheme[:1].isalpha() and scheme.isascii() and scheme.translate({43: "", 45: "", 46: ""}).isalnum()
    if not (mark and rest and plain) or not uri.isprintable() or " " in uri:
        raise UsageError(
            f"reference {shown(without_userinfo(uri))} is no address",
            hint="such as s3://bucket/data, or file:///data/set",
        )
    kept = without_userinfo(uri)
    own = unquote(kept.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2])
    path = rules.check_artifact_path(f"{into}/{own}" if into else own, "path of the reference")
    return {"path": path, "uri": kept}
