"""Params, tags and summary values as they are kept: names checked, values as text."""

from __future__ import annotations

from trk import rules
from trk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def param_texts(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Params as they are kept: names checked and prefixed, values as text. Raises UsageError."""
    texts = {}
    for key, value in params.items():
        name = rules.check_name(key, "param name")
        text = value if isinstance(value, str) else str(value)
        name = rules.check_param_name(prefix + name)
        texts[name] = rules.check_text(text, f"the value of param {key}")
    return texts


def tag_texts(tags: Mapping[str, object]) -> dict[str, str]:
    """Tags as they are kept: names checked, values as text. Raises UsageError."""
    texts = {}
    for key, value in tags.items():
        name = rules.check_tag_name(key)
        text = value if isinstance(value, str) else str(value)
        texts[name] = rules.check_text(text, f"the value of tag {key}")
    return texts


def json_summary(key: str, value: object) -> tuple[str, str]:
    """A summary value that is no number, as (JSON text, shown text). Raises UsageError."""
    import json

    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the summary value of {key} is not JSON: {error}") from None
    rules.check_text(text, f"the summary value of {key}")
    return text, rules.check_text(value, f"the summary value of {key}") if isinstance(value, str) else text
