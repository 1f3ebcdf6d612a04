"""Taking the runs of a bundle into the journal: all of them as they were logged, or none.

Everything is judged and laid beside the journal first; only what is whole, and agrees with what is here, is put in.
Where the runs are delivered is settled here, by this place's own settings: no address in a bundle is followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from trk import config, session, settings
from trk.bundles import checking
from trk.bundles import format as form
from trk.bundles.checking import Needed, RunHead
from trk.bundles.reading import Bundle
from trk.bundles.staging import Staging
from trk.daemon import credentials
from trk.errors import Conflict, TrkError, UsageError
from trk.journal import blobs, carry, lifecycle, read
from trk.journal.carry import Incoming
from trk.journal.db import Journal
from trk.journal.replay import Carried
from trk.records import LoggedFile, Status
from trk.rules import shown

Progress = Callable[[int, int], None]  # parts that are read, of how many
MAX_LEVELS = 200  # of nested runs: a parent is delivered before its child
_TRIES = 5  # while others log into the same runs


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run of a bundle: how many rows it has there, how many of them are new here, and whether it is still open."""

    run_id: str
    name: str
    experiment: str
    status: Status
    rows: int
    added: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run of a bundle that was not taken, and why."""

    run_id: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedBundle:
    """What was taken in: the runs, `rows` that are new here, new files and their bytes.

    `missing` counts files whose bytes are not in the bundle: they will be rejected when they are delivered. `pending`
    rows wait to be delivered to each backend. `new_folder` is the `.trk` folder if it was made for this.
    """

    runs: Sequence[ImportedRun]
    left_out: Sequence[LeftOut]
    rows: int
    files: int
    bytes: int
    missing: int
    pending: Mapping[str, int]
    new_folder: str | None = None


def import_bundle(
    path: str | os.PathLike[str] | BinaryIO,
    *,
    backends: Sequence[str] | str | None = None,
    attached: bool = False,
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    progress: Progress | None = None,
) -> ImportedBundle:
    """Take the runs of a bundle into the journal here, with their own row numbers; `trk.sync` then delivers them.

    They are delivered where a run that is started here would be, by the settings or by the arguments, as in
    `trk.start`. A run that is here already gets the rows that it does not have; nothing is doubled. Runs of other
    programs that were attached to are left out unless `attached`. `path` may be an open file that can seek. A `.trk`
    folder is made if there is none.

    Raises UsageError for what is not a whole bundle that follows every rule of logging, Conflict when a run here
    differs from the bundle's; nothing is changed then. Raises JournalError.
    """
    given = {
        "backends": backends, "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    config.resolve(session.find_folder(), **given)
    if not isinstance(path, (str, os.PathLike)):
        return _import(path, "the bundle", given, attached, progress)
    name = os.fspath(path)
    with os.fdopen(blobs.open_regular(name), "rb") as file:
        return _import(file, shown(name), given, attached, progress)


def _import(
    file: BinaryIO, where: str, given: Mapping[str, Any], attached: bool, progress: Progress | None
) -> ImportedBundle:
    bundle = Bundle(file, where)
    try:
        folder, made = session.make_folder()
        try:
            resolved = config.resolve(folder, **given)
            with Staging(folder) as staging:
                done = _Taking(bundle, staging, folder, resolved, attached, progress).take()
        except BaseException:  # also Ctrl-C: the folder is taken away again
            if made:
                session.unmake_folder(folder)
            raise
    finally:
        bundle.close()
    return replace(done, new_folder=folder) if made else done


@dataclass(slots=True)
class _Run:
    """A run of the bundle on its way: its key in the journal beside, and its state there."""

    head: RunHead
    key: int
    state: tuple[str, int, bool] = (str(Status.RUNNING), 0, False)


class _Taking:
    """An import under way."""

    def __init__(
        self, bundle: Bundle, staging: Staging, folder: str, resolved: config.Settings, attached: bool,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self._bundle = bundle
        self._staging = staging
        self._scratch = staging.journal
        self._folder = folder
        self._resolved = resolved
        self._attached = attached
        self._progress = progress
        self._done = 0
        manifest = bundle.manifest
        self._goal = manifest.rows + sum(1 + (size >> 20) for size in manifest.blobs.values())
        self._all: dict[str, Needed] = {}  # what the rows of all runs name
        self._needed: dict[str, Needed] = {}  # what those of the runs name that are taken

    def take(self) -> ImportedBundle:
        """Judge everything, then put it in."""
        runs = self._runs()
        self._rows(runs)
        left_out = [one for one in runs if one.head.external and not self._attached]
        taken = [one for one in runs if self._attached or not one.head.external]
        self._check_blobs()
        journal = session.existing_journal(self._folder)
        self._check_levels(journal)
        plan = self._plan(journal, taken)  # a conflict is found before anything is copied
        staged = self._stage()
        if journal is None:
            journal = session.open_journal(self._folder)
            plan = self._plan(journal, taken)
        self._put(journal, taken, plan, staged)
        return self._said(journal, plan, left_out, staged)

    # ---- judging

    def _report(self, parts: int) -> None:
        self._done += parts
        if self._progress is not None:
            self._progress(self._done, self._goal)

    def _runs(self) -> list[_Run]:
        """The runs, begun in the journal beside."""
        found: dict[str, _Run] = {}
        for number, text in self._bundle.lines(form.RUNS):
            with self._bundle.explained(f"{form.RUNS} line {number}"):
                head = checking.run(text)
                if head.run_id in found:
                    raise UsageError(f"run {head.run_id} is there twice")
                found[head.run_id] = _Run(head, carry.begin(self._scratch, head.fields, head.state))
        manifest, runs = self._bundle.manifest, list(found.values())
        if (len(runs), sum(one.head.rows for one in runs)) != (manifest.runs, manifest.rows):
            raise self._bundle.refused("it has not the runs and rows that its manifest says")
        return runs

    def _rows(self, runs: Sequence[_Run]) -> None:
        """All rows, put into the journal beside."""
        lines = self._bundle.lines(form.ROWS)
        for one in runs:
            needed: dict[str, Needed] = {}
            waiting: list[Carried] = []
            for n in range(1, one.head.rows + 1):
                number, text = next(lines, (0, ""))
                with self._bundle.explained(f"{form.ROWS} line {number}" if number else form.ROWS):
                    if not number:
                        raise UsageError(f"row {n} of run {one.head.run_id} is missing")
                    run_id, told, *rest = form.row_of(text)
                    if (run_id, told) != (one.head.run_id, n) or type(told) is not int:
                        raise UsageError(f"it is not row {n} of run {one.head.run_id}")
                    waiting.append(checking.row(rest, needed))
                if len(waiting) == carry.PAGE:
                    self._add(one, waiting)
            self._add(one, waiting)
            self._need(one, needed)
        if next(lines, None) is not None:
            raise self._bundle.refused(f"{form.ROWS} has more rows than its runs")

    def _add(self, one: _Run, waiting: list[Carried]) -> None:
        try:
            one.state = carry.add(self._scratch, one.key, waiting, one.state, external=one.head.external)
        except (Conflict, UsageError) as error:
            raise self._bundle.refused(f"run {one.head.run_id}, {error.message}") from None
        self._report(len(waiting))
        waiting.clear()

    def _need(self, one: _Run, needed: Mapping[str, Needed]) -> None:
        with self._bundle.explained(f"run {one.head.run_id}"):
            for sha256, blob in needed.items():
                known = self._all.setdefault(sha256, Needed(blob.size))
                if known.size != blob.size:
                    raise UsageError(f"the bytes of {sha256} have two sizes")
                known.tables |= blob.tables
                if self._attached or not one.head.external:
                    self._needed[sha256] = known

    def _check_blobs(self) -> None:
        """The bundle has the bytes that its rows name, and no others."""
        manifest = self._bundle.manifest
        with self._bundle.explained():
            for sha256, blob in self._all.items():
                if manifest.blobs.get(sha256, blob.size) != blob.size:
                    raise UsageError(f"{form.BLOBS}{sha256} has another size than its rows say")
                if sha256 not in manifest.blobs and sha256 not in manifest.missing:
                    raise UsageError(f"{form.BLOBS}{sha256} is missing")
            for sha256 in sorted((manifest.blobs.keys() | manifest.missing) - self._all.keys())[:1]:
                raise UsageError(f"no row names {form.BLOBS}{sha256}")

    def _check_levels(self, journal: Journal | None) -> None:
        """No run is its own parent, by whatever way."""
        there = carry.parents(self._scratch)
        known = {**(carry.parents(journal) if journal is not None else {}), **there}
        for run_id in there:
            above: str | None = run_id
            for _ in range(MAX_LEVELS):
                above = known.get(above) if above is not None else None
            if above is not None:
                raise self._bundle.refused(f"run {run_id} has more than {MAX_LEVELS} runs above it, or itself")

    # ---- what is here

    def _plan(self, journal: Journal | None, taken: Sequence[_Run]) -> list[Incoming]:
        """How each run goes in. Raises Conflict when one here differs."""
        keyless = not credentials.held(settings.environment())
        plan = []
        for one in taken:
            known = carry.here(journal, one.head.run_id) if journal is not None else None
            deliveries = self._deliveries(journal, one.head) if known is None else []
            entry = Incoming(one.key, one.head.run_id, one.head.rows, one.head.external, known, deliveries, keyless)
            if journal is not None and known is not None:
                self._check_same(journal, entry, one.head)
            plan.append(entry)
        return plan

    def _check_same(self, journal: Journal, entry: Incoming, head: RunHead) -> None:
        assert entry.here is not None
        mend = "the journals went on apart, or one was changed; nothing was changed here"
        for name, value in head.fields.items():
            if entry.here.fields[name] != value:
                raise Conflict(
                    f"run {head.run_id} is here with another {name}: {shown(entry.here.fields[name])}, not "
                    f"{shown(value)}", hint=mend,
                )  # fmt: skip
        n = carry.first_difference(journal, self._scratch, entry)
        if n is not None:
            raise Conflict(f"run {head.run_id} is here with another row {n} than in {self._bundle.where}", hint=mend)

    def _deliveries(self, journal: Journal | None, head: RunHead) -> list[tuple[str, str, str | None]]:
        """Where a run goes: to the backends that are configured here; another program's, to that run of them."""
        names = self._resolved.get("backends") or ()
        places = {name: config.as_text(config.target(name, self._resolved)) for name in names}
        if not head.external:
            return [(name, target, None) for name, target in places.items()]
        found: list[tuple[str, str, str | None]] = []
        for backend, remote_id in head.handles:
            if backend not in places:
                raise UsageError(
                    f"run {head.run_id} is {backend}:{remote_id}, and {shown(backend)} is not configured here",
                    hint=f"-b {backend}, or without --attached",
                )
            other = lifecycle.attached(journal, backend, places[backend], remote_id) if journal is not None else None
            if other is not None:
                raise Conflict(f"{backend}:{remote_id} is attached to here as run {other}", hint=f"trk show {other}")
            found.append((backend, places[backend], remote_id))
        return found

    # ---- taking in

    def _stage(self) -> dict[str, int]:
        """The bytes that are needed and not here yet, laid beside the blobs: sizes by hash. All others are judged."""
        sizes = self._bundle.manifest.blobs
        wanted = {sha256: sizes[sha256] for sha256 in self._needed if sha256 in sizes and not self._has(sha256)}
        self._staging.check_room(sum(wanted.values()))
        for sha256, size in sizes.items():
            if sha256 in wanted:
                try:
                    with self._staging.new(sha256) as to:
                        self._bundle.copy(sha256, to)
                except OSError as error:
                    raise self._staging.refused(error) from None
            else:
                self._bundle.copy(sha256, None)
            self._check_tables(sha256, self._bundle.lines(form.BLOBS + sha256))
            self._report(1 + (size >> 20))
        for sha256 in self._bundle.manifest.missing:
            if self._has(sha256):
                self._check_tables(sha256, _lines(blobs.path_in(self._folder, sha256)))
        return wanted

    def _has(self, sha256: str) -> bool:
        """Whether the bytes are here; a damaged blob is replaced by the whole one."""
        return (
            blobs.trouble(LoggedFile("", self._all[sha256].size, sha256, blobs.path_in(self._folder, sha256))) is None
        )

    def _check_tables(self, sha256: str, lines: Iterator[tuple[int, str]]) -> None:
        """The rows of a table that lie in a blob are rows of that table; several tables may have the same."""
        wanted = self._all[sha256].tables
        number = 0
        for number, text in lines if wanted else ():
            with self._bundle.explained(f"{form.BLOBS}{sha256} line {number}"):
                for columns, _ in wanted:
                    checking.table_line(text, columns)
        for _, count in wanted:
            if number != count:
                raise self._bundle.refused(f"{form.BLOBS}{sha256} has {number} rows of a table, and not {count}")

    def _put(self, journal: Journal, taken: Sequence[_Run], plan: list[Incoming], staged: Mapping[str, int]) -> None:
        for sha256 in self._needed:
            if sha256 in staged:
                blobs.adopt(journal, self._staging.path(sha256), sha256)
            elif sha256 in self._bundle.manifest.blobs:
                blobs.adopt(journal, None, sha256)
        with blobs.settled(journal, staged):
            for _ in range(_TRIES):
                new = [one for one in plan if one.here is None or one.rows > one.here.rows]
                try:
                    carry.put(journal, self._scratch, new)
                except carry.Moved:
                    plan[:] = self._plan(journal, taken)
                else:
                    return
        raise TrkError("others log into these runs all the while", hint="trk import, when they have ended")

    def _said(
        self, journal: Journal, plan: Sequence[Incoming], left_out: Sequence[_Run], staged: Mapping[str, int]
    ) -> ImportedBundle:
        runs = []
        for one in plan:
            record = read.record(journal, one.run_id)
            assert record is not None
            added = max(one.rows - (one.here.rows if one.here is not None else 0), 0)
            runs.append(ImportedRun(one.run_id, record.name, record.experiment, record.status, one.rows, added))
        reason = "it belongs to another program, and the bundle would write into that run: --attached"
        return ImportedBundle(
            runs,
            [LeftOut(one.head.run_id, str(one.head.fields["name"]), reason) for one in left_out],
            sum(one.added for one in runs),
            len(staged),
            sum(staged.values()),
            len(self._needed.keys() & self._bundle.manifest.missing),
            _pending(journal, [one.run_id for one in plan]),
        )


def _lines(name: str) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers."""
    with Path(name).open(encoding="utf-8", errors="replace") as file:
        yield from enumerate(file, 1)


def _pending(journal: Journal, run_ids: Sequence[str]) -> dict[str, int]:
    from trk.journal import cursors

    found: dict[str, int] = {}
    for entry in cursors.pending(journal, set(run_ids)):
        found[entry.backend] = found.get(entry.backend, 0) + entry.logged - entry.cursor
    return found
