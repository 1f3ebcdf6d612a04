"""The file, its lock, its transactions: many threads and processes, forks, interruptions, damaged and foreign files."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest

from helpers import Course, new_run, program, started, until
from trk.errors import JournalError
from trk.journal import read, schema, write
from trk.journal.db import Journal, explained

HOLDER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
c.execute("ROLLBACK")
"""


def rows_of(journal: Journal, run: str) -> list:
    return read.rows_after(journal, read.run_key(journal, run), 0, 100_000)


def assert_whole(journal: Journal, run: str, points: int) -> None:
    """As many points as were logged, numbered without gaps, no step twice, and a sound file."""
    found = rows_of(journal, run)
    assert [row.n for row in found] == list(range(1, points + 1))
    assert sorted(row.step for row in found) == list(range(points))
    assert read.records_of(journal, [read.run_key(journal, run)])
    assert journal.read("SELECT count FROM metrics") == [(points,)]
    assert journal.read("PRAGMA integrity_check") == [("ok",)]


# ---- the file


def test_a_new_journal_is_in_wal_mode_with_small_pages_and_for_this_user_alone(journal: Journal) -> None:
    assert journal.read("PRAGMA journal_mode") == [("wal",)]
    assert journal.read("PRAGMA page_size") == [(1024,)]
    assert journal.read("PRAGMA user_version") == [(schema.VERSION,)]
    assert journal.read("PRAGMA synchronous") == [(1,)]
    assert Path(journal.path).stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_beside_a_new_journal(journal: Journal, project: Path) -> None:
    assert [entry.name for entry in project.iterdir()] == ["journal.db"]


def test_a_journal_that_is_there_is_not_made_again(journal: Journal) -> None:
    run = new_run(journal)
    again = Journal.create(journal.path)
    assert read.run_key(again, run) == 1


def test_a_journal_that_has_gone_is_an_error_not_a_new_empty_one(project: Path) -> None:
    with pytest.raises(JournalError, match="no journal at") as caught:
        Journal(str(project / "gone.db")).read("SELECT 1")
    assert caught.value.hint == "trk start"
    assert not (project / "gone.db").exists()


def test_a_journal_cannot_be_made_in_a_folder_that_is_not_there(project: Path) -> None:
    with pytest.raises(JournalError):
        Journal.create(str(project / "no" / "journal.db"))


def test_the_words_of_a_path_are_not_taken_for_an_error(project: Path) -> None:
    denied = PermissionError(13, "Permission denied", "/home/fuller/locked/busy.db")
    assert "can't be written: Permission denied" in explained(denied, "/x").message
    assert "no space left" in explained(OSError(28, "No space left on device", "/readonly"), "/x").message


def test_a_journal_of_a_newer_trk_is_refused_and_left_alone(journal: Journal) -> None:
    journal.close()
    with sqlite3.connect(journal.path) as raw:
        raw.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    raw.close()
    before = Path(journal.path).read_bytes()
    for use in (lambda: journal.read("SELECT 1"), lambda: new_run(journal)):
        with pytest.raises(JournalError, match="newer trk") as caught:
            use()
        assert caught.value.hint == "pip install --upgrade trk-ml"
    assert Path(journal.path).read_bytes() == before


def damaged(journal: Journal, how: str) -> None:
    run = new_run(journal)
    for _ in range(200):
        write.metrics(journal, run, {"m": 1.0}, None, 5)
    journal.close()
    path = Path(journal.path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "noise": random.Random(5).randbytes(5000),
            "text": b"this is no database\n" * 100,
            "short": content[:60],
            "one page": content[:1024],
            "half": content[: len(content) // 2],
            "noise within": content[:1024] + random.Random(6).randbytes(len(content) - 1024),
        }[how]
    )


@pytest.mark.parametrize("how", ["empty", "noise", "text", "short", "one page", "half", "noise within"])
def test_a_damaged_file_is_one_error_with_a_way_out(journal: Journal, how: str) -> None:
    damaged(journal, how)
    before = Path(journal.path).read_bytes()
    for use in (lambda: list(read.records(journal)), lambda: new_run(journal)):
        with pytest.raises(JournalError) as caught:
            use()
        assert caught.value.hint is not None
        assert f"mv {journal.path} {journal.path}.broken" in caught.value.hint
        assert "\n" not in caught.value.message
    assert Path(journal.path).read_bytes() == before


def test_a_database_of_someone_else_is_refused(project: Path) -> None:
    path = project / "journal.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE rows (a)")
    raw.close()
    with pytest.raises(JournalError, match="not a journal of trk"):
        new_run(Journal(str(path)))


def test_a_folder_in_the_journals_place_is_an_error(project: Path) -> None:
    (project / "journal.db").mkdir()
    with pytest.raises(JournalError):
        new_run(Journal.create(str(project / "journal.db")))


def test_an_older_journal_is_brought_up_to_date(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(journal)
    journal.close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE added (a); CREATE TABLE more (a)"))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    assert read.run_key(journal, run) == 1
    assert journal.read("SELECT * FROM added, more") == []
    assert journal.read("PRAGMA user_version") == [(schema.VERSION,)]


def test_a_migration_that_fails_changes_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    new_run(journal)
    journal.close()
    old = schema.VERSION
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE added (a); CREATE TABLE rows (a)"))
        patch.setattr(schema, "VERSION", old + 1)
        with pytest.raises(JournalError):
            journal.read("SELECT 1")
    assert journal.read("PRAGMA user_version") == [(old,)]
    assert journal.read("SELECT name FROM sqlite_master WHERE name = 'added'") == []


CREATOR = """
import sys
from trk.ids import new_run_id
from trk.journal import write
from trk.journal.db import Journal
sys.stdin.readline()
journal = Journal.create(sys.argv[1])
write.create_run(journal, new_run_id(), {"name": "a", "experiment": "e", "start_time": 1}, {}, {}, {})
"""


def test_processes_that_make_the_journal_at_once_make_one(project: Path) -> None:
    path = str(project / "journal.db")
    makers = [started(CREATOR, path) for _ in range(6)]
    for maker in makers:
        maker.stdin.write("go\n")
        maker.stdin.flush()
    for maker in makers:
        _, errors = maker.communicate(timeout=60)
        assert maker.returncode == 0, errors
    assert read.count_runs(Journal(path), None) == 6
    assert [name for name in os.listdir(project) if name.startswith("journal.db.")] == []


def test_threads_that_make_the_journal_at_once_make_one(project: Path) -> None:
    path = str(project / "journal.db")
    gate, failures = threading.Barrier(6), []

    def make() -> None:
        gate.wait()
        try:
            new_run(Journal.create(path))
        except BaseException as error:
            failures.append(error)

    run_all([threading.Thread(target=make) for _ in range(6)])
    assert failures == []
    assert read.count_runs(Journal(path), None) == 6


# ---- the lock


def test_a_lock_that_another_process_holds_is_waited_for(journal: Journal) -> None:
    run = new_run(journal)
    with started(HOLDER, journal.path) as holder:
        assert holder.stdout.readline() == "held\n"
        done = threading.Event()

        def log() -> None:
            write.metrics(journal, run, {"m": 1.0}, None, 5)
            done.set()

        thread = threading.Thread(target=log)
        thread.start()
        assert not done.wait(0.3)
        holder.communicate("let go\n", timeout=30)
        thread.join(30)
    assert done.is_set()
    assert_whole(journal, run, 1)


def test_reading_does_not_wait_for_who_writes(journal: Journal) -> None:
    run = new_run(journal)
    with started(HOLDER, journal.path) as holder:
        assert holder.stdout.readline() == "held\n"
        assert read.record(journal, run) is not None
        holder.communicate("let go\n", timeout=30)


IMPATIENT = """
import sys
from trk.errors import JournalError
from trk.journal import db, write
db.LOCK_WAIT_S = 0.3
journal = db.Journal(sys.argv[1])
try:
    write.metrics(journal, sys.argv[2], {"m": 1.0}, None, 5)
except JournalError as error:
    print(error.message, "|", error.hint)
"""


def test_a_lock_held_too_long_is_an_error_that_says_so(journal: Journal) -> None:
    run = new_run(journal)
    with started(HOLDER, journal.path) as holder:
        assert holder.stdout.readline() == "held\n"
        done = program(IMPATIENT, journal.path, run)
        holder.communicate("let go\n", timeout=30)
    assert "was locked by another process for" in done.stdout, done.stderr
    assert f"lsof {journal.path}" in done.stdout
    assert rows_of(journal, run) == []


# ---- threads, interruptions


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_threads_take_turns(journal: Journal) -> None:
    run = new_run(journal)
    failures: list[BaseException] = []

    def log() -> None:
        try:
            for _ in range(200):
                write.metrics(journal, run, {"m": 1.0}, None, 5)
                read.run_key(journal, run)
        except BaseException as error:
            failures.append(error)

    run_all([threading.Thread(target=log) for _ in range(8)])
    assert failures == []
    assert_whole(journal, run, 1600)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_exception_within_a_transaction_undoes_it(journal: Journal, interruption) -> None:
    def insert_and_fail() -> None:
        with journal.explaining, journal.lock, journal.begun() as db:
            db.execute("INSERT INTO tags VALUES (1, 'a', 'b')")
            raise interruption

    with pytest.raises(interruption):
        insert_and_fail()
    assert journal.read("SELECT * FROM tags") == []
    new_run(journal)


def test_a_statement_that_fails_undoes_the_transaction_and_is_explained(journal: Journal) -> None:
    def insert_twice() -> None:
        with journal.explaining, journal.lock, journal.begun() as db:
            db.execute("INSERT INTO tags VALUES (1, 'a', 'b')")
            db.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(JournalError):
        insert_twice()
    assert journal.read("SELECT * FROM tags") == []


INTERRUPTED = """
import random, signal, sys
from trk.journal import write
from trk.journal.db import Journal

journal, run, dice = Journal(sys.argv[1]), sys.argv[2], random.Random(sys.argv[3])
acknowledged = interrupts = 0
write.metrics(journal, run, {"m": 1.0}, None, 5)
acknowledged += 1

def later():
    signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00002, 0.0004))

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
while interrupts < 1500:
    try:
        later()
        while True:
            write.metrics(journal, run, {"m": 1.0}, None, 5)
            acknowledged += 1
    except KeyboardInterrupt:
        interrupts += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(acknowledged, journal.connection.in_transaction, flush=True)
import threading
def log():
    write.metrics(journal, run, {"m": 1.0}, None, 5)
    print("free", flush=True)
thread = threading.Thread(target=log, daemon=True)
thread.start()
thread.join(10)
"""


def test_whoever_is_interrupted_over_and_over_can_go_on_and_holds_no_lock(journal: Journal, course: Course) -> None:
    run = new_run(journal)
    done = program(INTERRUPTED, journal.path, run, str(course.seed), timeout=120)
    assert done.returncode == 0, done.stderr
    counts, _, free = done.stdout.partition("\n")
    acknowledged, in_transaction = counts.split()
    assert in_transaction == "False"
    assert free.strip() == "free", "another thread can't log any more"
    write.metrics(journal, run, {"m": 1.0}, None, 5)
    found = rows_of(journal, run)
    assert len(found) >= int(acknowledged) + 2
    assert_whole(journal, run, len(found))


# ---- forks


def in_a_fork(work) -> int:
    """Start a child that does `work` and goes without clean-up; its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def assert_ended_well(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def log_points(journal: Journal, run: str, count: int) -> None:
    for _ in range(count):
        write.metrics(journal, run, {"m": 1.0}, None, 5)


def test_parent_and_child_of_a_fork_both_log(journal: Journal) -> None:
    run = new_run(journal)
    log_points(journal, run, 1)
    children = [in_a_fork(lambda: log_points(journal, run, 100)) for _ in range(3)]
    log_points(journal, run, 99)
    for child in children:
        assert_ended_well(child)
    log_points(journal, run, 100)
    assert_whole(journal, run, 500)


def test_a_child_that_outlives_its_parents_connection_loses_nothing(journal: Journal) -> None:
    run = new_run(journal)
    log_points(journal, run, 1)
    told, tell = os.pipe()

    def work() -> None:
        log_points(journal, run, 1)
        os.read(told, 1)
        log_points(journal, run, 50)

    child = in_a_fork(work)
    until(lambda: len(rows_of(journal, run)) == 2)
    journal.close()  # the last connection that the kernel knows of, if the child inherited one: the log would go
    os.write(tell, b"x")
    assert_ended_well(child)
    os.close(told)
    os.close(tell)
    assert_whole(journal, run, 52)


def test_a_child_that_never_logs_does_not_disturb_its_parent(journal: Journal) -> None:
    run = new_run(journal)
    for _ in range(5):
        log_points(journal, run, 10)
        assert_ended_well(in_a_fork(lambda: None))
    assert_whole(journal, run, 50)


def test_a_child_of_a_child_logs_too(journal: Journal) -> None:
    run = new_run(journal)

    def work() -> None:
        log_points(journal, run, 10)
        assert_ended_well(in_a_fork(lambda: log_points(journal, run, 10)))
        log_points(journal, run, 10)

    assert_ended_well(in_a_fork(work))
    assert_whole(journal, run, 30)


def test_a_fork_while_other_threads_log_leaves_the_child_able_to(journal: Journal) -> None:
    run = new_run(journal)
    stop, counts = threading.Event(), []

    def log() -> None:
        count = 0
        while not stop.is_set():
            write.metrics(journal, run, {"m": 1.0}, None, 5)
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=log) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert_ended_well(in_a_fork(lambda: log_points(journal, run, 5)))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert_whole(journal, run, sum(counts) + 100)


def test_the_workers_of_multiprocessing_log(journal: Journal) -> None:
    run = new_run(journal)
    log_points(journal, run, 1)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=log_points, args=(journal, run, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    log_points(journal, run, 49)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
        worker.close()
    assert_whole(journal, run, 250)


# ---- sudden death


def test_a_process_killed_within_a_transaction_leaves_nothing_of_it_and_no_lock(journal: Journal) -> None:
    run = new_run(journal)
    half = """
import sys
from trk.journal.db import Journal
journal = Journal(sys.argv[1])
with journal.lock, journal.begun() as db:
    db.execute("INSERT INTO tags VALUES (1, 'half', 'done')")
    print("within", flush=True)
    sys.stdin.readline()
"""
    with started(half, journal.path) as child:
        assert child.stdout.readline() == "within\n"
        child.send_signal(signal.SIGKILL)
    log_points(journal, run, 1)
    assert journal.read("SELECT * FROM tags") == []
    assert_whole(journal, run, 1)


def test_the_log_is_folded_into_the_file_when_asked(journal: Journal) -> None:
    run = new_run(journal)
    log_points(journal, run, 100)
    size = os.path.getsize(journal.path)
    journal.checkpoint()
    assert os.path.getsize(journal.path) > size


def test_nothing_is_printed_when_a_program_ends_with_an_open_journal(journal: Journal) -> None:
    run = new_run(journal)
    code = """
import sys
from trk.journal import read
from trk.journal.db import Journal
print(read.run_key(Journal(sys.argv[1]), sys.argv[2]))
"""
    done: subprocess.CompletedProcess[str] = program(code, journal.path, run, PYTHONWARNINGS="error")
    assert (done.stdout, done.stderr) == ("1\n", "")
