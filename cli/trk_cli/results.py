"""What commands return, and how it may be wanted. One function shows it: `trk_cli.output.show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trk_cli import forms

Cell = str | int | float | datetime | None
"""A value in a listing. Numbers and times are given as they are: each format writes them its own way."""


class Seconds(float):
    """A duration. Tables and Markdown show it with its unit; for machines it is the number alone."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a listing. What has `keep` stays whole on the narrowest terminal: run ids, the value asked for.

    What is `whole` is never folded, but may be left out. Of all others, where there is no room, those of the largest
    `rank` go first, and of these the rightmost. `above` stands above the title in a table.
    """

    title: str
    keep: bool = False
    whole: bool = False
    rank: int = 0
    above: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Several records. `data` is their JSON form, or makes it (left out: one object a row); `ids` is what -q prints.

    `notes` is talk and `warnings` are warnings about the answer; `empty` is said when there is no row. Of a
    table that is too wide columns are left out, or, with `repeat`, it is parted: so many columns at the left begin each
    part.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell]]
    data: Any = None
    empty: str = "nothing found"
    ids: Sequence[str] | None = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    repeat: int = 0

    @property
    def heads(self) -> list[Column]:
        """The columns, each as a Column."""
        return [Column(column) if isinstance(column, str) else column for column in self.columns]

    @property
    def json(self) -> Any:
        """The JSON form."""
        if self.data is not None:
            return self.data() if callable(self.data) else self.data
        titles = [column.title for column in self.heads]
        return [dict(zip(titles, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Single:
    """One record, by its JSON form; `rows` (name and value) where others than all of its leaves are to be shown."""

    data: Any
    rows: Sequence[tuple[str, Cell]] | None = None
    ids: Sequence[str] | None = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def listing(self) -> Listing:
        """The record as rows of name and value."""
        rows = forms.flatten(self.data) if self.rows is None else self.rows
        return Listing((Column("field", keep=True), "value"), [tuple(row) for row in rows])

    @property
    def json(self) -> Any:
        """The JSON form."""
        return self.data


@dataclass(frozen=True, slots=True)
class Text:
    """Text of trk's own making, such as an id, a page or a script. `data` is its JSON form (left out: the text)."""

    text: str
    data: Any = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def json(self) -> Any:
        """The JSON form."""
        return self.text if self.data is None else self.data


Result = Listing | Single | Text


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How an answer is wanted. `format` left out: a table on a terminal, plain in a pipe.

    `quiet` silences the talk and makes queries print run ids only; `warnings` false silences warnings as well.
    """

    format: str | None = None
    field: str | None = None
    quiet: bool = False
    warnings: bool = True
