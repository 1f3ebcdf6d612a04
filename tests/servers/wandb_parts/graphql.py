"""Answers GraphQL: exactly the fields that were asked for, from dicts whose values may be functions of the arguments.

There is no schema. A field that a node does not have is an error in the server's own words, as W&B's server answers
a field it does not know, and is kept in `Answer.unknown`: a test can demand that there was none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphql import language, parse, value_from_ast_untyped

Node = Mapping[str, Any]


class Refused(Exception):
    """The request as a whole gets this HTTP status and message; `data` is null."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Answer:
    """The data, and what was asked for in vain as `Type.field`."""

    data: dict[str, Any]
    unknown: list[str] = field(default_factory=list)


@lru_cache(maxsize=256)
def document(text: str) -> language.DocumentNode:
    """The parsed text; the SDK sends the same few over and over."""
    return parse(text, no_location=True)


def operation(text: str) -> language.OperationDefinitionNode:
    """The one operation of a document."""
    found = [part for part in document(text).definitions if isinstance(part, language.OperationDefinitionNode)]
    return found[0]


def name(text: str) -> str:
    """What the operation calls itself."""
    named = operation(text).name
    return named.value if named else ""


def is_mutation(text: str) -> bool:
    """Whether it changes anything."""
    return operation(text).operation is language.OperationType.MUTATION


def execute(text: str, variables: Mapping[str, Any], root: Node) -> Answer:
    """Carry out a document against the root's fields. Raises `Refused` when one of them does."""
    defined = operation(text)
    known = {}
    for variable in defined.variable_definitions:
        key = variable.variable.name.value
        if key in variables:
            known[key] = variables[key]
        elif variable.default_value is not None:
            known[key] = value_from_ast_untyped(variable.default_value)
    fragments = {
        part.name.value: part
        for part in document(text).definitions
        if isinstance(part, language.FragmentDefinitionNode)
    }
    execution = _Execution(known, fragments, Answer({}))
    execution.answer.data = execution.select(defined.selection_set, root)
    return execution.answer


@dataclass
class _Execution:
    variables: Mapping[str, Any]
    fragments: Mapping[str, language.FragmentDefinitionNode]
    answer: Answer

    def select(self, chosen: language.SelectionSetNode, node: Node) -> dict[str, Any]:
        """The chosen fields of one node; a fragment for another type has none."""
        found: dict[str, Any] = {}
        for part in chosen.selections:
            if not self._is_included(part):
                continue
            if isinstance(part, language.FieldNode):
                key = part.alias.value if part.alias else part.name.value
                found[key] = _merged(found.get(key), self._field(part, node))
                continue
            if isinstance(part, language.FragmentSpreadNode):
                spread: Any = self.fragments[part.name.value]
            else:
                spread = part
            condition = spread.type_condition
            kind = node.get("__typename")
            if condition is None or kind is None or condition.name.value in (kind, node.get("__kind")):
                found |= self.select(spread.selection_set, node)
        return found

    def _is_included(self, part: language.SelectionNode) -> bool:
        for directive in part.directives:
            value = self._arguments(directive.arguments)["if"]
            if bool(value) != (directive.name.value == "include"):
                return False
        return True

    def _field(self, part: language.FieldNode, node: Node) -> Any:
        wanted = part.name.value
        if wanted not in node:
            if wanted != "__typename":
                self.answer.unknown.append(f"{node.get('__typename', '?')}.{wanted}")
            return None
        value = node[wanted]
        if callable(value):
            value = value(**self._arguments(part.arguments))
        return self._below(part, value)

    def _below(self, part: language.FieldNode, value: Any) -> Any:
        if isinstance(value, list):
            return [self._below(part, one) for one in value]
        if part.selection_set is None or value is None:
            return value
        return self.select(part.selection_set, value)

    def _arguments(self, given: Any) -> dict[str, Any]:
        """Arguments that are variables nobody gave are left out, as if they had not been written."""
        found = {}
        for argument in given:
            if isinstance(argument.value, language.VariableNode) and argument.value.name.value not in self.variables:
                continue
            found[argument.name.value] = value_from_ast_untyped(argument.value, dict(self.variables))
        return found


def _merged(old: Any, new: Any) -> Any:
    """A field that is chosen twice, once in a fragment, has the fields of both."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return new
