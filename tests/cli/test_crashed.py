"""Runs whose shell or program died: they are found, told of in true words, and settled by the command named."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk as library
from trk import owners, session
from trk.errors import Conflict
from trk.journal import schema, write

TRK = f"'{sys.executable}' -m trk_cli"
SETTLED = "trk start --replace, or trk end --status KILLED"
PROGRAM = """
import sys, trk
run = trk.start('program')
run.log_metric('f1', 0.5)
print(run.id, flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the tests look at processes by /proc")


def shell(script: str) -> str:
    """What a shell prints that is gone when this returns; `TRK` is the command. A lone one would take its place."""
    done = subprocess.run(
        ["bash", "-c", f"{script.replace('TRK', TRK)}; true"], env=helpers.child_environment(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def change(sql: str, *values: object) -> None:
    """Change the journal by hand."""
    journal = session.open_journal(session.find_folder() or "")
    journal.close()
    with closing(sqlite3.connect(journal.path)) as raw, raw:
        raw.execute(sql, values)


def as_if_silent(run_id: str, minutes: int = 11) -> None:
    """Let a run's start and last row be some minutes earlier."""
    ago = minutes * 60_000
    change("UPDATE runs SET start_time = start_time - ? WHERE run_id = ?", ago, run_id)
    change("UPDATE rows SET time = time - ? WHERE run = (SELECT run FROM runs WHERE run_id = ?)", ago, run_id)


def before_a_restart(run_id: str) -> None:
    change("UPDATE runs SET owner = json_set(owner, '$.boot', 'an earlier one') WHERE run_id = ?", run_id)


def status(*words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(helpers.trk("status", "--json", "-q", *words).stdout or "{}")
    return told


def doctor() -> list[dict[str, str]]:
    checks = json.loads(helpers.trk("doctor", "--json", "-q").stdout)
    return [check for check in checks if check["check"] == "open runs"]


@pytest.fixture
def crashed() -> str:
    """A run whose shell was killed after it had logged."""
    return shell("TRK start one -q; TRK log-metric f1 0.5; kill -9 $$")


@pytest.fixture
def killed() -> str:
    """A run whose Python program was killed, and not yet waited for."""
    child = helpers.started(PROGRAM)
    assert child.stdout is not None
    run_id = child.stdout.readline().strip()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its entry in the table stays
    assert doctor()[0]["found"].startswith(run_id)
    child.communicate()
    return run_id


# ---- who it is


def test_the_owner_is_the_shell_that_called_however_it_called() -> None:
    script = "echo $$; RUN=$(TRK start -q); TRK status --field owner.pid; TRK status --field owner.alive; TRK end -q"
    found = shell(script + "; echo $(TRK start -q | cat) >&2; TRK status --field owner.pid").split()
    assert found == [found[0], found[0], "true", found[0]]


def test_a_shell_of_its_own_is_not_taken_for_the_one_that_called_it() -> None:
    outer, inner, owner = shell(
        f'echo $$; bash -c "echo \\$\\$; {TRK} start -q >&2; {TRK} status --field owner.pid"'
    ).split()
    assert outer != inner == owner


def test_the_owner_in_python_is_the_program() -> None:
    with library.start() as run:
        assert (run.owner.pid, run.owner.alive, run.owner.this_boot) == (os.getpid(), True, True)
        assert run.owner.host == os.uname().nodename
        assert run.last_row_time is None
        run.log_metric("f1", 0.5)
        assert run.last_row_time is not None


def test_who_resumes_a_run_owns_it(crashed: str) -> None:
    assert helpers.trk("end", "-q").returncode == 0
    run = library.resume(crashed)
    assert (run.owner.pid, run.owner.resumed) == (os.getpid(), True)
    run.end()
    assert helpers.trk("resume", crashed, "-q").returncode == 0
    assert run.owner.pid == os.getpid(), "this is the caller of the command"


def test_a_number_that_another_process_has_now_is_not_its_owner(crashed: str) -> None:
    change("UPDATE runs SET owner = json_set(owner, '$.pid', ?)", os.getpid())
    assert status()["owner"] == {"alive": False, "this_boot": True, "pid": os.getpid(), "host": os.uname().nodename}


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({"boot": "another", "host": "elsewhere"}, (None, None)),
        ({"boot": "another", "machine": "a namesake"}, (None, None)),
        ({"boot": "another"}, (False, False)),
        ({"space": "pid:[1]"}, (None, True)),
        ({"started": None}, (None, True)),
        ({"pid": None}, (None, True)),
        ({"boot": None}, (None, None)),
        ({}, (True, True)),
    ],
)
def test_what_can_not_be_known_is_not_said(change: dict[str, Any], known: tuple[bool | None, bool | None]) -> None:
    owner = owners.look(json.dumps({**json.loads(owners.of_process()), **change}))
    assert (owner.alive, owner.this_boot) == known


@pytest.mark.parametrize("kept", [None, "", "{", "[]", "null", '{"pid": "x", "boot": 5}', "[" * 100_000])
def test_an_owner_that_can_not_be_read_is_not_known(kept: str | None) -> None:
    assert owners.look(kept).alive is None


def test_a_journal_of_the_version_before_goes_on_without_owners(project: Path) -> None:
    run_id = helpers.trk("start", "-q").stdout.strip()
    change("DROP INDEX files_by_content")
    change("DROP TABLE removed")
    change("DROP TABLE watched")
    change("ALTER TABLE runs DROP COLUMN owner")
    change("PRAGMA user_version = 2")
    assert schema.VERSION >= 3
    assert status()["owner"] == {"alive": None, "this_boot": None, "pid": None, "host": None}
    assert helpers.trk("log-metric", "f1", "1").returncode == 0
    as_if_silent(run_id)
    assert "trk: warning:" not in helpers.trk("status").stderr
    assert "is active here (trk end, or" in helpers.trk("start").stderr
    assert doctor() == []
    assert helpers.trk("start", "--replace", "-q").returncode == 0
    assert status()["owner"]["alive"] is True


# ---- what is said


def test_the_status_tells_of_it_after_ten_minutes_of_silence_and_not_before(crashed: str) -> None:
    told = status()
    assert told["owner"]["alive"] is False
    assert told["owner"]["this_boot"] is True
    assert told["last_row_time"].endswith("Z")
    assert "has ended" not in helpers.trk("status").stderr, "the next step of a CI job would be told nonsense"
    as_if_silent(crashed)
    said = helpers.trk("status").stderr
    assert f"process {told['owner']['pid']}, which started it, has ended" in said
    assert "trk end --status KILLED" in said
    assert "trk start --replace" in said
    assert f"trk end --run {crashed} --status KILLED" in helpers.trk("status", "--run", "one").stderr
    assert helpers.trk("status", "-q").stderr == ""
    assert helpers.trk("log-metric", "f1", "1").returncode == 0
    assert "has ended" not in helpers.trk("status").stderr, "somebody goes on with it"


def test_the_status_tells_at_once_of_a_restart_of_the_machine(crashed: str) -> None:
    before_a_restart(crashed)
    assert status()["owner"]["this_boot"] is False
    assert "it was started on this machine before that was restarted" in helpers.trk("status").stderr


def test_a_start_says_what_became_of_the_run_that_is_in_the_way(crashed: str) -> None:
    done = helpers.trk("start")
    assert done.returncode == 7
    assert f"run {crashed} is active here, but process" in done.stderr
    assert f"({SETTLED}; or just go on logging into it)" in done.stderr
    with pytest.raises(Conflict, match="which started it, has ended, and it was last heard of at"):
        library.start(shell_session=True)


def test_nothing_is_said_of_a_run_whose_shell_lives(call: Any) -> None:
    run_id = call("start", "-q").out.strip()
    as_if_silent(run_id, minutes=600)
    assert "has ended" not in call("status").err
    assert "(trk end, or trk start --replace or --nested)" in call("start").err
    assert doctor() == []


def test_the_doctor_finds_a_killed_program_at_once_and_its_command_settles_it(killed: str) -> None:
    (check,) = doctor()
    assert check["state"] == "warn"
    assert check["found"].startswith(f"{killed} (program) is open, but process ")
    assert check["mend"] == f"trk end --run {killed} --status KILLED"
    assert helpers.trk(*check["mend"].split()[1:]).returncode == 0
    assert doctor() == []
    assert library.get_run(killed).status == "KILLED"


def test_the_doctor_finds_a_run_of_the_session_when_it_is_silent_or_from_before_a_restart(crashed: str) -> None:
    assert doctor() == [], "it goes on: the shells here are in it, and it was just heard of"
    assert f"{crashed} goes on here, though process" in helpers.trk("doctor").stdout
    as_if_silent(crashed)
    (check,) = doctor()
    assert check["mend"] == f"trk end --run {crashed} --status KILLED"
    nested = shell("TRK start two -q --nested; TRK log-metric f1 0.5")
    assert doctor() == [], "what is going on within it keeps it"
    before_a_restart(nested)
    assert [check["mend"].split()[3] for check in doctor()] == [crashed, nested]


def test_the_doctor_names_five_and_counts_the_rest(project: Path) -> None:
    gone = json.dumps({**json.loads(owners.of_process()), "boot": "an earlier one"})
    folder, _ = session.make_folder()
    journal = session.open_journal(folder)
    runs = [helpers.new_run(journal, f"run {n}", start_time=write.now_ms() + n, owner=gone) for n in range(7)]
    checks = doctor()
    assert len(checks) == 6
    assert [check["mend"] for check in checks[:5]] == [f"trk end --run {run} --status KILLED" for run in runs[:5]]
    assert checks[5]["found"] == "2 more runs open whose owner has ended"


# ---- settling it


def test_replacing_it_kills_it_and_delivers_it(crashed: str) -> None:
    done = helpers.trk("start", "two", "--replace")
    assert f"run {crashed} ended as KILLED\n" in done.stderr
    assert library.get_run(crashed).status == "KILLED"
    assert status()["name"] == "two"


def test_ending_it_by_name_takes_it_from_the_session_and_says_when_that_was(crashed: str) -> None:
    as_if_silent(crashed, minutes=600)
    before = write.now_ms()
    done = helpers.trk("end", "--run", crashed, "--status", "KILLED", "--json")
    assert json.loads(done.stdout)["runs"][0]["status"] == "KILLED"
    ended = library.get_run(crashed).end_time
    assert ended is not None
    assert ended.timestamp() * 1000 >= before - 1
    assert helpers.trk("status").returncode == 3
    assert helpers.trk("start", "-q").returncode == 0


def test_a_run_goes_on_through_many_shells() -> None:
    run_id = shell("TRK start -q")
    for step in range(3):
        assert shell(f"TRK log-metric f1 0.{step} --json") != ""
    assert status()["owner"]["alive"] is False
    assert doctor() == []
    assert shell("TRK end -q; echo $?") == "0"
    assert library.get_run(run_id).status == "FINISHED"


def test_a_program_that_is_stopped_is_not_gone() -> None:
    child = helpers.started(PROGRAM)
    try:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        child.send_signal(signal.SIGSTOP)
        assert status("--run", run_id)["owner"]["alive"] is True
        assert doctor() == []
    finally:
        child.kill()
        child.communicate()
