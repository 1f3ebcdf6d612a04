"""`trk __complete KIND PREFIX`: what a shell asks at a TAB, from the journal here alone. KIND may be several: `a+b`.

A line is a word, and after a tab what a shell may show beside it. Whatever goes wrong, nothing is said and the exit
code is 0: somebody is typing. As light as a log command: no Typer, no json.
"""

from __future__ import annotations

from trk import session, settings
from trk.journal import words
from trk.journal.select import HANDLES
from trk_cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Words = Iterator[tuple[str, str]]

KEYS = ("metric", "param", "tag", "experiment", "artifact")
RUNS = ("run", "open-run", "ended-run", "deleted-run")
COLUMN = "column"  # metrics.KEY, params.KEY, tags.KEY
BEST = "best-of"  # best:KEY, as a baseline
OWN = "own-artifact"  # of the run that TRK_RUN names, which the scripts set to --run's; else of the active one
KINDS = (*KEYS, *RUNS, COLUMN, BEST, OWN)

_LONGEST = 250  # characters, as of every name of trk
_TOLD = 40  # characters of a name in a description
# How run handles of another kind, and options, begin: a run of such a name is named by its id.
_OTHERS = ("-", "@", *HANDLES)
_SHORT = {"run": ("@", "@last"), "ended-run": ("@last",)}
_SHORT_HELP = {"@": "the active run", "@last": "the run that ended last"}


def answer(asked: Sequence[str]) -> int:
    """Print the words of a kind that go on from a prefix; returns the exit code, which is 0."""
    try:
        kinds, prefix = asked
        folder = session.find_folder()
        if folder is not None:
            output.emit("".join(_lines(folder, kinds, prefix)[: words.MOST]))
    except Exception:  # noqa: BLE001 - somebody is typing: an error's text would stand in the middle of their line
        return 0
    return 0


def _lines(folder: str, kinds: str, prefix: str) -> list[str]:
    path = f"{folder}/{session.JOURNAL}"
    lines: dict[str, None] = {}
    for kind in kinds.split("+"):
        if kind == OWN:
            found = _own(path, folder, prefix)
        else:
            found = _runs(path, kind, prefix) if kind in RUNS else _keys(path, kind, prefix)
        lines |= {f"{word}\t{told}\n" if told else f"{word}\n": None for word, told in found if _is_plain(word)}
    return list(lines)


def _own(path: str, folder: str, prefix: str) -> Words:
    run = settings.env("TRK_RUN")
    if run in (None, "@"):
        run = next(reversed(session.load(folder)["active"]), None)
    if run is not None:
        yield from ((word, "") for word in words.own_artifacts(path, run, prefix))


def _is_plain(word: str) -> bool:
    """Whether a word does nothing to a terminal, and is one line of an answer."""
    return word.isprintable() and 0 < len(word) <= _LONGEST


_HEADED = {COLUMN: {f"{kind}s.": kind for kind in ("metric", "param", "tag")}, BEST: {"best:": "metric"}}


def _keys(path: str, kind: str, prefix: str) -> Words:
    if kind not in _HEADED:
        yield from ((key, "") for key in words.keys(path, kind, prefix))
        return
    for head, each in _HEADED[kind].items():
        if prefix.startswith(head) or head.startswith(prefix):
            yield from ((head + key, "") for key in words.keys(path, each, prefix[len(head) :]))


def _runs(path: str, kind: str, prefix: str) -> Words:
    for run_id, name, experiment, status, unique in words.runs(path, kind, prefix):
        told = f"{_short(experiment)}, {status}"
        by_id = prefix and run_id.startswith(prefix)
        if by_id or not unique or not _is_plain(name) or name.startswith(_OTHERS):
            yield run_id, f"{_short(name)}, {told}"
        else:
            yield name, told
    for handle in _SHORT.get(kind, ()):
        if handle.startswith(prefix):
            yield handle, _SHORT_HELP[handle]


def _short(name: str) -> str:
    name = output.escape(name)
    return name if len(name) <= _TOLD else name[: _TOLD - 1] + "…"
