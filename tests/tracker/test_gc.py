"""What `trk gc` removes, and what it must never remove: whatever delivery, reading or comparing needs again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import trk
from helpers import program, started
from trk import session
from trk.backends.memory import servers
from trk.errors import Conflict, NotFound, UsageError
from trk.journal import blobs, freeing, holds
from trk.journal.db import Journal
from trk.run import Run

OLD = time.time() - 100 * 86400
PAGE, NEXT = "<p>" + "a" * 50, "<p>" + "b" * 60
ROWS = [{"a": number, "text": "x" * 100} for number in range(300)]  # more than stands in the journal itself


@pytest.fixture(autouse=True)
def _server() -> Iterator[None]:
    servers.clear()
    yield
    servers.clear()


def journal() -> Journal:
    found = session.existing_journal(session.find_folder())
    assert found is not None
    return found


def there() -> set[bytes]:
    """The first bytes of all blobs."""
    return {path.read_bytes()[:60] for path in Path(blobs.folder(journal())).glob("??/*")}


def run_with_files(name: str = "one", backends: str = "memory") -> Run:
    """An ended run with a model, an image of a series, a page that was logged twice, and a large table."""
    run = trk.start(name, backends=backends, experiment="e")
    Path("model.bin").write_bytes(b"model")
    run.log_artifact("model.bin")
    run.log_artifact("model.bin", name="clf", type="model")
    run.log_image(b"\x89PNG\r\n\x1a\n" + bytes(32), name="samples", step=1)
    run.log_html(PAGE, name="page")
    run.log_html(NEXT, name="page")
    run.log_table("rows", ROWS)
    run.end()
    return run


KEPT = {NEXT.encode()[:60], b'[0,"' + b"x" * 56}


def test_what_is_delivered_and_old_enough_goes_and_what_a_resumed_run_needs_stays() -> None:
    run_with_files()
    assert trk.gc(older_than=timedelta(days=1)).removed == 0
    tried = trk.gc(older_than="0", dry_run=True)
    assert (tried.removed, tried.kept, tried.dry_run, len(there())) == (3, 2, True, 5)
    done = trk.gc(older_than=0)
    assert (done.removed, done.bytes, done.kept, done.unnamed) == (3, tried.bytes, 2, 0)
    assert done.kept_bytes == sum(path.stat().st_size for path in Path(blobs.folder(journal())).glob("??/*"))
    assert there() == KEPT
    assert trk.gc(older_than=0).removed == 0


def test_a_run_that_is_open_or_goes_nowhere_keeps_everything() -> None:
    run_with_files(backends="none")
    assert (trk.gc(older_than=0).removed, len(there())) == (0, 5)
    with trk.start("open", backends="memory") as run:
        run.log_artifact("model.bin", path="open")
        trk.sync()
        assert trk.gc(older_than=0).removed == 0


def test_what_several_runs_logged_stays_as_long_as_one_of_them_needs_it() -> None:
    run_with_files()
    other = run_with_files("other", backends="none")
    assert trk.gc(older_than=0).removed == 0
    trk.delete(other.id)
    assert trk.gc(older_than=0).removed == 0, "it was never delivered anywhere"


@pytest.mark.parametrize("how", ["pending", "rejected", "skipped"])
def test_what_a_backend_has_not_got_stays(how: str) -> None:
    run = run_with_files()
    key = journal().read("SELECT run FROM runs")[0][0]
    n = journal().read("SELECT max(n) FROM rows")[0][0]
    change = {
        "pending": ("UPDATE deliveries SET cursor = ? WHERE run = ?", (n - 1, key)),
        "rejected": ("INSERT INTO rejections SELECT ?, 'memory', n, kind, key, 'no', 0 FROM rows", (key,)),
        "skipped": ("INSERT INTO rejections SELECT ?, 'memory', n, kind, key, 'no', 1 FROM rows", (key,)),
    }[how]
    with journal().lock, journal().begun() as db:
        db.execute(*change)
    assert trk.gc(older_than=0).removed == 0, run.record


def test_every_backend_has_to_have_it() -> None:
    run_with_files()
    with journal().lock, journal().begun() as db:
        db.execute("INSERT INTO deliveries (run, backend, target) VALUES (1, 'elsewhere', '{}')")
    assert trk.gc(older_than=0).removed == 0


def test_of_a_deleted_run_everything_goes_once_that_is_delivered_and_long_ago() -> None:
    run = run_with_files()
    trk.delete(run.id)
    assert trk.gc(older_than="1h").removed == 0
    assert trk.gc(older_than="0").removed == 5
    assert there() == set()


def test_a_restored_run_takes_nothing_in_whose_place_something_is_lost() -> None:
    run = run_with_files()
    trk.delete(run.id)
    trk.gc(older_than=0)
    trk.restore(run.id)
    again = trk.resume(run.id)
    with pytest.raises(Conflict, match=r"trk gc removed here what page\.html was before"):
        again.log_html("<p>another", name="page")
    with pytest.raises(Conflict, match=r"what rows\.json was before"):
        again.log_table("rows", [{"a": 1, "text": "more"}])
    again.log_html(NEXT, name="page")  # the same bytes are here again
    again.log_table("rows2", ROWS[:2])
    again.log_artifact("model.bin")
    again.end()
    assert trk.verify(again)[0].ok


def test_a_resumed_run_gets_more_rows_and_pages() -> None:
    run = run_with_files()
    trk.gc(older_than=0)
    again = trk.resume(run.id)
    again.log_table("rows", [{"a": 1, "text": "more"}])
    again.log_html("<p>third", name="page")
    again.end()
    state = trk.verify(again)[0].backends["memory"]
    assert (state.ok, state.rejected) == (True, 0)


def test_reading_says_who_has_the_bytes_now(tmp_path: Path) -> None:
    run = run_with_files()
    trk.gc(older_than=0)
    with pytest.raises(NotFound, match="removed by trk gc, after memory had them") as raised:
        trk.get_artifact("model.bin", run.id, source="local", to=tmp_path)
    assert raised.value.hint == f"trk artifacts get model.bin --run {run.id} --source memory"
    trk.delete(run.id)
    trk.gc(older_than=0)
    trk.restore(run.id)
    for name in ("rows.json", "rows.csv"):
        with pytest.raises(NotFound, match="rows of the table are not here: its bytes were removed by trk gc"):
            trk.get_artifact("rows", run.id, source="local", to=tmp_path / name)
    assert not (tmp_path / "rows.csv").exists()


def test_what_no_row_names_goes_after_an_hour_and_drafts_of_the_dead_too() -> None:
    run_with_files()
    sha256, _ = blobs.keep_bytes(journal(), b"left")
    holds.drop(blobs.folder(journal()))
    path = Path(blobs.path(journal(), sha256))
    assert trk.gc().removed == 0
    os.utime(path, (OLD, OLD))
    draft = Path(blobs.folder(journal()), "drafts", "1-2-abc")
    draft.write_bytes(b"half")
    os.utime(draft, (OLD, OLD))
    tried = trk.gc(dry_run=True)
    assert (tried.removed, tried.unnamed, path.exists(), draft.exists()) == (1, 1, True, True)
    done = trk.gc()
    assert (done.removed, done.unnamed, done.drafts, done.draft_bytes) == (1, 1, 1, 4)
    assert not path.exists()
    assert not draft.exists()


def test_what_a_writer_is_about_to_name_stays_until_it_has() -> None:
    run = run_with_files()
    Path("model.bin").unlink()
    blobs.keep_bytes(journal(), b"model")  # as a command does that is between its copy and its commit
    assert b"model" in there()
    assert trk.gc(older_than=0).removed == 2
    assert b"model" in there()
    holds.drop(blobs.folder(journal()))
    assert trk.gc(older_than=0).removed == 1
    assert run.status == "FINISHED"


def test_the_retention_is_a_setting(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_with_files()
    assert trk.gc().removed == 0
    (project / ".trk" / "config.toml").write_text("retention = 0\n")
    assert trk.gc(dry_run=True).removed == 3
    monkeypatch.setenv("TRK_RETENTION", "12h")
    assert trk.gc(dry_run=True).removed == 0
    monkeypatch.setenv("TRK_RETENTION", "soon")
    with pytest.raises(UsageError, match=r"retention 'soon' is no span of time .*TRK_RETENTION"):
        trk.gc()
    for wrong in ("30", "", "d", "-1d", "1e99d", "nand", -1, float("nan")):
        with pytest.raises(UsageError, match="no span of time"):
            trk.gc(older_than=wrong)


def test_without_a_journal_there_is_nothing_to_remove() -> None:
    assert trk.gc(older_than=0).removed == 0


# ---- while others log

WRITER = """
import sys
import trk
from trk import session
from trk.journal import blobs, files
me, rounds = sys.argv[1], int(sys.argv[2])
run = trk.start(me, backends="none")
for number in range(rounds):
    content = b"%d" % (number % 7)
    open(f"{me}.bin", "wb").write(content)
    run.log_artifact(f"{me}.bin", path=f"{number}")
    found = files.file_of(run.journal, run.id, f"{number}/{me}.bin")
    assert blobs.trouble(found) is None, (number, blobs.trouble(found))
    if number % 5 == 0:  # what was put by a call that then fails stays for gc
        blobs.keep_bytes(run.journal, b"refused %d" % number)
print("done", flush=True)
"""

COLLECTOR = """
import select, sys, time
from trk import session
from trk.journal import freeing
folder = session.find_folder()
journal = session.existing_journal(folder)
print("begun", flush=True)
removed = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    now = time.time() + 10
    removed += freeing.free(journal, freeing.Limits(int(now * 1000), now), dry_run=False).removed
print(removed, flush=True)
"""


def test_nothing_is_lost_that_writers_name_while_gc_runs_without_any_grace() -> None:
    trk.start("first", backends="none").end()
    collectors = [started(COLLECTOR) for _ in range(2)]
    writers = [started(WRITER, f"w{number}", "60") for number in range(6)]
    for one in writers:
        out, err = one.communicate(timeout=200)
        assert (out, err, one.returncode) == ("done\n", "", 0)
    removed = 0
    for one in collectors:
        out, err = one.communicate("stop\n", timeout=60)
        assert err == ""
        removed += int(out.split()[1])
    assert removed > 0, "it was never at work"
    named = {sha256 for (sha256,) in journal().read("SELECT DISTINCT sha256 FROM files")}
    assert len(named) == 7
    for sha256 in named:
        assert Path(blobs.path(journal(), sha256)).is_file()


def test_a_writer_that_was_killed_holds_nothing() -> None:
    trk.start("first", backends="none").end()
    code = (
        "import os, sys, trk\nfrom trk import session\nfrom trk.journal import blobs\n"
        "blobs.keep_bytes(session.existing_journal(session.find_folder()), b'left')\nos.kill(os.getpid(), 9)"
    )
    assert program(code).returncode == -9
    assert there() == {b"left"}
    now = time.time() + 10
    assert freeing.free(journal(), freeing.Limits(0, now), dry_run=False).unnamed == 1
    assert there() == set()


def test_a_gate_that_is_not_to_be_had_is_told_and_nothing_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    run_with_files()
    monkeypatch.setattr(freeing, "GATE_S", 0.1)
    with holds.Gate(blobs.folder(journal())), pytest.raises(trk.JournalError, match="in use by another process"):
        trk.gc(older_than=0)
    assert len(there()) == 5
