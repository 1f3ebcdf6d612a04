"""Samples of what a machine and a tree of processes use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trk
from helpers import until
from trk.capture import machine
from trk.errors import ConfigurationError, UsageError

psutil = pytest.importorskip("psutil", reason="the extra system brings it")

BUSY = """
import subprocess, sys
block = bytearray(60_000_000)
child = subprocess.Popen([sys.executable, "-c", "import time\\nprint('x', flush=True)\\nwhile True: pass"], stdout=-1)
child.stdout.read(1)
print("ready", flush=True)
sys.stdin.read()
child.kill()
"""
WHOLE = {
    "cpu_utilization_percentage", "system_memory_usage_megabytes", "system_memory_usage_percentage",
    "disk_usage_percentage", "disk_usage_megabytes", "disk_available_megabytes", "network_receive_megabytes",
    "network_transmit_megabytes",
}  # fmt: skip


def test_a_tree_of_processes_is_told_beside_the_whole_machine() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        samples = machine.Machine(process.pid)
        until(lambda: samples.sample()["system/process_cpu_utilization_percentage"] > 5)
        found = samples.sample()
        process.stdin.close()
    assert found["system/process_count"] == 2
    assert 60 < found["system/process_memory_usage_megabytes"] < found["system/system_memory_usage_megabytes"]
    assert {f"system/{name}" for name in WHOLE} <= set(found)
    gone = samples.sample()
    assert not [name for name in gone if name.startswith("system/process_")]
    samples.close()


def test_the_machines_metrics_have_the_names_that_mlflow_gives_them() -> None:
    pytest.importorskip("mlflow", reason="the names are looked up there")
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    theirs = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        theirs |= set(monitor.metrics)
    assert theirs == WHOLE


def test_without_psutil_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="psutil") as refused:
        trk.run_command(["true"], system_metrics=True)
    assert refused.value.hint == "pip install 'trk-ml[system]'"


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan"), 1e9])
def test_an_interval_that_can_not_be_meant_is_refused(every: float) -> None:
    with pytest.raises(UsageError):
        machine.check(every)


def test_a_block_and_a_run_sample_until_they_end() -> None:
    with trk.start("a") as run:
        with trk.system_metrics(interval=0.1) as sampling:
            until(lambda: sampling.count > 1)
        count = sampling.count
        again = run.log_system_metrics(interval=0.1)
        until(lambda: again.count > 0)
        run.finish()
        until(lambda: again.trouble is not None)
        again.stop()
    points = trk.history("system/process_count", run=run.id, source="local")
    assert len(points) == count + again.count
    assert [point.step for point in points] == list(range(len(points)))
