"""Runs in Python: how they start and end, which one is active where, and what may be logged into them."""

import asyncio
import contextvars
import json
import os
import signal
import threading

import pytest

import trk
from helpers import program, started
from trk import session
from trk.errors import Conflict, NoActiveRun, NotFound, UsageError
from trk.run import Run


def points(run: Run, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in trk.history(metric, run=run.id)]


# ---- beginning and end


def test_a_block_that_ends_well_finishes_its_run() -> None:
    with trk.start("a") as run:
        assert run.status == "RUNNING"
        assert trk.active_run() is run
    assert run.status == "FINISHED"
    assert trk.active_run() is None
    assert run.record.end_time is not None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("boom"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(), "FINISHED"),
        (SystemExit(3), "FAILED"),
        (SystemExit("message"), "FAILED"),
        (MemoryError(), "FAILED"),
    ],
    ids=repr,
)
def test_a_block_that_an_exception_leaves_ends_its_run_and_lets_the_exception_on(
    error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)) as caught, trk.start("a") as run:
        raise error
    assert caught.value is error
    assert run.status == status


def test_a_run_ends_once() -> None:
    run = trk.start("a")
    assert run.end("FAILED").status == "FAILED"
    with pytest.raises(Conflict, match=r"has ended \(FAILED\)"):
        run.end()
    with pytest.raises(Conflict):
        run.log_metric("f1", 1)
    assert run.status == "FAILED"


def test_a_run_ended_within_its_block_stays_as_it_was_ended() -> None:
    with trk.start("a") as run:
        run.end("KILLED")
    assert run.status == "KILLED"


def test_a_status_that_is_none_is_refused() -> None:
    run = trk.start("a")
    for status in ("RUNNING", "finished", ""):
        with pytest.raises(UsageError, match="status must be one of"):
            run.end(status)
    assert run.status == "RUNNING"


def test_what_is_attached_to_is_left_open() -> None:
    run = trk.start("a")
    with trk.attach(run.id) as attached:
        attached.log_metric("f1", 0.5)
    with trk.attach():
        pass
    with trk.attach("a"):
        pass
    assert run.status == "RUNNING"
    run.end()
    with pytest.raises(Conflict, match="has ended"):
        trk.attach(run.id)


def test_a_run_that_ended_is_resumed_and_goes_on() -> None:
    with trk.start("a") as run:
        run.log_metric("f1", 0.5)
    with trk.resume("@last") as again:
        assert again.id == run.id
        assert again.log_metric("f1", 0.6) == (4, 1)  # ended and reopened: rows 2 and 3
    assert run.status == "FINISHED"
    with pytest.raises(NotFound):
        trk.resume("nothing")


def test_an_open_run_is_not_resumed() -> None:
    run = trk.start("a")
    with pytest.raises(Conflict, match="has not ended"):
        trk.resume(run.id)


def test_what_is_wrong_with_the_words_is_found_before_anything_is_made(project) -> None:
    for bad in (
        {"name": ""}, {"name": "@last"}, {"tags": {"trk.x": 1}}, {"tags": {"a=b": 1}}, {"params": {"": 1}},
        {"description": "a\0"}, {"experiment": " "}, {"backends": "no_such"}, {"capture": ["everything"]},
        {"key_prefix": "../"}, {"step_metric": "a=b"}, {"nested": True},
    ):  # fmt: skip
        with pytest.raises((UsageError, NoActiveRun)):
            trk.start(**bad)
    assert list(project.iterdir()) == []


def test_defaults_are_named() -> None:
    run = trk.start()
    assert run.name == f"run-{run.id[-6:]}"
    assert run.experiment == "Default"
    assert repr(run) == f"<trk.Run {run.id}>"


# ---- nested runs


def test_a_nested_run_is_a_child_of_the_active_one_and_in_its_experiment() -> None:
    with trk.start("outer", experiment="e") as outer:
        with trk.start("inner", nested=True) as inner:
            assert trk.active_run() is inner
            assert inner.record.parent_id == outer.id
            assert inner.experiment == "e"
        assert trk.active_run() is outer
        assert outer.status == "RUNNING"


def test_a_parent_may_be_named() -> None:
    outer = trk.start("outer")
    for parent in (outer, outer.id, "outer"):
        assert trk.start(parent=parent).record.parent_id == outer.id
    with pytest.raises(NotFound):
        trk.start(parent="nobody")


# ---- which run is active


def test_without_a_block_the_newest_open_run_of_the_process_is_active() -> None:
    first = trk.start("first")
    second = trk.start("second")
    assert trk.active_run() is second
    second.end()
    assert trk.active_run() is first
    first.end()
    assert trk.active_run() is None


def test_worker_threads_are_in_the_processs_run() -> None:
    seen: list[object] = []

    def work() -> None:
        run = trk.active_run()
        seen.append(run)
        for _ in range(50):
            run.log_metric("m", 1.0)

    with trk.start("a") as run:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert seen == [run] * 8
    assert sorted(step for step, _ in points(run, "m")) == list(range(400))


def test_tasks_keep_their_runs_apart() -> None:
    async def task(name: str) -> tuple[str, str]:
        with trk.start(name) as run:
            await asyncio.sleep(0)
            active = trk.active_run()
            await asyncio.sleep(0)
            active.log_metric("m", 1.0)
            return run.id, active.id

    async def all_tasks() -> list[tuple[str, str]]:
        return await asyncio.gather(*(task(f"t{number}") for number in range(5)))

    found = asyncio.run(all_tasks())
    assert all(own == active for own, active in found)
    assert len({own for own, _ in found}) == 5


def test_a_context_of_its_own_may_be_in_another_run() -> None:
    with trk.start("a") as run, trk.start("b") as inner:
        assert contextvars.copy_context().run(trk.active_run) is inner
    assert run.status == inner.status == "FINISHED"


def in_a_fork(work) -> str:
    """What `work` returns in a forked child that then goes without clean-up."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(work()).encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def test_a_forked_child_is_in_its_parents_run_and_logs_into_it() -> None:
    run = trk.start("a")
    run.log_metric("m", 1.0)

    def work() -> str:
        active = trk.active_run()
        active.log_metric("m", 2.0)
        return active.id

    assert in_a_fork(work) == run.id
    run.log_metric("m", 3.0)
    assert points(run, "m") == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_a_forked_child_that_leaves_the_block_does_not_end_its_parents_run() -> None:
    with trk.start("a") as run:

        def work() -> None:
            run.__exit__(None, None, None)

        assert in_a_fork(work) == "None"
        assert run.status == "RUNNING"
    assert run.status == "FINISHED"


def test_a_run_that_a_forked_child_starts_is_its_own() -> None:
    parent = trk.start("a")

    def work() -> str:
        with trk.start("child") as own:
            assert trk.active_run() is own
        return trk.active_run().id

    assert in_a_fork(work) == parent.id
    assert parent.status == "RUNNING"


def test_trk_run_and_the_session_say_which_run_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    shells = trk.start("shells", shell_session=True)
    assert trk.active_run().id == shells.id
    other = trk.start("other", shell_session=True, nested=True)
    assert trk.active_run().id == other.id
    monkeypatch.setenv("TRK_RUN", "shells")
    assert trk.active_run().id == shells.id
    monkeypatch.setenv("TRK_RUN", "nobody")
    with pytest.raises(NotFound):
        trk.active_run()


# ---- the shells' session


def test_a_python_run_is_not_the_shells(project) -> None:
    trk.start("a")
    assert not (project / ".trk" / "session.json").exists()


def test_the_shells_have_one_run_unless_it_is_nested_or_replaced() -> None:
    first = trk.start("first", shell_session=True)
    with pytest.raises(Conflict, match="is active here"):
        trk.start("second", shell_session=True)
    assert session.load(first.folder)["active"] == [first.id]
    inner = trk.start("inner", shell_session=True, nested=True)
    assert session.load(first.folder)["active"] == [first.id, inner.id]
    assert inner.record.parent_id == first.id
    replacing = trk.start("third", shell_session=True, replace=True)
    assert session.load(first.folder)["active"] == [first.id, replacing.id]
    assert (inner.status, first.status) == ("KILLED", "RUNNING")


def test_a_refused_start_leaves_no_run_behind() -> None:
    run = trk.start("first", shell_session=True)
    with pytest.raises(Conflict):
        trk.start("second", shell_session=True)
    assert [found.run_id for found in trk.search()] == [run.id]


def test_a_run_that_ends_leaves_the_session_wherever_in_it_it_is() -> None:
    outer = trk.start("outer", shell_session=True)
    inner = trk.start("inner", shell_session=True, nested=True)
    outer.end()
    assert session.load(outer.folder)["active"] == [inner.id]


def test_the_shells_can_be_sent_into_a_run_and_out_of_it() -> None:
    run = trk.start("a")
    trk.attach("a", shell_session=True)
    assert session.load(run.folder)["active"] == [run.id]
    trk.start("b")
    with pytest.raises(Conflict):
        trk.attach("b", shell_session=True)
    assert trk.detach() == run.id
    assert run.status == "RUNNING"
    with pytest.raises(NoActiveRun):
        trk.detach()


# ---- what is logged


def test_a_key_prefix_goes_before_metrics_params_and_summary_but_not_tags() -> None:
    with trk.start("a", key_prefix="trial1/", params={"lr": 1}, tags={"t": 1}) as run:
        run.log_metric("f1", 0.5)
        run.log_metrics({"a": 1, "b": 2})
        run.log_param("seed", 3)
        run.log_summary({"best": 0.9, "note": "good"})
        run.set_tag("u", 2)
    record = run.record
    assert set(record.metrics) == {"trial1/f1", "trial1/a", "trial1/b", "trial1/best"}
    assert {"trial1/lr", "trial1/seed"} <= set(record.params)
    assert set(record.tags) == {"t", "u", "summary/trial1/note"}


def test_the_environments_prefix_beats_the_runs_own_for_who_attaches(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.start("a", key_prefix="own/")
    attached = trk.attach(run.id)
    attached.log_metric("m", 1)
    monkeypatch.setenv("TRK_KEY_PREFIX", "env/")
    trk.attach(run.id).log_metric("m", 1)
    assert set(run.record.metrics) == {"own/m", "env/m"}


def test_numpy_values_are_logged_as_the_numbers_and_texts_they_are() -> None:
    np = pytest.importorskip("numpy")
    with trk.start("a", params={"layers": np.int64(3), np.str_("kind"): np.str_("rf")}) as run:
        run.log_metric(np.str_("f1"), np.float32(0.5), step=np.int64(7))
        run.log_metrics({"a": np.array(1.5), "b": np.bool_(True)})
        run.log_param("rate", np.float64(0.1))
        run.log_summary({"acc": np.float16(0.25), "label": np.str_("cat")})
        run.set_tag("t", np.int8(5))
    record = run.record
    assert record.metrics == {"a": 1.5, "acc": 0.25, "b": 1.0, "f1": 0.5}
    assert record.params == {"kind": "rf", "layers": "3", "rate": "0.1", "summary/label": "cat"}
    assert record.tags == {"summary/label": "cat", "t": "5"}
    assert points(run, "f1") == [(7, 0.5)]


@pytest.mark.parametrize(
    "log",
    [
        lambda run: run.log_metrics({"good": 1, "bad=": 2}),
        lambda run: run.log_metrics({"good": 1, "bad": "text"}),
        lambda run: run.log_metrics({"good": 1, "_step": 2}),
        lambda run: run.log_metrics({}),
        lambda run: run.log_metric("m", 1, step=1.5),
        lambda run: run.log_metric("m", 1, step=2**63),
        lambda run: run.log_metric("m", 1, timestamp="long ago"),
        lambda run: run.log_metric("m", None),
        lambda run: run.log_params({"good": 1, "../bad": 2}),
        lambda run: run.log_params({"good": 1, "bad": "a\0b"}),
        lambda run: run.log_params({}),
        lambda run: run.log_param("p", 1, if_exists="overwrite"),
        lambda run: run.log_summary({"good": 1, "bad": object()}),
        lambda run: run.log_summary({"good": 1, "bad": [float("nan")]}),
        lambda run: run.log_summary({"good": 1, "_runtime": 2}),
        lambda run: run.log_summary({"x" * 245: "text"}),
        lambda run: run.log_summary({}),
        lambda run: run.set_tags({"good": 1, "trk.run_id": 2}),
        lambda run: run.set_tags({}),
        lambda run: run.define_metric("m", mode="up"),
        lambda run: run.define_metric("m"),
        lambda run: run.define_metric("m", step_metric="a=b"),
        lambda run: run.delete_tag("a=b"),
    ],
)
def test_one_bad_entry_refuses_the_whole_call(log) -> None:
    run = trk.start("a")
    with pytest.raises(UsageError):
        log(run)
    assert run.journal.read("SELECT count(*) FROM rows") == [(0,)]


def test_a_summary_keeps_texts_and_json() -> None:
    run = trk.start("a")
    given = {"note": "väl\n", "yes": True, "none": None, "list": [1, {"a": 2}], "f1": 0.5}
    run.log_summary(given)
    record = run.record
    assert record.metrics == {"f1": 0.5}
    assert record.tags["summary/note"] == "väl\n"
    for key in ("yes", "none", "list"):
        assert json.loads(record.tags[f"summary/{key}"]) == given[key]


def test_timestamps_are_kept() -> None:
    run = trk.start("a")
    run.log_metric("m", 1, timestamp=1_795_246_020)
    run.log_metric("m", 2, timestamp="2026-11-21T07:27:00.5Z")
    assert [point.time_ms for point in trk.history("m", run=run.id)] == [1_795_246_020_000, 1_795_246_020_500]


def test_a_run_whose_journal_is_gone_is_an_error_not_a_new_one(project) -> None:
    run = trk.start("a")
    run.journal.close()
    (project / ".trk" / "journal.db").unlink()
    with pytest.raises(trk.JournalError, match="no journal at"):
        run.log_metric("m", 1)


# ---- programs that do not end their runs

PROGRAM = """
import sys, trk
run = trk.start(sys.argv[1])
run.log_metric("m", 1)
print(run.id, flush=True)
"""


def ended(run_id: str) -> str:
    return trk.get_run(run_id).status


@pytest.mark.parametrize(
    ("last_words", "status", "code"),
    [
        ("", "FINISHED", 0),
        ("raise ValueError('boom')", "FAILED", 1),
        ("raise KeyboardInterrupt", "KILLED", -signal.SIGINT),
    ],
    ids=["normal", "exception", "interrupted"],
)
def test_a_program_that_never_ends_its_run_ends_it_by_ending(last_words: str, status: str, code: int) -> None:
    done = program(PROGRAM + last_words, "a")
    assert done.returncode == code
    assert "atexit" not in done.stderr
    assert ended(done.stdout.strip()) == status


def test_a_program_that_is_killed_leaves_its_run_open() -> None:
    with started(PROGRAM + "sys.stdin.readline()", "a") as child:
        run_id = child.stdout.readline().strip()
        child.kill()
    assert ended(run_id) == "RUNNING"
    assert points(trk.attach(run_id), "m") == [(0, 1.0)]


def test_a_program_leaves_the_shells_run_open() -> None:
    done = program("import trk; run = trk.start(shell_session=True); print(run.id)")
    assert ended(done.stdout.strip()) == "RUNNING"


def test_a_child_of_a_program_that_ends_leaves_the_run_open() -> None:
    code = (
        PROGRAM
        + """
import os
if os.fork() == 0:
    run.log_metric('m', 2)
    sys.exit(0)
os.wait()
print(run.status, flush=True)
"""
    )
    done = program(code, "a")
    run_id, status = done.stdout.split()
    assert status == "RUNNING", done.stderr
    assert ended(run_id) == "FINISHED"
    assert len(points(trk.Run(*_place(run_id)), "m")) == 2


def _place(run_id: str):
    folder = session.find_folder()
    return session.open_journal(folder), folder, run_id


def test_a_program_whose_threads_log_to_the_end_loses_no_point() -> None:
    code = """
import threading, trk
with trk.start("a") as run:
    threads = [threading.Thread(target=lambda: [run.log_metric("m", i) for i in range(100)]) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
print(run.id)
"""
    done = program(code)
    assert done.returncode == 0, done.stderr
    assert trk.get_run(done.stdout.strip()).status == "FINISHED"
    assert len(trk.history("m", run=done.stdout.strip())) == 400
