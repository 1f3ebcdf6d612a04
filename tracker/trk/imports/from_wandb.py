"""Runs of Weights & Biases: their whole histories, by the SDK's public API."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trk import addresses, backends, config, session
from trk.backends import _wandb_read as wandb
from trk.backends import _wandb_texts as texts
from trk.backends._wandb_run import STEP
from trk.backends._wandb_server import Server
from trk.backends.base import ArtifactBackend
from trk.errors import BackendError, NotFound, SourceUnavailable, UsageError
from trk.imports.naming import TAG
from trk.imports.records import End, File, Head, ImportReport, Progress
from trk.imports.taking import Intake
from trk.journal.select import is_run_id
from trk.records import RunRecord
from trk.rules import RESERVED_METRICS, shown

HANDLE = texts.HANDLE
MEDIA = "media in histories (images, tables and the like)"


def import_wandb(
    projects: Sequence[str] | str,
    *,
    uri: str | None = None,
    artifacts: bool = False,
    backends: Sequence[str] | str | None = None,
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Take runs of Weights & Biases into the journal here, with their whole histories; again, only what is new.

    `projects` are `<entity>/<project>` for all runs of it, or `<entity>/<project>/<id>`. `uri` is the server's address;
    left out, that of the settings. Steps are W&B's own, or those that trk delivered; the config becomes params.
    `artifacts` takes the files of the runs along; else they are counted. Where the runs are delivered to is as in
    `trk.start`, with `backends` and the arguments after it, but never back into the project that they came from.

    `dry_run` changes nothing. `progress` is told (runs done, runs in all, points read). Raises NotFound, UsageError,
    Conflict, JournalError, and SourceUnavailable when the server does not answer, or wandb is not installed.
    """
    given = {
        "backends": backends, "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group,
    }  # fmt: skip
    named = [projects] if isinstance(projects, str) else list(projects)
    source = _Source(uri)
    found = [record for name in named for record in source.found(name.removeprefix(HANDLE))]
    found.sort(key=lambda record: (_ms(record.start_time) or 0, record.parent_id is not None))
    is_origin = functools.partial(_is_origin, source.entity)
    with Intake("wandb", given, is_origin=is_origin, dry_run=dry_run, artifacts=artifacts, progress=progress) as intake:
        for number, record in enumerate(found):
            intake.at(number, len(found))
            source.take(record, intake)
        intake.at(len(found), len(found))
        return intake.report()


def _is_origin(own: str, head: Head, backend: str, target: Mapping[str, Any]) -> bool:
    """Whether a run came from the project that this backend would put it into."""
    if backend != "wandb" or not addresses.is_same(str(target.get("base_url", "")), head.place):
        return False
    entity, project, _ = head.origin.removeprefix(HANDLE).split("/", 2)
    return (target.get("entity") or own, target.get("project") or head.experiment) == (entity, project)


class _Source:
    """A server of W&B's that is read."""

    def __init__(self, uri: str | None) -> None:
        resolved = config.resolve(session.find_folder(), wandb_url=uri)
        target = dict(config.target("wandb", resolved))
        try:
            self._backend = backends.make("wandb", target)
        except BackendError as error:
            hint = error.hint.removesuffix(", then trk sync") if error.hint else None
            raise SourceUnavailable(error.message, hint=hint) from None
        self._place = str(target.get("base_url", "")).rstrip("/")
        self._server = Server(target)
        self._reader = wandb.Reader(target, self._server)

    @property
    def entity(self) -> str:
        """Where a run goes that nobody says an entity of."""
        with wandb.as_source():
            return self._reader.entity()

    def found(self, named: str) -> list[RunRecord]:
        """The runs of a project, or one run. Raises UsageError, NotFound, SourceUnavailable."""
        parts = named.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise UsageError(f"{shown(named)} is no ENTITY/PROJECT and no ENTITY/PROJECT/ID", hint="trk import --help")
        if len(parts) == 3:
            record = self._reader.get(named)
            found = [] if record is None else [record]
        else:
            found = list(self._reader.in_project(named))
        if not found:
            raise NotFound(f"there is no run {shown(named)} at {self._server.name}", hint="trk ls --source wandb")
        return found

    def take(self, record: RunRecord, intake: Intake) -> None:
        """One run."""
        with wandb.as_source():
            run = self._reader.met(record)
        head = self._head(run, record)
        taken = intake.begin(head)
        if taken is None:
            return
        seen: dict[str, float] = {}
        axis = run.summary_metrics.get(texts.AXIS)
        alone = wandb.axis_alone(run.summary_metrics)
        is_own = wandb.is_kept if is_run_id(record.run_id) else _is_theirs
        for line in self._lines(run):
            logged = {key: value for key, value in line.items() if not is_own(key) and key != alone}
            values = dict(_values(logged, intake))
            if not values:
                continue
            time_s, step = line.get("_timestamp"), line.get(STEP, line.get(axis, line.get("_step", 0)))
            seen |= values
            if not isinstance(step, (int, float)) or step != step:
                step = line.get("_step", 0)
            is_time = isinstance(time_s, (int, float)) and abs(time_s) < 1e12
            taken.line(round(time_s * 1000) if is_time else taken.start_ms, int(step), values)  # type: ignore[operator]
        summary = _summary(run, record, seen, intake)
        taken.end(End(record.status, _ms(record.end_time), summary, self._files(record, intake)))

    def _lines(self, run: Any) -> Iterator[Mapping[str, Any]]:
        with wandb.as_source():
            yield from self._reader.scan(run)

    def _head(self, run: Any, record: RunRecord) -> Head:
        path = wandb.path_of(run)
        tags = dict(record.tags)
        for name, value in (("group", getattr(run, "group", None)), ("job_type", getattr(run, "job_type", None))):
            if value:
                tags[f"{TAG}wandb.{name}"] = str(value)
        ours = is_run_id(record.run_id)
        if ours:  # what was logged as summary comes as that
            tags = {key: text for key, text in tags.items() if not key.startswith(texts.SUMMARY_TAG)}
        params = {k: v for k, v in record.params.items() if not (ours and k.startswith(texts.SUMMARY_TAG))}
        return Head(
            origin=f"{HANDLE}{path}",
            place=self._place,
            name=record.name,
            experiment=record.experiment,
            start_ms=_ms(record.start_time),
            run_id=record.run_id if ours else None,
            description=record.description,
            parent=self._parent(record),
            params=params,
            tags=tags,
        )

    def _parent(self, record: RunRecord) -> tuple[str, str | None, int] | None:
        above = record.parent_id
        if above is None:
            return None
        ours = is_run_id(above)
        return (above if not ours else f"{HANDLE}{above}", above if ours else None, _ms(record.start_time) or 0)

    def _files(self, record: RunRecord, intake: Intake) -> list[File]:
        backend = self._backend
        assert isinstance(backend, ArtifactBackend)
        try:
            found = backend.artifacts(record)
        except SourceUnavailable:
            if intake.artifacts:
                raise
            intake.skip("runs whose files can't be listed")
            return []
        intake.skip("files that stay elsewhere", sum(one.uri is not None for one in found))
        return [
            File(one.path, one.size, functools.partial(backend.fetch, record, one.path))
            for one in found
            if one.uri is None
        ]


def _is_theirs(key: str) -> bool:
    """Whether a name of the history or summary of another's run is W&B's own: all else with a `_` is a user's."""
    return key in RESERVED_METRICS and not key.startswith("trk/")


def _values(line: Mapping[str, Any], intake: Intake) -> Iterator[tuple[str, float]]:
    """The numbers of a line of a history by name; what is in an object has its names joined with dots."""
    for key, value in line.items():
        if value is None:
            continue
        if isinstance(value, Mapping) and "_type" not in value:
            yield from ((f"{key}.{inner}", one) for inner, one in _values(value, intake))
        elif (found := texts.number(value)) is not None:
            yield key, found
        elif isinstance(value, bool):
            yield key, float(value)
        else:
            intake.skip(MEDIA if isinstance(value, (Mapping, list)) else "texts in histories")


def _summary(run: Any, record: RunRecord, seen: Mapping[str, float], intake: Intake) -> dict[str, Any]:
    """What the summary has beside the last values of the history."""
    if is_run_id(record.run_id):
        return {key: _parsed(latest) for key, (_, latest) in wandb.summaries(run).items()}
    found: dict[str, Any] = {}
    for key, value in run.summary_metrics.items():
        if _is_theirs(key) or value is None:
            continue
        number = texts.number(value)
        if key in seen or any(name.startswith(f"{key}.") for name in seen):
            if number is not None and key in seen and repr(number) != repr(float(seen[key])):
                intake.skip("numbers of summaries that are not their metric's last")
            continue
        if number is not None:
            found[key] = number
        elif isinstance(value, Mapping) and "_type" in value:
            intake.skip("media in summaries")
        else:
            found[key] = value
    return found


def _parsed(text: str) -> Any:
    """A summary value as it was: what is JSON and no plain text or number."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (list, dict, bool)) or value is None else text


def _ms(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
