"""`summary`: what it says of one run and of several, in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import trk
from trk.ci import mermaid
from trk.records import MetricPoint


def points(*values: float, steps: list[int] | None = None) -> list[MetricPoint]:
    return [
        MetricPoint("r", "m", step, 0, value) for step, value in zip(steps or range(len(values)), values, strict=True)
    ]


def rows_of(markdown: str, title: str) -> list[list[str]]:
    """The cells of the table under a heading, without code's marks."""
    after = markdown.split(f"#### {title}")[1]
    table = after.split("\n\n")[1]
    return [
        [re.sub(r"</?code>", "", cell).strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()
    ]


def test_one_run_is_told_with_what_changed_against_the_baseline(better: str) -> None:
    found = trk.summary(better, baseline="main", checks=["f1 >= baseline", "loss < 0.01"])
    metrics = rows_of(found.markdown, "Metrics")
    assert metrics[0] == ["metric", "last", "best", "at step", "baseline", "change"]
    assert metrics[2] == ["f1 ↑", "0.95", "0.95", "9", "0.7", "🟢 +0.25 (+35.7 %) better"]
    assert metrics[3] == ["loss ↓", "0.1", "0.1", "9", "0.2", "🟢 -0.1 (-50 %) better"]
    checks = rows_of(found.markdown, "Checks: 1 of 2 hold")
    assert [row[0] for row in checks[2:]] == ["❌", "✅"]  # what failed comes first
    assert "<code>lr</code> | <code>0.01</code> | <code>0.1</code>" in found.markdown
    assert "note.txt" in found.markdown
    assert (found.passed, found.baseline.name if found.baseline else None) == (False, "main")


def test_the_best_value_and_its_step_are_of_the_whole_history(baseline: str) -> None:
    with trk.start("a") as run:
        for step, value in enumerate((0.1, 0.9, 0.3)):
            run.log_metric("f1", value, step=step)
    assert rows_of(trk.summary(run).markdown, "Metrics")[2] == ["f1 ↑", "0.3", "0.9", "1"]


def test_a_worse_value_is_called_worse_and_what_has_no_direction_nothing(baseline: str) -> None:
    with trk.start("worse", experiment="digits") as run:
        run.log_metrics({"f1": 0.35, "loss": float("nan"), "tokens": 7})
    found = trk.summary(run, baseline="main").markdown
    assert "🔴 -0.35 (-50 %) worse" in found
    assert "| NaN |  |  | 0.2 | 🔴 worse |" in found
    assert "| 7 |  |  |  |  |" in found


def test_no_baseline_is_an_error_or_a_note(call: Any, better: str) -> None:
    code, _, said = call("summary", better, "--baseline", "tag:branch=dev")
    assert (code, "--allow-no-baseline" in said) == (4, True)
    code, out, _ = call(
        "summary", better, "--baseline", "tag:branch=dev", "--allow-no-baseline", "--check", "f1>baseline"
    )
    assert code == 0
    assert "No baseline <code>tag&#58;branch=dev</code> was found" in out
    assert call("summary", better, "--check", "f1 > baseline")[0] == 4


def test_only_fail_makes_a_failed_condition_the_exit_code(call: Any, better: str) -> None:
    assert call("summary", better, "--check", "f1 > 1")[0] == 0
    code, out, said = call("summary", better, "--check", "f1 > 1", "--fail")
    assert (code, "0 of 1 hold" in out, "does not hold" in said) == (5, True, True)
    assert call("summary", better, "--fail")[0] == 2


def test_conditions_come_from_a_file_too_and_junit_beside(call: Any, better: str, project: Path) -> None:
    (project / "gates.txt").write_text("# what main keeps\nf1 > 0.9\n\nloss < 0.01\n")
    assert call("summary", better, "--from", "gates.txt", "--junit", "checks.xml")[0] == 0
    suite = ElementTree.parse(project / "checks.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("better", "2", "1")
    assert [case.get("name") for case in suite] == ["f1 > 0.9", "loss < 0.01"]
    assert [case.find("failure") is None for case in suite] == [True, False]
    assert call("summary", better, "--junit", "checks.xml")[0] == 2


def test_junit_has_numbers_as_they_were_logged(call: Any, better: str) -> None:
    _, out, _ = call("summary", better, "--check", "0.7 > 0.9 + f1 - f1", "--format", "junit")
    assert "left: 0.7, right: 0.9, run " in out


def test_metrics_are_chosen_by_patterns_in_their_order(call: Any) -> None:
    with trk.start("a") as run:
        run.log_metrics({"val/f1": 1, "val/loss": 2, "train/loss": 3})
    assert list(trk.summary(run, metrics=["*/loss", "val/f1"]).metrics) == ["train/loss", "val/loss", "val/f1"]
    assert call("summary", run.id, "--metric", "nothing")[0] == 4


@pytest.fixture
def matrix() -> list[str]:
    """The runs of a pipeline with three jobs, and one of another."""
    ids = []
    for pipeline, lr in (("7", 0.1), ("7", 0.2), ("7", 0.3), ("6", 0.4)):
        with trk.start(
            f"lr {lr}",
            experiment="digits",
            params={"lr": lr, "model": "mlp"},
            tags={"ci.pipeline": pipeline, "branch": "main"},
        ) as run:
            for step in range(3):
                run.log_metrics({"f1": lr * step, "loss": 1.0}, step=step)
        ids.append(run.id)
    return ids  # fmt: skip


def test_the_jobs_of_a_pipeline_are_told_together(matrix: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = trk.summary(pipeline="7")
    assert [run.run_id for run in found.runs] == matrix[:3]
    table = rows_of(found.markdown, "Runs")
    assert table[0] == ["", "run", "time", "lr", "f1 ↑", "loss ↓"]  # the model is the same in all
    assert [row[3:5] for row in table[2:]] == [["0.1", "0.2"], ["0.2", "0.4"], ["0.3", "**0.6**"]]
    assert found.markdown.count("```mermaid") == 2
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_RUN_ID", "6")
    assert [run.run_id for run in trk.summary(pipeline="@").runs] == matrix[3:]


def test_a_baseline_of_several_is_none_of_them(matrix: list[str]) -> None:
    for named in ("best:f1", "tag:branch=main"):
        found = trk.summary(pipeline="7", baseline=named, checks="f1 > baseline")
        assert found.baseline is not None
        assert found.baseline.run_id == matrix[3]
        assert len(found.checks) == 3
    named = trk.summary(matrix[:3], baseline=matrix[0])
    assert named.baseline is not None
    assert "lr 0.1</code> (baseline)" in named.markdown


def test_runs_are_found_by_experiment_and_time(matrix: list[str], call: Any) -> None:
    assert len(trk.summary(experiment="digits").runs) == 4
    assert len(trk.summary(experiment="digits", since="1h").runs) == 4
    assert call("summary", "--since", "2098-01-01")[0] == 4
    assert call("summary", "-e", "nothing")[0] == 4
    assert call("summary", "--since", "soon")[0] == 2
    assert call("summary", "@last", "--since", "1h")[0] == 2
    assert call("summary", "--pipeline", "@")[0] == 2  # no job here
    assert call("summary")[0] == 3


def test_json_has_all_of_it(call: Any, better: str, baseline: str) -> None:
    found = json.loads(call("summary", better, "--baseline", "main", "--check", "f1 > 0.9", "--json")[1])
    assert list(found) == ["passed", "pipeline", "runs", "baseline", "metrics", "checks", "notes"]
    assert found["metrics"]["loss"]["best"] == {better: {"value": 0.1, "step": 9}}
    assert found["metrics"]["loss"]["verdict"] == {better: "better"}
    assert found["baseline"]["run_id"] == baseline
    assert call("summary", better, "--field", "metrics.f1.mode")[1] == "max\n"


def test_openmetrics_names_are_the_metrics_own_as_far_as_they_can_be(call: Any) -> None:
    with trk.start("a") as run:
        run.log_metrics({"f1": 0.5, "val/f1-macro": float("inf"), "2x": float("nan"), "a_b": 1, "a/b": 2})
    lines = call("summary", run.id, "--format", "openmetrics", "--check", "f1 > 0.4")[1].splitlines()
    assert lines[-1] == "# EOF"
    for line in (
        "f1 0.5", 'val_f1_macro{metric="val/f1-macro"} +Inf', '_2x{metric="2x"} NaN', "a_b 1.0",
        'a_b{metric="a/b"} 2.0', 'trk_check_passed{condition="f1 > 0.4"} 1.0',
    ):  # fmt: skip
        assert line in lines
    assert lines.count("# TYPE a_b gauge") == 1


def test_the_html_page_holds_the_charts_and_nothing_from_elsewhere(call: Any, better: str, project: Path) -> None:
    assert call("summary", better, "--format", "html", "-o", "page.html", "-q")[:2] == (0, "")
    page = (project / "page.html").read_text()
    assert page.count("<svg") >= 2
    assert "default-src &#x27;none&#x27;" in page


def test_a_chart_brings_all_runs_to_one_grid() -> None:
    found = mermaid.lines({"a": points(1, 2, 3), "b": points(10, 30, steps=[1, 3])})
    assert found is not None
    assert (found.first, found.last, found.level) == (0, 3, 2)
    assert found.values == {"a": [1, 2, 3, 3], "b": [10, 10, 20, 30]}


def test_a_long_history_keeps_its_peak_and_its_end() -> None:
    values = [0.0] * 100_000
    values[54_321], values[-1] = 9.0, 1.0
    found = mermaid.lines({"a": points(*values)})
    assert found is not None
    line = found.values["a"]
    assert (len(line), max(line), line[-1]) == (mermaid.POINTS, 9.0, 1.0)


def test_what_is_no_line_has_no_chart() -> None:
    assert mermaid.lines({"a": points(1)}) is None
    assert mermaid.lines({"a": points(float("nan"), float("inf"), 1)}) is None
    assert mermaid.lines({}) is None


NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?|\.\d+)")


@pytest.mark.parametrize("values", [(0, 0), (1e-300, 2e-300), (-1e307, 1e308), (5, 5), (1e6, 123456789), (-0.0001, 0)])
def test_numbers_are_written_as_mermaid_reads_them(values: tuple[float, float]) -> None:
    found = mermaid.lines({"a": points(*values)})
    assert found is not None
    block = mermaid.block(found)
    low, high = re.findall(r"y-axis (?:\"in 10\^-?\d+\" )?(\S+) --> (\S+)", block)[0]
    (line,) = re.findall(r"line \[(.*)\]", block)
    numbers = [low, high, *line.split(", ")]
    assert all(NUMBER.fullmatch(number) for number in numbers)
    assert float(low) < float(high)
    assert all(float(low) <= float(number) <= float(high) for number in numbers)


def test_gitlab_draws_a_chart_by_itself_only_up_to_two_thousand_characters() -> None:
    ids = []
    for number in range(10):
        with trk.start(f"run {number}", experiment="wide") as run:
            for step in range(60):
                run.log_metric("f1", 1 / (step + 3 + number), step=step)
        ids.append(run.id)
    for runs in (ids, ids[:1], ids[:3]):
        found = trk.summary(runs)
        charts = re.findall(r"```mermaid\n(.*?)```", found.gitlab, re.DOTALL)
        assert len(charts) == 1
        assert len(charts[0]) < 2_000
    assert "2 more runs not drawn" not in trk.summary(ids[:8]).markdown
