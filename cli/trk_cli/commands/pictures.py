"""plot and report: runs as pictures."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import Annotated, Any

from trk import settings
from trk.errors import UsageError
from trk.pictures import figures, pages, plotting, reporting
from trk.pictures.curves import Chart
from trk.pictures.gather import Wanted
from trk.pictures.plotting import Style
from trk.rules import parse_number
from trk_cli import drawing, output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Text

PIPE_WIDTH = 80  # columns of a plot in a pipe, where nothing says how wide
MOST_COLUMNS = 1_000
_HEIGHT = 15  # rows of one chart; several share the terminal

Best = Annotated[str | None, Option("--best", metavar="N", help="The N best runs by --metric.")]
Mode = Annotated[str | None, Option("--mode", metavar="max|min", help="Which is better; else as defined.")]
Newest = Annotated[str | None, Option("-n", "--n", metavar="N", help="How many runs, newest first.")]


def plot(
    keys: Annotated[list[str] | None, Argument(metavar="KEY", help="The metrics, or patterns: 'val/*'.")] = None,
    run: Annotated[
        list[str] | None, Option("--run", metavar="RUN", help="The run; may be given again. Else the active one.")
    ] = None,
    experiment: options.Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    best: Best = None,
    metric: Annotated[
        str | None, Option("--metric", metavar="KEY", help="The metric for --best; else the first KEY.")
    ] = None,
    mode: Mode = None,
    n: Newest = None,
    x: Annotated[str, Option("--x", metavar="step|time|relative", help="What is drawn across.")] = "step",
    smooth: Annotated[
        str, Option("--smooth", metavar="WEIGHT", help="Moving average: the weight of the past, from 0 to 1.")
    ] = "0",
    log_x: Annotated[bool, Option("--log-x", help="A logarithmic axis across.")] = False,
    log_y: Annotated[bool, Option("--log-y", help="A logarithmic axis upwards.")] = False,
    width: Annotated[str | None, Option("--width", metavar="N", help="Columns; of a file, pixels.")] = None,
    height: Annotated[str | None, Option("--height", metavar="N", help="Rows; of a file, pixels.")] = None,
    to: Annotated[str | None, Option("-o", "--output", metavar="FILE", help="Into a .png, .svg or .html.")] = None,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Metrics of runs as curves, one chart for each metric: in the terminal, or into a file.

    Example: trk plot loss f1 --run @last --smooth 0.6 -o curves.html
    """
    across, up = options.count(width, "--width"), options.count(height, "--height")
    wanted = Wanted(
        run or None, options.count(best, "--best"), metric,
        mode,  # type: ignore[arg-type]  # the library checks what a user typed
        filter, experiment, options.count(n, "-n"), source, options.seconds(timeout), output.warn,
    )  # fmt: skip
    style = Style(x, parse_number(smooth, "smooth"), log_x, log_y)  # type: ignore[arg-type]  # the library checks it
    ending = None if to is None else plotting.ending_of(to)
    if ending is not None:
        plotting.check_size(across, up)
    found = plotting.charts(keys or (), wanted, style)
    if to is None:
        if json:
            output.show(Text("", data=_told(found, None)), options.JSON)
        else:
            output.emit(_in_terminal(found, across, up))
        return
    if ending == ".html":
        content = pages.plot_page(found, across, up).encode()
    else:
        content = figures.image(found, str(ending)[1:], across, up)
    path = str(plotting.write(to, content))
    for note in dict.fromkeys(f"{chart.metric}: {note}" for chart in found for note in chart.notes):
        output.talk(note, quiet=quiet)
    output.show(Text(path, data=_told(found, path)), options.shape(None, json))


def _in_terminal(charts: list[Chart], width: int | None, height: int | None) -> str:
    """The charts as they fit: of the terminal's height each has its share, in a pipe the same size every time."""
    for name, size in (("--width", width), ("--height", height)):
        if size is not None and not 1 <= size <= MOST_COLUMNS:
            raise UsageError(f"{name} must be from 1 to {MOST_COLUMNS} in a terminal", hint="-o FILE for pixels")
    columns, rows = get_terminal_size((PIPE_WIDTH, 24))
    share = rows // len(charts) - 6 if output.is_terminal() else _HEIGHT
    tall = height if height is not None else min(_HEIGHT, max(8, share))
    colour = output.is_terminal() and not settings.env("NO_COLOR") and settings.env("TERM") != "dumb"
    return drawing.drawn(charts, width=width or columns, height=tall, colour=colour)


def _told(charts: list[Chart], path: str | None) -> dict[str, Any]:
    """What was drawn, and into which file."""
    return {
        "path": path,
        "charts": [
            {
                "metric": chart.metric,
                "notes": list(chart.notes),
                "runs": [
                    {
                        "run_id": curve.run_id, "points": curve.count, "not_finite": curve.gaps,
                        "last": curve.last, "min": curve.low, "max": curve.high,
                    }
                    for curve in chart.curves
                ],
            }
            for chart in charts
        ],
    }  # fmt: skip


def report(
    runs: Annotated[list[str] | None, Argument(metavar="RUN", help="The runs; else the experiment's.")] = None,
    experiment: options.Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    best: Best = None,
    metric: Annotated[
        str | None, Option("--metric", metavar="KEY", help="The metric to rank by; else one of most runs.")
    ] = None,
    mode: Mode = None,
    n: Newest = None,
    baseline: Annotated[
        str | None,
        Option("--baseline", metavar="RUN", help="What the others are measured against: RUN, best:f1, tag:k=v."),
    ] = None,
    title: Annotated[str | None, Option("--title", metavar="TEXT", help="The page's heading.")] = None,
    to: Annotated[
        str, Option("-o", "--output", metavar="FILE", help="The file; left out: trk-report.html.")
    ] = reporting.FILE,
    open: Annotated[bool, Option("--open", help="Show it in the browser.")] = False,  # noqa: A002 - the flag's name
    log: Annotated[bool, Option("--log", help="Also log it, into the one run or the active one.")] = False,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """One page of HTML about runs: leaderboard, charts, params, tags, files. It needs no network.

    Example: trk report -e digits --metric f1 --baseline other -o digits.html
    """
    path = reporting.report(
        runs or None, to=to, best=options.count(best, "--best"), metric=metric,
        mode=mode,  # type: ignore[arg-type]  # the library checks what a user typed
        filter=filter, experiment=experiment, n=options.count(n, "-n"), baseline=baseline, title=title, log=log,
        source=source, timeout=options.seconds(timeout), warn=output.warn,
    )  # fmt: skip
    if log:
        output.talk(f"logged as {reporting.NAME}.html", quiet=quiet)
    output.show(Text(str(path), data={"path": str(path), "logged": log}), options.shape(None, json))
    if open:
        import webbrowser

        webbrowser.open(path.as_uri())
