"""Artifacts as can be asked for: collections, versions, aliases, manifests and files."""

from __future__ import annotations

import re
from typing import Any

from .files import FileNodes, file_node
from .graphql import Node
from .pages import edges, page
from .runs import RunNodes
from .store import Artifact, Collection, Run, Store, global_id, moment

VERSION = re.compile(r"v(\d+)")


class ArtifactNodes:
    """Artifacts as GraphQL nodes; `extended` gives projects and runs their fields about artifacts."""

    def __init__(self, store: Store, runs: RunNodes, files: FileNodes) -> None:
        self.store = store
        self.runs = runs
        self.files = files

    def project(self, entity: str, name: str) -> Node:
        """A project with its artifacts."""

        def mine() -> list[Collection]:
            return [one for (e, p, _), one in self.store.collections.items() if (e, p) == (entity, name)]

        def collection(name: str) -> Node | None:
            return next((self.collection(one) for one in mine() if one.name == name), None)

        def membership(name: str) -> Node | None:
            own, _, alias = name.partition(":")
            return next((self._membership(one, alias or "latest") for one in mine() if one.name == own), None)

        def artifact(name: str) -> Node | None:
            found = membership(name)
            return found["artifact"] if found else None

        def kind(name: str) -> Node | None:
            found = [one for one in mine() if one.type == name]
            return self._type(name, found) if found else None

        def kinds(**given: Any) -> Node:
            names = list(dict.fromkeys(one.type for one in mine()))
            return _paged([kind(one) for one in names], given)

        def run(name: str) -> Node | None:
            found = self.store.run(entity, self_name, name)
            return self.run(found) if found else None

        self_name = name
        return {
            **self.runs.project(entity, name),
            "run": lambda name: run(name),
            "artifact": artifact,
            "artifactType": kind,
            "artifactTypes": kinds,
            "artifactCollection": collection,
            "artifactCollections": lambda **given: _paged([self.collection(one) for one in mine()], given),
            "artifactCollectionMembership": membership,
        }

    def run(self, run: Run) -> Node:
        """A run with what it made and used."""

        def listed(found: list[Artifact], given: dict[str, Any]) -> Node:
            return _paged([self.artifact(one) for one in found if one.state == "COMMITTED"], given)

        return {
            **self.runs.run(run),
            "outputArtifacts": lambda **given: listed(run.artifacts, given),
            "inputArtifacts": lambda **given: listed(run.used, given),
        }

    def _type(self, name: str, found: list[Collection]) -> Node:
        return {
            "__typename": "ArtifactType",
            "id": global_id("ArtifactType", name),
            "name": name,
            "description": None,
            "createdAt": moment(found[0].created_at),
            "artifactCollections": lambda **given: _paged([self.collection(one) for one in found], given),
            "artifactCollection": lambda name: next((self.collection(one) for one in found if one.name == name), None),
        }

    def collection(self, collection: Collection) -> Node:
        """The versions under one name."""
        newest_first = [self.store.artifacts[number] for number in reversed(collection.versions)]
        alive = [one for one in newest_first if one.state == "COMMITTED"]

        def versions(**given: Any) -> Node:
            found = _paged([self.artifact(one) for one in alive], given)
            with_version = [{**edge, "version": f"v{edge['node']['versionIndex']}"} for edge in found["edges"]]
            return {**found, "edges": with_version}

        def aliases(**given: Any) -> Node:
            return _paged([self._alias(collection, alias) for alias in collection.aliases], given)

        kind = {"id": global_id("ArtifactType", collection.type), "name": collection.type}
        return {
            "__typename": "ArtifactSequence",
            "__kind": "ArtifactCollection",
            "id": global_id("ArtifactCollection", collection.number),
            "name": collection.name,
            "description": None,
            "state": "READY",
            "createdAt": moment(collection.created_at),
            "updatedAt": None,
            "digestAlgorithm": "MANIFEST_MD5",
            "project": lambda: self.project(collection.entity, collection.project),
            "defaultArtifactType": kind,
            "tags": edges([], [], more=False),
            "latestArtifact": lambda: self._aliased(collection, "latest"),
            "artifacts": versions,
            "aliases": aliases,
            "artifactMembership": lambda aliasName: self._membership(collection, aliasName),  # noqa: N803
        }

    def _alias(self, collection: Collection, alias: str) -> Node:
        return {
            "__typename": "ArtifactAlias",
            "id": global_id("ArtifactAlias", collection.number, alias),
            "alias": alias,
            "artifactCollection": lambda: self.collection(collection),
        }

    def _found(self, collection: Collection, alias: str) -> Artifact | None:
        numbered = VERSION.fullmatch(alias)
        for number in collection.versions:
            artifact = self.store.artifacts[number]
            wanted = artifact.version == int(numbered[1]) if numbered else collection.aliases.get(alias) == number
            if wanted and artifact.state == "COMMITTED":
                return artifact
        return None

    def _aliased(self, collection: Collection, alias: str) -> Node | None:
        found = self._found(collection, alias)
        return self.artifact(found) if found else None

    def _membership(self, collection: Collection, alias: str) -> Node | None:
        found = self._found(collection, alias)
        return self._of(collection, found) if found else None

    def _of(self, collection: Collection, artifact: Artifact) -> Node:
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": global_id("ArtifactCollectionMembership", collection.number, artifact.number),
            "versionIndex": artifact.version,
            "createdAt": moment(artifact.created_at),
            "aliases": [self._alias(collection, alias) for alias in artifact.aliases],
            "artifactCollection": lambda: self.collection(collection),
            "artifact": self.artifact(artifact),
            "files": lambda names=None, **given: _paged(self._files(artifact, names), given),
        }

    def artifact(self, artifact: Artifact) -> Node:
        """One version."""
        collection = self.store.collection_of(artifact)
        creator = self.store.run(artifact.entity, artifact.project, artifact.run) if artifact.run else None
        users = [run for run in self.store.runs.values() if artifact in run.used and not run.deleted]
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "versionIndex": artifact.version,
            "state": artifact.state,
            "digest": artifact.digest,
            "digestAlgorithm": artifact.digest_algorithm,
            "description": artifact.description,
            "metadata": artifact.metadata,
            "historyStep": artifact.history_step,
            "ttlDurationSeconds": -2 if artifact.ttl_seconds is None else artifact.ttl_seconds,
            "ttlIsInherited": artifact.ttl_seconds is None,
            "tags": [{"__typename": "Tag", "id": global_id("Tag", tag), "name": tag} for tag in artifact.tags],
            "size": sum(len(content) for content in artifact.files.values()),
            "fileCount": len(artifact.files) + len(artifact.references),
            "commitHash": None,
            "createdAt": moment(artifact.created_at),
            "updatedAt": None if artifact.updated_at is None else moment(artifact.updated_at),
            "artifactType": {"id": global_id("ArtifactType", artifact.type), "name": artifact.type},
            "artifactSequence": lambda: self.collection(collection),
            "aliases": [self._alias(collection, alias) for alias in artifact.aliases],
            "createdBy": lambda: self.run(creator) if creator else None,
            "usedBy": lambda: page([self.run(run) for run in users], None, None),
            "artifactMemberships": lambda **given: _paged([self._of(collection, artifact)], given),
            "currentManifest": lambda: self.manifest(artifact) if artifact.manifest_bytes else None,
            "files": lambda names=None, **given: _paged(self._files(artifact, names), given),
            "filesByManifestEntries": lambda entries, **_: page(
                self._files(artifact, [entry["name"] for entry in entries]), None, None
            ),
        }

    def manifest(self, artifact: Artifact) -> Node:
        """The list of its files, itself a file."""
        url = self.files.manifest_url(artifact)
        return {
            "__typename": "ArtifactManifest",
            "id": global_id("ArtifactManifest", artifact.number),
            "digest": None,
            "file": file_node(url, "wandb_manifest.json", artifact.manifest_bytes, artifact.created_at),
        }

    def _files(self, artifact: Artifact, names: list[str] | None) -> list[Node]:
        found = [
            file_node(self.files.artifact_url(artifact, name), name, content, artifact.created_at)
            for name, content in artifact.files.items()
        ]
        found += [file_node(ref, name, None, artifact.created_at) for name, ref in artifact.references.items()]
        return sorted((node for node in found if not names or node["name"] in names), key=lambda node: node["name"])


def _paged(nodes: list[Any], given: dict[str, Any]) -> Node:
    return page(nodes, given.get("first"), given.get("after"))
