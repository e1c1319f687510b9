"""The report for people at a terminal: the advice first, then what it rests on."""

from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.layout import paragraph, section_lines
from memplan.reports.output import PLAIN_WIDTH, plain
from memplan.reports.sections import plan_sections, verdict, watch_line
from memplan.reports.sheet import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memplan.plan import Plan
    from memplan.reports.layout import Line


def render(plan: "Plan") -> str:
    """Return the report as plain text, 80 columns wide."""
    return plain(report_lines(plan, PLAIN_WIDTH))


def report_lines(plan: "Plan", width: int) -> "Iterator[Line]":
    """Yield the report's lines for a terminal of so many columns."""
    heads = (
        Cell(words.load_line(plan.workload), "strong"),
        Cell(words.target_line(plan), "faint"),
        verdict(plan),
        watch_line(plan),
    )
    for head in heads:
        if head is not None:
            yield from paragraph(head, width)
    yield from section_lines(plan_sections(plan), width)
