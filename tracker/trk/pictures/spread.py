"""How params go with a metric: parallel coordinates of several params, a scatter plot of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trk.errors import UsageError
from trk.pictures.axes import Axis, axis
from trk.pictures.markup import Markup, tag
from trk.pictures.svg import end_numbers, style_of
from trk.pictures.texts import tame, told
from trk.records import RunRecord
from trk.rules import is_ranked, parse_number

MOST_AXES = 7  # of params; more can't be told apart
MOST_WORDS = 12  # different texts of a param up to which it is an axis
_SHORT = 14
_FEW = 6  # different numbers up to which each is a tick
_LEFT, _TOP, _BOTTOM = 60, 44, 20


@dataclass(frozen=True, slots=True)
class Scale:
    """A param or metric as an axis: by number, or by its texts in order."""

    name: str
    places: Mapping[str, float]
    ticks: Sequence[tuple[float, str]]
    numeric: bool = True
    title: str = ""


def scales(runs: Sequence[RunRecord]) -> list[Scale]:
    """The params in which the runs differ and that can be axes: numbers, or few different texts; numbers first."""
    names = sorted({name for run in runs for name in run.params})
    found = [made for name in names if (made := _param(name, runs)) is not None]
    return sorted(found, key=lambda scale: not scale.numeric)


def _param(name: str, runs: Sequence[RunRecord]) -> Scale | None:
    texts = {run.run_id: run.params[name] for run in runs if name in run.params}
    different = sorted(set(texts.values()))
    if len(different) < 2:
        return None
    numbers = {text: number for text in different if (number := _number(text)) is not None}
    if len(numbers) == len(different):
        return number_scale(name, {run_id: numbers[text] for run_id, text in texts.items()})
    if len(different) > MOST_WORDS:
        return None
    step = {text: at / (len(different) - 1) for at, text in enumerate(different)}
    ticks = [(place, tame(text, _SHORT)) for text, place in step.items()]
    return Scale(name, {run_id: step[text] for run_id, text in texts.items()}, ticks, numeric=False)


def _number(text: str) -> float | None:
    try:
        found = parse_number(text)
    except UsageError:
        return None
    return found if is_ranked(found) else None


def number_scale(name: str, values: Mapping[str, float]) -> Scale | None:
    """Numbers as an axis, logarithmic when they are above 0 and far apart; None without two different ones."""
    known = {run_id: value for run_id, value in values.items() if is_ranked(value)}
    if len(set(known.values())) < 2:
        return None
    log = min(known.values()) > 0 and max(known.values()) / min(known.values()) >= 50
    found: Axis = axis(known.values(), log=log)
    different = sorted(set(known.values()))
    ticked = [(value, told(value)) for value in different] if len(different) <= _FEW else found.ticks(5)
    ticks = [(found.place(value), text) for value, text in ticked]
    places = {run_id: found.place(value) for run_id, value in known.items()}
    return Scale(name, places, ticks, title=f"{name} (log)" if log else name)


def parallel(params: Sequence[Scale], metric: Scale, numbers: Mapping[str, int], labels: Mapping[str, str]) -> Markup:
    """Each run as a line through its params to the metric; a run without one of them has a gap there."""
    found = [*params[:MOST_AXES], metric]
    width, height = max(560, 150 * len(found) + 80), 340
    room = (width - _LEFT - 70) / max(1, len(found) - 1)
    inner = height - _TOP - _BOTTOM
    drawn: list[Markup] = []
    ends: list[tuple[float, float, int]] = []
    for run_id, number in numbers.items():
        points = [
            (_LEFT + at * room, _TOP + (1 - scale.places[run_id]) * inner) if run_id in scale.places else None
            for at, scale in enumerate(found)
        ]
        path = _path(points)
        if path:
            drawn.append(tag("path", tag("title", labels[run_id]), d=path, class_=f"line {style_of(number)}",
                             data_run=number))  # fmt: skip
            if points[-1] is not None:
                ends.append((*points[-1], number))
    frame = [part for at, scale in enumerate(found) for part in _upright(scale, _LEFT + at * room, inner)]
    said = f"{', '.join(scale.name for scale in found[:-1])} of {len(numbers)} runs, and {metric.name} at the right"
    return _drawing(
        "parallel",
        f"Params and {metric.name}",
        said,
        (width, height),
        [*drawn, *frame, *end_numbers(ends, _TOP, _TOP + inner)],
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    words, joined = [], False
    for point in points:
        if point is not None:
            words.append(f"{'L' if joined else 'M'}{point[0]:.1f} {point[1]:.1f}")
        joined = point is not None
    return "".join(words) if any(word[0] == "L" for word in words) else ""


def _upright(scale: Scale, x: float, inner: float) -> list[Markup]:
    title = tame(scale.title or scale.name, 22)
    found = [
        tag("text", title, x=round(x, 1), y=20, class_="name", text_anchor="middle"),
        tag("line", x1=round(x, 1), y1=_TOP, x2=round(x, 1), y2=_TOP + inner, class_="axis"),
    ]
    for place, text in scale.ticks:
        y = round(_TOP + (1 - place) * inner, 1)
        found.append(tag("line", x1=round(x - 4, 1), y1=y, x2=round(x, 1), y2=y, class_="axis"))
        found.append(tag("text", text, x=round(x - 7, 1), y=y + 4, class_="tick", text_anchor="end"))
    return found


def scatter(param: Scale, metric: Scale, numbers: Mapping[str, int], labels: Mapping[str, str]) -> Markup:
    """A spot for each run: across the param, up the metric."""
    width, height = 640, 340
    across, inner = width - _LEFT - 60, height - 70
    frame = [
        tag("line", x1=_LEFT, y1=20 + inner, x2=_LEFT + across, y2=20 + inner, class_="axis"),
        tag("text", tame(param.title or param.name, 60), x=_LEFT + across / 2, y=height - 6, class_="name",
            text_anchor="middle"),
    ]  # fmt: skip
    for place, text in metric.ticks:
        y = round(20 + (1 - place) * inner, 1)
        frame.append(tag("line", x1=_LEFT, y1=y, x2=_LEFT + across, y2=y, class_="grid"))
        frame.append(tag("text", text, x=_LEFT - 7, y=y + 4, class_="tick", text_anchor="end"))
    for place, text in param.ticks:
        x = round(_LEFT + place * across, 1)
        frame.append(tag("text", text, x=x, y=38 + inner, class_="tick", text_anchor="middle"))
    spots = []
    for run_id, number in numbers.items():
        if run_id in param.places and run_id in metric.places:
            x = round(_LEFT + param.places[run_id] * across, 1)
            y = round(20 + (1 - metric.places[run_id]) * inner, 1)
            spots.append(tag("g", tag("title", labels[run_id]),
                             tag("circle", cx=x, cy=y, r=5, class_="spot"),
                             tag("text", str(number), x=x + 8, y=y + 4, class_="end"),
                             class_=style_of(number), data_run=number))  # fmt: skip
    said = f"{metric.name} up, {param.name} across, of {len(spots)} runs"
    return _drawing("scatter", f"{param.name} and {metric.name}", said, (width, height),
                    [*frame, tag("g", *spots, class_="spots")])  # fmt: skip


def _drawing(ident: str, title: str, said: str, size: tuple[int, int], parts: Sequence[Markup]) -> Markup:
    drawn = tag(
        "svg", tag("title", title, id=f"{ident}-t"), tag("desc", said, id=f"{ident}-d"), *parts,
        class_="chart", viewBox=f"0 0 {size[0]} {size[1]}", role="img", aria_labelledby=f"{ident}-t {ident}-d",
    )  # fmt: skip
    return tag("div", drawn, class_="wide-drawing card", tabindex=0, role="region", aria_label=title)
