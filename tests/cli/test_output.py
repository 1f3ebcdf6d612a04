"""What is printed, in every format, and that nothing printed can act."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

import trk
from cli.conftest import Call
from helpers import child_environment, program
from helpers import trk as trk_command
from trk.errors import Conflict, NotFound, TrkError, UsageError
from trk.records import Best, BestRun, Delivery, MetricPoint, Rejection, RunRecord, Status
from trk.rules import parse_number
from trk_cli import forms, output, render
from trk_cli.output import Column, Listing, OutputOptions, Single, Text, show
from trk_cli.results import Seconds

ROOT = Path(__file__).parents[2]
RUN_ID = "01k0abcdefghjkmnpqrstvwxyz"
START = datetime(2026, 11, 21, 7, 27, 0, 123_000, UTC)

RUN = RunRecord(
    run_id=RUN_ID,
    name="first",
    experiment="exp",
    status=Status.FINISHED,
    source="local",
    start_time=START,
    end_time=START + timedelta(seconds=12.3),
    params={"lr": "0.1", "net.depth": "3", "net": "wide"},
    metrics={"f1": 0.91, "val.f1": 0.9, "nan": math.nan, "up": math.inf, "down": -math.inf},
    tags={"stage": "prod"},
    backends={
        "mlflow": Delivery("m1", "http://x/1", 12, 10, 1, 1, 0, (Rejection(7, "metric", "bad", "too big"),), None)
    },
)

ROWS = [
    [RUN_ID, "first", 0.1234567890123, 3, START],
    ["01k0000000000000000000000b", "a|b\n\x1b[31m", math.nan, None, None],
]
LISTING = Listing((Column("run_id", keep=True), "name", Column("f1", keep=True), "step", "start"), ROWS, ids=[RUN_ID])


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(result: Any, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    show(result, OutputOptions(**options))
    return capsys.readouterr().out


def on_terminal(result: Any, monkeypatch: pytest.MonkeyPatch, columns: int, **environment: str) -> str:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": str(columns), **environment}.items():
        monkeypatch.setenv(name, value)
    show(result, OutputOptions())
    return screen.getvalue()


def test_a_pipe_gets_plain_lines_with_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(LISTING, capsys) == (
        "run_id\tname\tf1\tstep\tstart\n"
        f"{RUN_ID}\tfirst\t0.1234567890123\t3\t2026-11-21T07:27:00.123Z\n"
        "01k0000000000000000000000b\ta|b\\n\\x1b[31m\tNaN\t\t\n"
    )


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(LISTING, capsys, format="csv") == (
        "run_id,name,f1,step,start\n"
        f"{RUN_ID},first,0.1234567890123,3,2026-11-21T07:27:00.123Z\n"
        '01k0000000000000000000000b,"a|b\n\\x1b[31m",NaN,,\n'
    )


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(LISTING, capsys, format="markdown") == (
        "| run\\_id | name | f1 | step | start |\n"
        "| --- | --- | ---: | ---: | --- |\n"
        f"| {RUN_ID} | first | 0.1234567890123 | 3 | 2026-11-21T07:27:00.123Z |\n"
        "| 01k0000000000000000000000b | a&#124;b\\\\n\\\\x1b\\[31m | NaN |  |  |\n"
    )


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(LISTING, monkeypatch, 100, NO_COLOR="1") == (
        "run_id                      name                 f1  step  start\n"
        f"{RUN_ID}  first          0.123457     3  2026-11-21 07:27Z\n"
        "01k0000000000000000000000b  a|b\\n\\x1b[31m       NaN\n"
    )


def test_json_is_one_line_in_a_pipe_and_indented_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing(("a", "b"), [[1, math.nan]])
    assert printed(listing, capsys, format="json") == '[{"a": 1, "b": "NaN"}]\n'
    monkeypatch.setattr(sys, "stdout", Terminal())
    show(listing, OutputOptions(format="json"))
    assert sys.stdout.getvalue() == '[\n  {\n    "a": 1,\n    "b": "NaN"\n  }\n]\n'  # type: ignore[attr-defined]  # a StringIO


def test_one_record_is_its_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"run_id": "x", "params": {"lr": "0.1"}, "tags": {}, "value": 0.5, "end": None, "list": [1, True]}
    lines = printed(Single(data), capsys).splitlines()
    assert lines == ["run_id\tx", "params.lr\t0.1", "value\t0.5", "end\t", "list.0\t1", "list.1\ttrue"]
    assert printed(Single(data), capsys, format="csv").startswith("field,value\nrun_id,x\n")


def test_text_is_printed_as_it_is_but_cannot_act(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(Text("one\n\ttwo\x1b[31m"), capsys) == "one\n\ttwo\\x1b[31m\n"
    assert printed(Text("x\n"), capsys, format="csv") == "x\n"
    assert printed(Text(""), capsys) == ""
    assert printed(Text("id", data={"run_id": "id"}), capsys, format="json") == '{"run_id": "id"}\n'


def test_quiet_prints_ids_only_and_no_talk(capsys: pytest.CaptureFixture[str]) -> None:
    listing = Listing(("a",), [["x"]], ids=["id1", "id2"], notes=["said"], warnings=["warned"])
    show(listing, OutputOptions(quiet=True))
    assert capsys.readouterr() == ("id1\nid2\n", "trk: warning: warned\n")
    show(listing, OutputOptions(format="csv", quiet=True, warnings=False))
    assert capsys.readouterr() == ("a\nx\n", "")
    show(listing, OutputOptions())
    assert capsys.readouterr() == ("a\nx\n", "said\ntrk: warning: warned\n")


@pytest.mark.parametrize(
    ("chosen", "out"),
    [("plain", ""), ("table", ""), ("csv", "a,b\n"), ("tsv", "a\tb\n"), ("json", "[]\n")],
)
def test_nothing_found_is_said_on_stderr(chosen: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Listing(("a", "b"), [], empty="no runs"), OutputOptions(format=chosen))
    assert capsys.readouterr() == (out, "" if chosen == "json" else "no runs\n")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="format 'xml' is not one of table, json, csv"):
        show(LISTING, OutputOptions(format="xml"))


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.error(Conflict("run 'a\nb' is active", hint="trk end\x1b[31m"))
    output.error(TrkError("plain"))
    assert capsys.readouterr().err == "trk: run 'a\\nb' is active (trk end\\x1b[31m)\ntrk: plain\n"
    output.error(Conflict("é\u202e\n", hint=None), as_json=True)
    line = capsys.readouterr().err
    assert line == '{"error": {"code": "conflict", "message": "é\\u202e\\n", "hint": null}}\n'
    assert json.loads(line)["error"]["message"] == "é\u202e\n"


def test_an_error_needs_no_heavy_import() -> None:
    code = (
        "import sys; from trk_cli import output; from trk.errors import UsageError; output.error(UsageError('x'));"
        "heavy = {'rich', 'json', 'dataclasses', 'typing', 're', 'csv', 'inspect', 'typer'} & set(sys.modules);"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    # -S: site-packages' .pth files import what they like
    done = subprocess.run([sys.executable, "-S", "-c", code], env=paths(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "trk: x\n")


def test_run_json_has_every_promised_key() -> None:
    assert output.run_json(RUN) == {
        "run_id": RUN_ID,
        "name": "first",
        "experiment": "exp",
        "status": "FINISHED",
        "source": "local",
        "start_time": "2026-11-21T07:27:00.123Z",
        "end_time": "2026-11-21T07:27:12.423Z",
        "duration_s": 12.3,
        "parent_id": None,
        "params": {"lr": "0.1", "net.depth": "3", "net": "wide"},
        "metrics": {"f1": 0.91, "val.f1": 0.9, "nan": "NaN", "up": "Infinity", "down": "-Infinity"},
        "tags": {"stage": "prod"},
        "backends": {
            "mlflow": {
                "run_id": "m1",
                "url": "http://x/1",
                "logged": 12,
                "delivered": 10,
                "pending": 1,
                "rejected": 1,
                "skipped": 0,
                "rejections": [{"n": 7, "kind": "metric", "key": "bad", "reason": "too big"}],
                "last_error": None,
            }
        },
    }


def test_best_and_points() -> None:
    found = output.best_json(BestRun(RUN, Best("f1", 0.93, 12, "max", "best"), {"loss": math.nan}))
    assert found["run_id"] == RUN_ID
    assert found["best"] == {"metric": "f1", "value": 0.93, "step": 12, "mode": "max", "agg": "best"}
    assert found["at_step"] == {"loss": "NaN"}
    assert output.point_json(MetricPoint("r", "f1", 0, 1_795_246_020_123, 0.9)) == {
        "run_id": "r",
        "metric": "f1",
        "step": 0,
        "time": "2026-11-21T07:27:00.123Z",
        "value": 0.9,
    }


def test_times_are_utc() -> None:
    assert forms.iso(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2025-12-31T23:00:00.000Z"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("params.lr", "0.1"),
        ("params.net", "wide"),
        ("params.net.depth", "3"),
        ("metrics.val.f1", "0.9"),
        ("metrics.nan", "NaN"),
        ("parent_id", ""),
        ("duration_s", "12.3"),
        ("backends.mlflow.rejections.0.reason", "too big"),
        ("tags", '{"stage": "prod"}'),
    ],
)
def test_field_prints_one_bare_value(path: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(Single(output.run_json(RUN)), capsys, field=path) == value + "\n"


def test_a_missing_field_names_what_is_near() -> None:
    with pytest.raises(NotFound) as caught:
        output.field(output.run_json(RUN), "params.lrr")
    assert "params.lrr" in caught.value.message
    assert "params.lr" in (caught.value.hint or "")
    with pytest.raises(NotFound) as caught:
        output.field({"one": 1}, "zzzzzzz")
    assert caught.value.hint == "fields: one"
    for path in ("", "x" * 2000):
        with pytest.raises(UsageError, match="is not a path"):
            output.field({}, path)


def test_a_field_of_a_list_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    listing = Listing(("a",), [["x"]], data=[{"a": {"b": 1}}, {"a": {}}, {"a": {"b": 3}}])
    assert printed(listing, capsys, field="a.b") == "1\n\n3\n"
    assert printed(listing, capsys, field="2.a.b") == "3\n"
    with pytest.raises(NotFound):
        printed(listing, capsys, field="a.c")


def test_no_color_and_a_dumb_terminal_get_no_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[1m" in on_terminal(LISTING, monkeypatch, 80)
    assert "\x1b" not in on_terminal(LISTING, monkeypatch, 80, NO_COLOR="1")
    assert "\x1b" not in on_terminal(LISTING, monkeypatch, 80, TERM="dumb")


def test_what_does_not_fit_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (Column("run_id", keep=True), *[f"metric{i}" for i in range(9)], Column("value", keep=True))
    listing = Listing(columns, [[RUN_ID, *[1.23456e-100] * 9, -1.23456e-300]])
    screen = on_terminal(listing, monkeypatch, 60, NO_COLOR="1")
    assert RUN_ID in screen
    assert "-1.23456e-300" in screen
    assert "not shown in 60 columns: metric1, metric2" in capsys.readouterr().err
    assert max(map(len, screen.splitlines())) <= 60


def test_rich_markup_is_not_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(Listing(("[red]a[/red]",), [["[link=http://x]y[/link] :smile:"]]), monkeypatch, 80)
    assert "[red]a[/red]" in screen
    assert "[link=http://x]y[/link] :smile:" in screen


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-rm", "'-rm"),
        ("+cmd|'x'!A0", "'+cmd|'x'!A0"),
        ("\tx", "'\tx"),
        ("-0.5", "-0.5"),
        ("-inf", "-inf"),
        ("+1e3", "+1e3"),
        ("a=b", "a=b"),
        ("-1+cmd", "'-1+cmd"),
    ],
)
def test_no_text_is_a_formula_in_a_spreadsheet(text: str, cell: str) -> None:
    assert next(csv.reader(io.StringIO(render.csv(Listing((text,), []))))) == [cell]
    assert render.tsv(Listing((text,), [])) == cell.replace("\t", "\\t") + "\n"


def test_numbers_are_never_taken_for_formulas() -> None:
    assert render.csv(Listing(("a",), [[-0.5], [-math.inf], [-3]])) == "a\n-0.5\n-Infinity\n-3\n"


def test_links_and_mentions_are_inert_in_markdown() -> None:
    shown = render.markdown_text("[x](http://evil) www.evil.org @all <b> `c` *d* _e_ ~~f~~ $g$ \\|")
    for active in ("://", "www.", "@", "<b>", " `c", " *d", " _e", " ~~", "$", "|", " [x"):
        assert active not in shown


def test_table_numbers_have_six_digits_and_machines_get_all() -> None:
    assert [render.short(value) for value in (0.1 + 0.2, 1e22, 1234567, 2.0, True, None)] == [
        "0.3",
        "1e+22",
        "1234567",
        "2",
        "true",
        "",
    ]
    assert render.exact(0.1 + 0.2) == "0.30000000000000004"


# Streams that are closed, gone, full or narrow: the real thing, in a process of its own.

PROGRAM = """
import sys
from trk_cli import output
from trk.errors import TrkError
try:
    output.show(output.Listing(("a", "b"), [["é", i] for i in range(int(sys.argv[1]))]), output.OutputOptions())
    output.show(output.Text("é", data=["é"]), output.OutputOptions(format="json"))
except TrkError as raised:
    output.error(raised)
    sys.exit(raised.exit_code)
"""


def paths(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}/tracker{os.pathsep}{ROOT}/cli", **more}


def in_a_shell(command: str, rows: int = 3, **environment: str) -> subprocess.CompletedProcess[bytes]:
    line = f'"{sys.executable}" -c "$PROGRAM" {rows} {command}'
    shell = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(shell, env=paths(PROGRAM=PROGRAM, **environment), capture_output=True)


def test_a_reader_that_leaves_is_no_error() -> None:
    done = in_a_shell("| head -1", rows=200_000)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\tb\n", b"")


@pytest.mark.parametrize("command", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(command: str) -> None:
    done = in_a_shell(command)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    done = in_a_shell("> /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"trk: the answer can't be written to standard output: No space left on device\n"


def test_an_output_that_cannot_hold_a_letter_shows_it_escaped() -> None:
    done = in_a_shell("", rows=1, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, b'a\tb\n\\xe9\t0\n["\\u00e9"]\n')


# Hostile text, in every place that a user's text can come to.

nasty = st.text(
    st.sampled_from(
        "\x1b\x00\x07\x9b\u202e\u2066\u200b\u2028\x85\x7f\ud800\r\n\t|<>&`[]*_\\\"',;=+-@#!é日 aﬁ\U000e0041"
    )
)
texts = nasty | st.text() | st.sampled_from(["\x1b]8;;http://x\x1b\\", "[bold]x[/bold]", "| a | b |", "---"])
cells = st.none() | texts | st.integers() | st.floats() | st.booleans()
ids = st.just(RUN_ID)


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    titles = draw(st.lists(texts, max_size=4))
    rows = draw(st.lists(st.tuples(ids, st.floats(), *[cells for _ in titles]), min_size=1, max_size=4))
    heads = (Column("run_id", keep=True), Column("value", keep=True), *titles)
    return Listing(heads, [list(row) for row in rows])


def acting(text: str) -> list[str]:
    return [char for char in text if char != "\n" and forms.acts(char)]


@given(listings())
@example(Listing((Column("run_id", keep=True), Column("value", keep=True)), [[RUN_ID, -1.7976931348623157e308]]))
def test_csv_reads_back_as_the_same_cells(listing: Listing) -> None:
    text = render.csv(listing)
    assert not [char for char in acting(text) if char != "\t"]
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    given_rows = [[column.title for column in listing.heads], *listing.rows]
    assert len(read) == len(given_rows)
    for back, row in zip(read, given_rows, strict=True):
        for cell, given_cell in zip(back, row, strict=True):
            safe = forms.escape(render.exact(given_cell), keep="\n\t")
            if isinstance(given_cell, str) and cell != safe:
                assert cell == "'" + safe
                assert safe[0] in "=+-@＝＋－＠\t\n\\"
            else:
                assert cell == safe
            if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
                parse_number(cell)


def gfm_cells(line: str) -> list[str]:
    assert line.startswith("| ")
    assert line.endswith(" |")
    return re.split(r"(?<!\\)\|", line)[1:-1]


@given(listings())
def test_a_markdown_table_keeps_its_columns(listing: Listing) -> None:
    text = render.markdown(listing)
    assert not acting(text)
    lines = text.split("\n")[:-1]
    assert len(lines) == len(listing.rows) + 2
    for line in lines:
        assert len(gfm_cells(line)) == line.count("|") - 1 == len(listing.columns)
        assert "<" not in line
        assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]]", line)


@given(listings())
def test_plain_and_tsv_lines_have_one_number_of_tabs(listing: Listing) -> None:
    for text in (render.plain(listing), render.tsv(listing)):
        lines = text.splitlines()
        assert len(lines) == len(listing.rows) + 1
        assert {line.count("\t") for line in lines} == {len(listing.columns) - 1}
        assert not [char for char in acting(text) if char != "\t"]


@given(listings(), st.sampled_from([60, 60, 45, 20, 200]))
@settings(deadline=None)  # the first call imports rich
def test_a_table_keeps_run_and_value_at_any_width(listing: Listing, width: int) -> None:
    text, dropped = render.table(listing, width=width, terminal=False)
    assert not acting(text)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert len(dropped) <= len(listing.columns) - 2
    if width >= 60:
        for row in listing.rows:
            assert RUN_ID in text
            assert render.short(row[1]) in text


@given(st.recursive(cells, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8))
def test_json_reads_back_and_holds_nothing_that_acts(value: Any) -> None:
    for ascii_only in (False, True):
        text = forms.dumps(value, ascii_only=ascii_only)
        assert not acting(text)
        assert "\n" not in text
        assert json.loads(text) == forms.jsonable(value)
        assert text.isascii() or not ascii_only


@given(st.dictionaries(texts, cells | st.dictionaries(texts, cells)), texts)
def test_any_path_finds_or_is_refused(value: dict[str, Any], path: str) -> None:
    try:
        output.field(value, path)
    except (NotFound, UsageError) as error:
        message = error.message + (error.hint or "")
    else:
        message = ""
    assert "\x1b" not in forms.escape(message)


@given(st.dictionaries(texts.filter(bool), st.integers(), min_size=1))
def test_every_leaf_is_found_by_its_path(value: dict[str, int]) -> None:
    for path, leaf in forms.flatten({"params": value}):
        assert output.field({"params": value}, path) == leaf


@given(texts, st.sampled_from(["talk", "warn", "error", "json", "field", "id"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # capsys is emptied by every example
def test_nothing_that_acts_reaches_a_stream(capsys: pytest.CaptureFixture[str], text: str, way: str) -> None:
    match way:
        case "talk":
            output.talk(text)
        case "warn":
            output.warn(text)
        case "error" | "json":
            output.error(TrkError(text, hint=text), way == "json")
        case "field":
            show(Single({"a": text}), OutputOptions(field="a"))
        case "id":
            show(Listing(("a",), [[text]], ids=[text]), OutputOptions(quiet=True))
    captured = capsys.readouterr()
    assert not [char for char in acting(captured.out + captured.err) if char != "\t"]
    if way in ("warn", "error", "json"):
        assert captured.err.count("\n") == 1


# ---- what people read


def test_a_duration_has_its_unit_where_people_read_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing(["run", "duration"], [["a", Seconds(3.5)], ["b", None], ["c", Seconds(61)]])
    assert render.table(listing, width=80, terminal=False)[0].split() == [
        "run",
        "duration",
        "a",
        "3.5",
        "s",
        "b",
        "c",
        "61",
        "s",
    ]
    assert "| a | 3.5 s |" in render.markdown(listing)
    assert "| c | 61.0 s |" in render.markdown(listing)
    for text in (render.csv(listing), render.tsv(listing), render.plain(listing)):
        assert [re.split("[,\t]", line)[1] for line in text.splitlines()] == ["duration", "3.5", "", "61.0"]
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("one", "two"):
        with trk.start(name) as run:
            run.log_metric("f1", 1)
    for words in (["ls"], ["ls", "--columns", "name,duration"], ["show", "one"], ["compare", "one", "two", "--all"]):
        for format in ("table", "markdown"):  # noqa: A001 - the flag
            assert re.search(r"(?<![\d.])\d+(\.\d+)? s\b", call(*words, "--format", format).out), (words, format)
        for format in ("plain", "csv", "tsv", "json"):  # noqa: A001
            assert not re.search(r"\d s\b", call(*words, "--format", format).out), (words, format)
    assert not re.search(r"\d s\b", call("ls", "--columns", "duration_s", "--format", "table").out)


def test_one_thing_is_one_thing(call: Call, project: Path) -> None:
    (project / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with trk.start("one") as run:
        run.log_table("t", [{"a": 1}])
        run.log_text("x", "note")
        run.log_text("xy", "longer")
        run.log_image("a.png", "samples", step=0)
        assert call("log-artifact", "--reference", "s3://bucket/set", "--name", "set", "--run", run.id).code == 0
    told = call("show", "one").out
    for found in ("t.json\t1 row\t", "note.txt\t1 byte\t", "longer.txt\t2 bytes\t", "samples\t1 image\t"):
        assert found in told


# ---- hints are commands that work


def pasted(said: str) -> subprocess.CompletedProcess[str]:
    """What the hint of an error line does in a shell that stops at the first failure."""
    hint = said[said.rindex(" (") + 2 :].strip().removesuffix(")").removeprefix("keep it and start a new one: ")
    found = f'trk() {{ "{sys.executable}" -P -m trk_cli "$@"; }}\n'
    return subprocess.run(
        ["bash", "-ec", found + hint.replace("; ", " && ")], env=child_environment(), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("head", "log"), [(True, False), (False, False), (False, True)], ids=["the head", "the middle", "beside a log"]
)
def test_the_hint_of_a_damaged_journal_names_what_is_there(
    head: bool, log: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "it's here"
    place.mkdir()
    monkeypatch.chdir(place)
    code = "import os, trk\nrun = trk.start('old')\n[run.log_param(f'p{n}', 'x' * 2_000) for n in range(60)]\n"
    program(code + ("run.journal.checkpoint(); run.set_tag('a', 'b'); os._exit(0)" if log else "run.finish()"))
    journal = place / ".trk" / "journal.db"
    content = journal.read_bytes()
    half = len(content) // 2
    journal.write_bytes(b"no database" + content[11:] if head else content[:half] + b"\xff" * (len(content) - half))
    said = trk_command("ls", "--source", "local", "--columns", "params.*").stderr
    assert "is damaged" in said
    assert ("-wal" in said) == (place / ".trk" / "journal.db-wal").exists()
    done = pasted(said)
    assert (done.returncode, done.stderr) == (0, "")
    assert not journal.exists()
    assert (place / ".trk" / "journal.db.broken").exists()
    assert trk_command("start", "new", "-q").returncode == 0


def test_the_hint_of_a_deleted_run_restores_it(call: Call) -> None:
    with trk.start("one") as run:
        run.log_metric("f1", 1)
    trk.delete(run)
    for words in (["log-metric", "f1", "1"], ["set-tag", "a", "b"], ["resume"]):
        done = call(*words, *(["--run"] if words != ["resume"] else []), run.id)
        assert (done.code, done.err) == (7, f"trk: run {run.id} is deleted (trk restore {run.id})\n")
    assert pasted(done.err).returncode == 0
    done = call("log-metric", "f1", "1", "--run", run.id)
    assert done.err == f"trk: run {run.id} has ended (FINISHED) (trk resume {run.id})\n"
    assert pasted(done.err).returncode == 0
    assert call("log-metric", "f1", "1", "--run", run.id).code == 0


def test_two_formats_are_refused_with_a_hint(call: Call) -> None:
    done = call("ls", "--json", "--format", "table")
    assert (done.code, done.out) == (2, "")
    assert json.loads(done.err)["error"]["hint"] == "--json is --format json"


def test_one_row_is_one_row_in_warnings_and_checks(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert call("start", "one", "-q").code == 0
    said = [call(*words) for words in (["end", "--timeout", "0"], ["status"], ["ls", "--source", "local"], ["doctor"])]
    for done in said:
        assert not re.search(r"\b1 (rows|runs|checks|ended runs|other ended runs)\b", done.out + done.err)
    assert "1 run, 0 open" in said[-1].out
