"""The lines that `trk log` takes, and what each one says: one JSON object, or `KEY=VALUE …`, at one step.

The one parser of such lines. `step` and `timestamp` are special, every other name is a metric; a line means what
`Run.log_metrics` means. Names and numbers are judged by `trk.rules`, so a line is refused for the same reasons, in the
same words.

    lines = Lines(run.metric_name)
    for found in lines.read('{"loss": 0.5, "step": 3}\\nf1=0.9\\n', now_ms()):
        ...  # a Said, a UsageError, or None for a line with nothing in it

Many lines of JSON are read at once, as one array, where nothing in them can mean something else that way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trk import rules
from trk.errors import UsageError
from trk.media.documents import json_reader

Said = tuple[int, int | None, str | None, Any]
"""What a line says: milliseconds since 1970, its step (None: the next), and one metric's name and value, or None and
the values of several by name."""

MAX_LINE = 1_000_000  # bytes
MAX_KEPT = 1000  # bad lines that a report keeps, and names that are remembered as checked, times ten
SPECIAL = ("step", "timestamp")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not logged: its number, from 1, and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class LoggedLines:
    """What became of lines: how many were logged, with how many points, and how many were not.

    `n` and `step` are the last row's (None: there is none). `bad_lines` are the first of those that were not logged,
    at most a thousand; `bad` is how many there are. Lines with nothing in them count nowhere.
    """

    lines: int
    points: int
    bad: int
    bad_lines: tuple[BadLine, ...]
    n: int | None
    step: int | None


class _Doubt(Exception):
    """Something in the lines needs to be looked at line by line."""


class Lines:
    """The parser. `metric_name` gives a metric's whole name, checked (`Run.metric_name`); it is asked once per name."""

    def __init__(self, metric_name: Callable[[str], str]) -> None:
        self._metric_name = metric_name
        self._names: dict[str, str] = {}
        self._one = json_reader(special=True)
        self._found: list[list[tuple[str, Any]]] = []
        self._many = json.JSONDecoder(object_pairs_hook=self._found.append).decode

    def read(self, text: str, now: int) -> list[Said | UsageError | None]:
        """What each line of a text says; for a bad one the reason, for one with nothing in it None.

        Lines end with `\\n`, the last one need not; `now` is the time of those that give none.
        """
        text = text.removesuffix("\n")
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
        text = text.removesuffix("\r")
        if text[:1] == "{" and text[-1] == "}":
            try:
                return self._at_once(text, now)
            except (_Doubt, ValueError, RecursionError):
                pass
        return [self._judged(line, now) for line in text.split("\n")]

    def say(self, line: str | Mapping[str, object], now: int) -> Said | None:
        """What one line says, or None when there is nothing in it; a mapping is taken as the object it is.

        Raises UsageError.
        """
        if not isinstance(line, str):
            return self._of_pairs(line, now)
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError:
                raise UsageError("the line is not UTF-8") from None
        line = line.strip()
        if not line:
            return None
        if line[0] == "{":
            return self._of_pairs(self._object(line), now)
        if line[0] in '["':
            raise UsageError(f"{rules.shown(line)} is neither a JSON object nor KEY=VALUE")
        return self._of_pairs(_words(line), now)

    def _judged(self, line: str, now: int) -> Said | UsageError | None:
        try:
            return self.say(line, now)
        except UsageError as error:
            return error.with_traceback(None)

    # ---- line by line

    def _object(self, line: str) -> Mapping[str, object]:
        try:
            found: Mapping[str, object] = self._one(line)
        except RecursionError:
            raise UsageError("the line is nested too deeply") from None
        except UsageError:
            raise
        except ValueError as error:
            told = " ".join(str(error).split())
            if "digits" in told:
                told = "a number of thousands of digits"
            raise UsageError(f"{rules.shown(line)} is not valid JSON: {told}") from None
        return found

    def _of_pairs(self, given: Mapping[str, object], now: int) -> Said:
        """What names and values say. Raises UsageError."""
        values = {self._name(key): _number(key, value) for key, value in given.items() if key not in SPECIAL}
        if not values:
            raise UsageError("no metrics are given")
        step, time = given.get("step"), given.get("timestamp")
        if step is not None:
            step = rules.parse_step(step) if isinstance(step, str) else rules.whole_step(step)
        time_ms = now if time is None else rules.check_time(time)
        if len(values) > 1:
            return time_ms, step, None, values
        ((key, value),) = values.items()
        return time_ms, step, key, value

    def _name(self, key: str) -> str:
        name = self._names.get(key)
        if name is None:
            name = self._metric_name(key)
            if len(self._names) >= 10 * MAX_KEPT:
                self._names.clear()
            self._names[key] = name
        return name

    # ---- many at once

    def _at_once(self, text: str, now: int) -> list[Said | UsageError | None]:
        """What lines say that all begin with `{` and end with `}`, read as one array.

        They might be objects only together: `{"a": 1},{"b": 2}` is two on one line, and `{"a": "}` and `{"}` are one on
        two. So as many flat objects must be found as there are lines, of good names and numbers alone. Then none of
        the commas that were put between the lines is within a string, since `},{` is in no name and no number; none
        is within an object, since none holds another; so each parts two objects, and there are no others that do.

        Raises _Doubt, ValueError and RecursionError for whatever needs a closer look.
        """
        count = text.count("\n") + 1
        if text.count("}\n{") != count - 1:
            raise _Doubt
        found = self._found
        found.clear()
        outer = self._many("[" + text.replace("}\n{", "},{") + "]")
        if len(outer) != count or len(found) != count or outer.count(None) != count:
            raise _Doubt
        names = self._names
        said: list[Said | UsageError | None] = []
        for pairs in found:
            if len(pairs) == 2 and pairs[1][0] == "step":  # the usual line, without a loop
                (key, value), (_, step) = pairs
                if (
                    type(value) is float
                    and value - value == 0
                    and type(step) is int
                    and -(1 << 63) <= step < 1 << 63
                    and key in names
                ):
                    said.append((now, step, names[key], value))
                    continue
            said.append(self._of_plain(pairs, now))
        found.clear()
        return said

    def _of_plain(self, pairs: list[tuple[str, Any]], now: int) -> Said:
        """What an object says whose values are plain numbers. Raises _Doubt for any other, and UsageError."""
        given = dict(pairs)
        if len(given) != len(pairs):
            raise _Doubt
        step = given.pop("step", None)
        if step is not None and not (type(step) is int and -(1 << 63) <= step < 1 << 63):
            raise _Doubt
        time = given.pop("timestamp", None)
        if time is not None:
            now = rules.check_time(time)
        if not given:
            raise _Doubt
        for key, value in given.items():
            if type(value) is not float:
                if type(value) is int:
                    given[key] = rules.to_number(value)
                elif type(value) is str:
                    given[key] = rules.parse_number(value)
                else:
                    raise _Doubt
            elif value - value != 0 and value == value:  # `1e999` has become infinite as well
                raise _Doubt
        if len(given) == 1:
            ((key, value),) = given.items()
            return now, step, self._name(key), value
        return now, step, None, {self._name(key): value for key, value in given.items()}


def decoded(chunk: bytes) -> str:
    """The text of lines; what is not UTF-8 in it is kept apart, so that only its lines are bad."""
    try:
        return chunk.decode()
    except UnicodeDecodeError:
        return chunk.decode(errors="surrogateescape")


def _words(line: str) -> dict[str, object]:
    """`KEY=VALUE` words by key. Raises UsageError."""
    given: dict[str, object] = {}
    for word in line.split():
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f"{rules.shown(word)} is not KEY=VALUE", hint='or a line of JSON: {"loss": 0.5, "step": 3}'
            )
        if key in given:
            raise UsageError(f"{rules.shown(key)} is given twice")
        given[key] = value
    return given


def _number(key: str, value: object) -> float:
    if type(value) is float:
        return value
    if isinstance(value, str):
        return rules.parse_number(value, f"the value of {key}")
    if isinstance(value, Mapping):
        raise UsageError(
            f"the value of {rules.shown(key)} is an object: its numbers need names of their own, such as {key}/a"[:300]
        )
    return rules.to_number(value, f"the value of {key}")
