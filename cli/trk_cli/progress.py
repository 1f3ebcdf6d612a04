"""How far something long is, on stderr: a bar on a terminal; elsewhere, such as in a job's log, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from trk.delivery import Progress
from trk_cli import output

LINE_EVERY_S = 30.0  # what takes less has no line at all


@contextmanager
def bar(quiet: bool, doing: str = "delivering", what: str = "rows") -> Iterator[Progress | None]:
    """Yields what delivery reports to, or None where nobody wants to see it."""
    if quiet:
        yield None
        return
    if not _is_terminal():
        now_and_then = _NowAndThen()
        yield lambda settled, goal: now_and_then.say(f"{doing}: {settled:,} of {goal:,} {what}")
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=None)

        def report(settled: int, goal: int) -> None:
            shown.update(task, completed=settled, total=goal)

        yield report


@contextmanager
def late_bar(quiet: bool, doing: str, what: str) -> Iterator[Progress | None]:
    """As `bar`, for what mostly takes no time: it is shown from the first report on."""
    if quiet or not _is_terminal():
        with bar(quiet, doing, what) as plain:
            yield plain
        return
    with ExitStack() as stack:
        reports: list[Progress] = []

        def report(settled: int, goal: int) -> None:
            if not reports:
                shown = stack.enter_context(bar(quiet, doing, what))
                reports.append(shown or (lambda settled, goal: None))
            reports[0](settled, goal)

        yield report


@contextmanager
def parts(quiet: bool, doing: str, what: str) -> Iterator[Callable[[int, int, int], None] | None]:
    """Yields what an import reports to: parts done, of how many, points read."""
    if quiet:
        yield None
    elif _is_terminal():
        with bar(quiet, doing, what) as report:
            yield lambda done, goal, points: report(done, goal) if report is not None else None
    else:
        now_and_then = _NowAndThen()
        yield lambda done, goal, points: now_and_then.say(
            f"{doing}: {done:,} of {goal:,} {what}, {points:,} points read"
        )


@contextmanager
def grown(quiet: bool, doing: str) -> Iterator[Callable[[int, int, int], None] | None]:
    """As `parts`, for what has no end of its own: how many points were read, when there are more."""
    if quiet:
        yield None
    elif _is_terminal():
        from rich.console import Console

        with Console(stderr=True).status(doing) as status:
            yield lambda done, goal, points: status.update(f"{doing}: {points:,} points")
    else:
        now_and_then = _NowAndThen()
        yield lambda done, goal, points: now_and_then.say(f"{doing}: {points:,} points")


class _NowAndThen:
    """Lines on stderr, no two of them soon after each other, and none twice."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._said = ""

    def say(self, text: str) -> None:
        if text != self._said and time.monotonic() >= self._last + LINE_EVERY_S:
            self._last, self._said = time.monotonic(), text
            output.talk(text)


def bytes_shown(doing: str) -> Callable[[int, int], None]:
    """What a copy of bytes reports to: a line that is written over on a terminal, and gone at the end of the file.

    Rich would cost a log command more than most copies.
    """
    if not _is_terminal():
        now_and_then = _NowAndThen()
        return lambda done, total: now_and_then.say(f"{doing}: {_megabytes(done, total)}") if done < total else None

    return lambda done, total: output.overwrite(_megabytes(done, total) if done < total else "")


def _megabytes(done: int, total: int) -> str:
    return f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
