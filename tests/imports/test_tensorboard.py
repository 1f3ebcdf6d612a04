"""TensorBoard's event files, written by TensorBoard's own code."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import trk
from imports.tools import live, points, rows
from trk.errors import NotFound, UsageError
from trk.records import Status

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

NOON = 1_763_726_400


def write(folder: Path, *events: Any, suffix: str = "") -> Path:
    """An event file with these events, as (wall time, step, summary values) or whole ones."""
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder), filename_suffix=suffix)
    for event in events:
        if isinstance(event, tuple):
            wall, step, values = event
            made = event_pb2.Event(wall_time=wall, step=step)
            made.summary.value.extend(values)
            event = made
        writer.add_event(event)
    writer.close()
    return max(folder.glob("*tfevents*"), key=lambda path: path.stat().st_mtime_ns)


def old(tag: str, value: float) -> Any:
    """A scalar as torch's and TensorFlow 1's writers have it."""
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def new(tag: str, value: Any, plugin: str, kind: str = "float") -> Any:
    """A tensor with its plugin, as TensorFlow 2's writers have it."""
    import numpy
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.util import tensor_util

    metadata = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin))
    tensor = tensor_util.make_tensor_proto(numpy.array(value, dtype=object if kind == "text" else kind))
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def hparams(**values: Any) -> list[Any]:
    """What the hparams plugin writes at a session's begin and end."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    begin, end = plugin_data_pb2.HParamsPluginData(), plugin_data_pb2.HParamsPluginData()
    for key, value in values.items():
        kind = {bool: "bool_value", float: "number_value", str: "string_value"}[type(value)]
        setattr(begin.session_start_info.hparams[key], kind, value)
    end.session_end_info.status = api_pb2.STATUS_FAILURE
    plugins = [
        summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
        for data in (begin, end)
    ]
    return [
        summary_pb2.Summary.Value(tag=f"_hparams_/{n}", metadata=summary_pb2.SummaryMetadata(plugin_data=plugin))
        for n, plugin in enumerate(plugins)
    ]


def test_each_folder_is_a_run_with_all_that_can_be_taken(project: Path) -> None:
    write(
        project / "logs/a/x",
        (NOON, 1, [old("loss", 0.5), new("acc", 0.25, "scalars")]),
        (NOON + 1, 2, [old("loss", math.nan), new("exact", 0.1, "scalars", "float64")]),
        (NOON + 2, -1, [old("loss (train)", math.inf), new("note", [b"all\nwell"], "text", "text")]),
        (NOON + 3, 3, [new("h", [1.0, 2.0], "histograms")]),
    )
    write(project / "logs/odd", (math.nan, 1, [old("loss", 0.5)]), (NOON, 1, [old("loss", 0.25)]))
    write(project / "logs/b", (NOON + 9, 5, hparams(lr=0.5, layers=3.0, opt="adam", on=True)))
    done = trk.import_tensorboard(project / "logs", experiment="digits")
    first, second, odd = done.runs
    assert len(points(odd.run_id)) == 1
    assert (first.name, second.name, first.status, second.status) == (
        "a/x", "b", Status.FINISHED, Status.FAILED,
    )  # fmt: skip
    told = {(key, step, time_ms, repr(value)) for key, step, time_ms, value in points(first.run_id)}
    assert told == {
        ("loss", 1, NOON * 1000, "0.5"), ("acc", 1, NOON * 1000, "0.25"), ("loss", 2, NOON * 1000 + 1000, "nan"),
        ("exact", 2, NOON * 1000 + 1000, "0.1"), ("loss _train_", -1, NOON * 1000 + 2000, "inf"),
    }  # fmt: skip
    assert trk.get_run(first.run_id, source="local").tags["text/note"] == "all\nwell"
    assert trk.get_run(second.run_id, source="local").params == {
        "lr": "0.5", "layers": "3", "opt": "adam", "on": "True",
    }  # fmt: skip
    assert done.skipped == {"histograms": 1, "points with a time outside the years 1970 to 2099": 1}
    assert done.renamed == {"loss (train)": "loss _train_"}


def test_what_is_added_comes_and_nothing_twice(project: Path) -> None:
    logs = project / "logs"
    file = write(logs, *((NOON + n, n, [old("loss", n / 3)]) for n in range(20)))
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])  # as it is while it is written
    done = trk.import_tensorboard(logs)
    assert (done.runs[0].name, done.points) == ("logs", 19)
    assert list(done.skipped) == ["bytes at the end of event files, broken or not finished"]
    file.write_bytes(whole)
    assert trk.import_tensorboard(logs).points == 1
    before = rows(), live()
    assert trk.import_tensorboard(logs).points == 0
    assert (rows(), live()) == before
    write(logs, (NOON + 50, 0, [old("loss", 7.0)]), suffix=".later")
    assert trk.import_tensorboard(logs).points == 1
    assert len(trk.search(source="local")) == 1


def test_broken_files_are_told_and_the_others_taken(project: Path) -> None:
    logs = project / "logs"
    write(logs / "good", (NOON, 1, [old("loss", 1.0)]))
    (logs / "bad").mkdir()
    (logs / "bad/events.out.tfevents.1").write_bytes(b"\x00noise" * 1000)
    (logs / "none").mkdir()
    (logs / "none/events.out.tfevents.1").touch()
    done = trk.import_tensorboard(logs)
    assert [run.name for run in done.runs] == ["good"]
    assert {one.name for one in done.left_out} == {"bad", "none"}
    assert done.skipped["bytes at the end of event files, broken or not finished"] == 6000


def test_what_is_no_log_folder_is_an_error(project: Path) -> None:
    (project / "empty").mkdir()
    (project / "file").touch()
    for place, error in (("empty", NotFound), ("nowhere", NotFound), ("file", UsageError)):
        with pytest.raises(error):
            trk.import_tensorboard(place)
    assert not (project / ".trk").exists()
