"""A progress bar on stderr while rows are delivered or read back: on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from trk.delivery import Progress
from trk_cli import output


@contextmanager
def bar(quiet: bool, doing: str = "delivering", what: str = "rows") -> Iterator[Progress | None]:
    """Yields what delivery reports to, or None where nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
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
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        reports: list[Progress] = []

        def report(settled: int, goal: int) -> None:
            if not reports:
                shown = stack.enter_context(bar(quiet, doing, what))
                reports.append(shown or (lambda settled, goal: None))
            reports[0](settled, goal)

        yield report


LINE_EVERY_S = 10.0


@contextmanager
def parts(quiet: bool, doing: str, what: str) -> Iterator[Callable[[int, int, int], None] | None]:
    """Yields what an import reports to: parts done, of how many, points read.

    On a terminal a bar; elsewhere, such as in a job's log, a line now and then.
    """
    if quiet:
        yield None
        return
    if sys.stderr.isatty():
        with bar(quiet, doing, what) as report:
            yield lambda done, goal, points: report(done, goal) if report is not None else None
        return
    last = time.monotonic()

    def say(done: int, goal: int, points: int) -> None:
        nonlocal last
        if time.monotonic() >= last + LINE_EVERY_S:
            last = time.monotonic()
            output.talk(f"{doing}: {done:,} of {goal:,} {what}, {points:,} points read")

    yield say


def bytes_shown(least: int) -> Callable[[int, int], None]:
    """What a copy of bytes reports to: a line on stderr that is written over, and gone at the end of the file.

    Files of fewer than `least` bytes show nothing. Rich would cost a log command more than most copies.
    """

    def report(done: int, total: int) -> None:
        if total < least:
            return
        line = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB" if done < total else ""
        output.overwrite(line)

    return report
