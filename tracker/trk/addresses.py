"""Addresses (URIs) as they may be kept and shown: without user and password, in the authority or in the query."""

from __future__ import annotations

import re

# A password may hold / and @; what looks like a port and a path is none, unless it is followed by no @ at all.
_USERINFO = re.compile(r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@:]*:(?!\d{1,5}[/?#])\S*@|[^\s/?#]*@)")
_QUERY = re.compile(
    r"(?P<name>[?&#;](?:[^=&#;\s'\"]*(?:passw|pwd|secret|token|key|auth|credential|signature)[^=&#;\s'\"]*"
    r"|sig|sas|pass|pw|jwt|code|access)=)[^&#;\s'\"]+",
    re.IGNORECASE,
)


def without_userinfo(text: str) -> str:
    """The text with user and password taken out of every address (`scheme://…`) in it, and secrets out of queries."""
    return _QUERY.sub(r"\g<name>***", _USERINFO.sub(r"\g<keep>", text))


_told: dict[str, str] = {}  # addresses with their user and password, by what is kept of them: in this process alone


def remember(address: str) -> bool:
    """Keep an address's user and password in this process's memory; whether it has any."""
    kept = without_userinfo(address)
    if kept == address:
        return False
    _told[kept.rstrip("/")] = address
    return True


def remembered(address: str) -> str | None:
    """The address with its user and password, if this process was told them; None when not."""
    return _told.get(address.rstrip("/"))
