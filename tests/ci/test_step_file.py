"""GitHub's step summary: one section for the same runs, the rest of the file untouched, never too large."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import helpers
import trk
from trk.ci import step_file


@pytest.fixture
def step(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that GitHub makes for a step."""
    path = project / "step-summary.md"
    path.touch()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_a_second_call_replaces_the_section_and_nothing_else(call: Any, better: str, baseline: str, step: Path) -> None:
    before = b"# Built by others\n\n| a |\n| - |\n| \xff\xfe |"
    step.write_bytes(before)
    assert call("summary", better)[:2] == (0, "")
    first = step.read_bytes()
    assert first.startswith(before)
    after = b"\n\nand what came later <!-- trk summary -->\r\n"
    step.write_bytes(first + after)
    assert call("summary", better, "--baseline", "main", "--check", "f1 > 0")[0] == 0
    second = step.read_bytes()
    assert second.startswith(before)
    assert second.endswith(after)
    assert second.count(b"finished in") == 1
    assert b"better</code> finished" in second
    assert b"Checks: 1 of 1" in second
    assert call("summary", better)[0] == 0  # and back to what it was
    assert step.read_bytes() == first + after


def test_each_run_and_each_pipeline_has_a_section_of_its_own(call: Any, better: str, baseline: str, step: Path) -> None:
    for words in ((better,), (baseline,), ("-e", "digits"), (baseline,), ("-e", "digits"), (better,)):
        assert call("summary", *words)[0] == 0
    content = step.read_text()
    assert content.count("### ") - content.count("#### ") == 3
    assert content.index("better</code> finished") < content.index("main</code> finished") < content.index("🧪 2 runs")


def test_a_section_that_someone_changed_is_left_as_it_is(call: Any, better: str, step: Path) -> None:
    assert call("summary", better)[0] == 0
    changed = step.read_bytes().replace(b"finished in", b"FINISHED in")
    step.write_bytes(changed)
    assert call("summary", better)[0] == 0
    assert step.read_bytes().startswith(changed)
    assert step.read_bytes().count(b"inished in") == 1


def test_marks_in_names_and_in_what_others_wrote_mean_nothing(call: Any, step: Path, better: str) -> None:
    key = trk.summary(better).key
    forged = f"<!-- trk summary {key} 10 0123456789abcdef -->\nforged\nmine\n".encode()
    step.write_bytes(forged)
    with trk.start(f"<!-- trk summary {key} 3 -->", tags={}) as run:
        run.log_param("x", f"-->\n<!-- end of trk summary {key} -->\n")
    for _ in range(2):
        assert call("summary", run.id)[0] == 0
        assert call("summary", better)[0] == 0
    content = step.read_bytes()
    assert content.startswith(forged)
    assert content.count(b"better</code> finished") == 1
    assert content.count(b"<!-- trk summary") == 1 + 2


@pytest.mark.parametrize("others", [0, 500_000, 1_000_000, 1_030_000, 1_048_576])
def test_the_file_stays_under_a_mebibyte_whatever_is_in_it(call: Any, step: Path, others: int) -> None:
    before = b"x" * others
    step.write_bytes(before)
    with trk.start("large") as run:
        run.log_params({f"param {i}": "<&>" * 500 for i in range(300)})
        run.log_metrics({f"metric/{i}": i for i in range(300)})
    code, _, said = call("summary", run.id, "--max-rows", "100000")
    content = step.read_bytes()
    assert (code, content[:others]) == (0, before)
    assert len(content) <= max(others, step_file.MOST_BYTES)
    if others > 1_040_000:
        assert (content, "full" in said) == (before, True)
    else:
        assert b"large</code> finished" in content
        assert (b"This summary was cut to fit." in content) == (others > 500_000)


def test_writers_at_once_all_find_their_place(step: Path) -> None:
    runs = []
    for number in range(8):
        with trk.start(f"run {number}") as run:
            run.log_metric("f1", number / 10)
        runs.append(trk.summary(run))
    writers = [
        threading.Thread(target=lambda found=found: [found.write_step_summary() for _ in range(5)]) for found in runs
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = step.read_text()
    assert [content.count(f"run {number}</code> finished") for number in range(8)] == [1] * 8
    assert content.count("<!-- trk summary") == content.count("<!-- end of") == 8


def test_stdout_is_for_other_formats_and_for_who_asks(call: Any, better: str, step: Path, project: Path) -> None:
    for words in (["-o", "-"], ["--format", "gitlab"], ["--format", "openmetrics"], ["--json"], ["--field", "passed"]):
        assert call("summary", better, *words)[1] != ""
    assert call("summary", better, "-o", "here.md")[:2] == (0, "")
    assert (project / "here.md").read_text().startswith("### ✅")
    assert step.read_bytes() == b""


def test_what_is_no_file_is_an_error_of_one_line(call: Any, better: str, project: Path, monkeypatch: Any) -> None:
    os.mkfifo(project / "fifo")
    for named, code, told in (("fifo", 2, "is not a file"), ("missing/file", 1, "No such file"), (".", 1, "directory")):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / named))
        done = call("summary", better)
        assert (done[0], done[1], told in done[2], done[2].count("\n")) == (code, "", True, 1)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    with pytest.raises(trk.UsageError, match="no step"):
        trk.summary(better).write_step_summary()


def test_a_github_style_job_gives_one_section(project: Path, tmp_path: Path) -> None:
    """The way of a job: start, log, end, check, summary; the last two once more, as when a step is run again."""
    script = """
        set -eo pipefail
        trk() { "$PYTHON" -P -m trk_cli "$@"; }
        trk start "train <${GITHUB_REF_NAME}>" -e digits --param lr=0.1 -q
        for step in 0 1; do trk log-metrics f1=0.$((step + 8)) loss=0.$((9 - step)) --step $step; done
        trk end -q
        trk check 'f1 > 0.7' --run @last -q
        for again in 1 2; do
            trk summary @last --check 'f1 > 0.7' --check 'loss < baseline' --baseline tag:ci.branch=dev \\
                --allow-no-baseline -q
        done
    """
    step = tmp_path / "summary"
    env = {
        "GITHUB_STEP_SUMMARY": str(step), "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7", "GITHUB_SHA": "c0ffee",
        "GITHUB_REF_NAME": "main", "GITHUB_REPOSITORY": "lab/digits", "TRK_CAPTURE_CI": "auto",
        "PYTHON": sys.executable,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", script], env=helpers.child_environment(**env), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content = step.read_text()
    assert content.count("### ✅ <code>train &#60;main&#62;</code> finished") == 1
    assert content.count("```mermaid") == 2
    assert "[CI job](<https://github.com/lab/digits/actions/runs/7>)" in content
    assert "Checks: 2 of 2 hold" in content
