"""Metrics of CSV, TSV and JSON Lines: as they are in the file, again and again, whatever else is in it."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

import trk
from helpers import COMMAND, Course, child_environment
from imports.tools import live, points, rows
from trk.errors import Conflict, NotFound, UsageError
from trk.expecting import same
from trk.journal import bulk
from trk.records import Status

NOON = 1_763_726_400_000


def test_a_metric_a_column(project: Path) -> None:
    Path("a.csv").write_text(
        "epoch,at,loss,val/f1,lr\n1,1763726400,0.5,nan,0.1\n2,2025-11-21T12:00:01Z,-inf,,0.1\n3,1763726402000,1e-3,1,0.1\n"
    )
    done = trk.import_csv("a.csv", step="epoch", time="at", params="lr", name="first", experiment="digits")
    (run,) = done.runs
    assert (run.name, run.experiment, run.status, run.points, run.new) == ("first", "digits", Status.FINISHED, 5, True)
    assert points(run.run_id) == {
        ("loss", 1, NOON, 0.5), ("loss", 2, NOON + 1000, -math.inf), ("loss", 3, NOON + 2000, 0.001),
        ("val/f1", 1, NOON, same(math.nan)), ("val/f1", 3, NOON + 2000, 1.0),
    }  # fmt: skip
    record = trk.get_run("first", source="local")
    assert record.params == {"lr": "0.1"}
    assert record.tags == {"imported.from": f"csv:{project}/a.csv", "imported.place": str(project)}
    assert [record.start_time, record.end_time] == [
        p.time for p in (trk.history("loss", "first")[0], trk.history("loss", "first")[-1])
    ]
    assert (done.skipped, done.left_out, done.pending) == ({}, [], {})


def test_a_point_a_row_as_history_writes_them(project: Path) -> None:
    with trk.start("one") as run:
        for step in range(5):
            run.log_metrics({"loss": 1 / (step + 1), "f1": math.inf}, step=step)
    text = subprocess.run(
        [*COMMAND, "history", "loss", "f1", "--run", run.id, "--format", "csv"],
        capture_output=True, text=True, check=True, env=child_environment(),
    ).stdout  # fmt: skip
    Path("points.csv").write_text(text)
    (taken,) = trk.import_csv("points.csv").runs
    assert taken.name == run.id
    assert points(taken.run_id) == points(run.id)


def test_json_lines_with_objects_in_them(project: Path) -> None:
    lines = [
        {"step": 1, "timestamp": 1763726400, "loss": 0.5, "val": {"f1": 1, "deep": {"x": math.nan}}, "note": "text"},
        {"step": 2, "timestamp": 1763726401, "loss": 1e400, "big": 10**400},
    ]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n[1]\n{"step": 1,\n' + '{"a":' * 20_000 + "\n")
    done = trk.import_csv("a.jsonl")
    assert points(done.runs[0].run_id) == {
        ("loss", 1, NOON, 0.5), ("val/f1", 1, NOON, 1.0), ("val/deep/x", 1, NOON, same(math.nan)),
        ("loss", 2, NOON + 1000, math.inf),
    }  # fmt: skip
    assert done.skipped["cells that are no numbers"] == 2
    assert [reason for reason in done.skipped if reason.startswith("line ")] == [
        f"line {n}, which is no line of metrics" for n in (3, 4, 5)
    ]


def test_steps_and_times_that_are_nowhere(project: Path) -> None:
    Path("a.tsv").write_text("loss\tf1\n1\t2\n3\t\n\t4\n")
    (run,) = trk.import_csv("a.tsv").runs
    assert {point[:2] + point[3:] for point in points(run.run_id)} == {
        ("loss", 0, 1.0), ("loss", 1, 3.0), ("f1", 0, 2.0), ("f1", 1, 4.0),
    }  # fmt: skip
    before = rows()
    with Path("a.tsv").open("a") as file:
        file.write("7\t8\n")
    assert trk.import_csv("a.tsv").points == 2
    assert set(before) <= set(rows())


def test_the_same_again_changes_nothing_and_what_is_new_comes(project: Path) -> None:
    head, first, more = "run,step,time,loss\n", "a,1,100,1\nb,1,100,2\na,1,100,1\n", "b,0,90,5\na,2,101,inf\n"
    Path("a.csv").write_text(head + first)
    done = trk.import_csv("a.csv")
    before = rows(), live()
    again = trk.import_csv("a.csv")
    assert (again.points, [run.new for run in again.runs]) == (0, [False, False])
    assert [run.run_id for run in again.runs] == [run.run_id for run in done.runs]
    assert (rows(), live()) == before
    Path("a.csv").write_text(head + first + more)
    grown = trk.import_csv("a.csv")
    assert {run.name: (run.points, run.read) for run in grown.runs} == {"a": (1, 3), "b": (1, 2)}
    assert trk.import_csv("a.csv").points == 0
    assert {run.status for run in trk.search(source="local")} == {Status.FINISHED}


def test_a_file_that_was_written_anew_brings_what_is_new(project: Path) -> None:
    Path("a.csv").write_text("step,time,loss\n1,100,1\n2,100,2\n3,100,3\n")
    (run,) = trk.import_csv("a.csv").runs
    with trk.resume(run.run_id) as own:
        own.log_metric("mine", 7)
    Path("a.csv").write_text("step,time,loss,f1\n3,100,3,9\n2,100,nan,9\n1,100,1,9\n")
    assert trk.import_csv("a.csv").points == 4
    assert trk.import_csv("a.csv").points == 0
    assert len(trk.history("loss", run.run_id)) == 4
    assert len(trk.history("mine", run.run_id)) == 1


def test_names_that_the_rules_refuse_become_others_and_none_two(project: Path) -> None:
    odd = ["loss (x)", "loss [x]", "loss _x_", "/a//b/", "..", "_step", "trk/step", "ü\x1b[1m", "n" * 300, "n" * 301]
    Path("a.csv").write_text("\t".join(odd) + "\n" + "\t".join("1" * len(odd)) + "\n")
    done = trk.import_csv("a.csv", step="_step")
    (run,) = done.runs
    names = trk.get_run(run.run_id, source="local").metrics
    assert len(names) == len(odd) - 1
    assert {"loss _x_", "a/b"} <= set(names)
    assert {"loss (x)", "loss [x]", "/a//b/", "..", "trk/step", "n" * 300, "n" * 301} <= set(done.renamed)
    assert json.loads(trk.get_run(run.run_id).tags["imported.names"]) == done.renamed
    assert trk.import_csv("a.csv", step="_step").points == 0


@pytest.mark.parametrize(
    ("text", "asked", "error"),
    [
        ("", {}, UsageError),
        ("\n1,2\n", {}, UsageError),
        ("a,a\n1,2\n", {}, UsageError),
        ('a,"b\n1,2\n3,4"\n', {}, UsageError),
        ('a,"b\n1,2\n', {}, UsageError),
        ("a," + "x" * 140_000 + "\n1,2\n", {}, UsageError),
        ("a,b\n1,2\n", {"step": "c"}, UsageError),
        ("a,b\n1,2\n", {"params": ["c"]}, UsageError),
        ("a,b\n1,2\n", {"name": "@x"}, UsageError),
        ("a,b\n1,2\n", {"backends": "nowhere"}, UsageError),
        (None, {}, NotFound),
    ],
)
def test_what_can_not_be_imported_leaves_nothing(
    project: Path, text: str | None, asked: dict[str, str], error: type[Exception]
) -> None:
    if text is not None:
        Path("a.csv").write_text(text)
    with pytest.raises(error):
        trk.import_csv("a.csv", **asked)
    assert not Path(".trk").exists()


def test_lines_that_are_none_are_named_and_the_others_taken(project: Path) -> None:
    bad = ["1.5,100,1", f"{2**63},100,1", "1,1e20,1", "1,abc,1", "1,100,1,9", "1,100," + "9" * 200_000]
    Path("a.csv").write_text("step,time,loss\n" + "\n".join(bad) + "\n-3,100,7\n2,101,1_0\n3,102,1e999\n4,103,\0\n")
    done = trk.import_csv("a.csv")
    assert points(done.runs[0].run_id) == {("loss", -3, 100_000, 7.0)}
    assert sum(count for reason, count in done.skipped.items() if "no line" in reason or "no lines" in reason) == 6
    assert done.skipped["cells that are no numbers"] == 3


def test_a_dry_run_says_the_same_and_does_nothing(project: Path) -> None:
    Path("a.csv").write_text("run,loss\na,1\nb,2\n")
    dry = trk.import_csv("a.csv", dry_run=True)
    assert (dry.points, dry.dry_run, dry.new_folder) == (2, True, None)
    assert not Path(".trk").exists()
    done = trk.import_csv("a.csv")
    assert [run.run_id for run in done.runs] == [run.run_id for run in dry.runs]
    before = rows()
    with Path("a.csv").open("a") as file:
        file.write("a,3\n")
    assert trk.import_csv("a.csv", dry_run=True).points == 1
    assert rows() == before


def test_where_it_goes_is_settled_as_for_a_start_and_may_be_added(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.csv").write_text("step,loss\n1,1\n2,2\n")
    monkeypatch.setenv("TRK_BACKENDS", "memory")
    assert trk.import_csv("a.csv", backends="none").pending == {}
    assert trk.import_csv("a.csv").pending == {}
    assert trk.import_csv("a.csv", backends="memory").pending == {"memory": 5}
    (record,) = trk.sync(strict=True)
    assert record.backends["memory"].delivered == 5
    assert trk.import_csv("a.csv", backends="memory").pending == {}


def test_a_run_that_was_deleted_here_stays_so(project: Path) -> None:
    Path("a.csv").write_text("step,loss\n1,1\n")
    (run,) = trk.import_csv("a.csv").runs
    trk.delete(run.run_id)
    done = trk.import_csv("a.csv")
    assert (len(done.runs), done.left_out[0].reason) == (0, f"it is deleted here: trk restore {run.run_id}")


def test_two_at_once_do_not_take_the_same_twice(project: Path) -> None:
    Path("a.csv").write_text("step,loss\n1,1\n")
    seen: list[type[Exception]] = []

    def other(done: int, goal: int, points: int) -> None:
        try:
            trk.import_csv("a.csv")
        except Conflict as error:
            seen.append(type(error))

    assert trk.import_csv("a.csv", progress=other).points == 1
    assert seen
    assert set(seen) == {Conflict}


def test_in_bulk_the_journal_tells_the_same_as_one_by_one(project: Path) -> None:
    dice = random.Random(7)
    values = [0.0, -0.0, 1.5, -2.0, math.nan, math.inf, -math.inf, 1.797e308]
    one = trk.start("one by one")
    many = trk.start("in bulk")
    waiting: list[bulk.Line] = []
    after = 0
    for n in range(300):
        keys = dice.sample("abc", dice.randrange(1, 4))
        step, time_ms = dice.randrange(-3, 9), NOON + dice.randrange(5)
        line = {key: dice.choice(values) for key in keys}
        one.log_metrics(line, step=step, timestamp=time_ms)
        waiting.append((time_ms, step, line))
        if n % 70 == 69 or n == 299:
            after = bulk.append(many.journal, many.id, waiting, after)
            waiting = []
    told = {run: [row[1:] for row in live() if row[0] == run] for run in (one.id, many.id)}
    assert repr(told[one.id]) == repr(told[many.id])
    assert points(one.id) == points(many.id)
    with pytest.raises(Conflict):
        bulk.append(many.journal, many.id, [(NOON, 1, {"a": 1.0})], after - 1)


def test_killed_and_started_again_it_is_as_once(project: Path, tmp_path: Path, course: Course) -> None:
    dice = course.dice
    lines = ["run,step,time,loss,f1", *(f"{'ab'[n % 2]},{n},{1763726400 + n},{n / 7},{-n}" for n in range(12_000))]
    Path("a.csv").write_text("\n".join(lines) + "\n")
    once = trk.import_csv("a.csv")
    whole = {run.name: (run.run_id, points(run.run_id)) for run in once.runs}
    told = live()
    environment = child_environment(TRK_DIR=str(tmp_path / "again" / ".trk"))
    (tmp_path / "again").mkdir()
    for _ in range(course.many(2, 200)):
        child = subprocess.Popen([*COMMAND, "import", "csv", "a.csv", "-q"], env=environment, stdout=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.1, 1.2))
        child.kill()
        child.wait()
    subprocess.run([*COMMAND, "import", "csv", "a.csv", "-q"], env=environment, check=True, stdout=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRK_DIR", str(tmp_path / "again" / ".trk"))
        assert {run.name: (run.run_id, points(run.run_id)) for run in trk.search(source="local")} == whole
        assert live() == told
        assert {run.status for run in trk.search(source="local")} == {Status.FINISHED}


@pytest.mark.long
def test_a_large_file_does_not_grow_memory(project: Path) -> None:
    with Path("a.csv").open("w") as file:
        file.write("step,time,a,b\n")
        file.writelines(f"{n},{1763726400 + n},{n},{n / 3}\n" for n in range(2_000_000))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run([*COMMAND, "import", "csv", "a.csv", "-q"], check=True, env=child_environment())
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 150_000


def test_a_file_from_before_1970_is_taken_once(project: Path) -> None:
    Path("a.csv").write_text("loss\n1\n2\n")
    os.utime("a.csv", (-100, -100))
    (run,) = trk.import_csv("a.csv").runs
    record = trk.get_run(run.run_id, source="local")
    assert {point.time for point in trk.history("loss", run.run_id)} == {record.start_time}
    assert trk.import_csv("a.csv").points == 0


def test_a_name_stays_what_it_became_when_another_like_it_comes_before_it(project: Path) -> None:
    head, first = "step,metric,value\n", "0,a?b,1\n1,a?b,2\n0,c_d,1\n"
    Path("a.csv").write_text(head + first)
    (run,) = trk.import_csv("a.csv").runs
    Path("a.csv").write_text(head + "0,a*b,9\n0,c?d,9\n" + first)
    assert trk.import_csv("a.csv").points == 2
    assert {len(trk.history(name, run.run_id)) for name in ("a_b", "c_d")} == {2, 1}
    assert trk.import_csv("a.csv").points == 0
    assert set(json.loads(trk.get_run(run.run_id).tags["imported.names"])) == {"a?b", "a*b", "c?d"}


def test_more_names_than_a_tag_can_have_stay_what_they_became(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trk.imports.run.LONGEST_RENAMED", 10)
    Path("a.csv").write_text("step,metric,value\n0,a?b,1\n0,c*d,1\n")
    assert [trk.import_csv("a.csv").points for _ in range(3)] == [2, 0, 0]


@pytest.mark.parametrize("lines", [10, 20_000])
def test_a_quote_that_nothing_closes_is_named_and_what_it_swallowed_comes_when_it_is_mended(
    project: Path, lines: int
) -> None:
    whole = ["step,loss", *(f"{n},{n}" for n in range(lines))]
    Path("a.csv").write_text("\n".join([*whole[:5], '4,"4', *whole[6:]]) + "\n")
    with pytest.raises(UsageError, match="in line 6 a quote opens"):
        trk.import_csv("a.csv")
    Path("a.csv").write_text("\n".join(whole) + "\n")
    (run,) = trk.import_csv("a.csv").runs
    assert len(trk.history("loss", run.run_id)) == lines


def test_lines_that_quotes_join_are_told_with_their_numbers(project: Path) -> None:
    Path("a.csv").write_text('step,loss,note\n\n0,0,\n1,"1,\n2,2,\n3,"3,\n4,4,"a\nb"\n5,5\n6,6,"\n')
    done = trk.import_csv("a.csv")
    (run,) = done.runs
    assert {step for _, step, _, _ in points(run.run_id)} == {0, 4, 5}
    assert done.skipped == {
        "the end of line 5, which quotes join to those before it": 1,
        "the end of line 6, which quotes join to those before it": 1,
        "the end of line 8, which quotes join to those before it": 1,
        "line 10, which is no line of metrics": 1,
        "cells that are no numbers": 2,
    }


def test_params_may_have_lines(project: Path) -> None:
    Path("a.csv").write_text('step,loss,prompt\n0,0,"a\nb"\n1,1,"a\nb"\n2,2,"c\n3,3,d"\n')
    done = trk.import_csv("a.csv", params="prompt")
    assert trk.get_run(done.runs[0].run_id).params == {"prompt": "a\nb"}
    assert done.skipped == {"the end of line 7, which quotes join to those before it": 1}


def test_a_cell_that_is_not_written_to_its_end_yet_is_no_number(project: Path) -> None:
    Path("a.csv").write_text('step,loss\n1,"1"\n2,"4')
    done = trk.import_csv("a.csv")
    assert (done.points, done.skipped) == (1, {"line 3, which is no line of metrics": 1})
    Path("a.csv").write_text('step,loss\n1,"1"\n2,"42"\n')
    trk.import_csv("a.csv")
    assert {value for *_, value in points(done.runs[0].run_id)} == {1.0, 42.0}
