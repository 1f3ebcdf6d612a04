"""What is kept of a command's output: whole lines, no secrets, and not too much."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.test_secrets import SHAPED
from trk.running.kept import Kept, Lines

KEY = b"AKIA" + b"IOSFODNN7" + b"EXAMPLE"
TOKEN = b"ghp_" + b"a1B2c3D4e5" * 4
PEM = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIEpAIBAAKCAQEA7bq9\n" * 20 + b"abcd\n-----END RSA PRIVATE KEY-----\n"


def kept(*chunks: bytes, **how: int) -> bytes:
    copy = Kept(**how)
    lines = Lines([copy.take], threading.Lock())
    for chunk in chunks:
        lines.take(chunk)
    lines.end()
    return copy.content()


def pieces(raw: bytes) -> list[bytes]:
    return [raw[at : at + 5000] for at in range(0, len(raw), 5000)]


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_however_the_output_comes_it_is_put_together_again(raw: bytes, cuts: list[int]) -> None:
    raw = raw.replace(b"\x1b", b"")
    edges = [0, *sorted(cuts), len(raw)]
    chunks = [raw[start:end] for start, end in pairwise(edges)]
    assert kept(*chunks) == kept(raw)


@given(st.integers(1, 60), st.sampled_from([KEY, TOKEN, b"\x1b[32m" + KEY + b"\x1b[0m", b"password=hunter2hunter2"]))
def test_a_secret_in_pieces_is_masked(size: int, secret: bytes) -> None:
    line = b"using " + secret + b" now\nand on\n"
    found = kept(*(line[at : at + size] for at in range(0, len(line), size)))
    assert secret[-8:] not in found.replace(b"\x1b[0m", b"")
    assert b"EXAMPLE" not in found
    assert b"***" in found
    assert found.endswith(b"and on\n")


@pytest.mark.parametrize("kind", sorted(SHAPED))
def test_what_has_the_shape_of_a_secret_is_in_no_log(kind: str) -> None:
    secret = SHAPED[kind]
    raw = f"short\nand {secret}\nshort\r\nmore: {secret}".encode()
    for at in range(1, len(raw), 7):
        assert secret.encode() not in kept(raw[:at], raw[at:])


def test_a_key_of_many_lines_is_masked_with_the_other_stream_between() -> None:
    copy, lock = Kept(), threading.Lock()
    out, err = Lines([copy.take], lock), Lines([copy.take], lock)
    for line in PEM.splitlines(keepends=True):
        out.take(line[:5])
        err.take(b"warning, something\n")
        out.take(line[5:])
    found = copy.content()
    assert b"MIIE" not in found
    assert b"abcd" not in found


@pytest.mark.parametrize("before", [0, 37, 61])
def test_a_secret_at_the_border_of_what_is_kept_is_masked(before: int) -> None:
    line = b"some output, and not little of it\n"
    raw = line * 40 + b"." * before + b" " + KEY + b"\n" + PEM + line * 4500
    found = kept(*pieces(raw), head=1500, tail=2000)
    assert b"AKIA" not in found
    assert b"MIIE" not in found
    raw = line * 4500 + PEM + b"." * before + b"\n" + line * 40
    found = kept(*pieces(raw), head=1500, tail=2000)
    assert b"MIIE" not in found
    assert b"bytes are left out here]" in found
    assert len(found) < 4000


def test_of_much_output_the_first_and_the_last_lines_are_kept_and_memory_stays_flat() -> None:
    copy = Kept(head=1000, tail=1000)
    for number in range(100_000):
        copy.take(b"line %d\n" % number)
    found = copy.content().splitlines()
    assert (found[0], found[-1]) == (b"line 0", b"line 99999")
    assert copy._in_tail < 200_000
    assert any(b"of 1088890 bytes" in line for line in found)


def test_lines_of_two_streams_never_run_into_each_other() -> None:
    copy, lock = Kept(), threading.Lock()
    out, err = Lines([copy.take], lock), Lines([copy.take], lock)
    out.take(b"first ha")
    err.take(b"error\n")
    out.take(b"lf\nno end")
    out.end()
    err.end()
    assert copy.content() == b"error\nfirst half\nno end"
