"""A journal's runs in a bundle, and taken into another journal: it then has what the first one has."""

from __future__ import annotations

import io
import json
import math
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trk
from bundles.tools import at, held, here, log_everything
from trk.errors import Conflict, NotFound, UsageError
from trk.journal import blobs, files, lifecycle, read, write
from trk.journal.db import Journal
from trk.records import LoggedFile
from trk.run import Run


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a job, which the test is in."""
    return at(tmp_path / "job", monkeypatch)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "runs.trk"


def test_an_empty_journal_has_everything_after_an_import(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_everything(there)
    ids = [run_id for (run_id,) in here().read("SELECT run_id FROM runs ORDER BY run")]
    done = trk.export_bundle(to, ids)
    theirs = held(here())
    records = {run_id: read.record(here(), run_id) for run_id in ids}
    history = {run_id: [p.value for p in read.points(here(), run_id, "loss")] for run_id in ids}
    listed = {run_id: files.of_run(here(), run_id, earlier=True) for run_id in ids}
    assert done.rows == len(theirs["rows"])
    assert (done.files, done.bytes) == (len(theirs["bytes"]), sum(map(len, theirs["bytes"].values())))
    assert done.size == to.stat().st_size
    assert done.missing == ()
    assert [one.name for one in done.runs if one.open] == ["open"]

    at(tmp_path / "desk", monkeypatch)
    taken = trk.import_bundle(to)
    assert taken.new_folder == str(tmp_path / "desk/.trk")
    assert (taken.rows, taken.files, taken.missing) == (done.rows, done.files, 0)
    assert held(here()) == theirs
    for run_id in ids:
        assert read.record(here(), run_id) == records[run_id] or run_id == ids[0]  # whose last value may be a NaN
        assert repr([p.value for p in read.points(here(), run_id, "loss")]) == repr(history[run_id])
        assert files.of_run(here(), run_id, earlier=True) == listed[run_id]
    assert here().read("PRAGMA integrity_check") == [("ok",)]
    assert list((tmp_path / "desk/.trk/blobs/imports").iterdir()) == []


def test_what_was_imported_can_be_exported_and_logged_into(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trk.start("open")
    run.log_metric("loss", 1.0)
    trk.export_bundle(to)
    at(tmp_path / "desk", monkeypatch)
    trk.import_bundle(to)
    assert trk.attach(run.id).log_metric("loss", 0.5) == (2, 1)
    second = tmp_path / "second.trk"
    trk.export_bundle(second)
    at(there, monkeypatch)
    assert trk.import_bundle(second).rows == 1
    assert [point.value for point in read.points(here(), run.id, "loss")] == [1.0, 0.5]


def test_importing_again_doubles_nothing(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_everything(there)
    trk.export_bundle(to)
    before = held(here())
    own = trk.import_bundle(to)  # where it came from
    assert (own.rows, own.files, own.new_folder) == (0, 0, None)
    assert held(here()) == before
    at(tmp_path / "desk", monkeypatch)
    trk.import_bundle(to)
    before = held(here())
    assert trk.import_bundle(to).rows == 0
    assert held(here()) == before


def test_a_later_bundle_brings_the_rest_and_an_earlier_one_nothing(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trk.start("grows", params={"lr": 1})
    run.log_table("t", [[1]], columns=["a"])
    run.log_metric("loss", 3.0)
    run.set_tag("stage", "dev")
    trk.export_bundle(to)
    run.log_metric("loss", math.nan)
    run.log_table("t", [[2], [3]], columns=["a"])
    run.log_text("more", "note")
    run.set_tag("stage", "prod")
    run.define_metric("loss", mode="min")
    run.finish()
    later = tmp_path / "later.trk"
    trk.export_bundle(later)
    theirs = held(here())
    at(tmp_path / "desk", monkeypatch)
    assert trk.import_bundle(to).runs[0].status == "RUNNING"
    taken = trk.import_bundle(later)
    assert [(one.status, one.rows, one.added) for one in taken.runs] == [("FINISHED", 10, 6)]
    assert held(here()) == theirs
    assert trk.import_bundle(to).rows == 0
    assert held(here()) == theirs


def test_journals_that_went_on_apart_are_a_conflict_that_changes_nothing(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trk.start("other")
    run = trk.start("apart")
    run.log_metric("loss", 1.0)
    trk.export_bundle(to, run)
    run.log_text("theirs", "note")
    later = tmp_path / "later.trk"
    trk.export_bundle(later)
    at(tmp_path / "desk", monkeypatch)
    trk.import_bundle(to)
    trk.attach(run.id).log_metric("loss", 2.0)
    before = held(here())
    with pytest.raises(Conflict, match=f"run {run.id} is here with another row 2"):
        trk.import_bundle(later)
    assert held(here()) == before
    assert read.run_key(here(), other.id) is None


def test_a_run_that_is_here_with_another_name_is_a_conflict(there: Path, to: Path) -> None:
    run = trk.start("one", experiment="digits")
    trk.export_bundle(to)
    with here().begun() as db:
        db.execute("UPDATE runs SET experiment = 'letters'")
    with pytest.raises(Conflict, match=f"run {run.id} is here with another experiment: 'letters', not 'digits'"):
        trk.import_bundle(to)


def test_files_that_were_left_where_they_are_come_along_and_their_places_stay_secret(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kept", "changed", "gone"):
        (there / name).write_text(name)
    run = trk.start("in place")
    run.log_artifact("kept", "changed", "gone", snapshot=False)
    (there / "changed").write_text("other")
    (there / "gone").unlink()
    done = trk.export_bundle(to)
    assert [(one.path, one.run_id) for one in done.missing] == [("changed", run.id), ("gone", run.id)]
    assert "has changed since it was logged" in done.missing[0].reason
    assert done.missing[1].reason.endswith("is not there")
    with zipfile.ZipFile(to) as opened:
        assert str(there).encode() not in b"".join(opened.read(name) for name in opened.namelist())
    at(tmp_path / "desk", monkeypatch)
    assert trk.import_bundle(to).missing == 2
    kept = files.file_of(here(), run.id, "kept")
    assert kept is not None
    assert kept.local is not None
    assert Path(kept.local).read_text() == "kept"
    gone = files.file_of(here(), run.id, "gone")
    assert gone is not None
    assert gone.local is not None
    assert not Path(gone.local).exists()


def test_a_damaged_blob_here_is_mended_by_an_import(there: Path, to: Path) -> None:
    run = trk.start("one")
    run.log_text("whole", "note")
    trk.export_bundle(to)
    found = files.file_of(here(), run.id, "note.txt")
    assert found is not None
    assert found.local is not None
    Path(found.local).write_text("hurt!")
    assert trk.export_bundle(to, overwrite=True).missing[0].reason.endswith("it is not what was logged")
    to.unlink()
    Path(found.local).write_text("whole")
    trk.export_bundle(to)
    Path(found.local).write_text("hurt!")
    assert trk.import_bundle(to).files == 1
    assert blobs.trouble(found) is None


def test_runs_are_chosen_by_name_experiment_filter_and_what_is_pending(
    there: Path, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "memory")
    for number, experiment in enumerate("aab"):
        run = trk.start(f"run {number}", experiment=experiment)
        run.log_metric("f1", number)
        run.finish()
    monkeypatch.setenv("TRK_BACKENDS", "none")
    trk.start("alone").finish()
    lifecycle.set_deleted(here(), run.id, deleted=True)

    def names(*runs: str, **how: object) -> list[str]:
        done = trk.export_bundle(to, list(runs) or None, overwrite=True, **how)  # type: ignore[arg-type]  # of all types
        return [one.name for one in done.runs]

    assert names() == ["run 0", "run 1", "alone"]
    assert names("run 2", "alone", "run 2") == ["run 2", "alone"]
    assert names(experiment="a") == ["run 0", "run 1"]
    assert names(filter="metrics.f1 >= 1") == ["run 1"]
    assert names(pending=True) == ["run 0", "run 1", "run 2"]  # deleting waits, too
    assert names(experiment="none of them") == []
    with pytest.raises(UsageError, match="are not narrowed"):
        names("alone", pending=True)
    with pytest.raises(NotFound):
        names("nobody")
    assert trk.import_bundle(to).runs == []  # of none


def test_a_file_that_is_there_is_kept_unless_told(there: Path, to: Path) -> None:
    trk.start("one")
    to.write_text("precious")
    with pytest.raises(UsageError, match="is there already"):
        trk.export_bundle(to)
    assert to.read_text() == "precious"
    trk.export_bundle(to, overwrite=True)
    assert zipfile.is_zipfile(to)
    assert to.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="is a folder"):
        trk.export_bundle(there, overwrite=True)
    assert [path.name for path in to.parent.iterdir() if "part" in path.name] == []


def test_a_bundle_may_be_an_open_file(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.start("one")
    run.log_metric("loss", 1)
    file = io.BytesIO()
    assert trk.export_bundle(file).path is None
    at(tmp_path / "desk", monkeypatch)
    file.seek(0)
    assert trk.import_bundle(file).runs[0].run_id == run.id


def test_runs_that_are_logged_into_meanwhile_are_exported_as_they_were_at_one_moment(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trk.start("busy")
    stop = threading.Event()

    def log() -> None:
        while not stop.is_set():
            run.log_metrics({"a": 1.0, "b": 2.0})
            run.log_text("x", "note")

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for number in range(5):
            done = trk.export_bundle(tmp_path / f"{number}.trk")
    finally:
        stop.set()
        thread.join()
    at(tmp_path / "desk", monkeypatch)
    for number in range(5):
        trk.import_bundle(tmp_path / f"{number}.trk")
    (metric,) = here().read("SELECT count FROM metrics WHERE key = 'a'")
    assert here().read("SELECT count(*) FROM rows WHERE kind = 'metric'") == [metric]
    assert here().read("SELECT max(n) FROM rows") == [(done.rows,)]


def test_progress_comes_to_its_end(there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_everything(there)
    told: list[tuple[int, int]] = []
    trk.export_bundle(to, progress=lambda done, goal: told.append((done, goal)))
    assert told[-1][0] == told[-1][1] > 40
    told.clear()
    at(tmp_path / "desk", monkeypatch)
    trk.import_bundle(to, progress=lambda done, goal: told.append((done, goal)))
    assert told[-1][0] == told[-1][1] > 40


def test_versions_and_definitions_go_on_from_what_was_imported(
    there: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "m").write_text("one")
    run = trk.start("one", experiment="e")
    run.log_artifact("m", name="model", type="model")
    run.define_metric("speed", mode="max")
    trk.export_bundle(to)
    desk = at(tmp_path / "desk", monkeypatch)
    trk.import_bundle(to)
    mine = trk.start("two", experiment="e")
    (desk / "m").write_text("one")
    assert mine.log_artifact("m", name="model")[1] == 0
    (desk / "m").write_text("two")
    assert mine.log_artifact("m", name="model")[1] == 1
    assert read.modes(here(), "e") == {"speed": "max"}


# ---- whatever is logged

_names = st.sampled_from(["a", "b c", "loss", "x/y", "ü"])
_numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**70), 2**70)
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_calls = st.one_of(
    st.tuples(st.just("metric"), _names, _numbers, st.none() | st.integers(-(2**63), 2**63 - 2)),
    st.tuples(st.just("metrics"), st.dictionaries(_names, _numbers, min_size=1), st.none(), st.none()),
    st.tuples(st.just("param"), _names, _texts, st.none()),
    st.tuples(st.just("summary"), _names, _numbers | _texts | st.lists(_texts | st.none()), st.none()),
    st.tuples(st.just("tag"), _names, _texts, st.none()),
    st.tuples(st.just("untag"), _names, st.none(), st.none()),
    st.tuples(st.just("define"), _names, st.sampled_from(["max", "min"]), st.none()),
    st.tuples(st.just("table"), _names, st.lists(_numbers | _texts, min_size=1, max_size=3), st.none()),
    st.tuples(st.just("text"), _names, _texts, st.none()),
    st.tuples(st.just("end"), st.none(), st.none(), st.none()),
    st.tuples(st.just("deleted"), st.none(), st.none(), st.none()),
)


def _do(run: Run, call: tuple[object, ...]) -> None:
    what, name, value, step = call
    try:
        match what:
            case "metric":
                run.log_metric(str(name), value, step=step)  # type: ignore[arg-type]  # an int or None
            case "metrics":
                run.log_metrics(name)  # type: ignore[arg-type]  # a mapping
            case "param":
                run.log_param(str(name), value)
            case "summary":
                run.log_summary({str(name): value})
            case "tag":
                run.set_tag(str(name), value)
            case "untag":
                run.delete_tag(str(name))
            case "define":
                run.define_metric(str(name), mode=value)  # type: ignore[arg-type]  # max or min
            case "table":
                run.log_table(str(name), [[cell] for cell in value], columns=["c"])  # type: ignore[attr-defined]
            case "text":
                run.log_text(str(value), str(name))
            case "end":
                write.set_status(run.journal, run.id, "RUNNING" if run.status != "RUNNING" else "FAILED", 10**12)
            case "deleted":
                (trk.restore if what == "restored" else trk.delete)(run.id)
    except trk.TrkError:
        pass  # it was refused: nothing of it is in the journal


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(_calls, max_size=12), more=st.lists(_calls, max_size=6))
def test_whatever_is_logged_comes_over_as_it_is(
    first: list[tuple[object, ...]],
    more: list[tuple[object, ...]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = tmp_path_factory.mktemp("any")
    at(base / "job", monkeypatch)
    run = trk.start("any")
    for call in first:
        _do(run, call)
    trk.export_bundle(base / "first.trk", [run])
    for call in more:
        _do(run, call)
    trk.export_bundle(base / "all.trk", [run])
    theirs = held(here())
    here().close()
    for wanted, bundles in (("desk", ["all"]), ("other", ["first", "all", "first"])):
        at(base / wanted, monkeypatch)
        for name in bundles:
            trk.import_bundle(base / f"{name}.trk")
        assert held(here()) == theirs
        here().close()


def test_what_a_bundle_is_made_of_is_what_the_format_says(there: Path, to: Path) -> None:
    run = trk.start("one", experiment="e")
    run.log_metric("loss", math.inf, step=0, timestamp=1_700_000_000)
    run.log_text("hello", "note")
    trk.export_bundle(to)
    with zipfile.ZipFile(to) as opened:
        manifest = json.loads(opened.read("manifest.json"))
        rows = opened.read("rows.jsonl").decode().splitlines()
        (blob,) = manifest["blobs"]
        assert sorted(opened.namelist()) == sorted([f"blobs/{blob}", "manifest.json", "rows.jsonl", "runs.jsonl"])
        assert opened.read(f"blobs/{blob}") == b"hello"
    assert (manifest["format"], manifest["version"], manifest["runs"], manifest["rows"]) == ("trk-bundle", 1, 1, 2)
    assert json.loads(rows[0]) == [run.id, 1, "metric", 1_700_000_000_000, "loss", 0, "Infinity"]


def test_files_lie_in_a_journal_by_their_hash(there: Path) -> None:
    run = trk.start("one")
    run.log_text("hello", "note")
    (sha256,) = (path.name for path in Path(blobs.folder(here())).glob("??/*"))
    assert blobs.trouble(LoggedFile("", 5, sha256, blobs.path_in(str(there / ".trk"), sha256))) is None
    assert isinstance(here(), Journal)
