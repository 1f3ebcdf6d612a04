"""What a CI job says of itself becomes tags of the runs that are started in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trk
from trk.capture import ci
from trk.rules import check_tag_name
from trk_cli.__main__ import main

GITHUB = {
    "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "8012", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SHA": "c0ffee",
    "GITHUB_REF": "refs/pull/12/merge", "GITHUB_REF_NAME": "12/merge", "GITHUB_REF_TYPE": "branch",
    "GITHUB_HEAD_REF": "better-loss", "GITHUB_JOB": "train", "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "lab/digits",
}  # fmt: skip
JOBS: list[tuple[dict[str, str], dict[str, str]]] = [
    (GITHUB, {
        "system": "github", "pipeline": "8012", "commit": "c0ffee", "branch": "better-loss", "job": "train",
        "url": "https://github.com/lab/digits/actions/runs/8012", "attempt": "2", "pull_request": "12",
    }),
    ({**GITHUB, "GITHUB_REF": "refs/tags/v1", "GITHUB_REF_NAME": "v1", "GITHUB_REF_TYPE": "tag",
      "GITHUB_HEAD_REF": ""}, {
        "system": "github", "pipeline": "8012", "commit": "c0ffee", "tag": "v1", "job": "train",
        "url": "https://github.com/lab/digits/actions/runs/8012", "attempt": "2",
    }),
    ({"GITLAB_CI": "true", "CI_PIPELINE_ID": "77", "CI_COMMIT_SHA": "abc", "CI_COMMIT_BRANCH": "main",
      "CI_JOB_NAME": "train 1/4", "CI_JOB_URL": "https://gitlab.com/lab/digits/-/jobs/5"}, {
        "system": "gitlab", "pipeline": "77", "commit": "abc", "branch": "main", "job": "train 1/4",
        "url": "https://gitlab.com/lab/digits/-/jobs/5",
    }),
    ({"GITLAB_CI": "true", "CI_PIPELINE_ID": "78", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "mine",
      "CI_MERGE_REQUEST_IID": "3"}, {"system": "gitlab", "pipeline": "78", "branch": "mine", "pull_request": "3"}),
    ({"JENKINS_URL": "http://ci/", "BUILD_TAG": "jenkins-digits-9", "BUILD_NUMBER": "9", "JOB_NAME": "digits",
      "GIT_COMMIT": "abc", "GIT_BRANCH": "origin/main", "BUILD_URL": "http://me:secret@ci/job/digits/9/"}, {
        "system": "jenkins", "pipeline": "jenkins-digits-9", "commit": "abc", "branch": "main", "job": "digits",
        "url": "http://ci/job/digits/9/",
    }),
    ({"BUILD_TAG": "jenkins-lab-digits-lr=0.1-9", "BUILD_NUMBER": "9", "JOB_NAME": "lab/digits/lr=0.1"}, {
        "system": "jenkins", "pipeline": "jenkins-lab-digits-9", "job": "lab/digits/lr=0.1",
    }),
    ({"TF_BUILD": "True", "BUILD_BUILDID": "55", "BUILD_SOURCEVERSION": "abc", "SYSTEM_TEAMPROJECT": "Our Lab",
      "BUILD_SOURCEBRANCH": "refs/heads/feature/x", "SYSTEM_COLLECTIONURI": "https://dev.azure.com/lab/",
      "SYSTEM_JOBDISPLAYNAME": "train", "SYSTEM_JOBATTEMPT": "1"}, {
        "system": "azure", "pipeline": "55", "commit": "abc", "branch": "feature/x", "job": "train",
        "url": "https://dev.azure.com/lab/Our%20Lab/_build/results?buildId=55", "attempt": "1",
    }),
    ({"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "w-1", "CIRCLE_SHA1": "abc", "CIRCLE_BRANCH": "main",
      "CIRCLE_JOB": "train", "CIRCLE_BUILD_URL": "https://circleci.com/gh/lab/digits/9",
      "CIRCLE_PULL_REQUEST": "https://github.com/lab/digits/pull/4"}, {
        "system": "circleci", "pipeline": "w-1", "commit": "abc", "branch": "main", "job": "train",
        "url": "https://circleci.com/gh/lab/digits/9", "pull_request": "4",
    }),
    ({"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b-1", "BUILDKITE_COMMIT": "HEAD", "BUILDKITE_BRANCH": "main",
      "BUILDKITE_LABEL": "train", "BUILDKITE_BUILD_URL": "https://buildkite.com/lab/digits/builds/9",
      "BUILDKITE_JOB_ID": "j-1", "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_RETRY_COUNT": "1"}, {
        "system": "buildkite", "pipeline": "b-1", "branch": "main", "job": "train",
        "url": "https://buildkite.com/lab/digits/builds/9#j-1", "attempt": "2",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "wanted"), JOBS)
def test_a_job_of_each_system_says_what_it_is(environ: dict[str, str], wanted: dict[str, str]) -> None:
    assert ci.collect(environ) == {f"ci.{name}": value for name, value in wanted.items()}


def test_elsewhere_there_is_nothing_to_say() -> None:
    assert ci.collect({}) == {}
    assert ci.collect({"CI": "true", "BUILD_TAG": "mine", "GITHUB_RUN_ID": "1"}) == {}


@given(
    st.dictionaries(
        st.sampled_from(sorted({name for environ, _ in JOBS for name in environ})),
        st.text(st.characters(codec="utf-8")),
    )
)
def test_whatever_the_variables_hold_only_known_tags_come_of_it(environ: dict[str, str]) -> None:
    for marks in ({}, {"GITHUB_ACTIONS": "true"}, {"TF_BUILD": "true"}, {"BUILDKITE": "true"}, {"JENKINS_URL": "x"}):
        for name, value in ci.collect({**environ, **marks}).items():
            assert value
            assert name in ci.TAGS
            check_tag_name(name)


def test_a_run_is_tagged_in_a_ci_job_unless_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GITHUB.items():
        monkeypatch.setenv(name, value)
    with trk.start("a", tags={"ci.branch": "what I say"}) as run:
        tags = dict(run.record.tags)
    assert (tags["ci.pipeline"], tags["ci.branch"], tags["ci.pull_request"]) == ("8012", "what I say", "12")
    assert main(["start", "-q"]) == 0
    assert trk.get_run().tags["ci.commit"] == "c0ffee"
    monkeypatch.setenv("TRK_CAPTURE_CI", "off")
    with trk.start("b") as run:
        assert run.record.tags == {}
    with trk.start("c", capture=["ci"]) as run:  # asked for
        assert run.record.tags["ci.system"] == "github"


def test_the_switch_knows_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRK_CAPTURE_CI", "maybe")
    with pytest.raises(trk.UsageError, match="capture_ci must be auto or off"):
        trk.start("a")
