"""`trk plot` and `trk report` as commands: in a pipe, in 60 columns, without colour, and with names that would act."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import trk
from trk.pictures.curves import Chart, Curve
from trk_cli import drawing
from trk_cli.__main__ import main

Call = Callable[..., Any]

pytest.importorskip("plotille", reason="plotille is not installed")


@pytest.fixture
def runs() -> list[str]:
    ids = []
    for name, best in (("one", 0.5), ("two", 0.75), ("[red] $x$ 日本", 0.25)):
        run = trk.start(name, experiment="digits", params={"lr": best})
        for step in range(50):
            run.log_metrics({"f1": best * step / 49, "loss": 1 - best * step / 49})
        run.finish()
        ids.append(run.id)
    return ids


def test_a_pipe_gets_the_same_width_every_time_and_no_colour(call: Call, runs: list[str]) -> None:
    done = call("plot", "f1", "--run", "one", "--run", "two")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "f1"
    assert len(lines) == 1 + 15 + 3 + 2
    assert 70 < max(map(cell_len, lines)) <= 80
    assert "\x1b" not in done.out
    assert "⣀" in done.out or "⠤" in done.out
    assert lines[-2].split() == ["1", "one", "last", "0.5", "min", "0", "max", "0.5"]
    assert lines[-1].split() == ["2", "two", "last", "0.75", "min", "0", "max", "0.75"]


@pytest.mark.parametrize("columns", ["40", "60", "200"])
def test_it_fits_the_columns_that_there_are(
    columns: str, call: Call, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = call("plot", "f1", "loss", "-e", "digits", "--height", "6", "--x", "relative", "--log-y")
    assert done.code == 0
    assert max(map(cell_len, done.out.splitlines())) <= int(columns)


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "value", "coloured"), [("X", "1", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)]
)
def test_a_terminal_gets_colour_unless_it_is_not_wanted(
    name: str, value: str, coloured: bool, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert main(["plot", "f1", "-e", "digits"]) == 0
    assert ("\x1b[94m" in screen.getvalue()) is coloured


def test_no_name_of_another_program_acts_in_the_terminal() -> None:
    curve = Curve("id", "\u202eacts\x1b[31m", "f1\x1b]0;title\x07", [(0.0, 1.0), (1.0, 2.0)], (), 2, 2.0, 1.0, 2.0)
    text = drawing.drawn([Chart(curve.metric, [curve])], width=60, height=5, colour=False)
    assert "\\u202eacts\\x1b[31m" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_without_plotille_the_extra_is_named(call: Call, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotille", None)
    done = call("plot", "f1", "--run", "one")
    assert (done.code, done.out) == (2, "")
    assert done.err == "trk: a plot in the terminal needs plotille (pip install 'trk-ml[plot]', or -o FILE.html)\n"


def test_a_file_is_named_and_its_gaps_are_told(call: Call) -> None:
    run = trk.start("gap")
    for value in ("0.5", "nan", "0.75"):
        run.log_metric("f1", float(value))
    done = call("plot", "f1", "-o", "curves.svg", "--width", "400", "--height", "300")
    assert (done.out, done.err) == (
        f"{Path('curves.svg').absolute()}\n", "f1: 1 point not a finite number, shown as a gap\n",
    )  # fmt: skip
    assert Path("curves.svg").read_text().startswith("<?xml")
    told = json.loads(call("plot", "f1", "--json").out)
    assert told == {
        "path": None,
        "charts": [
            {
                "metric": "f1", "notes": ["1 point not a finite number, shown as a gap"],
                "runs": [{"run_id": run.id, "points": 3, "not_finite": 1, "last": 0.75, "min": 0.5, "max": 0.75}],
            }
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["plot"], 2, "trk: plot needs a metric (trk plot loss)"),
        (["plot", "f1", "--x", "epoch", "--run", "one"], 2, "trk: x must be one of step, time, relative, not 'epoch'"),
        (["plot", "f1", "--smooth", "2", "--run", "one"], 2, "trk: smooth must be from 0 to under 1, not 2.0"),
        (["plot", "f2", "--run", "one"], 4, "has no metric f2 (there is f1"),
        (["plot", "f1"], 3, "trk: no run is active"),
        (["plot", "f1", "--run", "one", "-o", "a.gif"], 2, "ends in .png, .svg, .html, not 'a.gif'"),
        (["plot", "f1", "--width", "0", "--run", "one"], 2, "--width must be from 1 to 1000"),
        (["report", "-o", "a.txt"], 2, "ends in .html, not 'a.txt'"),
        (["report", "--best", "2"], 2, "best and metric go together"),
    ],
)
def test_what_cannot_be_drawn_is_said(call: Call, runs: list[str], words: list[str], code: int, says: str) -> None:
    done = call(*words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_report_is_written_and_its_path_is_the_answer(call: Call, runs: list[str]) -> None:
    done = call("report", "-e", "digits", "--metric", "f1", "--baseline", "best:f1")
    assert (done.code, done.err) == (0, "")
    path = Path(done.out.strip())
    assert path == Path("trk-report.html").absolute()
    assert "Against the baseline" in path.read_text(encoding="utf-8")
    assert json.loads(call("report", "one", "-o", "b.html", "--json").out) == {
        "path": str(Path("b.html").absolute()), "logged": False,
    }  # fmt: skip


def test_a_report_can_be_logged_into_the_active_run(call: Call, runs: list[str]) -> None:
    assert call("report", "--log").code == 3
    assert not Path("trk-report.html").exists()
    call("start", "now", "-e", "digits", "-q")
    done = call("report", "--log")
    assert (done.code, done.err) == (0, "logged as trk-report.html\n")
    assert "trk-report.html" in call("artifacts", "ls").out


def test_show_has_sparklines_in_the_table_alone(call: Call, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = call("show", "two")
    (line,) = [line for line in plain.out.splitlines() if line.startswith("metric\tf1")]
    assert line == "metric\tf1\t0.75\t0.0\t0.75"
    monkeypatch.setenv("COLUMNS", "120")
    table = call("show", "two", "--format", "table").out
    (row,) = [line for line in table.splitlines() if line.startswith("metric") and "f1" in line]
    assert "▁▁▂" in row
    assert row.split()[2] == "0.75"


def test_a_closed_output_is_no_failure_of_a_plot(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["plot", "f1", "--run", "one"]) == 0
