"""Values from files and standard input: `@params.yaml`, `-`. Raises UsageError that names the place and the rule."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from trk.errors import UsageError
from trk.rules import parse_number, shown

MAX_BYTES = 50_000_000
MAX_DEPTH = 200
MAX_ITEMS = 1_000_000  # a YAML file of a few lines can say billions by referring to itself
ENDINGS = (".json", ".yaml", ".yml", ".toml")


def from_file(name: str) -> dict[str, Any]:
    """The mapping in a JSON, YAML or TOML file, by its ending."""
    path = Path(name)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"@{name}: the file must end in {', '.join(ENDINGS)}")
    try:
        if not path.is_file():
            raise UsageError(f"@{name} is not a file" if path.exists() else f"@{name}: there is no such file")
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"@{name} is larger than {MAX_BYTES // 1_000_000} MB")
        content = path.read_bytes()
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"@{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    return parse(_decoded(content, f"@{name}"), ending, f"@{name}")


def from_stdin() -> dict[str, Any]:
    """The mapping on standard input: one JSON object, else `KEY=VALUE` lines."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "- reads standard input, and nothing is piped in", hint="echo '{\"lr\": 0.1}' | trk log-params -"
        )
    text = _decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    if text.lstrip().startswith("{"):
        return parse(text, ".json", "standard input")
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, value = line.strip().partition("=")
        if not equals:
            raise UsageError(f"standard input, line {number}: {shown(line)} is neither JSON nor KEY=VALUE")
        if key in found:
            raise UsageError(f"standard input, line {number}: {shown(key)} is given twice")
        found[key] = value
    return found


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 (byte {error.start})") from None


def parse(text: str, ending: str, where: str) -> dict[str, Any]:
    """The mapping that a text says, in the language of a file's ending."""
    try:
        content = _loaded(text, ending)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{where} is not valid {ending[1:].upper()}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{where} must be a mapping of names to values")
    _check_size(content, where)
    return content


def _loaded(text: str, ending: str) -> Any:
    if ending == ".json":
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    if ending == ".toml":
        import tomllib

        return tomllib.loads(text)
    import yaml

    class Unique(yaml.SafeLoader):
        """Refuses a key given twice, where YAML's own loader takes the last one."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            if len(set(keys)) != len(keys):
                raise UsageError(f"{shown(next(key for key in keys if keys.count(key) > 1))} is given twice")
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    try:
        return yaml.load(text, Loader=Unique)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _unique(given: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(given)
    if len(found) != len(given):
        keys = [key for key, _ in given]
        raise UsageError(f"{shown(next(key for key in keys if keys.count(key) > 1))} is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise UsageError(f'{name} is not JSON; write it as the string "{name}"')


class _Typed(float):
    """A number from a file that knows how it was written: params keep their text."""

    __slots__ = ("text",)
    text: str


def _finite(text: str) -> _Typed:
    number = _Typed(parse_number(text))
    number.text = text
    return number


def _check_size(value: Any, where: str) -> None:
    """Refuse what is nested so deeply, or says so much, that writing it out again would fail."""
    level, depth, items = [value], 0, 0
    while level:
        depth += 1
        items += len(level)
        if items > MAX_ITEMS:
            raise UsageError(f"{where} holds more than {MAX_ITEMS} values")
        if depth > MAX_DEPTH:
            raise UsageError(f"{where} is nested too deeply: more than {MAX_DEPTH} levels")
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        level = [item for group in inner for item in group]


def json_or_text(text: str) -> Any:
    """JSON where the text is JSON, else the text itself: `[PASS] all good` is a text."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def text_of(value: Any) -> str:
    """A value from a file as the text of a param or tag: strings as they are, the rest as compact JSON."""
    if isinstance(value, (str, _Typed)):
        return value if isinstance(value, str) else value.text
    if hasattr(value, "isoformat"):  # YAML and TOML have dates and times
        return str(value.isoformat())
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
