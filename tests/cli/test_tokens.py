"""The one tokenizer: the log commands' fast path and Typer can't read a command line differently."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trk.errors import UsageError
from trk_cli import __main__ as command
from trk_cli import app, hot, tokens, verbs

CLICK: Any = typer.main.get_command(app.application())
LOG_VERBS = sorted(hot.POSITIONALS)
T = TypeVar("T")


@pytest.mark.parametrize(
    ("line", "options", "positionals"),
    [
        ("log-metric loss -0.5", [], ["loss", "-0.5"]),
        ("log-metric loss -1e-3 -q", [("--quiet", None)], ["loss", "-1e-3"]),
        ("log-metric loss -.5", [], ["loss", "-.5"]),
        ("log-metric loss -inf --step -3", [("--step", "-3")], ["loss", "-inf"]),
        ("log-metric --step=3 f1 1", [("--step", "3")], ["f1", "1"]),
        ("log-metric --step 3 f1 1", [("--step", "3")], ["f1", "1"]),
        ("log-metric f1 1 --run -x", [("--run", "-x")], ["f1", "1"]),
        ("log-metric f1 1 --run --json", [("--run", "--json")], ["f1", "1"]),
        ("log-metric -- f1 --step", [], ["f1", "--step"]),
        ("log-metric f1 -- --", [], ["f1", "--"]),
        ("log-params -", [], ["-"]),
        ("log-param flags -O2", [], ["flags", "-O2"]),
        ("log-params a=-1 b=--x", [], ["a=-1", "b=--x"]),
        ("set-tag note ---", [], ["note", "---"]),
        ("start -eexp", [("--experiment", "exp")], []),
        ("start -e=exp", [("--experiment", "exp")], []),
        ("start -e -1", [("--experiment", "-1")], []),
        ("start -b a -b=b --backend c --backend=d", [("--backend", name) for name in "abcd"], []),
        ("best -n5", [("--n", "5")], []),
        ("best -n -5", [("--n", "-5")], []),
        ("best -nan", [], ["-nan"]),
    ],
)
def test_a_line_is_split(line: str, options: list[tuple[str, str | None]], positionals: list[str]) -> None:
    argv = line.split(" ")
    assert tokens.split(argv) == (argv[0], options, positionals, True)


def test_empty_words_and_words_with_spaces_are_values() -> None:
    assert tokens.split(["set-tag", "", "--a b", "--run", ""])[1:] == ([("--run", "")], ["", "--a b"], True)
    assert tokens.rewritten(["set-tag", "", "--a b", "--run", ""]) == ["set-tag", "--run=", "--", "", "--a b"]


@pytest.mark.parametrize("word", ["--stpe", "--stpe=3", "--help", "-h", "--json=x", "--quiet="])
def test_what_needs_explaining_is_left_to_typer(word: str) -> None:
    assert tokens.split(["log-metric", "f1", "1", word])[3] is False
    assert command._fast_call(["log-metric", "f1", "1", word], (2, 2)) is None


@pytest.mark.parametrize("words", [["log-metric", "f1", "1", "--step"], ["start", "-e"], ["best", "--metric"]])
def test_a_missing_value_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError, match=f"option {words[-1]} needs a value"):
        tokens.split(words)


def test_a_number_is_never_an_option() -> None:
    for verb in tokens.VERBS:
        for number in ("-1", "-0.5", "-.5", "-1e-3", "-1E5", "-inf", "-nan", "-Infinity"):
            assert tokens.split([verb, "x", number])[1:] == ([], ["x", number], True), (verb, number)


# Random command lines of the log verbs, with every unkindness at once.

numbers = st.floats().map(repr) | st.sampled_from(["-0.5", "-1e-3", "-inf", "-.5", "-1", "+1", "nan", "-5q", "1_000"])
dashed = st.sampled_from(
    ["-", "--", "---", "-x", "-qx", "-e", "-n", "-h", "--help", "-q", "-q=1", "--a b", "-é", "--é"]
)
loose = st.sampled_from(
    ["", " ", "f1", "loss=-1", "=", "a=b=c", "@x.json", "é", "日本", "\udcff", "\n", "a b", "'", '"']
)
free = numbers | dashed | loose | st.text(max_size=6) | st.text("-=hq1e. ", max_size=6)
unknown = st.sampled_from(
    ["--stpe", "--stpe=3", "--jso", "--Json", "--run-id=1", "--no-json", "--step-metric=x", "--q"]
)


def arguments(verb: str) -> list[Any]:
    return [param for param in CLICK.commands[verb].params if param.param_type_name == "argument"]


def counted(verb: str) -> tuple[int, int | None]:
    """How many positionals Typer takes: at least, at most."""
    least = sum(argument.required for argument in arguments(verb))
    return least, None if any(argument.nargs == -1 for argument in arguments(verb)) else len(arguments(verb))


@st.composite
def option_words(draw: st.DrawFn, verb: str) -> list[str]:
    """An option that the verb knows, in any spelling, with or without what it needs."""
    name, (_, valued, _) = draw(st.sampled_from(sorted(tokens.table(verb).items())))
    way = draw(st.sampled_from(["right", "right", "right", "attached", "bare", "glued"]))
    value = draw(free)
    if way == "attached" or (way == "right" and valued and draw(st.booleans())):
        return [f"{name}={value}"]
    if way == "glued" and not name.startswith("--"):
        return [name + value]
    return [name, value] if valued and way != "bare" else [name]


@st.composite
def command_lines(draw: st.DrawFn, verbs: Sequence[str] = LOG_VERBS) -> list[str]:
    verb = draw(st.sampled_from(verbs))
    least, most = counted(verb)
    count = draw(st.sampled_from([least, least, least, most or 3, 0, 1, 4]))
    parts = [[draw(free)] for _ in range(count)]
    parts += [draw(option_words(verb)) for _ in range(draw(st.integers(0, 3)) if tokens.table(verb) else 0)]
    if draw(st.integers(0, 5)) == 0:
        parts.append([draw(unknown)])
    if draw(st.integers(0, 4)) == 0:
        parts.append(["--"])
    return [verb, *(word for part in draw(st.permutations(parts)) for word in part)]


def parsed_by_typer(argv: list[str]) -> dict[str, Any] | None:
    """What Typer would call the verb with; None when it explains instead: a usage error, or help."""
    words = tokens.rewritten(argv)
    try:
        context = CLICK.commands[words[0]].make_context(words[0], words[1:])
    except (typer.Exit, app._ClickError):
        return None
    with context:
        return dict(context.params)


def read_by_both(argv: list[str], read: Callable[[], T | None]) -> tuple[T, dict[str, Any]] | None:
    """What trk and what Typer read of a command line; None where both refuse it, or trk leaves it to Typer's help."""
    try:
        fast = read()
    except UsageError:
        with pytest.raises(UsageError):
            tokens.rewritten(argv)
        return None
    slow = parsed_by_typer(argv)
    assert (fast is None) == (slow is None)
    return None if fast is None or slow is None else (fast, slow)


@given(command_lines())
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@example(["log-metric", "loss", "-1e-3", "-q"])
@example(["log-metric", "loss", "-inf", "--step", "-1"])
@example(["log-params", "--", "--json"])
@example(["set-tag", "", ""])
@example(["log-metric", "f1", "1", "--run", "a", "--run", "b"])
def test_fast_path_and_typer_read_the_same(argv: list[str]) -> None:
    found = read_by_both(argv, lambda: command._fast_call(argv, hot.POSITIONALS[argv[0]]))
    if found is None:
        return
    (options, positionals), slow = found
    given_words: list[str] = []
    for argument in arguments(argv[0]):
        value = slow.pop(argument.name)
        given_words += ([value] if argument.nargs == 1 else value) if value is not None else []
    assert positionals == given_words
    left_out = {name: value for name, value in slow.items() if value in (None, False, ())}
    assert {name: options.pop(name, left_out.get(name)) for name in slow} == {
        name: list(value) if isinstance(value, tuple) and value else value for name, value in slow.items()
    }
    assert not options


OTHER_VERBS = sorted(set(tokens.VERBS) - set(LOG_VERBS))


@given(command_lines(OTHER_VERBS))
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@example(["best", "--metric", "f1", "--metric", "loss", "-n5", "--json", "--json"])
@example(["artifacts", "get", "a", "-o", "-", "--output", "b"])
@example(["import", "csv", "a.csv", "b.csv", "--param", "x=1", "--param", "y=2"])
@example(["summary", "--from", "checks.txt", "--check", "f1 > 0.5"])
@example(["artifacts"])
@example(["search"])
@example(["search", "a", "b"])
@example(["run", "name", "--", "sh", "-c", "--json"])
@example(["start", "\udcff", "--tag", "a=\udcff"])
def test_a_verb_is_called_as_typer_would(argv: list[str]) -> None:
    found = read_by_both(argv, lambda: verbs.plain_call(argv))
    if found is None:
        return
    call, slow = found
    assert isinstance(call, partial)
    assert call.func is verbs.command(argv[0])
    defaults = {name: one.default for name, one in inspect.signature(call.func).parameters.items()}
    assert {**defaults, **call.keywords} == {
        name: list(value) or None if isinstance(value, tuple) else value for name, value in slow.items()
    }


@given(command_lines())
def test_rewriting_loses_nothing_and_is_done_once(argv: list[str]) -> None:
    try:
        words = tokens.rewritten(argv)
    except UsageError:
        return
    assert tokens.rewritten(words) == words
    assert tokens.split(words) == tokens.split(argv)
    remaining = iter(argv[1:])
    assert all(word in remaining for word in tokens.split(argv)[2])  # in order, as they were typed


@given(st.sampled_from(sorted(set(tokens.VERBS) - set(tokens.COMMANDS))), st.lists(free))
def test_after_two_dashes_everything_is_a_value(verb: str, words: list[str]) -> None:
    assert tokens.split([verb, "--", *words]) == (verb, [], words, True)


@given(st.sampled_from(sorted(set(tokens.VERBS) - set(tokens.COMMANDS))), st.lists(free))
def test_no_line_breaks_the_tokenizer(verb: str, words: list[str]) -> None:
    try:
        rewritten = tokens.rewritten([verb, *words])
    except UsageError:
        return  # a value is missing; every other exception fails the test
    assert rewritten[0] == verb


# The table and the Typer app say the same.


def test_the_table_and_typer_know_the_same_verbs() -> None:
    assert set(tokens.VERBS) == set(CLICK.commands)
    one_by_one = {"log"}  # which acknowledges its lines
    assert set(hot.POSITIONALS) == set(hot._ACTIONS) | one_by_one <= set(tokens.VERBS)


@pytest.mark.parametrize("verb", sorted(tokens.VERBS))
def test_the_table_and_typer_know_the_same_options(verb: str) -> None:
    in_typer = {}
    for param in CLICK.commands[verb].params:
        if param.param_type_name == "option" and param.name != "help":
            assert not param.secondary_opts, "--no-… would be unknown to the table"
            long = next(name for name in param.opts if name.startswith("--"))
            in_typer |= dict.fromkeys(param.opts, (long, not param.is_flag, param.multiple))
    assert tokens.table(verb) == in_typer


@pytest.mark.parametrize("verb", LOG_VERBS)
def test_the_fast_path_counts_positionals_as_typer_does(verb: str) -> None:
    assert hot.POSITIONALS[verb] == counted(verb)


@pytest.mark.parametrize("verb", LOG_VERBS)
def test_typers_log_commands_carry_out_what_the_fast_path_does(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any], list[str]]] = []
    monkeypatch.setattr(hot, "acknowledged", lambda verb, options, words: calls.append((verb, dict(options), [*words])))
    known = {long: valued for long, valued, _ in tokens.table(verb).values()}
    argv = [verb, *(f"{name}=-1" if valued else name for name, valued in known.items()), "-a=1", "--", "-b=2"]
    argv = argv if hot.POSITIONALS[verb][1] != 1 else argv[:-2]
    fast = command._fast_call(argv, hot.POSITIONALS[verb])
    assert fast is not None
    assert app.run(tokens.rewritten(argv)) == 0
    options, words = fast
    if verb not in hot.CONTENT and verb != "log":
        del options["quiet"]  # the others are silent anyway
    assert calls == [(verb, options, words)]


def test_the_fast_path_imports_nothing_heavy() -> None:
    import helpers

    heavy = "'re', 'json', 'typing', 'dataclasses', 'pathlib', 'typer', 'rich', 'inspect', 'sqlite3', 'datetime'"
    done = helpers.program(
        "import sys\nbefore = set(sys.modules)\nfrom trk_cli import __main__, hot, tokens\n"
        f"print(*sorted({{{heavy}}} & (set(sys.modules) - before)))"
    )
    assert done.stdout == "\n", done.stdout + done.stderr


@pytest.mark.parametrize("line", ["ls", "best --metric f1", "show", "history f1", "status"])
def test_a_question_to_the_journal_imports_no_parser_no_sdk_and_nothing_of_delivery(line: str, open_run: str) -> None:
    import helpers

    words = [*line.split(), *(["--source", "local"] if line != "status" else [])]
    heavy = "'typer', 'click', 'pydantic', 'rich', 'tenacity', 'email', 'difflib', 'mlflow', 'wandb', 'sqlalchemy'"
    done = helpers.program(
        "import sys\nfrom trk_cli.__main__ import main\n"
        f"code = main({words!r})\nprint(code, *sorted({{{heavy}}} & set(sys.modules)), file=sys.stderr)"
    )
    assert done.stderr.splitlines()[-1] == "0", done.stderr
