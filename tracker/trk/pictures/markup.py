"""HTML and SVG put together so that no name in it can act: what is not made here is escaped."""

from __future__ import annotations

from html import escape

from trk.pictures.texts import tame

_EMPTY = frozenset({"meta", "input", "path", "line", "circle", "rect", "use", "col", "br"})


class Markup(str):
    """Text that is markup, of `tag`'s making: it is not escaped again."""

    __slots__ = ()


Child = str | Markup | None


def text(value: str) -> Markup:
    """A text as markup."""
    return value if isinstance(value, Markup) else Markup(escape(tame(value)))


def join(children: list[Child] | tuple[Child, ...]) -> Markup:
    """Several texts and pieces of markup, one after the other."""
    return Markup("".join(text(child) for child in children if child is not None))


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """An element. Attributes that are None or False are left out, True stands alone; `class_` is class, `_` is `-`.

    A `Markup` stands in an attribute as it is.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        said = value if isinstance(value, Markup) else escape(tame(_written(value), 1_000_000))
        words.append(key if value is True else f'{key}="{said}"')
    if name in _EMPTY and not children:
        return Markup(f"<{' '.join(words)}/>")
    return Markup(f"<{' '.join(words)}>{join(children)}</{name}>")


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
