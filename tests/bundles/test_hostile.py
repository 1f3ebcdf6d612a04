"""Bundles that no trk wrote: exit 2, one line that says why, no traceback, and nothing of them anywhere."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trk
from bundles.tools import RUN_ID, at, bundle, dense, head, held, here, lines, row, sha
from helpers import trk as command
from trk.bundles import format as form
from trk.errors import UsageError
from trk.journal import read

DEEP = "[" * 10_000 + "]" * 10_000
LATER = "01k0000000000000000000000b"
HELLO = sha(b"hello")


@pytest.fixture(params=["new", "used"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a `.trk`, and one with a run."""
    folder = at(tmp_path / "desk", monkeypatch)
    if request.param == "used":
        run = trk.start("mine", params={"lr": 1})
        run.log_text("hello", "note")
    return folder


def everything(folder: Path) -> dict[str, Any]:
    """The files of a folder, and what is in its journal."""
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "journal.db-" not in path.name)
    kept = [path for path in paths if path != ".trk/blobs/imports"]
    return {"paths": kept, "journal": held(here()) if (folder / ".trk/journal.db").exists() else None}


def refused(folder: Path, path: Path, why: str) -> None:
    """Importing raises UsageError that says `why` on one line, and changes nothing."""
    before = everything(folder)
    with pytest.raises(UsageError, match=why) as found:
        trk.import_bundle(path, attached=True)
    assert found.value.message.isprintable()
    assert len(found.value.message) < 600
    assert everything(folder) == before


def file(path: str = "note.txt", **more: Any) -> dict[str, Any]:
    return {"path": path, "size": 5, "sha256": HELLO, **more}


def files(*given: dict[str, Any], **more: Any) -> str:
    return json.dumps({"files": list(given), **more})


# ---- not a bundle


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a whole ZIP file"),
        (b"hello", "not a whole ZIP file"),
        (os.urandom(100_000), "not a whole ZIP file"),
        (b"PK\x05\x06" + b"\0" * 18, "not a bundle of trk"),
        (b"PK\x05\x06" + b"\xff" * 18, "not a whole ZIP file"),
    ],
)
def test_what_is_no_zip_is_refused(desk: Path, tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    refused(desk, path, why)


def test_another_database_another_zip_and_what_is_no_file_are_refused(desk: Path, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "other.db")
    database.execute("CREATE TABLE runs (run_id)")
    database.close()
    refused(desk, tmp_path / "other.db", "not a whole ZIP file")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as made:
        made.writestr("readme.txt", "hello")
    refused(desk, tmp_path / "other.zip", "'readme.txt', which is no part of a bundle")
    refused(desk, tmp_path / "nothing", "is not there")
    refused(desk, tmp_path, "is a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(desk, tmp_path / "pipe", "is a pipe")


def test_a_bundle_that_was_cut_off_or_changed_anywhere_is_refused(desk: Path, tmp_path: Path) -> None:
    good = bundle(
        tmp_path / "good", [head(rows=2)], [row(), row("text", "note", None, files(file()), n=2)], {HELLO: b"hello"}
    ).read_bytes()
    bad = tmp_path / "bad"
    for size in range(0, len(good), 37):
        bad.write_bytes(good[:size])
        with pytest.raises(UsageError):
            trk.import_bundle(bad)
    before = everything(desk)
    for place in range(0, len(good), 5):
        bad.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            trk.import_bundle(bad)
        except UsageError:
            continue
        # A byte that says nothing, such as a date of the ZIP file: then it is what was meant.
        assert read.record(here(), RUN_ID) is not None
        break
    else:
        assert everything(desk) == before


def test_a_newer_bundle_is_refused_with_the_command_that_helps(desk: Path, tmp_path: Path) -> None:
    path = bundle(tmp_path / "b", manifest=lambda said: said.update(version=2))
    with pytest.raises(UsageError, match="newer trk") as found:
        trk.import_bundle(path)
    assert found.value.hint == "pip install --upgrade trk-ml"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda said: "[1]", "not an object"),
        (lambda said: "{", "not JSON"),
        (lambda said: b"\xff\xfe", "codec can't decode"),
        (lambda said: DEEP, "nested too deeply|not an object"),
        (lambda said: '{"format": ' + DEEP + "}", "nested too deeply|not a bundle"),
        (lambda said: '{"format": "trk-bundle", "format": 1}', "given twice"),
        (lambda said: said.update(format="zip"), "not a bundle"),
        (lambda said: said.update(version=True), "not a bundle"),
        (lambda said: said.update(version=0), "no version 0"),
        (lambda said: said.update(more=1), "'more' is not known"),
        (lambda said: said.pop("rows"), "rows is missing"),
        (lambda said: said.update(rows=-1), "not a whole number"),
        (lambda said: said.update(rows=10**400), "not a whole number|integer string"),
        (lambda said: said.update(runs=2), "not the runs and rows"),
        (lambda said: said.update(rows=2), "not the runs and rows"),
        (lambda said: said.update(members=[]), "are objects"),
        (lambda said: said["members"].pop("rows.jsonl"), "rows.jsonl is missing"),
        (lambda said: said["members"].update({"../x": {}}), r"'\.\./x' is not known"),
        (lambda said: said["members"]["rows.jsonl"].update(size=1), "another size"),
        (lambda said: said["members"]["rows.jsonl"].update(sha256="0" * 64), "rows.jsonl: its SHA-256"),
        (lambda said: said["members"]["runs.jsonl"].update(sha256="0" * 64), "runs.jsonl: its SHA-256"),
        (lambda said: said["members"]["runs.jsonl"].update(sha256=1), "not a SHA-256"),
        (lambda said: said["blobs"].update({"../../x": 1}), "not a SHA-256"),
        (lambda said: said["blobs"].update({HELLO: 5}), "is missing"),
        (lambda said: said.update(missing=[HELLO]), "no row names"),
        (lambda said: said.update(missing=[["a"]]), "not a SHA-256"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(
    desk: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], why: str
) -> None:
    def changed(said: dict[str, Any]) -> Any:
        told = change(said)
        return told if isinstance(told, (str, bytes)) and told != said else None

    refused(desk, bundle(tmp_path / "b", manifest=changed), why)


# ---- members


def _entry(name: str, mode: int = 0o100600) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize(
    "name",
    [
        "../escape", "/etc/passwd", "blobs/../../escape", f"blobs/{HELLO}/../x", "blobs/", "blobs/x", "journal.db",
        f"blobs\\{HELLO}", f"BLOBS/{HELLO}", f"blobs/{HELLO.upper()}", "rows.jsonl/", "\x1b[31m", "a" * 60_000,
    ],
)  # fmt: skip
def test_members_with_other_names_are_refused(desk: Path, tmp_path: Path, name: str) -> None:
    path = bundle(tmp_path / "b", zipped=lambda made: made.writestr(_entry(name), b"hello"))
    refused(desk, path, "which is no part of a bundle")
    assert not (tmp_path / "escape").exists()


def test_a_name_with_a_null_in_it_is_refused(desk: Path, tmp_path: Path) -> None:
    name = f"blobs/{HELLO}.exe"
    path = bundle(tmp_path / "b", zipped=lambda made: made.writestr(name, b"hello"))
    path.write_bytes(path.read_bytes().replace(name.encode(), name.encode().replace(b".exe", b"\0exe")))
    refused(desk, path, "no part of a bundle|not a whole ZIP")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_come_twice_are_links_encrypted_or_packed_oddly_are_refused(desk: Path, tmp_path: Path) -> None:
    twice = bundle(tmp_path / "twice", zipped=lambda made: made.writestr("rows.jsonl", b"{}\n"))
    refused(desk, twice, "'rows.jsonl' twice")
    link = bundle(
        tmp_path / "link", zipped=lambda made: made.writestr(_entry(f"blobs/{HELLO}", 0o120777), "/etc/passwd")
    )
    refused(desk, link, "is a link")
    packed = bundle(
        tmp_path / "packed", zipped=lambda made: made.writestr(f"blobs/{HELLO}", b"hello", zipfile.ZIP_DEFLATED)
    )
    refused(desk, packed, "compressed in a way")
    squeezed = tmp_path / "squeezed"
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("manifest.json", "{}")
    refused(desk, squeezed, "compressed in a way")
    locked = bundle(tmp_path / "locked")
    data = bytearray(locked.read_bytes())
    at_ = data.rindex(b"PK\x01\x02")
    data[at_ + 8] |= 1
    locked.write_bytes(data)
    refused(desk, locked, "is encrypted")


def test_members_that_lie_in_each_other_are_refused(desk: Path, tmp_path: Path) -> None:
    blob = os.urandom(200_000)
    names = [sha(bytes([number])) for number in range(20)]
    path = bundle(tmp_path / "b", blob_bytes={names[0]: blob})
    with zipfile.ZipFile(path, "a") as made:
        first = made.getinfo(f"blobs/{names[0]}")
        for name in names[1:]:
            entry = _entry(f"blobs/{name}")
            entry.header_offset, entry.CRC = first.header_offset, first.CRC
            entry.file_size = entry.compress_size = first.file_size
            made.filelist.append(entry)
            made.NameToInfo[entry.filename] = entry
        made._didModify = True  # type: ignore[attr-defined]  # so that the list is written
    refused(desk, path, "larger than the file")


def test_a_member_that_unpacks_to_more_than_it_says_is_not_read_on(desk: Path, tmp_path: Path) -> None:
    bomb = lines([row()]) + b" " * 200_000_000
    short = len(lines([row()]))
    path = tmp_path / "b"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        runs = lines([head()])
        members = {
            "runs.jsonl": {"sha256": sha(runs), "size": len(runs)},
            "rows.jsonl": {"sha256": sha(bomb[:short]), "size": short},
        }
        said = {
            "format": "trk-bundle", "version": 1, "trk": "0", "created_ms": 1, "runs": 1, "rows": 1,
            "members": members, "blobs": {}, "missing": [],
        }  # fmt: skip
        made.writestr("runs.jsonl", runs)
        made.writestr("rows.jsonl", bomb)
        made.writestr("manifest.json", json.dumps(said))
    data = path.read_bytes()
    for magic, where in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # it says that it is short
        place = data.index(b"rows.jsonl", data.index(magic)) - {22: 30, 24: 46}[where] + where
        data = data[:place] + struct.pack("<I", short) + data[place + 4 :]
    path.write_bytes(data)
    refused(desk, path, "not a whole ZIP|SHA-256|too long")


def test_a_line_without_an_end_is_not_read_on(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MAX_LINE", 1_000_000)
    refused(desk, bundle(tmp_path / "b", rows=[row("param", "p", None, "x" * 2_000_000)]), "line 1: it is too long")


def test_bytes_that_are_not_those_of_their_name_are_refused(desk: Path, tmp_path: Path) -> None:
    rows = [row("text", "note", None, files(file()))]
    refused(desk, bundle(tmp_path / "a", rows=rows, blob_bytes={HELLO: b"jello"}), "its SHA-256 is not")
    refused(desk, bundle(tmp_path / "b", rows=rows, blob_bytes={HELLO: b"hello, world"}), "another size than its rows")
    refused(desk, bundle(tmp_path / "c", rows=rows), "is missing")
    refused(desk, bundle(tmp_path / "d", blob_bytes={HELLO: b"hello"}), "no row names")
    two = [row("text", "note", None, files(file())), row("text", "n", None, files(file("n.txt", size=6)), n=2)]
    refused(desk, bundle(tmp_path / "e", [head(rows=2)], two, {HELLO: b"hello"}), "two sizes")


# ---- runs


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"run_id": "../../etc"}, "not the id of a run"),
        ({"run_id": 7}, "not the id of a run"),
        ({"run_id": RUN_ID.upper()}, "not the id of a run"),
        ({"name": ""}, "run name is empty"),
        ({"name": "\x1b[31mred"}, "invisible character"),
        ({"name": "a\nb"}, "invisible character"),
        ({"name": "\u202eevil"}, "invisible character"),
        ({"name": "@last"}, "begins with @"),
        ({"name": ["x"]}, "must be text"),
        ({"name": "x" * 251}, "at most 250"),
        ({"experiment": "\0"}, "NUL"),
        ({"experiment": "\ud800"}, "not valid UTF-8"),
        ({"start_time": -1}, "whole number"),
        ({"start_time": 10**15}, "whole number"),
        ({"start_time": 1.5}, "whole number"),
        ({"start_time": True}, "whole number"),
        ({"parent_id": "x"}, "not the id of a run"),
        ({"parent_id": RUN_ID}, "or itself"),
        ({"description": 5}, "must be text"),
        ({"description": "\0"}, "NUL"),
        ({"key_prefix": "../"}, "not a plain path"),
        ({"key_prefix": None}, "must be text"),
        ({"step_metric": "a=b"}, "has the character"),
        ({"external": 2}, "whole number"),
        ({"external": True}, "missing"),
        ({"rows": 0}, "not the runs and rows"),
        ({"rows": 10**30}, "whole number"),
        ({"owner": 1}, "'owner' is not known"),
        ({"status": "RUNNING"}, "'status' is not known"),
        ({"deliveries": "http://evil"}, "'deliveries' is not known"),
    ],
)
def test_runs_that_trk_would_not_have_started_are_refused(
    desk: Path, tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    refused(desk, bundle(tmp_path / "b", [head(**more)]), why)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "not JSON"), (b"[]", "not an object"), (DEEP.encode(), "nested too deeply|not an object"),
        (b'{"name": NaN}', "NaN is not JSON"), (b'{"a": 1, "a": 2}', "given twice"), (b"\xff", "codec can't decode"),
        (b'{"start_time": ' + b"9" * 10_000 + b"}", "not JSON|integer"),
    ],
)  # fmt: skip
def test_lines_of_runs_that_are_no_json_are_refused(desk: Path, tmp_path: Path, line: bytes, why: str) -> None:
    refused(desk, bundle(tmp_path / "b", [line]), why)


def test_runs_that_come_twice_or_are_each_others_parents_are_refused(desk: Path, tmp_path: Path) -> None:
    refused(desk, bundle(tmp_path / "a", [head(), head(rows=0)]), "is there twice")
    pair = [head(rows=0, parent_id=LATER), head(rows=0, run_id=LATER, parent_id=RUN_ID)]
    refused(desk, bundle(tmp_path / "b", pair, []), "runs above it, or itself")
    ids = [f"01k{number:023d}" for number in range(300)]
    chain = [head(rows=0, run_id=own, parent_id=above) for own, above in zip(ids[1:], ids, strict=False)]
    refused(desk, bundle(tmp_path / "c", chain, []), "more than 200 runs above it")


# ---- rows


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "not the runs and rows"),
        ([row(n=2)], "not row 1"),
        ([row(n=0)], "not row 1"),
        ([row(n=-1)], "not row 1"),
        ([row(n="1")], "not row 1"),
        ([row(n=1.0)], "not row 1"),
        ([row(), row()], "not the runs and rows"),
        ([[LATER, *row()[1:]]], "not row 1 of run"),
        ([row()[:-1]], "not a row"),
        ([[*row(), 1]], "not a row"),
        ([{}], "not a row"),
        ([b""], "not a row"),
        ([DEEP.encode()], "not a row"),
        ([dense(row()).replace("0.5", DEEP).encode()], "not a row"),
        ([dense(row()).replace("0.5", "[]," * 1000).encode()], "not a row"),
        ([dense(row()).replace("0.5", "NaN").encode()], "not a row"),
        ([dense(row()).replace("0.5", "1e999").encode()], "not a row|larger than a double"),
        ([dense(row()).replace("0.5", "9" * 5000).encode()], "not a row"),
        ([dense(row()).replace("0.5", "true").encode()], "not a row"),
        ([row(value=None)], "not a number"),
        ([row(value="0.5")], "not a number"),
        ([row(value="nan")], "not a number"),
        ([row(kind="virus")], "no kind of row"),
        ([row(kind=None)], "no kind of row"),
        ([row(key=None)], "not JSON"),
        ([row(key="")], "is empty"),
        ([row(key="_step")], "reserved"),
        ([row(key="a\x1b[0m")], "has the character"),
        ([row(key="../up")], "not a plain path"),
        ([row(key="x" * 251)], "at most 250"),
        ([row(key=5)], "must be text"),
        ([row(step=None)], "needs a step"),
        ([row(step=2**63)], "whole number"),
        ([row(step=1.5)], "whole number"),
        ([row(time=-1)], "whole number"),
        ([row(time=10**15)], "whole number"),
        ([row(key=None, value='{"a": 1}')], "several values"),
        ([row(key=None, value='{"a": 1, "a": 2}')], "given twice"),
        ([row(key=None, value='{"a": 1, "b": NaN}')], "NaN is not JSON"),
        ([row(key=None, value='{"a": 1, "b": 1e999}')], "larger than a double"),
        ([row(key=None, value='{"a": 1, "b": [1]}')], "not a number"),
        ([row(key=None, value='{"a": 1, "b": true}')], "not a number"),
        ([row(key=None, value='{"a": 1, "b\\"": 2}')], "has the character"),
        ([row(key=None, value=DEEP)], "nested too deeply|not an object"),
        ([row("summary", None, 1, '{"a": 1, "b": 2}')], "needs a key"),
        ([row("param", "p", 1, "x")], "has no step"),
        ([row("param", "p", None, None)], "must be text"),
        ([row("param", "p", None, 5)], "must be text"),
        ([row("param", "p", None, "a\0")], "NUL"),
        ([row("param", "p", None, "\ud800")], "not valid UTF-8"),
        ([row("tag", "mlflow.runName", None, "x")], "reserved"),
        ([row("tag", "trk.run_id", None, "x")], "reserved"),
        ([row("delete_tag", "t", None, None)], "was not there"),
        ([row("delete_tag", "t", None, "x")], "where nothing stands"),
        ([row("summary", "s", None, "{")], "not JSON"),
        ([row("summary", "s", None, DEEP)], "nested too deeply"),
        ([row("summary", "s", None, "NaN")], "NaN is not JSON"),
        ([row("summary", "x" * 245, None, "1")], "at most 250"),
        ([row("define", "m", None, '{"mode": "best"}')], "must be max or min"),
        ([row("define", "m", None, '{"step_metric": "a\\"b"}')], "has the character"),
        ([row("define", "m", None, "{}")], "says nothing"),
        ([row("define", "m", None, '{"sql": "x"}')], "'sql' is not known"),
        ([row("status", None, None, "DONE")], "no status"),
        ([row("status", None, None, "RUNNING")], "status RUNNING of a run that is RUNNING"),
        ([row("status", "k", None, "FINISHED")], "where nothing stands"),
        ([row("delete", None, None, None)], "a delete row of a run that is RUNNING"),
        ([row("restore", None, None, None)], "a restore row of a run"),
    ],
)  # fmt: skip
def test_rows_that_trk_would_not_have_logged_are_refused(desk: Path, tmp_path: Path, rows: list[Any], why: str) -> None:
    refused(desk, bundle(tmp_path / "b", rows=rows), why)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([row("param", "p", None, "1"), row("param", "p", None, "2", n=2)], "param 'p' is already '1'"),
        ([row("status", None, None, "FINISHED"), row(n=2)], "row 2: a metric row after the run's end"),
        ([row("status", None, None, "FAILED"), row("status", None, None, "KILLED", n=2)], "status KILLED of a run"),
        ([row(), row(n=3)], "not row 2"),
        ([row("table", "t", None, '{"columns": ["a"], "rows": [[1]]}'),
          row("table", "t", None, '{"columns": ["b"], "rows": [[1]]}', n=2)], "has the columns"),
        ([row("table", "t", None, '{"columns": ["a"], "rows": [[1]]}'),
          row("text", "t.json", None, files(file("t.json")), n=2)], "is a table of this run already"),
        ([row("text", "a", None, files(file("a"))), row("text", "a/b", None, files(file("a/b")), n=2)], "no folder"),
    ],
)  # fmt: skip
def test_rows_that_do_not_follow_from_those_before_are_refused(
    desk: Path, tmp_path: Path, rows: list[Any], why: str
) -> None:
    blob = {HELLO: b"hello"} if any("sha256" in str(one[-1]) for one in rows) else {}
    refused(desk, bundle(tmp_path / "b", [head(rows=2)], rows, blob), why)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (row("text", "note", None, files(file("../up"))), "not a plain path"),
        (row("text", "note", None, files(file("/etc/passwd"))), "not a plain path"),
        (row("text", "note", None, files(file("a\nb"))), "can't be seen"),
        (row("text", "note", None, files(file("trk/x"))), "reserved"),
        (row("text", "note", None, files(file("C:\\x"))), "has the character"),
        (row("text", "note", None, files(file(7))), "must be text"),  # type: ignore[arg-type]  # that is the point
        (row("text", "note", None, files(file(), file("b"))), "has 2 files"),
        (row("text", "note", None, files()), "has 0 files"),
        (row("text", "note", None, files(file(source="/etc/passwd"))), "'source' is not known"),
        (row("text", "note", None, files(file(changed_ns=1))), "'changed_ns' is not known"),
        (row("text", "note", None, files(file(local="/etc/passwd"))), "'local' is not known"),
        (row("text", "note", None, files(file(size=-1))), "whole number"),
        (row("text", "note", None, files(file(sha256="../../x"))), "not a SHA-256"),
        (row("text", "note", None, files(file(), step=1)), "has no step"),
        (row("text", "note", None, files({"path": "note.txt", "uri": "s3://x/y"})), "without its bytes"),
        (row("text", "note", None, '{"files": ' + DEEP + "}"), "nested too deeply|not an object"),
        (row("text", "note", None, '{"files": "x"}'), "not a list"),
        (row("text", "note", None, '{"files": [1]}'), "not an object"),
        (row("text", "a=b", None, files(file())), "has the character"),
        (row("image", "i", None, files(file("i.png"), step=2**64)), "whole number"),
        (row("file", "other", None, files(file("f"))), "another key than its path"),
        (row("file", "f", None, files({"path": "f", "uri": "no address"})), "no address"),
        (row("file", "f", None, files({"path": "f", "uri": "s3://me:secret@host/f"})), "user or a password"),
        (row("artifact", "m", None, files(file("m/v0/f"), version=1, type="model")), "is not in version 1"),
        (row("artifact", "m", None, files(file("m/v0/f"), version=-1, type="model")), "whole number"),
        (row("artifact", "m", None, files(file("m/v0/f"), version=0)), "type is missing"),
        (row("artifact", "m", None, files(file("m/v0/f"), file("m/v0/f"), version=0, type="model")), "two of"),
        (row("artifact", "m:x", None, files(file("m:x/v0/f"), version=0, type="model")), "colon|address"),
        (row("artifact", "../m", None, files(file(), version=0, type="model")), "not a plain path"),
        (row("table", "../t", None, '{"columns": ["a"], "rows": [[1]]}'), "not a plain path"),
        (row("table", "t", None, '{"columns": ["a", "a"], "rows": [[1, 2]]}'), "is there twice"),
        (row("table", "t", None, '{"columns": ["\\u001b[0m"], "rows": [[1]]}'), "invisible"),
        (row("table", "t", None, '{"columns": [1], "rows": [[1]]}'), "not all text"),
        (row("table", "t", None, '{"columns": ["a"], "rows": [[1, 2]]}'), "not as many cells"),
        (row("table", "t", None, '{"columns": ["a"], "rows": []}'), "without rows"),
        (row("table", "t", None, '{"columns": ["a"], "rows": [[%s]]}' % ("9" * 30)), "64 bits"),
        (row("table", "t", None, '{"columns": ["a"], "rows": [[%s]]}' % ("[" * 250 + "]" * 250)), "too deeply"),
        (row("table", "t", None, '{"columns": ["a"], "rows": [[1]], "sha256": "x"}'), "not known"),
        (row("table", "t", None, json.dumps({"columns": ["a"], "sha256": HELLO, "size": 5, "count": 1})), "cut off"),
        (row("table", "t", None, json.dumps({"columns": ["a"], "sha256": HELLO, "size": 5, "count": 0})), "whole"),
    ],
)  # fmt: skip
def test_content_that_trk_would_not_have_logged_is_refused(desk: Path, tmp_path: Path, one: Any, why: str) -> None:
    refused(desk, bundle(tmp_path / "b", rows=[one], blob_bytes={HELLO: b"hello"}), why)


def test_a_table_whose_rows_are_not_as_many_or_not_as_wide_as_said_is_refused(desk: Path, tmp_path: Path) -> None:
    for content, count, why in (
        (b"[1]\n[2]\n", 3, "has 2 rows of a table, and not 3"),
        (b"[1]\n[2, 3]\n", 2, "line 2: a row of a table has not as many cells"),
        (b"[1]\n[2]", 2, "cut off"),
        (b"[1]\n\n", 2, "not JSON"),
        (DEEP.encode() + b"\n", 1, "nested too deeply"),
    ):
        value = json.dumps({"columns": ["a"], "sha256": sha(content), "size": len(content), "count": count})
        path = bundle(tmp_path / "b", rows=[row("table", "t", None, value)], blob_bytes={sha(content): content})
        refused(desk, path, why)


def test_a_bad_row_at_the_end_keeps_all_before_it_out(desk: Path, tmp_path: Path) -> None:
    rows = [row(n=n) for n in range(1, 6001)] + [row(n=6001, key="")]
    refused(desk, bundle(tmp_path / "b", [head(rows=6001)], rows), "line 6001: metric name is empty")
    good = [head(run_id=LATER, rows=0), head(rows=2)]
    refused(desk, bundle(tmp_path / "c", good, [row(), row(n=2, step="x")]), "line 2")


# ---- as a command


@pytest.mark.parametrize("make", ["garbage", "deep", "climbing", "bomb"])
def test_the_command_says_one_line_and_exits_2(desk: Path, tmp_path: Path, make: str) -> None:
    path = tmp_path / "bad.trk"
    match make:
        case "garbage":
            path.write_bytes(os.urandom(5000))
        case "deep":
            bundle(path, rows=[row("summary", "s", None, DEEP)])
        case "climbing":
            bundle(path, rows=[row("text", "n", None, files(file("../../n")))], blob_bytes={HELLO: b"hello"})
        case "bomb":
            bundle(path, zipped=lambda made: made.writestr(f"blobs/{HELLO}", b"\0" * 50_000_000))
    before = everything(desk)
    done = command("import", str(path), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["error"]["code"] == "usage"
    assert everything(desk) == before


def test_addresses_and_files_of_this_machine_are_nowhere_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(tmp_path / "desk", monkeypatch)
    monkeypatch.setenv("TRK_BACKENDS", "memory")
    trk.import_bundle(
        bundle(
            tmp_path / "b",
            rows=[row("image", "i", None, files(file("i.png")))],
            blob_bytes={},
            manifest=lambda said: said.update(missing=[HELLO]),
        )
    )
    assert here().read("SELECT backend, target, cursor, remote_id FROM deliveries") == [("memory", "{}", 0, None)]


def test_bytes_that_are_here_and_no_table_do_not_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = at(tmp_path / "desk", monkeypatch)
    trk.start("mine").log_text("hello", "note")
    value = json.dumps({"columns": ["a"], "sha256": HELLO, "size": 5, "count": 1})
    path = bundle(
        tmp_path / "b", rows=[row("table", "t", None, value)], manifest=lambda said: said.update(missing=[HELLO])
    )
    refused(desk, path, "it is not JSON")
