"""The completion scripts of bash, zsh and fish, made from the Typer app: its verbs, options and their help.

What kind of thing a value is comes from the table here, by the option's name or by what help calls it; a verb that
is new needs no entry for what is called RUN, KEY, FILE, `a|b` and the like. How each shell works is in `shells/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import typer

from trk.capture import KINDS as CAPTURED
from trk.ci.model import FORMATS
from trk.errors import UsageError
from trk.media import kinds, tables
from trk.query import groups, written
from trk.query.sorting import SORT_ATTRIBUTES
from trk.records import Aggregate, Status
from trk_cli import complete, output, tokens

SHELLS = ("bash", "zsh", "fish")
_TEMPLATES = Path(__file__).parent / "shells"


@dataclass(frozen=True, slots=True)
class Values:
    """What may stand somewhere: one of `words`, or of what `trk __complete ASK` answers; nothing that is known.

    `many` are parted by commas; `pairs` are KEY=VALUE, or @file; `file` and `folder` are the shell's business.
    """

    how: Literal["none", "file", "folder", "one", "many", "pairs"] = "none"
    ask: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its spellings, its line of help, and what its value is (None when it takes none)."""

    names: tuple[str, ...]
    help: str
    metavar: str
    values: Values | None
    again: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A positional: what help calls it, what it is, and whether any number of them may come."""

    metavar: str
    values: Values
    required: bool
    again: bool


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb with its short help."""

    name: str
    help: str
    options: tuple[Option, ...]
    places: tuple[Place, ...]


# ---- what a value is

_BACKENDS = ("mlflow", "wandb", "memory")
_ENDED = tuple(status.value for status in Status if status is not Status.RUNNING)
_LS_COLUMNS = ("name", "experiment", "status", "started", "duration", "parent_id", "description", "run_id", "source")
_JSON_KEYS = ("run_id", "name", "experiment", "status", "start_time", "end_time", "duration_s", "parent_id", "backends")
_NONE = Values()

# (verb, or "" for all; option or metavar) → values. The verb's own come first, then options, then metavars.
_TABLE = {
    ("attach", "RUN"): Values("one", "open-run"),
    ("resume", "RUN"): Values("one", "ended-run"),
    ("delete", "RUN"): Values("one", "ended-run"),
    ("restore", "RUN"): Values("one", "deleted-run"),
    ("log-param", "KEY"): Values("one", "param"),
    ("log-params", "KEY=VALUE"): Values("pairs", "param"),
    ("set-tag", "KEY"): Values("one", "tag"),
    ("delete-tag", "KEY"): Values("one", "tag"),
    ("set-tags", "KEY=VALUE"): Values("pairs", "tag"),
    ("watch-file", "--type"): Values("one", words=("csv", "jsonl")),
    ("log-table", "--type"): Values("one", words=tables.TYPES),
    ("log-dict", "--type"): Values("one", words=("json", "yaml", "toml")),
    ("", "--baseline"): Values("one", f"run+{complete.BEST}"),
    ("compare", "--metrics"): Values("many", "metric"),
    ("compare", "--params"): Values("many", "param"),
    ("", "EXPR"): Values("one", "metric"),
    ("artifacts", "--path"): Values("one", f"{complete.OWN}+artifact"),
    ("artifacts", "RUN|WHAT"): Values("one", f"{complete.OWN}+artifact+run"),
    ("end", "--status"): Values("one", words=_ENDED),
    ("export", "--format"): Values("one", words=written.FORMATS),
    ("", "--status"): Values("many", words=tuple(Status)),
    ("import", "WHAT"): Values("file"),
    ("import", "--param"): _NONE,  # columns of a file
    ("ls", "--columns"): Values("many", complete.COLUMN, _LS_COLUMNS),
    ("search", "--columns"): Values("many", complete.COLUMN, _LS_COLUMNS),
    ("export", "--columns"): Values("many", complete.COLUMN, _LS_COLUMNS),
    ("", "--sort"): Values("many", complete.COLUMN, SORT_ATTRIBUTES),
    ("", "--group-by"): Values("many", complete.COLUMN, groups.BY),
    ("ls", "--agg"): Values("many", words=groups.AGGREGATES),
    ("search", "--agg"): Values("many", words=groups.AGGREGATES),
    ("", "--runs"): Values("file"),
    ("", "--field"): Values("one", complete.COLUMN, _JSON_KEYS),
    ("summary", "--format"): Values("one", words=FORMATS),
    ("", "--format"): Values("one", words=output.FORMATS),
    ("", "--agg"): Values("one", words=get_args(Aggregate)),
    ("", "--mode"): Values("one", words=("max", "min")),
    ("", "--if-exists"): Values("one", words=("error", "keep", "suffix")),
    ("", "--capture"): Values("many", words=CAPTURED),
    ("", "--source"): Values("one", words=("local", *_BACKENDS)),
    ("", "--backend"): Values("one", words=_BACKENDS),
    ("", "--to"): Values("one", words=_BACKENDS),
    ("", "--experiment"): Values("one", "experiment"),
    ("", "--tag"): Values("pairs", "tag"),
    ("", "--param"): Values("pairs", "param"),
    ("", "--type"): Values("one", words=kinds.TYPES),
    ("", "--path"): _NONE,  # a place inside the run
    ("", "RUN"): Values("one", "run"),
    ("", "KEY"): Values("one", "metric"),
    ("", "EXPERIMENT"): Values("one", "experiment"),
    ("", "ARTIFACT"): Values("one", "artifact"),
    ("", "KEY=VALUE"): Values("pairs", "metric"),
    ("", "FILE"): Values("file"),
    ("", "PATH"): Values("file"),
    ("", "FOLDER"): Values("folder"),
    ("", "DIR"): Values("folder"),
    ("", "SHELL"): Values("one", words=SHELLS),
}


def _values(verb: str, names: Sequence[str], metavar: str) -> Values:
    """What the value of an option, or of a positional (no names), is."""
    parts = metavar.split("|")
    for where in (verb, ""):
        for name in (*names, metavar, *parts):
            if (where, name) in _TABLE:
                return _TABLE[where, name]
    if len(parts) > 1 and all(part.replace("-", "").isalnum() for part in parts):  # such as max|min
        return Values("one", words=tuple(parts))
    return _NONE


# ---- the verbs


def verbs(app: typer.Typer) -> list[Verb]:
    """Every verb of the app with its options and positionals, in the order of help."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    return [_verb(name, command) for name, command in commands.items() if not command.hidden]


def _verb(name: str, command: Any) -> Verb:
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    options = [_option(name, param) for param in shown if param.param_type_name == "option"]
    places = [_place(name, param) for param in shown if param.param_type_name == "argument"]
    return Verb(name, command.short_help or "", (*options, _HELP), tuple(places))


_HELP = Option(tokens.HELP, "Show this message and exit.", "", None, again=False)


def _option(verb: str, param: Any) -> Option:
    names = tuple(sorted(param.opts, key=len, reverse=True))
    values = None if param.is_flag else _values(verb, names, param.metavar or "")
    return Option(names, param.help or "", param.metavar or "", values, param.multiple)


def _place(verb: str, param: Any) -> Place:
    metavar = param.metavar or param.name.upper()
    values = _values(verb, (), metavar)
    if verb == "help":
        values = Values("one", words=tuple(sorted(path.stem for path in _TEMPLATES.parent.glob("help/*.md"))))
    return Place(metavar, values, param.required, param.nargs == -1)


# ---- the scripts


def script(app: typer.Typer, shell: str) -> str:
    """The completion script of a shell. Raises UsageError for a shell that is not one of SHELLS."""
    if shell not in SHELLS:
        raise UsageError(f"completion knows bash, zsh and fish, not {shell!r}", hint="trk completion --help")
    parts = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](verbs(app))
    text = (_TEMPLATES / f"trk.{shell}").read_text(encoding="utf-8")
    for name, lines in parts.items():
        text = text.replace(f"@{name}@", "\n".join(lines))
    return text


Parts = dict[str, list[str]]


def _bash(found: Sequence[Verb]) -> Parts:
    first = Values("one", words=tuple(verb.name for verb in found))
    lines = ["    '')", "        options='--help --version'", f"        places=({_quoted(_spec(first))})", "        ;;"]
    for verb in found:
        lines += [f"    {verb.name})", *(f"        {line}" for line in _bash_verb(verb)), "        ;;"]
    return {"VERBS": lines}


def _bash_verb(verb: Verb) -> Iterator[str]:
    yield f"options='{' '.join(option.names[0] for option in verb.options)}'"
    valued = [f"{name}={_spec(option.values)}" for option in verb.options if option.values for name in option.names]
    if valued:
        yield f"values='{' '.join(valued)}'"
    places = [_spec(place.values) for place in verb.places]
    if places:
        yield f"places=({' '.join(map(_quoted, places))})"
    if verb.places and verb.places[-1].again:
        yield f"others='{places[-1]}'"


def _spec(values: Values) -> str:
    """Values as one word of the bash script: HOW, or HOW:ASK:WORD,WORD."""
    return f"{values.how}:{values.ask}:{','.join(values.words)}" if values.ask or values.words else values.how


def _zsh(found: Sequence[Verb]) -> Parts:
    told = [f"            {_quoted(f'{verb.name}:{verb.help}')}" for verb in found]
    cases = []
    for verb in found:
        specs = [_zsh_option(option) for option in verb.options]
        specs += [_zsh_place(number, place) for number, place in enumerate(verb.places, 1)]
        cases.append(" \\\n            ".join([f"    ({verb.name})\n        _arguments -S :", *specs]) + "\n        ;;")
    return {"VERBS": told, "OPTIONS": cases}


def _zsh_option(option: Option) -> str:
    marks = "" if option.values is None else "="
    spelled = [name + (marks if name.startswith("--") else marks and "+") for name in option.names]
    names = f"{{{','.join(spelled)}}}" if len(spelled) > 1 else spelled[0]
    once = "'*'" if option.again else f"'({' '.join(option.names)})'" if len(spelled) > 1 else ""
    told = f"[{_zsh_text(option.help)}]" if option.help else ""
    if option.values is not None:
        told += f":{_zsh_text(option.metavar)}:{_zsh_action(option.values)}"
    return once + names + _quoted(told)


def _zsh_place(number: int, place: Place) -> str:
    where = "*:" if place.again else f"{number}:" if place.required else f"{number}::"
    return _quoted(f"{where}{_zsh_text(place.metavar)}:{_zsh_action(place.values)}")


def _zsh_action(values: Values) -> str:
    if values.how == "none":
        return " "
    if values.how in ("file", "folder"):
        return "_files" if values.how == "file" else "_path_files -/"
    if values.how == "one" and not values.ask:
        return f"({' '.join(values.words)})"
    return " " + _asking(values)


def _asking(values: Values) -> str:
    return " ".join(["_trk_values", values.how, values.ask or "''", *values.words])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_text(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\[]:" else char for char in text)


def _fish(found: Sequence[Verb]) -> Parts:
    valued = []
    for verb in found:
        names = [name for option in verb.options if option.values is not None for name in option.names]
        if names:
            valued += [f"        case {verb.name}", f"            printf '%s\\n' {' '.join(names)}"]
    lines = [f"complete -c trk -n __trk_first -a {verb.name} -d {_fish_text(verb.help)}" for verb in found]
    shared: dict[Option, list[str]] = {}
    for verb in found:
        for option in verb.options:
            if option is not _HELP:
                shared.setdefault(option, []).append(verb.name)
    lines += [_fish_option(option, names) for option, names in shared.items()]
    lines += [
        f"complete -c trk -n {_fish_text(_fish_at(verb.name, number, place))}{_fish_action(place.values)}"
        for verb in found
        for number, place in enumerate(verb.places, 1)
        if place.values.how != "none"
    ]
    return {"VALUED": valued, "COMPLETE": lines}


def _fish_option(option: Option, names: Sequence[str]) -> str:
    spelled = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)
    told = f" -d {_fish_text(option.help)}" if option.help else ""
    action = "" if option.values is None else _fish_action(option.values, taken=True)
    return f"complete -c trk -n {_fish_text('__trk_in ' + ' '.join(names))}{spelled}{told}{action}"


def _fish_at(verb: str, number: int, place: Place) -> str:
    return f"__trk_at {verb} {number}{' more' if place.again else ''}"


def _fish_action(values: Values, *, taken: bool = False) -> str:
    """What `complete` is told of values; `taken`: by an option."""
    if values.how == "file":
        return " -r -F" if taken else " -F"
    needed = " -x" if taken else ""
    if values.how == "none":
        return needed
    if values.how == "folder":
        return needed + " -a '(__fish_complete_directories)'"
    if values.how == "one" and not values.ask:
        return f"{needed} -a {_fish_text(' '.join(values.words))}"
    return f"{needed} -k -a {_fish_text(f'({_asking(values)})'.replace('_trk_values', '__trk_values', 1))}"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
