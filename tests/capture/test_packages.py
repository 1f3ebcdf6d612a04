"""What is installed, for the Python that a command is."""

from __future__ import annotations

import os
import stat
import sys
from importlib.metadata import version
from pathlib import Path

import trk
from trk.capture import packages


def text_of(run: str, project: Path) -> list[str]:
    place = project / "listed.txt"
    trk.get_artifact(packages.NAME, run=run, to=place, overwrite=True, source="local")
    return place.read_text().splitlines()


def test_a_run_of_this_program_has_what_this_program_has(project: Path) -> None:
    with trk.start("a", capture=["packages"]) as run:
        pass
    head, *lines = text_of(run.id, project)
    assert head == f"# {sys.executable} (Python {sys.version.split()[0]})"
    assert f"pytest=={version('pytest')}" in lines
    assert all(line.count("==") == 1 for line in lines)
    assert lines == sorted(lines, key=str.lower)


def test_a_command_that_is_a_python_is_asked_itself(project: Path) -> None:
    python = Path(sys.executable).absolute()
    result = trk.run_command([str(python), "-c", ""], capture=["packages"], output=False)
    head, *lines = text_of(result.run_id, project)
    assert head.startswith(f"# {python} ")
    assert f"pytest=={version('pytest')}" in lines


def test_a_script_is_asked_by_its_first_line_and_others_by_the_path(project: Path) -> None:
    def script(first: str) -> str:
        path = project / "script"
        path.write_text(first + "\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    environ = {"PATH": os.path.dirname(sys.executable)}
    here = packages.python_here(environ)
    assert here is not None
    assert packages.python_of(script("#!/some/where/python3.12 -u"), environ) == "/some/where/python3.12"
    assert packages.python_of(script("#!/usr/bin/env -S A=b python3 -u"), environ) == here
    assert packages.python_of(script("#!/bin/sh"), environ) == here
    assert packages.python_of("/some/where/python", environ) == "/some/where/python"
    assert packages.python_of("/bin/sh", {"PATH": "/none"}) is None


def test_a_python_that_can_not_be_asked_is_said_to_be_unknown() -> None:
    assert packages.listed("/no/such/python3", {}).startswith("# the packages of /no/such/python3 are not known")
