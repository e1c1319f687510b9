"""A plan as a fragment of HTML for notebooks: no scripts, nothing fetched, readable in the dark.

Colours come from the page around it: text inherits its colour and lines are that colour thinned,
so that light and dark themes both work.
"""

import html
from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.sections import plan_sections, verdict, watch_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memplan.plan import Plan
    from memplan.reports.sheet import Cell, Column, Section
    from memplan.whatif import WhatIf

OPEN = {"Advice", "Memory", "MAX_CONN", "Changes", "Warnings", "Regions against the limit"}
"""Sections shown from the start; the others unfold."""

_STYLE = """
.memplan { font-size: 0.92em; line-height: 1.4; max-width: 72em; }
.memplan table { border-collapse: collapse; margin: 0.3em 0 0.5em; }
.memplan th, .memplan td { padding: 0.15em 0.9em 0.15em 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid rgba(128, 128, 128, 0.25); background: transparent; }
.memplan th { font-weight: 600; opacity: 0.7; }
.memplan .figure { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.memplan summary { cursor: pointer; font-weight: 600; margin-top: 0.5em; }
.memplan dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1em 0.9em; margin: 0; }
.memplan dt, .memplan dd { margin: 0; }
.memplan p { margin: 0.1em 0; }
.memplan .strong { font-weight: 600; }
.memplan .faint { opacity: 0.65; }
.memplan .good { color: #2c8a3d; }
.memplan .warn { color: #b07a00; }
.memplan .bad { color: #d23b3b; font-weight: 600; }
""".strip()


def plan_html(plan: "Plan") -> str:
    """Return the report of a plan."""
    head = [
        f'<p class="strong">{_escape(words.load_line(plan.workload))}</p>',
        f'<p class="faint">{_escape(words.target_line(plan))}</p>',
        *(_line(cell) for cell in (verdict(plan), watch_line(plan)) if cell is not None),
    ]
    return _fragment(head, plan_sections(plan))


def what_if_html(change: "WhatIf") -> str:
    """Return the report of a change of configuration."""
    from memplan.reports.changes import change_sections, gist

    return _fragment([f'<p class="strong">{_escape(gist(change))}</p>'], change_sections(change))


def _fragment(head: "Iterable[str]", sections: "Iterable[Section]") -> str:
    body = "\n".join([*head, *(line for section in sections for line in _section(section))])
    return f'<div class="memplan">\n<style>\n{_STYLE}\n</style>\n{body}\n</div>\n'


def _section(section: "Section") -> "Iterator[str]":
    yield f"<details{' open' if section.title in OPEN else ''}>"
    yield f"<summary>{_escape(section.title)}</summary>"
    if section.gist:
        yield f'<p class="faint">{_escape(section.gist)}</p>'
    if section.rows:
        yield from _table(section)
    if section.details:
        yield "<dl>"
        for name, text in section.details:
            yield f"<dt>{_span(name)}</dt><dd>{_escape(text)}</dd>"
        yield "</dl>"
    yield "</details>"


def _table(section: "Section") -> "Iterator[str]":
    titles = "".join(
        f"<th{_figure(column)}>{_escape(column.title)}</th>" for column in section.columns
    )
    yield f"<table><thead><tr>{titles}</tr></thead><tbody>"
    for row in section.rows:
        texts = "".join(
            f"<td{_figure(column)}>{_span(cell)}</td>"
            for column, cell in zip(section.columns, row, strict=True)
        )
        yield f"<tr>{texts}</tr>"
    yield "</tbody></table>"


def _figure(column: "Column") -> str:
    return ' class="figure"' if column.figure else ""


def _span(cell: "Cell") -> str:
    text = _escape(cell.text)
    return f'<span class="{cell.tone}">{text}</span>' if cell.tone and text else text


def _line(cell: "Cell") -> str:
    return f"<p>{_span(cell)}</p>"


def _escape(text: str) -> str:
    """Return a text in which nothing is markup, and nothing turns the page's direction."""
    return html.escape(words.one_line(text))
