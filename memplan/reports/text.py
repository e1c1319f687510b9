"""A plan in a dozen lines of plain text."""

import textwrap
from typing import TYPE_CHECKING

from memplan.reports import words
from memplan.reports.memory_sections import named_accounts
from memplan.reports.sections import required_line, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memplan.plan import Plan

WIDTH = 96
_MOST_CAUTIONS = 3


def summary(plan: "Plan") -> str:
    """Return the advice, the memory that it takes and the gravest warnings."""
    return "\n".join(_lines(plan))


def _lines(plan: "Plan") -> "Iterator[str]":
    for line in (words.load_line(plan.workload), words.target_line(plan), verdict(plan).text):
        yield from _wrapped(line)
    advice = ", ".join(
        f"{one.name} {words.setting(one.value, one.unit)}{' (pinned)' if one.pinned else ''}"
        for one in plan.settings
    )
    yield from _wrapped(f"set: {advice}")
    yield from _wrapped(required_line(plan))
    for name, one in named_accounts(plan):
        yield from _wrapped(
            f"{name}: {words.amount(one.bytes, 'bytes')} "
            f"({one.level:.0%}: {words.bytes_range(one.low_bytes, one.high_bytes)}; "
            f"rests on {one.rests_on})"
        )
    for caution in plan.cautions[:_MOST_CAUTIONS]:
        first = textwrap.shorten(caution.text, 2 * WIDTH - 16, placeholder=" ...")
        yield from _wrapped(f"{caution.severity}: {first}")
    more = len(plan.cautions) - _MOST_CAUTIONS
    if more > 0:
        yield f"and {more} more"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(words.one_line(line), WIDTH, subsequent_indent="  ")
