"""The names of what several runs of MLflow log into one run of trk."""

from __future__ import annotations

import threading
from collections.abc import Callable

from trk import rules
from trk.imports import naming


class Scope:
    """The names in one run of trk, by kind; and how many runs of MLflow have gone into it."""

    def __init__(self, renamed: dict[str, str]) -> None:
        self.renamed = renamed
        self.number = 0
        self.metrics = Names(rules.check_metric_name, renamed)
        self.params = Names(naming.check_param, renamed)
        self.tags = Names(rules.check_tag_name, renamed)


_scopes: dict[str, Scope] = {}  # of the runs that this process has captured into


def scope_of(run_id: str) -> Scope:
    """The names in that run: what a later block logs is told apart from what an earlier one has logged."""
    return _scopes.setdefault(run_id, Scope({}))


class Names:
    """The names of one kind. What several runs call the same is told apart by the run's number, from the second on.

    A value that is the same as another run's needs no name of its own.
    """

    def __init__(self, check: Callable[[str], str], renamed: dict[str, str]) -> None:
        self._mended = naming.Names(check)
        self._renamed = renamed
        self._turn = threading.Lock()
        self._owners: dict[str, tuple[int, str, str | None]] = {}  # by name here: run, its name there, its value
        self._own: dict[tuple[int, str], str] = {}  # by run and name there

    def of(self, name: str, number: int, value: str | None = None) -> str:
        """The name here of what that run calls so; `value` for what has one at a time."""
        with self._turn:
            known = self._own.get((number, name))
            if known is None:
                known = self._new(name, number, value)
            return known

    def _new(self, name: str, number: int, value: str | None) -> str:
        asked = name
        while True:
            found = self._mended.of(asked)
            if found != asked:
                self._renamed[naming.text(asked)] = found
            owner = self._owners.setdefault(found, (number, name, value))
            if owner[:2] == (number, name):
                self._own[number, name] = found
                return found
            if value is not None and owner[1:] == (name, value):
                return found
            asked = f"{asked}_{number}"
