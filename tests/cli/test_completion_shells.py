"""The completion scripts in the real shells: what is typed, TAB and Enter, and the words that trk then gets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import helpers
from cli.terminals import Terminal
from cli.test_completion import other_app
from conftest import FOREIGN
from trk_cli import app, completion, tokens

SHELLS = completion.SHELLS

# Names that a shell would split, expand or run.
NAMES = (
    "baseline", "two words", "$(touch pwned)", "`touch pwned`", "a b; touch pwned", "it's", 'q"q', "col:on", "eq=x",
    "back\\slash", "ex!cl", "star*", "~home", "été", "#hash", "${HOME}",
)  # fmt: skip

PREPARE = """
import sys, trk
for name in sys.argv[1:]:
    with trk.start(name, experiment="my exp", params={"lr": 1, "a:b": 2}, tags={"stage": "dev"}) as run:
        run.log_metrics({"f1": 1, "val/loss": 2, "we ird:k": 3})
        for note in {"baseline": ["note"], "it's": ["zeta"]}.get(name, []):
            run.log_table(note, {"a": [1]})
"""

# Answers completions as the command does; what else it is called with is written down, one word a line.
RECORDER = """#!/bin/sh
case $1 in
__complete) exec "$PYTHON" -P -m trk_cli "$@" ;;
completion) exec cat "$HOME/script.$2" ;;
esac
printf '%s\\n' "$@" >"$HOME/typed.new"
mv "$HOME/typed.new" "$HOME/typed"
"""

START = {
    "bash": ["bash", "--noprofile", "--rcfile", "rc.bash", "-i"],
    "zsh": ["zsh", "-d", "-i"],
    "fish": ["fish", "-i"],
}
# Each counts its prompts, so that it is known when a line is done.
SET_UP = {
    "rc.bash": """
set +o history -u
eval "$(trk completion bash)"
n=0 PROMPT_COMMAND='n=$((n + 1))' PS1='ready-$n> '
""",
    ".zshrc": """
unsetopt beep
autoload -Uz compinit && compinit -u -D
eval "$(trk completion zsh)"
n=0
precmd() { n=$((n + 1)); PS1="ready-$n> " }
""",
    "config/fish/config.fish": """
set -g fish_greeting
set -g n 0
trk completion fish | source
function count_prompts --on-event fish_prompt
    set -g n (math $n + 1)
end
function fish_prompt
    echo -n "ready-$n> "
end
""",
}


class Place:
    """A home folder with `trk` in its PATH, the shells' files, and a project with runs and files."""

    def __init__(self, home: Path, completed: typer.Typer | None = None) -> None:
        self.home, self.project = home, home / "project"
        kept = {name: value for name, value in helpers.child_environment().items() if not name.startswith(FOREIGN)}
        self.env = {
            **kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data"),
            "ZDOTDIR": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{os.defpath}", "PYTHON": sys.executable,
            "TRK_BACKENDS": "none", "LC_ALL": "C.UTF-8", "TERM": "xterm",
        }  # fmt: skip
        # Where this is, fish reads no manual pages in the background, which takes it ten seconds.
        (home / "data" / "fish" / "generated_completions").mkdir(parents=True)
        scripts = {f"script.{shell}": completion.script(completed or app.application(), shell) for shell in SHELLS}
        for name, text in {**SET_UP, **scripts, "bin/trk": RECORDER}.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        (home / "bin" / "trk").chmod(0o755)
        (self.project / "folder").mkdir(parents=True)
        for name in ("params.yaml", "spa ce.yaml", "page.html", "folder/in.json"):
            (self.project / name).touch()
        self.run([sys.executable, "-P", "-c", PREPARE, *NAMES])

    def run(self, command: list[str], **more: str) -> str:
        """What a command prints. It says nothing on stderr."""
        done = subprocess.run(
            command, cwd=self.project, env={**self.env, **more}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout


class Typist:
    """Types into one shell, which is started when it is needed and thrown away when it did not do as it should."""

    def __init__(self, shell: str, place: Place) -> None:
        self.shell, self.place = shell, place
        self._terminal: Terminal | None = None
        self._prompts = 0

    def ready(self) -> Terminal:
        """The shell, waiting for a line."""
        if self._terminal is None:
            command = [word.replace("rc.bash", str(self.place.home / "rc.bash")) for word in START[self.shell]]
            self._terminal, self._prompts = Terminal(command, self.place.env, self.place.project), 0
        terminal = self._terminal
        self._prompts += 1
        terminal.read_until(lambda: f"ready-{self._prompts}> " in terminal.shown)
        return terminal

    def line(self, keys: str) -> list[str]:
        """The words that trk gets when these keys and Enter are typed."""
        typed = self.place.home / "typed"
        typed.unlink(missing_ok=True)
        try:
            terminal = self.ready()
            terminal.type(keys + "\r")
            terminal.read_until(typed.exists)
        except BaseException:
            self.close()
            raise
        return typed.read_text(encoding="utf-8").splitlines()

    def shows(self, keys: str, *wanted: str) -> None:
        """Type keys, wait until all these are shown, and throw the shell away."""
        try:
            terminal = self.ready()
            before = len(terminal.shown)
            terminal.type(keys)
            terminal.read_until(lambda: all(text in terminal.shown[before:] for text in wanted))
        finally:
            self.close()

    def close(self) -> None:
        """End the shell."""
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def typists(place: Place) -> Iterator[dict[str, Typist]]:
    made = {shell: Typist(shell, place) for shell in SHELLS}
    yield made
    for typist in made.values():
        typist.close()


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each of the shells that are here."""
    name: str = request.param
    needs(name)
    return name


def needs(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")


LINES = [
    ("trk be\t", ["best"]),
    ("trk best --metri\t f1", ["best", "--metric", "f1"]),
    ("trk best --mode=ma\t", ["best", "--mode=max"]),
    ("trk best --mode ma\t", ["best", "--mode", "max"]),
    ("trk best -e my\t --agg la\t", ["best", "-e", "my exp", "--agg", "last"]),
    ("trk ls --status RU\t --format js\t", ["ls", "--status", "RUNNING", "--format", "json"]),
    ("trk end --status F\t", ["end", "--status", "F"]),  # FINISHED or FAILED
    ("trk help ex\t", ["help", "exit-codes"]),
    ("trk log-param lr 1 --if-exists k\t", ["log-param", "lr", "1", "--if-exists", "keep"]),
    ("trk start --capture g\t", ["start", "--capture", "git"]),
    ("trk start --capture git,sys\t", ["start", "--capture", "git,system"]),
    ("trk start --capture=git,sys\t", ["start", "--capture=git,system"]),
    # runs
    ("trk show bas\t", ["show", "baseline"]),
    ("trk show tw\t", ["show", "two words"]),
    ("trk show 'tw\t", ["show", "two words"]),
    ('trk show "tw\t', ["show", "two words"]),
    ("trk show 'two w\t", ["show", "two words"]),
    ("trk show two\\ w\t", ["show", "two words"]),
    ("trk show '$(t\t", ["show", "$(touch pwned)"]),
    ("trk show \\$\\(t\t", ["show", "$(touch pwned)"]),
    ("trk show \\$\\{H\t", ["show", "${HOME}"]),
    ("trk show \\`t\t", ["show", "`touch pwned`"]),
    ("trk show a\\ b\t", ["show", "a b; touch pwned"]),
    ("trk show it\t", ["show", "it's"]),
    ("trk show q\t", ["show", 'q"q']),
    ("trk show col\t", ["show", "col:on"]),
    ("trk show col:o\t", ["show", "col:on"]),
    ("trk show col\\:o\t", ["show", "col:on"]),
    ("trk show eq=\t", ["show", "eq=x"]),
    ("trk show back\t", ["show", "back\\slash"]),
    ("trk show ex\t", ["show", "ex!cl"]),
    ("trk show star\t", ["show", "star*"]),
    ("trk show \\~h\t", ["show", "~home"]),
    ("trk show \\#\t", ["show", "#hash"]),
    ("trk show ét\t", ["show", "été"]),
    ("trk show @l\t", ["show", "@last"]),
    ("trk show --run=tw\t", ["show", "--run=two words"]),
    ("trk show --run tw\t", ["show", "--run", "two words"]),
    ("trk show --run=col:o\t", ["show", "--run=col:on"]),
    ("trk compare a --baseline best:va\t", ["compare", "a", "--baseline", "best:val/loss"]),
    ("trk compare a --baseline=best:f\t", ["compare", "a", "--baseline=best:f1"]),
    ("trk artifacts get --run base\t no\t", ["artifacts", "get", "--run", "baseline", "note"]),
    ("trk artifacts get --run=it\\'s ze\t", ["artifacts", "get", "--run=it's", "zeta"]),  # not zeta.json
    ("trk compare bas\t tw\t", ["compare", "baseline", "two words"]),
    # keys
    ("trk history f1 va\t", ["history", "f1", "val/loss"]),
    ("trk log-metric -- va\t -1", ["log-metric", "--", "val/loss", "-1"]),
    ("trk log-metric -q va\t 1", ["log-metric", "-q", "val/loss", "1"]),
    ("trk log-metric --step 3 va\t 1", ["log-metric", "--step", "3", "val/loss", "1"]),
    ("trk log-metrics va\t3 f\t-1", ["log-metrics", "val/loss=3", "f1=-1"]),
    ("trk log-metrics we\t3", ["log-metrics", "we ird:k=3"]),
    ("trk log-params a:\t3", ["log-params", "a:b=3"]),
    ("trk log-param a\t x", ["log-param", "a:b", "x"]),
    ("trk set-tags st\tdev", ["set-tags", "stage=dev"]),
    ("trk delete-tag st\t", ["delete-tag", "stage"]),
    ("trk start --param l\t3", ["start", "--param", "lr=3"]),
    ("trk start --param=l\t3", ["start", "--param=lr=3"]),
    ("trk ls --columns name,metrics.va\t", ["ls", "--columns", "name,metrics.val/loss"]),
    ("trk show --field params.a\t", ["show", "--field", "params.a:b"]),
    # files
    ("trk log-params @par\t", ["log-params", "@params.yaml"]),
    ("trk log-params @spa\t", ["log-params", "@spa ce.yaml"]),
    ("trk log-params @fol\tin\t", ["log-params", "@folder/in.json"]),
    ("trk log-html pa\t", ["log-html", "pa"]),  # page.html or params.yaml
    ("trk log-html pag\t", ["log-html", "page.html"]),
    ("trk log-html spa\t", ["log-html", "spa ce.yaml"]),
    ("trk log-html fol\tin\t", ["log-html", "folder/in.json"]),
    # nothing is known of these
    ("trk start --description par\t", ["start", "--description", "par"]),
    ("trk log-metric f1 par\t", ["log-metric", "f1", "par"]),
    ("trk frobnicate ba\t", ["frobnicate", "ba"]),
    ("trk show nothing-li\t", ["show", "nothing-li"]),
]


@pytest.mark.parametrize(("keys", "argv"), LINES)
def test_a_line_is_completed(keys: str, argv: list[str], shell: str, typists: dict[str, Typist], place: Place) -> None:
    assert typists[shell].line(keys) == argv
    assert not list(place.home.rglob("pwned"))


@pytest.mark.parametrize(
    "keys", ["trk show $(touch pwned)\t", "trk show `touch pwned`\t", 'trk show "$(touch pwned)\t']
)
@pytest.mark.parametrize("shell", ["bash", "fish"], indirect=True)  # zsh runs it, with or without a script of ours
def test_what_stands_on_the_line_is_not_run_by_a_tab(
    keys: str, shell: str, typists: dict[str, Typist], place: Place
) -> None:
    # What is killed before Enter is not run by the shell either.
    assert typists[shell].line(keys + "\x15trk done") == ["done"]
    assert not list(place.home.rglob("pwned"))


def test_what_there_is_to_choose_from_is_listed(shell: str, place: Place) -> None:
    typist = Typist(shell, place)
    tab = "\t\t" if shell == "bash" else "\t"
    typist.shows(f"trk {tab}", *(verb for verb in tokens.VERBS if verb.startswith("log-")), "best", "define-metric")
    typist.shows(f"trk log-metric --{tab}", "--step", "--timestamp", "--run", "--help")
    typist.shows(f"trk show {tab}", "baseline", "two", "words", "touch")


@pytest.mark.parametrize(
    ("keys", "argv"),
    [
        ("trk weigh pag\t bas\t two\\ w\t", ["weigh", "page.html", "baseline", "two words"]),
        ("trk weigh --unit k\t - it\t", ["weigh", "--unit", "kg", "-", "it's"]),
        ("trk weigh --into fo\t", ["weigh", "--into", "folder"]),
        ("trk weigh --into par\t", ["weigh", "--into", "par"]),  # no folder
        ("trk weigh --odd par\t", ["weigh", "--odd", "par"]),
    ],
)
def test_a_new_verb_is_completed(keys: str, argv: list[str], shell: str, new_verb: dict[str, Typist]) -> None:
    assert [word.rstrip("/") for word in new_verb[shell].line(keys)] == argv


def test_help_with_signs_of_the_shell_is_shown_as_it_is(shell: str, new_verb: dict[str, Typist]) -> None:
    typist = new_verb[shell]
    if shell == "bash":
        typist.shows("trk weigh --\t\t", "--unit", "--into")
    else:
        typist.shows("trk weigh --\t", "It's [g]: \\ $(touch pwned).")
        typist.shows("trk wei\b\t" if shell == "fish" else "trk \t", "weigh")
    assert not list(typist.place.home.rglob("pwned"))


@pytest.fixture(scope="module")
def new_verb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Typist]]:
    """Typists whose shells know another app."""
    elsewhere = Place(tmp_path_factory.mktemp("elsewhere"), other_app())
    made = {shell: Typist(shell, elsewhere) for shell in SHELLS}
    yield made
    for typist in made.values():
        typist.close()


@pytest.mark.parametrize("script", ["", "#!/bin/sh\necho 'no such command'; exit 2\n", "#!/bin/sh\nkill -9 $$\n"])
def test_without_the_command_what_the_script_knows_is_completed(
    script: str, shell: str, place: Place, tmp_path: Path
) -> None:
    if script:
        (tmp_path / "trk").write_text(script)
        (tmp_path / "trk").chmod(0o755)
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    source = f"source {place.home}/script.{shell}"
    if shell == "fish":
        for line, found in (("trk bes", "best"), ("trk best --mode m", "max"), ("trk show bas", "")):
            said = place.run(["fish", "-c", f"{source}; complete -C '{line}'"], **env)
            assert found in said
            assert bool(said) == bool(found)
    elif shell == "bash":
        for line, found in (("trk bes", "best"), ("trk best --mode m", "max\nmin"), ("trk show bas", "")):
            assert in_bash(place, source, line, **env) == found.split()
    else:
        terminal = Terminal(["zsh", "-f", "-i"], {**place.env, **env}, place.project)
        terminal.type(f"PS1='>> '; autoload -Uz compinit; compinit -u -D; {source}; echo rea''dy\r")
        terminal.read_until(lambda: "ready" in terminal.shown)
        terminal.type("trk() { print -l fou''nd $@ }\rtrk bes\t --mode ma\t\rtrk show bas\t\r")
        terminal.read_until(lambda: terminal.shown.count("found") == 2 and terminal.shown.endswith(">> "))
        terminal.close()
        assert "best\r\n--mode\r\nmax\r\n" in terminal.shown
        assert "show\r\nbas\r\n" in terminal.shown


def in_bash(place: Place, script: str, line: str, **env: str) -> list[str]:
    """What the function offers for a line that bash has cut into words; no terminal is there."""
    needs("bash")
    # As readline cuts it: at spaces, and at `:`, `=` and `@`, which are words of their own.
    cut = (
        "words=(); rest=$line; while [[ $rest =~ ^([[:space:]]*)([:=@]+|[^[:space:]:=@]+)(.*)$ ]]; do "
        'words+=("${BASH_REMATCH[2]}"); rest=${BASH_REMATCH[3]}; done; [[ $line == *" " ]] && words+=("")'
    )
    call = (
        f'line=$1; {cut}\nCOMP_WORDS=("${{words[@]}}") COMP_CWORD=$((${{#words[@]}} - 1)) COMP_LINE=$line '
        'COMP_POINT=${#line}\n_trk\nprintf "%s\\n" "${COMPREPLY[@]+"${COMPREPLY[@]}"}"'
    )
    return place.run(["bash", "-uc", f"{script}\n{call}", "bash", line], **env).split()


def test_bash_offers_every_option_of_every_verb(place: Place) -> None:
    script = completion.script(app.application(), "bash")
    for verb in tokens.VERBS:
        wanted = {long for long, _, _ in tokens.table(verb).values()} | {"--help"}
        assert set(in_bash(place, script, f"trk {verb} --")) == wanted


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("trk --", ["--help", "--version"]),
        ("trk show col:", ["on"]),
        ("trk show --run=col:", ["on"]),
        ("trk show --run=", None),
        ("trk log-params lr=", []),
        ("trk best --format=", ["table", "json", "csv", "tsv", "markdown", "plain"]),
        ("trk end --status=FI", ["FINISHED"]),
        ("trk attach ", []),  # all have ended
    ],
)
def test_bash_offers_what_readline_puts_after_what_it_keeps(line: str, offered: list[str] | None, place: Place) -> None:
    found = in_bash(place, completion.script(app.application(), "bash"), line)
    assert found == offered if offered is not None else "baseline" in found


def test_fish_offers_words_with_what_they_are(place: Place) -> None:
    needs("fish")

    def offered(line: str) -> dict[str, str]:
        found = place.run(["fish", "-c", "trk completion fish | source; complete -C $argv[1]", line]).splitlines()
        return dict((*entry.split("\t", 1), "")[:2] for entry in found)  # type: ignore[misc]  # two each

    assert offered("trk be") == {"best": "The best run by a metric."}
    assert offered("trk show two") == {"two words": "my exp, FINISHED"}
    assert offered("trk log-params @par") == {"@params.yaml": ""}
    assert {"f1", "val/loss"} <= set(offered("trk best --metric "))
    loop = (
        "trk completion fish | source\n"
        'for verb in $argv; complete -C "trk $verb --" | string replace -r \'^\' "$verb "; end'
    )
    said = place.run(["fish", "-c", loop, *tokens.VERBS]).splitlines()
    listed = {line.partition("\t")[0] for line in said}
    for verb in tokens.VERBS:
        assert {f"{verb} {long}" for long, _, _ in tokens.table(verb).values()} <= listed


def test_fish_finds_the_script_where_the_wheel_puts_it(place: Place, tmp_path: Path) -> None:
    needs("fish")
    folder = tmp_path / "fish" / "vendor_completions.d"
    folder.mkdir(parents=True)
    (folder / "trk.fish").write_text(completion.script(app.application(), "fish"))
    said = place.run(
        ["fish", "-c", "complete -C 'trk be'"], XDG_DATA_DIRS=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / "empty")
    )
    assert said == "best\tThe best run by a metric.\n"


def test_zsh_finds_the_script_where_the_wheel_puts_it(place: Place, tmp_path: Path) -> None:
    needs("zsh")
    (tmp_path / "_trk").write_text(completion.script(app.application(), "zsh"))
    (tmp_path / ".zshrc").write_text(
        f"fpath=({tmp_path} $fpath)\nautoload -Uz compinit && compinit -u -D\n"
        'n=0\nprecmd() { n=$((n + 1)); PS1="ready-$n> " }\n'
    )
    typist = Typist("zsh", place)
    place.env["ZDOTDIR"] = str(tmp_path)
    try:
        for _ in range(2):  # the first use loads the function
            assert typist.line("trk show tw\t") == ["show", "two words"]
        assert typist.line("trk be\t --mode=ma\t") == ["best", "--mode=max"]
    finally:
        place.env["ZDOTDIR"] = str(place.home)
        typist.close()


def test_zsh_says_nothing_when_it_reads_the_script_before_its_completion_system(place: Place) -> None:
    needs("zsh")
    assert place.run(["zsh", "-fc", 'eval "$(trk completion zsh)"']) == ""
