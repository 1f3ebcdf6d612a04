"""import: runs of a bundle, of other trackers, of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from trk.errors import UsageError
from trk.imports.records import ImportReport
from trk.media.table_cells import count
from trk.records import Status
from trk_cli import output, progress, stopping
from trk_cli.commands import carry, options
from trk_cli.declared import Argument, Option
from trk_cli.results import Text

MOST_TOLD = 10  # runs that were left out, and names that were changed

# Per kind of source: its own options beside those that all have, and what its progress counts.
_KINDS: dict[str, tuple[frozenset[str], str]] = {
    "mlflow": (frozenset({"--uri", "--experiment", "--filter", "--artifacts"}), "runs"),
    "wandb": (frozenset({"--uri", "--artifacts"}), "runs"),
    "tensorboard": (frozenset({"--experiment", "--name", "--follow", "--until-idle"}), "runs"),
    "csv": (frozenset({"--experiment", "--name", "--step", "--time", "--param", "--run-column"}), "bytes"),
}
_BUNDLE = frozenset({"--attached"})


Uri = Annotated[str | None, Option("--uri", metavar="URI", help="Where MLflow's or W&B's runs are.")]
Experiment = Annotated[
    str | None, Option("-e", "--experiment", metavar="NAME", help="MLflow's to read; of files, where to.")
]
Artifacts = Annotated[bool, Option("--artifacts", help="Take the files of the runs along.")]
Name = Annotated[str | None, Option("--name", metavar="NAME", help="The run's; left out: the file's.")]
Step = Annotated[str | None, Option("--step", metavar="COLUMN", help="The column with the step.")]
Time = Annotated[str | None, Option("--time", metavar="COLUMN", help="The column with the time.")]
Params = Annotated[
    list[str] | None, Option("--param", metavar="COLUMNS", help="Columns that are params. Again or a,b.")
]
RunColumn = Annotated[str | None, Option("--run-column", metavar="COLUMN", help="The column that tells runs apart.")]
Backends = Annotated[
    list[str] | None,
    Option("-b", "--backend", metavar="NAME", help="Where to deliver to; none: nowhere. May be given again."),
]
MlflowUri = Annotated[str | None, Option("--mlflow-uri", metavar="URI", help="MLflow's server to deliver to.")]
Attached = Annotated[bool, Option("--attached", help="Of a bundle: other programs' runs, too; it goes into those.")]
Follow = Annotated[bool, Option("--follow", help="Go on while the log folder grows, until Ctrl-C.")]
DryRun = Annotated[bool, Option("--dry-run", help="Say what would be taken, and take nothing.")]


def import_(
    kind: Annotated[
        str,
        Argument(metavar="FILE", help="A bundle (- is standard input); or mlflow, wandb, tensorboard, csv, and then:"),
    ],
    what: Annotated[
        list[str] | None,
        Argument(metavar="WHAT", help="Runs at MLflow, ENTITY/PROJECT[/ID], a log folder, CSV, JSON, Parquet."),
    ] = None,
    uri: Uri = None,
    experiment: Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    artifacts: Artifacts = False,
    name: Name = None,
    step: Step = None,
    time: Time = None,
    param: Params = None,
    run_column: RunColumn = None,
    backend: Backends = None,
    mlflow_uri: MlflowUri = None,
    wandb_project: options.WandbProject = None,
    wandb_entity: options.WandbEntity = None,
    wandb_group: options.WandbGroup = None,
    attached: Attached = False,
    follow: Follow = False,
    until_idle: options.UntilIdle = None,
    dry_run: DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take runs into the journal here: of a bundle, MLflow, W&B, TensorBoard or CSV.

    What is here already is not taken twice: again, only what is new comes. They go where a run that is started here
    goes, but never back to where they came from; trk sync delivers them. trk help import tells the rest.

    Example: trk import csv losses.csv --step epoch --name baseline
    """
    flags = {
        "--uri": uri, "--experiment": experiment, "--filter": filter, "--artifacts": artifacts, "--name": name,
        "--step": step, "--time": time, "--param": param, "--run-column": run_column, "--attached": attached,
        "--follow": follow, "--until-idle": until_idle, "--dry-run": dry_run,
    }  # fmt: skip
    _check_flags(kind, flags)
    places: dict[str, Any] = {
        "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    if kind not in _KINDS:
        if what:
            raise UsageError("import takes one bundle at a time", hint="trk import --help")
        carry.take_bundle(kind, backend=backend, attached=attached, json=json, quiet=quiet, **places)
    elif follow:
        _follow(what or (), flags, backend, places, json, quiet)
    else:
        called = _reader(kind, what or (), flags)
        with progress.parts(quiet, "importing", _KINDS[kind][1]) as report:
            done = called(backends=backend or None, dry_run=dry_run, progress=report, **places)
        _show(done, json=json, quiet=quiet)


def _follow(
    words: Sequence[str],
    flags: Mapping[str, Any],
    backend: list[str] | None,
    places: Mapping[str, Any],
    json: bool,
    quiet: bool,
) -> None:
    """A log folder while it grows; ended by Ctrl-C, all that is there is taken, and told, before it ends."""
    from trk.imports.following import follow_tensorboard

    if len(words) != 1:
        raise UsageError("import tensorboard takes one LOGDIR", hint="trk help import")
    idle = None if flags["--until-idle"] is None else options.seconds(flags["--until-idle"])
    output.talk(f"following {words[0]} (Ctrl-C ends it)", quiet=quiet)
    with stopping.on_signal() as stop, progress.grown(quiet, "following") as report:
        done = follow_tensorboard(
            words[0], until_idle=idle, stop=stop, name=flags["--name"], experiment=flags["--experiment"],
            backends=backend or None, progress=report, warn=lambda text: output.warn(text, quiet=quiet), **places,
        )  # fmt: skip
    _show(done, json=json, quiet=quiet)
    stop.leave()


def _show(done: ImportReport, *, json: bool, quiet: bool) -> None:
    _tell(done, quiet)
    if json:
        output.show(Text("", data=asdict(done)), options.JSON)
    elif not done.dry_run:
        output.emit("".join(f"{one.run_id}\n" for one in done.runs))


def _check_flags(kind: str, flags: Mapping[str, Any]) -> None:
    """Raise UsageError for a flag that this kind of source has no use for."""
    known = _KINDS[kind][0] | {"--dry-run"} if kind in _KINDS else _BUNDLE
    for flag, value in flags.items():
        if value and flag not in known:
            of = f"import {kind}" if kind in _KINDS else "import of a bundle"
            raise UsageError(f"{of} takes no {flag}", hint="trk help import")
    if flags["--until-idle"] and not flags["--follow"]:
        raise UsageError("--until-idle goes with --follow", hint="trk help import")
    if flags["--follow"] and flags["--dry-run"]:
        raise UsageError("--follow goes without --dry-run", hint="--dry-run alone says what would be taken now")


def _reader(kind: str, words: Sequence[str], flags: Mapping[str, Any]) -> Callable[..., ImportReport]:
    """The function of the library that reads this kind, with what is its own."""
    from functools import partial

    if kind == "mlflow":
        from trk.imports.from_mlflow import import_mlflow

        own = {name: flags[f"--{name}"] for name in ("uri", "experiment", "filter", "artifacts")}
        return partial(import_mlflow, list(words), **own)
    if kind == "wandb":
        from trk.imports.from_wandb import import_wandb

        if not words:
            raise UsageError("import wandb takes ENTITY/PROJECT or ENTITY/PROJECT/ID", hint="trk help import")
        return partial(import_wandb, list(words), uri=flags["--uri"], artifacts=flags["--artifacts"])
    if len(words) != 1:
        what = "LOGDIR" if kind == "tensorboard" else "FILE"
        raise UsageError(f"import {kind} takes one {what}", hint="trk help import")
    own = {"name": flags["--name"], "experiment": flags["--experiment"]}
    if kind == "tensorboard":
        from trk.imports.from_tensorboard import import_tensorboard

        return partial(import_tensorboard, words[0], **own)
    from trk.imports.tables import import_csv

    params = [column for given in flags["--param"] or () for column in given.split(",") if column]
    return partial(
        import_csv, words[0], step=flags["--step"], time=flags["--time"], params=params,
        run_column=flags["--run-column"], **own,
    )  # fmt: skip


def _tell(done: ImportReport, quiet: bool) -> None:
    if done.new_folder is not None:
        output.talk(f"made {done.new_folder}", quiet=quiet)
    verb = "would import" if done.dry_run else "imported"
    new = sum(one.new for one in done.runs)
    grown = sum(not one.new and bool(one.points or one.changed or one.files) for one in done.runs)
    parts = [count(done.points, "point"), count(new, "new run")]
    parts += [f"{count(grown, 'run')} that went on"] if grown else []
    parts += [count(done.files, "file")] if done.files else []
    output.talk(f"{verb} {', '.join(parts)} from {done.source}", quiet=quiet)
    if same := len(done.runs) - new - grown:
        output.talk(f"{count(same, 'run')} had nothing new", quiet=quiet)
    _tell_left(done, quiet)
    for one in done.runs[:MOST_TOLD]:
        if one.status is Status.RUNNING:
            output.talk(f"run {one.name} ({one.run_id}) has not ended there", quiet=quiet)
    if done.origins:
        output.talk(f"nothing goes to {', '.join(done.origins)}: it came from there", quiet=quiet)
    waiting = ", ".join(f"{count(rows, 'row')} for {backend}" for backend, rows in done.pending.items())
    if waiting:
        output.talk(f"to be delivered: {waiting} (trk sync)", quiet=quiet)
    elif not done.dry_run:
        output.talk("nothing waits to be delivered", quiet=quiet)


def _tell_left(done: ImportReport, quiet: bool) -> None:
    """What of the source is not in the journal, or not as it was."""
    for left in done.left_out[:MOST_TOLD]:
        output.warn(f"run {left.name} ({left.origin}) is left out: {left.reason}", quiet=quiet)
    if len(done.left_out) > MOST_TOLD:
        output.warn(f"{count(len(done.left_out) - MOST_TOLD, 'more run')} left out (--json)", quiet=quiet)
    for reason, times in done.skipped.items():
        output.talk(f"left: {reason}" if reason.startswith("line ") else f"left: {times:,} {reason}", quiet=quiet)
    for before, name in list(done.renamed.items())[:MOST_TOLD]:
        output.talk(f"{before!r} is {name!r} here", quiet=quiet)
    if len(done.renamed) > MOST_TOLD:
        output.talk(f"{len(done.renamed) - MOST_TOLD} more names are others here (--json)", quiet=quiet)
