"""Tables and files on their way: what is handed over, and what the journal then says that the backend has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import trk
from delivery.hostile import Server
from delivery.test_engine import always, deliver, failing, state
from trk.errors import BackendUnavailable
from trk.journal import blobs
from trk.records import Kind, Row


def of_kind(server: Server, kind: Kind) -> list[Row]:
    """The rows of a kind as they were handed over, in order."""
    return [row for row in server.rows if row.kind is kind]


@pytest.fixture
def run(server: Server) -> trk.Run:
    return trk.start("contents", backends="hostile")


def test_a_table_of_many_calls_is_handed_over_once_with_all_its_rows(run: trk.Run, server: Server) -> None:
    for n in range(30):
        run.log_table("t", [{"n": n}])
        run.log_metric("loss", n)
    assert deliver(run).finished
    (row,) = of_kind(server, Kind.TABLE)
    assert row.table is not None
    assert list(row.table.rows()) == [[n] for n in range(30)]
    assert (state(run).delivered, state(run).logged) == (60, 60)


def test_rows_that_were_rejected_and_then_went_with_the_whole_table_are_delivered(run: trk.Run, server: Server) -> None:
    run.log_table("t", [{"n": 1}])
    run.log_metric("loss", 1)
    server.refuses = lambda row: row.kind is Kind.TABLE
    deliver(run)
    assert (state(run).delivered, state(run).rejected) == (1, 1)
    server.refuses = lambda row: False
    run.log_table("t", [{"n": 2}])
    deliver(run)
    assert of_kind(server, Kind.TABLE)[-1].table is not None
    assert (state(run).delivered, state(run).rejected) == (3, 0)


def test_a_table_that_is_refused_again_stays_rejected_with_every_row(run: trk.Run, server: Server) -> None:
    server.refuses = lambda row: row.kind is Kind.TABLE
    for n in range(3):
        run.log_table("t", [{"n": n}])
        run.log_table("u", [{"n": n}])
        deliver(run)
    assert (state(run).delivered, state(run).rejected) == (0, 6)


def test_the_list_of_files_at_the_end_has_what_the_backend_has(run: trk.Run, server: Server, project: Path) -> None:
    place = project / "big.bin"
    place.write_bytes(b"one")
    run.log_artifact(str(place), snapshot=False)
    deliver(run)
    place.write_bytes(b"two!")
    run.log_artifact(str(place), snapshot=False)
    place.write_bytes(b"three")  # so the second one can't be delivered any more
    run.log_text("kept", "note")
    server.refuses = lambda row: row.key == "page"
    run.log_html("<p>", "page")
    run.finish()
    deliver(run)
    assert state(run).rejected == 2
    (end,) = (row for row in of_kind(server, Kind.STATUS) if row.text == "FINISHED")
    told = {file.path: file.size for file in end.files}
    assert told == {"big.bin": 3, "note.txt": 4}


def test_a_file_that_can_not_be_read_now_waits_and_holds_up_no_other_run(
    run: trk.Run, server: Server, project: Path
) -> None:
    # Root reads everything but a file whose reading fails; /proc has one.
    place = project / "weights"
    place.write_bytes(b"x")
    run.log_artifact(str(place), snapshot=False)
    place.unlink()
    place.symlink_to("/proc/self/mem")
    second = trk.start("other", backends="hostile")
    second.log_metric("loss", 1)
    deliver(run)
    found = state(run)
    assert (found.delivered, found.pending, found.rejected) == (0, 1, 0)
    assert "can't be read: Input/output error" in (found.last_error or "")
    assert state(second).pending == 0
    place.unlink()
    place.write_bytes(b"x")
    deliver(run)
    assert (state(run).delivered, state(run).pending) == (1, 0)


def test_a_file_that_is_gone_is_rejected_and_the_rest_goes_on(run: trk.Run, server: Server, project: Path) -> None:
    place = project / "weights"
    place.write_bytes(b"x")
    run.log_artifact(str(place), snapshot=False)
    run.log_metric("loss", 1)
    place.unlink()
    deliver(run)
    assert (state(run).delivered, state(run).rejected) == (1, 1)
    assert "is not there" in state(run).rejections[0].reason


def test_a_table_goes_whole_again_after_an_outage(run: trk.Run, server: Server) -> None:
    run.log_table("t", [{"n": 1}, {"n": 2}])
    server.before = failing("deliver", BackendUnavailable("down"), BackendUnavailable("down"))
    deliver(run)
    run.log_table("t", [{"n": 3}])
    server.after = always("deliver", BackendUnavailable("no answer"))
    deliver(run, timeout=1)
    assert state(run).pending == 1
    server.after = lambda name, what: None
    deliver(run)
    last = of_kind(server, Kind.TABLE)[-1].table
    assert last is not None
    assert list(last.rows()) == [[1], [2], [3]]
    assert state(run).pending == 0


def test_bytes_are_on_the_disk_before_a_row_names_them(run: trk.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename
    held: list[int] = []

    def synced(file: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{file}"))
        held.append(run.record.backends["hostile"].logged)
        sync(file)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", lambda old, new: done.append("rename") or rename(old, new))
    run.log_text("x" * 10, "note")
    home = blobs.folder(run.journal)
    (put,) = [name for name in done if name.startswith(home) and len(Path(name).name) == 64]
    assert done.index("rename") < done.index(put)
    assert {str(Path(put).parent), home} <= set(done)
    assert held == [0, 0, 0], "the row was written before"
