"""Metrics in what a program prints: `loss: 0.3 (step 12)`, `loss=0.3 acc=0.9`, lines of JSON, progress bars.

A line is taken apart at commas, semicolons, bars, brackets, tabs, ` - ` and two spaces. A part counts only when all of
it is pairs of a name and a number, or says which step it is: of prose, addresses, versions, times and sizes nothing
is taken. `trk help run` has the rules as a user needs them; `Scraper` keeps what one line says for the next.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trk.errors import UsageError
from trk.rules import MAX_STEP, check_metric_name, parse_number, shown

LONGEST = 8192  # characters of a line that is looked at
MOST_NAMES = 200  # metrics in one output: more is no training, but something that happens to look like it
_TAKEN = ("key", "value", "step")

_NUM = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|NaN|NAN|inf|Inf|INF|infinity|Infinity)"
_WORD = r"[A-Za-z_][\w./@-]*"
_PAIR = re.compile(rf"({_WORD})\s?=\s?({_NUM})%?(?=\s|$)")
_OTHER = re.compile(rf"{_WORD}=[^\s=]+(?=\s|$)")  # phase=train, time=3.2s: no metric, and no prose either
_TOLD = re.compile(rf"({_WORD}(?: {_WORD}){{0,2}}) ?:\s+({_NUM})%?(?=\s|$)")
_STEP_WORDS = "global_step|global step|step|iteration|iter|epoch|round"
_STEP = re.compile(
    rf"({_STEP_WORDS})\s?[:=#]?\s{{0,3}}(\d{{1,15}})(?:\s?(?:/|of)\s?(\d{{1,15}}))?:?(?=\s|$)", re.IGNORECASE
)
_BRACKETED = re.compile(rf"\b({_STEP_WORDS}):? ?[\[(](\d{{1,15}}) ?/ ?(\d{{1,15}})[\])]", re.IGNORECASE)
_PARTS = re.compile(r",(?!\d)|;|\||[\[\](){}\t]|\s-\s|\s{2,}")
# Config(lr=0.1): what something is, not how it goes. But 0.3(step 12) is a number, and something behind it.
_CALL = re.compile(r"(?<!\w)(?<!\d\.)[A-Za-z_]\w*\([^()]*\)")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_LEVEL = re.compile(
    r"^(?:(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?\s+)?"
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)(?::[\w.]+:|:?\s)\s*)?"
)
# tqdm: `what: 45%|###  | 45/100 [00:10<00:12, 4.3it/s, loss=0.3]`
_TQDM = re.compile(r"^(?P<what>.{0,200}?)\s*\d{1,3}%\|[^|]*\|\s*(?P<n>\d+)/(?P<of>\d+)\s*\[(?P<rest>.*?)\]?\s*$")
# `10/10 [====] - 2s - loss: 0.3`; but `11/22 03:26:04 - loss: 0.3` begins with a day.
_KERAS = re.compile(r"^\s*(?P<n>\d+)/(?P<of>\d+)(?=\s)(?!\s+\d{1,2}:\d\d)(?:\s*\[[=>.\s]*\]|\s*[━╸╺\s]+)?(?P<rest>.*)$")
_FINER = ("global_step", "global step", "step", "iteration", "iter")
_STEP_KEYS = ("global_step", "step", "iteration", "iter", "epoch", "round")

# Last words of names that are no measure of how a training goes.
_JUNK = frozenset(
    "date time timestamp ts datetime elapsed eta remaining duration uptime pid ppid tid port version ver seed "  # noqa: SIM905
    "id rank local_rank node_rank world_size worker workers gpu gpus device devices node nodes line lineno col column "
    "level year month day hour minute second python cuda cudnn torch pytorch tensorflow keras numpy scipy sklearn "
    "pandas jax flax driver torchvision transformers lightning info warning debug note code status address addr ip "
    "host localhost http https file path build commit page chapter pts process thread".split()
)


@dataclass(frozen=True, slots=True)
class Found:
    """Metrics of one line at one step; None: the line does not say which. `held` are those of a bar still growing."""

    values: Mapping[str, float]
    step: int | None = None
    held: bool = False


@dataclass(slots=True)
class _Line:
    """What the parts of a line say."""

    values: dict[str, float] = field(default_factory=dict)
    steps: dict[str, tuple[int, int | None]] = field(default_factory=dict)  # by word: (which, of how many)


def compiled(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    """Regular expressions of a user's. Raises UsageError for one that is none, or that names nothing."""
    made = []
    for pattern in patterns:
        try:
            found = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(f"--pattern {shown(pattern)} is not a regular expression: {error}") from None
        names = set(found.groupindex) - {"step"}
        if not names or ("key" in names) != ("value" in names):
            raise UsageError(
                f"--pattern {shown(pattern)} names no metric", hint="(?P<key>…) and (?P<value>…), or (?P<loss>…)"
            )
        made.append(found)
    return made


def by_pattern(pattern: re.Pattern[str], line: str) -> Iterator[Found]:
    """What a user's pattern finds in a line. It may take for ever: the caller bounds it."""
    for match in pattern.finditer(line):
        groups = match.groupdict()
        step = _step_of(groups.get("step"))
        pairs = {groups["key"]: groups["value"]} if "key" in groups else {}
        pairs |= {name: text for name, text in groups.items() if name not in _TAKEN}
        values = {_name(name): number for name, text in pairs.items() if name and (number := _number(text)) is not None}
        if values:
            yield Found(values, step)


class Scraper:
    """Reads line after line; `read` gives what is to be logged. Nothing in a line makes it fail."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._from_zero = False
        self._held: Found | None = None

    def read(self, line: str) -> list[Found]:
        """What a line says; what a progress bar said before, when it has moved on."""
        if len(line) > LONGEST or not _may_tell(line):
            return []
        text = line.strip()
        found = _of_json(text)
        if found is not None:
            return [found] if found.values else []
        bar = _TQDM.match(text) or _KERAS.match(text)
        if bar is not None:
            return self._of_bar(bar)
        told = _Line()
        _read(text, told)
        step = self._step(told)
        if not told.values:
            return self.end() if told.steps else []
        return [Found(told.values, step)]

    def end(self) -> list[Found]:
        """What a bar said last, when there is no more of it."""
        held, self._held = self._held, None
        return [held] if held is not None else []

    def _of_bar(self, bar: re.Match[str]) -> list[Found]:
        """Of each position, or of each epoch that is told, the last that a bar says."""
        told = _Line()
        _read(bar["rest"], told)
        if what := bar.groupdict().get("what"):
            _read(what.rstrip(": "), told)
        position, goal = _step_of(bar["n"]), _step_of(bar["of"])
        step = self._step(told)
        step = position if step is None else step
        if not told.values:
            return []
        before = self.end()
        if before and (before[0].step == step and before[0].values.keys() <= told.values.keys()):
            before = []
        now = Found(told.values, step)
        if position is not None and position == goal:
            return [*before, now]
        self._held = Found(told.values, step, held=True)
        return before

    def _step(self, told: _Line) -> int | None:
        """Which step the line is of: the finer count, and of one that begins again in each epoch the sum of all."""
        epoch = told.steps.get("epoch") or told.steps.get("round")
        if epoch is not None:
            self._from_zero = self._from_zero or epoch[0] == 0
        finer = next((told.steps[word] for word in _FINER if word in told.steps), None)
        if finer is None:
            if epoch is not None:
                self._epoch = epoch[0]
            return self._epoch if epoch is None else epoch[0]
        step, goal = finer
        if epoch is not None and goal is not None:
            step += goal * max(0, epoch[0] - (0 if self._from_zero else 1))
        return step if step <= MAX_STEP else None


def _may_tell(line: str) -> bool:
    """Whether it is worth a closer look: most lines of most outputs are not."""
    return ("=" in line or ":" in line or "poch" in line or "POCH" in line) and not line.isalpha()


def _read(text: str, told: _Line) -> None:
    """Add what the parts of a line say."""
    text = _BRACKETED.sub(r" \1 \2/\3 ", _QUOTED.sub(" ' ", _LEVEL.sub("", text)))
    for _ in range(4):  # calls in calls
        text, changed = _CALL.subn("|'|", text)
        if not changed:
            break
    for part in _PARTS.split(text):
        part = part.strip().rstrip(".")
        if part and "'" not in part:
            _read_part(part, told)


def _read_part(part: str, told: _Line) -> None:
    """One part, if all of it is steps and pairs."""
    values: dict[str, float] = {}
    steps: dict[str, tuple[int, int | None]] = {}
    place = 0
    while place < len(part):
        step = _STEP.match(part, place)
        pair = None if step else _PAIR.match(part, place) or _TOLD.match(part, place)
        found = step or pair or _OTHER.match(part, place)
        if found is None:
            return
        if step:
            steps[step[1].lower()] = (int(step[2]), int(step[3]) if step[3] else None)
        elif pair and not _is_junk(pair[1], pair[2]):
            number = _number(pair[2])
            if number is not None:
                values[_name(pair[1])] = number
        place = found.end()
        while place < len(part) and part[place] == " ":
            place += 1
    told.steps.update(steps)
    told.values.update({name: value for name, value in values.items() if name})


def _is_junk(name: str, number: str) -> bool:
    last = re.split(r"[\s./-]+", name.strip("._-/@"))[-1].lower()
    words = set(re.split(r"[\s./_-]+", name.lower()))
    count = " " in name and last in _STEP_KEYS  # "Train Epoch: 3"
    setting = name.isupper() and "_" in name and number.lstrip("+-").isdigit()  # OMP_NUM_THREADS=4
    return (
        last in _JUNK or "version" in words or "seed" in words or setting or count or last.rpartition("_")[2] in _JUNK
    )


def _name(text: str) -> str:
    """A name as metrics may have it; empty when it can't be one."""
    name = " ".join(text.replace("@", "_").split()).strip("-./ ")
    try:
        return check_metric_name(name)
    except UsageError:
        return ""


def _number(text: object) -> float | None:
    """The number that a text is, a % behind it or not."""
    if isinstance(text, bool):
        return None
    if isinstance(text, (int, float)):
        try:
            return float(text)
        except OverflowError:
            return None
    try:
        return parse_number(text.strip().removesuffix("%")) if isinstance(text, str) else None
    except UsageError:
        return None


def _step_of(text: object) -> int | None:
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    return text if isinstance(text, int) and not isinstance(text, bool) and 0 <= text <= MAX_STEP else None


# ---- lines of JSON, and of Python's dicts


def _of_json(text: str) -> Found | None:
    """A line that is an object of JSON, or a dict as Python prints it; None when it is neither."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        found = json.loads(text, parse_float=_held)
        is_json = True
    except (ValueError, RecursionError):
        found, is_json = _literal(text), False
    if not isinstance(found, dict):
        return None
    values: dict[str, float] = {}
    step = None
    for key in _STEP_KEYS:
        if (step := _step_of(found.get(key))) is not None and not isinstance(found[key], str):
            found = {name: value for name, value in found.items() if name not in _STEP_KEYS}
            break
        step = None
    for name, value in _flat(found):
        if not is_json and value in (math.inf, -math.inf):
            continue  # digits that no double can hold: as Python prints an infinity, it would be no literal
        number = None if is_json and isinstance(value, str) else _number(value)
        if number is not None and not _is_junk(name, str(value)) and (kept := _name(name)):
            values[kept] = number
    return Found(values, step)


def _held(digits: str) -> float | str:
    """The number that digits are; those that no double can hold are no infinity, and stay a text."""
    number = float(digits)
    return number if math.isfinite(number) else digits


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _flat(found: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    """The pairs of an object, and those of objects in it as `outer/inner`."""
    for name, value in found.items():
        if isinstance(name, str) and isinstance(value, dict):
            yield from ((f"{name}/{inner}", one) for inner, one in value.items() if isinstance(inner, str))
        elif isinstance(name, str):
            yield name, value
