"""delete, restore: hiding runs, and bringing them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from trk import deleting, delivery
from trk.deleting import Changed
from trk.records import Delivery, RunRecord
from trk_cli import output, progress
from trk_cli.commands import options
from trk_cli.commands.session import strict_setting, trouble
from trk_cli.results import Single

Runs = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="The runs: id, prefix, name, @last; or mlflow:ID of runs of others."),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not tell the backends now; trk sync does.")]


def delete(
    runs: Runs = None,
    timeout: options.Timeout = "30",
    no_wait: NoWait = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete ended runs softly, here and at their backends. trk ls --deleted lists them, trk restore brings them back.

    Example: trk delete @last
    """
    _change(runs or (), True, options.seconds(timeout), not no_wait, strict, json, quiet)


def restore(
    runs: Runs = None,
    timeout: options.Timeout = "30",
    no_wait: NoWait = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring deleted runs back, here and at their backends.

    Example: trk restore @last
    """
    _change(runs or (), False, options.seconds(timeout), not no_wait, strict, json, quiet)


def _change(
    runs: Sequence[str], deleted: bool, timeout: float, wait: bool, strict: bool, json: bool, quiet: bool
) -> None:
    strict = strict or strict_setting()  # a setting that can't be read is found before anything is done
    with progress.bar(quiet) as report:
        done = deleting.change(
            runs, deleted, timeout=timeout, wait=wait, warn=output.warn, progress=report, trouble=trouble(quiet)
        )
    if json:
        forms = [{"run_id": one.record.run_id, "deleted": deleted, "backends": _backends(one.record)} for one in done]
        output.show(Single({"runs": forms}), options.JSON)
    if not quiet:
        for one in done:
            _tell(one, deleted, wait)
    if strict:
        delivery.check_delivered([one.record for one in done])


def _backends(record: RunRecord) -> object:
    return output.run_json(record)["backends"]


def _tell(one: Changed, deleted: bool, wait: bool) -> None:
    """What happened to a run, here and at each backend."""
    record = one.record
    if one.changed:
        fate = "deleted" if deleted else "restored"
    else:
        fate = "was deleted already" if deleted else "was not deleted"
    output.talk(f"run {record.name} ({record.run_id}) {fate}")
    for name, state in record.backends.items():
        _tell_backend(one, name, state, "deleted" if deleted else "restored", wait)


def _tell_backend(one: Changed, name: str, state: Delivery, fate: str, wait: bool) -> None:
    refused = [entry.reason for entry in state.rejections if one.n is not None and entry.n >= one.n]
    if refused:
        output.warn(f"{name} does not have {one.record.run_id} {fate}: {refused[0]}")
    elif not state.pending:
        output.talk(f"{name}: {fate}")
    elif wait:
        why = f": {state.last_error}" if state.last_error else ""
        output.warn(f"{name} does not have {one.record.run_id} {fate} yet{why}; trk sync tells it")
    else:
        output.talk(f"{name}: not yet: trk sync tells it")
