"""What a summary tells, before it is written in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trk.query.reports import CheckReport
from trk.records import ArtifactRecord, MetricComparison, MetricPoint, RunRecord

FORMATS = ("markdown", "gitlab", "html", "openmetrics", "junit", "json")


@dataclass(frozen=True, slots=True)
class Summary:
    """The answer of `summary`. Its texts are properties: `markdown`, `gitlab`, `html`, `openmetrics`, `junit`.

    `runs` are in order of their start; the `baseline` is among them only where it is one of those asked for. `metrics`
    has the last values and their deltas by name, those of the baseline too, in the order in which they are shown;
    `best` has by (run id, metric) the best value over the whole history, with its step, where the direction is known.
    `params` has those that differ between several runs. `checks` is one report for each run, if there were conditions.
    `missing_baseline` was named and is not there. `subject` is what the runs have in common, such as a pipeline or an
    experiment; `pipeline` is its id. `histories` has by (run id, metric) the points that charts are drawn from. There
    are at most `most_charts`, and `most_rows` in a table. `key` is what a second summary of the same is known by.
    """

    runs: Sequence[RunRecord]
    source: str
    key: str
    metrics: Mapping[str, MetricComparison] = field(default_factory=dict)
    best: Mapping[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    checks: Sequence[CheckReport] = ()
    baseline: RunRecord | None = None
    missing_baseline: str | None = None
    notes: Sequence[str] = ()
    subject: tuple[str, str] | None = None
    pipeline: str | None = None
    artifacts: Sequence[ArtifactRecord] = ()
    histories: Mapping[tuple[str, str], Sequence[MetricPoint]] = field(default_factory=dict)
    most_charts: int = 6
    most_rows: int = 100

    @property
    def passed(self) -> bool | None:
        """Whether all conditions hold for all runs; None when there are none."""
        return all(report.passed for report in self.checks) if self.checks else None

    @property
    def markdown(self) -> str:
        """As GitHub shows it."""
        from trk.ci import markdown

        return markdown.page(self, markdown.GITHUB)

    @property
    def gitlab(self) -> str:
        """As GitLab shows it, in the note of a merge request."""
        from trk.ci import markdown

        return markdown.page(self, markdown.GITLAB)

    @property
    def html(self) -> str:
        """A page of HTML that needs nothing but itself."""
        from trk.ci import html

        return html.page(self)

    @property
    def openmetrics(self) -> str:
        """Last values in OpenMetrics' text format: GitLab's metrics report."""
        from trk.ci import openmetrics

        return openmetrics.text(self)

    @property
    def junit(self) -> str:
        """The conditions as JUnit XML. Raises UsageError when there are none."""
        from trk.ci import junit

        return junit.text(self)

    def write_step_summary(self, path: str | None = None) -> Path | None:
        """Put it into GitHub's step summary, in place of an earlier one of the same runs; returns the file.

        `path` left out is `$GITHUB_STEP_SUMMARY`. None: there is no room left in the file. Raises UsageError, TrkError.
        """
        from trk.ci import step_file

        return step_file.write(self, path)
