"""A plan as a fragment of HTML for notebooks: no scripts, nothing fetched, readable in the dark.

Colours come from the page around it: text inherits its colour and lines are that colour thinned,
so that light and dark themes both work.
"""

import html
from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.sections import plan_sections, verdict, watch_line

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from memplan.plan import Plan
    from memplan.reports.sheet import Cell, Column, Section
    from memplan.whatif import WhatIf

OPEN = {"Advice", "Memory", "MAX_CONN", "Changes", "Warnings", "Regions against the limit"}
"""Sections shown from the start; the others unfold."""

OPEN_WHERE_BROKEN = OPEN | {"Constraints"}
"""The same for a plan that cannot be met, which has to show why."""

# A notebook's own rules for tables and lists reach in here, some by two elements and a class; the
# name said twice outweighs them. Tones are mixed with the text's colour, which makes them darker on
# a light page and lighter on a dark one; a browser that cannot mix takes the plain tone.
_STYLE = """
.memplan.memplan { font-size: 0.92em; line-height: 1.4; max-width: 72em; overflow-x: auto; }
.memplan.memplan table { border-collapse: collapse; margin: 0.3em 0 0.5em; font-size: inherit; }
.memplan.memplan tbody tr { background: transparent; }
.memplan.memplan :is(th, td) { padding: 0.15em 0.9em 0.15em 0; text-align: left; max-width: none;
  vertical-align: top; border: 0; border-bottom: 1px solid rgba(128, 128, 128, 0.25); }
.memplan.memplan th { font-weight: 600; opacity: 0.7; }
.memplan.memplan :is(th, td).figure { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.memplan.memplan summary { cursor: pointer; font-weight: 600; margin-top: 0.5em; }
.memplan.memplan dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1em 0.9em;
  margin: 0; }
.memplan.memplan dl dt { float: none; width: auto; margin: 0; font-weight: inherit; }
.memplan.memplan dl dd { margin: 0; }
.memplan.memplan p { margin: 0.1em 0; }
.memplan.memplan .strong { font-weight: 600; }
.memplan.memplan .faint { opacity: 0.65; }
.memplan.memplan .good { color: #2c8a3d; color: color-mix(in srgb, #2c8a3d 75%, currentColor); }
.memplan.memplan .warn { color: #b07a00; color: color-mix(in srgb, #b07a00 75%, currentColor); }
.memplan.memplan .bad { color: #d23b3b; color: color-mix(in srgb, #d23b3b 75%, currentColor);
  font-weight: 600; }
""".strip()


def plan_html(plan: "Plan") -> str:
    """Return the report of a plan."""
    head = [
        f'<p class="strong">{_escape(words.load_line(plan.workload))}</p>',
        f'<p class="faint">{_escape(words.target_line(plan))}</p>',
        *(_line(cell) for cell in (verdict(plan), watch_line(plan)) if cell is not None),
    ]
    return _fragment(head, plan_sections(plan), OPEN if plan.feasible else OPEN_WHERE_BROKEN)


def what_if_html(change: "WhatIf") -> str:
    """Return the report of a change of configuration."""
    from memplan.reports.changes import change_sections, gist

    head = [f'<p class="strong">{_escape(gist(change))}</p>']
    return _fragment(head, change_sections(change), OPEN)


def _fragment(
    head: "Iterable[str]", sections: "Iterable[Section]", unfolded: "Container[str]"
) -> str:
    lines = [*head]
    for section in sections:
        lines += _section(section, unfolded=section.title in unfolded)
    body = "\n".join(lines)
    return f'<div class="memplan">\n<style>\n{_STYLE}\n</style>\n{body}\n</div>\n'


def _section(section: "Section", *, unfolded: bool) -> "Iterator[str]":
    yield f"<details{' open' if unfolded else ''}>"
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
