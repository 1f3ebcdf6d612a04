"""`trk ui`: the address of a server, and MLflow's own UI on the right database, of which nothing is left afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import helpers
from faults.harness.proxy import Proxy
from helpers import COMMAND, child_environment, until
from servers.mlflow_server import FaultServer, MlflowServer, closed_port, free_port, http_answer

pytest.importorskip("mlflow", reason="mlflow is not installed")
START_WITHIN_S = 120

real = pytest.mark.mlflow


@pytest.fixture
def delivered(call: Any, project: Path, empty_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an open run, delivered to a database of its own, while another one is configured."""
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    uri = empty_store(project, "own.db")
    run_id = call("start", "shown", "-e", "looks", "--mlflow-uri", uri, "--param", "lr=0.1", "-q").out.strip()
    assert call("log-metric", "f1", "0.9").code == 0
    done = call("sync", "--strict", "--timeout", "60")
    assert done.code == 0, done.err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/other.db")
    return str(run_id)


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found, before = {pid}, 0
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in parents if parent in found}
    return found


def is_alive(pid: int) -> bool:
    try:
        state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout
        return bool(state.strip()) and not state.startswith("Z")
    except OSError:
        return False


class Ui:
    """`trk ui` in a process of its own, until it has said its address."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "ui", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=child_environment(), start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()
        self.family = family(self.process.pid)

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Send a signal to trk alone; returns its exit code and what it said on stderr."""
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def nothing_is_left(self) -> bool:
        return not any(is_alive(pid) for pid in self.family)


@contextmanager
def ui(*words: str) -> Iterator[Ui]:
    shown = Ui(*words)
    try:
        assert shown.said, shown.process.communicate(timeout=30)
        yield shown
    finally:
        for pid in shown.family:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        shown.process.communicate(timeout=30)


def runs_of(base: str, experiment: str) -> list[Any]:
    """What the UI itself asks for to list the runs of an experiment."""
    asked = urllib.request.Request(
        f"{base}/ajax-api/2.0/mlflow/runs/search",
        json.dumps({"experiment_ids": [experiment]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return list(json.load(answer).get("runs", []))


@real
def test_the_ui_shows_the_runs_own_store_and_a_ctrl_c_leaves_nothing_behind(delivered: str, project: Path) -> None:
    port = free_port()
    (project / "mlflow").mkdir()  # what lies here is not taken for MLflow
    (project / "mlflow" / "__init__.py").write_text("raise SystemExit('not this')")
    with ui("--json", "--port", str(port)) as shown:
        url = json.loads(shown.said)["url"]
        base, _, page = url.partition("/#/")
        assert base == f"http://127.0.0.1:{port}"
        _, experiment, _, remote_id = page.split("/")
        (run,) = runs_of(base, experiment)
        assert run["info"]["run_id"] == remote_id
        assert run["info"]["run_name"] == "shown"
        assert {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["trk.run_id"] == delivered
        with urllib.request.urlopen(base, timeout=30) as answer:
            assert b'<div id="root"' in answer.read()
        assert len(shown.family) >= 3  # trk, mlflow, and the server that it started
        code, said = shown.end(signal.SIGINT)
        assert code == 130
        assert "Traceback" not in said
        assert "own.db" in said
        assert shown.nothing_is_left()
    assert not (project / "other.db").exists()


@real
@pytest.mark.long
def test_a_taken_port_is_passed_by_and_a_terminated_ui_leaves_nothing_behind(
    delivered: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 5000))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        with ui("-q", "--open", "--run", delivered) as shown:
            assert not shown.said.startswith("http://127.0.0.1:5000")
            until(lambda: opened.exists() and bool(opened.read_text()))
            assert opened.read_text().strip() == shown.said
            code, said = shown.end(signal.SIGTERM)
            assert (code, said) == (143, "")
            assert shown.nothing_is_left()


@real
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_killing_trk_ends_the_server_too(delivered: str) -> None:
    with ui() as shown:
        shown.process.kill()
        until(shown.nothing_is_left, 30)


@real
@pytest.mark.long
def test_trk_ends_with_the_server(delivered: str) -> None:
    with ui() as shown:
        (server,) = family(shown.process.pid) - family_of_children_only(shown)
        os.kill(server, signal.SIGKILL)
        _, said = shown.process.communicate(timeout=30)
        assert shown.process.returncode == 137
        assert "Traceback" not in said
        assert shown.nothing_is_left()


def family_of_children_only(shown: Ui) -> set[int]:
    """All but the process that trk started itself."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(tuple(map(int, line.split())) for line in listed.splitlines())
    return {pid for pid in shown.family if parents.get(pid) != shown.process.pid}


# ---- what can't be shown


def test_a_database_that_is_not_there_names_the_way_to_one(call: Any, project: Path) -> None:
    done = call("ui", "--json")
    assert (done.code, done.out) == (4, "")
    told = json.loads(done.err)["error"]
    assert told["code"] == "not_found"
    assert "trk start -b mlflow" in told["hint"]
    assert "trk sync" in told["hint"]
    assert list(project.iterdir()) == []


@real
def test_a_database_of_another_mlflow_is_not_shown(delivered: str, call: Any, project: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(project / "own.db")) as changed, changed:
        changed.execute("UPDATE alembic_version SET version_num = '728d730b5ebd'")
    done = call("ui")
    assert (done.code, done.out) == (1, "")
    assert "mlflow db upgrade" in done.err


@real
def test_a_port_that_is_wanted_and_taken_is_an_error(delivered: str, call: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = call("ui", "--port", str(taken.getsockname()[1]))
    assert (done.code, done.out) == (1, "")
    assert "--port" in done.err


@real
@pytest.mark.parametrize(
    "words",
    [["--port", "0"], ["--port", "65536"], ["--port", "x"], ["--host", "192.0.2.1"], ["--host", "no.such.invalid"]],
)
def test_an_address_that_can_not_be_meant_is_exit_2(delivered: str, call: Any, words: list[str]) -> None:
    done = call("ui", *words)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


@real
def test_when_mlflow_does_not_start_its_own_words_are_told(
    delivered: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACE_ARCHIVAL_CONFIG", "/no/such/file.yaml")
    done = call("ui", "--timeout", "100")
    assert (done.code, done.out) == (1, "")
    assert "did not start" in done.err
    assert "/no/such/file.yaml" in done.err


def test_without_mlflow_it_says_what_to_install(project: Path) -> None:
    (project / "mlflow.db").write_bytes(b"something")
    code = (
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'uvicorn' else find(name, *a)\n"
        "from trk_cli.__main__ import main\nraise SystemExit(main(['ui']))"
    )
    done = helpers.program(code)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'trk-ml[mlflow]'" in done.stderr


# ---- a server that runs already


@real
def test_the_page_of_the_run_or_the_experiment_on_a_server(
    call: Any, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url.replace("//", "//ada:hunter2@"))
    assert call("ui").out == f"{mlflow_server.url}\n"
    call("start", "one", "-e", "looks", "-q")
    assert call("ui").out == f"{mlflow_server.url}\n"
    assert "trk sync" in call("ui").err
    assert call("sync", "--strict").code == 0
    url = json.loads(call("show", "--json", "--source", "local").out)["backends"]["mlflow"]["url"]
    assert call("ui").out == f"{url}\n"
    assert call("end", "-q").code == 0
    assert call("ui").out == f"{mlflow_server.url}\n"
    assert call("ui", "--run", "@last").out == f"{url}\n"
    monkeypatch.setenv("TRK_EXPERIMENT", "looks")
    done = call("ui", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"url": url.partition("/runs/")[0]}


def test_a_server_that_does_not_answer_is_named_all_the_same(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        monkeypatch.setenv("TRK_EXPERIMENT", "looks")
        done = call("ui")
    assert (done.code, done.out) == (0, f"{url}\n")
    assert "connection refused" in done.err


@real
def test_a_server_that_has_died_is_warned_of_even_when_the_page_is_known(
    call: Any, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    with Proxy(mlflow_server.port) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        call("start", "one", "-q")
        assert call("sync", "--strict").code == 0
        known = call("ui", "-q")
        assert (known.code, known.err) == (0, "")
    gone = call("ui", "-q")
    assert (gone.code, gone.out) == (0, known.out)
    assert "/runs/" in gone.out
    assert "connection refused" in gone.err


def test_without_a_run_or_an_experiment_the_server_is_asked_too(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        done = call("ui")
    assert (done.code, done.out) == (0, f"{url}\n")
    assert "connection refused" in done.err
    with FaultServer(http_answer(404, "nothing here")) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        done = call("ui")
    assert "there is no MLflow server at this address" in done.err


def test_where_to_listen_is_not_for_a_server_that_runs(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        done = call("ui", "--port", "5001", "--host", "127.0.0.1")
    assert (done.code, done.out) == (0, f"{url}\n")
    assert done.err.splitlines()[0] == (
        f"trk: warning: --host and --port not used: {url} is a server, with an address of its own"
    )


def test_what_has_a_ui_of_its_own_is_exit_2(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    done = call("ui")
    assert (done.code, done.out) == (2, "")
