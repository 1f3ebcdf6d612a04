"""What is acknowledged stays, whatever is killed, full, read-only or gone."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faults.harness.disk import fill
from helpers import COMMAND, Course, child_environment, new_run, program, started, trk
from trk import session
from trk import start as start_run
from trk.journal import read, write
from trk.journal.db import Journal
from trk.run import Run

KILLS, MANY_KILLS = 60, 6_000  # in a short course, and in a long one


@pytest.fixture
def shells() -> Run:
    """A run that this directory's shells are in."""
    return start_run("shells", shell_session=True)


def rows_of(journal: Journal, run_id: str) -> list:
    return read.rows_after(journal, read.run_key(journal, run_id), 0, 100_000)


def assert_whole(journal: Journal, run_id: str) -> list:
    """The rows are numbered without a gap, no step is there twice, and the file is sound."""
    found = rows_of(journal, run_id)
    assert [row.n for row in found] == list(range(1, len(found) + 1))
    steps = [row.step for row in found if row.step is not None]
    assert len(steps) == len(set(steps))
    assert journal.read("PRAGMA integrity_check") == [("ok",)]
    return found


def assert_explained(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The command failed with this code, in one line of JSON with a hint, and no traceback."""
    assert done.returncode == code, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert error["hint"]
    assert all(word in line for word in words), line


# ---- kill -9


def test_log_commands_killed_at_random_instants_lose_and_double_nothing(shells: Run, course: Course) -> None:
    begun = time.monotonic()
    assert trk("log-metric", "m", "-1", "--json").returncode == 0
    usual = time.monotonic() - begun
    acknowledged = {1: -1.0}
    for number in range(course.many(KILLS, MANY_KILLS)):
        child = subprocess.Popen(
            [*COMMAND, "log-metric", "m", str(number), "--json"],
            env=child_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            child.wait(course.dice.uniform(0.3, 1.1) * usual)
        except subprocess.TimeoutExpired:
            child.kill()
        line, _ = child.communicate(timeout=30)
        if line.endswith("\n"):
            acknowledged[json.loads(line)["n"]] = float(number)
    found = assert_whole(shells.journal, shells.id)
    logged = {row.n: row.values["m"] for row in found}
    assert acknowledged.items() <= logged.items()
    assert len(set(logged.values())) == len(logged), "a value was logged twice"
    print(f"{len(acknowledged)} acknowledged, {len(logged)} there")


BUSY = """
import sys
from trk.journal import write
from trk.journal.db import Journal
journal = Journal(sys.argv[1])
value = float(sys.argv[3])
while True:
    n, _ = write.metrics(journal, sys.argv[2], {"m": value, "o": 1.0} if int(value) % 3 else {"m": value}, None, 5)
    sys.stdout.write(f"{n} {value}\\n")
    sys.stdout.flush()
    value += 1
"""


def test_busy_writers_killed_at_random_instants_lose_and_double_nothing(journal: Journal, course: Course) -> None:
    run = new_run(journal)
    acknowledged: dict[int, float] = {}
    for round_ in range(course.many(KILLS, MANY_KILLS) // 5):
        writers = [started(BUSY, journal.path, run, str((2 * round_ + k) * 1_000_000)) for k in (0, 1)]
        first = writers[0].stdout.readline()
        time.sleep(course.dice.uniform(0, 0.05))  # the instant of death is what this test is about
        for writer in writers:
            writer.kill()
        for writer in writers:
            rest, _ = writer.communicate(timeout=30)
            for line in ((first + rest) if writer is writers[0] else rest).splitlines(keepends=True):
                if line.endswith("\n"):
                    n, value = line.split()
                    acknowledged[int(n)] = float(value)
    found = assert_whole(journal, run)
    logged = {row.n: row.values["m"] for row in found}
    assert acknowledged.items() <= logged.items()
    assert len(set(logged.values())) == len(logged)
    assert len(acknowledged) > KILLS


def test_64_shells_at_once_log_every_point_at_a_step_of_its_own(shells: Run, course: Course) -> None:
    command = shlex.join([*COMMAND, "log-metric", "m", "0.5"])
    each = course.many(2, 20)
    script = f"for i in {' '.join(map(str, range(each)))}; do {command} || exit 1; done"
    crowd = [
        subprocess.Popen(
            ["sh", "-c", script], env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(64)
    ]
    for shell in crowd:
        output, errors = shell.communicate(timeout=280)
        assert (shell.returncode, output, errors) == (0, "", "")
    found = assert_whole(shells.journal, shells.id)
    assert sorted(row.step for row in found) == list(range(64 * each))


# ---- a full disk


READ = """
import sys
from trk.journal import read
from trk.journal.db import Journal
journal = Journal(sys.argv[1])
record = read.record(journal, sys.argv[2])
print(record.name, len(read.rows_after(journal, 1, 0, 100_000)), len(read.points(journal, sys.argv[2], "m")))
"""


def test_a_full_disk_keeps_what_was_acknowledged_and_says_so(mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = mounted("size=2m")
    monkeypatch.setenv("TRK_DIR", str(disk / ".trk"))
    run = start_run("full", shell_session=True)
    run.log_metric("m", 1.0)
    ballast = fill(disk, 200_000)
    acknowledged = 1
    for number in range(100):
        done = trk("log-param", f"p{number}", "x" * 20_000, "--json")
        if done.returncode:
            break
        acknowledged += 1
    assert_explained(done, 1, "journal_error", "no space left", "nothing was written", f"df -h {disk}")
    for _ in range(3):
        assert_explained(trk("log-param", "another", "x" * 20_000, "--json"), 1, "journal_error")
    assert program(READ, str(disk / ".trk" / "journal.db"), run.id).stdout == f"full {acknowledged} 1\n"
    ballast.unlink()
    assert json.loads(trk("log-metric", "m", "2", "--json").stdout)["n"] == acknowledged + 1
    assert len(assert_whole(run.journal, run.id)) == acknowledged + 1


@pytest.mark.parametrize("log", ["folded in", "beside it"])
def test_a_disk_without_a_byte_left_still_answers(mounted, monkeypatch: pytest.MonkeyPatch, log: str) -> None:
    disk = mounted("size=2m")
    monkeypatch.setenv("TRK_DIR", str(disk / ".trk"))
    run = start_run("full", shell_session=True)
    run.log_metric("m", 1.0)
    path = run.journal.path
    run.journal.close()
    if log == "beside it":
        assert trk("log-metric", "m", "2").returncode == 0
        Path(path + "-shm").unlink()  # as after a reboot: the log is there, its index in shared memory is not
    fill(disk, 0)
    done = program(READ, path, run.id)
    assert done.stdout == ("full 1 1\n" if log == "folded in" else "full 2 2\n"), done.stderr
    assert_explained(trk("log-metric", "m", "3", "--json"), 1, "journal_error")


def test_a_journal_that_does_not_fit_is_not_half_made(mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = mounted("size=1m")
    monkeypatch.setenv("TRK_DIR", str(disk / ".trk"))
    (disk / ".trk").mkdir()
    ballast = fill(disk, 8192)
    done = program("import trk\ntry:\n    trk.start('a')\nexcept trk.JournalError as e:\n    print(e.hint)")
    assert done.stdout == f"df -h {disk / '.trk'}\n", done.stderr
    assert list((disk / ".trk").iterdir()) == []
    ballast.unlink()
    assert start_run("a").log_metric("m", 1) == (1, 0)


# ---- a read-only folder


@pytest.mark.parametrize("log", ["folded in", "beside it", "beside it, without its index"])
def test_a_read_only_folder_can_be_read_and_not_logged_to(mounted, monkeypatch: pytest.MonkeyPatch, log: str) -> None:
    disk = mounted("size=2m")
    monkeypatch.setenv("TRK_DIR", str(disk / ".trk"))
    run = start_run("fixed", shell_session=True)
    run.log_metric("m", 1.0)
    path = run.journal.path
    run.journal.close()
    if log != "folded in":
        assert trk("log-metric", "m", "2").returncode == 0
    if log == "beside it, without its index":
        Path(path + "-shm").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = program(READ, path, run.id)
    assert done.stdout == ("fixed 1 1\n" if log == "folded in" else "fixed 2 2\n"), done.stderr
    assert_explained(trk("log-metric", "m", "3", "--json"), 1, "journal_error", "can't be written")
    assert_explained(trk("set-tag", "a", "b", "--json"), 1, "journal_error", "can't be written")


def test_a_read_only_project_gets_no_folder(mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = mounted("size=2m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    monkeypatch.chdir(disk)
    done = program("import trk\ntry:\n    trk.start('a')\nexcept trk.JournalError as e:\n    print(e.hint)")
    assert done.stdout == "set TRK_DIR to a writable folder\n", done.stderr


# ---- what else goes wrong


@pytest.mark.parametrize(
    ("words", "code"), [(("log-metric", "m", "1"), 3), (("log-metric", "m", "1", "--run", "abcdef"), 4)]
)
def test_in_a_deleted_directory_a_log_command_says_that_no_run_is_active(
    project: Path, words: tuple, code: int
) -> None:
    (project / "gone").mkdir()
    script = f"cd gone && rmdir ../gone && exec {shlex.join([*COMMAND, *words, '--json'])}"
    done = subprocess.run(
        ["sh", "-c", script], env=child_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert_explained(done, code)


def test_a_session_whose_run_is_not_in_the_journal_says_so(shells: Run) -> None:
    session.push(shells.folder, "x" * 26)
    assert_explained(trk("log-metric", "m", "1", "--json"), 4, "no run xxx")


def test_a_session_whose_run_has_ended_elsewhere_says_so(shells: Run) -> None:
    write.set_status(shells.journal, shells.id, "FINISHED", 5)
    assert_explained(trk("log-metric", "m", "1", "--json"), 7, "has ended", f"trk resume {shells.id}")


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "act', b"\xff\xfe\x00", b'{"version": 9}'])
def test_a_torn_or_newer_session_stops_a_log_command_and_nothing_is_written(shells: Run, content: bytes) -> None:
    Path(session.session_path(shells.folder)).write_bytes(content)
    assert_explained(trk("log-metric", "m", "1", "--json"), 1, "session_error", "session.json")
    assert trk("log-metric", "m", "1", "--run", shells.id).returncode == 0
    assert len(rows_of(shells.journal, shells.id)) == 1


def test_a_damaged_journal_stops_a_log_command(shells: Run) -> None:
    shells.journal.close()
    Path(shells.journal.path).write_bytes(b"noise " * 1000)
    assert_explained(trk("log-metric", "m", "1", "--json"), 1, "journal_error", ".broken")


def test_a_clock_that_steps_back_disturbs_neither_order_nor_steps(shells: Run) -> None:
    for moment, value in (("1795246020", "1"), ("1795246010", "2"), ("1795240000", "3")):
        assert trk("log-metric", "m", value, "--timestamp", moment).returncode == 0
    found = assert_whole(shells.journal, shells.id)
    assert [(row.n, row.step, row.values["m"]) for row in found] == [(1, 0, 1.0), (2, 1, 2.0), (3, 2, 3.0)]
    assert shells.record.metrics == {"m": 3.0}


def test_an_end_before_the_start_is_no_negative_duration(journal: Journal) -> None:
    run = new_run(journal, start_time=10_000)
    write.set_status(journal, run, "FINISHED", 4_000)
    record = read.record(journal, run)
    assert record is not None
    assert record.duration_s == 0


WAITING = """
import sys
from trk_cli.__main__ import main
sys.stdin.readline()
sys.exit(main(sys.argv[1:]))
"""


def test_a_reader_gone_away_is_no_error(shells: Run) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, "log-metric", "m", "1", "--json"],
        env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    child.stdout.close()
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stderr.read() == ""
    assert child.wait(30) == 0
    child.stdin.close()
    child.stderr.close()
    assert len(rows_of(shells.journal, shells.id)) == 1
