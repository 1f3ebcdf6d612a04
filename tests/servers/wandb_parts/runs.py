"""Projects and runs: what can be asked of them, and the mutations that make, change and delete them."""

from __future__ import annotations

import json
from typing import Any

from . import select
from .files import FileNodes
from .graphql import Node, Refused
from .pages import edges, page
from .store import EVENTS, HISTORY, OUTPUT, SUMMARY, Run, Store, global_id, moment

TAIL = 1  # lines in historyTail: the SDK looks at the last one only


class RunNodes:
    """Runs and projects as GraphQL nodes."""

    def __init__(self, store: Store, files: FileNodes) -> None:
        self.store = store
        self.files = files

    def user(self) -> Node:
        """Who asks."""
        return {
            "__typename": "User",
            "id": global_id("User", 1),
            "name": self.store.user,
            "username": self.store.user,
            "entity": self.store.user,
            "email": f"{self.store.user}@example.org",
            "admin": False,
            "flags": "{}",
            "deletedAt": None,
            "photoUrl": None,
            "apiKeys": edges([], [], more=False),
            "teams": edges([{"name": self.store.user}], ["0"], more=False),
            "organizations": [],
        }

    def entity(self, name: str) -> Node:
        """A user or team."""
        return {
            "__typename": "Entity",
            "id": global_id("Entity", name),
            "name": name,
            "isTeam": False,
            "available": False,
            "organization": None,
            "user": None,
            "xxhashDigestsEnabled": False,
        }

    def project(self, entity: str, name: str) -> Node:
        """A project without its artifacts."""
        number = list(self.store.projects).index((entity, name)) + 1
        made = moment(self.store.projects[entity, name])

        def runs(
            filters: str | None = None, after: str | None = None, first: int | None = 50, order: str | None = None
        ) -> Node:
            found = select.chosen(self.store.runs_of(entity, name), filters, order)
            return page([self.run(run) for run in found], first, after)

        def run(name_: str) -> Node | None:
            found = self.store.run(entity, name, name_)
            return self.run(found) if found else None

        def bucket(name: str, missingOk: bool = False) -> Node | None:  # noqa: N803 - the server's word
            return run(name)

        return {
            "__typename": "Project",
            "id": global_id("Project", "v1", name, entity),
            "internalId": str(number),
            "name": name,
            "entityName": entity,
            "entity": self.entity(entity),
            "description": None,
            "access": "PRIVATE",
            "views": "{}",
            "createdAt": made,
            "updatedAt": made,
            "isBenchmark": False,
            "readOnly": False,
            "user": self.user(),
            "runs": runs,
            "run": lambda name: run(name),
            "bucket": bucket,
            "runCount": lambda filters=None: len(select.chosen(self.store.runs_of(entity, name), filters, None)),
            "totalSweeps": 0,
            "sweeps": lambda **_: page([], None, None),
            "sweep": lambda **_: None,
        }

    def run(self, run: Run) -> Node:
        """A run: what it was told, its streams, its files."""
        number = list(self.store.projects).index((run.entity, run.project)) + 1
        return {
            "__typename": "Run",
            "id": run.storage_id,
            "name": run.id,
            "projectId": str(number),
            "project": lambda: self.project(run.entity, run.project),
            "displayName": run.display_name,
            "description": run.description,
            "notes": run.notes,
            "tags": run.tags,
            "group": run.group,
            "jobType": run.job_type,
            "sweepName": run.sweep,
            "host": run.host,
            "commit": run.commit,
            "state": run.state,
            "readOnly": False,
            "stopped": run.stop_asked,
            "createdAt": moment(run.created_at),
            "heartbeatAt": moment(run.heartbeat_at),
            "user": self.user(),
            "config": lambda: json.dumps(select.finite(run.full_config)),
            "wandbConfig": lambda keys: self._wandb_config(run, keys),
            "summaryMetrics": lambda: json.dumps(select.finite(run.summary)),
            "systemMetrics": lambda: json.dumps(run.events[-1] if run.events else {}),
            **self._streams(run),
            **self.files.of_run(run),
        }

    def _streams(self, run: Run) -> dict[str, Any]:
        def history(
            minStep: int | None = None,  # noqa: N803
            maxStep: int | None = None,  # noqa: N803
            samples: int | None = None,
        ) -> list[str]:
            rows = select.sampled(select.ranged(run.history, minStep, maxStep), samples)
            return [json.dumps(select.finite(row)) for row in rows]

        def sampled_history(specs: list[str]) -> list[list[dict[str, Any]]]:
            return [self._sampled(run, json.loads(spec)) for spec in specs]

        return {
            "historyLineCount": run.count(HISTORY),
            "eventsLineCount": run.count(EVENTS),
            "logLineCount": run.count(OUTPUT),
            "historyTail": lambda: json.dumps(run.lines(HISTORY)[-TAIL:]),
            "eventsTail": lambda: json.dumps(run.lines(EVENTS)[-TAIL:]),
            "historyKeys": lambda: _history_keys(run),
            "history": history,
            "sampledHistory": sampled_history,
            "parquetHistory": lambda liveKeys: {"parquetUrls": [], "liveData": []},  # noqa: N803
            "events": lambda samples=None: [json.dumps(row) for row in select.sampled(run.events, samples)],
            "logLines": lambda **given: _log_lines(run, **given),
        }

    def _wandb_config(self, run: Run, keys: list[str]) -> str:
        inner = run.full_config.get("_wandb", {}).get("value", {})
        return json.dumps({key: inner[key] for key in keys if key in inner})

    def _sampled(self, run: Run, spec: dict[str, Any]) -> list[dict[str, Any]]:
        highest = spec.get("maxStep")
        rows = select.ranged(run.history, spec.get("minStep"), None if highest is None else highest + 1)
        found = []
        for row in rows:
            picked = {key: select._deep(row, key) for key in spec["keys"]}
            if all(value is not None for value in picked.values()):
                found.append(select.finite(picked))
        return select.sampled(found, spec.get("samples"))


def _history_keys(run: Run) -> dict[str, Any] | None:
    """The SDK reads `lastStep` of it."""
    if not run.rows:
        return None
    kinds = {key: {"typeCounts": [{"type": "number", "count": count}]} for key, count in run.keys.items() if count}
    return {"sets": [], "keys": kinds, "lastStep": max(row["_step"] for row in run.rows.values())}


def _log_lines(run: Run, first: int | None = None, after: str | None = None, last: int | None = None, **_: Any) -> Node:
    nodes: list[Any] = [
        {"number": place, "timestamp": None, "level": "info", "label": "", "line": line}
        for place, line in enumerate(run.lines(OUTPUT))
    ]
    return page(nodes if last is None else nodes[-last:], first, after)


class RunMutations:
    """What changes runs."""

    def __init__(self, store: Store, nodes: RunNodes) -> None:
        self.store = store
        self.nodes = nodes

    def upsert_bucket(self, input: dict[str, Any]) -> Node:  # noqa: A002 - GraphQL's word
        """Make the run, or change what is given of the one that is there. A deleted run's id is refused."""
        given = {key: value for key, value in input.items() if value is not None}
        run = self.store.run_by_storage_id(given["id"]) if "id" in given else None
        if run is None and "id" in given and "name" not in given:
            raise Refused(404, f"run {given['id']} not found")
        if run is not None and not self.store.is_shown(run.entity, run.project):
            raise Refused(403, "permission denied")
        inserted = run is None
        if run is None:
            entity = given.get("entityName") or self.store.user
            if not self.store.is_shown(entity, given.get("modelName")):
                raise Refused(403, "permission denied")
            entity, project = self.store.project(entity, given.get("modelName"))
            run, inserted = self._found_or_made(entity, project, given["name"])
        run.upserts.append(given)
        self._change(run, given)
        self.store.alive(run)
        return {"bucket": self.nodes.run(self.store.seen(run)), "inserted": inserted}

    def _found_or_made(self, entity: str, project: str, run_id: str) -> tuple[Run, bool]:
        found = self.store.runs.get((entity, project, run_id))
        if found is not None and found.deleted:
            raise Refused(409, f"run {run_id} was previously created and deleted; try a new run name")
        if found is not None:
            found.ended, found.exit_code, found.set_state = False, None, None  # it goes on
            return found, False
        number = len(self.store.runs) + 1
        made = Run(number, entity, project, run_id, self.store.now, display_name=f"test-run-{number}")
        self.store.runs[entity, project, run_id] = made
        return made, True

    def _change(self, run: Run, given: dict[str, Any]) -> None:
        names = {
            "displayName": "display_name",
            "description": "description",
            "notes": "notes",
            "groupName": "group",
            "jobType": "job_type",
            "host": "host",
            "jobProgram": "program",
            "commit": "commit",
            "sweep": "sweep",
            "tags": "tags",
        }
        for key, name in names.items():
            if key in given:
                setattr(run, name, given[key])
        if "config" in given:
            run.full_config = json.loads(given["config"])
        if "summaryMetrics" in given:
            run.summary = json.loads(given["summaryMetrics"])
        if "state" in given:
            run.set_state = None if given["state"] == "running" else given["state"]

    def delete_run(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Delete a run; its id stays taken."""
        run = self.store.run_by_storage_id(input["id"])
        if run is None:
            raise Refused(404, f"run {input['id']} not found")
        run.deleted = True
        return {"clientMutationId": None}

    def update_run_state(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Set a state by hand."""
        run = self.store.run_by_storage_id(input["id"])
        if run is not None:
            run.set_state = input["state"]
        return {"success": run is not None}

    def stop_run(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Ask the writer to stop; it hears so in the next answer to file_stream."""
        run = self.store.run_by_storage_id(input["id"])
        if run is not None:
            run.stop_asked = True
        return {"success": run is not None}

    def upsert_model(self, input: dict[str, Any]) -> Node:  # noqa: A002
        """Make a project."""
        key = (input.get("entityName") or self.store.user, input["name"])
        inserted = key not in self.store.projects
        node = self.nodes.project(*self.store.project(*key))
        return {"project": node, "model": node, "inserted": inserted}


def apply_stream(store: Store, run: Run, client: str, body: dict[str, Any]) -> dict[str, Any]:
    """Take in a `file_stream` request: each line at its number, so that one that is sent again changes nothing.

    A shared writer numbers its lines and its steps by itself from 0; the server gives its rows the next steps.
    """
    for name, part in (body.get("files") or {}).items():
        if name == SUMMARY:
            run.summary = json.loads(part["content"][-1])
            continue
        for place, line in enumerate(part["content"], start=part["offset"]):
            slot = (client, place)
            run.put(name, slot, _numbered(line, run, slot) if client and name == HISTORY else line)
    if body.get("complete"):
        run.ended, run.exit_code = True, int(body.get("exitcode") or 0)
    run.set_state = None
    store.alive(run)
    return {"exitcode": None, "limits": {}, "stopped": run.stop_asked}


def _numbered(line: str, run: Run, slot: tuple[str, int]) -> str:
    step = run.rows[slot]["_step"] if slot in run.rows else len(run.rows)
    return json.dumps({**json.loads(line), "_step": step})
