"""The one tokenizer of the command line, and the one table of which options a verb takes.

argv becomes `verb --option=value … -- positionals …`, for the log commands' fast path and for Typer alike: values
that begin with a dash work, and the two can't disagree. Typer's own splitting takes short options out of values:
with `-e` on a verb, `log-metric loss -1e-3` would log -1.
"""

from __future__ import annotations

from trk.errors import UsageError
from trk.rules import parse_number

_LOG = "--run= --json -q/--quiet "
_SHOW = "--format= --json --field= -q/--quiet "
_ASK = _SHOW + "--source= --timeout= "
_RUNS = "-e/--experiment= --filter= --best= --metric= --mode= -n/--n= --source= --timeout= "
_CHOOSE = "-e/--experiment= --status= --since= --until= "
_LIST = _ASK + _CHOOSE + "--sort= -n/--n= --columns= --group-by= --agg= "

# `=` takes a value, `*` may be given again, `-x/--long` is a short form.
VERBS = {
    "start": "-e/--experiment= -b/--backend=* --tag=* --param=* --description= --nested --parent= --replace "
    "--key-prefix= --step-metric= --capture=* --mlflow-uri= --wandb-project= --wandb-entity= --wandb-group= "
    "--wait --timeout= --shell --json -q/--quiet",
    "run": "-e/--experiment= -b/--backend=* --tag=* --param=* --description= --nested --parent= --key-prefix= "
    "--step-metric= --capture=* --scrape --pattern=* --system-metrics --interval= --no-output --resume-on-restart "
    "--restart-key= --mlflow-uri= --wandb-project= --wandb-entity= --wandb-group= --wait --timeout= --no-wait --strict "
    "-q/--quiet",
    "attach": "--mlflow= --wandb= --timeout= --json -q/--quiet",
    "detach": "--json -q/--quiet",
    "resume": "--json -q/--quiet",
    "end": "--run= --status= --failed --exit-code= --timeout= --no-wait --strict --json -q/--quiet",
    "status": "--run= " + _SHOW,
    "delete": "--timeout= --no-wait --yes --strict --json -q/--quiet",
    "restore": "--timeout= --no-wait --strict --json -q/--quiet",
    "sync": "--run= --to= --uri= --timeout= --strict --json -q/--quiet",
    "gc": "--older-than= --dry-run --json -q/--quiet",
    "export": "--bundle= --runs= --history= --run=* --filter= --pending --columns= --metric=* --sort= -n/--n= "
    "--format= --force --source= --timeout= --json -q/--quiet " + _CHOOSE,
    "import": "--uri= -e/--experiment= --filter= --artifacts --name= --step= --time= --param=* --run-column= "
    "-b/--backend=* --mlflow-uri= --wandb-project= --wandb-entity= --wandb-group= --attached --follow "
    "--until-idle= --dry-run --json -q/--quiet",
    "verify": "--run= -b/--backend=* --timeout= " + _SHOW,
    "log-metric": _LOG + "--step= --timestamp=",
    "log-metrics": _LOG + "--step= --timestamp=",
    "log-param": _LOG + "--if-exists=",
    "log-params": _LOG + "--if-exists=",
    "log-summary": _LOG,
    "set-tag": _LOG,
    "set-tags": _LOG,
    "delete-tag": _LOG,
    "define-metric": _LOG + "--mode= --step-metric=",
    "log": _LOG + "--strict --ack",
    "log-table": _LOG + "--name= --type= --columns= --row=*",
    "log-html": _LOG + "--name=",
    "log-text": _LOG + "--name= --text=",
    "log-dict": _LOG + "--name= --type=",
    "log-image": _LOG + "--name= --step=",
    "log-figure": _LOG + "--name=",
    "log-artifact": _LOG + "--path= --name= --type= --reference=* --no-snapshot",
    "best": _ASK + "--metric= --mode= --agg= -n/--n= -e/--experiment= --filter= --fresh",
    "ls": _LIST + "--filter= --deleted",
    "search": _LIST + "--deleted",
    "show": _ASK + "--run=",
    "history": _ASK + _CHOOSE + "--run=* --filter= --align --last= --sample=",
    "summary": _ASK + "--baseline= --check=* --from= --fail --allow-no-baseline --metric=* -e/--experiment= --since= "
    "--pipeline= --max-charts= --max-rows= --junit= -o/--output=",
    "check": _ASK + "--run= --baseline= --allow-no-baseline --from= -e/--experiment=",
    "compare": _ASK + "--baseline= --best= --metric= --mode= --metrics= --params= -e/--experiment= --all",
    "plot": _RUNS + "--run=* --x= --smooth= --log-x --log-y --width= --height= -o/--output= --json -q/--quiet",
    "report": _RUNS + "--baseline= --title= -o/--output= --open --log --json -q/--quiet",
    "watch": "--interval= --timeout= --source= --json -q/--quiet",
    "watch-file": "--run= --type= --step= --time= --once --until-idle= --json -q/--quiet",
    "artifacts": _ASK + "--run= --path= --type= --history --row= -o/--output= --force",
    "config": "--origin " + _SHOW,
    "daemon": "-n/--n= --timeout= " + _SHOW,
    "doctor": "--timeout= " + _SHOW,
    "ui": "--host= --port= --open --run= --timeout= --json -q/--quiet",
    "completion": "",
    "shell-init": "",
    "demo": "-q/--quiet",
    "help": "",
}

HELP = ("--help", "-h")
COMMANDS = ("run",)  # after `--` comes another command's line: that mark stays, and nothing behind it is ours
_tables: dict[str, dict[str, tuple[str, bool, bool]]] = {}


def table(verb: str) -> dict[str, tuple[str, bool, bool]]:
    """For each spelling of a verb's options: (long name, takes a value, may be given again)."""
    if (known := _tables.get(verb)) is not None:
        return known
    options = _tables[verb] = {}
    for word in VERBS[verb].split():
        again = word.endswith("*")
        word = word.rstrip("*")
        valued = word.endswith("=")
        names = word.rstrip("=").split("/")
        for name in names:
            options[name] = (names[-1], valued, again)
    return options


def split(argv: list[str]) -> tuple[str, list[tuple[str, str | None]], list[str], bool]:
    """(verb, options in order, positionals, clean). `argv` begins with a known verb.

    An option without a value has None. `clean` is False when something is left for Typer to explain: help, an
    unknown option, a value that is not wanted. Raises UsageError for a value that is missing.
    """
    verb, rest = argv[0], argv[1:]
    known = table(verb)
    options: list[tuple[str, str | None]] = []
    positionals: list[str] = []
    clean = True
    at = 0
    while at < len(rest):
        token = rest[at]
        at += 1
        if token == "--":  # noqa: S105 - no password
            positionals += rest[at - 1 if verb in COMMANDS else at :]
            break
        name, value, matched = _option(token, known)
        if not matched:
            if _looks_like_option(token):
                options.append((token, None))
                clean = False
            else:
                positionals.append(token)
            continue
        long, valued, _ = known[name]
        if valued and value is None:
            if at == len(rest):
                raise UsageError(f"option {name} needs a value", hint=f"trk {verb} --help")
            value = rest[at]
            at += 1
        elif not valued and value is not None:
            clean = False
        options.append((long, value))
    return verb, options, positionals, clean


def _option(token: str, known: dict[str, tuple[str, bool, bool]]) -> tuple[str, str | None, bool]:
    """(spelling, attached value, whether it is one of the verb's options)."""
    if token in known:
        return token, None, True
    if token.startswith("--"):
        name, equals, value = token.partition("=")
        return name, value if equals else None, name in known
    short = token[:2]
    if token.startswith("-") and short in known and known[short][1] and not _is_number(token):
        return short, token[2:].removeprefix("="), True
    return token, None, False


def _looks_like_option(token: str) -> bool:
    """Whether an unknown token is a mistaken option, not a value: `--stpe`, `-h`, but not `-0.5`, `-inf`, `--a b`."""
    if token in HELP:
        return True
    if not token.startswith("--"):
        return False
    name = token[2:].partition("=")[0]
    return name.replace("-", "").isalnum() and name.isascii()


def _is_number(token: str) -> bool:
    try:
        parse_number(token)
    except UsageError:
        return False
    return True


def rewritten(argv: list[str]) -> list[str]:
    """argv as Typer gets it: the verb, its options as `--long=value`, `--`, the positionals."""
    verb, options, positionals, _ = split(argv)
    words = [name if value is None else f"{name}={value}" for name, value in options]
    return [verb, *words, "--", *positionals] if positionals else [verb, *words]
