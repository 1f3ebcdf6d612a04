"""Runs in the terminal, drawn again in place as they change: no more than the lines of the screen, seldom."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trk.pictures.texts import duration
from trk.query.watching import Watched
from trk.rules import is_ranked
from trk_cli.forms import escape
from trk_cli.render import short, sparkline

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_HEAD = 4  # lines of a run beside its metrics
_LONGEST = 32  # characters of a metric's name


def show(found: Iterator[list[Watched]]) -> None:
    """Show what is found until there is no more; what was shown last stays."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout, highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as screen:
        for now in found:
            screen.update(_drawn(now, console), refresh=True)


def _drawn(now: Sequence[Watched], console: Console) -> RenderableType:
    from rich.console import Group

    room = max(1, (console.height - 1) // len(now) - _HEAD)
    return Group(*(part for one in now for part in _run(one, room)))


def _run(one: Watched, room: int) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    record = one.record
    head = Text.assemble(
        (escape(record.name), "bold"), "  ", (str(record.status), _STYLES.get(str(record.status), "")),
        "  ", duration(record.duration_s), "" if one.step is None else f"  step {one.step}", no_wrap=True,
    )  # fmt: skip
    told = "  ".join(delivered(one)) or "in the journal alone"
    lines = [head, Text(escape(f"{record.run_id}  {told}"), style="dim", no_wrap=True, overflow="ellipsis")]
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    drawn.add_column("metric", no_wrap=True, overflow="ellipsis", max_width=_LONGEST)
    for word in ("last", "min", "max"):
        drawn.add_column(word, justify="right", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    names = sorted(record.metrics)
    shown = names if len(names) <= room else names[: room - 1]
    for name in shown:
        values = one.values.get(name, ())
        finite = [value for value in values if is_ranked(value)]
        ends = [short(found) for found in (min(finite), max(finite))] if finite else ["", ""]
        drawn.add_row(Text(escape(name)), short(record.metrics[name]), *ends, sparkline(values))
    more = [Text(f"… {len(names) - len(shown)} more metrics", style="dim")] if len(shown) < len(names) else []
    return [*lines, *([drawn] if shown else []), *more, Text("")]


_STYLES = {"RUNNING": "cyan", "FINISHED": "green", "FAILED": "bold red", "KILLED": "bold red"}


def delivered(one: Watched) -> list[str]:
    """Per backend, how much of the run it has."""
    found = []
    for name, state in one.record.backends.items():
        words = f"{name} {state.delivered}/{state.logged}"
        words += f" ({state.rejected} rejected)" if state.rejected else ""
        words += " (error)" if state.last_error and state.pending else ""
        found.append(words)
    return found
