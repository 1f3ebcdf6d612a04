"""All benchmarks: each figure beside its yardstick, measured in the same run, as a ratio of medians.

    python tests/benchmarks/run.py [--only log,rows] [--quick] [--json]

The table goes to stdout; the JSON is kept in tests/benchmarks/results/. Nothing here passes or fails: machines are
noisy, and a figure that misses its bar is marked, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import figures  # noqa: E402 - found by the line above
from benchmarks.tools import Result  # noqa: E402


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(figures.ALL)}")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(figures.ALL)
    if unknown := [name for name in names if name not in figures.ALL]:
        parser.error(f"unknown: {', '.join(unknown)}")
    results = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr)
        results += figures.ALL[name](given.quick)
    kept = _keep(results, given.quick)
    print(json.dumps(kept, indent=1, ensure_ascii=False) if given.json else _table(results))
    return 0


def _keep(results: list[Result], quick: bool) -> dict[str, object]:
    kept: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "quick": quick,
        "results": [asdict(result) for result in results],
    }
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return kept


def _table(results: list[Result]) -> str:
    head = ("figure", "yardstick", "figure", "yardstick", "ratio", "bar", "")
    lines = [head]
    for found in results:
        value, reference = (f"{number:,.3g} {found.unit}" if number < 1000 else f"{number:,.0f} {found.unit}"
                            for number in (found.value, found.reference))  # fmt: skip
        mark = "" if found.held else "← misses"
        lines.append((found.name, found.yardstick, value, reference, f"{found.ratio:.3g} ×", found.bar, mark))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
