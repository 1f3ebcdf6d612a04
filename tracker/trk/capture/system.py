"""`--capture system`: the tags `system.host`, `.os`, `.python`, `.cpus` and `.memory_gb` of this machine."""

from __future__ import annotations

import os
import platform


def collect() -> dict[str, str]:
    """The tags; what the machine does not tell is left out.

    `system.python` is the Python that trk runs on, `system.cpus` the processors this process may use (of a batch
    job: those it was given), `system.memory_gb` the whole machine's memory in units of 2^30 bytes.
    """
    found = {
        "system.host": platform.node(),
        "system.os": f"{platform.system()} {platform.release()} {platform.machine()}".strip(),
        "system.python": f"{platform.python_implementation()} {platform.python_version()}",
        "system.cpus": str(_cpus() or ""),
        "system.memory_gb": _memory_gb(),
    }
    return {name: value for name, value in found.items() if value}


def _cpus() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gb() -> str:
    """As text with one decimal; empty where the system does not say, as on Windows."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return ""
    return f"{size / 2**30:.1f}" if size > 0 else ""
