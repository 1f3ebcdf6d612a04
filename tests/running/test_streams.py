"""What a command reads and writes is not touched: the same bytes, at once, each on its own way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import trk
from helpers import COMMAND, Course, child_environment, program
from trk.running.kept import NAME

READER = """
import hashlib, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
digest, read = hashlib.sha256(), 0
while piece := process.stdout.read(1 << 20):
    digest.update(piece)
    read += len(piece)
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), read, digest.hexdigest(), usage.ru_maxrss)
"""  # a small process: what is measured of a child begins with what its parent has
WRAP = [*COMMAND, "run", "-q", "--"]


def wrapped(*words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, **how}
    return subprocess.run([*WRAP, *words], check=False, env=child_environment(), timeout=120, **how)  # type: ignore[call-overload, no-any-return]


def last_log(project: Path) -> bytes:
    place = project / "kept.log"
    trk.get_artifact(NAME, run="@last", to=place, overwrite=True, source="local")
    return place.read_bytes()


def test_streams_stay_apart_byte_for_byte(project: Path) -> None:
    out, err = os.urandom(300_000), os.urandom(200_000) + b"no newline at the end"
    (project / "out").write_bytes(out)
    (project / "err").write_bytes(err)
    done = wrapped("sh", "-c", "cat err >&2 & cat out; wait; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, out, err)


def test_standard_input_is_the_commands() -> None:
    done = wrapped("cat", stdin=None, input=b"\0a\nb")
    assert done.stdout == b"\0a\nb"


def test_a_byte_goes_through_at_once_and_answers_come_back() -> None:
    code = "import os\nfor _ in range(3):\n os.write(1, b'?'); os.write(2, os.read(0, 1))"
    with subprocess.Popen(
        [*WRAP, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=child_environment(), bufsize=0,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for answer in (b"a", b"b", b"c"):
            assert process.stdout.read(1) == b"?"
            process.stdin.write(answer)
            assert process.stderr.read(1) == answer
    assert process.returncode == 0


def test_both_streams_in_one_file_keep_their_order(project: Path) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    with (project / "both").open("wb") as both:
        wrapped("sh", "-c", script, capture_output=False, stdout=both, stderr=subprocess.STDOUT)
    expected = b"".join(b"out %d\nerr %d\n" % (at, at) for at in range(300))
    assert (project / "both").read_bytes() == expected == last_log(project)


def test_files_that_were_left_open_for_the_command_are_its_own_and_no_others(project: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" sh -c \'cat "$0"; echo three >&3; exec 3>&-\' <(echo two) 3>three', "-", *WRAP],
        check=True, env=child_environment(), capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr, (project / "three").read_text()) == (b"two\n", b"", "three\n")
    if sys.platform == "linux":
        listed = [sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])"]
        assert wrapped(*listed).stdout == b"['0', '1', '2']\n"


def test_who_reads_no_more_is_told_to_the_command_and_not_to_the_user() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -1; exit ${PIPESTATUS[0]}', "-", *WRAP, "yes"],
        capture_output=True, env=child_environment(), timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode, done.stderr) == (b"y\n", 141, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_were_closed_harm_nobody(closed: str, project: Path) -> None:
    script = f'"$@" {closed}; echo "status $?" > status'
    words = [*WRAP, "sh", "-c", "echo out; echo err >&2; exit 5"]
    subprocess.run(["bash", "-c", script, "-", *words], env=child_environment(), timeout=60, check=False)
    assert (project / "status").read_text() == "status 5\n"
    assert sorted(last_log(project).splitlines()) == [b"err", b"out"]


def test_a_full_disk_behind_standard_output_is_told_and_the_command_goes_on(project: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = wrapped("sh", "-c", "echo lost; echo more; exit 3", capture_output=False, stdout=full, stderr=-1)
    assert done.returncode == 3
    assert b"output could not be passed on: No space left on device" in done.stderr
    assert last_log(project) == b"lost\nmore\n"


def test_much_output_passes_whole_and_takes_no_memory(course: Course, project: Path) -> None:
    size = course.many(20, 1000) * 1_000_000 // 65536 * 65536
    code = f"import os\nline = b'x' * 62 + b'\\n\\r'\nfor _ in range({size} // 65536): os.write(1, line * 1024)"
    done = program(READER, *WRAP, sys.executable, "-c", code, timeout=600)
    status, read, digest, most = done.stdout.split()
    expected = hashlib.sha256()
    for _ in range(size // 65536):
        expected.update((b"x" * 62 + b"\n\r") * 1024)
    assert (status, int(read), digest) == ("0", size, expected.hexdigest())
    assert int(most) * (1 if sys.platform == "darwin" else 1024) < 150_000_000
    log = last_log(project)
    assert len(log) < 3_200_000
    assert b"bytes are left out here]" in log


def test_a_child_in_the_background_that_never_stops_talking_is_left() -> None:
    nowhere = subprocess.DEVNULL
    done = wrapped("sh", "-c", "yes & exec sleep 0.01", capture_output=False, stdout=nowhere, stderr=nowhere)
    assert done.returncode == 0  # and yes died of its pipe, which nobody reads any more


def test_no_output_is_kept_when_none_is_wanted(project: Path) -> None:
    assert trk.run_command(["echo", "hello"], output=False).status == "FINISHED"
    assert trk.artifacts("@last", source="local") == []
