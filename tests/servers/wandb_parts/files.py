"""Run files: their nodes, the URLs that they are sent to and fetched from, the mutations around them."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import mimetypes
from typing import Any
from urllib.parse import quote

from .graphql import Node, Refused
from .pages import page
from .store import Artifact, Run, Store, global_id, moment


def md5_base64(content: bytes) -> str:
    """As in manifests."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def file_node(url: str, name: str, content: bytes | None, at: float | None, path: str = "") -> Node:
    """A file; one without content is a reference and its URL is what it refers to."""
    return {
        "__typename": "File",
        "id": global_id("File", url),
        "name": name,
        "displayName": name,
        "url": lambda upload=False: url,
        "directUrl": url,
        "uploadUrl": url,
        "uploadHeaders": [],
        "sizeBytes": len(content or b""),
        "mimetype": mimetypes.guess_type(name)[0] or "application/octet-stream",
        "updatedAt": None if at is None else moment(at),
        "md5": None if content is None else md5_base64(content),
        "digest": None if content is None else md5_base64(content),
        "storagePath": path or None,
    }


class FileNodes:
    """Files as GraphQL nodes, and the mutations that prepare uploads; `base_url` is the server's own address."""

    def __init__(self, store: Store, base_url: str) -> None:
        self.store = store
        self.base_url = base_url

    def run_url(self, run: Run, name: str) -> str:
        """Where a run's file is put and fetched."""
        return f"{self.base_url}/storage/{quote(run.entity)}/{quote(run.project)}/{quote(run.id)}/{quote(name)}"

    def of_run(self, run: Run) -> dict[str, Any]:
        """The fields of a run that are about files."""

        def files(
            names: list[str] | None = None,
            after: str | None = None,
            first: int | None = 50,
            pattern: str | None = None,
        ) -> Node:
            found = sorted(run.files)
            if names:
                found = [name for name in found if name in names]
            elif pattern:
                found = [name for name in found if fnmatch.fnmatchcase(name, pattern.replace("%", "*"))]
            nodes = [file_node(self.run_url(run, one), one, run.files[one], run.file_times[one]) for one in found]
            return page(nodes, first, after)

        return {"files": files, "fileCount": len(run.files)}

    def create_run_files(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Where each file shall be put."""
        run = self.store.run(input.get("entityName"), input.get("projectName"), input["runName"])
        if run is None:
            raise Refused(404, f"run {input['runName']} not found")
        files = [{"name": name, "uploadUrl": self.run_url(run, name)} for name in input["files"]]
        return {"runID": run.storage_id, "uploadHeaders": [], "files": files}

    def delete_files(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Delete run files by their ids."""
        for run in self.store.runs.values():
            for name in list(run.files):
                if global_id("File", self.run_url(run, name)) in input["files"]:
                    del run.files[name]
        return {"success": True}

    def artifact_url(self, artifact: Artifact, name: str) -> str:
        """Where a file of an artifact version is put and fetched."""
        return f"{self.base_url}/artifact-files/{artifact.number}/{quote(name)}"

    def manifest_url(self, artifact: Artifact) -> str:
        """Where the manifest is put and fetched."""
        return f"{self.base_url}/artifact-manifests/{artifact.number}"
