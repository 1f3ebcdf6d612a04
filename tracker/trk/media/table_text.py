"""Tables of CSV and TSV: read twice, once for the types of the columns and once for the rows, in little memory."""

from __future__ import annotations

# `csv` is this module and `re`, which costs more than reading a small table.
import _csv
from _thread import allocate_lock
from itertools import islice

from trk.errors import UsageError
from trk.media.table_cells import Parsed, check_columns, count, placed
from trk.media.table_source import Script, Source, examined, lines_of
from trk.media.table_types import Column, convert
from trk.rules import MAX_TEXT, parse_number, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import Any

BATCH_ROWS = 2_000  # what fits the processor's caches: a third quicker than 10,000
BATCH_CELLS = 200_000
BATCH_TEXT = 20_000_000  # characters
_SAYS = (
    ("unexpected end of data", "a quote is opened here and never closed"),
    ("field larger than", f"a cell has more than {MAX_TEXT} characters; is a quote never closed?"),
    ("expected after", "text goes on after a closing quote; a quote within a quoted cell is written twice"),
    ("new-line character", "there is more than one line"),
)

_OTHERS = (
    ("\t", "tabs", "--type tsv"),
    (";", "semicolons", "write it with commas; if it is one column, --columns names it"),
)


class _Wide:
    """Within it cells may be long: the limit of Python's csv module is one for the whole process.

    It is held for the moments in which a reader works, and put back unless someone else has set it meanwhile.
    """

    _lock = allocate_lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._before = _csv.field_size_limit()
        if self._before < MAX_TEXT:
            _csv.field_size_limit(MAX_TEXT)

    def __exit__(self, *_: object) -> None:
        if self._before < MAX_TEXT and _csv.field_size_limit() == MAX_TEXT:
            _csv.field_size_limit(self._before)
        self._lock.release()


def split_line(text: str, what: str) -> list[str]:
    """The cells of one line of CSV. Raises UsageError naming `what` it is when it is none, or several."""
    try:
        with _Wide():
            rows = list(_csv.reader([text], strict=True))
    except _csv.Error as error:
        raise UsageError(f"{what}: {_explained(error)}") from None
    if not rows or not rows[0]:
        raise UsageError(f"{what} is empty")
    return rows[0]


def read(source: Source, delimiter: str, columns: Sequence[str] | None) -> Parsed:
    """The table in a text of cells that `delimiter` separates.

    The first line has the columns' names. `notes` say which columns are text though most of their cells are numbers.
    With `columns` the text has no such line; when it has, with the same
    names, it is taken for what it is. Raises UsageError, also while rows are taken.
    """
    sheet = _Sheet(source, delimiter)
    places = sheet.name_columns(columns)
    kinds = [Column() for _ in sheet.columns]
    for batch in sheet.batches():
        for kind, cells in zip(kinds, zip(*batch, strict=True), strict=True):
            kind.see(cells)
    if not sheet.has_rows:
        raise source.error("the table has no rows")
    names = sheet.columns if places is None else [sheet.columns[place] for place in places]
    return Parsed(names, _rows(sheet, [kind.kind() for kind in kinds], places), _notes(sheet, kinds))


def _notes(sheet: _Sheet, kinds: Sequence[Column]) -> list[str]:
    """Which columns became text by a cell or two, and by which: who reads them again wants numbers."""
    found = {place: culprit for place, kind in enumerate(kinds) if (culprit := kind.culprit()) is not None}
    if not found:
        return []
    lines = sheet.lines_of_cells({place: text for place, (text, _) in found.items()})
    return [
        f"{sheet.source.where}: column {shown(sheet.columns[place])} is text: line {lines[place]}: {shown(text)} {why}"
        for place, (text, why) in found.items()
        if place in lines
    ]


def _rows(sheet: _Sheet, kinds: list[int], places: list[int] | None) -> Iterator[list[Any]]:
    for batch in sheet.batches():
        cells: list[Sequence[Any]] = list(zip(*batch, strict=True))
        try:
            found = [convert(texts, kind) for texts, kind in zip(cells, kinds, strict=True)]
        except (ValueError, KeyError):
            raise sheet.source.changed() from None
        if places is not None:
            found = [found[place] for place in places]
        yield from map(list, zip(*found, strict=True))


class _Sheet:
    """Lines of cells below names of columns."""

    def __init__(self, source: Source, delimiter: str) -> None:
        self.source = source
        self.delimiter = delimiter
        self.script: Script = examined(source)
        self.columns: list[str] = []
        self.headed = True
        self.has_rows = False

    def name_columns(self, columns: Sequence[str] | None) -> list[int] | None:
        """Find the columns' names; returns the places of `columns` when the text has them in another order."""
        line, first = next(self._numbered(), (0, []))
        if not line:
            raise self.source.error("the table is empty")
        if columns is not None:
            self.headed = set(first) == set(columns) and len(first) == len(columns)
            if len(first) == 1 < len(columns):
                self._check_delimiter()
            self.columns = first if self.headed else list(columns)
            return placed(first, columns) if self.headed else None
        if any(first) and all(_is_number(cell) for cell in first if cell):
            raise self.source.error(
                "the first line looks like data, not a header", line=line, hint="--columns a,b names the columns"
            )
        if len(first) == 1:
            self._check_delimiter()
        try:
            self.columns = check_columns(first)
        except UsageError as error:
            raise self.source.error(error.message, line=line, hint=error.hint) from None
        return None

    def _check_delimiter(self) -> None:
        """Refuse what is cells between others than commas, which would be one column of text."""
        numbered = self._numbered()
        lines = [",".join(row) for _, row in islice(numbered, 5)]
        numbered.close()
        for character, name, hint in _OTHERS if self.delimiter == "," else ():
            if lines[0].count(character) and len({line.count(character) for line in lines}) == 1:
                raise self.source.error(f"its cells seem to be separated by {name}, not by commas", line=1, hint=hint)

    def lines_of_cells(self, wanted: dict[int, str]) -> dict[int, int]:
        """The line of the row in which a column has a cell first, for some columns by their places."""
        found: dict[int, int] = {}
        numbered = self._numbered()
        if self.headed:
            next(numbered, None)
        for line, row in numbered:
            for place in [place for place, text in wanted.items() if place < len(row) and row[place] == text]:
                found[place] = line
                del wanted[place]
            if not wanted:
                break
        numbered.close()
        return found

    def batches(self) -> Iterator[list[list[str]]]:
        """The rows, many at a time, each with as many cells as there are columns."""
        width = len(self.columns)
        most = max(1, min(BATCH_ROWS, BATCH_CELLS // width, BATCH_TEXT // (self.script.longest + 1)))
        lines = lines_of(self.source, self.script)
        reader = _csv.reader(lines, delimiter=self.delimiter, strict=True)
        headed = self.headed
        try:
            while batch := self._batch(reader, most):
                if set(map(len, batch)) != {width}:
                    batch = [row for row in batch if not self._is_blank(row)]
                    if any(len(row) != width for row in batch):
                        raise self._fault()
                if headed and batch:
                    headed = False
                    del batch[0]
                if batch:
                    self.has_rows = True
                    yield batch
        finally:
            lines.close()  # type: ignore[attr-defined]  # a generator, which leaves the source to the next

    def _batch(self, reader: Iterator[list[str]], most: int) -> list[list[str]]:
        try:
            with _Wide():
                return list(islice(reader, most))
        except _csv.Error:
            raise self._fault() from None

    def _is_blank(self, row: list[str]) -> bool:
        return not row or (len(row) == 1 < len(self.columns) and not row[0].strip())

    def _numbered(self) -> Generator[tuple[int, list[str]], None, None]:
        """The rows that are not empty, each with the number of the line it begins in; slower than `batches`."""
        lines = lines_of(self.source, self.script)
        reader = _csv.reader(lines, delimiter=self.delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                with _Wide():
                    row = next(reader, None)
            except _csv.Error as error:
                raise self.source.error(_explained(error), line=line) from None
            if row is None:
                return
            if row:
                yield line, row

    def _fault(self) -> UsageError:
        """What is wrong with the text, and in which line: batches are too quick to know."""
        width = len(self.columns)
        try:
            for line, row in self._numbered():
                if len(row) != width and not self._is_blank(row):
                    of = "the header has" if self.headed else "the columns named are"
                    return self.source.error(f"{count(len(row), 'cell')}, where {of} {width}", line=line)
        except UsageError as error:
            return error
        return self.source.changed()


def _explained(error: _csv.Error) -> str:
    text = str(error)
    return next((say for part, say in _SAYS if part in text), text)


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except UsageError:
        return False
    return True
