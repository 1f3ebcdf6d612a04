"""`--capture env`: tags `env.<NAME>` for the variables of an explicit list, and for no others.

The list holds what decides how a training runs (devices, threads, determinism), where (batch system, CI job) and
in which Python environment. A variable on the list is still left out when its name or value looks like a secret.
"""

from __future__ import annotations

from collections.abc import Mapping

from trk.capture.secrets import is_secret_name, mask
from trk.errors import UsageError
from trk.rules import check_tag_name

_NAMES = {
    "devices": "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER NVIDIA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES "
    "HIP_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK TPU_NAME TPU_WORKER_ID",
    "threads": "OMP_NUM_THREADS OMP_PROC_BIND OMP_PLACES MKL_NUM_THREADS OPENBLAS_NUM_THREADS "
    "NUMEXPR_NUM_THREADS VECLIB_MAXIMUM_THREADS KMP_AFFINITY TOKENIZERS_PARALLELISM",
    "numerics": "PYTHONHASHSEED CUBLAS_WORKSPACE_CONFIG CUDA_LAUNCH_BLOCKING TF_DETERMINISTIC_OPS "
    "TF_FORCE_GPU_ALLOW_GROWTH TF_ENABLE_ONEDNN_OPTS XLA_FLAGS JAX_PLATFORMS JAX_ENABLE_X64 "
    "PYTORCH_CUDA_ALLOC_CONF NVIDIA_TF32_OVERRIDE",
    "python": "CONDA_DEFAULT_ENV VIRTUAL_ENV PIXI_ENVIRONMENT_NAME",
    "distributed": "RANK LOCAL_RANK NODE_RANK GROUP_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT",
    "batch": "PBS_JOBID PBS_JOBNAME PBS_QUEUE LSB_JOBID LSB_JOBINDEX LSB_JOBNAME LSB_QUEUE "
    "SGE_TASK_ID AWS_BATCH_JOB_ID AWS_BATCH_JOB_ATTEMPT AWS_BATCH_JQ_NAME TRAINING_JOB_NAME",
    "github": "GITHUB_RUN_ID GITHUB_RUN_NUMBER GITHUB_RUN_ATTEMPT GITHUB_WORKFLOW GITHUB_JOB GITHUB_REPOSITORY "
    "GITHUB_REF GITHUB_REF_NAME GITHUB_HEAD_REF GITHUB_SHA GITHUB_ACTOR GITHUB_EVENT_NAME GITHUB_SERVER_URL",
    "gitlab": "CI_JOB_ID CI_JOB_NAME CI_JOB_URL CI_PIPELINE_ID CI_PIPELINE_URL CI_PIPELINE_SOURCE CI_PROJECT_PATH "
    "CI_COMMIT_SHA CI_COMMIT_REF_NAME CI_COMMIT_BRANCH CI_COMMIT_TAG CI_MERGE_REQUEST_IID CI_RUNNER_ID",
    "jenkins": "BUILD_ID BUILD_NUMBER BUILD_TAG BUILD_URL JOB_NAME NODE_NAME EXECUTOR_NUMBER BRANCH_NAME "
    "CHANGE_ID GIT_COMMIT",
    "circleci": "CIRCLE_BUILD_NUM CIRCLE_BUILD_URL CIRCLE_JOB CIRCLE_BRANCH CIRCLE_SHA1 CIRCLE_WORKFLOW_ID",
    "buildkite": "BUILDKITE_BUILD_ID BUILDKITE_BUILD_NUMBER BUILDKITE_BUILD_URL BUILDKITE_JOB_ID "
    "BUILDKITE_BRANCH BUILDKITE_COMMIT BUILDKITE_PIPELINE_SLUG",
    "azure": "BUILD_BUILDID BUILD_BUILDNUMBER BUILD_SOURCEBRANCH BUILD_SOURCEVERSION BUILD_DEFINITIONNAME",
    "bitbucket": "BITBUCKET_BUILD_NUMBER BITBUCKET_BRANCH BITBUCKET_COMMIT BITBUCKET_REPO_FULL_NAME",
    "others": "CI TRAVIS_BUILD_ID TRAVIS_JOB_ID TRAVIS_BRANCH TRAVIS_COMMIT TEAMCITY_VERSION DRONE_BUILD_NUMBER "
    "DRONE_BRANCH DRONE_COMMIT",
}
ALLOWED = frozenset(name for names in _NAMES.values() for name in names.split())
ALLOWED_PREFIXES = ("SLURM_",)


def collect(environ: Mapping[str, str]) -> dict[str, str]:
    """The tags, in the order of their names; empty variables are left out."""
    return {f"env.{name}": environ[name] for name in sorted(environ) if _is_shown(name, environ[name])}


def _is_shown(name: str, value: str) -> bool:
    if not value or not (name in ALLOWED or name.startswith(ALLOWED_PREFIXES)):
        return False
    if is_secret_name(name) or mask(value) != value:  # SLURM_JWT; a BUILD_URL with a password
        return False
    try:
        check_tag_name(f"env.{name}")
    except UsageError:
        return False
    return True
