"""The log commands of content: tables, pages, images, files. `hot` loads this when one of them is called."""

from __future__ import annotations

import sys

from trk import rules
from trk.errors import UsageError
from trk.media import files, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, BinaryIO

    from trk.run import Run

SHOWN_FROM = 20_000_000  # bytes of a file from which on a copy shows its progress


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "- reads standard input, and nothing is piped in", hint="such as: make-report | trk log-html -"
        )
    return sys.stdin.buffer


def _given(word: str) -> log.Given:
    """A file's name, or - for standard input."""
    return log.Given(None, _stdin().read(), "standard input") if word == "-" else log.Given(word)


def _table(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    from trk.media import tables

    name, columns, type_ = options.get("name"), options.get("columns"), options.get("type")
    rows = options.get("row") or ()
    if bool(rows) == bool(words):
        raise UsageError("log-table takes a FILE, or --columns and --row", hint="trk log-table --help")
    if rows:
        if name is None or columns is None:
            raise UsageError("--row needs --columns and --name", hint="--name losses --columns epoch,loss --row 1,0.5")
        return log.table(run, name, tables.parse_rows(columns, rows))[0]
    header = tables.split_columns(columns) if columns is not None else None
    warn = _warn(bool(options.get("quiet")))
    if words[0] != "-":
        own = name if name is not None else _own_name(words[0])
        return log.table(run, own, tables.read_file(words[0], type=type_, columns=header, warn=warn))[0]
    if name is None or type_ is None:
        raise UsageError("a table from standard input needs --name and --type", hint="--name scores --type csv")
    return log.table(run, name, tables.read_bytes(_stdin(), type=type_, columns=header, warn=warn))[0]


def _warn(quiet: bool) -> Callable[[str], None]:
    """What says a warning on stderr."""

    def say(text: str) -> None:
        from trk_cli import output

        output.warn(text, quiet=quiet)

    return say


def _own_name(word: str) -> str:
    """The name that a file gives its table. Raises UsageError when no table can have it."""
    try:
        return rules.check_name(files.stem(word), "table name")
    except UsageError as error:
        raise UsageError(error.message, hint="--name NAME") from None


def _html(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    return log.html(run, _given(words[0]), options.get("name"))


def _text(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    told = options.get("text")
    if (told is None) == (not words):
        raise UsageError("log-text takes a FILE, - or --text", hint='trk log-text --text "it converged" --name note')
    given = (
        _given(words[0]) if words else log.Given(None, rules.check_text(told or "", "the text").encode(), "the text")
    )
    return log.text(run, given, options.get("name"))


def _dict(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    type_ = options.get("type")
    if type_ not in (None, "json", "yaml", "yml", "toml"):
        raise UsageError(f"type {rules.shown(type_)} is not json, yaml or toml")
    return log.document(run, _given(words[0]), options.get("name"), "." + type_ if type_ is not None else None)


def _image(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> tuple[int, int | None]:
    text = options.get("step")
    step = None if text is None else rules.parse_step(text)
    return log.image(run, _given(words[0]), options.get("name"), step), step


def _figure(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    return log.figure(run, _given(words[0]), options.get("name"))


def _artifact(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> tuple[int | None, ...]:
    from trk_cli import output

    quiet = bool(options.get("quiet"))
    progress = _progress(quiet)
    try:
        n, version = log.artifact(
            run,
            words,
            path=options.get("path"),
            name=options.get("name"),
            type_=options.get("type"),
            references=options.get("reference") or (),
            snapshot=not options.get("no_snapshot"),
            progress=progress,
        )
    finally:
        if progress is not None and sys.stderr.isatty():
            output.overwrite("")  # what was being copied when it failed
    if version is None:
        return n, None
    output.talk(f"{options.get('name')} v{version}", quiet=quiet or bool(options.get("json")))
    return n, None, version


def _progress(quiet: bool) -> Callable[[int, int], None] | None:
    """What shows how far the copy of a large file is; None where nobody wants to see it."""
    if quiet or sys.stderr is None:
        return None
    shown: list[Callable[[int, int], None]] = []

    def report(done: int, total: int) -> None:
        if total < SHOWN_FROM:
            return
        if not shown:  # most files are small, and need none of this
            from trk_cli.progress import bytes_shown

            shown.append(bytes_shown("copying"))
        shown[0](done, total)

    return report


ACTIONS: dict[str, Callable[[Run, Mapping[str, Any], Sequence[str]], Any]] = {
    "log-table": _table,
    "log-html": _html,
    "log-text": _text,
    "log-dict": _dict,
    "log-image": _image,
    "log-figure": _figure,
    "log-artifact": _artifact,
}
