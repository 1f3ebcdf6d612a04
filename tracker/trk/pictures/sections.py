"""The parts of the report's page, each from what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from trk.pictures import pages, spread
from trk.pictures.markup import Child, Markup, tag
from trk.pictures.pages import section, table
from trk.pictures.svg import Size, style_of, swatch
from trk.pictures.texts import duration, labels, moment, tame, told
from trk.records import ArtifactRecord, Comparison, RunRecord

if TYPE_CHECKING:
    from trk.pictures.reporting import Findings

MOST_COLUMNS = 12  # metrics of the leaderboard
MOST_FILES = 200  # listed of a run
_ORDER = {"max": "descending", "min": "ascending"}
_LONG = 24  # characters from which a text may be folded


def page(found: Findings) -> str:
    """The report."""
    numbers = {run.run_id: at for at, run in enumerate(found.runs, 1)}
    names = labels(found.runs)
    parts = [
        ("Leaderboard" if len(found.runs) > 1 else "Run", "runs", _leaderboard(found, numbers, names)),
        ("Against the baseline", "baseline", _against(found, numbers, names)),
        ("Params and the metric", "spread", _spread(found, numbers, names)),
        ("Metrics", "metrics", _charts(found, numbers, names)),
        ("Params and tags", "params", _settings(found.runs, numbers, names)),
        ("Artifacts", "artifacts", _artifacts(found, numbers, names)),
    ]
    there = [(title, ident, body) for title, ident, body in parts if body]
    links = [tag("li", tag("a", title, href=f"#{ident}")) for title, ident, _ in there]
    body = [section(title, ident, *content) for title, ident, content in there]
    return pages.document(
        f"{tame(found.title)} – trk report",
        tag("main", tag("header", *_head(found)), tag("nav", tag("ul", *links), aria_label="On this page"), *body,
            _foot(found)),
    )  # fmt: skip


def _head(found: Findings) -> list[Markup]:
    starts = [run.start_time for run in found.runs if run.start_time is not None]
    span = f"{moment(min(starts))} to {moment(max(starts))}" if len(starts) > 1 else moment(starts[0]) if starts else ""
    facts = [("runs", str(len(found.runs)))]
    if (best := next((run for run in found.runs if run.run_id in found.best), None)) is not None:
        value, step = found.best[best.run_id]
        which = "highest" if found.mode == "max" else "lowest"
        facts += [(f"{which} {found.metric}", f"{told(value)} at step {step}")]
        if len(found.runs) > 1:
            facts.append(("best run", best.name or best.run_id))
    failed = sum(str(run.status) in ("FAILED", "KILLED") for run in found.runs)
    running = sum(str(run.status) == "RUNNING" for run in found.runs)
    facts += [("failed or killed", str(failed))] if failed else []
    facts += [("still running", str(running))] if running else []
    items = [tag("div", tag("dt", tame(name)), tag("dd", tame(value, 60))) for name, value in facts]
    return [
        tag("h1", tame(found.title)),
        tag("p", f"Runs started {span}." if span else "", class_="quiet"),
        tag("dl", *items, class_="facts"),
    ]


def _foot(found: Findings) -> Markup:
    notes = [f"Read from {found.source}"]
    if found.written is not None:
        notes.append(f"written {moment(found.written)} by trk")
    return tag("footer", tag("p", "; ".join([*notes, *found.notes]) + ". NaN and infinity never rank."))


# ---- the leaderboard


def _leaderboard(found: Findings, numbers: Mapping[str, int], names: Mapping[str, str]) -> list[Markup]:
    columns = _columns(found)
    head = [
        _sortable("#", "ascending", class_="n", sorted_="ascending" if len(found.runs) > 1 else None),
        _sortable("run", "ascending", class_="stick"),
        _sortable("status", "ascending"),
        *(_sortable(title, first, class_="n") for title, first, _ in columns),
        _sortable("started", "descending"),
        _sortable("duration", "ascending", class_="n"),
        tag("th", "run id", scope="col"),
    ]
    rows = [_row(found, run, numbers, names, [value for *_, value in columns]) for run in found.runs]
    if found.metric is not None and found.best:
        by = f"by {found.metric}, {'higher' if found.mode == 'max' else 'lower'} is better, over whole histories"
    else:
        by = "newest first: no metric's direction is known (trk define-metric KEY --mode max)"
    if len(found.runs) == 1:
        by = "as logged"
    return [table(f"Runs, {by}. The buttons in the head sort.", head, rows)]


_Value = Callable[[RunRecord], float | None]


def _columns(found: Findings) -> list[tuple[str, str, _Value]]:
    """(title, which way it sorts first, the value of a run)."""
    columns: list[tuple[str, str, _Value]] = []
    if found.best:
        order = _ORDER[found.mode or "max"]
        columns.append((f"best {found.metric}", order, lambda run: found.best.get(run.run_id, (None, 0))[0]))
        columns.append(("at step", "ascending", lambda run: found.best.get(run.run_id, (0, None))[1]))
    for name in list(dict.fromkeys(chart.metric for chart in found.charts))[:MOST_COLUMNS]:
        order = _ORDER.get(found.modes.get(name, ""), "descending")
        columns.append((f"last {name}", order, lambda run, name=name: run.metrics.get(name)))  # type: ignore[misc]  # mypy can't infer the bound argument
    return columns


def _sortable(title: str, first: str, class_: str | None = None, sorted_: str | None = None) -> Markup:
    button = tag("button", tame(title, 60), type="button")
    return tag("th", button, scope="col", class_=class_, data_first=first, aria_sort=sorted_)


def _row(
    found: Findings, run: RunRecord, numbers: Mapping[str, int], names: Mapping[str, str], values: Sequence[_Value]
) -> list[Markup]:
    number = numbers[run.run_id]
    is_base = found.comparison is not None and found.comparison.baseline == run.run_id
    mark = tag("span", "baseline", class_="mark") if is_base else None
    started = "" if run.start_time is None else str(run.start_time.timestamp())
    return [
        tag("td", swatch(number), " ", str(number), class_=f"n {style_of(number)}", data_v=str(number)),
        tag("th", names[run.run_id], " " if mark else None, mark, scope="row", class_="stick"),
        tag("td", str(run.status)),
        *(_number(value(run)) for value in values),
        tag("td", moment(run.start_time), data_v=started),
        tag("td", duration(run.duration_s), class_="n", data_v=_sort_value(run.duration_s)),
        tag("td", tag("span", run.run_id, class_="id")),
    ]  # fmt: skip


def _number(value: float | None) -> Markup:
    return tag("td", told(value), class_="n", data_v=_sort_value(value))


def _sort_value(value: float | None) -> str:
    """What a column is sorted by: nothing for what has no place in an order."""
    return "" if value is None or value - value != 0 else repr(float(value))


# ---- against the baseline


def _against(found: Findings, numbers: Mapping[str, int], names: Mapping[str, str]) -> list[Markup]:
    comparison = found.comparison
    if comparison is None or comparison.baseline is None:
        return []
    others = [run for run in found.runs if run.run_id != comparison.baseline]
    head: list[Child] = [
        tag("th", "metric", scope="col", class_="stick"),
        tag("th", "baseline", scope="col", class_="n"),
    ]
    head += [tag("th", f"{numbers[run.run_id]} {names[run.run_id]}", scope="col", class_="n") for run in others]
    rows = []
    for name in comparison.metrics:
        base = comparison.metrics[name].values.get(comparison.baseline)
        cells = [_delta(comparison, name, run.run_id) for run in others]
        rows.append([tag("th", tame(name), scope="row", class_="stick"), _number(base), *cells])
    return [table(f"Last values against {names[comparison.baseline]}", head, rows)]


def _delta(comparison: Comparison, name: str, run_id: str) -> Markup:
    metric = comparison.metrics[name]
    delta, relative, verdict = (found.get(run_id) for found in (metric.delta, metric.relative, metric.verdict))
    words = [told(metric.values.get(run_id))]
    if isinstance(delta, float) and delta and delta - delta == 0:
        share = f", {relative:+.2%}" if isinstance(relative, float) else ""
        words.append(f"({delta:+.4g}{share})")
    said = tag("span", str(verdict), class_=str(verdict)) if verdict else None
    return tag("td", " ".join(words), tag("br") if said else None, said, class_="n")


# ---- pictures


def _spread(found: Findings, numbers: Mapping[str, int], names: Mapping[str, str]) -> list[Markup]:
    if found.metric is None or len(found.runs) < 2:
        return []
    values = {run_id: value for run_id, (value, _) in found.best.items()}
    values = values or {run.run_id: run.metrics[found.metric] for run in found.runs if found.metric in run.metrics}
    metric, params = spread.number_scale(found.metric, values), spread.scales(found.runs)
    if metric is None or not params:
        return []
    if len(params) == 1:
        return [spread.scatter(params[0], metric, numbers, names)]
    more = len(params) - spread.MOST_AXES
    note = [tag("p", f"{more} more params differ: see the table below.", class_="quiet")] if more > 0 else []
    return [spread.parallel(params, metric, numbers, names), *note]


def _charts(found: Findings, numbers: Mapping[str, int], names: Mapping[str, str]) -> list[Markup]:
    if not found.charts:
        return []
    size = Size(buckets=pages.buckets(sum(len(chart.curves) for chart in found.charts)))
    cards = [pages.chart_card(chart, numbers, size, f"c{at}") for at, chart in enumerate(found.charts)]
    return [pages.legend(numbers, names) if len(numbers) > 1 else Markup(""), tag("div", *cards, class_="charts")]


# ---- params, tags, artifacts


def _settings(runs: Sequence[RunRecord], numbers: Mapping[str, int], names: Mapping[str, str]) -> list[Markup]:
    found: list[Markup] = []
    for what, values in (("Params", [run.params for run in runs]), ("Tags", [run.tags for run in runs])):
        keys = sorted({key for some in values for key in some})
        differing = [key for key in keys if len(runs) > 1 and len({some.get(key) for some in values}) > 1]
        same = [key for key in keys if key not in differing]
        if differing:
            heads = [tag("th", f"{numbers[run.run_id]} {names[run.run_id]}", scope="col") for run in runs]
            rows = [[_key(key), *(_text(some.get(key)) for some in values)] for key in differing]
            found.append(table(f"{what} that differ", [tag("th", "name", scope="col", class_="stick"), *heads], rows))
        if same:
            rows = [[_key(key), _text(values[0][key])] for key in same]
            caption = f"{what} that are the same in all runs" if len(runs) > 1 else what
            head: list[Child] = [tag("th", "name", scope="col", class_="stick"), "value"]
            found.append(tag("details", tag("summary", f"{caption} ({len(same)})"), table(caption, head, rows),
                             open=len(runs) == 1 and what == "Params"))  # fmt: skip
    return found


def _key(key: str) -> Markup:
    return tag("th", tame(key), scope="row", class_="stick")


def _text(value: str | None) -> Markup:
    if value is None:
        return tag("td", "–")
    return tag("td", tame(value), class_="long" if len(value) > _LONG else None)


def _artifacts(found: Findings, numbers: Mapping[str, int], names: Mapping[str, str]) -> list[Markup]:
    listed: list[Markup] = []
    for run in found.runs:
        some = found.artifacts.get(run.run_id, ())
        if not some:
            continue
        rows = [_file(one) for one in some[:MOST_FILES]]
        caption = f"Files of {names[run.run_id]}"
        head: list[Child] = ["path", "kind", tag("th", "size", scope="col", class_="n"), "SHA-256"]
        more = len(some) - MOST_FILES
        note = tag("p", f"{more} more: trk artifacts ls {run.run_id}") if more > 0 else None
        count = f"{len(some)} file{'s' if len(some) > 1 else ''}"
        summary = tag("summary", f"{numbers[run.run_id]} {names[run.run_id]}: {count}")
        shown = [pages.frame(one.path, page) for one in some if (page := found.pages.get((run.run_id, one.path)))]
        listed.append(tag("details", summary, table(caption, head, rows), note, *shown))
    return listed


def _file(one: ArtifactRecord) -> list[Markup]:
    size = f"{one.rows} rows" if one.rows is not None else one.uri or _bytes(one.size)
    kind = one.kind if one.version is None else f"{one.type} v{one.version}"
    return [
        tag("th", tame(one.path), scope="row", class_="stick"),
        tag("td", tame(kind)),
        tag("td", tame(size), class_="n"),
        tag("td", tag("span", (one.sha256 or "")[:16], class_="id")),
    ]


def _bytes(size: int | None) -> str:
    if size is None:
        return "–"
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1000**power:
            return f"{size / 1000**power:.3g} {unit}"
    return f"{size} bytes"
