"""The verbs: where each one's command is, and what is said of it in the list of all.

A command line imports its own verb alone. A line that is whole and plain is carried out by `bound`, which reads the
command's own annotations as Typer does; Typer itself builds every option with pydantic, which takes as long as most
verbs do, and is left what has to be explained: help and mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from trk_cli import tokens
from trk_cli.declared import Argument, Leave, Option, parameters

_TABLE = (
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

# verb → (where its command is, what is said of it)
VERBS: dict[str, tuple[str, str]] = {
    place.partition(".")[2].rstrip("_").replace("_", "-"): (place, short) for place, short in _TABLE
}


def command(verb: str) -> Callable[..., object]:
    """The function that a verb is."""
    module, _, name = VERBS[verb][0].partition(".")
    found: Callable[..., object] = getattr(import_module(f"trk_cli.commands.{module}"), name)
    return found


def plain_call(argv: list[str]) -> Callable[[], object] | None:
    """What a command line that begins with a verb calls; None when Typer should explain. Raises UsageError."""
    verb, options, words, clean = tokens.split(argv)
    return bound(command(verb), options, words) if clean else None


def carried_out(call: Callable[[], object]) -> int:
    """The exit code of a verb's function, which is called."""
    try:
        call()
    except Leave as leaving:
        return leaving.exit_code
    return 0


def bound(
    function: Callable[..., object], options: Sequence[tuple[str, str | None]], words: Sequence[str]
) -> Callable[[], object] | None:
    """A verb's function with these options and positionals; None when some are missing or too many.

    Of an option that was given twice and takes one value the last counts.
    """
    taken = parameters(function)
    named = {name: one for one in taken if isinstance(one.declared, Option) for name in one.declared.names}
    values: dict[str, Any] = {}
    for option, value in options:
        name = named[option].name
        if named[option].many:
            values.setdefault(name, []).append(value)
        else:
            values[name] = True if value is None else value
    rest = list(words)
    for one in taken:
        if isinstance(one.declared, Argument) and rest:
            values[one.name] = rest if one.many else rest[0]
            rest = [] if one.many else rest[1:]
    required = function.__code__.co_varnames[: _required(function)]
    if rest or any(name not in values for name in required):
        return None
    return partial(function, **values)


def _required(function: Callable[..., object]) -> int:
    """How many of its parameters have no default: the first ones."""
    return function.__code__.co_argcount - len(function.__defaults__ or ())
