"""`capture.collect`: the kinds together, system and args, and that the tags keep the rules."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk import capture
from trk.capture import args, system
from trk.errors import UsageError
from trk.rules import check_tag_name, check_text


def test_each_kind_has_its_own_prefix(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "3", "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    found = capture.collect(capture.KINDS, folder=str(tmp_path), environ=environ, command=["python", "train.py"])
    assert {name.partition(".")[0] for name in found} == {"env", "system", "args"}  # no repository here
    assert found["args.command"] == "python train.py"
    assert found["env.SLURM_JOB_ID"] == "3"


def test_only_what_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    found = capture.collect(["args", "args"], folder=str(tmp_path), environ={"CI": "true"}, command=["x"])
    assert found == {"args.command": "x"}
    assert capture.collect([], folder=str(tmp_path), environ={}, command=["x"]) == {}


@pytest.mark.parametrize("kind", ["gti", "", "GIT", "git,env"])
def test_an_unknown_kind_is_refused_with_the_known_ones(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        capture.collect(["git", kind], folder=str(tmp_path), environ={}, command=[])
    assert refused.value.hint == "one or more of git,env,system,args,ci,packages"


def test_the_system_tells_what_it_is() -> None:
    found = system.collect()
    assert found["system.python"] == f"CPython {sys.version.split()[0]}"
    assert int(found["system.cpus"]) >= 1
    assert float(found["system.memory_gb"]) > 0.1
    assert set(found) == {f"system.{name}" for name in ("host", "os", "python", "cpus", "memory_gb")}


def test_the_command_line_is_quoted_and_masked() -> None:
    assert args.collect(["python", "a b.py", "--password", "x y"]) == {"args.command": "python 'a b.py' --password ***"}
    assert args.collect([]) == {}


def test_bytes_that_are_not_utf_8_and_long_values_are_made_fit(tmp_path: Path) -> None:
    environ = {"SLURM_JOB_NAME": "caf\udce9", "SLURM_NODELIST": "n" * 9000}
    found = capture.collect(["env", "args"], folder=str(tmp_path), environ=environ, command=["caf\udce9", "y" * 9000])
    assert found["env.SLURM_JOB_NAME"] == "caf?"
    assert all(len(value) <= capture.MAX_VALUE for value in found.values())


@given(st.dictionaries(st.text(max_size=20).map("SLURM_".__add__), st.text(max_size=50)), st.lists(st.text()))
def test_whatever_is_captured_keeps_the_rules(environ: dict[str, str], command: list[str]) -> None:
    found = capture.collect(["env", "args"], folder="/", environ=environ, command=command)
    for name, value in found.items():
        check_tag_name(name)
        check_text(value, "value")
