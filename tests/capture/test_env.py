"""`--capture env`: an explicit list, and nothing secret even on it."""

import pytest

from trk.capture import env
from trk.capture.secrets import is_secret_name
from trk.rules import check_tag_name


def test_listed_variables_become_tags_and_others_do_not() -> None:
    environ = {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "SLURM_JOB_ID": "42",
        "GITHUB_RUN_ID": "7",
        "CONDA_DEFAULT_ENV": "ml",
        "HOME": "/home/me",
        "WANDB_API_KEY": "x" * 40,
        "CI_JOB_TOKEN": "y",
        "MY_NOTES": "z",
    }
    assert env.collect(environ) == {
        "env.CONDA_DEFAULT_ENV": "ml",
        "env.CUDA_VISIBLE_DEVICES": "0,1",
        "env.GITHUB_RUN_ID": "7",
        "env.SLURM_JOB_ID": "42",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JWT", "anything"),
        ("SLURM_DB_PASSWORD", "anything"),
        ("SLURM_SPANK_API_KEY", "anything"),
        ("SLURM_COMMENT", "key is " + "gh" + "p_" + "Ab1" * 12),
        ("SLURM_EXPORT_ENV", "A=1,HF_TOKEN=abcdefgh"),
        ("BUILD_URL", "https://me:pw@ci.example.org/1"),
        ("SLURM_bad=name", "x"),
        ("CI", ""),
    ],
)
def test_listed_variables_that_look_secret_or_can_t_be_tags_are_left_out(name: str, value: str) -> None:
    assert env.collect({name: value}) == {}


def test_no_name_on_the_list_is_one_of_a_secret() -> None:
    assert [name for name in env.ALLOWED if is_secret_name(name)] == []
    for name in env.ALLOWED:
        check_tag_name(f"env.{name}")
