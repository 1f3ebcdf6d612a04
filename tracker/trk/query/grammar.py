"""The parser of the filter grammar, of which MLflow's is a part: text to conditions, one scan, no backtracking.

    filter     = [ choice ]
    choice     = all { OR all }
    all        = term { AND term }
    term       = NOT term | "(" choice ")" | condition
    condition  = field comparator [ value ]
    field      = [ kind "." ] name           kind: metrics, params, tags, attributes, or MLflow's other words
    name       = bare letters, digits, _ and . | `…` | "…"
    value      = number | '…' | "…" | "(" text { "," text } ")"

There is no escape inside quotes: MLflow has none. Keywords are taken in any case. Beyond MLflow are OR, NOT, the
parentheses round conditions, and IS [NOT] NULL of metrics and times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from trk.errors import UsageError
from trk.query.conditions import (
    ATTRIBUTES,
    BARE_KEY,
    LISTS,
    NULLS,
    PREFIX,
    Condition,
    Entity,
    comparators,
    is_numeric,
)
from trk.query.logic import Both, Not, Part, both, either
from trk.rules import parse_number, shown

MAX_DEPTH = 50  # parentheses and NOTs inside one another

ENTITIES: Mapping[str, Entity] = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
}
ALIASES = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
}

_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s*")
_LITERAL = re.compile(r"[\w.+-]+")
_COMMA = re.compile(r"\s*,\s*")
_NAME_REST = re.compile(r"[^\s=<>!()'\"`]*")
_COMPARATOR = re.compile(r"!=|>=|<=|=|>|<|(?:I?LIKE|(?:NOT\s+)?IN|IS\s+(?:NOT\s+)?NULL)\b", re.IGNORECASE)
_FOREIGN = re.compile(r"==|<>|=>|=<|!(?!=)|(?:NOT\s+I?LIKE|RLIKE|BETWEEN|REGEXP)\b", re.IGNORECASE)
_MEANT = {"==": "=", "<>": "!=", "=>": ">=", "=<": "<="}


class Scanner:
    """A place in a text. Every read moves forward, so that the whole is linear."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, rule: str, *, at: int | None = None, hint: str | None = None) -> NoReturn:
        """Raise UsageError with the text round the place, the place and the rule."""
        place = self.at if at is None else at
        start = max(0, place - 25) if len(self.text) > 55 else 0
        excerpt = ("…" if start else "") + self.text[start : start + 55]
        raise UsageError(f"filter {shown(excerpt)}, character {place + 1}: {rule}", hint=hint)

    def at_end(self) -> bool:
        """Whether nothing but space is left; the space is passed."""
        self.skip_space()
        return self.at == len(self.text)

    def skip_space(self) -> None:
        """Go to where something stands."""
        self.take(_SPACE)

    def peek(self) -> str:
        """The next character, or nothing at the end."""
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str]) -> str:
        """What the pattern matches here, passing it; nothing if it does not."""
        found = self.look(pattern)
        self.at += len(found)
        return found

    def look(self, pattern: re.Pattern[str]) -> str:
        """What the pattern matches here, without passing it."""
        found = pattern.match(self.text, self.at)
        return found.group() if found else ""

    def quoted(self) -> str:
        """What stands between two quotes of the kind that begins here."""
        quote, start = self.peek(), self.at
        end = self.text.find(quote, start + 1)
        if end < 0:
            self.fail(f"the quote {quote} is never closed")
        self.at = end + 1
        if self.peek() == quote:
            rule = f"the quote {quote} can't stand inside {quote}…{quote}"
            self.fail(rule, hint="use the other kind of quotes")
        return self.text[start + 1 : end]


def conditions(text: str) -> tuple[Part, ...]:
    """The parts that a text joins by AND at its outermost; none when it is empty. Raises UsageError."""
    scanner = Scanner(text)
    if scanner.at_end():
        return ()
    found = _choice(scanner, 0)
    if not scanner.at_end():
        if scanner.peek() == ")":
            scanner.fail("this ) closes nothing")
        if scanner.peek() == ";":
            scanner.fail("; is not in the grammar: this is a filter, not SQL")
        scanner.fail("AND, OR or the end is expected")
    return found.parts if isinstance(found, Both) else (found,)


def _choice(scanner: Scanner, depth: int) -> Part:
    found = [_all(scanner, depth)]
    while _joined(scanner, "OR"):
        found.append(_all(scanner, depth))
    return either(found)


def _all(scanner: Scanner, depth: int) -> Part:
    found = [_term(scanner, depth)]
    while _joined(scanner, "AND"):
        found.append(_term(scanner, depth))
    return both(found)


def _joined(scanner: Scanner, word: str) -> bool:
    """Whether AND or OR stands here; it is passed, and something must follow it."""
    scanner.skip_space()
    if scanner.look(_WORD).upper() != word:
        return False
    start = scanner.at
    scanner.take(_WORD)
    if scanner.at_end() or scanner.peek() == ")":
        scanner.fail(f"a condition is expected after {word}", at=start)
    return True


def _term(scanner: Scanner, depth: int) -> Part:
    scanner.skip_space()
    start = scanner.at
    if scanner.peek() != "(" and scanner.look(_WORD).upper() != "NOT":
        return _condition(scanner)
    if depth == MAX_DEPTH:
        scanner.fail(f"more than {MAX_DEPTH} parentheses and NOTs stand inside one another")
    if scanner.peek() != "(":
        scanner.take(_WORD)
        if scanner.at_end() or scanner.peek() == ")":
            scanner.fail("a condition is expected after NOT", at=start)
        return Not(_term(scanner, depth + 1))
    scanner.at += 1
    scanner.skip_space()
    if scanner.peek() == ")":
        scanner.fail("a condition is expected in the parentheses")
    found = _choice(scanner, depth + 1)
    if scanner.at_end():
        scanner.fail("this ( is never closed", at=start)
    if scanner.peek() != ")":
        scanner.fail("AND, OR or ) is expected")
    scanner.at += 1
    return found


def _condition(scanner: Scanner) -> Condition:
    start = scanner.at
    entity, key = _field(scanner)
    scanner.skip_space()
    comparator = _comparator(scanner, entity, key)
    if comparator in NULLS:
        return Condition(entity, key, comparator, None)
    if scanner.at_end():
        scanner.fail(f"a value is expected after {comparator}")
    if comparator in LISTS:
        return Condition(entity, key, comparator, _text_list(scanner))
    if is_numeric(entity, key):
        return Condition(entity, key, comparator, _number(scanner))
    if scanner.peek() not in ("'", '"'):
        hint = f"{scanner.text[start : scanner.at].strip()[:80]} '…'"
        scanner.fail(f"{_described(entity, key)} is text: its value goes in quotes", hint=hint)
    return Condition(entity, key, comparator, scanner.quoted())


def _field(scanner: Scanner) -> tuple[Entity, str]:
    """`metrics.f1`, ``params.`a b` ``, `status`: what a condition is about."""
    start = scanner.at
    head = scanner.quoted() if scanner.peek() in ("`", '"') else scanner.take(_WORD)
    if not head:
        _no_field(scanner, start)
    if scanner.peek() != ".":
        _check_bare_end(scanner, start)
        return "attribute", _attribute(scanner, head, start)
    entity = ENTITIES.get(head)
    if entity is None:
        hint = "metrics., params., tags. and attributes. are known"
        scanner.fail(f"{shown(head)} is no kind of field", at=start, hint=hint)
    scanner.at += 1
    if scanner.peek() in ("`", '"', "'"):
        key = scanner.quoted()
    else:
        key = scanner.take(BARE_KEY)
        _check_bare_end(scanner, start)
    if not key:
        scanner.fail(f"a name is expected after {head}.", hint=f"{PREFIX[entity]}.`name`")
    return entity, _attribute(scanner, key, start) if entity == "attribute" else key


def _no_field(scanner: Scanner, start: int) -> NoReturn:
    scanner.fail("a field is expected", at=start, hint="metrics.f1 > 0.9 AND params.model = 'rf'")


def _check_bare_end(scanner: Scanner, start: int) -> None:
    """A bare name ends where space or a comparator begins: `metrics.val/f1` must be quoted."""
    rest = scanner.look(_NAME_REST)
    if not rest:
        return
    head, _, key = (scanner.text[start : scanner.at] + rest).partition(".")
    hint = f"{head}.`{key[:60]}`" if key and head in ENTITIES else None
    scanner.fail(f"{shown(rest[0])} can't stand in a bare name: put the name in backticks", hint=hint)


def _attribute(scanner: Scanner, name: str, start: int) -> str:
    known = ALIASES.get(name, name)
    if known not in ATTRIBUTES:
        hint = f"attributes are {', '.join(sorted(ATTRIBUTES))}; others are metrics.…, params.…, tags.…"
        word = name.upper() in ("AND", "OR", "NOT")
        rule = f"a field is expected, not {name.upper()}" if word else f"runs have no attribute {shown(name)}"
        scanner.fail(rule, at=start, hint=hint)
    return known


def _comparator(scanner: Scanner, entity: Entity, key: str) -> str:
    start = scanner.at
    allowed = comparators(entity, key)
    takes = f"{_described(entity, key)} takes {', '.join(allowed)}"
    if foreign := scanner.look(_FOREIGN).upper():
        meant = _MEANT.get(foreign)
        scanner.fail(f"{foreign} is no comparator; {takes}", hint=f"say {meant}" if meant else None)
    comparator = " ".join(scanner.take(_COMPARATOR).upper().split())
    if not comparator:
        scanner.fail(f"a comparator is expected; {takes}")
    if comparator not in allowed:
        scanner.fail(f"{comparator} does not go here; {takes}", at=start)
    return comparator


def _described(entity: Entity, key: str) -> str:
    return f"the attribute {key}" if entity == "attribute" else f"a {entity}"


def _number(scanner: Scanner) -> float:
    start = scanner.at
    text = scanner.take(_LITERAL)
    if not text:
        scanner.fail("a number is expected, without quotes")
    try:
        return parse_number(text)
    except UsageError as error:
        scanner.fail(error.message, at=start)


def _text_list(scanner: Scanner) -> tuple[str, ...]:
    """`('a', 'b')`, at least one; a comma may follow the last."""
    if scanner.peek() != "(":
        scanner.fail("a list in parentheses is expected", hint="run_id IN ('a', 'b')")
    scanner.at += 1
    texts: list[str] = []
    scanner.skip_space()
    while scanner.peek() != ")":
        if scanner.peek() not in ("'", '"'):
            scanner.fail("a text in quotes is expected in the list")
        texts.append(scanner.quoted())
        if not scanner.take(_COMMA):
            scanner.skip_space()
            if scanner.peek() != ")":
                scanner.fail("a comma or ) is expected in the list")
    if not texts:
        scanner.fail("the list is empty")
    scanner.at += 1
    return tuple(texts)
