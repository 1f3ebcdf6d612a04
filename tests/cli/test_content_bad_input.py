"""Bad tables, pages, documents, images and files: one line that names the value and the rule, and nothing written."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cli.contents import PNG, kept, listed, piped, refused, table, written

VERBS = {
    "log-table": ".csv",
    "log-html": ".html",
    "log-text": ".txt",
    "log-dict": ".json",
    "log-image": ".png",
    "log-figure": ".svg",
    "log-artifact": ".bin",
}
GOOD: dict[str, bytes] = {
    "log-table": b"a\n1\n",
    "log-html": b"<p>",
    "log-text": b"x",
    "log-dict": b"{}",
    "log-image": PNG,
    "log-figure": b"<svg></svg>",
    "log-artifact": b"x",
}
DEEP = b"[" * 10_000 + b"]" * 10_000

# file, content, more words, what the line says
TABLES: list[tuple[str, bytes, list[str], str]] = [
    ("short.csv", b"a,b\n1,2\n3\n", [], "short.csv, line 3: 1 cell, where the header has 2"),
    ("long.csv", b"a,b\n1,2,3\n", [], "long.csv, line 2: 3 cells, where the header has 2"),
    ("tabs.tsv", b"a\tb\n1\n", [], "tabs.tsv, line 2: 1 cell"),
    ("twice.csv", b"a,b,a\n1,2,3\n", [], "twice.csv, line 1: column 'a' is there twice"),
    ("bare.csv", b"1,2\n3,4\n", [], "the first line looks like data, not a header (--columns"),
    ("head.csv", b"a,b\n", [], "head.csv: the table has no rows"),
    ("noname.csv", b",b\n1,2\n", [], "column 1 has no name"),
    ("blank.csv", b" \n\n", [], "column 1 has no name"),
    ("open.csv", b'a,b\n"1,2\n3,4\n', [], "open.csv, line 2: a quote is opened here and never closed"),
    ("after.csv", b'a,b\n"1"x,2\n', [], "text goes on after a closing quote"),
    ("nul.csv", b"a,b\n1,\0\n", [], "nul.csv, line 2: there is a NUL character"),
    ("latin.csv", b"a,b\n1,caf\xe9\n", [], "latin.csv is not UTF-8 text (byte 9, line 2)"),
    ("binary.csv", bytes(range(256)), [], "is not UTF-8 text"),
    ("nomark.csv", "a,b\n1,2\n".encode("utf-16-le"), [], "UTF-16 needs its byte order mark"),
    ("cut16.csv", "a,b\n1,2\n".encode("utf-16")[:-1], [], "is not UTF-16 text"),
    ("acts.csv", b"a,b\x1b[31m\n1,2\n", [], r"column 'b\x1b[31m' has the invisible character"),
    ("named.csv", b"a," + b"b" * 251 + b"\n1,2\n", [], "has 251 characters; at most 250"),
    ("many.csv", b"a" + b",a" * 10_001 + b"\n", [], "is there twice"),
    ("semi.csv", b"a;b\n1;2\n", [], "semi.csv, line 1: its cells seem to be separated by semicolons"),
    ("tab.csv", b"a\tb\n1\t2\n", [], "its cells seem to be separated by tabs, not by commas (--type tsv)"),
    ("cut.json", b'[{"a": 1', [], "cut.json: not valid JSON"),
    ("keys.json", b'[{"a": 1, "a": 2}]', [], "keys.json: 'a' is given twice"),
    ("deep.json", DEEP, [], "deep.json: nested too deeply"),
    ("cell.json", b'[{"a": ' + b"[" * 300 + b"]" * 300 + b"}]", [], "column 'a' is nested too deeply"),
    ("scalar.json", b"3", [], "a table is a list of objects, or an object of lists, not 3"),
    ("none.json", b"[]", [], "none.json: the table has no rows"),
    ("lists.json", b"[[1]]", [], "row 1 is a list, whose values have no names (--columns"),
    ("objects.json", b'{"a": {"b": 1}}', [], "an object of objects"),
    ("mixed.json", b'[{"a": 1}, 3]', [], "mixed.json: row 2 is 3"),
    ("uneven.json", b'{"a": [1, 2], "b": [1]}', [], "column 'b' has 1 value, and column 'a' has 2"),
    ("wide.json", b'[{"a": 9223372036854775808}]', [], "9223372036854775808 does not fit 64 bits"),
    ("huge.json", b'[{"a": 1e999}]', [], "'1e999' is larger than a double can hold"),
    ("digits.json", b'[{"a": ' + b"1" * 5_000 + b"}]", [], "does not fit 64 bits"),
    ("half.json", b'[{"a": "\\ud800"}]', [], "is not valid UTF-8"),
    ("zero.json", b'[{"a": "\\u0000"}]', [], "contains a NUL character"),
    ("cut.jsonl", b'{"a": 1}\n{"a":\n', [], "cut.jsonl, line 2: not valid JSON"),
    ("keys.jsonl", b'{"a": 1}\n{"a": 1, "a": 2}\n', [], "keys.jsonl, line 2: 'a' is given twice"),
    ("deep.jsonl", DEEP, [], "deep.jsonl, line 1: nested too deeply"),
    ("mixed.jsonl", b'{"a": 1}\n[1]\n', [], "line 2: a list, where the first line is an object"),
    ("t.xlsx", b"PK\x03\x04", [], "its ending is none of .csv"),
    ("t.csv", b"a\n1\n", ["--type", "xlsx"], "type 'xlsx' is not one of csv"),
    ("t.csv", b"a\n1\n", ["--type", "json"], "t.csv: not valid JSON"),
    ("t.csv", b"a\n1\n", ["--columns", "a,a"], "column 'a' is there twice"),
    ("t.csv", b"a\n1\n", ["--columns", "x,y"], "where the columns named are 2"),
    ("t.csv", b"a\n1\n", ["--columns", ""], "--columns is empty"),
    ("t.csv", b"a\n1\n", ["--row", "1"], "log-table takes a FILE, or --columns and --row"),
    ("known.csv", b"a,c\n1,2\n", [], "table known has the columns 'a', 'b', and these rows have 'a', 'c'"),
    ("known.csv", b"a\n1\n", [], "table known has the columns 'a', 'b', and these rows have 'a'"),
    ("known.csv", b"a,b,c\n1,2,3\n", [], "table known has the columns 'a', 'b', and these rows have 'a', 'b', 'c'"),
]
DOCUMENTS = [
    ("log-dict", "cut.json", b'{"a":', "'cut.json' is not valid JSON"),
    ("log-dict", "empty.json", b"", "'empty.json' is not valid JSON"),
    ("log-dict", "nan.json", b'{"a": NaN}', "'nan.json': NaN is not JSON"),
    ("log-dict", "huge.json", b'{"a": 1e999}', "'1e999' is larger than a double can hold"),
    ("log-dict", "keys.json", b'{"a": 1, "a": 2}', "'keys.json': 'a' is given twice"),
    ("log-dict", "deep.json", DEEP, "'deep.json' is nested too deeply"),
    ("log-dict", "deeper.json", b"[" * 300 + b"]" * 300, "nested too deeply: more than 200 levels"),
    ("log-dict", "scalar.json", b"3", "must be a mapping of names to values, or a list"),
    ("log-dict", "wide.json", '{"a": 1}'.encode("utf-16"), "'wide.json' is not UTF-8 (byte 0)"),
    ("log-dict", "cut.yaml", b"a: [1", "is not valid YAML"),
    ("log-dict", "tag.yaml", b"a: !!python/object/apply:os.system [true]", "is not valid YAML"),
    ("log-dict", "keys.yaml", b"a: 1\na: 2\n", "'a' is given twice"),
    ("log-dict", "two.yaml", b"a: 1\n---\nb: 2\n", "is not valid YAML"),
    ("log-dict", "keys.toml", b"a = 1\na = 2\n", "is not valid TOML"),
    ("log-dict", "none.txt", b"{}", "must end in .json, .yaml, .yml, .toml (or say which with --type)"),
    ("log-html", "words.html", b"plain words", "'words.html' is not HTML: there is no tag in it"),
    ("log-html", "less.html", b"1 < 2 and 3 > 2", "is not HTML"),
    ("log-html", "image.html", PNG + b"<p>", "is not HTML"),
    ("log-text", "latin.txt", b"caf\xe9", "'latin.txt' is not UTF-8 (byte 3)"),
    ("log-text", "binary.txt", bytes(range(256)), "there is a NUL byte in it (trk log-artifact)"),
    ("log-image", "cut.png", PNG[:4], "'cut.png' is not an image"),
    ("log-image", "page.svg", b"<p>", "'page.svg' is not an image"),
    ("log-figure", "cut.json", b'{"data": [', "'cut.json' is not valid JSON"),
    ("log-figure", "bytes.json", b'{"data": [\xff]}', "'bytes.json' is not UTF-8 (byte 10)"),
    ("log-figure", "nan.json", b'{"data": [NaN]}', "'nan.json': NaN is not JSON"),
    ("log-figure", "keys.json", b'{"data": [], "data": []}', "'data' is given twice"),
    ("log-figure", "deep.json", b'{"data": ' + DEEP + b"}", "'deep.json' is nested too deeply"),
    ("log-figure", "other.json", b'{"layout": {}}', "is not a figure of Plotly: it has no list `data`"),
    ("log-figure", "words.pdf", b"words", "'words.pdf' is not a figure"),
]
PATHS = [
    "..", "../up", "/abs", "/", "", "a/../../b", "a//b", "a/./b", "a\\b", "a?b", "a#b", "a%2e%2e", "file:x", "trk",
    "trk/x", " a", "a\n", "nul\0", "\u202ea", "x" * 251, "é" * 200, "a/" * 501 + "a", "\x1b[31m", "\udcff",
]  # fmt: skip
NAMES = ["", "..", "../up", "/abs", "a/../../b", "a//b", "a\\b", "a=b", "[red]", "<b>", "a|b", "\x1b[31m", "\n",
         "\u202ea", " a", "x" * 251, "\udcff", "trk/x"]  # fmt: skip
LINES: list[list[str]] = [
    ["log-table"],
    ["log-table", "--name", "x"],
    ["log-table", "--row", "1"],
    ["log-table", "--row", "1", "--columns", "a"],
    *(
        ["log-table", "--name", "x", "--columns", "a", "--row", row]
        for row in ("1,2", "", '"1', "1\n2", "\udcff", "\0")
    ),
    ["log-table", "--name", "x", "--columns", "a", "--row", "1", "--row", "1,2"],
    ["log-table", "-", "--name", "x"],
    ["log-table", "-", "--type", "csv"],
    ["log-table", "good.csv", "good.csv"],
    ["log-table", "good.csv", "--name", "a:b"],
    ["log-html"],
    ["log-html", "good.html", "good.html"],
    ["log-html", "good.html", "--nmae", "x"],
    ["log-html", "good.html", "--name"],
    ["log-text"],
    ["log-text", "--text", "x"],
    ["log-text", "good.txt", "--text", "x"],
    *(["log-text", "--name", "x", "--text", text] for text in ("", " ", "\udcff", "\0")),
    ["log-dict", "good.json", "--type", "xml"],
    ["log-dict", "good.json", "--name", "x.yaml"],
    ["log-image", "good.png", "--name", "x.jpg"],
    *(["log-image", "good.png", "--name", name, "--step", "1"] for name in ("é", "a:b", ".png", "a/../b")),
    *(["log-image", "good.png", "--step", step] for step in ("1.5", "9223372036854775808", "", "+3", "x")),
    ["log-figure", "good.svg", "--name", "x.png"],
    ["log-artifact"],
    ["log-artifact", "good.bin", "missing"],
    ["log-artifact", "good.bin", "./good.bin"],
    ["log-artifact", "good.bin", "--type", "model"],
    *(["log-artifact", "good.bin", "--name", "x", "--type", type_] for type_ in ("", "a\nb", "[red]", "\udcff")),
    ["log-artifact", "good.bin", "--name", "a:v0"],
    ["log-artifact", ".trk"],
    ["log-artifact", ".trk/journal.db", "missing"],
    *(["log-artifact", "good.bin", "--path", path] for path in PATHS),
    *(
        ["log-artifact", "--reference", uri]
        for uri in ("", "x", "s3://", "://x", "s3:/x", "s3://b/\n", "s3://b/..", "s3://b/%2e%2e", "\udcff://x", "1s://b/x",
                    "javascript:alert(1)", "file:///", "s3://b/a\\b", "s3://b/\x1b[31m")
    ),
    *([verb, f"good{ending}", "--name", name] for verb, ending in VERBS.items() for name in NAMES),
    *([verb, f"good{ending}", "--run", ""] for verb, ending in VERBS.items()),
]  # fmt: skip


def test_bad_words_are_refused_in_one_line_and_nothing_is_written(call: Any, open_run: str) -> None:
    for verb, ending in VERBS.items():
        written(f"good{ending}", GOOD[verb])
    for words in LINES:
        try:
            refused(call, *words, code=4 if words[2:] == ["--run", ""] else 2)
        except AssertionError as problem:
            raise AssertionError(f"{[word[:80] for word in words]}: {problem}") from None


@pytest.mark.parametrize(
    ("name", "content", "more", "says"), TABLES, ids=[f"{one[0]}-{n}" for n, one in enumerate(TABLES)]
)
def test_a_bad_table_is_refused_by_its_place(
    name: str, content: bytes, more: list[str], says: str, call: Any, open_run: str
) -> None:
    assert call("log-table", "--name", "known", "--columns", "a,b", "--row", "1,2").code == 0
    assert says in refused(call, "log-table", written(name, content), *more)
    assert table(call, "known")["data"] == [[1, 2]]


def test_a_table_that_is_bad_after_many_rows_leaves_nothing(call: Any, open_run: str) -> None:
    written("t.csv", "a,b\n" + "1,0.5\n" * 100_000 + "1\n")
    assert "t.csv, line 100002: 1 cell" in refused(call, "log-table", "t.csv")
    written("t.jsonl", '{"a": 1}\n' * 100_000 + '{"a": NaN, "a": 1}\n')
    assert "t.jsonl, line 100001: 'a' is given twice" in refused(call, "log-table", "t.jsonl")


def test_a_file_that_is_no_parquet_is_refused(call: Any, open_run: str) -> None:
    pytest.importorskip("pyarrow", reason="reads Parquet")
    for content in (b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"a,b\n1,2\n", bytes(range(256))):
        assert "not a Parquet file" in refused(call, "log-table", written("t.parquet", content))


@pytest.mark.parametrize(
    ("verb", "name", "content", "says"), DOCUMENTS, ids=[f"{one[0]}-{one[1]}" for one in DOCUMENTS]
)
def test_a_bad_file_is_refused_by_its_name(
    verb: str, name: str, content: bytes, says: str, call: Any, open_run: str
) -> None:
    line = refused(call, verb, written(name, content))
    assert says in line
    assert name in line


def test_bad_standard_input_is_refused(call: Any, open_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, content, says in [
        (["log-table", "--name", "x", "--type", "csv"], b"", "standard input is empty"),
        (["log-table", "--name", "x", "--type", "csv"], b"a\n", "standard input: the table has no rows"),
        (["log-table", "--name", "x", "--type", "jsonl"], b"{}\n{", "standard input, line 2"),
        (["log-html"], b"<p>", "standard input needs a name (--name NAME)"),
        (["log-html", "--name", "x"], b"words", "standard input is not HTML"),
        (["log-text", "--name", "x"], b"\xff", "standard input is not UTF-8 (byte 0)"),
        (["log-dict", "--name", "x"], b"{}", "standard input must end in .json"),
        (["log-dict", "--name", "x", "--type", "json"], b"{", "standard input is not valid JSON"),
        (["log-image", "--name", "x"], b"", "standard input is empty"),
        (["log-figure", "--name", "x"], b"words", "standard input is not a figure"),
    ]:
        piped(monkeypatch, content)
        assert says in refused(call, *words, "-")


# ---- what is no file, or has no name for a run


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_file_is_refused_and_never_waited_for(verb: str, call: Any, open_run: str) -> None:
    end = VERBS[verb]
    Path(f"folder{end}").mkdir()
    Path(f"loop{end}").symlink_to(f"loop{end}")
    Path(f"gone{end}").symlink_to("nowhere")
    Path("file").write_bytes(b"x")
    os.mkfifo(f"fifo{end}")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"sock{end}")
    names = ["missing", "folder", "loop", "gone", "fifo", "sock", "nul\0", "x" * 300, "é" * 300, "file/x", "",
             "/" * 5_000, "gone\udcff", "gone\n", "\x1b[31m", "a/" * 100]  # fmt: skip
    for name in names:
        refused(call, verb, "--", name + end)
    for name in ("", "/dev/zero", "nowhere/"):
        refused(call, verb, name)
    if verb != "log-artifact":  # an empty file is a file
        assert f"empty{end}" in refused(call, verb, written(f"empty{end}", b""))
        refused(call, verb, written(f"blank{end}", b" \n\n"))
        refused(call, verb, ".")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that even root can't read")
@pytest.mark.parametrize("verb", VERBS)
def test_an_unreadable_file_is_refused(verb: str, call: Any, open_run: str) -> None:
    more = {"log-table": ["--type", "csv"], "log-dict": ["--type", "json"]}.get(verb, [])
    line = refused(call, verb, "/proc/self/mem", *more)
    assert "can't be read" in line or "is empty" in line  # the system says that it has no bytes
    if os.geteuid() != 0:
        path = Path(written(f"a{VERBS[verb]}", GOOD[verb]))
        path.chmod(0)
        assert "can't be read: Permission denied" in refused(call, verb, str(path))


@pytest.mark.parametrize(
    "name",
    ["with space", "new\nline", "-x", "--name", "--a=b", "\udcff", "é", "@a", "=1+1", "[red]", "a|b", "\x1b[31m"],
    ids=ascii,
)
def test_a_file_may_be_called_anything_when_what_it_becomes_has_a_name(name: str, call: Any, open_run: str) -> None:
    for verb, end in VERBS.items():
        file = written(name + end, GOOD[verb])
        if verb != "log-artifact":
            assert call(verb, "--name", verb, "--", file).code == 0, verb
    assert len(listed(call)) == len(VERBS) - 1
    for verb in ("log-table", "log-html"):
        before = kept()
        done = call(verb, "--", name + VERBS[verb])
        if name in ("with space", "-x", "--name", "é"):
            assert done.code == 0
        else:
            assert (done.code, kept()[:2]) == (2, before[:2])
            assert "(--name NAME)" in done.err
    file = name + ".bin"
    if file.isprintable():
        assert call("log-artifact", "--", file).code == 0
        assert file in [one["path"] for one in listed(call)]
    else:
        refused(call, "log-artifact", "--", file)


def test_links_of_a_folder_may_not_leave_it_or_go_round(call: Any, open_run: str) -> None:
    written("outside", "x")
    written("folder/inside", "x")
    for target, says in {
        "../outside": "leads out of its folder",
        "/etc/passwd": "leads out of its folder",
        "..": "leads out of its folder",
        "../.trk": "leads out of its folder",
        ".": "leads back to a folder that it is in",
        "link": "leads nowhere, or round",
        "nowhere": "leads nowhere, or round",
    }.items():
        Path("folder/link").symlink_to(target)
        line = refused(call, "log-artifact", "folder")
        assert (says in line, "folder/link" in line) == (True, True), line
        Path("folder/link").unlink()
    for name, says in {"a\nb": "can't be seen", "\udcff": "can't be seen", " x": "begins or ends with a space"}.items():
        path = Path(written(f"folder/{name}", "x"))
        assert says in refused(call, "log-artifact", "folder")
        path.unlink()
    os.mkfifo("folder/fifo")
    assert "'folder/fifo' is a pipe, not a file" in refused(call, "log-artifact", "folder")
    Path("folder/fifo").unlink()
    Path("alias").symlink_to("outside")  # named by the user, so it is meant
    assert call("log-artifact", "folder", "alias").code == 0


# ---- large ones


def test_files_of_five_gigabytes_that_are_nothing_are_refused_at_once(call: Any, open_run: str) -> None:
    for verb, end in VERBS.items():
        if verb == "log-artifact":
            continue
        head = b'{"data": [' if verb == "log-figure" else b"" if verb == "log-image" else b"a\n"
        with open(written(f"big{end}", head), "r+b") as big:
            big.truncate(5_000_000_000)  # sparse: takes no room
        line = refused(call, verb, f"big{end}")
        assert f"big{end}" in line
    assert "larger than 50 MB" in refused(call, "log-dict", "big.json")


def test_a_page_of_50_megabytes_with_scripts_is_kept_as_it_is(call: Any, open_run: str) -> None:
    page = b"<script>alert(1)</script>" + b"<p>x</p>\n" * 5_600_000
    assert call("log-html", written("page.html", page)).code == 0
    assert call("artifacts", "get", "page", "-o", "copy").code == 0
    assert Path("copy").read_bytes() == page
