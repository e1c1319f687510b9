"""The report of `memplan explain`: what a change of configuration does to each region."""

from typing import TYPE_CHECKING

from memplan.reports import memory_sections as memory
from memplan.reports import words
from memplan.reports.layout import paragraph, section_lines
from memplan.reports.sections import caution_section
from memplan.reports.sheet import Cell, Column, Section, cells, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from memplan.memory_model import Prediction
    from memplan.reports.layout import Line
    from memplan.whatif import WhatIf

CHANGE_FORMATS = ("table", "json", "markdown")
"""What a change can be written as."""


def change_sections(change: "WhatIf") -> "Iterator[Section]":
    """Yield what changes, both totals, and what to watch."""
    yield memory.changes(change.changes)
    yield _totals(change)
    if change.cautions:
        yield caution_section(change.cautions)


def _totals(change: "WhatIf") -> Section:
    return Section(
        title="Memory",
        gist="both configurations whole, with their 95% intervals",
        columns=(
            text("account"),
            Column("before"),
            Column("95% interval"),
            Column("after"),
            Column("95% interval"),
        ),
        rows=(
            _total("process (PSS)", change, "process"),
            _total("container's charge", change, "charge"),
        ),
    )


def _total(name: str, change: "WhatIf", account: str) -> tuple[Cell, ...]:
    def figures(prediction: "Prediction") -> tuple[str, str]:
        one = prediction.process if account == "process" else prediction.charge
        return (
            words.amount(one.bytes, "bytes"),
            words.bytes_range(one.low_bytes, one.high_bytes),
        )

    return cells(
        Cell(name, "strong"), *figures(change.before_prediction), *figures(change.after_prediction)
    )


def gist(change: "WhatIf") -> str:
    """Return the three sums in one line, each under its own name."""
    virtual, resident, charge = (
        words.signed_bytes(value)
        for value in (change.virtual_bytes, change.resident_bytes, change.charge_bytes)
    )
    return f"resident {resident} · virtual {virtual} · container's charge {charge}"


def report_lines(change: "WhatIf", width: int) -> "Iterator[Line]":
    """Yield the report's lines for a terminal of so many columns."""
    yield from paragraph(Cell(gist(change), "strong"), width)
    yield from section_lines(change_sections(change), width)


def render_changes(change: "WhatIf", format_name: str) -> str:
    """Return a change as text that ends in a newline, without colours.

    Raises:
        UsageError: There is no such format for a change.
    """
    from memplan.errors import UsageError

    if format_name == "json":
        from memplan.reports.json import dump

        return dump(change.to_dict())
    if format_name == "markdown":
        from memplan.reports.markdown import changes_text

        return changes_text(gist(change), change_sections(change))
    if format_name == "table":
        from memplan.reports.output import PLAIN_WIDTH, plain

        return plain(report_lines(change, PLAIN_WIDTH))
    raise UsageError(f"a change is written as {', '.join(CHANGE_FORMATS)}, not '{format_name}'")


def write_changes(
    change: "WhatIf", format_name: str, path: "str | PathLike[str] | None" = None
) -> None:
    """Write a change to a file, whole or not at all, or to standard output.

    Raises:
        UsageError: There is no such format for a change, or the file cannot be written.
    """
    from memplan.reports.output import print_lines, print_text, write_file

    if path is not None:
        write_file(path, render_changes(change, format_name))
    elif format_name == "table":
        print_lines(lambda width: report_lines(change, width))
    else:
        print_text(render_changes(change, format_name))
