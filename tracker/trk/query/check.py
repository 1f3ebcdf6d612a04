"""`check`: whether a run is as good as it has to be, condition by condition.

A condition is judged by the run's last values, as in `metrics`, computed in decimals: 0.8 - 0.1 is 0.7. What is
missing, NaN or infinite is nothing to judge by: no condition about it holds, whatever the comparator.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

from trk import rules
from trk.errors import CheckFailed, NotFound, UsageError
from trk.query import baselines, sources, words
from trk.query.ask import DEFAULT_TIMEOUT_S, RunName, name_of, source_of, warn_python
from trk.query.expressions import parse
from trk.query.reports import CheckedCondition, CheckReport
from trk.query.scores import last_score, score, stats
from trk.query.sources import Source, Warn
from trk.query.terms import (
    Absolute,
    Expression,
    Negated,
    Node,
    Number,
    Operation,
    Percent,
    Reference,
    Text,
)
from trk.records import RunRecord

_COMPARE: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPUTE: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_EXACT = Context(prec=60, Emax=999_999, Emin=-999_999)  # digits: any two doubles of one scale add up without a rest
_MOST = Decimal(repr(rules.HUGE))

_TOO_LARGE = "the result is larger than a number can be"

Value = float | str | None


def check(
    expressions: str | Sequence[str],
    run: RunName | None = None,
    *,
    baseline: RunName | None = None,
    allow_no_baseline: bool = False,
    experiment: str | None = None,
    source: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    warn: Warn = warn_python,
) -> CheckReport:
    """Whether a run (left out: the active one) fulfils conditions such as `f1 >= 0.85`, `loss <= baseline + 2%`.

    A name is the last value of a metric, or `params.KEY`, `tags.KEY`, `duration` (seconds), `status`; `best(f1)`,
    `min(f1)`, `max(f1)` look through the history. `baseline` in a condition is the baseline's value of the one thing
    that it is about, `baseline.KEY` that of another. `baseline` names that run as in `compare`; `best:` and `tag:` look
    in `experiment`, left out in the run's own. Without a baseline NotFound is raised, or, with `allow_no_baseline`, the
    conditions that need it pass with a note as their reason.

    All conditions are judged. Raises UsageError for one that can't be read, NotFound, NoActiveRun, SourceUnavailable.
    """
    conditions = parse_all(expressions)
    named = name_of(run)
    meant = None if baseline is None else name_of(baseline)
    known = None if meant is None else baselines.parse(meant)
    deadline = time.monotonic() + timeout
    found = sources.choose(
        source or source_of([named] if meant is None else [named, meant]), timeout=timeout, warn=warn
    )

    def ask() -> CheckReport:
        record = sources.find(found, named)
        base, absence = None, None
        if any(condition.needs_baseline for condition in conditions):
            base, absence = _baseline(found, known, experiment or record.experiment, record)
            if absence is not None and not allow_no_baseline:
                hint = f"{absence.hint}; the first time --allow-no-baseline" if absence.hint else None
                raise NotFound(f"there is no baseline: {absence.message}", hint=hint)
        return judge(found, record, conditions, base, allow_no_baseline=allow_no_baseline, absence=absence)

    return sources.within(found, deadline, ask)


def parse_all(expressions: str | Sequence[str]) -> list[Expression]:
    """The conditions that texts say. Raises UsageError, also when there is none."""
    found = [parse(text) for text in ([expressions] if isinstance(expressions, str) else expressions)]
    if not found:
        raise UsageError("there is no condition to check", hint="trk check 'f1 >= 0.85'")
    return found


def _baseline(
    source: Source, known: baselines.Baseline | None, experiment: str, run: RunRecord
) -> tuple[RunRecord | None, NotFound | None]:
    """(the baseline, why there is none)."""
    if known is None:
        return None, NotFound("none is named", hint="--baseline RUN, best:f1, tag:branch=main or @last")
    try:
        return baselines.find(source, known, experiment, besides=run), None
    except NotFound as absence:
        return None, absence


def judge(
    source: Source,
    run: RunRecord,
    conditions: Sequence[Expression],
    baseline: RunRecord | None,
    *,
    allow_no_baseline: bool = False,
    absence: NotFound | None = None,
) -> CheckReport:
    """The report on a run and a baseline that are found already; `absence` is why there is no baseline.

    What the baseline lacks fails, or with `allow_no_baseline` passes with a note where the run itself has it.
    """
    why = absence.message if absence is not None else "there is no baseline"
    judging = _Judging(source, run, baseline, why, allow_no_baseline)
    checks = tuple(judging.judge(condition) for condition in conditions)
    return CheckReport(all(one.passed for one in checks), checks, run, baseline)


def require_passed(report: CheckReport) -> None:
    """Raise CheckFailed when a condition does not hold."""
    failed, all_of_them = sum(not one.passed for one in report.checks), len(report.checks)
    if failed:
        what = "the condition" if all_of_them == 1 else f"{failed} of {all_of_them} conditions"
        does = "does" if failed == 1 else "do"
        raise CheckFailed(f"{what} {does} not hold for run {report.run.name}", hint=f"trk show {report.run.run_id}")


class _Unjudged(Exception):
    """Why a condition can't be judged; `lacking` when it is the baseline that has nothing to compare with.

    `value` is the one that is not finite, or is no number.
    """

    def __init__(self, reason: str, *, lacking: bool = False, value: Value = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lacking = lacking
        self.value = value


class _Judging:
    """One run, and what it is measured against."""

    def __init__(
        self, source: Source, run: RunRecord, baseline: RunRecord | None, absence: str, allow_no_baseline: bool
    ) -> None:
        self._source = source
        self._run = run
        self._baseline = baseline
        self._absence = absence
        self._lenient = allow_no_baseline
        self._modes: dict[str, Mapping[str, str]] = {}

    def judge(self, condition: Expression) -> CheckedCondition:
        """One condition. Both sides are computed even if one can't be, so that what is known is shown."""
        left, left_error = self._side(condition, condition.left)
        right, right_error = self._side(condition, condition.right)
        own = next((error for error in (left_error, right_error) if error is not None and not error.lacking), None)
        error = own or left_error or right_error
        if error is None and left is not None and right is not None:
            passed = _holds(left, condition.comparator, right)
            reason = None if passed else _why(left, condition.comparator, right)
            return CheckedCondition(condition.text, _told(left), _told(right), passed, reason)
        assert error is not None
        passed = error.lacking and self._lenient and self._has_all(condition)
        reason = f"passed without a baseline: {error.reason}" if passed else error.reason
        found = _told(left, condition.left, left_error), _told(right, condition.right, right_error)
        return CheckedCondition(condition.text, *found, passed, reason)

    def _side(self, condition: Expression, node: Node) -> tuple[Decimal | str | None, _Unjudged | None]:
        try:
            if condition.textual:
                return self._text(node), None
            with localcontext(_EXACT):
                found = self._number(node)
            if not -_MOST < found < _MOST:
                return None, _Unjudged(_TOO_LARGE)
            return found, None
        except _Unjudged as error:
            return None, error
        except (DivisionByZero, InvalidOperation):  # the latter is 0/0
            return None, _Unjudged("it divides by zero")
        except Overflow:
            return None, _Unjudged(_TOO_LARGE)

    def _has_all(self, condition: Expression) -> bool:
        """Whether the run itself has what it is to be compared in: a name that nobody has is a mistake, NaN fails."""
        try:
            for reference in condition.references:
                if condition.textual:
                    self._looked_up(reference, self._run)
                else:
                    self._finite(reference, self._run)
        except _Unjudged:
            return False
        return True

    # -- values

    def _text(self, node: Node) -> str:
        if isinstance(node, Text):
            return node.value
        assert isinstance(node, Reference)
        return str(self._looked_up(node, self._whose(node)))

    def _number(self, node: Node) -> Decimal:
        match node:
            case Number():
                return node.value
            case Reference():
                return self._decimal(node)
            case Negated(of):
                return -self._number(of)
            case Absolute(of):
                return abs(self._number(of))
            case Percent(sign, of, percent):
                base = self._number(of)
                return _COMPUTE[sign](base, abs(base) * Decimal(percent) / 100)
            case Operation(sign, left, right):
                return _COMPUTE[sign](self._number(left), self._number(right))
        raise AssertionError(node)  # a text among numbers: no such condition is read

    def _whose(self, reference: Reference) -> RunRecord:
        if not reference.baseline:
            return self._run
        if self._baseline is None:
            raise _Unjudged(self._absence, lacking=True)
        return self._baseline

    def _decimal(self, reference: Reference) -> Decimal:
        return self._finite(reference, self._whose(reference))

    def _finite(self, reference: Reference, run: RunRecord) -> Decimal:
        value = self._looked_up(reference, run)
        if isinstance(value, str):
            try:
                value = rules.parse_number(value)
            except UsageError:
                told = f"{_named(reference)} is {rules.shown(value)}, which is no number"
                raise _Unjudged(told, value=value) from None
        if not rules.is_ranked(value):
            raise _Unjudged(f"{_named(reference)} is {_odd(value)}, which is nothing to judge by", value=value)
        return Decimal(repr(value))

    def _looked_up(self, reference: Reference, run: RunRecord) -> float | str:
        """What a reference means of a run. Raises _Unjudged when the run has no such thing."""
        key = reference.key
        match reference.kind:
            case "status":
                return str(run.status)
            case "duration":
                if run.duration_s is None:
                    raise self._missing(reference, run, ())
                return float(run.duration_s)
            case "metric":
                if key not in run.metrics:
                    raise self._missing(reference, run, tuple(run.metrics))
                return self._reading(reference, run)
        texts = run.params if reference.kind == "param" else run.tags
        if key not in texts:
            raise self._missing(reference, run, tuple(texts))
        return texts[key]

    def _reading(self, reference: Reference, run: RunRecord) -> float:
        """A metric's value as `last`, `best`, `min` and `max` read it; the last three pass over what is not finite."""
        if reference.reading == "last":
            return run.metrics[reference.key]
        points = self._source.history(run, reference.key)
        found = score(run, stats(points)) if points else last_score(run, reference.key)
        high = reference.reading == "max" or (reference.reading == "best" and self._mode(reference.key, run) == "max")
        point = found.high if high else found.low
        if point is None:
            raise _Unjudged(f"{_named(reference)}: there is no finite value")
        return point[0]

    def _mode(self, key: str, run: RunRecord) -> str:
        if run.experiment not in self._modes:
            self._modes[run.experiment] = self._source.modes({run.experiment})
        found = baselines.direction(self._modes[run.experiment], key)
        if found is None:
            raise UsageError(
                f"which is better for {key}, more or less?",
                hint=f"max({key}) or min({key}), or once: trk define-metric {key} --mode max",
            )
        return found

    def _missing(self, reference: Reference, run: RunRecord, known: Sequence[str]) -> _Unjudged:
        what = f"{reference.kind} {reference.key}".rstrip()
        whose = f"the baseline {run.name}" if run is self._baseline and reference.baseline else "the run"
        near = words.near(reference.key, sorted(known))
        there = f"; there is {', '.join(near)}" if near else ""
        return _Unjudged(f"{whose} has no {what}{there}", lacking=reference.baseline)


def _named(reference: Reference) -> str:
    """A reference as a reason shows it."""
    heads = {"param": "params.", "tag": "tags."}
    found = heads.get(reference.kind, "") + (reference.key or reference.kind)
    found = found if reference.reading == "last" else f"{reference.reading}({found})"
    return f"the baseline's {found}" if reference.baseline else found


def _odd(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _holds(left: Decimal | str, comparator: str, right: Decimal | str) -> bool:
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return _COMPARE[comparator](left, right)
    return (left == right) == (comparator == "==")


def _why(left: Decimal | str, comparator: str, right: Decimal | str) -> str:
    """Why it does not hold: how far it is off."""
    if not isinstance(left, Decimal) or not isinstance(right, Decimal):
        return f"{rules.shown(left)} is {'not' if comparator == '==' else 'the same as'} {rules.shown(right)}"
    if left == right:
        return f"both are {_short(left)}"
    with localcontext(_EXACT):
        off = abs(left - right)
    return f"{_short(left)} is {'more' if left > right else 'less'} than {_short(right)}, by {_short(off)}"


def _short(number: Decimal) -> str:
    return f"{float(number):.6g}"


def _told(value: Decimal | str | None, node: Node | None = None, error: _Unjudged | None = None) -> Value:
    """What a side comes to: where that is one value that is not finite, or is no number, that value."""
    if error is not None and isinstance(node, Reference):
        return error.value
    return float(value) if isinstance(value, Decimal) else value
