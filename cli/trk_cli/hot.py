"""The log commands: from their words straight to the library. Typer's commands of the same names call `execute` too.

Nothing here imports Typer, Rich, json or an SDK unless a value needs it.
"""

from __future__ import annotations

from trk import daemon, rules, session
from trk.errors import NoActiveRun, NotFound, UsageError
from trk.journal.select import resolve
from trk.run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from trk.journal.db import Journal


# verb → how many positionals it takes: (at least, at most; None for any number)
POSITIONALS: dict[str, tuple[int, int | None]] = {
    "log-metric": (2, 2),
    "log-metrics": (1, None),
    "log-param": (2, 2),
    "log-params": (1, None),
    "log-summary": (1, None),
    "set-tag": (2, 2),
    "set-tags": (1, None),
    "delete-tag": (1, 1),
    "define-metric": (1, 1),
    "log": (0, 1),
    "log-table": (0, 1),
    "log-html": (1, 1),
    "log-text": (0, 1),
    "log-dict": (1, 1),
    "log-image": (1, 1),
    "log-figure": (1, 1),
    "log-artifact": (0, None),
}


def execute(verb: str, options: Mapping[str, Any], words: Sequence[str]) -> tuple[str, dict[str, int | None]]:
    """Carry out a log command; returns (run id, its n and step, and an artifact's version).

    Raises TrkError, before anything is written.
    """
    run, told = perform(verb, options, words)
    daemon.revive(run.folder, run.id)
    return run.id, told


def perform(verb: str, options: Mapping[str, Any], words: Sequence[str]) -> tuple[Run, dict[str, int | None]]:
    """`execute`, without the look at the daemon that follows; returns the run itself."""
    run = find_run(options.get("run"))
    result: int | tuple[int | None, ...] | None = _ACTIONS[verb](run, options, words)
    n, step, *version = result if isinstance(result, tuple) else (result, None)
    return run, {"n": n, "step": step, **({"version": version[0]} if version else {})}


def acknowledged(verb: str, options: Mapping[str, Any], words: Sequence[str]) -> None:
    """`execute`, and with --json the acknowledgement on stdout."""
    if verb == "log":
        from trk_cli import piped

        return piped.log(options, words)
    run_id, told = execute(verb, options, words)
    if options.get("json"):
        shown = ", ".join(f'"{name}": {"null" if value is None else value}' for name, value in told.items())
        from trk_cli import output

        output.emit(f'{{"run_id": "{run_id}", {shown}}}\n')
    return None


def journal_here() -> tuple[str, Journal]:
    """(folder, journal) of the nearest `.trk`. Raises NoActiveRun when there is none."""
    folder = session.find_folder()
    journal = session.existing_journal(folder)
    if folder is None or journal is None:
        raise NoActiveRun("no run is active here: there is no .trk folder", hint="trk start")
    return folder, journal


def find_run(named: str | None) -> Run:
    """The run of `--run`, else of TRK_RUN, else the session's. Raises NoActiveRun, NotFound, UsageError."""
    if named == "@":
        named = None
    try:
        folder, journal = journal_here()
    except NoActiveRun:
        if named is None:
            raise
        raise NotFound(
            f"there is no run {rules.shown(named)}: no .trk folder here", hint="trk start, or set TRK_DIR"
        ) from None
    run_id = resolve(journal, named) if named is not None else session.current_run_id(folder, journal)
    if run_id is None:
        raise NoActiveRun("no run is active here", hint="trk start")
    return Run(journal, folder, run_id)


def _step(options: Mapping[str, Any]) -> int | None:
    text = options.get("step")
    return None if text is None else rules.parse_step(text)


def _log_metric(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> tuple[int, int | None]:
    return run.log_metric(words[0], rules.parse_number(words[1]), _step(options), options.get("timestamp"))


def _log_metrics(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> tuple[int, int | None]:
    values = {key: _number(key, value) for key, value in pairs(words).items()}
    return run.log_metrics(values, _step(options), options.get("timestamp"))


def _number(key: str, value: object) -> object:
    return rules.parse_number(value, f"the value of {key}") if isinstance(value, str) else value


def _log_param(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int | None:
    return run.log_param(words[0], words[1], if_exists=options.get("if_exists") or "error")


def _log_params(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int | None:
    return run.log_params(as_text(pairs(words)), if_exists=options.get("if_exists") or "error")


def _log_summary(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> tuple[int, int | None]:
    return run.log_summary({key: _summary_value(value) for key, value in pairs(words).items()})


def _summary_value(value: object) -> object:
    """A word as a number, else as JSON where it is an object, list, true, false or null, else as text."""
    if not isinstance(value, str):
        return value
    try:
        return rules.parse_number(value)
    except UsageError:
        pass
    if value[:1] in ("{", "[") or value in ("true", "false", "null"):
        from trk_cli import values

        return values.json_or_text(value)
    return value


def _set_tag(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    return run.set_tag(words[0], words[1])


def _set_tags(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    return run.set_tags(as_text(pairs(words)))


def _delete_tag(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    return run.delete_tag(words[0])


def _define_metric(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> int:
    return run.define_metric(words[0], mode=options.get("mode"), step_metric=options.get("step_metric"))


def _content(verb: str) -> Callable[[Run, Mapping[str, Any], Sequence[str]], Any]:
    """The action of a verb that logs content: it is in a module of its own, which the others need not load."""

    def act(run: Run, options: Mapping[str, Any], words: Sequence[str]) -> Any:
        from trk_cli import content

        return content.ACTIONS[verb](run, options, words)

    return act


CONTENT = ("log-table", "log-html", "log-text", "log-dict", "log-image", "log-figure", "log-artifact")
_ACTIONS: dict[str, Callable[[Run, Mapping[str, Any], Sequence[str]], Any]] = {
    "log-metric": _log_metric,
    "log-metrics": _log_metrics,
    "log-param": _log_param,
    "log-params": _log_params,
    "log-summary": _log_summary,
    "set-tag": _set_tag,
    "set-tags": _set_tags,
    "delete-tag": _delete_tag,
    "define-metric": _define_metric,
    **{verb: _content(verb) for verb in CONTENT},
}


def pairs(words: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words, `@file` and `-` as one mapping. Raises UsageError, also for a key given twice."""
    found: dict[str, Any] = {}
    for word in words:
        if word == "-" or word.startswith("@"):
            from trk_cli import values

            given = values.from_stdin() if word == "-" else values.from_file(word[1:])
        else:
            key, equals, value = word.partition("=")
            if not equals:
                raise UsageError(f"{rules.shown(word)} is not KEY=VALUE", hint="or @file, or - for standard input")
            given = {key: value}
        twice = found.keys() & given.keys()
        if twice:
            raise UsageError(f"{rules.shown(min(twice))} is given twice")
        found.update(given)
    return found


def as_text(given: Mapping[str, Any]) -> dict[str, str]:
    """Values of params and tags as text; what came from a file as JSON has its JSON text, strings as they are."""
    if all(isinstance(value, str) for value in given.values()):
        return dict(given)
    from trk_cli import values

    return {key: values.text_of(value) for key, value in given.items()}
