"""`trk.plot`: metrics of runs as curves, in a figure or a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from trk import rules
from trk.errors import UsageError
from trk.media.table_cells import count
from trk.pictures import gather, texts
from trk.pictures.curves import Chart, Curve, X, smooth_points
from trk.pictures.gather import Wanted
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, warn_python
from trk.query.sources import Warn
from trk.records import MetricPoint, Mode, RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".html")
MOST_PIXELS = 20_000


@dataclass(frozen=True, slots=True)
class Style:
    """How curves are drawn: over which x, smoothed by how much, and on which axes logarithmically."""

    x: X = "step"
    smooth: float = 0.0
    log_x: bool = False
    log_y: bool = False


def plot(
    metrics: str | Sequence[str],
    runs: RunName | Sequence[RunName] | None = None,
    *,
    to: str | os.PathLike[str] | None = None,
    best: int | None = None,
    metric: str | None = None,
    mode: Mode | None = None,
    filter: str | None = None,  # noqa: A002 - the word of the command line and of MLflow
    experiment: str | None = None,
    n: int | None = None,
    x: X = "step",
    smooth: float = 0.0,
    log_x: bool = False,
    log_y: bool = False,
    width: int | None = None,
    height: int | None = None,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> Figure | Path:
    """Metrics of one or several runs as curves: matplotlib's Figure, or with `to` the PNG, SVG or HTML file written.

    `metrics` are names or patterns such as `val/*`; each has a chart of its own. `runs` are named as everywhere (left
    out: the active one); `best` adds the best so many by `metric` (left out: the first of `metrics`), `filter` and
    `experiment` the newest `n`. `x` is "step", "time" or "relative" (to each run's start). `smooth`, from 0 to under
    1, is the weight of the past in an exponential moving average, and what was logged shows faintly behind it. NaN and
    infinities are gaps. `width` and `height` are in pixels.

    Raises UsageError, also when matplotlib is missing, NotFound for a metric that none of the runs has, NoActiveRun,
    SourceUnavailable.
    """
    from trk.pictures import figures

    ending = None if to is None else ending_of(to)
    check_size(width, height)
    keys = [metrics] if isinstance(metrics, str) else list(metrics)
    wanted = Wanted(runs, best, metric, mode, filter, experiment, n, source, timeout, warn)
    found = charts(keys, wanted, Style(x, smooth, log_x, log_y))
    if to is None:
        return figures.figure(found, width, height)
    if ending == ".html":
        from trk.pictures import pages

        return write(to, pages.plot_page(found, width, height).encode())
    return write(to, figures.image(found, str(ending)[1:], width, height))


def charts(metrics: Sequence[str], wanted: Wanted, style: Style) -> list[Chart]:
    """One chart for each metric that is meant, with a curve of each run that has it. Raises as `plot`."""
    check_style(style)
    if not metrics:
        raise UsageError("plot needs a metric", hint="trk plot loss")
    if wanted.best is not None and wanted.metric is None:
        wanted = replace(wanted, metric=metrics[0])
    found, records = gather.runs(wanted)
    names = gather.metrics(records, metrics)
    points = gather.histories(found, records, names, wanted)
    if not any(glob in pattern for pattern in metrics for glob in "*?["):
        gather.tell_missing(records, names, points, wanted)
    return [chart_of(name, records, points, style) for name in names]


def check_style(style: Style) -> None:
    """Raise UsageError for what is no x, or no weight of smoothing."""
    if style.x not in get_args(X):
        raise UsageError(f"x must be one of {', '.join(get_args(X))}, not {rules.shown(style.x)}")
    smooth = rules.to_number(style.smooth, "smooth")
    if not 0 <= smooth < 1:
        raise UsageError(f"smooth must be from 0 to under 1, not {rules.shown(style.smooth)}")


def check_size(width: int | None, height: int | None) -> None:
    """Raise UsageError for what is no number of pixels."""
    for name, size in (("width", width), ("height", height)):
        if size is not None and (type(size) is not int or not 100 <= size <= MOST_PIXELS):
            raise UsageError(f"{name} must be from 100 to {MOST_PIXELS} pixels, not {rules.shown(size)}")


def chart_of(metric: str, records: Sequence[RunRecord], points: gather.Histories, style: Style) -> Chart:
    """The chart of a metric, with the curves of the runs that have it, and notes of what it can't show."""
    labels = texts.labels(records)
    curves = [
        _curve(record, labels[record.run_id], metric, some, style)
        for record in records
        if (some := points.get((record.run_id, metric)))
    ]
    return Chart(metric, curves, style.x, style.log_x, style.log_y, style.smooth, _notes(curves, style))


def _curve(record: RunRecord, label: str, metric: str, logged: Sequence[MetricPoint], style: Style) -> Curve:
    start = logged[0].time_ms if record.start_time is None else record.start_time.timestamp() * 1000
    raw = [(_across(point, style.x, start), point.value) for point in logged]
    if style.x != "step":
        raw.sort(key=lambda point: point[0])
    finite = [point.value for point in logged if rules.is_ranked(point.value)]
    return Curve(
        record.run_id, label, metric,
        smooth_points(raw, style.smooth) if style.smooth else raw, raw if style.smooth else (),
        len(logged), logged[-1].value, min(finite, default=None), max(finite, default=None), len(logged) - len(finite),
    )  # fmt: skip


def _across(point: MetricPoint, x: X, start: float) -> float:
    if x == "step":
        return float(point.step)
    return float(point.time_ms) if x == "time" else (point.time_ms - start) / 1000


def _notes(curves: Sequence[Curve], style: Style) -> list[str]:
    notes = []
    if gaps := sum(curve.gaps for curve in curves):
        notes.append(f"{count(gaps, 'point')} not a finite number, shown as {'a gap' if gaps == 1 else 'gaps'}")
    for log, axis, at in ((style.log_x, "x", 0), (style.log_y, "y", 1)):
        below = sum(point[at] <= 0 for curve in curves for point in curve.points if rules.is_ranked(point[1]))
        if log and below:
            notes.append(f"{count(below, 'point')} at {axis} ≤ 0, which a logarithmic axis can't show")
    return notes


def ending_of(to: str | os.PathLike[str]) -> str:
    """What kind of picture a file's name asks for. Raises UsageError."""
    ending = Path(os.fsdecode(to)).suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"a plot is written to a file that ends in {', '.join(ENDINGS)}, not {rules.shown(str(to))}")
    return ending


def write(to: str | os.PathLike[str], content: bytes) -> Path:
    """Put a file in place at once, in place of an earlier one; returns its path. Raises UsageError."""
    path = Path(os.fsdecode(to)).absolute()
    draft = ""
    try:
        file, draft = tempfile.mkstemp(prefix=f".{path.name[:50]}.", dir=path.parent)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
        mask = os.umask(0)
        os.umask(mask)
        Path(draft).chmod(0o666 & ~mask)
        Path(draft).replace(path)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise UsageError(f"{rules.shown(str(to))} can't be written: {error.strerror}", hint="-o FILE") from None
    return path
