"""What a CI job says of itself in environment variables, as tags: `ci.pipeline`, `ci.commit`, `ci.branch` and others.

All jobs of a pipeline, those of a matrix too, have the same `ci.pipeline`: by it their runs are found together. Nothing
but the variables is looked at, and what a system does not say has no tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trk.addresses import without_userinfo

SYSTEM, PIPELINE, COMMIT, BRANCH, TAG, JOB, URL, ATTEMPT, PULL_REQUEST = TAGS = (
    "ci.system", "ci.pipeline", "ci.commit", "ci.branch", "ci.tag", "ci.job", "ci.url", "ci.attempt", "ci.pull_request",
)  # fmt: skip

Variables = Callable[[str], str]  # an environment variable; "" when it is not set
Found = dict[str, str]


def collect(environ: Mapping[str, str]) -> Found:
    """The tags of the CI job that this is; {} where it is none of a system that is known."""

    def variable(name: str) -> str:
        return environ.get(name, "").strip()

    for name, (marks, read) in _SYSTEMS.items():
        if marks(variable):
            found = {SYSTEM: name, **read(variable)}
            return {tag: without_userinfo(found[tag]) for tag in TAGS if found.get(tag)}
    return {}


def _github(of: Variables) -> Found:
    # A run that is started again keeps its id, and the jobs that had passed are not run again: they stay one pipeline.
    run = of("GITHUB_RUN_ID")
    is_tag = of("GITHUB_REF_TYPE") == "tag"
    place = f"{of('GITHUB_SERVER_URL') or 'https://github.com'}/{of('GITHUB_REPOSITORY')}/actions/runs/{run}"
    return {
        PIPELINE: run,
        COMMIT: of("GITHUB_SHA"),
        BRANCH: of("GITHUB_HEAD_REF") or ("" if is_tag else of("GITHUB_REF_NAME")),
        TAG: of("GITHUB_REF_NAME") if is_tag else "",
        JOB: of("GITHUB_JOB"),
        URL: place if run and of("GITHUB_REPOSITORY") else "",
        ATTEMPT: of("GITHUB_RUN_ATTEMPT"),
        PULL_REQUEST: _pull_number(of("GITHUB_REF")),
    }


def _pull_number(ref: str) -> str:
    """The number in `refs/pull/12/merge`."""
    words = ref.split("/")
    return words[2] if words[:2] == ["refs", "pull"] and len(words) > 3 else ""


def _gitlab(of: Variables) -> Found:
    return {
        PIPELINE: of("CI_PIPELINE_ID"),
        COMMIT: of("CI_COMMIT_SHA"),
        BRANCH: of("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or of("CI_COMMIT_BRANCH"),
        TAG: of("CI_COMMIT_TAG"),
        JOB: of("CI_JOB_NAME"),
        URL: of("CI_JOB_URL") or of("CI_PIPELINE_URL"),
        PULL_REQUEST: of("CI_MERGE_REQUEST_IID"),
    }


def _jenkins(of: Variables) -> Found:
    # A multi-configuration project runs each of its axes as a job of its own: `train/lr=0.1,seed=2`, all of one number.
    job, _, axes = of("JOB_NAME").rpartition("/")
    whole = f"jenkins-{job.replace('/', '-')}-{of('BUILD_NUMBER')}" if job and "=" in axes else ""
    return {
        PIPELINE: whole or of("BUILD_TAG") or of("BUILD_URL"),
        COMMIT: of("GIT_COMMIT"),
        BRANCH: of("CHANGE_BRANCH") or of("BRANCH_NAME") or of("GIT_BRANCH").removeprefix("origin/"),
        TAG: of("TAG_NAME"),
        JOB: of("STAGE_NAME") or of("JOB_NAME"),
        URL: of("BUILD_URL"),
        PULL_REQUEST: of("CHANGE_ID"),
    }


def _azure(of: Variables) -> Found:
    build, server, project = of("BUILD_BUILDID"), of("SYSTEM_COLLECTIONURI"), of("SYSTEM_TEAMPROJECT")
    ref = of("SYSTEM_PULLREQUEST_SOURCEBRANCH") or of("BUILD_SOURCEBRANCH")
    page = f"{server.rstrip('/')}/{project.replace(' ', '%20')}/_build/results?buildId={build}"
    return {
        PIPELINE: build,
        COMMIT: of("BUILD_SOURCEVERSION"),
        BRANCH: "" if ref.startswith(("refs/tags/", "refs/pull/")) else ref.removeprefix("refs/heads/"),
        TAG: ref.removeprefix("refs/tags/") if ref.startswith("refs/tags/") else "",
        JOB: of("SYSTEM_JOBDISPLAYNAME") or of("AGENT_JOBNAME"),
        URL: page if build and server and project else "",
        ATTEMPT: of("SYSTEM_JOBATTEMPT"),
        PULL_REQUEST: of("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER") or of("SYSTEM_PULLREQUEST_PULLREQUESTID"),
    }


def _circleci(of: Variables) -> Found:
    return {
        PIPELINE: of("CIRCLE_WORKFLOW_ID"),
        COMMIT: of("CIRCLE_SHA1"),
        BRANCH: of("CIRCLE_BRANCH"),
        TAG: of("CIRCLE_TAG"),
        JOB: of("CIRCLE_JOB"),
        URL: of("CIRCLE_BUILD_URL"),
        PULL_REQUEST: of("CIRCLE_PR_NUMBER") or of("CIRCLE_PULL_REQUEST").rpartition("/")[2],
    }


def _buildkite(of: Variables) -> Found:
    page, job, request = of("BUILDKITE_BUILD_URL"), of("BUILDKITE_JOB_ID"), of("BUILDKITE_PULL_REQUEST")
    commit = of("BUILDKITE_COMMIT")
    return {
        PIPELINE: of("BUILDKITE_BUILD_ID"),
        COMMIT: "" if commit == "HEAD" else commit,  # until the agent has looked, it is that word
        BRANCH: of("BUILDKITE_BRANCH"),
        TAG: of("BUILDKITE_TAG"),
        JOB: of("BUILDKITE_LABEL") or of("BUILDKITE_STEP_KEY"),
        URL: f"{page}#{job}" if page and job else page,
        ATTEMPT: str(int(again) + 1) if (again := of("BUILDKITE_RETRY_COUNT")).isdecimal() else "",
        PULL_REQUEST: "" if request == "false" else request,
    }


# By what each is known. Runners of other forges speak GitHub's words too, and say so by the same variable.
_SYSTEMS: dict[str, tuple[Callable[[Variables], bool], Callable[[Variables], Found]]] = {
    "github": (lambda of: of("GITHUB_ACTIONS") == "true", _github),
    "gitlab": (lambda of: of("GITLAB_CI") != "", _gitlab),
    "circleci": (lambda of: of("CIRCLECI") == "true", _circleci),
    "buildkite": (lambda of: of("BUILDKITE") == "true", _buildkite),
    "azure": (lambda of: of("TF_BUILD").lower() == "true", _azure),
    "jenkins": (lambda of: of("JENKINS_URL") != "" or of("BUILD_TAG").startswith("jenkins-"), _jenkins),
}
