"""JSON, YAML and TOML, read strictly: no key twice, no NaN, no bottomless nesting, no few lines that say billions.

The one reader of such documents. Messages name the place that the caller gives as `where`.
"""

from __future__ import annotations

from trk.errors import UsageError
from trk.rules import MAX_NUMBER, parse_number, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

MAX_BYTES = 50_000_000
MAX_DEPTH = 200
MAX_ITEMS = 1_000_000  # a YAML file of a few lines can say billions by referring to itself
ENDINGS = (".json", ".yaml", ".yml", ".toml")


def decoded(content: bytes, where: str) -> str:
    """The text of UTF-8 bytes, with or without a byte order mark. Raises UsageError naming the byte at fault."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 (byte {error.start})") from None


def parse(text: str, ending: str, where: str, mapping: bool = True) -> Any:
    """What a text says, in the language of a file's ending (one of `ENDINGS`): a mapping of names to values.

    With `mapping` false it may be a list too. A number of JSON with a fraction is a `Written`. Raises UsageError.
    """
    try:
        content = _loaded(text, ending)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{where} is not valid {ending[1:].upper()}: {' '.join(str(error).split())}") from None
    if isinstance(content, list) and not mapping:
        _check_size(content, where)
        return content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{where} must be a mapping of names to values{'' if mapping else ', or a list'}")
    _check_size(content, where)
    return content


def json_reader(*, special: bool = False, plain: bool = False) -> Callable[[str], Any]:
    """A function that reads a JSON text strictly; with `special`, NaN and Infinity are numbers too.

    With `plain` or `special` a number with a fraction is a float, which is quicker, else a `Written`.

    The function raises UsageError for what is no good in good JSON, ValueError for what is no JSON, and
    RecursionError for what is nested beyond the interpreter's depth.
    """
    import json

    return json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_constant=float if special else _no_constant,
        parse_float=_plain if special or plain else _finite,
    ).decode


class Written(float):
    """A number from a file that knows how it was written: params keep their text."""

    __slots__ = ("text",)
    text: str


def _loaded(text: str, ending: str) -> Any:
    if ending == ".json":
        return json_reader()(text)
    if ending == ".toml":
        import tomllib

        return tomllib.loads(text)
    return _yaml(text)


def _yaml(text: str) -> Any:
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


def _finite(text: str) -> Written:
    number = Written(parse_number(text))
    number.text = text
    return number


def _plain(text: str) -> float:
    number = float(text)
    if number - number != 0 or len(text) > MAX_NUMBER:
        return parse_number(text)  # which says what is wrong
    return number


def _check_size(value: Any, where: str) -> None:
    """Refuse what is nested so deeply, says so much, or has such keys, that writing it out as JSON would fail."""
    level, depth, items = [value], 0, 0
    while level:
        depth += 1
        items += len(level)
        if items > MAX_ITEMS:
            raise UsageError(f"{where} holds more than {MAX_ITEMS} values")
        if depth > MAX_DEPTH:
            raise UsageError(f"{where} is nested too deeply: more than {MAX_DEPTH} levels")
        inner = [item for item in level if isinstance(item, (dict, list))]
        for key in (key for group in inner if isinstance(group, dict) for key in group):
            if not (key is None or isinstance(key, (str, int, float))):
                raise UsageError(f"{where} has the key {shown(str(key))}, which JSON can't have")
        level = [item for group in inner for item in (group.values() if isinstance(group, dict) else group)]
