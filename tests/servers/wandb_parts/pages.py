"""Lists in pages, as GraphQL servers give them."""

from __future__ import annotations

from typing import Any

from .graphql import Node


def edges(nodes: list[Any], cursors: list[str], more: bool, **other: Any) -> Node:
    """A page of a connection."""
    return {
        "edges": [{"node": node, "cursor": cursor} for node, cursor in zip(nodes, cursors, strict=True)],
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": cursors[-1] if cursors else None,
            "hasNextPage": more,
            "hasPreviousPage": False,
            "startCursor": cursors[0] if cursors else None,
        },
        **other,
    }


def page(nodes: list[Any], first: int | None, after: str | None, **other: Any) -> Node:
    """The `first` nodes after a cursor; a cursor is the place in the list."""
    start = int(after) + 1 if after else 0
    end = len(nodes) if first is None else start + first
    cursors = [str(place) for place in range(start, min(end, len(nodes)))]
    return edges(nodes[start:end], cursors, end < len(nodes), totalCount=len(nodes), **other)
