"""A summary in OpenMetrics' text format, version 1.0: what GitLab's metrics report compares between branches.

There GitLab knows a number again by its name and labels, so neither holds what changes from pipeline to pipeline.
"""

from __future__ import annotations

import re

from trk.ci.model import Summary
from trk.pictures.texts import labels, tame

_OUTSIDE = re.compile(r"[^a-zA-Z0-9_:]+")
DURATION, CHECK = "trk_duration_seconds", "trk_check_passed"

Labels = tuple[tuple[str, str], ...]


def text(found: Summary) -> str:
    """All last values, durations, and for each condition whether it holds, 1 or 0."""
    families: dict[str, dict[Labels, float]] = {}
    names = labels(found.runs)
    several = len(found.runs) > 1
    for run in found.runs:
        own: Labels = (("run", names[run.run_id]),) if several else ()
        for key in found.metrics:
            if key in run.metrics:
                name = metric_name(key)
                named: Labels = () if name == key else (("metric", key),)
                families.setdefault(name, {})[(*named, *own)] = run.metrics[key]
        if run.duration_s is not None:
            families.setdefault(DURATION, {})[own] = run.duration_s
    for report in found.checks:
        own = (("run", names[report.run.run_id]),) if several else ()
        for one in report.checks:
            families.setdefault(CHECK, {})[(("condition", one.expression), *own)] = float(one.passed)
    written = [_family(name, samples) for name, samples in sorted(families.items())]
    return "".join(written) + "# EOF\n"


def metric_name(key: str) -> str:
    """The name that a metric has there: `val/f1-macro` is `val_f1_macro`; the name itself is then a label."""
    name = _OUTSIDE.sub("_", key)
    return name if name[:1].isalpha() or name[:1] in ("_", ":") else f"_{name}"


def _family(name: str, samples: dict[Labels, float]) -> str:
    # Two names may become one text once what can't be shown is taken out: then the last counts, as no two may be alike.
    lines = {f"{name}{_labels(some)}": _number(value) for some, value in samples.items()}
    return f"# TYPE {name} gauge\n" + "".join(f"{sample} {value}\n" for sample, value in lines.items())


def _labels(some: Labels) -> str:
    said = [f'{name}="{_escaped(value)}"' for name, value in some]
    return f"{{{','.join(said)}}}" if said else ""


def _escaped(value: str) -> str:
    return tame(value, 1_000).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value - value == 0:
        return repr(float(value))
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
