"""Values from files and standard input: `@params.yaml`, `-`. Raises UsageError that names the place and the rule."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from trk.errors import UsageError
from trk.media.documents import ENDINGS, MAX_BYTES, Written, decoded, json_reader, parse
from trk.rules import shown


def from_file(name: str) -> dict[str, Any]:
    """The mapping in a JSON, YAML or TOML file, by its ending."""
    ending = Path(name).suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"@{name}: the file must end in {', '.join(ENDINGS)}")
    found: dict[str, Any] = parse(decoded(_content(name, f"@{name}"), f"@{name}"), ending, f"@{name}")
    return found


def _content(name: str, told: str) -> bytes:
    """The bytes of a file that messages call `told`."""
    path = Path(name)
    try:
        if not path.is_file():
            raise UsageError(f"{told} is not a file" if path.exists() else f"{told}: there is no such file")
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{told} is larger than {MAX_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"{told} can't be read: {getattr(error, 'strerror', None) or error}") from None


def lines_of(name: str, example: str) -> list[str]:
    """The lines of a text file, or with `-` of standard input; `example` shows how that is piped in."""
    if name != "-":
        return decoded(_content(name, name), name).splitlines()
    return _piped(example).splitlines()


def _piped(example: str) -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads standard input, and nothing is piped in", hint=example)
    return decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")


def from_stdin() -> dict[str, Any]:
    """The mapping on standard input: one JSON object, else `KEY=VALUE` lines."""
    text = _piped("echo '{\"lr\": 0.1}' | trk log-params -")
    found: dict[str, Any] = {}
    if text.lstrip().startswith("{"):
        return dict(parse(text, ".json", "standard input"))
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


def json_or_text(text: str) -> Any:
    """JSON where the text is JSON, else the text itself: `[PASS] all good` is a text."""
    try:
        return json_reader()(text)
    except (ValueError, RecursionError):
        return text


def text_of(value: Any) -> str:
    """A value from a file as the text of a param or tag: strings as they are, the rest as compact JSON."""
    if isinstance(value, (str, Written)):
        return value if isinstance(value, str) else value.text
    if hasattr(value, "isoformat"):  # YAML and TOML have dates and times
        return str(value.isoformat())
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
