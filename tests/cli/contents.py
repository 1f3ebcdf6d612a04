"""Files to log, what is piped in, and what the command then lists: for the tests of tables, pages and files."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from trk import session

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'
KEYS = ["run_id", "path", "kind", "name", "size", "sha256", "step", "rows", "type", "version", "uri", "n"]


def written(name: str, content: bytes | str) -> str:
    """A file of the project with this content; returns its name."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let this be standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def listed(call: Any, *words: str) -> list[dict[str, Any]]:
    """What `artifacts ls --json` tells, with its promised keys."""
    done = call("artifacts", "ls", "--json", *words)
    assert (done.code, done.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.out)
    assert all(list(one) == KEYS for one in found)
    return found


def table(call: Any, name: str) -> dict[str, Any]:
    """The columns and rows of a table, as `artifacts get` gives them."""
    done = call("artifacts", "get", name, "-o", "-")
    assert (done.code, done.err) == (0, "")
    return dict(json.loads(done.out))


def two_versions(call: Any) -> None:
    """Log the artifact `clf`, whose v0 holds `one` and whose v1 holds `two`."""
    for content in ("one", "two"):
        assert call("log-artifact", written("model.pkl", content), "--name", "clf", "--type", "model").code == 0
    Path("model.pkl").unlink()


def kept() -> tuple[list[Any], list[str], list[str]]:
    """All rows of the journal, its drafts of blobs, and its blobs."""
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    assert folder is not None
    assert journal is not None
    tables = ("runs", "rows", "metrics", "params", "tags", "files", "tables", "versions")
    rows = [journal.read(f"SELECT * FROM {table}") for table in tables]
    files = sorted(str(path) for path in Path(folder, "blobs").rglob("*") if path.is_file())
    return rows, [path for path in files if "/drafts/" in path], [path for path in files if "/drafts/" not in path]


def refused(call: Any, *words: str, code: int = 2) -> str:
    """The one line that the command is refused with; nothing is written, and nothing in the line acts."""
    before = kept()
    done = call(*words)
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("trk: ")
    assert done.err.count("\n") == 1
    assert done.err[:-1].isprintable()
    assert len(done.err) < 400
    assert "should not have happened" not in done.err
    after = kept()
    assert after[:2] == before[:2]
    assert after[2] == before[2] or code == 7  # a conflict is known when the bytes are kept, which no row then names
    return str(done.err)
