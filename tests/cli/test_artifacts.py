"""`artifacts ls` and `artifacts get`: by name and version, in every format, to files, folders and standard output."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk
from cli.contents import PNG, listed, refused, table, two_versions, written
from trk import session
from trk_cli import forms, output


@pytest.fixture
def model(open_run: str, call: Any) -> str:
    two_versions(call)
    return open_run


# ---- what is meant


@pytest.mark.parametrize(
    ("what", "code", "content"),
    [
        ("clf", 0, "two"),
        ("clf:latest", 0, "two"),
        ("clf:v1", 0, "two"),
        ("clf:v0", 0, "one"),
        ("clf/v0/model.pkl", 0, "one"),
        ("clf/v0", 0, "one"),
        ("clf:v2", 4, ""),
        ("clf:0", 2, ""),
        ("clf:first", 2, ""),
        ("clf:v-1", 2, ""),
        ("clf:v" + "1" * 5_000, 2, ""),
        ("clfs", 4, ""),
    ],
)
def test_an_artifact_is_fetched_by_its_name_and_version(
    what: str, code: int, content: str, call: Any, model: str
) -> None:
    for run in ([], ["--run", "one"], ["--run", model[:8]]):
        done = call("artifacts", "get", what, "-o", "-", *run)
        assert (done.code, done.out) == (code, content), run
    assert call("end", "-q").code == 0
    done = call("artifacts", "get", what, "-o", "-")  # the newest of the experiment, where no run is active
    assert (done.code == 0, done.out) == (code == 0 and "/" not in what, content if "/" not in what else "")


# ---- listing


def test_artifacts_are_listed_in_every_format(call: Any, model: str) -> None:
    assert call("log-table", "--name", "t", "--columns", "a", "--row", "1").code == 0
    heads = ["path", "kind", "name", "size", "step", "rows", "type", "version", "n", "sha256"]
    first = ["clf/v0/model.pkl", "artifact", "clf", "3", "", "", "model", "v0", "4"]
    last = ["t.json", "table", "t", "", "", "1", "", "", "6", ""]
    plain, tsv = call("artifacts", "ls"), call("artifacts", "ls", "--format", "tsv")
    assert plain == tsv == call("artifacts", "ls", "--format", "plain")
    rows = [line.split("\t") for line in plain.out.splitlines()]
    assert (rows[0], rows[1][:-1], rows[-1]) == (heads, first, last)
    assert list(csv.reader(io.StringIO(call("artifacts", "ls", "--format", "csv").out))) == rows
    marked = call("artifacts", "ls", "--format", "markdown").out.splitlines()
    assert marked[0] == f"| {' | '.join(heads)} |"
    assert marked[-1] == "| t.json | table | t |  |  | 1 |  |  | 6 |  |"
    drawn = call("artifacts", "ls", "--format", "table").out
    assert all(row[0] in drawn for row in rows)
    assert call("artifacts", "ls", "--field", "path").out.split() == [row[0] for row in rows[1:]]
    assert [one["path"] for one in listed(call, "--type", "model")] == [row[0] for row in rows[1:3]]
    done = call("artifacts", "ls", "--type", "model", "-q")
    assert (done.out, done.err) == ("clf/v0/model.pkl\nclf/v1/model.pkl\n", "")


def test_where_references_point_is_a_column_when_there_is_one(
    call: Any, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "uri" not in call("artifacts", "ls").out
    assert call("log-artifact", "--reference", "s3://bucket/set", "--name", "set").code == 0
    for format, delimiter in (("plain", "\t"), ("csv", ",")):  # noqa: A001 - the flag
        rows = [line.split(delimiter) for line in call("artifacts", "ls", "--format", format).out.splitlines()]
        assert [row[-1] for row in rows] == ["uri", "", "", "s3://bucket/set"]
    monkeypatch.setenv("COLUMNS", "120")
    assert "s3://bucket/set" in call("artifacts", "ls", "--format", "table").out


def test_a_table_shows_what_a_series_is_and_how_large_in_80_columns(
    call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for step in ("3", "4"):
        words = ["log-image", written("a.png", PNG), "--name", "val/samples", "--step", step]
        assert call(*words).code == 0
    drawn = call("artifacts", "ls", "--format", "table")
    assert [line.split("  ")[0] for line in drawn.out.splitlines()[1:]] == [
        "images/val/samples step 3", "images/val/samples step 4"
    ]  # fmt: skip
    assert drawn.out.split()[:4] == ["path", "kind", "name", "size"]
    assert all(f" image  val/samples    {len(PNG)} " in line for line in drawn.out.splitlines()[1:])
    (one, two) = listed(call)
    assert call("artifacts", "ls").out.splitlines()[1].startswith(one["path"] + "\t")
    assert call("artifacts", "ls", "-q").out == f"{one['path']}\n{two['path']}\n"


def test_a_path_too_long_for_the_table_is_folded_and_kind_and_size_stay(
    call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a" * 60 + "/" + "b" * 60
    assert call("log-artifact", written(name, "x"), "--path", "a" * 60).code == 0
    drawn = call("artifacts", "ls", "--format", "table")
    assert drawn.out.split()[:3] == ["path", "kind", "size"]
    assert max(map(len, drawn.out.splitlines())) <= 80
    assert "name" in drawn.err


def test_nothing_to_list_is_said_unless_quiet(call: Any, open_run: str) -> None:
    assert call("artifacts", "ls").err == "no artifacts\n"
    assert call("artifacts", "ls", "-q").err == ""
    assert call("artifacts", "ls", "--json").out == "[]\n"


# ---- fetching


def test_a_file_goes_into_a_folder_or_is_what_output_says(call: Any, open_run: str, project: Path) -> None:
    assert call("log-text", "--text", "x", "--name", "deep/note").code == 0
    (project / "out").mkdir()
    for words, path in {
        (): "note.txt",
        ("-o", "out"): "out/note.txt",
        ("-o", "new/"): "new/note.txt",
        ("-o", "new/other"): "new/other",
        ("--output=-x",): "-x",
        ("-o", str(project / "a b")): str(project / "a b"),
    }.items():
        done = call("artifacts", "get", "deep/note", *words)
        assert (done.code, done.out, done.err) == (0, f"{path}\n", "")
        assert Path(path).read_text() == "x"
    assert json.loads(call("artifacts", "get", "deep/note", "--json").out) == ["note.txt"]
    assert not list(project.rglob(".trk-*"))


def test_what_is_there_is_left_when_it_is_the_same_and_else_only_force_replaces_it(call: Any, model: str) -> None:
    one, two = "clf/v0/model.pkl", "clf/v1/model.pkl"
    assert call("artifacts", "get", one, "-o", "m").code == 0
    before = Path("m").stat()
    assert call("artifacts", "get", one, "-o", "m").code == 0
    assert Path("m").stat().st_ino == before.st_ino
    assert "'m' is there already, and differs" in refused(call, "artifacts", "get", two, "-o", "m", code=7)
    assert Path("m").read_text() == "one"
    assert call("artifacts", "get", two, "-o", "m", "--force").code == 0
    assert Path("m").read_text() == "two"
    Path("link").symlink_to("m")
    assert call("artifacts", "get", one, "-o", "link", "--force").code == 0
    assert (Path("m").read_text(), Path("link").is_symlink()) == ("two", False)
    assert call("artifacts", "get", "clf:v0", "-o", "out").out == "out/clf/model.pkl\n"


def test_output_that_can_be_no_file_is_refused_and_left_as_it_is(call: Any, model: str, project: Path) -> None:
    (project / "folder" / "model.pkl").mkdir(parents=True)
    os.mkfifo("fifo")
    Path("gone").symlink_to("nowhere/at/all")
    Path("loop").symlink_to("loop")
    written("file", "x")
    for to, code in {
        "": 2,
        "nul\0": 2,
        "folder": 7,
        "fifo": 7,
        "gone": 7,
        "loop": 7,
        "file/m": 1,
        "file/": 1,
        "x" * 300: 1,
        "x" * 300 + "/": 1,
        "x" * 300 + "/m": 1,
        "/proc/m": 1,
    }.items():
        for more in ([], ["--force"]) if to not in ("gone", "loop") else ([],):
            refused(call, "artifacts", "get", "clf/v0/model.pkl", "-o", to, *more, code=code)
    assert stat.S_ISFIFO(Path("fifo").stat().st_mode)
    assert Path("file").read_text() == "x"
    assert not list(project.rglob(".trk-*"))


def test_everything_of_a_run_is_fetched_as_it_lies_there(call: Any, model: str, project: Path) -> None:
    assert call("log-text", "--text", "x", "--name", "note").code == 0
    assert call("log-table", "--name", "t", "--columns", "a", "--row", "1").code == 0
    assert call("log-artifact", "--reference", "s3://bucket/set", "--name", "set").code == 0
    done = call("artifacts", "get", ".", "-o", "all")
    found = [one["path"] for one in listed(call) if one["uri"] is None]
    assert done.out.split() == [f"all/{path}" for path in found]
    assert sorted(str(path.relative_to("all")) for path in Path("all").rglob("*") if path.is_file()) == sorted(found)
    assert "it stays at s3://bucket/set" in done.err
    assert "'.' is 5 files" in refused(call, "artifacts", "get", ".", "-o", "-")
    assert call("end", "-q").code == 0
    assert call("artifacts", "get", ".", "-o", "other").code == 3
    assert len(call("artifacts", "get", ".", "--run", "@last", "-o", "other").out.split()) == len(found)
    with trk.start("empty"):
        refused(call, "artifacts", "get", ".", code=4)


def test_a_version_that_no_run_has_is_not_found_without_an_active_run_too(call: Any, model: str) -> None:
    assert call("end", "-q").code == 0
    for what, code in {"nosuch:latest": 4, "clf:v9": 4, "nosuch:v0": 4, "nosuch": 3, "nosuch:first": 2, "": 2}.items():
        refused(call, "artifacts", "get", what, code=code)
    assert call("artifacts", "get", "clf:latest", "-o", "-").out == "two"


def test_help_says_what_a_row_is(call: Any) -> None:
    page = " ".join(call("artifacts", "--help").out.split())
    assert "what row N of the run put there: n in ls --history" in page


# ---- tables in the form that is asked for

ODD = [
    ["id", "label", "score", "ok", "more"],
    [1, "cat", 0.1, True, [1, "a"]],
    [2, 'dog, "wet"', float("nan"), False, {"k": None}],
    [3, "two\nlines\rof\ttext", float("-inf"), None, None],
    [2**62, "=1+1", 1e-300, True, ""],
    [4, "é 🎯", 3.0, True, [float("inf")]],
]


@pytest.fixture
def odd(open_run: str) -> str:
    """The name of a table that is logged in two parts, with values that are easily spoiled."""
    run = trk.active_run()
    assert run is not None
    columns, rows = [str(name) for name in ODD[0]], ODD[1:]
    run.log_table("odd", [dict(zip(columns, row, strict=True)) for row in rows[:3]])
    run.log_table("odd", [dict(zip(columns, row, strict=True)) for row in rows[3:]])
    return "odd"


def test_a_table_is_written_as_the_ending_says_and_exactly(call: Any, odd: str, project: Path) -> None:
    assert call("artifacts", "get", odd, "-o", "odd.csv").out == "odd.csv\n"
    expected = [
        ["id", "label", "score", "ok", "more"],
        ["1", "cat", "0.1", "true", '[1, "a"]'],
        ["2", 'dog, "wet"', "nan", "false", '{"k": null}'],
        ["3", "two\nlines\rof\ttext", "-inf", "", ""],
        [str(2**62), "=1+1", "1e-300", "true", ""],
        ["4", "é 🎯", "3.0", "true", "[1e999]"],
    ]
    with Path("odd.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file, strict=True)) == expected
    assert call("artifacts", "get", odd, "-o", "deep/odd.TSV").code == 0
    with Path("deep/odd.TSV").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file, delimiter="\t", strict=True)) == expected
    assert call("artifacts", "get", odd, "-o", "odd.jsonl").code == 0
    lines = Path("odd.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    found = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [list(one) for one in found] == [ODD[0]] * 5
    assert [list(one.values()) for one in found] == [
        [None if value != value else value for value in row] for row in ODD[1:]
    ]
    for to in ("odd.json", "odd", "data.txt", "-"):
        done = call("artifacts", "get", odd, "-o", to)
        text = done.out if to == "-" else Path(to).read_text(encoding="utf-8")
        assert json.loads(text)["columns"] == ODD[0], to
    assert call("artifacts", "get", odd, "-o", "all/").out == "all/odd.json\n"


def test_a_table_as_csv_is_a_table_to_trk_again(call: Any, odd: str) -> None:
    for ending in ("csv", "tsv"):
        assert call("artifacts", "get", odd, "-o", f"out.{ending}").code == 0
        assert call("log-table", f"out.{ending}", "--name", f"again {ending}").code == 0
        again = table(call, f"again {ending}")
        assert again["columns"] == ODD[0]
        assert [row[:4] for row in again["data"]] == [row[:4] for row in table(call, odd)["data"]]


def test_a_table_that_is_there_already_is_left_when_it_is_the_same(call: Any, odd: str) -> None:
    for to in ("t.csv", "t.jsonl"):
        assert call("artifacts", "get", odd, "-o", to).code == 0
        assert call("artifacts", "get", odd, "-o", to).code == 0
    written("t.csv", "other")
    assert "differs" in refused(call, "artifacts", "get", odd, "-o", "t.csv", code=7)
    assert call("artifacts", "get", odd, "-o", "t.csv", "--force").code == 0
    assert Path("t.csv").read_text(encoding="utf-8").startswith("id,label,")


def test_a_table_is_not_written_as_what_it_would_not_be(call: Any, odd: str, project: Path) -> None:
    for to in ("t.parquet", "new/t.xlsx"):
        line = refused(call, "artifacts", "get", odd, "-o", to)
        assert ".csv, .tsv, .jsonl" in line
    assert os.listdir() == [".trk"]
    assert call("log-text", "--text", "x", "--name", "note").code == 0
    assert call("artifacts", "get", "note", "-o", "note.csv").code == 0  # no table
    assert Path("note.csv").read_text() == "x"


@pytest.mark.parametrize("damage", [b"", b"one\n", b"0ne", None])
def test_a_damaged_copy_is_never_handed_out(damage: bytes | None, call: Any, model: str, project: Path) -> None:
    sha256 = listed(call)[0]["sha256"]
    blob = project / ".trk" / "blobs" / sha256[:2] / sha256
    if damage is None:
        blob.unlink()
    else:
        blob.chmod(0o600)
        blob.write_bytes(damage)
    for to in ("out", "-", "new/"):
        line = refused(call, "artifacts", "get", "clf:v0", "-o", to, code=4 if damage is None else 1)
        assert "clf/v0/model.pkl" in line
    assert damage is None or "is not what was logged" in line
    assert call("artifacts", "get", "clf:v1", "-o", "-").out == "two"
    assert not [path for path in project.rglob("*") if path.is_file() and ".trk" not in path.parts]


def test_bytes_go_to_a_pipe_as_they_are(call: Any, open_run: str) -> None:
    content = PNG + bytes(range(256)) * 9_000
    assert call("log-artifact", written("model.bin", content), "-q").code == 0
    script = '"$@" artifacts get model.bin -o - | cat'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, "bash", *helpers.COMMAND], env=helpers.child_environment(),
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")
    gone = subprocess.run(
        ["bash", "-c", '"$@" artifacts get model.bin -o - | head -c 1', "bash", *helpers.COMMAND],
        env=helpers.child_environment(), capture_output=True, timeout=60,
    )  # fmt: skip
    assert (gone.stdout, gone.stderr) == (PNG[:1], b"")


def test_several_files_do_not_go_to_standard_output(call: Any, open_run: str) -> None:
    for name in ("d/a", "d/b"):
        written(name, name)
    assert call("log-artifact", "d").code == 0
    assert "'d' is 2 files" in refused(call, "artifacts", "get", "d", "-o", "-")
    assert "in any format" in refused(call, "artifacts", "get", "d/a", "-o", "-", "--format", "csv")
    assert call("artifacts", "get", "d/a", "-o", "-", "-q").out == "d/a"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["put"], 2),
        ([], 2),
        (["get"], 2),
        (["get", ""], 2),
        (["get", "/"], 4),
        (["get", "../../etc/passwd"], 4),
        (["get", "/etc/passwd"], 4),
        (["get", "clf/../clf"], 4),
        (["get", "\x1b[31m\n"], 4),
        (["get", "x" * 5_000], 4),
        (["get", "\udcff"], 2),
        (["get", "nul\0"], 2),
        (["get", "clf", "--row", "-1"], 2),
        (["get", "clf", "--row", "1e3"], 2),
        (["get", "clf", "--timeout", "soon"], 2),
        (["get", "clf", "--path", "clf"], 2),
        (["get", "clf", "--type", "model"], 2),
        (["get", "clf", "--history"], 2),
        (["get", "clf", "--run", "nobody"], 4),
        (["get", "clf", "--run", ""], 4),
        (["get", "clf", "two"], 2),
        (["ls", "--row", "1"], 2),
        (["ls", "--force"], 2),
        (["ls", "-o", "x"], 2),
        (["ls", "one", "--run", "one"], 2),
        (["ls", "nobody"], 4),
        (["ls", "--format", "xml"], 2),
        (["ls", "--source", "nowhere"], 2),
        (["ls", "--field", "nothing"], 4),
    ],
    ids=lambda words: ascii(words)[:50],
)
def test_what_artifacts_cannot_do_is_refused_in_one_line(words: list[str], code: int, call: Any, model: str) -> None:
    refused(call, "artifacts", *words, code=code)
    assert os.listdir() == [".trk"]


# ---- hostile names

HOSTILE = [
    "[red]x[/red]", "=1+1", "@SUM(A1)", "-x", "+1", "a|b", "`id`", "$(id)", "<script>alert(1)<", "[y](http:evil)",
    "é'\"", "DROP TABLE runs;--", "%s{0}", "~", "*", "__init__",
]  # fmt: skip
FORMATS = ("plain", "tsv", "csv", "json", "markdown", "table")


def inert(text: str) -> bool:
    return not [char for char in text if char not in "\n\t" and forms.acts(char)]


def test_hostile_names_do_nothing_in_any_format(call: Any, open_run: str) -> None:
    names = [name for name in HOSTILE if "/" not in name]
    for name in names:
        assert call("log-artifact", "--", written(name, "x")).code == 0
    assert call("log-artifact", "--reference", "s3://[red]|<b>/`x`", "--name", "set").code == 0
    found = {name: call("artifacts", "ls", "--format", name).out for name in FORMATS}
    assert all(map(inert, found.values()))
    cells = [row[0] for row in csv.reader(io.StringIO(found["csv"]))]
    assert {"'=1+1", "'@SUM(A1)", "'-x"} <= set(cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "@", "-")]
    assert "\n=1+1\t" in found["plain"]
    assert "\n'=1+1\t" in found["tsv"]
    for active in ("<script", "`id`", "a|b", "[y]", "[red]"):
        assert active not in found["markdown"]
    assert len({line.count(" | ") for line in found["markdown"].splitlines()[2:]}) == 1
    for name in names:
        done = call("artifacts", "get", "-o", "out/", "--", name)
        assert (done.code, done.out) == (0, f"out/{name}\n")
    for chosen in FORMATS:
        assert inert(call("show", "--format", chosen).out)


def test_rich_markup_in_a_name_is_shown_on_a_terminal(
    call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("log-artifact", written("[red]x", "x")).code == 0
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    for words in (["artifacts", "ls"], ["show"]):
        assert "[red]x" in call(*words).out


PLACES = ["\x1b[31mred", "a\nb", "\u202ex", "../up", "/abs", "a/../../up", "a\\b", "a//b", ".."]


@pytest.mark.parametrize("path", PLACES, ids=ascii)
def test_a_path_that_no_run_may_have_is_neither_obeyed_nor_written(
    path: str, call: Any, model: str, project: Path
) -> None:
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    assert journal is not None
    with journal.lock, journal.begun() as db:  # as a foreign or damaged journal might have it
        db.execute("UPDATE files SET path = ?, name = ? WHERE path = 'clf/v1/model.pkl'", (path, path))
    for chosen in FORMATS:
        assert inert(call("artifacts", "ls", "--format", chosen).out)
        assert inert(call("show", "--format", chosen).out)
    for to in (".", "out/", "-"):
        line = refused(call, "artifacts", "get", path, "-o", to, code=1)
        assert "no plain path" in line
    assert sorted(os.listdir(project.parent)) == ["project"]
    assert os.listdir() == [".trk"]
