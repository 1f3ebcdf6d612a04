"""A summary as headings, tables and charts: what Markdown and HTML both say, each in its own way.

A text that a user gave is a `Name`, wherever it stands; plain text is of trk's own making.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trk.capture import ci as captured
from trk.ci.model import Summary
from trk.media.table_cells import count
from trk.pictures.texts import duration, labels, moment, told
from trk.records import MetricComparison, RunRecord, Status

MOST_COLUMNS = 8  # metrics side by side, of several runs; and half as many params
MOST_FILES = 20

_STATUS = {Status.FINISHED: "✅", Status.FAILED: "❌", Status.KILLED: "🛑", Status.RUNNING: "⏳"}
_ENDED = {Status.FINISHED: "finished", Status.FAILED: "failed", Status.KILLED: "killed", Status.RUNNING: "running"}
_VERDICT = {"better": "🟢", "worse": "🔴", "same": "⚪"}
_ARROW = {"max": " ↑", "min": " ↓"}


@dataclass(frozen=True, slots=True)
class Name:
    """A text of a user's."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """What stands out."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence about something, a user's or with a user's words in it."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link: `label` is ours, `url` anyone's."""

    label: str
    url: str


Piece = str | Name | Strong | Said | Link
Line = Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the page's."""

    level: int
    line: Line


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; a `note` is set apart."""

    line: Line
    note: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `right` are the columns of numbers; `left_out` says what was left out of it."""

    title: str
    head: Sequence[Line]
    rows: Sequence[Sequence[Line]]
    right: frozenset[int] = frozenset()
    left_out: str | None = None
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart of a metric; the runs in it have their labels."""

    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)


Block = Heading | Paragraph | Table | Chart


def blocks(found: Summary) -> list[Block]:
    """The whole of a summary."""
    told: list[Block] = _head_of_one(found, found.runs[0]) if len(found.runs) == 1 else _head_of_several(found)
    told += _notes(found)
    told += _checks(found)
    told += _metrics(found, found.runs[0]) if len(found.runs) == 1 else [_runs(found), *_against(found)]
    told += _charts(found)
    if len(found.runs) == 1:
        run = found.runs[0]
        told += _pairs(found, "param", run.params) + _files(found)
    return told


def _notes(found: Summary) -> list[Block]:
    told: list[Block] = []
    if found.missing_baseline is not None:
        line: Line = ["No baseline ", Name(found.missing_baseline), " was found: there is nothing to compare with yet."]
        told.append(Paragraph(line, note=True))
    return told + [Paragraph([Said(note)], note=True) for note in found.notes]


# -- heads


def _head_of_one(found: Summary, run: RunRecord) -> list[Block]:
    took = f" in {duration(run.duration_s)}" if run.duration_s is not None else ""
    took = took.replace(" in ", " for ") if run.status is Status.RUNNING else took
    title: Line = [f"{_STATUS[run.status]} ", Name(run.name), f" {_ENDED[run.status]}{took}"]
    about: list[Piece] = ["experiment ", Name(run.experiment), f" · started {moment(run.start_time)}"]
    about += _commit(run)
    for link in _links(run):
        about += [" · ", link]
    about += [" · run ", Name(run.run_id)]
    text: list[Block] = [Paragraph([Said(run.description)])] if run.description else []
    return [Heading(1, title), Paragraph(about), *text]


def _commit(run: RunRecord) -> list[Piece]:
    commit = run.tags.get(captured.COMMIT) or run.tags.get("git.commit")
    branch = run.tags.get(captured.BRANCH) or run.tags.get("git.branch")
    told: list[Piece] = [" · commit ", Name(commit[:12])] if commit else []
    return told + ([" on " if commit else " · branch ", Name(branch)] if branch else [])


def _links(run: RunRecord) -> list[Link]:
    names = {"mlflow": "MLflow", "wandb": "W&B"}
    places = [(names.get(name, "backend"), delivery.url) for name, delivery in run.backends.items()]
    places.append(("CI job", run.tags.get(captured.URL)))
    return [Link(label, url) for label, url in places if url]


def _head_of_several(found: Summary) -> list[Block]:
    title: list[Piece] = [f"🧪 {count(len(found.runs), 'run')}"]
    if found.subject is not None:
        what, name = found.subject
        title += [f" of {what} ", Name(name)]
    states = [run.status for run in found.runs]
    said = [f"{_STATUS[state]} {states.count(state)} {_ENDED[state]}" for state in _STATUS if state in states]
    about: list[Piece] = [" · ".join(said)]
    experiments = {run.experiment for run in found.runs}
    if len(experiments) == 1 and (found.subject is None or found.subject[0] != "experiment"):
        about += [" · experiment ", Name(experiments.pop())]
    if len({str(_commit(run)) for run in found.runs}) == 1:
        about += _commit(found.runs[0])
    if len({tuple(_links(run)) for run in found.runs}) == 1:
        for link in _links(found.runs[0]):
            about += [" · ", link]
    return [Heading(1, title), Paragraph(about)]


# -- checks


def _checks(found: Summary) -> list[Block]:
    several = len(found.checks) > 1
    every = [(report, one) for report in found.checks for one in report.checks]
    if not every:
        return []
    failed = [pair for pair in every if not pair[1].passed]
    names = labels(found.runs)
    ordered = [*failed, *(pair for pair in every if pair[1].passed)]
    rows = []
    for report, one in ordered[: found.most_rows]:
        cells: list[Line] = [["✅" if one.passed else "❌"], [Name(one.expression)], _side(one.left), _side(one.right)]
        cells.append([] if one.reason is None else [Said(one.reason)])
        rows.append([*([[Name(names[report.run.run_id])]] if several else []), *cells])
    heads = ["", "condition", "left", "right", "why"]
    title = f"Checks: {len(every) - len(failed)} of {len(every)} hold"
    at = 1 if several else 0
    head: list[Line] = [*([["run"]] if several else []), *([word] for word in heads)]
    return [Table(title, head, rows, frozenset({2 + at, 3 + at}), _left_out(len(ordered), len(rows)))]


def _side(value: float | str | None) -> Line:
    return [] if value is None else [Name(value)] if isinstance(value, str) else [told(value)]


def _left_out(of: int, shown: int, what: str = "row") -> str | None:
    return f"{count(of - shown, f'more {what}')} not shown" if of > shown else None


# -- metrics


def _metrics(found: Summary, run: RunRecord) -> list[Block]:
    keys = [key for key, one in found.metrics.items() if run.run_id in one.values]
    if not keys:
        return []
    base = found.baseline
    head: list[Line] = [["metric"], ["last"], ["best"], ["at step"]]
    if base is not None:
        head += [["baseline"], ["change"]]
    rows = [_metric(found, key, run, base) for key in keys[: found.most_rows]]
    right = frozenset(range(1, 5))
    return [Table("Metrics", head, rows, right, _left_out(len(keys), len(rows), "metric")), *_against(found)]


def _against(found: Summary) -> list[Block]:
    base = found.baseline
    if base is None:
        return []
    return [Paragraph(["Changes are against the baseline ", Name(base.name), " · run ", Name(base.run_id)])]


def _metric(found: Summary, key: str, run: RunRecord, base: RunRecord | None) -> list[Line]:
    one = found.metrics[key]
    best = found.best.get((run.run_id, key))
    row: list[Line] = [
        [Name(key), _ARROW.get(one.mode or "", "")],
        [told(one.values[run.run_id])],
        [] if best is None else [told(best[0])],
        [] if best is None else [str(best[1])],
    ]
    if base is not None:
        row += [[told(one.values[base.run_id])] if base.run_id in one.values else [], [_change(one, run.run_id)]]
    return row


def _change(one: MetricComparison, run_id: str) -> str:
    """`🟢 +0.012 (+1.3 %) better`: by how much a value differs from the baseline's, and what that means."""
    delta = one.delta.get(run_id)
    if delta is None:
        return ""
    verdict = one.verdict.get(run_id)
    if verdict == "same":
        return f"{_VERDICT[verdict]} same"
    relative = one.relative.get(run_id)
    share = "" if relative is None else f" ({_signed(relative * 100, 3)} %)"
    said = f"{_signed(delta, 4)}{share}" if delta - delta == 0 else ""
    return said if verdict is None else " ".join(filter(None, (_VERDICT[verdict], said, verdict)))


def _signed(value: float, digits: int) -> str:
    shown = told(value, digits)
    return f"+{shown}" if value > 0 and value - value == 0 else shown


# -- several runs


def _runs(found: Summary) -> Table:
    names = labels(found.runs)
    keys = list(found.metrics)[:MOST_COLUMNS]
    params = list(found.params)[: MOST_COLUMNS // 2]
    best = {key: _best_run(found, key) for key in keys}
    links = len({tuple(_links(run)) for run in found.runs}) > 1
    rows = []
    for run in found.runs[: found.most_rows]:
        mark: list[Piece] = (
            [" (baseline)"] if found.baseline is not None and run.run_id == found.baseline.run_id else []
        )
        row: list[Line] = [[_STATUS[run.status]], [Name(names[run.run_id]), *mark], [duration(run.duration_s)]]
        row += [[Name(text)] if (text := found.params[key].get(run.run_id)) is not None else [] for key in params]
        row += [_cell(found.metrics[key], run.run_id, best[key] == run.run_id) for key in keys]
        rows.append([*row, *([_listed(_links(run))] if links else [])])
    head: list[Line] = [[""], ["run"], ["time"], *([Name(key)] for key in params)]
    head += [[Name(key), _ARROW.get(found.metrics[key].mode or "", "")] for key in keys]
    left_out = [
        _left_out(len(found.runs), len(rows), "run"),
        _left_out(len(found.metrics), len(keys), "metric"),
        _left_out(len(found.params), len(params), "param"),
    ]
    right = frozenset({2, *range(3 + len(params), 3 + len(params) + len(keys))})
    title = "Runs" if found.baseline is None else "Runs, and their changes against the baseline"
    head += [["links"]] if links else []
    return Table(title, head, rows, right, ", ".join(filter(None, left_out)) or None)


def _cell(one: MetricComparison, run_id: str, best: bool) -> Line:
    if run_id not in one.values:
        return []
    value: Piece = Strong(told(one.values[run_id])) if best else told(one.values[run_id])
    change = _change(one, run_id).removesuffix(" better").removesuffix(" worse")
    return [value, f" {change}" if change else ""]


def _best_run(found: Summary, key: str) -> str | None:
    """The run with the best last value, of those that are shown; None when nobody says which is better."""
    one = found.metrics[key]
    ids = {run.run_id for run in found.runs}
    known = [(value, run_id) for run_id, value in one.values.items() if run_id in ids and value - value == 0]
    if one.mode is None or len(known) < 2:
        return None
    return (max if one.mode == "max" else min)(known, key=lambda pair: pair[0])[1]


def _listed(links: Sequence[Link]) -> Line:
    told: list[Piece] = []
    for link in links:
        told += [" · ", link] if told else [link]
    return told


# -- the rest


def _charts(found: Summary) -> Sequence[Block]:
    names = labels([*found.runs, *([found.baseline] if found.baseline is not None else [])])
    drawn: dict[str, dict[str, str]] = {}
    for run_id, key in found.histories:
        drawn.setdefault(key, {})[run_id] = names[run_id]
    return [Chart(key, drawn[key]) for key in list(found.metrics) if key in drawn][: found.most_charts]


def _pairs(found: Summary, what: str, texts: Mapping[str, str]) -> list[Block]:
    if not texts:
        return []
    base = found.baseline.params if found.baseline is not None else {}
    changed = [key for key in texts if key in base and base[key] != texts[key]]
    ordered = sorted(texts, key=lambda key: (key not in changed, key))
    rows: list[list[Line]] = [
        [[Name(key)], [Name(texts[key])], *([[Name(base[key])] if key in changed else []] if changed else [])]
        for key in ordered[: found.most_rows]
    ]
    head: list[Line] = [[what], ["value"], *([["baseline, where it differs"]] if changed else [])]
    title = count(len(texts), what).capitalize()
    return [Table(title, head, rows, left_out=_left_out(len(texts), len(rows), what), folded=True)]


def _files(found: Summary) -> list[Block]:
    if not found.artifacts:
        return []
    shown = found.artifacts[: min(MOST_FILES, found.most_rows)]
    rows: list[list[Line]] = [[[Name(one.path)], [one.kind], [_bytes(one.size)]] for one in shown]
    title = count(len(found.artifacts), "file").capitalize()
    left_out = _left_out(len(found.artifacts), len(shown), "file")
    return [Table(title, [["path"], ["kind"], ["size"]], rows, frozenset({2}), left_out, folded=True)]


def _bytes(size: int | None) -> str:
    if size is None:
        return ""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= least:
            return f"{size / least:.3g} {unit}"
    return f"{size} B"
