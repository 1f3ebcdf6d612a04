"""The Typer app: every verb, its help, and what becomes of usage errors."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from trk.errors import UsageError
from trk_cli import output, tokens

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


# What imports a verb's command, and what is said of it in the list of all: a command line imports its own alone.
_VERBS: tuple[tuple[str, str], ...] = (
    ("session.start", "Start a run and print its id."),
    ("wrap.run", "Run a command as a run of its own."),
    ("joining.attach", "Log into an existing, open run."),
    ("joining.detach", "Leave the active run open."),
    ("joining.resume", "Reopen an ended run."),
    ("session.end", "End the active run and deliver it."),
    ("session.status", "The active run, and what is delivered."),
    ("log.log_metric", "Log one point of a metric."),
    ("log.log_metrics", "Log several metrics at one step."),
    ("log.log_param", "Log a param."),
    ("log.log_params", "Log several params."),
    ("log.log_summary", "Log numbers, text or JSON for the overview."),
    ("log.set_tag", "Set a tag."),
    ("log.set_tags", "Set several tags."),
    ("log.delete_tag", "Take a tag away."),
    ("log.define_metric", "Say which direction of a metric is better."),
    ("log.log", "Log lines of standard input, fast."),
    ("content.log_table", "Log rows of a table."),
    ("content.log_html", "Log an HTML page."),
    ("content.log_text", "Log a text."),
    ("content.log_dict", "Log a JSON, YAML or TOML document."),
    ("content.log_image", "Log an image, alone or of a series."),
    ("content.log_figure", "Log a figure."),
    ("content.log_artifact", "Log files and folders."),
    ("growing.watch_file", "Log a file's lines while it grows."),
    ("ask.best", "The best run by a metric."),
    ("listing.ls", "Runs with their metrics."),
    ("listing.search", "Runs that match a filter."),
    ("ask.show", "Everything about one run."),
    ("histories.history", "The points of metrics."),
    ("pictures.plot", "Metrics as curves, here or in a file."),
    ("pictures.report", "A page of HTML about runs."),
    ("watch.watch", "Runs live, until they end."),
    ("artifacts.artifacts", "List or fetch files and tables."),
    ("compare.compare", "Runs side by side, against a baseline."),
    ("check.check", "A gate: exit 5 when a condition fails."),
    ("summary.summary", "What a CI job tells of its runs."),
    ("lifecycle.delete", "Delete runs; restore brings them back."),
    ("lifecycle.restore", "Bring deleted runs back."),
    ("session.sync", "Deliver what is pending."),
    ("care.gc", "Free the bytes that the backends have."),
    ("carry.export", "Runs into a bundle, or a table."),
    ("importing.import_", "Runs of a bundle, MLflow, W&B, files."),
    ("verify.verify", "Read back what the backends have."),
    ("manage.config", "Show settings and where they come from."),
    ("daemon.daemon", "The process that delivers in the background."),
    ("care.doctor", "What is wrong here, and what mends it."),
    ("care.ui", "MLflow's UI on the right store."),
    ("completion.completion", "Complete trk's words in bash, zsh, fish."),
    ("shell_init.shell_init", "Log commands in loops at under a millisecond."),
    ("manage.demo", "A small sweep on real data."),
    ("manage.help_", "Explain bundles, delivery, sessions and more."),
)

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
    for place, short in _VERBS:
        module, name = place.split(".")
        verb = name.rstrip("_").replace("_", "-")
        if only is None or only == verb:
            command = getattr(import_module(f"trk_cli.commands.{module}"), name)
            made.command(verb, short_help=short)(command)
    return made


def run(words: list[str]) -> int:
    """Run a command line that `tokens.rewritten` has made plain; returns the exit code. Raises TrkError."""
    only = words[0] if words and (words[0] in tokens.VERBS or words == ["--version"]) else None
    command = typer.main.get_command(application(only))
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
    if words and words[0] in _SINGLES and any("=" in word for word in words[1:] if not word.startswith("-")):
        return UsageError(f"{words[0]} takes KEY VALUE", hint=f"trk {words[0]}s for KEY=VALUE")
    verb = words[0] if words and not words[0].startswith("-") else ""
    context = getattr(error, "ctx", None)
    known = context is not None and context.info_name != "trk"
    return UsageError(message[:1].lower() + message[1:], hint=f"trk {verb} --help" if known else "trk --help")
