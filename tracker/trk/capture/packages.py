"""`--capture packages`: what is installed, as the text `requirements.txt` of the run: a line `name==version` each.

Which Python is meant is said in its first line. Of a command it is the one that the command is, or that its first line
names (`#!`), as of a script that pip has installed; of anything else, which may start any Python or none, the `python3`
that a shell would find. Addresses that packages were installed from are not noted: they may hold a password.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "requirements.txt"
TIMEOUT_S = 20.0  # for another Python to start and look, on a cold disk
_PYTHON = re.compile(r"(?:python|pypy)(?:\d+(?:\.\d+)*)?(?:\.exe)?")
_LOOK = (
    "import sys; sys.path[:] = [p for p in sys.path if p]\n"
    "import json\n"
    "from importlib.metadata import distributions\n"
    "found = {str(d.metadata['Name']): str(d.version) for d in distributions() if d.metadata['Name']}\n"
    "print(json.dumps([sys.executable, sys.version.split()[0], found]))"
)


def python_of(path: str, environ: Mapping[str, str]) -> str | None:
    """The Python that runs a command, as far as can be seen; else the one that a shell would find."""
    if _PYTHON.fullmatch(Path(path).name):
        return path
    return _named_in(path, environ) or python_here(environ)


def python_here(environ: Mapping[str, str]) -> str | None:
    """The Python that a shell would find; None when there is none."""
    path = environ.get("PATH", os.defpath)
    return shutil.which("python3", path=path) or shutil.which("python", path=path)


def _named_in(path: str, environ: Mapping[str, str]) -> str | None:
    """The Python that a script's first line names."""
    try:
        with Path(path).open("rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode("utf-8", "replace").split()
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found = shutil.which(words[0], path=environ.get("PATH", os.defpath)) if words else None
        words = [found] if found else []
    return words[0] if words and _PYTHON.fullmatch(Path(words[0]).name) else None


def listed(python: str | None, environ: Mapping[str, str]) -> str:
    """The text. `python` None is the Python of this process."""
    if python is None:
        return _text(sys.executable, sys.version.split()[0], _own())
    try:
        done = subprocess.run(
            [python, "-c", _LOOK], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT_S, check=True,
        )  # fmt: skip
        where, version, found = json.loads(done.stdout.splitlines()[-1])
        return _text(where or python, version, found)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return f"# the packages of {python} are not known: {type(error).__name__}\n"


def _own() -> dict[str, str]:
    from importlib.metadata import distributions

    return {str(one.metadata["Name"]): str(one.version) for one in distributions() if one.metadata["Name"]}


def _text(python: str, version: str, found: Mapping[str, str]) -> str:
    head = f"# {python} (Python {version})"
    lines = sorted((f"{_plain(name)}=={_plain(version)}" for name, version in found.items()), key=str.lower)
    return "\n".join([_plain(head), *lines]) + "\n"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
