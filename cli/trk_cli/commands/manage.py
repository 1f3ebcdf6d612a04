"""config, demo, help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from trk import config as library
from trk import session
from trk.errors import NotFound, UsageError
from trk_cli import output, tokens
from trk_cli.commands import options
from trk_cli.declared import Argument, Leave, Option
from trk_cli.results import Cell, Listing, Single

HELP = Path(__file__).parent.parent / "help"


def config(
    action: Annotated[str, Argument(metavar="show|trust", help="What to do; show is the default.")] = "show",
    origin: Annotated[bool, Option("--origin", help="Say where each setting comes from.")] = False,
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: options.Quiet = False,
) -> None:
    """Show the settings that count here, or trust the addresses in the project's settings files.

    Example: trk config show --origin
    """
    shape = options.shape(format, json, field, quiet=False)
    folder = session.find_folder()
    if action == "trust":
        trusted = library.trust(folder)
        if json:
            output.show(Single({"trusted": [str(path) for path in trusted]}), shape)
        output.talk(f"trusted as they are now: {', '.join(map(str, trusted)) or 'no settings files here'}", quiet=quiet)
        return
    if action != "show":
        raise UsageError(f"config takes show or trust, not {action!r}", hint="trk config --help")
    resolved = library.resolve(folder)
    for warning in resolved.warnings:
        output.warn(warning)
    values = {name: resolved.values[name] for name in library.VARIABLES if name in resolved.values}
    shown = {name: library.shown_value(name, setting.value) for name, setting in values.items()}
    form = {name: {"value": shown[name], "origin": setting.origin} for name, setting in values.items()}
    columns = ["setting", "value", *(["origin"] if origin else [])]
    rows: list[list[Cell]] = [
        [name, _flat(shown[name]), *([setting.origin] if origin else [])] for name, setting in values.items()
    ]
    output.show(Listing(columns, rows, data=form), shape)


def _flat(value: Any) -> Cell:
    shown: Cell = (",".join(value) or "none") if isinstance(value, list) else value
    return shown


def demo(quiet: options.Quiet = False) -> None:
    """A small sweep on real data (Fisher's iris), by the same commands that you would type; takes a few seconds.

    Example: trk demo
    """
    from trk_cli.demo import run_demo

    code = run_demo(say=lambda text: None if quiet else output.emit(text + "\n"))
    if code:
        raise Leave(code)


def help_(
    topic: Annotated[str | None, Argument(metavar="TOPIC", help="Left out: the topics there are.")] = None,
) -> None:
    """Explain a topic: bundles, capture, checks, ci, delivery, exit-codes, filters,
    import, json, ls, pictures, pipes, run, sessions, sources, storage, trackers.

    Example: trk help exit-codes
    """
    topics = sorted(path.stem for path in HELP.glob("*.md"))
    if topic is None:
        output.emit("".join(f"trk help {name}\n" for name in topics))
    elif topic in topics:
        output.page((HELP / f"{topic}.md").read_text(encoding="utf-8"))
    elif topic in tokens.VERBS:
        raise NotFound(f"{topic!r} is a verb, which explains itself", hint=f"trk {topic} --help")
    else:
        raise NotFound(f"there is no help on {topic!r}", hint=f"topics: {', '.join(topics)}")
