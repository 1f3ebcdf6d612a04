"""Where a table is read from: a file, or standard input put aside so that it can be read twice."""

from __future__ import annotations

import io
import os
import stat

from trk.errors import JournalError, UsageError
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

IN_MEMORY = 8_000_000  # bytes of standard input that are kept without a file
MAX_LINE = 50_000_000  # characters
_BLOCK = 1 << 20
_LONGEST = 200  # characters of a path that a message says whole
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Source:
    """The bytes of a table, to be read as often as needed; `where` is what messages call it.

    `found` is the stat of a file that others may change meanwhile.
    """

    __slots__ = ("_found", "file", "where")

    def __init__(self, file: BinaryIO, where: str, found: os.stat_result | None = None) -> None:
        self.file = file
        self.where = where
        self._found = found

    def __del__(self) -> None:
        self.close()  # rows that nobody takes leave nothing open

    def close(self) -> None:
        """Give the file back, if that was not done before."""
        try:
            self.file.close()
        except OSError:
            pass  # what a full disk did not take is not wanted any more

    def size(self) -> int:
        """How many bytes there are."""
        return self.file.seek(0, io.SEEK_END)

    def check_unchanged(self) -> None:
        """Raise UsageError when the file is not what it was when it was opened."""
        if self._found is None:
            return
        now = os.fstat(self.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._found.st_size, self._found.st_mtime_ns):
            raise self.changed()

    def error(self, message: str, *, line: int | None = None, hint: str | None = None) -> UsageError:
        """A UsageError that names the place."""
        place = self.where if line is None else f"{self.where}, line {line}"
        return UsageError(f"{place}: {message}", hint=hint)

    def unreadable(self, error: OSError) -> UsageError:
        """The UsageError for an error of the system."""
        return UsageError(f"{self.where} can't be read: {error.strerror or error}")

    def changed(self) -> UsageError:
        """The UsageError for what is not the same the second time."""
        return UsageError(f"{self.where} was changed while it was read", hint="log it when it is finished")


class Script:
    """How the text of a source is written: `encoding`, after how many bytes (`skip`), and its `longest` line."""

    __slots__ = ("encoding", "longest", "skip")

    def __init__(self, encoding: str, skip: int) -> None:
        self.encoding = encoding
        self.skip = skip
        self.longest = 0


def called(path: str) -> str:
    """A path as a message may say it."""
    return path if len(path) <= _LONGEST and path.isprintable() and path.strip() else shown(path)


def regular(path: str, what: str) -> os.stat_result:
    """The stat of a regular file. It is not opened: a pipe would wait for its writer.

    Raises UsageError when there is none, for a folder, and for pipes, sockets and devices.
    """
    name = f"{what} {called(path)}"
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise UsageError(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise UsageError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{name} is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{name} is a pipe, socket or device, not a file", hint="- reads standard input")
    return found


def of_file(path: str) -> Source:
    """A regular file as a source. Raises UsageError when it is none, is empty, or can't be read."""
    where = called(path)
    found = regular(path, "table")
    if not found.st_size:
        raise UsageError(f"table {where} is empty")
    try:
        return Source(open(path, "rb"), where, found)
    except OSError as error:
        raise UsageError(f"table {where} can't be read: {error.strerror or error}") from None


def of_stream(stream: BinaryIO, where: str) -> Source:
    """A stream as a source: in memory when it is short, else in a file that nobody else sees.

    Raises UsageError when it is empty or can't be read, JournalError when there is no room for it.
    """
    head = io.BytesIO()
    while head.tell() <= IN_MEMORY:  # a pipe without a buffer gives less than it is asked for
        block = _taken(stream, _BLOCK, where)
        head.write(block)
        if not block and not head.tell():
            raise UsageError(f"{where} is empty")
        if not block:
            return Source(head, where)
    import tempfile

    try:
        source = Source(tempfile.TemporaryFile(), where)  # noqa: SIM115 - the source closes it
    except OSError as error:
        raise _no_room(where, error) from None
    try:
        source.file.write(head.getbuffer())
        while block := _taken(stream, _BLOCK, where):
            source.file.write(block)
        source.file.flush()
    except OSError as error:
        source.close()
        raise _no_room(where, error) from None
    return source


def _no_room(where: str, error: OSError) -> JournalError:
    return JournalError(f"{where} can't be put aside in a temporary file: {error.strerror or error}")


def _taken(stream: BinaryIO, count: int, where: str) -> bytes:
    try:
        return stream.read(count)
    except OSError as error:
        raise UsageError(f"{where} can't be read: {error.strerror or error}") from None


def examined(source: Source, *, whole: bool = False) -> Script:
    """Read a text through once, to know that it is one before anything is made of it.

    Raises UsageError naming the line for bytes that are not UTF-8 (or UTF-16, after its mark), for a NUL, and,
    unless the text is held in memory whole, for a line that is longer than memory should hold.
    """
    import codecs

    source.file.seek(0)
    head = source.file.read(3)
    mark, encoding = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", "utf-8"))
    script = Script(encoding, len(mark))
    decoder = codecs.getincrementaldecoder(encoding)()
    source.file.seek(script.skip)
    offset, lines, tail = script.skip, 1, 0
    block = b"-"
    while block:
        block = _taken(source.file, _BLOCK, source.where)
        kept = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line = lines + error.object[: error.start].decode(encoding, "ignore").count("\n")
            name = encoding[:6].rstrip("-").upper()
            raise UsageError(
                f"{source.where} is not {name} text (byte {offset - kept + error.start}, line {line})",
                hint="save it as UTF-8, or as UTF-16 with its byte order mark",
            ) from None
        _check_nul(text, lines, source)
        parts = text.split("\n")
        tail += len(parts[0])
        script.longest = max(script.longest, tail, *map(len, parts[1:]))
        tail = len(parts[-1]) if len(parts) > 1 else tail
        lines += len(parts) - 1
        offset += len(block)
        if script.longest > MAX_LINE and not whole:
            raise source.error(f"a line has more than {MAX_LINE} characters", line=lines)
    return script


def _check_nul(text: str, lines: int, source: Source) -> None:
    if "\0" in text:
        line = lines + text[: text.index("\0")].count("\n")
        raise source.error(
            "there is a NUL character, which no text has", line=line, hint="UTF-16 needs its byte order mark"
        )


def lines_of(source: Source, script: Script, newline: str | None = "") -> Iterator[str]:
    """The lines of an examined text, each with its end; `newline` as in `open`."""
    source.file.seek(script.skip)
    text = io.TextIOWrapper(source.file, script.encoding, newline=newline)
    try:
        for line in text:  # noqa: UP028 - `yield from` would close the file with the generator
            yield line
    except UnicodeDecodeError:
        raise source.changed() from None
    except OSError as error:
        raise source.unreadable(error) from None
    finally:
        if not source.file.closed:
            text.detach()  # for whoever reads next
