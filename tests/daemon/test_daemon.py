"""The daemon: detached, one per journal, gone when it has nothing to do; its death loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import helpers
from daemon.tools import Place, short_folder
from trk.daemon import credentials
from trk.daemon import place as lock
from trk.errors import DaemonError

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="no daemon can run on this system")


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_what_is_logged_arrives_while_the_script_goes_on(place: Place) -> None:
    run = place.done("start", "-q")
    for step in range(5):
        place.done("log-metric", "loss", str(step))
        helpers.until(lambda step=step: place.rows(run) == list(range(1, step + 2)))
    assert json.loads(place.done("status", "--json"))["backends"]["on-file"]["pending"] == 0


def test_the_end_waits_for_the_daemon_and_tells_what_arrived(place: Place) -> None:
    run = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    told = json.loads(place.done("end", "--json"))
    assert told["runs"][0]["backends"]["on-file"]["delivered"] == 2
    assert place.rows(run) == [1, 2]
    assert place.daemons() == [place.serving()]


def test_a_python_program_has_the_same_daemon(place: Place) -> None:
    code = (
        "import trk, time, pathlib\n"
        "run = trk.start('program')\n"
        "run.log_metric('loss', 1.0)\n"
        "while 'x' not in pathlib.Path('go').read_text(): time.sleep(0.01)\n"
        "run.end()\n"
    )
    (place.project / "go").write_text("")
    child = subprocess.Popen([sys.executable, "-c", code], env=place.environment(), cwd=place.project)
    helpers.until(lambda: len(place.arrived()) == 1)
    (place.project / "go").write_text("x")
    assert child.wait(30) == 0
    assert [n for _, n in place.arrived()] == [1, 2]
    assert place.daemons() == [place.serving()]


def test_off_means_that_none_is_started(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    place.done("log-metric", "loss", "1", TRK_DAEMON="off")
    assert lock.look(place.folder) is None
    assert json.loads(place.done("end", "--json", TRK_DAEMON="off"))["runs"][0]["backends"]["on-file"]["delivered"] == 2


def test_a_run_without_a_backend_needs_none(place: Place) -> None:
    place.done("start", "-q", "-b", "none")
    place.done("log-metric", "loss", "1")
    assert lock.look(place.folder) is None


def test_what_needs_the_user_is_not_waited_for(place: Place) -> None:
    place.done("start", "-q", "-b", "mlflow", MLFLOW_TRACKING_URI="gopher://nowhere")
    place.done("log-metric", "loss", "1")
    with helpers.in_time(0):
        ended = place.trk("end", "--timeout", "50")
    assert ended.returncode == 0
    assert "trk sync" in ended.stderr
    assert place.trk("sync", "--strict", "--timeout", "60").returncode == 6


# -- its life ---------------------------------------------------------------------------------------------------------


def test_killed_it_is_started_again_by_the_next_log_command_and_nothing_is_lost_or_doubled(place: Place) -> None:
    run = place.done("start", "-q")
    killed, logged = 0, 0
    deadline = time.monotonic() + 60
    while killed < 4:
        assert time.monotonic() < deadline
        place.done("log-metric", "loss", "1")
        logged += 1
        found = lock.look(place.folder)
        if found is not None and found[0] and found[1] and place.rows(run):
            os.kill(int(found[1].split()[0]), signal.SIGKILL)
            killed += 1
            (place.project / "arrivals").open("a").close()
            helpers.until(place.is_free)
    told = json.loads(place.done("end", "--json"))
    assert told["runs"][0]["backends"]["on-file"]["delivered"] == logged + 1
    assert place.rows(run) == list(range(1, logged + 2))
    assert len(place.daemons()) <= 1


def test_it_leaves_when_there_has_been_nothing_to_do_for_a_while(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON_IDLE="0.3")
    pid = place.serving()
    time.sleep(0.6)
    assert place.daemons() == [pid], "a run is open"
    place.done("end", "-q")
    helpers.until(lambda: place.daemons() == [])
    helpers.until(place.is_free)  # its memory is gone before its files are
    assert list((place.runtime / "trk").iterdir()) == []
    place.done("start", "-q")
    assert place.serving() != pid


def test_it_leaves_a_run_whose_shell_has_ended_and_comes_back_when_that_is_heard_of(place: Place) -> None:
    command = f"'{sys.executable}' -m trk_cli start -q; true"
    started = subprocess.run(
        ["sh", "-c", command], env=place.environment(TRK_DAEMON_IDLE="0.3"), cwd=place.project, capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    run_id = started.stdout.strip()
    place.serving()
    helpers.until(lambda: place.daemons() == [])
    assert json.loads(place.done("status", "--json"))["status"] == "RUNNING"
    place.done("log-metric", "loss", "1")
    helpers.until(lambda: place.rows(run_id) == [1])


def test_a_run_that_is_replaced_is_delivered_as_killed(place: Place) -> None:
    run_id = place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    place.done("start", "-q", "--replace")
    helpers.until(lambda: place.rows(run_id) == [1, 2])


def test_it_leaves_though_something_is_left_that_it_can_not_deliver(place: Place) -> None:
    uri = {"MLFLOW_TRACKING_URI": "gopher://nowhere", "TRK_DAEMON_IDLE": "0.3"}
    place.done("start", "-q", "-b", "mlflow", **uri)
    place.serving()
    place.done("end", "-q", "--no-wait", **uri)
    helpers.until(lambda: place.daemons() == [])


@pytest.mark.parametrize("fate", ["removed", "replaced"])
def test_it_leaves_when_its_folder_is_removed_or_another_one(place: Place, fate: str) -> None:
    place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    pid = place.serving()
    helpers.until(lambda: len(place.arrived()) == 1)
    shutil.rmtree(place.folder)
    if fate == "replaced":
        place.done("start", "again", "-q")
        place.done("log-metric", "loss", "1")
    helpers.until(lambda: pid not in place.daemons())
    if fate == "replaced":
        helpers.until(lambda: len(place.arrived()) == 2)
        assert place.daemons() == [place.serving()]


def test_of_twenty_that_race_one_is_left(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    command = [sys.executable, "-P", "-m", "trk.daemon", place.folder, "", "0.5"]
    racing = [subprocess.Popen(command, env=place.environment(), cwd=place.project) for _ in range(20)]
    assert [one.wait(60) for one in racing] == [0] * 20
    pid = place.serving()
    helpers.until(lambda: place.daemons() == [pid])
    assert place.status()["pid"] == pid


def test_an_older_one_makes_room_for_a_newer_program(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    code = (
        "import os, sys, trk\n"
        "trk.__version__ = '0.0.1'\n"
        "from trk.daemon import serve\n"
        "serve.Daemon(sys.argv[1]).run(None)\n"
    )
    older = subprocess.Popen([sys.executable, "-c", code, place.folder], env=place.environment(), cwd=place.project)
    assert place.serving() == older.pid
    run = place.done("start", "--replace", "-q")
    place.done("log-metric", "loss", "1")
    assert older.wait(30) == 0
    helpers.until(lambda: place.rows(run) == [1])
    assert place.serving() != older.pid


def test_an_older_one_that_did_not_listen_yet_when_it_was_asked_makes_room_all_the_same(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    code = (
        "import os, sys, time, trk\n"
        "trk.__version__ = '0.0.1'\n"
        "from trk.daemon import serve, talk\n"
        "listening = talk.listening\n"
        "def late(host, path):\n"
        "    while not os.path.exists('go'): time.sleep(0.02)\n"
        "    return listening(host, path)\n"
        "talk.listening = late\n"
        "serve.Daemon(sys.argv[1]).run(None)\n"
    )
    older = subprocess.Popen([sys.executable, "-c", code, place.folder], env=place.environment(), cwd=place.project)
    assert place.serving() == older.pid
    run = place.done("start", "--replace", "-q")
    place.done("log-metric", "loss", "1")
    (place.project / "go").touch()
    assert older.wait(30) == 0
    helpers.until(lambda: place.rows(run) == [1])


@pytest.mark.parametrize("redirected", ["| cat", "2>&1 | cat", "3>&1 | cat"])
def test_nothing_keeps_a_pipe_open(place: Place, redirected: str) -> None:
    trk = " ".join([*helpers.COMMAND])
    inner = f"exec 4>&1; {trk} start -q; {trk} log-metric loss 1; {trk} end -q --no-wait"
    shell = subprocess.run(
        ["bash", "-c", f"{{ {inner}; }} {redirected}"], env=place.environment(), cwd=place.project, timeout=30,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shell.returncode == 0, shell.stderr
    (pid,) = place.daemons()
    held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists()}
    assert not [name for name in held if name.startswith("pipe:")]
    assert os.getsid(pid) != os.getsid(0)


def test_it_is_started_stopped_and_asked_by_the_command(place: Place) -> None:
    place.done("start", "-q", TRK_DAEMON="off")
    assert place.status() == {
        "running": False, "pid": None, "uptime_s": None, "version": None, "runs": 0, "backends": {}
    }  # fmt: skip
    place.done("daemon", "start")
    told = place.status()
    assert (told["running"], told["pid"], told["runs"]) == (True, place.serving(), 1)
    assert told["uptime_s"] > 0
    assert "serving" in place.done("daemon", "logs")
    place.done("daemon", "start")
    assert place.daemons() == [told["pid"]]
    place.done("daemon", "stop")
    assert place.daemons() == []
    assert place.status()["running"] is False
    assert place.trk("daemon", "restart").returncode == 2


def test_a_signal_ends_it_as_it_should_end(place: Place) -> None:
    place.done("start", "-q")
    pid = place.serving()
    os.kill(pid, signal.SIGTERM)
    helpers.until(place.is_free)
    assert list((place.runtime / "trk").iterdir()) == []
    assert "leaving" in place.done("daemon", "logs")


def test_another_signal_has_it_write_down_where_its_threads_are(place: Place) -> None:
    place.done("start", "-q")
    pid = place.serving()
    helpers.until(lambda: "serving" in place.done("daemon", "logs"))
    os.kill(pid, signal.SIGUSR1)
    helpers.until(lambda: "in rest" in place.done("daemon", "logs"))
    assert place.status()["pid"] == pid


def test_settings_that_say_off_are_heard_by_log_commands(place: Place) -> None:
    place.done("start", "-q")
    place.serving()  # before it has its lock there is none to stop
    place.done("daemon", "stop")
    (place.project / ".trk" / "config.toml").write_text('daemon = "off"\n')
    os.utime(Path(place.folder) / lock.LOCK, (0, 0))
    place.done("log-metric", "loss", "1", TRK_DAEMON="")
    assert place.daemons() == []


def test_a_clock_that_was_set_back_keeps_no_daemon_from_coming_back(place: Place) -> None:
    run = place.done("start", "-q")
    os.kill(place.serving(), signal.SIGKILL)
    helpers.until(place.is_free)
    later = time.time() + 3600
    os.utime(Path(place.folder) / lock.LOCK, (later, later))
    place.done("log-metric", "loss", "1")
    helpers.until(lambda: place.rows(run) == [1])


def test_a_shell_with_another_runtime_folder_finds_it(place: Place) -> None:
    place.done("start", "first", "-q", "--shell")
    pid = place.serving()
    place.done("log-metric", "loss", "1", "--run", "first")
    with short_folder() as other:
        assert json.loads(place.done("daemon", "status", "--json", XDG_RUNTIME_DIR=str(other)))["pid"] == pid
        told = json.loads(place.done("end", "--run", "first", "--json", XDG_RUNTIME_DIR=str(other)))
    assert told["runs"][0]["backends"]["on-file"]["delivered"] == 2


@pytest.mark.parametrize("odd", ["sys.frozen = True", "sys.executable = None", "sys.executable = ''"])
def test_a_program_that_is_not_python_itself_starts_none(place: Place, odd: str) -> None:
    code = f"import sys\n{odd}\nimport trk\nrun = trk.start()\nrun.log_metric('loss', 1)\nrun.end()\n"
    done = subprocess.run(
        [sys.executable, "-c", code], env=place.environment(), cwd=place.project, timeout=60, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert lock.look(place.folder) is None
    assert [n for _, n in place.arrived()] == [1, 2]


# -- whose it is ------------------------------------------------------------------------------------------------------


def test_a_run_with_other_credentials_is_not_delivered_by_it_but_by_its_own_end(place: Place) -> None:
    place.done("start", "first", "-q", "--shell")
    pid = place.serving()
    exports = place.done("start", "second", "-q", "--shell", MLFLOW_TRACKING_TOKEN="another's")
    run = exports.split("=", 1)[1].split()[0]
    place.done("log-metric", "loss", "1", "--run", run, MLFLOW_TRACKING_TOKEN="another's")
    place.done("log-metric", "loss", "1", "--run", "first")
    helpers.until(lambda: len(place.arrived()) == 1)
    assert place.rows(run) == []
    told = json.loads(place.done("end", "--run", run, "--json", MLFLOW_TRACKING_TOKEN="another's"))
    assert told["runs"][0]["backends"]["on-file"]["delivered"] == 2
    assert place.serving() == pid
    place.done("log-metric", "loss", "2", "--run", "first")
    helpers.until(lambda: len(place.arrived()) == 4)


def test_only_who_has_the_same_credentials_can_prove_it() -> None:
    mine = {"HOME": "/h", "WANDB_API_KEY": "k", "PATH": "/bin"}
    nonce = os.urandom(32)
    assert credentials.same(mine, nonce, credentials.proof({**mine, "PATH": "/other", "LANG": "C"}, nonce))
    for other in (
        {**mine, "WANDB_API_KEY": "K"}, {**mine, "HOME": "/g"}, {"HOME": "/h"}, {**mine, "AWS_SECRET_ACCESS_KEY": "s"},
        {**mine, "MLFLOW_TRACKING_URI": "http://me:pw@host"},
        {**mine, "AZURE_STORAGE_CONNECTION_STRING": "k"}, {**mine, "MLFLOW_S3_ENDPOINT_URL": "http://minio"},
        {**mine, "HTTPS_PROXY": "http://proxy"},
    ):  # fmt: skip
        assert not credentials.same(mine, nonce, credentials.proof(other, nonce))
    assert not credentials.same(mine, os.urandom(32), credentials.proof(mine, nonce))
    assert credentials.held({"HOME": "/h", "MLFLOW_TRACKING_URI": "http://host", "MLFLOW_EXPERIMENT_NAME": "e"}) == []


@pytest.mark.parametrize("planted", ["a file", "a link", "open to all"])
def test_a_planted_folder_of_sockets_gets_nothing_and_logging_goes_on(place: Place, planted: str) -> None:
    where = place.runtime / "trk"
    if planted == "a file":
        where.write_text("")
    elif planted == "a link":
        (place.project.parent / "elsewhere").mkdir()
        where.symlink_to(place.project.parent / "elsewhere")
    else:
        where.mkdir()
        where.chmod(0o777)
    with pytest.raises(DaemonError, match="not a folder of yours alone"):
        lock.socket_path(place.folder)
    place.done("start", "-q")
    place.done("log-metric", "loss", "1")
    told = json.loads(place.done("end", "--json"))
    assert told["runs"][0]["backends"]["on-file"]["delivered"] == 2
    assert not (place.project.parent / "elsewhere").exists() or not list((place.project.parent / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")
@pytest.mark.parametrize("opened", [False, True])
def test_another_user_gets_nothing_of_a_daemon(place: Place, opened: bool) -> None:
    place.done("start", "-q")
    place.serving()
    path = Path(lock.socket_path(place.folder))
    assert place.status()["running"], "it listens"
    place.runtime.chmod(0o755)
    if opened:  # the folder keeps others out, and so does the daemon itself
        path.parent.chmod(0o755)
        path.chmod(0o666)
    child = os.fork()
    if child == 0:
        os._exit(_as_nobody(str(path)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (1 if opened else 2)
    path.parent.chmod(0o700)
    place.done("end", "-q")


def _as_nobody(path: str) -> int:
    """0: the daemon speaks with another user; 1: it hangs up; 2: nobody gets as far as that."""
    os.setgroups([])
    os.setuid(65534)
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(20)
        try:
            other.connect(path)
        except PermissionError:
            return 2
        return 0 if other.recv(1) else 1


def test_what_is_no_message_is_not_answered_and_harms_nobody(place: Place) -> None:
    place.done("start", "-q")
    place.serving()
    path = lock.socket_path(place.folder)
    assert place.status()["running"], "it listens"
    assert Path(path).stat().st_mode & 0o077 == 0
    for said in (
        b"\xff\xfe\n",
        b"[]\n",
        b"{\n",
        b'{"ask": "fly"}\n',
        b'{"ask": "serve"}\n',
        b"x" * 100_000 + b"\n",
        b"",
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            with contextlib.suppress(ConnectionError):  # it hangs up on what it does not understand
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass
    place.done("log-metric", "loss", "1")
    helpers.until(lambda: len(place.arrived()) == 1)


def test_no_secret_is_in_its_log_or_its_title(place: Place) -> None:
    key = "sk-abcdefghijklmnopqrstuvwxyz"
    place.done("start", "-q", MLFLOW_TRACKING_TOKEN=key)
    pid = place.serving()
    assert key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    place.done("daemon", "stop", MLFLOW_TRACKING_TOKEN=key)
    found = [path for path in Path(place.folder).rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert found == []
