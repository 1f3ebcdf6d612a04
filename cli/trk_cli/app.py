"""The Typer app: every verb, its help, and what becomes of usage errors."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trk.errors import UsageError
from trk_cli import output
from trk_cli.commands import ask, log, manage, session

# Typer brings its own Click or uses the installed one; its usage errors all derive from this.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="trk",
    help="Log machine-learning experiments from anywhere a shell runs; ask which run was best.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from trk import __version__

        output.emit(f"trk {__version__}\n")
    elif context.invoked_subcommand is None:
        output.emit(context.get_help() + "\n")


_PANELS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("Session", (session.start, session.attach, session.detach, session.resume, session.end, session.status)),
    (
        "Log",
        (
            log.log_metric, log.log_metrics, log.log_param, log.log_params, log.log_summary, log.set_tag, log.set_tags,
            log.delete_tag, log.define_metric,
        ),
    ),
    ("Ask", (ask.best, ask.ls, ask.show, ask.history)),
    ("Manage", (session.sync, manage.config, manage.demo, manage.help_)),
)  # fmt: skip

for _panel, _verbs in _PANELS:
    for _verb in _verbs:
        app.command(_verb.__name__.rstrip("_").replace("_", "-"), rich_help_panel=_panel)(_verb)


def run(words: list[str]) -> int:
    """Run a command line that `tokens.rewritten` has made plain; returns the exit code. Raises TrkError."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=words, prog_name="trk", standalone_mode=False)
    except typer.Abort:
        return 130
    except typer.Exit as leaving:
        return leaving.exit_code
    except _ClickError as error:
        raise _explained(error, words) from error
    return result if isinstance(result, int) else 0


def _explained(error: Any, words: list[str]) -> UsageError:
    """Typer's usage error as one line of ours."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    verb = words[0] if words and not words[0].startswith("-") else ""
    context = getattr(error, "ctx", None)
    known = context is not None and context.info_name != "trk"
    return UsageError(message[:1].lower() + message[1:], hint=f"trk {verb} --help" if known else "trk --help")
