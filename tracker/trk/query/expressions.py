"""The conditions of `trk check`, such as `f1 >= baseline - 0.01`, read from text.

condition := sum comparator sum          comparator: <  <=  >  >=  ==  (or =)  !=
sum       := product ((+ | -) (product | NUMBER%))*
product   := unary ((* | /) unary)*
unary     := - unary | + unary | NUMBER | NUMBER unit | name | function(sum) | (sum) | 'text'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from trk.errors import UsageError
from trk.query.terms import (
    BASELINE,
    HEADS,
    READINGS,
    Absolute,
    Expression,
    Kind,
    Negated,
    Node,
    Number,
    Operation,
    Percent,
    Reference,
    Text,
    walk,
)
from trk.records import Status
from trk.rules import parse_duration, parse_number, shown

MAX_LENGTH = 2_000  # characters of a condition
MAX_PARTS = 100  # operations and parentheses of a condition: a tree of more would be too deep to walk

FUNCTIONS = (*READINGS, "abs", BASELINE)
_ALONE: dict[str, Kind] = {"duration": "duration", "status": "status"}
_UNITS = ("s", "m", "h", "d", "w")
_NO_NUMBERS = ("nan", "inf", "infinity")
_MEANT = {"=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "≥": ">=", "≤": "<=", "≠": "!=", "&&": "", "||": ""}

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[^\W\d]\w*(?:\.\w+)*)"
    r"|(?P<quoted>`[^`]*`)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<foreign>===|=>|=<|<>|≥|≤|≠|&&|\|\|)"
    r"|(?P<comparator><=|>=|==|!=|<|>|=)"
    r"|(?P<sign>[-+*/()%,.])"
)
_GLUED = re.compile(r"[\w/:.-]+")


def parse(text: str) -> Expression:
    """The condition that a text says. Raises UsageError with the place and the rule."""
    if not isinstance(text, str):
        raise UsageError(f"a condition is text such as 'f1 >= 0.85', not {shown(text)}")
    return _Parser(text).condition()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.text)


# What stands for the baseline's value of whatever the condition is about, until that is known.
_BARE = Reference("metric", "", baseline=True)


class _Parser:
    """A place among the tokens of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = 0
        if len(text) > MAX_LENGTH:
            self.fail(0, f"a condition has at most {MAX_LENGTH} characters")
        self.tokens = list(self._read())
        self.next = 0

    def fail(self, at: int, rule: str, hint: str | None = None) -> NoReturn:
        """Raise UsageError with the text round the place, the place and the rule."""
        start = max(0, at - 25) if len(self.text) > 55 else 0
        excerpt = ("…" if start else "") + self.text[start : start + 55]
        raise UsageError(f"condition {shown(excerpt)}, character {at + 1}: {rule}", hint=hint)

    def _read(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if found is None:
                self._unreadable(at)
            kind = str(found.lastgroup)
            if kind == "foreign":
                meant = _MEANT[found.group()]
                self.fail(
                    at, f"{found.group()} is no comparator", f"say {meant}" if meant else "one condition in each word"
                )
            if kind != "space":
                yield _Token(kind, found.group(), at)
            at = found.end()

    def _unreadable(self, at: int) -> NoReturn:
        char = self.text[at]
        if char in "`'\"":
            self.fail(at, f"the quote {char} is never closed")
        self.fail(
            at, f"{shown(char)} can't stand here", "names with other than letters, digits, _ and . go in backticks"
        )

    # -- tokens

    def peek(self, *texts: str) -> bool:
        """Whether the next token is one of these signs."""
        token = self.tokens[self.next] if self.next < len(self.tokens) else None
        return token is not None and token.kind in ("sign", "comparator") and token.text in texts

    def look(self, after: int = 0) -> _Token:
        """The next token, or one of those after it; of the kind `end` where there is none."""
        at = self.next + after
        return self.tokens[at] if at < len(self.tokens) else _Token("end", "", len(self.text))

    def take(self) -> _Token:
        """The next token, passing it."""
        token = self.look()
        self.next += 1
        return token

    def count(self, at: int) -> None:
        """One more operation or parenthesis."""
        self.parts += 1
        if self.parts > MAX_PARTS:
            self.fail(at, f"a condition has at most {MAX_PARTS} operations", "log what is computed as a metric")

    # -- the grammar

    def condition(self) -> Expression:
        """The whole."""
        if not self.tokens:
            self.fail(0, "a condition is expected", "trk check 'f1 >= 0.85'")
        left = self.sum()
        token = self.take()
        if token.kind != "comparator":
            self._no_comparator(token)
        right = self.sum()
        if (rest := self.look()).kind != "end":
            self._more(rest)
        comparator = "==" if token.text == "=" else token.text
        left, right = _status_word(left, right), _status_word(right, left)
        found = Expression(left, comparator, right, False, " ".join(self.text.split()))
        if not found.references:
            self.fail(0, "it asks for nothing of the run", "f1 >= 0.85, params.lr <= 0.1, duration < 10m")
        return self._typed(self._with_baseline(found), token)

    def _no_comparator(self, token: _Token) -> NoReturn:
        if all(other.kind != "comparator" for other in self.tokens):
            quotes = "a shell takes > and < for files, so the whole goes in quotes: 'f1 >= 0.85'"
            self.fail(token.at, "a comparator is expected: < <= > >= == !=", quotes)
        self._more(token, "a comparator")

    def _more(self, token: _Token, wanted: str = "the end") -> NoReturn:
        if token.kind == "comparator" or (token.kind == "word" and token.text.lower() in ("and", "or", "not")):
            self.fail(token.at, "a condition has one comparator", "several conditions are words of their own")
        hint = "names with spaces go in backticks: `my metric`" if token.kind in ("word", "quoted") else None
        if token.text == "%":
            hint = "N% goes after + or -: baseline + 2%"
        self.fail(token.at, f"{wanted} or an operator is expected, not {shown(token.text)}", hint)

    def sum(self) -> Node:
        """Products, added."""
        node = self.product()
        while self.peek("+", "-"):
            token = self.take()
            self.count(token.at)
            after = self.look(1)
            if self.look().kind == "number" and after.kind == "sign" and after.text == "%":
                number = self.take()
                self.take()
                node = Percent(token.text, node, self._number(number))
            else:
                node = Operation(token.text, node, self.product())
        return node

    def product(self) -> Node:
        """Factors, multiplied."""
        node = self.unary()
        while self.peek("*", "/"):
            token = self.take()
            self.count(token.at)
            node = Operation(token.text, node, self.unary())
        return node

    def unary(self) -> Node:
        """A factor with its signs."""
        if self.peek("-", "+"):
            token = self.take()
            self.count(token.at)
            return Negated(self.unary()) if token.text == "-" else self.unary()
        return self.factor()

    def factor(self) -> Node:
        """A number, a name, a function, a text, or something in parentheses."""
        token = self.take()
        match token.kind:
            case "number":
                return self._with_unit(token)
            case "text":
                return Text(token.text[1:-1])
            case "quoted":
                return Reference("metric", self._key(token))
            case "word":
                return self._function(token) if self.peek("(") else self._name(token)
        if token.text != "(":
            at_end = token.kind == "end"
            self.fail(token.at, "a value is expected" + (" at the end" if at_end else f", not {shown(token.text)}"))
        self.count(token.at)
        node = self.sum()
        self._close(token)
        return node

    def _close(self, opened: _Token) -> None:
        token = self.take()
        if token.kind == "end":
            self.fail(opened.at, "this parenthesis is never closed")
        if token.text != ")":
            self.fail(token.at, f"an operator or ) is expected, not {shown(token.text)}")

    def _number(self, token: _Token) -> str:
        try:
            parse_number(token.text)
        except UsageError as error:
            self.fail(token.at, error.message)
        return token.text

    def _with_unit(self, token: _Token) -> Number:
        text, after = self._number(token), self.look()
        if after.text == "%" and after.at == token.end:
            self.fail(token.at, "N% goes after + or -: baseline + 2%", f"or say {float(text) / 100:g}")
        if after.kind != "word" or after.at != token.end:
            return Number(text)
        if after.text not in _UNITS:
            self.fail(token.at, "a name that begins with a digit goes in backticks", "a span of time is 90s, 10m, 2h")
        self.take()
        try:
            parse_duration(text + after.text)
        except UsageError as error:
            self.fail(token.at, error.message)
        return Number(text, after.text)

    def _key(self, token: _Token) -> str:
        key = token.text[1:-1]
        if not key:
            self.fail(token.at, "the name is empty")
        return key

    def _function(self, token: _Token) -> Node:
        """`best(f1)`, `abs(…)`, `baseline(…)`."""
        opened = self.take()
        self.count(opened.at)
        if token.text not in FUNCTIONS:
            self.fail(token.at, f"there is no function {shown(token.text)}", f"there are {', '.join(FUNCTIONS)}")
        of = self.sum()
        if self.peek(","):
            self.fail(self.look().at, f"{token.text} takes one thing: a metric's history is looked through")
        self._close(opened)
        if token.text == "abs":
            return Absolute(of)
        if not isinstance(of, Reference) or of is _BARE:
            self.fail(opened.at + 1, f"{token.text} takes a metric", f"{token.text}(f1)")
        if token.text == BASELINE:
            return replace(of, baseline=True)
        if of.kind != "metric" or of.reading != "last":
            self.fail(opened.at + 1, f"{token.text} takes a metric", f"{token.text}(f1)")
        return replace(of, reading=token.text)  # type: ignore[arg-type]  # it is one of READINGS

    def _name(self, token: _Token) -> Reference:
        """`f1`, `params.lr`, ``metrics.`val/f1` ``, `baseline.f1`, `duration`."""
        quoted = None
        dot, key = self.look(), self.look(1)
        end = token.end
        if dot.text == "." and dot.at == end and key.kind == "quoted" and key.at == dot.end:
            self.take()
            quoted, end = self._key(self.take()), key.end
        self._check_glued(token, end)
        if token.text.lower() in _NO_NUMBERS and quoted is None:
            self.fail(token.at, f"nothing is judged by {token.text}", "a metric of that name goes in backticks")
        return self._named(token, token.text.split("."), quoted)

    def _named(self, token: _Token, words: list[str], quoted: str | None) -> Reference:
        if words[0] == BASELINE:
            if len(words) == 1 and quoted is None:
                return _BARE
            return replace(self._named(token, words[1:], quoted), baseline=True) if words[1:] else Reference(
                "metric", str(quoted), baseline=True
            )  # fmt: skip
        if quoted is None and len(words) == 1 and words[0] in _ALONE:
            return Reference(_ALONE[words[0]])
        if words[0] in HEADS and (words[1:] or quoted is not None):
            return Reference(HEADS[words[0]], ".".join([*words[1:], *([quoted] if quoted is not None else [])]))
        if quoted is not None:
            whole = f"`{'.'.join(words)}.{quoted}`"
            self.fail(token.at, f"there is no kind of thing called {shown(words[0])}", f"a metric's name: {whole}")
        return Reference("metric", ".".join(words))

    def _check_glued(self, token: _Token, end: int) -> None:
        """`val/f1-macro` without spaces is a name that lacks its backticks, and no arithmetic."""
        sign, after = self.look(), self.look(1)
        if sign.text not in ("-", "/") or sign.at != end or after.at != sign.end:
            return
        if after.kind == "word" or (after.kind == "number" and token.text.split(".")[0] != BASELINE):
            found = _GLUED.match(self.text, token.at)
            name = found.group() if found else token.text
            self.fail(
                sign.at, f"{sign.text} here needs spaces round it, or the name backticks",
                f"`{name}`, or {token.text} {sign.text} {after.text}",
            )  # fmt: skip

    # -- what the whole means

    def _with_baseline(self, found: Expression) -> Expression:
        """With the bare word `baseline` as the baseline's value of the one thing that the condition is about."""
        if _BARE not in found.references:
            return found
        about = {reference for reference in found.references if not reference.baseline}
        if len(about) != 1:
            rule = "is not clear which of the baseline's values is meant" if about else "is about a baseline alone"
            self.fail(self._bare_at(), f"it {rule}", "baseline.f1")
        meant = replace(about.pop(), baseline=True)
        return replace(found, left=_put(found.left, meant), right=_put(found.right, meant))

    def _bare_at(self) -> int:
        return next(token.at for token in self.tokens if token.text == BASELINE)

    def _typed(self, found: Expression, comparator: _Token) -> Expression:
        """Whether texts or numbers are compared. Raises UsageError for a text among numbers."""
        sides = (found.left, found.right)
        same = found.comparator in ("==", "!=")
        if any(isinstance(side, Text) for side in sides) or (same and all(map(_is_textual, sides))):
            return self._textual(found, comparator)
        for node in (node for side in sides for node in walk(side)):
            if isinstance(node, Text) or (isinstance(node, Reference) and node.kind == "status"):
                self.fail(comparator.at, f"{node} is no number", "status == FINISHED, params.model = 'rf'")
            if isinstance(node, Number) and node.unit and all(ref.kind != "duration" for ref in found.references):
                self.fail(comparator.at, f"{node} is a span of time, and goes with duration", "duration <= 10m")
        if same and any(map(_is_textual, sides)):
            self._check_bare_text(found, comparator)
        return found

    def _textual(self, found: Expression, comparator: _Token) -> Expression:
        for side in (found.left, found.right):
            if not isinstance(side, Text) and not _is_textual(side):
                self.fail(comparator.at, "a text is compared with a param, a tag or the status", "params.model = 'rf'")
        if found.comparator not in ("==", "!="):
            self.fail(comparator.at, f"texts are == or !=, not {found.comparator}")
        for side, other in ((found.left, found.right), (found.right, found.left)):
            wrong = isinstance(other, Text) and other.value not in tuple(Status)
            if isinstance(side, Reference) and side.kind == "status" and wrong:
                self.fail(comparator.at, f"the status is never {other}", f"it is {', '.join(Status)}")
        return replace(found, textual=True)

    def _check_bare_text(self, found: Expression, comparator: _Token) -> None:
        """`params.model = rf`: the quotes were forgotten, or a shell took them."""
        bare = {token.text for token in self.tokens if token.kind == "word"}
        for side in (found.left, found.right):
            if isinstance(side, Reference) and side.kind == "metric" and side.key in bare and not side.baseline:
                self.fail(
                    comparator.at, f"a text goes in quotes: '{side.key}'", f"a metric beside it: metrics.{side.key}"
                )


def _is_textual(node: Node) -> bool:
    return isinstance(node, Reference) and node.kind in ("param", "tag", "status")


def _status_word(node: Node, other: Node) -> Node:
    """FINISHED beside the status is no metric."""
    beside = isinstance(other, Reference) and other.kind == "status"
    if beside and isinstance(node, Reference) and node == Reference("metric", node.key) and node.key.isidentifier():
        return Text(node.key.upper())
    return node


def _put(node: Node, meant: Reference) -> Node:
    """The node with `meant` wherever the bare word `baseline` stood."""
    match node:
        case Reference():
            return meant if node == _BARE else node
        case Negated(of) | Absolute(of) | Percent(_, of):
            return replace(node, of=_put(of, meant))
        case Operation(_, left, right):
            return replace(node, left=_put(left, meant), right=_put(right, meant))
    return node
