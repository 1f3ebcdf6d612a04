"""Taking runs of other trackers and files into the journal, each as a run of its own with its times.

A run is known again by its id, which comes from where it was. What is here of it already is passed over: points in the
order in which the source gives them, and from where that differs, one by one. So what was broken off goes on, and what
has grown at the source grows here. Names and values that trk's rules refuse are mended or left out, and counted.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from trk import config, owners, rules, session, settings
from trk.daemon import credentials
from trk.errors import Conflict, JournalError, UsageError
from trk.imports import naming
from trk.imports.records import Head, ImportReport, NotTaken, Progress, TakenRun
from trk.imports.run import FETCHED, RunIntake
from trk.journal import bulk, carry, cursors, lifecycle, read, write
from trk.journal.db import Journal

FROM, PLACE = f"{naming.TAG}from", f"{naming.TAG}place"  # the tags that say where a run came from
MAX_LEVELS = 200  # of nested runs: a parent is delivered before its child
MOST_WAITING = 20_000  # lines of all runs that are kept in memory before they are written

IsOrigin = Callable[[Head, str, Mapping[str, Any]], bool]


class Intake:
    """An import under way, inside a `with`. `given` are arguments of `config.resolve`; `dry_run` writes nothing.

    `is_origin` says of (a run, a backend, its target) whether the run came from there: nothing is delivered back.
    `follows` is a folder or file that is read while it grows, by this import alone and beside others: its runs belong
    to this process, as those that are started do.
    """

    def __init__(
        self,
        source: str,
        given: Mapping[str, Any],
        *,
        is_origin: IsOrigin = lambda head, backend, target: False,
        dry_run: bool = False,
        artifacts: bool = False,
        progress: Progress | None = None,
        follows: str | None = None,
    ) -> None:
        self.dry_run = dry_run
        self.artifacts = artifacts
        self.points = 0  # that were read
        self.waiting = 0  # lines of all runs that are not written yet
        self.journal: Journal | None = None
        self.owner = owners.of_process() if follows is not None else None  # of its runs, as the journal keeps it
        self._source = source
        self._given = given
        self._is_origin = is_origin
        self._progress = progress
        self._parts = (0, 0)
        self._lock = -1
        self._made = False
        self._open: dict[str, RunIntake] = {}
        self._follows = follows
        self._done: dict[str, TakenRun] = {}
        self._left_out: list[NotTaken] = []
        self._skipped: dict[str, int] = {}
        self._renamed: dict[str, str] = {}
        self._origins: dict[str, None] = {}

    # ---- its beginning and end

    def __enter__(self) -> Self:
        config.resolve(session.find_folder(), **self._given)  # what is wrong with it is found before a folder is made
        if self.dry_run:
            self.folder = session.find_folder()
        else:
            self.folder, self._made = session.make_folder()
            self._lock = _locked(self._lock_file, self._follows)
            if self._follows is None:
                for left in glob.glob(os.path.join(glob.escape(self.folder), f"{FETCHED}*")):  # by one that was killed
                    shutil.rmtree(left, ignore_errors=True)
        try:
            self.resolved = config.resolve(self.folder, **self._given)
            self.journal = session.existing_journal(self.folder) if self.folder is not None else None
            self._ids = (
                {run_id[-naming.SUFFIX :]: run_id for run_id in bulk.run_ids(self.journal)} if self.journal else {}
            )
        except BaseException:  # also Ctrl-C: the folder is taken away again
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unused = self._made and self.journal is None and self.folder is not None
        if self._lock >= 0 and (unused or self._follows is not None):
            os.unlink(self._lock_file)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if unused:
            session.unmake_folder(str(self.folder))
            self._made = False

    @property
    def _lock_file(self) -> str:
        name = "import" if self._follows is None else f"follow-{naming.suffix_of(self._source, self._follows)}"
        return os.path.join(str(self.folder), f"{name}.lock")

    def report(self) -> ImportReport:
        """What was done."""
        done = list(self._done.values())
        pending: dict[str, int] = {}
        if self.journal is not None and not self.dry_run:
            for entry in cursors.pending(self.journal, set(self._done)):
                pending[entry.backend] = pending.get(entry.backend, 0) + entry.logged - entry.cursor
        made = self._made and self.journal is not None
        return ImportReport(
            self._source, done, self._left_out, sum(one.points for one in done), sum(one.files for one in done),
            self._skipped, self._renamed, pending, list(self._origins), self.folder if made else None, self.dry_run,
        )  # fmt: skip

    # ---- runs

    def begin(self, head: Head) -> RunIntake | None:
        """A run of the source, to be given its lines and its end; None when it can't be taken, which is kept."""
        try:
            return self._begun(head)
        except (UsageError, Conflict) as error:
            self.leave_out(head.origin, head.name, error.message)
            return None

    def _begun(self, head: Head) -> RunIntake:
        start_ms = self._start(head)
        run_id = self.id_of(head.origin, head.place, head.run_id, start_ms)
        journal = self.journal
        record = read.record(journal, run_id) if journal is not None else None
        head = _judged(head, start_ms)
        if journal is not None and record is not None:
            if record.tags.get(FROM) != head.origin:
                raise Conflict("it was logged here, or brought here by a bundle")
            if lifecycle.is_deleted(journal, run_id):
                raise Conflict(f"it is deleted here: trk restore {run_id}")
            self._point(journal, run_id, head)
        else:
            self._create(run_id, head)
        found = RunIntake(self, head, run_id, record, self._finished)
        self._open[run_id] = found
        return found

    def id_of(self, origin: str, place: str, run_id: str | None, start_ms: int) -> str:
        """The id here of what comes from there: trk's own if trk made it; that of an earlier import."""
        if run_id is not None:
            return run_id
        known = self._ids.get(naming.suffix_of(origin, place))
        return known or naming.run_id_of(origin, place, start_ms if 0 <= start_ms < rules.MAX_TIME_MS else 0)

    def _start(self, head: Head) -> int:
        """When a run started: the same for it and its points, now and when it is taken again."""
        if head.start_ms is not None and 0 <= head.start_ms < rules.MAX_TIME_MS:
            return head.start_ms
        known = self.started(head.origin, head.place, head.run_id)
        return known if known is not None else write.now_ms()

    def started(self, origin: str, place: str, run_id: str | None = None) -> int | None:
        """When a run that was taken earlier started, in milliseconds since 1970; None when it is new."""
        run_id = run_id or self._ids.get(naming.suffix_of(origin, place))
        record = read.record(self.journal, run_id) if self.journal is not None and run_id is not None else None
        if record is None or record.start_time is None:
            return None
        return round(record.start_time.timestamp() * 1000)

    def _targets(self, head: Head) -> dict[str, str]:
        """Where a run goes, per backend as JSON: where one that is started here would, but not where it came from."""
        found = {}
        for backend in self.resolved.get("backends") or ():
            target = config.target(backend, self.resolved)
            if self._is_origin(head, backend, target):
                self._origins[backend] = None
            else:
                found[backend] = config.as_text(target)
        if "wandb" in found:
            config.check_experiment(head.experiment, self.resolved)
        return found

    def _point(self, journal: Journal, run_id: str, head: Head) -> None:
        """A run that is here goes to the backends that are asked for by name as well."""
        if self._given.get("backends") is not None and not self.dry_run:
            bulk.also_to(journal, run_id, self._targets(head))

    def _create(self, run_id: str, head: Head) -> None:
        targets = self._targets(head)
        if self.dry_run:
            return
        if self.journal is None:
            assert self.folder is not None
            self.journal = session.open_journal(self.folder)
        fields = {
            "name": head.name,
            "experiment": head.experiment,
            "start_time": head.start_ms,
            "parent_id": self._parent(run_id, head),
            "description": head.description,
            "keyless": not credentials.held(settings.environment()),
            "owner": self.owner,
        }
        tags = {**head.tags, FROM: head.origin, PLACE: head.place}
        write.create_run(self.journal, run_id, fields, targets, tags, head.params)
        self._ids[run_id[-naming.SUFFIX :]] = run_id

    def _parent(self, run_id: str, head: Head) -> str | None:
        """The id of the run above; None when there is none, or the run would be above itself by whatever way."""
        if head.parent is None or self.journal is None:
            return None
        origin, trk_id, start_ms = head.parent
        parent_id = self.id_of(origin, head.place, trk_id, start_ms)
        known = carry.parents(self.journal)
        above: str | None = parent_id
        for _ in range(MAX_LEVELS):
            if above is None:
                return parent_id
            if above == run_id:
                break
            above = known.get(above)
        self.skip("links to a parent that go round")
        return None

    def _finished(self, run: RunIntake, done: TakenRun) -> None:
        del self._open[run.run_id]
        before = self._done.get(run.run_id)  # of a run that is followed, and was begun anew
        if before is not None:
            done = replace(
                done, new=before.new, points=before.points + done.points, changed=before.changed + done.changed,
                files=before.files + done.files,
            )  # fmt: skip
        self._done[run.run_id] = done
        for name, here in run.renamed.items():
            if len(self._renamed) < MOST_WAITING:
                self._renamed[name] = here
        self.tell()

    def has_waiting(self, lines: int) -> None:
        """So many more lines wait to be written."""
        self.waiting += lines
        if self.waiting >= MOST_WAITING:
            for run in list(self._open.values()):
                run.flush()
            self.tell()

    # ---- what is told

    def leave_out(self, origin: str, name: str, reason: str) -> None:
        """A run is not taken."""
        self._left_out.append(NotTaken(origin, name, reason))

    def skip(self, reason: str, count: int = 1) -> None:
        """Something of a run is not taken."""
        if count:
            self._skipped[reason] = self._skipped.get(reason, 0) + count

    def at(self, part: int, parts: int) -> None:
        """So many parts of the source are read, of so many."""
        self._parts = part, parts
        self.tell()

    def tell(self) -> None:
        """Tell how far it is."""
        if self._progress is not None:
            self._progress(*self._parts, self.points)


def _judged(head: Head, start_ms: int) -> Head:
    """A run with names and texts as the rules have them, and the start that was settled."""
    return replace(
        head,
        name=naming.title(head.name, naming.title(head.origin, "imported")),
        experiment=naming.title(head.experiment, config.DEFAULT_EXPERIMENT),
        start_ms=start_ms,
        description=naming.text(head.description) if head.description else None,
        params=naming.texts(head.params, naming.check_param),
        tags=naming.texts(head.tags, rules.check_tag_name),
        origin=naming.text(head.origin),
        place=naming.text(head.place),
    )


def _locked(file: str, follows: str | None) -> int:
    """One import at a time, and one that follows something: two would take the same run twice.

    Raises Conflict, JournalError.
    """
    folder = os.path.dirname(file)
    while True:
        try:
            found = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{folder} can't be written: {error.strerror}", hint=f"ls -ld {folder}") from None
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(found)
            if follows is not None:
                raise Conflict(f"{rules.shown(follows)} is followed already", hint="end the other one") from None
            raise Conflict(f"another import into {folder} is under way", hint="wait until it is done") from None
        if _is_file(found, file):
            return found
        os.close(found)  # whoever held it took the file away meanwhile


def _is_file(opened: int, file: str) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), os.stat(file))
    except FileNotFoundError:
        return False
