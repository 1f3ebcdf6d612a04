"""What makes and changes artifacts: the core creates, fills and commits versions; the public API does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .artifacts import ArtifactNodes
from .files import file_node, md5_base64
from .graphql import Node, Refused
from .pages import page
from .store import Artifact, Collection, Store, global_id


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
        if run is not None and artifact not in run.artifacts:
            run.artifacts.append(artifact)

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
            nodes.append(
                {
                    **node,
                    "uploadUrl": None if known else url,
                    "uploadMultipartUrls": None,
                    "artifact": {"id": artifact.id},
                }
            )
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
        if run is not None and artifact not in run.used:
            run.used.append(artifact)
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
