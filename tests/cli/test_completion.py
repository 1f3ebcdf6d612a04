"""The completion scripts are those of the app as it is, and what a TAB asks is answered from the journal alone.

To rewrite the scripts after a change of verbs, options or help:

    TRK_GOLDEN=write python -m pytest tests/cli/test_completion.py; git diff completions
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated

import pytest
import typer

import helpers
import trk
from cli.conftest import Call
from trk import session, tracker
from trk.errors import UsageError
from trk_cli import app, complete, completion, tokens

ROOT = Path(__file__).parents[2]
WRITE = os.environ.get("TRK_GOLDEN") == "write"  # a test's own environment has no TRK_ in it
FILES = {"bash": "trk.bash", "zsh": "_trk", "fish": "trk.fish"}
INSTALLED = {
    "bash": "share/bash-completion/completions/trk",
    "zsh": "share/zsh/site-functions/_trk",
    "fish": "share/fish/vendor_completions.d/trk.fish",
}


# ---- the scripts


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_scripts_in_the_repository_are_fresh(shell: str, call: Call) -> None:
    file = ROOT / "completions" / FILES[shell]
    done = call("completion", shell)
    assert (done.code, done.err) == (0, "")
    if WRITE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(done.out, encoding="utf-8")
    same = file.read_text(encoding="utf-8") == done.out
    assert same, f"completions/{file.name} is stale: TRK_GOLDEN=write python -m pytest tests/cli/test_completion.py"


def test_the_wheel_puts_each_script_where_its_shell_looks() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert wheel["wheel"]["shared-data"] == {f"completions/{FILES[shell]}": INSTALLED[shell] for shell in FILES}
    assert "/completions" in wheel["sdist"]["include"]


def part(script: str, shell: str, verb: str) -> str:
    """What a script says of a verb."""
    if shell == "fish":
        return "\n".join(re.findall(rf"^complete .*'__trk_in (?:[\w-]+ )*{verb}[ '].*$", script, re.MULTILINE))
    found = re.search(rf"^    \(?{verb}\)\n(.*?)^        ;;$", script, re.MULTILINE | re.DOTALL)
    assert found, verb
    return found[1]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_script_has_every_verb_and_each_of_its_options(shell: str) -> None:
    script = completion.script(app.app, shell)
    for verb in tokens.VERBS:
        said = part(script, shell, verb)
        for name, (long, valued, _) in tokens.table(verb).items():
            if shell == "bash" and not valued:
                name = long  # the short one it need not know: nothing follows
            if shell == "fish":
                name = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            assert re.search(rf"(?<![\w-]){name}(?![\w-])", said), (verb, name)


def test_a_shell_that_is_not_known_or_not_named_is_a_usage_error(call: Call) -> None:
    for words in (["completion"], ["completion", "tcsh"]):
        done = call(*words)
        assert (done.code, done.out) == (2, "")
        assert all(shell in done.err for shell in completion.SHELLS)
    page = call("completion", "--help").out
    assert all(f"trk completion {shell}" in page for shell in completion.SHELLS)
    with pytest.raises(UsageError):
        completion.script(app.app, "tcsh")


def other_app() -> typer.Typer:
    """An app with verbs that trk does not have."""
    other = typer.Typer(rich_markup_mode=None)

    @other.command(short_help="It's [new]: $(touch pwned) `touch pwned`.")
    def weigh(
        file: Annotated[str, typer.Argument(metavar="FILE|-")],
        runs: Annotated[list[str], typer.Argument(metavar="RUN")],
        unit: Annotated[str, typer.Option("-u", "--unit", metavar="g|kg", help="It's [g]: \\ $(touch pwned).")] = "g",
        into: Annotated[str, typer.Option("--into", metavar="FOLDER")] = "",
        odd: Annotated[str, typer.Option("--odd", metavar="ODD")] = "",
        secret: Annotated[str, typer.Option("--secret", hidden=True)] = "",
    ) -> None: ...

    @other.command(hidden=True)
    def unseen() -> None: ...

    return other


def test_a_new_verb_is_taken_up_with_what_help_calls_its_values() -> None:
    (found,) = completion.verbs(other_app())
    assert found.name == "weigh"
    assert [place.values for place in found.places] == [completion.Values("file"), completion.Values("one", "run")]
    assert [place.again for place in found.places] == [False, True]
    assert {option.names[0]: option.values for option in found.options} == {
        "--unit": completion.Values("one", words=("g", "kg")),
        "--into": completion.Values("folder"),
        "--odd": completion.Values(),
        "--help": None,
    }
    for shell in completion.SHELLS:
        script = completion.script(other_app(), shell)
        assert "weigh" in script
        assert "unseen" not in script
        assert "secret" not in script


def test_what_the_scripts_ask_for_is_answered() -> None:
    asked = {
        values.ask
        for verb in completion.verbs(app.app)
        for values in (*(option.values for option in verb.options), *(place.values for place in verb.places))
        if values is not None and values.ask
    }
    assert asked
    assert {kind for ask in asked for kind in ask.split("+")} <= {*complete.KINDS}


# ---- what a TAB asks


def words(call: Call, kind: str, prefix: str = "") -> list[str]:
    """The words of an answer, without what is told of them."""
    done = call("__complete", kind, prefix)
    assert (done.code, done.err) == (0, "")
    return [line.partition("\t")[0] for line in done.out.splitlines()]


def test_names_come_newest_first_and_begin_with_what_is_typed(call: Call) -> None:
    for name in ("base one", "base two", "Other"):
        with trk.start(name, experiment=f"about {name}", params={f"p {name}": 1}, tags={f"t {name}": 1}) as run:
            run.log_metric(f"m/{name}", 1)
    assert words(call, "run") == ["Other", "base two", "base one", "@", "@last"]
    assert words(call, "run", "base") == ["base two", "base one"]
    assert words(call, "run", "two") == ["base two"]  # in the middle, when nothing begins so
    assert words(call, "run", "oth") == ["Other"]
    assert words(call, "run", "@l") == ["@last"]
    assert words(call, "run", "nothing") == []
    for kind, name in (("experiment", "about {}"), ("metric", "m/{}"), ("param", "p {}"), ("tag", "t {}")):
        assert words(call, kind) == [name.format(run) for run in ("Other", "base two", "base one")]
        assert words(call, kind, name.format("base t")) == [name.format("base two")]
    assert words(call, "column", "metrics.m/O") == ["metrics.m/Other"]
    assert words(call, "column", "p") == ["params.p Other", "params.p base two", "params.p base one"]
    assert words(call, "metric+tag", "t O") == ["t Other"]


def test_the_best_by_a_metric_is_offered_as_a_baseline(call: Call) -> None:
    with trk.start("bestow") as run:
        run.log_metrics({"f1": 1, "val/loss": 1})
    baselines = [
        option.values for verb in completion.verbs(app.app) for option in verb.options if "--baseline" in option.names
    ]
    assert len(baselines) > 1
    for baseline in baselines:
        assert baseline is not None
        assert words(call, baseline.ask, "best:") == ["best:f1", "best:val/loss"]
        assert words(call, baseline.ask, "best:v") == ["best:val/loss"]
    assert words(call, baseline.ask, "best") == ["bestow", "best:f1", "best:val/loss"]
    assert words(call, baseline.ask, "tag:") == []


def test_what_the_run_has_is_offered_first_by_name_and_by_path(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("older", "newer"):
        with trk.start(name) as run:
            run.log_text("x", f"note {name}")
            run.log_dict({"a": 1}, "dir/both.json")
    assert call("start", "active", "-q").code == 0
    assert call("log-text", "--text", "x", "--name", "mine").code == 0
    assert words(call, "own-artifact+artifact")[:2] == ["mine", "mine.txt"]
    assert words(call, "own-artifact+artifact", "note") == ["note newer.txt", "note older.txt"]
    for named in ("older", "@last"):
        monkeypatch.setenv("TRK_RUN", named)
        own = "older" if named == "older" else "newer"
        assert words(call, "own-artifact") == [f"note {own}", "dir/both.json", f"note {own}.txt"]
        assert words(call, "own-artifact+artifact", "dir") == ["dir/both.json"]  # once
    monkeypatch.setenv("TRK_RUN", "nobody")
    assert words(call, "own-artifact") == []
    (places,) = (verb.places for verb in completion.verbs(app.app) if verb.name == "artifacts")
    assert places[1].values.ask == "own-artifact+artifact+run"


def test_runs_are_offered_by_their_state(call: Call) -> None:
    open_run, ended = trk.start("open"), trk.start("ended")
    ended.finish("FAILED")
    assert words(call, "open-run") == ["open"]
    assert words(call, "ended-run") == ["ended", "@last"]
    assert words(call, "deleted-run") == []
    assert call("__complete", "run", "e").out == "ended\tDefault, FAILED\n"
    open_run.finish()


def test_a_run_is_offered_by_its_id_when_that_is_typed_or_its_name_would_not_do(call: Call) -> None:
    twice = [trk.start("twice").id for _ in range(2)]
    dashed, handle = trk.start("--json").id, trk.start("mlflow:1").id
    assert words(call, "run") == [handle, dashed, *reversed(twice), "@", "@last"]
    assert words(call, "run", dashed[:20]) == [dashed] or dashed[:20] == handle[:20]
    assert call("__complete", "run", dashed).out == f"{dashed}\t--json, Default, RUNNING\n"


def test_what_like_takes_for_a_sign_is_a_letter(call: Call) -> None:
    for name in ("100%", "1000", "a_b", "axb", "c\\d"):
        trk.start(name).finish()
    assert words(call, "run", "100%") == ["100%"]
    assert words(call, "run", "a_") == ["a_b"]
    assert words(call, "run", "c\\") == ["c\\d"]


def test_what_would_act_on_a_terminal_is_left_out(call: Call) -> None:
    run = trk.start("plain")
    _, journal = tracker.find_journal()
    for number, name in enumerate(["a\nb", "a\x1b[2J", "a\tb", "a\u202eb", "a\rb"]):
        journal.read("UPDATE runs SET name = ?, experiment = ?", (name, name))
        journal.read("INSERT INTO params VALUES (1, ?, '')", (f"{number}{name}",))
        done = call("__complete", "run", "")
        assert done.out.startswith(f"{run.id}\ta\\")
        assert done.out.count("\n") == 3
        assert done.out.replace("\n", "").replace("\t", "").isprintable()
        assert call("__complete", "experiment", "").out == ""
    assert call("__complete", "param", "").out == ""


def test_an_answer_has_at_most_200_words(call: Call) -> None:
    run = trk.start("many")
    run.log_params({f"p{number}": number for number in range(300)})
    run.log_metrics({f"m{number}": number for number in range(300)})
    for kind in ("param", "metric", "column"):
        assert len(words(call, kind)) == 200
    assert words(call, "metric", "m299") == ["m299"]


@pytest.mark.parametrize("asked", [[], ["run"], ["run", "a", "b"], ["nothing", ""], ["run", "\udcff"], ["", ""]])
def test_a_question_that_makes_no_sense_has_no_answer(asked: list[str], call: Call) -> None:
    trk.start("a")
    done = call("__complete", *asked)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_where_there_is_no_journal_there_are_no_words_and_none_is_made(call: Call, project: Path) -> None:
    assert call("__complete", "run", "").out == ""
    (project / ".trk").mkdir()
    assert call("__complete", "run", "").out == ""
    assert list(project.iterdir()) == [project / ".trk"]
    assert list((project / ".trk").iterdir()) == []


def test_a_damaged_journal_or_one_of_another_version_has_no_words(call: Call, project: Path) -> None:
    (project / ".trk").mkdir()
    journal = project / ".trk" / session.JOURNAL
    for content in (b"", b"no database at all" * 100):
        journal.write_bytes(content)
        assert words(call, "run") == words(call, "metric") == words(call, "param") == []
        assert journal.read_bytes() == content


def test_a_journal_in_a_folder_of_a_strange_name_is_read(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "50% of what? #1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    trk.start("here")
    assert words(call, "open-run") == ["here"]


def test_a_tab_waits_for_no_writer(call: Call) -> None:
    trk.start("here")
    _, journal = tracker.find_journal()
    with journal.lock, journal.begun() as db:
        assert words(call, "open-run") == ["here"]
        db.rollback()


def test_a_tab_imports_nothing_dear() -> None:
    trk.start("here").log_metric("f1", 1)
    done = helpers.program(
        "import sys, _sqlite3\nbefore = set(sys.modules)\nfrom trk_cli.__main__ import main\n"
        "assert [main(['__complete', kind, '']) for kind in ('run', 'metric', 'column')] == [0, 0, 0]\n"
        "print(*sorted({'re', 'json', 'typing', 'dataclasses', 'enum', 'pathlib', 'typer', 'rich', 'sqlite3', 'shutil',"
        " 'datetime', 'subprocess', 'collections', 'functools'} & (set(sys.modules) - before)))"
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["here\tDefault, RUNNING", "@\tthe active run", "@last\tthe run that ended last",
                                        "f1", "metrics.f1", ""]  # fmt: skip
