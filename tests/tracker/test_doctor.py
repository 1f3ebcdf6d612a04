"""What the doctor finds, that it changes nothing, and that nothing holds it up."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import helpers
import trk
from servers.mlflow_server import GARBAGE, FaultServer, MlflowServer, closed_port, http_answer
from trk import checkup, session
from trk.checkup.places import NETWORK, file_system_of
from trk.errors import UsageError
from trk.journal import cursors, health, lifecycle, schema, write
from trk.journal.db import Journal
from trk.records import Rejection

DAY_MS = 24 * 3600 * 1000
SECRET = "hunter2-open-sesame"


def found(name: str, timeout: float = 20) -> list[checkup.Check]:
    """What the doctor says under this name."""
    return [check for check in trk.doctor(timeout) if check.name == name]


def only(name: str, timeout: float = 20) -> checkup.Check:
    (check,) = found(name, timeout)
    return check


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a folder but the memory that SQLite's processes share."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith("-shm")
    }


@pytest.fixture
def here(project: Path) -> Journal:
    """A journal in a `.trk`, that no process has open."""
    folder, _ = session.make_folder()
    journal = session.open_journal(folder)
    helpers.new_run(journal)
    journal.close()
    return journal


# ---- as a whole


def test_where_nothing_is_nothing_is_made(project: Path) -> None:
    checks = trk.doctor(20)
    assert list(project.iterdir()) == []
    states = {check.name: check.state for check in checks}
    assert {states[name] for name in ("folder", "journal", "session", "open runs", "delivery")} == {"skip"}
    assert only("folder").mend == "trk start"
    assert "fail" not in states.values()


def test_what_is_well_is_said_to_be_and_left_as_it_is(project: Path) -> None:
    for line in ("start one -q", "log-metric f1 0.9", "set-tag a b"):
        assert helpers.trk(*line.split()).returncode == 0
    before = tree(project)
    assert any(name.endswith("-wal") for name in before)
    states = {check.name: check.state for check in trk.doctor(20)}
    assert tree(project) == before
    looked = ("python", "trk", "import", "folder", "journal", "session", "open runs", "settings", "delivery", "drafts")
    assert {name: states[name] for name in looked} == dict.fromkeys(looked, "ok")


def test_a_journal_without_a_log_stays_without_one(project: Path, here: Journal) -> None:
    before = tree(project)
    assert not Path(here.path + "-wal").exists()
    check = only("journal")
    assert (check.state, check.mend) == ("ok", None)
    assert "1 run, 1 open" in check.found
    assert check.found.endswith("whole")
    assert tree(project) == before
    assert not Path(here.path + "-shm").exists()


def test_it_can_be_called_after_its_module_was_imported() -> None:
    code = "import trk.checkup, trk; print(len(trk.doctor()) > 5, callable(trk.doctor))"
    assert helpers.program(code).stdout.split() == ["True", "True"]


def test_a_check_that_breaks_is_a_check_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Iterator[object]:
        yield "ok", "so far", None
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(checkup, "CHECKS", (("broken", broken), *checkup.CHECKS))
    checks = trk.doctor(20)
    assert [check.state for check in checks[:2]] == ["ok", "fail"]
    assert "ZeroDivisionError: nobody foresaw this" in checks[1].found
    assert len(checks) > 10


def test_a_check_that_hangs_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hanging(_: object) -> Iterator[object]:
        over.wait(60)
        yield from ()

    monkeypatch.setattr(checkup, "CHECKS", (("hanging", hanging), *checkup.CHECKS))
    with helpers.in_time(2):
        checks = trk.doctor(2)
    over.set()
    assert checks[0] == checkup.Check("hanging", "fail", "no answer within 2 s", "trk doctor --timeout 20")
    assert len(checks) > 10


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "5", None])
def test_a_timeout_that_is_none_is_refused(timeout: object) -> None:
    with pytest.raises(UsageError):
        trk.doctor(timeout)  # type: ignore[arg-type]


# ---- Python and the installation


@contextmanager
def distribution(folder: Path, name: str) -> Iterator[None]:
    """An installed distribution of this name, as far as its metadata goes."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def test_another_package_of_the_name_is_found(tmp_path: Path) -> None:
    assert only("trk").state == "ok"
    with distribution(tmp_path / "site", "trk"):
        ours, other = found("trk")
    assert ours.state == "ok"
    assert other.state == "fail"
    assert (other.mend or "").startswith("pip uninstall trk && pip install --force-reinstall")
    with distribution(tmp_path / "more", "trk-tools"):
        assert len(found("trk")) == 1


@pytest.mark.parametrize(
    ("script", "state"),
    [(None, "warn"), ("#!/bin/sh\necho time tracker\n", "fail"), ("from trk_cli.__main__ import run\n", "warn")],
)
def test_the_command_on_path_is_this_one_or_that_is_said(
    script: str | None, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    if script is not None:
        (tmp_path / "bin" / "trk").write_text(script)
        (tmp_path / "bin" / "trk").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert only("command").state == state
    assert only("command").mend


def test_the_command_of_this_installation_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    if not (scripts / "trk").exists():
        pytest.skip("trk is not installed beside this Python")
    monkeypatch.setenv("PATH", str(scripts))
    assert only("command").state == "ok"
    (tmp_path / "links").mkdir()  # as pipx and uv lay them
    (tmp_path / "links" / "trk").symlink_to(scripts / "trk")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert only("command").state == "ok"


def test_a_file_that_python_would_take_for_trk_is_named(project: Path) -> None:
    (project / "trk.py").write_text("")
    check = only("import")
    assert check.state == "warn"
    subprocess.run(check.mend or "", shell=True, check=True)
    assert only("import").state == "ok"


def test_a_misspelt_variable_is_named_and_its_value_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_EXPERIMNT", SECRET)
    monkeypatch.setenv("TRK_OF_SOMEBODY_ELSE", "1")
    (check,) = found("environment")
    assert check.state == "warn"
    assert "TRK_EXPERIMENT" in check.found
    assert SECRET not in str(check)


# ---- the folder


def test_a_folder_that_others_may_read_is_mended_by_the_command_that_is_given(project: Path, here: Journal) -> None:
    folder = project / ".trk"
    folder.chmod(0o755)
    (folder / ".gitignore").unlink()
    checks = found("folder")
    assert [check.state for check in checks] == ["warn", "warn"]
    assert "0755" in checks[0].found
    for check in checks:
        subprocess.run(check.mend or "", shell=True, check=True)
    assert only("folder").state == "ok"
    assert (folder / ".gitignore").read_text() == "*\n"


def test_trk_dir_that_leads_nowhere_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRK_DIR", str(tmp_path / "nowhere"))
    check = only("folder")
    assert check.state == "skip"
    assert f"{tmp_path}/nowhere" in check.found


def test_a_link_to_nowhere_and_a_folder_that_is_gone_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".trk").symlink_to("/no/such/place")
    assert only("folder").state == "fail"
    (project / ".trk").unlink()
    project.rmdir()
    assert trk.doctor(20) == [
        checkup.Check("folder", "fail", "the working directory was deleted", "cd to one that exists")
    ]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs the right to give files away")
def test_folders_of_other_users_are_told_of(project: Path, here: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = project / "deep" / ".trk"
    planted.mkdir(parents=True)
    os.chown(planted, 12345, 12345)
    monkeypatch.chdir(project / "deep")
    (check,) = found("other folders")
    assert check.state == "warn"
    assert str(planted) in check.found
    assert str(project / ".trk") in only("folder").found
    monkeypatch.setenv("TRK_DIR", str(planted))
    assert found("folder")[0].state == "fail"


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /home rw,relatime shared:2 - nfs4 server:/home rw
31 30 8:2 / /home/local rw,relatime - xfs /dev/sdb1 rw
32 22 0:30 / /mnt/my\\040disk rw - fuse.sshfs me@host: rw
33 22 0:31 / /home rw master:1 propagate_from:2 - cifs //server/home rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/homes/a", "ext4"),
        ("/home/a/.trk", "cifs"),
        ("/home/local/p", "xfs"),
        ("/mnt/my disk/p", "fuse.sshfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system_of(path, MOUNTS) == kind
    assert (kind in NETWORK) == (kind in ("cifs", "fuse.sshfs"))


def test_a_folder_that_is_full_fails(mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_DIR", str(mounted("size=1m")))
    check = only("space")
    assert check.state == "fail"
    assert (check.mend or "").startswith("df -h ")
    assert "(tmpfs)" in only("file system").found


def test_old_drafts_are_counted_and_young_ones_are_not(project: Path, here: Journal) -> None:
    drafts = project / ".trk" / "blobs" / "drafts"
    drafts.mkdir(parents=True)
    for name, age_s in (("old", 7200), ("older", 9000), ("young", 60)):
        (drafts / name).write_bytes(b"x" * 1000)
        os.utime(drafts / name, (time.time() - age_s,) * 2)
    check = only("drafts")
    assert check.state == "warn"
    assert check.found.startswith("2 half copies (2 KB)")
    subprocess.run(check.mend or "", shell=True, check=True)
    assert [path.name for path in drafts.iterdir()] == ["young"]
    assert only("drafts").state == "ok"


# ---- the journal and the session


def test_a_newer_journal_is_refused_and_an_older_one_is_only_told_of(project: Path, here: Journal) -> None:
    for version, state in ((schema.VERSION + 1, "fail"), (schema.VERSION - 1, "warn"), (0, "fail")):
        with closing(sqlite3.connect(here.path)) as changed:
            changed.execute(f"PRAGMA user_version = {version}")
        before = tree(project)
        check = only("journal")
        assert check.state == state, version
        assert check.mend
        assert {check.state for name in ("session", "open runs", "delivery") for check in found(name)} <= {"skip", "ok"}
        assert tree(project) == before


@pytest.mark.parametrize("content", [b"", b"this is no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_journal_that_is_none_fails(content: bytes, here: Journal) -> None:
    Path(here.path).write_bytes(content)
    check = only("journal")
    assert (check.state, bool(check.mend)) == ("fail", True)


def test_a_journal_with_a_torn_page_fails(here: Journal) -> None:
    for number in range(50):
        helpers.new_run(here, f"run {number}")
    here.close()
    whole = Path(here.path).read_bytes()
    Path(here.path).write_bytes(whole[:20_000] + b"\x5a" * 8_000 + whole[28_000:])
    check = only("journal")
    assert check.state == "fail"
    assert "damaged" in check.found


def test_a_journal_that_is_locked_holds_up_nothing(here: Journal) -> None:
    with closing(sqlite3.connect(here.path)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        assert only("journal").state == "ok"


def test_a_torn_session_names_the_way_out(project: Path, here: Journal) -> None:
    (project / ".trk" / "session.json").write_text('{"version": 1, "act')
    check = only("session")
    assert check.state == "fail"
    assert (check.mend or "").startswith("rm ")


def test_runs_of_the_session_that_are_over_are_named(here: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = helpers.new_run(here)
    write.set_status(here, ended, "FAILED", 2_000)
    running = helpers.new_run(here, start_time=write.now_ms())
    session.push(session.find_folder() or "", running)
    assert only("session").state == "ok"
    for run_id in ("0" * 26, ended):
        session.push(session.find_folder() or "", run_id)
    here.close()
    assert [check.state for check in found("session")] == ["warn", "warn"]
    monkeypatch.setenv("TRK_RUN", "nobody")
    assert [check.state for check in found("session")] == ["fail", "warn", "warn"]
    monkeypatch.setenv("TRK_RUN", ended)
    assert f"TRK_RUN names run {ended}, which has ended" in found("session")[0].found


def test_runs_that_were_left_open_are_named_unless_a_session_is_in_them(here: Journal) -> None:
    long_ago = write.now_ms() - 3 * DAY_MS
    (first,) = (run_id for run_id, *_ in here.read("SELECT run_id FROM runs"))
    busy = helpers.new_run(here, "busy", start_time=long_ago)
    write.metrics(here, busy, {"f1": 0.5}, None, write.now_ms())
    held = helpers.new_run(here, "held", start_time=long_ago)
    session.push(session.find_folder() or "", held)
    helpers.new_run(here, "young", start_time=write.now_ms())
    check = only("open runs")
    assert check.state == "warn"
    assert check.mend == f"trk end --run {first} --status KILLED"
    assert not any(name in check.found for name in ("busy", "held", "young"))
    here.close()
    assert helpers.trk(*(check.mend or "").split()[1:]).returncode == 0
    assert only("open runs").state == "ok"


# ---- settings and backends


def test_settings_that_can_not_be_read_fail_and_the_rest_is_looked_at(project: Path, here: Journal) -> None:
    (project / "pyproject.toml").write_text("[tool.trk\n")
    check = only("settings")
    assert check.state == "fail"
    assert "pyproject.toml" in check.found
    assert only("journal").state == "ok"


def test_an_address_that_wants_trust_and_a_password_in_a_file_are_told_of(project: Path, tmp_path: Path) -> None:
    address = f'"http://ada:{SECRET}@127.0.0.1:9"'
    (project / "pyproject.toml").write_text(f"[tool.trk]\nmlflow_uri = {address}\n")
    assert [(check.state, check.mend) for check in found("settings")[1:]] == [("warn", "trk config trust")]
    (tmp_path / "config" / "trk").mkdir(parents=True)
    (tmp_path / "config" / "trk" / "config.toml").write_text(f"mlflow_uri = {address}\n")
    checks = found("settings")
    assert [check.state for check in checks] == ["ok", "warn", "warn"]
    assert "user and password" in checks[2].found
    assert SECRET not in str(checks)


def deliveries(journal: Journal, status: str | None, backend: str = "memory") -> str:
    """A run of two rows that goes to a backend."""
    run_id = trk.start(backends=backend, tags={"a": "b"}, params={"c": "d"}).id
    if status is not None:
        write.set_status(journal, run_id, status, write.now_ms())
    return run_id


def test_what_backends_do_not_have_is_counted(here: Journal) -> None:
    assert only("delivery").found == "no run goes to a backend"
    open_run = deliveries(here, None)
    assert (only("delivery").state, "2 rows of open runs" in only("delivery").found) == ("ok", True)
    run_id = deliveries(here, "FINISHED")
    check = only("delivery")
    assert (check.state, check.mend) == ("warn", "trk sync --to memory")
    assert "memory does not have 3 rows of ended runs" in check.found
    trk.sync(run_id)
    assert only("delivery").state == "ok"
    key = here.read("SELECT run FROM runs WHERE run_id = ?", (open_run,))[0][0]
    cursors.advance(here, key, "memory", 1, [Rejection(1, "tag", "a", "too odd")], [])
    checks = found("delivery")
    assert checks[-1].found == "memory rejected 1 row of 1 run"
    assert checks[-1].mend == f"trk status --run {open_run}"


def test_rows_of_another_programs_run_wait_for_nothing_but_their_delivery(here: Journal) -> None:
    fields = {"name": "theirs", "experiment": "e", "start_time": 1, "status": "RUNNING"}
    run_id = lifecycle.attach(here, "a" * 26, fields, [("memory", "{}", "r1", None)], lifecycle.Owned())
    assert only("delivery").state == "ok"
    write.metrics(here, run_id, {"f1": 0.5}, None, 1)
    check = only("delivery")
    assert (check.state, check.mend) == ("warn", "trk sync --to memory")
    assert "memory does not have 1 row of ended runs, 1 of them of other programs' runs" in check.found
    lifecycle.set_deleted(here, run_id, True)
    assert [check.state for check in found("delivery")] == ["ok"]
    session.push(session.find_folder() or "", run_id)
    assert f"the session's run {run_id} is deleted" in only("session").found
    lifecycle.set_deleted(here, run_id, False)
    lifecycle.caught_up(here, run_id, {"status": "FINISHED", "end_time": 2}, lifecycle.Owned())
    assert only("session").state == "ok"


def test_files_that_the_backends_wait_for_and_that_are_gone_or_cut_are_named(here: Journal, project: Path) -> None:
    assert only("files").found == "none wait"
    run = trk.start("one", backends="memory")
    for name in ("cut", "lost", "whole", "again"):
        run.log_text(name * 10, name)
    run.log_table("big", {"a": ["x" * 1000] * 1000})
    (project / "lying.bin").write_bytes(b"12345")
    run.log_artifact("lying.bin", snapshot=False)
    assert (only("files").state, "6 files wait" in only("files").found) == ("ok", True)
    lying = {path: Path(where) for _, path, where, _ in health.pending_files(run.journal)}
    lying["cut.txt"].write_text("cu")
    lying["lost.txt"].unlink()
    lying["big.json"].unlink()
    (project / "lying.bin").write_bytes(b"123456")
    check = only("files")
    assert check.state == "fail"
    assert check.found.startswith("4 of 6 files that are not delivered yet can't be: ")
    for told in ("big.json of", "cut.txt of", "has 2 bytes, not 30", "lost.txt of", "lying.bin of", "No such file"):
        assert told in check.found
    assert (check.mend or "").startswith("trk log-artifact big.json")
    run.end()
    assert only("files").found == "none wait"


def test_however_short_the_time_for_servers_is_this_machine_is_looked_at(
    here: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(None) as server:
        monkeypatch.setenv("TRK_BACKENDS", "mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        states = {check.name: check.state for check in trk.doctor(0)}
    for name in ("python", "trk", "folder", "journal", "session", "files", "settings", "delivery"):
        assert states[name] == "ok", name
    if "backend mlflow" in states:
        assert states["backend mlflow"] == "fail"


class Recorder(BaseHTTPRequestHandler):
    """Answers as MLflow does, and keeps what it was sent."""

    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        body = b"3.99.1" if self.path.endswith("/version") else json.dumps({"experiments": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    kind = type("OwnRecorder", (Recorder,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", kind.seen  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def on_mlflow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    pytest.importorskip("mlflow", reason="mlflow is not installed")

    def point(uri: str) -> None:
        monkeypatch.setenv("TRK_BACKENDS", "mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    return point


Point = Callable[[str], None]


def test_a_server_is_asked_with_the_users_credentials(
    recorder: tuple[str, list[tuple[str, str | None]]],
    on_mlflow: Point,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url, seen = recorder
    on_mlflow(url)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    check = only("backend mlflow")
    assert check.state == "ok"
    assert "MLflow 3.99.1 answers" in check.found
    assert {sent for _, sent in seen} == {f"Bearer {SECRET}"}
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    ada = "Basic YWRhOmh1bnRlcjItb3Blbi1zZXNhbWU="
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = ada\nmlflow_tracking_password = {SECRET}\n"
    )
    seen.clear()
    assert only("backend mlflow").state == "ok"
    assert {sent for _, sent in seen} == {ada}
    (tmp_path / ".mlflow" / "credentials").unlink()
    on_mlflow(url.replace("//", f"//ada:{SECRET}@"))
    seen.clear()
    check = only("backend mlflow")
    assert SECRET not in str(check)
    assert {sent for _, sent in seen} == {ada}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http_answer(401, "no"), "MLFLOW_TRACKING_USERNAME"),
        (http_answer(403, "no"), "MLFLOW_TRACKING_USERNAME"),
        (http_answer(404, "no"), "check MLFLOW_TRACKING_URI"),
        (http_answer(200, "<html>please log in</html>"), "not MLflow's"),
        (http_answer(500, "no"), "HTTP 500"),
        (GARBAGE, "MLflow at http"),
        (b"", "MLflow at http"),
    ],
)
def test_a_server_that_is_none_of_mlflows_fails(answer: bytes, words: str, on_mlflow: Point) -> None:
    with FaultServer(answer) as server:
        on_mlflow(server.url)
        check = only("backend mlflow")
    assert check.state == "fail"
    assert words in f"{check.found} {check.mend}"


def test_a_server_that_is_silent_or_gone_is_found_out_in_time(on_mlflow: Point) -> None:
    with FaultServer(None) as server:
        on_mlflow(server.url)
        with helpers.in_time(3):
            assert only("backend mlflow", 3).state == "fail"
    with closed_port() as url:
        on_mlflow(url)
        check = only("backend mlflow")
        assert "connection refused" in check.found
        assert "start the server, or check MLFLOW_TRACKING_URI" in (check.mend or "")
        assert "trk sync" in (check.mend or "")


@pytest.mark.mlflow
def test_a_real_server_is_known(on_mlflow: Point, mlflow_server: MlflowServer) -> None:
    on_mlflow(mlflow_server.url)
    check = only("backend mlflow", 60)
    on_mlflow(f"{mlflow_server.url}/no/such/prefix")
    assert only("backend mlflow", 60).state == "fail"
    from mlflow.version import VERSION

    assert check.state == "ok"
    assert f"MLflow {VERSION} answers" in check.found


def test_a_database_that_is_not_there_is_not_made(on_mlflow: Point, project: Path) -> None:
    on_mlflow(f"sqlite:///{project}/deep/own.db")
    check = only("backend mlflow")
    assert (check.state, "not made yet" in check.found) == ("ok", True)
    assert list(project.iterdir()) == []


@pytest.mark.mlflow
def test_a_database_of_another_mlflow_names_what_mends_it(on_mlflow: Point, project: Path) -> None:
    run = trk.start(backends="mlflow")
    run.end()
    on_mlflow(f"sqlite:///{project}/mlflow.db")
    before = tree(project)
    assert only("backend mlflow").state == "ok"
    assert tree(project) == before
    for revision, mend in (("728d730b5ebd", "mlflow db upgrade"), ("ffffffffffff", "pip install --upgrade mlflow")):
        with closing(sqlite3.connect(project / "mlflow.db")) as changed, changed:
            changed.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        check = only("backend mlflow")
        assert check.state == "fail"
        assert mend in (check.mend or "")
    (project / "mlflow.db").write_bytes(b"no database at all" * 100)
    assert "damaged" in only("backend mlflow").found


def test_a_database_that_can_not_be_written_fails(on_mlflow: Point, mounted: Callable[..., Path]) -> None:
    on_mlflow(f"sqlite:///{mounted('size=1m,ro')}/mlflow.db")
    check = only("backend mlflow")
    assert check.state == "fail"
    assert (check.mend or "").startswith("ls -ld ")


def test_a_backend_whose_package_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    # A folder of this name hides the real package, and is none.
    code = (
        "import sys, importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'mlflow' else find(name, *a)\n"
        "import trk\nfor c in trk.doctor(20):\n  if c.name == 'backend mlflow': print(c.state, c.mend)"
    )
    done = helpers.program(code, TRK_BACKENDS="mlflow")
    assert done.stdout == "fail pip install 'trk-ml[mlflow]'\n", done.stderr
