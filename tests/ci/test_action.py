"""The ready action and the recipes of `trk help ci`, run by bash as their systems would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import helpers
from trk_cli.commands import manage

ROOT = Path(__file__).parents[2]
PAGE = (manage.HELP / "ci.md").read_text(encoding="utf-8")
ACTION_FILE = ROOT / ".github/actions/trk-summary/action.yml"
ACTION: dict[str, Any] = yaml.safe_load(ACTION_FILE.read_text(encoding="utf-8")) if ACTION_FILE.exists() else {}

pytestmark = pytest.mark.skipif(not ACTION, reason="the source distribution has no .github")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with `trk`, and a `python` that only says what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "trk": f'#!/bin/sh\nexec "{sys.executable}" -P -m trk_cli "$@"\n',
        "python": '#!/bin/sh\necho "python $*"\n',
        "buildkite-agent": "#!/bin/sh\nexec cat\n",
    }
    for name, content in scripts.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    return folder


def bash(script: str, programs: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As GitHub calls it."""
    place = f"{programs}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env=helpers.child_environment(PATH=place, **env),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def step(number: int, inputs: Mapping[str, str], folder: Path, programs: Path) -> tuple[int, str, str]:
    """Run a step of the action; (exit code, what it put out, the step's summary)."""
    defaults = {name: str(one["default"]) for name, one in ACTION["inputs"].items()}
    assert set(inputs) <= set(defaults)
    found = ACTION["runs"]["steps"][number]
    given = {**defaults, **inputs}
    env = {
        name: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda named: given[named[1]], value)
        for name, value in found["env"].items()
    }
    files = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in files.values():
        path.touch()
    done = bash(found["run"], programs, {**env, **{name: str(path) for name, path in files.items()}})
    return done.returncode, files["GITHUB_OUTPUT"].read_text() + done.stdout, files["GITHUB_STEP_SUMMARY"].read_text()


def test_no_word_of_a_caller_is_part_of_a_script() -> None:
    used = set()
    for one in ACTION["runs"]["steps"]:
        assert "${{" not in one["run"]
        assert one["shell"] == "bash"
        used |= set(re.findall(r"inputs\.([a-z-]+)", str(one)))
    assert used == set(ACTION["inputs"])
    for page in (ACTION_FILE.read_text(), PAGE):
        assert not re.search(r"pip install\b[^\n]*\btrk(?!-ml)", page)
    for name in ACTION["inputs"]:
        assert f"`{name}`" in PAGE


def test_trk_is_installed_where_it_is_missing_and_only_as_what_it_is_called(programs: Path, project: Path) -> None:
    assert step(0, {}, project, programs) == (0, "", "")
    (programs / "trk").unlink()
    code, said, _ = step(0, {"extras": "mlflow,wandb", "version": "0.1.0"}, project, programs)
    assert (code, said) == (
        0,
        "python -m pip install --quiet --disable-pip-version-check trk-ml[mlflow,wandb]==0.1.0\n",
    )
    for hostile in ({"version": "1 --index-url http://x"}, {"extras": "x] @ http://x"}, {"version": "1\n2"}):
        assert step(0, hostile, project, programs)[0] == 2


def test_the_action_judges_the_run_that_ended_last_and_tells_of_it(better: str, programs: Path, project: Path) -> None:
    inputs = {
        "check": "f1 >= 0.9\n\nloss < baseline\n",
        "baseline": "main",
        "metric": "f1\r\nlo*",
        "junit": "checks.xml",
    }
    code, said, told = step(1, inputs, project, programs)
    assert (code, said) == (0, "passed=true\n")
    assert "better</code> finished" in told
    assert "Checks: 2 of 2 hold" in told
    assert (project / "checks.xml").exists()


def test_a_condition_that_fails_makes_the_job_fail_after_all_was_told(
    better: str, programs: Path, project: Path
) -> None:
    inputs = {"run": better, "check": "f1 >= 0.99"}
    code, said, told = step(1, inputs, project, programs)
    assert (code, "passed=false\n" in said, "::error::" in said) == (5, True, True)
    assert told.count("Checks: 0 of 1 hold") == 1


@pytest.mark.long
def test_without_fail_the_job_goes_on(better: str, programs: Path, project: Path) -> None:
    code, said, _ = step(1, {"run": better, "check": "f1 >= 0.99", "fail": "false"}, project, programs)
    assert (code, said) == (0, "passed=false\n")


def test_what_a_caller_says_runs_nothing(better: str, programs: Path, project: Path) -> None:
    before = sorted(os.listdir(project))
    hostile = "$(touch pwned); `touch pwned`'\"; touch pwned #"
    for names in (("run", "baseline", "metric", "junit"), ("check",)):
        code, _, _ = step(1, dict.fromkeys(names, hostile), project, programs)
        assert code in (2, 4)
    assert sorted({*os.listdir(project)} - {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"}) == before


# ---- the recipes


def scripts(value: object) -> Iterator[str]:
    """What a recipe has its shell run."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("run", "script", "command", "after_script") and not isinstance(one, dict):
                yield one if isinstance(one, str) else "\n".join(one)
            else:
                yield from scripts(one)
    elif isinstance(value, list):
        for one in value:
            yield from scripts(one)


def recipes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for title, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        for block in re.findall(r"^```yaml\n(.*?)^```", body, re.MULTILINE | re.DOTALL):
            found[title] = list(scripts(yaml.safe_load(block)))
        for block in re.findall(r"^```groovy\n(.*?)^```", body, re.MULTILINE | re.DOTALL):
            found[title] = [word for _, word in re.findall(r"\bsh (['\"])(.*?)\1", block)]
    return found


def test_there_is_a_recipe_for_each_system() -> None:
    wanted = {"GitHub Actions", "GitLab", "Jenkins", "Azure Pipelines", "CircleCI", "Buildkite"}
    assert set(recipes()) == wanted
    assert all(any("trk summary" in script or "trk" in script for script in some) for some in recipes().values())


JOBS = {
    "GitHub Actions": {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1"},
    "GitLab": {"GITLAB_CI": "true", "CI_PIPELINE_ID": "1"},
    "Jenkins": {"JENKINS_URL": "http://x/", "BUILD_TAG": "jenkins-x-1"},
    "Azure Pipelines": {"TF_BUILD": "True", "BUILD_BUILDID": "1"},
    "CircleCI": {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "1"},
    "Buildkite": {"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "1"},
}


@pytest.mark.parametrize("title", helpers.some(JOBS, "GitLab"))
def test_the_shell_part_of_a_recipe_runs(title: str, programs: Path, project: Path) -> None:
    train = re.search(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert train
    (project / "train.sh").write_text(train[1])
    env = {**JOBS[title], "TRK_CAPTURE_CI": "auto", "GITHUB_STEP_SUMMARY": ""}
    for script in recipes()[title]:
        if "pip install" in script:
            continue
        done = bash(script.replace("--source mlflow", "--source local"), programs, env)
        assert done.returncode == 0, (script, done.stderr)
    made = {"GitHub Actions": [], "Buildkite": ["summary.md"], "GitLab": ["checks.xml", "metrics.txt", "note.md"]}
    assert all((project / name).stat().st_size for name in made.get(title, []))
