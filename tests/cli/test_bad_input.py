"""Bad input gets exit 2, one line that names the value and the rule, and writes nothing."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from trk import session

NAMES = [
    "",
    "x" * 251,
    "two\nlines",
    "bell\a",
    "\x1b[31m",
    "nul\0",
    "..",
    "../up",
    "a/../b",
    "a//b",
    "a/",
    "/abs",
    "a=b",
    "@f1",
    "f1[0]",
    "f1(x)",
    "a,b",
    'quo"te',
    "🎯",
    "\u202ef1",
    "f1\u200b",
    " f1",
    "f1 ",
    "\udcff",
]
NUMBERS = [
    "high",
    "",
    " ",
    "1e999",
    "-1e999",
    "0x10",
    "1,5",
    "1_000",
    " 3",
    "3 ",
    "١",
    "1" * 10_000,
    "--",
    "-",
    "1.2.3",
    "1e",
    "nano",
    "true",
    "None",
    "1j",
    "∞",
    "1\n",
    "\0",
    "½",
]
STEPS = ["9223372036854775808", "-9223372036854775809", "1.5", "+3", " 3", "1e3", "1_000", "", "three", "٣", "0x1"]
TIMES = ["yesterday", "0000-01-01", "9999-01-01", "1e300", "nan", "inf", "-1", "2026-13-01", "25:00", "", "²"]
TITLES = ["", " ", "@last", "x" * 251, "two\nlines", "\u202ename", "tab\t", "zero\u200bwidth", "\udcff", "nul\0"]
FILTERS = [
    "metrics.f1 > '",
    'params.a = "x',
    "metrics.f1 >",
    "nonsense = 1",
    "metrics.f1 > 0.5 or",
    "1=1; DROP TABLE runs",
    "metrics.f1 > 0.5 UNION SELECT 1",
    "params.a = 'x' --",
    "(" * 5_000,
    "",
]

LINES: list[list[str]] = [
    *(["log-metric", "--", name, "1"] for name in [*NAMES, "trk/step", "_step", "_timestamp"]),
    *(["log-param", "--", name, "1"] for name in NAMES),
    *(["set-tag", "--", name, "1"] for name in [*NAMES, "trk.run_id"]),
    *(["define-metric", "--mode", "max", "--", name] for name in NAMES),
    *(["log-metrics", "good=1", f"{name}=1"] for name in NAMES if "=" not in name and name != "@f1"),
    *(["log-summary", "good=1", f"{name}=1"] for name in NAMES if "=" not in name and name != "@f1"),
    *(["log-metric", "f1", "--", number] for number in NUMBERS),
    *(["log-metrics", "good=1", f"f1={number}"] for number in NUMBERS),
    *(["log-metric", "f1", "1", f"--step={step}"] for step in STEPS),
    *(["log-metric", "f1", "1", f"--timestamp={time}"] for time in TIMES),
    *(["log-metrics", "f1=1", "--step", step] for step in STEPS[:3]),
    *(["ls", f"--filter={text}"] for text in FILTERS if text),
    *(["best", "--metric", "f1", "--filter", text] for text in FILTERS if text),
    *(["ls", "--sort", text] for text in ("nonsense", "metrics.", "; DROP TABLE runs")),
    *(["best", "--metric", name, "--mode", "max"] for name in ("", "a=b", "\n")),
    ["set-tag", "note", "\udcff"],
    ["set-tag", "note", "nul\0"],
    ["log-param", "note", "\udcff"],
    ["log-metrics", "f1=1", "f1=2"],
    ["log-metrics", "f1"],
    ["log-metrics", "@"],
    ["log-summary", "note=\udcff"],
    ["log-metric", "f1", "1", "--run", ""],
]
NOT_FOUND = [["log-metric", "f1", "1", "--run", ""]]


def journal_content() -> list[Any]:
    journal = session.existing_journal(session.find_folder())
    assert journal is not None
    tables = ("runs", "rows", "metrics", "params", "tags", "definitions")
    return [journal.read(f"SELECT * FROM {table}") for table in tables]


def refused(call: Any, *words: str, code: int = 2) -> str:
    """The one line that the command line is refused with; nothing is written."""
    before = journal_content()
    done = call(*words)
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("trk: ")
    assert done.err.count("\n") == 1
    assert done.err[:-1].isprintable()
    assert len(done.err) < 400
    assert journal_content() == before
    return str(done.err)


def test_bad_words_are_refused_in_one_line_and_nothing_is_written(call: Any, open_run: str) -> None:
    for words in LINES:
        try:
            refused(call, *words, code=4 if words in NOT_FOUND else 2)
        except AssertionError as problem:
            raise AssertionError(f"{[word[:80] for word in words]}: {problem}") from None


@pytest.mark.parametrize(
    "words",
    [
        *([title] for title in TITLES if title),
        [""],
        *(["one", "-e", title] for title in TITLES),
        *(["--tag", f"{name}=1"] for name in ("", "a//b", "\n", "trk.x")),
        *(["--param", f"{name}=1"] for name in ("", "a//b", "\n")),
        ["--tag", "a"],
        ["--tag", "a=1", "--tag", "a=2"],
        ["--param", "a=\udcff"],
        ["--description", "\udcff"],
        ["--key-prefix", "/up"],
        ["--key-prefix", "../"],
        ["--key-prefix", "a=b"],
        ["--step-metric", "a=b"],
        ["--capture", "everything"],
        ["-b", "nonsense"],
        ["--timeout", "soon"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
    ],
    ids=lambda words: ascii(words)[:60],
)
def test_a_start_that_is_refused_leaves_no_folder(words: list[str], call: Any, project: Path) -> None:
    done = call("start", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert list(project.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.json", b"", "is not valid JSON"),
        ("empty.yaml", b"", "must be a mapping"),
        ("cut.json", b'{"lr": 0.1', "is not valid JSON"),
        ("nan.json", b'{"lr": NaN}', "NaN is not JSON"),
        ("list.json", b"[1]", "must be a mapping"),
        ("twice.json", b'{"lr": 1, "lr": 2}', "'lr' is given twice"),
        ("twice.yaml", b"lr: 1\nlr: 2\n", "'lr' is given twice"),
        ("twice.toml", b"lr = 1\nlr = 2\n", "is not valid TOML"),
        ("deep.json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        ("deeper.json", b'{"a":' * 300 + b"1" + b"}" * 300, "nested too deeply"),
        ("deep.yaml", b"a: " + b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        ("binary.json", bytes(range(256)), "is not UTF-8"),
        ("wide.yaml", "lr: 1".encode("utf-16"), "is not UTF-8"),
        ("tag.yaml", b"lr: !!python/object/apply:os.system [true]", "is not valid YAML"),
        ("date.yaml", b"since: 2026-13-45", "is not valid YAML"),
        ("keys.yaml", b"1: 2", "must be a mapping of names"),
        ("name.json", b'{"a//b": 1}', "not a plain path"),
        ("digits.json", b'{"lr": ' + b"1" * 5_000 + b"}", "is not valid JSON"),
        ("text.txt", b"lr=1", "must end in"),
        ("none", b"lr=1", "must end in"),
    ],
)
def test_a_bad_file_is_refused_by_its_name(
    name: str, content: bytes, says: str, call: Any, open_run: str, project: Path
) -> None:
    (project / name).write_bytes(content)
    line = refused(call, "log-params", f"@{name}")
    assert says in line
    assert says == "not a plain path" or name in line


def test_a_yaml_file_that_says_billions_is_refused_at_once(call: Any, open_run: str, project: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (project / "laughs.yaml").write_text("\n".join(lines))
    assert "holds more than" in refused(call, "log-params", "@laughs.yaml")


def test_what_is_no_file_is_refused(call: Any, open_run: str, project: Path) -> None:
    (project / "folder.json").mkdir()
    (project / "loop.json").symlink_to("loop.json")
    (project / "gone.json").symlink_to("nowhere.json")
    os.mkfifo(project / "fifo.json")
    with (project / "big.json").open("wb") as big:
        big.truncate(5_000_000_000)  # sparse: takes no room
    names = ["folder", "loop", "gone", "fifo", "big", "missing", "nul\0", "x" * 300, "a/b/c"]
    for name in names:
        refused(call, "log-params", f"@{name}.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(call: Any, open_run: str, project: Path) -> None:
    (project / "a.json").write_text("{}")
    (project / "a.json").chmod(0)
    assert "can't be read" in refused(call, "log-params", "@a.json")


@pytest.mark.parametrize("name", ["with space.json", "new\nline.json", "-x.json", "\udcff.json", "@a.json", "é.JSON"])
def test_a_file_may_be_called_anything(name: str, call: Any, open_run: str, project: Path) -> None:
    (project / name).write_text('{"depth": 3}')
    assert call("log-params", f"@{name}").code == 0
    assert call("show", "--field", "params.depth").out == "3\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no params are given"),
        (b"\n\n", "no params are given"),
        (b'{"lr": 1', "standard input is not valid JSON"),
        (b'{"lr": 1, "lr": 2}', "'lr' is given twice"),
        (b"lr=1\nnonsense\n", "line 2"),
        (b"lr=1\nlr=2\n", "line 2"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"=1", "param name is empty"),
    ],
)
def test_bad_standard_input_is_refused(
    content: bytes, says: str, call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert says in refused(call, "log-params", "-")


def test_what_is_unusual_but_meant_is_taken(call: Any, open_run: str) -> None:
    for value in ("nan", "NaN", "inf", "-inf", "+Infinity", "-.5", "5.", "1e-320", "1.797e308", "0" * 399 + "1"):
        assert call("log-metric", "odd", "--", value).code == 0, value
    for step in ("-9223372036854775808", "9223372036854775807", "-1", "007"):
        assert call("log-metric", "odd", "1", "--step", step).code == 0, step
    assert call("log-metric", "odd", "1").code == 2  # there is no next step after the largest
    for name in ("é", "日本", "a.b", "val/f1-macro", "x" * 250, "with space", "a:b", "-x", "--step"):
        assert call("log-metric", "--", name, "1").code == 0, name
    long = "x" * 100_000
    assert call("log-param", "long", long).code == 0
    assert call("show", "--field", "params.long").out == long + "\n"
    assert call("log-param", "empty", "").code == 0
    assert call("set-tag", "lines", "two\nlines\t\x1b[31m").code == 0
    assert call("show", "--field", "tags.lines").out == "two\nlines\t\\x1b[31m\n"
