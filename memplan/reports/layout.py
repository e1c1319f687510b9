"""Lays sections out as lines of a terminal: columns side by side, words wrapped, figures whole.

Nothing is imported here that a start would feel: a report that goes into a pipe needs no more than
this. A line is made of spans, each a text with its tone; who prints it decides what a tone looks
like.
"""

import textwrap
from typing import TYPE_CHECKING

from memplan.reports.sheet import Cell
from memplan.reports.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memplan.reports.sheet import Column, Section

Line = tuple[Cell, ...]

WIDE = 110
"""Columns of a terminal from which the less needed figures are shown as well."""

INDENT = 2
_GAP = 2
_DETAIL_INDENT = 4
_LEAST_WORDS = 12
_LEAST_LABEL = 20
_BLANK: Line = ()


def section_lines(sections: "Iterable[Section]", width: int) -> "Iterator[Line]":
    """Yield the lines of sections, one below the other, each after a blank line.

    Args:
        sections: The sections.
        width: Columns of the terminal. Only figures that need more make a line longer.
    """
    for section in sections:
        yield _BLANK
        yield (Cell(section.title, "title"),)
        if section.gist:
            yield from paragraph(Cell(section.gist, "faint"), width, indent=INDENT)
        if section.rows:
            yield from _table(section, width)
        if section.details:
            yield from _details(section, width)


def paragraph(cell: Cell, width: int, *, indent: int = 0) -> "Iterator[Line]":
    """Yield a text as lines of one tone."""
    margin = Cell(" " * indent)
    for line in _wrap(cell.text, width - indent):
        yield (margin, Cell(line, cell.tone))


def _table(section: "Section", width: int) -> "Iterator[Line]":
    shown = [
        index
        for index, column in enumerate(section.columns)
        if (width >= WIDE or not column.wide)
        # A column that says nothing in any row, such as `pinned`, takes no room.
        and (column.title or any(row[index].text for row in section.rows))
    ]
    columns = [section.columns[index] for index in shown]
    heads = [Cell(column.title, "faint") for column in columns]
    rows = [[Cell(one_line(row[i].text), row[i].tone) for i in shown] for row in section.rows]
    widths = _widths(columns, [heads, *rows], width - INDENT)
    for row in (heads, *rows):
        yield from _row(columns, row, widths, INDENT)


def _details(section: "Section", width: int) -> "Iterator[Line]":
    indent = _DETAIL_INDENT if section.rows else INDENT
    names = [Cell(one_line(name.text), name.tone) for name, _ in section.details]
    longest = min(max(len(name.text) for name in names), width // 3)
    widths = [longest, max(width - indent - longest - _GAP, _LEAST_WORDS)]
    for name, (_, text) in zip(names, section.details, strict=True):
        cells = [name, Cell(text, "faint" if section.rows else "")]
        yield from _row([None, None], cells, widths, indent)


def _widths(
    columns: "Sequence[Column]", rows: "Sequence[Sequence[Cell]]", room: int
) -> "list[int]":
    """Return each column's width: figures whole, words sharing what is left.

    A column of words that needs less than its share leaves the rest to the others.
    """
    natural = [max(len(row[index].text) for row in rows) for index in range(len(columns))]
    least = [
        size if column.figure else min(size, _LEAST_LABEL if column.label else _LEAST_WORDS)
        for column, size in zip(columns, natural, strict=True)
    ]
    spare = room - _GAP * (len(columns) - 1) - sum(least)
    widths = least
    while spare > 0:
        wanting = [index for index, size in enumerate(natural) if widths[index] < size]
        if not wanting:
            break
        share = max(spare // len(wanting), 1)
        for index in wanting:
            given = min(share, natural[index] - widths[index], spare)
            widths[index] += given
            spare -= given
    return widths


def _row(
    columns: "Sequence[Column | None]",
    cells: "Sequence[Cell]",
    widths: "Sequence[int]",
    indent: int,
) -> "Iterator[Line]":
    """Yield the lines of one row; a cell of words may take several."""
    texts = [
        [cell.text] if column is not None and column.figure else _wrap(cell.text, width)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    ]
    for line in range(max(len(lines) for lines in texts)):
        spans = [Cell(" " * indent)]
        for column, cell, width, lines in zip(columns, cells, widths, texts, strict=True):
            text = lines[line] if line < len(lines) else ""
            right = column is not None and column.figure
            padding = " " * (width - len(text))
            spans += [Cell(padding if right else ""), Cell(text, cell.tone)]
            spans.append(Cell(("" if right else padding) + " " * _GAP))
        # Blanks at a line's end would make a full line wrap.
        while spans and not spans[-1].text.strip():
            spans.pop()
        yield tuple(span for span in spans if span.text)


def _wrap(text: str, width: int) -> list[str]:
    line = one_line(text)
    if len(line) <= width:
        # Most cells: a report has hundreds, and wrapping is the slowest part of drawing them.
        return [line]
    return textwrap.wrap(line, max(width, 1), break_on_hyphens=False)
