"""What the lines of a file that grows say, and what each is known again by."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence

from trk import rules
from trk.errors import UsageError
from trk.imports import naming
from trk.lines import Lines, Said, decoded
from trk.rules import shown

JSONL, CSV = "jsonl", "csv"
KINDS = (JSONL, CSV)
STEPS, TIMES = ("step", "_step"), ("timestamp", "time", "_timestamp")
CHUNK = 1 << 20  # bytes that are read at once: the longest line and more
Header = tuple[str, ...] | None


class JsonLines:
    """Lines as `trk log` takes them."""

    delimiter = ""  # they have none

    def __init__(self, metric_name: Callable[[str], str]) -> None:
        self._parser = Lines(metric_name)

    def columns(self, header: bytes) -> tuple[str, ...]:
        """Lines of JSON have none."""
        return ()

    def canons(self, lines: Sequence[bytes], header: Header) -> Iterator[bytes]:
        """What a line is known again by."""
        return (line[:CHUNK].removesuffix(b"\r") for line in lines)

    def say(
        self, lines: Sequence[bytes], header: Header, columns: tuple[str | None, str | None], now: int
    ) -> Sequence[Said | UsageError | None]:
        """What lines say; `columns` are those of step and time."""
        return self._parser.read(decoded(b"\n".join(lines) + b"\n"), now) if lines else ()

    def unended(self, rest: bytes, now: int) -> Said | None:
        """What a last line says that nothing ends: a whole object can't become another one."""
        text = decoded(rest).strip()
        try:
            return self._parser.say(text, now) if text.startswith("{") else None
        except UsageError:
            return None


class CsvLines:
    """Lines of a CSV, a row each. `delimiter` is what the header has between its names: `columns` finds it."""

    delimiter = ","

    def __init__(self, metric_name: Callable[[str], str], notes: list[str]) -> None:
        self._names = naming.Names(metric_name)
        self._notes = notes
        self._texts: set[str] = set()

    def columns(self, header: bytes) -> tuple[str, ...]:
        """The names of the columns. Raises UsageError when one is there twice."""
        text = decoded(header)
        self.delimiter = _delimiter(text)
        names = tuple(name.strip() for name in self._cells(text))
        if twice := next((name for name in names if name and names.count(name) > 1), None):
            raise UsageError(f"the column {shown(twice)} is there twice")
        return names

    def canons(self, lines: Sequence[bytes], header: Header) -> Iterator[bytes]:
        """What a row is known again by: its cells by their columns, without those that are empty."""
        for line in lines:
            try:
                cells = self._cells(decoded(line))
            except UsageError:
                yield line[:CHUNK]
                continue
            named = zip(header or (), cells, strict=False)
            told = sorted((name, cell) for name, cell in named if cell.strip())
            yield json.dumps([told, cells[len(header or ()) :]]).encode()

    def say(
        self, lines: Sequence[bytes], header: Header, columns: tuple[str | None, str | None], now: int
    ) -> Sequence[Said | UsageError | None]:
        """What rows say; `columns` are those of step and time, None: as they are usually called."""
        names = header or ()
        step, time = _column(columns[0], STEPS, names), _column(columns[1], TIMES, names)
        return [self._judged(line, names, step, time, now) for line in lines]

    def _judged(
        self, line: bytes, header: tuple[str, ...], step: str | None, time: str | None, now: int
    ) -> Said | UsageError | None:
        try:
            cells = [cell.strip() for cell in self._cells(decoded(line))]
            if not any(cells):
                return None
            if len(cells) != len(header):
                raise UsageError(f"the row has {len(cells)} cells, the header {len(header)}")
            return self._said(dict(zip(header, cells, strict=True)), step, time, now)
        except UsageError as error:
            return error.with_traceback(None)

    def _said(self, row: dict[str, str], step: str | None, time: str | None, now: int) -> Said:
        at = row.pop(step) if step is not None else ""
        when = row.pop(time) if time is not None else ""
        values = {}
        for name, cell in row.items():
            number = self._number(name, cell)
            if number is not None:
                values[self._name(name)] = number
        if not values:
            raise UsageError("the row has no numbers")
        place = _step(at) if at else None
        time_ms = rules.parse_time(when) if when else now
        if len(values) > 1:
            return time_ms, place, None, values
        ((key, value),) = values.items()
        return time_ms, place, key, value

    def _name(self, column: str) -> str:
        name = self._names.of(column)
        if name != column:
            self._notes.append(f"column {shown(column)} is the metric {shown(name)}")
        return name

    def _number(self, name: str, cell: str) -> float | None:
        if not cell or not name:
            return None
        try:
            return rules.parse_number(cell)
        except UsageError:
            if name not in self._texts:
                self._texts.add(name)
                self._notes.append(f"column {shown(name)} has texts, which are no metric")
            return None

    def unended(self, rest: bytes, now: int) -> Said | None:
        """None: a number that nothing ends may have more digits."""
        return None

    def _cells(self, line: str) -> list[str]:
        """The cells of a row. Raises UsageError."""
        try:
            return next(csv.reader([line.removesuffix("\r")], delimiter=self.delimiter, strict=True), [])
        except csv.Error as error:
            raise UsageError(f"the row can't be read: {error}") from None


def _delimiter(header: str) -> str:
    """What separates the cells of a file, as its header tells: `0,5;1` is two numbers below `loss;acc`, and not 0."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max("\t,;", key=bare.count) if any(one in bare for one in "\t,;") else ","


def _column(given: str | None, usual: tuple[str, ...], header: tuple[str, ...]) -> str | None:
    if given is not None and given not in header:
        raise UsageError(f"there is no column {shown(given)}", hint=f"columns: {', '.join(header)}"[:300])
    return given or next((name for name in usual if name in header), None)


def _step(text: str) -> int:
    """A cell as a step, also where it was written as a float. Raises UsageError."""
    is_float = "." in text or "e" in text.lower()
    return rules.whole_step(rules.parse_number(text, "step")) if is_float else rules.parse_step(text)
