"""Help can't drift: every verb is listed, and every example runs."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, run
from typing import Any

import pytest

import helpers
import trk
from trk_cli import tokens, verbs
from trk_cli.commands import manage

# What an example needs beside the prepared project: a run `other` that has ended, and `baseline`, which is active.
PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)  # what an image begins with
FIRST = {
    "start": "trk detach -q",
    "resume": "trk detach -q",
    "status": "trk detach -q; TRK_BACKENDS=mlflow trk start delivered -q",
    "import": "printf 'epoch,loss\\n1,0.5\\n' > losses.csv",
    "watch-file": "echo loss=0.5 step=1 > metrics.jsonl",
    "artifacts": "trk log-artifact model.pkl --name classifier --type model -q",
}
LOG_VERBS = {verb for verb in tokens.VERBS if verb.startswith(("log-", "set-", "delete-t", "define-"))}  # as one there
ELSEWHERE = {"demo": "tests/demo runs it", "ui": "tests/cli/test_ui.py runs it"}


def example(help_text: str) -> str:
    """The command after `Example:`, whose line may have been folded."""
    found = re.search(r"Example: (.*?)\n\s*\n", help_text, re.DOTALL)
    assert found, help_text
    return " ".join(found[1].split())


@pytest.mark.parametrize("verb", sorted(tokens.VERBS))
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_explains_itself(verb: str, flag: str, call: Any) -> None:
    done = call(verb, flag)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: trk {verb} [OPTIONS]")
    command = example(done.out)
    assert re.search(rf"\btrk {verb}\b", command)
    for option in tokens.table(verb):
        assert re.search(rf"(?<![\w-]){option}\b", done.out), option


def test_help_is_given_whatever_else_stands_on_the_line(call: Any) -> None:
    for words in (
        ["log-metric", "f1", "--help"],
        ["log-metric", "f1", "x", "--step=x", "-h"],
        ["start", "-h", "a", "b"],
    ):
        assert call(*words).out.startswith(f"Usage: trk {words[0]}")
    assert call("log-param", "flags", "--", "-h").code == 3  # a value


def test_the_first_page_lists_every_verb_and_cuts_nothing_short(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = call("--help").out
    assert page == call().out == call("-h").out
    listed = re.findall(r"^  ([a-z-]+) {2,}(\S.*)$", page.partition("Commands:")[2], re.MULTILINE)
    assert {verb for verb, _ in listed} == set(tokens.VERBS)
    assert not [told for _, told in listed if told.endswith(("...", "…"))]
    assert max(map(len, page.splitlines())) <= 80


def test_every_topic_can_be_read_and_is_named(call: Any) -> None:
    topics = sorted(path.stem for path in manage.HELP.glob("*.md"))
    assert call("help").out == "".join(f"trk help {topic}\n" for topic in topics)
    for topic in topics:
        assert call("help", topic).out == (manage.HELP / f"{topic}.md").read_text(encoding="utf-8")
        assert topic in call("help", "--help").out
    missing = call("help", "nonsense")
    assert (missing.code, all(topic in missing.err for topic in topics)) == (4, True)


def test_the_exit_codes_of_the_errors_are_in_the_help() -> None:
    from trk import errors

    page = (manage.HELP / "exit-codes.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (\d+) \| (\w+) \|", page, re.MULTILINE))
    for kind in (errors.NoActiveRun, errors.NotFound, errors.NotDelivered, errors.Conflict):
        assert table[str(kind.exit_code)] == kind.code
    assert (table["0"], table["1"], table["2"], table["130"]) == ("ok", "failure", "usage", "interrupted")


def test_help_on_a_verb_names_its_own_help(call: Any) -> None:
    for verb in tokens.VERBS:
        if (manage.HELP / f"{verb}.md").exists():  # the verb has a page of its own
            continue
        done = call("help", verb)
        assert (done.code, done.out) == (4, "")
        assert f"(trk {verb} --help)" in done.err


def test_every_verb_that_prints_json_is_on_the_page_about_it() -> None:
    page = (manage.HELP / "json.md").read_text(encoding="utf-8")
    told = " ".join(re.findall(r"`([^`\n]*)`", page))
    for verb in tokens.VERBS:
        if "--json" in tokens.table(verb) and verb not in LOG_VERBS:
            assert re.search(rf"\b{verb}\b", told), verb
    for shown in ("trk status --json", "`--run`", "trk artifacts ls --json", "trk artifacts get --json", "--deleted"):
        assert shown in page


def test_the_page_about_json_says_what_is_printed(call: Any, open_run: str) -> None:
    page = (manage.HELP / "json.md").read_text(encoding="utf-8")
    assert call("log-text", "--text", "x", "--name", "note").code == 0
    (one,) = json.loads(call("artifacts", "ls", "--json").out)
    (check, *_) = json.loads(call("doctor", "--json").out)
    assert call("end", "-q").code == 0
    deleted = json.loads(call("delete", "@last", "--json", "-q").out)["runs"][0]
    for form in (one, check, deleted):
        pattern = ".*?".join(f'"{key}": ' for key in form)
        assert re.search(pattern, page, re.DOTALL), list(form)


def test_every_exit_code_says_what_it_is_for() -> None:
    page = (manage.HELP / "exit-codes.md").read_text(encoding="utf-8")
    lines = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if re.match(r"\| \d+ ", line)}
    assert "artifact" in lines["4"]
    assert "trk doctor" in lines["1"]


@pytest.fixture
def prepared(call: Any, project: Path) -> Path:
    for line in (
        "start other -e digits -q",
        "log-metrics f1=0.92 loss=0.3",
        "log-metrics f1=0.91 loss=0.2",
        "end -q",
        "start baseline -e digits -q",
        "log-metrics f1=0.93 loss=0.1",
        "set-tag stage dev",
    ):
        assert call(*line.split()).code == 0
    (project / "sample.png").write_bytes(PNG)
    (project / "roc.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (project / "model.pkl").write_bytes(b"weights")
    return project


def in_bash(script: str, folder: Path) -> tuple[int, str]:
    function = f'set -e; trk() {{ "{sys.executable}" -P -m trk_cli "$@"; }}\n'
    command = folder.parent / "bin" / "trk"  # for what `trk shell-init` prints
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m trk_cli "$@"\n')
    command.chmod(0o755)
    env = helpers.child_environment(PATH=f"{command.parent}:{os.environ['PATH']}")
    done = run(
        ["bash", "-c", function + script], env=env, cwd=folder,
        stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_every_example_runs(prepared: Path, call: Any, tmp_path: Path) -> None:
    for verb in tokens.VERBS:
        if verb in ELSEWHERE:
            continue
        folder = tmp_path / verb
        shutil.copytree(prepared, folder)
        code, said = in_bash(f"{FIRST.get(verb, '')}\n{example(call(verb, '--help').out)}", folder)
        assert code == 0, (verb, said)
        assert "trk: " not in said, (verb, said)


def test_the_commands_in_the_page_on_sessions_run(tmp_path: Path) -> None:
    page = (manage.HELP / "sessions.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)
    assert len(blocks) >= 4
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        code, said = in_bash(block, folder)
        assert code == 0, (block, said)


def in_readme(language: str) -> list[str]:
    """README's blocks in a language."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


def test_the_commands_in_the_readme_run_one_block_after_the_other(tmp_path: Path) -> None:
    blocks = [block for block in in_readme("sh") if "pip install" not in block]
    assert len(blocks) >= 11
    folder = tmp_path / "readme"
    (folder / "plots").mkdir(parents=True)
    for name, content in {"sample.png": PNG, "roc.svg": b"<svg/>", "model.pkl": b"weights", "plots/a.png": PNG}.items():
        (folder / name).write_bytes(content)
    for block in blocks:
        code, said = in_bash(block, folder)
        assert (code, "trk: " in said) == (0, False), (block, said)
    assert (folder / "losses.csv").read_text() == "epoch,loss\n1,0.52\n"
    assert (folder / "models" / "classifier" / "model.pkl").read_bytes() == b"weights"
    assert (folder / "everything" / "results" / "plots" / "a.png").read_bytes() == PNG


def test_the_python_in_the_readme_runs(project: Path) -> None:
    blocks = in_readme("python")
    assert len(blocks) == 2
    done = helpers.program("\n".join(blocks), TRK_BACKENDS="none")
    assert (done.returncode, done.stderr, done.stdout) == (
        0, "", "baseline 0.3 2\n{'lr': '0.1', 'layers': '3'}\n"
    )  # fmt: skip
    assert [run.params for run in trk.search("run_name = 'captured'")] == [{"lr": "0.1", "layers": "3"}]


@pytest.mark.parametrize("page", sorted(manage.HELP.glob("*.md")), ids=lambda page: page.stem)
def test_every_command_in_a_page_is_one(page: Path) -> None:
    for line in re.findall(r"^    (trk .*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = itertools.takewhile(lambda word: word not in ("|", "||", "&&", ">"), shlex.split(line, comments=True))
        assert verbs.plain_call(list(words)[1:]) is not None, line
