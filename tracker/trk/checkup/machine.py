"""Python, the installation of trk, and what may stand in its place."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from shlex import quote
from sqlite3 import sqlite_version, sqlite_version_info

import trk
from trk import config, settings
from trk.checkup.here import Finding, Here

OLDEST_PYTHON, OLDEST_SQLITE = (3, 11), (3, 35)  # SQLite: RETURNING
DISTRIBUTION, NAMESAKE = "trk-ml", "trk"
REINSTALL = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
NEAR = 0.85

OTHER_VARIABLES = ("TRK_DIR", "TRK_SESSION", "TRK_RUN", "TRK_DEBUG", "TRK_EPHEMERAL")


def python(here: Here) -> Iterator[Finding]:
    """Python and its SQLite."""
    running = f"Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable}), SQLite {sqlite_version}"
    if tuple(sys.version_info[:2]) < OLDEST_PYTHON:
        yield "fail", f"{running}: trk needs Python 3.11 or newer", f"python3.11 -m pip install {DISTRIBUTION}"
    elif sqlite_version_info[:2] < OLDEST_SQLITE:
        yield "fail", f"{running}: trk needs SQLite 3.35 or newer, which comes with Python", None
    elif sys.platform not in ("linux", "darwin"):
        yield "warn", f"{running}: trk is not tried on {sys.platform}", None
    else:
        yield "ok", running, None


def package() -> Path:
    """The folder that `trk` is imported from."""
    return Path(trk.__file__).parent


def installation(here: Here) -> Iterator[Finding]:
    """Which trk this is, and whether another package of that name lies over it."""
    running = f"trk {trk.__version__}, imported from {package()}"
    installed = _version(DISTRIBUTION)
    if installed is None:
        yield "warn", f"{running}, which is not installed: no backend is known", f"pip install {DISTRIBUTION}"
    elif installed != trk.__version__:
        yield "warn", f"{running}, while {DISTRIBUTION} {installed} is installed", REINSTALL
    else:
        yield "ok", running, None
    other = _version(NAMESAKE)
    if other is not None:
        yield (
            "fail",
            f"another package of the name trk ({other}) is installed, whose command and import take this one's place",
            f"pip uninstall {NAMESAKE} && {REINSTALL}",
        )


def _version(distribution: str) -> str | None:
    """The installed version; that of `trk-tools` is not one of `trk`, however its folder is named."""
    for found in metadata.distributions(name=distribution):
        if str(found.metadata["Name"]).lower().replace("_", "-") == distribution:
            return found.version
    return None


def command(here: Here) -> Iterator[Finding]:
    """Whether the command `trk` of the shell is this one."""
    found, scripts = shutil.which("trk"), sysconfig.get_path("scripts")
    if found is None:
        there = (Path(scripts) / "trk").exists()
        yield "warn", "there is no command trk on PATH", f'export PATH="{scripts}:$PATH"' if there else REINSTALL
    elif not _is_trks(Path(found)):
        mend = f"pip uninstall {NAMESAKE} && {REINSTALL}" if _version(NAMESAKE) else f'export PATH="{scripts}:$PATH"'
        yield "fail", f"the trk on PATH, {found}, is another program's", mend
    elif Path(found).resolve().parent not in _own_folders():
        yield "warn", f"the trk on PATH, {found}, is another installation's", f'export PATH="{scripts}:$PATH"'
    else:
        yield "ok", found, None


def _is_trks(path: Path) -> bool:
    with path.open("rb") as file:
        return b"trk_cli" in file.read(4096)


def _own_folders() -> set[Path]:
    """Where the commands of this Python may lie; in a checkout, the one beside the library."""
    user = sysconfig.get_preferred_scheme("user")
    folders = [Path(sysconfig.get_path("scripts")), Path(sysconfig.get_path("scripts", user))]
    folders += [Path(sys.executable).parent, package().parents[1] / "cli" / "bin"]
    return {folder.resolve() for folder in folders}


def working_directory(here: Here) -> Iterator[Finding]:
    """Whether a Python program that is started here imports something else under the name trk."""
    shadows = [
        path
        for path in (here.cwd / "trk.py", here.cwd / "trk" / "__init__.py")
        if path.exists() and path.resolve().parent != package().resolve()
    ]
    if not shadows:
        yield "ok", "nothing in this folder stands in the way of `import trk`", None
    for path in shadows:
        own = path.parent if path.name == "__init__.py" else path
        renamed = own.with_name(f"my_{own.name}")
        yield (
            "warn",
            f"a Python program that is started here imports {path} in place of trk",
            f"mv {quote(str(own))} {quote(str(renamed))}",
        )


def environment(here: Here) -> Iterator[Finding]:
    """Whether a variable is misspelt, and so says nothing."""
    known = {name for names in config.VARIABLES.values() for name in names if name.startswith("TRK_")}
    known.update(OTHER_VARIABLES)
    given = sorted(name for name, value in settings.environment().items() if name.startswith("TRK_") and value)
    near = {name: get_close_matches(name, known, 1, NEAR) for name in given if name not in known}
    for name, meant in near.items():
        if meant:
            yield "warn", f"{name} is not a variable of trk; {meant[0]} is", f"unset {name}"
    if not any(near.values()):
        yield "ok", f"set: {', '.join(given) or 'no variable of trk'}", None
