"""Reading back: what was delivered is as in the journal, and whatever is changed at a backend is found and named."""

from __future__ import annotations

import functools
import sqlite3
import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from everything import T0, log_everything
from faults.harness.proxy import Proxy
from servers.mlflow_server import MlflowServer, closed_port
from trk.backends.memory import MemoryRun, servers
from trk.errors import NotDelivered, NotFound, SourceUnavailable, UsageError
from trk.journal import read, write
from trk.readback import MAX_TOLD
from trk.records import Difference, VerifiedBackend
from trk.run import Run

mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


@functools.cache
def client(uri: str) -> Any:
    """MLflow's own client: what things are changed with is not what reads them back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of their own use of SQLAlchemy and Pydantic
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's database for all runs of these tests: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def state(run: Run | str, backend: str = "mlflow") -> VerifiedBackend:
    """How one run compares at one backend."""
    (found,) = trk.verify(run)
    return found.backends[backend]


def named(found: VerifiedBackend) -> list[tuple[str, str, str | None]]:
    """(sort, kind, key) of what differs."""
    sorts = (("missing", found.missing), ("extra", found.extra), ("different", found.different))
    assert found.differences == sum(len(some) for _, some in sorts)
    assert found.ok is (found.differences == 0)
    return [(sort, one.kind, one.key) for sort, some in sorts for one in some]


def ended(store: str, log: Callable[[Run], None] = log_everything, **more: Any) -> Run:
    run = trk.start("one", experiment="verified", backends="mlflow", mlflow_uri=store, **more)
    log(run)
    run.end(strict=True, timeout=60)
    return run


def remote(run: Run) -> str:
    """MLflow's own id of a run."""
    remote_id = run.record.backends["mlflow"].run_id
    assert remote_id is not None
    return remote_id


# ---- what is as it should be


@mlflow
def test_a_run_with_every_kind_of_content_is_verified(store: str) -> None:
    found = state(ended(store))
    assert named(found) == []
    assert found.compared == {
        "run": 1, "status": 1, "param": 5, "tag": 5, "point": 16, "file": 16, "table": 1,
    }  # fmt: skip
    assert (found.pending, found.rejected, found.skipped, found.note) == (0, 0, 0, None)


@mlflow
@pytest.mark.timeout(300)
def test_a_server_is_read_back(mlflow_server: MlflowServer) -> None:
    with Proxy(mlflow_server.port) as server:
        run = ended(server.url)
        assert named(state(run)) == []
        client(server.url).log_metric(remote(run), "loss", 9.0, step=77)
        client(server.url).log_text(remote(run), "<p>else</p>", "page.html")
        assert named(state(run)) == [("extra", "metric", "loss"), ("different", "file", "page.html")]
    with pytest.raises(SourceUnavailable) as raised:
        trk.verify(run)
    assert raised.value.hint == "trk verify, when it answers; or --timeout"


def test_the_memory_backend_is_verified_with_every_kind_of_content() -> None:
    run = trk.start("one", backends="memory")
    log_everything(run)
    run.end(strict=True)
    assert named(state(run, "memory")) == []
    kept = servers["default"].runs[run.id]
    kept.params["lr"] = "0.2"
    kept.summary["labels"] = ["b"]
    del kept.files["data/data.parquet"]
    record, _ = kept.files["note.txt"]
    kept.files["note.txt"] = record, b"b note"
    kept.points.clear()
    found = state(run, "memory")
    assert {one[:2] for one in named(found)} == {
        ("missing", "metric"), ("missing", "reference"), ("different", "param"), ("different", "summary"),
        ("different", "file"),
    }  # fmt: skip
    assert sum(one.kind == "metric" for one in found.missing) == 16


@mlflow
def test_while_a_run_is_open_what_is_pending_is_not_missing(store: str) -> None:
    run = trk.start("open", experiment="verified", backends="mlflow", mlflow_uri=store)
    run.log_metric("f1", 0.5)
    run.log_table("rows", [{"a": 1}])
    trk.sync(run.id)
    run.log_metric("f1", 0.6)
    run.log_param("lr", 1)
    run.set_tag("stage", "dev")
    run.log_table("rows", [{"a": 2}])
    run.log_text("pending", name="note")
    found = state(run)
    assert named(found) == []
    assert found.pending == 5
    run.finish()
    assert named(state(run)) == []
    trk.sync(run.id)
    assert named(state(run)) == []


@mlflow
def test_what_was_handed_over_and_not_noted_is_no_difference(store: str) -> None:
    """A deliverer that was killed before it could move the cursor: all of it is there, none of it is known to be."""
    run = ended(store)
    with sqlite3.connect(run.journal.path) as journal:
        journal.execute("UPDATE deliveries SET cursor = 3")
    journal.close()
    found = state(run)
    assert named(found) == []
    assert found.pending > 20
    client(store).log_param(remote(run), "foreign", "1")
    assert named(state(run)) == [("extra", "param", "foreign")]


@mlflow
def test_what_was_rejected_is_not_expected(store: str, project: Path) -> None:
    run = trk.start("rejected", experiment="verified", backends="mlflow", mlflow_uri=store)
    run.log_param("lr", 1)
    trk.sync(run.id)
    client(store).log_param(remote(run), "mine", "1")
    run.log_param("mine", "2")  # it has another value there already
    (project / "changes").write_text("as logged")
    run.log_artifact("changes", snapshot=False)
    (project / "changes").write_text("as delivered")
    run.log_metric("f1", 0.5)
    run.end()
    found = state(run)
    assert (found.rejected, found.pending) == (2, 0)
    assert named(found) == [("extra", "param", "mine")]  # which is another's: it has neither value of the journal


def test_a_run_that_was_never_opened_has_nothing_to_verify() -> None:
    with closed_port() as url:
        run = trk.start("never", backends="mlflow", mlflow_uri=url)
        run.finish()
        found = state(run)
    assert (found.ok, found.pending) == (True, 1)
    assert found.note == "it does not know the run yet: there is nothing to verify"


def test_runs_in_the_journal_alone_and_no_journal_at_all() -> None:
    assert trk.verify() == []
    run = trk.start("alone")
    (found,) = trk.verify()
    assert (found.run_id, found.backends, found.ok) == (run.id, {}, True)
    with pytest.raises(NotFound):
        trk.verify("nobody")
    with pytest.raises(UsageError, match="unknown backend"):
        trk.verify(backends="nothing")


@mlflow
def test_a_deleted_run_is_deleted_there_and_restored_there(store: str) -> None:
    run = ended(store, lambda run: None)
    trk.delete(run)
    found = state(run)
    assert (found.ok, found.note) == (True, "the run is deleted, here and there")
    client(store).restore_run(remote(run))
    (different,) = state(run).different
    assert different == Difference("run", remote(run), "deleted", "not deleted")
    trk.restore(run)
    assert state(run).ok


# ---- what was changed there


Change = Callable[[Any, str, Path], None]  # with MLflow's client, of this run, whose artifacts are in this folder

CHANGES: dict[str, tuple[Change, list[tuple[str, str, str | None]]]] = {
    "a point more": (
        lambda found, run, files: found.log_metric(run, "loss", 0.5, timestamp=T0, step=9),
        [("extra", "metric", "loss")],
    ),
    "a metric more": (
        lambda found, run, files: found.log_metric(run, "other", 0.5),
        [("extra", "metric", "other")],
    ),
    "another value at a point's place": (
        lambda found, run, files: found.log_metric(run, "loss", 0.123, timestamp=T0, step=0),
        [("extra", "metric", "loss")],
    ),
    "a param more": (lambda found, run, files: found.log_param(run, "p", "1"), [("extra", "param", "p")]),
    "a tag more": (lambda found, run, files: found.set_tag(run, "t", "1"), [("extra", "tag", "t")]),
    "a tag changed": (lambda found, run, files: found.set_tag(run, "stage", "x"), [("different", "tag", "stage")]),
    "a tag removed": (lambda found, run, files: found.delete_tag(run, "stage"), [("missing", "tag", "stage")]),
    "a deleted tag set": (lambda found, run, files: found.set_tag(run, "gone", "y"), [("extra", "tag", "gone")]),
    "a summary changed": (
        lambda found, run, files: found.set_tag(run, "summary/text", "x"),
        [("different", "tag", "summary/text")],
    ),
    "a table overwritten": (
        lambda found, run, files: found.log_dict(run, {"columns": ["a"], "data": [[1]]}, "rows.json"),
        [("different", "table", "rows")],
    ),
    "a value of a table": (
        lambda found, run, files: found.log_dict(
            run, {"columns": ["a", "b"], "data": [[1, None], [2, 5], [[1, None], "text"]]}, "rows.json"
        ),
        [("different", "table", "rows")],
    ),
    "a table without its last row": (
        lambda found, run, files: (files / "rows.json").write_text(
            '{"columns": ["a", "b"], "data": [[1, null], [2, 1e999]]}'
        ),
        [("different", "table", "rows")],
    ),
    "a table that is none": (
        lambda found, run, files: found.log_text(run, "nonsense", "rows.json"),
        [("different", "table", "rows")],
    ),
    "a table deleted": (lambda found, run, files: (files / "rows.json").unlink(), [("missing", "table", "rows")]),
    "an artifact of the same size changed": (
        lambda found, run, files: found.log_text(run, "a n0te", "note.txt"),
        [("different", "file", "note.txt")],
    ),
    "an artifact of another size changed": (
        lambda found, run, files: found.log_text(run, "another note", "note.txt"),
        [("different", "file", "note.txt")],
    ),
    "a version deleted": (
        lambda found, run, files: (files / "clf/v0/model.bin").unlink(),
        [("missing", "file", "clf/v0/model.bin")],
    ),
    "an artifact more": (
        lambda found, run, files: found.log_text(run, "x", "a/b.txt"),
        [("extra", "file", "a/b.txt")],
    ),
    "the run deleted": (lambda found, run, files: found.delete_run(run), [("missing", "run", None)]),
    "the status": (
        lambda found, run, files: found.set_terminated(run, "FAILED", end_time=T0),
        [("different", "status", None)],
    ),
    "the end": (
        lambda found, run, files: found.set_terminated(run, "FINISHED", end_time=T0),
        [("different", "end_time", None)],
    ),
}


@mlflow
@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_found_and_named(store: str, what: str) -> None:
    change, expected = CHANGES[what]
    run = ended(store)
    mine, files = remote(run), folder(store, run)
    change(client(store), mine, files)
    found = state(run)
    assert [(sort, kind, None if kind == "run" else key) for sort, kind, key in named(found)] == expected
    with pytest.raises(NotDelivered, match=f"run {run.id}: mlflow differs from the journal in 1 thing"):
        trk.verify(run, strict=True)


@mlflow
def test_what_trk_keeps_beside_is_looked_at_too(store: str) -> None:
    """The whole of long texts, what a page was before, the addresses of references."""
    run = ended(store)
    files = folder(store, run)
    hidden = sorted(path for path in (files / "trk").rglob("*") if path.is_file())
    looked_at = [path for path in hidden if path.parts[len(files.parts) + 1] in ("long", "history", "references")]
    assert len(looked_at) == 6
    for path in looked_at:
        path.write_bytes(path.read_bytes()[::-1])
    found = state(run)
    wanted = {str(path.relative_to(files)) for path in looked_at}
    assert {one.key for one in found.different} == wanted
    told = {str(one.journal) for one in found.different}
    assert {"data/data.parquet at s3://bucket/data.parquet", "the text of param prompt"} <= told


def folder(store: str, run: Run) -> Path:
    """Where the artifacts of a run lie."""
    return Path(client(store).get_run(remote(run)).info.artifact_uri.removeprefix("file://"))


@mlflow
def test_points_and_params_that_were_lost_there_are_missing(store: str) -> None:
    run = ended(store)
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        mine = (remote(run),)
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND key = 'loss' AND step = 2", mine)
        database.execute("DELETE FROM params WHERE run_uuid = ? AND key = 'lr'", mine)
        database.execute("UPDATE metrics SET value = 7 WHERE run_uuid = ? AND key = 'f1' AND step = 4", mine)
    database.close()
    found = state(run)
    assert found.missing == (
        Difference("param", "lr", "0.1", None),
        Difference("metric", "loss", 1 / 3, None, 2, T0 + 2),
    )
    assert found.different == (Difference("metric", "f1", 0.4, 7.0, 4, T0 + 4),)
    assert found.extra == ()


@mlflow
def test_a_store_that_is_not_there_any_more_has_lost_the_run_and_is_not_made(tmp_path: Path) -> None:
    store = tmp_path / "gone.db"
    run = ended(f"sqlite:///{store}", lambda run: None)
    store.unlink()
    assert named(state(run)) == [("missing", "run", remote(run))]
    assert not store.exists()


@mlflow
def test_of_a_run_that_was_attached_to_extras_are_its_owners(store: str) -> None:
    owner = client(store)
    theirs = owner.create_run(owner.create_experiment("theirs"), run_name="by hand").info.run_id
    owner.log_param(theirs, "summary/kept", "theirs")
    owner.log_metric(theirs, "loss", 1.0, step=0)
    run = _attached(store, theirs)
    run.log_metric("loss", 0.5)
    run.log_param("lr", 1)
    run.log_summary({"kept": "ours"})
    run.set_tag("stage", "dev")
    run.log_text("ours", name="note")
    run.end(strict=True)
    owner.log_metric(theirs, "loss", 2.0, step=9)
    owner.log_metric(theirs, "other", 2.0)
    owner.log_text(theirs, "x", "theirs.txt")
    owner.set_tag(theirs, "more", "x")
    owner.set_terminated(theirs)
    assert named(state(run)) == []
    owner.set_tag(theirs, "stage", "theirs now")
    assert named(state(run)) == [("different", "tag", "stage")]
    owner.delete_run(theirs)
    assert named(state(run)) == [("missing", "run", theirs)]
    assert [one.ok for one in trk.verify()] == [False]
    trk.delete(run, wait=False)
    assert trk.verify() == []  # the attachment is hidden: what it was to is its owner's


def _attached(store: str, remote_id: str) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        return trk.attach(f"mlflow:{remote_id}")


# ---- how it is asked


def test_every_run_of_the_journal_is_verified_and_the_wrong_ones_are_told() -> None:
    runs = []
    for name in ("one", "two", "three"):
        with trk.start(name, backends="memory") as run:
            run.log_metric("f1", 0.5)
        runs.append(run)
    trk.sync()
    seen: list[tuple[int, int]] = []
    found = trk.verify(progress=lambda done, goal: seen.append((done, goal)))
    assert [(one.name, one.ok) for one in found] == [("three", True), ("two", True), ("one", True)]
    assert seen[-1][0] == seen[-1][1]
    for run in runs[:2]:
        servers["default"].runs[run.id].tags["more"] = "x"
    assert [one.ok for one in trk.verify()] == [True, False, False]
    with pytest.raises(NotDelivered, match=r"differs from the journal in 1 thing, and 1 more"):
        trk.verify(strict=True)
    assert [set(one.backends) for one in trk.verify(backends=["mlflow"])] == [set(), set(), set()]


def test_what_is_logged_and_delivered_meanwhile_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.start("open", backends="memory")
    run.log_metric("f1", 0.5)
    run.set_tag("stage", "a")
    trk.sync(run.id)

    def meanwhile(call: str) -> None:
        if call == "held":
            servers["default"].fail = None
            run.log_metric("f1", 0.6)
            run.set_tag("stage", "b")
            run.log_param("lr", 1)
            run.log_text("x", name="note")
            run.finish("FAILED")
            trk.sync(run.id)

    servers["default"].fail = meanwhile
    assert named(state(run, "memory")) == []
    assert named(state(run, "memory")) == []
    servers["default"].runs[run.id].tags["stage"] = "a"
    assert named(state(run, "memory")) == [("different", "tag", "stage")]


def test_a_rejected_value_of_a_row_leaves_its_others_possible() -> None:
    run = trk.start("one", backends="memory")
    run.log_metrics({"a": 1, "b": 2})
    run.log_metric("c", 3)
    key = read.run_key(run.journal, run.id)
    assert key is not None
    trk.sync(run.id)
    with sqlite3.connect(run.journal.path) as journal:
        journal.execute("INSERT INTO rejections VALUES (?, 'memory', 1, 'metric', 'b', 'why', 0)", (key,))
    journal.close()
    kept = servers["default"].runs[run.id]
    assert named(state(run, "memory")) == []
    for point in [point for point in kept.points if "'b'" in point]:
        del kept.points[point]
    assert named(state(run, "memory")) == []
    kept.points["'d'"] = ("d", 0, T0, 1.0)
    assert named(state(run, "memory")) == [("extra", "metric", "d")]


def test_a_silent_backend_is_given_up_in_time() -> None:
    run = trk.start("one", backends="memory")
    run.end(strict=True)
    answer = threading.Event()
    servers["default"].fail = lambda call: wait(answer)
    try:
        with pytest.raises(SourceUnavailable, match="did not answer in the time allowed"):
            trk.verify(run, timeout=0)
    finally:
        answer.set()
        servers["default"].fail = None


def wait(answer: threading.Event) -> None:
    answer.wait(60)


def test_a_backend_that_can_not_be_read_back_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from trk.backends.memory import MemoryBackend

    run = trk.start("one", backends="memory")
    run.end(strict=True)
    monkeypatch.delattr(MemoryBackend, "held")
    found = state(run, "memory")
    assert (found.ok, found.note) == (None, "it can't be read back")
    assert trk.verify(run)[0].ok


@pytest.mark.timeout(120)
@pytest.mark.long
def test_a_hundred_thousand_points_take_seconds_and_the_lists_stay_short() -> None:
    run = trk.start("long", backends="memory")
    rows = [({f"m{at % 50}": float(at)}, at, T0 + at) for at in range(100_000)]
    with run.journal.lock:
        for values, step, time_ms in rows[:1000]:
            write.metrics(run.journal, run.id, values, step, time_ms)
    trk.sync(run.id)
    kept = servers["default"].runs[run.id]
    _grow(run, kept, rows[1000:])
    assert named(state(run, "memory")) == []
    lost = list(kept.points)[:5000]
    for point in lost:
        del kept.points[point]
    found = state(run, "memory")
    assert (found.differences, len(found.missing)) == (5000, MAX_TOLD)
    assert found.compared["point"] == 100_000


def _grow(run: Run, kept: MemoryRun, rows: list[Any]) -> None:
    """Put rows into the journal and the backend at once: what is tested is reading them back."""
    key = read.run_key(run.journal, run.id)
    with sqlite3.connect(run.journal.path) as journal:
        first = journal.execute("SELECT max(n) FROM rows WHERE run = ?", (key,)).fetchone()[0]
        journal.executemany(
            "INSERT INTO rows (run, n, kind, time, key, step, value) VALUES (?, ?, 'metric', ?, ?, ?, ?)",
            [
                (key, first + 1 + at, time_ms, name, step, value)
                for at, (values, step, time_ms) in enumerate(rows)
                for name, value in values.items()
            ],
        )
        journal.execute("UPDATE deliveries SET cursor = ? WHERE run = ?", (first + len(rows), key))
    journal.close()
    for values, step, time_ms in rows:
        for name, value in values.items():
            point = (name, step, time_ms, value)
            kept.points[repr(point)] = point
