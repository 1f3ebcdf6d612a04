"""A SummaryWriter's words, logged into a run as well; and everything as it was afterwards."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from trk.capture import writers
from trk.errors import NoActiveRun, SourceUnavailable

numpy = pytest.importorskip("numpy", reason="numpy is not installed")

KINDS = [
    pytest.param("tensorboardX", marks=pytest.mark.skipif(find_spec("tensorboardX") is None, reason="not installed")),
    pytest.param(
        "torch.utils.tensorboard", marks=pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
    ),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """The class of a package; whatever a test does, its attributes are what they were."""
    found = import_module(request.param).SummaryWriter
    before = dict(vars(found))
    yield found
    after = vars(found)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


@pytest.fixture
def run(project: Path) -> Iterator[trk.Run]:
    with trk.start("one", delivery="end") as found:
        yield found


def points(run: trk.Run, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in trk.history(name, run.id, source="local")]


def test_what_a_writer_is_given_is_in_the_run_as_well(kind: Any, run: trk.Run) -> None:
    before = kind("logs")
    with trk.capture_tensorboard(run) as capture:
        before.add_scalar("loss", 0.1, 3, 1_763_726_400.5)
        with kind("logs2") as writer:
            writer.add_scalar("loss", numpy.float32(0.5), global_step=4)
            writer.add_scalar("loss", scalar_value=numpy.array([math.nan]))
            writer.add_scalars("f1", {"train": 1, "val": 2.5}, 7)
            writer.add_text("note", "all well", 1)
            writer.add_text("long", "x" * 10_000)
            writer.add_image("picture", numpy.zeros((3, 4, 5)), 2)
            writer.add_images("pictures", numpy.zeros((2, 1, 4, 5), dtype="uint8"), global_step=1)
            writer.add_hparams({"lr": 0.1, "opt": "adam", "on": True}, {"final": 0.75})
            writer.add_histogram("weights", numpy.arange(9.0), 1)
    before.add_scalar("loss", 9, 9)
    before.close()
    record = run.record
    assert [step for step, _ in points(run, "loss")] == [3, 4, 5]
    first = trk.history("loss", run.id, source="local")[0]
    assert (first.value, first.time_ms) == (0.1, 1_763_726_400_500)  # as it was given, not as 32 bits
    assert (points(run, "f1/train"), points(run, "f1/val"), points(run, "final")) == (
        [(7, 1.0)],
        [(7, 2.5)],
        [(0, 0.75)],
    )
    assert record.params == {"lr": "0.1", "opt": "adam", "on": "True"}
    assert record.tags["text/note"] == "all well"
    found = {(one.kind, one.name, one.step) for one in trk.artifacts(run.id, source="local")}
    assert found == {("image", "picture", 2), ("image", "pictures", 1), ("text", "text/long", None)}
    assert (dict(capture.skipped), capture.failed) == ({"add_histogram": 1}, {})


def test_the_files_are_the_same_with_and_without(kind: Any, run: trk.Run) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")

    def write(folder: str) -> None:
        with kind(folder) as writer:
            for step in range(5):
                writer.add_scalar("loss", step / 3, step, walltime=1_763_726_400 + step)

    write("plain")
    with trk.capture_tensorboard(run):
        write("captured")
    plain, captured = trk.import_tensorboard("plain").runs[0], trk.import_tensorboard("captured").runs[0]
    assert plain.points == captured.points == 5


def test_the_innermost_has_it_and_other_threads_go_to_the_newest(kind: Any, project: Path) -> None:
    outer, inner, own = (trk.start(name, delivery="end") for name in ("outer", "inner", "own"))
    writer = kind("logs")
    steps = threading.Barrier(2)

    def apart() -> None:
        writer.add_scalar("a", 1, 1)  # in no block of its own
        with trk.capture_tensorboard(own):
            steps.wait(30)
            writer.add_scalar("b", 1, 2)
            steps.wait(30)

    with trk.capture_tensorboard(outer):
        thread = threading.Thread(target=apart)
        thread.start()
        steps.wait(30)
        with trk.capture_tensorboard(inner):
            writer.add_scalar("c", 1, 3)
        writer.add_scalar("d", 1, 4)
        steps.wait(30)
        thread.join(30)
        writer.add_scalar("e", 1, 5)
    writer.close()
    assert [set(one.record.metrics) for one in (outer, inner, own)] == [{"a", "d", "e"}, {"c"}, {"b"}]


def test_an_error_of_the_writer_stays_one_and_all_is_put_back(kind: Any, run: trk.Run) -> None:
    with trk.capture_tensorboard(run), kind("logs") as writer:
        with pytest.raises(TypeError):
            writer.add_scalar()
        with pytest.raises(TypeError):
            writer.add_hparams("lr", 1)
        writer.add_scalar("loss", 1, 0)
    with pytest.raises(ZeroDivisionError), trk.capture_tensorboard(run):
        raise ZeroDivisionError
    assert run.record.params == {}
    assert points(run, "loss") == [(0, 1.0)]


def test_what_a_run_refuses_is_no_error_of_the_training(
    kind: Any, run: trk.Run, caplog: pytest.LogCaptureFixture
) -> None:
    with trk.capture_tensorboard(run) as capture, kind("logs") as writer, caplog.at_level(logging.WARNING):
        writer.add_scalar("loss (train)", 1, 0)
        run.end()
        writer.add_scalar("loss", 1, 1)
        writer.add_scalar("loss", 1, 2)
    assert capture.renamed == {"loss (train)": "loss _train_"}
    assert list(capture.failed.values()) == [2]
    assert [record.getMessage().count("has ended") for record in caplog.records if record.name == "trk.capture"] == [1]


def test_what_others_have_replaced_meanwhile_stays_theirs(kind: Any, run: trk.Run, monkeypatch: Any) -> None:
    calls = []
    original = kind.add_scalar
    with trk.capture_tensorboard(run):
        ours = kind.add_scalar

        def theirs(self: Any, *args: Any, **words: Any) -> Any:
            calls.append(args)
            return ours(self, *args, **words)

        kind.add_scalar = theirs
    with kind("logs") as writer:
        writer.add_scalar("loss", 1, 0)
    assert kind.add_scalar is theirs
    assert (calls, run.record.metrics) == ([("loss", 1, 0)], {})
    kind.add_scalar = original


def test_a_writer_of_ones_own_is_captured_once(kind: Any, run: trk.Run) -> None:
    class Own(kind):  # type: ignore[misc]  # whichever it is
        def add_scalar(self, *args: Any, **words: Any) -> Any:
            return super().add_scalar(*args, **words)

    with trk.capture_tensorboard(run), Own("logs") as writer:
        writer.add_scalar("loss", 1, 0)
        writer.add_image("x", numpy.zeros((4, 5)), 0, dataformats="HW")
    assert points(run, "loss") == [(0, 1.0)]
    assert len(trk.artifacts(run.id, source="local")) == 1


def test_the_active_run_is_meant_and_one_is_needed(kind: Any, project: Path) -> None:
    with pytest.raises(NoActiveRun):
        trk.capture_tensorboard()
    with trk.start("one") as run, trk.capture_tensorboard(), kind("logs") as writer:
        writer.add_scalar("loss", 1, 0)
    assert points(run, "loss") == [(0, 1.0)]


def test_without_any_writer_it_is_an_error(run: trk.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "find_spec", lambda name: None)
    with pytest.raises(SourceUnavailable, match="tensorboardX"), trk.capture_tensorboard(run):
        pass
    assert writers._hooks.current() is None


def test_secrets_are_neither_params_nor_in_texts(kind: Any, run: trk.Run) -> None:
    key = "s" + "k-" + "a1B2" * 12
    with trk.capture_tensorboard(run) as capture, kind("logs") as writer:
        writer.add_hparams({"api_key": "hunter2", "other": key, "lr": 0.1}, {"acc": 1.0})
        writer.add_text("config", f"password=hunter2 {key} lr=0.1")
    assert dict(run.record.params) == {"lr": "0.1"}
    assert run.record.tags["text/config"] == "password=*** *** lr=0.1"
    assert sum(capture.failed.values()) == 2
