"""Every question in a pipe, in a narrow terminal, without colour: whole lines, what fits, nothing that acts."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from rich.cells import cell_len

import trk
from cli.conftest import Call
from trk_cli import tokens
from trk_cli.__main__ import main

NARROW = 60
QUESTIONS = {
    "best": ("best", "--metric", "f1"),
    "ls": ("ls",),
    "groups": ("ls", "--group-by", "params.model", "--agg", "mean,std,best"),
    "search": ("search", "metrics.f1 > 0.1 or tags.`a long tag` IS NOT NULL"),
    "show": ("show", "--run", "second"),
    "history": ("history", "f1", "loss", "--run", "first", "--run", "second"),
    "aligned": ("history", "f1", "--run", "first", "--run", "second", "--align"),
    "compare": ("compare", "first", "second", "third"),
    "check": ("check", "f1 >= baseline - 50%", "loss < 100", "--run", "second", "--baseline", "first"),
    "summary": ("summary", "second", "--baseline", "first"),
    "artifacts": ("artifacts", "ls", "--run", "second"),
    "config": ("config", "show", "--origin"),
    "plot": ("plot", "f1", "--run", "first", "--run", "second"),
    "watch": ("watch", "first", "second"),
}
# A document of lines of its own: as wide as it is.
DOCUMENTS = ("summary",)
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(autouse=True)
def _runs() -> None:
    for number, name in enumerate(("first", "second", "third")):
        params = {"model": f"a model with a very long name, number {number}", "lr": f"0.{number + 1}"}
        with trk.start(name, experiment="an experiment with a long name", params=params) as run:
            run.set_tags({"a long tag": "text that is much longer than a narrow terminal is wide, and goes on and on"})
            for step in range(4):
                run.log_metrics({"f1": 0.1 * (step + number), "loss": 1 / (step + 1), "val/accuracy": 0.5}, step=step)
            run.log_text("a text", "a note with a long name.txt")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, **environment: str) -> tuple[int, str]:
    """The exit code, and what a terminal of 60 columns shows."""
    for name, value in {"COLUMNS": str(NARROW), "TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    stream = _Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", _Terminal())
        code = main(list(words))
    return code, stream.getvalue()


def test_every_verb_that_answers_in_formats_is_asked_here() -> None:
    asked = {words[0] for words in QUESTIONS.values()}
    answering = {verb for verb, options in tokens.VERBS.items() if "--format" in options}
    elsewhere = {"export", "verify", "daemon", "doctor", "status"}  # files, servers, processes; and what is talk
    assert answering - asked == elsewhere


@pytest.mark.parametrize("question", QUESTIONS)
def test_in_a_pipe_lines_are_whole_and_plain(question: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(NARROW))
    done = call(*QUESTIONS[question])
    assert (done.code, ACTS.search(done.out)) == (0, None)
    assert done.out.endswith("\n")
    if question in ("compare", "show", "groups"):
        assert "a model with a very long name, number 1" in done.out
    if question in ("ls", "history", "best"):
        assert len({line.count("\t") for line in done.out.splitlines()}) == 1, "every line has every column"


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_narrow_terminal_without_colour_shows_it_in_its_width(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = shown(QUESTIONS[question], monkeypatch, NO_COLOR="1")
    assert (code, COLOUR.search(text)) == (0, None)
    assert question == "watch" or ACTS.search(text) is None  # it draws over what it has drawn
    assert text.strip()
    if question not in DOCUMENTS:
        assert max(cell_len(STYLE.sub("", line)) for line in text.splitlines()) <= NARROW, text


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name not in ("plot", "watch", "config")])
def test_as_json_it_is_json_whatever_the_terminal(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = shown((*QUESTIONS[question], "--json"), monkeypatch, NO_COLOR="1")
    assert code == 0
    json.loads(text)
