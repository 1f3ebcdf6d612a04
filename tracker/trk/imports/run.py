"""One run on its way into the journal: what is new of it is written, in the order in which its source gives it."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trk import rules
from trk.errors import Conflict, NotFound, SourceUnavailable, UsageError
from trk.imports import naming
from trk.imports.records import End, File, Head, TakenRun
from trk.journal import blobs, bulk, content, files, read, write
from trk.records import RunRecord, Status

if TYPE_CHECKING:
    from trk.imports.taking import Intake
    from trk.journal.db import Journal

PAGE = 5000  # lines per transaction
RENAMED = f"{naming.TAG}names"  # the tag with the names that were changed
LONGEST_RENAMED = 100_000  # characters of it
TOO_MANY = "more than a tag can have"  # what it says otherwise
FETCHED = "import-"  # what the names of folders begin with into which files are fetched
BAD_TIME = "points with a time outside the years 1970 to 2099"
BAD_STEP = "points with a step beyond 64 bits"
LEFT_FILES = "files (--artifacts takes them)"
BAD_FILES = "files with a path that no run can have"


class RunIntake:
    """A run being taken; `record` is what is here of it already. Made by `Intake.begin`.

    `line` is called for its points in an order that stays the same when the source grows, then `end`.
    """

    def __init__(
        self,
        intake: Intake,
        head: Head,
        run_id: str,
        record: RunRecord | None,
        finished: Callable[[RunIntake, TakenRun], None],
    ) -> None:
        self.run_id = run_id
        self.read = 0
        self._intake = intake
        self._head = head
        self._record = record
        self._finished = finished
        self._names = _names(record)
        self._told_names = record.tags.get(RENAMED) if record is not None else None
        self._writes = not intake.dry_run
        # A new run is made with what its head says.
        self._params_here = dict(record.params if record is not None else head.params)
        self._tags_here = dict(record.tags if record is not None else head.tags)
        self._is_open = record is None or record.status is Status.RUNNING
        self._points = 0
        self._changed = 0
        self._files = 0
        self._waiting: list[bulk.Line] = []
        self._last_ms = head.start_ms or 0
        self._n = 0
        self._here: Iterator[bulk.Point] | None = None  # the points that are here, as far as they were not met yet
        self._left: Counter[tuple[str, int, int, float | None]] | None = None
        if intake.journal is not None and (record is not None or self._writes):
            self._n = bulk.last_row(intake.journal, run_id)
            if record is not None and record.metrics:
                self._here = bulk.points(intake.journal, read.run_key(intake.journal, run_id) or 0)

    @property
    def start_ms(self) -> int:
        """When the run started, in milliseconds since 1970."""
        return self._head.start_ms or 0

    @property
    def renamed(self) -> Mapping[str, str]:
        """The names of metrics that were changed, and what they are here."""
        return self._names.changed

    # ---- points

    def line(self, time_ms: int, step: int, values: Mapping[str, float]) -> None:
        """Points at one time and step, by the names that they have at the source."""
        self.read += len(values)
        self._intake.points += len(values)
        if not 0 <= time_ms < rules.MAX_TIME_MS:
            self._intake.skip(BAD_TIME, len(values))
            return
        if not -rules.MAX_STEP - 1 <= step <= rules.MAX_STEP:
            self._intake.skip(BAD_STEP, len(values))
            return
        self._last_ms = max(self._last_ms, time_ms)
        name_of = self._names.of
        named: Mapping[str, float] = {name_of(key): value for key, value in values.items()}
        if self._here is not None or self._left is not None:
            named = self._new(time_ms, step, named)
        if named:
            self._points += len(named)
            self._waiting.append((time_ms, step, named))
            if len(self._waiting) >= PAGE:
                self.flush()
            else:
                self._intake.has_waiting(1)

    def _new(self, time_ms: int, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Those points of a line that are not here."""
        new = {}
        for key, value in values.items():
            if self._here is not None:
                known = next(self._here, None)
                if known is None:  # the source goes on where the journal ends
                    self._here = None
                elif _same(known, (key, step, time_ms, value)):
                    continue
                else:  # it was not only added to: from here on each is looked for
                    self._left = Counter(map(_key, (known, *self._here)))
                    self._here = None
            if self._left is not None:
                name = _key((key, step, time_ms, value))
                if self._left[name] > 0:
                    self._left[name] -= 1
                    continue
            new[key] = value
        return new

    def flush(self) -> None:
        """Write the lines that wait."""
        lines, self._waiting = self._waiting, []
        self._intake.waiting = max(self._intake.waiting - len(lines), 0)
        if lines and self._writes:
            try:
                self._append(lines)
            except Conflict:
                self._points -= sum(len(values) for _, _, values in lines)
                raise
        self._intake.tell()

    def _append(self, lines: list[bulk.Line]) -> None:
        self._reopen()
        journal = self._intake.journal
        assert journal is not None
        self._tell_names(journal)
        self._n = bulk.append(journal, self.run_id, lines, self._n)

    def _tell_names(self, journal: Journal) -> None:
        """Write which names were changed, before there are points by them: if this is broken off, they stay so."""
        if not self._names.changed:
            return
        told = json.dumps(self._names.changed, ensure_ascii=False)
        told = told if len(told) <= LONGEST_RENAMED else TOO_MANY
        if told != self._told_names:
            self._wrote(write.tags(journal, self.run_id, {RENAMED: told}, self._last_ms), 1)
            self._told_names = told

    def _reopen(self) -> None:
        """A run that had ended goes on."""
        if not self._is_open and self._intake.journal is not None:
            owner = self._intake.owner
            self._wrote(write.set_status(self._intake.journal, self.run_id, "RUNNING", write.now_ms(), owner), 1)
            self._is_open = True

    # ---- its end

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Params and tags that the source told after the run was begun."""
        self._head = replace(
            self._head,
            params={**self._head.params, **naming.texts(params, naming.check_param)},
            tags={**self._head.tags, **naming.texts(tags, rules.check_tag_name)},
        )

    def end(self, end: End) -> None:
        """What else the run has, and how it stands at its source."""
        self.flush()
        self._texts()
        self._summary(end.summary)
        had_ended = self._record is not None and self._record.status is not Status.RUNNING
        for file in end.files:
            self._file(file, same_size_will_do=had_ended)
        self._hand_in(self._status(end))

    def leave(self) -> None:
        """It is begun anew: what waits to be written is given up."""
        self._points -= sum(len(values) for _, _, values in self._waiting)
        self._intake.waiting = max(self._intake.waiting - len(self._waiting), 0)
        self._waiting = []
        self._hand_in(Status.RUNNING)

    def _hand_in(self, status: Status) -> None:
        record = self._record
        here = read.record(self._intake.journal, self.run_id) if self._intake.journal is not None else None
        shown = here or record
        done = TakenRun(
            self.run_id,
            shown.name if shown is not None else self._head.name,
            shown.experiment if shown is not None else self._head.experiment,
            self._head.origin,
            status,
            self._points,
            self.read,
            self._changed,
            self._files,
            record is None,
        )
        self._finished(self, done)

    def _status(self, end: End) -> Status:
        end_ms = end.end_ms if end.end_ms is not None and 0 <= end.end_ms < rules.MAX_TIME_MS else self._last_ms
        record = self._record
        if (
            record is not None
            and end.status is not Status.RUNNING
            and not self._is_open
            and record.end_time is not None
        ):
            same_end = end.end_ms is None or round(record.end_time.timestamp() * 1000) == end_ms
            if record.status is end.status and same_end:
                return end.status
        if not self._writes or self._intake.journal is None or end.status is Status.RUNNING:
            return end.status  # one that was ended here stays so until something new comes
        self._reopen()
        write.set_status(self._intake.journal, self.run_id, str(end.status), end_ms)
        self._is_open = False
        return end.status

    def settle(self) -> None:
        """Write what waits, and the params and tags that are new: the run goes on. Raises Conflict, NotFound."""
        self.flush()
        self._texts()

    def _texts(self) -> None:
        """Write params and tags that are new, or others, since the run was taken."""
        tags = {key: value for key, value in self._head.tags.items() if self._tags_here.get(key) != value}
        params = {key: value for key, value in self._head.params.items() if self._params_here.get(key) != value}
        if self._record is not None:
            self._changed += len(tags) + len(params)
        self._tags_here.update(tags)
        self._params_here.update(params)
        journal = self._intake.journal
        if not (tags or params) or not self._writes or journal is None:
            return
        self._reopen()
        if params:
            self._wrote(write.params(journal, self.run_id, params, self._last_ms, "change") or self._n, len(params))
        if tags:
            self._wrote(write.tags(journal, self.run_id, tags, self._last_ms), len(tags))

    def _wrote(self, n: int, rows: int) -> None:
        """So many rows were written, the last is `n`. Raises Conflict when others are between: they may be points."""
        before, self._n = self._n, n
        if n > before + rows:
            raise Conflict(f"somebody else logs into run {self.run_id} at the same time", hint="the same command again")

    def _summary(self, values: Mapping[str, Any]) -> None:
        names = naming.Names(_check_summary)
        new: dict[str, float | tuple[str, str]] = {}
        record = self._record
        for name, value in values.items():
            key = names.of(str(name))
            found = _summary_value(value)
            if found is None:
                self._intake.skip("summary values that no journal can have")
            elif isinstance(found, tuple):
                if record is None or record.tags.get(f"summary/{key}") != found[1]:
                    new[key] = found
            elif record is None or not _equal(record.metrics.get(key), found):
                new[key] = found
        if record is not None:
            self._changed += len(new)
        if new and self._writes and self._intake.journal is not None:
            self._reopen()
            write.summary(self._intake.journal, self.run_id, new, self._last_ms)

    # ---- files

    def _file(self, file: File, *, same_size_will_do: bool) -> None:
        if not self._intake.artifacts:
            self._intake.skip(LEFT_FILES)
            return
        try:
            rules.check_artifact_path(file.path)
        except UsageError:
            self._intake.skip(BAD_FILES)
            return
        here = self._files_here().get(file.path)
        if here is not None and same_size_will_do and here[0] == file.size:
            return
        if not self._writes:
            self._files += 1
            return
        try:
            self._keep(file, here)
        except SourceUnavailable:
            raise
        except (NotFound, UsageError, Conflict):
            self._intake.skip("files that can't be had")

    def _keep(self, file: File, here: tuple[int | None, str | None] | None) -> None:
        journal = self._intake.journal
        assert journal is not None
        with tempfile.TemporaryDirectory(prefix=FETCHED, dir=Path(journal.path).parent) as folder:
            name = str(Path(folder) / "file")
            file.fetch(name)
            sha256, size = blobs.keep_file(journal, name)
        if here is not None and here[1] == sha256:
            return
        self._reopen()
        content.append_files(journal, self.run_id, "file", [{"path": file.path, "size": size, "sha256": sha256}])
        self._files += 1

    def _files_here(self) -> dict[str, tuple[int | None, str | None]]:
        """Size and hash by path of what the run has here."""
        journal = self._intake.journal
        if journal is None or (self._record is None and self._intake.dry_run):
            return {}
        if not hasattr(self, "_known_files"):
            found = files.of_run(journal, self.run_id)
            self._known_files = {one.path: (one.size, one.sha256) for one in found}
        return self._known_files


def _names(record: RunRecord | None) -> naming.Names:
    """The names of a run's metrics, as they were settled when it was taken earlier."""
    names = naming.Names(rules.check_metric_name)
    if record is None:
        return names
    try:
        changed = json.loads(record.tags.get(RENAMED, "{}"))
    except (ValueError, RecursionError):  # there were too many, or the tag is somebody else's
        return names
    if isinstance(changed, dict) and all(isinstance(name, str) for name in changed.values()):
        names.seed(changed, record.metrics)
    return names


def _key(point: bulk.Point) -> tuple[str, int, int, float | None]:
    """A point as it compares: a NaN equals itself."""
    name, step, time_ms, value = point
    return name, step, time_ms, value if value == value else None


def _same(one: bulk.Point, other: bulk.Point) -> bool:
    return one == other or _key(one) == _key(other)


def _equal(one: float | None, other: float) -> bool:
    return one is not None and (one == other or (math.isnan(one) and math.isnan(other)))


def _check_summary(name: str) -> str:
    rules.check_name(f"summary/{rules.check_metric_name(name)}", "summary name")
    return name


def _summary_value(value: Any) -> float | tuple[str, str] | None:
    """A number, or (JSON, how it is shown); None for what is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return None
    try:
        if isinstance(value, str):
            value = naming.text(value)
        told = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        rules.check_text(told, "summary value")
    except (TypeError, ValueError, RecursionError, UsageError):
        return None
    return told, value if isinstance(value, str) else told
