"""Addresses (URIs) as they may be kept and shown: without user and password, in the authority or in the query."""

from __future__ import annotations

import re

CAPTURED = "trk-autolog"  # the scheme of where MLflow logs while `trk.capture_autolog` is on: no place to deliver to

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


_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_HERE = frozenset(("localhost", "127.0.0.1", "::1"))


def is_same(one: str, other: str) -> bool:
    """Whether two addresses lead to one place, as far as they tell: a file by any way, a server by any of its names."""
    return one == other or _place(one) == _place(other)


def _place(address: str) -> tuple[object, ...]:
    import os
    from urllib.parse import urlsplit

    address = without_userinfo(address)
    scheme, colon, rest = address.partition(":")
    scheme = scheme.lower().partition("+")[0]
    if not colon or scheme == "file":
        path = re.sub(r"^//(?:localhost)?(?=/)", "", rest) if colon else address
        return "file", os.path.realpath(path)
    if scheme == "sqlite":
        return scheme, os.path.realpath(rest.removeprefix("///").partition("?")[0])
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:  # no address
        return (address,)
    host = "localhost" if host in _HERE else host
    return scheme, host, port or _PORTS.get(scheme), parts.path.rstrip("/"), parts.query


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
