"""Promises that were once broken, each by the commands that showed it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import trk
from cli.conftest import Call
from helpers import COMMAND, child_environment, program
from helpers import trk as command
from trk import tracker
from trk.errors import Conflict


def test_a_damaged_journal_moved_away_by_the_hint_leaves_the_new_one_whole(project: Path) -> None:
    program("import os, trk; r = trk.start('old'); [r.log_metric('m', i) for i in range(500)]; os._exit(0)")
    journal = project / ".trk" / "journal.db"
    with journal.open("r+b") as file:
        file.write(os.urandom(2048))
    said = command("ls", "--source", "local").stderr
    hint = said[said.rindex("(keep") :].strip("()\n").split(": ", 1)[1]
    subprocess.run(["sh", "-c", hint], check=False, cwd=project)
    assert command("start", "new", "-q").returncode == 0
    for _ in range(3):
        assert command("log-metric", "f1", "0.9").returncode == 0
    assert len(json.loads(command("history", "f1", "--source", "local", "--json").stdout)) == 3
    assert [run["name"] for run in json.loads(command("ls", "--source", "local", "--json").stdout)] == ["new"]


def test_what_is_left_of_a_journal_without_its_log_is_not_played_into_a_new_one(project: Path) -> None:
    program("import os, trk; r = trk.start('old'); [r.log_metric('m', i) for i in range(50)]; os._exit(0)")
    (project / ".trk" / "journal.db").unlink()
    (project / ".trk" / "session.json").unlink(missing_ok=True)
    assert command("start", "new", "-q").returncode == 0
    assert [run["name"] for run in json.loads(command("ls", "--source", "local", "--json").stdout)] == ["new"]
    assert (project / ".trk" / "journal.db.left-wal").exists()


def test_strict_sync_fails_while_a_backend_does_not_know_a_run(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert call("start", "-q").code == 0
    assert call("sync", "--strict", "--timeout", "0").code == 6
    assert call("sync", "--timeout", "0").code == 0


def test_a_torn_session_holds_up_no_other_runs_end(project: Path) -> None:
    session = project / ".trk" / "session.json"
    with trk.start("apart") as run:
        session.write_text("{")
        run.log_metric("m", 1)
    assert run.status == "FINISHED"
    other = trk.start("other")
    assert command("end", "--run", other.id).returncode == 0


def test_a_setting_that_cannot_be_meant_is_found_before_the_run_is_ended(call: Call, open_run: str) -> None:
    Path("pyproject.toml").write_text("[tool.trk")
    assert call("end").code == 2
    Path("pyproject.toml").unlink()
    assert call("status", "--field", "status").out == "RUNNING\n"


def test_of_shells_that_start_at_once_one_gets_the_session(project: Path) -> None:
    gate, outcomes = threading.Barrier(4), []

    def start(name: str) -> None:
        gate.wait()
        try:
            outcomes.append(trk.start(name, shell_session=True).id)
        except Conflict:
            outcomes.append(None)

    threads = [threading.Thread(target=start, args=(f"run-{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(trk.search(source="local")) == 1


@pytest.mark.parametrize("verb", ["log-metrics", "log-summary", "log-params"])
def test_a_number_too_large_for_a_double_is_refused_from_json_too(verb: str, open_run: str) -> None:
    done = command(verb, "-", input='{"a": 1e999}')
    assert done.returncode == 2
    assert "1e999" in done.stderr


def test_params_from_a_file_keep_their_text(call: Call, open_run: str) -> None:
    Path("p.json").write_text('{"a": 1E5, "b": 0.10}')
    assert call("log-params", "@p.json").code == 0
    params = json.loads(call("show", "--source", "local", "--json").out)["params"]
    assert (params["a"], params["b"]) == ("1E5", "0.10")


def test_an_empty_run_is_no_run_and_not_the_active_one(call: Call, open_run: str) -> None:
    assert call("show", "", "--source", "local").code == 4


def test_a_metric_that_no_run_has_is_not_dropped_from_a_history(call: Call, open_run: str) -> None:
    call("log-metric", "f1", "0.5")
    done = call("history", "f1", "f2", "--source", "local")
    assert (done.code, done.out) == (4, "")


def test_a_name_that_begins_as_several_ids_is_still_a_name(call: Call) -> None:
    first = trk.start("first").id
    trk.start("second")
    name = first[:6]
    trk.start(name)
    assert call("show", name, "--source", "local", "--field", "name").out == f"{name}\n"


def test_code_in_the_working_directory_is_not_run_at_a_programs_end(project: Path) -> None:
    (project / "tenacity.py").write_text("open('planted', 'w').close()")
    script = project.parent / "train.py"
    script.write_text("import trk\ntrk.start('left open', backends='memory').log_metric('m', 1)\n")
    done = subprocess.run([sys.executable, str(script)], env=child_environment(), check=True, cwd=project, timeout=60)
    assert done.returncode == 0
    assert not (project / "planted").exists()
    assert trk.search(source="local")[0].backends["memory"].pending == 0


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg2:///db?user=u&password=s3kret&host=db",
        "https://host.example/mlflow?token=s3kret",
        "https://ada:s3kret@host.example",
    ],
)
def test_no_secret_of_an_address_is_kept_or_shown(
    address: str, project: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    done = call("start", "secretive")
    shown = call("config", "show")
    tracker.find_journal()[1].close()
    kept = b"".join(path.read_bytes() for path in (project / ".trk").iterdir() if path.is_file())
    assert done.code == 0
    assert "s3kret" not in done.out + done.err + shown.out + shown.err
    assert b"s3kret" not in kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of another user")
def test_a_link_that_another_user_planted_is_not_followed(project: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (project / ".trk").symlink_to(target)
    os.lchown(project / ".trk", 12345, 12345)
    below = project / "below"
    below.mkdir()
    command("start", "-q", cwd=below)
    assert list(target.iterdir()) == []


def test_one_run_object_may_be_entered_by_several_threads() -> None:
    shared = trk.attach(trk.start("shared").id)
    failures = []

    def work() -> None:
        try:
            for _ in range(20):
                with shared:
                    assert trk.active_run() is shared
                    shared.log_metric("m", 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(trk.history("m", shared, source="local")) == 80


def test_tags_that_mlflow_acts_on_are_refused(call: Call, open_run: str) -> None:
    done = call("set-tag", "mlflow.runName", "other")
    assert done.code == 2
    assert "reserved" in done.err


def test_a_day_without_dashes_is_a_day(open_run: str, call: Call) -> None:
    call("log-metric", "m", "1", "--timestamp", "20261121")
    found = json.loads(call("history", "m", "--source", "local", "--json").out)
    assert found[0]["time"] == "2026-11-21T00:00:00.000Z"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_readmes_traps_end_a_killed_scripts_run(shell: str, sent: signal.Signals, code: int, project: Path) -> None:
    trk_words = " ".join(COMMAND)
    script = (
        f"set -e; {trk_words} start nightly -q; trap '{trk_words} end -q --exit-code $?' EXIT\n"
        "trap 'exit 130' INT; trap 'exit 143' TERM\necho ready; while :; do sleep 0.05; done\n"
    )
    child = subprocess.Popen(
        [shell, "-c", script], env=child_environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    lines = iter(child.stdout.readline, "")
    assert any(line == "ready\n" for line in lines)
    os.killpg(child.pid, sent)
    child.stdout.close()
    assert child.wait(timeout=30) == code
    assert [run.status for run in trk.search(source="local")] == ["KILLED"]


def test_status_without_a_run_tells_what_is_pending(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    call("start", "-q")
    call("log-metric", "f1", "0.5")
    call("end", "--no-wait")
    done = call("status")
    assert done.code == 3
    assert "2 rows of 1 ended run are pending" in done.err
