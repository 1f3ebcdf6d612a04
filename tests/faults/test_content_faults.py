"""Many write content at once, and writers are killed: every row that was acknowledged is there, once, in order."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from helpers import COMMAND, Course, child_environment, started
from trk import start as start_run
from trk.journal import blobs
from trk.journal import files as held
from trk.records import LoggedFile
from trk.run import Run

KILLS, MANY_KILLS = 20, 2_000  # in a short course, and in a long one


@pytest.fixture
def shells() -> Run:
    """A run that this directory's shells are in."""
    return start_run("shells", shell_session=True)


def rows_of(run: Run, path: str) -> list[list[object]]:
    key = run.journal.read("SELECT run FROM runs WHERE run_id = ?", (run.id,))[0][0]
    whole, _ = held.table(run.journal, key, path, 1 << 60)
    rows = list(whole.rows())
    assert len(rows) == whole.count
    assert run.journal.read("SELECT count FROM tables WHERE path = ?", (path,)) == [(len(rows),)]
    return rows


def assert_numbered(run: Run) -> None:
    numbers = [n for (n,) in run.journal.read("SELECT n FROM rows ORDER BY n")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_many_shells_at_once_log_every_row_of_one_table(shells: Run, course: Course) -> None:
    crowd_size = course.many(20, 64)
    call = shlex.join([*COMMAND, "log-table", "--name", "t", "--columns", "shell,call"])
    script = f"for i in 1 2; do {call} --row $SHELL_NUMBER,$i --row $SHELL_NUMBER,-$i || exit 1; done"
    crowd = [
        subprocess.Popen(
            ["sh", "-c", script], env=child_environment(SHELL_NUMBER=str(number)), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for number in range(crowd_size)
    ]  # fmt: skip
    for shell in crowd:
        output, errors = shell.communicate(timeout=120)
        assert (shell.returncode, output, errors) == (0, "", "")
    found = rows_of(shells, "t.json")
    assert sorted(found) == sorted(
        [number, sign * call] for number in range(crowd_size) for call in (1, 2) for sign in (1, -1)
    )
    for number in range(crowd_size):
        assert [call for shell, call in found if shell == number] == [1, -1, 2, -2]
    assert_numbered(shells)


LOGGER = """
import sys, trk
run = trk.attach(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for call in range(int(sys.argv[3])):
    n = run.log_table("t", [[int(sys.argv[2]), call, "x" * (20_000 if call % 5 == 0 else 5)]], ["who", "call", "text"])
    print(n, call, flush=True)
"""


def test_8_processes_at_once_log_their_rows_in_order(shells: Run) -> None:
    crowd = [started(LOGGER, shells.id, str(number), "25") for number in range(8)]
    for process in crowd:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    acknowledged: dict[int, tuple[int, int]] = {}
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for number, process in enumerate(crowd):
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        for line in output.splitlines():
            n, call = map(int, line.split())
            acknowledged[n] = number, call
    assert [tuple(row[:2]) for row in rows_of(shells, "t.json")] == [acknowledged[n] for n in sorted(acknowledged)]
    assert sorted(acknowledged) == list(range(1, 201))


def test_writers_killed_at_random_instants_leave_whole_files_and_whole_rows(shells: Run, course: Course) -> None:
    acknowledged = []
    usual = 0.0
    for number in range(course.many(KILLS, MANY_KILLS)):
        Path("f").write_bytes(number.to_bytes(2, "big") * 2_000_000)
        begun = time.monotonic()
        child = subprocess.Popen(
            [*COMMAND, "log-artifact", "f", "--json"], env=child_environment(), stdout=subprocess.PIPE, text=True
        )
        try:
            child.wait(None if number == 0 else course.dice.uniform(0.3, 1.1) * usual)
        except subprocess.TimeoutExpired:
            child.kill()
        line, _ = child.communicate(timeout=30)
        usual = usual or time.monotonic() - begun
        if line.endswith("\n"):
            acknowledged.append(json.loads(line)["n"])
    assert_numbered(shells)
    logged = shells.journal.read("SELECT n, size, sha256 FROM files ORDER BY n")
    assert set(acknowledged) <= {n for n, _, _ in logged}
    for _, size, sha256 in logged:
        assert size == 4_000_000
        assert blobs.trouble(LoggedFile("f", size, sha256, blobs.path(shells.journal, sha256))) is None
    for path in Path(blobs.folder(shells.journal)).glob("??/*"):  # also those whose row was never written
        assert blobs.trouble(LoggedFile("f", 4_000_000, path.name, str(path))) is None
    print(f"{len(acknowledged)} acknowledged, {len(logged)} there")
