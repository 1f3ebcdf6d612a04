"""Artifacts: collections, versions, aliases, manifests and files, as the SDK's core and the public API ask for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .files import FileNodes, file_node
from .graphql import Node, Refused
from .runs import RunNodes, edges, page
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

        def listed(numbers: list[int], given: dict[str, Any]) -> Node:
            found = [self.store.artifacts[number] for number in numbers]
            return _paged([self.artifact(one) for one in found if one.state == "COMMITTED"], given)

        return {
            **self.runs.run(run),
            "outputArtifacts": lambda **given: listed(run.logged, given),
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
        users = [run for run in self.store.runs.values() if artifact.number in run.used and not run.deleted]
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


class ArtifactMutations:
    """What makes and changes artifacts."""

    def __init__(self, store: Store, nodes: ArtifactNodes, has_blob: Callable[[str], bool]) -> None:
        self.store = store
        self.nodes = nodes
        self.has_blob = has_blob

    def create_artifact(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """A new version to fill; or the one that has the same content already, which then gets the aliases."""
        name = input.get("artifactCollectionName") or input["artifactCollectionNames"][0]
        collection = self._collection(input, name)
        aliases = [given["alias"] for given in input.get("aliases") or []]
        for number in collection.versions:
            artifact = self.store.artifacts[number]
            if artifact.state == "COMMITTED" and artifact.digest == input["digest"]:
                self._take(collection, artifact, aliases)
                self._logged_by(artifact, input.get("runName"))
                self._remember(input, artifact)
                return {"artifact": self.nodes.artifact(artifact)}
        artifact = Artifact(
            number=len(self.store.artifacts),
            entity=collection.entity,
            project=collection.project,
            type=collection.type,
            name=name,
            digest=input["digest"],
            digest_algorithm=input.get("digestAlgorithm") or "MANIFEST_MD5",
            created_at=self.store.now,
            run=input.get("runName"),
            description=input.get("description"),
            metadata=input.get("metadata"),
            wanted_aliases=aliases,
            tags=[given["tagName"] for given in input.get("tags") or []],
            history_step=input.get("historyStep"),
            ttl_seconds=input.get("ttlDurationSeconds"),
        )
        self.store.artifacts.append(artifact)
        self._remember(input, artifact)
        return {"artifact": self.nodes.artifact(artifact)}

    def _collection(self, input: dict[str, Any], name: str) -> Collection:  # noqa: A002
        entity, project = self.store.project(input.get("entityName"), input.get("projectName"))
        wanted = input["artifactTypeName"]
        found = self.store.collections.get((entity, project, name))
        if found is None:
            number = len(self.store.collections) + 1
            found = Collection(number, entity, project, wanted, name, self.store.now)
            self.store.collections[entity, project, name] = found
        if found.type != wanted:
            raise Refused(409, f"artifact {name} has type {found.type}; it can't be logged with type {wanted}")
        return found

    def _remember(self, input: dict[str, Any], artifact: Artifact) -> None:  # noqa: A002
        if input.get("clientID"):
            self.store.client_ids[input["clientID"]] = artifact.number

    def _take(self, collection: Collection, artifact: Artifact, aliases: list[str]) -> None:
        for alias in aliases:
            holder = collection.aliases.get(alias)
            if holder is not None and alias in self.store.artifacts[holder].aliases:
                self.store.artifacts[holder].aliases.remove(alias)
            collection.aliases[alias] = artifact.number
            artifact.aliases.append(alias)

    def _logged_by(self, artifact: Artifact, run_id: str | None) -> None:
        run = self.store.run(artifact.entity, artifact.project, run_id) if run_id else None
        if run is not None and artifact.number not in run.logged:
            run.logged.append(artifact.number)

    def _artifact(self, artifact_id: str) -> Artifact:
        found = self.store.artifact(artifact_id)
        if found is None:
            raise Refused(404, f"artifact {artifact_id} not found")
        return found

    def create_manifest(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Where the manifest shall be put."""
        return {"artifactManifest": self.nodes.manifest(self._artifact(input["artifactID"]))}

    def update_manifest(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """The same for a manifest that is there."""
        for artifact in self.store.artifacts:
            if global_id("ArtifactManifest", artifact.number) == input["artifactManifestID"]:
                return {"artifactManifest": self.nodes.manifest(artifact)}
        raise Refused(404, "manifest not found")

    def create_files(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Where each file shall be put; no URL for one whose content is here already."""
        nodes: list[Any] = []
        for spec in input["artifactFiles"]:
            artifact = self._artifact(spec["artifactID"])
            url = self.nodes.files.artifact_url(artifact, spec["name"])
            node = file_node(url, spec["name"], None, None, path=f"wandb_artifact/{artifact.number}/{spec['name']}")
            known = self.has_blob(spec["md5"])
            nodes.append({
                **node,
                "uploadUrl": None if known else url,
                "uploadMultipartUrls": None,
                "artifact": {"id": artifact.id},
            })
        return {"files": page(nodes, None, None)}

    def commit_artifact(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """The version is complete: it gets its number and its aliases."""
        artifact = self._artifact(input["artifactID"])
        if artifact.state != "COMMITTED":
            self._fill(artifact)
            collection = self.store.collection_of(artifact)
            artifact.version, artifact.state = len(collection.versions), "COMMITTED"
            collection.versions.append(artifact.number)
            self._take(collection, artifact, artifact.wanted_aliases)
            self._logged_by(artifact, artifact.run)
        return {"artifact": self.nodes.artifact(artifact)}

    def _fill(self, artifact: Artifact) -> None:
        from .files import md5_base64

        for name, entry in artifact.manifest.get("contents", {}).items():
            if "ref" in entry:
                artifact.references[name] = entry["ref"]
            elif name not in artifact.files:
                content = self.store.blobs.get(entry["digest"])
                if content is None:
                    raise Refused(400, f"file {name} of artifact {artifact.name} was not uploaded")
                artifact.files[name] = content
            elif md5_base64(artifact.files[name]) != entry["digest"]:
                raise Refused(400, f"file {name} of artifact {artifact.name} has another digest")

    def use_artifact(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """A run uses an artifact."""
        artifact = self._artifact(input["artifactID"])
        run = self.store.run(input.get("entityName"), input.get("projectName"), input["runName"])
        if run is not None and artifact.number not in run.used:
            run.used.append(artifact.number)
        return {"artifact": self.nodes.artifact(artifact)}

    def update_artifact(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Change description, metadata, tags, time to live."""
        artifact = self._artifact(input["artifactID"])
        for key in ("description", "metadata"):
            if input.get(key) is not None:
                setattr(artifact, key, input[key])
        added = [given["tagName"] for given in input.get("tagsToAdd") or []]
        removed = [given["tagName"] for given in input.get("tagsToDelete") or []]
        artifact.tags = [tag for tag in dict.fromkeys([*artifact.tags, *added]) if tag not in removed]
        if "aliases" in input and input["aliases"] is not None:
            self._take(self.store.collection_of(artifact), artifact, [one["alias"] for one in input["aliases"]])
        artifact.updated_at = self.store.now
        return {"artifact": self.nodes.artifact(artifact)}

    def add_aliases(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Move aliases to a version."""
        artifact = self._artifact(input["artifactID"])
        given = [one["alias"] for one in input["aliases"]]
        self._take(self.store.collection_of(artifact), artifact, given)
        return {"success": True}

    def delete_aliases(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Take aliases away."""
        artifact = self._artifact(input["artifactID"])
        collection = self.store.collection_of(artifact)
        for alias in [one["alias"] for one in input["aliases"]]:
            collection.aliases.pop(alias, None)
            artifact.aliases = [one for one in artifact.aliases if one != alias]
        return {"success": True}

    def delete_artifact(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Delete a version; one with aliases only when told so."""
        artifact = self._artifact(input["artifactID"])
        if artifact.aliases and not input.get("deleteAliases"):
            raise Refused(409, f"artifact {artifact.name} still has aliases")
        self.delete_aliases({"artifactID": artifact.id, "aliases": [{"alias": one} for one in artifact.aliases]})
        artifact.state = "DELETED"
        return {"artifact": {"id": artifact.id}}
