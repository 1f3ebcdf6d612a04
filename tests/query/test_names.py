"""What names a run in Python, and which of the public names there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from trk.errors import NoActiveRun, NotFound, UsageError

ASK: dict[str, Callable[[Any], Any]] = {
    "get_run": lambda run: trk.get_run(run).run_id,
    "history": lambda run: trk.history("f1", run)[0].run_id,
    "history of several": lambda run: trk.history("f1", [run, run])[1].run_id,
    "artifacts": lambda run: trk.artifacts(run)[0].run_id,
    "get_artifact": lambda run: trk.get_artifact("note", run, to="out", overwrite=True) and trk.get_run(run).run_id,
    "compare": lambda run: trk.compare(run, baseline="other").runs[1].run_id,
    "compare of several": lambda run: trk.compare(["other", run]).runs[1].run_id,
    "baseline": lambda run: trk.compare("other", baseline=run).baseline,
}


@pytest.fixture
def run() -> trk.Run:
    with trk.start("other") as other:
        other.log_metric("f1", 0.5)
    made = trk.start("one")
    made.log_metric("f1", 0.9)
    made.log_text("x", "note")
    return made


@pytest.mark.parametrize("ask", ASK.values(), ids=list(ASK))
def test_a_run_is_named_by_text_by_itself_and_by_its_record(ask: Callable[[Any], Any], run: trk.Run) -> None:
    for named in (run, run.record, run.id, run.id[:20], "one", "@"):
        assert ask(named) == run.id


@pytest.mark.parametrize("ask", ASK.values(), ids=list(ASK))
@pytest.mark.parametrize("named", [3, 0.5, True, b"one", ..., Path("one"), ["one", ["one"]]], ids=repr)
def test_what_names_no_run_is_a_usage_error(ask: Callable[[Any], Any], named: Any, run: trk.Run) -> None:
    with pytest.raises(UsageError) as caught:
        ask(named)
    assert "named by text" in caught.value.message
    assert caught.value.hint


def test_the_active_run_of_a_with_block_is_meant_in_questions_too() -> None:
    with trk.start("a"):
        pass
    with trk.start("b") as inner:
        inner.log_metric("f1", 1)
        assert trk.history("f1")[0].run_id == trk.history("f1", ["@"])[0].run_id == inner.id
    with pytest.raises(NoActiveRun):
        trk.history("f1")


@pytest.mark.parametrize("number", ["3", 1.5, True, None, 0, -1], ids=repr)
def test_how_many_is_a_whole_number(number: Any, run: trk.Run) -> None:
    with pytest.raises(UsageError, match="n must be a whole number from 1 up"):
        trk.best("f1", n=number)
    if number is not None:
        with pytest.raises(UsageError, match="best must be a whole number from 1 up"):
            trk.compare(best=number, metric="f1")
    if number not in (None, 0):
        with pytest.raises(UsageError, match="n must be a whole number from 0 up"):
            trk.search(n=number)
        with pytest.raises(UsageError, match="n must be a whole number from 0 up"):
            trk.get_artifact("note", n=number)


def test_where_no_metric_was_logged_nothing_more_is_said() -> None:
    with trk.start("one", experiment="e", params={"lr": 1}) as run:
        run.log_text("x", "note")
    for ask in (lambda: trk.best("f1", experiment="e"), lambda: trk.compare(best=2, metric="f1", experiment="e")):
        with pytest.raises(NotFound) as caught:
            ask()
        assert caught.value.hint == "no metrics have been logged there"


# Words of annotations that are no records of trk's.
_FOREIGN = {
    "Mapping", "Sequence", "Iterator", "None", "Path", "Any", "Literal", "Mode", "Aggregate", "Verdict", "State",
    "Figure", "Self",
}  # fmt: skip


def returned(home: str, name: str) -> list[str]:
    """What the annotations of a function's answer, or of a class's fields and properties, name."""
    spec = find_spec(home)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (node,) = [one for one in tree.body if isinstance(one, (ast.FunctionDef, ast.ClassDef)) and one.name == name]
    parts = [node] if isinstance(node, ast.FunctionDef) else node.body
    notes = [part.returns for part in parts if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")]
    notes += [part.annotation for part in parts if isinstance(part, ast.AnnAssign)]
    return [word for note in notes if note is not None for word in re.findall(r"\b[A-Z]\w+", ast.unparse(note))]


def test_what_a_public_function_returns_is_public() -> None:
    assert trk.Check.__name__ == "Check"
    assert isinstance(trk.doctor(timeout=5)[0], trk.Check)
    named = {
        (name, word)
        for home, names in trk._HOMES.items()
        if home != "trk.errors"
        for name in names
        for word in returned(home, name)
    }
    assert {word for _, word in named} >= {"Check", "RunRecord", "Comparison", "Delivery"}
    assert [pair for pair in sorted(named) if pair[1] not in {*trk.__all__, *_FOREIGN}] == []
