"""The report for people at a terminal: the advice first, then what it rests on.

Only what draws is imported from rich; the console decides on colours and on the width.
"""

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from memplan.reports import words
from memplan.reports.output import plain
from memplan.reports.sections import plan_sections, verdict, watch_line
from memplan.reports.sheet import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from memplan.plan import Plan
    from memplan.reports.sheet import Column, Section

STYLES = {
    "": "",
    "strong": "bold",
    "faint": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
}
WIDE = 110
"""Columns of a terminal from which the less needed figures are shown as well."""


def render(plan: "Plan") -> str:
    """Return the report as plain text, 80 columns wide."""
    return plain(lambda console: draw(plan, console))


def draw(plan: "Plan", console: "Console") -> None:
    """Draw the report."""
    console.print(Text(words.load_line(plan.workload), "bold"))
    console.print(Text(words.target_line(plan), "dim"))
    for line in (verdict(plan), watch_line(plan)):
        if line is not None:
            console.print(_text(line))
    draw_sections(plan_sections(plan), console)


def draw_sections(sections: "Iterable[Section]", console: "Console") -> None:
    """Draw sections, one below the other."""
    for section in sections:
        console.print()
        console.print(Text(section.title, "bold cyan"))
        if section.gist:
            console.print(Padding(Text(section.gist, "dim"), (0, 0, 0, 2)))
        if section.rows:
            console.print(_table(section, wide=console.width >= WIDE))
        if section.details:
            console.print(_details(section))


def _text(cell: Cell) -> Text:
    return Text(cell.text, STYLES[cell.tone])


def _table(section: "Section", *, wide: bool) -> Padding:
    shown = [index for index, column in enumerate(section.columns) if wide or not column.wide]
    # A column that says nothing in any row, such as `pinned`, takes no room.
    shown = [
        index
        for index in shown
        if section.columns[index].title or any(row[index].text for row in section.rows)
    ]
    table = Table(box=None, show_header=True, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for index in shown:
        _add_column(table, section.columns[index])
    for row in section.rows:
        table.add_row(*(_text(row[index]) for index in shown))
    return Padding(table, (0, 0, 0, 2))


def _add_column(table: Table, column: "Column") -> None:
    if column.figure:
        table.add_column(column.title, justify="right", no_wrap=True)
    else:
        table.add_column(column.title, overflow="fold")


def _details(section: "Section") -> Padding:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in section.details:
        table.add_row(_text(name), Text(text, "dim" if section.rows else ""))
    return Padding(table, (0, 0, 0, 2))
