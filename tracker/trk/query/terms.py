"""What a condition of `trk check` says, as a tree: `trk.query.expressions` reads it, `trk.query.check` judges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

from trk.rules import parse_duration

Kind = Literal["metric", "param", "tag", "duration", "status"]
Reading = Literal["last", "best", "min", "max"]

READINGS: tuple[str, ...] = get_args(Reading)
HEADS: dict[str, Kind] = {"metrics": "metric", "params": "param", "tags": "tag"}
BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written; with a `unit` (s, m, h, d, w) it is a span of time, in seconds."""

    text: str
    unit: str = ""

    @property
    def value(self) -> Decimal:
        """Its value, in seconds where it has a unit."""
        return Decimal(repr(parse_duration(self.text + self.unit))) if self.unit else Decimal(self.text)

    def __str__(self) -> str:
        return self.text + self.unit


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a param, a tag or the status is compared with."""

    value: str

    def __str__(self) -> str:
        return f'"{self.value}"' if "'" in self.value else f"'{self.value}'"


@dataclass(frozen=True, slots=True)
class Reference:
    """What is looked up, in the run or in its baseline: a metric (read as `reading` says), a param, a tag, …"""

    kind: Kind
    key: str = ""
    reading: Reading = "last"
    baseline: bool = False

    def __str__(self) -> str:
        heads = {kind: head for head, kind in HEADS.items()}
        found = f"{heads[self.kind]}.`{self.key}`" if self.kind in heads else self.kind
        if self.reading != "last":
            found = f"{self.reading}({found})"
        return f"{BASELINE}({found})" if self.baseline else found


@dataclass(frozen=True, slots=True)
class Negated:
    """Minus something."""

    of: Node

    def __str__(self) -> str:
        return f"-{self.of}"


@dataclass(frozen=True, slots=True)
class Absolute:
    """Something without its sign."""

    of: Node

    def __str__(self) -> str:
        return f"abs({self.of})"


@dataclass(frozen=True, slots=True)
class Operation:
    """Two numbers made into one by +, -, * or /."""

    sign: str
    left: Node
    right: Node

    def __str__(self) -> str:
        return f"({self.left} {self.sign} {self.right})"


@dataclass(frozen=True, slots=True)
class Percent:
    """`of` moved up (+) or down (-) by so many percent of its own size, whatever its sign."""

    sign: str
    of: Node
    percent: str

    def __str__(self) -> str:
        return f"({self.of} {self.sign} {self.percent}%)"


Node = Number | Text | Reference | Negated | Absolute | Operation | Percent


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition; `str()` of it parses back to the same. `text` is as the user wrote it.

    A `textual` one compares two texts, which are the same or are not; all others compare numbers.
    """

    left: Node
    comparator: str
    right: Node
    textual: bool = False
    text: str = field(default="", compare=False)

    @property
    def references(self) -> tuple[Reference, ...]:
        """All that is looked up."""
        return tuple(node for side in (self.left, self.right) for node in walk(side) if isinstance(node, Reference))

    @property
    def needs_baseline(self) -> bool:
        """Whether it speaks of a baseline."""
        return any(reference.baseline for reference in self.references)

    def __str__(self) -> str:
        return f"{self.left} {self.comparator} {self.right}"


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    match node:
        case Negated(of) | Absolute(of) | Percent(_, of):
            yield from walk(of)
        case Operation(_, left, right):
            yield from walk(left)
            yield from walk(right)
