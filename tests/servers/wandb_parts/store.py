"""What the W&B test server received: projects, runs with their streams and files, artifacts, bytes."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

HISTORY, EVENTS, SUMMARY, OUTPUT = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json", "output.log"


def moment(seconds: float) -> str:
    """A time as the server writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def global_id(kind: str, *parts: object) -> str:
    """An id as GraphQL servers make them: base64 of kind and key (the SDK takes those of artifacts apart)."""
    return base64.b64encode(":".join([kind, *map(str, parts)]).encode()).decode()


@dataclass
class Run:
    """A run as the server has it. What a test wants to see is in the properties' words: `history`, `summary`, …

    `streams` holds each streamed file's lines by (client, line number), in the order in which they first came: a
    line that comes again replaces itself, and the writers of a shared run do not write over each other.
    """

    number: int
    entity: str
    project: str
    id: str
    created_at: float
    display_name: str = ""
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    description: str | None = None
    host: str | None = None
    program: str | None = None
    commit: str | None = None
    sweep: str | None = None
    tags: list[str] = field(default_factory=list)
    full_config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, dict[tuple[str, int], str]] = field(default_factory=dict)
    rows: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)  # the history's lines, read
    keys: dict[str, int] = field(default_factory=dict)  # how many of the rows have each key
    files: dict[str, bytes] = field(default_factory=dict)
    file_times: dict[str, float] = field(default_factory=dict)
    upserts: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)  # that it logged, committed
    used: list[Artifact] = field(default_factory=list)
    exit_code: int | None = None
    ended: bool = False
    set_state: str | None = None
    heartbeat_at: float = 0.0
    stop_asked: bool = False
    deleted: bool = False
    state: str = "running"  # kept up by the store: running, finished, failed, crashed, pending

    @property
    def storage_id(self) -> str:
        """The run's id in GraphQL."""
        return global_id("Run", "v1", self.id, self.project, self.entity)

    @property
    def config(self) -> dict[str, Any]:
        """What the user configured: without W&B's own part, and each value by itself."""
        return {key: value["value"] for key, value in self.full_config.items() if key != "_wandb"}

    def lines(self, name: str) -> list[str]:
        """The lines of a streamed file, in order."""
        return list(self.streams.get(name, {}).values())

    def count(self, name: str) -> int:
        """How many lines that file has."""
        return len(self.streams.get(name, {}))

    def put(self, name: str, slot: tuple[str, int], line: str) -> None:
        """Take in a line: at the end, or in its old place when its writer sends it again."""
        lines = self.streams.setdefault(name, {})
        if name == HISTORY and lines.get(slot) != line:
            for key in self.rows.get(slot, {}):
                self.keys[key] -= 1
            self.rows[slot] = json.loads(line)
            for key in self.rows[slot]:
                self.keys[key] = self.keys.get(key, 0) + 1
        lines[slot] = line

    @property
    def history(self) -> list[dict[str, Any]]:
        """All rows, in order as stored."""
        return [dict(row) for row in self.rows.values()]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The system metrics' rows."""
        return [json.loads(line) for line in self.lines(EVENTS)]

    @property
    def clients(self) -> list[str]:
        """The writers of history lines, in order of appearance; "" is one that is not in shared mode."""
        return list(dict.fromkeys(client for client, _ in self.rows))


@dataclass
class Collection:
    """The versions of one artifact name, and its aliases."""

    number: int
    entity: str
    project: str
    type: str
    name: str
    created_at: float
    versions: list[int] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)


@dataclass
class Artifact:
    """One version; `version` is None until it is committed."""

    number: int
    entity: str
    project: str
    type: str
    name: str
    digest: str
    digest_algorithm: str
    created_at: float
    run: str | None = None
    version: int | None = None
    state: str = "PENDING"
    description: str | None = None
    metadata: str | None = None
    wanted_aliases: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    history_step: int | None = None
    ttl_seconds: int | None = None
    manifest_bytes: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    updated_at: float | None = None

    @property
    def id(self) -> str:
        """The artifact's id in GraphQL."""
        return global_id("Artifact", self.number)

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it was uploaded; empty before."""
        found: dict[str, Any] = json.loads(self.manifest_bytes) if self.manifest_bytes else {}
        return found


class Store:
    """Everything, with the look-ups that the answers need. `now` is the time of the request being carried out."""

    def __init__(self, user: str, heartbeat_s: float) -> None:
        self.user = user  # whose request is being carried out
        self.private: set[tuple[str, str | None]] = set()  # (entity, project; None: all of them), shown to nobody
        self.heartbeat_s = heartbeat_s
        self.users = {user}
        self.now = 0.0
        self.projects: dict[tuple[str, str], float] = {}
        self.runs: dict[tuple[str, str, str], Run] = {}
        self.collections: dict[tuple[str, str, str], Collection] = {}
        self.artifacts: list[Artifact] = []
        self.blobs: dict[str, bytes] = {}  # the content of artifact files by MD5 in base64, as manifests have it
        self.client_ids: dict[str, int] = {}

    def project(self, entity: str | None, name: str | None) -> tuple[str, str]:
        """The project, made when it is not there yet."""
        key = (entity or self.user, name or "uncategorized")
        self.projects.setdefault(key, self.now)
        return key

    def is_shown(self, entity: str, project: str | None) -> bool:
        """Whether the user may see a project: it is no other user's, and was not made private."""
        others = entity in self.users and entity != self.user
        return not (others or {(entity, None), (entity, project)} & self.private)

    def run(self, entity: str | None, project: str | None, run_id: str) -> Run | None:
        """A run that was not deleted, its state as of now."""
        found = self.runs.get((entity or self.user, project or "uncategorized", run_id))
        return self.seen(found) if found is not None and not found.deleted else None

    def run_by_storage_id(self, storage_id: str) -> Run | None:
        """The same by the id that GraphQL gave it."""
        found = [run for run in self.runs.values() if run.storage_id == storage_id and not run.deleted]
        return self.seen(found[0]) if found else None

    def runs_of(self, entity: str, project: str) -> list[Run]:
        """A project's runs in order of creation, without the deleted."""
        found = [run for (e, p, _), run in self.runs.items() if (e, p) == (entity, project) and not run.deleted]
        return [self.seen(run) for run in found]

    def seen(self, run: Run) -> Run:
        """The run with the state that follows from its end, or from how long it has been silent."""
        if run.set_state is not None:
            run.state = run.set_state
        elif run.ended:
            run.state = "failed" if run.exit_code else "finished"
        else:
            run.state = "crashed" if self.now - run.heartbeat_at > self.heartbeat_s else "running"
        return run

    def alive(self, run: Run) -> None:
        """The run was heard of."""
        run.heartbeat_at = self.now

    def artifact(self, artifact_id: str | None) -> Artifact | None:
        """The artifact with this GraphQL id."""
        found = [one for one in self.artifacts if one.id == artifact_id]
        return found[0] if found and found[0].state != "DELETED" else None

    def collection_of(self, artifact: Artifact) -> Collection:
        """The collection that it is a version of."""
        return self.collections[artifact.entity, artifact.project, artifact.name]
