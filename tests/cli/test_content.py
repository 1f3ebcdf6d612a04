"""Tables, pages, texts, images, figures and files through the command: logged, listed, and fetched again."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import helpers
from cli.contents import PNG, SVG, listed, piped, refused, table, two_versions, written

# verb, more words, file, its content, its path in the run, its name
LOGGED: list[tuple[str, list[str], str, bytes, str, str]] = [
    ("log-table", [], "a/scores.csv", b"id,score\n1,0.5\n", "scores.json", "scores"),
    ("log-table", ["--name", "deep/er"], "x.jsonl", b'{"a": 1}\n', "deep/er.json", "deep/er"),
    ("log-table", ["--type", "tsv", "--name", "t.json"], "x", b"a\tb\n1\t2\n", "t.json", "t"),
    ("log-html", [], "a/page.htm", b"<p>hi", "page.html", "page"),
    ("log-html", ["--name", "report.html"], "page.html", b"<p>hi", "report.html", "report.html"),
    ("log-text", [], "a/train.log", b"epoch 1", "train.log", "train.log"),
    ("log-text", ["--name", "note"], "train.log", b"epoch 1", "note.txt", "note"),
    ("log-dict", [], "a/net.toml", b"depth = 3\n", "net.toml", "net"),
    ("log-dict", ["--type", "yaml", "--name", "net"], "x", b"depth: 3\n", "net.yaml", "net"),
    ("log-image", [], "a/cat.png", PNG, "cat.png", "cat"),
    ("log-image", ["--name", "dog"], "x", SVG, "dog.svg", "dog"),
    ("log-figure", [], "a/roc.svg", SVG, "roc.svg", "roc"),
    ("log-figure", ["--name", "bars"], "fig", b'{"data": []}', "bars.json", "bars"),
    ("log-artifact", [], "a/model.pkl", b"\x80", "model.pkl", "model.pkl"),
    ("log-artifact", ["--path", "out/"], "model.pkl", b"\x80", "out/model.pkl", "out/model.pkl"),
    ("log-artifact", ["--name", "clf"], "model.pkl", b"\x80", "clf/v0/model.pkl", "clf"),
]


@pytest.fixture
def model(open_run: str, call: Any) -> str:
    two_versions(call)
    return open_run


# ---- logging


@pytest.mark.parametrize(("verb", "more", "file", "content", "path", "name"), LOGGED)
def test_a_file_is_logged_silently_under_its_name(
    verb: str, more: list[str], file: str, content: bytes, path: str, name: str, call: Any, open_run: str
) -> None:
    done = call(verb, written(file, content), *more, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    (found,) = listed(call)
    kind = verb.removeprefix("log-")
    wanted = kind if kind != "artifact" or found["version"] is not None else "file"
    assert (found["path"], found["name"], found["kind"], found["run_id"]) == (path, name, wanted, open_run)
    assert found["size"] == (None if verb == "log-table" else len(content))
    assert found["rows"] == (1 if verb == "log-table" else None)


@pytest.mark.parametrize(("verb", "more", "file", "content", "path", "name"), LOGGED)
def test_the_acknowledgement_has_the_promised_keys(
    verb: str, more: list[str], file: str, content: bytes, path: str, name: str, call: Any, open_run: str
) -> None:
    done = call(verb, written(file, content), *more, "--json")
    wanted = {"run_id": open_run, "n": 4, "step": None}  # after a param, a tag and a metric
    assert (json.loads(done.out), done.err) == (wanted | ({"version": 0} if name == "clf" else {}), "")


@pytest.mark.parametrize(
    ("words", "content", "path"),
    [
        (["log-table", "--name", "t", "--type", "jsonl"], b'{"a": 1}\n', "t.json"),
        (["log-html", "--name", "page"], b"<p>piped", "page.html"),
        (["log-text", "--name", "note"], b"piped", "note.txt"),
        (["log-dict", "--name", "d", "--type", "toml"], b"a = 1\n", "d.toml"),
        (["log-dict", "--name", "d.yml"], b"a: 1\n", "d.yml"),
        (["log-image", "--name", "i"], PNG, "i.png"),
        (["log-figure", "--name", "f"], SVG, "f.svg"),
    ],
)
def test_a_dash_is_standard_input(
    words: list[str], content: bytes, path: str, call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, content)
    done = call(*words, "-")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert [one["path"] for one in listed(call)] == [path]
    if words[0] != "log-table":
        assert call("artifacts", "get", path).out == path + "\n"
        assert Path(path).read_bytes() == content


def test_a_text_may_stand_on_the_command_line(call: Any, open_run: str) -> None:
    assert call("log-text", "--text", "-5 °C\n", "--name", "note.md").code == 0
    assert call("artifacts", "get", "note.md", "-o", "-").out == "-5 °C\n"


def test_an_image_with_a_step_is_one_of_a_series(call: Any, open_run: str, project: Path) -> None:
    written("cat.png", PNG)
    for step in ("0", "1", "-1"):
        done = call("log-image", "cat.png", "--name", "cats", "--step", step, "--json")
        assert json.loads(done.out)["step"] == int(step)
    found = listed(call)
    assert sorted((one["name"], one["step"]) for one in found) == [("cats", -1), ("cats", 0), ("cats", 1)]
    done = call("artifacts", "get", "cats", "-o", "out")
    assert sorted(done.out.split()) == sorted(str(path) for path in Path("out/cats").iterdir())
    assert len(list(Path("out/cats").iterdir())) == 3


# ---- tables


def test_rows_of_further_calls_are_appended_by_the_names_of_their_columns(call: Any, open_run: str) -> None:
    assert call("log-table", written("t.csv", "a,b\n1,x\n")).code == 0
    assert call("log-table", written("t.tsv", "b\ta\ny\t2\n")).code == 0
    assert call("log-table", "--name", "t", "--columns", "a,b", "--row", '3,"z, z"', "--row", "-4.5,").code == 0
    assert table(call, "t") == {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"], [3, "z, z"], [-4.5, None]]}
    assert [one["rows"] for one in listed(call)] == [4]


@pytest.mark.parametrize(
    ("name", "content", "columns", "rows"),
    [
        ("bom.csv", b"\xef\xbb\xbfa,b\n1,x\n", "ab", [[1, "x"]]),
        ("wide.csv", "a,b\r\n1,é\r\n".encode("utf-16"), "ab", [[1, "é"]]),
        ("quotes.csv", b'a,b\n"x, ""y""\nz",2\n\n', "ab", [['x, "y"\nz', 2]]),
        ("gaps.csv", b"a,b\n,x\n1.5,\nnan,=1+1\n", "ab", [[None, "x"], [1.5, ""], [None, "=1+1"]]),
        ("ids.csv", b"a,b\n007,1\n008,true\n", "ab", [["007", "1"], ["008", "true"]]),
        ("rows.json", b'[{"a": 1, "b": NaN}, {"b": {"c": [1, null]}}]', "ab", [[1, None], [None, {"c": [1, None]}]]),
        ("split.json", b'{"columns": ["a"], "data": [[1], [true]]}', "a", [[1], [True]]),
        ("lines.jsonl", b'{"b": "2", "a": -Infinity}\n\n{"a": 1}\n', "ba", [["2", -math.inf], [None, 1]]),
    ],
)
def test_cells_keep_their_types(
    name: str, content: bytes, columns: str, rows: list[list[Any]], call: Any, open_run: str
) -> None:
    assert call("log-table", written(name, content), "--name", "t").code == 0
    assert table(call, "t") == {"columns": list(columns), "data": rows}  # NaN is null, as pandas writes it


@pytest.mark.parametrize("way", ["file", "-"])
def test_a_column_of_numbers_that_is_logged_as_text_is_said_unless_quiet(
    way: str, call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"a,b\n1,1\n2,n.a.\nNA,3\n"
    where = "t.csv" if way == "file" else "standard input"
    for number, quiet in enumerate(([], ["-q"])):
        words = [written("t.csv", content)] if way == "file" else ["-", "--type", "csv"]
        piped(monkeypatch, content)
        done = call("log-table", *words, "--name", f"t{number}", *quiet)
        told = f"trk: warning: {where}: column 'b' is text: line 3: 'n.a.' is not a number\n"
        assert (done.code, done.out, done.err) == (0, "", "" if quiet else told)
        assert table(call, f"t{number}")["data"] == [[1, "1"], [2, "n.a."], [None, "3"]]


def test_a_parquet_file_is_a_table(call: Any, open_run: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="writes a Parquet file")
    pyarrow = pytest.importorskip("pyarrow", reason="writes a Parquet file")
    parquet.write_table(pyarrow.table({"a": [1, 2], "b": ["x", None]}), "t.parquet")
    assert call("log-table", "t.parquet").code == 0
    assert table(call, "t") == {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}


def test_columns_name_the_cells_of_a_file_without_a_header(call: Any, open_run: str) -> None:
    assert call("log-table", written("t.csv", "1,2\n3,4\n"), "--columns", "a,b").code == 0
    assert call("log-table", written("t.csv", "b,a\n6,5\n"), "--columns", "a,b").code == 0
    assert table(call, "t") == {"columns": ["a", "b"], "data": [[1, 2], [3, 4], [5, 6]]}


def test_a_table_too_large_for_the_journal_itself_comes_back_whole(call: Any, open_run: str) -> None:
    lines = "".join(f"{number},{'x' * 50}\n" for number in range(5_000))
    assert call("log-table", written("t.csv", "id,text\n" + lines)).code == 0
    assert table(call, "t")["data"] == [[number, "x" * 50] for number in range(5_000)]


# ---- files and artifacts


def test_folders_go_in_under_their_name_and_with_a_slash_without_it(call: Any, open_run: str) -> None:
    for name in ("data/train/a", "data/b", "c"):
        written(name, name)
    Path("data/link").symlink_to("b")
    assert call("log-artifact", "data", "c").code == 0
    assert call("log-artifact", "data/", "--path", "in").code == 0
    paths = ["c", "data/b", "data/link", "data/train/a", "in/b", "in/link", "in/train/a"]
    assert [one["path"] for one in listed(call)] == paths
    assert [one["path"] for one in listed(call, "--path", "in/train")] == ["in/train/a"]
    assert call("artifacts", "get", "data", "-o", "out").out.split() == [f"out/{path}" for path in paths[1:4]]
    assert Path("out/data/train/a").read_text() == "data/train/a"


def test_what_is_changed_after_it_was_logged_is_fetched_as_it_was(call: Any, open_run: str) -> None:
    assert call("log-artifact", written("a.txt", "before")).code == 0
    assert call("log-artifact", written("b.txt", "before"), "--no-snapshot").code == 0
    for name in ("a.txt", "b.txt"):
        written(name, "after!")
    assert call("artifacts", "get", "a.txt", "-o", "-").out == "before"
    done = call("artifacts", "get", "b.txt", "-o", "out.txt")
    assert (done.code, done.out) == (1, "")
    assert "b.txt is not what was logged" in done.err
    Path("b.txt").unlink()
    assert call("artifacts", "get", "b.txt", "-o", "out.txt").code == 4
    assert not Path("out.txt").exists()


def test_a_reference_stays_where_it_is_and_its_secrets_are_not_kept(call: Any, open_run: str, project: Path) -> None:
    uri = "s3://ada:hush@bucket/my%20data?token=hush"
    assert call("log-artifact", "--reference", uri, "--name", "set", "--type", "dataset", "-q").code == 0
    (found,) = listed(call)
    assert (found["path"], found["uri"], found["type"]) == (
        "set/v0/my data", "s3://bucket/my%20data?token=***", "dataset",
    )  # fmt: skip
    done = call("artifacts", "get", "set")
    assert (done.code, done.out) == (4, "")
    assert "stays at s3://bucket" in done.err
    for file in (project / ".trk").rglob("*"):
        assert file.is_dir() or b"hush" not in file.read_bytes()
    assert call("log-artifact", "--reference", "s3//ada:hush@bucket://x").code == 2


def test_a_bad_address_is_not_shown_with_its_password(call: Any, open_run: str) -> None:
    done = call("log-artifact", "--reference", "s3://ada:hush@bucket/\tdata")
    assert (done.code, "hush" in done.err) == (2, False)


def test_versions_count_up_and_the_same_content_is_the_same_version(call: Any, open_run: str) -> None:
    told = []
    for content in ("one", "two", "one", "two", "three"):
        done = call("log-artifact", written("model.pkl", content), "--name", "clf")
        assert (done.code, done.out) == (0, "")
        told.append(done.err)
    assert told == [f"clf v{version}\n" for version in (0, 1, 0, 1, 2)]
    assert [(one["version"], one["type"]) for one in listed(call)] == [(0, "model"), (1, "model"), (2, "model")]
    assert len(listed(call, "--history")) == 5
    done = call("log-artifact", "model.pkl", "--name", "clf", "--type", "dataset")
    assert (done.code, done.out) == (7, "")


def test_what_was_logged_before_at_a_path_is_listed_and_fetched_by_its_row(call: Any, open_run: str) -> None:
    numbers = []
    for page in ("<p>1", "<p>2"):
        done = call("log-html", written("page.html", page), "--json")
        numbers.append(str(json.loads(done.out)["n"]))
    assert [one["n"] for one in listed(call)] == [5]
    assert [str(one["n"]) for one in listed(call, "--history")] == numbers
    for number, page in zip(numbers, ("<p>1", "<p>2"), strict=True):
        assert call("artifacts", "get", "page", "--row", number, "-o", "-").out == page
    assert call("artifacts", "get", "page", "--row", "99").code == 4


@pytest.mark.parametrize(
    "words",
    [
        ["log-dict", "d.json", "--name", "t"],
        ["log-artifact", "t.json"],
        ["log-table", "t.json", "--name", "d"],
        ["log-text", "page.html", "--name", "t.json/page"],
        ["log-artifact", "page.html", "--path", "d.json"],
        ["log-artifact", "page.html", "--path", "clf/v0/model.pkl"],
        ["log-artifact", "clf"],
    ],
    ids=" ".join,
)
def test_what_would_be_two_things_at_one_path_is_refused(words: list[str], call: Any, model: str) -> None:
    assert call("log-table", written("t.json", '[{"a": 1}]')).code == 0
    assert call("log-dict", written("d.json", '{"data": []}')).code == 0
    written("page.html", "<p>")
    written("clf", "a file")
    line = refused(call, *words, code=7)
    assert "t.json is a" in line or "d.json is a" in line or "clf" in line


def test_an_ended_run_takes_no_content_and_gives_what_it_has(call: Any, model: str) -> None:
    assert call("end", "-q").code == 0
    page = written("page.html", "<p>")
    assert call("log-html", page).code == 3
    assert call("log-html", page, "--run", "one").code == 7
    assert call("log-html", page, "--run", "two").code == 4
    assert call("artifacts", "ls").code == 3
    assert len(listed(call, "--run", "@last")) == len(listed(call, "one")) == 2


# ---- as processes of their own


def test_a_script_logs_and_fetches(open_run: str, project: Path) -> None:
    script = """
        set -e -o pipefail
        printf 'id,score\\n1,0.5\\n' | "$@" log-table - --name scores --type csv
        "$@" log-table --name scores --columns id,score --row 2,-1e-3
        echo '<h1>It works</h1>' | "$@" log-html - --name report
        printf one > -m.pkl
        "$@" log-artifact -m.pkl --name clf
        "$@" log-artifact --json -- -m.pkl
        "$@" artifacts get clf -o - | cat
        "$@" artifacts get scores -o -
        "$@" artifacts ls --field path
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", *helpers.COMMAND], env=helpers.child_environment(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "clf v0\n")
    assert done.stdout == (
        f'{{"run_id": "{open_run}", "n": 8, "step": null}}\n'
        'one{"columns":["id","score"],"data":[[1,0.5],[2,-0.001]]}'
        "-m.pkl\nclf/v0/-m.pkl\nreport.html\nscores.json\n"
    )


@pytest.mark.parametrize("verb", ["log-html", "log-text", "log-table"])
def test_a_dash_with_nothing_piped_in_is_refused(verb: str, open_run: str) -> None:
    words = [*helpers.COMMAND, verb, "-", "--name", "x", *(["--type", "csv"] if verb == "log-table" else [])]
    for stdin in ("<&-", "</dev/null"):
        done = subprocess.run(
            ["bash", "-c", f'"$@" {stdin}', "bash", *words], env=helpers.child_environment(),
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "standard input" in done.stderr


HEAVY = {"typer", "rich", "click", "pandas", "numpy", "pyarrow", "mlflow", "wandb", "yaml", "tempfile", "dataclasses"}


@pytest.mark.parametrize(
    "words",
    [
        ["log-table", "t.csv"],
        ["log-table", "t.jsonl", "--json"],
        ["log-table", "--name", "r", "--columns", "a,b", "--row", "1,x"],
        ["log-html", "page.html"],
        ["log-text", "page.html"],
        ["log-dict", "d.json"],
        ["log-image", "i.png", "--step", "1"],
        ["log-figure", "i.svg"],
        ["log-artifact", "t.csv", "--name", "set"],
    ],
    ids=" ".join,
)
def test_the_fast_path_imports_nothing_heavy(words: list[str], open_run: str) -> None:
    given = {
        "t.csv": "a,b\n1,x\n",
        "t.jsonl": '{"a": 1}',
        "page.html": "<p>",
        "d.json": "{}",
        "i.png": PNG,
        "i.svg": SVG,
    }
    for name, content in given.items():
        written(name, content)
    done = subprocess.run(
        [sys.executable, "-S", "-X", "importtime", "-m", "trk_cli", *words],  # -S: .pth files import what they like
        env=helpers.child_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    told = [line for line in lines if not line.startswith("import time:")]
    assert (done.returncode, told) == (0, ["set v0"] if "set" in words else [])
    assert "trk_cli.content" in imported
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()
