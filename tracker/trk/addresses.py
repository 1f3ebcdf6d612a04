"""Addresses (URIs) as they may be kept and shown: without user and password."""

from __future__ import annotations

import re

# A password may hold / and @; what looks like a port and a path is none, unless it is followed by no @ at all.
_USERINFO = re.compile(r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@:]*:(?!\d{1,5}[/?#])\S*@|[^\s/?#]*@)")


def without_userinfo(text: str) -> str:
    """The text with user and password taken out of every address (`scheme://…`) in it."""
    return _USERINFO.sub(r"\g<keep>", text)
