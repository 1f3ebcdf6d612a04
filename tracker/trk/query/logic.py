"""What joins the conditions of a filter: AND, OR, NOT. Each holds or does not; there is no third answer.

`str()` of each parses back. It has no parentheses but those it needs, so it is never deeper than what was parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trk.query.conditions import Condition, RunView


@dataclass(frozen=True, slots=True)
class Both:
    """Parts of which all must hold; without parts it holds."""

    parts: tuple[Part, ...]

    def holds(self, view: RunView) -> bool:
        """Whether the run fulfils all parts."""
        return all(part.holds(view) for part in self.parts)

    def __str__(self) -> str:
        return " AND ".join(f"({part})" if isinstance(part, Either) else str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """Parts of which at least one must hold."""

    parts: tuple[Part, ...]

    def holds(self, view: RunView) -> bool:
        """Whether the run fulfils one of the parts."""
        return any(part.holds(view) for part in self.parts)

    def __str__(self) -> str:
        return " OR ".join(map(str, self.parts))


@dataclass(frozen=True, slots=True)
class Not:
    """A part that must not hold. A run without the field fulfils no comparison, so it fulfils the NOT of each."""

    part: Part

    def holds(self, view: RunView) -> bool:
        """Whether the run does not fulfil the part."""
        return not self.part.holds(view)

    def __str__(self) -> str:
        return f"NOT ({self.part})" if isinstance(self.part, (Both, Either)) else f"NOT {self.part}"


Part = Condition | Both | Either | Not


def both(parts: Iterable[Part]) -> Part:
    """AND, with what was AND among the parts taken apart; a single part is itself."""
    flat = tuple(one for part in parts for one in (part.parts if isinstance(part, Both) else (part,)))
    return flat[0] if len(flat) == 1 else Both(flat)


def either(parts: Iterable[Part]) -> Part:
    """OR, with what was OR among the parts taken apart; a single part is itself."""
    flat = tuple(one for part in parts for one in (part.parts if isinstance(part, Either) else (part,)))
    return flat[0] if len(flat) == 1 else Either(flat)


def leaves(parts: Iterable[Part]) -> Iterator[Condition]:
    """The conditions in all of these parts, in order."""
    for part in parts:
        if isinstance(part, Condition):
            yield part
        else:
            yield from leaves((part.part,) if isinstance(part, Not) else part.parts)
