"""What a section of a report is, before it is drawn: a title, a table, and what explains it.

The terminal, Markdown and HTML draw the same sections, so no report knows more than another.
"""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "title", "strong", "faint", "good", "warn", "bad"]

MARK = "▸"
"""Stands before the row that the plan takes, or that decides."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with its tone."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a section's table.

    Attributes:
        title: Its heading.
        figure: Whether it holds figures: they stand to the right and are never cut or broken.
        label: Whether it holds names, which are broken only where there is no other way.
        wide: Whether a terminal leaves it out where there is little room.
    """

    title: str
    figure: bool = True
    label: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled table with its explanations.

    Attributes:
        title: The heading.
        gist: What the table says, in one line.
        columns: The columns; none where the section is only a list.
        rows: Cells, one a column.
        details: What explains a row or stands for itself: a name and a text, read as a list.
    """

    title: str
    gist: str = ""
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    details: tuple[tuple[Cell, str], ...] = ()


def text(title: str, *, wide: bool = False) -> Column:
    """Return a column of words, which may be broken into lines."""
    return Column(title, figure=False, wide=wide)


def label(title: str) -> Column:
    """Return a column of names."""
    return Column(title, figure=False, label=True)


def cells(*values: "str | Cell", tone: Tone = "") -> tuple[Cell, ...]:
    """Return a row; plain texts get the row's tone."""
    return tuple(value if isinstance(value, Cell) else Cell(value, tone) for value in values)
