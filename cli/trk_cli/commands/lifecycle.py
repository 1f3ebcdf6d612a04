"""delete, restore: hiding runs, and bringing them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from trk import deleting
from trk.deleting import Changed
from trk.errors import UsageError
from trk.records import Delivery, RunRecord
from trk_cli import output, progress
from trk_cli.commands import options
from trk_cli.commands.session import strict_setting, trouble
from trk_cli.declared import Argument, Leave, Option
from trk_cli.results import Single

Runs = Annotated[
    list[str] | None,
    Argument(metavar="RUN", help="The runs: id, prefix, name, @last; mlflow:ID, wandb:E/P/ID of others."),
]
Yes = Annotated[bool, Option("--yes", help="Do not ask, also where a run can't be restored (W&B).")]
NoWait = Annotated[bool, Option("--no-wait", help="Do not tell the backends now; trk sync does.")]


def delete(
    runs: Runs = None,
    timeout: options.Timeout = "30",
    no_wait: NoWait = False,
    yes: Yes = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete ended runs softly, here and at their backends. trk ls --deleted lists them, trk restore brings them back.

    Of a run that was attached to (trk attach mlflow:ID), the attachment alone is deleted here: its server is not told.
    mlflow:ID, wandb:ENTITY/PROJECT/ID of any other run is deleted at the server. W&B can't restore what is deleted
    there, so that has to be confirmed.

    Example: trk delete @last
    """
    if not yes:
        _ask(deleting.for_good(runs or ()))
    _change(runs or (), True, options.seconds(timeout), not no_wait, strict, json, quiet)


def restore(
    runs: Runs = None,
    timeout: options.Timeout = "30",
    no_wait: NoWait = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring deleted runs back, here and at their backends, also when they were deleted at a backend by hand.

    Example: trk restore @last
    """
    _change(runs or (), False, options.seconds(timeout), not no_wait, strict, json, quiet)


def _ask(final: Sequence[tuple[str, str]]) -> None:
    """Have it confirmed that runs are deleted where nobody can restore them. Raises UsageError where nobody can."""
    if not final:
        return
    what = f"{_LABELS.get(final[0][1], final[0][1])} can't restore: {', '.join(run for run, _ in final)}"
    if not output.is_asking():
        raise UsageError(f"{what} would be gone there for good", hint="--yes")
    if not output.ask(f"{what} will be gone there for good. Delete?"):
        output.talk("nothing was deleted")
        raise Leave(1)


_LABELS = {"wandb": "W&B"}


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
        deleting.check_told(done)


def _backends(record: RunRecord) -> object:
    return output.run_json(record)["backends"]


def _tell(one: Changed, deleted: bool, wait: bool) -> None:
    """What happened to a run, here and at each backend."""
    record = one.record
    if one.changed:
        fate = "deleted" if deleted else "restored"
    else:
        fate = "was deleted already" if deleted else "was not deleted"
    theirs = f" here; {one.handle} belongs to another program and stays as it is" if one.handle and one.changed else ""
    output.talk(f"run {record.name} ({record.run_id}) {fate}{theirs}")
    if one.handle is not None:
        _tell_attached(one, deleted)
        return
    for name, state in record.backends.items():
        if one.changed or state.pending:
            _tell_backend(one, name, state, "deleted" if deleted else "restored", wait)
        else:
            _tell_copy(one, name, deleted)


def _tell_attached(one: Changed, deleted: bool) -> None:
    """What becomes of what was logged into a run of another program."""
    for name, state in one.record.backends.items():
        if state.pending and deleted:
            output.talk(
                f"{state.pending} of {state.logged} rows were never delivered to {name}: they stay in the journal, "
                f"and wait for delivery again after trk restore {one.record.run_id}"
            )
        elif state.pending:
            why = f": {state.last_error}" if state.last_error else ""
            output.talk(f"{state.pending} of {state.logged} rows wait for delivery to {name}{why}: trk sync")


def _tell_copy(one: Changed, name: str, deleted: bool) -> None:
    """What was found at a backend of a run that was so here already; nothing, when nobody asked or it was so there."""
    found = one.backends.get(name, False)
    if isinstance(found, str):
        output.warn(f"{name} could not be asked whether {one.record.run_id} is deleted there: {found}")
    elif found:
        output.talk(f"{name}: {_CHANGED[deleted]}")


_CHANGED = {
    True: "deleted: it had been restored there alone",
    False: "restored: it had been deleted there alone",
}


def _tell_backend(one: Changed, name: str, state: Delivery, fate: str, wait: bool) -> None:
    refused = [entry.reason for entry in state.rejections if one.n is not None and entry.n >= one.n]
    if refused:
        output.warn(f"{name} does not have {one.record.run_id} {fate}: {refused[0]}")
    elif name in one.unable:
        label = _LABELS.get(name, name)
        output.warn(
            f"{label} can't restore: what was deleted there is gone; {one.record.run_id} is back in the journal"
        )
    elif not state.pending:
        output.talk(f"{name}: {fate}")
    elif wait:
        why = f": {state.last_error}" if state.last_error else ""
        output.warn(f"{name} does not have {one.record.run_id} {fate} yet{why}; trk sync tells it")
    else:
        output.talk(f"{name}: not yet: trk sync tells it")
