"""Lines into a run, from Python: what each one says, what is refused, and that it is what single calls would write."""

from __future__ import annotations

import json
import math
import random
import threading
from pathlib import Path
from typing import Any

import pytest

import trk
from helpers import Course
from trk.errors import Conflict, UsageError
from trk.lines import Lines, decoded
from trk.piping import Pipe
from trk.run import Run

NOON = 1_700_000_000_000


def parser(prefix: str = "") -> Lines:
    from trk.rules import check_metric_name

    return Lines(lambda key: check_metric_name(prefix + key))


def said(text: str, lines: Lines | None = None) -> list[Any]:
    """What lines say, the bad ones as their messages."""
    return [
        one.message if isinstance(one, UsageError) else one for one in (lines or parser()).read(text, NOON)
    ]  # fmt: skip


def readings(run: Run) -> tuple[Any, ...]:
    """Everything the journal knows of a run's metrics, but when it was."""
    journal = run.journal
    key = "(SELECT run FROM runs WHERE run_id = ?)"
    rows = journal.read(f"SELECT n, kind, time, key, step, value FROM rows WHERE run = {key} ORDER BY n", (run.id,))
    live = journal.read(f"SELECT * FROM metrics WHERE run = {key} ORDER BY key", (run.id,))
    return rows, [repr(entry[1:]) for entry in live]


# ---- what a line says


def test_a_line_is_a_json_object_or_pairs() -> None:
    assert said('{"loss": 0.5, "step": 3}\nf1=0.9 acc=-.5 step=-4\n\n{"a": 1, "b": "NaN"}\nloss=1e-3') == [
        (NOON, 3, "loss", 0.5),
        (NOON, -4, None, {"f1": 0.9, "acc": -0.5}),
        None,
        (NOON, None, None, {"a": 1.0, "b": pytest.approx(math.nan, nan_ok=True)}),
        (NOON, None, "loss", 0.001),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_lines_end_as_they_like(end: str) -> None:
    assert said(f'{{"a": 1.5, "step": 1}}{end or chr(10)}{{"a": 2.5, "step": 2}}{end}') == [
        (NOON, 1, "a", 1.5), (NOON, 2, "a", 2.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('{"a": 1, "timestamp": 1700000000}', (NOON, None, "a", 1.0)),
        ('{"a": 1, "timestamp": 1700000000500, "step": null}', (NOON + 500, None, "a", 1.0)),
        ('{"timestamp": "2023-11-14T22:13:20Z", "a": 1}', (NOON, None, "a", 1.0)),
        ("a=1 timestamp=2023-11-14T22:13:20Z", (NOON, None, "a", 1.0)),
        ('{"a": "1e-3", "step": "7"}', (NOON, 7, "a", 0.001)),
        ('{"a": 1, "step": 3.0}', (NOON, 3, "a", 1.0)),
        ('{"a": 1, "step": -3e1}', (NOON, -30, "a", 1.0)),
        ('{"a": Infinity}', (NOON, None, "a", math.inf)),
        ('{"a": "-Infinity"}', (NOON, None, "a", -math.inf)),
        ('{"a": true}', (NOON, None, "a", 1.0)),
        (f'{{"a": {10**30}}}', (NOON, None, "a", 1e30)),
        ("a=inf", (NOON, None, "a", math.inf)),
        ('{"val loss": 2.0}', (NOON, None, "val loss", 2.0)),
        ('{"\\u00e9": 2.0}', (NOON, None, "é", 2.0)),
    ],
)
def test_numbers_steps_and_times_are_those_of_log_metric(line: str, meant: object) -> None:
    assert said(line) == [meant]
    assert said(f"{line}\n{line}") == [meant, meant]


BAD = {
    "garbage": "'garbage' is not KEY=VALUE",
    "loss=1_000": "the value of loss '1_000' is not a number",
    "loss=1 loss=2": "'loss' is given twice",
    "step=3": "no metrics are given",
    "{}": "no metrics are given",
    "loss=1 step=1.5": "step '1.5' is not a whole number",
    "loss=1 step=99999999999999999999": "step '99999999999999999999' is not a whole number",
    '{"loss": 1, "step": 9223372036854775808}': "does not fit 64 bits",
    '{"loss": 1, "step": 3.5}': "step must be a whole number, not 3.5",
    '{"loss": 1, "step": 1e300}': "step must be a whole number, not 1e+300",
    '{"loss": 1, "step": 9007199254740994.0}': "step must be a whole number, not 9007199254740994.0",
    '{"loss": 1, "step": true}': "step must be a whole number, not True",
    '{"loss": 1, "timestamp": -5}': "outside the years",
    '{"loss": 1, "loss": 2}': "'loss' is given twice",
    '{"loss": 1, "step": 2, "step": 3}': "'step' is given twice",
    '{"loss": null}': "must be one number, not None",
    '{"loss": {"a": 1}}': "is an object",
    '{"loss": [1]}': "must be one number, not [1]",
    '{"loss": "good"}': "is not a number",
    '{"loss": 1e999}': "larger than a double can hold",
    f'{{"loss": {"9" * 400}}}': "larger than a double can hold",
    f'{{"loss": {"9" * 5000}}}': "thousands of digits",
    '{"a,b": 1}': "has the character ','",
    '{"_step": 1}': "is reserved",
    '{"loss": 1': "is not valid JSON",
    '{"loss": 1} {"loss": 2}': "is not valid JSON",
    '{"a": 1},{"b": 2}': "is not valid JSON",
    "[1, 2]": "neither a JSON object nor KEY=VALUE",
    '{"a":' * 3000 + "1" + "}" * 3000: "nested",
    "loss=\ud800": "not UTF-8",
}  # fmt: skip


@pytest.mark.parametrize("line", BAD, ids=lambda line: ascii(line)[:30])
def test_a_bad_line_is_refused_with_its_reason_and_the_rest_goes_on(line: str) -> None:
    good = '{"loss": 0.5, "step": 1}'
    first, bad, last = said(f"{good}\n{line}\n{good}\n")
    assert first == last == (NOON, 1, "loss", 0.5)
    assert BAD[line] in bad
    assert bad.isprintable()
    assert len(bad) < 400


def test_bytes_that_are_no_text_spoil_their_own_line_alone() -> None:
    first, bad, last = said(decoded(b'{"a": 1}\n{"\xff": 1}\na=2\n'))
    assert (first[3], bad, last[3]) == (1.0, "the line is not UTF-8", 2.0)


PIECES = [
    '{"a": 1',
    '{"a": "',
    "}",
    '"}',
    '{"',
    '": 1}',
    ",",
    '{"a": 1}',
    '{"a": 1.5, "step": 3}',
    "[",
    "]",
    ":",
    "{",
    " ",
]


def test_lines_read_at_once_say_what_each_says_alone(course: Course) -> None:
    dice = course.dice
    for _ in range(course.many(3_000, 300_000)):
        lines = [
            "{" + "".join(dice.choices(PIECES, k=dice.randrange(4))) + "}" if dice.random() < 0.6 else '{"a": 1}'
            for _ in range(dice.randrange(1, 6))
        ]
        alone = [one for line in lines for one in said(line)]
        assert said("\n".join(lines)) == alone, lines


# ---- into the run


def line_of(dice: random.Random) -> str:
    """Some line, mostly good."""
    numbers = [
        "0.5",
        "-1e-3",
        "nan",
        "inf",
        "-inf",
        "0.0",
        "-0.0",
        "3",
        "1e308",
        "1.7976931348623157e308",
        "12345678901234567890",
    ]
    names = dice.sample(["a", "b", "val/loss", "c d"], dice.choice([1, 1, 1, 2, 3]))
    special = {}
    if dice.random() < 0.6:
        special["step"] = str(dice.choice([0, 1, 2, 5, -3, 2**63 - 1 if dice.random() < 0.03 else 7]))
    if dice.random() < 0.8:
        special["timestamp"] = str(NOON + dice.randrange(3))
    pairs = {**{name: dice.choice(numbers) for name in names}, **special}
    if dice.random() < 0.07:
        pairs[dice.choice(["a=b", "x", "_step"])] = dice.choice(["no", "1_0", ""])
    if dice.random() < 0.5 or "c d" in names:
        spelt = {"nan": '"NaN"', "inf": "Infinity", "-inf": '"-Infinity"', "no": '"no"', "1_0": '"1_0"', "": "null"}
        return "{" + ", ".join(f'"{key}": {spelt.get(value, value)}' for key, value in pairs.items()) + "}"
    return " ".join(f"{key}={value}" for key, value in pairs.items())


def by_single_calls(run: Run, lines: list[str]) -> list[str]:
    """Log lines with one call each; returns what was said of the bad ones."""
    bad = []
    for number, line in enumerate(lines, 1):
        try:
            given = (
                dict(json.loads(line)) if line.startswith("{") else dict(word.split("=", 1) for word in line.split())
            )
            step, time = given.pop("step", None), given.pop("timestamp", None)
            run.log_metrics(
                {key: trk_number(key, value) for key, value in given.items()},
                None if step is None else int(step), time,
            )  # fmt: skip
        except UsageError:
            bad.append(number)
    return bad


def trk_number(key: str, value: object) -> object:
    from trk.rules import parse_number

    return parse_number(value) if isinstance(value, str) else value


def test_lines_write_what_single_calls_write(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and live tables alike: names, steps, NaN, infinities, prefixes, what is refused."""
    monkeypatch.setattr("trk.run.now_ms", lambda: NOON)
    monkeypatch.setattr("trk.piping.now_ms", lambda: NOON)
    dice = course.dice
    for number in range(course.many(12, 2_000)):
        lines = [line_of(dice) for _ in range(dice.randrange(60))]
        prefix = dice.choice(["", "train/"])
        one, many = (trk.start(f"{name}{number}", key_prefix=prefix) for name in ("one", "many"))
        bad = by_single_calls(one, lines)
        pipe = Pipe(many)
        data = "\n".join(lines).encode()
        while data:
            size = dice.choice([1, 7, 100, 5_000])
            pipe.feed(data[:size])
            data = data[size:]
            if dice.random() < 0.2:
                pipe.flush()
        pipe.finish()
        assert readings(many) == readings(one)
        assert [line.number for line in pipe.report.bad_lines] == bad
        assert pipe.report.lines == len(lines) - len(bad) == len(readings(one)[0])


def test_log_lines_takes_texts_bytes_mappings_and_files(project: Path) -> None:
    (project / "metrics.jsonl").write_bytes(b'\xef\xbb\xbf{"loss": 0.5}\r\n\r\nloss=0.25\n{"loss": 0.125}')
    with trk.start("one", backends="none") as run:
        with open("metrics.jsonl", encoding="utf-8") as file:
            assert run.log_lines(file).lines == 3
        report = run.log_lines([b"loss=1\n", "", {"loss": 2, "step": 9}, '{"loss":\n 3}', "nonsense", {"loss": None}])
    assert (report.lines, report.points, report.bad, report.n, report.step) == (3, 3, 2, 6, 10)
    assert [line.number for line in report.bad_lines] == [5, 6]
    values = [point.value for point in trk.history("loss", run=run.id)]
    assert values == [0.5, 0.25, 0.125, 1.0, 2.0, 3.0]


def test_one_text_is_no_lines() -> None:
    run = trk.start("one")
    with pytest.raises(UsageError, match="not one str"):
        run.log_lines("loss=1")


def test_strict_stops_at_the_first_bad_line_with_those_before_it_logged() -> None:
    run = trk.start("one")
    with pytest.raises(UsageError, match=r"line 3: 'oops' is not KEY=VALUE"):
        run.log_lines(["a=1", "a=2", "oops", "a=3"], strict=True)
    with pytest.raises(UsageError, match=r"line 2: the next step, 9223372036854775808, does not fit"):
        run.log_lines([f"b=1 step={2**63 - 1}", "b=2", "b=3 step=1"], strict=True)
    assert [row[3:] for row in readings(run)[0]] == [("a", 0, 1.0), ("a", 1, 2.0), ("b", 2**63 - 1, 1.0)]


def test_a_step_after_the_last_is_refused_for_its_line_alone() -> None:
    run = trk.start("one")
    report = run.log_lines([f"b=1 step={2**63 - 1}", "b=2", "b=3 step=1", "c=1"])
    assert [(line.number, line.reason[:13]) for line in report.bad_lines] == [(2, "the next step")]
    assert (report.lines, report.n, report.step) == (3, 3, 0)


def test_lines_that_were_given_are_logged_when_the_giver_fails() -> None:
    run = trk.start("one")

    def giver():
        yield "a=1"
        raise KeyError("later")

    with pytest.raises(KeyError):
        run.log_lines(giver())
    assert run.record.metrics == {"a": 1.0}


def test_a_run_that_has_ended_takes_no_lines() -> None:
    run = trk.start("one")
    run.end()
    with pytest.raises(Conflict, match="has ended"):
        run.log_lines(["a=1"])


def test_a_line_that_is_too_long_is_skipped_wherever_it_is_cut() -> None:
    run = trk.start("one")
    for size in (1 << 16, 1_000_000):
        pipe = Pipe(run)
        long = b'{"' + b"x" * 3_000_000 + b'": 1}\n'
        data = b"a=1\n" + long + b"a=2\n" + long[:-1]
        for at in range(0, len(data), size):
            pipe.feed(data[at : at + size])
        pipe.finish()
        assert (pipe.report.lines, pipe.report.bad) == (2, 2)
        assert [(line.number, "more than 1,000,000 bytes" in line.reason) for line in pipe.report.bad_lines] == [
            (2, True), (4, True)
        ]  # fmt: skip


def test_answers_are_in_the_order_of_the_lines() -> None:
    run = trk.start("one")
    answers: list[Any] = []
    pipe = Pipe(run, answer=answers.extend)
    pipe.feed(b"a=1\n\nb=2 step=5\noops\na=3\n")
    assert answers == []
    pipe.flush()
    assert [one.message if isinstance(one, UsageError) else one for one in answers] == [
        (1, 0), None, (2, 5), "'oops' is not KEY=VALUE", (3, 1)
    ]  # fmt: skip


def test_several_streams_and_single_calls_at_once_never_collide() -> None:
    run = trk.start("one")

    def stream(name: str) -> None:
        run.log_lines(f"{name}={n}" for n in range(3_000))

    threads = [threading.Thread(target=stream, args=(name,)) for name in ("a", "b", "a")]
    for thread in threads:
        thread.start()
    for _ in range(50):
        run.log_metric("c", 1)
    for thread in threads:
        thread.join()
    rows, _ = readings(run)
    assert [row[0] for row in rows] == list(range(1, 9_051))
    assert sorted(row[4] for row in rows if row[3] == "a") == list(range(6_000))
