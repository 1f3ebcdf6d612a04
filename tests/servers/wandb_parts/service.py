"""What each request does and is answered with; no sockets here, so that a recorded request can be carried out again."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from . import graphql
from .artifact_mutations import ArtifactMutations
from .artifacts import ArtifactNodes
from .files import FileNodes, md5_base64
from .pages import page
from .recorder import Recorder
from .runs import RunMutations, RunNodes, apply_stream
from .store import Store

FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "MARK_RUN_FILES_UPLOADED",
    "FILESTREAM_GZIP",
    "ARTIFACT_DIGEST_ALGORITHM",
)
KEPT_HEADERS = ("authorization", "content-encoding", "x-wandb-async-client-id")


@dataclass
class Request:
    """A request as it came, and what became of it. `operation` is the GraphQL operation's name, else ""."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    operation: str = ""
    status: int | None = None
    answer: bytes = field(default=b"", repr=False)
    unknown: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The body, read as JSON; None when there is none."""
        plain = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return json.loads(plain) if plain else None

    @property
    def variables(self) -> dict[str, Any]:
        """A GraphQL request's variables."""
        found = self.json.get("variables") if self.operation else None
        return found or {}

    @property
    def client(self) -> str:
        """Who writes in shared mode; "" is one that is not."""
        return self.headers.get("x-wandb-async-client-id", "")


@dataclass
class Response:
    """What goes back."""

    status: int
    body: bytes
    kind: str = "application/json"


def as_json(value: Any, status: int = 200) -> Response:
    """JSON without NaN, which the core's parser refuses."""
    return Response(status, json.dumps(value, allow_nan=False).encode())


def refusal(status: int, message: str) -> Response:
    """An error as the server words it."""
    return as_json({"errors": [{"message": message, "path": [], "extensions": {}}], "data": None}, status)


class Service:
    """Carries out requests, one at a time, and records those that change something before they are answered."""

    def __init__(self, base_url: str, key: str, user: str, heartbeat_s: float, recorder: Recorder | None) -> None:
        self.keys = {key: user}
        self.store = Store(user, heartbeat_s)
        self.files = FileNodes(self.store, base_url)
        self.run_nodes = RunNodes(self.store, self.files)
        self.nodes = ArtifactNodes(self.store, self.run_nodes, self.files)
        self.lock = threading.RLock()
        self._recorder = recorder
        self._runs = RunMutations(self.store, self.run_nodes)
        self._artifacts = ArtifactMutations(self.store, self.nodes, lambda md5: md5 in self.store.blobs)
        self._root = self._queries() | self._mutations()
        for request in recorder.recorded() if recorder else []:
            self._carried_out(Request(*request))

    def _queries(self) -> dict[str, Any]:
        def project(name: str | None = None, entityName: str | None = None) -> graphql.Node | None:  # noqa: N803
            key = (entityName or self.store.user, name or "uncategorized")
            return self.nodes.project(*key) if key in self.store.projects and self.store.is_shown(*key) else None

        def models(
            entityName: str | None = None,  # noqa: N803
            after: str | None = None,
            first: int | None = 50,
        ) -> graphql.Node:
            owner = entityName or self.store.user
            keys = [key for key in self.store.projects if key[0] == owner and self.store.is_shown(*key)]
            return page([self.nodes.project(*key) for key in keys], first, after)

        def artifact(id: str) -> graphql.Node | None:  # noqa: A002
            found = self.store.artifact(id)
            return self.nodes.artifact(found) if found else None

        def client_id(clientID: str) -> graphql.Node | None:  # noqa: N803
            number = self.store.client_ids.get(clientID)
            return None if number is None else {"serverID": self.store.artifacts[number].id}

        features = [{"name": name, "isEnabled": True} for name in FEATURES]
        latest = {"outOfDate": False, "latestVersionString": "9.9.9", "versionOnThisInstanceString": "9.9.9"}
        versions = {"max_cli_version": "9.9.9", "min_cli_version": "0.1.0"}
        return {
            "__typename": "Query",
            "viewer": lambda: self.run_nodes.user(),
            "serverInfo": {"features": features, "cliVersionInfo": versions, "latestLocalVersionInfo": latest},
            "project": project,
            "model": project,
            "models": models,
            "entity": lambda name: self.run_nodes.entity(name),
            "organization": lambda name: None,
            "artifact": artifact,
            "clientIDMapping": client_id,
            "users": lambda query=None: page([self.run_nodes.user()], None, None),
        }

    def _mutations(self) -> dict[str, Callable[..., graphql.Node]]:
        return {
            "upsertBucket": self._runs.upsert_bucket,
            "deleteRun": self._runs.delete_run,
            "updateRunState": self._runs.update_run_state,
            "stopRun": self._runs.stop_run,
            "upsertModel": self._runs.upsert_model,
            "createRunFiles": self.files.create_run_files,
            "markRunFilesUploaded": lambda **_: {"success": True},
            "deleteFiles": self.files.delete_files,
            "createArtifact": self._artifacts.create_artifact,
            "createArtifactManifest": self._artifacts.create_manifest,
            "updateArtifactManifest": self._artifacts.update_manifest,
            "createArtifactFiles": self._artifacts.create_files,
            "commitArtifact": self._artifacts.commit_artifact,
            "useArtifact": self._artifacts.use_artifact,
            "updateArtifact": self._artifacts.update_artifact,
            "addAliases": self._artifacts.add_aliases,
            "deleteAliases": self._artifacts.delete_aliases,
            "deleteArtifact": self._artifacts.delete_artifact,
            "notifyScriptableRunAlert": lambda **_: {"success": True},
        }

    def user_of(self, request: Request) -> str | None:
        """Whose key it carries. Uploads need none, as with signed URLs; nor do downloads of what was put."""
        if request.path.startswith(("/storage/", "/artifact-files/", "/artifact-manifests/")):
            return next(iter(self.keys.values()))
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        given = base64.b64decode(rest).decode().partition(":")[2] if scheme == "Basic" and rest else rest
        return self.keys.get(given)

    def answer(self, request: Request) -> Response:
        """Carry out a request now."""
        if (user := self.user_of(request)) is None:
            return refusal(401, "user is not logged in")
        with self.lock:
            self.store.user = user
            if self._recorder is not None and changes(request):
                self._recorder.record(request.at, request.method, request.path, _kept(request.headers), request.body)
            return self._carried_out(request)

    def _carried_out(self, request: Request) -> Response:
        self.store.now = request.at
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        try:
            if request.path == "/graphql":
                return self._graphql(request)
            if parts[-1] == "file_stream":
                return self._file_stream(request, *parts[1:4])
            if parts[0] in ("storage", "artifact-files", "artifact-manifests"):
                return self._put(request, parts) if request.method == "PUT" else self._get(parts)
            if parts[0] == "sdk":
                return as_json({})  # the SDK's own telemetry
        except graphql.Refused as refused:
            return refusal(refused.status, str(refused))
        return refusal(404, f"the test server has nothing at {request.path}")

    def _graphql(self, request: Request) -> Response:
        body = request.json
        request.operation = graphql.name(body["query"])
        answer = graphql.execute(body["query"], body.get("variables") or {}, self._root)
        request.unknown = answer.unknown
        if answer.unknown:
            kind, _, field_name = answer.unknown[0].partition(".")
            return refusal(400, f'Cannot query field "{field_name}" on type "{kind}".')
        return as_json({"data": answer.data})

    def _file_stream(self, request: Request, entity: str, project: str, run_id: str) -> Response:
        run = self.store.run(entity, project, run_id)
        if run is None or not self.store.is_shown(entity, project):
            return refusal(404, f"run {entity}/{project}/{run_id} not found")
        return as_json(apply_stream(self.store, run, request.client, request.json))

    def _put(self, request: Request, parts: list[str]) -> Response:
        if parts[0] == "storage":
            run = self.store.run(*parts[1:4])
            if run is None:
                return refusal(404, f"run {parts[3]} not found")
            name = "/".join(parts[4:])
            run.files[name], run.file_times[name] = request.body, self.store.now
            return as_json({})
        artifact = self.store.artifacts[int(parts[1])]
        if parts[0] == "artifact-manifests":
            artifact.manifest_bytes = request.body
        else:
            artifact.files["/".join(parts[2:])] = request.body
            self.store.blobs[md5_base64(request.body)] = request.body
        return as_json({})

    def _get(self, parts: list[str]) -> Response:
        if parts[0] == "storage":
            run = self.store.run(*parts[1:4])
            content = run.files.get("/".join(parts[4:])) if run else None
        else:
            artifact = self.store.artifacts[int(parts[1])]
            is_manifest = parts[0] == "artifact-manifests"
            content = artifact.manifest_bytes if is_manifest else artifact.files.get("/".join(parts[2:]))
        if content is None:
            return refusal(404, "no such file")
        return Response(200, content, "application/octet-stream")

    def tick(self) -> None:
        """Now is now: the states of runs that fell silent follow from it."""
        with self.lock:
            self.store.now = time.time()


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """What carrying it out again needs, and no secret."""
    return {key: headers[key] for key in KEPT_HEADERS if key in headers and key != "authorization"}


def changes(request: Request) -> bool:
    """Whether carrying it out leaves something behind."""
    if request.path == "/graphql":
        return graphql.is_mutation(request.json["query"])
    return request.method in ("PUT", "POST") and not request.path.startswith("/sdk/")
