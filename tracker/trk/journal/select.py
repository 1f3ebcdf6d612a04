"""Which run is meant: by id, unique prefix, name, `@last`, `mlflow:<id>`. Light: log commands come through here."""

from __future__ import annotations

from trk import settings
from trk.errors import NotFound, UsageError
from trk.rules import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trk.journal.db import Journal

ID_LENGTH = 26
MIN_PREFIX = 4
HANDLES = ("mlflow:", "wandb:")  # before a backend's own id of a run
_ID_CHARS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz")


def is_run_id(text: str) -> bool:
    """Whether the text has the shape of a trk run id."""
    return len(text) == ID_LENGTH and _ID_CHARS.issuperset(text)


def resolve(journal: Journal, named: str, *, deleted: bool = False) -> str:
    """The id of the run that `named` means: an id, a prefix of 4 or more characters, a name, `@last`, `mlflow:<id>`.

    Runs that were deleted are looked for when no other is meant; with `deleted`, before the others. Raises NotFound,
    and UsageError that lists the candidates when several runs are meant.
    """
    if is_run_id(named) and journal.read("SELECT 1 FROM runs WHERE run_id = ?", (named,)):
        return named
    if not named.isascii():
        try:
            named.encode()
        except UnicodeEncodeError:  # bytes of a command line that are no text
            raise NotFound(f"there is no run {shown(named)} in this journal", hint="trk ls") from None
    if named.startswith(HANDLES):
        return _by_handle(journal, named, deleted)
    if named == "@last":
        found = _last(journal, deleted) or _last(journal, not deleted)
    else:
        found = _candidates(journal, named, deleted) or _candidates(journal, named, not deleted)
    if not found and named == "@last":
        raise NotFound("no run of this journal has ended yet", hint="trk end")
    if not found:
        raise NotFound(f"there is no run {shown(named)} in this journal", hint="trk ls")
    if len(found) > 1:
        listed = ", ".join(f"{run_id} ({name})" for run_id, name in found[:5]) + (", …" if found[5:] else "")
        raise UsageError(f"{shown(named)} could be several runs: {listed}", hint="name it by its id")
    run_id: str = found[0][0]
    return run_id


def _by_handle(journal: Journal, named: str, deleted: bool) -> str:
    """The run that is delivered to this run of a backend.

    Of several, since a copy of a store has runs of the same ids, those that are `deleted` or not, then the one at the
    store that the environment names. Raises UsageError when that does not tell.
    """
    backend, _, remote_id = named.partition(":")
    found = journal.read(
        "SELECT run_id, json_extract(target, '$.tracking_uri'), deleted IS NOT NULL FROM deliveries "
        "JOIN runs USING (run) WHERE backend = ? AND remote_id = ? ORDER BY run",
        (backend, remote_id),
    )
    if not found:
        raise NotFound(f"{shown(named)} is not in this journal", hint=f"trk attach {named}")
    if len(found) > 1:
        found = [entry for entry in found if entry[2] == deleted] or found
    if len(found) > 1:
        found = _configured(found) or found
    if len(found) > 1:
        listed = ", ".join(f"{run_id} (at {place})" for run_id, place, _ in found[:5])
        raise UsageError(f"{shown(named)} could be several runs: {listed}", hint="name it by its id")
    run_id: str = found[0][0]
    return run_id


def _configured(found: list[tuple[str, str | None, int]]) -> list[tuple[str, str | None, int]]:
    """Those that go to the store which the environment names."""
    from trk.addresses import without_userinfo

    named = settings.env("MLFLOW_TRACKING_URI")
    return [entry for entry in found if named is not None and entry[1] == without_userinfo(named)]


def _candidates(journal: Journal, named: str, deleted: bool) -> list[tuple[str, str]]:
    """(id, name) of the runs that a prefix or a name could mean; a prefix of several is none when it is a name."""
    found = _by_prefix(journal, named, deleted) if len(named) >= MIN_PREFIX and _ID_CHARS.issuperset(named) else []
    return found if len(found) == 1 else _by_name(journal, named, deleted) or found


def columns(journal: Journal, run_id: str) -> dict[str, str] | None:
    """A run's status, key_prefix, name and experiment; None when it is not there."""
    names = ("status", "key_prefix", "name", "experiment")
    found = journal.read(f"SELECT {', '.join(names)} FROM runs WHERE run_id = ?", (run_id,))  # noqa: S608 - our names
    return dict(zip(names, found[0], strict=True)) if found else None


def read_session(journal: Journal, text: str) -> tuple[object, str | None, Any] | None:
    """(version, JSON type of the stack, innermost run) of a session file's text; None when it is not JSON.

    By SQLite, whose JSON functions are there anyway.
    """
    if not journal.read("SELECT json_valid(?)", (text,))[0][0]:
        return None
    found: tuple[object, str | None, Any] = journal.read(
        "SELECT CASE json_type(?1, '$.version') WHEN 'true' THEN 'true' ELSE json_extract(?1, '$.version') END, "
        "json_type(?1, '$.active'), json_extract(?1, '$.active[#-1]')",
        (text,),
    )[0]
    return found


def _by_name(journal: Journal, name: str, deleted: bool) -> list[tuple[str, str]]:
    return journal.read(
        "SELECT run_id, name FROM runs WHERE name = ? AND (deleted IS NOT NULL) = ? "
        "ORDER BY start_time DESC, run_id DESC LIMIT 6",
        (name, deleted),
    )


def _by_prefix(journal: Journal, prefix: str, deleted: bool) -> list[tuple[str, str]]:
    return journal.read(
        "SELECT run_id, name FROM runs WHERE run_id >= ? AND run_id < ? AND (deleted IS NOT NULL) = ? "
        "ORDER BY run_id LIMIT 6",
        (prefix, prefix + "\U0010ffff", deleted),
    )


def _last(journal: Journal, deleted: bool) -> list[tuple[str, str]]:
    return journal.read(
        "SELECT run_id, name FROM runs WHERE status != 'RUNNING' AND (deleted IS NOT NULL) = ? "
        "ORDER BY end_time DESC, run_id DESC LIMIT 1",
        (deleted,),
    )


def last_but(journal: Journal, run_id: str) -> str | None:
    """The id of the run that ended last, of all but this one; None when no other has ended."""
    found = journal.read(
        "SELECT run_id FROM runs WHERE status != 'RUNNING' AND deleted IS NULL AND run_id != ? "
        "ORDER BY end_time DESC, run_id DESC LIMIT 1",
        (run_id,),
    )
    return found[0][0] if found else None
