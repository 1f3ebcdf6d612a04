"""`--capture git`: the tags `git.commit`, `git.branch`, `git.dirty`, `git.remote` of the work tree around a folder."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from trk.addresses import without_userinfo
from trk.capture.secrets import mask

TIMEOUT_S = 5.0  # for each call of git: a cold work tree on a network disk must not hold up the run

# With these set, as in a hook, git would answer for another repository than the folder's.
_REDIRECTING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
_SCP_STYLE = re.compile(r"[^/@:\s]+@(?=[^/:\s]+:)")


def collect(folder: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The tags; {} where there is no git or no repository.

    `git.dirty` is "true" when a tracked file differs from the commit: untracked ones do not count, or the journal's
    neighbours would make every work tree dirty. No branch when HEAD is detached, no commit before the first one, no
    `git.dirty` when git takes too long to say. `git.remote` is origin's address, else the first remote's, without
    user and password.
    """
    call = _Git(folder, environ)
    if call("rev-parse", "--git-dir") is None:
        return {}
    status = call("status", "--porcelain", "--untracked-files=no")
    found = {
        "git.commit": call("rev-parse", "--verify", "--quiet", "HEAD"),
        "git.branch": call("symbolic-ref", "--quiet", "--short", "HEAD"),
        "git.dirty": None if status is None else str(status != "").lower(),
        "git.remote": _remote(call("config", "--null", "--get-regexp", r"^remote\..*\.url$")),
    }
    return {name: value for name, value in found.items() if value}


class _Git:
    """git in one folder: called with arguments, it gives what git printed, or None when git failed."""

    def __init__(self, folder: str, environ: Mapping[str, str]) -> None:
        self._folder = folder
        kept = {name: value for name, value in environ.items() if name not in _REDIRECTING}
        # Without the optional locks, looking never disturbs a git that the user runs at the same time.
        self._environ = {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

    def __call__(self, *arguments: str) -> str | None:
        # A file system monitor is a program named in the repository's own configuration: it is not started.
        command = ["git", "-c", "core.fsmonitor=false", "-C", self._folder, *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired, ValueError):  # ValueError: a NUL in the folder's name
            return None
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _remote(listed: str | None) -> str | None:
    """The address of origin, else of the first remote, from what `git config --null` lists; without userinfo."""
    addresses: dict[str, str] = {}
    for entry in (listed or "").split("\0"):
        name, _, address = entry.partition("\n")
        if address:
            addresses.setdefault(name, address)
    if not addresses:
        return None
    return public_address(addresses.get("remote.origin.url") or next(iter(addresses.values())))


def public_address(address: str) -> str:
    """A remote's address as anyone may see it: no user, no password, no token; `git@` stays, being everyone's user."""
    if "://" not in address and not address.startswith("git@"):
        address = _SCP_STYLE.sub("", address, count=1)
    return mask(without_userinfo(address))
