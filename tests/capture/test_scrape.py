"""Metrics in what programs print: what is found, what is left, and that nothing is too odd to be read."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk.capture.scrape import LONGEST, Scraper, by_pattern, compiled
from trk.errors import UsageError

FOUND = {
    "loss: 0.3 (step 12)": ({"loss": 0.3}, 12),
    "step 12, loss = 0.3": ({"loss": 0.3}, 12),
    "loss=0.3 val/acc=93%": ({"loss": 0.3, "val/acc": 93.0}, None),
    "phase=train loss=0.3 time=3.2s step=4": ({"loss": 0.3}, 4),
    "loss: 0.35(step 12)": ({"loss": 0.35}, 12),
    "loss=0.53(0.61)": ({"loss": 0.53}, None),
    "loss: 1e5(step 3)": ({"loss": 1e5}, 3),
    "2024-01-01 10:00:00,123 INFO loss: 0.3 (step 2)": ({"loss": 0.3}, 2),
    "10:00:00 loss=0.3": ({"loss": 0.3}, None),
    "Adam(lr=0.1) loss: 0.3": ({"loss": 0.3}, None),
    "Iteration 200, loss = 0.52": ({"loss": 0.52}, 200),
    '{"step": 12, "loss": 0.3, "version": 2, "eval": {"f1": 0.9}, "ok": true}': ({"loss": 0.3, "eval/f1": 0.9}, 12),
    "{'loss': 0.3, 'epoch': 1.5}": ({"loss": 0.3, "epoch": 1.5}, None),
    "{'loss': '0.3', 'epoch': '1.5'}": ({"loss": 0.3, "epoch": 1.5}, None),
    "Epoch [2/5], Step [100/600], Loss: 0.4": ({"Loss": 0.4}, 700),
    "2024-01-01 10:00:00,123 - INFO - val_loss: 0.3": ({"val_loss": 0.3}, None),
    "[2024-01-01 10:00:00] epoch=4 loss=-1e-3": ({"loss": -1e-3}, 4),
    "INFO:train:loss: .5": ({"loss": 0.5}, None),
    "Train Loss: 0.5 | Test accuracy: 93.5%": ({"Train Loss": 0.5, "Test accuracy": 93.5}, None),
    "Epoch 3/10 - loss: 0.1 - acc: 0.9": ({"loss": 0.1, "acc": 0.9}, 3),
    "F1: 0.93 (+/- 0.02)": ({"F1": 0.93}, None),
    "Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.25": ({"Loss": 2.25}, None),
    "11/22 03:26:04 - loss: 0.5": ({"loss": 0.5}, None),
    "mAP@0.5: 0.7": ({"mAP_0.5": 0.7}, None),
    "grad_norm: inf": ({"grad_norm": math.inf}, None),
    '{"grad_norm": Infinity, "step": 12.0}': ({"grad_norm": math.inf}, 12),
    '{"loss": 1e999, "acc": -1e999, "f1": 0.5}': ({"f1": 0.5}, None),
    "{'loss': 1e999, 'acc': -1e999, 'f1': 0.5}": ({"f1": 0.5}, None),
    "loss=1e999 f1=0.5": ({"f1": 0.5}, None),
    "100%|####| 10/10 [00:01<00:00, 9.9it/s, loss=0.3]": ({"loss": 0.3}, 10),
}
JUNK = (
    "Python: 3.11", "torch version: 2.1", "numpy=1.26", "time: 12:30:01", "date: 2024-01-02", "time=3.2", "eta: 5",
    "listening on 127.0.0.1:8080", "addr: 10.0.0.1", "http://localhost:8080/?a=1&b=2", "localhost:8080", "redis:6.2",
    "port=8080 host=1", "Config(lr=0.1, n=3)", "Namespace(lr=0.1, epochs=3)", "Model(block=Block(width=3))",
    "Config(lr=0.1, opt=Adam(lr=0.2), wd=0.3)",
    "params: 1,234,567", "took: 3.2s", "size: 3GB", "train.py:10: loss", "OMP_NUM_THREADS=4", "seed: 42", "pid=123",
    "python train.py --lr=0.1", "Found 3 files: 10", "0x7ffe: 12", "x=1.2.3", "loss: 0,5", "rank: 0", "device: 0",
    'File "train.py", line 3', "loss", "0.3", "", "=", ":", '"loss": 0.3,', "acc: 90/100", "a=0x10", "n=1_000",
    "loss: 1e999", "loss:0.5", "Epoch 3/10", "deadbeef: 12ab", "key='loss: 3'", "x: 1e", "commit: 1234567",
    "exit code: 1",
)  # fmt: skip


def read(*lines: str) -> list[tuple[dict[str, float], int | None]]:
    scraper = Scraper()
    found = [one for line in lines for one in scraper.read(line)] + scraper.end()
    return [(dict(one.values), one.step) for one in found]


@pytest.mark.parametrize("line", FOUND)
def test_metrics_are_found_as_the_help_says(line: str) -> None:
    assert read(line) == [FOUND[line]]


@pytest.mark.parametrize("line", JUNK)
def test_what_is_no_metric_is_left(line: str) -> None:
    assert read(line) == []


def test_an_epoch_of_its_own_line_counts_for_the_next_ones() -> None:
    keras = [
        "Epoch 1/2",
        "1/9 ━━━━━━━━━━━ 1s 3ms/step - loss: 3.0",
        "9/9 ━━━━━━━━━━━ 1s 3ms/step - loss: 2.0",
        "Epoch 2/2",
        "9/9 - 0s - 2ms/step - loss: 1.0 - val_loss: 1.5",
    ]
    assert read(*keras) == [({"loss": 2.0}, 1), ({"loss": 1.0, "val_loss": 1.5}, 2)]


def test_lines_that_begin_with_a_day_are_no_bar() -> None:
    said = [f"11/22 03:26:0{at} AM - loss: 0.{at}" for at in range(1, 4)]
    assert read(*said) == [({"loss": 0.1}, None), ({"loss": 0.2}, None), ({"loss": 0.3}, None)]


def test_of_a_bar_within_an_epoch_the_last_state_counts() -> None:
    bars = [f"Epoch {epoch}: {n * 10}%|#| {n}/10 [0:01<0:02, 3it/s, loss={n}]" for epoch in (0, 1) for n in (1, 5, 9)]
    assert read(*bars) == [({"loss": 9.0}, 0), ({"loss": 9.0}, 1)]
    alone = [f" {n * 10}%|# | {n}/10 [0:01<0:02, 3it/s, loss={n}]" for n in (1, 2, 2, 10)]
    assert read(*alone) == [({"loss": 1.0}, 1), ({"loss": 2.0}, 2), ({"loss": 10.0}, 10)]


@given(st.lists(st.text(max_size=200), max_size=5))
def test_no_line_is_too_odd(lines: list[str]) -> None:
    for values, step in read(*lines):
        assert values
        assert all(isinstance(value, float) for value in values.values())
        assert step is None or 0 <= step < 2**63


@given(st.text(alphabet="aloss:=|,-[]()/{}'\"%0123456789. eE#━\t", max_size=120))
def test_no_line_of_such_signs_is_too_odd(line: str) -> None:
    read(line)


names = st.from_regex(r"(train|val)_[bcdfgk]{2,8}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(names, numbers, min_size=1, max_size=4), st.integers(0, 10**9))
def test_what_is_printed_in_one_of_the_known_ways_comes_back(values: dict[str, float], step: int) -> None:
    pairs = [f"{name}: {value!r}" for name, value in values.items()]
    equal = " ".join(f"{name}={value!r}" for name, value in values.items())
    for line in (
        f"{', '.join(pairs)} (step {step})",
        f"step {step} - {' - '.join(pairs)}",
        f"Epoch {step}: {equal}",
        f"| step: {step} | {' | '.join(pairs)} |",
        json.dumps({"step": step, **values}),
        f"x: 50%|##  | {step}/0 [00:01<00:01, 1.0it/s, {', '.join(equal.split())}]",
    ):
        assert read(line) == [(values, step)]


@given(st.integers(0, 255), st.integers(0, 255), st.integers(1, 65535), st.integers(0, 59))
def test_addresses_times_and_versions_never_come_back(a: int, b: int, port: int, minute: int) -> None:
    host = f"{a}.{b}.{a}.{b}"
    for text in (host, f"{host}:{port}", f"{a}:{minute:02d}", f"{a}:{minute:02d}:{b % 60:02d}.5", f"v{a}.{b}.{port}"):
        for line in (text, f"at {text}", f"server: {text}", f"x={text}", f"[{text}]", f"http://{text}/?x={a}"):
            assert read(line) == []


@pytest.mark.parametrize(
    "unit", ["a ", "a=1 ", "(", "x(", " - ", "1", "step ", "|", "1%|", "9/", "━", "[1/1", ": ", "a_"]
)
def test_long_lines_are_read_in_bounded_time_and_too_long_ones_not_at_all(unit: str) -> None:
    line = (unit * LONGEST)[: LONGEST - 8] + "loss=1"
    for end in ("", ":", "=1"):
        read(line + end)  # quadratic, it would hang
    assert read("x" * LONGEST + " loss: 1") == []


def test_patterns_name_their_metrics_in_one_of_two_ways() -> None:
    pair, named = compiled([r"(?P<key>\w+) is (?P<value>\S+)(?: at (?P<step>\d+))?", r"after (?P<step>\d+): (?P<r>.*)"])
    assert [(dict(one.values), one.step) for one in by_pattern(pair, "loss is 0.3 at 7, acc is 90%")] == [
        ({"loss": 0.3}, 7),
        ({"acc": 90.0}, None),
    ]
    assert [(dict(one.values), one.step) for one in by_pattern(named, "after 12: 0.5")] == [({"r": 0.5}, 12)]
    assert list(by_pattern(named, "after 12: unknown")) == []


@pytest.mark.parametrize("pattern", ["(", "loss", "(?P<key>a)", "(?P<value>a)", "(?P<step>a)", "(?P<1>a)"])
def test_a_pattern_that_can_not_be_meant_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="--pattern"):
        compiled([pattern])
