"""The log verbs of content as Typer knows them: for help and for explaining mistakes. What they do is in `content`."""

from __future__ import annotations

from typing import Annotated

from trk_cli import hot
from trk_cli.commands import options
from trk_cli.declared import Argument, Option

File = Annotated[str, Argument(metavar="FILE", help="The file, or - for standard input.")]
Name = Annotated[str | None, Option("--name", metavar="NAME", help="The name; left out: the file's.")]


def log_table(
    file: Annotated[str | None, Argument(metavar="FILE", help="CSV, TSV, JSON, JSONL, Parquet, or - .")] = None,
    run: options.Run = None,
    name: Name = None,
    type: Annotated[  # noqa: A002 - the flag's name
        str | None, Option("--type", metavar="TYPE", help="csv, tsv, json, jsonl or parquet; else by the ending.")
    ] = None,
    columns: Annotated[
        str | None,
        Option("--columns", metavar="A,B", help="The columns of --row, or of a file without a header."),
    ] = None,
    row: Annotated[list[str] | None, Option("--row", metavar="1,2", help="One row; may be given again.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log rows of a table. Rows of further calls are appended; other columns are an error that changes nothing.

    Reading it back, mlflow.load_table guesses types again (007 becomes 7); trk artifacts get gives the table exactly.

    Example: trk log-table --name losses --columns epoch,loss --row 1,0.5
    """
    given = {"run": run, "name": name, "type": type, "columns": columns, "row": row, "json": json, "quiet": quiet}
    hot.acknowledged("log-table", given, [] if file is None else [file])


def log_html(
    file: File, run: options.Run = None, name: Name = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Log an HTML page. Logged again, it replaces: one page, and the earlier ones are kept.

    Example: echo "<h1>It works</h1>" | trk log-html - --name report
    """
    hot.acknowledged("log-html", {"run": run, "name": name, "json": json, "quiet": quiet}, [file])


def log_text(
    file: Annotated[str | None, Argument(metavar="FILE", help="The file, or - for standard input.")] = None,
    run: options.Run = None,
    name: Name = None,
    text: Annotated[str | None, Option("--text", metavar="TEXT", help="The text itself, in place of FILE.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log a text. Logged again, it replaces: one text, and the earlier ones are kept.

    Example: trk log-text --text "stopped early" --name note
    """
    given = {"run": run, "name": name, "text": text, "json": json, "quiet": quiet}
    hot.acknowledged("log-text", given, [] if file is None else [file])


def log_dict(
    file: File,
    run: options.Run = None,
    name: Name = None,
    type: Annotated[  # noqa: A002 - the flag's name
        str | None, Option("--type", metavar="TYPE", help="json, yaml or toml; else by the ending.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log a JSON, YAML or TOML document, as it is written.

    Example: echo '{"classes": ["a", "b"]}' | trk log-dict - --name labels --type json
    """
    hot.acknowledged("log-dict", {"run": run, "name": name, "type": type, "json": json, "quiet": quiet}, [file])


def log_image(
    file: File,
    run: options.Run = None,
    name: Name = None,
    step: Annotated[str | None, Option("--step", metavar="N", help="The step, for one image of a series.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log an image: PNG, JPEG, GIF, WebP, BMP, TIFF, SVG. With --step it is one of a series under its name.

    Example: trk log-image sample.png --name samples --step 3
    """
    hot.acknowledged("log-image", {"run": run, "name": name, "step": step, "json": json, "quiet": quiet}, [file])


def log_figure(
    file: File, run: options.Run = None, name: Name = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Log a figure: PNG, JPEG, SVG, PDF, Plotly's JSON, or HTML.

    Example: trk log-figure roc.svg
    """
    hot.acknowledged("log-figure", {"run": run, "name": name, "json": json, "quiet": quiet}, [file])


def log_artifact(
    paths: Annotated[list[str] | None, Argument(metavar="PATH", help="Files and folders.")] = None,
    run: options.Run = None,
    path: Annotated[str | None, Option("--path", metavar="FOLDER", help="The folder inside the run.")] = None,
    name: Annotated[
        str | None, Option("--name", metavar="NAME", help="Make it a version of an artifact of this name.")
    ] = None,
    type: Annotated[  # noqa: A002 - the flag's name
        str | None, Option("--type", metavar="TYPE", help="model, checkpoint, dataset, …; else by the ending.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        Option("--reference", metavar="URI", help="What stays where it is, as s3://bucket/data."),
    ] = None,
    no_snapshot: Annotated[
        bool, Option("--no-snapshot", help="Do not copy: deliver in place, and not at all if it has changed.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log files and folders as they are now. FOLDER/ (with the slash) means what is in it.

    Example: trk log-artifact model.pkl --name classifier --type model
    """
    given = {
        "run": run, "path": path, "name": name, "type": type, "reference": reference, "no_snapshot": no_snapshot,
        "json": json, "quiet": quiet,
    }  # fmt: skip
    hot.acknowledged("log-artifact", given, paths or [])
