"""The Typer app: every verb, its help, and what becomes of usage errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from trk.errors import UsageError
from trk_cli import output, tokens, verbs
from trk_cli.declared import Argument, Leave, Option, parameters

# Typer brings its own Click or uses the installed one; its usage errors all derive from this.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from trk import __version__

        output.emit(f"trk {__version__}\n")
    elif context.invoked_subcommand is None:
        output.emit(context.get_help() + "\n")


_SINGLES = ("log-metric", "log-param", "set-tag")


def application(only: str | None = None) -> typer.Typer:
    """The app, with all verbs or with one only: what the others import would take longer than most of them."""
    made = typer.Typer(
        name="trk",
        help="Log machine-learning experiments from anywhere a shell runs; ask which run was best.",
        no_args_is_help=False,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    made.callback(invoke_without_command=True)(_main)
    for verb, (_, short) in verbs.VERBS.items():
        if only is None or only == verb:
            made.command(verb, short_help=short)(_as_typer_reads(verbs.command(verb)))
    return made


def _as_typer_reads(command: Callable[..., object]) -> Callable[..., object]:
    """A verb's function, with what is declared of its parameters in Typer's words."""
    made = partial(command)
    made.__doc__ = command.__doc__
    hints = {one.name: Annotated[one.kind, _in_typer(one.declared)] for one in parameters(command)}
    plain = inspect.signature(command)
    own = [one.replace(annotation=hints[name]) for name, one in plain.parameters.items()]
    made.__annotations__ = hints
    made.__signature__ = plain.replace(parameters=own)  # type: ignore[attr-defined]
    return made


def _in_typer(declared: Option | Argument) -> Any:
    """A declaration as Typer's own."""
    if isinstance(declared, Option):
        return typer.Option(*declared.names, metavar=declared.metavar, help=declared.help)
    return typer.Argument(metavar=declared.metavar, help=declared.help, show_default=declared.show_default)


def run(words: list[str]) -> int:
    """Run a command line that `tokens.rewritten` has made plain; returns the exit code. Raises TrkError."""
    only = words[0] if words and (words[0] in tokens.VERBS or words == ["--version"]) else None
    command = typer.main.get_command(application(only))
    try:
        result = command.main(args=words, prog_name="trk", standalone_mode=False)
    except typer.Abort:
        return 130
    except (typer.Exit, Leave) as leaving:
        return leaving.exit_code
    except _ClickError as error:
        raise _explained(error, words) from error
    return result if isinstance(result, int) else 0


def _explained(error: Any, words: list[str]) -> UsageError:
    """Typer's usage error as one line of ours."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    if words and words[0] in _SINGLES and any("=" in word for word in words[1:] if not word.startswith("-")):
        return UsageError(f"{words[0]} takes KEY VALUE", hint=f"trk {words[0]}s for KEY=VALUE")
    verb = words[0] if words and not words[0].startswith("-") else ""
    context = getattr(error, "ctx", None)
    known = context is not None and context.info_name != "trk"
    return UsageError(message[:1].lower() + message[1:], hint=f"trk {verb} --help" if known else "trk --help")
