"""The report as GitHub's Markdown, for a pull request or a wiki."""

import re
from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.sections import plan_sections, verdict, watch_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memplan.plan import Plan
    from memplan.reports.sheet import Cell, Section

# An underscore inside a word, as in max_conn, is no emphasis and stays readable.
_SPECIAL = re.compile(r"[\\`*\[\]<>|~#&!]|(?<!\w)_|_(?!\w)")


def render(plan: "Plan") -> str:
    """Return the report: a heading, the verdict, and a table a section."""
    lines = [f"# memplan: {escape(words.load_line(plan.workload))}", ""]
    lines += [escape(words.target_line(plan)), "", f"**{escape(verdict(plan).text)}**"]
    watch = watch_line(plan)
    if watch is not None:
        lines += ["", escape(watch.text)]
    return "\n".join([*lines, *section_lines(plan_sections(plan))]) + "\n"


def changes_text(gist: str, sections: "Iterable[Section]") -> str:
    """Return what a change of configuration does, its sums first."""
    lines = ["# memplan: what changes", "", f"**{escape(gist)}**"]
    return "\n".join([*lines, *section_lines(sections)]) + "\n"


def section_lines(sections: "Iterable[Section]") -> "Iterator[str]":
    """Yield the lines of sections, each below a heading of the second level."""
    for section in sections:
        yield from ("", f"## {escape(section.title)}")
        if section.gist:
            yield from ("", escape(section.gist))
        if section.rows:
            yield from ("", *_table(section))
        if section.details:
            yield ""
        for name, text in section.details:
            # A list without names has a dash for each; Markdown brings its own.
            label = "" if name.text == "–" else f"**{escape(name.text)}**: "
            yield f"- {label}{escape(text)}"


def _table(section: "Section") -> "Iterator[str]":
    yield _row(escape(column.title) for column in section.columns)
    yield _row("---:" if column.figure else "---" for column in section.columns)
    for row in section.rows:
        yield _row(_cell(cell) for cell in row)


def _row(texts: "Iterable[str]") -> str:
    return f"| {' | '.join(texts)} |"


def _cell(cell: "Cell") -> str:
    text = escape(cell.text)
    return f"**{text}**" if text and cell.tone in {"strong", "bad"} else text


def escape(text: str) -> str:
    """Return a text in which nothing is Markdown or HTML, on one line."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", words.one_line(text))
