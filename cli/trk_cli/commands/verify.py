"""verify: what the backends have, read back and compared with the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from trk import verifying
from trk.errors import UsageError
from trk.media.table_cells import count
from trk.records import VerifiedBackend, VerifiedRun
from trk_cli import output, progress
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Column, Listing, Single

_NAMES = {"summary": "summary value"}
_SORTS = ("missing", "extra", "different")


def verify(
    named: Annotated[str | None, Argument(metavar="RUN", help="The run; left out: every run of the journal.")] = None,
    run: options.Run = None,
    backend: Annotated[
        list[str] | None, Option("-b", "--backend", metavar="NAME", help="This backend only. May be given again.")
    ] = None,
    timeout: Annotated[
        str, Option("--timeout", metavar="SECONDS", help="How long reading it all back may take.")
    ] = "3600",
    format: options.Format = None,  # noqa: A002 - the flag's name
    json: options.Json = False,
    field: options.Field = None,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Print the ids of the runs that differ only.")] = False,
) -> None:
    """Read back what the backends have, point by point and file by file, and compare it with the journal.

    Exit 6 when one differs. What is pending or rejected is not expected there. Nothing is changed, here or there.

    Example: trk verify @last
    """
    shape = options.shape(format, json, field, quiet)
    limit = options.seconds(timeout)
    if named is not None and run is not None:
        raise UsageError("the run is named twice, as RUN and as --run")
    meant = named if named is not None else run
    with progress.bar(quiet, "reading back", "parts") as report:
        found = verifying.verify(meant, backends=backend or None, timeout=limit, progress=report)
    form = output.verified_json(found)
    ids = [one.run_id for one in found if not one.ok]
    if field is not None:
        output.show(Single(form, ids=ids), shape)
    else:
        _tell(found, "in the journal alone" if not backend else f"not sent to {' or '.join(backend)}", quiet)
        output.show(_listing(found, form, ids), shape)
    verifying.check_verified(found)


def _tell(found: Sequence[VerifiedRun], nowhere: str, quiet: bool) -> None:
    """Per run and backend, what was compared, and what was not; of a run without any, that it is `nowhere`."""
    if not found:
        output.talk("there is no run here", quiet=quiet)
    for run in found:
        if not run.backends:
            output.talk(f"run {run.name} ({run.run_id}): {nowhere}", quiet=quiet)
        for name, state in run.backends.items():
            output.talk(f"run {run.name} ({run.run_id}): {name} {_said(state)}", quiet=quiet)


def _said(state: VerifiedBackend) -> str:
    parts = [
        count(number, _NAMES.get(kind, kind))
        for kind, number in state.compared.items()
        if kind not in ("run", "status")
    ]
    told = ", ".join(parts) or "nothing else"
    words = [
        f"has what was logged ({told})" if state.ok else f"differs in {count(state.differences, 'thing')} ({told})"
    ]
    if not state.compared:
        words = []
    words += [f"{number} {what}" for what in ("pending", "rejected", "skipped") if (number := getattr(state, what))]
    words += [state.note] if state.note else []
    return ", ".join(words)


def _listing(found: Sequence[VerifiedRun], form: Any, ids: Sequence[str]) -> Listing:
    heads: list[Column | str] = [
        "run", "backend", Column("differs", keep=True), "kind", Column("key", keep=True), "step", "time", "journal",
        "backend has",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    notes = []
    for run in found:
        for name, state in run.backends.items():
            lists = {sort: getattr(state, sort) for sort in _SORTS}
            for sort, some in lists.items():
                rows += [
                    [
                        run.run_id,
                        name,
                        sort,
                        one.kind,
                        one.key,
                        one.step,
                        output.at_ms(one.time_ms),
                        one.journal,
                        one.backend,
                    ]
                    for one in some
                ]
            if left := state.differences - sum(map(len, lists.values())):
                notes.append(f"{name}, run {run.run_id}: {left} more differences are not listed")
    return Listing(heads, rows, data=form, empty="nothing differs", ids=ids, notes=notes)
