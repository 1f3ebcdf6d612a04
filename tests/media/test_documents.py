"""JSON, YAML and TOML are read strictly, by one reader, and what is wrong is said in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk.errors import UsageError
from trk.media import documents

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def refusal(text: str, ending: str, mapping: bool = True) -> str:
    with pytest.raises(UsageError) as caught:
        documents.parse(text, ending, "the file", mapping)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    return caught.value.message


@given(st.dictionaries(st.text(), JSON) | st.lists(JSON))
def test_a_json_document_is_read_as_it_was_written(content: object) -> None:
    assert documents.parse(json.dumps(content), ".json", "the file", mapping=False) == content


@pytest.mark.parametrize(
    ("text", "ending", "content"),
    [
        ('{"a": [1, {"b": null}]}', ".json", {"a": [1, {"b": None}]}),
        ("a: [1, {b: null}]", ".yaml", {"a": [1, {"b": None}]}),
        ("a: {1: one}", ".yml", {"a": {1: "one"}}),
        ("base: &b {x: 1}\nmore: {<<: *b, x: 2}", ".yaml", {"base": {"x": 1}, "more": {"x": 2}}),
        ("[a]\nb = 1", ".toml", {"a": {"b": 1}}),
    ],
)
def test_each_language_gives_a_mapping(text: str, ending: str, content: object) -> None:
    assert documents.parse(text, ending, "the file") == content


@pytest.mark.parametrize(("text", "ending"), [('[1, {"a": 2}]', ".json"), ("- 1\n- a: 2", ".yaml")])
def test_a_list_is_a_document_where_no_mapping_is_asked_for(text: str, ending: str) -> None:
    assert documents.parse(text, ending, "the file", mapping=False) == [1, {"a": 2}]
    assert refusal(text, ending) == "the file must be a mapping of names to values"


@pytest.mark.parametrize("text", ["1", '"a"', "null", "true", ""])
def test_a_single_value_is_no_document(text: str) -> None:
    assert "or a list" in refusal(text, ".yaml", mapping=False)
    assert "the file" in refusal(text, ".json", mapping=False)


@pytest.mark.parametrize(
    ("text", "ending", "says"),
    [
        ('{"a": 1, "a": 2}', ".json", "'a' is given twice"),
        ('[{"a": {"b": 1, "b": 2}}]', ".json", "'b' is given twice"),
        ("a: 1\na: 2", ".yaml", "'a' is given twice"),
        ("a = 1\na = 2", ".toml", "not valid TOML"),
        ('{"a": NaN}', ".json", "NaN is not JSON"),
        ('{"a": [-Infinity]}', ".json", "-Infinity is not JSON"),
        ('{"a": 1e999}', ".json", "'1e999' is larger than a double can hold"),
        ('{"a": ' + "1" * 5_000 + "}", ".json", "not valid JSON"),
        ('{"a": 1', ".json", "not valid JSON"),
        ("a: [", ".yaml", "not valid YAML"),
        ("a: !!python/object/apply:os.system [true]", ".yaml", "not valid YAML"),
        ("1: a", ".yaml", "mapping of names"),
        ("a: {2026-01-01: b}", ".yaml", "has the key '2026-01-01'"),
        ("a: {? [1, 2] : b}", ".yaml", "the file"),
        ("[" * 100_000, ".json", "nested too deeply"),
        ("[" * 300 + "]" * 300, ".json", "nested too deeply"),
        ("a: " + "[" * 10_000 + "]" * 10_000, ".yaml", "nested too deeply"),
        ("&a [*a]", ".yaml", "nested too deeply"),
        ("&a [*a, *a]", ".yaml", "holds more than"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_place(text: str, ending: str, says: str) -> None:
    line = refusal(text, ending, mapping=False)
    assert line.startswith("the file")
    assert says in line


def test_a_list_of_as_many_values_as_may_be_is_read_and_one_more_is_not() -> None:
    most = documents.MAX_ITEMS - 1  # the list is one too
    assert len(documents.parse(json.dumps([0] * most), ".json", "the file", mapping=False)) == most
    assert "holds more than" in refusal(json.dumps([0] * (most + 1)), ".json", mapping=False)


def test_a_number_of_json_knows_how_it_was_written() -> None:
    number = documents.parse('{"lr": 1.50e-3}', ".json", "the file")["lr"]
    assert (number, number.text) == (0.0015, "1.50e-3")


def test_a_reader_of_tables_takes_nan_and_infinity_and_nothing_looser() -> None:
    read = documents.json_reader(special=True)
    assert str(read('{"a": [NaN, Infinity, -Infinity, 0.5]}')) == "{'a': [nan, inf, -inf, 0.5]}"
    assert type(read("0.5")) is float
    for text in ('{"a": 1, "a": 2}', "1e999", "-1e999", "0." + "0" * 500):
        with pytest.raises(UsageError):
            read(text)


def test_bytes_are_utf_8_with_or_without_a_mark() -> None:
    assert documents.decoded(b"\xef\xbb\xbf\xc3\xa9", "the file") == "é"
    assert documents.decoded("é".encode(), "the file") == "é"
    with pytest.raises(UsageError, match=r"the file is not UTF-8 \(byte 1\)"):
        documents.decoded(b"a\xff", "the file")
