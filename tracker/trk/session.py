"""Where `.trk` is, and which run this directory's shells are in.

`session.json` holds its version, the stack of active runs (the innermost last), the experiment, where the runs are
delivered to, key prefix and step metric; never a secret. It is replaced as a whole (temporary file, fsync, rename)
under a lock. The log commands read it through SQLite's JSON functions: the json module costs them 7 ms.
"""

from __future__ import annotations

import os

from trk import settings
from trk.errors import ConfigurationError, JournalError, NoActiveRun, SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TextIO

    from trk.journal.db import Journal

VERSION = 1
FOLDER = ".trk"
JOURNAL = "journal.db"
LOCK_WAIT_S = 10.0  # a change takes milliseconds: who has the lock for so long was stopped, or hangs

_journals: dict[str, Journal] = {}


def find_folder(start: str | None = None) -> str | None:
    """The `.trk` that serves a directory: `TRK_DIR`, else the nearest one upward that this user owns; or None.

    The search goes not above the home folder and not across a file system's border.
    """
    named = settings.env("TRK_DIR")
    if named is not None:
        return os.path.abspath(named) if os.path.isdir(named) else None
    try:
        here = os.path.realpath(start or os.getcwd())
        device = os.stat(here).st_dev
    except OSError:
        return None  # the working directory was deleted: nothing can lie above it
    top = os.path.realpath(settings.home())  # a link, or with a slash at its end, it would be passed by
    while True:
        folder = os.path.join(here, FOLDER)
        if _is_own(folder):
            return folder
        parent = os.path.dirname(here)
        if here in (top, parent) or os.stat(parent).st_dev != device:
            return None
        here = parent


def _is_own(folder: str) -> bool:
    """Whether the folder is there and nobody else's: one planted in /tmp by another user must catch nobody."""
    try:
        found, link = os.stat(folder), os.lstat(folder)  # a link is nobody else's either
    except OSError:
        return False
    if hasattr(os, "getuid") and link.st_uid != os.getuid():
        return False
    return found.st_mode & 0o170000 == 0o040000 and (not hasattr(os, "getuid") or found.st_uid == os.getuid())


def make_folder(start: str | None = None) -> tuple[str, bool]:
    """The `.trk` that serves a directory, made if there is none; and whether it was made.

    It is made in the git work tree's root, else in the directory itself, readable by this user alone.
    Raises JournalError.
    """
    folder = find_folder(start)
    if folder is not None:
        return folder, False
    try:
        folder = settings.env("TRK_DIR") or os.path.join(_work_tree(start or os.getcwd()), FOLDER)
        folder = os.path.abspath(folder)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _is_own(folder):
            raise ConfigurationError(f"{folder} belongs to another user", hint="set TRK_DIR to a folder of your own")
        with open(os.path.join(folder, ".gitignore"), "w") as ignore:
            ignore.write("*\n")
    except OSError as error:
        raise JournalError(f"can't make a .trk folder: {error}", hint="set TRK_DIR to a writable folder") from error
    return folder, True


def unmake_folder(folder: str) -> None:
    """Remove a folder that was made for nothing, unless somebody has put something into it by now."""
    for inner in (os.path.join("blobs", "imports"), "blobs"):
        try:
            os.rmdir(os.path.join(folder, inner))
        except OSError:
            continue  # it is not there, or not empty
    ignore = os.path.join(folder, ".gitignore")
    if os.listdir(folder) != [".gitignore"]:
        return
    os.unlink(ignore)
    try:
        os.rmdir(folder)
    except OSError:  # somebody was quicker: it stays
        with open(ignore, "w") as file:
            file.write("*\n")


def _work_tree(start: str) -> str:
    """The root of the git work tree around a directory that is this user's; else the directory."""
    here, top = os.path.realpath(start), os.path.realpath(settings.home())
    device = os.stat(here).st_dev
    while True:
        # In a folder that all may write to, such as /tmp, anyone may have planted the .git.
        if (
            os.path.exists(os.path.join(here, ".git"))
            and os.access(here, os.W_OK)
            and not os.stat(here).st_mode & 0o002
        ):
            return here
        parent = os.path.dirname(here)
        if here in (top, parent) or os.stat(parent).st_dev != device:  # from there on it would not be found
            return start
        here = parent


def open_journal(folder: str) -> Journal:
    """The journal of a `.trk` folder, made if it is not there; one object per process and file."""
    from trk.journal.db import Journal

    path = os.path.join(folder, JOURNAL)
    if path not in _journals:
        _journals[path] = Journal.create(path)
    return _journals[path]


def existing_journal(folder: str | None) -> Journal | None:
    """The journal of a `.trk` folder if it has one."""
    if folder is None or not os.path.exists(os.path.join(folder, JOURNAL)):
        return None
    return open_journal(folder)


def session_path(folder: str) -> str:
    """The session file: `TRK_SESSION`, else the one in `.trk`."""
    return settings.env("TRK_SESSION") or os.path.join(folder, "session.json")


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: str, why: str) -> SessionError:
    return SessionError(
        f"the session file {path} can't be used: {why}",
        hint=f"rm {path} (the runs stay in the journal: trk ls), then trk attach RUN",
    )


def active_run_id(folder: str, journal: Journal) -> str | None:
    """The innermost active run of the session, or None. Raises SessionError for a torn, foreign or newer file."""
    from trk.journal.select import read_session

    path = session_path(folder)
    text = _text(path)
    if text is None:
        return None
    found = read_session(journal, text)
    if found is None:
        raise _unreadable(path, "it is torn or not JSON")
    version, kind, run_id = found
    _check(path, version, kind == "array" and (run_id is None or isinstance(run_id, str)))
    return run_id  # type: ignore[no-any-return]  # the check above


def _check(path: str, version: object, whole: bool) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or (version == VERSION and not whole):
        raise _unreadable(path, "it is not a session of trk")
    if version != VERSION:
        raise SessionError(
            f"the session file {path} has version {version}; this trk knows {VERSION}",
            hint="pip install --upgrade trk-ml, or rm the file and trk attach RUN",
        )


def load(folder: str) -> dict[str, Any]:
    """The session's content; an empty one when there is no file. Raises SessionError."""
    import json

    path = session_path(folder)
    text = _text(path)
    if text is None:
        return {"version": VERSION, "active": []}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "it is torn or not JSON") from error
    if not isinstance(content, dict):
        raise _unreadable(path, "it is not a session of trk")
    active = content.get("active")
    _check(path, content.get("version"), isinstance(active, list) and all(isinstance(run, str) for run in active))
    return content


def change(folder: str, how: Callable[[dict[str, Any]], None]) -> None:
    """Read the session, let `how` change it, and replace the file; one process at a time. Raises SessionError."""
    path = session_path(folder)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path + ".lock", "w") as lock:
            _wait_for(lock, path)
            content = load(folder)
            how(content)
            _replace(path, content)
    except OSError as error:
        raise SessionError(f"the session file {path} can't be written: {error}", hint="df -h; ls -ld .trk") from error


def _wait_for(lock: TextIO, path: str) -> None:
    """Take the session's lock, unless another process keeps it."""
    import fcntl
    from time import monotonic, sleep

    deadline = monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= deadline:
                raise SessionError(
                    f"the session file {path} is being changed by another process, for {LOCK_WAIT_S:g} s",
                    hint=f"see: lsof {path}.lock",
                ) from None
            sleep(0.01)
        else:
            return


def _replace(path: str, content: Mapping[str, Any]) -> None:
    import json

    draft = f"{path}.{os.getpid()}"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:  # also Ctrl-C: no draft is left
        if os.path.exists(draft):
            os.remove(draft)
        raise


def push(folder: str, run_id: str, **kept: Any) -> None:
    """Make a run the innermost active one of the session."""

    def add(content: dict[str, Any]) -> None:
        content["active"] = [run for run in content["active"] if run != run_id] + [run_id]
        content.update(kept)

    change(folder, add)


def remove(folder: str, run_id: str) -> None:
    """Take a run out of the session's stack, wherever in it it is. The file is written only if the run is in it.

    A session that can't be read holds up no run's end: whoever needs the session next is told.
    """
    try:
        held = run_id in load(folder)["active"]
    except SessionError:
        return
    if held:
        change(folder, lambda content: content.update(active=[run for run in content["active"] if run != run_id]))


def current_run_id(folder: str | None, journal: Journal | None) -> str | None:
    """What `TRK_RUN` names (id, prefix or name), else the session's innermost run, else None."""
    from trk.journal.select import resolve

    named = settings.env("TRK_RUN")
    if folder is None or journal is None:
        if named is not None:
            raise NoActiveRun(f"TRK_RUN names run {named}, but there is no .trk folder here", hint="set TRK_DIR")
        return None
    return resolve(journal, named) if named is not None else active_run_id(folder, journal)
