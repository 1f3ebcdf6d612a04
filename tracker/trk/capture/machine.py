"""What the machine and a tree of processes use, under MLflow's own names (`system/…`).

As in MLflow, `system/cpu_…`, `system_memory_…`, `disk_…`, `network_…` and `gpu_<n>_…` are of the whole machine, as the
system tells this process of it. `system/process_…` is of one process and all below it:

    system/process_cpu_utilization_percentage   100 is one core, all of the time since the sample before
    system/process_memory_usage_megabytes       resident; what processes share counts in each of them
    system/process_memory_usage_percentage      of the machine's memory
    system/process_disk_read_megabytes          since the first sample, of the processes that live; likewise `_write_`
    system/process_count                        how many there are
    system/gpu_<n>_process_memory_usage_megabytes

No system says what a process sends over the network: that is of the machine alone. psutil tells (the extra `system`);
GPUs are NVIDIA's, by NVML.
"""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from typing import Any

from trk.errors import ConfigurationError, UsageError

EVERY_S = 10.0  # between two samples, as MLflow has it
LEAST_S = 0.1
_MEGA = 1e6
PREFIX = "system/"


def check(every: float) -> float:
    """The time between two samples in seconds. Raises UsageError, and ConfigurationError without psutil."""
    if not LEAST_S <= every <= 86_400:
        raise UsageError(f"an interval of {every:g} s is not from {LEAST_S:g} s to a day")
    if find_spec("psutil") is None:
        raise ConfigurationError(
            "system metrics need psutil, which is not installed", hint="pip install 'trk-ml[system]'"
        )
    return every


class Machine:
    """Takes samples, for the process `pid` and those below it. Raises ConfigurationError without psutil."""

    def __init__(self, pid: int) -> None:
        check(EVERY_S)
        import psutil

        self._psutil = psutil
        self._pid = pid
        self._cpu: dict[tuple[int, float], float] = {}
        self._read: dict[tuple[int, float], tuple[int, int]] = {}
        self._written = [0, 0]
        self._at = time.monotonic()
        self._network = self._bytes()
        psutil.cpu_percent()  # what the next one is since
        self._tree(first=True)
        self._gpus = _Gpus()

    def sample(self) -> dict[str, float]:
        """What is used now, and since the sample before. What can't be found out is left out."""
        memory = self._psutil.virtual_memory()
        disk = self._psutil.disk_usage(os.sep)
        network = self._bytes()
        found = {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEGA,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / _MEGA,
            "disk_available_megabytes": disk.free / _MEGA,
            "network_receive_megabytes": (network[0] - self._network[0]) / _MEGA,
            "network_transmit_megabytes": (network[1] - self._network[1]) / _MEGA,
        }
        tree, pids = self._tree()
        if "process_memory_usage_megabytes" in tree:
            tree["process_memory_usage_percentage"] = (
                tree["process_memory_usage_megabytes"] * _MEGA / memory.total * 100
            )
        found.update(tree)
        found.update(self._gpus.sample(pids))
        return {PREFIX + name: round(float(value), 3) for name, value in found.items()}

    def close(self) -> None:
        """No more samples."""
        self._gpus.close()

    def _bytes(self) -> tuple[int, int]:
        """What all the network's devices have received and sent."""
        try:
            found = self._psutil.net_io_counters()
        except (OSError, RuntimeError):  # a container without /proc/net
            found = None
        return (found.bytes_recv, found.bytes_sent) if found else (0, 0)

    def _processes(self) -> list[Any]:
        try:
            top = self._psutil.Process(self._pid)
            return [top, *top.children(recursive=True)]
        except self._psutil.Error:
            return []

    def _tree(self, *, first: bool = False) -> tuple[dict[str, float], set[int]]:
        """What the processes use, {} when there are none any more; and their numbers."""
        now = time.monotonic()
        cpu, used, memory, pids, disk = {}, 0.0, 0, set(), {}
        for process in self._processes():
            try:
                with process.oneshot():
                    key = (process.pid, process.create_time())
                    times = process.cpu_times()
                    memory += process.memory_info().rss
                    disk[key] = self._io(process)
            except self._psutil.Error:
                continue  # it has ended just now
            cpu[key] = times.user + times.system
            used += max(0.0, cpu[key] - self._cpu.get(key, 0.0))
            pids.add(process.pid)
        for key, done in disk.items():
            before = self._read.get(key, done if first else (0, 0))
            for way in (0, 1):
                self._written[way] += max(0, done[way] - before[way])
        passed = max(now - self._at, 1e-3)
        self._cpu, self._read, self._at = cpu, disk, now
        if not pids:
            return {}, pids
        return {
            "process_cpu_utilization_percentage": used / passed * 100,
            "process_memory_usage_megabytes": memory / _MEGA,
            "process_disk_read_megabytes": self._written[0] / _MEGA,
            "process_disk_write_megabytes": self._written[1] / _MEGA,
            "process_count": len(pids),
        }, pids

    def _io(self, process: Any) -> tuple[int, int]:
        """Bytes that a process has read from disks and written; (0, 0) where nobody tells, as on macOS."""
        try:
            found = process.io_counters()
        except (self._psutil.Error, AttributeError, OSError, NotImplementedError):
            return 0, 0
        return found.read_bytes, found.write_bytes


class _Gpus:
    """NVIDIA's GPUs, as NVML tells of them; none where it does not."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        if find_spec("pynvml") is None:
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(pynvml.nvmlDeviceGetCount())]
            self._nvml = pynvml
        except Exception:  # noqa: BLE001 - no driver, no library, no right: there are no GPUs for us
            self._handles = []

    def sample(self, pids: set[int]) -> dict[str, float]:
        """What each uses, and how much of its memory the processes have."""
        found: dict[str, float] = {}
        for at, handle in enumerate(self._handles):
            for read in (self._memory, self._busy, self._power):
                try:
                    found.update({f"gpu_{at}_{name}": value for name, value in read(handle, pids).items()})
                except Exception:  # noqa: BLE001, S112 - NVML's own errors: this GPU does not tell that
                    continue
        return found

    def close(self) -> None:
        """Let NVML go."""
        if self._nvml is not None:
            try:
                self._nvml.nvmlShutdown()
            except Exception:  # noqa: BLE001 - it has gone by itself
                self._nvml = None

    def _memory(self, handle: Any, pids: set[int]) -> dict[str, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        there = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        own = sum(one.usedGpuMemory or 0 for one in there if one.pid in pids)
        return {
            "memory_usage_percentage": memory.used / memory.total * 100,
            "memory_usage_megabytes": memory.used / _MEGA,
            "process_memory_usage_megabytes": own / _MEGA,
        }

    def _busy(self, handle: Any, _: set[int]) -> dict[str, float]:
        return {"utilization_percentage": self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu}

    def _power(self, handle: Any, _: set[int]) -> dict[str, float]:
        used = self._nvml.nvmlDeviceGetPowerUsage(handle)
        most = self._nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
        return {"power_usage_watts": used / 1000, "power_usage_percentage": used / most * 100}
