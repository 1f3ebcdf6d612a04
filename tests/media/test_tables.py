"""Tables in files: what is written is read back with its types, in little memory; what is wrong is said in a line."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
import os
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import trk
from helpers import program
from trk.errors import JournalError, UsageError
from trk.media import table_source, table_text, tables
from trk.rules import parse_number

NAMES = st.lists(
    st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="\u2028\u2029"), min_size=1, max_size=12),
    min_size=1,
    max_size=5,
    unique=True,
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def read(
    content: bytes | str, type_: str = "csv", columns: list[str] | None = None, said: list[str] | None = None
) -> tuple[list[str], list[Any]]:
    """The columns and all rows of a table on standard input; what is said of its columns goes to `said`."""
    data = content.encode() if isinstance(content, str) else content
    found = tables.read_bytes(io.BytesIO(data), type=type_, columns=columns, warn=([] if said is None else said).append)
    return found.columns, list(found.rows)


def refused(call: Any, *given_: Any, **named: Any) -> UsageError:
    """The UsageError of a table that is refused, at once or while its rows are taken: always one short line."""

    def take() -> None:
        found = call(*given_, **named)
        if isinstance(found, tables.Parsed):
            list(found.rows)

    with pytest.raises(UsageError) as caught:
        take()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    return caught.value


def column(*cells: str) -> list[Any]:
    """What the cells of one column are read as."""
    text = io.StringIO()
    csv.writer(text).writerows([["a"], *([cell] for cell in cells)])
    return [row[0] for row in read(text.getvalue())[1]]


def same(one: Any, other: Any) -> bool:
    """Equal in value and type; NaN is NaN."""
    return json.dumps(one) == json.dumps(other) and repr(one) == repr(other)


# ---- types


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        (["1", "", "2"], [1, None, 2]),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e3", "-.5", "5.", "+0.5"], [1000.0, -0.5, 5.0, 0.5]),
        (["1", "-0"], [1.0, -0.0]),
        (["1", "nan", "-inf", "Infinity"], [1.0, math.nan, -math.inf, math.inf]),
        (["0.5", "NaN", ""], [0.5, math.nan, None]),
        (["0.5", "100000000000000000000"], [0.5, 1e20]),
        (["0.5", "+1"], [0.5, 1.0]),
        (["true", "False", "TRUE", ""], [True, False, True, None]),
        (["", "", ""], [None, None, None]),
    ],
)
def test_a_column_of_numbers_or_truths_is_read_as_such(cells: list[str], values: list[Any]) -> None:
    assert same(column(*cells), values)


@pytest.mark.parametrize(
    "cells",
    [
        ["007", "008"],
        ["0.5", "007"],
        ["0.5", "-00.5"],
        ["+49123456789", "1"],
        ["12345678901234567890", "1"],
        ["nan", "inf"],
        ["nan", ""],
        ["+1", "nan"],
        ["1", "two"],
        ["1", " 2"],
        ["1_000", "2"],
        ["1,5", "2,5"],
        ["1e999", "1"],
        ["0x10", "1"],
        ["١", "1"],
        ["½"],
        ["true", "1"],
        ["true", "nan"],
        ["tRue", "false"],
        ["1" * 401, "0.5"],
        ["1" * 5000],
        ["--1", "1"],
        ["1-2"],
        ["-"],
        ["e"],
        [" "],
        ["x", ""],
        ["2026-01-01"],
    ],
)
def test_other_columns_are_text_exactly_as_written(cells: list[str]) -> None:
    assert column(*cells) == cells
    assert column(*reversed(cells)) == cells[::-1]


@pytest.mark.parametrize("at", [0, 1, 4_999, 12_345, 29_999])
@pytest.mark.parametrize(
    ("common", "odd", "kind"),
    [("1", "x", str), ("1", "0.5", float), ("0.5", "007", str), ("0.5", "nan", float), ("true", "1", str)],
)
def test_the_whole_file_decides_about_a_column(at: int, common: str, odd: str, kind: type) -> None:
    cells = [common] * 30_000
    cells[at] = odd
    assert {type(value) for value in column(*cells)} == {kind}


NUMBERS = st.one_of(
    WHOLE.map(str),
    st.floats().map(repr),
    st.text("0123456789+-.eE", min_size=1, max_size=8),
    st.sampled_from(["nan", "-inf", "true", "False", "", "007", "-0", "x"]),
)


@given(st.lists(NUMBERS, min_size=1, max_size=8))
@example(["0", "00"])
@example(["-0", "+0", "nan"])
def test_numbers_are_what_the_one_parser_of_numbers_says(cells: list[str]) -> None:
    for text, value in zip(cells, column(*cells), strict=True):
        if isinstance(value, str):
            assert value == text
        elif value is None:
            assert text == ""
        elif isinstance(value, bool):
            assert text.lower() == str(value).lower()
        elif isinstance(value, int):
            assert str(value) == text
        else:
            assert same(value, parse_number(text))
            assert text.lstrip("+-")[:2].strip("0123456789") or text.lstrip("+-")[:1] != "0" or len(text) < 3


@given(NAMES, st.data())
def test_what_the_csv_module_writes_is_read_back_with_its_types(names: list[str], data: st.DataObject) -> None:
    assume(not all(_is_number(name) for name in names))
    count = data.draw(st.integers(1, 6))
    kinds = [WHOLE, st.floats(allow_nan=False), st.booleans(), TEXTS.filter(_is_word)]
    values = [data.draw(st.lists(data.draw(st.sampled_from(kinds)), min_size=count, max_size=count)) for _ in names]
    rows = [list(row) for row in zip(*values, strict=True)]
    for type_, delimiter in (("csv", ","), ("tsv", "\t")):
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([names, *rows])
        columns, found = read(text.getvalue(), type_)
        assert columns == names
        assert [[_as_read(value) for value in row] for row in found] == [[_as_read(v) for v in row] for row in rows]


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except UsageError:
        return False
    return True


def _is_word(text: str) -> bool:
    """A text that no reader takes for something else."""
    return bool(text) and not _is_number(text) and text.lower() not in ("true", "false")


def _as_read(value: Any) -> Any:
    """Floats that are all written as infinite are text: `inf` is a number only beside one."""
    return ("number", float(str(value))) if str(value) in ("inf", "-inf") or type(value) is float else value


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), min_size=1, max_size=5))
def test_json_and_jsonl_are_read_back_as_they_were_written(rows: list[list[Any]]) -> None:
    objects = [dict(zip("ab", row, strict=True)) for row in rows]
    for type_, content in (
        ("json", json.dumps(objects)),
        ("json", json.dumps({"columns": ["a", "b"], "data": rows})),
        ("json", json.dumps({"a": [row[0] for row in rows], "b": [row[1] for row in rows]})),
        ("jsonl", "\n".join(json.dumps(one, ensure_ascii=False) for one in objects)),
    ):
        columns, found = read(content, type_)
        assert columns == ["a", "b"]
        assert same(found, rows)


@pytest.mark.parametrize("mark", ["", "NA", "N/A", "n/a", "null", "NULL", "None"])
@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "*", "-2"], [1, None, -2]),
        (["*", "0.5", "*", "1"], [None, 0.5, None, 1.0]),
        (["true", "*", "False"], [True, None, False]),
        (["0.5", "nan", "*"], [0.5, math.nan, None]),
    ],
)
def test_a_mark_of_what_is_missing_is_none_among_numbers_and_truths(
    mark: str, cells: list[str], values: list[Any]
) -> None:
    said: list[str] = []
    text = "a,b\n" + "".join(f"{cell.replace('*', mark)},x\n" for cell in cells)
    assert same([row[0] for row in read(text, said=said)[1]], values)
    assert said == []


def test_several_marks_far_apart_leave_a_column_of_numbers() -> None:
    cells = ["1"] * 30_000
    cells[3], cells[17_000], cells[29_999] = "NA", "null", ""
    found = column(*cells)
    assert [found[3], found[17_000], found[29_999]] == [None] * 3
    assert sum(value or 0 for value in found) == 29_997


@pytest.mark.parametrize(
    "cells",
    [["NA"], ["NA", "null"], ["Oslo", "NA", "None"], ["NA", "nan"], ["", "NA"], ["na", "1"], ["true", "1", "NA"]],
)
def test_a_mark_of_what_is_missing_is_text_in_a_column_of_text(cells: list[str]) -> None:
    assert column(*cells) == cells


def said_of(*cells: str) -> list[str]:
    """What is said of a column `b` of these cells, which stand in the lines from 2 on."""
    text, said = io.StringIO(), []  # type: ignore[var-annotated]
    csv.writer(text).writerows([["a", "b"], *([1, cell] for cell in cells)])
    read(text.getvalue(), said=said)
    return said


@pytest.mark.parametrize(
    ("cells", "line", "why"),
    [
        (["1", "2", "x"], 4, "'x' is not a number"),
        (["0.5", "N.A.", "", "1e3"], 3, "'N.A.' is not a number"),
        (["1", "NA", "2", "-", "x", "3"], 5, "'-' is not a number"),
        (["1", "2", "true"], 4, "'true' is not a number"),
        (["1", "2", " 3"], 4, "' 3' is not a number"),
        (["10", "0.5", "007"], 4, "'007' begins with 0"),
        (["1", "2", "+4712345"], 4, "'+4712345' begins with +"),
        (["1", "2", "1e999"], 4, "'1e999' is larger than a double can hold"),
        (["1", "12345678901234567890"], 3, "'12345678901234567890' does not fit 64 bits"),
        (["12345678901234567890"], 2, "'12345678901234567890' does not fit 64 bits"),
        (["0.5", "9007199254740993"], 3, "'9007199254740993' would lose digits beside numbers with a fraction or nan"),
        (["-9007199254740993", "1e3"], 2, "'-9007199254740993' would lose digits"),
        (["9007199254740993", "nan"], 2, "'9007199254740993' would lose digits"),
        (["0.5", "12345678901234567890", "NA"], 3, "'12345678901234567890' would lose digits"),
    ],
)
def test_a_column_of_numbers_that_becomes_text_is_said_with_the_cell_that_makes_it_so(
    cells: list[str], line: int, why: str
) -> None:
    assert column(*cells) == cells
    (said,) = said_of(*cells)
    assert said.startswith(f"standard input: column 'b' is text: line {line}: {why}")


@pytest.mark.parametrize("at", [0, 1, 1_999, 2_000, 29_999])
@pytest.mark.parametrize(("common", "odd"), [("1", "x"), ("0.5", "9007199254740993"), ("1", "12345678901234567890")])
def test_the_cell_is_found_wherever_it_stands(at: int, common: str, odd: str) -> None:
    cells = [common] * 30_000
    cells[at] = odd
    (said,) = said_of(*cells)
    assert f": line {at + 2}: '{odd}' " in said


def test_the_line_is_the_files_own_below_blank_ones_and_cells_of_several_lines() -> None:
    said: list[str] = []
    read('\na,b,c\n"x\ny",1,0.5\n\nz,2,1.5\n"z\n",x,?\nw,4,2\n', said=said)
    assert [line.partition(": ")[2] for line in said] == [
        "column 'b' is text: line 7: 'x' is not a number",
        "column 'c' is text: line 7: '?' is not a number",
    ]


def test_the_line_is_right_without_a_header_and_names_the_columns_given() -> None:
    said: list[str] = []
    assert read("1,x\nfoo,y\n2,z\n3,z\n", columns=["n", "word"], said=said)[1][0] == ["1", "x"]
    assert said == ["standard input: column 'n' is text: line 2: 'foo' is not a number"]


@pytest.mark.parametrize(
    "cells",
    [
        ["x", "y", "1"],
        ["1", "x"],
        ["2026-01-01", "2026-01-02"],
        ["007", "008", "1"],
        ["+49123", "+49124", "1"],
        ["NA", "x"],
        ["nan", "inf"],
        ["true", "false", "1"],
        ["1.2.3.4", "1.2.3.5"],
        ["0.5", "100000000000000000000", "9007199254740992"],  # what a double holds is a number
        ["9007199254740993", "1"],
        ["9007199254740993", "NA"],
        ["x"] * 9_000 + ["1"] * 8_000,
        ["1"] * 900 + ["x"] * 9_000,
    ],
    ids=lambda cells: cells[0],
)
def test_of_other_columns_nothing_is_said(cells: list[str]) -> None:
    assert said_of(*cells) == []


def test_whole_numbers_keep_all_their_digits() -> None:
    ids = [str(2**53 + 1), str(-(2**53) - 1), str(2**63 - 1)]
    assert column(*ids) == [int(one) for one in ids]
    assert column(*ids, "NA") == [*(int(one) for one in ids), None]
    assert column(*ids, "0.5") == [*ids, "0.5"]
    assert column(*["0.5"] * 5_000, *ids)[-3:] == ids
    assert column(*ids, *["0.5"] * 5_000)[:3] == ids


def test_python_is_warned_where_the_table_is_logged_from(project: Path) -> None:
    Path("t.csv").write_text("a\n1\n2\nx\n")
    run = trk.start("warned", experiment="tests")
    with pytest.warns(UserWarning, match=r"t\.csv: column 'a' is text: line 4: 'x' is not a number") as caught:
        run.log_table("t", "t.csv")
    assert [one.filename for one in caught] == [__file__]
    with pytest.raises(UserWarning):  # where warnings are errors, as in these tests, nothing is written
        run.log_table("u", "t.csv")
    assert run.journal.read("SELECT count(*) FROM rows") == [(1,)]


# ---- CSV and TSV as they come


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,x\n", [[1, "x"]]),
        ("a,b\r\n1,x\r\n2,y", [[1, "x"], [2, "y"]]),
        ("a,b\r1,x\r", [[1, "x"]]),
        ("\n\na,b\n\n1,x\n  \n\n2,y\n\n", [[1, "x"], [2, "y"]]),
        ('a,b\n"1","x, ""y""\r\nz"\n', [[1, 'x, "y"\r\nz']]),
        ('a,b\n1,x "y" z\n', [[1, 'x "y" z']]),
        ("\ufeffa,b\n1,x\n", [[1, "x"]]),
        ('\ufeff"a","b"\n1,x\n', [[1, "x"]]),
        ("a,b\n1,x\u2028\x0by\x85\n", [[1, "x\u2028\x0by\x85"]]),
        ("a,b\n1,é😀\n", [[1, "é😀"]]),
        ("a,b\n,\n", [[None, None]]),
        ("a,b\n,\n,x\n", [[None, ""], [None, "x"]]),
    ],
)
def test_a_text_of_cells_is_read_as_it_is_written(content: str, rows: list[Any]) -> None:
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        marked = content if encoding in ("utf-8", "utf-16") else "\ufeff" + content.removeprefix("\ufeff")
        content_in = marked.removeprefix("\ufeff") if encoding == "utf-16" else marked
        assert read(content_in.encode(encoding)) == (["a", "b"], rows)
        assert read(content_in.replace(",", "\t").replace("x\t ", "x, ").encode(encoding), "tsv") == (["a", "b"], rows)


def test_a_column_of_one_name_has_empty_cells_that_are_quoted_and_blank_lines_that_are_none() -> None:
    assert read('a\nx\n""\n\ny\n') == (["a"], [["x"], [""], ["y"]])


def test_cells_may_be_long_and_the_limit_of_the_csv_module_is_left_as_it_was() -> None:
    before = csv.field_size_limit()
    long = "x" * (before * 10)
    found = tables.read_bytes(io.BytesIO(f"a,b\n{long},1\n".encode()), type="csv")
    assert csv.field_size_limit() == before
    for row in found.rows:
        assert row == [long, 1]
        assert csv.field_size_limit() == before
    assert "more than 10000000 characters" in refused(read, "a\n" + "x" * 10_000_001).message
    assert csv.field_size_limit() == before


def test_a_limit_of_the_csv_module_that_others_set_is_left_to_them() -> None:
    before = csv.field_size_limit(50_000_000)
    try:
        assert read("a\n1\n") == (["a"], [[1]])
        assert csv.field_size_limit() == 50_000_000
    finally:
        csv.field_size_limit(before)


def test_threads_read_long_cells_at_once() -> None:
    before = csv.field_size_limit()
    content = ("a\n" + ("x" * 200_000 + "\n") * 50).encode()
    failed = []

    def work() -> None:
        try:
            assert len(read(content)[1]) == 50
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert csv.field_size_limit() == before


def test_columns_name_what_has_no_header() -> None:
    assert read("1,x\n2,y\n", columns=["n", "word"]) == (["n", "word"], [[1, "x"], [2, "y"]])
    assert read("1,x\n", columns=["n", "word"])[1] == [[1, "x"]]
    error = refused(read, "1,x\n2\n", columns=["n", "word"])
    assert error.message == "standard input, line 2: 1 cell, where the columns named are 2"


def test_a_header_with_the_same_names_is_taken_for_one_and_the_order_given_counts() -> None:
    assert read("n,word\n1,x\n", columns=["n", "word"]) == (["n", "word"], [[1, "x"]])
    assert read("n,word\n1,x\n", columns=["word", "n"]) == (["word", "n"], [["x", 1]])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n\n3\n", "line 4: 1 cell, where the header has 2"),
        ("a,b\n1,2,3\n", "line 2: 3 cells, where the header has 2"),
        ('a,b\n"1\n\n",2\n3\n', "line 5: 1 cell,"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote is opened here and never closed"),
        ('a,"b\n1,2\n', "line 1: a quote is opened here and never closed"),
        ('a,b\n1,2\n"3"4,5\n', "line 3: text goes on after a closing quote"),
        ("a,b,a\n1,2,3\n", "line 1: column 'a' is there twice"),
        ("a,,b\n1,2,3\n", "line 1: column 2 has no name"),
        ("a, \n1,2\n", "line 1: column 2 has no name"),
        ("a,b\u200b\n1,2\n", "has the invisible character"),
        ('a,"b\nc"\n1,2\n', "has the invisible character"),
        ("a," + "b" * 251 + "\n1,2\n", "has 251 characters; at most 250"),
        (",".join(f"c{i}" for i in range(10_001)) + "\n", "at most 10000 columns"),
        ("1,2.5,nan\n3,4,5\n", "line 1: the first line looks like data, not a header"),
        ("1,\n3,4\n", "the first line looks like data"),
        ("a,b\n", "the table has no rows"),
        ("a,b", "the table has no rows"),
        ("a,b\n\n\n", "the table has no rows"),
        ("", "standard input is empty"),
        ("\n\n", "the table is empty"),
        ("\ufeff", "the table is empty"),
        ("a,b\n1,x\0y\n", "line 2: there is a NUL character"),
    ],
)
def test_a_bad_text_is_refused_by_its_line(content: str, says: str) -> None:
    assert says in refused(read, content).message
    if content:
        assert says in refused(read, ("\ufeff" + content.removeprefix("\ufeff")).encode("utf-16-be")).message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,\xff\n", "is not UTF-8 text (byte 6, line 2)"),
        (b"a,b\n1,\xc3", "is not UTF-8 text (byte 6, line 2)"),
        ("a,é\n1,ü\n".encode("latin-1"), "is not UTF-8 text (byte 2, line 1)"),
        (b"\xef\xbb\xbfa\n1\n\xff", "is not UTF-8 text (byte 7, line 3)"),
        (b"a,b\n1,\xed\xa0\x80\n", "is not UTF-8 text (byte 6, line 2)"),
        (b"\xff\xfe" + "a\n1\n".encode("utf-16-le") + b"\x00\xd8x\x00", "is not UTF-16 text (byte 10, line 3)"),
        (b"\xff\xfea\x00\n\x001", "is not UTF-16 text (byte 6, line 2)"),
        ("a,b\n".encode("utf-16-le"), "NUL"),
        (b"PK\x03\x04\x14\0\0\0", "NUL"),
        (b"\x1f\x8b\x08", "is not UTF-8"),
        (b"x" * (1 << 20) + b"\n\xff", f"(byte {(1 << 20) + 1}, line 2)"),
        (b"a\n" + b"x" * ((1 << 20) - 3) + "é".encode() + b"\n\xff", f"(byte {(1 << 20) + 2}, line 3)"),
    ],
)
def test_bytes_that_are_no_text_are_refused_by_byte_and_line(content: bytes, says: str) -> None:
    for type_ in ("csv", "tsv", "json", "jsonl"):
        assert says in refused(read, content, type_).message


@pytest.mark.parametrize(
    ("content", "name", "hint"),
    [
        ("a;b\n1;2\n", "semicolons", "--columns"),
        ("a;b;c\n1,5;2,5;x\n", "semicolons", "commas"),
        ("a\tb\n1\t2\n3\t4\n", "tabs", "--type tsv"),
        ("a\tb\n1,5\t2\n", "tabs", "--type tsv"),
    ],
)
def test_cells_between_others_than_commas_are_not_taken_for_one_column(content: str, name: str, hint: str) -> None:
    error = refused(read, content)
    assert f"line 1: its cells seem to be separated by {name}" in error.message
    assert hint in str(error.hint)
    assert "seem to be separated" in refused(read, content, columns=["x", "y"]).message


def test_a_column_whose_name_or_cells_only_hold_such_a_character_is_one() -> None:
    assert read("a;b\nx\ny;z\n") == (["a;b"], [["x"], ["y;z"]])
    assert read("a\nx;y\nx;z\n") == (["a"], [["x;y"], ["x;z"]])
    assert read("a;b\nx;y\n", columns=["a;b"]) == (["a;b"], [["x;y"]])
    assert read("a;b,c\nx;y,1\n") == (["a;b", "c"], [["x;y", 1]])
    assert read("a;b\n1;2\n", "tsv") == (["a;b"], [["1;2"]])


def test_what_would_mend_a_bad_table_is_in_the_hint() -> None:
    assert refused(read, "1,2\n3,4\n").hint == "--columns a,b names the columns"
    assert "index=False" in str(refused(read, ",a\n0,1\n").hint)
    assert "UTF-8" in str(refused(read, b"\xff\n").hint)
    assert refused(read, "[1]", "jsonl").hint == "--columns a,b names the columns of lists"
    assert "records" in str(refused(read, '{"a": {"0": 1}}', "json").hint)


def test_a_line_beyond_all_measure_is_refused_before_it_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_source, "MAX_LINE", 5_000_000)
    assert "line 2: a line has more than 5000000 characters" in refused(read, "a\n" + "x" * 6_000_000).message
    assert "a line has more" in refused(read, '{"a": "' + "x" * 6_000_000 + '"}', "jsonl").message
    assert len(read('{"a": "' + "x" * 6_000_000 + '"}', "json")[1][0][0]) == 6_000_000


def test_rows_come_in_batches_that_are_small_where_rows_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("BATCH_ROWS", 2), ("BATCH_CELLS", 1), ("BATCH_TEXT", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(table_text, name, most)
            assert read("\n\na,b\n\n1,x\n2,y\n\n\n\n\n3,z\n")[1] == [[1, "x"], [2, "y"], [3, "z"]]
            assert "line 5:" in refused(read, "a,b\n1,2\n3,4\n5,6\n7\n").message


# ---- JSON and JSONL


@pytest.mark.parametrize(
    ("content", "columns", "rows"),
    [
        ('[{"a": 1}, {"b": 2, "a": 3}]', ["a", "b"], [[1, None], [3, 2]]),
        ('{"columns": [0, "b"], "index": [7], "data": [[1, [2]]]}', ["0", "b"], [[1, [2]]]),
        ('{"columns": [1, 2], "data": [3, 4]}', ["columns", "data"], [[1, 3], [2, 4]]),
        ('{"a": 1, "b": "x"}', ["a", "b"], [[1, "x"]]),
        ('\ufeff[{"a": 1}]', ["a"], [[1]]),
        ('[{"a": true, "b": null, "c": {"d": [1.5, "é"]}}]', ["a", "b", "c"], [[True, None, {"d": [1.5, "é"]}]]),
    ],
)
def test_json_has_its_ways_to_say_a_table(content: str, columns: list[str], rows: list[Any]) -> None:
    assert read(content, "json") == (columns, rows)
    assert read(content.removeprefix("\ufeff").encode("utf-16"), "json") == (columns, rows)


def test_lines_of_json_are_rows_and_blank_lines_are_none() -> None:
    assert read('{"a": 1}\r\n\n  \n{"b": [NaN], "a": 2}', "jsonl")[0] == ["a", "b"]
    assert read('{"a": 1}\n\n{"b": [1], "a": 2}\n{}', "jsonl")[1] == [[1, None], [2, [1]], [None, None]]


@pytest.mark.parametrize("type_", ["json", "jsonl"])
def test_columns_name_lists_of_json_or_order_objects(type_: str) -> None:
    lists, objects = "[1, 2]\n[3, 4]", '{"a": 1, "b": 2}\n{"a": 3, "b": 4}'
    if type_ == "json":
        lists, objects = f"[{lists}]".replace("\n", ","), f"[{objects}]".replace("\n", ",")
    assert read(lists, type_, ["b", "a"]) == (["b", "a"], [[1, 2], [3, 4]])
    assert read(objects, type_, ["b", "a"]) == (["b", "a"], [[2, 1], [4, 3]])
    assert "'c' is not in the table" in refused(read, objects, type_, ["a", "b", "c"]).message
    assert "'b' of the table is not among" in refused(read, objects, type_, ["a"]).message
    assert "2 values, where the columns named are 3" in refused(read, lists, type_, ["a", "b", "c"]).message
    assert refused(read, lists, type_).hint is not None


def test_a_split_table_of_json_has_the_order_that_columns_say() -> None:
    assert read('{"columns": ["a", "b"], "data": [[1, 2]]}', "json", ["b", "a"]) == (["b", "a"], [[2, 1]])


BAD_JSON = [
    ("3", "a table is a list of objects"),
    ('"x"', "a table is a list of objects"),
    ("[1]", "row 1 is 1"),
    ('[{"a": 1}, 2]', "row 2 is 2"),
    ('[{"a": 1}, [2]]', "row 2 is a list"),
    ("[]", "has no rows"),
    ("{}", "at least one column"),
    ("[{}]", "at least one column"),
    ('{"a": []}', "has no rows"),
    ('{"columns": ["a"], "data": []}', "has no rows"),
    ('{"columns": ["a", "a"], "data": [[1, 2]]}', "'a' is there twice"),
    ('{"columns": ["a"], "data": [[1], [1, 2]]}', "row 2 has 2 values, where the columns are 1"),
    ('{"a": [1], "b": [1, 2]}', "column 'b' has 2 values, and column 'a' has 1"),
    ('{"a": [1], "b": 2}', "column 'b' is one value"),
    ('{"a": {"0": 1}}', "object of objects"),
    ('[{"a": 1, "a": 2}]', "'a' is given twice"),
    ('[{"": 1}]', "column 1 has no name"),
    ('[{"a": 1e999}]', "larger than a double"),
    ('[{"a": 9223372036854775808}]', "column 'a': 9223372036854775808 does not fit 64 bits"),
    ('[{"a": ' + "1" * 5000 + "}]", "does not fit 64 bits"),
    ('[{"a": "\\ud800"}]', "column 'a': text '\\ud800' is not valid UTF-8"),
    ('[{"a": ["\\u0000"]}]', "contains a NUL"),
    ('[{"a": {"\\ud800": 1}}]', "is not valid UTF-8"),
    ('[{"a": ' + "[" * 201 + "]" * 201 + "}]", "column 'a' is nested too deeply"),
    ('[{"a": ' + "[" * 100_000, "nested too deeply"),
    ('[{"a": 1}', "not valid JSON"),
    ("[{'a': 1}]", "not valid JSON"),
    ('[{"a": 1}] x', "not valid JSON"),
    ("\n", "not valid JSON"),
]


@pytest.mark.parametrize(("content", "says"), BAD_JSON, ids=lambda text: str(text)[:40])
def test_bad_json_is_refused(content: str, says: str) -> None:
    line = refused(read, content, "json").message
    assert says in line
    assert line.startswith("standard input: ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1}\n\n{"a": 1, "a": 2}', "line 3: 'a' is given twice"),
        ('{"a": 1}\n{"a":', "line 2: not valid JSON"),
        ('{"a": 1}\n{"a": 1} {"a": 2}', "line 2: not valid JSON: Extra data: column 10"),
        ('{"a": 1}\n[2]', "line 2: a list, where the first line is an object"),
        ("[2]", "line 1: each line must be an object, not a list"),
        ("3", "line 1: each line must be an object, not 3"),
        ('{"a": 1}\nnull', "line 2: None, where the first line is an object"),
        ('{"a": 1}\n{"a": 18446744073709551616}', "line 2: column 'a': 18446744073709551616 does not fit"),
        ('{"a": 1}\n{"a": ' + "1" * 5000 + "}", "line 2: a whole number does not fit 64 bits"),
        ('{"a": 1}\n{"a": "\\udfff"}', "line 2: column 'a'"),
        ('{"a": 1}\n{"a": ' + "[" * 201 + "]" * 201 + "}", "line 2: column 'a' is nested too deeply"),
        ('{"a": 1}\n' + "[" * 100_000, "line 2: nested too deeply"),
        ('{"a": 1}\n{" ": 1}', "line 2: column 2 has no name"),
        ('{"a": 1}\n{' + ",".join(f'"c{i}": 1' for i in range(10_000)) + "}", "line 2: a table has at most 10000"),
        ("\n\n", "has no rows"),
        ("{}\n{}", "at least one column"),
    ],
)
def test_a_bad_line_of_json_is_refused_by_its_number(content: str, says: str) -> None:
    assert says in refused(read, content, "jsonl").message


def test_as_many_levels_as_may_be_are_read() -> None:
    deep = "[" * 200 + "]" * 200
    for type_, content in (("json", f'[{{"a": {deep}}}]'), ("jsonl", f'{{"a": {deep}}}')):
        assert json.dumps(read(content, type_)[1][0][0]) == deep


def test_a_json_document_that_is_too_large_names_the_way_out(project: Path) -> None:
    with Path("big.json").open("wb") as file:
        file.truncate(200_000_001)
    error = refused(tables.read_file, "big.json")
    assert "more than 200 MB of JSON" in error.message
    assert "--type jsonl" in str(error.hint)


# ---- Parquet


def parquet(**columns: Any) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from pyarrow.parquet import write_table

    text = io.BytesIO()
    write_table(pyarrow.table(columns), text)
    return text.getvalue()


def test_parquet_keeps_types_and_makes_texts_of_times() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from datetime import date, datetime, time
    from decimal import Decimal

    content = parquet(
        n=pa.array([1, None], pa.int8()),
        u=pa.array([2**63 - 1, None], pa.uint64()),
        f=pa.array([math.nan, None], pa.float32()),
        b=[True, None],
        s=["x", None],
        day=[date(2026, 1, 2), None],
        at=[datetime(2026, 1, 2, 3, 4, 5, 6), None],
        zone=pa.array([datetime(2026, 1, 2), None], pa.timestamp("ms", "UTC")),
        fine=pa.array([-1, 1_000_000_000], pa.timestamp("ns")),
        clock=pa.array([time(1, 2, 3), None]),
        tick=pa.array([1_001, None], pa.time64("ns")),
        exact=pa.array([Decimal("1.50"), None], pa.decimal128(30, 2)),
        wide=pa.array([Decimal("12345678901234567.12"), None], pa.decimal128(30, 2)),
        whole=pa.array([Decimal(5), None], pa.decimal128(30, 0)),
        word=pa.array(["w", None]).dictionary_encode(),
        none=pa.nulls(2),
        list=[[1, None], None],
        object=[{"a": {"b": "x"}}, None],
    )
    columns, rows = read(content, "parquet")
    assert same(
        dict(zip(columns, rows[0], strict=True)),
        {
            "n": 1, "u": 2**63 - 1, "f": math.nan, "b": True, "s": "x", "day": "2026-01-02",
            "at": "2026-01-02T03:04:05.000006", "zone": "2026-01-02T00:00:00+00:00",
            "fine": "1969-12-31T23:59:59.999999999", "clock": "01:02:03", "tick": "00:00:00.000001001",
            "exact": 1.5, "wide": "12345678901234567.12", "whole": 5, "word": "w", "none": None,
            "list": [1, None], "object": {"a": {"b": "x"}},
        },
    )  # fmt: skip
    assert {value for name, value in zip(columns, rows[1], strict=True) if name != "fine"} == {None}
    assert rows[1][columns.index("fine")] == "1970-01-01T00:00:01"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_of_parquet_are_iso_8601(unit: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    content = parquet(a=pa.array([90 * scale, None, -scale, 10**6 * scale], pa.duration(unit)))
    assert [row[0] for row in read(content, "parquet")[1]] == ["PT1M30S", None, "-PT1S", "P11DT13H46M40S"]


def test_columns_of_parquet_are_the_same_names_in_the_order_given() -> None:
    content = parquet(a=[1], b=["x"])
    assert read(content, "parquet", ["b", "a"]) == (["b", "a"], [["x", 1]])
    assert "'b' of the table is not among" in refused(read, content, "parquet", ["a"]).message


def test_what_json_has_not_is_refused_by_its_column_in_parquet() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    assert "column 'a': bytes" in refused(read, parquet(a=[b"x"]), "parquet").message
    assert "column 'a': a value of type bytes" in refused(read, parquet(a=[{"b": b"x"}]), "parquet").message
    assert "does not fit 64 bits" in refused(read, parquet(a=pa.array([2**63], pa.uint64())), "parquet").message
    assert "has no rows" in refused(read, parquet(a=pa.array([], pa.int8())), "parquet").message


def test_what_is_no_parquet_is_refused() -> None:
    content = parquet(a=list(range(10_000)))
    half = content[: len(content) // 2]
    noise = bytearray(content)
    noise[100:5_000] = bytes(4_900)
    for bad in (b"a,b\n1,2\n", half, b"PAR1" + b"x" * 50 + b"PAR1"):
        assert refused(read, bad, "parquet").message.startswith("standard input: not a Parquet file")
    refused(read, bytes(noise), "parquet")


def test_parquet_without_pyarrow_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused(read, b"PAR1", "parquet").hint == "pip install pyarrow"


# ---- files


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv", "t.jsonl", "t.ndjson", "t.json", "a b\n-x.csv"])
def test_the_ending_says_the_type(name: str, project: Path) -> None:
    contents = {"csv": "a,b\n1,x\n", "tsv": "a\tb\n1\tx\n", "json": '[{"a": 1, "b": "x"}]'}
    ending = name.rpartition(".")[2].lower()
    content = contents.get(ending, '{"a": 1, "b": "x"}\n')
    Path(name).write_text(content)
    for path in (name, Path(name), str(project / name)):
        found = tables.read_file(path)
        assert (found.columns, list(found.rows)) == (["a", "b"], [[1, "x"]])
    Path("t.txt").write_text(content)
    type_ = "jsonl" if ending == "ndjson" else ending
    assert list(tables.read_file("t.txt", type=type_).rows) == [[1, "x"]]


def test_an_unknown_type_or_ending_names_those_there_are(project: Path) -> None:
    Path("t.txt").write_text("a\n1\n")
    error = refused(tables.read_file, "t.txt")
    assert "t.txt" in error.message
    assert error.hint == "--type csv|tsv|json|jsonl|parquet"
    for call in (lambda: tables.read_file("t.txt", type="xls"), lambda: read("a\n1\n", "ndjson")):
        assert refused(call).hint == error.hint


def test_what_is_no_readable_file_is_refused_and_never_waited_for(project: Path) -> None:
    Path("folder.csv").mkdir()
    Path("loop.csv").symlink_to("loop.csv")
    Path("gone.csv").symlink_to("nowhere.csv")
    Path("empty.csv").touch()
    Path("file").touch()
    os.mkfifo("fifo.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock.csv")
        for name, says in {
            "none.csv": "there is no such file",
            "gone.csv": "there is no such file",
            "folder.csv": "is a folder",
            "fifo.csv": "is a pipe, socket or device",
            "sock.csv": "is a pipe, socket or device",
            "/dev/null": "is a pipe, socket or device",
            "loop.csv": "can't be read",
            "file/x.csv": "can't be read",
            "empty.csv": "is empty",
            "a\0b.csv": "can't be read",
            "x" * 300 + ".csv": "can't be read",
            "": "there is no such file",
            "two\nlines\x1b[31m.csv": "there is no such file",
            os.fsdecode(b"\xff.csv"): "there is no such file",
        }.items():
            for type_ in ("csv", "parquet"):
                assert says in refused(tables.read_file, name, type=type_).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused(project: Path) -> None:
    Path("t.csv").write_text("a\n1\n")
    Path("t.csv").chmod(0)
    assert "t.csv can't be read: Permission denied" in refused(tables.read_file, "t.csv").message


def test_an_error_names_the_file_on_one_line(project: Path) -> None:
    Path("t.csv").write_text("a,b\n1\n")
    assert refused(tables.read_file, "t.csv").message.startswith("t.csv, line 2: ")
    Path("two\nlines.csv").write_text("a,b\n1\n")
    assert refused(tables.read_file, "two\nlines.csv").message.startswith("'two\\nlines.csv', line 2: ")


def test_a_link_to_a_file_is_read(project: Path) -> None:
    Path("t.csv").write_text("a\n1\n")
    Path("link.csv").symlink_to("t.csv")
    assert list(tables.read_file("link.csv").rows) == [[1]]


def test_a_file_that_grows_while_it_is_read_is_refused(project: Path) -> None:
    for name, line in (("t.csv", "a\n1\n"), ("t.json", '[{"a": 1}]'), ("t.jsonl", '{"a": 1}\n')):
        Path(name).write_text(line)
        found = tables.read_file(name)
        with Path(name).open("a") as file:
            file.write("\n")
        with pytest.raises(UsageError, match="was changed while it was read"):
            list(found.rows)


@pytest.mark.parametrize(
    ("before", "after"),
    [("a\n1\n2\n", "a\nx\ny\n"), ("a\n1\n2\n", "a\n1,2\n"), ("a\n1\n2\n", b"a\n\xff\n"), ("a\n1\n", 'a\n"1\n')],
)
def test_a_file_that_is_changed_while_it_is_read_is_refused(before: str, after: str | bytes, project: Path) -> None:
    Path("t.csv").write_text(before)
    found = tables.read_file("t.csv")
    Path("t.csv").write_bytes(after.encode() if isinstance(after, str) else after)
    with pytest.raises(UsageError):
        list(found.rows)


def test_a_file_that_is_removed_or_replaced_meanwhile_is_read_to_its_end(project: Path) -> None:
    Path("t.csv").write_text("a\n1\n")
    found = tables.read_file("t.csv")
    Path("t.csv").unlink()
    assert list(found.rows) == [[1]]


def test_rows_that_nobody_takes_leave_no_file_open(project: Path) -> None:
    Path("t.csv").write_text("a\n1\n2\n")
    Path("t.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for name in ("t.csv", "t.jsonl"):
            gc.collect()
            before = len(os.listdir("/dev/fd"))
            tables.read_file(name)
            rows = tables.read_file(name).rows
            next(rows)
            del rows
            gc.collect()
            assert len(os.listdir("/dev/fd")) == before


# ---- standard input


class Dripping(io.RawIOBase):
    """A stream that gives what it has in small pieces."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._content.read(min(len(buffer), 100_003))
        buffer[: len(taken)] = taken
        return len(taken)


@pytest.mark.parametrize("limit", [8_000_000, 10_000])
def test_standard_input_is_put_aside_and_read_twice(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_source, "IN_MEMORY", limit)
    content = "a,b\n" + "".join(f"{number},w{number}\n" for number in range(50_000))
    found = tables.read_bytes(io.BufferedReader(Dripping(content.encode())), type="csv", where="the pipe")
    assert list(found.rows) == [[number, f"w{number}"] for number in range(50_000)]
    raw = tables.read_bytes(Dripping(content.encode()), type="csv")  # type: ignore[arg-type]  # as with python -u
    assert sum(1 for _ in raw.rows) == 50_000
    assert "the pipe is empty" in refused(tables.read_bytes, io.BytesIO(), type="csv", where="the pipe").message


def test_a_stream_that_breaks_is_refused(project: Path) -> None:
    folder = os.open(".", os.O_RDONLY)
    try:
        broken = io.FileIO("/dev/null")
        os.dup2(folder, broken.fileno())
        error = refused(tables.read_bytes, broken, type="csv")
        assert error.message == "standard input can't be read: Is a directory"
        broken.close()
    finally:
        os.close(folder)


def test_a_full_disk_under_standard_input_is_said(mounted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(mounted("size=1m")))
    with pytest.raises(JournalError, match="standard input can't be put aside"):
        tables.read_bytes(io.BytesIO(b"a\n" + b"1\n" * 6_000_000), type="csv")


# ---- a row of the command line


@pytest.mark.parametrize(
    ("columns", "row", "values"),
    [
        ("a,b", "1,2", {"a": 1, "b": 2}),
        (
            "epoch,loss,note,ok",
            "3,1e-3,hello world,true",
            {"epoch": 3, "loss": 0.001, "note": "hello world", "ok": True},
        ),
        ("a,b", ",x", {"a": None, "b": "x"}),
        ("a", "nan", {"a": math.nan}),
        ("a", "-inf", {"a": -math.inf}),
        ("a", "007", {"a": "007"}),
        ("a", "-0.5", {"a": -0.5}),
        ('"a, b"', '"1, ""2"""', {"a, b": '1, "2"'}),
        ("a,b", '"x\ny",1', {"a": "x\ny", "b": 1}),
    ],
)
def test_a_row_of_the_command_line_is_typed_cell_by_cell(columns: str, row: str, values: dict[str, Any]) -> None:
    found = tables.parse_row(columns, row)
    assert same(dict(zip(found.columns, next(found.rows), strict=True)), values)
    assert list(found.rows) == []


@pytest.mark.parametrize(
    ("columns", "row", "says"),
    [
        ("a,b", "1", "--row '1' has 1 cell, where --columns names 2"),
        ("a", "1,2", "--row '1,2' has 2 cells"),
        ("a,a", "1,2", "column 'a' is there twice"),
        ("a,", "1,2", "column 2 has no name"),
        ("", "1", "--columns is empty"),
        ("a", "", "--row '' is empty"),
        ("a", '"x', "a quote is opened here and never closed"),
        ("a\nb", "1", "--columns: there is more than one line"),
        ("a", "1\n2", "there is more than one line"),
        ("a", "\udcff", "column 'a': text '\\udcff' is not valid UTF-8"),
        ("a", "x\0", "contains a NUL"),
        ("\udcff", "1", "is not valid UTF-8"),
    ],
)
def test_a_bad_row_of_the_command_line_is_refused(columns: str, row: str, says: str) -> None:
    assert says in refused(tables.parse_row, columns, row).message


def test_several_rows_of_the_command_line_are_one_table() -> None:
    found = tables.parse_rows("a,b", ["1,x", "2.5,"])
    assert (found.columns, list(found.rows)) == (["a", "b"], [[1, "x"], [2.5, None]])
    assert "--row '3'" in refused(tables.parse_rows, "a,b", ["1,x", "3"]).message


# ---- names of columns


@pytest.mark.parametrize(
    "name", ["a", "@timestamp", "@", "a b", "x/y:z", "épreuve", "😀", "x" * 250, "#", "a,b", "1st"]
)
def test_a_column_may_have_any_visible_name(name: str) -> None:
    assert tables.check_columns([name, "other"]) == [name, "other"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "at least one column"),
        (["a", "b", "a"], "'a' is there twice"),
        (["a", ""], "column 2 has no name"),
        (["\t"], "column 1 has no name"),
        (["a\nb"], "invisible"),
        (["\u202ea"], "invisible"),
        (["@\x1b[31m"], "invisible"),
        (["\ud800"], "not valid UTF-8"),
        (["x" * 251], "251 characters"),
        (["@" * 251], "251 characters"),
        ([None], "column 1 must be text, not NoneType"),
        ([True], "column 1 must be text, not bool"),
        ([0.5], "column 1 must be text, not float"),
        ([1, "1"], "'1' is there twice"),
        ("ab", "must be a list of names"),
    ],
)
def test_a_bad_name_of_a_column_is_refused(names: Any, says: str) -> None:
    assert says in refused(tables.check_columns, names).message


# ---- a million rows

PEAK = """
import sys
from trk.media import tables

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

if sys.argv[2] == "-":
    tables.read_bytes(__import__("io").BytesIO(b"a\\n1\\n"), type="csv")
    before = peak()
    found = tables.read_bytes(open(sys.argv[1], "rb"), type=sys.argv[1].rpartition(".")[2])
else:
    before = peak()
    found = tables.read_file(sys.argv[1])
count = 0
for row in found.rows:
    count += 1
print(count, row, peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    ("type_", "count", "way"),
    [
        pytest.param("csv", 1_000_000, "file", marks=pytest.mark.long),
        pytest.param("tsv", 1_000_000, "-", marks=pytest.mark.long),
        ("jsonl", 300_000, "file"),
        ("parquet", 1_000_000, "file"),
    ],
)
def test_a_million_rows_are_read_in_little_memory(type_: str, count: int, way: str, project: Path) -> None:
    file = project / f"big.{type_}"
    if type_ == "parquet":
        file.write_bytes(parquet(n=list(range(count)), f=[n / 8 for n in range(count)], s=["word"] * count))
    else:
        line = {"csv": "{},{},word\n", "tsv": "{}\t{}\tword\n", "jsonl": '{{"n": {}, "f": {}, "s": "word"}}\n'}[type_]
        with file.open("w") as out:
            out.write({"csv": "n,f,s\n", "tsv": "n\tf\ts\n"}.get(type_, ""))
            out.writelines(line.format(n, n / 8) for n in range(count))
    done = program(PEAK, str(file), way, timeout=200)
    found, row, megabytes = (
        done.stdout.split()[0],
        done.stdout[done.stdout.index("[") : done.stdout.index("]") + 1],
        (done.stdout.split()[-1]),
    )
    assert (int(found), json.loads(row.replace("'", '"'))) == (count, [count - 1, (count - 1) / 8, "word"]), done.stderr
    assert int(megabytes) < 120


def test_a_small_table_of_csv_imports_little(project: Path) -> None:
    Path("t.csv").write_text("a,b\n1,x\n")
    done = program(
        "import sys, trk.rules\nbefore = set(sys.modules)\nfrom trk.media import tables\n"
        "list(tables.read_file('t.csv').rows)\nprint(*sorted(set(sys.modules) - before))"
    )
    assert [name for name in done.stdout.split() if not name.startswith("trk.media")] == ["_csv", "itertools"], done
