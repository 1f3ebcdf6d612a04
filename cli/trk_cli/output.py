"""The only place that prints. stdout carries the answer, stderr the talk.

Commands return a result; `show` prints it. `talk`, `warn` and `error` need nothing but this module, so that log
commands can afford them; what formats and JSON need is imported when they are asked for.
"""

from __future__ import annotations

import os
import sys

from trk.errors import TrkError, UsageError
from trk.rules import shown
from trk_cli import forms
from trk_cli.forms import (
    artifact_json,
    at_ms,
    bare,
    best_json,
    check_json,
    comparison_json,
    delivery_json,
    escape,
    field,
    point_json,
    run_json,
    summary_json,
    verified_json,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, TextIO

    from trk_cli.results import Column as Column
    from trk_cli.results import Listing as Listing
    from trk_cli.results import OutputOptions as OutputOptions
    from trk_cli.results import Result as Result
    from trk_cli.results import Single as Single
    from trk_cli.results import Text as Text

__all__ = [
    "FORMATS",
    "artifact_json",
    "at_ms",
    "bare",
    "best_json",
    "check_json",
    "comparison_json",
    "delivery_json",
    "emit",
    "emit_bytes",
    "error",
    "escape",
    "field",
    "is_terminal",
    "overwrite",
    "page",
    "point_json",
    "run_json",
    "show",
    "summary_json",
    "talk",
    "verified_json",
    "warn",
    "width",
]

FORMATS = ("table", "json", "csv", "tsv", "markdown", "plain")
_RESULTS = ("Column", "Listing", "OutputOptions", "Result", "Single", "Text")
_WIDTH = 120  # of a table in a pipe, where nothing says how wide


def __getattr__(name: str) -> Any:
    # dataclasses cost more than all else here, and an error needs none of these.
    if name in _RESULTS:
        from trk_cli import results

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def talk(text: str, *, quiet: bool = False) -> None:
    """Say something on stderr, unless quiet."""
    if not quiet:
        _say(escape(text, keep="\n\t"))


def warn(text: str, *, quiet: bool = False) -> None:
    """Say something on stderr that has to be known, on one line."""
    if not quiet:
        _say(f"trk: warning: {escape(text)}")


def error(raised: TrkError, as_json: bool = False) -> None:
    """Say on stderr, on one line, what happened and what mends it."""
    if as_json:
        found = {"code": raised.code, "message": raised.message, "hint": raised.hint}
        _say(forms.dumps({"error": found}, ascii_only=not _holds_unicode(sys.stderr)))
        return
    hint = f" ({escape(raised.hint)})" if raised.hint else ""
    _say(f"trk: {escape(raised.message)}{hint}")


def overwrite(line: str) -> None:
    """Show a line on the terminal of stderr in place of the one that was shown so before."""
    try:
        _write(sys.stderr, f"\r\x1b[K{line}")
    except OSError:
        _let_go(sys.stderr)


def show(result: Result, options: OutputOptions) -> None:
    """Print an answer as it is wanted, then what is to be said about it.

    Raises UsageError for an unknown format, NotFound for a field that is not there.
    """
    text, said = _rendered(result, options)
    emit(text)
    for note in (*said, *result.notes):
        talk(note, quiet=options.quiet)
    for warning in result.warnings:
        warn(warning, quiet=not options.warnings)


def _rendered(result: Result, options: OutputOptions) -> tuple[str, list[str]]:
    """The text for stdout, and what there is to say about how it is shown."""
    from trk_cli import results

    chosen = options.format
    if chosen is not None and chosen not in FORMATS:
        raise UsageError(f"format {shown(chosen)} is not one of {', '.join(FORMATS)}")
    ascii_only = not _holds_unicode(sys.stdout)
    if options.field is not None:
        found = forms.fields(forms.jsonable(result.json), options.field)
        said = [result.empty] if isinstance(result, results.Listing) and not result.rows else []
        return "".join(bare(value, ascii_only=ascii_only) + "\n" for value in found), said
    if chosen == "json":
        return forms.dumps(result.json, indent=2 if is_terminal() else None, ascii_only=ascii_only) + "\n", []
    if isinstance(result, results.Text):
        text = escape(result.text, keep="\n\t")
        return text if text.endswith("\n") or not text else text + "\n", []
    if options.quiet and chosen is None and result.ids is not None:
        return "".join(escape(run_id) + "\n" for run_id in result.ids), []
    chosen = chosen or ("table" if is_terminal() else "plain")
    if isinstance(result, results.Single):
        return _listing(result.listing, chosen, header=False)
    return _listing(result, chosen, header=True)


def _listing(listing: Listing, chosen: str, *, header: bool) -> tuple[str, list[str]]:
    """`header` is for plain alone: one record's names are its first column."""
    from trk_cli import render

    said = [] if listing.rows else [listing.empty]
    if chosen == "csv":
        return render.csv(listing), said
    if chosen == "tsv":
        return render.tsv(listing), said
    if chosen == "markdown":
        return render.markdown(listing), said
    if not listing.rows:  # people and shell scripts take no output for nothing
        return "", said
    if chosen == "plain":
        return render.plain(listing, header=header), said
    columns = width()
    text, dropped = render.table(listing, width=columns, terminal=is_terminal())
    if dropped:
        said.append(f"not shown in {columns} columns: {', '.join(dropped)} (--format plain shows all)")
    return text, said


def width() -> int:
    """The terminal's width; COLUMNS comes first."""
    from shutil import get_terminal_size

    return max(20, get_terminal_size((_WIDTH, 24)).columns)


def is_asking() -> bool:
    """Whether a question would be seen and could be answered: stdin and stderr are terminals."""
    try:
        return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    except ValueError:  # closed
        return False


def ask(question: str) -> bool:
    """Ask on stderr; whether the answer is yes. Nothing is no."""
    _write(sys.stderr, f"{escape(question)} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # closed
        return False


def emit(text: str) -> None:
    """Write to stdout. A reader that has gone is none to complain to; raises TrkError when it can't be written."""
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        _let_go(sys.stdout)
    except OSError as problem:
        _let_go(sys.stdout)
        raise TrkError(f"the answer can't be written to standard output: {problem.strerror}") from problem


def emit_bytes(file: BinaryIO) -> None:
    """Write the bytes of a file to stdout as they are; to a terminal only what is text, with nothing in it that acts.

    Raises TrkError when they can't be written, UsageError for what is no text on a terminal.
    """
    if is_terminal():
        try:
            emit(escape(file.read().decode(), keep="\n\t"))
        except UnicodeDecodeError:
            raise UsageError("this is no text for a terminal", hint="-o FILE, or | another command") from None
        return
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        while piece := file.read(1 << 20):
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go(sys.stdout)
    except OSError as problem:
        _let_go(sys.stdout)
        raise TrkError(f"the answer can't be written to standard output: {problem.strerror}") from problem


def page(markdown: str) -> None:
    """Print a page of trk's own help: laid out on a terminal, as it is written in a pipe."""
    if not is_terminal():
        emit(markdown)
        return
    from io import StringIO

    from rich.console import Console
    from rich.markdown import Markdown

    drawn = StringIO()
    Console(file=drawn, width=min(width(), 100), force_terminal=not os.environ.get("NO_COLOR")).print(
        Markdown(markdown)
    )
    emit(drawn.getvalue())


def _say(line: str) -> None:
    try:
        _write(sys.stderr, line + "\n")
    except OSError:  # there is nowhere left to say so
        _let_go(sys.stderr)


def _write(stream: TextIO | None, text: str) -> None:
    """Write and flush, so that a failure is known now. Letters that the stream can't hold are shown escaped."""
    if stream is None or stream.closed or not text:
        return
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(text)
    stream.flush()


def _holds_unicode(stream: TextIO | None) -> bool:
    return stream is None or (stream.encoding or "utf-8").lower().replace("-", "") == "utf8"


def _let_go(stream: TextIO) -> None:
    """What is left in the stream's buffer goes nowhere: Python would fail on it once more when it exits."""
    try:
        target = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
    except (OSError, ValueError):  # not a file at all
        return
