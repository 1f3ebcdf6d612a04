"""The command `trk`: log commands go straight to the library, everything else to the Typer app."""

from __future__ import annotations

import os
import sys

from trk.errors import TrkError
from trk_cli import tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


NOT_RUN = 125  # of `trk run`, which failed before its command was run: whose own exit status may be any other


def main(argv: list[str] | None = None) -> int:
    """Run a command line (left out: this process's) and return its exit code. Errors end here, shown once."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _dispatch(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:  # noqa: BLE001 - the edge: whatever it is, it is told in one line
        code = _failed(error, _wants_json(words))
        return code if words[:1] != ["run"] or code in (126, 127) else NOT_RUN
    return code


def _failed(error: Exception, as_json: bool) -> int:
    """Tell of an error on stderr; returns its exit code. The traceback is shown with TRK_DEBUG=1 only."""
    from trk.settings import flag
    from trk_cli import output

    if flag("TRK_DEBUG") and sys.stderr is not None:
        import traceback

        traceback.print_exception(error)
    if not isinstance(error, TrkError):
        told = " ".join(f"{type(error).__name__}: {error}".split())
        error = TrkError(f"this should not have happened: {told}", hint="TRK_DEBUG=1 shows where")
    output.error(error, as_json)
    return error.exit_code


def _wants_json(words: list[str]) -> bool:
    """Whether errors, too, are wanted as JSON: `--json` or `--format json`, before any `--`."""
    flags = words[: words.index("--")] if "--" in words else words
    return "--json" in flags or "--format=json" in flags or " --format json " in f" {' '.join(flags)} "


def _dispatch(words: list[str]) -> int:
    if words and words[0] == "__complete":  # a shell asks at a TAB
        from trk_cli import complete

        return complete.answer(words[1:])
    if words and words[0] == "__serve":  # the shell functions of `trk shell-init`
        from trk_cli import serving

        return serving.serve(words[1:], _fast_call)
    if words and words[0] in tokens.VERBS:
        from trk_cli import hot

        if words[0] in hot.POSITIONALS:
            call = _fast_call(words, hot.POSITIONALS[words[0]])
            if call is not None:
                hot.acknowledged(words[0], *call)
                return 0
    from trk.garbage import YOUNG_OF_COMMAND, collect_rarely

    collect_rarely(YOUNG_OF_COMMAND)
    if words and words[0] in tokens.VERBS:
        from trk_cli import verbs

        plain = verbs.plain_call(words)
        if plain is not None:
            return verbs.carried_out(plain)
        words = tokens.rewritten(words)
    from trk_cli import app

    return app.run(words)


def _fast_call(words: list[str], wanted: tuple[int, int | None]) -> tuple[dict[str, Any], list[str]] | None:
    """(options, positionals) of a log command that is whole and plain; None when Typer should explain."""
    _, given, positionals, clean = tokens.split(words)
    least, most = wanted
    if not clean or len(positionals) < least or (most is not None and len(positionals) > most):
        return None
    known = tokens.table(words[0])
    options: dict[str, Any] = {}
    for name, value in given:
        key = name[2:].replace("-", "_")
        if known[name][2]:
            options.setdefault(key, []).append(value)
        else:
            options[key] = True if value is None else value
    return options, positionals


def run() -> None:
    """The process's entry: exits without Python's own clean-up, which would close the journal and cost an fsync."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # nobody is there to read it any more
    os._exit(code)


if __name__ == "__main__":
    run()
