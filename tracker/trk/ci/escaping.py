"""Texts of users as they may stand in Markdown and XML: they show what they are, and nothing in them acts."""

from __future__ import annotations

import re

from trk.addresses import without_userinfo
from trk.pictures.texts import tame

LONGEST = 200  # characters of a text in a table

# Letters, digits and these stand as they are. All else of ASCII is an entity, which is never read as Markdown.
_BARE = frozenset(" ,-/()+=;%?")
_CALLING = frozenset("@#!~%$&:[^")  # people, issues, requests, labels, milestones, snippets, groups, emoji
_WWW = re.compile(r"(?<=www)\.", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[A-Za-z0-9\[]", re.IGNORECASE)
_IN_ADDRESS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#&=%+,;@")
LONGEST_ADDRESS = 2_000
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def code(text: str, longest: int = LONGEST) -> str:
    """A text of a user's in Markdown, as code: there no forge looks for mentions, issues, commits, emoji, formulas.

    It is HTML's element, since a table reads the bars in Markdown's own code, and each reader in its own way.
    """
    return f"<code>{inert(text, longest)}</code>" if text.strip() else "<em>empty</em>"


def prose(text: str, longest: int = 500) -> str:
    """A text of a user's as a sentence in Markdown: nothing in it acts, as in `code`, though it looks like the rest.

    The element round it keeps it from the beginning of a line, where `- ` is a list and `/close` a command of GitLab's.
    """
    return f"<span>{inert(text, longest, _CALLING)}</span>"


def inert(text: str, longest: int = LONGEST, apart: frozenset[str] = frozenset("@")) -> str:
    """The text with nothing in it that is Markdown or HTML, on one line.

    Forges look for mentions and addresses in the text that is left when entities are read. What is `apart` has an
    element of its own, so that there is none.
    """
    shown = "".join(_inert(char, apart) for char in tame(text, longest))
    return _WWW.sub("&#46;", shown)


def _inert(char: str, apart: frozenset[str]) -> str:
    if char in apart:
        return f"<span>&#{ord(char)};</span>"
    return char if not char.isascii() or char.isalnum() or char in _BARE or char == "." else f"&#{ord(char)};"


def address(url: str | None) -> str | None:
    """An address of the web for a link, with nothing in it that ends the link; None for anything else."""
    if url is None or len(url) > LONGEST_ADDRESS or not _ADDRESS.match(url):
        return None
    shown = without_userinfo(url)
    return "".join(char if char in _IN_ADDRESS else _percent(char) for char in shown)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))


def xml_text(text: str) -> str:
    """The text on one line, with what XML 1.0 can't hold shown instead; the writer of the XML does the rest."""
    return _NOT_XML.sub(lambda found: ascii(found.group())[1:-1], tame(text, 10_000))
