"""One run: what people log into. Every log call is durable in the journal when it returns.

The log commands of the command line call the same methods, so this module imports nothing that costs time.
"""

from __future__ import annotations

import os
from _contextvars import ContextVar
from time import monotonic

from trk import daemon, rules, settings
from trk.errors import NotFound, UsageError
from trk.journal import select, write
from trk.journal.write import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Literal, Self

    from trk.journal.db import Journal
    from trk.lines import LoggedLines
    from trk.owners import Owner
    from trk.records import RunRecord
    from trk.running.sampling import Sampling

STATUSES = ("FINISHED", "FAILED", "KILLED")
LOOK_S = 1.0
END_S = 30.0  # how long the end of a run waits for its delivery, unless it is told

# The runs whose `with` blocks this code is in, innermost last. A value of its own per thread and task, so that one
# Run object may be entered by several.
current: ContextVar[tuple[Run, ...]] = ContextVar("trk_current_runs", default=())

_next_look = monotonic() + LOOK_S  # a log command looks by itself, once


class Run:
    """A run to log into, as `trk.start`, `trk.attach` and `trk.resume` give it. Safe in threads and after a fork.

    `id` is the trk run id, `name` and `experiment` are as given, `folder` is the `.trk` it lives in.

    As a context manager it ends the run: FINISHED, FAILED on an exception, KILLED on KeyboardInterrupt. A run that
    was attached to is left as it is. Its end waits for delivery for 30 seconds, or as many as `exit_timeout` allows.
    """

    def __init__(
        self, journal: Journal, folder: str, run_id: str, *, key_prefix: str | None = None, owned: bool = False
    ) -> None:
        self.id = run_id
        self.folder = folder
        self.journal = journal
        self.exit_timeout: float | None = None  # seconds that leaving its block or the program waits; None: as it is
        self.left_alone = False  # whether no daemon is to deliver it
        self.waited = False  # whether its delivery was waited for, or is not to be
        self._prefix = key_prefix
        self._owner = os.getpid() if owned else None
        self._details: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<trk.Run {self.id}>"

    @property
    def key_prefix(self) -> str:
        """What goes before the names of metrics, params and summary values: `TRK_KEY_PREFIX`, else the run's own."""
        if self._prefix is None:
            found = settings.env("TRK_KEY_PREFIX")
            self._prefix = self._detail("key_prefix") if found is None else found
        return self._prefix

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self._detail("name"))

    @property
    def experiment(self) -> str:
        """The run's experiment."""
        return str(self._detail("experiment"))

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED, as the journal has it now."""
        found = select.columns(self.journal, self.id)
        if found is None:
            raise NotFound(f"there is no run {self.id} in this journal", hint="trk ls")
        return found["status"]

    @property
    def record(self) -> RunRecord:
        """What the journal knows of the run now: status, params, last metrics, tags, deliveries."""
        from trk.journal.read import record

        found = record(self.journal, self.id)
        if found is None:
            raise NotFound(f"there is no run {self.id} in this journal", hint="trk ls")
        return found

    @property
    def owner(self) -> Owner:
        """Who started or last resumed the run, and whether that process still lives.

        That it has ended is no proof of a crash: others may go on logging into the run. Raises NotFound.
        """
        from trk import owners
        from trk.journal import lifecycle

        return owners.look(lifecycle.owner(self.journal, self.id)[0])

    @property
    def last_row_time(self) -> datetime | None:
        """The time of the run's last row, UTC: when it was logged, or the `timestamp` it was given; None if none."""
        from trk.journal import lifecycle
        from trk.records import from_ms

        return from_ms(lifecycle.last_row_ms(self.journal, self.id))

    def _detail(self, key: str) -> str:
        if self._details is None:
            self._details = select.columns(self.journal, self.id) or {"key_prefix": "", "name": "", "experiment": ""}
        return self._details[key]

    def _look(self) -> None:
        """See, once a second at most, that the daemon which delivers this run still lives."""
        global _next_look
        now = monotonic()
        if now >= _next_look:
            _next_look = now + LOOK_S
            daemon.revive(self.folder, self.id)

    def metric_name(self, key: str) -> str:
        """The whole name of a metric that is logged under `key`: with the run's prefix, checked. Raises UsageError."""
        prefix = self.key_prefix
        if not prefix:
            return rules.check_metric_name(key)
        return rules.check_metric_name(prefix + rules.check_name(key, "metric name"))

    def log_metric(self, key: str, value: object, step: int | None = None, timestamp: object = None) -> tuple[int, int]:
        """Log one point of a metric; returns (row number, step).

        `value` is a number (Python, numpy, 0-d tensor), NaN and infinities too. `step` left out is the metric's
        largest step in the run plus one, from 0. `timestamp` is a datetime, or seconds or milliseconds since 1970;
        left out it is now. Raises UsageError, Conflict (the run has ended), JournalError.
        """
        done = write.metrics(
            self.journal,
            self.id,
            {self.metric_name(key): rules.to_number(value)},
            None if step is None else rules.check_step(step),
            now_ms() if timestamp is None else rules.check_time(timestamp),
        )
        self._look()
        return done

    def log_metrics(
        self, metrics: Mapping[str, object], step: int | None = None, timestamp: object = None
    ) -> tuple[int, int]:
        """Log several metrics at one step, all or none; returns (row number, step). As `log_metric`."""
        if not metrics:
            raise UsageError("no metrics are given")
        done = write.metrics(
            self.journal,
            self.id,
            {self.metric_name(key): rules.to_number(value, f"the value of {key}") for key, value in metrics.items()},
            None if step is None else rules.check_step(step),
            now_ms() if timestamp is None else rules.check_time(timestamp),
        )
        self._look()
        return done

    def log_lines(self, lines: Iterable[str | bytes | Mapping[str, object]], *, strict: bool = False) -> LoggedLines:
        """Log lines as `trk log` does, hundreds of thousands a second; returns what became of them.

        A line is a JSON object or `KEY=VALUE …`, or a mapping: metrics of one step, and the special names `step` and
        `timestamp`. A file that is open will do. What is bad is counted and left out; with `strict` the first bad
        line raises UsageError, and the lines before it are logged. A line is durable within a tenth of a second of
        the next one, and all are when this returns. Raises Conflict and JournalError.
        """
        from trk.piping import log_lines

        return log_lines(self, lines, strict=strict)

    def log_param(
        self, key: str, value: object, *, if_exists: Literal["error", "keep", "suffix"] = "error"
    ) -> int | None:
        """Log a param; returns its row number, None when the run has it already with this value.

        Params are immutable: another value is a Conflict; "keep" keeps the first one instead, "suffix" logs the new
        one as `<key>_2`. The value's text is kept as `str()` gives it.
        """
        return self.log_params({key: value}, if_exists=if_exists)

    def log_params(
        self, params: Mapping[str, object], *, if_exists: Literal["error", "keep", "suffix"] = "error"
    ) -> int | None:
        """Log several params, all or none; returns the last new one's row number. As `log_param`."""
        if if_exists not in ("error", "keep", "suffix"):
            raise UsageError(f"if_exists must be error, keep or suffix, not {rules.shown(if_exists)}")
        if not params:
            raise UsageError("no params are given")
        from trk.texts import param_texts

        return write.params(self.journal, self.id, param_texts(params, self.key_prefix), now_ms(), if_exists)

    def log_summary(self, values: Mapping[str, object]) -> tuple[int, int | None]:
        """Log what stands on the run's overview: numbers, text, or JSON values; again: the latest counts.

        Returns (last row number, its step or None). A number is also a point of that metric at its next step; text
        and JSON become the tag `summary/<key>`, and the first time the param of that name.
        """
        if not values:
            raise UsageError("no summary values are given")
        from trk.texts import json_summary

        prefix = self.key_prefix
        given: dict[str, float | tuple[str, str]] = {}
        for key, value in values.items():
            name = prefix + rules.check_name(key, "summary name")
            if isinstance(value, bool) or value is None or isinstance(value, (str, list, tuple, dict)):
                rules.check_name(f"summary/{rules.check_summary_name(name)}", "summary name")
                given[name] = json_summary(key, value)
            else:
                given[self.metric_name(key)] = rules.to_number(value, f"the value of {key}")
        return write.summary(self.journal, self.id, given, now_ms())

    def set_tag(self, key: str, value: object) -> int:
        """Set a tag; returns its row number."""
        return self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> int:
        """Set several tags, all or none; returns the last one's row number."""
        if not tags:
            raise UsageError("no tags are given")
        from trk.texts import tag_texts

        return write.tags(self.journal, self.id, tag_texts(tags), now_ms())

    def delete_tag(self, key: str) -> int:
        """Take a tag away; returns the row number. Raises NotFound when the run has no such tag."""
        return write.delete_tag(self.journal, self.id, rules.check_tag_name(key), now_ms())

    def define_metric(
        self, key: str, *, mode: Literal["max", "min"] | None = None, step_metric: str | None = None
    ) -> int:
        """Say which direction of a metric is better in this experiment, or which metric is its x-axis in W&B.

        Returns the row number. `trk.best` goes by the mode.
        """
        if mode is None and step_metric is None:
            raise UsageError("define-metric needs a mode (max or min) or a step metric")
        if mode not in (None, "max", "min"):
            raise UsageError(f"mode must be max or min, not {rules.shown(mode)}")
        if step_metric is not None:
            rules.check_name(step_metric, "step metric")
        name = self.metric_name(key)
        rules.check_name(f"trk.mode.{name}", "metric name")  # as MLflow keeps it, which takes 250 characters
        return write.define(self.journal, self.id, name, mode, step_metric, now_ms())

    def log_table(
        self,
        name: str,
        data: object,
        columns: Sequence[str] | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the word of the command line
    ) -> int:
        """Log rows of a table; returns the row number. Rows of further calls, of any process, are appended.

        `data` is a DataFrame, a mapping of columns to lists, a list of mappings, a list of rows beside `columns`, or
        the path of a CSV, TSV, JSON, JSONL or Parquet file (`type` says which, when its ending does not). Types are
        kept. Raises UsageError for other columns than the table has, for ragged rows and what is not JSON.
        """
        from trk.media import log, tables

        if isinstance(data, str) or hasattr(data, "__fspath__"):
            return log.table(self, name, tables.read_file(os.fsdecode(data), type=type, columns=columns))[0]
        return log.table(self, name, tables.from_data(data, columns))[0]

    def log_html(self, html: object, name: str | None = None) -> int:
        """Log an HTML page; returns the row number. Logged again, it replaces the page, and the earlier one is kept.

        `html` is HTML text or the path of a file; `name` left out is the file's, without its ending. Its path in the
        run is `<name>.html`.
        """
        from trk.media import log

        return log.html(self, log.given(html, "the HTML", "<"), name)

    def log_text(self, text: object, name: str | None = None) -> int:
        """Log a text (or, as a path-like object, a file); returns the row number. Again, it replaces the first.

        Its path in the run is the name, with `.txt` when that has no ending.
        """
        from trk.media import log

        return log.text(self, log.given(text, "the text"), name)

    def log_dict(self, data: object, name: str | None = None) -> int:
        """Log a mapping or list as JSON, or as YAML when the name ends so; returns the row number.

        `data` may also be the path of a JSON, YAML or TOML file, which is kept as it is written.
        """
        from trk.media import log, objects

        document, ending = objects.document(data, name)
        return log.document(self, document, name, ending)

    def log_image(self, image: object, name: str | None = None, step: int | None = None) -> int:
        """Log an image; returns the row number. With a step it is one of a series under that name.

        `image` is a path, the bytes of a file, Pillow's image, or an array (height, width[, channels]).
        """
        from trk.media import log, objects

        return log.image(self, objects.image(image), name, None if step is None else rules.check_step(step))

    def log_figure(self, figure: object, name: str | None = None) -> int:
        """Log a figure of matplotlib or Plotly, or a PNG, SVG, PDF, Plotly JSON or HTML file; returns the row number.

        Its path in the run is the name, with the ending of its kind.
        """
        from trk.media import log, objects

        return log.figure(self, objects.figure(figure, name), name)

    def log_artifact(
        self,
        *paths: str | os.PathLike[str],
        path: str | None = None,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the command line
        reference: str | Sequence[str] = (),
        snapshot: bool = True,
    ) -> tuple[int, int | None]:
        """Log files and folders as they are now; returns (last row number, version or None).

        They go into the run below the folder `path`, each under its own name; of a folder that is named with a slash
        at its end, what is in it. With `name` they are a version of an artifact of that name and `type` (model,
        checkpoint, dataset, …): versions count up from 0 in the experiment, the same content is the same version.
        `reference` are addresses of what stays where it is. Without `snapshot` the files are delivered in place, and
        rejected if they have changed by then. Raises UsageError, and JournalError when there is no room for a copy.
        """
        from trk.media import log

        references = [reference] if isinstance(reference, str) else reference
        named = [os.fsdecode(one) for one in paths]
        return log.artifact(self, named, path=path, name=name, type_=type, references=references, snapshot=snapshot)

    def log_system_metrics(self, interval: float = 10.0) -> Sampling:
        """Sample, from now on, what the machine and this process use, every `interval` seconds; see `trk help run`.

        Its `stop()` ends that, and so does the run's end. Raises UsageError, and ConfigurationError without psutil.
        """
        from trk.running.sampling import Sampling

        return Sampling(self, interval=interval).start()

    def end(
        self,
        status: str = "FINISHED",
        *,
        wait: bool = True,
        timeout: float = END_S,
        strict: bool = False,
    ) -> RunRecord:
        """End the run and deliver it; returns its record, whose `backends` say what was delivered.

        `status` is FINISHED, FAILED or KILLED. Delivery takes at most `timeout` seconds, whatever a backend does; what
        is pending then stays in the journal for `trk.sync()`. `wait=False` does not deliver. With `strict` NotDelivered
        is raised when anything is pending or rejected. Raises Conflict when the run has ended already. A run of another
        program is delivered, left by the session, and stays open.
        """
        from time import monotonic

        from trk import delivery
        from trk.backends import foreign
        from trk.daemon import client

        self.finish(status)
        if wait:
            self.waited = True
            deadline = monotonic() + timeout
            client.deliver(self.journal, self.folder, [self.id], timeout=timeout)
            foreign.catch_up(self.journal, [self.id], deadline)
        record = self.record
        if strict:
            delivery.check_delivered([record])
        return record

    def finish(self, status: str = "FINISHED") -> None:
        """End the run in the journal and take it out of the session, without delivering.

        Another program's run, which was attached to, stays open: only the session leaves it.
        """
        from trk import session
        from trk.journal import lifecycle, watched

        check_end(status)
        if watched.paths(self.journal, self.id):
            from trk.growing.file import catch_up

            catch_up(self)
        if not lifecycle.is_external(self.journal, self.id):
            write.set_status(self.journal, self.id, status, now_ms())
        elif status != "FINISHED":
            import warnings

            warnings.warn(f"{status} is ignored: run {self.id} belongs to another program", stacklevel=2)
        session.remove(self.folder, self.id)

    def __enter__(self) -> Self:
        current.set((*current.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered = list(current.get())
        entered.reverse()
        entered.remove(self)
        current.set(tuple(reversed(entered)))
        if self._owner != os.getpid() or self.status != "RUNNING":
            return  # someone else's run (a fork's child leaves the block too), or ended by hand within it
        timeout = END_S if self.exit_timeout is None else self.exit_timeout
        if kind is None or (issubclass(kind, SystemExit) and getattr(error, "code", None) in (None, 0)):
            self.end("FINISHED", timeout=timeout, wait=timeout > 0)
        elif issubclass(kind, KeyboardInterrupt):
            self.finish("KILLED")  # who interrupts wants to be gone: what is pending waits for trk sync
            self.waited = True
        else:
            self.end("FAILED", timeout=timeout, wait=timeout > 0)


def check_end(status: str) -> str:
    """The status, if a run may end with it. Raises UsageError."""
    if status not in STATUSES:
        raise UsageError(f"status must be one of {', '.join(STATUSES)}, not {rules.shown(status)}")
    return status
