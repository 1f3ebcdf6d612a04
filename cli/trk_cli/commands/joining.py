"""attach, detach, resume: going into runs that are there already, and leaving them."""

from __future__ import annotations

from typing import Annotated

from trk import attaching, owners, tracker
from trk.errors import UsageError
from trk.run import Run
from trk_cli import output
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Single

Named = Annotated[str, Argument(metavar="RUN", help="The run: id, prefix, name or @last.")]


def attach(
    run: Annotated[
        str | None,
        Argument(
            metavar="RUN", help="The run: id, prefix, name; or another program's, mlflow:ID, wandb:ENTITY/PROJECT/ID."
        ),
    ] = None,
    mlflow: Annotated[str | None, Option("--mlflow", metavar="ID", help="A run of MLflow's, and with")] = None,
    wandb: Annotated[
        str | None, Option("--wandb", metavar="E/P/ID", help="a run of W&B's: what is logged goes to both.")
    ] = None,
    timeout: Annotated[
        str, Option("--timeout", metavar="SECONDS", help="How long servers may take to tell of the run.")
    ] = "30",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log into an existing, open run from here on: one of trk, or one that another program made and ends.

    At W&B the owner must have opened it in shared mode: wandb.init(mode="shared").

    Example: trk attach baseline
    """
    limit = options.seconds(timeout)
    if run is None and mlflow is None and wandb is None:
        raise UsageError("no run is named", hint="trk attach RUN")
    found = attaching.join(run, mlflow=mlflow, wandb=wandb, shell_session=True, timeout=limit, warn=output.warn)
    if found.new_folder is not None:
        output.talk(f"made {found.new_folder}", quiet=quiet)
    _tell_run(found.run, "attached to", json, quiet)
    if found.handle is not None:
        output.talk(f"it is {found.handle}, of another program: trk end delivers and leaves it open", quiet=quiet)


def detach(json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Leave the active run as it is; it stays open.

    Example: trk detach
    """
    run_id = attaching.detach()
    _tell_run(tracker.need_run(run_id), "detached from", json, quiet)


def resume(run: Named, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Reopen an ended run of trk and log into it from here on.

    Example: trk resume @last
    """
    _tell_run(attaching.reopened(run, shell_session=True, owner=owners.of_caller(resumed=True)), "resumed", json, quiet)


def _tell_run(run: Run, what: str, json: bool, quiet: bool) -> None:
    if json:
        output.show(Single({"run_id": run.id, "status": run.status}), options.JSON)
    output.talk(f"{what} run {run.name} ({run.id})", quiet=quiet)
