"""Settings, memory, regions and what must hold as one flat table, for a spreadsheet or a query."""

import csv
import io
from typing import TYPE_CHECKING

from memplan.reports.memory_sections import named_accounts
from memplan.reports.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memplan.plan import Plan

HEADER = ("section", "name", "value", "unit", "low", "high", "provenance", "note")

_Cell = str | int | float | None


def render(plan: "Plan") -> str:
    """Return the table; its first line names the columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for row in _rows(plan):
        # One record a line, and nothing in it that a terminal obeys, so that grep and sort work.
        writer.writerow([one_line(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue()


def _rows(plan: "Plan") -> "Iterator[tuple[_Cell, ...]]":
    for one in plan.settings:
        origin = "pinned" if one.pinned else "advised"
        yield "setting", one.name, one.value, one.unit, None, None, origin, one.why
    for name, total in named_accounts(plan):
        yield (
            "memory", name, total.bytes, "bytes", total.low_bytes, total.high_bytes,
            total.rests_on, total.method,
        )  # fmt: skip
    for part in plan.prediction.regions:
        kind, source = part.provenance.kind, part.provenance.source
        yield (
            "region virtual", part.name, part.virtual_bytes, "bytes", None, None, kind, source
        )  # fmt: skip
        yield (
            "region process", part.name, part.process_bytes, "bytes", part.process_low_bytes,
            part.process_high_bytes, kind, source,
        )  # fmt: skip
        yield (
            "region charge", part.name, part.charge_bytes, "bytes", part.charge_low_bytes,
            part.charge_high_bytes, kind, source,
        )  # fmt: skip
    for chance in plan.probabilities:
        answer = chance.answer
        yield (
            "probability", chance.name, answer.value, "", answer.low, answer.high, answer.method,
            "",
        )  # fmt: skip
    for bound in plan.constraints:
        yield (
            "constraint", bound.name, bound.needed, bound.unit, None, bound.allowed, bound.source,
            bound.detail if bound.ok else f"BROKEN: {bound.detail}",
        )  # fmt: skip
    for caution in plan.cautions:
        yield caution.severity, caution.name, None, "", None, None, "", caution.text
