"""Runs and rows of a bundle, judged by the rules that logging them would have been judged by.

Whatever does not follow them is refused with a UsageError, and what is kept is made anew from what was understood:
nothing that trk itself would not have written comes into a journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trk import rules
from trk.bundles import format as form
from trk.errors import UsageError
from trk.journal import content, replay, select, write
from trk.journal.carry import FIELDS
from trk.journal.replay import Carried
from trk.media import documents, log, table_cells, values
from trk.records import FILES, MEDIA, Kind, Status
from trk.rules import shown

_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
MAX_FILES = 1_000_000

_strict = documents.json_reader(plain=True)
_with_nan = documents.json_reader(special=True)


@dataclass(frozen=True, slots=True)
class RunHead:
    """A run as its line says: its columns, the number of its rows; of another program's, what its owner said."""

    fields: Mapping[str, Any]
    rows: int
    state: Mapping[str, Any]
    handles: tuple[tuple[str, str], ...]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.fields["run_id"])

    @property
    def external(self) -> bool:
        """Whether it is another program's run."""
        return bool(self.fields["external"])


@dataclass(slots=True)
class Needed:
    """A blob that rows name: its size, and the tables (number of columns, number of rows) that lie in it."""

    size: int
    tables: set[tuple[tuple[str, ...], int]] = field(default_factory=set)


# ---- runs


def run(text: str) -> RunHead:
    """A run's line. Raises UsageError."""
    given = _object(text, _strict)
    owned = {"status", "end_time", "handles"} if given.get("external") == 1 else set()
    _check_keys(given, {*FIELDS, "rows", *owned})
    _check_fields(given)
    state: dict[str, Any] = {}
    handles: tuple[tuple[str, str], ...] = ()
    if owned:
        state = {"status": _status(given["status"]), "end_time": _or_none(given["end_time"], _time)}
        handles = _handles(given["handles"])
    rows = _whole(given["rows"], "rows", 0, rules.MAX_STEP)
    return RunHead({name: given[name] for name in FIELDS}, rows, state, handles)


def _check_fields(given: Mapping[str, Any]) -> None:
    for name in ("run_id", "parent_id"):
        value = given[name]
        if value is None and name == "parent_id":
            continue
        if not isinstance(value, str) or not select.is_run_id(value):
            raise UsageError(f"{name} {shown(value)} is not the id of a run")
    rules.check_title(given["name"], "run name")
    rules.check_title(given["experiment"], "experiment name")
    _time(given["start_time"])
    _or_none(given["description"], lambda value: rules.check_text(value, "description"))
    if given["key_prefix"] != "":
        rules.check_text(given["key_prefix"], "key prefix")
        rules.check_name(given["key_prefix"] + "x", "key prefix")
    _or_none(given["step_metric"], lambda value: rules.check_name(value, "step metric"))
    _whole(given["external"], "external", 0, 1)


def _handles(given: Any) -> tuple[tuple[str, str], ...]:
    """The ids that a run has at the backends of its owner. Raises UsageError."""
    found: dict[str, str] = {}
    for one in _list(given, "handles"):
        if not (isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one)):
            raise UsageError(f"{shown(one)} is not the handle of a run")
        backend, remote_id = one
        if not (remote_id.isascii() and remote_id.replace("/", "").replace("-", "").replace("_", "").isalnum()):
            raise UsageError(f"{shown(remote_id)} is not the id of a run")
        rules.check_name(backend, "backend")
        rules.check_name(remote_id, "id of a run")
        if backend in found:
            raise UsageError(f"backend {shown(backend)} is there twice")
        found[backend] = remote_id
    return tuple(found.items())


# ---- rows


def row(columns: Sequence[Any], needed: dict[str, Needed]) -> Carried:
    """A row, from (kind, time, key, step, value), and in `needed` the blobs that it names. Raises UsageError."""
    kind_name, time_ms, key, step, value = columns
    try:
        kind = Kind(kind_name)
    except ValueError:
        raise UsageError(f"{shown(kind_name)} is no kind of row") from None
    _time(time_ms)
    if step is not None:
        _whole(step, "step", -rules.MAX_STEP - 1, rules.MAX_STEP)
    if kind is Kind.METRIC or (kind is Kind.SUMMARY and step is not None):
        return _points(kind, time_ms, key, step, value)
    if step is not None:
        raise UsageError(f"a {kind} row has no step")
    checked, kept, said = _check(kind)(kind, key, value, needed)
    return Carried(kind, time_ms, checked, None, kept, said)


def _points(kind: Kind, time_ms: int, key: Any, step: Any, value: Any) -> Carried:
    if step is None:
        raise UsageError("a metric row needs a step")
    if key is not None:
        number = _number(value)
        return Carried(kind, time_ms, rules.check_metric_name(key), step, write.stored(number), {key: number})
    if kind is Kind.SUMMARY:
        raise UsageError("a summary row needs a key")
    points = {rules.check_metric_name(name): _number(number) for name, number in _object(value, _strict).items()}
    if len(points) < 2:
        raise UsageError("a metric row without a key has several values")
    return Carried(kind, time_ms, None, step, write.packed(points), points)


_Checked = tuple[str | None, str | None, Any]  # key, value, what the value says


def _param(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    return rules.check_name(key, "param name"), rules.check_text(value, "the value of a param"), None


def _tag(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    return rules.check_tag_name(key), rules.check_text(value, "the value of a tag"), None


def _delete_tag(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    _check_none(value, kind)
    return rules.check_tag_name(key), None, None


def _summary(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    rules.check_name(f"summary/{rules.check_name(key, 'summary name')}", "summary name")
    values.plain(_json(rules.check_text(value, "summary value"), _strict), values.JSON)
    text = rules.check_text(replay.shown_summary(value), "summary value")
    return key, value, text


def _define(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    name = rules.check_metric_name(key)
    rules.check_name(f"trk.mode.{name}", "metric name")
    given = _object(value, _strict)
    if not given:
        raise UsageError("a definition says nothing")
    _check_keys(given, {"mode", "step_metric"} & set(given))
    mode, step_metric = given.get("mode"), given.get("step_metric")
    if mode not in (None, "max", "min"):
        raise UsageError(f"mode must be max or min, not {shown(mode)}")
    _or_none(step_metric, lambda value: rules.check_name(value, "step metric"))
    return name, write.definition(mode, step_metric), given


def _status_row(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    _check_none(key, kind)
    return None, _status(value), None


def _bare(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    _check_none(key, kind)
    _check_none(value, kind)
    return None, None, None


def _table(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    name = rules.check_name(key, "table name")
    rules.check_artifact_path(name + content.TABLE_END, "table name")
    if ":" in name:
        raise UsageError(f"table name {shown(name)} has a colon, which no table may have")
    given = _object(value, _with_nan)
    inline = "rows" in given
    _check_keys(given, {"columns", "rows"} if inline else {"columns", "sha256", "size", "count"})
    columns = table_cells.check_columns(_texts(given["columns"], "columns"))
    if inline:
        part: dict[str, Any] = {"rows": [table_row(one, columns) for one in _list(given["rows"], "rows")]}
        if not part["rows"]:
            raise UsageError("a table row without rows")
    else:
        count = _whole(given["count"], "count", 1, rules.MAX_STEP)
        part = {"sha256": given["sha256"], "size": given["size"], "count": count}
        _need(needed, given["sha256"], given["size"]).tables.add((tuple(columns), count))
    said = {"columns": columns, **part}
    return name, content.packed(**said), said


def table_row(cells: Any, columns: list[str] | tuple[str, ...]) -> list[Any]:
    """The cells of one row of a table, as they are kept. Raises UsageError."""
    if not isinstance(cells, list) or len(cells) != len(columns):
        raise UsageError("a row of a table has not as many cells as columns")
    return [table_cells.cell(value, column) for value, column in zip(cells, columns, strict=True)]


def table_line(text: str, columns: tuple[str, ...]) -> None:
    """Check one line of a table whose rows lie in a blob. Raises UsageError."""
    table_row(_json(text, _with_nan), columns)


def _media(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    """One file under a name, or, of a plain file, under its path."""
    given = _object(value, _strict)
    if "step" in given and kind is not Kind.IMAGE:
        raise UsageError(f"a {kind} row has no step")
    _check_keys(given, {"files", "step"} & {"files", *given})
    (file,) = _files(given["files"], needed, most=1)
    said: dict[str, Any] = {"files": [file]}
    if kind is Kind.FILE:
        if key != file["path"]:
            raise UsageError("a file row has another key than its path")
    else:
        rules.check_name(key)
        if "uri" in file:
            raise UsageError(f"a {kind} row without its bytes")
    if "step" in given:
        said["step"] = _whole(given["step"], "step", -rules.MAX_STEP - 1, rules.MAX_STEP)
    return key, content.packed(**said), said


def _artifact(kind: Kind, key: Any, value: Any, needed: dict[str, Needed]) -> _Checked:
    rules.check_text(key, "artifact name")
    log.check_artifact_name(key)
    given = _object(value, _strict)
    _check_keys(given, {"files", "type", "version"})
    version = _whole(given["version"], "version", 0, 2**31)
    files = _files(given["files"], needed, most=MAX_FILES)
    log.check_once([file["path"] for file in files])
    for file in files:
        if not file["path"].startswith(f"{key}/v{version}/"):
            raise UsageError(f"{shown(file['path'])} is not in version {version} of {shown(key)}")
    said: dict[str, Any] = {
        "files": files, "type": rules.check_name(given["type"], "artifact type"), "version": version,
    }  # fmt: skip
    return key, content.packed(**said), {**said, "digest": replay.digest(key, said)}


def _files(given: Any, needed: dict[str, Needed], most: int) -> list[dict[str, Any]]:
    files = _list(given, "files")
    if not 1 <= len(files) <= most:
        raise UsageError(f"a row has {len(files)} files")
    return [_file(one, needed) for one in files]


def _file(given: Any, needed: dict[str, Needed]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError("a file is not an object")
    _check_keys(given, {"path", "uri"} if "uri" in given else {"path", "size", "sha256"})
    path = rules.check_artifact_path(given["path"])
    if "uri" not in given:
        _need(needed, given["sha256"], given["size"])
        return {"path": path, "size": given["size"], "sha256": given["sha256"]}
    if log.reference(given["uri"], None)["uri"] != given["uri"]:
        raise UsageError("a reference has a user or a password in its address")
    return {"path": path, "uri": given["uri"]}


def _need(needed: dict[str, Needed], sha256: Any, size: Any) -> Needed:
    """The blob of this hash, among those that are needed. Raises UsageError."""
    check_hash(sha256)
    _whole(size, "size", 0, rules.MAX_STEP)
    found = needed.setdefault(sha256, Needed(size))
    if found.size != size:
        raise UsageError(f"the bytes of {sha256} have two sizes, {found.size} and {size}")
    return found


_CHECKS: dict[Kind, Callable[..., _Checked]] = {
    Kind.PARAM: _param,
    Kind.TAG: _tag,
    Kind.DELETE_TAG: _delete_tag,
    Kind.SUMMARY: _summary,
    Kind.DEFINE: _define,
    Kind.STATUS: _status_row,
    Kind.TABLE: _table,
    Kind.ARTIFACT: _artifact,
    Kind.DELETE: _bare,
    Kind.RESTORE: _bare,
}


def _check(kind: Kind) -> Callable[..., _Checked]:
    assert kind in _CHECKS or kind in MEDIA or kind in FILES
    return _CHECKS.get(kind, _media)


# ---- values


def check_hash(sha256: Any) -> str:
    """A hash as it is written. Raises UsageError."""
    if not isinstance(sha256, str) or form.SHA256.fullmatch(sha256) is None:
        raise UsageError(f"{shown(sha256)} is not a SHA-256 in hexadecimal")
    return sha256


def whole(value: Any, what: str) -> int:
    """A number of things. Raises UsageError."""
    return _whole(value, what, 0, rules.MAX_STEP)


def _whole(value: Any, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise UsageError(f"{what} {shown(value)} is not a whole number in its range")
    return value


def _time(value: Any) -> int:
    return _whole(value, "time", 0, rules.MAX_TIME_MS - 1)


def _number(value: Any) -> float:
    if type(value) is str and value in _SPECIAL:
        return _SPECIAL[value]
    if type(value) not in (int, float):
        raise UsageError(f"{shown(value)} is not a number")
    number = rules.to_number(value)
    if number - number != 0:
        raise UsageError(f"{shown(value)} is larger than a double can hold")
    return number


def _status(value: Any) -> str:
    if not isinstance(value, str) or value not in tuple(Status):
        raise UsageError(f"{shown(value)} is no status")
    return value


def _or_none(value: Any, check: Callable[[Any], Any]) -> Any:
    return None if value is None else check(value)


def _check_none(value: Any, kind: Kind) -> None:
    if value is not None:
        raise UsageError(f"a {kind} row has {shown(value)} where nothing stands")


def _texts(value: Any, what: str) -> list[str]:
    found = _list(value, what)
    if not all(isinstance(one, str) for one in found):
        raise UsageError(f"{what} are not all text")
    return found


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{what} is not a list")
    return value


def _json(text: Any, reader: Callable[[str], Any]) -> Any:
    """What a JSON text says. Raises UsageError, also for one that is nested too deeply."""
    if not isinstance(text, str):
        raise UsageError(f"{shown(text)} is not JSON")
    try:
        return reader(text)
    except RecursionError:
        raise UsageError("JSON is nested too deeply") from None
    except ValueError as error:
        said = error.message if isinstance(error, UsageError) else f"it is not JSON: {error}"
        raise UsageError(said) from None


def _object(text: Any, reader: Callable[[str], Any]) -> dict[str, Any]:
    found = _json(text, reader)
    if not isinstance(found, dict):
        raise UsageError("it is not an object of JSON")
    return found


def object_of(text: str) -> dict[str, Any]:
    """An object of JSON, read strictly. Raises UsageError."""
    return _object(text, _strict)


def _check_keys(given: Mapping[str, Any], wanted: set[str]) -> None:
    if missing := wanted - set(given):
        raise UsageError(f"{min(missing)} is missing")
    if unknown := set(given) - wanted:
        raise UsageError(f"{shown(min(unknown))} is not known")


def check_keys(given: Mapping[str, Any], wanted: set[str]) -> None:
    """Raise UsageError unless an object has these keys."""
    _check_keys(given, wanted)
