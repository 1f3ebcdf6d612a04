"""export, and import of a bundle: runs in a file, to be carried to where they can be delivered; tables of runs."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, BinaryIO

from trk.bundles import taking, writing
from trk.bundles.taking import ImportedBundle
from trk.bundles.writing import ExportedBundle
from trk.errors import UsageError
from trk.media.table_cells import count
from trk.query import exports
from trk.query.exports import ExportedTable
from trk.records import Status
from trk_cli import output, progress
from trk_cli.commands import options
from trk_cli.declared import Argument, Option
from trk_cli.results import Text

BundleFile = Annotated[
    str | None, Option("--bundle", metavar="FILE", help="Write a bundle for trk import; - is standard output.")
]
RunsFile = Annotated[
    str | None,
    Option("--runs", metavar="FILE", help="Write a row a run: .csv, .tsv, .json, .jsonl, .parquet, or -."),
]
Metrics = Annotated[
    list[str] | None,
    Option("--metric", metavar="KEY", help="Of --history: the metrics, or globs; else all. May be repeated."),
]


def export(
    runs: Annotated[
        list[str] | None, Argument(metavar="RUN", help="The runs; left out: all that are not deleted.")
    ] = None,
    bundle: BundleFile = None,
    table: RunsFile = None,
    history: Annotated[
        str | None, Option("--history", metavar="FILE", help="Write a row a point, as --runs does.")
    ] = None,
    run: Annotated[
        list[str] | None, Option("--run", metavar="RUN", help="The same as RUN. May be given again.")
    ] = None,
    experiment: options.Experiment = None,
    filter: options.Filter = None,  # noqa: A002 - the flag's name
    status: options.Status = None,
    since: options.Since = None,
    until: options.Until = None,
    pending: Annotated[
        bool, Option("--pending", help="Of a bundle: only runs with something that is not delivered.")
    ] = False,
    columns: options.Columns = None,
    metric: Metrics = None,
    sort: options.Sort = None,
    n: options.Most = None,
    format: Annotated[  # noqa: A002 - the flag's name
        str | None, Option("--format", metavar="FORMAT", help="csv, tsv, json, jsonl, parquet; else by FILE.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace FILE if it is there.")] = False,
    source: options.Source = None,
    timeout: options.Timeout = "30",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write runs into one file: whole, for trk import (--bundle), or as a table of runs or points.

    Example: trk export --runs runs.csv -e digits
    """
    named = [*(runs or ()), *(run or ())] or None
    narrow: dict[str, Any] = {"experiment": experiment, "filter": filter}
    more = {"status": status, "since": since, "until": until, "source": source}
    target = _only_one(bundle, table, history)
    if target == "-" and json:
        raise UsageError("- prints what is exported itself, and no JSON beside it")
    if bundle is not None:
        _refuse("--bundle", {**more, "columns": columns, "metric": metric, "sort": sort, "n": n, "format": format})
        _export_bundle(bundle, named, {**narrow, "pending": pending, "overwrite": force}, json, quiet)
        return
    asked = {**narrow, **more, "format": format, "timeout": options.seconds(timeout), "warn": output.warn}
    if table is not None:
        _refuse("--runs", {"pending": pending, "metric": metric})
        asked |= {"columns": columns, "sort": sort, "n": options.count(n, "-n")}
        _export_table(table, lambda to: exports.export_runs(to, named, overwrite=force, **asked), json, quiet)
    else:
        _refuse("--history", {"pending": pending, "columns": columns, "sort": sort, "n": n})
        keys = metric or "*"
        _export_table(target, lambda to: exports.export_history(to, keys, named, overwrite=force, **asked), json, quiet)


def _only_one(bundle: str | None, runs: str | None, history: str | None) -> str:
    given = [name for name in (bundle, runs, history) if name is not None]
    if len(given) != 1:
        told = "only one of" if given else "what it writes:"
        raise UsageError(
            f"export needs {told} --bundle FILE, --runs FILE or --history FILE", hint="trk export --runs runs.csv"
        )
    return given[0]


def _refuse(flag: str, others: dict[str, Any]) -> None:
    for name, value in others.items():
        if value:
            raise UsageError(f"{'-n' if name == 'n' else f'--{name}'} is not for {flag}", hint="trk export --help")


def _export_bundle(bundle: str, runs: list[str] | None, asked: dict[str, Any], json: bool, quiet: bool) -> None:
    with tempfile.TemporaryFile() as spool:
        with progress.bar(quiet, "exporting", "parts") as report:
            done = writing.export_bundle(spool if bundle == "-" else bundle, runs, progress=report, **asked)
        if bundle == "-":
            spool.seek(0)
            output.emit_bytes(spool)
    _tell_export(done, quiet)
    _show_path(done, json)


def _export_table(target: str, export: Callable[[Any], ExportedTable], json: bool, quiet: bool) -> None:
    if target != "-":
        done = export(target)
    else:
        with tempfile.TemporaryFile() as spool:
            done = export(spool)
            spool.seek(0)
            output.emit_bytes(spool)
    output.talk(f"exported {count(done.rows, 'row')} to {done.path or 'standard output'}", quiet=quiet)
    _show_path(done, json)


def _show_path(done: ExportedBundle | ExportedTable, json: bool) -> None:
    if json:
        output.show(Text("", data=asdict(done)), options.JSON)
    elif done.path is not None:
        output.emit(output.escape(done.path) + "\n")


def _tell_export(done: ExportedBundle, quiet: bool) -> None:
    held = f"{count(done.files, 'file')} ({_bytes(done.bytes)})"
    parts = f"{count(len(done.runs), 'run')}, {count(done.rows, 'row')}, {held}"
    output.talk(f"exported {parts}: {_bytes(done.size)} in {done.path or 'all'}", quiet=quiet)
    for one in done.runs:
        if one.open:
            output.talk(f"run {one.name} ({one.run_id}) is open: what is logged from now on is not in it", quiet=quiet)
    for file in done.missing:
        output.warn(f"the bytes of {file.path} of run {file.run_id} are not in it: {file.reason}", quiet=quiet)


def take_bundle(
    file: str,
    *,
    backend: list[str] | None,
    mlflow_uri: str | None,
    wandb_project: str | None,
    wandb_entity: str | None,
    wandb_group: str | None,
    attached: bool,
    json: bool,
    quiet: bool,
) -> None:
    """`trk import FILE`: the runs of a bundle."""
    with tempfile.TemporaryFile() as spool, progress.bar(quiet, "importing", "parts") as report:
        source: Any = _from_stdin(spool) if file == "-" else file
        done = taking.import_bundle(
            source, backends=backend or None, attached=attached, mlflow_uri=mlflow_uri, wandb_project=wandb_project,
            wandb_entity=wandb_entity, wandb_group=wandb_group, progress=report,
        )  # fmt: skip
    _tell_import(done, quiet)
    here = [one for one in done.runs if one.added < one.rows]
    if here and (backend or mlflow_uri or wandb_project):
        output.talk(f"what was here already goes where it went before ({count(len(here), 'run')})", quiet=quiet)
    if json:
        output.show(Text("", data=asdict(done)), options.JSON)
    else:
        output.emit("".join(f"{one.run_id}\n" for one in done.runs))


def _from_stdin(spool: BinaryIO) -> BinaryIO:
    """Standard input as a file in which one can go back."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads standard input, and nothing is piped in", hint="trk export --bundle - | trk import -")
    shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
    return spool


def _tell_import(done: ImportedBundle, quiet: bool) -> None:
    if done.new_folder is not None:
        output.talk(f"made {done.new_folder}", quiet=quiet)
    new = [one for one in done.runs if one.added]
    held = f"{count(done.files, 'new file')} ({_bytes(done.bytes)})"
    output.talk(f"imported {count(done.rows, 'row')} of {count(len(new), 'run')}, {held}", quiet=quiet)
    same = len(done.runs) - len(new)
    if same:
        output.talk(f"{count(same, 'run')} had nothing new", quiet=quiet)
    for left in done.left_out:
        output.warn(f"run {left.name} ({left.run_id}) is left out: {left.reason}", quiet=quiet)
    if done.missing:
        output.warn(f"the bytes of {count(done.missing, 'file')} are not in the bundle", quiet=quiet)
    for one in done.runs:
        if one.status is Status.RUNNING:
            output.talk(f"run {one.name} ({one.run_id}) had not ended when it was exported", quiet=quiet)
    waiting = ", ".join(f"{count(rows, 'row')} for {backend}" for backend, rows in done.pending.items())
    output.talk(f"to be delivered: {waiting} (trk sync)" if waiting else "nothing waits to be delivered", quiet=quiet)


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else count(size, "byte")
