"""What `trk start --capture` notes of a run's surroundings, as tags: git, env, system, args, ci; packages as a text.

Nothing is noted that its kind does not name, and nothing that looks like a secret. What can't be found out (no git,
no repository) is left out: capturing never makes a run fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trk.errors import UsageError
from trk.rules import shown

KINDS = ("git", "env", "system", "args", "ci", "packages")
MAX_VALUE = 5000  # characters: the least that any MLflow keeps of a tag's value without cutting it silently


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise UsageError for a kind that is not known."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--capture {shown(kind)} is not known", hint=f"one or more of {','.join(KINDS)}")


def collect(kinds: Sequence[str], *, folder: str, environ: Mapping[str, str], command: Sequence[str]) -> dict[str, str]:
    """The tags of the given kinds; packages are none (`trk.capture.packages`), being too many.

    `folder` is where git looks, `environ` the environment, `command` the program and its arguments.
    Raises UsageError for an unknown kind, before anything is looked at.
    """
    check_kinds(kinds)
    tags: dict[str, str] = {}
    for kind in dict.fromkeys(kinds):
        tags.update(_collect(kind, folder, environ, command))
    return {name: _clean(value) for name, value in tags.items()}


def _collect(kind: str, folder: str, environ: Mapping[str, str], command: Sequence[str]) -> dict[str, str]:
    # Each is imported when asked for: subprocess, platform and re are not needed by all.
    if kind == "git":
        from trk.capture import git

        return git.collect(folder, environ)
    if kind == "env":
        from trk.capture import env

        return env.collect(environ)
    if kind == "system":
        from trk.capture import system

        return system.collect()
    if kind == "packages":
        return {}
    if kind == "ci":
        from trk.capture import ci

        return ci.collect(environ)
    from trk.capture import args

    return args.collect(command)


def _clean(value: str) -> str:
    """The value as `rules.check_text` takes it, and not longer than MAX_VALUE."""
    # Bytes that are not UTF-8 reach Python as surrogates, in arguments and in variables.
    text = value.encode("utf-8", "replace").decode().replace("\0", "?")
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
