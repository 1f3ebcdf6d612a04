"""How a command ends is how its run ends, and nothing of it is changed on the way."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

import trk
from helpers import child_environment, in_time
from trk import session
from trk.running.kept import NAME

DEADLY = ("SIGTERM", "SIGKILL", "SIGINT", "SIGSEGV", "SIGABRT", "SIGPIPE", "SIGHUP", "SIGUSR1", "SIGALRM")


# Kills what listens beside the command, and takes the journal away.
HARM = """
import os, shutil
for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
    try:
        words, about = open(f"/proc/{name}/cmdline").read(), open(f"/proc/{name}/status").read()
    except OSError:
        continue
    if int(name) != os.getpid() and "trk.running.listener" in words and f"PPid:\\t{os.getppid()}\\n" in about:
        os.kill(int(name), 9)
shutil.rmtree(os.environ["TRK_DIR"])
print("loss: 1")
raise SystemExit(3)
"""


@pytest.fixture(autouse=True)
def _same_trk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", child_environment()["PYTHONPATH"])


def shell(script: str, **more: object) -> trk.CommandResult:
    return trk.run_command(["sh", "-c", script], **more)  # type: ignore[arg-type]


def record(result: trk.CommandResult) -> trk.RunRecord:
    assert result.record is not None
    return result.record


def kept(result: trk.CommandResult, project: Path) -> bytes:
    place = project / "kept.log"
    trk.get_artifact(NAME, run=result.run_id, to=place, overwrite=True, source="local")
    return place.read_bytes()


def test_every_exit_status_is_the_commands_own() -> None:
    for code in range(256):
        result = shell(f"exit {code}", output=False)
        status = {0: "FINISHED", 130: "KILLED", 137: "KILLED", 143: "KILLED"}.get(code, "FAILED")
        assert (result.exit_code, result.signal, result.status) == (code, None, status)
        assert record(result).status == status
        assert record(result).tags["run.exit_code"] == str(code)
        assert result.troubles == ()


@pytest.mark.parametrize("name", DEADLY)
def test_a_command_that_dies_of_a_signal_is_told_by_it(name: str) -> None:
    number = getattr(signal, name)
    result = shell(f"ulimit -c 0; kill -{int(number)} $$")
    assert (result.exit_code, result.signal) == (128 + number, number)
    assert result.status == ("KILLED" if name in ("SIGTERM", "SIGKILL", "SIGINT") else "FAILED")


def test_children_left_in_the_background_are_not_waited_for(project: Path) -> None:
    with in_time(0):
        result = shell("(sleep 60; echo never) & echo $! > pid; echo said")
    os.kill(int((project / "pid").read_text()), signal.SIGKILL)
    assert (result.status, kept(result, project)) == ("FINISHED", b"said\n")


def test_what_children_in_the_background_say_at_once_is_still_passed_on(project: Path) -> None:
    result = shell("(sleep 0.05; echo later) & echo first")
    assert kept(result, project) == b"first\nlater\n"


def test_a_command_that_is_not_there_or_can_not_be_run_makes_no_run(project: Path) -> None:
    (project / "plain").write_text("echo hello\n")
    cases = {
        "no-such-command": trk.CommandNotFound,
        "./no/such": trk.CommandNotFound,
        "./plain": trk.CommandNotExecutable,
        str(project): trk.CommandNotExecutable,
    }
    for word, error in cases.items():
        with pytest.raises(error):
            trk.run_command([word])
    for words in ([], [""], ["sh", "a\0b"], "sh -c true"):
        with pytest.raises(trk.UsageError):
            trk.run_command(words)
    assert session.find_folder() is None


def executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"./{path.name}"


def test_a_script_without_a_first_line_is_a_shells_as_ever(project: Path) -> None:
    word = executable(project / "script", "echo got $1; exit 4\n")
    result = trk.run_command([word, "one two"])
    assert (result.exit_code, kept(result, project)) == (4, b"got one two\n")


def test_a_script_whose_interpreter_is_missing_can_not_be_executed(project: Path) -> None:
    word = executable(project / "script", "#!/no/such/shell\n")
    with pytest.raises(trk.CommandNotExecutable, match="first line"):
        trk.run_command([word])
    (run,) = trk.search(source="local")
    assert run.status == "FAILED"


def test_a_command_knows_its_run_wherever_it_works(project: Path, tmp_path: Path) -> None:
    code = "import os, trk\nos.chdir('/')\ntrk.active_run().log_metric('f1', 0.5)\n"
    result = trk.run_command([sys.executable, "-c", code], key_prefix="p/")
    assert result.troubles == ()
    assert record(result).metrics == {"p/f1": 0.5}
    assert not Path(session.session_path(str(project / ".trk"))).exists()


def test_a_run_that_its_command_ends_stays_as_that_has_ended_it() -> None:
    code = "import trk\ntrk.active_run().finish('KILLED')"
    result = trk.run_command([sys.executable, "-c", code], output=False)
    assert (result.exit_code, record(result).status) == (0, "KILLED")


def test_what_fails_at_our_side_changes_nothing_about_the_command(project: Path) -> None:
    result = trk.run_command([sys.executable, "-c", HARM], scrape=Path("/proc/self/stat").exists())
    assert result.exit_code == 3
    assert result.troubles


def test_a_run_inside_another_one_is_its_own_unless_it_is_to_be_its_child() -> None:
    with trk.start("outer") as outer:
        alone = shell("true")
        child = shell("true", nested=True)
    assert (record(alone).parent_id, record(child).parent_id) == (None, outer.id)
