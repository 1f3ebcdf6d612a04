"""A user's program collects garbage as it likes; trk's own processes look for it rarely."""

from __future__ import annotations

from helpers import program

CODE = """
import gc, trk
before = gc.get_threshold()
with trk.start("one") as run:
    run.log_metric("loss", 1)
assert gc.get_threshold() == before
from trk_cli.__main__ import main
assert main(["log-metric", "loss", "1", "--run", run.id]) == 7  # it has ended
assert gc.get_threshold() == before  # nothing that a log command would be the slower for
assert main(["ls", "-q"]) == 0
print(gc.get_threshold()[0] > 10 * before[0])
"""


def test_a_program_that_logs_keeps_its_own_thresholds_and_a_query_has_higher_ones() -> None:
    done = program(CODE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
