"""A file's lines, into a run while it grows: each once, whatever becomes of the file and of who watches it."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trk
from helpers import Course, started, until
from trk.errors import Conflict, NoActiveRun, NotFound, UsageError
from trk.growing import reading
from trk.growing.file import Watching
from trk_cli.__main__ import main

Points = list[tuple[str, int, float]]


@pytest.fixture
def run(project: Path) -> trk.Run:
    return trk.start("one", delivery="end", shell_session=True)


def points(run: trk.Run, *names: str) -> Points:
    """All points in the order in which they were logged."""
    return [(p.metric, p.step, p.value) for name in names for p in trk.history(name, run.id, source="local")]


def lines(start: int, end: int, factor: float = 1.0) -> str:
    return "".join(f'{{"loss": {n * factor}, "step": {n}}}\n' for n in range(start, end))


def taken(run: trk.Run) -> list[int]:
    return [step for _, step, _ in points(run, "loss")] if "loss" in run.record.metrics else []


def once(path: str, run: trk.Run, **more: Any) -> tuple[trk.LoggedLines, list[str]]:
    told: list[str] = []
    return trk.watch_file(path, run=run, once=True, warn=told.append, **more), told


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Any:
    """A command in this process: its code, and what it said."""

    def run(*words: str) -> Any:
        capsys.readouterr()
        code = main(list(words))
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


class Watcher:
    """`trk.watch_file` in a thread."""

    def __init__(self, path: str, run: trk.Run, **more: Any) -> None:
        self.told: list[str] = []
        self._stop = threading.Event()
        self._found: list[Any] = []

        def watch() -> None:
            try:
                self._found.append(trk.watch_file(path, run=run, stop=self._stop, warn=self.told.append, **more))
            except Exception as error:
                self._found.append(error)

        self._thread = threading.Thread(target=watch)
        self._thread.start()

    def done(self) -> trk.LoggedLines:
        self._stop.set()
        return self.ended()

    def ended(self) -> trk.LoggedLines:
        self._thread.join(30)
        if isinstance(self._found[0], Exception):
            raise self._found[0]
        assert isinstance(self._found[0], trk.LoggedLines)
        return self._found[0]


def test_lines_come_as_they_are_written_and_half_ones_wait(run: trk.Run) -> None:
    watcher = Watcher("m.jsonl", run)
    until(lambda: bool(watcher.told))
    assert "is not there yet" in watcher.told[0]
    with open("m.jsonl", "ab", buffering=0) as stream:
        stream.write(b'{"loss": 1, "step": 1}\r\nloss=2 f1=0.5 step=2\n\n{"loss": 3, ')
        until(lambda: taken(run) == [1, 2])
        stream.write(b'"step": 3}\nnothing good\n{"loss": NaN}')
        until(lambda: taken(run) == [1, 2, 3])
    done = watcher.done()  # the last object is whole, though nothing ends it
    assert (done.lines, done.points, done.bad) == (4, 5, 1)
    assert [(one.number, "KEY=VALUE" in one.reason) for one in done.bad_lines] == [(5, True)]
    assert math.isnan(points(run, "loss")[-1][2])
    with open("m.jsonl", "a") as stream:
        stream.write("\n" + lines(7, 9))
    assert once("m.jsonl", run)[0].lines == 2
    assert taken(run) == [1, 2, 3, 4, 7, 8]


def test_a_csv_has_a_metric_a_column(run: trk.Run) -> None:
    rows = ("epoch,loss (x),model,at", "1,0.5,rf,2026-11-22T00:00:00Z", "2.0,,rf,", "x,1,rf,", "1,2", "", "3,0")
    Path("m.csv").write_text("\ufeff" + "\n".join(rows))
    done, told = once("m.csv", run, step="epoch", time="at")
    assert (done.lines, done.points, [one.number for one in done.bad_lines]) == (1, 1, [3, 4, 5])
    assert points(run, "loss _x_") == [("loss _x_", 1, 0.5)]
    assert trk.history("loss _x_", run.id, source="local")[0].time_ms == 1_795_305_600_000
    assert {text.partition(": ")[2] for text in told} == {
        "column 'loss (x)' is the metric 'loss _x_'", "column 'model' has texts, which are no metric",
        "the last line has no end yet: it waits",
    }  # fmt: skip
    with open("m.csv", "a") as stream:
        stream.write(".25,rf,\n")
    assert once("m.csv", run, step="epoch", time="at")[0].points == 1
    assert points(run, "loss _x_")[-1] == ("loss _x_", 3, 0.25)
    with open("m.csv", "a") as stream:
        stream.write("4,1,rf,\n")
    with pytest.raises(UsageError, match="no column 'round'"):
        once("m.csv", run, step="round")


def test_a_csv_that_is_written_anew_with_more_columns_goes_on(run: trk.Run) -> None:
    Path("m.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    assert once("m.csv", run)[0].points == 2
    Path("other").write_text("acc,step,loss\n,1,0.5\n,2,0.25\n0.5,3,0.125\n")
    Path("other").rename("m.csv")
    done, told = once("m.csv", run)
    assert (done.lines, done.points, told) == (1, 2, [])
    assert points(run, "loss", "acc") == [("loss", 1, 0.5), ("loss", 2, 0.25), ("loss", 3, 0.125), ("acc", 3, 0.5)]


def test_what_is_written_anew_with_the_same_beginning_goes_on(run: trk.Run) -> None:
    path = Path("m.jsonl")
    path.write_text(lines(0, 100))
    assert once("m.jsonl", run)[0].lines == 100
    path.write_text(lines(0, 120))  # the same file
    assert once("m.jsonl", run)[0].lines == 20
    path.unlink()
    path.write_text(lines(0, 130))  # another one
    assert once("m.jsonl", run)[0].lines == 10
    path.write_text(lines(0, 50))  # being written anew
    done, told = once("m.jsonl", run)
    assert done.lines == 0
    assert "shorter than what was taken" in told[0]
    path.write_text(lines(0, 140))
    assert once("m.jsonl", run)[0].lines == 10
    assert taken(run) == list(range(140))


def test_what_is_cut_or_replaced_is_taken_from_its_begin(run: trk.Run) -> None:
    path = Path("m.jsonl")
    path.write_text(lines(0, 100))
    once("m.jsonl", run)
    path.write_text(lines(100, 110))
    done, told = once("m.jsonl", run)
    assert (done.lines, "another content" in told[0]) == (10, True)
    path.write_text(lines(100, 109) + lines(109, 130, 2.0))  # the same but for the last line that was taken
    assert once("m.jsonl", run)[0].lines == 30
    path.write_text("")
    assert once("m.jsonl", run) == (trk.LoggedLines(0, 0, 0, (), None, None), [])
    path.write_text(lines(200, 201))
    assert once("m.jsonl", run)[0].lines == 1


@pytest.mark.parametrize("is_watched", [True, False])
def test_the_rest_of_a_file_that_was_rotated_is_taken_first(run: trk.Run, is_watched: bool) -> None:
    path = Path("m.jsonl")
    path.write_text(lines(0, 10))
    watcher = Watcher("m.jsonl", run) if is_watched else None
    if watcher is None:
        once("m.jsonl", run)
    until(lambda: taken(run) == list(range(10)))
    with path.open("a") as stream:
        path.rename("m.jsonl.1")
        stream.write(lines(10, 15))
    path.write_text(lines(15, 20))
    if watcher is None:
        once("m.jsonl", run)
    until(lambda: len(taken(run)) == 20)
    path.rename("m.jsonl.2")
    path.write_text(lines(20, 22))
    if watcher is None:
        once("m.jsonl", run)
    until(lambda: len(taken(run)) == 22)
    assert watcher is None or watcher.done().lines == 22
    assert taken(run) == list(range(22))


def test_what_was_written_anew_and_rotated_before_anybody_looked_is_taken_too(run: trk.Run) -> None:
    path = Path("m.jsonl")
    path.write_text(lines(0, 10))
    once("m.jsonl", run)
    Path("other").write_text(lines(0, 20))  # another file, of which nobody has seen that it goes on
    Path("other").rename(path)
    path.rename("m.jsonl.1")
    path.write_text(lines(20, 25))
    once("m.jsonl", run)
    assert taken(run) == list(range(25))


def test_the_last_line_of_a_file_that_was_rotated_is_taken_or_told(run: trk.Run) -> None:
    path = Path("m.jsonl")
    path.write_text(lines(0, 2) + lines(2, 3).rstrip("\n"))
    watcher = Watcher("m.jsonl", run)
    until(lambda: taken(run) == [0, 1])
    path.rename("m.jsonl.1")
    path.write_text(lines(3, 4) + '{"loss": ')
    until(lambda: taken(run) == [0, 1, 2, 3])
    path.rename("m.jsonl.2")
    path.write_text(lines(4, 5))
    until(lambda: taken(run) == [0, 1, 2, 3, 4])
    watcher.done()
    assert sum("it is left out" in text for text in watcher.told) == 1


def test_it_ends_with_the_run_which_takes_the_last_lines_first(run: trk.Run) -> None:
    Path("m.jsonl").write_text(lines(0, 3))
    watcher = Watcher("m.jsonl", run)
    until(lambda: len(taken(run)) == 3)
    for n in range(20):
        with open("m.jsonl", "a") as stream:
            stream.write(lines(3 + n, 4 + n))
    run.finish()
    done = watcher.ended()
    assert done.lines <= 23
    assert taken(run) == list(range(23))
    assert watcher.told == []
    with open("m.jsonl", "a") as stream:
        stream.write(lines(50, 51))
    assert "has ended" in once("m.jsonl", run)[1][0]


def test_two_may_watch_the_same_file(run: trk.Run) -> None:
    watchers = [Watcher("m.jsonl", run) for _ in range(2)]
    with open("m.jsonl", "a") as stream:
        for n in range(300):
            stream.write(lines(n, n + 1))
            stream.flush()
    until(lambda: len(taken(run)) >= 300)
    assert sum(watcher.done().lines for watcher in watchers) == 300
    assert taken(run) == list(range(300))


def test_two_may_begin_in_one_moment(run: trk.Run) -> None:
    Path("m.jsonl").write_text(lines(0, 3))
    both = [Watching(run, str(Path("m.jsonl").absolute()), print, "jsonl", None, None) for _ in range(2)]
    for one in both:
        one.begin()  # each has read the journal before the other one wrote
    assert sorted(one.take() for one in both) == [0, 3]
    for one in both:
        one.finish(is_on=False)
    assert taken(run) == [0, 1, 2]


def test_a_line_that_is_too_long_is_one_bad_line(run: trk.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 4096)
    monkeypatch.setattr(reading, "MAX_LINE", 4000)
    Path("m.jsonl").write_text(lines(0, 500) + '{"x": "' + "y" * 20_000)
    assert once("m.jsonl", run)[0].lines == 500
    with open("m.jsonl", "a") as stream:
        stream.write('"}\n' + lines(500, 501))
    done = once("m.jsonl", run)[0]
    assert (done.lines, [one.number for one in done.bad_lines]) == (1, [501])


def test_until_idle_ends_it_and_errors_are_told(run: trk.Run) -> None:
    Path("m.jsonl").write_text(lines(0, 3))
    assert trk.watch_file("m.jsonl", until_idle=0, run=run).lines == 3
    for name, more, error in (
        ("m.jsonl", {"type": "xml"}, UsageError), ("m.jsonl", {"step": "x"}, UsageError), (".", {}, UsageError),
        ("m.jsonl", {"type": "csv"}, UsageError), ("nowhere.jsonl", {}, NotFound),
    ):  # fmt: skip
        with pytest.raises(error):
            once(name, run, **more)
    Path("twice.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(UsageError, match="twice"):
        once("twice.csv", run)
    run.finish()
    with pytest.raises(Conflict):
        Watching(run, str(Path("m.jsonl").absolute()), print, "jsonl", None, None).begin()
    with pytest.raises(NoActiveRun):
        trk.watch_file("m.jsonl", once=True)


WATCH = """
import sys
import trk
run = trk.attach(sys.argv[1])
print("ready", flush=True)
trk.watch_file("m.jsonl", run=run, warn=print)
"""


def test_a_watcher_that_is_killed_at_any_time_loses_and_doubles_nothing(run: trk.Run, course: Course) -> None:
    count, kept = 0, 0
    path = Path("m.jsonl")
    for _ in range(course.many(2, 300)):
        watcher = started(WATCH, run.id)
        assert watcher.stdout is not None
        watcher.stdout.readline()
        deadline = time.monotonic() + course.dice.uniform(0.01, 0.4)
        while time.monotonic() < deadline:
            with path.open("a") as stream:
                for _ in range(course.dice.randrange(200)):
                    stream.write(lines(count, count + 1))
                    count += 1
            what = course.dice.random()
            if what < 0.1:  # written anew with the same content
                text = path.read_text()
                path.unlink()
                path.write_text(text)
            elif what < 0.15 and not kept and taken(run):  # one that nobody has seen can't be known again
                path.rename("m.jsonl.1")
                kept = 1
        watcher.kill()
        watcher.communicate()
        if kept and path.exists():
            trk.watch_file("m.jsonl", run=run, once=True, warn=lambda text: None)
    path.touch()  # the last thing may have been that it was rotated
    trk.watch_file("m.jsonl", run=run, once=True, warn=lambda text: None)
    assert taken(run) == list(range(count))


def test_the_command_says_what_it_did(call: Any, run: trk.Run) -> None:
    Path("m.jsonl").write_text(lines(0, 3) + "bad\n")
    done = call("watch-file", "m.jsonl", "--once", "--json")
    found = json.loads(done.out)
    assert (done.code, found["run_id"], found["lines"], found["points"], found["bad"]) == (0, run.id, 3, 3, 1)
    assert done.err.splitlines()[1:] == ["3 lines of m.jsonl, 3 points", "trk: warning: 1 of 4 lines were not logged"]
    assert call("watch-file", "m.jsonl", "--once").err == "0 lines of m.jsonl, 0 points\n"
    assert call("watch-file", "m.jsonl", "--once", "-q").err == ""
    assert call("watch-file", "m.jsonl", "--once", "--until-idle", "1").code == 2
    assert call("watch-file", "nothing", "--once").code == 4
    assert call("watch-file", "m.jsonl", "--run", "nobody").code == 4
    trk.attach(run.id).end()
    assert call("watch-file", "m.jsonl").code == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command(number: int, code: int, run: trk.Run) -> None:
    Path("m.jsonl").write_text(lines(0, 3))
    program = "import sys; from trk_cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    watcher = started(program, "watch-file", "m.jsonl")
    until(lambda: len(taken(run)) == 3)
    os.kill(watcher.pid, number)
    _, said = watcher.communicate(timeout=30)
    assert watcher.returncode == code
    assert said.splitlines() == ["watching m.jsonl (Ctrl-C ends it)", "3 lines of m.jsonl, 3 points"]


@pytest.mark.parametrize("between", ["\t", ";"])
def test_what_separates_the_header_separates_the_rows_whatever_is_in_them(run: trk.Run, between: str) -> None:
    rows = [["step", "note", "loss"], ["0", "a, b", "0.5"], ["1", "plain", "0.25"], ["2", "1,5", "0,75"]]
    Path("m.csv").write_text("".join(between.join(row) + "\n" for row in rows[:2]))
    assert once("m.csv", run)[0].points == 1
    with open("m.csv", "a") as stream:  # goes on with what it knows of the header
        stream.write("".join(between.join(row) + "\n" for row in rows[2:]))
    done, _ = once("m.csv", run)
    assert (done.points, [one.reason for one in done.bad_lines]) == (1, ["the row has no numbers"])
    assert points(run, "loss") == [("loss", 0, 0.5), ("loss", 1, 0.25)]


def test_a_decimal_comma_never_makes_another_number_of_it(run: trk.Run) -> None:
    Path("m.csv").write_text("loss;acc;n\n0,5;0,9;1\n1;2;3\n")
    done, _ = once("m.csv", run)
    assert (done.points, points(run, "loss", "acc")) == (4, [("loss", 1, 1.0), ("acc", 1, 2.0)])


def test_a_pipe_is_no_file_that_can_be_watched(run: trk.Run) -> None:
    os.mkfifo("pipe.jsonl")
    with pytest.raises(UsageError, match="no file that could be read again"):
        once("pipe.jsonl", run)
